"""Produce: who is asked, what is sent, what becomes of it.

Records that are null are not sent: each one ends one of Kafka's request threads for good. Ours refuses them.
"""

import os
import struct
import time

from .batch import batch, compress, message, record
from .fetch import body, part
from .talk import Closed, case

NOW = int(time.time() * 1000)
HOUR = 3_600_000


def ask(talk, version, about, topic, data, **options):
    talk.ask("Produce", version, talk.produce_body(topic, data, version, **options), about)


def ends(talk, topic, partitions=1):
    """What is in the log after all that."""
    talk.ask("ListOffsets", 7, {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [
        {"PartitionIndex": index, "Timestamp": -1} for index in range(partitions)]}]}, f"end of {topic}")


@case("produce: every version")
def every_version(talk):
    topic = talk.create("t", 2)
    unknown = talk.name("unknown")
    for version in talk.versions("Produce", 3):
        ask(talk, version, "one record", topic, batch())
        ask(talk, version, "five records, acks 1", topic, batch(5), acks=1)
        ask(talk, version, "partition 1", topic, batch(3), partition=1)
        ask(talk, version, "partition 2", topic, batch(), partition=2)
        ask(talk, version, "partition -1", topic, batch(), partition=-1)
        ask(talk, version, "unknown topic", unknown, batch())
        ask(talk, version, "acks 2", topic, batch(), acks=2)
        ask(talk, version, "acks -2", topic, batch(), acks=-2)
        ask(talk, version, "acks 2, unknown topic", unknown, batch(), acks=2)
        ask(talk, version, "no topic, no name", "", batch())
        ask(talk, version, "a bad topic name", "a b", batch())
        ask(talk, version, "empty records", topic, b"")
        ask(talk, version, "bad CRC", topic, batch(crc=1))
        ask(talk, version, "zstd", topic, batch(3, codec="zstd"))
        ask(talk, version, "timeout 0", topic, batch(), timeout=0)
        ask(talk, version, "timeout -1", topic, batch(), timeout=-1)
        talk.ask("Produce", version, {"TransactionalId": None, "Acks": -1, "TimeoutMs": 1000, "TopicData": []}, "nothing")
        named = talk.produce_body(topic, batch(), version)
        named["TopicData"][0]["PartitionData"] = []
        talk.ask("Produce", version, named, "a topic without partitions")
    for version in (-1, 0, 1, 2, 14):
        good = talk.protocol.request("Produce", 3, talk.produce_body(topic, batch(), 3))
        talk.raw(good[:6] + struct.pack(">h", version) + good[8:], f"version {version}")
    ends(talk, topic, 2)


@case("produce: many in one request")
def many(talk):
    one, two = talk.create("one", 3), talk.create("two", 1)

    def parts(*data):
        return [{"Index": index, "Records": records} for index, records in data]

    for version in (3, 7, 8, 9, 12):
        def all_of(*topics):
            return {"TransactionalId": None, "Acks": -1, "TimeoutMs": 5000, "TopicData": [
                {"Name": name, "PartitionData": listed} for name, listed in topics]}

        talk.ask("Produce", version, all_of((one, parts((0, batch()), (1, batch(crc=3)), (2, batch(2)))), (two, parts((0, batch()), (7, batch())))), "good and bad")
        talk.ask("Produce", version, all_of((one, parts((0, batch()), (0, batch(2))))), "a partition twice")
        talk.ask("Produce", version, all_of((one, parts((0, batch()))), (one, parts((1, batch())))), "a topic twice")
        talk.ask("Produce", version, all_of((one, parts((2, batch()), (1, b""), (0, b"")))), "some without records")
    ends(talk, one, 3)
    ends(talk, two)


