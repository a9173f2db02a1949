"""kill -9 of the real process, again and again, under load by a real client. Run by scripts/kill9, which says more.

The ledger is kept by the clients alone. At the end each partition must hold exactly the sequence that the idempotent
producer sent, every acknowledged record at the offset of its acknowledgement, and a consumer that read all the while
must have seen nothing else.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import brokers

TOPIC = "kill9"
RATE_PER_S = 4000


class Writer(threading.Thread):
    """Sends 0, 1, 2, ... to each partition, and notes what was acknowledged where."""

    def __init__(self, address, partitions):
        super().__init__(daemon=True)
        self.client = Producer({
            "bootstrap.servers": address, "acks": "all", "enable.idempotence": True, "linger.ms": 2, "log_level": 0,
            "compression.type": "lz4", "message.timeout.ms": 300_000, "retry.backoff.ms": 20,
            "retry.backoff.max.ms": 100, "reconnect.backoff.ms": 5, "reconnect.backoff.max.ms": 50,
            "error_cb": self.on_error})
        self.sent = [0] * partitions
        self.acknowledged = [{} for _ in range(partitions)]
        self.failures, self.is_over = [], False

    def on_error(self, error):
        if error.fatal():
            self.failures.append(f"fatal: {error}")

    def on_delivery(self, error, message):
        number = int(message.value().split()[0])
        if error:
            self.failures.append(f"partition {message.partition()} number {number}: {error}")
        else:
            self.acknowledged[message.partition()][number] = message.offset()

    def run(self):
        draw, began, count = random.Random(5), time.monotonic(), 0
        while not self.is_over and not self.failures:
            partition = count % len(self.sent)
            self.may_send(partition)
            try:
                value = b"%d " % self.sent[partition] + b"x" * draw.randrange(400)
                self.client.produce(TOPIC, value=value, partition=partition, on_delivery=self.on_delivery)
            except BufferError:
                self.client.poll(0.05)
                continue
            self.sent[partition] += 1
            count += 1
            self.client.poll(0)
            ahead = count / RATE_PER_S - (time.monotonic() - began)
            if ahead > 0.01:
                time.sleep(ahead)
            elif ahead < -1:
                began = time.monotonic() - count / RATE_PER_S  # do not catch up on the time of a restart

    def may_send(self, partition):
        """Waits until there may be another record."""

    def count(self):
        return sum(len(one) for one in self.acknowledged)


class Reader(threading.Thread):
    """Reads all the while, through every restart, and notes what it saw where."""

    def __init__(self, address, partitions):
        super().__init__(daemon=True)
        self.client = Consumer({
            "bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True,
            "log_level": 0,
            "reconnect.backoff.ms": 5, "reconnect.backoff.max.ms": 50, "auto.offset.reset": "error"})
        self.client.assign([TopicPartition(TOPIC, partition, 0) for partition in range(partitions)])
        self.seen, self.failures, self.is_over = {}, [], False

    def run(self):
        while not self.is_over:
            for message in self.client.consume(500, 0.2):
                if message.error():
                    if message.error().code() not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                        self.failures.append(f"reader: {message.error()}")
                    continue
                place, number = (message.partition(), message.offset()), int(message.value().split()[0])
                if self.seen.setdefault(place, number) != number:
                    self.failures.append(f"reader: {place} was {self.seen[place]} and is {number}")
        self.client.close()


def read_all(address, partitions):
    """Every partition's numbers in the order of offsets, from 0 to the end."""
    client = Consumer({"bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False,
                       "check.crcs": True, "log_level": 0})
    places = [TopicPartition(TOPIC, partition, 0) for partition in range(partitions)]
    ends = [client.get_watermark_offsets(place, 30, False)[1] for place in places]
    client.assign(places)
    numbers, give_up = [[] for _ in range(partitions)], time.monotonic() + 120
    while any(len(got) < end for got, end in zip(numbers, ends)) and time.monotonic() < give_up:
        for message in client.consume(2000, 0.5):
            if message.error():
                sys.exit(f"reading back: {message.error()}")
            numbers[message.partition()].append((message.offset(), int(message.value().split()[0])))
    client.close()
    return numbers, ends


