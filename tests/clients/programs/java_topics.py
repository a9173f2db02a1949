"""Kafka's tools for topics and configurations: kafka-topics, kafka-configs."""

import base64

from .session import check, table


def create(s, about, *args, **how):
    s.topics("--create", "--topic", s.name(about), *args, **how)


def again(s):
    create(s, "twice")
    create(s, "twice", "--partitions", "3")
    create(s, "twice", "--if-not-exists")


def collide(s):
    create(s, "a.b")
    create(s, "a_b")


def set_and_gone(kind, name, key, value):
    """What only Kafka keeps is taken away again: later checks list everything of its kind."""
    def run(s):
        entity = ["--entity-type", kind, "--entity-name", s.name(name)]
        s.configs(*entity, "--alter", "--add-config", f"{key}={value}")
        s.java("kafka.admin.ConfigCommand", *s.at, *entity, "--alter", "--delete-config", key, quiet=True)
    return run


table("java", [
    ("CreateTopics: done, with a warning about dots and underscores", lambda s: create(s, "a.dot", "--partitions", 3, "--replication-factor", 1)),
    ("CreateTopics: TOPIC_ALREADY_EXISTS, and --if-not-exists", again),
    ("CreateTopics: INVALID_TOPIC_EXCEPTION for its characters", lambda s: create(s, "bad/name")),
    ("CreateTopics: INVALID_TOPIC_EXCEPTION for its length", lambda s: create(s, "x" * 250)),
    ("CreateTopics: INVALID_TOPIC_EXCEPTION for a name that collides", collide),
    ("CreateTopics: INVALID_PARTITIONS", lambda s: create(s, "none", "--partitions", 0)),
    ("CreateTopics: INVALID_REPLICATION_FACTOR, 2 on one broker", lambda s: create(s, "two", "--replication-factor", 2)),
    ("CreateTopics: INVALID_REPLICATION_FACTOR, 0", lambda s: create(s, "zero", "--replication-factor", 0)),
    ("CreateTopics: replicas assigned by hand", lambda s: create(s, "hand", "--replica-assignment", f"{s.node},{s.node}")),
    ("CreateTopics: INVALID_REPLICA_ASSIGNMENT, an unknown broker", lambda s: create(s, "strange", "--replica-assignment", "99")),
    ("CreateTopics: INVALID_REPLICA_ASSIGNMENT, a broker twice", lambda s: create(s, "double", "--replica-assignment", f"{s.node}:{s.node}")),
    ("CreateTopics: INVALID_CONFIG, a value", lambda s: create(s, "value", "--config", "retention.ms=soon")),
    ("CreateTopics: INVALID_CONFIG, out of range", lambda s: create(s, "range", "--config", "segment.bytes=1")),
    ("CreateTopics: INVALID_CONFIG, a value that is none of a list", lambda s: create(s, "list", "--config", "cleanup.policy=forget")),
    ("CreateTopics: INVALID_CONFIG, an unknown key", lambda s: create(s, "key", "--config", "no.such.key=1")),
    ("CreateTopics: INVALID_CONFIG, values that contradict each other", lambda s: create(
        s, "lags", "--config", "min.compaction.lag.ms=10", "--config", "max.compaction.lag.ms=5")),
])


def delete(s):
    s.topic("gone")
    s.topics("--delete", "--topic", s.name("gone"))
    s.topics("--describe", "--topic", s.name("gone"))
    s.topics("--delete", "--topic", s.name("gone"))
    s.topics("--delete", "--topic", s.name("gone"), "--if-exists")


def delete_several(s):
    for number in range(3):
        s.topic(f"many-{number}")
    s.topics("--delete", "--topic", f"{s.prefix}many-.*")
    s.topics("--list", "--topic", f"{s.prefix}many-.*")


def describe(s):
    s.topic("shown", 4, retention_ms=1000, cleanup_policy="compact")
    s.topics("--describe", "--topic", s.name("shown"))
    s.topics("--describe", "--topic", s.name("shown"), "--topics-with-overrides")
    for flag in ("--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions", "--at-min-isr-partitions"):
        s.topics("--describe", "--topic", s.name("shown"), flag)


def by_id(s):
    name = s.topic("by-id", 2)
    encoded = base64.urlsafe_b64encode(s.talk.topics[name]).decode().rstrip("=")
    done = s.java("TopicCommand", *s.at, "--describe", f"--topic-id={encoded}", quiet=True)
    s.note("describe by id", {"exit": done["exit"], "out": s.lines(done["out"])})


