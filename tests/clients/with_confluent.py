"""confluent-kafka (librdkafka), without groups: `assign`, enable.auto.commit=false."""

import collections
import random
import threading
import time

from confluent_kafka import (OFFSET_BEGINNING, TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Producer,
                             TopicPartition)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType
from confluent_kafka import TopicCollection

from checks import CODECS, check, compare, expect, records

TIMEOUT_S = 30


def producer(suite, **options):
    return Producer({"bootstrap.servers": suite.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
                     "message.timeout.ms": 30_000, "log_level": 0, **{key.replace("_", "."): value for key, value in options.items()}})


def admin(suite):
    """One for each suite: an answer does not outlive its client."""
    if not hasattr(suite, "confluent_admin"):
        suite.confluent_admin = AdminClient({"bootstrap.servers": suite.bootstrap, "log_level": 0})
    return suite.confluent_admin


def create(suite, about, partitions=1, config=None):
    topic = suite.topic(about)
    made = admin(suite).create_topics([NewTopic(topic, partitions, 1, config=config or {})])
    made[topic].result(TIMEOUT_S)
    return topic


def clean_up(suite):
    """Deletes the topics that the checks have made and that are still there."""
    there = admin(suite).list_topics(timeout=TIMEOUT_S).topics
    left = [topic for topic in suite.topics if topic in there]
    for answer in admin(suite).delete_topics(left).values() if left else []:
        answer.result(TIMEOUT_S)


def error_of(call):
    """The code of the error that a call ends with."""
    try:
        call()
    except KafkaException as error:
        return error.args[0].name()
    return None


def send(suite, topic, sent, **options):
    client, failures = producer(suite, **options), []

    def on_delivery(error, _message):
        if error:
            failures.append(error)
    for partition, key, value, headers, timestamp in sent:
        while True:
            try:
                client.produce(topic, value=value, key=key, partition=partition, timestamp=timestamp,
                               headers=headers, on_delivery=on_delivery)
                break
            except BufferError:
                client.poll(0.1)
    expect(client.flush(TIMEOUT_S), 0, "the number of records without an answer")
    expect(failures, [], "the list of failed records")


def consumer(suite, **options):
    return Consumer({"bootstrap.servers": suite.bootstrap, "group.id": "unused", "enable.auto.commit": False,
                     "check.crcs": True, "log_level": 0,
                     **{key.replace("_", "."): value for key, value in options.items()}})


def read(suite, topic, partitions, count, start=OFFSET_BEGINNING, **options):
    """Reads `count` records and makes sure that no more come."""
    client, got = consumer(suite, **options), []
    try:
        client.assign([TopicPartition(topic, partition, start) for partition in range(partitions)])
        give_up = time.monotonic() + TIMEOUT_S
        while len(got) < count and time.monotonic() < give_up:
            for message in client.consume(1000, 0.2):
                if message.error():
                    raise KafkaException(message.error())
                got.append(message)
        got += client.consume(1000, 0.2)
    finally:
        client.close()
    expect(len(got), count, "the number of records read")
    return got


def plain(message):
    return (message.offset(), message.partition(), message.key(), message.value(), message.headers() or [],
            message.timestamp()[1])


@check("confluent-kafka", "round trip, idempotent, none", codec="none")
@check("confluent-kafka", "round trip, idempotent, gzip", codec="gzip")
@check("confluent-kafka", "round trip, idempotent, snappy", codec="snappy")
@check("confluent-kafka", "round trip, idempotent, lz4", codec="lz4")
@check("confluent-kafka", "round trip, idempotent, zstd", codec="zstd")
def round_trip(suite, codec):
    topic, sent = create(suite, codec, 3), records(6000, 3)
    send(suite, topic, sent, compression_type=codec)
    compare(sent, [plain(message) for message in read(suite, topic, 3, len(sent))])


