"""CreateTopics and DeleteTopics."""

from .talk import case

# Every topic configuration: values that are right, values that are wrong.
CONFIGS = {
    "cleanup.policy": (["delete", "compact", "compact,delete", "delete,compact", " compact", "", "compact,compact"],
                       ["none", "DELETE", "delete,none", "compact;delete"]),
    "compression.type": (["producer", "gzip", "snappy", "lz4", "zstd", "uncompressed"], ["none", "GZIP", ""]),
    "compression.gzip.level": (["-1", "1", "9"], ["0", "10", "x", "-2"]),
    "compression.lz4.level": (["1", "17"], ["0", "18"]),
    "compression.zstd.level": (["-131072", "3", "22", "0"], ["23", "-131073"]),
    "delete.retention.ms": (["0", "1", "9223372036854775807"], ["-1", "9223372036854775808"]),
    "file.delete.delay.ms": (["0", "1"], ["-1"]),
    "flush.messages": (["1", "9223372036854775807"], ["0", "-1"]),
    "flush.ms": (["0", "1"], ["-1"]),
    "follower.replication.throttled.replicas": (["*", "", "0:1,1:2", "0:1"], ["x", "0", "*,0:1"]),
    "leader.replication.throttled.replicas": (["*", "", "0:1,1:2"], ["x", "0:"]),
    "index.interval.bytes": (["0", "4096"], ["-1", "2147483648"]),
    "max.compaction.lag.ms": (["1", "100"], ["0", "-1"]),
    "max.message.bytes": (["0", "1", "1048588", "2147483647"], ["-1", "2147483648", "1.5", "1k", "1e3", ""]),
    "message.timestamp.after.max.ms": (["0", "3600000"], ["-1"]),
    "message.timestamp.before.max.ms": (["0", "3600000"], ["-1"]),
    "message.timestamp.type": (["CreateTime", "LogAppendTime"], ["createtime", "x"]),
    "min.cleanable.dirty.ratio": (["0", "0.5", "1", "1e-3", ".5", "5e-1", "0.50"], ["-0.1", "1.1", "NaN", "x"]),
    "min.compaction.lag.ms": (["0", "1"], ["-1"]),
    "min.insync.replicas": (["1", "2", "3"], ["0", "-1"]),
    "preallocate": (["true", "false", "TRUE", "False", " true "], ["yes", "1", ""]),
    "retention.bytes": (["-1", "0", "1", "-2", "-100"], ["x"]),
    "retention.ms": (["-1", "0", "1"], ["-2"]),
    "segment.bytes": (["1048576", "2147483647"], ["13", "14", "1048575", "0", "2147483648"]),
    "segment.index.bytes": (["4", "10485760"], ["3", "-1"]),
    "segment.jitter.ms": (["0", "1"], ["-1"]),
    "segment.ms": (["1", "604800000"], ["0", "-1"]),
    "unclean.leader.election.enable": (["true", "false"], ["maybe"]),
    "remote.storage.enable": (["false"], ["x", "true"]),
    "local.retention.ms": (["-2", "0"], ["-3", "-1"]),
    "local.retention.bytes": (["-2", "0"], ["-3", "-1"]),
    "remote.log.copy.disable": (["false"], ["x", "true"]),
    "remote.log.delete.on.disable": (["false"], ["x", "true"]),
}
UNKNOWN = ["no.such.key", "", " ", "retention.MS", "message.format.version", "message.downconversion.enable",
           "log.retention.ms", "confluent.tier.enable", "internal.segment.bytes"]


def body(*topics, validate=False, timeout=20_000):
    return {"Topics": list(topics), "timeoutMs": timeout, "validateOnly": validate}


def topic(name, partitions=1, factor=1, configs=(), assignments=()):
    return {"Name": name, "NumPartitions": partitions, "ReplicationFactor": factor,
            "Configs": [{"Name": key, "Value": value} for key, value in configs],
            "Assignments": [{"PartitionIndex": index, "BrokerIds": brokers} for index, brokers in assignments]}




