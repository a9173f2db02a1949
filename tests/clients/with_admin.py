"""Administration with real tools: configurations, partitions, and everything that a console for Kafka asks."""

import json
import re
import time

from confluent_kafka import ElectionType, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource as Resource, NewPartitions, NewTopic
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

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


@check("java", "LogDirsCommand, MetadataQuorumCommand, BrokerApiVersionsCommand, LeaderElectionCommand, ReassignPartitionsCommand")
def tools(suite):
    at = ["--bootstrap-server", suite.bootstrap]
    topic = suite.topic("admin-tools")
    topic_command(suite, "--create", "--topic", topic, "--partitions", "2")
    java("ConsoleProducer", *at, "--topic", topic, input="x" * 5000 + "\n")
    shown = java("LogDirsCommand", *at, "--describe", "--topic-list", topic)
    found = json.loads(shown[shown.index("{"):].splitlines()[0])
    parts = {part["partition"]: part["size"] for one in found["brokers"][0]["logDirs"] for part in one["partitions"]}
    expect(sorted(parts), [f"{topic}-0", f"{topic}-1"], "the partitions of its folders")
    expect(5000 < sum(parts.values()) < 6000, True, f"their sizes {parts}")
    status = java("MetadataQuorumCommand", *at, "describe", "--status")
    for wanted in (r"LeaderId:\s+\d+", r"HighWatermark:\s+\d+", r"MaxFollowerLag:\s+0", r"CurrentObservers:\s+\[\]"):
        expect(bool(re.search(wanted, status)), True, f"{wanted} in {status!r:.400}")
    replication = java("MetadataQuorumCommand", *at, "describe", "--replication")
    expect(bool(re.search(r"\d+\s+\S+\s+\d+\s+0\s+\d+\s+\d+\s+Leader", replication)), True, f"the leader in {replication!r:.400}")
    versions = java("BrokerApiVersionsCommand", *at)
    for api in ("IncrementalAlterConfigs(44): 0 to 1", "DescribeLogDirs(35): 1 to 5", "DescribeQuorum(55): 0 to 2"):
        expect_in(api, versions)
    elected = java("LeaderElectionCommand", *at, "--election-type", "preferred", "--topic", topic, "--partition", "0")
    expect_in(f"Valid replica already elected for partitions {topic}-0", elected)
    expect_in("No partition reassignments found.", java("reassign.ReassignPartitionsCommand", *at, "--list"))


def patient(ask, wanted, what):
    """Asks again for a few seconds: Kafka's broker learns of a change after it was answered, and a client of a kill."""
    for _ in range(20):
        try:
            got = ask()
        except KafkaException as error:
            got = error
        if not isinstance(got, KafkaException) and wanted(got):
            return got
        time.sleep(0.5)
    raise AssertionError(f"{what} is {got!r:.600}")


@check("kafka-python", "everything that a console asks: brokers, topics, folders, producers, quorum, elections")
def console(suite):
    client = KafkaAdminClient(bootstrap_servers=suite.bootstrap)
    topic = suite.topic("console")
    client.create_topics({topic: {"num_partitions": 2, "replication_factor": 1, "configs": {"retention.ms": "60000"}}},
                         wait_for_metadata=True)
    producer = KafkaProducer(bootstrap_servers=suite.bootstrap, acks="all", enable_idempotence=True)
    for number in range(10):
        producer.send(topic, b"v" * 1000, partition=number % 2)
    producer.flush(20)
    cluster = client.describe_cluster()
    node = cluster["brokers"][0]["broker_id"]
    expect((len(cluster["brokers"]), cluster["controller_id"]), (1, node), "brokers and controller")
    folders = client.describe_log_dirs()[0]["log_dirs"]
    sizes = [part["partition_size"] for one in folders for found in one["topics"] if found["name"] == topic for part in found["partitions"]]
    expect((len(sizes), all(5000 <= size <= 7000 for size in sizes)), (2, True), f"partitions and sizes {sizes}")
    expect(folders[0]["total_bytes"] >= folders[0]["usable_bytes"] > 0, True, "the volume's bytes")
    active = client.describe_producers([TopicPartition(topic, 0), TopicPartition(topic, 1)])
    expect(sorted(len(state.active_producers) for state in active.values()), [1, 1], "active producers")
    quorum = client.describe_metadata_quorum()["topics"][0]["partitions"][0]
    expect((quorum["leader_id"], len(quorum["current_voters"])), (node, 1), "the quorum")
    client.elect_leaders(0, {topic: [0, 1]}, raise_errors=False)
    expect(client.list_partition_reassignments(), {}, "reassignments")
    listed = client.list_config_resources()
    expect((topic in listed["topic"], listed["broker"]), (True, [str(node)]), "configurable resources")
    client.create_partitions({topic: 3})
    patient(lambda: len(client.describe_topics([topic])[0]["partitions"]), lambda count: count == 3, "the partitions")
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "70000", "cleanup.policy": ("APPEND", "compact")})])
    shown = lambda: str(client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))  # noqa: E731
    patient(shown, lambda text: "70000" in text and "delete,compact" in text, "the topic's configurations")
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"segment.ms": "80000"})], incremental=False)
    patient(shown, lambda text: "80000" in text, "the topic's configurations")
    producer.close()
    client.close()


