"""One conversation with one broker: raw requests out, answers in, and a transcript of both that two brokers must share.

What must differ from broker to broker (ids, hosts, times, epochs) is replaced by what it means before it is noted.
"""

import re
import socket
import struct
import time

from . import batch

CASES = []


def case(name, **properties):
    """Adds a conversation to the list. `properties` are broker configurations, for brokers of its own."""
    def add(function):
        CASES.append((name, properties, function))
        return function
    return add


# Kafka's topics and partitions stand as its hash maps have them; those that failed often stand last.
IN_NO_ORDER = ("Responses", "PartitionResponses", "Partitions", "Topics")
# A client's name, and a UUID behind it.
MEMBER = re.compile(r"(.*)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def place(one):
    return (str(one.get("Name") or one.get("Topic") or one.get("TopicId")), one.get("PartitionIndex", one.get("Index", one.get("Partition", 0))))


class Closed(Exception):
    """The broker closed the connection instead of answering."""


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Closed from error

    def receive(self):
        """The next frame, without its size."""
        return self.exactly(struct.unpack(">i", self.exactly(4))[0])

    def exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except TimeoutError:
                raise
            except OSError:
                more = b""
            if not more:
                raise Closed
            data += more
        return data

    def close(self):
        self.socket.close()


class Talk:
    def __init__(self, protocol, port, prefix):
        self.protocol, self.port, self.prefix = protocol, port, prefix
        self.connection = None
        self.transcript = []
        self.topics = {}
        self.names = {}
        self.epochs = {}
        self.producers = {}
        self.sessions = {}
        self.members = {}
        described = self.call("DescribeCluster", 1, {"EndpointType": 1})
        self.cluster, broker = described["ClusterId"], described["Brokers"][0]
        self.node, self.host = broker["BrokerId"], broker["Host"]

    # Asking.

    def exchange(self, data):
        """Sends bytes, gives the answer's frame. A fresh connection where the last one was closed."""
        if self.connection is None:
            self.connection = Connection(self.port)
        try:
            self.connection.send(data)
            return self.connection.receive()
        except (Closed, TimeoutError):
            self.hang_up()
            raise

    def hang_up(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def call(self, api, version, body, **header):
        """Asks and gives the answer as it is, noting nothing."""
        frame = self.exchange(self.protocol.request(api, version, body, **header))
        return self.protocol.response(api, version, frame)[1]

    def ask(self, api, version, body, about="", answer_version=None, **header):
        """Asks, and notes what came: the answer, or that the connection was closed. Gives the answer as it is."""
        label = f"{api} v{version}{' ' + about if about else ''}"
        try:
            frame = self.exchange(self.protocol.request(api, version, body, **header))
        except Closed:
            return self.note(label, "closed")
        except TimeoutError:
            return self.note(label, "no answer")
        answer = self.protocol.response(api, version if answer_version is None else answer_version, frame)[1]
        self.note(label, self.plain(answer))
        return answer

    def raw(self, data, about):
        """Sends bytes as they are; notes whether there was an answer."""
        try:
            self.note(about, f"{len(self.exchange(data))} bytes")
        except Closed:
            self.note(about, "closed")
        except TimeoutError:
            self.note(about, "no answer")

    def note(self, label, what):
        self.transcript.append((label, what))

    def versions(self, api, first=0, last=99):
        message = self.protocol.messages[api + "Request"]
        return range(max(message.min, first), min(message.max, last) + 1)

    # Topics of its own.

    def name(self, topic):
        return f"{self.prefix}{topic}"

    def create(self, topic, partitions=1, **configs):
        """Makes a topic and waits until all of it can be used."""
        name = self.name(topic)
        listed = [{"Name": key.replace("_", "."), "Value": str(value)} for key, value in configs.items()]
        asked = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": listed}
        made = self.call("CreateTopics", 7, {"Topics": [asked], "timeoutMs": 20_000})["Topics"][0]
        assert made["ErrorCode"] == 0, made
        self.learn(name)
        return name

    def learn(self, name):
        """Waits until a topic has leaders; notes its id and epoch."""
        for _ in range(200):
            found = self.call("Metadata", 12, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})["Topics"][0]
            if found["ErrorCode"] == 0 and all(part["LeaderId"] >= 0 for part in found["Partitions"]):
                break
            time.sleep(0.02)
        else:
            raise AssertionError(f"{name} has no leader: {found}")
        asked = [{"PartitionIndex": part["PartitionIndex"], "Timestamp": -1} for part in found["Partitions"]]
        while any(part["ErrorCode"] for topic in self.call("ListOffsets", 7, {
                "ReplicaId": -1, "Topics": [{"Name": name, "Partitions": asked}]})["Topics"] for part in topic["Partitions"]):
            time.sleep(0.02)
        self.topics[name], self.names[found["TopicId"]] = found["TopicId"], name
        self.epochs[name] = found["Partitions"][0]["LeaderEpoch"] if found["Partitions"] else 0
        return found["TopicId"]

    def produced(self, topic, data, partition=0, acks=-1, version=9):
        """Appends, for the sake of what follows."""
        answer = self.call("Produce", version, self.produce_body(topic, data, version, partition, acks))
        part = answer["Responses"][0]["PartitionResponses"][0]
        assert part["ErrorCode"] == 0, part
        return part["BaseOffset"]

    def produce_body(self, topic, data, version, partition=0, acks=-1, timeout=10_000, transactional=None):
        names = {"TopicId": self.topics.get(topic, b"\7" * 16)} if version >= 13 else {"Name": topic}
        return {"TransactionalId": transactional, "Acks": acks, "TimeoutMs": timeout, "TopicData": [
            {**names, "PartitionData": [{"Index": partition, "Records": data}]}]}

    def producer(self):
        body = {"TransactionalId": None, "TransactionTimeoutMs": 60_000, "ProducerId": -1, "ProducerEpoch": -1}
        found = self.call("InitProducerId", 4, body)
        # A Kafka that has just started fetches its block of ids.
        while found["ErrorCode"] == 14:
            time.sleep(0.1)
            found = self.call("InitProducerId", 4, body)
        self.producers[found["ProducerId"]] = len(self.producers)
        return found["ProducerId"]

    # What must differ, replaced by what it means.

    def member(self, value):
        """A member's id, which the broker has made up, by its number."""
        return self.members.setdefault(value, f"member {len(self.members)}: {MEMBER.fullmatch(value)[1]}")

    def plain(self, value, key="", topic=None):
        if isinstance(value, dict):
            topic = value.get("Name") or value.get("Topic") or self.names.get(value.get("TopicId")) or topic
            return {name: self.plain(item, name, topic) for name, item in value.items()}
        if isinstance(value, list):
            made = [self.plain(item, key, topic) for item in value]
            if key == "Members":
                return sorted(made, key=lambda one: str(one["MemberId"]))
            return sorted(made, key=place) if key in IN_NO_ORDER else made
        if key == "Records":
            # Kafka may cut its answer within the last batch; ours ends with a whole one.
            return None if value is None else [self.plain_batch(one, topic) for one in batch.split(value) if "rest" not in one]
        return self.plain_leaf(value, key, topic)

    def plain_leaf(self, value, key, topic):
        now = time.time() * 1000
        if key == "Port":
            return "its port" if value == self.port else value
        if key == "Host":
            return "its host" if value == self.host else value
        if key == "ClusterId":
            return "its cluster" if value == self.cluster else value
        if key == "TopicId" and value in self.names:
            return f"id of {self.names[value]}"
        if key == "ProducerId" and value in self.producers:
            return f"producer {self.producers[value]}"
        if key in ("MemberId", "Leader") and MEMBER.fullmatch(value):
            return self.member(value)
        if key == "SessionId" and value:
            return f"session {self.sessions.setdefault(value, len(self.sessions))}"
        if key in ("LeaderEpoch", "Epoch", "leader_epoch") and topic in self.epochs and value >= 0:
            return f"epoch {value - self.epochs[topic]:+}"
        if key in ("LogAppendTimeMs", "Timestamp") and isinstance(value, int) and abs(value - now) < 60_000:
            return "now"
        if isinstance(value, str):
            return self.plain_text(value)
        return value.hex() if isinstance(value, bytes) else value

    def plain_text(self, text):
        text = text.replace(str(self.port), "PORT")
        for producer, number in self.producers.items():
            text = re.sub(rf"\b{producer}\b(?!-)", f"producer {number}", text)
        return re.sub(r"\b\d{13}\b|-\d{19}(?=, )", "TIME", text)

    def plain_batch(self, one, topic):
        one = {name: self.plain(item, name, topic) for name, item in one.items()}
        if one.get("attributes", 0) & 8:
            one["max_timestamp"] = "now" if abs(one["max_timestamp"] - time.time() * 1000) < 60_000 else one["max_timestamp"]
        for name in ("timestamp", "max_timestamp"):
            if isinstance(one.get(name), int) and abs(one[name] - time.time() * 1000) < 60_000:
                one[name] = "now"
        if one.get("producer") in self.producers:
            one["producer"] = f"producer {self.producers[one['producer']]}"
        return one
