"""CreatePartitions."""

import time

from . import batch
from .talk import case


def grow(talk, version, about, *topics, only=False):
    body = {"Topics": [{"Name": name, "Count": count, "Assignments": given and [{"BrokerIds": ids} for ids in given]}
                       for name, count, given in topics], "TimeoutMs": 20_000, "ValidateOnly": only}
    answer = talk.call("CreatePartitions", version, body)
    answer["Results"].sort(key=lambda one: one["Name"])
    talk.note(f"CreatePartitions v{version} {about}", talk.plain(answer))


def partitions(talk, name, count):
    """Waits until so many partitions have leaders; notes who they are."""
    for _ in range(200):
        found = talk.call("Metadata", 12, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})["Topics"][0]["Partitions"]
        if len(found) == count and all(part["LeaderId"] == talk.node for part in found):
            break
        time.sleep(0.02)
    told = sorted((part["PartitionIndex"], part["LeaderId"] == talk.node, part["ReplicaNodes"] == part["IsrNodes"]) for part in found)
    talk.note(f"partitions of {name}", str(told))


@case("create partitions")
def counts(talk):
    for version in talk.versions("CreatePartitions"):
        name, other = talk.create(f"grows{version}", 2), talk.create(f"other{version}", 1)
        unknown, here = talk.name("unknown"), talk.node
        grow(talk, version, "nothing")
        grow(talk, version, "one more, only", (name, 3, None), only=True)
        partitions(talk, name, 2)
        grow(talk, version, "one more", (name, 3, None))
        partitions(talk, name, 3)
        grow(talk, version, "as many", (name, 3, None))
        grow(talk, version, "as many, only", (name, 3, None), only=True)
        for count in (2, 0, -1, -2147483648):
            grow(talk, version, f"to {count}", (name, count, None))
        grow(talk, version, "unknown", (unknown, 3, None))
        grow(talk, version, "no name", ("", 3, None))
        grow(talk, version, "a bad name", ("a b", 3, None))
        grow(talk, version, "one twice", (name, 5, None), (name, 6, None))
        grow(talk, version, "one thrice, and another", (name, 5, None), (name, 6, None), (other, 2, None), (name, 5, None))
        partitions(talk, other, 2)
        grow(talk, version, "one of two fails", (name, 3, None), (other, 3, None))
        for about, given in (
            ("none", []), ("too few", [[here]]), ("too many", [[here]] * 3), ("nobody", [[here], []]), ("a stranger", [[here], [99]]),
            ("one broker twice", [[here], [here, here]]), ("two brokers", [[here, 99], [here]]), ("well", [[here], [here]]),
        ):
            grow(talk, version, f"assigned: {about}", (name, 5, given))
        partitions(talk, name, 5)
        grow(talk, version, "far too many, only", (other, 20_000, None), only=True)
        grow(talk, version, "far too many at once, only", (other, 9_000, None), (name, 9_000, None), only=True)
    data = batch.batch()
    talk.learn(name)
    talk.note("the new one's first offset", talk.produced(name, data, partition=4))
    talk.note("its next", talk.produced(name, data, partition=4))
