"""DescribeConfigs."""

from .talk import case

TOPIC, BROKER = 2, 4


def ask(talk, version, about, kind, name, keys=None, synonyms=False, documentation=False):
    body = {"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}], "IncludeSynonyms": synonyms}
    if version >= 3:
        body["IncludeDocumentation"] = documentation
    note(talk, version, about, body)


def note(talk, version, about, body):
    frame = talk.exchange(talk.protocol.request("DescribeConfigs", version, body))
    answer = talk.protocol.response("DescribeConfigs", version, frame)[1]
    for result in answer["Results"]:
        result["Configs"] = {one.pop("Name"): one for one in sorted(result["Configs"], key=lambda one: one["Name"])}
    talk.note(f"DescribeConfigs v{version} {about}", talk.plain(answer))


@case("describe configs: topics")
def topics(talk):
    plain = talk.create("plain")
    changed = talk.create("changed", cleanup_policy="compact", retention_ms=5, max_message_bytes="1000", min_cleanable_dirty_ratio="0.25")
    for version in talk.versions("DescribeConfigs"):
        for name in (plain, changed):
            about = "plain" if name == plain else "changed"
            ask(talk, version, f"{about}, all", TOPIC, name)
            ask(talk, version, f"{about}, no key", TOPIC, name, [])
            ask(talk, version, f"{about}, two keys", TOPIC, name, ["retention.ms", "cleanup.policy"])
            ask(talk, version, f"{about}, a key twice", TOPIC, name, ["retention.ms", "retention.ms"])
            ask(talk, version, f"{about}, an unknown key", TOPIC, name, ["nothing", "segment.bytes"])
            ask(talk, version, f"{about}, synonyms", TOPIC, name, synonyms=True)
            ask(talk, version, f"{about}, documentation", TOPIC, name, ["retention.ms", "min.insync.replicas"], documentation=True)
        ask(talk, version, "unknown", TOPIC, talk.name("unknown"))
        ask(talk, version, "no name", TOPIC, "")
        ask(talk, version, "a bad name", TOPIC, "a b")
        note(talk, version, "nothing", {"Resources": []})
        two = [{"ResourceType": TOPIC, "ResourceName": name, "ConfigurationKeys": ["retention.ms"]} for name in (plain, changed, plain)]
        note(talk, version, "one twice", {"Resources": two})


@case("describe configs: brokers")
def broker(talk):
    for version in talk.versions("DescribeConfigs"):
        for name in ("", "99", "-1", "x", "1.0", "+1", " 1"):
            ask(talk, version, f"broker {name!r}", BROKER, name if name != "1" else str(talk.node), ["num.partitions", "log.dirs"])
        for key in ("num.partitions", "auto.create.topics.enable", "log.retention.ms", "log.retention.hours", "message.max.bytes",
                    "default.replication.factor", "min.insync.replicas", "compression.type", "log.cleanup.policy", "delete.topic.enable",
                    "socket.request.max.bytes", "fetch.max.bytes", "connections.max.idle.ms", "nothing"):
            ask(talk, version, f"{key}", BROKER, str(talk.node), [key], synonyms=True, documentation=True)
        for kind in (0, 1, 3, 5, 8, 16, 32, 64, -1, 127):
            ask(talk, version, f"resource type {kind}", kind, "1")


@case("describe configs: every broker configuration")
def every_key(talk):
    # Which of Kafka's keys are there, with which default and type; not all of Kafka's keys mean anything here.
    answer = talk.call("DescribeConfigs", 4, {"Resources": [{"ResourceType": BROKER, "ResourceName": str(talk.node), "ConfigurationKeys": None}]})
    found = {one["Name"]: (one["Value"], one["ConfigType"], one["ConfigSource"], one["IsSensitive"]) for one in answer["Results"][0]["Configs"]}
    talk.note("the broker's configurations", {name: found.get(name, "is not there") for name in OURS})


OURS = [
    "advertised.listeners", "auto.create.topics.enable", "broker.id", "compression.type", "connections.max.idle.ms",
    "default.replication.factor", "delete.topic.enable", "fetch.max.bytes", "log.cleanup.policy", "log.flush.interval.messages",
    "log.retention.bytes", "log.retention.hours", "log.retention.ms", "log.roll.hours", "log.roll.ms", "log.segment.bytes",
    "log.message.timestamp.type", "message.max.bytes", "min.insync.replicas", "num.partitions", "offsets.topic.replication.factor",
    "producer.id.expiration.ms", "socket.request.max.bytes", "transaction.max.timeout.ms", "unclean.leader.election.enable",
]