@check("confluent-kafka", "a batch stored under each codec of the topic (compression.type)")
def recompression(suite):
    # The broker may keep the batch as it came or encode it anew; what is read must be what was sent.
    for codec in ["uncompressed", *CODECS[1:]]:
        topic, sent = create(suite, f"stored-{codec}", 1, {"compression.type": codec}), records(200, 1)
        send(suite, topic, sent, compression_type="lz4")
        compare(sent, [plain(message) for message in read(suite, topic, 1, len(sent))])


@check("confluent-kafka", "acks=0 and acks=1")
def weaker_acks(suite):
    topic, sent = create(suite, "acks", 2), records(400, 2)
    send(suite, topic, sent[:200], acks="0", enable_idempotence=False)
    time.sleep(0.5)
    send(suite, topic, sent[200:], acks="1", enable_idempotence=False)
    compare(sent, [plain(message) for message in read(suite, topic, 2, len(sent))])


@check("confluent-kafka", "a topic is created by asking for it")
def auto_create(suite):
    topic = suite.topic("auto")
    client = producer(suite)
    client.produce(topic, b"first")
    expect(client.flush(TIMEOUT_S), 0, "the number of records without an answer")
    metadata = admin(suite).list_topics(topic, TIMEOUT_S).topics[topic]
    expect(len(metadata.partitions), 1, "the number of partitions (num.partitions)")
    expect(read(suite, topic, 1, 1)[0].value(), b"first")


@check("confluent-kafka", "an unknown topic is not created by a consumer that forbids it")
def unknown_topic(suite):
    topic, client = suite.topic("unknown"), consumer(suite, allow_auto_create_topics=False,
                                                      topic_metadata_propagation_max_ms=1000)
    client.assign([TopicPartition(topic, 0, 0)])
    client.poll(2)
    client.close()
    answer = admin(suite).describe_topics(TopicCollection([topic]))[topic]
    expect(error_of(lambda: answer.result(TIMEOUT_S)), "UNKNOWN_TOPIC_OR_PART")
    if topic in admin(suite).list_topics(timeout=TIMEOUT_S).topics:
        raise AssertionError("the topic is there now")


@check("confluent-kafka", "records of 1,000,000 bytes")
def large_records(suite):
    topic = create(suite, "large", 2)
    sent = [(number % 2, None, bytes([number]) * 1_000_000, [], int(time.time() * 1000)) for number in range(20)]
    send(suite, topic, sent, message_max_bytes=1_048_588)
    compare(sent, [plain(message) for message in read(suite, topic, 2, len(sent))])
    # The first batch of an answer is whole, however small the limits are.
    small = read(suite, topic, 2, len(sent), fetch_max_bytes=2000, max_partition_fetch_bytes=1000,
                 message_max_bytes=1000)
    compare(sent, [plain(message) for message in small])


@check("confluent-kafka", "a record above max.message.bytes is refused")
def too_large(suite):
    topic = create(suite, "limit", 1, {"max.message.bytes": "10000"})
    codes = []
    client = producer(suite)
    client.produce(topic, b"x" * 20_000, on_delivery=lambda error, _: codes.append(error and error.name()))
    client.flush(TIMEOUT_S)
    expect(codes, ["MSG_SIZE_TOO_LARGE"])
    send(suite, topic, [(0, None, b"y" * 9000, [], int(time.time() * 1000))])
    expect(read(suite, topic, 1, 1)[0].offset(), 0, "the offset after the refused record")


