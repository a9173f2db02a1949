"""The groups of the classic protocol: their members. Only one at a time joins, so that nobody waits for anybody."""

import time

from .talk import case

RANGE = [{"Name": "range", "Metadata": b"\0\1"}]


def ready(talk, group):
    """Waits until the coordinator has read its groups; gives the group's whole name."""
    name = talk.name(group)
    # A heartbeat would not tell: Kafka answers it well while it is still reading.
    while talk.call("DescribeGroups", 5, {"Groups": [name]})["Groups"][0]["ErrorCode"] in (14, 15, 16):
        time.sleep(0.05)
    return name


def join(talk, version, about, group, member="", protocols=RANGE, kind="consumer", session=10_000, rebalance=5_000, **more):
    body = {"GroupId": group, "SessionTimeoutMs": session, "RebalanceTimeoutMs": rebalance, "MemberId": member, "ProtocolType": kind,
            "Protocols": protocols, **more}
    return talk.ask("JoinGroup", version, body, about)


def joined(talk, group, instance=None, protocols=RANGE):
    """A member alone in its group: its id and generation."""
    body = {"GroupId": group, "SessionTimeoutMs": 30_000, "RebalanceTimeoutMs": 5_000, "MemberId": "", "ProtocolType": "consumer",
            "Protocols": protocols, "GroupInstanceId": instance}
    answer = talk.call("JoinGroup", 5, body)
    if answer["ErrorCode"] == 79:
        answer = talk.call("JoinGroup", 5, body | {"MemberId": answer["MemberId"]})
    assert answer["ErrorCode"] == 0, answer
    talk.member(answer["MemberId"])
    return answer["MemberId"], answer["GenerationId"]


def settled(talk, group, instance=None):
    """A member that has its assignment, too."""
    member, generation = joined(talk, group, instance)
    given = [{"MemberId": member, "Assignment": b"\0\1\2"}]
    answer = talk.call("SyncGroup", 3, {"GroupId": group, "GenerationId": generation, "MemberId": member, "GroupInstanceId": instance,
                                        "Assignments": given})
    assert answer["ErrorCode"] == 0, answer
    return member, generation


@case("find coordinator")
def find(talk):
    group = ready(talk, "g")
    for version in talk.versions("FindCoordinator", last=3):
        for key in (group, "", "a b", "x" * 300):
            talk.ask("FindCoordinator", version, {"Key": key}, f"{key[:20]}")
        for kind in (3, 9, -1) if version else ():
            talk.ask("FindCoordinator", version, {"Key": group, "KeyType": kind}, f"type {kind}")
    for version in talk.versions("FindCoordinator", 4):
        for about, keys in {"one": [group], "two": [group, talk.name("h")], "none": [], "the empty one": [""], "a bad one among others": [group, "", "x"],
                            "one twice": [group, group]}.items():
            talk.ask("FindCoordinator", version, {"KeyType": 0, "CoordinatorKeys": keys}, about)
        for kind in (3, 9, -1):
            talk.ask("FindCoordinator", version, {"KeyType": kind, "CoordinatorKeys": [group, "other"]}, f"type {kind}")


@case("join group")
def joins(talk):
    for version in talk.versions("JoinGroup"):
        group = ready(talk, f"g{version}")
        join(talk, version, "no group id", "")
        for session in (-1, 0, 5_999, 6_000, 1_800_000, 1_800_001):
            join(talk, version, f"session of {session}", talk.name(f"s{version}{session}"), session=session)
        for rebalance in (-1, 0, 2**31 - 1):
            join(talk, version, f"rebalance within {rebalance}", talk.name(f"r{version}{rebalance}"), rebalance=rebalance)
        join(talk, version, "no protocol", group, protocols=[])
        join(talk, version, "no kind", group, kind="")
        join(talk, version, "a stranger, no such group", group, "stranger")
        first = join(talk, version, "the first", group)
        member = first["MemberId"]
        join(talk, version, "the first, with its id", group, member)
        join(talk, version, "again, the same", group, member)
        join(talk, version, "again, other metadata", group, member, [{"Name": "range", "Metadata": b"\0\2"}])
        join(talk, version, "again, two protocols", group, member, [{"Name": "a", "Metadata": b"1"}, {"Name": "b", "Metadata": b"2"}])
        join(talk, version, "again, a protocol twice", group, member, [{"Name": "b", "Metadata": b"1"}, {"Name": "b", "Metadata": b"2"}])
        join(talk, version, "again, a protocol without a name", group, member, [{"Name": "", "Metadata": b""}])
        join(talk, version, "a stranger", group, "stranger")
        join(talk, version, "another kind", group, kind="connect")
        join(talk, version, "another kind, with its id", group, member, kind="connect")
        join(talk, version, "no common protocol", group, protocols=[{"Name": "other", "Metadata": b""}])
        join(talk, version, "none of the group", group, member, protocols=[{"Name": "other", "Metadata": b""}])
        describe(talk, 6, group)
        if version >= 5:
            statics(talk, version)


def statics(talk, version):
    group = talk.name(f"i{version}")
    first = join(talk, version, "an instance", group, GroupInstanceId="one")
    join(talk, version, "the instance, with its id", group, first["MemberId"], GroupInstanceId="one")
    join(talk, version, "the instance, another id", group, "stranger", GroupInstanceId="one")
    join(talk, version, "another instance, an unknown id", group, "stranger", GroupInstanceId="two")
    again = join(talk, version, "the instance, started again", group, GroupInstanceId="one")
    join(talk, version, "the instance, with its old id", group, first["MemberId"], GroupInstanceId="one")
    join(talk, version, "its id, another instance", group, again["MemberId"], GroupInstanceId="two")
    join(talk, version, "its id, no instance", group, again["MemberId"])
    for number, (about, instance) in enumerate({"no name": "", "a name of 249": "x" * 249, "a name of 250": "x" * 250, "a bad name": "a b"}.items()):
        join(talk, version, f"an instance, {about}", talk.name(f"j{version}{number}"), GroupInstanceId=instance)
    describe(talk, 6, group)


