"""The time from a start after kill -9 under load to the first acknowledged produce. Run by scripts/restart."""

import argparse
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import brokers

TOPIC = "fill"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def produce_request(topic, partition):
    """Produce, version 7, acks=all: one batch with one record."""
    record = bytes([0, 0, 0, 1, 10]) + b"hello" + bytes([0])
    body = struct.pack(">hiqqqhii", 0, 0, int(time.time() * 1000), int(time.time() * 1000), -1, -1, -1, 1)
    body += bytes([len(record) << 1]) + record
    batch = struct.pack(">qiibI", 0, len(body) + 9, -1, 2, crc32c(body)) + body
    request = struct.pack(">hhi", 0, 7, 1) + string("restart") + struct.pack(">hhi", -1, -1, 30_000)
    request += struct.pack(">i", 1) + string(topic) + struct.pack(">iii", 1, partition, len(batch)) + batch
    return struct.pack(">i", len(request)) + request


def first_acknowledged(port, began):
    """Tries until a record is acknowledged, and gives the seconds since `began`."""
    request, last = produce_request(TOPIC, 0), "no connection"
    while time.monotonic() - began < 120:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(request)
                response = connection.recv(4096)
                code = struct.unpack_from(">h", response, 4 + 4 + 4 + 2 + len(TOPIC) + 4 + 4)[0] if response else None
                if code == 0:
                    return time.monotonic() - began
                last = f"error code {code}"
        except OSError as error:
            last = str(error)
        time.sleep(0.001)
    sys.exit(f"nothing was acknowledged within two minutes: {last}")


def fill(broker, gib, duration=100_000):
    """The load that fills the broker, in the background."""
    return subprocess.Popen(
        [brokers.BINARY, "bench", "produce", "--bootstrap", broker.address, "--topic", TOPIC, "--keep",
         "--partitions", "100", "--connections", "4", "--batch-size", "131072", "--duration", str(duration), "--json",
         *(["--bytes", str(int(gib * (1 << 30)))] if gib else [])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/restart")
    parser.add_argument("gib", nargs="?", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=1.0, help="seconds; above it the exit code is 1")
    parser.add_argument("--kafka", action="store_true", help="restart Apache Kafka instead")
    parser.add_argument("--dir", default=None, help="where the data goes")
    args = parser.parse_args()
    brokers.need_binary()
    folder = Path(tempfile.mkdtemp(prefix="restart-", dir=args.dir))
    broker = brokers.Broker("kafka" if args.kafka else "highwater", folder)
    try:
        broker.start()
        done = fill(broker, args.gib)
        text, complaint = done.communicate()
        if done.returncode:
            sys.exit(f"the fill failed: {complaint}{text}")
        filled = json.loads(text)
        print(f"filled {filled['bytes'] / (1 << 30):.1f} GiB in 100 partitions at {filled['throughput_mb_per_s']:.0f} MB/s")
        took = []
        for number in range(args.rounds):
            load = fill(broker, None)
            time.sleep(3)
            broker.kill()
            load.communicate()
            began = time.monotonic()
            if args.kafka:
                broker.start()
            else:
                broker.launch()
            took.append(first_acknowledged(broker.port, began))
            print(f"round {number + 1}: the first produce was acknowledged {took[-1]:.3f} s after the start", flush=True)
            time.sleep(1)
        broker.stop()
        print(f"longest of {args.rounds}: {max(took):.3f} s")
        return 0 if max(took) <= args.limit else 1
    finally:
        if broker.is_running():
            broker.kill()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