@check("confluent-kafka", "bad topics are refused with Kafka's codes")
def bad_topics(suite):
    there = create(suite, "there")
    for name, partitions, config, code in [
            ("bad name", 1, {}, "TOPIC_EXCEPTION"), (".", 1, {}, "TOPIC_EXCEPTION"),
            ("x" * 250, 1, {}, "TOPIC_EXCEPTION"),
            (suite.topic("unknown-key"), 1, {"no.such.key": "1"}, "INVALID_CONFIG"),
            (suite.topic("bad-value"), 1, {"retention.ms": "soon"}, "INVALID_CONFIG"),
            (suite.topic("bad-policy"), 1, {"cleanup.policy": "forget"}, "INVALID_CONFIG"),
            (there, 1, {}, "TOPIC_ALREADY_EXISTS")]:
        made = admin(suite).create_topics([NewTopic(name, partitions, 1, config=config)])
        expect(error_of(lambda: made[name].result(TIMEOUT_S)), code, f"the answer to topic {name!r:.30} {config}")
    many = suite.topic("replicas")
    made = admin(suite).create_topics([NewTopic(many, 1, 3)])
    expect(error_of(lambda: made[many].result(TIMEOUT_S)), "INVALID_REPLICATION_FACTOR")
    never = suite.topic("never")
    gone = admin(suite).delete_topics([never])
    expect(error_of(lambda: gone[never].result(TIMEOUT_S)), "UNKNOWN_TOPIC_OR_PART", "deletion of an unknown topic")


@check("confluent-kafka", "validate_only creates nothing")
def validate_only(suite):
    topic = suite.topic("validated")
    admin(suite).create_topics([NewTopic(topic, 2, 1)], validate_only=True)[topic].result(TIMEOUT_S)
    if topic in admin(suite).list_topics(timeout=TIMEOUT_S).topics:
        raise AssertionError("the topic is there")


@check("confluent-kafka", "1,000 partitions, written and read")
def many_partitions(suite):
    topic = create(suite, "many", 1000)
    sent = [(partition, None, f"{partition}".encode(), [], int(time.time() * 1000)) for partition in range(1000)] * 3
    send(suite, topic, sent)
    compare(sent, [plain(message) for message in read(suite, topic, 1000, len(sent))])


@check("confluent-kafka", "offsets by time, watermarks, largest timestamp")
def offsets_by_time(suite):
    topic, base = create(suite, "times"), int(time.time() * 1000) - 3_600_000
    for batch in [[0, 10, 30], [20, 50, 40]]:
        send(suite, topic, [(0, None, b"x", [], base + at) for at in batch], linger_ms=100)
    client = consumer(suite)
    for at, offset in [(0, 0), (1, 1), (10, 1), (11, 2), (20, 2), (31, 4), (50, 4), (51, -1)]:
        answer = client.offsets_for_times([TopicPartition(topic, 0, base + at)], TIMEOUT_S)[0]
        expect(answer.offset, offset, f"the offset at +{at} ms")
    expect(client.get_watermark_offsets(TopicPartition(topic, 0), TIMEOUT_S, False), (0, 6), "start and end")
    client.close()
    for spec, offset in [(OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 6), (OffsetSpec.max_timestamp(), 4)]:
        place = TopicPartition(topic, 0)
        expect(admin(suite).list_offsets({place: spec})[place].result(TIMEOUT_S).offset, offset, f"{spec}")


@check("confluent-kafka", "reading from the middle of a batch")
def middle(suite):
    topic, sent = create(suite, "middle"), records(500, 1)
    send(suite, topic, sent, linger_ms=200)
    for start in [1, 123, 499]:
        got = read(suite, topic, 1, 500 - start, start=start)
        expect([message.offset() for message in got], list(range(start, 500)), f"offsets from {start}")


@check("confluent-kafka", "an offset out of range is an error")
def out_of_range(suite):
    topic = create(suite, "range")
    send(suite, topic, records(3, 1))
    client = consumer(suite, auto_offset_reset="error")
    client.assign([TopicPartition(topic, 0, 100)])
    message = client.poll(10)
    client.close()
    expect(message and message.error() and message.error().name(), "_AUTO_OFFSET_RESET")


