"""One check against one broker: programs are run, and what they say is noted for the comparison with the other broker.

What must differ from broker to broker (ports, ids, times, folders) is replaced by what it means before it is noted.
"""

import json
import re
import select
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer

import brokers
from conform.batch import batch, record
from conform.talk import Talk

CHECKS = []
# Records that are written as fixtures lie about the 14th of November 2023, far from every limit of time.
THEN_MS = 1_700_000_000_000


def check(program, name, **properties):
    """Adds a function to the list, named `API: error code or behaviour`; `properties` are for brokers of its own."""
    def add(function):
        CHECKS.append((program, name, properties, function))
        return function
    return add


def table(program, rows):
    """Adds many: name and function."""
    for name, function in rows:
        check(program, name)(function)


class Tools:
    """A JVM that runs Kafka's command-line tools, one after the other."""

    def __init__(self):
        self.process = None

    def run(self, tool, args, given, timeout=90):
        if self.process is None:
            self.start()
        name = tool if tool.startswith(("kafka.", "org.")) else f"org.apache.kafka.tools.{tool}"
        line = json.dumps({"class": name, "args": [str(one) for one in args], "input": given})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            self.stop()
            return {"exit": f"not ended after {timeout} s", "out": "", "err": ""}
        return json.loads(self.process.stdout.readline())

    def start(self):
        folder = subprocess.run([brokers.PEERS, "path", "tools"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        self.process = subprocess.Popen(
            ["java", "-Xmx512M", "-cp", f"{folder}/*", f"-Dlog4j2.configurationFile={folder}/../log4j2-tools.xml",
             str(Path(__file__).parent / "Tools.java")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Session:
    """What a check gets. `talk` speaks the protocol itself: it makes what the programs are then asked about."""

    def __init__(self, protocol, port, prefix, tools, folder):
        self.talk = Talk(protocol, port, prefix)
        self.port, self.prefix, self.tools, self.folder = port, prefix, tools, Path(folder)
        self.bootstrap, self.transcript = f"127.0.0.1:{port}", []
        self.node, self.name = self.talk.node, self.talk.name
        self.at = ["--bootstrap-server", self.bootstrap]

    def hang_up(self):
        self.talk.hang_up()

    # Fixtures.

    def topic(self, about, partitions=1, records=0, **configs):
        """A topic, with so many records in partition 0: key and value tell their offset, a second apart."""
        if records:
            # They are old: retention would take them in the middle of a check.
            configs.setdefault("retention_ms", -1)
        name = self.talk.create(about, partitions, **configs)
        self.fill(name, 0, records)
        return name

    def fill(self, name, start, count):
        if count:
            values = [record(b"value %d" % at, b"key %d" % at, at - start, (at - start) * 1000) for at in range(start, start + count)]
            first, last = THEN_MS + start * 1000, THEN_MS + (start + count - 1) * 1000
            self.talk.produced(name, batch(count, payload=b"".join(values), timestamp=first, max_timestamp=last))

    def group(self, about, topic, offset, partition=0):
        """An empty group that has committed."""
        name = self.name(about)
        client = Consumer({"bootstrap.servers": self.bootstrap, "group.id": name, "log_level": 0})
        from confluent_kafka import TopicPartition
        client.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
        client.close()
        return name

    @contextmanager
    def member(self, group, topic):
        """A member of a group, which goes on polling until the block ends."""
        client = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "client.id": "member", "log_level": 0,
                           "auto.offset.reset": "earliest", "enable.auto.commit": False, "partition.assignment.strategy": "range",
                           "session.timeout.ms": 10_000, "heartbeat.interval.ms": 500})
        client.subscribe([topic])
        over, ready = threading.Event(), threading.Event()

        def poll():
            while not over.is_set():
                client.poll(0.1)
                if client.assignment():
                    ready.set()
        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        try:
            if not ready.wait(30):
                raise AssertionError(f"the member of {group} got nothing within 30 s")
            yield client
        finally:
            over.set()
            thread.join()
            client.close()

    def file(self, name, content):
        path = self.folder / f"{self.prefix}{name}"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def until(self, ask, wanted, seconds=15):
        """Asks until it is so: Kafka's broker learns of a change after it was answered."""
        give_up = time.monotonic() + seconds
        while True:
            got = ask()
            if wanted(got) or time.monotonic() > give_up:
                return got
            time.sleep(0.2)

    # Programs.

    def java(self, tool, *args, input="", quiet=False, **how):
        """Runs one of Kafka's tools and notes what it prints. `how`: see `say`."""
        done = self.tools.run(tool, args, input)
        return done if quiet else self.printed(f"{tool.split('.')[-1]} {' '.join(map(str, args))}", done, **how)

    def topics(self, *args, **how):
        return self.java("TopicCommand", *self.at, *args, **how)

    def configs(self, *args, **how):
        return self.java("kafka.admin.ConfigCommand", *self.at, *args, **how)

    def groups(self, *args, **how):
        return self.java("consumer.group.ConsumerGroupCommand", *self.at, *args, **how)

    def command(self, *args, input="", timeout=60, quiet=False, **how):
        """Runs a program that is none of Kafka's tools."""
        try:
            done = subprocess.run([str(one) for one in args], input=input, text=True, timeout=timeout, errors="backslashreplace",
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            result = {"exit": done.returncode, "out": done.stdout, "err": done.stderr}
        except subprocess.TimeoutExpired:
            result = {"exit": f"not ended after {timeout} s", "out": "", "err": ""}
        return result if quiet else self.printed(" ".join(str(one) for one in [Path(args[0]).name, *args[1:]]), result, **how)

    def kcat(self, *args, **how):
        return self.command("kcat", "-b", self.bootstrap, *args, **how)

    def printed(self, label, done, **how):
        self.note(self.plain(label)[:200], {"exit": done["exit"], "out": self.lines(done["out"], **how), "err": self.lines(done["err"], **how)})
        return done

    def lines(self, text, sort=False, digits=False, drop=None, keep=None):
        """A program's lines. `sort`: they stand in the order of a hash map; `digits`: figures are measured, not answered;
        `drop`, `keep`: patterns of lines."""
        made = []
        for line in text.splitlines():
            line = re.sub(r"\s+", " ", self.plain(line)).strip()
            if line.startswith("{") and line.endswith("}"):
                try:
                    line = json.dumps(json.loads(line), sort_keys=True)
                except ValueError:
                    pass  # no object after all
            if not line or re.match(r"at [\w.$/]+\(|\.\.\. \d+ (more|common)", line) or (drop and re.search(drop, line)):
                continue
            if keep is None or re.search(keep, line):
                made.append(re.sub(r"\d+(\.\d+)?", "N", line) if digits else line)
        return sorted(made) if sort else made

    def tried(self, label, function):
        """Notes what a function gives, or the error that it raises."""
        try:
            result = self.value(function())
        except Exception as error:  # what a client raises is its answer
            result = self.plain(f"{type(error).__name__}: {error}")
        self.note(label, result)

    def note(self, label, what):
        self.transcript.append((label, what))

    # What must differ, replaced by what it means.

    def value(self, value):
        if isinstance(value, dict):
            return {self.plain(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        if isinstance(value, set):
            return sorted(self.plain(str(item)) for item in value)
        return value if value is None or isinstance(value, (bool, float)) else self.plain(str(value))

    def plain(self, text):
        text = text.replace(f"/{self.bootstrap}", "BROKER").replace(f"localhost:{self.port}", "BROKER").replace(self.bootstrap, "BROKER")
        text = text.replace(str(self.talk.cluster), "CLUSTER").replace(str(self.folder), "FOLDER")
        text = re.sub(r'"log_dirs":\["/[^"]*"\]', '"log_dirs":["ITS FOLDER"]', text)
        text = re.sub(rf"\b{self.port}\b", "PORT", text)
        text = re.sub(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", "UUID", text)
        text = re.sub(r"((?:TopicId|topic_id|DirectoryId|directoryId|topicId)\W{1,4})[\w-]{22}(?![\w-])", r"\1ID", text)
        text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]?\d*Z?", lambda found: found[0] if found[0].startswith("2023-11") else "DATE", text)
        return re.sub(r"\b1[789]\d{11}\b", lambda found: "TIME" if abs(int(found[0]) / 1000 - time.time()) < 86_400 else found[0], text)
