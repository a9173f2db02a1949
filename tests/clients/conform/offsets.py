"""ListOffsets and OffsetForLeaderEpoch."""

import time

from .batch import batch, record
from .talk import case

# An hour ago: what is older than retention.ms may go at any time.
BASE = int(time.time()) * 1000 - 3_600_000
SPECIAL = (-1, -2, -3, -4, -5, -6, -7, -8, -100, -2**63)


def ask(talk, version, about, topic, *parts, isolation=0, replica=-1):
    listed = [{"PartitionIndex": index, "Timestamp": time, "CurrentLeaderEpoch": epoch} for index, time, epoch in parts]
    talk.ask("ListOffsets", version, {"ReplicaId": replica, "IsolationLevel": isolation, "TimeoutMs": 1000,
                                      "Topics": [{"Name": topic, "Partitions": listed}]}, about)


@case("list offsets: every version")
def every_version(talk):
    topic = talk.create("t", 3)
    # Times that go up and down, within batches and between them, compressed and not.
    times = [[0, 10, 5], [30, 20], [20], [100, 90, 95, 100]]
    for number, deltas in enumerate(times):
        payload = b"".join(record(b"v", b"k", index, delta) for index, delta in enumerate(deltas))
        talk.produced(topic, batch(len(deltas), payload=payload, timestamp=BASE, max_timestamp=BASE + max(deltas),
                                   codec=["none", "gzip", "none", "lz4"][number]))
    talk.produced(topic, batch(2, timestamp=-1), partition=2)
    for version in talk.versions("ListOffsets"):
        for time in SPECIAL:
            ask(talk, version, f"time {time}", topic, (0, time, -1))
            ask(talk, version, f"time {time}, an empty partition", topic, (1, time, -1))
            ask(talk, version, f"time {time}, no times", topic, (2, time, -1))
        for when in (0, 1, BASE - 1, *(BASE + delta for delta in (0, 1, 5, 6, 10, 11, 20, 21, 30, 31, 90, 95, 96, 100, 101)), 2**63 - 1):
            ask(talk, version, f"time {when - BASE}", topic, (0, when, -1))
        ask(talk, version, "0, an empty partition", topic, (1, 0, -1))
        ask(talk, version, "0, no times", topic, (2, 0, -1))
        ask(talk, version, "partition 3", topic, (3, -1, -1))
        ask(talk, version, "partition -1", topic, (-1, -1, -1))
        ask(talk, version, "an unknown topic", talk.name("unknown"), (0, -1, -1))
        ask(talk, version, "no name", "", (0, -1, -1))
        ask(talk, version, "a bad name", "a b", (0, -1, -1))
        ask(talk, version, "a partition twice", topic, (0, -1, -1), (0, -2, -1))
        ask(talk, version, "three", topic, (0, -1, -1), (1, -1, -1), (2, -2, -1))
        ask(talk, version, "no partition", topic)
        talk.ask("ListOffsets", version, {"ReplicaId": -1, "Topics": []}, "nothing")
        for isolation in (1, 2, -1):
            ask(talk, version, f"isolation {isolation}", topic, (0, -1, -1), isolation=isolation)
        for replica in (-2, -3, 0, 5):
            ask(talk, version, f"replica {replica}", topic, (0, -1, -1), replica=replica)
        both = [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "Timestamp": time}]} for time in (-1, -2)]
        talk.ask("ListOffsets", version, {"ReplicaId": -1, "Topics": both}, "a topic twice")
    for version in (0, 12):
        talk.raw(talk.protocol.request("ListOffsets", 1, {"ReplicaId": -1, "Topics": []})[:6] + bytes([0, version]) + b"\0" * 20, f"version {version}")


@case("list offsets: leader epochs")
def list_epochs(talk):
    topic = talk.create("t")
    talk.produced(topic, batch(3))
    now = talk.epochs[topic]
    for version in talk.versions("ListOffsets", 4):
        for about, epoch in (("-2", -2), ("right", now), ("ahead", now + 1), ("far ahead", 2**31 - 1)):
            for time in (-1, -2, -3, 0):
                ask(talk, version, f"epoch {about}, time {time}", topic, (0, time, epoch))
        ask(talk, version, "epoch ahead, unknown partition", topic, (5, -1, now + 1))


@case("list offsets: stamped by the broker")
def append_time(talk):
    topic = talk.create("t", message_timestamp_type="LogAppendTime")
    talk.produced(topic, batch(3, timestamp=5))
    talk.produced(topic, batch(3, timestamp=5, codec="gzip"))
    for version in (1, 4, 7, 11):
        for time in (-1, -2, 0, 5, 2**62):
            frame = talk.call("ListOffsets", version, {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "Timestamp": time}]}]})
            found = frame["Topics"][0]["Partitions"][0]
            found["Timestamp"] = "a time" if found["Timestamp"] > BASE else found["Timestamp"]
            talk.note(f"ListOffsets v{version} time {time}", talk.plain(frame))


@case("offset for leader epoch")
def epoch_ends(talk):
    topic = talk.create("t", 2)
    talk.produced(topic, batch(3))
    now = talk.epochs[topic]
    for version in talk.versions("OffsetForLeaderEpoch"):
        def asks(about, name, *parts, replica=-1):
            listed = [{"Partition": index, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch} for index, current, epoch in parts]
            body = {"Topics": [{"Topic": name, "Partitions": listed}]}
            if version >= 3:
                body["ReplicaId"] = replica
            talk.ask("OffsetForLeaderEpoch", version, body, about)

        for index in (0, 1):
            for about, current in (("none", -1), ("-2", -2), ("right", now), ("ahead", now + 1)):
                for wanted, epoch in (("-1", -1), ("-2", -2), ("this", now), ("next", now + 1), ("last", 2**31 - 1)):
                    asks(f"partition {index}, current {about}, epoch {wanted}", topic, (index, current, epoch))
        asks("partition 2", topic, (2, -1, now))
        asks("partition -1", topic, (-1, -1, now))
        asks("an unknown topic", talk.name("unknown"), (0, -1, now))
        asks("no name", "", (0, -1, now))
        asks("twice", topic, (0, -1, now), (0, -1, now))
        asks("no partition", topic)
        asks("both", topic, (0, -1, now), (1, -1, now))
        talk.ask("OffsetForLeaderEpoch", version, {"ReplicaId": -2, "Topics": []}, "nothing")
        for replica in (-2, 0, 5):
            asks(f"replica {replica}", topic, (0, -1, now), replica=replica)
