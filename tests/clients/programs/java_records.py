"""Kafka's tools that write and read: console producer and consumer, offsets, deletion of records, performance."""

import re

import brokers

from .session import table


def offsets(s, topic, *args, **how):
    s.java("GetOffsetShell", *s.at, "--topic", topic, *args, **how)


def all_offsets(s):
    topic = s.topic("o", 2, 10)
    for time in ("-2", "-1", "-3", "-4", "-5", "earliest", "latest", "max-timestamp", "earliest-local", "latest-tiered"):
        offsets(s, topic, "--time", time)


def by_time(s):
    topic = s.topic("t", 1, 10)
    for time in (0, 1_700_000_000_000, 1_700_000_000_001, 1_700_000_004_500, 1_700_000_009_000, 1_700_000_009_001, 4_000_000_000_000):
        offsets(s, topic, "--time", time)


def some_partitions(s):
    topic = s.topic("p", 4, 3)
    offsets(s, topic, "--partitions", "0,2")
    offsets(s, topic, "--partitions", "9")
    s.java("GetOffsetShell", *s.at, "--topic-partitions", f"{topic}:0-2")
    s.java("GetOffsetShell", *s.at, "--topic-partitions", f"{s.prefix}.*:3")


def purge(s, topic, offset):
    content = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": offset}]}
    s.java("DeleteRecordsCommand", *s.at, "--offset-json-file", s.file("purge.json", content))


def purge_some(s):
    topic = s.topic("purged", 1, 10)
    purge(s, topic, 4)
    offsets(s, topic, "--time", "-2")
    purge(s, topic, 2)
    purge(s, topic, -1)
    offsets(s, topic, "--time", "-2")
    offsets(s, topic, "--time", "-3")


def purge_twice(s):
    topic = s.topic("purged", 1, 10)
    content = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": at} for at in (1, 2)]}
    s.java("DeleteRecordsCommand", *s.at, "--offset-json-file", s.file("twice.json", content))


table("java", [
    ("ListOffsets: first, last, largest timestamp, local, tiered", all_offsets),
    ("ListOffsets: by time", by_time),
    ("ListOffsets: some partitions, UNKNOWN_TOPIC_OR_PARTITION", some_partitions),
    ("ListOffsets: an unknown topic", lambda s: offsets(s, s.name("nobody"))),
    ("ListOffsets: a time that is none", lambda s: offsets(s, s.topic("o"), "--time", "now")),
    ("DeleteRecords: some, fewer, all", purge_some),
    ("DeleteRecords: OFFSET_OUT_OF_RANGE", lambda s: purge(s, s.topic("p", 1, 3), 4)),
    ("DeleteRecords: OFFSET_OUT_OF_RANGE, below -1", lambda s: purge(s, s.topic("p", 1, 3), -2)),
    ("DeleteRecords: POLICY_VIOLATION", lambda s: purge(s, s.topic("p", 1, 3, cleanup_policy="compact"), 1)),
    ("DeleteRecords: a partition twice", purge_twice),
])


def consume(s, topic, *args, **how):
    return s.java("consumer.ConsoleConsumer", *s.at, "--topic", topic, "--timeout-ms", "6000", *args, **how)


EVERYTHING = [part for name in ("key", "value", "offset", "partition", "headers", "timestamp", "epoch")
              for part in ("--formatter-property", f"print.{name}=true")]


def console(s):
    topic = s.topic("c")
    s.java("ConsoleProducer", *s.at, "--topic", topic, "--reader-property", "parse.key=true", "--reader-property", "parse.headers=true",
           "--reader-property", "null.marker=NULL", input="h1:v1,h2:v2\tkey 1\tvalue 1\nh:v\tkey 2\tNULL\nh:v\tNULL\tvalue 3\n")
    consume(s, topic, "--from-beginning", "--max-messages", 3, *EVERYTHING[:-4])


def console_read(s):
    topic = s.topic("c", 1, 10)
    consume(s, topic, "--partition", 0, "--offset", 7, "--max-messages", 3, *EVERYTHING)
    consume(s, topic, "--from-beginning", "--max-messages", 4, "--command-property", "isolation.level=read_committed", *EVERYTHING)