def come_back(broker, writer):
    """Starts a killed broker and waits for the next acknowledgement: how many there were before, and the seconds it took."""
    began = time.monotonic()
    broker.start()
    before = writer.count()  # some of these were on their way when the broker was killed
    while writer.count() <= before and time.monotonic() - began < 60 and not writer.failures:
        time.sleep(0.005)
    return before, time.monotonic() - began


def judge(writer, reader, numbers, ends):
    """What is wrong, in words."""
    wrong = writer.failures[:5] + reader.failures[:5]
    for partition, got in enumerate(numbers):
        name = f"partition {partition}"
        if len(got) != ends[partition]:
            wrong.append(f"{name}: {len(got)} records read, the end is {ends[partition]}")
        held = [number for _, number in got]
        if len(set(held)) != len(held):
            twice = sorted(number for number in set(held) if held.count(number) > 1)[:5]
            wrong.append(f"{name}: {len(held) - len(set(held))} records twice, such as {twice}")
        if held != sorted(held):
            at = next(place for place, (one, after) in enumerate(zip(held, held[1:])) if one > after)
            wrong.append(f"{name}: out of order at offset {at}: {held[at:at + 2]}")
        places = {number: offset for offset, number in got}
        for number, offset in writer.acknowledged[partition].items():
            if places.get(number) != offset:
                wrong.append(f"{name}: number {number}, acknowledged at {offset}, is at {places.get(number)}")
                break
        for offset, number in got:
            if reader.seen.get((partition, offset), number) != number:
                wrong.append(f"{name}: offset {offset} holds {number}, a reader saw {reader.seen[partition, offset]}")
                break
    return wrong


def main():
    parser = argparse.ArgumentParser(prog="scripts/kill9")
    parser.add_argument("rounds", nargs="?", type=int, default=50)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--seed", type=int, default=None, help="of the times between kills")
    parser.add_argument("--kafka", action="store_true", help="kill Apache Kafka instead")
    args = parser.parse_args()
    if not args.kafka:
        brokers.need_binary()
    seed = args.seed if args.seed is not None else random.randrange(1 << 32)
    draw = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="kill9-"))
    broker = brokers.Broker("kafka" if args.kafka else "highwater", folder)
    broker.start()
    made = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
    made.create_topics([NewTopic(TOPIC, args.partitions, 1, config={"segment.bytes": "1048576"})])[TOPIC].result(30)
    writer, reader = Writer(broker.address, args.partitions), Reader(broker.address, args.partitions)
    writer.start()
    reader.start()
    while not writer.count() and not writer.failures:
        time.sleep(0.01)
    outages = []
    for number in range(args.rounds):
        time.sleep(draw.uniform(0.1, 1.5))
        broker.kill()
        before, outage = come_back(broker, writer)
        outages.append(outage)
        if writer.failures or outages[-1] > 60:
            print(f"round {number + 1}: nothing was acknowledged after the restart: {writer.failures[:3]}")
            break
        print(f"round {number + 1}: {before} acknowledged before, the next {outages[-1]:.2f} s after the kill", flush=True)
    time.sleep(0.5)
    writer.is_over = True
    writer.join()
    left = writer.client.flush(60)
    if left:
        writer.failures.append(f"{left} records have no answer a minute after the last restart")
    numbers, ends = read_all(broker.address, args.partitions)
    reader.is_over = True
    reader.join()
    wrong = judge(writer, reader, numbers, ends)
    broker.stop()
    print(f"{args.rounds} rounds (seed {seed}): {sum(writer.sent)} records sent, {writer.count()} acknowledged, "
          f"{sum(ends)} held, {len(reader.seen)} seen by a reader; "
          f"outage median {sorted(outages)[len(outages) // 2]:.2f} s, longest {max(outages):.2f} s")
    return brokers.verdict(wrong, folder, "nothing acknowledged is missing, nothing is there twice, order kept")


if __name__ == "__main__":
    sys.exit(main())
