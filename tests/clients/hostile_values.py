"""Attacks with requests that are well formed and ask for what cannot be: each must be answered with Kafka's own error code.

Names, numbers, counts inside of records, and ten thousand of everything in one request.
"""

import struct

from conform.batch import batch, compress, record, varint
from conform.talk import Closed, Talk
from hostile_bodies import attack

UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC, INVALID_ACKS, OUT_OF_RANGE, INVALID_REQUEST = 3, 17, 21, 1, 42
CORRUPT, INVALID_RECORD, EXISTS = 2, 87, 36
MANY = 10_000


def asking(target):
    return Talk(target.protocol, target.port, "")


def expect(about, found, allowed):
    assert found in allowed, f"{about}: error {found}, expected {allowed}"


def end_of(talk, topic, partition=0):
    answer = talk.call("ListOffsets", 7, {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": partition, "Timestamp": -1}]}]})
    return answer["Topics"][0]["Partitions"][0]["Offset"]


def produce(talk, topic, data, acks=-1, partition=0, timeout=1000):
    body = {"TransactionalId": None, "Acks": acks, "TimeoutMs": timeout, "TopicData": [
        {"Name": topic, "PartitionData": [{"Index": partition, "Records": data}]}]}
    return talk.call("Produce", 9, body)["Responses"][0]["PartitionResponses"][0]["ErrorCode"]


def fetch(talk, topic, offset=0, partition=0, part_bytes=1 << 16, **more):
    body = {"ReplicaId": -1, "MaxWaitMs": 10, "MinBytes": 1, "MaxBytes": 1 << 20, **more, "Topics": [
        {"Topic": topic, "Partitions": [{"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": part_bytes}]}]}
    return talk.call("Fetch", 12, body)["Responses"][0]["Partitions"][0]["ErrorCode"]


@attack
def numbers(target):
    """Acks, offsets, sizes, times and partitions that cannot be."""
    talk = asking(target)
    before = end_of(talk, "hostile")
    for acks in (2, 3, -2, 100, 32767, -32768):
        expect(f"acks {acks}", produce(talk, "hostile", batch(), acks), [INVALID_ACKS])
    assert end_of(talk, "hostile") == before, "a batch with wrong acks was written"
    for partition in (-1, 3, 2**31 - 1, -2**31):
        expect(f"produce to {partition}", produce(talk, "hostile", batch(), partition=partition), [UNKNOWN_TOPIC_OR_PARTITION])
        expect(f"fetch from {partition}", fetch(talk, "hostile", partition=partition), [UNKNOWN_TOPIC_OR_PARTITION])
    for offset in (-1, -2, -2**63, 2**63 - 1, 1 << 40):
        expect(f"offset {offset}", fetch(talk, "hostile", offset), [OUT_OF_RANGE])
    for size in (-1, -2**31, 0, 2**31 - 1):
        for more in ({"MaxBytes": size}, {"MinBytes": size, "MaxWaitMs": 0}, {"part_bytes": size}, {"MaxWaitMs": min(size, 100)}):
            expect(f"{more}", fetch(talk, "hostile", 0, **more), [0, -1])
    for timeout in (-1, -2**31, 0):
        expect(f"timeout {timeout}", produce(talk, "hostile", batch(), timeout=timeout), [0, 7])
    for timestamp in (-7, -2**63, 2**63 - 1):
        talk.call("ListOffsets", 7, {"ReplicaId": -1, "Topics": [{"Name": "hostile", "Partitions": [{"PartitionIndex": 0, "Timestamp": timestamp}]}]})
    talk.hang_up()


@attack
def names(target):
    """Names of topics that are none, too long, or there twice."""
    talk = asking(target)

    def create(names):
        topics = [{"Name": name, "NumPartitions": 1, "ReplicationFactor": 1} for name in names]
        answer = talk.call("CreateTopics", 7, {"Topics": topics, "timeoutMs": 1000, "validateOnly": False})
        return [(topic["ErrorCode"], topic["ErrorMessage"]) for topic in answer["Topics"]]

    for name in ("", ".", "..", "x" * 250, "x" * 32_000, "a/b", "../../etc", "a b", "a\0b", "\u00fc", "a\n", "%s", "a:b", "\u202e", "C:\\x"):
        (error, text), = create([name])
        expect(f"topic {name[:20]!r}", error, [INVALID_TOPIC])
        assert text, f"no message for {name[:20]!r}"
        talk.call("Metadata", 9, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": True})
        expect(f"produce to {name[:20]!r}", produce(talk, name, batch()), [UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC])
    for error, _ in create(["twice", "twice"]):
        expect("a topic twice", error, [INVALID_REQUEST])
    expect("a topic that exists", create(["hostile"])[0][0], [EXISTS])
    talk.hang_up()


@attack
def ten_thousand(target):
    """Ten thousand of everything in one request."""
    talk = asking(target)
    some = ["no-such-%d" % number for number in range(MANY)]
    data = batch()
    asked = {
        "CreateTopics, only looked at": ("CreateTopics", 7, {"Topics": [{"Name": name, "NumPartitions": 1, "ReplicationFactor": 1} for name in some], "timeoutMs": 1000, "validateOnly": True}),
        "DeleteTopics": ("DeleteTopics", 5, {"TopicNames": some, "TimeoutMs": 1000}),
        "Metadata": ("Metadata", 9, {"Topics": [{"Name": name} for name in some], "AllowAutoTopicCreation": False}),
        "Produce": ("Produce", 9, {"TransactionalId": None, "Acks": -1, "TimeoutMs": 1000, "TopicData": [{"Name": name, "PartitionData": [{"Index": 0, "Records": data}]} for name in some]}),
        "Produce to one partition": ("Produce", 9, {"TransactionalId": None, "Acks": -1, "TimeoutMs": 1000, "TopicData": [{"Name": "hostile", "PartitionData": [{"Index": 0, "Records": data}] * MANY}]}),
        "Fetch": ("Fetch", 12, {"ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 1, "MaxBytes": 1 << 20, "Topics": [{"Topic": name, "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1000}]} for name in some]}),
        "ListOffsets": ("ListOffsets", 7, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]} for name in some]}),
        "OffsetCommit": ("OffsetCommit", 8, {"GroupId": "hostile", "GenerationIdOrMemberEpoch": -1, "MemberId": "", "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1, "CommittedMetadata": ""}]} for name in some]}),
        "OffsetFetch": ("OffsetFetch", 8, {"Groups": [{"groupId": name, "Topics": None} for name in some]}),
        "DescribeGroups": ("DescribeGroups", 5, {"Groups": some}),
        "FindCoordinator": ("FindCoordinator", 4, {"KeyType": 0, "CoordinatorKeys": some}),
        "DescribeConfigs": ("DescribeConfigs", 4, {"Resources": [{"ResourceType": 2, "ResourceName": name, "ConfigurationKeys": None} for name in some]}),
    }
    for about, (api, version, body) in asked.items():
        try:
            talk.call(api, version, body)
            print(f"    {about}: answered; {target.broker_rss() >> 20} MiB", flush=True)
        except Closed:
            print(f"    {about}: the connection is closed; {target.broker_rss() >> 20} MiB", flush=True)
            talk = asking(target)
    talk.hang_up()


@attack
def records_inside(target):
    """Counts and lengths inside of records that claim more than is there, plain and compressed by every codec."""
    talk = asking(target)
    before = end_of(talk, "hostile", 1)
    huge = [2**31 - 1, 2**31, 2**62, 1 << 20, -2, -2**31]
    whole = record()
    payloads = [record(length=length) for length in huge]
    payloads += [varint(30) + b"\0" + varint(0) + varint(0) + varint(size) + b"key" for size in huge]
    payloads += [varint(30) + b"\0" + varint(0) + varint(0) + varint(-1) + varint(size) + b"value" for size in huge]
    payloads += [varint(30) + b"\0" + varint(0) + varint(0) + varint(-1) + varint(-1) + varint(count) for count in huge]
    payloads += [whole[:cut] for cut in range(len(whole))] + [b"\xff" * 40, b"\x80" * 40, b"\0" * 40]
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        for payload in payloads:
            error = produce(talk, "hostile", batch(1, payload=payload, codec=codec), partition=1)
            expect(f"{codec} {payload[:12].hex()}", error, [CORRUPT, INVALID_RECORD])
        for count in (0, -1, 2, 1000, 2**31 - 1, -2**31):
            error = produce(talk, "hostile", batch(1, payload=whole, codec=codec, count=count, last_delta=max(count - 1, 0) if count < 2**31 - 1 else 0), partition=1)
            expect(f"{codec} count {count}", error, [CORRUPT, INVALID_RECORD])
        if codec != "none":
            packed = compress(codec, whole * 50)
            for cut in (0, 1, len(packed) // 2, len(packed) - 1):
                error = produce(talk, "hostile", batch(50, raw=packed[:cut], codec=codec), partition=1)
                expect(f"{codec} cut at {cut}", error, [CORRUPT, INVALID_RECORD])
    assert end_of(talk, "hostile", 1) == before, "something of that was written"
    talk.hang_up()


@attack
def header_claims(target):
    """A snappy or zstd frame that announces more than the memory holds."""
    talk = asking(target)
    claims = {
        "snappy": b"\xff\xff\xff\xff\x0f" + b"\0" * 20,
        "zstd": struct.pack("<I", 0xfd2fb528) + b"\xe0" + struct.pack("<Q", 1 << 40) + b"\0" * 8,
        "lz4": struct.pack("<I", 0x184d2204) + b"\x4c\x70" + struct.pack("<Q", 1 << 40) + b"\0" + struct.pack("<I", 4) + b"\0\0\0\0",
        "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\xff" * 20,
    }
    for codec, raw in claims.items():
        error = produce(talk, "hostile", batch(1, raw=raw, codec=codec), partition=1)
        expect(f"{codec} that claims", error, [CORRUPT, INVALID_RECORD])
    talk.hang_up()
