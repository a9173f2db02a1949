"""Where we differ from Apache Kafka on purpose, each with its reason."""

import re

ANY = r"(?s).*"


def unserved(ours, kafka):
    """Ours are lines about APIs that are not served, and nothing else."""
    return all("UNSUPPORTED" in line for line in ours)


def but_for_isr(ours, kafka):
    """The lines differ in where Kafka tells min.insync.replicas, and nowhere else."""
    told = r"min\.insync\.replicas=1(,|$)|DYNAMIC_DEFAULT_BROKER_CONFIG:min\.insync\.replicas=1, |^min\.insync\.replicas=1 .*"
    left = [re.sub(told, "", line).strip() for line in kafka]
    return [line for line in left if line] == [line for line in (re.sub(told, "", line).strip() for line in ours) if line]


def first_is_whole(ours, kafka):
    """Ours are the first of Kafka's batches, or one batch where Kafka has none."""
    ours, kafka = ([one["base"] for one in batches or [] if "base" in one] for batches in (ours, kafka))
    return ours == kafka[:len(ours)] or (len(ours) == 1 and not kafka)


def both_were_written(ours, kafka):
    """Ours answers both batches, one behind the other; Kafka has one answer."""
    ours, kafka = ([one["ErrorCode"] for one in ours], [one["BaseOffset"] for one in ours]), [one["ErrorCode"] for one in kafka]
    return ours[0] == [0, 0] and ours[1][1] == ours[1][0] + 1 and kafka == [0]


def same_but_for_offsets(ours, kafka):
    """Ours answers a topic where it is named, Kafka all of its partitions together: the same answers, later offsets."""
    ours, kafka = ([one for topic in topics for one in topic["PartitionResponses"]] for topics in (ours, kafka))
    return [{**one, "BaseOffset": 0} for one in ours] == [{**one, "BaseOffset": 0} for one in kafka]


def later(by=None):
    """Our offset is behind Kafka's by so many records."""
    return lambda ours, kafka: ours - kafka == by if by else ours > kafka


def read_twice(ours, kafka):
    """Ours has two answers, and Kafka the second of them alone."""
    return len(ours) == 2 and ours[1:] == kafka


