"""The same programs and the same raw requests against this broker and Apache Kafka, side by side, and what differs.

    scripts/clients --compare [--only TEXT ...] [--list] [--kafka HOST:PORT --ours HOST:PORT]

Checks of two kinds. Programs (programs/): Kafka's tools, kcat, franz-go, kafka-python, confluent-kafka; what they print and how they
exit is compared. Conversations (conform/): raw requests in every version, the answers compared field by field. Prints a line
for each check; a difference that is so on purpose stands, with its reason, in conform/on_purpose.py. Exits with 1 where one is
not, or, when all checks have run, where a reason is given for something that does not differ any more.
"""

import argparse
import collections
import difflib
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import brokers
import programs
from checks import command
from conform import CASES, on_purpose
from conform.talk import Talk
from conform.wire import Protocol
from programs.session import Session, Tools

# Kafka's scripts set this for a single node; both get it.
DEFAULTS = {"group.initial.rebalance.delay.ms": "0"}


def main():
    parser = argparse.ArgumentParser(prog="scripts/clients --compare")
    parser.add_argument("--only", action="append", help="checks whose name holds this (\"raw: \" for conversations, \"java: \", ...)")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--ours", metavar="HOST:PORT", help="a broker of ours that runs already, fresh")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="an Apache Kafka that runs already, fresh")
    args = parser.parse_args()
    every = [*programs.CHECKS, *(("raw", *one) for one in CASES)]
    chosen = [one for one in every if any(text in f"{one[0]}: {one[1]}" for text in args.only or [""])]
    if args.list:
        print("\n".join(f"{program}: {name}" for program, name, *_ in chosen))
        return 0
    if not args.ours:
        brokers.need_binary()
    folder = Path(tempfile.mkdtemp(prefix="compare-"))
    bench = Bench(folder, args)
    verdicts = collections.Counter()
    try:
        for number, one in enumerate(chosen):
            verdicts[bench.compare(*one)] += 1
            bench.keep([later[2] for later in chosen[number + 1:]])
    finally:
        bench.stop()
        shutil.rmtree(folder)
    stale = on_purpose.unused() if len(chosen) == len(every) else []
    for rule in stale:
        print(f"STALE nothing differs any more as on_purpose.py explains: {rule[:-1] if callable(rule[-1]) else rule}")
    print(f"{len(chosen)} checks, {verdicts['same']} the same, {verdicts['explained']} explained, {verdicts['differs']} differ"
          + (f"; {len(stale)} explanations explain nothing" if stale else ""))
    return 1 if verdicts["differs"] or stale or not chosen else 0


