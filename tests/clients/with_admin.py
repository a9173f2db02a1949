"""Administration with real tools: configurations, partitions, and everything that a console for Kafka asks."""

import re
import time

from checks import check, expect, expect_in, java
from with_java import topic_command


def config_command(suite, *arguments, **options):
    return java("kafka.admin.ConfigCommand", "--bootstrap-server", suite.bootstrap, *arguments, **options)


def describes(suite, wanted, *entity):
    """What `--describe` shows within a few seconds: Kafka's broker learns of a change after it was answered."""
    for _ in range(5):
        shown = config_command(suite, *entity, "--describe")
        if re.search(wanted, shown):
            return
        time.sleep(0.5)
    raise AssertionError(f"{wanted} is not in {shown!r:.600}")


@check("java", "ConfigCommand alters a topic: set, append, subtract, delete, refused")
def topic_configs(suite):
    topic = suite.topic("admin-configs")
    topic_command(suite, "--create", "--topic", topic, "--config", "retention.ms=1000")
    entity = ["--entity-type", "topics", "--entity-name", topic]
    done = config_command(suite, *entity, "--alter", "--add-config", "retention.ms=2000,cleanup.policy=[compact,delete]")
    expect_in("Completed updating config for topic", done)
    describes(suite, r"cleanup.policy=compact,delete (?s:.*)retention.ms=2000 ", *entity)
    config_command(suite, *entity, "--alter", "--delete-config", "retention.ms,cleanup.policy")
    describes(suite, r"Dynamic configs for topic \S+ are:\s*$", *entity)
    refused = config_command(suite, *entity, "--alter", "--add-config", "retention.ms=soon", fails=True)
    expect_in("Invalid value soon for configuration retention.ms", refused)
    refused = config_command(suite, *entity, "--alter", "--add-config", "no.such.key=1", fails=True)
    expect_in("Unknown topic config name: no.such.key", refused)


@check("java", "ConfigCommand alters brokers: one, the default, refused")
def broker_configs(suite):
    node = re.search(r"id: (\d+) rack", java("BrokerApiVersionsCommand", "--bootstrap-server", suite.bootstrap)).group(1)
    default, one = ["--entity-type", "brokers", "--entity-default"], ["--entity-type", "brokers", "--entity-name", node]
    topic = suite.topic("admin-brokers")
    topic_command(suite, "--create", "--topic", topic)
    try:
        done = config_command(suite, *default, "--alter", "--add-config", "log.retention.ms=600000")
        expect_in("Completed updating default config for brokers in the cluster", done)
        describes(suite, r"log.retention.ms=600000 .*DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=600000", *default)
        config_command(suite, *one, "--alter", "--add-config", "log.retention.ms=700000,log.cleanup.policy=[delete,compact]")
        describes(suite, r"log.retention.ms=700000 .*DYNAMIC_BROKER_CONFIG:log.retention.ms=700000, "
                         r"DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=600000", *one)
        describes(suite, r"retention.ms=700000 ", "--entity-type", "topics", "--entity-name", topic, "--all")
        refused = config_command(suite, *one, "--alter", "--add-config", "num.partitions=4", fails=True)
        expect_in("Cannot update these configs dynamically: [num.partitions]", refused)
    finally:
        config_command(suite, *one, "--alter", "--delete-config", "log.retention.ms,log.cleanup.policy")
        config_command(suite, *default, "--alter", "--delete-config", "log.retention.ms")
    describes(suite, r"retention.ms=604800000 ", "--entity-type", "topics", "--entity-name", topic, "--all")


@check("java", "TopicCommand --alter --partitions: more, refused, written and read")
def partitions(suite):
    topic = suite.topic("admin-partitions")
    topic_command(suite, "--create", "--topic", topic, "--partitions", "2")
    topic_command(suite, "--alter", "--topic", topic, "--partitions", "5")
    expect_in("PartitionCount: 5", topic_command(suite, "--describe", "--topic", topic))
    refused = topic_command(suite, "--alter", "--topic", topic, "--partitions", "5", fails=True)
    expect_in("Topic already has 5 partition(s).", refused)
    refused = topic_command(suite, "--alter", "--topic", topic, "--partitions", "1", fails=True)
    expect_in("would not be an increase", refused)
    printed = java("ProducerPerformance", "--bootstrap-server", suite.bootstrap, "--topic", topic, "--num-records", "5000",
                   "--record-size", "1000", "--throughput", "-1", "--command-property", "acks=all", "linger.ms=0", "batch.size=2000")
    expect_in("5000 records sent", printed)
    ends = java("GetOffsetShell", "--bootstrap-server", suite.bootstrap, "--topic", topic, "--time", "-1")
    counts = [int(line.split(":")[2]) for line in ends.split()]
    expect((len(counts), sum(counts), min(counts) > 0), (5, 5000, True), "partitions and records")
