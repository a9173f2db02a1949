"""Where we differ from Apache Kafka on purpose, each with its reason."""

import re

ANY = r"(?s).*"
# Conversation, request, path of the field, Kafka's value: regular expressions; then the reason.
RULES = [
    (ANY, r"CreateTopics", r"Configs\[23\].ConfigSource", r"3",
     "min.insync.replicas: a Kafka that was formatted with eligible.leader.replicas keeps it as a cluster-wide default"),
    (ANY, r"(Create|Delete)Topics v\d with a timeout (of|below) 0", ANY, ANY,
     "it is done by the time that Kafka looks at its clock; what is done is answered as done"),
    (ANY, r"null config", r"ErrorMessage", r"'Null value not supported",
     "the names in order, where Kafka has them as its hash map does"),
    (ANY, r"CreateTopics", r"ErrorMessage", r".* or some brokers have all their log directories cordoned",
     "we cordon nothing; Kafka before 4.4 says it as we do"),
    (ANY, r"min.cleanable.dirty.ratio=NaN", ANY, ANY, "NaN is no ratio"),
    (ANY, r"internal.segment.bytes", r"Configs", ANY, "what is internal is never shown, set or not"),
    (ANY, r"two wrong", r"ErrorMessage", ANY, "of two that are wrong the first by name is told, in Kafka the first of a hash map"),
    (ANY, r"Produce", r"ErrorMessage", r"None", "a message where Kafka has none"),
]


def holds(name, label, path, ours, kafka):
    asked = (name, label, path, repr(kafka))
    return any(all(re.search(pattern, text) for pattern, text in zip(rule, asked)) for rule in RULES)
