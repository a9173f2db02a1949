"""Kafka's tools for groups: kafka-consumer-groups, kafka-groups."""

from .session import table


def setting(s, about="g", records=10, partitions=2, offset=3):
    """A topic with records and an empty group that has committed in its first partition."""
    topic = s.topic(about, partitions, records)
    return topic, s.group(f"{about}-group", topic, offset)


def listed(s):
    _, group = setting(s)
    keep = f"{s.prefix}|Exception|rror"
    s.groups("--list", keep=keep)
    s.groups("--list", "--state", keep=keep)
    s.groups("--list", "--state", "Empty,Dead", keep=keep)
    s.groups("--list", "--state", "Stable", keep=keep)
    s.groups("--list", "--type", keep=keep)
    s.groups("--list", "--type", "consumer", keep=keep)
    s.java("GroupsCommand", *s.at, "--list", "--group-type", "classic", keep=keep)


def empty(s):
    _, group = setting(s)
    s.groups("--describe", "--group", group)
    s.groups("--describe", "--group", group, "--state")
    s.groups("--describe", "--group", group, "--members")


def active(s):
    topic, group = setting(s)
    with s.member(group, topic):
        s.groups("--describe", "--group", group)
        s.groups("--describe", "--group", group, "--state")
        s.groups("--describe", "--group", group, "--members", "--verbose")
        s.groups("--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
        s.groups("--delete", "--group", group)
        s.groups("--delete-offsets", "--group", group, "--topic", topic)
        s.groups("--list", "--state", keep=s.prefix)


def reset(*how, dry=False):
    def run(s):
        topic, group = setting(s)
        s.groups("--reset-offsets", "--group", group, "--topic", topic, *how, "--dry-run" if dry else "--execute", sort=True)
        s.groups("--describe", "--group", group, sort=True)
    return run


def reset_from_file(s):
    topic, group = setting(s)
    s.groups("--reset-offsets", "--group", group, "--from-file", s.file("offsets.csv", f"{topic},0,7\n{topic},1,0\n"), "--execute", sort=True)
    s.groups("--reset-offsets", "--group", group, "--topic", topic, "--to-current", "--export", "--dry-run", sort=True)


def reset_all_topics(s):
    topic, group = setting(s)
    s.groups("--reset-offsets", "--group", group, "--all-topics", "--to-latest", "--execute", sort=True)
    s.groups("--reset-offsets", "--group", group, "--topic", f"{topic}:0", "--to-offset", 2, "--execute", sort=True)
    s.groups("--reset-offsets", "--group", group, "--topic", f"{topic}:9", "--to-offset", 2, "--execute", sort=True)
    s.groups("--reset-offsets", "--group", group, "--topic", s.name("nobody"), "--to-offset", 2, "--execute", sort=True)


def delete_offsets(s):
    topic, group = setting(s)
    s.groups("--delete-offsets", "--group", group, "--topic", f"{topic}:0", sort=True)
    s.groups("--describe", "--group", group)
    s.groups("--delete-offsets", "--group", group, "--topic", f"{topic}:0", sort=True)
    s.groups("--delete-offsets", "--group", group, "--topic", s.name("nobody"), sort=True)


def delete(s):
    _, group = setting(s)
    s.groups("--delete", "--group", group)
    s.groups("--describe", "--group", group)
    s.groups("--delete", "--group", group)
    s.groups("--list", keep=s.prefix)


def after_deletion(s):
    """What a topic's deletion leaves of the offsets that were committed for it."""
    topic, group = setting(s)
    s.topics("--delete", "--topic", topic)
    s.until(lambda: s.java("consumer.group.ConsumerGroupCommand", *s.at, "--describe", "--group", group, quiet=True)["out"],
            lambda out: topic not in out, 5)
    s.groups("--describe", "--group", group)


table("java", [
    ("ListGroups: by state and type", listed),
    ("DescribeGroups: empty, with offsets committed", empty),
    ("DescribeGroups: a member; NON_EMPTY_GROUP, GROUP_SUBSCRIBED_TO_TOPIC, a reset refused", active),
    ("DescribeGroups: GROUP_ID_NOT_FOUND", lambda s: s.groups("--describe", "--group", s.name("nobody"))),
    ("DescribeGroups: GROUP_ID_NOT_FOUND, its members", lambda s: s.groups("--describe", "--group", s.name("nobody"), "--members")),
    ("DescribeGroups: GROUP_ID_NOT_FOUND, its state", lambda s: s.groups("--describe", "--group", s.name("nobody"), "--state")),
    ("OffsetCommit: reset to the start", reset("--to-earliest")),
    ("OffsetCommit: reset to the end", reset("--to-latest")),
    ("OffsetCommit: reset, only shown", reset("--to-earliest", dry=True)),
    ("OffsetCommit: reset by 2 and back", reset("--shift-by", 2)),
    ("OffsetCommit: reset beyond the start", reset("--shift-by", -100)),
    ("OffsetCommit: reset beyond the end", reset("--to-offset", 10_000)),
    ("OffsetCommit: reset to a time", reset("--to-datetime", "2023-11-14T22:13:24.500")),
    ("OffsetCommit: reset to a time after the last record", reset("--to-datetime", "2024-11-14T22:13:24.500")),
    ("OffsetCommit: reset by a duration", reset("--by-duration", "PT1M")),
    ("OffsetCommit: reset from a file, and exported", reset_from_file),
    ("OffsetCommit: reset all topics, one partition, UNKNOWN_TOPIC_OR_PARTITION", reset_all_topics),
    ("OffsetCommit: reset of a group that does not exist", lambda s: s.groups(
        "--reset-offsets", "--group", s.name("fresh"), "--topic", s.topic("t", 1, 5), "--to-latest", "--execute")),
    ("OffsetDelete: done, then UNKNOWN_TOPIC_OR_PARTITION", delete_offsets),
    ("OffsetDelete: GROUP_ID_NOT_FOUND", lambda s: s.groups("--delete-offsets", "--group", s.name("nobody"), "--topic", s.topic("t"))),
    ("DeleteGroups: done, then GROUP_ID_NOT_FOUND", delete),
    ("OffsetFetch: after the deletion of the topic", after_deletion),
])
