"""kcat: what it prints of a broker's answers."""

import json

from .session import THEN_MS, check, table

FORMAT = r"%t [%p] at %o: key %K %k, value %S %s, time %T, headers %h\n"


def produce(s, *args, timeout_ms=15_000, **how):
    s.kcat("-P", "-X", f"message.timeout.ms={timeout_ms}", "-X", "topic.metadata.propagation.max.ms=1000", *args, **how)


def read(s, topic, *args, **how):
    s.kcat("-C", "-e", "-q", "-t", topic, "-f", FORMAT, *args, **how)


def auto_created(s):
    topic = s.name("auto")
    produce(s, "-t", topic, "-K", ":", "-H", "h=1", input="a:1\nb:2\n")
    s.kcat("-C", "-e", "-q", "-t", topic, "-f", r"%p %o %k %s %h\n")
    s.kcat("-L", "-t", topic)


def acks(count):
    def run(s):
        topic = s.topic("acks")
        produce(s, "-t", topic, "-X", f"acks={count}", input="x\ny\n")
        s.until(lambda: s.kcat("-Q", "-t", f"{topic}:0:-1", quiet=True)["out"], lambda out: "offset 2" in out, 5)
        s.kcat("-Q", "-t", f"{topic}:0:-1")
    return run


def codec(name):
    def run(s):
        topic = s.topic("codec", compression_type=name)
        produce(s, "-t", topic, "-z", "gzip", input="".join(f"line {number}\n" for number in range(50)))
        s.kcat("-C", "-e", "-q", "-t", topic, "-X", "check.crcs=true", "-f", r"%o %s\n")
    return run


def nulls(s):
    topic = s.topic("nulls")
    produce(s, "-t", topic, "-K", ":", "-Z", input="gone:\n:empty key\nk:v\n")
    s.kcat("-C", "-e", "-q", "-Z", "-t", topic, "-f", r"%o %K %k %S %s\n")


def compacted(s):
    topic = s.topic("compacted", cleanup_policy="compact")
    produce(s, "-t", topic, input="no key\n")
    produce(s, "-t", topic, "-k", "key", input="a key\n")
    s.kcat("-Q", "-t", f"{topic}:0:-1")


def too_large(s):
    topic = s.topic("large", max_message_bytes=500)
    produce(s, "-t", topic, input="x" * 2000 + "\n")
    s.kcat("-Q", "-t", f"{topic}:0:-1")


def by_time(s):
    topic = s.topic("times", 1, 10)
    for time in (-2, -1, THEN_MS, THEN_MS + 1, THEN_MS + 8500, THEN_MS + 100_000):
        s.kcat("-Q", "-t", f"{topic}:0:{time}")
    read(s, topic, "-p", 0, "-o", f"s@{THEN_MS + 3000}", "-o", f"e@{THEN_MS + 6000}")


def listing(s):
    topic = s.topic("listed", 3)
    found = json.loads(s.kcat("-L", "-J", quiet=True)["out"])
    s.note("brokers", s.value(found["brokers"]))
    s.note("the topic", s.value([one for one in found["topics"] if one["topic"] == topic]))


def group(s):
    topic, name = s.topic("group", 1, 10), s.name("kcat")
    for count in (4, 6):
        s.kcat("-G", name, "-c", count, "-q", "-X", "auto.offset.reset=earliest", "-f", FORMAT, topic, drop="^% (Group|Waiting|Reached)")
    s.groups("--describe", "--group", name)


def timestamps(s):
    topic = s.topic("late", message_timestamp_before_max_ms=1000)
    s.fill(s.topic("fine"), 0, 1)
    s.tried("a record of 2023", lambda: s.fill(topic, 0, 1))
    s.kcat("-Q", "-t", f"{topic}:0:-1")


table("kcat", [
    ("Metadata: a topic is made by writing to it", auto_created),
    ("Metadata: INVALID_TOPIC_EXCEPTION", lambda s: produce(s, "-t", "a b", input="x\n")),
    ("Metadata: UNKNOWN_TOPIC_OR_PARTITION", lambda s: s.kcat("-C", "-e", "-t", s.name("nobody"), "-X", "allow.auto.create.topics=false")),
    ("Metadata: brokers and a topic", listing),
    ("Produce: acks=0", acks(0)),
    ("Produce: acks=1", acks(1)),
    ("Produce: acks=all", acks(-1)),
    ("Produce: an unknown partition", lambda s: produce(s, "-t", s.topic("one"), "-p", 7, input="x\n")),
    ("Produce: MESSAGE_TOO_LARGE", too_large),
    ("Produce: INVALID_RECORD, no key on a compacted topic", compacted),
    ("Produce: INVALID_TIMESTAMP", timestamps),
    ("Produce: nulls and empty ones", nulls),
    ("Produce: idempotent", lambda s: produce(s, "-t", s.topic("idempotent"), "-X", "enable.idempotence=true", input="x\ny\n")),
    ("Produce, Fetch: recompressed with zstd", codec("zstd")),
    ("Produce, Fetch: recompressed with lz4", codec("lz4")),
    ("Produce, Fetch: recompressed with snappy", codec("snappy")),
    ("Produce, Fetch: decompressed", codec("uncompressed")),
    ("Fetch: everything about ten records", lambda s: read(s, s.topic("ten", 1, 10), "-p", 0)),
    ("Fetch: the last three", lambda s: read(s, s.topic("ten", 1, 10), "-p", 0, "-o", -3)),
    ("Fetch: OFFSET_OUT_OF_RANGE", lambda s: read(s, s.topic("ten", 1, 10), "-p", 0, "-o", 100, "-X", "auto.offset.reset=error", timeout=20)),
    ("Fetch: an unknown partition", lambda s: read(s, s.topic("one", 1, 1), "-p", 7)),
    ("ListOffsets: by time", by_time),
    ("JoinGroup, OffsetCommit: a group, twice", group),
])


@check("kcat", "Metadata: auto.create.topics.enable=false", **{"auto.create.topics.enable": "false"})
def no_auto_create(s):
    produce(s, "-t", s.name("nobody"), input="x\n")
    s.kcat("-L", "-t", s.name("nobody"))
