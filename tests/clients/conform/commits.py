"""Committed offsets, groups as administrators see them, and DeleteRecords."""

from .batch import batch
from .groups import describe, joined, ready, settled
from .talk import case


def commit(talk, version, about, group, topic, *parts, member="", generation=-1, **more):
    listed = [{"PartitionIndex": index, "CommittedOffset": offset, "CommittedMetadata": text} for index, offset, text in parts]
    named = {"TopicId": talk.topics.get(topic, b"\7" * 16)} if version >= 10 else {"Name": topic}
    talk.ask("OffsetCommit", version, {"GroupId": group, "MemberId": member, "GenerationIdOrMemberEpoch": generation,
                                       "Topics": [{**named, "Partitions": listed}], **more}, about)


@case("offset commit")
def commits(talk):
    topic = talk.create("t", 2)
    for version in talk.versions("OffsetCommit"):
        group = ready(talk, f"g{version}")
        commit(talk, version, "without a group", group, topic, (0, 5, "m"), (1, 7, ""))
        commit(talk, version, "no group id", "", topic, (0, 5, "m"))
        for about, part in {"null metadata": (0, 6, None), "partition 2": (2, 1, ""), "partition -1": (-1, 1, ""), "offset -1": (0, -1, ""),
                            "offset -2": (0, -2, ""), "the highest offset": (0, 2**63 - 1, ""), "metadata of 4096": (0, 8, "m" * 4096),
                            "metadata of 4097": (0, 9, "m" * 4097), "metadata beyond ASCII": (0, 9, "ä" * 2049)}.items():
            commit(talk, version, about, group, topic, part)
        commit(talk, version, "good and bad", group, topic, (0, 10, ""), (9, 1, ""), (1, 3, "x" * 5000))
        commit(talk, version, "a partition twice", group, topic, (0, 11, "a"), (0, 12, "b"))
        commit(talk, version, "an unknown topic", group, talk.name("unknown"), (0, 1, ""))
        commit(talk, version, "no partition", group, topic)
        commit(talk, version, "no partition of an unknown topic", group, talk.name("unknown"))
        talk.ask("OffsetCommit", version, {"GroupId": group, "MemberId": "", "GenerationIdOrMemberEpoch": -1, "Topics": []}, "nothing")
        commit(talk, version, "a member of no group", talk.name(f"n{version}"), topic, (0, 1, ""), member="m", generation=3)
        commit(talk, version, "a member, generation -1", talk.name(f"n{version}"), topic, (0, 1, ""), member="m")
        commit(talk, version, "generation 0, nobody", talk.name(f"n{version}"), topic, (0, 1, ""), generation=0)
        fetch(talk, 8, "what was committed", [(group, [(topic, [0, 1])])])
        with_members(talk, version, topic)


def with_members(talk, version, topic):
    group = talk.name(f"m{version}")
    member, now = joined(talk, group)
    commit(talk, version, "before the assignment", group, topic, (0, 1, ""), member=member, generation=now)
    commit(talk, version, "without a group, before the assignment", group, topic, (0, 1, ""))
    group = talk.name(f"a{version}")
    member, now = settled(talk, group, "one")
    for about, who, when in (("its own", member, now), ("the next generation", member, now + 1), ("generation -1", member, -1),
                             ("a stranger", "stranger", now), ("nobody", "", -1), ("nobody, its generation", "", now)):
        commit(talk, version, about, group, topic, (0, 2, about), member=who, generation=when)
        if version >= 7:
            for instance in ("one", "two"):
                commit(talk, version, f"{about}, instance {instance}", group, topic, (0, 3, about), member=who, generation=when, GroupInstanceId=instance)
    fetch(talk, 8, "what the member committed", [(group, [(topic, [0])])])