@check("confluent-kafka", "a console's changes: configurations of topics and brokers, partitions, elections")
def confluent_console(suite):
    client = AdminClient({"bootstrap.servers": suite.bootstrap})
    topic = suite.topic("confluent-console")
    client.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    node = next(iter(client.list_topics(timeout=10).brokers))
    of_topic = lambda: Resource(Resource.Type.TOPIC, topic)  # noqa: E731

    def change(resource, *changes):
        operations = {"set": AlterConfigOpType.SET, "delete": AlterConfigOpType.DELETE, "append": AlterConfigOpType.APPEND,
                      "subtract": AlterConfigOpType.SUBTRACT}
        for name, operation, value in changes:
            resource.add_incremental_config(ConfigEntry(name, value, incremental_operation=operations[operation]))
        next(iter(client.incremental_alter_configs([resource]).values())).result(20)

    def values(resource):
        found = next(iter(client.describe_configs([resource]).values())).result(20)
        return {name: (entry.value, entry.source) for name, entry in found.items()}

    change(of_topic(), ("retention.ms", "set", "1000"), ("cleanup.policy", "append", "compact"))
    patient(lambda: values(of_topic()), lambda all: all["retention.ms"] == ("1000", 1) and all["cleanup.policy"] == ("delete,compact", 1), "values")
    change(of_topic(), ("retention.ms", "delete", None), ("cleanup.policy", "subtract", "compact"))
    patient(lambda: values(of_topic()), lambda all: all["retention.ms"][1] != 1 and all["cleanup.policy"] == ("delete", 1), "values")
    older = Resource(Resource.Type.TOPIC, topic, set_config={"segment.ms": "5000"})
    next(iter(client.alter_configs([older]).values())).result(20)
    patient(lambda: values(of_topic()), lambda all: all["segment.ms"] == ("5000", 1) and all["cleanup.policy"][1] != 1, "values")
    try:
        change(of_topic(), ("retention.ms", "set", "soon"))
        raise AssertionError("a bad value is taken")
    except KafkaException as error:
        expect((error.args[0].code(), error.args[0].str()),
               (KafkaError.INVALID_CONFIG, "Invalid value soon for configuration retention.ms: Not a number of type LONG"), "the refusal")
    of_broker = lambda: Resource(Resource.Type.BROKER, str(node))  # noqa: E731
    change(of_broker(), ("log.segment.bytes", "set", "2000000"))
    patient(lambda: values(of_broker()), lambda all: all["log.segment.bytes"] == ("2000000", 2), "the broker's value")
    patient(lambda: values(of_topic()), lambda all: all["segment.bytes"] == ("2000000", 2), "the topic's value")
    change(of_broker(), ("log.segment.bytes", "delete", None))
    patient(lambda: values(of_topic()), lambda all: all["segment.bytes"] == ("1073741824", 5), "the topic's value")
    client.create_partitions([NewPartitions(topic, 4)])[topic].result(20)
    patient(lambda: len(client.list_topics(topic, timeout=10).topics[topic].partitions), lambda count: count == 4, "partitions")
    elected = client.elect_leaders(ElectionType.PREFERRED, [ConfluentPartition(topic, 0)]).result(20)
    expect([error.code() for error in elected.values()], [KafkaError.ELECTION_NOT_NEEDED], "the election")


def changes_survive_kill(broker):
    """A change that was answered is there when the broker is back, however often it was killed."""
    topic, node = "altered-and-killed", None
    client = AdminClient({"bootstrap.servers": broker.address})
    client.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    node = str(next(iter(client.list_topics(timeout=20).brokers)))

    def change(kind, name, key, value):
        resource = Resource(kind, name)
        resource.add_incremental_config(ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET))
        next(iter(client.incremental_alter_configs([resource]).values())).result(30)

    def value(kind, name, key):
        found = next(iter(client.describe_configs([Resource(kind, name)]).values())).result(30)[key]
        return found.value, found.source

    for turn in range(1, 6):
        change(Resource.Type.TOPIC, topic, "retention.ms", str(100_000 + turn))
        change(Resource.Type.BROKER, node, "log.segment.bytes", str(2_000_000 + turn))
        client.create_partitions([NewPartitions(topic, 1 + turn)])[topic].result(30)
        broker.kill()
        broker.start()
        patient(lambda: len(client.list_topics(topic, timeout=20).topics[topic].partitions), lambda count: count == 1 + turn, "partitions")
        patient(lambda: value(Resource.Type.TOPIC, topic, "retention.ms"), lambda got: got == (str(100_000 + turn), 1), "the topic's value")
        patient(lambda: value(Resource.Type.TOPIC, topic, "segment.bytes"), lambda got: got == (str(2_000_000 + turn), 2), "the broker's value")
