"""Consumer groups by every client: joins, leaves and crashes, commits, and what administrators do with groups."""

import itertools
import os
import re
import subprocess
import threading
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from kafka import KafkaConsumer
from kafka import TopicPartition as PythonTopicPartition
from kafka.structs import OffsetAndMetadata

import with_confluent
from checks import ROOT, check, command, expect, expect_in, java, records

TIMEOUT_S = 40
PARTITIONS = 6
_counter = itertools.count()


def group_name(about):
    return f"group-{about}-{os.getpid()}-{next(_counter)}"


def consumer(suite, group, **options):
    given = {key.replace("_", "."): value for key, value in options.items()}
    return Consumer({"bootstrap.servers": suite.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
                     "log_level": 0, **given})


def filled(suite, about, count=1200):
    topic = with_confluent.create(suite, about, PARTITIONS)
    with_confluent.send(suite, topic, records(count, PARTITIONS))
    return topic


def poll(client, count, seconds=TIMEOUT_S):
    """Up to `count` messages, as partition and offset."""
    got, give_up = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < give_up:
        message = client.poll(0.2)
        if message is not None and not message.error():
            got.append((message.partition(), message.offset()))
    return got


def share(clients, seconds=TIMEOUT_S):
    """Polls until the clients have divided all partitions among them, each having some; gives who has what."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        for client in clients:
            client.poll(0.05)
        shares = [sorted(part.partition for part in client.assignment()) for client in clients]
        if sorted(sum(shares, [])) == list(range(PARTITIONS)) and all(shares):
            return shares
    raise AssertionError(f"the partitions are shared as {shares}")


def group_command(suite, *arguments, **options):
    return java("consumer.group.ConsumerGroupCommand", "--bootstrap-server", suite.bootstrap, *arguments, **options)


@check("confluent-kafka", "a group reads everything, commits, and resumes where it stopped")
def commit_and_resume(suite):
    topic, group = filled(suite, "resume"), group_name("resume")
    first = consumer(suite, group)
    first.subscribe([topic])
    one = poll(first, 500)
    first.commit(asynchronous=False)
    first.close()
    second = consumer(suite, group)
    second.subscribe([topic])
    two = poll(second, 1200 - len(one))
    second.close()
    expect(len(set(one + two)), 1200, "the number of records read once")
    expect(len(one + two), 1200, "the number of records read")


@check("confluent-kafka", "members join, leave and share: eager", strategy="range")
@check("confluent-kafka", "members join, leave and share: cooperative", strategy="cooperative-sticky")
def members_share(suite, strategy):
    topic, group = filled(suite, f"share-{strategy}"), group_name("share")
    clients = [consumer(suite, group, partition_assignment_strategy=strategy) for _ in range(3)]
    for client in clients:
        client.subscribe([topic])
    share(clients)
    clients.pop().close()
    share(clients)
    clients.append(consumer(suite, group, partition_assignment_strategy=strategy))
    clients[-1].subscribe([topic])
    share(clients)
    for client in clients:
        client.close()


@check("confluent-kafka", "a member that dies without a word loses its partitions after its session")
def member_dies(suite):
    topic, group = filled(suite, "dies"), group_name("dies")
    program = ("import sys; sys.path.insert(0, sys.argv[3])\n"
               "import checks, with_groups\n"
               "c = with_groups.consumer(checks.Suite(sys.argv[1]), sys.argv[2]); c.subscribe([sys.argv[4]])\n"
               "while True:\n"
               "    c.poll(0.1)\n"
               "    if c.assignment(): print('has', flush=True)\n")
    import sys
    folder = str(ROOT / "tests" / "clients")
    victim = subprocess.Popen([sys.executable, "-c", program, suite.bootstrap, group, folder, topic],
                              stdout=subprocess.PIPE, text=True)
    try:
        expect(victim.stdout.readline(), "has\n", "what the victim says")
        client = consumer(suite, group)
        client.subscribe([topic])
        give_up = time.monotonic() + TIMEOUT_S
        while len(client.assignment()) != PARTITIONS // 2 and time.monotonic() < give_up:
            client.poll(0.1)
        expect(len(client.assignment()), PARTITIONS // 2, "the survivor's partitions before")
    finally:
        victim.kill()
        victim.wait()
    share([client])
    client.close()


@check("confluent-kafka", "a static member comes back without a rebalance")
def static_member(suite):
    topic, group = filled(suite, "static"), group_name("static")
    rebalances = []
    other = consumer(suite, group, group_instance_id="other")
    other.subscribe([topic], on_assign=lambda _client, parts: rebalances.append(len(parts)))
    first = consumer(suite, group, group_instance_id="one")
    first.subscribe([topic])
    before = share([other, first])
    seen = len(rebalances)
    first.close()
    again = consumer(suite, group, group_instance_id="one")
    again.subscribe([topic])
    after = share([other, again])
    expect((after, len(rebalances)), (before, seen), "who has what, and the other's rebalances")
    other.close()
    again.close()


@check("confluent-kafka", "a commit of a former generation is refused")
def zombie(suite):
    topic, group = filled(suite, "zombie"), group_name("zombie")
    sleeper = consumer(suite, group)
    sleeper.subscribe([topic])
    share([sleeper])
    other = consumer(suite, group)
    other.subscribe([topic])
    # The sleeper does not poll, so that it does not join again; the other waits for its rebalance timeout at most.
    try:
        sleeper.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    except KafkaException as error:
        expect(error.args[0].name() in ("ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "REBALANCE_IN_PROGRESS"), True, "the error")
    share([sleeper, other])
    stale = Consumer({"bootstrap.servers": suite.bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0})
    refused = with_confluent.error_of(lambda: stale.commit(offsets=[TopicPartition(topic, 0, 9)], asynchronous=False))
    expect(refused, "UNKNOWN_MEMBER_ID", "a stranger's commit to a group with members")
    for client in (sleeper, other, stale):
        client.close()


@check("confluent-kafka", "administration: list, describe, alter, delete")
def administration(suite):
    topic, group = filled(suite, "admin"), group_name("admin")
    client = consumer(suite, group)
    client.subscribe([topic])
    poll(client, 100)
    client.commit(asynchronous=False)
    admin = with_confluent.admin(suite)
    listed = admin.list_consumer_groups().result(TIMEOUT_S).valid
    state = {one.group_id: one.state.name for one in listed}.get(group)
    expect(state, "STABLE", "the listed state")
    described = admin.describe_consumer_groups([group])[group].result(TIMEOUT_S)
    expect((described.state.name, len(described.members)), ("STABLE", 1), "state and members")
    expect(len(described.members[0].assignment.topic_partitions), PARTITIONS, "assigned partitions")
    client.close()
    places = [TopicPartition(topic, 0, 42)]
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])[group].result(TIMEOUT_S)
    asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])]
    found = admin.list_consumer_group_offsets(asked)[group].result(TIMEOUT_S)
    expect(found.topic_partitions[0].offset, 42, "the altered offset")
    admin.delete_consumer_groups([group])[group].result(TIMEOUT_S)
    left = [one.group_id for one in admin.list_consumer_groups().result(TIMEOUT_S).valid]
    expect(group in left, False, "whether it is still listed")


@check("confluent-kafka", "commit metadata comes back, too much of it is refused")
def metadata(suite):
    topic, group = filled(suite, "metadata", 10), group_name("metadata")
    client = consumer(suite, group)
    client.commit(offsets=[TopicPartition(topic, 1, 5, "what I was doing")], asynchronous=False)
    got = client.committed([TopicPartition(topic, 1), TopicPartition(topic, 2)], TIMEOUT_S)
    expect([(one.offset, one.metadata) for one in got][0], (5, "what I was doing"), "what was committed")
    expect(got[1].offset, -1001, "what was not")
    long = TopicPartition(topic, 1, 6, "x" * 5000)
    got = with_confluent.error_of(lambda: client.commit(offsets=[long], asynchronous=False))
    expect(got, "OFFSET_METADATA_TOO_LARGE", "the error")
    client.close()


@check("kafka-python", "a group shares, commits and resumes")
def python_group(suite):
    topic, group = filled(suite, "py-group"), group_name("py")

    def member():
        return KafkaConsumer(topic, bootstrap_servers=suite.bootstrap, group_id=group, enable_auto_commit=False,
                             auto_offset_reset="earliest", session_timeout_ms=6000, heartbeat_interval_ms=500)
    clients, seen, stop = [member(), member()], [], threading.Event()

    def run(client):
        while not stop.is_set():
            for place, messages in client.poll(timeout_ms=200).items():
                seen.extend((place.partition, message.offset) for message in messages)
                client.commit({place: OffsetAndMetadata(messages[-1].offset + 1, "", -1)})
        client.close(autocommit=False)
    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    give_up = time.monotonic() + TIMEOUT_S
    while len(set(seen)) < 1200 and time.monotonic() < give_up:
        time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    expect(len(set(seen)), 1200, "the number of records read")
    client = member()
    ends = [client.committed(PythonTopicPartition(topic, partition)) for partition in range(PARTITIONS)]
    client.close(autocommit=False)
    expect(ends, [200] * PARTITIONS, "what is committed")


@check("java", "ConsoleConsumer --group reads, ConsumerGroupCommand lists, describes, resets and deletes")
def java_group(suite):
    topic, group = with_confluent.create(suite, "java-group", PARTITIONS), group_name("java")
    text = [(number % PARTITIONS, None, b"line %d" % number, [], int(time.time() * 1000)) for number in range(600)]
    with_confluent.send(suite, topic, text)
    got = java("consumer.ConsoleConsumer", "--bootstrap-server", suite.bootstrap, "--topic", topic, "--group", group,
               "--from-beginning", "--max-messages", "600", "--timeout-ms", "30000", fails=None)
    expect_in("Processed a total of 600 messages", got)
    expect_in(group, group_command(suite, "--list").split(), "the list")
    expect(re.findall(rf"^{group}\s+(\w+)", group_command(suite, "--list", "--state"), re.M), ["Empty"], "its state")
    described = group_command(suite, "--describe", "--group", group)
    lags = re.findall(rf"^{group}\s+{topic}\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", described, re.M)
    expect(sorted(lags), [(str(part), "100", "100", "0") for part in range(PARTITIONS)], "what is described")
    reset = group_command(suite, "--group", group, "--topic", topic, "--reset-offsets", "--shift-by", "-40", "--execute")
    expect(sorted(re.findall(rf"^{group}\s+{topic}\s+\d+\s+(\d+)", reset, re.M)), ["60"] * PARTITIONS, "after the reset")
    group_command(suite, "--group", group, "--delete-offsets", "--topic", f"{topic}:0")
    described = group_command(suite, "--describe", "--group", group)
    left = re.findall(rf"^{group}\s+{topic}\s+(\d+)\s+60\s", described, re.M)
    expect(sorted(left), ["1", "2", "3", "4", "5"], "partitions with offsets")
    group_command(suite, "--group", group, "--delete")
    expect(group in group_command(suite, "--list").split(), False, "whether it is still listed")
    refused = group_command(suite, "--group", group, "--delete", fails=None)
    expect_in("GroupIdNotFoundException", refused)


@check("java", "a group with members is described, and refuses what would pull the rug")
def java_members(suite):
    topic, group = filled(suite, "java-members", 60), group_name("java-members")
    client = consumer(suite, group, client_id="here")
    client.subscribe([topic])
    poll(client, 60)
    client.commit(asynchronous=False)
    described = group_command(suite, "--describe", "--group", group, "--members", "--verbose")
    expect_in("/127.0.0.1", described)
    expect(len(re.findall(rf"^{group}\s+here-\S+\s+/127.0.0.1\s+here\s+{PARTITIONS}\s", described, re.M)), 1, "members")
    state = group_command(suite, "--describe", "--group", group, "--state")
    expect(re.findall(r"(Stable)\s+(\d+)", state), [("Stable", "1")], "state and members")
    expect_in("GroupNotEmpty", group_command(suite, "--group", group, "--delete", fails=None).replace(" ", ""))
    reset = group_command(suite, "--group", group, "--topic", topic, "--reset-offsets", "--to-earliest", "--execute", fails=None)
    expect_in("inactive", reset)
    client.close()


@check("java", "the records of __consumer_offsets are Kafka's own")
def records_are_kafkas(suite):
    topic, group = filled(suite, "format", 60), group_name("format")
    client = consumer(suite, group)
    client.subscribe([topic])
    poll(client, 60)
    client.commit(asynchronous=False)
    client.close()
    read = ["consumer.ConsoleConsumer", "--bootstrap-server", suite.bootstrap, "--topic", "__consumer_offsets",
            "--from-beginning", "--timeout-ms", "8000", "--formatter"]
    offsets = java(*read, "org.apache.kafka.tools.consumer.OffsetsMessageFormatter", fails=None)
    expect(len(re.findall(rf'"group":"{group}","topic":"{topic}","partition":\d+}}}},"value":{{"version":4,', offsets)) > 0,
           True, "whether its commits are decoded")
    groups = java(*read, "org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter", fails=None)
    expect_in(f'"group":"{group}"}}}},"value":{{"version":3,"data":{{"protocolType":"consumer","generation":1,', groups)


@check("kcat", "a group of two reads everything once")
def kcat_group(suite):
    topic, group = filled(suite, "kcat", 600), group_name("kcat")
    run = ["kcat", "-b", suite.bootstrap, "-G", group, "-o", "beginning", "-f", "%p %o\n", "-u",
           "-X", "session.timeout.ms=6000", "-X", "auto.offset.reset=earliest", topic]
    members = [subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
    seen = []

    def gather(member):
        seen.extend(member.stdout)
    threads = [threading.Thread(target=gather, args=(member,)) for member in members]
    for thread in threads:
        thread.start()
    give_up = time.monotonic() + TIMEOUT_S
    while len(set(seen)) < 600 and time.monotonic() < give_up:
        time.sleep(0.2)
    for member in members:
        member.terminate()
        member.wait()
    for thread in threads:
        thread.join()
    expect(len(set(seen)), 600, "the number of records read")


@check("kcat", "clients may not write to the broker's own topics")
def internal_topic(suite):
    consumer(suite, group_name("internal")).committed([TopicPartition("nothing", 0)], TIMEOUT_S)
    expect_in("__consumer_offsets", command("kcat", "-b", suite.bootstrap, "-L"))
    refused = command("kcat", "-b", suite.bootstrap, "-P", "-t", "__consumer_offsets", "-p", "0", "-k", "k", input="x\n", fails=True)
    expect_in("Invalid topic", refused.replace("Broker: ", ""))


def offsets_survive_kill(broker):
    """Committed offsets and members are there after kill -9; nothing that was committed goes back."""
    from checks import Suite
    suite = Suite(broker.address)
    topic, group = filled(suite, "group-kill", 6000), group_name("kill")
    client = consumer(suite, group)
    client.subscribe([topic])
    committed, lost = {}, []
    for _ in range(5):
        for message in (client.poll(1.0) for _ in range(400)):
            if message is not None and not message.error():
                before = committed.get(message.partition(), 0)
                if message.offset() < before:
                    lost.append((message.partition(), message.offset(), before))
        places = client.position(client.assignment())
        client.commit(asynchronous=False)
        for place in places:
            if place.offset >= 0:
                committed[place.partition] = max(committed.get(place.partition, 0), place.offset)
        broker.kill()
        broker.start()
        give_up = time.monotonic() + TIMEOUT_S
        while time.monotonic() < give_up:
            try:
                found = client.committed([TopicPartition(topic, part) for part in sorted(committed)], 5)
                break
            except KafkaException:
                continue
        expect([one.offset for one in found], [committed[part] for part in sorted(committed)], "what is committed")
    client.close()
    expect(lost, [], "records read again below a commit")