BAD = {
    "two batches": batch() + batch(2),
    "half a batch": batch(5)[:-3],
    "only a header": batch()[:61],
    "half a header": batch()[:30],
    "17 bytes": batch()[:17],
    "11 bytes": batch()[:11],
    "one byte": b"\0",
    "trailing bytes": batch() + b"\0\0\0",
    "trailing half batch": batch() + batch()[:40],
    "magic 0": message(0),
    "magic 1": message(1),
    "two of magic 1": message(1) + message(1),
    "magic 3": batch(magic=3),
    "magic -1": batch(magic=-1),
    "CRC 0": batch(crc=0),
    "length 0": batch(length=0),
    "length -1": batch(length=-1),
    "length 48": batch(length=48),
    "length 49": batch(length=49),
    "length one less": batch(length=len(batch()) - 13),
    "length one more": batch(length=len(batch()) - 11),
    "length huge": batch(length=2**31 - 1),
    "base offset 5": batch(base=5),
    "base offset -1": batch(base=-1),
    "leader epoch 77": batch(leader_epoch=77),
    "last offset delta one more": batch(3, last_delta=3),
    "last offset delta one less": batch(3, last_delta=1),
    "last offset delta -1": batch(3, last_delta=-1),
    "last offset delta huge": batch(3, last_delta=2**31 - 1),
    "count one more": batch(3, count=4, last_delta=2),
    "count one more, delta too": batch(3, count=4),
    "count one less": batch(3, count=2, last_delta=2),
    "count one less, delta too": batch(3, count=2),
    "count 0": batch(0),
    "count 0 with records": batch(3, count=0, last_delta=2),
    "count -1": batch(3, count=-1, last_delta=2),
    "count huge": batch(3, count=2**31 - 1),
    "no record at all, count 1": batch(1, payload=b""),
    "control": batch(attributes=0x20),
    "transactional": batch(attributes=0x10),
    "transactional with a producer": batch(attributes=0x10, producer=4711, epoch=0, sequence=0),
    "control and transactional": batch(attributes=0x30, producer=4711, epoch=0, sequence=0),
    "says LogAppendTime": batch(attributes=8),
    "delete horizon": batch(attributes=0x40),
    "unknown attributes": batch(attributes=0x7f80 - 0x10000 & 0x7f80),
    "codec 5": batch(attributes=5),
    "codec 6": batch(attributes=6),
    "codec 7": batch(attributes=7),
    "record deltas 0, 2": batch(2, payload=record() + record(delta=2)),
    "record deltas 1, 0": batch(2, payload=record(delta=1) + record()),
    "record deltas all 0": batch(2, payload=record() + record()),
    "record of negative length": batch(1, payload=record(length=-5)),
    "record of length 0": batch(1, payload=b"\0"),
    "record longer than it is": batch(1, payload=record(length=200)),
    "record shorter than it is": batch(1, payload=record(length=8)),
    "record with attributes": batch(1, payload=record(attributes=1)),
    "bytes behind the last record": batch(1, payload=record() + b"\1\2\3"),
    "a header with a null key": batch(1, payload=record(headers=[(None, b"x")])),
    "a header with a null value": batch(1, payload=record(headers=[(b"k", None)])),
    "a header without a name": batch(1, payload=record(headers=[(b"", b"")])),
    "a header twice": batch(1, payload=record(headers=[(b"a", b"1"), (b"a", b"2")])),
    "a null key and a null value": batch(1, payload=record(None, None)),
    "a producer without a sequence": batch(producer=4711, epoch=0, sequence=-1),
    "a producer without an epoch": batch(producer=4711, epoch=-1, sequence=0),
    "a sequence without a producer": batch(producer=-1, epoch=0, sequence=5),
    "producer -2": batch(producer=-2, epoch=0, sequence=0),
    "sequence -2": batch(producer=4711, epoch=0, sequence=-2),
    "an unknown producer, from 0": batch(producer=991, epoch=0, sequence=0),
    "an unknown producer, from 9": batch(producer=992, epoch=0, sequence=9),
    "an unknown producer, epoch 5": batch(producer=993, epoch=5, sequence=0),
}


@case("produce: bad batches")
def bad(talk):
    for version in (3, 8, 11, 13):
        for about, data in BAD.items():
            # A topic for each: what was accepted must not be seen by the next.
            topic = talk.create(f"{version}{about.replace(' ', '').replace(',', '')}")
            ask(talk, version, about, topic, data)
            ends(talk, topic)


