"""Fetch: what is asked from where, and how much of it."""

import time

from .batch import batch
from .talk import case


def part(index, offset, limit=1 << 20, **more):
    return {"Partition": index, "FetchOffset": offset, "PartitionMaxBytes": limit, **more}


def body(talk, version, topic, parts, wait=0, least=0, most=1 << 20, **more):
    if isinstance(parts, dict):
        parts = [parts]
    names = {"TopicId": talk.topics.get(topic, b"\7" * 16)} if version >= 13 else {"Topic": topic}
    return {"ReplicaId": -1, "MaxWaitMs": wait, "MinBytes": least, "MaxBytes": most, "RackId": "",
            "Topics": [{**names, "Partitions": parts}], **more}


def ask(talk, version, about, topic, parts, **options):
    return talk.ask("Fetch", version, body(talk, version, topic, parts, **options), about)


@case("fetch: every version")
def every_version(talk):
    topic, empty = talk.create("t", 2), talk.create("empty")
    for number in range(5):
        talk.produced(topic, batch(number + 1, codec=["none", "gzip", "snappy", "lz4", "none"][number]))
    for version in talk.versions("Fetch"):
        for offset in (0, 1, 2, 7, 14, 15, 16, 1000, -1, -2, -2**63, 2**63 - 1):
            ask(talk, version, f"from {offset}", topic, part(0, offset))
        ask(talk, version, "an empty partition", topic, part(1, 0))
        ask(talk, version, "an empty topic", empty, part(0, 0))
        ask(talk, version, "partition 2", topic, part(2, 0))
        ask(talk, version, "partition -1", topic, part(-1, 0))
        ask(talk, version, "an unknown topic", talk.name("unknown"), part(0, 0))
        ask(talk, version, "no name", "", part(0, 0))
        ask(talk, version, "a bad name", "a b", part(0, 0))
        ask(talk, version, "known and unknown", topic, [part(0, 0), part(9, 0), part(1, 5)])
        ask(talk, version, "a partition twice", topic, [part(0, 14), part(0, 0)])
        ask(talk, version, "no partition", topic, [])
        ask(talk, version, "read committed", topic, part(0, 0), IsolationLevel=1)
        ask(talk, version, "isolation 2", topic, part(0, 0), IsolationLevel=2)
        ask(talk, version, "isolation -1", topic, part(0, 0), IsolationLevel=-1)
        ask(talk, version, "read committed, an empty partition", topic, part(1, 0), IsolationLevel=1)
        ask(talk, version, "read committed, out of range", topic, part(0, 99), IsolationLevel=1)
        ask(talk, version, "a log start offset", topic, part(0, 0, LogStartOffset=3))
        talk.ask("Fetch", version, {**body(talk, version, topic, []), "Topics": []}, "nothing")
    zstd = talk.create("zstd")
    talk.produced(zstd, batch(20, codec="zstd"))
    for version in talk.versions("Fetch"):
        ask(talk, version, "zstd", zstd, part(0, 0))
    for version in (0, 3, 19):
        talk.raw(talk.protocol.request("Fetch", 4, body(talk, 4, topic, part(0, 0)))[:6] + bytes([0, version]), f"version {version}")


@case("fetch: limits")
def limits(talk):
    topic = talk.create("t", 3)
    for index in range(3):
        for number in range(6):
            talk.produced(topic, batch(3, values=[b"x" * 300] * 3), partition=index)
    for version in (4, 6, 12, 16, 18):
        for limit in (-1, 0, 1, 100, 1000, 1100, 2100, 1 << 20, 2**31 - 1):
            ask(talk, version, f"{limit} of a partition", topic, part(0, 0, limit))
            ask(talk, version, f"{limit} of the second partition", topic, [part(0, 0), part(1, 0, limit)])
            ask(talk, version, f"{limit} in all", topic, [part(0, 0), part(1, 0), part(2, 0)], most=limit)
            ask(talk, version, f"{limit} in all, from offset 4", topic, [part(0, 4), part(1, 0)], most=limit)
            ask(talk, version, f"{limit} in all, the first at its end", topic, [part(0, 18), part(1, 0)], most=limit)
        ask(talk, version, "1 of each", topic, [part(0, 0, 1), part(1, 0, 1), part(2, 0, 1)])
        ask(talk, version, "0 of each", topic, [part(0, 0, 0), part(1, 0, 0), part(2, 0, 0)])