@check("confluent-kafka", "a waiting fetch is answered as soon as there is a record")
def long_poll(suite):
    topic, arrivals = create(suite, "long-poll"), []
    client = consumer(suite, fetch_wait_max_ms=10_000, socket_timeout_ms=60_000)
    client.assign([TopicPartition(topic, 0, 0)])
    client.poll(2)
    writer = producer(suite, linger_ms=0)
    writer.produce(topic, b"warm")
    writer.flush(TIMEOUT_S)
    client.poll(10)
    for _ in range(5):
        sleeping = threading.Thread(target=lambda: arrivals.append((client.poll(9), time.monotonic())))
        sleeping.start()
        time.sleep(0.3)
        sent = time.monotonic()
        writer.produce(topic, b"now")
        writer.flush(TIMEOUT_S)
        sleeping.join()
        message, at = arrivals[-1]
        if message is None or at - sent > 1.0:
            raise AssertionError(f"the record came {at - sent:.1f} s after it was sent: {message}")
    client.close()


@check("confluent-kafka", "message.timestamp.type=LogAppendTime")
def log_append_time(suite):
    topic = create(suite, "append-time", 1, {"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000)
    send(suite, topic, [(0, None, b"x", [], before - 100_000)])
    kind, timestamp = read(suite, topic, 1, 1)[0].timestamp()
    expect(kind, TIMESTAMP_LOG_APPEND_TIME, "the kind of timestamp")
    if not before - 1000 <= timestamp <= before + 60_000:
        raise AssertionError(f"appended at {before}, the timestamp is {timestamp}")


@check("confluent-kafka", "many rolled segments")
def rolled_segments(suite):
    topic = create(suite, "segments", 2, {"segment.bytes": "1048576"})
    sent = [(number % 2, None, bytes([number % 256]) * 8000, [], int(time.time() * 1000)) for number in range(1500)]
    send(suite, topic, sent)
    compare(sent, [plain(message) for message in read(suite, topic, 2, len(sent))])


@check("confluent-kafka", "a compacted topic keeps the last value of each key, in every codec")
def compacted(suite):
    configs = {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01"}
    topic, rounds, keys = create(suite, "compacted", len(CODECS), configs), 100, 50
    draw, last = random.Random(7), {}
    for partition, codec in enumerate(CODECS):
        sent = []
        for number in range(rounds * keys):
            key, value = b"key %d" % (number % keys), b"%d " % number + draw.randbytes(700)
            value = None if number >= (rounds - 1) * keys and number % 10 == 3 else value
            sent.append((partition, key, value, [("n", b"%d" % number)], int(time.time() * 1000)))
            last[partition, key] = (number, value)
        send(suite, topic, sent, compression_type=codec)
    got, give_up = read_all(suite, topic, len(CODECS)), time.monotonic() + 90
    # Kafka's cleaner, and ours, looks every 15 seconds (log.cleaner.backoff.ms); the active segment stays as it is.
    while max(count_by_partition(got).values()) > rounds * keys * 2 // 3:
        if time.monotonic() > give_up:
            raise AssertionError(f"after 90 s there are still {count_by_partition(got)} of {rounds * keys} records")
        time.sleep(2)
        got = read_all(suite, topic, len(CODECS))
    newest = {}
    for message in got:
        offset, partition, key, value, headers, _ = plain(message)
        expect(headers, [("n", b"%d" % offset)], f"headers at offset {offset} of partition {partition}")
        newest[partition, key] = (offset, value)
    expect(newest, last, "the last record of each key")


def read_all(suite, topic, partitions):
    """Everything that is there, from the first offset of each partition to its end, holes or not."""
    client, got = consumer(suite, enable_partition_eof=True), []
    try:
        client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        ended, give_up = set(), time.monotonic() + TIMEOUT_S
        while len(ended) < partitions and time.monotonic() < give_up:
            for message in client.consume(1000, 0.2):
                if not message.error():
                    got.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise KafkaException(message.error())
    finally:
        client.close()
    expect(len(ended), partitions, "the number of partitions read to their end")
    return got


def count_by_partition(got):
    return collections.Counter(message.partition() for message in got)


@check("confluent-kafka", "eight producers at once, each in its order")
def many_producers(suite):
    topic, count = create(suite, "parallel", 4), 1000
    failures = []

    def write(name):
        try:
            now = int(time.time() * 1000)
            send(suite, topic, [(number % 4, b"%d" % name, b"%d" % number, [], now) for number in range(count)])
        except Exception as error:
            failures.append(error)
    threads = [threading.Thread(target=write, args=[name]) for name in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    expect(failures, [], "the list of failures")
    orders = {}
    for message in read(suite, topic, 4, 8 * count):
        orders.setdefault((message.key(), message.partition()), []).append(int(message.value()))
    for (name, partition), order in orders.items():
        expect(order, list(range(partition, count, 4)), f"the order of producer {name} in partition {partition}")


@check("confluent-kafka", "topic configurations with defaults and sources")
def configs(suite):
    topic = create(suite, "configs", 1, {"retention.ms": "123456", "cleanup.policy": "compact,delete"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    found = list(admin(suite).describe_configs([resource]).values())[0].result(TIMEOUT_S)
    for key, value, is_default in [("retention.ms", "123456", False), ("cleanup.policy", "compact,delete", False),
                                   ("segment.bytes", "1073741824", True),
                                   ("max.message.bytes", "1048588", True), ("flush.messages", "9223372036854775807", True)]:
        expect((found[key].value, found[key].is_default), (value, is_default), key)
    broker = ConfigResource(ResourceType.BROKER, str(admin(suite).list_topics(timeout=TIMEOUT_S).controller_id))
    found = list(admin(suite).describe_configs([broker]).values())[0].result(TIMEOUT_S)
    for key in ["auto.create.topics.enable", "num.partitions", "log.retention.hours", "message.max.bytes"]:
        if key not in found:
            raise AssertionError(f"the broker's configurations lack {key}")
    nobody = ConfigResource(ResourceType.TOPIC, suite.topic("nobody"))
    answer = list(admin(suite).describe_configs([nobody]).values())[0]
    expect(error_of(lambda: answer.result(TIMEOUT_S)), "UNKNOWN_TOPIC_OR_PART", "configurations of an unknown topic")


@check("confluent-kafka", "cluster and topics describe themselves")
def describe(suite):
    topic = create(suite, "described", 3)
    cluster = admin(suite).describe_cluster().result(TIMEOUT_S)
    expect(len(cluster.nodes), 1, "the number of brokers")
    expect(f"{cluster.nodes[0].host}:{cluster.nodes[0].port}", suite.bootstrap, "the broker's address")
    expect(cluster.controller.id, cluster.nodes[0].id, "the controller")
    found = admin(suite).describe_topics(TopicCollection([topic]))[topic].result(TIMEOUT_S)
    expect([partition.id for partition in found.partitions], [0, 1, 2], "partitions")
    for partition in found.partitions:
        here = [cluster.nodes[0].id]
        expect([partition.leader.id, *[node.id for node in partition.replicas + partition.isr]], here * 3,
               f"leader, replicas and in-sync of partition {partition.id}")


@check("confluent-kafka", "a deleted topic is gone, and its name is free")
def delete(suite):
    topic = create(suite, "deleted", 2)
    send(suite, topic, records(100, 2))
    admin(suite).delete_topics([topic])[topic].result(TIMEOUT_S)
    if topic in admin(suite).list_topics(timeout=TIMEOUT_S).topics:
        raise AssertionError("the topic is still listed")
    admin(suite).create_topics([NewTopic(topic, 1, 1)])[topic].result(TIMEOUT_S)
    client = consumer(suite)
    expect(client.get_watermark_offsets(TopicPartition(topic, 0), TIMEOUT_S, False), (0, 0), "start and end")
    client.close()
