"""Requests that are right in form and odd in content: of every API that the broker serves, in every version that it serves,
made from Kafka's own definitions. And the list of attacks, which the other files fill.
"""

from conform.batch import CODECS, batch
from conform.wire import within

ATTACKS = []
NUMBERS = [0, 1, -1, 2, 3, 7, 100, -2]
LIMITS = {"int8": 1 << 7, "int16": 1 << 15, "int32": 1 << 31, "int64": 1 << 63}
STRINGS = ["hostile", "no-such-topic", "hostile", "range", "consumer", "x", ""]
# What would hold a connection for long, or harm the topics of others.
BOUNDED = {"MaxWaitMs": 10, "timeoutMs": 100, "TimeoutMs": 100, "MaxBytes": 1 << 20, "PartitionMaxBytes": 1 << 16}


def attack(function):
    ATTACKS.append(function)
    return function


def served(talk):
    """The APIs that the broker serves, with their versions, as it says itself."""
    names = {message.key: name.removesuffix("Request") for name, message in talk.protocol.messages.items() if name.endswith("Request")}
    keys = talk.call("ApiVersions", 0, {})["ApiKeys"]
    return {names[key["ApiKey"]]: (key["MinVersion"], key["MaxVersion"]) for key in keys if key["ApiKey"] in names}


def body(protocol, api, version, draw):
    message = protocol.messages[api + "Request"]
    return structure(message.body, api, version, draw, message.is_flexible(version))


def structure(struct, api, version, draw, flexible):
    value = {}
    for field in struct.fields:
        if not within(field["versions"], version):
            continue
        tagged = flexible and within(field.get("taggedVersions"), version)
        if not tagged or draw.random() < 0.2:
            nullable = within(field.get("nullableVersions"), version)
            value[field["name"]] = item(struct, field, api, version, draw, flexible, nullable)
    return value


def item(struct, field, api, version, draw, flexible, nullable):
    name, kind = field["name"], field["type"]
    if nullable and draw.random() < 0.2:
        return None
    if name in BOUNDED:
        return BOUNDED[name]
    if kind == "bool":
        return draw.random() < 0.5
    if kind in LIMITS:
        limit = LIMITS[kind]
        return draw.choice(NUMBERS) if draw.random() < 0.9 else draw.choice([limit - 1, -limit])
    if kind in ("uint16", "uint32"):
        return abs(draw.choice(NUMBERS))
    if kind == "float64":
        return draw.choice([0.0, -1.5, float("nan"), float("inf")])
    if kind == "uuid":
        return draw.choice([bytes(16), b"\5" * 16])
    if kind == "records":
        return batch(draw.randrange(1, 4), codec=draw.choice(list(CODECS)))
    if kind == "bytes":
        return draw.randbytes(draw.randrange(20))
    if kind == "string":
        if "onfig" in name:
            return draw.choice(["retention.ms", "cleanup.policy", "no.such.key"])
        # Topics are not deleted here: others use them.
        return "no-such-topic" if api.startswith("Delete") else draw.choice(STRINGS)
    if kind.startswith("[]"):
        inner = {**field, "type": kind[2:]}
        return [item(struct, inner, api, version, draw, flexible, False) for _ in range(draw.choice([0, 1, 1, 1, 2]))]
    return structure(struct.structs[kind], api, version, draw, flexible)