@case("join group: at most one", **{"group.max.size": "1"})
def full(talk):
    for version in talk.versions("JoinGroup"):
        group = ready(talk, f"g{version}")
        member, _ = joined(talk, group)
        join(talk, version, "a second", group)
        join(talk, version, "a second instance", group, GroupInstanceId="x")
        join(talk, version, "the first", group, member)


@case("sync group")
def syncs(talk):
    for version in talk.versions("SyncGroup"):
        group = ready(talk, f"g{version}")

        def sync(about, member, generation, *given, name=group, **more):
            assignments = [{"MemberId": who, "Assignment": what} for who, what in given]
            talk.ask("SyncGroup", version, {"GroupId": name, "GenerationId": generation, "MemberId": member, "Assignments": assignments,
                                            **({"ProtocolType": "consumer", "ProtocolName": "range"} if version >= 5 else {}), **more}, about)

        sync("no group", "stranger", 1)
        sync("no group id", "stranger", 1, name="")
        sync("no group, no member", "", -1)
        member, now = joined(talk, group)
        sync("a stranger", "stranger", now)
        sync("the next generation", member, now + 1)
        sync("generation -1", member, -1)
        sync("the leader", member, now, (member, b"\1\2"))
        sync("the leader again", member, now, (member, b"\3\4"))
        sync("the leader, nothing given", member, now)
        member, now = joined(talk, talk.name(f"h{version}"))
        sync("the leader forgets itself", member, now, name=talk.name(f"h{version}"))
        member, now = joined(talk, talk.name(f"i{version}"))
        sync("given to strangers", member, now, ("stranger", b"\1"), (member, b"\2"), (member, b"\3"), name=talk.name(f"i{version}"))
        if version >= 3:
            member, now = joined(talk, talk.name(f"s{version}"), "one")
            sync("another id of the instance", "stranger", now, name=talk.name(f"s{version}"), GroupInstanceId="one")
            sync("an unknown instance", member, now, name=talk.name(f"s{version}"), GroupInstanceId="two")
            sync("the instance", member, now, (member, b"\1"), name=talk.name(f"s{version}"), GroupInstanceId="one")
        if version >= 5:
            for kind, name in (("connect", "range"), ("consumer", "other"), (None, "range"), ("consumer", None), (None, None), ("", "")):
                sync(f"{kind}, {name}", member, now, name=talk.name(f"s{version}"), ProtocolType=kind, ProtocolName=name)


@case("heartbeat")
def heartbeats(talk):
    for version in talk.versions("Heartbeat"):
        group = ready(talk, f"g{version}")

        def beat(about, member, generation, name=group, **more):
            talk.ask("Heartbeat", version, {"GroupId": name, "GenerationId": generation, "MemberId": member, **more}, about)

        beat("no group", "stranger", 1)
        beat("no group id", "stranger", 1, "")
        beat("no group, no member", "", -1)
        member, now = joined(talk, group)
        beat("before the assignment", member, now)
        beat("before the assignment, the next generation", member, now + 1)
        member, now = settled(talk, group + "s", "one")
        for about, who, when in (("its own", member, now), ("the next generation", member, now + 1), ("the one before", member, now - 1),
                                 ("generation -1", member, -1), ("a stranger", "stranger", now), ("nobody", "", now), ("nobody, -1", "", -1)):
            beat(about, who, when, group + "s")
            if version >= 3:
                beat(f"{about}, the instance", who, when, group + "s", GroupInstanceId="one")
                beat(f"{about}, another instance", who, when, group + "s", GroupInstanceId="two")


@case("leave group")
def leaves(talk):
    for version in talk.versions("LeaveGroup"):
        group = ready(talk, f"g{version}")

        def leave(about, *members, name=group):
            if version < 3:
                talk.ask("LeaveGroup", version, {"GroupId": name, "MemberId": members[0][0] if members else ""}, about)
            else:
                listed = [{"MemberId": who, "GroupInstanceId": instance, "Reason": "why not"} for who, instance in members]
                talk.ask("LeaveGroup", version, {"GroupId": name, "Members": listed}, about)

        leave("no group", ("stranger", None))
        leave("no group id", ("stranger", None), name="")
        leave("nobody, no group")
        member, _ = settled(talk, group)
        leave("a stranger", ("stranger", None))
        leave("nobody")
        leave("a nameless one", ("", None))
        leave("it", (member, None))
        leave("it again", (member, None))
        leave("a stranger, the group is empty", ("stranger", None))
        if version < 3:
            continue
        member, _ = settled(talk, group, "one")
        leave("another instance", ("", "two"), ("stranger", "two"))
        leave("an instance, a stranger's id", ("stranger", "one"))
        leave("the id, another instance", (member, "two"))
        leave("an instance", ("", "one"))
        leave("an instance again", ("", "one"))
        member, _ = settled(talk, group, "one")
        leave("several", ("stranger", None), (member, "one"), ("", "two"), (member, "one"))
        member, _ = settled(talk, group)
        leave("one twice", (member, None), (member, None))
        describe(talk, 6, group)


def describe(talk, version, *groups, **more):
    """Kafka's answers stand by coordinator."""
    answer = talk.call("DescribeGroups", version, {"Groups": list(groups), **more})
    answer["Groups"].sort(key=lambda one: one["GroupId"])
    talk.note(f"DescribeGroups v{version} {' '.join(group[:40] for group in groups)}", talk.plain(answer))
