"""Quotas with real tools: set and described by kafka-configs for clients, users and addresses; and a producer held to its own."""

import time

from confluent_kafka import Consumer, Producer

from checks import check, expect, expect_in
from with_admin import config_command, describes
from with_java import topic_command

MB = 1_000_000


def alters(suite, *arguments, **options):
    return config_command(suite, "--alter", *arguments, **options)


@check("java", "ConfigCommand sets, describes and removes quotas of clients, users, their pairs, addresses and defaults")
def quotas(suite):
    name = suite.topic("quota")
    suite.topics.pop()
    for entity, config, shown in (
        (["--entity-type", "clients", "--entity-name", name], "producer_byte_rate=1024,consumer_byte_rate=2048",
         rf"Quota configs for client-id '{name}' are .*(?=.*producer_byte_rate=1024.0)(?=.*consumer_byte_rate=2048.0)"),
        (["--entity-type", "clients", "--entity-default"], "request_percentage=20000.5",
         r"Quota configs for the default client-id are .*request_percentage=20000.5"),
        (["--entity-type", "users", "--entity-name", name], "controller_mutation_rate=1000.25",
         rf"Quota configs for user-principal '{name}' are .*controller_mutation_rate=1000.25"),
        (["--entity-type", "users", "--entity-default"], "producer_byte_rate=999999999999",
         r"Quota configs for the default user-principal are .*producer_byte_rate=9.99999999999E11"),
        (["--entity-type", "users", "--entity-name", name, "--entity-type", "clients", "--entity-name", name], "consumer_byte_rate=77777",
         rf"Quota configs for user-principal '{name}', client-id '{name}' are .*consumer_byte_rate=77777.0"),
        (["--entity-type", "ips", "--entity-name", "10.200.3.4"], "connection_creation_rate=100",
         r"Quota configs for ip '10.200.3.4' are .*connection_creation_rate=100.0"),
        (["--entity-type", "ips", "--entity-default"], "connection_creation_rate=100000",
         r"Quota configs for the default ip are .*connection_creation_rate=100000.0"),
    ):
        keys = ",".join(pair.split("=")[0] for pair in config.split(","))
        try:
            expect_in("Completed updating", alters(suite, *entity, "--add-config", config))
            describes(suite, shown, *entity)
        finally:
            expect_in("Completed updating", alters(suite, *entity, "--delete-config", keys))
        left = config_command(suite, "--describe", *entity)
        expect("=" in left.replace("SCRAM", ""), False, f"a quota in {left!r:.300}")
    refused = alters(suite, "--entity-type", "clients", "--entity-name", name, "--add-config", "producer_byte_rate=-5", fails=True)
    expect_in("Quota producer_byte_rate must be greater than 0", refused)


@check("confluent-kafka", "a producer and a consumer with quotas of 1 MB a second take as long as they should")
def held(suite):
    topic, name = suite.topic("held"), suite.topic("held-client")
    suite.topics.pop()
    topic_command(suite, "--create", "--topic", topic, "--partitions", "2")
    entity = ["--entity-type", "clients", "--entity-name", name]
    alters(suite, *entity, "--add-config", f"producer_byte_rate={MB},consumer_byte_rate={MB}")
    try:
        describes(suite, "producer_byte_rate=1000000.0", *entity)
        took, throttled = send(suite, topic, name, 20)
        # Ten windows' worth at once, the rest at the rate.
        expect(took >= 8, True, f"20 MB in {took:.1f} s")
        expect(throttled, True, "the client saw throttle times")
        other, throttled = send(suite, topic, name + "-other", 20)
        expect((other < took, throttled), (True, False), f"another client: 20 MB in {other:.1f} s")
        took = read(suite, topic, name, 20)
        expect(took >= 8, True, f"20 MB read in {took:.1f} s")
    finally:
        alters(suite, *entity, "--delete-config", "producer_byte_rate,consumer_byte_rate")


def send(suite, topic, name, megabytes):
    throttles = []
    producer = Producer({"bootstrap.servers": suite.bootstrap, "client.id": name, "linger.ms": 5, "batch.size": 200_000,
                         "throttle_cb": lambda event: throttles.append(event.throttle_time), "queue.buffering.max.kbytes": 200_000})
    value = bytes(10_000)
    began = time.monotonic()
    for number in range(megabytes * 100):
        producer.produce(topic, value, partition=number % 2)
        producer.poll(0)
    expect(producer.flush(60), 0, "records that were not sent")
    return time.monotonic() - began, any(throttles)


def read(suite, topic, name, megabytes):
    from confluent_kafka import OFFSET_BEGINNING, TopicPartition
    consumer = Consumer({"bootstrap.servers": suite.bootstrap, "client.id": name, "group.id": name, "enable.auto.commit": False,
                         "fetch.message.max.bytes": 1_000_000})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in (0, 1)])
    began, records = time.monotonic(), 0
    while records < megabytes * 100 and time.monotonic() < began + 60:
        records += sum(message.error() is None for message in consumer.consume(500, 1))
    consumer.close()
    expect(records >= megabytes * 100, True, f"{records} records")
    return time.monotonic() - began
