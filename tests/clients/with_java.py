"""Apache Kafka's own command-line tools."""

import json
import re
import tempfile

from checks import check, expect, expect_in, java


def topic_command(suite, *arguments, **options):
    return java("TopicCommand", "--bootstrap-server", suite.bootstrap, *arguments, **options)


@check("java", "TopicCommand creates, lists, describes and deletes")
def topics(suite):
    topic = suite.topic("java-topics")
    topic_command(suite, "--create", "--topic", topic, "--partitions", "3", "--config", "retention.ms=123456")
    expect_in(topic, topic_command(suite, "--list").split(), "the list")
    described = topic_command(suite, "--describe", "--topic", topic)
    expect_in("PartitionCount: 3", described)
    expect_in("retention.ms=123456", described)
    expect(len(re.findall(r"Partition: \d+\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+", described)), 3, "partitions")
    refused = topic_command(suite, "--create", "--topic", topic, fails=True)
    expect_in("already exists", refused)
    refused = topic_command(suite, "--create", "--topic", suite.topic("bad"), "--config", "retention.ms=soon", fails=True)
    expect_in("Invalid value soon for configuration retention.ms", refused)
    topic_command(suite, "--delete", "--topic", topic)
    if topic in topic_command(suite, "--list").split():
        raise AssertionError("the topic is still listed")


@check("java", "ConsoleProducer writes, ConsoleConsumer reads")
def console(suite):
    topic = suite.topic("java-console")
    lines = "".join(f"key {number}\tline {number}\n" for number in range(1000))
    java("ConsoleProducer", "--bootstrap-server", suite.bootstrap, "--topic", topic, "--compression-codec", "zstd",
         "--reader-property", "parse.key=true", input=lines)
    got = java("consumer.ConsoleConsumer", "--bootstrap-server", suite.bootstrap, "--topic", topic, "--partition", "0",
               "--offset", "earliest", "--max-messages", "1000", "--timeout-ms", "20000",
               "--formatter-property", "print.key=true")
    expect(got, lines, "what was read")


@check("java", "ProducerPerformance writes 100,000 records, none", codec="none")
@check("java", "ProducerPerformance writes 100,000 records, gzip", codec="gzip")
@check("java", "ProducerPerformance writes 100,000 records, snappy", codec="snappy")
@check("java", "ProducerPerformance writes 100,000 records, lz4", codec="lz4")
@check("java", "ProducerPerformance writes 100,000 records, zstd", codec="zstd")
def performance(suite, codec):
    topic = suite.topic(f"java-performance-{codec}")
    topic_command(suite, "--create", "--topic", topic, "--partitions", "4")
    printed = java("ProducerPerformance", "--bootstrap-server", suite.bootstrap, "--topic", topic, "--num-records",
                   "100000", "--record-size", "1024", "--throughput", "-1", "--command-property", "acks=all",
                   f"compression.type={codec}")
    expect_in("100000 records sent", printed)
    ends = java("GetOffsetShell", "--bootstrap-server", suite.bootstrap, "--topic", topic, "--time", "-1")
    counts = [int(line.split(":")[2]) for line in ends.split()]
    expect((len(counts), sum(counts)), (4, 100_000), "partitions and records")


@check("java", "GetOffsetShell: first, last and largest timestamp")
def offsets(suite):
    topic = suite.topic("java-offsets")
    java("ConsoleProducer", "--bootstrap-server", suite.bootstrap, "--topic", topic, input="a\nb\nc\n")
    shell = ["GetOffsetShell", "--bootstrap-server", suite.bootstrap, "--topic", topic, "--time"]
    expect(java(*shell, "-2"), f"{topic}:0:0\n", "the first offset")
    expect(java(*shell, "-1"), f"{topic}:0:3\n", "the end")
    expect(re.sub(r":\d+\n", ":n\n", java(*shell, "-3")), f"{topic}:0:n\n", "the largest timestamp's offset")


@check("java", "DeleteRecordsCommand moves the start of a log, and refuses what it must")
def delete_records(suite):
    topic = suite.topic("java-purge")
    java("ConsoleProducer", "--bootstrap-server", suite.bootstrap, "--topic", topic, input="a\nb\nc\n")

    def delete(topic, offset):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": offset}]}, file)
            file.flush()
            return java("DeleteRecordsCommand", "--bootstrap-server", suite.bootstrap, "--offset-json-file", file.name)

    shell = ["GetOffsetShell", "--bootstrap-server", suite.bootstrap, "--topic", topic, "--time"]
    expect_in("low_watermark: 2", delete(topic, 2))
    expect(java(*shell, "-2"), f"{topic}:0:2\n", "the first offset")
    expect_in("OffsetOutOfRangeException", delete(topic, 4))
    expect_in("low_watermark: 3", delete(topic, -1))
    expect(java(*shell, "-2"), f"{topic}:0:3\n", "the first offset")
    compacted = suite.topic("java-purge-compacted")
    topic_command(suite, "--create", "--topic", compacted, "--config", "cleanup.policy=compact")
    expect_in("PolicyViolationException", delete(compacted, 0))


@check("java", "ConfigCommand describes a topic")
def configs(suite):
    topic = suite.topic("java-configs")
    topic_command(suite, "--create", "--topic", topic, "--config", "segment.bytes=2097152")
    shown = java("kafka.admin.ConfigCommand", "--bootstrap-server", suite.bootstrap, "--describe", "--entity-type",
                 "topics", "--entity-name", topic, "--all")
    expect_in("segment.bytes=2097152 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:segment.bytes=2097152", shown)
    expect_in("retention.ms=604800000 sensitive=false", shown)
