"""ApiVersions, Metadata, DescribeCluster, DescribeTopicPartitions."""

import struct
import time

from .talk import case

SERVED = {0, 1, 2, 3, 18, 19, 20, 22, 23, 32, 60, 75}


@case("api versions")
def api_versions(talk):
    def plain(answer):
        # What is served is ours to say, but what both serve has the same versions.
        answer["ApiKeys"] = [key for key in answer["ApiKeys"] if key["ApiKey"] in SERVED]
        for name in [*answer]:
            if "eature" in name or name.startswith("tag") or "Migration" in name:
                del answer[name]
        return answer

    for version in talk.versions("ApiVersions"):
        for number, (name, software) in enumerate([("conform", "1.0"), ("", ""), ("conform", ""), ("", "1"), ("a b", "1"), ("-a", "1"), ("a-", "1"),
                                 ("a.b-c", "1.2-x"), ("ä", "1"), ("a_b", "1"), ("a", "1_0"), (".", "1"), ("a", "-"), ("a" * 300, "1")]):
            if version < 3 and number:
                continue
            frame = talk.exchange(talk.protocol.request("ApiVersions", version, {"ClientSoftwareName": name, "ClientSoftwareVersion": software}))
            talk.note(f"ApiVersions v{version} {name[:20]} {software}", plain(talk.protocol.response("ApiVersions", version, frame)[1]))
    good = {"ClientSoftwareName": "conform", "ClientSoftwareVersion": "1"}
    for about, cluster, node in (("right", talk.cluster, talk.node), ("another node", talk.cluster, talk.node + 5), ("another cluster", "x", talk.node),
                                 ("no cluster", None, talk.node), ("no node", talk.cluster, -1), ("an empty cluster", "", talk.node)):
        frame = talk.exchange(talk.protocol.request("ApiVersions", 5, {**good, "ClusterId": cluster, "NodeId": node}))
        talk.note(f"ApiVersions v5 {about}", plain(talk.protocol.response("ApiVersions", 5, frame)[1]))
    for version in (6, 99, 32767, -1):
        for about, rest in (("a body", b"\0\0\0\0\0"), ("no body", b""), ("a body of garbage", b"\xff" * 30)):
            frame = struct.pack(">hhi", 18, version, 77) + b"\0\1x" + rest
            try:
                found = talk.exchange(struct.pack(">i", len(frame)) + frame)
                correlation, answer = talk.protocol.response("ApiVersions", 0, found)
                talk.note(f"version {version}, {about}", [correlation, answer])
            except Exception as error:
                talk.note(f"version {version}, {about}", type(error).__name__)


def metadata(talk, version, about, topics, create=False, **more):
    body = {"Topics": topics, **more}
    if version >= 4:
        body["AllowAutoTopicCreation"] = create
    frame = talk.exchange(talk.protocol.request("Metadata", version, body))
    answer = talk.protocol.response("Metadata", version, frame)[1]
    answer["Topics"] = [one for one in answer["Topics"] if not (one["Name"] or "").startswith("__")]
    for one in answer["Topics"]:
        one["Partitions"].sort(key=lambda found: found["PartitionIndex"])
    # Kafka's topics stand in no order.
    answer["Topics"].sort(key=lambda one: (one["Name"] or "", one.get("TopicId", b"")))
    talk.note(f"Metadata v{version} {about}", talk.plain(answer))


def named(*names):
    return [{"Name": name} for name in names]


