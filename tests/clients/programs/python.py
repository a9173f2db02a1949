"""kafka-python and confluent-kafka: what their administrators, producers and consumers give and raise."""

from confluent_kafka import (Consumer, ConsumerGroupTopicPartitions, ElectionType, IsolationLevel, Producer, TopicCollection,
                             TopicPartition as Partition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec,
                                   ResourceType)
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource as PyResource
from kafka.admin import ConfigResourceType
from kafka.structs import OffsetAndMetadata

from .session import THEN_MS, table


def py(ask):
    """A check of kafka-python's administrator: what `ask(session, client)` gives or raises."""
    def run(s):
        client = KafkaAdminClient(bootstrap_servers=s.bootstrap)
        try:
            s.tried("the answer", lambda: ask(s, client))
        finally:
            client.close()
    return run


def created(name=None, **options):
    return py(lambda s, client: client.create_topics(
        {s.name("made") if name is None else name: {"num_partitions": 1, "replication_factor": 1, **options}}, raise_errors=False))


def without(value, *keys):
    """An answer without what is measured."""
    if isinstance(value, dict):
        return {key: without(item, *keys) for key, item in value.items() if key not in keys}
    return [without(item, *keys) for item in value] if isinstance(value, (list, tuple)) else value


def py_described(s, client):
    topic, quiet = s.topic("described", 2), ("topic_id", "authorized_operations", "leader_epoch")
    return without(client.describe_topics([topic]), *quiet)


def py_group(s, client):
    topic = s.topic("g", 1, 5)
    group = s.group("g", topic, 3)
    return [client.describe_groups([group]), client.list_group_offsets({group: [TopicPartition(topic, 0), TopicPartition(topic, 9)]}),
            client.delete_groups([group]), client.describe_groups([group])]


def py_altered(changes, about="altered"):
    def ask(s, client):
        name = s.topic("altered") if about == "altered" else s.name(about)
        return client.alter_configs([PyResource(ConfigResourceType.TOPIC, name, configs=changes)], incremental=True)
    return py(ask)


def py_fetch(s):
    topic = s.topic("read", 1, 10)
    client = KafkaConsumer(bootstrap_servers=s.bootstrap, group_id=None, auto_offset_reset="none", check_crcs=True)
    place = TopicPartition(topic, 0)
    client.assign([place])

    def poll(offset):
        client.seek(place, offset)
        return [(one.offset, one.timestamp, one.key, one.value) for part in client.poll(5000).values() for one in part]
    s.tried("from 5", lambda: poll(5))
    s.tried("from 100", lambda: poll(100))
    s.tried("by time", lambda: client.offsets_for_times({place: THEN_MS + 4500}))
    s.tried("ends", lambda: [client.beginning_offsets([place]), client.end_offsets([place])])
    client.close()


def py_send(value=b"v", key=b"k", topic=None, **options):
    def run(s):
        client = KafkaProducer(bootstrap_servers=s.bootstrap, **({} if "enable_idempotence" in options else {"retries": 0}), **options)
        name = topic(s) if topic else s.topic("written")
        s.tried("sent", lambda: client.send(name, value, key, partition=0, timestamp_ms=THEN_MS).get(20))
        client.close()
    return run


def py_commit(s):
    topic, group = s.topic("committed", 1, 5), s.name("commits")
    client = KafkaConsumer(bootstrap_servers=s.bootstrap, group_id=group, enable_auto_commit=False)
    client.assign([TopicPartition(topic, 0)])
    place = TopicPartition(topic, 0)
    s.tried("nothing yet", lambda: client.committed(place))
    s.tried("a commit", lambda: client.commit({place: OffsetAndMetadata(3, "meta", -1)}))
    s.tried("then", lambda: client.committed(place, metadata=True))
    s.tried("metadata too large", lambda: client.commit({place: OffsetAndMetadata(4, "m" * 5000, -1)}))
    s.tried("an unknown partition", lambda: client.commit({TopicPartition(topic, 7): OffsetAndMetadata(4, "", -1)}))
    client.close()