def grow(s, partitions, *args):
    s.topic("grown", 3)
    s.topics("--alter", "--topic", s.name("grown"), "--partitions", partitions, *args)
    s.until(lambda: s.java("TopicCommand", *s.at, "--describe", "--topic", s.name("grown"), quiet=True)["out"],
            lambda out: f"PartitionCount: {partitions}" in out, 2 if int(partitions) > 3 and not args else 0)
    s.topics("--describe", "--topic", s.name("grown"))


table("java", [
    ("DeleteTopics: done, then UNKNOWN_TOPIC_OR_PARTITION", delete),
    ("DeleteTopics: by pattern", delete_several),
    ("Metadata: a topic described", describe),
    ("Metadata: a topic by its id", by_id),
    ("Metadata: UNKNOWN_TOPIC_OR_PARTITION", lambda s: s.topics("--describe", "--topic", s.name("nobody"))),
    ("Metadata: UNKNOWN_TOPIC_ID", lambda s: s.topics("--describe", "--topic-id", "A" * 20 + "kg")),
    ("CreatePartitions: done", lambda s: grow(s, 5)),
    ("CreatePartitions: INVALID_PARTITIONS, as many as there are", lambda s: grow(s, 3)),
    ("CreatePartitions: INVALID_PARTITIONS, fewer", lambda s: grow(s, 1)),
    ("CreatePartitions: INVALID_PARTITIONS, 0", lambda s: grow(s, 0)),
    ("CreatePartitions: INVALID_REPLICA_ASSIGNMENT", lambda s: grow(s, 4, "--replica-assignment", f"{s.node},{s.node},{s.node},99")),
    ("CreatePartitions: UNKNOWN_TOPIC_OR_PARTITION", lambda s: s.topics("--alter", "--topic", s.name("nobody"), "--partitions", 4)),
])


def shown(s, wanted, *entity):
    """Describes until the change is there."""
    s.until(lambda: s.java("kafka.admin.ConfigCommand", *s.at, *entity, "--describe", quiet=True)["out"], lambda out: wanted in out, 5)
    s.configs(*entity, "--describe")


def topic_config(s):
    entity = ["--entity-type", "topics", "--entity-name", s.topic("altered")]
    s.configs(*entity, "--alter", "--add-config", "retention.ms=2000,cleanup.policy=[compact,delete]")
    shown(s, "retention.ms=2000", *entity)
    s.configs(*entity, "--alter", "--delete-config", "retention.ms")
    shown(s, "cleanup", *entity)
    s.configs(*entity, "--describe", "--all")


def topic_refused(*change):
    return lambda s: s.configs("--entity-type", "topics", "--entity-name", s.topic("refused"), "--alter", *change)


def broker_default(s):
    entity = ["--entity-type", "brokers", "--entity-default"]
    s.configs(*entity, "--alter", "--add-config", "log.retention.ms=600000")
    shown(s, "600000", *entity)
    s.configs(*entity, "--alter", "--delete-config", "log.retention.ms")


def one_broker(s):
    entity = ["--entity-type", "brokers", "--entity-name", s.node]
    s.configs(*entity, "--alter", "--add-config", "log.retention.ms=700000,log.cleanup.policy=[delete,compact]")
    shown(s, "700000", *entity)
    s.configs(*entity, "--alter", "--delete-config", "log.retention.ms,log.cleanup.policy")


def broker_refused(change, name=None):
    return lambda s: s.configs("--entity-type", "brokers", "--entity-name", name or s.node, "--alter", "--add-config", change)


