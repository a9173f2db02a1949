"""The same requests to this broker and to Apache Kafka, in every version that is served, and their answers field by field.

    scripts/clients --compare [--only TEXT] [--list] [--kafka HOST:PORT --ours HOST:PORT]

Prints every difference; those that are so on purpose stand, with their reason, in conform/on_purpose.py. Exits with 1
where one is not.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import brokers
from checks import command
from conform import CASES, on_purpose
from conform.talk import Talk
from conform.wire import Protocol


def main():
    parser = argparse.ArgumentParser(prog="scripts/clients --compare")
    parser.add_argument("--only", default="", help="conversations whose name holds this")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--ours", metavar="HOST:PORT", help="a broker of ours that runs already, fresh")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="an Apache Kafka that runs already, fresh")
    args = parser.parse_args()
    chosen = [one for one in CASES if args.only in one[0]]
    if args.list:
        print("\n".join(name for name, *_ in chosen))
        return 0
    if not args.ours:
        brokers.need_binary()
    folder = Path(tempfile.mkdtemp(prefix="compare-"))
    protocol = Protocol(command(brokers.PEERS, "path", "broker").strip())
    pairs = Pairs(folder, args)
    try:
        differing = sum(compare(protocol, pairs, *one) for one in chosen)
    finally:
        pairs.stop()
        shutil.rmtree(folder)
    print(f"{len(chosen)} conversations, {differing} differ")
    return 1 if differing or not chosen else 0


class Pairs:
    """Both brokers, one pair for each set of broker configurations."""

    def __init__(self, folder, args):
        self.folder, self.running = folder, {}
        if args.ours and args.kafka:
            self.running[()] = [int(args.ours.split(":")[1]), int(args.kafka.split(":")[1])]
        self.started = []

    def ports(self, properties):
        key = tuple(sorted(properties.items()))
        if key not in self.running:
            place = self.folder / str(len(self.started))
            pair = [brokers.Broker(kind, place / kind, properties) for kind in ("highwater", "kafka")]
            for broker in pair:
                broker.start()
            self.started += pair
            self.running[key] = [broker.port for broker in pair]
        return self.running[key]

    def stop(self):
        for broker in self.started:
            if broker.is_running():
                broker.kill()


def compare(protocol, pairs, name, properties, function):
    """Holds one conversation with each broker; gives 1 where they differ and should not."""
    prefix = "".join(part[0] for part in name.replace(":", " ").split()) + f"-{int(time.time() * 1000) % 1_000_000}-"
    talks, failures = [], []
    for port in pairs.ports(properties):
        talks.append(Talk(protocol, port, prefix))
    threads = [threading.Thread(target=hold, args=(function, talk, failures)) for talk in talks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ours, kafka = (talk.transcript for talk in talks)
    found = list(differences(name, ours, kafka))
    for failure in failures:
        print(f"FAIL {name}: {failure}")
    alike = {}
    for label, path, left, right in found:
        alike.setdefault((path, repr(left), repr(right)), []).append(label)
    for (path, left, right), labels in alike.items():
        times = "".join(f"; {label}" for label in labels[1:])
        print(f"DIFF {name}: {labels[0]}{times:.1500}: {path}\n    ours  {left:.600}\n    kafka {right:.600}")
    ok = not found and not failures
    print(f"{'PASS' if ok else 'FAIL'} compare: {name} ({len(ours)} answers)", flush=True)
    return 0 if ok else 1


def hold(function, talk, failures):
    try:
        function(talk)
    except Exception as error:  # a conversation that breaks off is a difference too
        failures.append(f"port {talk.port}: {type(error).__name__}: {error!s:.500}, after {talk.transcript[-1:]!r:.300}")
    finally:
        talk.hang_up()


def differences(name, ours, kafka):
    if len(ours) != len(kafka):
        yield ("the conversation", "length", len(ours), len(kafka))
    for (label, left), (other, right) in zip(ours, kafka):
        if label != other:
            yield ("the conversation", "order", label, other)
            return
        for path, a, b in walk(left, right, ""):
            if not on_purpose.holds(name, label, path, a, b):
                yield label, path, a, b


def walk(left, right, path):
    """Where two values differ: path, one, the other."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in dict.fromkeys([*left, *right]):
            yield from walk(left.get(key, "nothing"), right.get(key, "nothing"), f"{path}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (a, b) in enumerate(zip(left, right)):
            yield from walk(a, b, f"{path}[{number}]")
    elif left != right:
        yield path, left, right


if __name__ == "__main__":
    sys.exit(main())
