"""DescribeClientQuotas and AlterClientQuotas: entities, keys, values, filters, and what refuses them."""

import time

from .talk import case

NAN = float("nan")


def entity(**parts):
    return [{"EntityType": kind.replace("_", "-"), "EntityName": name} for kind, name in parts.items()]


def ops(*changes):
    """Each is (key, value), or (key, None) to remove it."""
    return [{"Key": key, "Value": value or 0.0, "Remove": value is None} for key, value in changes]


def alter(talk, version, about, *entries, only=False):
    body = {"Entries": [{"Entity": of, "Ops": ops(*changes)} for of, *changes in entries], "ValidateOnly": only}
    answer = talk.call("AlterClientQuotas", version, body)
    for one in answer["Entries"]:
        one["Entity"].sort(key=lambda part: part["EntityType"])
    answer["Entries"].sort(key=lambda one: str(one["Entity"]))
    talk.note(f"AlterClientQuotas v{version} {about}", talk.plain(answer))


def describe(talk, version, about, *components, strict=False, mine=None, settle=0.0):
    time.sleep(settle)
    parts = [{"EntityType": kind, "MatchType": how, "Match": name} for kind, how, name in components]
    answer = talk.call("DescribeClientQuotas", version, {"Components": parts, "Strict": strict})
    if answer["Entries"] is not None:
        for one in answer["Entries"]:
            one["Entity"].sort(key=lambda part: part["EntityType"])
            one["Values"].sort(key=lambda value: value["Key"])
        answer["Entries"].sort(key=lambda one: str(one["Entity"]))
    talk.note(f"DescribeClientQuotas v{version} {about}", talk.plain(answer))


@case("quotas: set, described, removed")
def set_and_described(talk):
    user, client = talk.name("user"), talk.name("client")
    every = [entity(user=user), entity(client_id=client), entity(user=user, client_id=client), entity(user=None),
             entity(client_id=None), entity(user=None, client_id=None), entity(user=user, client_id=None),
             entity(user=None, client_id=client)]
    for version in talk.versions("AlterClientQuotas"):
        for number, of in enumerate(every):
            alter(talk, version, f"set {number}", (of, ("producer_byte_rate", 1e9 + number), ("request_percentage", 12345.5)))
        alter(talk, version, "an address", (entity(ip="10.1.2.3"), ("connection_creation_rate", 1000.0)))
        alter(talk, version, "every address", (entity(ip=None), ("connection_creation_rate", 2000.0)))
        alter(talk, version, "several at once", (every[0], ("consumer_byte_rate", 1e9)), (every[1], ("controller_mutation_rate", 1e6 + 0.25)))
        alter(talk, version, "only asked", (every[0], ("consumer_byte_rate", 2e9)), only=True)
        alter(talk, version, "only asked, and wrong", (every[0], ("nothing", 2e9)), only=True)
        alter(talk, version, "set again", (every[0], ("consumer_byte_rate", 1e9)))
        for about, components in (
            ("all", []), ("this user", [("user", 0, user)]), ("another user", [("user", 0, "nobody-" + user)]),
            ("default user", [("user", 1, None)]), ("any user", [("user", 2, None)]), ("this client", [("client-id", 0, client)]),
            ("user and client", [("user", 0, user), ("client-id", 0, client)]), ("any pair", [("user", 2, None), ("client-id", 2, None)]),
            ("default pair", [("user", 1, None), ("client-id", 1, None)]), ("address", [("ip", 0, "10.1.2.3")]),
            ("any address", [("ip", 2, None)]), ("default address", [("ip", 1, None)]), ("an unknown address", [("ip", 0, "10.9.9.9")]),
        ):
            for strict in (False, True):
                settle = 1.0 if about == "all" and not strict else 0
                describe(talk, version, f"{about}{', strict' if strict else ''}", *components, strict=strict, settle=settle)
        for number, of in enumerate(every):
            keys = ("producer_byte_rate", "request_percentage", "consumer_byte_rate", "controller_mutation_rate")
            alter(talk, version, f"removed {number}", (of, *[(key, None) for key in keys]))
        for ip in ("10.1.2.3", None):
            alter(talk, version, "address removed", (entity(ip=ip), ("connection_creation_rate", None)))
        alter(talk, version, "removed again", (every[0], ("producer_byte_rate", None)))
        describe(talk, version, "nothing left", settle=1.0)