def ask(talk, version, about, *topics, **options):
    """Kafka's results stand in no order; here by name. New ids are noted as new."""
    frame = talk.exchange(talk.protocol.request("CreateTopics", version, body(*topics, **options)))
    answer = talk.protocol.response("CreateTopics", version, frame)[1]
    made = sorted(answer["Topics"], key=lambda one: (one["Name"], one["ErrorCode"]))
    for one in made:
        if one.get("TopicId", bytes(16)) != bytes(16):
            one["TopicId"] = "new"
        one["Configs"] = sorted(one.get("Configs") or [], key=lambda config: config["Name"])
    answer["Topics"] = made
    talk.note(f"CreateTopics v{version} {about}", talk.plain(answer))
    return answer


@case("create topics: every version")
def every_version(talk):
    for version in talk.versions("CreateTopics"):
        name = talk.name(f"v{version}")
        ask(talk, version, "one", topic(name, 2))
        ask(talk, version, "that exists", topic(name, 2))
        ask(talk, version, "none")
        ask(talk, version, "only validated", topic(name + "x", 3), validate=True)
        ask(talk, version, "only validated, exists", topic(name, 3), validate=True)
        ask(talk, version, "for the first time", topic(name + "x", 3))
        ask(talk, version, "defaults", topic(name + "d", -1, -1))
        ask(talk, version, "twice", topic(name + "t"), topic(name + "t"), topic(name + "u"))
        ask(talk, version, "with a config", topic(name + "c", configs=[("retention.ms", "5"), ("cleanup.policy", "compact")]))
        ask(talk, version, "with a timeout of 0", topic(name + "0"), timeout=0)
        ask(talk, version, "with a timeout below 0", topic(name + "-1"), timeout=-1)
        ask(talk, version, "null config", topic(name + "n", configs=[("retention.ms", None), ("cleanup.policy", None)]))


@case("create topics: names")
def names(talk):
    for number, name in enumerate(["", ".", "..", "a b", "a/b", "ä", "a\0", "x" * 249, "x" * 250, "a,b", "-", "_", "A"]):
        ask(talk, 7, f"name {number}", topic(name if len(name) < 200 else name[:-len(talk.prefix)] + talk.prefix))
    ask(talk, 7, "x 250", topic("y" * 250))
    ask(talk, 7, "__consumer_offsets", topic("__consumer_offsets", -1, -1), validate=True)
    ask(talk, 7, "__cluster_metadata", topic("__cluster_metadata"))
    ask(talk, 7, "a dot", topic(talk.name("a.b")))
    ask(talk, 7, "an underscore that collides", topic(talk.name("a_b")))
    ask(talk, 7, "the dot again", topic(talk.name("a.b")))
    ask(talk, 7, "one that does not", topic(talk.name("a-b")))


@case("create topics: counts")
def counts(talk):
    number = 0
    for partitions in (-3, -2, -1, 0, 1, 10_001, 2**31 - 1, -2**31):
        for factor in (-2, -1, 0, 1, 2, 32767, -32768):
            number += 1
            ask(talk, 7, f"{partitions} x {factor}", topic(talk.name(f"c{number}"), partitions, factor), validate=partitions > 5000)
    ask(talk, 7, "10,000 in two", topic(talk.name("p1"), 5000), topic(talk.name("p2"), 5001))
    ask(talk, 5, "2 replicas", topic(talk.name("r5"), 1, 2))
    ask(talk, 2, "2 replicas", topic(talk.name("r2"), 1, 2))


@case("create topics: assignments")
def assignments(talk):
    node = talk.node
    lists = [
        [(0, [node])], [(0, [node]), (1, [node])], [(1, [node]), (0, [node])], [(1, [node])], [(0, [node]), (2, [node])],
        [(0, [])], [(0, [node, node])], [(0, [99])], [(0, [node, 99])], [(0, [node]), (0, [node])], [(-1, [node])],
        [(0, [-1])], [(0, [node]), (1, [])], [(0, [99]), (1, [node, 99])],
    ]
    for number, listed in enumerate(lists):
        ask(talk, 7, f"list {number}", topic(talk.name(f"a{number}"), -1, -1, assignments=listed))
    ask(talk, 7, "and a count", topic(talk.name("b1"), 1, -1, assignments=[(0, [node])]))
    ask(talk, 7, "and a factor", topic(talk.name("b2"), -1, 1, assignments=[(0, [node])]))
    ask(talk, 7, "and both", topic(talk.name("b3"), 1, 1, assignments=[(0, [node])]))


