"""InitProducerId, and what an idempotent producer may send."""

import time

from .batch import batch
from .produce import ask, ends
from .talk import case

MAX = 2**31 - 1
# An hour ago: what is older than retention.ms may go at any time.
SENT = int(time.time()) * 1000 - 3_600_000


@case("init producer id")
def init(talk):
    talk.producer()
    # Version 6 is in Kafka's definitions and not served yet.
    for version in talk.versions("InitProducerId", last=5):
        for about, (name, timeout, producer, epoch) in {
            "plain": (None, 60_000, -1, -1),
            "timeout 0": (None, 0, -1, -1),
            "timeout -1": (None, -1, -1, -1),
            "timeout huge": (None, 2**31 - 1, -1, -1),
            "empty id": ("", 60_000, -1, -1),
            "an id that is known": (None, 60_000, 4711, 0),
            "an epoch only": (None, 60_000, -1, 3),
            "an id only": (None, 60_000, 4711, -1),
            "below -1": (None, 60_000, -5, -7),
        }.items():
            body = {"TransactionalId": name, "TransactionTimeoutMs": timeout}
            if version >= 3:
                body |= {"ProducerId": producer, "ProducerEpoch": epoch}
            frame = talk.exchange(talk.protocol.request("InitProducerId", version, body))
            answer = talk.protocol.response("InitProducerId", version, frame)[1]
            if answer["ProducerId"] >= 0:
                answer["ProducerId"] = "new"
            talk.note(f"InitProducerId v{version} {about}", answer)


@case("idempotence: sequences")
def sequences(talk):
    topic, producer = talk.create("t", 2), talk.producer()

    def send(about, sequence, records=1, epoch=0, who=producer, partition=0, version=9, **options):
        ask(talk, version, about, topic, batch(records, producer=who, epoch=epoch, sequence=sequence, timestamp=SENT, **options), partition=partition)

    send("the first", 0)
    send("the first again", 0)
    send("a gap", 5)
    send("the second", 1, 3)
    send("the second again", 1, 3)
    send("the second, but fewer", 1, 2)
    send("the second, but more", 1, 4)
    send("the end of the second", 3)
    send("overlapping", 3, 2)
    for number in range(4, 10):
        send(f"sequence {number}", number)
    send("sequence 9 again", 9)
    send("sequence 5 again: the fifth before", 5)
    send("sequence 4 again: beyond five", 4)
    send("sequence 0 again: long ago", 0)
    send("a negative sequence", -1)
    send("another partition, from 0", 0, partition=1)
    send("another partition, a gap", 7, partition=1)
    send("compressed", 10, 4, codec="gzip")
    send("compressed, again", 10, 4, codec="gzip")
    for version in (3, 4, 5, 7, 8, 10, 11, 12, 13):
        send(f"a gap, version {version}", 99, version=version)
        send(f"a duplicate, version {version}", 10, 4, version=version, codec="gzip")
    ends(talk, topic, 2)


@case("idempotence: stamped by the broker")
def stamped(talk):
    """A duplicate is answered with the time of the original, to the millisecond."""
    topic, producer = talk.create("t", message_timestamp_type="LogAppendTime"), talk.producer()

    def time_of(sequence):
        frame = batch(2, producer=producer, epoch=0, sequence=sequence, timestamp=SENT)
        answer = talk.call("Produce", 9, talk.produce_body(topic, frame, 9))
        return answer["Responses"][0]["PartitionResponses"][0]["LogAppendTimeMs"]

    first = [time_of(sequence) for sequence in (0, 2, 4)]
    time.sleep(0.1)
    again = [time_of(sequence) for sequence in (0, 2, 4)]
    talk.note("the same times", {"same": first == again, "differences": [a - b for a, b in zip(again, first)]})
    ends(talk, topic)


@case("idempotence: epochs")
def epochs(talk):
    topic, producer = talk.create("t"), talk.producer()

    def send(about, sequence, epoch, records=1, version=9):
        ask(talk, version, about, topic, batch(records, producer=producer, epoch=epoch, sequence=sequence, timestamp=SENT))

    send("epoch 0", 0, 0, 5)
    send("epoch 1, not from 0", 5, 1)
    send("epoch 0 goes on", 5, 0)
    send("epoch 1, from 0", 0, 1)
    for version in (3, 7, 9, 11, 12, 13):
        send(f"epoch 0 is over, version {version}", 6, 0, version=version)
    send("epoch 0, a duplicate", 0, 0, 5)
    send("epoch 1, the duplicate", 0, 1)
    send("epoch 1 goes on", 1, 1)
    send("epoch 3, a jump", 0, 3)
    send("epoch 3, a gap", 2, 3)
    send("epoch 2 is over", 0, 2)
    send("the highest epoch", 0, 32767)
    send("epoch -1", 0, -1)
    ends(talk, topic)


@case("idempotence: where sequences wrap")
def wrap(talk):
    topic = talk.create("t")

    def send(about, sequence, records, who):
        ask(talk, 9, about, topic, batch(records, producer=who, epoch=0, sequence=sequence, timestamp=SENT))

    one, two, three = talk.producer(), talk.producer(), talk.producer()
    send("an unknown producer near the end", MAX - 2, 2, one)
    send("to the end", MAX, 1, one)
    send("to the end, again", MAX, 1, one)
    send("on at 0", 0, 2, one)
    send("on at 0, again", 0, 2, one)
    send("on at 2", 2, 1, one)
    send("across", MAX - 1, 4, two)
    send("across, again", MAX - 1, 4, two)
    send("behind it", 2, 1, two)
    send("behind it, a gap", 5, 1, two)
    send("ends there", MAX - 1, 2, three)
    send("1, not 0", 1, 1, three)
    send("0", 0, 1, three)
    ends(talk, topic)


@case("idempotence: two batches of a producer in one request")
def two_in_one(talk):
    topic, producer = talk.create("t", 3), talk.producer()
    body = {"TransactionalId": None, "Acks": -1, "TimeoutMs": 5000, "TopicData": [{"Name": topic, "PartitionData": [
        {"Index": index, "Records": batch(2, producer=producer, epoch=0, sequence=0)} for index in range(3)]}]}
    talk.ask("Produce", 9, body, "three partitions")
    talk.ask("Produce", 9, body, "three partitions, again")
    ends(talk, topic, 3)
