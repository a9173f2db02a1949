"""Real clients, unmodified, against a real broker. Run by scripts/clients, which says more."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import brokers
import checks
import with_admin
import with_confluent
import with_groups
import with_java  # noqa: F401  (adds its checks to the list)
import with_kafka_python  # noqa: F401
import with_kcat  # noqa: F401
import with_quotas  # noqa: F401
from checks import ROOT, Suite, command, expect, expect_in, java


def main():
    parser = argparse.ArgumentParser(prog="scripts/clients")
    parser.add_argument("--broker", metavar="HOST:PORT", help="a broker that runs already")
    parser.add_argument("--kafka", action="store_true", help="start Apache Kafka instead of this broker")
    parser.add_argument("--only", default="", help="checks whose name holds this")
    parser.add_argument("--list", action="store_true", help="print the names of the checks")
    args = parser.parse_args()
    kind = "kafka" if args.kafka else "highwater"
    if args.list:
        print("\n".join(name for name, _ in checks.CHECKS + LIFE))
        return 0
    tally = Tally(args.only)
    if args.broker:
        suite = Suite(args.broker)
        tally.run_all(checks.CHECKS, suite)
        tally.run_franz(args.broker)
        with_confluent.clean_up(suite)
        return tally.close()
    brokers.need_binary()
    folder = Path(tempfile.mkdtemp(prefix=f"clients-{kind}-", dir=os.environ.get("TMPDIR", "/tmp")))
    broker = brokers.Broker(kind, folder / "broker")
    try:
        broker.start()
        tally.run_all(checks.CHECKS, Suite(broker.address))
        tally.run_franz(broker.address)
        tally.run_all(LIFE, broker)
    finally:
        if broker.is_running():
            broker.stop()
    if tally.failed:
        print(f"the broker's folder is kept: {folder}")
    else:
        shutil.rmtree(folder)
    return tally.close()


class Tally:
    def __init__(self, only):
        self.only, self.passed, self.failed = only, 0, 0

    def note(self, name, reason, seconds=None):
        if reason is None:
            self.passed += 1
        else:
            self.failed += 1
        took = "" if seconds is None else f" ({seconds:.1f} s)"
        print(f"PASS {name}{took}" if reason is None else f"FAIL {name}{took}: {reason}", flush=True)

    def run_all(self, listed, subject):
        for name, function in listed:
            if self.only not in name:
                continue
            began, reason = time.monotonic(), None
            try:
                function(subject)
            except (Exception, SystemExit) as error:
                reason = f"{type(error).__name__}: {error}"
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
            self.note(name, reason, time.monotonic() - began)

    def run_franz(self, address):
        """franz-go's checks are a program of their own, which prints a line for each."""
        if self.only not in "franz-go: ":
            return
        program = command(ROOT / "scripts" / "peers", "path", "franz").strip()
        done = subprocess.run([program, address], text=True, stdout=subprocess.PIPE, timeout=600)
        lines = done.stdout.splitlines()
        expected = 1 if any(line.startswith("FAIL ") for line in lines) else 0
        if not lines or done.returncode != expected or not all(line.startswith(("PASS ", "FAIL ")) for line in lines):
            self.note("franz-go", f"ended with {done.returncode}: {done.stdout[-300:]}")
        for line in lines:
            verdict, rest = line[:4], line[5:]
            name, _, reason = rest.partition(": ") if verdict == "FAIL" else (rest, "", None)
            self.note(f"franz-go: {name}", None if verdict == "PASS" else reason)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def auto_create_off(broker):
    other = brokers.Broker(broker.kind, broker.folder.parent / "no-auto-create", {"auto.create.topics.enable": "false"})
    other.start()
    try:
        refused = command("kcat", "-b", other.address, "-P", "-t", "nobody", "-X", "message.timeout.ms=3000",
                          "-X", "topic.metadata.propagation.max.ms=1000", input="x\n", fails=None)
        expect_in("Unknown topic", refused, "kcat's message")
        listed = java("TopicCommand", "--bootstrap-server", other.address, "--list").split()
        expect(listed, [], "the list of topics")
    finally:
        other.stop()