@case("quotas: refused")
def refused(talk):
    client = talk.name("client")
    of = entity(client_id=client)
    for version in talk.versions("AlterClientQuotas"):
        for about, entry in (
            ("an unknown key", (of, ("no_such_key", 1.0))), ("a key of addresses", (of, ("connection_creation_rate", 1.0))),
            ("a key of clients", (entity(ip="10.1.2.3"), ("producer_byte_rate", 1.0))),
            ("0", (of, ("producer_byte_rate", 0.0))), ("below 0", (of, ("request_percentage", -1.0))),
            ("a fraction", (of, ("producer_byte_rate", 1.5))), ("nearly whole", (of, ("producer_byte_rate", 1000.0000001))),
            ("too large", (of, ("producer_byte_rate", 1e19))), ("too large for an int", (entity(ip="10.1.2.3"), ("connection_creation_rate", 3e9))),
            ("a fraction of a connection", (entity(ip="10.1.2.3"), ("connection_creation_rate", 0.5))),
            ("no entity", ([], ("producer_byte_rate", 1.0))), ("an unknown type", (entity(group="x"), ("producer_byte_rate", 1.0))),
            ("an empty type", (entity(**{"": "x"}), ("producer_byte_rate", 1.0))),
            ("an empty user", (entity(user=""), ("producer_byte_rate", 1.0))), ("an empty client", (entity(client_id=""), ("producer_byte_rate", 1.0))),
            ("an empty address", (entity(ip=""), ("connection_creation_rate", 1.0))),
            ("no address", (entity(ip="no.such.host.invalid"), ("connection_creation_rate", 1.0))),
            ("address and client", (entity(ip="10.1.2.3", client_id=client), ("producer_byte_rate", 1.0))),
            ("address and user", (entity(ip="10.1.2.3", user=client), ("connection_creation_rate", 1.0))),
            ("an unknown key removed", (of, ("no_such_key", None))), ("no change", (of,)),
            ("a key twice", (of, ("producer_byte_rate", 7e9), ("producer_byte_rate", 8e9))),
            ("a type twice", (entity(client_id=client) + entity(client_id=client + "2"), ("producer_byte_rate", 9e9))),
            ("one good, one bad", (of, ("producer_byte_rate", 7e9), ("no_such_key", 1.0))),
        ):
            alter(talk, version, about, entry)
        alter(talk, version, "nothing")
        alter(talk, version, "an entity twice", (of, ("producer_byte_rate", 5e9)), (of, ("consumer_byte_rate", 6e9)))
        alter(talk, version, "a good and a bad one", (of, ("producer_byte_rate", 4e9)), (entity(user=client), ("no_such_key", 6e9)))
        describe(talk, version, "what came of it", ("client-id", 0, client), settle=1.0)
        for name in (client, client + "2"):
            alter(talk, version, "removed", (entity(client_id=name), ("producer_byte_rate", None), ("consumer_byte_rate", None)))
        for about, components in (
            ("an unknown type", [("group", 0, "x")]), ("an empty type", [("", 0, "x")]), ("twice", [("user", 0, "x"), ("user", 1, None)]),
            ("a name that is null", [("user", 0, None)]), ("a default with a name", [("user", 1, "x")]),
            ("any with a name", [("user", 2, "x")]), ("an unknown match", [("user", 3, None)]), ("below 0", [("user", -1, None)]),
            ("address and user", [("ip", 2, None), ("user", 2, None)]), ("client and address", [("client-id", 0, "x"), ("ip", 0, "10.1.2.3")]),
        ):
            describe(talk, version, about, *components)


@case("quotas: credentials of users")
def credentials(talk):
    name = talk.name("user")
    for about, users in (("all", None), ("nobody", []), ("one", [name]), ("two", [name, name + "2"]), ("twice", [name, name]), ("empty", [""])):
        body = {"Users": users if users is None else [{"Name": user} for user in users]}
        answer = talk.call("DescribeUserScramCredentials", 0, body)
        answer["Results"].sort(key=lambda one: one["User"])
        talk.note(f"DescribeUserScramCredentials v0 {about}", talk.plain(answer))


@case("quotas: partitions a second", **{"controller.quota.window.num": "2"})
def mutations(talk):
    client, probe = talk.name("mutates"), talk.name("probes")
    topics = [talk.name(f"mutated{number}") for number in range(8)]
    alter(talk, 1, "set", *((entity(client_id=one), ("controller_mutation_rate", 0.01)) for one in (client, probe)))
    # Kafka's controller learns of both after it was answered: until then it makes whatever is asked for.
    for tried in range(100):
        pair = [{"Name": f"{probe}{tried}-{one}", "NumPartitions": 1, "ReplicationFactor": 1} for one in (1, 2)]
        made = talk.call("CreateTopics", 6, {"Topics": pair, "timeoutMs": 10_000}, client=probe)
        if any(one["ErrorCode"] for one in made["Topics"]):
            break
        time.sleep(0.2)
    # It is muted now.
    talk.hang_up()

    def ask(api, version, about, body):
        answer = talk.protocol.response(api, version, talk.exchange(talk.protocol.request(api, version, body, client=client)))[1]
        answer["ThrottleTimeMs"] = answer["ThrottleTimeMs"] > 0
        for one in answer.get("Topics", []) + answer.get("Responses", []) + answer.get("Results", []):
            one.pop("TopicId", None), one.pop("Configs", None)
        talk.note(f"{api} v{version} {about}", talk.plain(answer))
        # It is muted now.
        talk.hang_up()

    def create(version, about, *names, only=False):
        made = [{"Name": name, "NumPartitions": 1, "ReplicationFactor": 1, "Assignments": [], "Configs": []} for name in names]
        ask("CreateTopics", version, about, {"Topics": made, "timeoutMs": 10_000, "validateOnly": only})

    create(6, "two: the first overdraws", topics[0], topics[1])
    create(6, "above", topics[2])
    create(7, "above", topics[2])
    create(7, "above, only asked", topics[2], only=True)
    create(7, "exists, above", topics[0])
    create(5, "old", topics[3])
    grown = [{"Name": topics[0], "Count": 2, "Assignments": None}]
    ask("CreatePartitions", 3, "above", {"Topics": grown, "TimeoutMs": 10_000, "ValidateOnly": False})
    ask("CreatePartitions", 2, "old", {"Topics": grown, "TimeoutMs": 10_000, "ValidateOnly": False})
    ask("DeleteTopics", 5, "above", {"TopicNames": [topics[0]], "TimeoutMs": 10_000})
    ask("DeleteTopics", 4, "old", {"TopicNames": [topics[0]], "TimeoutMs": 10_000})
    alter(talk, 1, "removed", *((entity(client_id=one), ("controller_mutation_rate", None)) for one in (client, probe)))