def fetch(talk, version, about, groups, **more):
    """`groups`: names with topics, each with partitions; None for all topics."""
    def named(topic):
        return {"TopicId": talk.topics.get(topic, b"\7" * 16)} if version >= 10 else {"Name": topic}

    listed = [{"GroupId": group, "Topics": topics and [{**named(name), "PartitionIndexes": parts} for name, parts in topics]}
              for group, topics in groups]
    talk.ask("OffsetFetch", version, {**(listed[0] if listed and version < 8 else {"Groups": listed}), **more}, about)


@case("offset fetch")
def fetches(talk):
    topic, other = talk.create("t", 3), talk.create("other")
    group, second, nobody, unknown = ready(talk, "g"), ready(talk, "h"), ready(talk, "nobody"), talk.name("unknown")
    for name in (group, second):
        for where, index, offset in ((topic, 0, 5), (topic, 1, 7), (other, 0, 9)):
            commit(talk, 9, f"for {name}", name, where, (index, offset, "told"), generation=-1)
    for version in talk.versions("OffsetFetch"):
        for about, topics in {"one": [(topic, [0])], "several": [(topic, [0, 1, 2]), (other, [0])], "partitions that are none": [(topic, [7, -1, 0])],
                              "one twice": [(topic, [0, 0])], "a topic twice": [(topic, [0]), (topic, [1])], "unknown": [(unknown, [0])],
                              "no partition": [(topic, [])], "nothing": [], **({"all": None} if version >= 2 else {})}.items():
            for name in (group, nobody):
                fetch(talk, version, f"{about} of {name}", [(name, topics)])
        fetch(talk, version, "no group id", [("", [(topic, [0])])])
        if version >= 7:
            fetch(talk, version, "stable", [(group, [(topic, [0])])], RequireStable=True)
        if version >= 8:
            fetch(talk, version, "no group", [])
            fetch(talk, version, "two", [(group, None), (second, [(topic, [1])])])
            fetch(talk, version, "good and bad", [(group, None), ("", [(topic, [0])]), (nobody, None)])
            fetch(talk, version, "a group twice", [(group, [(topic, [0])]), (group, [(topic, [1])])])
        if version >= 9:
            for about, member, epoch in (("a stranger", "stranger", 1), ("epoch 0", "stranger", 0), ("an epoch only", None, 5), ("nobody", "", -1)):
                named = {"TopicId": talk.topics[topic]} if version >= 10 else {"Name": topic}
                talk.ask("OffsetFetch", version, {"Groups": [{"GroupId": group, "MemberId": member, "MemberEpoch": epoch, "Topics": [
                    {**named, "PartitionIndexes": [0]}]}]}, f"as {about}")


@case("groups described and listed")
def described(talk):
    topic = talk.create("t")
    empty, stable, half, nobody = (ready(talk, name) for name in ("empty", "stable", "half", "nobody"))
    commit(talk, 9, "for the empty one", empty, topic, (0, 1, ""))
    settled(talk, stable, "one")
    joined(talk, half)
    for version in talk.versions("DescribeGroups"):
        for groups in ((empty,), (stable,), (half,), (nobody,), ("",), (), (empty, nobody, "", stable), (stable, stable), ("a b",)):
            describe(talk, version, *groups)
            if version >= 3:
                describe(talk, version, *groups, IncludeAuthorizedOperations=True)
    for version in talk.versions("ListGroups"):
        lists(talk, version, "all")
        for states in ([], ["Empty"], ["Stable", "Empty"], ["stable"], ["COMPLETINGREBALANCE"], ["Nothing"], [""], ["Dead"], ["Stable", "Stable"]):
            if version >= 4:
                lists(talk, version, f"states {states}", StatesFilter=states)
        for types in ([], ["classic"], ["Classic"], ["consumer"], ["share", "classic"], ["none"], [""]):
            if version >= 5:
                lists(talk, version, f"types {types}", TypesFilter=types)
                lists(talk, version, f"stable ones, types {types}", TypesFilter=types, StatesFilter=["Stable"])


def lists(talk, version, about, **body):
    answer = talk.call("ListGroups", version, body)
    answer["Groups"] = sorted((one for one in answer["Groups"] if one["GroupId"].startswith(talk.prefix)), key=lambda one: one["GroupId"])
    talk.note(f"ListGroups v{version} {about}", talk.plain(answer))


