"""franz-go: requests that its client sends in the version and to the broker that it chooses, and what it makes of the answers."""

import json
import re
import subprocess
import time

import brokers

from .session import table

JOIN = {"SessionTimeoutMillis": 10_000, "RebalanceTimeoutMillis": 5_000, "ProtocolType": "consumer"}
PROTOCOL = [{"Name": "range", "Metadata": "AAEAAAAAAAAAAAAA"}]


def program():
    return subprocess.run([brokers.PEERS, "path", "franz"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def ask(s, api, quiet=False, **body):
    """Sends a request and notes the answer; ids that differ have been replaced."""
    done = s.command(program(), s.bootstrap, "ask", api, json.dumps(body), quiet=True)
    answer = json.loads(done["out"]) if done["exit"] == 0 else s.lines(done["err"])
    if not quiet:
        label = re.sub(r"\[\d+(, \d+){15}\]", "ID", s.plain(json.dumps(body)))
        s.note(f"{api} {label}"[:200], s.value(plain(s, answer)))
    return answer


def plain(s, answer, key=""):
    if isinstance(answer, dict):
        return {name: plain(s, item, name) for name, item in answer.items() if name not in ("ThrottleMillis", "UnknownTags")}
    if isinstance(answer, list):
        return "id" if key == "TopicID" else sorted((plain(s, item, key) for item in answer), key=repr)
    if key in ("LeaderEpoch", "CurrentLeaderEpoch") and isinstance(answer, int) and answer >= 0:
        return "an epoch"
    if key in ("LastTimestamp",) and answer > 0:
        return "now"
    return "an id" if key == "ProducerID" and answer >= 0 else answer


def asked(api, **body):
    """A check of one request; what is callable is made from the session."""
    def run(s):
        ask(s, api, **{key: value(s) if callable(value) else value for key, value in body.items()})
    return run


def join(s, about="g", member="", **more):
    return ask(s, "JoinGroup", **{"Group": s.name(about), "MemberID": member, "Protocols": PROTOCOL, **JOIN, **more}, quiet="quiet" in more)


def joined(s, about="g"):
    """A member alone in its group: its id and generation. It has joined twice, since the first time it gets only its id."""
    body = {"Group": s.name(about), "Protocols": PROTOCOL, **JOIN}
    # A coordinator that has just started is still reading its groups.
    again = s.until(lambda: ask(s, "JoinGroup", MemberID="", quiet=True, **body), lambda found: found["ErrorCode"] in (0, 79))
    if again["ErrorCode"]:
        again = ask(s, "JoinGroup", MemberID=again["MemberID"], quiet=True, **body)
    return again["MemberID"], again["Generation"]


def members(s):
    member, generation = joined(s)
    who = {"Group": s.name("g"), "MemberID": member}
    ask(s, "Heartbeat", Generation=generation, **who)
    ask(s, "SyncGroup", Generation=generation, GroupAssignment=[{"MemberID": member, "MemberAssignment": "AAAB"}], **who)
    ask(s, "Heartbeat", Generation=generation, **who)
    ask(s, "Heartbeat", Generation=generation + 7, **who)
    ask(s, "SyncGroup", Generation=generation + 7, **who)
    ask(s, "Heartbeat", Generation=generation, Group=s.name("g"), MemberID="stranger")
    ask(s, "SyncGroup", Generation=generation, Group=s.name("g"), MemberID="stranger")
    ask(s, "SyncGroup", Generation=generation, ProtocolType="other", Protocol="range", **who)
    ask(s, "SyncGroup", Generation=generation, ProtocolType="consumer", Protocol="other", **who)


def leaves(s):
    member, _ = joined(s)
    leave = {"Group": s.name("g")}
    ask(s, "LeaveGroup", Members=[{"MemberID": "stranger"}, {"MemberID": member}], **leave)
    ask(s, "LeaveGroup", Members=[{"MemberID": member}], **leave)
    ask(s, "LeaveGroup", Members=[{"MemberID": "", "InstanceID": "nobody"}], **leave)
    ask(s, "DescribeGroups", Groups=[s.name("g"), s.name("nobody")])


def commits(s):
    topic = s.topic("c", 1, 5)
    member, generation = joined(s)
    part = [{"Topic": topic, "TopicID": list(s.talk.topics[topic]), "Partitions": [{"Partition": 0, "Offset": 3, "LeaderEpoch": -1, "Metadata": "m"}]}]
    for who, when in ((member, generation), (member, generation + 5), ("stranger", generation), ("", -1)):
        ask(s, "OffsetCommit", Group=s.name("g"), MemberID=who, Generation=when, Topics=part)
    ask(s, "OffsetCommit", Group=s.name("other"), MemberID="", Generation=-1, Topics=part)
    ask(s, "OffsetCommit", Group=s.name("nobody"), MemberID="m", Generation=3, Topics=part)


def fenced(s):
    topic = s.topic("fenced", 1, 5)
    known = s.talk.epochs[topic]
    for about, epoch in (("its own", known), ("none", -1), ("a later", known + 1000)):
        place = {"Topic": topic, "Partitions": [{"Partition": 0, "CurrentLeaderEpoch": epoch, "Timestamp": -1, "LeaderEpoch": known}]}
        for api in ("ListOffsets", "OffsetForLeaderEpoch"):
            s.note(f"{api} {about}", s.value(plain(s, ask(s, api, quiet=True, ReplicaID=-1, Topics=[place]))))


def producer_ids(s):
    ask(s, "InitProducerID", TransactionTimeoutMillis=1000, ProducerID=-1, ProducerEpoch=-1)
    ask(s, "InitProducerID", TransactionTimeoutMillis=1000, ProducerID=5, ProducerEpoch=-1)
    ask(s, "InitProducerID", TransactionTimeoutMillis=1000, ProducerID=-1, ProducerEpoch=3)
    ask(s, "InitProducerID", TransactionalID="", TransactionTimeoutMillis=1000, ProducerID=-1, ProducerEpoch=-1)


def static(s):
    first = ask(s, "JoinGroup", Group=s.name("g"), MemberID="", InstanceID="one", Protocols=PROTOCOL, quiet=True, **JOIN)
    time.sleep(0.1)
    ask(s, "Heartbeat", Group=s.name("g"), MemberID="another", InstanceID="one", Generation=first["Generation"])
    ask(s, "SyncGroup", Group=s.name("g"), MemberID="another", InstanceID="one", Generation=first["Generation"])
    ask(s, "Heartbeat", Group=s.name("g"), MemberID=first["MemberID"], InstanceID="nobody", Generation=first["Generation"])


def bad_sessions(s):
    for millis in (-1, 0, 5_999, 1_800_001):
        join(s, SessionTimeoutMillis=millis)


def mixed(s):
    joined(s)
    join(s, ProtocolType="connect")
    join(s, Protocols=[{"Name": "other", "Metadata": ""}])
    join(s, Protocols=[])
    join(s, member="stranger")


table("franz-go", [
    ("FindCoordinator: a group's", asked("FindCoordinator", CoordinatorKeys=lambda s: [s.name("g")], CoordinatorType=0)),
    ("FindCoordinator: INVALID_REQUEST, a type that is none", asked("FindCoordinator", CoordinatorKeys=["g"], CoordinatorType=9)),
    ("FindCoordinator: a transaction's", asked("FindCoordinator", CoordinatorKeys=["t"], CoordinatorType=1)),
    ("JoinGroup: INVALID_SESSION_TIMEOUT", bad_sessions),
    ("JoinGroup: INVALID_GROUP_ID", lambda s: ask(s, "JoinGroup", Group="", MemberID="", Protocols=PROTOCOL, **JOIN)),
    ("JoinGroup: INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID", mixed),
    ("Heartbeat, SyncGroup: ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, INCONSISTENT_GROUP_PROTOCOL", members),
    ("Heartbeat, SyncGroup: FENCED_INSTANCE_ID", static),
    ("LeaveGroup: UNKNOWN_MEMBER_ID", leaves),
    ("OffsetCommit: ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID", commits),
    ("OffsetFetch: groups that are none", asked("OffsetFetch", Groups=lambda s: [{"Group": s.name("nobody")}, {"Group": ""}])),
    ("OffsetDelete: GROUP_ID_NOT_FOUND", asked("OffsetDelete", Group=lambda s: s.name("nobody"), Topics=[])),
    ("DeleteGroups: GROUP_ID_NOT_FOUND, also of the empty name", asked("DeleteGroups", Groups=lambda s: [s.name("nobody"), ""])),
    ("ListGroups: a state that is none", asked("ListGroups", StatesFilter=["Nothing"])),
    ("ListOffsets, OffsetForLeaderEpoch: FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH", fenced),
    ("InitProducerId: INVALID_REQUEST", producer_ids),
    ("Metadata: INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION", asked("Metadata", Topics=lambda s: [{"Topic": "a b"}, {"Topic": s.name("nobody")}])),
    ("Metadata: UNKNOWN_TOPIC_ID", asked("Metadata", Topics=[{"TopicID": [7] * 16}])),
    ("DescribeCluster: endpoints of controllers", asked("DescribeCluster", EndpointType=2)),
    ("DescribeCluster: UNSUPPORTED_ENDPOINT_TYPE", asked("DescribeCluster", EndpointType=9)),
    ("DescribeTopicPartitions: INVALID_REQUEST, a cursor", asked("DescribeTopicPartitions", Topics=[], ResponsePartitionLimit=10,
                                                                Cursor={"Topic": "a", "Partition": -1})),
    ("DescribeLogDirs: a topic", asked("DescribeLogDirs", Topics=lambda s: [{"Topic": s.name("nobody"), "Partitions": [0]}])),
    ("ElectLeaders: INVALID_REQUEST, a type that is none", asked("ElectLeaders", ElectionType=7, TimeoutMillis=1000, Topics=[])),
    ("AlterConfigs: INVALID_CONFIG", asked("AlterConfigs", Resources=lambda s: [
        {"ResourceType": 2, "ResourceName": s.topic("x"), "Configs": [{"Name": "retention.ms", "Value": "soon"}]}])),
    ("AlterConfigs: INVALID_REQUEST, a type that is none", asked("AlterConfigs", Resources=[{"ResourceType": 99, "ResourceName": "x", "Configs": []}])),
    ("DescribeQuorum: UNKNOWN_TOPIC_OR_PARTITION", asked("DescribeQuorum", Topics=[{"Topic": "other", "Partitions": [{"Partition": 0}]}])),
    ("CreateTopics: REQUEST_TIMED_OUT is none on one node", asked("CreateTopics", TimeoutMillis=10_000, Topics=lambda s: [
        {"Topic": s.name("made"), "NumPartitions": -1, "ReplicationFactor": -1, "ReplicaAssignment": [], "Configs": []}])),
    ("CreateTopics: a topic twice in a request, INVALID_REQUEST", asked("CreateTopics", TimeoutMillis=10_000, Topics=lambda s: [
        {"Topic": s.name("two"), "NumPartitions": 1, "ReplicationFactor": 1}] * 2)),
    ("DescribeClientQuotas: INVALID_REQUEST, a match that is none", asked("DescribeClientQuotas", Components=[{"EntityType": "user", "MatchType": 9}])),
    ("DescribeClientQuotas: an entity twice", asked("DescribeClientQuotas", Components=[{"EntityType": "user", "MatchType": 2}] * 2)),
])