@case("fetch: waiting")
def waiting(talk):
    topic = talk.create("t", 2)
    talk.produced(topic, batch(2))

    def timed(about, low, high, *arguments, **options):
        began = time.monotonic()
        ask(talk, 12, about, *arguments, **options)
        took = time.monotonic() - began
        talk.note(f"{about}: waits {low} to {high} s", low <= took <= high or took)

    timed("at the end, least 0", 0, 0.35, topic, part(0, 2), wait=500, least=0)
    timed("at the end, least 1", 0.45, 1.5, topic, part(0, 2), wait=500, least=1)
    timed("at the end, least -1", 0, 0.35, topic, part(0, 2), wait=500, least=-1)
    timed("at the end, no time", 0, 0.35, topic, part(0, 2), wait=0, least=1)
    timed("at the end, negative time", 0, 0.35, topic, part(0, 2), wait=-1, least=1)
    timed("enough is there", 0, 0.35, topic, part(0, 0), wait=2000, least=1)
    timed("not enough is there", 0.45, 1.5, topic, part(0, 0), wait=500, least=10_000)
    timed("an error does not wait", 0, 0.35, topic, part(7, 0), wait=2000, least=1)
    timed("out of range does not wait", 0, 0.35, topic, part(0, 99), wait=2000, least=1)
    timed("an unknown partition among good ones", 1.9, 3, topic, [part(0, 2), part(7, 0)], wait=2000, least=1)
    timed("no partition does not wait", 0, 0.35, topic, [], wait=2000, least=1)
    timed("least above the maximum", 0.45, 1.5, topic, part(0, 2), wait=500, least=1 << 30, most=100)
    timed("max of 0", 0, 0.35, topic, part(0, 2), wait=500, least=1, most=0)


@case("fetch: sessions")
def sessions(talk):
    topic = talk.create("t", 2)
    talk.produced(topic, batch(2))
    for version in talk.versions("Fetch", 7):
        ask(talk, version, "no session: epoch -1", topic, part(0, 0), SessionEpoch=-1)
        ask(talk, version, "an unknown session, epoch 1", topic, part(0, 0), SessionId=4711, SessionEpoch=1)
        ask(talk, version, "an unknown session, epoch 5, nothing asked", topic, [], SessionId=4711, SessionEpoch=5)
        ask(talk, version, "session 0, epoch 1", topic, part(0, 0), SessionId=0, SessionEpoch=1)
        ask(talk, version, "an unknown session is closed", topic, part(0, 0), SessionId=4711, SessionEpoch=-1)
        ask(talk, version, "an unknown session, epoch 0", topic, part(0, 0), SessionId=4711, SessionEpoch=0)
        ask(talk, version, "epoch -2", topic, part(0, 0), SessionId=0, SessionEpoch=-2)
        forgotten = {"TopicId": talk.topics[topic]} if version >= 13 else {"Topic": topic}
        ask(talk, version, "something is forgotten", topic, part(0, 0), SessionEpoch=-1,
            ForgottenTopicsData=[{**forgotten, "Partitions": [0]}])


class Session:
    """A fetch session as a client keeps it, in one version."""

    def __init__(self, talk, version, topic):
        self.talk, self.version, self.topic, self.id, self.epoch = talk, version, topic, 0, 0

    def ask(self, about, parts=(), forget=(), epoch=None, version=None, **options):
        version = version or self.version
        asked = body(self.talk, version, self.topic, list(parts), SessionId=self.id,
                     SessionEpoch=self.epoch if epoch is None else epoch, **options)
        named = {key: value for key, value in asked["Topics"][0].items() if key != "Partitions"}
        asked["ForgottenTopicsData"] = [{**named, "Partitions": list(forget)}] if forget else []
        if not parts:
            asked["Topics"] = []
        answer = self.talk.ask("Fetch", version, asked, f"in a session: {about}")
        if epoch is None:
            self.id, self.epoch = answer["SessionId"] or self.id, self.epoch + 1
        order = [part["PartitionIndex"] for topic in answer["Responses"] for part in topic["Partitions"]]
        self.talk.note(f"order: {about}", order)
        return answer


@case("fetch: incremental")
def incremental(talk):
    for version in talk.versions("Fetch", 7):
        topic = talk.create(f"t{version}", 4)
        session = Session(talk, version, topic)
        session.ask("begins", [part(index, 0) for index in range(3)])
        session.ask("nothing is new")
        session.ask("and still not", wait=50, least=1)
        talk.produced(topic, batch(2), partition=1)
        session.ask("one has records")
        session.ask("and has them again, as it was not told where to go on")
        session.ask("it goes on", [part(1, 2)])
        session.ask("nothing is new now", [part(1, 2)])
        for index in (0, 2, 1):
            talk.produced(topic, batch(1), partition=index)
        session.ask("all have records, in turn")
        session.ask("in turn, with little room", most=1)
        session.ask("a fourth, and none of the first", [part(3, 0)], forget=[0])
        session.ask("what is forgotten stays forgotten")
        session.ask("the first again", [part(0, 0)])
        session.ask("out of range", [part(0, 99)])
        session.ask("out of range again")
        session.ask("in range again", [part(0, 1), part(1, 3), part(2, 1)])
        session.ask("no such partition", [part(7, 0), part(-1, 0)])
        session.ask("no such partition again")
        session.ask("it is forgotten", forget=[7, -1])
        session.ask("what was never there is forgotten", forget=[9])
        session.ask("read committed", IsolationLevel=1)
        session.ask("all are forgotten", forget=[0, 1, 2, 3])
        session.ask("nothing is left")