@case("groups and offsets deleted")
def deleted(talk):
    topic, other = talk.create("t", 2), talk.create("other")
    for version in talk.versions("DeleteGroups"):
        empty, second, stable, nobody = (ready(talk, f"{name}{version}") for name in ("empty", "second", "stable", "nobody"))
        settled(talk, stable)
        for group in (empty, second):
            commit(talk, 9, "before", group, topic, (0, 1, ""))
        for about, groups in {"none": [], "unknown": [nobody], "no name": [""], "with a member": [stable], "one": [empty], "it again": [empty],
                              "several": [second, nobody, stable, ""], "one twice": [nobody, nobody]}.items():
            answer = talk.call("DeleteGroups", version, {"GroupsNames": groups})
            answer["Results"].sort(key=lambda one: one["GroupId"])
            talk.note(f"DeleteGroups v{version} {about}", talk.plain(answer))
        describe(talk, 6, empty, second)
    group, stable, nobody = (ready(talk, name) for name in ("g", "s", "n"))
    commit(talk, 9, "before", group, topic, (0, 1, ""), (1, 2, ""))
    commit(talk, 9, "before", group, other, (0, 3, ""))
    settled(talk, stable)
    for about, name, topics in (
        ("unknown", nobody, [(topic, [0])]), ("no name", "", [(topic, [0])]), ("nothing", group, []), ("no partition", group, [(topic, [])]),
        ("no partition of an unknown topic", group, [(talk.name("unknown"), [])]),
        ("an unknown topic", group, [(talk.name("unknown"), [0])]), ("partitions that are none", group, [(topic, [7, -1])]),
        ("one", group, [(topic, [0])]), ("it again", group, [(topic, [0])]), ("one twice", group, [(topic, [1, 1])]),
        ("with a member of another protocol's metadata", stable, [(topic, [0])]), ("nothing, unknown", nobody, []),
    ):
        talk.ask("OffsetDelete", 0, {"GroupId": name, "Topics": [
            {"Name": one, "Partitions": [{"PartitionIndex": index} for index in parts]} for one, parts in topics]}, about)
    fetch(talk, 8, "what is left", [(group, None)])


@case("delete records")
def delete_records(talk):
    compacted, both = talk.create("compacted", cleanup_policy="compact"), talk.create("both", cleanup_policy="compact,delete")
    for version in talk.versions("DeleteRecords"):
        topic = talk.create(f"t{version}", 2)
        talk.produced(topic, batch(10))

        def delete(about, *parts, name=topic, timeout=10_000):
            talk.ask("DeleteRecords", version, {"TimeoutMs": timeout, "Topics": [{"Name": name, "Partitions": [
                {"PartitionIndex": index, "Offset": offset} for index, offset in parts]}]}, about)

        for offset in (0, 3, 3, 1, 11, -2, -2**63, 2**63 - 1, 4, -1, 0, 10):
            delete(f"before {offset}", (0, offset))
        delete("an empty partition", (1, 0), timeout=0)
        delete("an empty partition, its end", (1, -1))
        delete("an empty partition, too far", (1, 1))
        delete("partitions that are none", (2, 0), (-1, 0), (0, 10))
        delete("an unknown topic", (0, 0), name=talk.name("unknown"))
        delete("a bad name", (0, 0), name="a b")
        delete("no name", (0, 0), name="")
        delete("an internal topic", (0, 0), name="__consumer_offsets")
        delete("a compacted topic", (0, 0), name=compacted)
        delete("a topic that is both", (0, 0), name=both)
        delete("no partition")
        talk.ask("DeleteRecords", version, {"TimeoutMs": 1000, "Topics": []}, "nothing")
        talk.ask("ListOffsets", 7, {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [
            {"PartitionIndex": index, "Timestamp": -2} for index in (0, 1)]}]}, f"start of {topic}")