table("java", [
    ("IncrementalAlterConfigs: a topic's set, appended, deleted, all described", topic_config),
    ("IncrementalAlterConfigs: INVALID_CONFIG, a value", topic_refused("--add-config", "retention.ms=soon")),
    ("IncrementalAlterConfigs: INVALID_CONFIG, an unknown key", topic_refused("--add-config", "no.such.key=1")),
    ("IncrementalAlterConfigs: deletion of what is not set", topic_refused("--delete-config", "retention.ms")),
    ("IncrementalAlterConfigs: deletion of an unknown key", topic_refused("--delete-config", "no.such.key")),
    ("IncrementalAlterConfigs: UNKNOWN_TOPIC_OR_PARTITION", lambda s: s.configs(
        "--entity-type", "topics", "--entity-name", s.name("nobody"), "--alter", "--add-config", "retention.ms=1")),
    ("DescribeConfigs: UNKNOWN_TOPIC_OR_PARTITION", lambda s: s.configs("--entity-type", "topics", "--entity-name", s.name("nobody"), "--describe")),
    ("DescribeConfigs: INVALID_TOPIC_EXCEPTION", lambda s: s.configs("--entity-type", "topics", "--entity-name", "a b", "--describe")),
    ("IncrementalAlterConfigs: the default of all brokers", broker_default),
    ("IncrementalAlterConfigs: one broker", one_broker),
    ("IncrementalAlterConfigs: INVALID_REQUEST, what cannot change at run time", broker_refused("num.partitions=4")),
    ("IncrementalAlterConfigs: INVALID_REQUEST, a broker's bad value", broker_refused("log.retention.ms=soon")),
    ("IncrementalAlterConfigs: a name that is no broker", broker_refused("log.retention.ms=1000", "me")),
    ("DescribeConfigs: loggers of a broker", lambda s: s.configs("--entity-type", "broker-loggers", "--entity-name", s.node, "--describe", keep="^$|Exception|rror")),
    ("IncrementalAlterConfigs: a group's configurations", set_and_gone("groups", "g", "consumer.session.timeout.ms", "50000")),
    ("IncrementalAlterConfigs: a client's metrics", set_and_gone("client-metrics", "m", "interval.ms", "1000")),
])


def quota(kind, key, name):
    def run(s):
        entity = ["--entity-type", kind, "--entity-name", s.name("q") if name is None else name]
        s.configs(*entity, "--alter", "--add-config", f"{key}=1024")
        shown(s, key, *entity)
        s.configs(*entity, "--alter", "--delete-config", key)
        s.until(lambda: s.java("kafka.admin.ConfigCommand", *s.at, *entity, "--describe", quiet=True)["out"], lambda out: key not in out, 5)
        s.configs(*entity, "--describe")
    return run


def quota_of_both(s):
    entity = ["--entity-type", "users", "--entity-name", s.name("u"), "--entity-type", "clients", "--entity-name", s.name("c")]
    s.configs(*entity, "--alter", "--add-config", "consumer_byte_rate=10,request_percentage=50.5")
    shown(s, "50.5", *entity)
    s.configs(*entity, "--alter", "--delete-config", "consumer_byte_rate,request_percentage")


def quota_refused(kind, change, name=None):
    return lambda s: s.configs("--entity-type", kind, "--entity-name", name or s.name("q"), "--alter", "--add-config", change)


table("java", [
    ("AlterClientQuotas: a client's, set, described, deleted", quota("clients", "producer_byte_rate", None)),
    ("AlterClientQuotas: a user's", quota("users", "consumer_byte_rate", None)),
    ("AlterClientQuotas: of a user's client", quota_of_both),
    ("AlterClientQuotas: an address's", quota("ips", "connection_creation_rate", "10.1.2.3")),
    ("AlterClientQuotas: INVALID_REQUEST, an unknown key", quota_refused("clients", "no_such_key=1")),
    ("AlterClientQuotas: INVALID_REQUEST, below 0", quota_refused("clients", "producer_byte_rate=-1")),
    ("AlterClientQuotas: INVALID_REQUEST, no number", quota_refused("clients", "producer_byte_rate=fast")),
    ("AlterClientQuotas: INVALID_REQUEST, no address", quota_refused("ips", "connection_creation_rate=1", "nowhere at all")),
    ("AlterClientQuotas: a key of users for an address", quota_refused("ips", "producer_byte_rate=1", "10.1.2.4")),
    ("DescribeClientQuotas: nothing is set", lambda s: s.configs("--entity-type", "clients", "--entity-name", s.name("nobody"), "--describe")),
    ("AlterUserScramCredentials: a password", set_and_gone("users", "u", "SCRAM-SHA-256", "[password=secret]")),
    ("DescribeUserScramCredentials: a user that has none", lambda s: s.configs("--entity-type", "users", "--entity-name", s.name("u"), "--describe")),
])


@check("java", "DeleteTopics: TOPIC_DELETION_DISABLED", **{"delete.topic.enable": "false"})
def deletion_disabled(s):
    s.topic("kept")
    s.topics("--delete", "--topic", s.name("kept"))
    s.topics("--describe", "--topic", s.name("kept"))
