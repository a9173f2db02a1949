"""Strangers' bytes against the real broker, while a good client goes on: nobody else may notice.

    scripts/clients --hostile [--frames N] [--memory SIZE] [--only TEXT] [--seed N]

Each attack is followed by the same questions: does the process live, are its descriptors back, did its memory stay within
--memory, was the good client answered in time and with its own bytes, and does the log name each stranger once?
"""

import argparse
import os
import random
import re
import resource
import select
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import brokers
from checks import command
from conform.batch import batch, compress
from conform.talk import Closed, Connection, Talk
from conform.wire import Protocol
from hostile_bodies import ATTACKS, attack, body, served
import hostile_groups  # noqa: F401: they add their attacks
import hostile_values  # noqa: F401

class Good(threading.Thread):
    """Writes and reads back, and notes how long that takes."""

    def __init__(self, protocol, port):
        super().__init__(daemon=True)
        self.talk = Talk(protocol, port, "good-")
        self.topic = self.talk.create("data")
        self.took, self.failure, self.ended, self.next = [], None, False, 0

    def run(self):
        while not self.ended:
            began = time.monotonic()
            try:
                self.step()
            except Exception as error:
                self.failure = f"{type(error).__name__}: {error}"
                return
            self.took.append(time.monotonic() - began)
            time.sleep(0.005)

    def step(self):
        value = b"%d of the good client" % self.next
        offset = self.talk.produced(self.topic, batch(values=[value]))
        assert offset == self.next, f"offset {offset}, expected {self.next}"
        answer = self.talk.call("Fetch", 12, {"ReplicaId": -1, "MaxWaitMs": 1000, "MinBytes": 1, "MaxBytes": 1 << 20, "Topics": [
            {"Topic": self.topic, "Partitions": [{"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20}]}]})
        found = answer["Responses"][0]["Partitions"][0]
        assert value in found["Records"], f"error {found['ErrorCode']}, {len(found['Records'])} bytes at {offset}"
        self.next += 1


class Target:
    def __init__(self, protocol, broker, frames, seed):
        self.protocol, self.broker, self.port, self.frames = protocol, broker, broker.port, frames
        self.draw = random.Random(seed)

    def connect(self):
        return Connection(self.port)

    def send(self, data, wait=0.0):
        """Sends on a connection of its own and closes it; whatever comes back is read and dropped."""
        connection = self.connect()
        try:
            connection.send(data)
            if wait:
                connection.socket.settimeout(wait)
                while connection.socket.recv(1 << 16):
                    pass
        except (Closed, OSError):
            pass
        finally:
            connection.close()

    def valid(self, api=None):
        """A request that is right in form, of any API and version that is served."""
        api = api or self.draw.choice(list(self.apis))
        version = self.draw.randrange(self.apis[api][0], self.apis[api][1] + 1)
        content = body(self.protocol, api, version, self.draw)
        return self.protocol.request(api, version, content, self.draw.randrange(1 << 31), "hostile")


@attack
def sizes(target):
    """Frames of a wrong size, and a gigabyte that never comes."""
    for size in (-1, -2**31, 0, 1, 2, 7, 8, 9, 2**31 - 1, 104_857_600, 104_857_601, 1 << 30):
        for rest in (b"", b"\0", b"\0\3\0\0\0\0\0\1\xff\xff", b"\xff" * 20):
            target.send(struct.pack(">i", size) + rest, 0.05)
    # A large one that is allowed, announced and not sent, many times at once.
    held = [target.connect() for _ in range(100)]
    for connection in held:
        connection.send(struct.pack(">ihhi", 100_000_000, 0, 9, 1))
    time.sleep(1)
    for connection in held:
        connection.close()


@attack
def unknown(target):
    """APIs and versions that do not exist."""
    for key in [*range(-2, 100), 32767, -32768, 12345]:
        for version in (-1, 0, 99):
            target.send(struct.pack(">ihhih", 10, key, version, 1, -1), 0.02 if key % 10 == 0 else 0)


@attack
def truncated(target):
    """Every frame cut at every byte, its size made right and left wrong."""
    for api in target.apis:
        frame = target.valid(api)
        for cut in range(4, len(frame)):
            target.send(struct.pack(">i", cut - 4) + frame[4:cut])
        for cut in range(1, len(frame), 7):
            target.send(frame[:cut])


@attack
def counts(target):
    """Counts and lengths that claim more than is there."""
    for api in target.apis:
        for _ in range(60):
            frame = bytearray(target.valid(api))
            at = target.draw.randrange(14, len(frame))
            huge = target.draw.choice([b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x00\x0f\x42\x40", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x7f", b"\x80\x00"])
            frame[at:at + len(huge)] = huge
            target.send(struct.pack(">i", len(frame) - 4) + bytes(frame[4:]))


@attack
def elements(target):
    """Large requests of many tiny things: a few bytes on the wire, many in memory."""
    def frame(key, version, rest):
        content = struct.pack(">hhih", key, version, 1, -1) + rest
        return struct.pack(">i", len(content)) + content

    million = 1_000_000
    empty = struct.pack(">i", million) + b"\0\0\0\0\0\0" * million
    many = {
        "topics of a Metadata": frame(3, 1, struct.pack(">i", million) + b"\0\0" * million),
        "topics of a Produce": frame(0, 3, struct.pack(">hhii", -1, 1, 1000, million) + b"\0\0\0\0\0\0" * million),
        "partitions of a Produce": frame(0, 3, struct.pack(">hhiihi", -1, 1, 1000, 1, 0, million) + b"\0\0\0\1\0\0\0\0" * million),
        "partitions of a Produce, ten times": frame(0, 3, struct.pack(">hhii", -1, 1, 1000, 10) + (struct.pack(">hi", 0, million) + b"\0\0\0\1\0\0\0\0" * million) * 10),
        "topics of a Fetch": frame(1, 4, struct.pack(">iiiibi", -1, 0, 0, 0, 0, million) + b"\0\0\0\0\0\0" * million),
        "partitions of a Fetch": frame(1, 4, struct.pack(">iiiibihi", -1, 0, 0, 0, 0, 1, 0, 400_000) + b"\0" * 16 * 400_000),
        "topics of a ListOffsets": frame(2, 1, struct.pack(">i", -1) + empty),
        "partitions of a ListOffsets": frame(2, 1, struct.pack(">iihi", -1, 1, 0, 600_000) + b"\0" * 12 * 600_000),
        "topics of a CreateTopics": frame(19, 2, struct.pack(">i", 200_000) + b"\0\0\0\0\0\1\0\1\0\0\0\0\0\0\0\0" * 200_000 + b"\0\0\0\1\0"),
        "topics of a DeleteTopics": frame(20, 1, struct.pack(">i", million) + b"\0\0" * million + b"\0\0\0\1"),
        "resources of a DescribeConfigs": frame(32, 1, struct.pack(">i", 140_000) + b"\2\0\0\xff\xff\xff\xff" * 140_000 + b"\0"),
        "tags": frame(3, 12, b"\xff\xff\xff\xff\x0f" + b"\1\0" * 100_000),
    }
    for about, data in many.items():
        connections = [target.connect() for _ in range(4)]
        for connection in connections:
            try:
                connection.send(data)
            except Closed:
                pass
        for connection in connections:
            connection.socket.settimeout(5)
            try:
                while connection.socket.recv(1 << 20):
                    pass
            except OSError:
                pass
            connection.close()
        print(f"    {about}, {len(data)} bytes: {target.broker_rss() >> 20} MiB", flush=True)


@attack
def strangers(target):
    """Other protocols: HTTP, TLS, SSH, Redis, text, zeros."""
    hello = bytes.fromhex("16030100c8010000c40303") + os.urandom(192)
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /topics HTTP/1.0\r\n\r\n", hello, b"SSH-2.0-OpenSSH_9.0\r\n",
                 b"*1\r\n$4\r\nPING\r\n", b"hello\n", b"\0" * 4096, b"\xff" * 4096, b"", b"\n"):
        for _ in range(3):
            target.send(data, 0.2)


@attack
def flipped(target):
    """Valid frames of each API with bits flipped, many on a connection until it is closed."""
    many(target, target.frames, mutate)


@attack
def noise(target):
    """Frames of the right size and a known key, with noise behind it."""
    def make(target):
        rest = target.draw.randbytes(target.draw.randrange(0, 200))
        key = target.protocol.messages[target.draw.choice(list(target.apis)) + "Request"].key
        content = struct.pack(">hhi", key, target.draw.randrange(0, 19), 5) + rest
        return struct.pack(">i", len(content)) + content

    many(target, target.frames // 5, make)


def mutate(target):
    frame = bytearray(target.valid())
    for _ in range(target.draw.choice([1, 1, 1, 2, 3, 8])):
        at = target.draw.randrange(4, len(frame))
        frame[at] ^= 1 << target.draw.randrange(8)
    if target.draw.random() < 0.1:
        frame = frame[:target.draw.randrange(5, len(frame) + 1)]
    # The size stays right: what is wrong is inside.
    frame[:4] = struct.pack(">i", len(frame) - 4)
    return bytes(frame)


def many(target, count, make):
    """Sends in bursts of four on a connection, which the first that is no request ends; what comes back is dropped."""
    sent = 0
    while sent < count:
        connections = [target.connect() for _ in range(16)]
        for connection in connections:
            data = b"".join(make(target) for _ in range(4))
            sent += 4
            try:
                connection.send(data)
            except Closed:
                pass
        for connection in connections:
            connection.socket.setblocking(False)
            ready, _, _ = select.select([connection.socket], [], [], 0.002)
            try:
                while ready and connection.socket.recv(1 << 16):
                    pass
            except OSError:
                pass
            connection.close()


@attack
def slow(target):
    """Hundreds of connections that send a byte now and then, or nothing."""
    held = [target.connect() for _ in range(400)]
    frame = target.protocol.request("Metadata", 9, {"Topics": []})
    for at in range(10):
        for connection in held[:200]:
            try:
                connection.send(frame[at:at + 1])
            except Closed:
                pass
        time.sleep(0.3)
    for connection in held:
        connection.close()


@attack
def idle(target):
    """Ten thousand connections, half of which ask something once, and then nothing."""
    wanted = 10_000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # The broker keeps a quarter of its descriptors for files.
    wanted = min(wanted, hard - 1000, hard // 4 * 3 - 200)
    before, held = target.broker_rss(), []
    for number in range(wanted):
        held.append(target.connect())
        if number % 2:
            held[-1].send(target.protocol.request("ApiVersions", 3, {"ClientSoftwareName": "idle", "ClientSoftwareVersion": "1"}))
            held[-1].receive()
    time.sleep(5)
    each = (target.broker_rss() - before) / wanted
    print(f"    {wanted} connections, {each:.0f} bytes each", flush=True)
    assert wanted >= 5_000 and each < 4_000, f"{wanted} connections of {each:.0f} bytes each"
    for connection in held:
        connection.close()


@attack
def half_closed(target):
    """Requests, then the end of what is sent, the answer awaited or not; and resets in the middle of an answer."""
    fetch = target.protocol.request("Fetch", 12, {"ReplicaId": -1, "MaxWaitMs": 30_000, "MinBytes": 1 << 20, "MaxBytes": 1 << 20, "Topics": [
        {"Topic": "good-data", "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20}]}]})
    for data in (b"", b"\0\0", target.valid("Metadata"), target.valid("Metadata")[:10], fetch):
        for _ in range(20):
            connection = target.connect()
            connection.send(data)
            connection.socket.shutdown(socket.SHUT_WR)
            connection.socket.settimeout(0.1)
            try:
                connection.socket.recv(100)
            except OSError:
                pass
            connection.close()
    for _ in range(100):
        connection = target.connect()
        connection.send(b"".join(target.valid("Metadata") for _ in range(50)))
        connection.socket.recv(10)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


@attack
def unread(target):
    """Thousands of requests without reading an answer."""
    big = target.protocol.request("DescribeConfigs", 4, {"Resources": [{"ResourceType": 4, "ResourceName": "1"}] * 20, "IncludeSynonyms": True, "IncludeDocumentation": True})
    read = target.protocol.request("Fetch", 12, {"ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 50 << 20, "Topics": [
        {"Topic": "hostile", "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 50 << 20}]}]})
    held = []
    for request in (big, read, target.protocol.request("Metadata", 12, {"Topics": None})):
        for _ in range(30):
            connection = target.connect()
            connection.socket.setblocking(False)
            sent = 0
            try:
                while sent < 4000:
                    connection.socket.send(request)
                    sent += 1
            except OSError:
                pass
            held.append(connection)
    time.sleep(3)
    for connection in held:
        connection.close()


@attack
def many_connections(target):
    """Connections opened and closed as fast as can be."""
    for _ in range(3000):
        try:
            target.connect().close()
        except OSError:
            pass


@attack
def large(target):
    """Produce requests of 90 MB, whole and cut short."""
    data = batch(values=[b"x" * 900_000], key=None)
    parts = [{"Index": index % 3, "Records": data} for index in range(100)]
    frame = target.protocol.request("Produce", 9, {"TransactionalId": None, "Acks": -1, "TimeoutMs": 30_000, "TopicData": [{"Name": "hostile", "PartitionData": parts}]})
    connections = [target.connect() for _ in range(4)]
    senders = [threading.Thread(target=push, args=(connection, frame if number % 2 else frame[:-1000])) for number, connection in enumerate(connections)]
    for sender in senders:
        sender.start()
    for connection in connections[1::2]:
        connection.socket.settimeout(20)
        try:
            answer = connection.receive()
            print(f"    a frame of {len(frame)} bytes is answered with {len(answer)}")
        except (Closed, OSError) as error:
            print(f"    a frame of {len(frame)} bytes: {type(error).__name__}")
    for connection in connections:
        connection.close()
    for sender in senders:
        sender.join()


def push(connection, data):
    try:
        connection.socket.settimeout(20)
        connection.send(data)
    except (Closed, OSError):
        pass


@attack
def bombs(target):
    """Compressed batches that take a thousand times their size."""
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        plain = b"\0" * (64 << 20)
        packed = compress(codec, plain)
        if len(packed) > 1_000_000:
            packed = packed[:1_000_000]
        data = batch(1, codec=codec, raw=packed)
        frame = target.protocol.request("Produce", 9, {"TransactionalId": None, "Acks": -1, "TimeoutMs": 1000, "TopicData": [{"Name": "hostile", "PartitionData": [{"Index": 0, "Records": data}]}]})
        for _ in range(5):
            target.send(frame, 1)


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) << 10


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Sampler(threading.Thread):
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0, False

    def run(self):
        while not self.ended:
            try:
                self.peak = max(self.peak, resident(self.pid))
            except (OSError, TypeError):
                return
            time.sleep(0.02)


def main():
    parser = argparse.ArgumentParser(prog="scripts/clients --hostile")
    parser.add_argument("--frames", type=int, default=20_000, help="how many frames with flipped bits")
    parser.add_argument("--memory", default="128MB")
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    brokers.need_binary()
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    broker = brokers.Broker("highwater", folder, arguments=["--memory", args.memory])
    broker.start()
    protocol = Protocol(command(brokers.PEERS, "path", "broker").strip())
    target = Target(protocol, broker, args.frames, args.seed)
    target.broker_rss = lambda: resident(broker.pid)
    talk = Talk(protocol, broker.port, "")
    talk.create("hostile", 3)
    target.apis = served(talk)
    failed = 0
    try:
        for function in ATTACKS:
            if args.only in function.__name__:
                failed += not survives(broker, protocol, target, function, args.memory)
    finally:
        broker.kill()
    if failed:
        print(f"the broker's folder is kept: {folder}")
    else:
        shutil.rmtree(folder)
    print(f"{failed} attacks were noticed")
    return 1 if failed else 0


def survives(broker, protocol, target, function, memory):
    log = broker.folder / "broker.log"
    lines_before, fds_before = len(log.read_text().splitlines()), descriptors(broker.pid)
    good, sampler = Good(protocol, broker.port), Sampler(broker.pid)
    good.start()
    sampler.start()
    began = time.monotonic()
    complaints = []
    try:
        function(target)
    except Exception as error:
        complaints.append(f"the attack itself: {type(error).__name__}: {error}")
    took = time.monotonic() - began
    good.ended = sampler.ended = True
    good.join()
    good.talk.hang_up()
    if broker.process.poll() is not None:
        print(f"FAIL {function.__name__}: the broker ended: {broker.log_tail()[-600:]}")
        raise SystemExit(1)
    complaints += [f"the good client: {good.failure}"] if good.failure else []
    late = sorted(good.took)
    p99 = late[int(len(late) * 0.99)] if late else 0
    limit = int(memory.removesuffix("MB")) * 1_000_000
    if sampler.peak > limit:
        complaints.append(f"{sampler.peak} bytes resident of {limit}")
    # The segments of the good client's topic are among them.
    until = time.monotonic() + 5
    while (left := descriptors(broker.pid) - fds_before) > 20 and time.monotonic() < until:
        time.sleep(0.1)
    if left > 20:
        complaints.append(f"{left} descriptors are not given back")
    text = log.read_text()
    lines = text.splitlines()[lines_before:]
    if re.search(r"panick|assertion", text):
        complaints.append("a panic in the log")
    print(f"{'FAIL' if complaints else 'PASS'} {function.__name__} ({took:.1f} s): peak {sampler.peak >> 20} MiB, good client {len(late)} rounds, "
          f"p99 {p99 * 1000:.1f} ms, max {max(late, default=0) * 1000:.1f} ms, {len(lines)} log lines" + "".join(f"; {one}" for one in complaints), flush=True)
    good.took.clear()
    # A topic of its own for the next one.
    Talk(protocol, broker.port, "good-").call("DeleteTopics", 4, {"TopicNames": ["good-data"], "TimeoutMs": 5000})
    return not complaints


if __name__ == "__main__":
    sys.exit(main())
