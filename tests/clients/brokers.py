"""A broker as a real process: ours or Apache Kafka, started, stopped, killed and started again on one data folder."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "scripts" / "peers"
BINARY = Path(os.environ.get("HIGHWATER_BIN", ROOT / "target" / "release" / "highwater"))


def free_port():
    """A port that is free, and the next one too: Kafka's controller takes it.

    Below those that the kernel hands out: a client that tries again and again to reach a broker that is down could
    otherwise be given the broker's own port, and connect to itself. HIGHWATER_PORTS=21300-21399 names others.
    """
    first, _, last = os.environ.get("HIGHWATER_PORTS", "15000-29999").partition("-")
    while True:
        port = random.randrange(int(first), int(last))
        try:
            with socket.socket() as one, socket.socket() as next_one:
                one.bind(("127.0.0.1", port))
                next_one.bind(("127.0.0.1", port + 1))
                return port
        except OSError:
            continue


class Broker:
    """`kind` is "highwater" or "kafka"; `properties` are broker configurations by Kafka's names."""

    def __init__(self, kind, folder, properties=None, arguments=()):
        self.kind, self.folder = kind, Path(folder)
        self.properties, self.arguments = properties or {}, list(arguments)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.pid = None
        self.process = None
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self):
        """Starts it and gives the seconds until it accepted a connection."""
        began = time.monotonic()
        if self.kind == "kafka":
            lines = "\n".join(f"{key}={value}" for key, value in self.properties.items())
            started = subprocess.run(
                [PEERS, "start-kafka", self.folder, str(self.port)],
                env={**os.environ, "KAFKA_PROPERTIES": lines}, stdout=subprocess.PIPE, check=True)
            self.pid = int(started.stdout)
        else:
            self.launch()
        while True:
            # What accepts just after a kill may be the listener that the kernel has not closed yet.
            if self.process and self.process.poll() is not None:
                raise SystemExit(f"the broker ended with code {self.process.returncode}: {self.log_tail()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return time.monotonic() - began
            except OSError:
                if time.monotonic() - began > 60:
                    raise SystemExit(f"no connection to {self.address} within a minute: {self.log_tail()}")
                time.sleep(0.002)

    def launch(self):
        """Starts our process and does not wait for it."""
        command = [BINARY, "--listen", self.address, "--data", self.folder / "data", *self.arguments]
        if self.properties:
            config = self.folder / "highwater.toml"
            lines = [f'"{key}" = {toml(value)}' for key, value in self.properties.items()]
            config.write_text("\n".join(lines) + "\n")
            command += ["--config", config]
        with open(self.folder / "broker.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    def stop(self):
        """Stops it cleanly and gives the seconds that took."""
        began = time.monotonic()
        if self.kind == "kafka":
            subprocess.run([PEERS, "stop-kafka", self.folder], check=True)
        elif self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self.pid = self.process = None
        return time.monotonic() - began

    def kill(self):
        """kill -9, without any notice."""
        os.kill(self.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        else:
            while Path(f"/proc/{self.pid}").exists() and "State:\tZ" not in Path(f"/proc/{self.pid}/status").read_text():
                time.sleep(0.01)
        self.pid = self.process = None

    def is_running(self):
        return self.pid is not None and (self.process is None or self.process.poll() is None)

    def log_tail(self):
        log = self.folder / ("kafka.log" if self.kind == "kafka" else "broker.log")
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def segments(self):
        """The log files of topic partitions in its data folder."""
        below = self.folder / "data" / ("" if self.kind == "kafka" else "partitions")
        files = below.glob("*/*.log")
        return sorted(file for file in files if re.fullmatch(r"\d{20}\.log", file.name)
                      and not file.parent.name.startswith("__"))


def toml(value):
    text = str(value)
    return text if re.fullmatch(r"true|false|-?\d+", text) else '"' + text.replace('"', '\\"') + '"'


def need_binary():
    """Builds the broker; HIGHWATER_BIN names one that is built already."""
    # Whoever ends this script must not leave brokers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if "HIGHWATER_BIN" not in os.environ:
        built = subprocess.run(["cargo", "build", "--release", "-q", "-p", "highwater-io"], cwd=ROOT)
        if built.returncode:
            sys.exit("the broker does not build")


def verdict(wrong, folder, good, kept=None):
    """Prints what is wrong, or that all is good and then removes the folder; the exit code. `kept`: what of it is kept."""
    for line in wrong[:20]:
        print("WRONG", line)
    if wrong:
        print(f"the broker's folder is kept: {kept or folder}")
        return 1
    shutil.rmtree(folder)
    print(good)
    return 0
