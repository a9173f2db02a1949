"""Hours of load by real clients, with kill -9 every few seconds and without, and whether anything grows. Run by scripts/soak.

The writer is scripts/kill9's. Since it is alone and idempotent, number n of a partition must lie at offset n: each
acknowledgement and each record read is checked as it comes, so that memory of the check stays flat too. Retention keeps the
disk flat; what it deletes was read before.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import brokers
import kill9
from kill9 import TOPIC

GROUP = "soak"
# A group's commits are compacted, segments deleted and the ring of the journal gone round within the warm-up. A group whose
# members were late must come back between two kills: each start gives those that its log knows a whole session's time
# again, and nobody joins before that is over; so sessions are shorter than lives, and nobody waits for company.
PROPERTIES = {"log.retention.check.interval.ms": 5000, "log.cleaner.backoff.ms": 5000, "offsets.topic.segment.bytes": 1 << 20,
              "group.initial.rebalance.delay.ms": 0, "group.min.session.timeout.ms": 1000}
SESSION_MS = 1500
CONFIGS = {"segment.bytes": str(1 << 20), "retention.bytes": str(8 << 20), "file.delete.delay.ms": "1000"}
# A reader may be so many records of a partition behind, an eighth of what is retained, before the writer waits for it; and
# for so long, in which the broker was started ten times.
BEHIND_MAX, BEHIND_S = 40_000, 60
# What may come on top of the first figure before it is called growth: a tenth, and so much.
MARGIN = {"memory MB": 24, "descriptors": 8, "disk MB": 48, "threads": 8}


class Writer(kill9.Writer):
    """Checks each acknowledgement as it comes, and keeps only how many came."""

    def __init__(self, address, partitions):
        super().__init__(address, partitions)
        self.acknowledged, self.readers = [0] * partitions, []

    def may_send(self, partition):
        """What retention deletes was read before: waits for readers that are far behind, and tells of one that stays there."""
        began = time.monotonic()
        for reader in self.readers:
            while self.sent[partition] - reader.due[partition] > BEHIND_MAX and not self.is_over:
                if time.monotonic() - began > BEHIND_S:
                    return self.failures.append(f"{reader.group or 'reader'}: stays at {reader.due[partition]} of partition {partition}")
                self.client.poll(0.05)

    def on_delivery(self, error, message):
        partition, number = message.partition(), int(message.value().split()[0])
        if error:
            self.failures.append(f"partition {partition} number {number}: {error}")
        elif message.offset() != number:
            self.failures.append(f"partition {partition} number {number} is acknowledged at offset {message.offset()}")
        else:
            self.acknowledged[partition] += 1

    def count(self):
        return sum(self.acknowledged)


class Reader(threading.Thread):
    """Reads everything once, in order; or, in a group, everything at least once, committing as it goes."""

    def __init__(self, address, partitions, group=None):
        super().__init__(daemon=True)
        self.client = Consumer({
            "bootstrap.servers": address, "group.id": group or "unused", "enable.auto.commit": False, "check.crcs": True, "log_level": 0,
            "reconnect.backoff.ms": 5, "reconnect.backoff.max.ms": 50, "auto.offset.reset": "earliest" if group else "error",
            "session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": SESSION_MS // 5})
        self.group, self.failures, self.is_over, self.again = group, [], False, 0
        self.due = Group.due if group else [0] * partitions
        if group:
            self.client.subscribe([TOPIC])
        else:
            self.client.assign([TopicPartition(TOPIC, partition, 0) for partition in range(partitions)])

    def run(self):
        passing = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE)
        while not self.is_over:
            messages = self.client.consume(500, 0.2)
            for message in messages:
                if not message.error():
                    self.check(message.partition(), message.offset(), int(message.value().split()[0]))
                elif message.error().code() not in passing and not message.error().retriable():
                    self.failures.append(f"reader: {message.error()}")
            if self.group and messages:
                try:
                    self.client.commit(asynchronous=False)
                except Exception as error:  # a broker that is down, a rebalance: what was not committed comes again
                    self.refused = str(error)
        self.client.close()

    def check(self, partition, offset, number):
        if number != offset:
            self.failures.append(f"{self.group or 'reader'}: partition {partition} offset {offset} holds number {number}")
        if offset > self.due[partition]:
            self.failures.append(f"{self.group or 'reader'}: partition {partition} jumps from {self.due[partition]} to {offset}")
        if offset < self.due[partition]:
            self.again += 1
            if not self.group:
                self.failures.append(f"reader: partition {partition} offset {offset} comes again, {self.due[partition]} was due")
        self.due[partition] = max(self.due[partition], offset + 1)


class Group:
    """The offsets that the group's members have read up to, all members together."""
    due = []


