"""A large consumer group by raw requests: how long a rebalance takes until every member has its assignment. Run by scripts/bench.

Each member is a thread with a connection of its own, which does what Kafka's consumers do (join, the leader assigns, sync,
heartbeat, join again when told to), but asks for news every 100 ms and not every 3 s: what is measured is the broker.
"""

import struct
import threading
import time

from conform.talk import Closed, Connection, Talk

HEARTBEAT_S = 0.1
REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 27, 79
# What a member does about these is to ask again: the coordinator is starting.
PASSING = (14, 15, 16)


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def subscription(topic):
    """A consumer's metadata, version 0: its topics, no user data."""
    return struct.pack(">hi", 0, 1) + string(topic) + struct.pack(">i", -1)


def assignment(topic, partitions):
    return struct.pack(">hi", 0, 1) + string(topic) + struct.pack(f">i{len(partitions)}ii", len(partitions), *partitions, -1)


class Member(threading.Thread):
    def __init__(self, group):
        super().__init__(daemon=True)
        self.group, self.id, self.generation, self.partitions = group, "", -1, 0
        self.connection, self.over, self.failure = Connection(group.port), False, None
        # A member that joins a group being rebalanced waits for the others.
        self.connection.socket.settimeout(60)

    def call(self, api, version, **body):
        self.connection.send(self.group.protocol.request(api, version, {"GroupId": self.group.name, **body}))
        return self.group.protocol.response(api, version, self.connection.receive())[1]

    def run(self):
        try:
            while not self.over:
                if self.generation < 0:
                    self.join_group()
                else:
                    time.sleep(HEARTBEAT_S)
                    beat = self.call("Heartbeat", 3, GenerationId=self.generation, MemberId=self.id)
                    if beat["ErrorCode"]:
                        assert beat["ErrorCode"] == REBALANCE_IN_PROGRESS, beat
                        self.generation = -1
            self.call("LeaveGroup", 3, Members=[{"MemberId": self.id}])
        except (Closed, OSError, AssertionError) as error:
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self.connection.close()

    def join_group(self):
        """Joins and syncs; leaves `generation` below 0 where it has to begin again."""
        joined = self.call("JoinGroup", 5, SessionTimeoutMs=30_000, RebalanceTimeoutMs=60_000, MemberId=self.id, ProtocolType="consumer",
                           Protocols=[{"Name": "even", "Metadata": subscription(self.group.topic)}])
        if joined["ErrorCode"] in PASSING:
            return time.sleep(HEARTBEAT_S)
        self.id = joined["MemberId"]
        if joined["ErrorCode"] == MEMBER_ID_REQUIRED:
            return None
        assert joined["ErrorCode"] == 0, joined
        given = []
        if joined["Leader"] == self.id:
            ids = sorted(one["MemberId"] for one in joined["Members"])
            given = [{"MemberId": one, "Assignment": assignment(self.group.topic, range(place, self.group.partitions, len(ids)))}
                     for place, one in enumerate(ids)]
        synced = self.call("SyncGroup", 3, GenerationId=joined["GenerationId"], MemberId=self.id, Assignments=given)
        if synced["ErrorCode"] == REBALANCE_IN_PROGRESS:
            return None
        assert synced["ErrorCode"] == 0, synced
        size = len(self.group.topic)
        self.partitions = struct.unpack_from(">i", synced["Assignment"], 2 + 4 + 2 + size)[0]
        self.generation = joined["GenerationId"]
        return None


class Group:
    """`count` members over the partitions of one topic."""

    def __init__(self, protocol, port, topic, partitions, name):
        self.protocol, self.port, self.topic, self.partitions, self.name = protocol, port, topic, partitions, name
        self.members = []

    def add(self, count):
        made = [Member(self) for _ in range(count)]
        self.members += made
        for member in made:
            member.start()

    def remove(self):
        """One member leaves, not the leader's."""
        leaving = self.members.pop()
        leaving.over = True
        leaving.join()

    def settled(self, began, seconds=120):
        """Waits until all are in one generation and have all partitions between them; the milliseconds since `began`."""
        while time.monotonic() - began < seconds:
            failures = [member.failure for member in self.members if member.failure]
            if failures:
                raise SystemExit(f"a member of the group failed: {failures[0]}")
            generations = {member.generation for member in self.members}
            if len(generations) == 1 and min(generations) >= 0 and sum(member.partitions for member in self.members) == self.partitions:
                return (time.monotonic() - began) * 1000
            time.sleep(0.001)
        raise SystemExit(f"the group has not settled after {seconds} s: generations {generations}")

    def stop(self):
        for member in self.members:
            member.over = True
        for member in self.members:
            member.join()


def rebalances(protocol, port, count, partitions):
    """Milliseconds until everyone has an assignment: after the last of all has joined, after one left, after one joined."""
    talk = Talk(protocol, port, f"rebalance-{time.time_ns()}-")
    topic = talk.create("topic", partitions)
    group = Group(protocol, port, topic, partitions, talk.name("group"))
    # The topic of all groups is made when a coordinator is asked for.
    while talk.call("FindCoordinator", 3, {"Key": group.name, "KeyType": 0})["ErrorCode"]:
        time.sleep(HEARTBEAT_S)
    try:
        group.add(count)
        joined = group.settled(time.monotonic())
        began = time.monotonic()
        group.remove()
        left = group.settled(began)
        began = time.monotonic()
        group.add(1)
        came = group.settled(began)
    finally:
        group.stop()
        talk.call("DeleteTopics", 4, {"TopicNames": [topic], "TimeoutMs": 20_000})
        talk.hang_up()
    return {"join": joined, "leave": left, "one more": came}