def console_group(s):
    topic, group = s.topic("c", 1, 10), s.name("console")
    for _ in range(2):
        consume(s, topic, "--group", group, "--from-beginning", "--max-messages", 5, *EVERYTHING)
    s.groups("--describe", "--group", group)


def out_of_range(s):
    topic = s.topic("c", 1, 3)
    consume(s, topic, "--partition", 0, "--offset", 100, "--max-messages", 1, "--command-property", "auto.offset.reset=none")


def too_large(s):
    topic = s.topic("large", max_message_bytes=1000)
    s.java("ProducerPerformance", *s.at, "--topic", topic, "--num-records", 1, "--record-size", 5000, "--throughput", -1,
           keep="RecordTooLarge|larger|MESSAGE_TOO_LARGE", digits=True)
    offsets(s, topic)


def performance(codec):
    def run(s):
        topic = s.topic("perf", 3)
        # Only the figures that the load decides are kept: how many records.
        done = s.java("ProducerPerformance", *s.at, "--topic", topic, "--num-records", 3000, "--record-size", 200, "--throughput", -1,
                      "--command-property", f"compression.type={codec}", "acks=all", quiet=True)
        s.note("sent", [done["exit"], re.findall(r"^3000 records sent", done["out"], re.M)])
        done = s.java("ConsumerPerformance", *s.at, "--topic", topic, "--num-records", 3000, "--hide-header", quiet=True)
        s.note("read", [done["exit"], [line.split(", ")[4] for line in done["out"].splitlines() if line.count(",") > 4]])
        done = s.java("GetOffsetShell", *s.at, "--topic", topic, quiet=True)
        s.note("offsets", sum(int(line.split(":")[2]) for line in done["out"].split()))
    return run


def verifiable(s):
    topic = s.topic("v", 1)
    # In a process of its own: what it still has to send and to say, it does as that ends.
    s.command(brokers.PEERS, "tool", "VerifiableProducer", *s.at, "--topic", topic, "--max-messages", 20, "--acks", -1, "--repeating-keys", 3,
              drop="tool_data")
    offsets(s, topic)


def too_few_replicas(s):
    # Only where two in-sync replicas are asked for and one can be.
    topic = s.topic("isr", 1, min_insync_replicas=2)
    s.java("ConsoleProducer", *s.at, "--topic", topic, "--command-property", "acks=all", "--command-property", "retries=0", input="x\n")
    offsets(s, topic)
    s.java("ConsoleProducer", *s.at, "--topic", topic, "--command-property", "acks=1", "--command-property", "enable.idempotence=false", input="x\n")
    offsets(s, topic)


table("java", [
    ("Produce, Fetch: keys, headers and nulls", console),
    ("Fetch: from an offset, and committed records", console_read),
    ("Fetch: in a group, twice", console_group),
    ("Fetch: OFFSET_OUT_OF_RANGE", out_of_range),
    ("Metadata: a consumer of a topic that does not exist", lambda s: consume(s, s.name("nobody"), "--command-property", "allow.auto.create.topics=false")),
    ("Produce: MESSAGE_TOO_LARGE", too_large),
    ("Produce: NOT_ENOUGH_REPLICAS", too_few_replicas),
    ("Produce, Fetch: performance, uncompressed", performance("none")),
    ("Produce, Fetch: performance, lz4", performance("lz4")),
    ("Produce: VerifiableProducer", verifiable),
    ("Produce: INVALID_TOPIC_EXCEPTION", lambda s: s.java("ConsoleProducer", *s.at, "--topic", "a b", input="x\n")),
    ("InitProducerId: a transaction begins", lambda s: s.java(
        "ProducerPerformance", *s.at, "--topic", s.topic("tx"), "--num-records", 5, "--record-size", 10, "--throughput", -1,
        "--transactional-id", s.name("tx"), "--transaction-duration-ms", 1000, "--command-property", "max.block.ms=5000", digits=True,
        keep="xception|5 records sent")),
])