class Samples:
    """What the broker's process takes, once a second."""

    def __init__(self):
        self.rows, self.began = [], time.monotonic()

    def take(self, broker):
        try:
            process = Path(f"/proc/{broker.pid}")
            status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
            self.rows.append({
                "at": time.monotonic() - self.began, "memory MB": int(status["VmRSS"].split()[0]) / 1000,
                "threads": int(status["Threads"]), "descriptors": len(list((process / "fd").iterdir())), "disk MB": disk_bytes(broker) / 1e6})
        except (OSError, KeyError):  # killed meanwhile
            return

    def table(self, title):
        """Prints first, last and slope; gives what has grown. First and last are medians of a quarter each, the first third left out."""
        rows = self.rows[len(self.rows) // 3:]
        print(f"\n{title}: {len(self.rows)} samples in {self.rows[-1]['at']:.0f} s, the first third left out" if rows else f"\n{title}: no samples")
        print(f"{'':<14}{'first':>10}{'last':>10}{'most':>10}{'a minute':>12}")
        grown = []
        for name, margin in MARGIN.items() if len(rows) >= 8 else []:
            quarter = len(rows) // 4
            first, last = (sorted(row[name] for row in part)[quarter // 2] for part in (rows[:quarter], rows[-quarter:]))
            slope = gradient([(row["at"], row[name]) for row in rows]) * 60
            print(f"{name:<14}{first:>10.1f}{last:>10.1f}{max(row[name] for row in rows):>10.1f}{slope:>+12.2f}")
            if last > first * 1.1 + margin:
                grown.append(f"{title}: {name} grew from {first:.1f} to {last:.1f}; {first * 1.1 + margin:.1f} is allowed")
        return grown


def gradient(points):
    """The slope of the line that fits best."""
    middle_x, middle_y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
    over = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / over if over else 0.0


def disk_bytes(broker):
    """What the data folder takes of the disk."""
    total = 0
    for file in (broker.folder / "data").rglob("*"):
        try:
            total += file.stat().st_blocks * 512
        except OSError:  # deleted meanwhile
            continue
    return total


def phase(broker, writer, threads, seconds, draw, kills):
    """Load for so many seconds, with kills or without; gives the samples and the number of kills."""
    samples, killed, over = Samples(), 0, time.monotonic() + seconds
    next_kill = time.monotonic() + draw.uniform(2, 6)
    while time.monotonic() < over and not any(thread.failures for thread in threads):
        time.sleep(1)
        samples.take(broker)
        if not broker.is_running():
            raise SystemExit(f"the broker has ended: {broker.log_tail()}")
        if kills and time.monotonic() > next_kill:
            broker.kill()
            kill9.come_back(broker, writer)
            killed, next_kill = killed + 1, time.monotonic() + draw.uniform(2, 6)
    return samples, killed


def catch_up(readers, writer, partitions):
    """Waits until everything acknowledged has been read."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and any(
            reader.due[part] < writer.sent[part] for reader in readers for part in range(partitions)):
        time.sleep(0.1)
    return [f"{reader.group or 'reader'}: partition {part} was read up to {reader.due[part]} of {writer.sent[part]}"
            for reader in readers for part in range(partitions) if reader.due[part] != writer.sent[part]]


def ends(broker, partitions):
    """The end of each partition, and what the group has committed."""
    client = Consumer({"bootstrap.servers": broker.address, "group.id": GROUP, "log_level": 0})
    places = [TopicPartition(TOPIC, partition) for partition in range(partitions)]
    found = [client.get_watermark_offsets(place, 30, False)[1] for place in places]
    committed = [place.offset for place in client.committed(places, 30)]
    client.close()
    return found, committed


def main():
    parser = argparse.ArgumentParser(prog="scripts/soak")
    parser.add_argument("minutes", nargs="?", type=float, default=60, help="half of it with kills, half of it without")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--seed", type=int, default=None, help="of the times between kills")
    parser.add_argument("--dir", default=None, help="where the data goes")
    args = parser.parse_args()
    brokers.need_binary()
    seed = args.seed if args.seed is not None else random.randrange(1 << 32)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=args.dir))
    broker = brokers.Broker("highwater", folder, PROPERTIES)
    broker.start()
    made = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
    made.create_topics([NewTopic(TOPIC, args.partitions, 1, config=CONFIGS)])[TOPIC].result(30)
    Group.due = [0] * args.partitions
    writer, reader = Writer(broker.address, args.partitions), Reader(broker.address, args.partitions)
    members = [Reader(broker.address, args.partitions, GROUP) for _ in range(2)]
    writer.readers = [reader, members[0]]
    threads, draw = [writer, reader, *members], random.Random(seed)
    for thread in threads:
        thread.start()
    wrong, killed = [], 0
    try:
        for title, kills in [("killed every few seconds", True), ("left alone", False)]:
            if wrong or any(thread.failures for thread in threads):
                break
            samples, count = phase(broker, writer, threads, args.minutes * 30, draw, kills)
            killed += count
            wrong += samples.table(title)
        writer.is_over = True
        writer.join()
        left = writer.client.flush(60)
        wrong += [f"{left} records have no answer a minute after the last restart"] if left else []
        wrong += catch_up(writer.readers, writer, args.partitions)
        for thread in [reader, *members]:
            thread.is_over = True
            thread.join()
        found, committed = ends(broker, args.partitions)
        if found != writer.sent:
            wrong.append(f"{writer.sent} were sent, the ends are {found}")
        if any(offset > end for offset, end in zip(committed, found)):
            wrong.append(f"committed {committed} beyond the ends {found}")
        wrong += [line for thread in threads for line in thread.failures[:5]]
        broker.stop()
    finally:
        if broker.is_running():
            broker.kill()
    print(f"\n{killed} kills (seed {seed}), {sum(writer.sent)} records sent, {writer.count()} acknowledged and read; the group read "
          f"{sum(member.again for member in members)} again, committed {committed} of {found}")
    return brokers.verdict(wrong, folder, "nothing acknowledged is missing, nothing is there twice, order kept, nothing grows")


if __name__ == "__main__":
    sys.exit(main())