table("kafka-python", [
    ("CreateTopics: done", created()),
    ("CreateTopics: INVALID_TOPIC_EXCEPTION", created("a b")),
    ("CreateTopics: INVALID_PARTITIONS", created(num_partitions=-5)),
    ("CreateTopics: INVALID_REPLICATION_FACTOR", created(replication_factor=3)),
    ("CreateTopics: INVALID_CONFIG", created(configs={"retention.ms": "soon"})),
    ("CreateTopics: TOPIC_ALREADY_EXISTS", py(lambda s, client: client.create_topics(
        {s.topic("there"): {"num_partitions": 1, "replication_factor": 1}}, raise_errors=False))),
    ("DeleteTopics: UNKNOWN_TOPIC_OR_PARTITION", py(lambda s, client: client.delete_topics([s.name("nobody")], raise_errors=False))),
    ("CreatePartitions: INVALID_PARTITIONS", py(lambda s, client: client.create_partitions({s.topic("two", 2): 1}, raise_errors=False))),
    ("CreatePartitions: only validated", py(lambda s, client: client.create_partitions({s.topic("two", 2): 4}, validate_only=True, raise_errors=False))),
    ("DescribeTopicPartitions: a topic, an unknown one", py(lambda s, client: without(
        client.describe_topic_partitions([s.topic("d", 3), s.name("nobody")]), "topic_id", "topic_authorized_operations", "leader_epoch"))),
    ("Metadata: a topic", py(py_described)),
    ("DescribeCluster: done", py(lambda s, client: client.describe_cluster())),
    ("DescribeGroups, OffsetFetch, DeleteGroups: an empty group, then none", py(py_group)),
    ("DeleteGroups: GROUP_ID_NOT_FOUND", py(lambda s, client: client.delete_groups([s.name("nobody")]))),
    ("AlterConfigs: APPEND, SUBTRACT", py_altered({"cleanup.policy": ("APPEND", "compact")})),
    ("AlterConfigs: INVALID_CONFIG, APPEND to what is no list", py_altered({"retention.ms": ("APPEND", "1")})),
    ("AlterConfigs: UNKNOWN_TOPIC_OR_PARTITION", py_altered({"retention.ms": "1"}, "nobody")),
    ("DeleteRecords: OFFSET_OUT_OF_RANGE", py(lambda s, client: client.delete_records({TopicPartition(s.topic("r", 1, 3), 0): 100}))),
    ("ElectLeaders: ELECTION_NOT_NEEDED", py(lambda s, client: client.elect_leaders(0, {s.topic("e", 2): [0, 1]}, raise_errors=False))),
    ("ListConfigResources: topics", py(lambda s, client: s.topic("listed") in client.list_config_resources()["topic"])),
    ("DescribeProducers: UNKNOWN_TOPIC_OR_PARTITION", py(lambda s, client: client.describe_producers([TopicPartition(s.topic("p"), 9)]))),
    ("AlterReplicaLogDirs: to a folder that is none", py(lambda s, client: client.alter_replica_log_dirs(
        {(TopicPartition(s.topic("moved"), 0), s.node): "/nowhere"}))),
    ("DescribeUserScramCredentials: nobody", py(lambda s, client: client.describe_user_scram_credentials(["nobody"]))),
    ("Fetch, ListOffsets: within, and OFFSET_OUT_OF_RANGE", py_fetch),
    ("Produce: done", py_send()),
    ("Produce: done, idempotent", py_send(enable_idempotence=True, acks="all")),
    ("Produce: MESSAGE_TOO_LARGE", py_send(b"x" * 3000, topic=lambda s: s.topic("large", max_message_bytes=500))),
    ("Produce: INVALID_RECORD", py_send(key=None, topic=lambda s: s.topic("compacted", cleanup_policy="compact"))),
    ("Produce: INVALID_TIMESTAMP", py_send(topic=lambda s: s.topic("late", message_timestamp_before_max_ms=1000))),
    ("OffsetCommit: done, OFFSET_METADATA_TOO_LARGE, UNKNOWN_TOPIC_OR_PARTITION", py_commit),
])


