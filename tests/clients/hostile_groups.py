"""Consumer groups as a stranger may use them: members without number, leaders that never assign, metadata without end."""

import resource
import select
import time

from conform.talk import Closed, Talk
from hostile_bodies import attack

MEMBERS = 10_000
UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, OFFSET_METADATA_TOO_LARGE = 25, 22, 12
SESSION = 10_000


def join(group, member="", metadata=b"m" * 200, instance=None):
    return {"GroupId": group, "SessionTimeoutMs": SESSION, "RebalanceTimeoutMs": SESSION, "MemberId": member, "GroupInstanceId": instance,
            "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": metadata}]}


def ready(target, group):
    """Waits until somebody coordinates the group."""
    talk = Talk(target.protocol, target.port, "")
    while talk.call("FindCoordinator", 4, {"KeyType": 0, "CoordinatorKeys": [group]})["Coordinators"][0]["ErrorCode"]:
        time.sleep(0.1)
    while talk.call("Heartbeat", 4, {"GroupId": group, "GenerationId": 1, "MemberId": "x"})["ErrorCode"] != UNKNOWN_MEMBER_ID:
        time.sleep(0.1)
    return talk


def answers(target, connections, api, version, wait):
    """What has been answered by then, by connection; None where it was closed."""
    found, until = {}, time.monotonic() + wait
    waiting = {connection.socket.fileno(): connection for connection in connections}
    poll = select.poll()
    for one in waiting:
        poll.register(one, select.POLLIN)
    while waiting and time.monotonic() < until:
        for one, _ in poll.poll(200):
            poll.unregister(one)
            connection = waiting.pop(one)
            try:
                found[connection] = target.protocol.response(api, version, connection.receive())[1]
            except (Closed, OSError):
                found[connection] = None
    return found


@attack
def ids_that_nobody_uses(target):
    """Members that are given an id and never come back with it: in one group, and in thousands."""
    talk = ready(target, "hostile-ids")
    told = {}
    for number in range(MEMBERS):
        group = "hostile-ids" if number % 2 else f"hostile-ids-{number}"
        code = talk.call("JoinGroup", 7, join(group))["ErrorCode"]
        told[code] = told.get(code, 0) + 1
    print(f"    answered by error code: {told}; {target.broker_rss() >> 20} MiB", flush=True)
    talk.hang_up()


@attack
def members_without_number(target):
    """Ten thousand members in one group, whose leader never assigns anything; then all of them vanish."""
    talk = ready(target, "hostile-many")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = [target.connect() for _ in range(MEMBERS)]
    for connection in held:
        connection.send(target.protocol.request("JoinGroup", 3, join("hostile-many")))
    joined = answers(target, held, "JoinGroup", 3, 40)
    told = {}
    for answer in joined.values():
        code = "closed" if answer is None else answer["ErrorCode"]
        told[code] = told.get(code, 0) + 1
    print(f"    {len(joined)} of {MEMBERS} are answered, by error code: {told}; {target.broker_rss() >> 20} MiB", flush=True)
    # All but the leader wait for its assignment.
    for connection, answer in joined.items():
        if answer and answer["ErrorCode"] == 0 and answer["Leader"] != answer["MemberId"]:
            connection.send(target.protocol.request("SyncGroup", 2, {
                "GroupId": "hostile-many", "GenerationId": answer["GenerationId"], "MemberId": answer["MemberId"], "Assignments": []}))
    time.sleep(2)
    for connection in held:
        connection.close()
    described = talk.call("DescribeGroups", 5, {"Groups": ["hostile-many"]})["Groups"][0]
    print(f"    the group is {described['GroupState']} with {len(described['Members'])} members; {target.broker_rss() >> 20} MiB", flush=True)
    # Another group is served meanwhile.
    member = ready(target, "hostile-other")
    first = member.call("JoinGroup", 7, join("hostile-other"))["MemberId"]
    assert member.call("JoinGroup", 7, join("hostile-other", first))["ErrorCode"] == 0
    member.hang_up()
    talk.hang_up()


@attack
def metadata_without_end(target):
    """Megabytes in what members and commits say; members that nobody knows, generations that are over."""
    talk = ready(target, "hostile-large")
    for size in (1 << 20, 20 << 20):
        for _ in range(8):
            try:
                talk.call("JoinGroup", 7, join("hostile-large", metadata=b"m" * size))
            except Closed:
                talk = ready(target, "hostile-large")
    member = talk.call("JoinGroup", 7, join("hostile-small"))["MemberId"]
    generation = talk.call("JoinGroup", 7, join("hostile-small", member))["GenerationId"]
    assigned = {"GroupId": "hostile-small", "GenerationId": generation, "MemberId": member, "ProtocolType": "consumer", "ProtocolName": "range"}
    code = talk.call("SyncGroup", 5, {**assigned, "Assignments": [{"MemberId": member, "Assignment": b"a" * 100}]})["ErrorCode"]
    assert code == 0, f"SyncGroup: {code}"

    def commit(generation, member, metadata=""):
        parts = [{"PartitionIndex": 0, "CommittedOffset": 1, "CommittedMetadata": metadata}]
        body = {"GroupId": "hostile-small", "GenerationIdOrMemberEpoch": generation, "MemberId": member, "Topics": [{"Name": "hostile", "Partitions": parts}]}
        return talk.call("OffsetCommit", 8, body)["Topics"][0]["Partitions"][0]["ErrorCode"]

    for about, found, expected in (
        ("a commit", commit(generation, member), 0),
        ("metadata of 4,096 bytes", commit(generation, member, "m" * 4096), 0),
        ("metadata of 4,097 bytes", commit(generation, member, "m" * 4097), OFFSET_METADATA_TOO_LARGE),
        ("metadata of 32,000 bytes", commit(generation, member, "m" * 32_000), OFFSET_METADATA_TOO_LARGE),
        ("a member that nobody knows", commit(generation, "nobody"), UNKNOWN_MEMBER_ID),
        ("a generation that is over", commit(generation - 1, member), ILLEGAL_GENERATION),
        ("a generation to come", commit(generation + 1, member), ILLEGAL_GENERATION),
        ("a commit for nobody while there are members", commit(-1, ""), UNKNOWN_MEMBER_ID),
    ):
        assert found == expected, f"{about}: error {found}, expected {expected}"
    talk.hang_up()