# Conversation, request, path of the field, Kafka's value: regular expressions; then the reason, and what else must hold of our
# value and Kafka's.
RULES = [
    # Topics.
    (ANY, r"CreateTopics", r"Configs\[23\].(Config)?Source", r"3",
     "min.insync.replicas: a Kafka that was formatted with eligible.leader.replicas keeps it as a cluster-wide default"),
    (ANY, r"(Create|Delete)Topics v\d with a timeout (of|below) 0", ANY, ANY,
     "it is done by the time that Kafka looks at its clock; what is done is answered as done"),
    (ANY, r"null config", r"ErrorMessage", r"'Null value not supported",
     "the names in order, where Kafka has them as its hash map does"),
    (ANY, ANY, r"ErrorMessage|error_message|out line|^$", r".* or some brokers have all their log directories cordoned",
     "we cordon nothing; Kafka before 4.4 says it as we do"),
    (ANY, r"min.cleanable.dirty.ratio=NaN", ANY, ANY, "NaN is no ratio"),
    (ANY, r"internal.segment.bytes", r"Configs", ANY, "what is internal is never shown, set or not"),
    (ANY, r"two wrong", r"ErrorMessage", ANY, "of two that are wrong the first by name is told, in Kafka the first of a hash map"),
    # Questions about the cluster.
    (ANY, r"Metadata v1[23] (no id and no name|a name and no name)", r"ErrorCode", r"-1",
     "Kafka fails on the null; what is wrong is the request"),
    (ANY, r"DescribeTopicPartitions v0 bad names", ANY, ANY,
     "Kafka fails as a whole with UNKNOWN_SERVER_ERROR; here each name has its own error, the others their answer"),
    (ANY, r"DescribeConfigs", r"min.insync.replicas.(ConfigSource|Synonyms)", ANY, "as with CreateTopics"),
    (ANY, r"DescribeConfigs", r"Documentation|log.dirs", ANY, "our own words, and our own folder"),
    # What consoles ask.
    (r"quorum", r"DescribeQuorum v2", r"Listeners", ANY, "the listener that clients use: there is none for controllers"),
    (r"producers", r"DescribeProducers", r"LastTimestamp", ANY,
     "when the broker took the last batch, by which a producer is forgotten; Kafka tells and goes by the client's clock"),
    (r"config resources", r"ListConfigResources v1 \[(8)?\]", r"ConfigResources", ANY, "loggers are not described yet"),
    # Changes of configurations.
    (r"alter configs", r"operation (4|-1)$", ANY, r"-1|None", "the request is wrong, where Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"alter configs: brokers", r"described the broker", r"log.retention.hours.Value", ANY,
     "what the file says stays what it is; Kafka forgets it while a finer unit is altered"),
    (r"alter configs", r"retention 0", r"ErrorMessage", r"requirement failed", "our own words"),
    (r"alter configs", r"the default, ", r"min.insync.replicas", ANY, "as with CreateTopics"),
    (r"alter configs: brokers", r"described the topic", r"retention.ms.(ConfigSource|Synonyms)", ANY,
     "a default that was set in another unit is named as such; Kafka calls it its own default"),
    (ANY, r"DescribeConfigs v\d resource type", ANY, ANY,
     "loggers, client metrics and groups are not described yet, and a message says what a resource type is that does not exist"),
    (r"every broker configuration", ANY, ANY, ANY, "ids, addresses and folders differ; the rest is held by tests/admin/configs.rs"),
    # Produce.
    (ANY, r"Produce", r"ErrorMessage", r"None", "a message where Kafka has none"),
    (ANY, r"Produce", r"RecordErrors", r"^\[\]$", "which record cannot be read, where Kafka names none"),
    (ANY, r"Produce", r"ErrorMessage|RecordErrors", r"Invalid magic found|Record size .* is less than|Compacted topic cannot|record errors in total",
     "our own words; of several bad records the first is named"),
    # Kafka cuts or rewrites what no producer sends; here it is refused, and nothing is re-encoded.
    (r"bad batches", r"^Produce v\d+ trailing (bytes|half batch)$", r"(ErrorCode|BaseOffset|LogStartOffset)$", r"^0$",
     "bytes behind the batch are refused, where Kafka cuts them off"),
    (r"bad batches", r"^Produce v\d+ record deltas (0, 2|1, 0|all 0)$", r"(ErrorCode|BaseOffset)$", r"^0$",
     "records whose offsets do not follow each other are refused, where Kafka writes the batch anew"),
    (r"bad batches", r"^Produce v\d+ (delete horizon|says LogAppendTime)$", r"(ErrorCode|BaseOffset)$", r"^0$",
     "attributes that only a broker sets are refused, where Kafka clears them"),
    (r"bad batches", r"^ListOffsets v7 end of \S+(trailingbytes|trailinghalfbatch|recorddeltas\w+|deletehorizon|saysLogAppendTime)$",
     r"\.Offset$", r"^[12]$", "what follows from those: nothing was written"),
    (r"compression", r"^Produce v\d+ (gzip|lz4), trailing$", r"(ErrorCode|BaseOffset)$", r"^0$",
     "bytes behind the last compressed record are refused, as they are without compression"),
    (r"compression", r"^ListOffsets v7 end of \S+(gzip|lz4)trailing$", r"\.Offset$", r"^50$", "what follows from that"),
    (r"bad batches|compression", r"length huge|codec|garbage|cut|empty|flipped|trailing|wrong length|says|deltas", r"ErrorCode", r"-1",
     "an error code that says what is wrong, where Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"bad batches", r"transactional", r"ErrorCode", r"53", "transactions are not served: INVALID_TXN_STATE"),
    # Kafka keeps the records of a request in a map by partition: of a partition that stands there twice the first batch is
    # neither written nor answered. No client sends that; whoever does gets both written here, in order, and both answered.
    (r"many in one request", r"a partition twice$", r"\[0\]\.PartitionResponses$", ANY,
     "a partition that a request names twice gets both batches and both answers; Kafka drops the first, and says nothing of it", both_were_written),
    (r"many in one request", r"a topic twice$", r"^\.Responses$", ANY,
     "a topic that is named twice is answered twice; Kafka puts its partitions together", same_but_for_offsets),
    (r"many in one request", r"good and bad$", r"\[0\]\.BaseOffset$", ANY, "what follows from the batches that Kafka drops", later()),
    (r"many in one request", r"end of \S+one$", r"\[0\]\.Offset$", r"^20$",
     "what follows from the batches that Kafka drops: one record in each of five versions", later(by=5)),
    (ANY, r"Produce v\d+ (zstd|transactional|control and)", r"LogStartOffset", r"-1", "the log's start beside the refusal"),
    # Fetch.
    (ANY, r"Fetch", r"AbortedTransactions", r"None", "an empty list beside an error, where Kafka has null in some and an empty one in others"),
    (r"fetch: limits", r"^Fetch v\d+ -1 in all(, from offset 4)?$", r"Partitions\[0\]\.(ErrorCode|Records)$", r"^(-1|\[\])$",
     "a limit below 0 is taken as 0, and the first batch is whole; Kafka fails on it"),
    (r"fetch: limits", r"^Fetch v\d+ (-?\d+ (in all|of the second partition)|[01] of each$)", r"Partitions\[\d\]\.Records$", ANY,
     "each shard has its part of the limit, and its first batch is whole", first_is_whole),
    (r"incremental", r"in turn, with little room", ANY, ANY, "the first batch of each shard is whole beyond the limit"),
    (r"fetch: every version", r"a partition twice$", r"\[0\]\.Partitions$", ANY,
     "a partition that is named twice is read twice; Kafka reads the second alone", read_twice),
    (r"by id", r"twice", ANY, ANY, "a topic that is named twice is read twice"),
    (ANY, r"Fetch", r"HighWatermark|LastStableOffset|LogStartOffset", r"-1", "whoever reads outside the log is told where it is"),
    (ANY, r"Fetch v\d+ isolation", ANY, ANY, "as in Kafka, with the partitions beside the error"),
    # Programs.
    (r"kafka-python: CreateTopics: done", ANY, r"min.insync.replicas.config_source", ANY, "as with CreateTopics"),
    (r"ApiVersions: every API", ANY, r"out line", ANY,
     "not served: transactions, security, share and streams groups, the new protocol of groups, moving replicas, what only controllers do", unserved),
    (r"ApiVersions: features", ANY, r"out line", r"Feature: ", "no features: nothing of what they switch is served, and there is no upgrade to step through"),
    (r"UnregisterBroker|AlterPartitionReassignments: a plan", ANY, ANY, ANY, "not served: there is one broker, which is nowhere to be moved from"),
    (r"^java: ", r"TopicCommand|ConfigCommand|describe by id", r"out line", r"min.insync.replicas=1", "as with CreateTopics", but_for_isr),
    (r"ListTransactions|DescribeTransactions|DescribeAcls|DelegationToken|ShareGroupDescribe|StreamsGroupDescribe|ConsumerGroupHeartbeat", ANY, ANY, ANY,
     "not served yet: transactions, security, the newer kinds of groups"),
    (r"DescribeConfigs: loggers|IncrementalAlterConfigs: a (group's conf|client's met)|AlterUserScramCredentials", ANY, ANY, ANY,
     "loggers, the newer kinds of groups, client metrics and passwords are not served yet"),
    (r"InitProducerId: (a transaction begins|INVALID_REQUEST|transactions)|FindCoordinator: a transaction's", ANY, ANY, ANY, "transactions are not served"),
    (r"FindCoordinator: INVALID_REQUEST|find coordinator", r"type (3|9|-1)$|CoordinatorType", r"ErrorMessage", r"This most likely occurs", "our own words"),
    (r"OffsetDelete: done|OffsetFetch: after the deletion", r"ConsumerGroupCommand", ANY, ANY,
     "a group without members that has lost its last offset is gone at once; Kafka keeps it until it looks for such groups"),
    (r"DeleteRecords: some, fewer, all", r"--time -3", ANY, ANY, "no record is left whose timestamp could be the largest; Kafka tells one that was deleted"),
    (r"kafka-python: Fetch, ListOffsets", r"by time", ANY, r"'0'", "the epoch of a topic's first leader is 1 here"),
    (r"kafka-python: Produce: INVALID_RECORD", ANY, ANY, r"Compacted topic cannot", "our own words"),
    (r"Produce: MESSAGE_TOO_LARGE", ANY, ANY, r"larger than the max message size|MessageSizeTooLargeError: None", "which size, and how much is allowed, where Kafka sends no message"),
    (r"DescribeQuorum: status", ANY, r"out line 7", r"CONTROLLER", "the listener that clients use: there is none for controllers"),
    (r"replicas and strangers", r"Fetch v1[5-8] replica", r"CurrentLeader|NodeEndpoints", ANY, "no follower exists that could go there"),
]


USED = set()


def reason(name, label, path, ours, kafka):
    """Why this differs, or None where nobody says so."""
    asked, found = (name, label, path, repr(kafka)), None
    for number, rule in enumerate(RULES):
        if all(re.search(pattern, text) for pattern, text in zip(rule, asked)) and all(check(ours, kafka) for check in rule[5:]):
            USED.add(number)
            found = found or rule[4]
    return found


def unused():
    """The rules that explained nothing until now."""
    return [rule for number, rule in enumerate(RULES) if number not in USED]