@case("fetch: epochs of sessions")
def session_epochs(talk):
    topic = talk.create("t", 2)
    talk.produced(topic, batch(2))
    for version in talk.versions("Fetch", 7):
        session = Session(talk, version, topic)
        session.ask("begins", [part(0, 2)])
        for epoch in (2, 3, -2, 2**31 - 1):
            session.ask(f"epoch {epoch} at epoch 1", epoch=epoch)
        session.ask("the first")
        session.ask("the first again", epoch=1)
        session.ask("the second", [part(1, 0)])
        if version in (12, 13):
            session.ask("the other way to name topics", [part(0, 0)], epoch=session.epoch, version=25 - version)
            session.ask("and back")
        talk.hang_up()
        session.ask("on another connection", [part(0, 0)])
        talk.hang_up()
        session.ask("and another")
        session.ask("a full fetch ends it", [part(0, 0)], epoch=0)
        session.ask("it has ended")
        ended = Session(talk, version, topic)
        ended.ask("begins again", [part(0, 2)])
        ended.ask("epoch -1 ends it", [part(0, 0)], epoch=-1)
        ended.ask("it has ended, too")
        other = Session(talk, version, topic)
        other.ask("begins with nothing")
        other.ask("goes on with nothing")


@case("fetch: sessions and topics that come and go")
def sessions_and_topics(talk):
    for version in (7, 12, 13, 18):
        topic = talk.create(f"t{version}", 1)
        talk.produced(topic, batch(2))
        session = Session(talk, version, topic)
        session.ask("begins", [part(0, 2), part(1, 0)])
        session.ask("nothing is new")
        deleted = {"Topics": [{"Name": topic, "TopicId": bytes(16)}], "TimeoutMs": 20_000}
        assert talk.call("DeleteTopics", 6, deleted)["Responses"][0]["ErrorCode"] == 0
        time.sleep(0.5)
        session.ask("the topic is gone")
        session.ask("it is still gone")
        session.ask("it is forgotten", forget=[0])


@case("fetch: few sessions", **{"max.incremental.fetch.session.cache.slots": "0"})
def no_sessions(talk):
    topic = talk.create("t", 2)
    talk.produced(topic, batch(2))
    for version in (7, 12, 13, 18):
        session = Session(talk, version, topic)
        session.ask("begins", [part(0, 0), part(1, 0)])
        session.ask("goes on")


@case("fetch: leader epochs")
def epochs(talk):
    topic = talk.create("t")
    talk.produced(topic, batch(2))
    now = talk.epochs[topic]
    for version in talk.versions("Fetch", 9):
        for about, epoch in (("none", -1), ("-2", -2), ("right", now), ("ahead", now + 1), ("far ahead", 2**31 - 1)):
            ask(talk, version, f"current epoch {about}", topic, part(0, 0, CurrentLeaderEpoch=epoch))
        ask(talk, version, "ahead, and out of range", topic, part(0, 99, CurrentLeaderEpoch=now + 1))
        ask(talk, version, "ahead, unknown partition", topic, part(9, 0, CurrentLeaderEpoch=now + 1))
        if version < 12:
            continue
        for about, epoch in (("-2", -2), ("right", now), ("ahead", now + 1), ("far ahead", 2**31 - 1)):
            ask(talk, version, f"last epoch {about}", topic, part(0, 2, LastFetchedEpoch=epoch))
            ask(talk, version, f"last epoch {about}, both", topic, part(0, 1, LastFetchedEpoch=epoch, CurrentLeaderEpoch=now))
            ask(talk, version, f"last epoch {about}, beyond", topic, part(0, 3, LastFetchedEpoch=epoch))


@case("fetch: replicas and strangers")
def replicas(talk):
    topic = talk.create("t")
    talk.produced(topic, batch(2))
    for version in (4, 9, 12, 14):
        for replica in (-2, 0, 1, 5):
            ask(talk, version, f"replica {replica}", topic, part(0, 0), ReplicaId=replica)
    for version in (15, 18):
        for replica in (-2, 0, 5):
            ask(talk, version, f"replica {replica}", topic, part(0, 0), ReplicaState={"ReplicaId": replica, "ReplicaEpoch": -1})
    for version in (12, 18):
        ask(talk, version, "another cluster", topic, part(0, 0), ClusterId="another")
        ask(talk, version, "a rack", topic, part(0, 0), RackId="rack")


@case("fetch: by id")
def by_id(talk):
    one, two = talk.create("one"), talk.create("two")
    talk.produced(one, batch(2))
    talk.produced(two, batch(3))
    for version in talk.versions("Fetch", 13):
        def topics(*ids):
            return {**body(talk, version, one, []), "Topics": [{"TopicId": found, "Partitions": [part(0, 0)]} for found in ids]}

        a, b = talk.topics[one], talk.topics[two]
        talk.ask("Fetch", version, topics(a, b), "both")
        talk.ask("Fetch", version, topics(a, b"\1" * 16), "one unknown")
        talk.ask("Fetch", version, topics(bytes(16)), "zero")
        talk.ask("Fetch", version, topics(a, bytes(16), b), "zero among others")
        talk.ask("Fetch", version, topics(a, a), "twice")
