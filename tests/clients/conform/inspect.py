"""What consoles ask of a running broker: folders, producers, elections, reassignments, the metadata quorum, resources."""

import time

from . import batch
from .talk import case


@case("log dirs")
def log_dirs(talk):
    name, other = talk.create("sizes", 3), talk.create("others", 1)
    for _ in range(3):
        talk.produced(name, batch.batch(values=[b"v" * 1000]), partition=1)
    wanted = {"one": [(name, [0, 1, 2])], "two": [(other, [0]), (name, [1])], "one twice": [(name, [1]), (name, [1, 1])],
              "unknown": [(talk.name("unknown"), [0])], "an unknown partition": [(name, [1, 7, -1])], "no partition": [(name, [])],
              "no topic": []}
    for version in talk.versions("DescribeLogDirs"):
        for about, topics in wanted.items():
            ask(talk, version, about, [{"Topic": topic, "Partitions": listed} for topic, listed in topics])
        everything = talk.call("DescribeLogDirs", version, {"Topics": None})
        told = {topic["Name"]: len(topic["Partitions"]) for one in everything["Results"] for topic in one["Topics"]}
        talk.note(f"DescribeLogDirs v{version} all", f"{told.get(name)} and {told.get(other)} partitions")


def ask(talk, version, about, topics):
    answer = talk.call("DescribeLogDirs", version, {"Topics": topics})
    for one in answer["Results"]:
        one["LogDir"] = bool(one["LogDir"])
        if "TotalBytes" in one:
            one["TotalBytes"], one["UsableBytes"] = one["TotalBytes"] > 1 << 30, 0 < one["UsableBytes"] <= one["TotalBytes"]
        one["Topics"].sort(key=lambda topic: topic["Name"])
        for topic in one["Topics"]:
            topic["Partitions"].sort(key=lambda part: part["PartitionIndex"])
    talk.note(f"DescribeLogDirs v{version} {about}", talk.plain(answer))


@case("producers")
def producers(talk):
    name = talk.create("written", 2)
    one, two = talk.producer(), talk.producer()
    now = int(time.time() * 1000)
    for sequence in (0, 1):
        talk.produced(name, batch.batch(producer=one, epoch=0, sequence=sequence, timestamp=now), partition=1)
    talk.produced(name, batch.batch(3, producer=two, epoch=0, sequence=0, timestamp=now), partition=1)
    talk.produced(name, batch.batch(timestamp=now), partition=0)
    for about, topics in (
        ("both", [(name, [0, 1])]), ("one twice", [(name, [1, 1])]), ("unknown", [(talk.name("unknown"), [0])]),
        ("an unknown partition", [(name, [0, 2, -1])]), ("a bad name", [("a b", [0])]), ("no partition", [(name, [])]),
        ("nothing", []), ("a topic twice", [(name, [0]), (name, [1])]),
    ):
        body = {"Topics": [{"Name": topic, "PartitionIndexes": parts} for topic, parts in topics]}
        answer = talk.call("DescribeProducers", 0, body)
        for topic in answer["Topics"]:
            for part in topic["Partitions"]:
                part["ActiveProducers"].sort(key=lambda one: one["ProducerId"])
                for producer in part["ActiveProducers"]:
                    producer["LastTimestamp"] = "now" if producer["LastTimestamp"] == now else producer["LastTimestamp"]
        talk.note(f"DescribeProducers v0 {about}", talk.plain(answer))


@case("elections")
def elections(talk):
    name = talk.create("elects", 2)
    for version in talk.versions("ElectLeaders"):
        for kind in (0, 1, 2, -1) if version >= 1 else (0,):
            for about, topics in (
                ("both", [(name, [0, 1])]), ("unknown", [(talk.name("unknown"), [0, 1])]), ("an unknown partition", [(name, [1, 2, -1])]),
                ("nothing", []), ("no partition", [(name, [])]), ("a bad name", [("a b", [0])]), ("all", None),
                ("one twice", [(name, [0, 0])]),
            ):
                listed = topics if topics is None else [{"Topic": topic, "Partitions": parts} for topic, parts in topics]
                answer = talk.call("ElectLeaders", version, {"ElectionType": kind, "TopicPartitions": listed, "TimeoutMs": 5_000})
                if topics is None:
                    told = answer["ReplicaElectionResults"]
                    answer["ReplicaElectionResults"] = [one for one in told if one["Topic"] == name]
                talk.note(f"ElectLeaders v{version} type {kind}, {about}", talk.plain(answer))


@case("reassignments")
def reassignments(talk):
    name = talk.create("stays", 2)
    for about, topics in (("all", None), ("one", [(name, [0, 1])]), ("unknown", [(talk.name("unknown"), [0])]), ("nothing", []),
                          ("an unknown partition", [(name, [7, -1])]), ("a bad name", [("a b", [0])])):
        listed = topics if topics is None else [{"Name": topic, "PartitionIndexes": parts} for topic, parts in topics]
        talk.ask("ListPartitionReassignments", 0, {"TimeoutMs": 5_000, "Topics": listed}, about)


@case("quorum")
def quorum(talk):
    for version in talk.versions("DescribeQuorum"):
        for about, topics in (("the metadata log", [("__cluster_metadata", [0])]), ("another partition", [("__cluster_metadata", [1])]),
                              ("two", [("__cluster_metadata", [0, 1])]), ("another topic", [("other", [0])]), ("nothing", []),
                              ("twice", [("__cluster_metadata", [0]), ("__cluster_metadata", [0])]),
                              ("no partition", [("__cluster_metadata", [])])):
            body = {"Topics": [{"TopicName": topic, "Partitions": [{"PartitionIndex": part} for part in parts]} for topic, parts in topics]}
            answer = talk.call("DescribeQuorum", version, body)
            for topic in answer["Topics"]:
                for part in topic["Partitions"]:
                    part["LeaderEpoch"], part["HighWatermark"] = part["LeaderEpoch"] > 0, part["HighWatermark"] > 0
                    for replica in part["CurrentVoters"]:
                        replica["LogEndOffset"] = replica["LogEndOffset"] > 0
                        for stamp in ("LastFetchTimestamp", "LastCaughtUpTimestamp"):
                            if replica.get(stamp, -1) > 0:
                                replica[stamp] = "now" if abs(replica[stamp] - time.time() * 1000) < 60_000 else "then"
            talk.note(f"DescribeQuorum v{version} {about}", talk.plain(answer))


@case("config resources")
def config_resources(talk):
    name = talk.create("listed")
    for version in talk.versions("ListConfigResources"):
        for kinds in ([], [2], [4], [8], [16], [32], [2, 4], [0], [64], [2, 2], [-1]) if version >= 1 else ([],):
            answer = talk.call("ListConfigResources", version, {"ResourceTypes": kinds})
            kept = [one for one in answer["ConfigResources"] if one.get("ResourceType") != 2 or one["ResourceName"] == name]
            answer["ConfigResources"] = sorted(kept, key=lambda one: (one.get("ResourceType", 0), one["ResourceName"]))
            talk.note(f"ListConfigResources v{version} {kinds}", talk.plain(answer))
