"""The list of checks, and what they share: topics of their own, records, commands, comparisons.

A check is a function that gets a `Suite` and raises where the broker differs from Apache Kafka.
"""

import itertools
import os
import random
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CHECKS = []
_counter = itertools.count()


def check(client, name, **parameters):
    """Adds a function to the list; with parameters it is called with them."""
    def add(function):
        CHECKS.append((f"{client}: {name}", lambda suite: function(suite, **parameters)))
        return function
    return add


class Suite:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.topics = []

    def topic(self, about):
        name = f"check-{about}-{os.getpid()}-{next(_counter)}"
        self.topics.append(name)
        return name


def expect(got, wanted, what="the answer"):
    if got != wanted:
        raise AssertionError(f"{what} is {got!r:.300}, expected {wanted!r:.300}")


def expect_in(part, whole, what="the output"):
    if part not in whole:
        raise AssertionError(f"{what} lacks {part!r}: {whole!r:.600}")


def command(*arguments, input=None, fails=False, timeout=120):
    """Runs a program and gives what it prints; `fails` tells which exit is expected (None: any)."""
    done = subprocess.run([str(part) for part in arguments], input=input, text=True, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if fails is not None and (done.returncode != 0) != fails:
        raise AssertionError(f"{arguments[0]} exits with {done.returncode}: {(done.stderr + done.stdout)[-600:]}")
    return done.stdout + (done.stderr if fails is not False else "")


def java(tool, *arguments, **options):
    return command(ROOT / "scripts" / "peers", "tool", tool, *arguments, **options)


def records(count, partitions, seed=1):
    """Records as (partition, key, value, headers, timestamp): with and without keys, values and headers."""
    draw = random.Random(seed)
    base = int(time.time() * 1000) - 1_000_000
    made = []
    for number in range(count):
        value = f"value {number} ".encode() * draw.randrange(1, 40) + draw.randbytes(draw.randrange(0, 60))
        key = None if number % 3 == 0 else f"key {number}".encode()
        headers = [("h", bytes([number % 256])), ("empty", b"")] if number % 5 == 0 else []
        is_tombstone = key is not None and number % 11 == 0
        made.append((number % partitions, key, None if is_tombstone else value, headers, base + number))
    return made


def compare(sent, got):
    """Both are lists of (partition, key, value, headers, timestamp); `got` has the offset in front.

    In each partition what was sent must have come, in order, from offset 0 without a hole.
    """
    partitions = {}
    for record in got:
        partitions.setdefault(record[1], []).append(record)
    wanted = {}
    for record in sent:
        wanted.setdefault(record[0], []).append(record)
    expect(sorted(partitions), sorted(wanted), "the list of partitions read")
    for partition, due in wanted.items():
        here = partitions[partition]
        expect([record[0] for record in here], list(range(len(due))), f"offsets of partition {partition}")
        for (offset, *one), other in zip(here, due):
            expect(tuple(one), other, f"partition {partition} offset {offset}")