def confluent(ask):
    """A check of confluent-kafka's administrator: the futures of `ask(session, client)`, each with its result or error."""
    def run(s):
        client = AdminClient({"bootstrap.servers": s.bootstrap, "log_level": 0})
        found = ask(s, client)
        for number, future in enumerate(found.values() if isinstance(found, dict) else [found]):
            s.tried(f"answer {number}", lambda: shown(future.result(30)))
    return run


def shown(result):
    """What of an answer's object can be compared."""
    if isinstance(result, dict):
        return {str(key): shown(item) for key, item in result.items()}
    if isinstance(result, (list, tuple)):
        return [shown(item) for item in result]
    fields = {key: getattr(result, key) for key in ("group_id", "state", "protocol_type", "partition_assignor", "offset", "error", "low_watermark",
                                                    "is_simple_consumer_group") if hasattr(result, key)}
    return {key: str(item) for key, item in fields.items()} or str(result)


def altered(changes, kind=ResourceType.TOPIC, name=None):
    def ask(s, client):
        resource = ConfigResource(kind, s.topic("altered") if name is None else name(s))
        for key, value, operation in changes:
            resource.add_incremental_config(ConfigEntry(key, value, incremental_operation=operation))
        return client.incremental_alter_configs([resource])
    return confluent(ask)


SET, DELETE, APPEND, SUBTRACT = AlterConfigOpType.SET, AlterConfigOpType.DELETE, AlterConfigOpType.APPEND, AlterConfigOpType.SUBTRACT


def transactional(s):
    client = Producer({"bootstrap.servers": s.bootstrap, "transactional.id": s.name("tx"), "log_level": 0})
    s.tried("init", lambda: client.init_transactions(8))


def watermarks(s):
    topic = s.topic("marks", 1, 10)
    client = Consumer({"bootstrap.servers": s.bootstrap, "group.id": "unused", "log_level": 0})
    s.tried("known", lambda: client.get_watermark_offsets(Partition(topic, 0), 10, False))
    s.tried("unknown partition", lambda: client.get_watermark_offsets(Partition(topic, 5), 3, False))
    s.tried("times", lambda: [one.offset for one in client.offsets_for_times([Partition(topic, 0, THEN_MS + at) for at in (4500,)], 10)])
    client.close()


def cluster(s, client):
    found = client.describe_cluster().result(20)
    s.note("the cluster", s.value([found.cluster_id, found.controller.id, [(node.id, node.host, node.port) for node in found.nodes]]))


