"""Kafka's other tools: folders, elections, quorum, reassignments, transactions, features, and what is not served."""

import json

from .session import table


def log_dirs(s):
    topic = s.topic("dirs", 2, 10)
    for given in (topic, s.name("nobody")):
        done = s.java("LogDirsCommand", *s.at, "--describe", "--topic-list", given, quiet=True)
        text = done["out"]
        found = json.loads(text[text.index("{"):].splitlines()[0]) if "{" in text else text
        for one in found["brokers"] if isinstance(found, dict) else []:
            for folder in one["logDirs"]:
                folder["logDir"] = "its folder"
                folder["partitions"].sort(key=lambda part: part["partition"])
        s.note(f"LogDirsCommand {given}", [done["exit"], found, s.lines(done["err"])])


def election(kind, partition):
    return lambda s: s.java("LeaderElectionCommand", *s.at, "--election-type", kind, "--topic", s.topic("elected"), "--partition", partition)


def election_of(name):
    def run(s):
        topic = s.topic("elected", 2) if name == "known" else s.name(name)
        content = {"partitions": [{"topic": topic, "partition": at} for at in (0, 1)]}
        s.java("LeaderElectionCommand", *s.at, "--election-type", "preferred", "--path-to-json-file", s.file("election.json", content), sort=True)
    return run


def reassign(s, *args):
    topic = s.topic("moved", 2)
    plan = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [s.node], "log_dirs": ["any"]}]}
    s.java("reassign.ReassignPartitionsCommand", *s.at, *args, "--reassignment-json-file", s.file("plan.json", plan), sort=True)


def generate(s):
    topic = s.topic("moved", 2)
    s.java("reassign.ReassignPartitionsCommand", *s.at, "--generate", "--broker-list", s.node, "--topics-to-move-json-file",
           s.file("topics.json", {"version": 1, "topics": [{"topic": topic}]}))


def producers(s):
    topic = s.topic("produced", 1)
    s.java("TransactionsCommand", *s.at, "describe-producers", "--topic", topic, "--partition", 0)


def quorum(s):
    figures = {"digits": True}
    s.java("MetadataQuorumCommand", *s.at, "describe", "--status", **figures)
    s.java("MetadataQuorumCommand", *s.at, "describe", "--replication", **figures)


table("java", [
    ("ApiVersions: every API with its versions", lambda s: s.java("BrokerApiVersionsCommand", *s.at)),
    ("ApiVersions: features", lambda s: s.java("FeatureCommand", *s.at, "describe", digits=True)),
    ("DescribeCluster: its id and brokers", lambda s: [s.java("ClusterTool", command, *s.at) for command in ("cluster-id", "list-endpoints")]),
    ("UnregisterBroker: not a broker of it", lambda s: s.java("ClusterTool", "unregister", *s.at, "--id", 99)),
    ("DescribeLogDirs: a topic's sizes, an unknown topic", log_dirs),
    ("DescribeLogDirs: an unknown broker", lambda s: s.java("LogDirsCommand", *s.at, "--describe", "--broker-list", "99")),
    ("ElectLeaders: ELECTION_NOT_NEEDED, preferred", election("preferred", 0)),
    ("ElectLeaders: ELECTION_NOT_NEEDED, unclean", election("unclean", 0)),
    ("ElectLeaders: UNKNOWN_TOPIC_OR_PARTITION, a partition", election("preferred", 7)),
    ("ElectLeaders: UNKNOWN_TOPIC_OR_PARTITION, a topic", election_of("nobody")),
    ("ElectLeaders: several", election_of("known")),
    ("DescribeQuorum: status and replicas", quorum),
    ("ListPartitionReassignments: none", lambda s: s.java("reassign.ReassignPartitionsCommand", *s.at, "--list")),
    ("ListPartitionReassignments: a plan verified", lambda s: reassign(s, "--verify")),
    ("ListPartitionReassignments: a plan made", generate),
    ("AlterPartitionReassignments: a plan to where it is", lambda s: reassign(s, "--execute")),
    ("AlterPartitionReassignments: cancelled", lambda s: reassign(s, "--cancel")),
    ("DescribeProducers: none", producers),
    ("ListTransactions: none", lambda s: s.java("TransactionsCommand", *s.at, "list")),
    ("DescribeTransactions: TRANSACTIONAL_ID_NOT_FOUND", lambda s: s.java("TransactionsCommand", *s.at, "describe", "--transactional-id", s.name("tx"))),
    ("DescribeAcls: SECURITY_DISABLED", lambda s: s.java("AclCommand", *s.at, "--list")),
    ("DescribeDelegationToken: not enabled", lambda s: s.java(
        "DelegationTokenCommand", *s.at, "--describe", "--command-config", s.file("empty.properties", ""))),
    ("ListConfigResources: client metrics", lambda s: s.java("ClientMetricsCommand", *s.at, "--list", keep=f"xception|rror|{s.prefix}")),
    ("ShareGroupDescribe: a share group that does not exist", lambda s: s.java(
        "consumer.group.ShareGroupCommand", *s.at, "--describe", "--group", s.name("nobody"))),
    ("StreamsGroupDescribe: a streams group that does not exist", lambda s: s.java(
        "streams.StreamsGroupCommand", *s.at, "--describe", "--group", s.name("nobody"))),
    ("ConsumerGroupHeartbeat: a group of the new protocol", lambda s: s.java(
        "consumer.ConsoleConsumer", *s.at, "--topic", s.topic("new", 1, 2), "--from-beginning", "--max-messages", 2, "--timeout-ms", 6000,
        "--command-property", "group.protocol=consumer")),
])