def broker_configs_hold(broker):
    other = brokers.Broker(broker.kind, broker.folder.parent / "partitions", {"num.partitions": "4"})
    other.start()
    try:
        command("kcat", "-b", other.address, "-P", "-t", "four", input="x\n")
        expect_in('topic "four" with 4 partitions', command("kcat", "-b", other.address, "-L"))
    finally:
        other.stop()


def large_requests(broker):
    """Requests of 8 MB, and more of them than memory holds."""
    printed = command(brokers.BINARY, "bench", "produce", "--bootstrap", broker.address, "--partitions", 8,
                      "--partitions-per-request", 8, "--batch-size", 1_000_000, "--record-size", 1_000_000,
                      "--connections", 4, "--in-flight", 4, "--bytes", 1_500_000_000, "--duration", 100, "--json")
    found = json.loads(printed)
    expect(found["bytes"] >= 1_500_000_000, True, "whether all was written")


def survives_stop(broker):
    suite = Suite(broker.address)
    topic, sent = with_confluent.create(suite, "stop", 3), checks.records(5000, 3)
    with_confluent.send(suite, topic, sent)
    broker.stop()
    broker.start()
    got = with_confluent.read(suite, topic, 3, len(sent))
    checks.compare(sent, [with_confluent.plain(message) for message in got])


def survives_kill(broker):
    suite = Suite(broker.address)
    topic, sent = with_confluent.create(suite, "kill", 3, {"segment.bytes": "1048576"}), checks.records(8000, 3)
    with_confluent.send(suite, topic, sent[:5000])
    broker.kill()
    broker.start()
    with_confluent.send(suite, topic, sent[5000:])
    got = with_confluent.read(suite, topic, 3, len(sent))
    checks.compare(sent, [with_confluent.plain(message) for message in got])


def segments_are_kafkas(broker):
    """After a clean stop Kafka's DumpLogSegments reads all segments, every record, without complaint."""
    suite = Suite(broker.address)
    for codec in checks.CODECS:
        topic = with_confluent.create(suite, f"dump-{codec}", 2, {"segment.bytes": "1048576"})
        with_confluent.send(suite, topic, checks.records(10_000, 2), compression_type=codec)
    broker.stop()
    segments = [file for file in broker.segments() if file.stat().st_size]
    if len(segments) < 10:
        raise AssertionError(f"only {len(segments)} segments hold anything")
    seen = 0
    for start in range(0, len(segments), 200):
        some = segments[start:start + 200]
        printed = java("DumpLogSegments", "--deep-iteration", "--files", ",".join(map(str, some)), fails=None, timeout=600)
        # The tool begins at -1, so it calls the start of every segment but a partition's first a gap (Kafka's own too).
        complaint = re.search(r"isvalid: false|Exception|invalid bytes|Error|Mismatch|(?<!-1 is )(?<=is )followed by", printed)
        if complaint:
            raise AssertionError(f"{complaint[0]!r}: ...{printed[max(0, complaint.start() - 400):complaint.end() + 200]}")
        seen += printed.count("baseOffset: ")
        for file in some:
            expect_in(f"Dumping {file}", printed)
    if seen < len(segments):
        raise AssertionError(f"{seen} batches in {len(segments)} segments")
    broker.start()


LIFE = [
    ("broker: auto.create.topics.enable=false", auto_create_off),
    ("broker: num.partitions=4", broker_configs_hold),
    ("broker: large requests, more than memory holds", large_requests),
    ("broker: every record is there after a clean stop", survives_stop),
    ("broker: every acknowledged record is there after kill -9", survives_kill),
    ("broker: committed offsets and members are there after kill -9", with_groups.offsets_survive_kill),
    ("broker: altered configurations and added partitions are there after kill -9", with_admin.changes_survive_kill),
    ("java: DumpLogSegments reads our segments after a clean stop", segments_are_kafkas),
]

if __name__ == "__main__":
    sys.exit(main())