class Bench:
    """Both brokers, a pair for each set of broker configurations, and a JVM for the tools of each side."""

    def __init__(self, folder, args):
        self.folder, self.running, self.started = folder, {}, {}
        self.protocol = Protocol(command(brokers.PEERS, "path", "broker").strip())
        self.tools = [Tools(), Tools()]
        self.count = 0
        if args.ours and args.kafka:
            places = [self.folder / kind for kind in ("ours", "kafka")]
            for place in places:
                place.mkdir()
            self.running[()] = list(zip([int(one.split(":")[1]) for one in (args.ours, args.kafka)], places))

    def pair(self, properties):
        """Port and folder of both."""
        key = key_of(properties)
        if key not in self.running:
            place = self.folder / f"brokers-{self.count}"
            self.started[key] = pair = [brokers.Broker(kind, place / kind, DEFAULTS | properties) for kind in ("highwater", "kafka")]
            for broker in pair:
                broker.start()
            # Kafka makes the topic of its groups when it is first asked for one: nobody compares that.
            for broker in pair:
                talk = Talk(self.protocol, broker.port, "")
                while talk.call("FindCoordinator", 3, {"Key": "nobody", "KeyType": 0})["ErrorCode"]:
                    time.sleep(0.1)
                talk.hang_up()
            self.running[key] = [(broker.port, broker.folder) for broker in pair]
        return self.running[key]

    def keep(self, wanted):
        """Ends those pairs that no later check needs: a dozen idle Kafkas would starve the next one that starts."""
        wanted = {key_of(properties) for properties in wanted}
        for key in [key for key in self.started if key not in wanted]:
            self.end(key)

    def end(self, key):
        self.running.pop(key, None)
        for broker in self.started.pop(key):
            if broker.is_running():
                broker.kill()
            shutil.rmtree(broker.folder, ignore_errors=True)

    def stop(self):
        for tools in self.tools:
            tools.stop()
        self.keep([])

    def compare(self, program, name, properties, function):
        """Holds one check with each broker; gives "same", "explained" or "differs"."""
        self.count += 1
        prefix = f"c{self.count}-{int(time.time() * 1000) % 1_000_000}-"
        title = f"{program}: {name}"
        sides, failures, began = [], [], time.monotonic()
        try:
            pair = self.pair(properties)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and not isinstance(error.code, str):
                raise
            # A broker that does not start fails this check, and the next one tries again.
            self.end(key_of(properties))
            return report(title, 0, [], [f"{type(error).__name__}: {error}"], time.monotonic() - began)
        for (port, place), tools in zip(pair, self.tools):
            sides.append(Talk(self.protocol, port, prefix) if program == "raw" else Session(self.protocol, port, prefix, tools, place))
        threads = [threading.Thread(target=hold, args=(function, side, failures)) for side in sides]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ours, kafka = (side.transcript for side in sides)
        found = [(*one, on_purpose.reason(title, *one)) for one in differences(ours, kafka)]
        return report(title, len(ours), found, failures, time.monotonic() - began)


def key_of(properties):
    return tuple(sorted(properties.items()))


def report(title, answers, found, failures, seconds):
    """Prints a check's line and what differs; gives the verdict."""
    open_ones = [one for one in found if one[4] is None]
    verdict = "differs" if open_ones or failures else "explained" if found else "same"
    reasons = "; ".join(dict.fromkeys(one[4] for one in found if one[4]))
    print(f"{verdict:<10}{title} ({answers} answers, {seconds:.1f} s)" + (f": {reasons}" if reasons else ""), flush=True)
    for failure in failures:
        print(f"    FAIL {failure}")
    alike = {}
    for label, path, left, right, _ in open_ones:
        alike.setdefault((path, repr(left), repr(right)), []).append(label)
    for (path, left, right), labels in alike.items():
        times = "".join(f"; {label}" for label in labels[1:])
        print(f"    DIFF {labels[0]}{times:.1500}: {path}\n      ours  {left:.900}\n      kafka {right:.900}")
    return verdict


def hold(function, side, failures):
    try:
        function(side)
    except Exception as error:  # a check that breaks off is a difference too
        failures.append(f"port {side.port}: {type(error).__name__}: {error!s:.500}, after {side.transcript[-1:]!r:.300}")
    finally:
        side.hang_up()


def differences(ours, kafka):
    if len(ours) != len(kafka):
        yield ("the check", "length", len(ours), len(kafka))
    for (label, left), (other, right) in zip(ours, kafka):
        if label != other:
            yield ("the check", "order", label, other)
            return
        for path, a, b in walk(left, right, ""):
            yield label, path, a, b


def walk(left, right, path):
    """Where two values differ: path, one, the other."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in dict.fromkeys([*left, *right]):
            yield from walk(left.get(key, "nothing"), right.get(key, "nothing"), f"{path}.{key}")
    elif path in (".out", ".err"):
        for what, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
            if what != "equal":
                yield f"{path} line {a + 1}", left[a:b], right[c:d]
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (a, b) in enumerate(zip(left, right)):
            yield from walk(a, b, f"{path}[{number}]")
    elif left != right:
        yield path, left, right


if __name__ == "__main__":
    sys.exit(main())