@case("metadata: every version", **{"auto.create.topics.enable": "false"})
def every_version(talk):
    for version in talk.versions("Metadata"):
        metadata(talk, version, "all of none", [] if version == 0 else None)
    one, two = talk.create("one", 3), talk.create("two")
    for version in talk.versions("Metadata"):
        metadata(talk, version, "all", [] if version == 0 else None)
        metadata(talk, version, "an empty list", [])
        metadata(talk, version, "two", named(two, one))
        metadata(talk, version, "one twice", named(two, two))
        metadata(talk, version, "unknown", named(talk.name("unknown"), one))
        metadata(talk, version, "bad names", named("", "a b", ".", "x" * 250))
        metadata(talk, version, "internal names", named("__consumer_offsets", "__transaction_state", "__cluster_metadata"))
        if version >= 8:
            metadata(talk, version, "with operations", named(one, talk.name("unknown")), IncludeTopicAuthorizedOperations=True)
            if version <= 10:
                metadata(talk, version, "with cluster operations", [], IncludeClusterAuthorizedOperations=True)
        if version >= 10:
            metadata(talk, version, "an id", [{"Name": None, "TopicId": talk.topics[one]}])
            metadata(talk, version, "an unknown id", [{"Name": None, "TopicId": b"\1" * 16}])
            metadata(talk, version, "no id and no name", [{"Name": None}])
            metadata(talk, version, "an id and its name", [{"Name": one, "TopicId": talk.topics[one]}])
            metadata(talk, version, "an id and another name", [{"Name": two, "TopicId": talk.topics[one]}])
            metadata(talk, version, "an id twice", [{"Name": None, "TopicId": talk.topics[one]}] * 2)
            metadata(talk, version, "an id and a name", [{"Name": None, "TopicId": talk.topics[one]}, {"Name": two}])
            metadata(talk, version, "a name and no name", [{"Name": one}, {"Name": None}])
    # Switched off for all, whatever the request says.
    for version in talk.versions("Metadata"):
        metadata(talk, version, "to be made", named(talk.name("new")), create=True)
    for version in (-1, 14):
        talk.raw(talk.protocol.request("Metadata", 1, {"Topics": []})[:6] + struct.pack(">h", version) + b"\0" * 12, f"version {version}")


@case("metadata: auto creation", **{"num.partitions": "3"})
def auto_create(talk):
    for version in talk.versions("Metadata"):
        name = talk.name(f"made{version}")
        if version >= 4:
            metadata(talk, version, "not to be made", named(name))
        # Kafka makes the topic later and has the client ask again; ours is there at once.
        for _ in range(100):
            body = {"Topics": named(name), **({"AllowAutoTopicCreation": True} if version >= 4 else {})}
            found = talk.call("Metadata", version, body)["Topics"][0]
            if found["ErrorCode"] == 0:
                break
            time.sleep(0.05)
        talk.note(f"Metadata v{version} made", [found["ErrorCode"], len(found["Partitions"])])
    collides = talk.create("a.b")
    for _ in range(3):
        metadata(talk, 9, "a name that collides", named(talk.name("a_b")), create=True)
        metadata(talk, 9, "a bad name", named("a b", collides), create=True)
        time.sleep(0.2)


@case("describe cluster")
def describe_cluster(talk):
    for version in talk.versions("DescribeCluster"):
        for operations in (False, True):
            talk.ask("DescribeCluster", version, {"IncludeClusterAuthorizedOperations": operations}, f"operations {operations}")
        if version >= 1:
            for kind in (0, 1, 2, 3, -1, 127):
                talk.ask("DescribeCluster", version, {"EndpointType": kind}, f"endpoint type {kind}")
        if version >= 2:
            for fenced in (False, True):
                talk.ask("DescribeCluster", version, {"EndpointType": 1, "IncludeFencedBrokers": fenced}, f"fenced {fenced}")


@case("describe topic partitions")
def describe_topic_partitions(talk):
    one, two, three = talk.create("a", 5), talk.create("b", 3), talk.create("c")
    names = [{"Name": name} for name in (one, two, three)]
    for limit in (-1, 0, 1, 2, 5, 6, 8, 9, 2000, 2**31 - 1):
        talk.ask("DescribeTopicPartitions", 0, {"Topics": names, "ResponsePartitionLimit": limit}, f"limit {limit}")
        talk.ask("DescribeTopicPartitions", 0, {"Topics": names[:1], "ResponsePartitionLimit": limit}, f"one, limit {limit}")
    for about, topics in (("in another order", names[::-1]), ("twice", names[:1] * 2), ("unknown", [{"Name": talk.name("unknown")}, *names[1:]]),
                          ("bad names", [{"Name": ""}, {"Name": "a b"}, names[0]])):
        talk.ask("DescribeTopicPartitions", 0, {"Topics": topics, "ResponsePartitionLimit": 2000}, about)
        talk.ask("DescribeTopicPartitions", 0, {"Topics": topics, "ResponsePartitionLimit": 2}, f"{about}, two")
    for name in (one, two, three, talk.name("unknown"), talk.name("bb"), "", "a b"):
        for index in (-1, 0, 1, 3, 5, 99):
            cursor = {"TopicName": name, "PartitionIndex": index}
            talk.ask("DescribeTopicPartitions", 0, {"Topics": names, "ResponsePartitionLimit": 4, "Cursor": cursor}, f"from {name[len(talk.prefix):]} {index}")