@case("produce: acks 0")
def no_acks(talk):
    topic = talk.create("t", 2)
    for about, body in {
        "a good batch": talk.produce_body(topic, batch(3), 9, acks=0),
        "an unknown topic": talk.produce_body(talk.name("unknown"), batch(), 9, acks=0),
        "an unknown partition": talk.produce_body(topic, batch(), 9, 5, acks=0),
        "a bad batch": talk.produce_body(topic, batch(crc=5), 9, acks=0),
        "no records": talk.produce_body(topic, b"", 9, acks=0),
        "nothing": {"TransactionalId": None, "Acks": 0, "TimeoutMs": 0, "TopicData": []},
    }.items():
        talk.hang_up()
        talk.call("ApiVersions", 0, {})
        # What is answered first: the question behind it, or nothing.
        try:
            talk.connection.send(talk.protocol.request("Produce", 9, body, correlation=7))
            time.sleep(0.2)
            frame = talk.exchange(talk.protocol.request("ApiVersions", 0, {}, correlation=8))
            talk.note(f"{about}, then a question", struct.unpack(">i", frame[:4])[0])
        except Closed:
            talk.note(f"{about}, then a question", "closed")
    ends(talk, topic)


@case("produce: compression")
def compression(talk):
    content = b"".join(record(b"value %d" % number * 20, b"k", number) for number in range(50))
    for version in (3, 6, 7, 9):
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            good = compress(codec, content)
            for about, raw in {
                "good": good, "cut": good[:-5], "empty": b"", "garbage": os.urandom(40) if codec != "none" else b"\xff" * 40,
                "flipped": good[:30] + bytes([good[30] ^ 0xff]) + good[31:], "trailing": good + b"\0\0\0\0",
            }.items():
                topic = talk.create(f"{version}{codec}{about}")
                ask(talk, version, f"{codec}, {about}", topic, batch(50, codec=codec, raw=raw))
                ends(talk, topic)
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        topic = talk.create(f"few{codec}")
        ask(talk, 9, f"{codec}, fewer records than it says", topic, batch(51, codec=codec, raw=compress(codec, content)))
        ask(talk, 9, f"{codec}, more records than it says", topic, batch(49, codec=codec, raw=compress(codec, content)))
        deltas = record() + record(delta=5)
        ask(talk, 9, f"{codec}, deltas 0 and 5", topic, batch(2, codec=codec, raw=compress(codec, deltas)))
        ends(talk, topic)
    java = b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
    import snappy

    framed = snappy.compress(content)
    topic = talk.create("xerial")
    ask(talk, 9, "snappy in Java's frame", topic, batch(50, codec="snappy", raw=java + struct.pack(">i", len(framed)) + framed))
    ask(talk, 9, "snappy in Java's frame, a wrong length", topic, batch(50, codec="snappy", raw=java + struct.pack(">i", 7) + framed))
    ends(talk, topic)


@case("produce: compressed by the topic")
def compressed_by_topic(talk):
    for kind in ("gzip", "snappy", "lz4", "uncompressed", "zstd", "producer"):
        for codec in ("none", "lz4", "gzip", "zstd"):
            topic = talk.create(f"{kind}{codec}", compression_type=kind)
            ask(talk, 9, f"{codec} to {kind}", topic, batch(20, codec=codec))
            ends(talk, topic)
            # (Garbage in a batch that is to be encoded anew is an error of Kafka's own: UNKNOWN_SERVER_ERROR.) What can be told of the encoded batch without its encoder's taste.
            for version in (9, 10):
                found = talk.call("Fetch", version, body(talk, version, topic, part(0, 0)))["Responses"][0]["Partitions"][0]
                told = {"ErrorCode": found["ErrorCode"], "HighWatermark": found["HighWatermark"]}
                if found["Records"]:
                    told["attributes"] = struct.unpack(">h", found["Records"][21:23])[0]
                    told["rest"] = found["Records"][23:27] + found["Records"][43:61]
                talk.note(f"Fetch v{version} {codec} to {kind}", told)
    topic = talk.create("grown", compression_type="uncompressed", max_message_bytes=2000)
    ask(talk, 9, "small as sent, too large as stored", topic, batch(1, values=[b"x" * 5000], codec="gzip"))
    ends(talk, topic)


