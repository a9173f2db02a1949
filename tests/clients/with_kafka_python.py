"""kafka-python: a client in Python alone, whose encoders share nothing with librdkafka's or Java's."""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors

from checks import check, compare, expect, records

TIMEOUT_S = 30


def admin(suite):
    return KafkaAdminClient(bootstrap_servers=suite.bootstrap)


def create(suite, about, partitions=1, configs=None):
    topic, client = suite.topic(about), admin(suite)
    options = {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}
    client.create_topics({topic: options}, wait_for_metadata=True)
    client.close()
    return topic


def read(suite, topic, partitions, count):
    client = KafkaConsumer(bootstrap_servers=suite.bootstrap, group_id=None, enable_auto_commit=False,
                           auto_offset_reset="earliest", check_crcs=True)
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    client.assign(places)
    client.seek_to_beginning(*places)
    got, give_up = [], time.monotonic() + TIMEOUT_S
    while len(got) < count and time.monotonic() < give_up:
        for messages in client.poll(timeout_ms=500).values():
            got += messages
    client.close()
    expect(len(got), count, "the number of records read")
    return [(one.offset, one.partition, one.key, one.value, [(key, bytes(value)) for key, value in one.headers],
             one.timestamp) for one in got]


@check("kafka-python", "round trip, idempotent, none", codec=None)
@check("kafka-python", "round trip, idempotent, gzip", codec="gzip")
@check("kafka-python", "round trip, idempotent, snappy", codec="snappy")
@check("kafka-python", "round trip, idempotent, lz4", codec="lz4")
@check("kafka-python", "round trip, idempotent, zstd", codec="zstd")
def round_trip(suite, codec):
    topic, sent = create(suite, f"py-{codec}", 2), records(1000, 2)
    client = KafkaProducer(bootstrap_servers=suite.bootstrap, acks="all", enable_idempotence=True,
                           compression_type=codec, linger_ms=5)
    futures = [client.send(topic, value, key, headers, partition, timestamp)
               for partition, key, value, headers, timestamp in sent]
    client.flush(TIMEOUT_S)
    for (partition, *_), future in zip(sent, futures):
        expect(future.get(TIMEOUT_S).partition, partition, "the partition of the answer")
    client.close()
    compare(sent, read(suite, topic, 2, len(sent)))


@check("kafka-python", "topics are created, listed, described and deleted")
def topics(suite):
    topic, client = create(suite, "py-topics", 3), admin(suite)
    if topic not in client.list_topics():
        raise AssertionError("the topic is not listed")
    described = client.describe_topics([topic])
    expect(len(described[0]["partitions"]), 3, "the number of partitions")
    client.delete_topics([topic])
    if topic in client.list_topics():
        raise AssertionError("the topic is still listed")
    client.close()


@check("kafka-python", "bad topics are refused with Kafka's codes")
def bad_topics(suite):
    client = admin(suite)
    for name, options, kind in [
            ("bad/name", {"num_partitions": 1}, errors.InvalidTopicError),
            (suite.topic("zero"), {"num_partitions": 0}, errors.InvalidPartitionsError),
            (suite.topic("config"), {"configs": {"segment.bytes": "few"}}, errors.InvalidConfigurationError)]:
        try:
            client.create_topics({name: {"num_partitions": 1, "replication_factor": 1, **options}})
        except kind:
            continue
        except errors.KafkaError as error:
            raise AssertionError(f"{name}: the answer is {error!r}, not {kind.__name__}") from None
        raise AssertionError(f"{name} was created")
    client.close()


@check("kafka-python", "first and last offsets, and offsets by time")
def offsets(suite):
    topic, sent = create(suite, "py-offsets"), records(50, 1)
    client = KafkaProducer(bootstrap_servers=suite.bootstrap)
    for partition, key, value, headers, timestamp in sent:
        client.send(topic, value, key, headers, partition, timestamp)
    client.flush(TIMEOUT_S)
    client.close()
    place, reader = TopicPartition(topic, 0), KafkaConsumer(bootstrap_servers=suite.bootstrap, group_id=None)
    expect(reader.beginning_offsets([place])[place], 0, "the first offset")
    expect(reader.end_offsets([place])[place], 50, "the end")
    expect(reader.offsets_for_times({place: sent[20][4]})[place].offset, 20, "the offset by time")
    reader.close()


@check("kafka-python", "a record above max.message.bytes is refused")
def too_large(suite):
    topic = create(suite, "py-limit", 1, {"max.message.bytes": "5000"})
    client = KafkaProducer(bootstrap_servers=suite.bootstrap)
    try:
        client.send(topic, b"x" * 10_000).get(TIMEOUT_S)
    except errors.MessageSizeTooLargeError:
        return
    finally:
        client.close()
    raise AssertionError("it was written")
