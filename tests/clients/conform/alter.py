"""IncrementalAlterConfigs and AlterConfigs: every operation, on topics and brokers, and what refuses them."""

import time

from . import batch
from .talk import case

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
OPERATIONS = {SET: "set", DELETE: "delete", APPEND: "append", SUBTRACT: "subtract"}


def resource(kind, name, *changes):
    """Changes are (key, value, operation), or (key, value) to set it."""
    configs = [{"Name": key, "Value": value, "ConfigOperation": rest[0] if rest else SET} for key, value, *rest in changes]
    return {"ResourceType": kind, "ResourceName": name, "Configs": configs}


def alter(talk, version, about, *resources, only=False, api="IncrementalAlterConfigs"):
    answer = talk.call(api, version, {"Resources": list(resources), "ValidateOnly": only})
    answer["Responses"].sort(key=lambda one: (one["ResourceType"], one["ResourceName"]))
    talk.note(f"{api} v{version} {about}", talk.plain(answer))
    return all(one["ErrorCode"] == 0 for one in answer["Responses"])


def described(talk, about, kind, name, keys, settle=0.0):
    """What DescribeConfigs says of some keys. Kafka's brokers learn of a change after it was answered."""
    time.sleep(settle)
    body = {"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}], "IncludeSynonyms": True}
    answer = talk.call("DescribeConfigs", 4, body)
    configs = {one.pop("Name"): one for one in sorted(answer["Results"][0]["Configs"], key=lambda one: one["Name"])}
    talk.note(f"described {about}", talk.plain(configs))
    return configs


@case("alter configs: operations on a topic")
def operations(talk):
    name = talk.create("operations", retention_ms=1000)
    keys = ["retention.ms", "cleanup.policy", "segment.bytes", "max.message.bytes", "min.cleanable.dirty.ratio"]
    for version in talk.versions("IncrementalAlterConfigs"):
        for about, changes in (
            ("set", [("retention.ms", "2000")]),
            ("set again", [("retention.ms", "2000")]),
            ("set several", [("retention.ms", " 3000 "), ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.25")]),
            ("append", [("cleanup.policy", "delete", APPEND)]),
            ("append what is there", [("cleanup.policy", "compact", APPEND)]),
            ("subtract", [("cleanup.policy", "compact", SUBTRACT)]),
            ("subtract what is not there", [("cleanup.policy", "compact", SUBTRACT)]),
            ("subtract the last", [("cleanup.policy", "delete", SUBTRACT)]),
            ("append to nothing", [("cleanup.policy", "delete,compact", APPEND)]),
            ("append an unknown policy", [("cleanup.policy", "other", APPEND)]),
            ("delete", [("retention.ms", None, DELETE), ("cleanup.policy", None, DELETE)]),
            ("append to the default", [("cleanup.policy", "compact", APPEND)]),
            ("delete with a value", [("cleanup.policy", "compact", DELETE)]),
            ("subtract the default", [("cleanup.policy", "delete", SUBTRACT)]),
            ("delete what is not set", [("segment.bytes", None, DELETE), ("cleanup.policy", None, DELETE)]),
            ("delete an unknown key", [("nothing", None, DELETE)]),
            ("append to a number", [("retention.ms", "5", APPEND)]),
            ("subtract from a number", [("retention.ms", "5", SUBTRACT)]),
            ("append to an unknown key", [("nothing", "5", APPEND)]),
            ("a key twice", [("retention.ms", "5"), ("retention.ms", "6")]),
            ("a key twice, two operations", [("retention.ms", "5"), ("retention.ms", None, DELETE)]),
            ("nothing", []),
            ("operation 4", [("retention.ms", "5", 4)]),
            ("operation -1", [("retention.ms", "5", -1)]),
            ("set null", [("retention.ms", None)]),
            ("two nulls", [("retention.ms", None), ("cleanup.policy", None, APPEND)]),
            ("set empty", [("retention.ms", "")]),
            ("an empty list", [("cleanup.policy", "")]),
            ("back", [("cleanup.policy", None, DELETE), ("retention.ms", "1000")]),
        ):
            if alter(talk, version, about, resource(TOPIC, name, *changes)):
                described(talk, f"after v{version} {about}", TOPIC, name, keys, 0.3)


@case("alter configs: bad values")
def bad_values(talk):
    name = talk.create("values")
    for key, value in (
        ("nothing", "1"), ("retention.ms", "x"), ("retention.ms", "-2"), ("retention.ms", "9223372036854775808"),
        ("segment.bytes", "13"), ("segment.bytes", "2147483648"), ("max.message.bytes", "-1"), ("cleanup.policy", "x"),
        ("cleanup.policy", "delete,x"), ("min.cleanable.dirty.ratio", "2"), ("min.insync.replicas", "0"), ("preallocate", "maybe"),
        ("message.timestamp.type", "x"), ("compression.type", "x"), ("compression.gzip.level", "0"),
        ("leader.replication.throttled.replicas", "x"), ("remote.storage.enable", "true"), ("min.compaction.lag.ms", "-1"),
        ("message.format.version", "2.0"), ("internal.segment.bytes", "1000"), ("unclean.leader.election.enable", "1"),
    ):
        for only in (True, False):
            alter(talk, 1, f"{key}={value}{' only' if only else ''}", resource(TOPIC, name, (key, value)), only=only)
    alter(talk, 1, "lags", resource(TOPIC, name, ("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")))
    alter(talk, 1, "one lag", resource(TOPIC, name, ("min.compaction.lag.ms", "10")))
    alter(talk, 1, "the other lag", resource(TOPIC, name, ("max.compaction.lag.ms", "5")))
    alter(talk, 1, "a good and a bad one", resource(TOPIC, name, ("retention.ms", "5"), ("segment.bytes", "x")))
    described(talk, "after all", TOPIC, name, ["retention.ms", "segment.bytes", "min.compaction.lag.ms", "preallocate"], 0.3)


@case("alter configs: resources")
def resources(talk):
    name, other = talk.create("one"), talk.create("other")
    good = ("retention.ms", "5000")
    for api in ("IncrementalAlterConfigs", "AlterConfigs"):
        for version in talk.versions(api):
            def say(about, *resources, only=False):
                alter(talk, version, about, *resources, only=only, api=api)
            say("no resource")
            say("an unknown topic", resource(TOPIC, talk.name("unknown"), good))
            say("an unknown topic, a bad value", resource(TOPIC, talk.name("unknown"), ("retention.ms", "x")))
            say("an unknown topic, nothing", resource(TOPIC, talk.name("unknown")))
            say("no name", resource(TOPIC, "", good))
            say("a bad name", resource(TOPIC, "a b", good))
            if api == "IncrementalAlterConfigs":
                # Of AlterConfigs a Kafka never answers them.
                say("a topic twice", resource(TOPIC, name, good), resource(TOPIC, name, good))
                say("a topic thrice", *[resource(TOPIC, name, good)] * 3)
                say("a broker twice", *[resource(BROKER, "", ("log.retention.ms", "5000"))] * 2)
            say("one of two fails", resource(TOPIC, name, good), resource(TOPIC, other, ("retention.ms", "x")))
            say("validate only", resource(TOPIC, name, ("retention.ms", "7777")), only=True)
            for kind in (0, 1, 3, 5, 64, -1, 127):
                say(f"resource type {kind}", resource(kind, "x", good))
            for broker in ("99", "-1", "x", "1.0", " 1"):
                say(f"broker {broker!r}", resource(BROKER, broker, ("log.retention.ms", "5000")))
    described(talk, "after all", TOPIC, name, ["retention.ms"], 0.3)
    described(talk, "the other", TOPIC, other, ["retention.ms"])


@case("alter configs: all at once")
def legacy(talk):
    name = talk.create("legacy", retention_ms=1000, cleanup_policy="compact")
    keys = ["retention.ms", "cleanup.policy", "segment.ms"]
    for version in talk.versions("AlterConfigs"):
        for about, changes, only in (
            ("one key", [("segment.ms", "5000")], False),
            ("two keys", [("retention.ms", "1000"), ("cleanup.policy", "compact")], False),
            ("validate only", [("retention.ms", "7")], True),
            ("a bad value", [("retention.ms", "x")], False),
            ("an unknown key", [("nothing", "x"), ("retention.ms", "7")], False),
            ("a null", [("retention.ms", None)], False),
            ("a key twice", [("retention.ms", "1"), ("retention.ms", "2")], False),
            ("nothing", [], False),
            ("back", [("retention.ms", "1000"), ("cleanup.policy", "compact")], False),
        ):
            if alter(talk, version, about, resource(TOPIC, name, *changes), only=only, api="AlterConfigs"):
                described(talk, f"after v{version} {about}", TOPIC, name, keys, 0.3)


@case("alter configs: brokers", **{"log.retention.hours": 100})
def broker(talk):
    name, node = talk.create("follows"), str(talk.node)
    keys = ["log.retention.ms", "log.retention.hours", "log.cleanup.policy", "message.max.bytes", "num.partitions",
            "producer.id.expiration.ms"]
    topic = ["retention.ms", "cleanup.policy", "max.message.bytes"]

    def show(about):
        time.sleep(0.5)
        described(talk, f"the default, {about}", BROKER, "", None)
        described(talk, f"the broker, {about}", BROKER, node, keys)
        described(talk, f"the topic, {about}", TOPIC, name, topic)

    for about, where, changes in (
        ("the default", "", [("log.retention.ms", "5000"), ("message.max.bytes", "2000000")]),
        ("this broker", node, [("log.retention.ms", "6000")]),
        ("the default's policy", "", [("log.cleanup.policy", "compact", APPEND)]),
        ("this broker's policy", node, [("log.cleanup.policy", "delete", SUBTRACT)]),
        ("a producer's life", "", [("producer.id.expiration.ms", "60000")]),
        ("the broker's retention goes", node, [("log.retention.ms", None, DELETE)]),
        ("the rest goes", node, [("log.cleanup.policy", None, DELETE)]),
        ("the default goes", "", [(key, None, DELETE) for key in ("log.retention.ms", "message.max.bytes", "log.cleanup.policy", "producer.id.expiration.ms")]),
    ):
        alter(talk, 1, about, resource(BROKER, where, *changes))
        show(about)


@case("alter configs: what a broker refuses")
def broker_refuses(talk):
    node = str(talk.node)
    for where in ("", node):
        for about, changes in (
            ("a key that is not dynamic", [("num.partitions", "4")]),
            ("two of them", [("num.partitions", "4"), ("default.replication.factor", "1")]),
            ("one of them deleted", [("num.partitions", None, DELETE)]),
            ("another unit", [("log.retention.hours", "1")]),
            ("its id", [("node.id", "4")]),
            ("a number that is none", [("log.retention.ms", "x")]),
            ("retention 0", [("log.retention.ms", "0")]),
            ("too small", [("log.segment.bytes", "1")]),
            ("a policy", [("log.cleanup.policy", "x")]),
            ("a negative size", [("message.max.bytes", "-1")]),
            ("append to a number", [("log.retention.ms", "5", APPEND)]),
            ("subtract from a number", [("log.retention.ms", "5", SUBTRACT)]),
            ("operation 4", [("log.retention.ms", "5", 4)]),
            ("null", [("log.retention.ms", None)]),
            ("a key twice", [("log.retention.ms", "5"), ("log.retention.ms", "6")]),
            ("nothing", []),
            ("append to a key that is none", [("nothing", "5", APPEND)]),
            ("expiration 0", [("producer.id.expiration.ms", "0")]),
            ("min.insync.replicas 0", [("min.insync.replicas", "0")]),
        ):
            alter(talk, 1, f"{about} of {'this broker' if where else 'the default'}", resource(BROKER, where, *changes))
            alter(talk, 1, f"{about} of {'this broker' if where else 'the default'}, only", resource(BROKER, where, *changes), only=True)


def appended(talk, name, about, key=b"key", size=5, timestamp=None):
    """What becomes of a batch, and whose time it gets. A Kafka's partitions learn of a change a little later."""
    data = batch.batch(values=[b"v" * size], key=key, timestamp=timestamp)
    part = talk.call("Produce", 9, talk.produce_body(name, data, 9))["Responses"][0]["PartitionResponses"][0]
    talk.note(about, {"ErrorCode": part["ErrorCode"], "stamped": part["LogAppendTimeMs"] >= 0})


@case("alter configs: take effect")
def take_effect(talk):
    name = talk.create("effect")

    def change(*changes, kind=TOPIC, of=name):
        alter(talk, 1, f"{changes}", resource(kind, of, *changes))
        time.sleep(0.5)

    appended(talk, name, "at first", size=5000)
    change(("max.message.bytes", "1000"))
    appended(talk, name, "too large now", size=5000)
    change(("max.message.bytes", None, DELETE))
    appended(talk, name, "not any more", size=5000)
    change(("message.max.bytes", "1000"), kind=BROKER, of="")
    appended(talk, name, "too large for every broker", size=5000)
    change(("message.max.bytes", "10000"), kind=BROKER, of=str(talk.node))
    appended(talk, name, "not for this one", size=5000)
    change(("message.max.bytes", None, DELETE), kind=BROKER, of=str(talk.node))
    change(("message.max.bytes", None, DELETE), kind=BROKER, of="")
    appended(talk, name, "as at first", size=5000)
    change(("message.timestamp.type", "LogAppendTime"))
    appended(talk, name, "stamped by the broker")
    change(("message.timestamp.type", None, DELETE), ("message.timestamp.before.max.ms", "1000"))
    appended(talk, name, "too old", timestamp=1_000_000)
    change(("message.timestamp.before.max.ms", None, DELETE), ("cleanup.policy", "compact"))
    appended(talk, name, "without a key", key=None)
    appended(talk, name, "with one")
    change(("cleanup.policy", None, DELETE))
    appended(talk, name, "without a key again", key=None)
