"""A disk that is really full: a small file system of its own, filled under load, given room again, several times. Run by
scripts/fulldisk, which says more.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

import brokers
import soak
from checks import command
from conform.batch import batch, record
from conform.talk import Closed, Talk
from conform.wire import Protocol
from kill9 import TOPIC

STORAGE_ERROR, PROBE, BALLAST = 56, "probe", "ballast"


class Volume:
    """An ext4 in a file, mounted."""

    def __init__(self, megabytes, folder):
        self.image, self.mounted = folder / "disk.img", folder / "disk"
        self.mounted.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        # No blocks are kept for root: full is full for everybody.
        for part in (["mkfs.ext4", "-q", "-m", "0", self.image], ["mount", "-o", "loop", self.image, self.mounted]):
            done = subprocess.run([str(one) for one in part], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                sys.exit(f"{part[0]} failed: {done.stdout.strip()}: a loop device and ext4 are needed")

    def free_mb(self):
        found = os.statvfs(self.mounted)
        return found.f_bavail * found.f_frsize / 1e6

    def remove(self):
        """The kernel may still be closing what a killed broker had open."""
        for _ in range(50):
            if subprocess.run(["umount", str(self.mounted)], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.2)
        print(f"{self.mounted} could not be unmounted")


class Probe:
    """One small record at a time by raw requests: which error code an append gets. Never tried again, so that nothing hides it."""

    def __init__(self, protocol, port):
        self.protocol, self.port, self.talk, self.acknowledged = protocol, port, None, []

    def append(self):
        number = len(self.acknowledged)
        try:
            if self.talk is None:
                self.talk = Talk(self.protocol, self.port, "")
            body = self.talk.produce_body(PROBE, batch(payload=record(b"%d" % number), count=1), 9)
            part = self.talk.call("Produce", 9, body)["Responses"][0]["PartitionResponses"][0]
        except (Closed, TimeoutError, OSError) as error:
            self.talk = None
            return f"{type(error).__name__} {error}"
        if part["ErrorCode"] == 0:
            self.acknowledged.append(part["BaseOffset"])
        return part["ErrorCode"]

    def until(self, wanted, seconds):
        """Appends until it gets this answer; gives the seconds it took, or None, and the last answer."""
        began, answer = time.monotonic(), None
        while time.monotonic() - began < seconds:
            answer = self.append()
            if answer == wanted:
                return time.monotonic() - began, answer
            time.sleep(0.05)
        return None, answer


def fill(broker, admin):
    """Writes large records to a topic of their own until one is not taken any more."""
    admin.create_topics([NewTopic(BALLAST, 2, 1, config={"segment.bytes": str(4 << 20), "file.delete.delay.ms": "1000"})])[BALLAST].result(30)
    client = Producer({"bootstrap.servers": broker.address, "acks": "all", "log_level": 0, "message.timeout.ms": 3000,
                       "linger.ms": 5, "queue.buffering.max.kbytes": 8192})
    refused, give_up = [], time.monotonic() + 120
    while not refused and time.monotonic() < give_up:
        try:
            client.produce(BALLAST, os.urandom(100_000), on_delivery=lambda error, _: refused.append(error) if error else None)
            client.poll(0)
        except BufferError:
            client.poll(0.05)
    client.purge()


def put_file(volume):
    """Takes much of the room away; gives what makes it free again."""
    ballast = volume.mounted / "ballast"
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(volume.free_mb() * 0.5e6))
    return ballast.unlink


def round_of(number, broker, volume, admin, probe, writer, reader):
    """Fills, looks, makes room, looks again; gives what is wrong."""
    kind = "records" if number % 2 else "records and a file"
    by_topic = lambda: admin.delete_topics([BALLAST])[BALLAST].result(60)  # noqa: E731
    # What was deleted in the round before goes in the background.
    began = time.monotonic()
    while volume.free_mb() < 100:
        if time.monotonic() - began > 60:
            return [f"round {number}: a minute after everything was deleted there are only {volume.free_mb():.0f} MB free"]
        time.sleep(0.1)
    for _ in range(20):
        probe.append()
    free = by_topic if number % 2 else put_file(volume)
    fill(broker, admin)
    took, answer = probe.until(STORAGE_ERROR, 120)
    if took is None:
        return [f"round {number}: full of {kind} ({volume.free_mb():.1f} MB free), but an append is answered {answer}, not KAFKA_STORAGE_ERROR"]
    # Reads go on: what is acknowledged is read again from its start, by a client of its own.
    held, wrong = len(probe.acknowledged), []
    printed = command("kcat", "-b", broker.address, "-C", "-t", PROBE, "-o", "beginning", "-c", held, "-q", "-f", "%o %s\\n", timeout=30)
    if printed.splitlines() != [f"{offset} {at}" for at, offset in enumerate(probe.acknowledged)]:
        wrong.append(f"round {number}: while full, {held} acknowledged records are read as {printed[:200]!r}")
    still = probe.append()
    if still not in (STORAGE_ERROR, 0):
        wrong.append(f"round {number}: while full, an append is answered {still}")
    full_mb, before = volume.free_mb(), writer.count()
    free()
    took, answer = probe.until(0, 60)
    began = time.monotonic()
    while writer.count() <= before and time.monotonic() - began < 60 and not writer.failures:
        time.sleep(0.05)
    if took is None:
        wrong.append(f"round {number}: a minute after there was room again ({volume.free_mb():.0f} MB), an append is answered {answer}")
    elif writer.count() <= before:
        wrong.append(f"round {number}: the writer was not served again within a minute")
    else:
        print(f"round {number}: full of {kind} ({full_mb:.1f} MB free): KAFKA_STORAGE_ERROR, reads go on; room again "
              f"({volume.free_mb():.0f} MB): the next append {took:.1f} s later", flush=True)
    if free is not by_topic:
        by_topic()
    return wrong


def main():
    parser = argparse.ArgumentParser(prog="scripts/fulldisk")
    parser.add_argument("rounds", nargs="?", type=int, default=6)
    parser.add_argument("--megabytes", type=int, default=900, help="of the file system; the journal's ring takes 384 of them")
    parser.add_argument("--partitions", type=int, default=4)
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("scripts/fulldisk mounts a file system of its own: it needs root")
    brokers.need_binary()
    folder = Path(tempfile.mkdtemp(prefix="fulldisk-"))
    volume, wrong = Volume(args.megabytes, folder), []
    broker = brokers.Broker("highwater", volume.mounted / "broker", {"log.retention.check.interval.ms": 2000}, ["--shards", "1"])
    try:
        broker.start()
        admin = AdminClient({"bootstrap.servers": broker.address, "log_level": 0})
        small = {"segment.bytes": str(1 << 20), "retention.bytes": str(8 << 20), "file.delete.delay.ms": "1000"}
        for future in admin.create_topics([NewTopic(TOPIC, args.partitions, 1, config=small), NewTopic(PROBE, 1, 1)]).values():
            future.result(30)
        probe = Probe(Protocol(command(brokers.PEERS, "path", "broker").strip()), broker.port)
        writer, reader = soak.Writer(broker.address, args.partitions), soak.Reader(broker.address, args.partitions)
        writer.start()
        reader.start()
        for number in range(args.rounds):
            time.sleep(2)
            wrong += round_of(number, broker, volume, admin, probe, writer, reader)
            if not broker.is_running():
                sys.exit(f"the broker has ended: {broker.log_tail()}")
            if wrong:
                break
        writer.is_over = True
        writer.join()
        left = writer.client.flush(60)
        wrong += [f"{left} records have no answer a minute after there was room again"] if left else []
        wrong += soak.catch_up([reader], writer, args.partitions)
        reader.is_over = True
        reader.join()
        wrong += writer.failures[:5] + reader.failures[:5]
        # And what was acknowledged is there after a crash, too.
        broker.kill()
        broker.start()
        if probe.until(0, 60)[0] is None:
            wrong.append("a minute after the kill nothing can be appended")
        held = command("kcat", "-b", broker.address, "-C", "-t", PROBE, "-o", "beginning", "-e", "-q", "-f", "%o %s\\n", timeout=60).splitlines()
        missing = [line for line in (f"{offset} {at}" for at, offset in enumerate(probe.acknowledged)) if line not in set(held)]
        wrong += [f"after a kill {len(missing)} of {len(probe.acknowledged)} acknowledged records are missing, such as {missing[:3]}"] if missing else []
        broker.stop()
    finally:
        if wrong:
            shutil.copytree(broker.folder, folder / "kept", ignore_dangling_symlinks=True, dirs_exist_ok=True)
        if broker.is_running():
            broker.kill()
        volume.remove()
    print(f"{args.rounds} rounds: {sum(writer.sent)} records sent, {writer.count()} acknowledged and read, "
          f"{len(probe.acknowledged)} appended one by one")
    return brokers.verdict(wrong, folder, "full disks are told, reads went on, it recovered by itself, nothing acknowledged is missing", folder / "kept")


if __name__ == "__main__":
    sys.exit(main())