@case("create topics: configs")
def configs(talk):
    number = 0
    for key, (right, wrong) in CONFIGS.items():
        for value in [*right, *wrong]:
            number += 1
            ask(talk, 7, f"{key}={value}", topic(talk.name(f"k{number}"), configs=[(key, value)]), validate=True)
    for key in UNKNOWN:
        number += 1
        ask(talk, 7, f"{key}=1", topic(talk.name(f"k{number}"), configs=[(key, "1")]), validate=True)
    ask(talk, 7, "the same twice", topic(talk.name("twice"), configs=[("retention.ms", "1"), ("retention.ms", "2")]))
    ask(talk, 7, "two wrong", topic(talk.name("two"), configs=[("retention.ms", "x"), ("segment.ms", "x")]), validate=True)
    ask(talk, 7, "wrong and unknown", topic(talk.name("two"), configs=[("retention.ms", "x"), ("nothing", "x")]), validate=True)
    ask(talk, 7, "lags that cross", validate=True, *[topic(talk.name("lags"), configs=[
        ("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")])])
    ask(talk, 7, "local above all", topic(talk.name("l"), configs=[("local.retention.ms", "10"), ("retention.ms", "5")]), validate=True)
    ask(talk, 7, "remote and compact", topic(talk.name("l"), configs=[("remote.storage.enable", "true"), ("cleanup.policy", "compact")]), validate=True)
    ask(talk, 7, "wrong name and wrong config", topic("a b", configs=[("retention.ms", "x")]), validate=True)
    ask(talk, 7, "wrong config and wrong count", topic(talk.name("l"), 0, configs=[("retention.ms", "x")]), validate=True)
    ask(talk, 7, "wrong factor and wrong count", topic(talk.name("l"), 0, 5), validate=True)


def delete(talk, version, about, names=(), ids=(), timeout=20_000, pairs=()):
    asked = {"TopicNames": list(names), "TimeoutMs": timeout, "Topics": [
        *({"Name": name} for name in names), *({"Name": None, "TopicId": one} for one in ids),
        *({"Name": name, "TopicId": one} for name, one in pairs)]}
    frame = talk.exchange(talk.protocol.request("DeleteTopics", version, asked))
    answer = talk.protocol.response("DeleteTopics", version, frame)[1]
    answer["Responses"].sort(key=lambda one: (one["Name"] or "", one["ErrorCode"], one.get("TopicId", b"")))
    talk.note(f"DeleteTopics v{version} {about}", talk.plain(answer))


@case("delete topics")
def delete_topics(talk):
    for version in talk.versions("DeleteTopics"):
        one, two = talk.create(f"d{version}"), talk.create(f"e{version}")
        delete(talk, version, "none")
        delete(talk, version, "one of two, and unknown", [one, talk.name("unknown")])
        delete(talk, version, "again", [one])
        delete(talk, version, "twice", [two, two])
        delete(talk, version, "bad names", ["", "a b", "__cluster_metadata", "."])
        delete(talk, version, "with a timeout of 0", [two], timeout=0)
    three, four = talk.create("three"), talk.create("four")
    delete(talk, 6, "unknown id", ids=[b"\1" * 16])
    delete(talk, 6, "zero id", ids=[bytes(16)])
    delete(talk, 6, "zero id twice", ids=[bytes(16), bytes(16)])
    delete(talk, 6, "both", pairs=[(three, talk.topics[three])])
    delete(talk, 6, "id twice", ids=[talk.topics[three], talk.topics[three]])
    delete(talk, 6, "name and id of one", [three], [talk.topics[three]])
    delete(talk, 6, "name and id of two", [three], [talk.topics[four]])
    delete(talk, 6, "id of what is gone", ids=[talk.topics[three]])


@case("delete topics: switched off", **{"delete.topic.enable": "false"})
def delete_disabled(talk):
    name = talk.create("kept")
    for version in talk.versions("DeleteTopics"):
        delete(talk, version, "that is not allowed", [name, "unknown"])