table("confluent-kafka", [
    ("CreateTopics: done, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, in one request", confluent(lambda s, client: client.create_topics(
        [NewTopic(s.name("a"), 1, 1), NewTopic(s.name("b"), 0, 1), NewTopic(s.name("c"), 1, 9)]))),
    ("CreateTopics: validated only", confluent(lambda s, client: client.create_topics([NewTopic(s.name("v"), 1, 1)], validate_only=True))),
    ("CreateTopics: INVALID_CONFIG", confluent(lambda s, client: client.create_topics([NewTopic(s.name("v"), 1, 1, config={"cleanup.policy": "x"})]))),
    ("DeleteTopics: done and UNKNOWN_TOPIC_OR_PARTITION", confluent(lambda s, client: client.delete_topics([s.topic("a"), s.name("nobody")]))),
    ("CreatePartitions: INVALID_PARTITIONS", confluent(lambda s, client: client.create_partitions([NewPartitions(s.topic("a", 3), 2)]))),
    ("CreatePartitions: UNKNOWN_TOPIC_OR_PARTITION", confluent(lambda s, client: client.create_partitions([NewPartitions(s.name("nobody"), 2)]))),
    ("DescribeConfigs: UNKNOWN_TOPIC_OR_PARTITION", confluent(lambda s, client: client.describe_configs(
        [ConfigResource(ResourceType.TOPIC, s.name("nobody"))]))),
    ("DescribeConfigs: INVALID_REQUEST, a broker that is none", confluent(lambda s, client: client.describe_configs(
        [ConfigResource(ResourceType.BROKER, "99")]))),
    ("IncrementalAlterConfigs: set, append, subtract, delete", altered([
        ("retention.ms", "5000", SET), ("cleanup.policy", "compact", APPEND), ("segment.ms", None, DELETE)])),
    ("IncrementalAlterConfigs: INVALID_REQUEST, a key twice", altered([("retention.ms", "1", SET), ("retention.ms", "2", SET)])),
    ("IncrementalAlterConfigs: INVALID_CONFIG, subtract from what is no list", altered([("retention.ms", "1", SUBTRACT)])),
    ("IncrementalAlterConfigs: INVALID_REQUEST, a broker's read-only key", altered(
        [("num.partitions", "3", SET)], ResourceType.BROKER, lambda s: str(s.node))),
    ("DescribeCluster: done", lambda s: cluster(s, AdminClient({"bootstrap.servers": s.bootstrap, "log_level": 0}))),
    ("Metadata: UNKNOWN_TOPIC_OR_PARTITION", confluent(lambda s, client: client.describe_topics(TopicCollection([s.name("nobody")])))),
    ("DescribeGroups: GROUP_ID_NOT_FOUND", confluent(lambda s, client: client.describe_consumer_groups([s.name("nobody")]))),
    ("DescribeGroups: empty", confluent(lambda s, client: client.describe_consumer_groups([s.group("g", s.topic("t"), 0)]))),
    ("DeleteGroups: done and GROUP_ID_NOT_FOUND", confluent(lambda s, client: client.delete_consumer_groups(
        [s.group("g", s.topic("t"), 0), s.name("nobody")]))),
    ("OffsetFetch: one group", confluent(lambda s, client: client.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(s.group("g", s.topic("t", 2, 5), 4))]))),
    ("OffsetFetch: a group that does not exist", confluent(lambda s, client: client.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(s.name("nobody"), [Partition(s.topic("t"), 0)])]))),
    ("OffsetCommit: an administrator's, and UNKNOWN_TOPIC_OR_PARTITION", confluent(lambda s, client: client.alter_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(s.group("g", s.topic("t", 1, 5), 4), [Partition(s.name("t"), 0, 2), Partition(s.name("nobody"), 0, 2)])]))),
    ("DeleteRecords: done and OFFSET_OUT_OF_RANGE", confluent(lambda s, client: client.delete_records(
        [Partition(s.topic("a", 1, 5), 0, 3), Partition(s.topic("b", 1, 5), 0, 30)]))),
    ("ListOffsets: start, end, largest timestamp, time", confluent(lambda s, client: {number: future for number, spec in enumerate(
        [OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.max_timestamp(), OffsetSpec.for_timestamp(THEN_MS + 2500)])
        for future in client.list_offsets({Partition(s.topic(f"l{number}", 1, 5), 0): spec},
                                          isolation_level=IsolationLevel.READ_COMMITTED).values()})),
    ("ListOffsets: UNKNOWN_TOPIC_OR_PARTITION", confluent(lambda s, client: client.list_offsets({Partition(s.topic("l"), 7): OffsetSpec.latest()}))),
    ("ListOffsets: by a consumer", watermarks),
    ("ElectLeaders: ELECTION_NOT_NEEDED and UNKNOWN_TOPIC_OR_PARTITION", confluent(lambda s, client: client.elect_leaders(
        ElectionType.PREFERRED, [Partition(s.topic("e"), 0), Partition(s.name("nobody"), 0)]))),
    ("InitProducerId: transactions", transactional),
    ("DescribeUserScramCredentials: a user that has none", confluent(lambda s, client: client.describe_user_scram_credentials([s.name("u")]))),
])