@case("produce: sizes")
def sizes(talk):
    topic = talk.create("t", max_message_bytes=1000)
    for size in (800, 900, 932, 933, 934, 935, 936, 940, 2000):
        ask(talk, 9, f"{size} bytes", topic, batch(values=[b"x" * (size - 61)], key=None))
    ends(talk, topic)
    default = talk.create("default")
    value = b"x" * 1_048_588
    for more in (-80, -75, -73, -72, -71, -70, -60, 0, 100):
        data = batch(values=[value[:len(value) + more]] if more <= 0 else [value + b"y" * more], key=None, crc=0)
        ask(talk, 9, f"the default limit {more}", default, data)
    zero = talk.create("zero", max_message_bytes=0)
    ask(talk, 9, "into a topic that takes nothing", zero, batch())
    ends(talk, zero)


@case("produce: timestamps")
def timestamps(talk):
    plain = talk.create("plain")
    limited = talk.create("limited", message_timestamp_before_max_ms=HOUR, message_timestamp_after_max_ms=HOUR)
    append = talk.create("append", message_timestamp_type="LogAppendTime")
    for name, topic in (("plain", plain), ("limited", limited), ("LogAppendTime", append)):
        for about, options in {
            "now": {}, "two hours ago": {"timestamp": NOW - 2 * HOUR}, "in two hours": {"timestamp": NOW + 2 * HOUR},
            "0": {"timestamp": 0}, "-1": {"timestamp": -1}, "-2": {"timestamp": -2}, "lowest": {"timestamp": -2**63},
            "highest": {"timestamp": 2**63 - 1}, "year 9999": {"timestamp": 253_402_300_799_000},
            "a max that lies": {"max_timestamp": NOW + 10 * HOUR}, "a max below": {"max_timestamp": 5},
            "compressed": {"codec": "gzip", "timestamp": NOW - 1000},
            "compressed, two hours ago": {"codec": "gzip", "timestamp": NOW - 2 * HOUR},
            "compressed, a max that lies": {"codec": "gzip", "timestamp": NOW - 1000, "max_timestamp": NOW + 10 * HOUR},
            "compressed, a max below": {"codec": "lz4", "timestamp": NOW - 1000, "max_timestamp": 5},
            "one too old of three": {"payload": b"".join(record(delta=number, time_delta=delta) for number, delta in enumerate((0, -2 * HOUR, 0))), "count": 3},
        }.items():
            for version in (7, 9):
                ask(talk, version, f"{name}: {about}", topic, batch(**options))
        ends(talk, topic)


@case("produce: compacted topics")
def compacted(talk):
    topic = talk.create("t", cleanup_policy="compact")
    both = talk.create("both", cleanup_policy="compact,delete")
    for version in (7, 8, 9):
        for name in (topic, both):
            ask(talk, version, "with keys", name, batch(3))
            ask(talk, version, "without keys", name, batch(3, key=None))
            ask(talk, version, "with empty keys", name, batch(3, key=b""))
            ask(talk, version, "the second without a key", name, batch(2, payload=record() + record(key=None, delta=1)))
            ask(talk, version, "compressed, without keys", name, batch(3, key=None, codec="gzip"))
            ask(talk, version, "compressed, the second without a key", name, batch(2, codec="zstd" if version > 6 else "gzip", payload=record() + record(key=None, delta=1)))
            ask(talk, version, "tombstones", name, batch(2, payload=record(None) + record(None, delta=1)))
    ends(talk, topic)


@case("produce: in sync replicas")
def in_sync(talk):
    topic = talk.create("t", min_insync_replicas=2)
    for version in (3, 9, 13):
        for acks in (-1, 1):
            ask(talk, version, f"acks {acks}", topic, batch(), acks=acks)
    ends(talk, topic)


@case("produce: transactional")
def transactional(talk):
    topic = talk.create("t")
    for version in (3, 9, 11, 12, 13):
        ask(talk, version, "an id, a plain batch", topic, batch(), transactional="tx")
        ask(talk, version, "an empty id", topic, batch(), transactional="")
    ends(talk, topic)
