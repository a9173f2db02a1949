//! The broker configurations that this broker acts on, and those that clients and tools ask for.
//!
//! Not all of Kafka's: a key that would do nothing is refused rather than taken and ignored. Those that only give
//! topics their defaults carry the type and the range of Kafka's broker key. Invariant: sorted by name, each name once.

use super::def::{Def, Kind, Rule};
use super::topic::{CLEANUP_POLICIES, COMPRESSION_TYPES, JAVA_ARRAY_MAX, TIMESTAMP_TYPES};

pub const ADVERTISED_LISTENERS: &str = "advertised.listeners";
pub const AUTO_CREATE_TOPICS_ENABLE: &str = "auto.create.topics.enable";
pub const BROKER_ID: &str = "broker.id";
pub const CONNECTIONS_MAX_IDLE_MS: &str = "connections.max.idle.ms";
pub const DEFAULT_REPLICATION_FACTOR: &str = "default.replication.factor";
pub const DELETE_TOPIC_ENABLE: &str = "delete.topic.enable";
pub const FETCH_MAX_BYTES: &str = "fetch.max.bytes";
pub const GROUP_INITIAL_REBALANCE_DELAY_MS: &str = "group.initial.rebalance.delay.ms";
pub const GROUP_MAX_SESSION_TIMEOUT_MS: &str = "group.max.session.timeout.ms";
pub const GROUP_MAX_SIZE: &str = "group.max.size";
pub const GROUP_MIN_SESSION_TIMEOUT_MS: &str = "group.min.session.timeout.ms";
pub const LISTENERS: &str = "listeners";
pub const LOG_CLEANER_BACKOFF_MS: &str = "log.cleaner.backoff.ms";
pub const LOG_DIR: &str = "log.dir";
pub const LOG_DIRS: &str = "log.dirs";
pub const LOG_RETENTION_CHECK_INTERVAL_MS: &str = "log.retention.check.interval.ms";
pub const CONTROLLER_QUOTA_WINDOW_NUM: &str = "controller.quota.window.num";
pub const CONTROLLER_QUOTA_WINDOW_SIZE_SECONDS: &str = "controller.quota.window.size.seconds";
pub const MAX_CONNECTIONS: &str = "max.connections";
pub const MAX_CONNECTIONS_PER_IP: &str = "max.connections.per.ip";
pub const MAX_CONNECTIONS_PER_IP_OVERRIDES: &str = "max.connections.per.ip.overrides";
pub const MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS: &str = "max.incremental.fetch.session.cache.slots";
pub const MAX_REQUEST_PARTITION_SIZE_LIMIT: &str = "max.request.partition.size.limit";
pub const NODE_ID: &str = "node.id";
pub const NUM_PARTITIONS: &str = "num.partitions";
pub const OFFSET_METADATA_MAX_BYTES: &str = "offset.metadata.max.bytes";
pub const OFFSETS_RETENTION_CHECK_INTERVAL_MS: &str = "offsets.retention.check.interval.ms";
pub const OFFSETS_RETENTION_MINUTES: &str = "offsets.retention.minutes";
pub const OFFSETS_TOPIC_NUM_PARTITIONS: &str = "offsets.topic.num.partitions";
pub const OFFSETS_TOPIC_REPLICATION_FACTOR: &str = "offsets.topic.replication.factor";
pub const OFFSETS_TOPIC_SEGMENT_BYTES: &str = "offsets.topic.segment.bytes";
pub const PRODUCER_ID_EXPIRATION_MS: &str = "producer.id.expiration.ms";
pub const QUOTA_WINDOW_NUM: &str = "quota.window.num";
pub const QUOTA_WINDOW_SIZE_SECONDS: &str = "quota.window.size.seconds";
pub const SOCKET_REQUEST_MAX_BYTES: &str = "socket.request.max.bytes";
pub const TRANSACTION_MAX_TIMEOUT_MS: &str = "transaction.max.timeout.ms";

const fn def(name: &'static str, kind: Kind, default: &'static str, rule: Rule, docs: &'static str) -> Def {
    Def { name, kind, default: Some(default), rule, synonyms: &[], internal: false, docs }
}

/// Null unless it is set.
const fn unset(name: &'static str, kind: Kind, rule: Rule, docs: &'static str) -> Def {
    Def { name, kind, default: None, rule, synonyms: &[], internal: false, docs }
}

/// Gives `topic`, a topic configuration, its default.
macro_rules! default_of {
    ($topic:literal) => {
        concat!("The default of the topic configuration ", $topic, ".")
    };
    ($topic:literal, $more:literal) => {
        concat!("The default of the topic configuration ", $topic, ", ", $more, ".")
    };
}

/// The table.
#[rustfmt::skip]
pub static BROKER: &[Def] = &[
    unset(ADVERTISED_LISTENERS, Kind::List, Rule::Flag("--advertise"),
        "Where clients are told to connect."),
    def(AUTO_CREATE_TOPICS_ENABLE, Kind::Boolean, "true", Rule::Any,
        "Whether a topic is made when a client that allows it asks for it by name."),
    unset(BROKER_ID, Kind::Int, Rule::Flag("--node-id"),
        "This broker's id, the same as node.id."),
    def("compression.gzip.level", Kind::Int, "-1", Rule::BetweenOr(1, 9, -1),
        default_of!("compression.gzip.level")),
    def("compression.lz4.level", Kind::Int, "9", Rule::Between(1, 17),
        default_of!("compression.lz4.level")),
    def("compression.type", Kind::String, "producer", Rule::OneOf(COMPRESSION_TYPES),
        default_of!("compression.type")),
    def("compression.zstd.level", Kind::Int, "3", Rule::Between(-131_072, 22),
        default_of!("compression.zstd.level")),
    def(CONNECTIONS_MAX_IDLE_MS, Kind::Long, "600000", Rule::Any,
        "A connection on which nothing happens for so many milliseconds is closed; negative means never."),
    def(CONTROLLER_QUOTA_WINDOW_NUM, Kind::Int, "11", Rule::AtLeast(1),
        "How many windows' worth of controller_mutation_rate may be used at once."),
    def(CONTROLLER_QUOTA_WINDOW_SIZE_SECONDS, Kind::Int, "1", Rule::AtLeast(1),
        "How long a window of controller_mutation_rate is, in seconds."),
    def(DEFAULT_REPLICATION_FACTOR, Kind::Int, "1", Rule::Between(1, i16::MAX as i64),
        "How many replicas a topic gets when its creator leaves it to the broker."),
    def(DELETE_TOPIC_ENABLE, Kind::Boolean, "true", Rule::Any,
        "Whether DeleteTopics is served."),
    def(FETCH_MAX_BYTES, Kind::Int, "57671680", Rule::AtLeast(1024),
        "The most bytes that one fetch returns, whatever it asks for; a first batch that is larger is returned whole."),
    def(GROUP_INITIAL_REBALANCE_DELAY_MS, Kind::Int, "3000", Rule::AtLeast(0),
        "How long an empty group waits for more members after its first one came, in milliseconds."),
    def(GROUP_MAX_SESSION_TIMEOUT_MS, Kind::Int, "1800000", Rule::Any,
        "The longest session timeout that a member may ask for, in milliseconds."),
    def(GROUP_MAX_SIZE, Kind::Int, "2147483647", Rule::AtLeast(1),
        "How many members a group may have."),
    def(GROUP_MIN_SESSION_TIMEOUT_MS, Kind::Int, "6000", Rule::Any,
        "The shortest session timeout that a member may ask for, in milliseconds."),
    unset(LISTENERS, Kind::List, Rule::Flag("--listen"),
        "Where this broker listens."),
    def(LOG_CLEANER_BACKOFF_MS, Kind::Long, "15000", Rule::AtLeast(0),
        "How long each shard waits, in milliseconds, before it looks again for logs to compact; at least 10."),
    def("log.cleaner.delete.retention.ms", Kind::Long, "86400000", Rule::AtLeast(0),
        default_of!("delete.retention.ms")),
    def("log.cleaner.max.compaction.lag.ms", Kind::Long, "9223372036854775807", Rule::AtLeast(1),
        default_of!("max.compaction.lag.ms")),
    def("log.cleaner.min.cleanable.ratio", Kind::Double, "0.5", Rule::Between(0, 1),
        default_of!("min.cleanable.dirty.ratio")),
    def("log.cleaner.min.compaction.lag.ms", Kind::Long, "0", Rule::AtLeast(0),
        default_of!("min.compaction.lag.ms")),
    def("log.cleanup.policy", Kind::List, "delete", Rule::OneOf(CLEANUP_POLICIES),
        default_of!("cleanup.policy")),
    unset(LOG_DIR, Kind::List, Rule::Flag("--data"),
        "The data folder, the same as log.dirs."),
    unset(LOG_DIRS, Kind::List, Rule::Flag("--data"),
        "The data folder."),
    def("log.flush.interval.messages", Kind::Long, "9223372036854775807", Rule::AtLeast(1),
        default_of!("flush.messages")),
    unset("log.flush.interval.ms", Kind::Long, Rule::AtLeast(0),
        default_of!("flush.ms")),
    def("log.flush.scheduler.interval.ms", Kind::Long, "9223372036854775807", Rule::AtLeast(0),
        default_of!("flush.ms", "where log.flush.interval.ms is not set")),
    def("log.index.interval.bytes", Kind::Int, "4096", Rule::AtLeast(0),
        default_of!("index.interval.bytes")),
    def("log.index.size.max.bytes", Kind::Int, "10485760", Rule::AtLeast(4),
        default_of!("segment.index.bytes")),
    def("log.local.retention.bytes", Kind::Long, "-2", Rule::AtLeast(-2),
        default_of!("local.retention.bytes")),
    def("log.local.retention.ms", Kind::Long, "-2", Rule::AtLeast(-2),
        default_of!("local.retention.ms")),
    def("log.message.timestamp.after.max.ms", Kind::Long, "3600000", Rule::AtLeast(0),
        default_of!("message.timestamp.after.max.ms")),
    def("log.message.timestamp.before.max.ms", Kind::Long, "9223372036854775807", Rule::AtLeast(0),
        default_of!("message.timestamp.before.max.ms")),
    def("log.message.timestamp.type", Kind::String, "CreateTime", Rule::OneOf(TIMESTAMP_TYPES),
        default_of!("message.timestamp.type")),
    def("log.preallocate", Kind::Boolean, "false", Rule::Any,
        default_of!("preallocate")),
    def("log.remote.copy.lag.bytes", Kind::Long, "-1", Rule::AtLeast(-1),
        default_of!("remote.copy.lag.bytes")),
    def("log.remote.copy.lag.ms", Kind::Long, "0", Rule::AtLeast(-1),
        default_of!("remote.copy.lag.ms")),
    def("log.retention.bytes", Kind::Long, "-1", Rule::Any,
        default_of!("retention.bytes")),
    def(LOG_RETENTION_CHECK_INTERVAL_MS, Kind::Long, "300000", Rule::AtLeast(1),
        "How often partitions look for segments that retention lets go, in milliseconds."),
    def("log.retention.hours", Kind::Int, "168", Rule::NotZero,
        default_of!("retention.ms", "in hours, where neither log.retention.ms nor log.retention.minutes is set")),
    unset("log.retention.minutes", Kind::Int, Rule::NotZero,
        default_of!("retention.ms", "in minutes, where log.retention.ms is not set")),
    unset("log.retention.ms", Kind::Long, Rule::NotZero,
        default_of!("retention.ms", "negative for no limit")),
    def("log.roll.hours", Kind::Int, "168", Rule::AtLeast(1),
        default_of!("segment.ms", "in hours, where log.roll.ms is not set")),
    def("log.roll.jitter.hours", Kind::Int, "0", Rule::AtLeast(0),
        default_of!("segment.jitter.ms", "in hours, where log.roll.jitter.ms is not set")),
    unset("log.roll.jitter.ms", Kind::Long, Rule::AtLeast(0),
        default_of!("segment.jitter.ms")),
    unset("log.roll.ms", Kind::Long, Rule::AtLeast(1),
        default_of!("segment.ms")),
    def("log.segment.bytes", Kind::Int, "1073741824", Rule::AtLeast(1_048_576),
        default_of!("segment.bytes")),
    def("log.segment.delete.delay.ms", Kind::Long, "60000", Rule::AtLeast(0),
        default_of!("file.delete.delay.ms")),
    def(MAX_CONNECTIONS, Kind::Int, "2147483647", Rule::AtLeast(0),
        "How many connections there may be; what comes beyond waits until another one is closed."),
    def(MAX_CONNECTIONS_PER_IP, Kind::Int, "2147483647", Rule::AtLeast(0),
        "How many connections of one address there may be; what comes beyond is closed."),
    def(MAX_CONNECTIONS_PER_IP_OVERRIDES, Kind::String, "", Rule::PerAddress,
        "max.connections.per.ip of single addresses, as address:count,address:count; names of hosts are not looked up."),
    def("max.decompressed.message.bytes", Kind::Int, "2147483639", Rule::Between(1, JAVA_ARRAY_MAX),
        default_of!("max.decompressed.message.bytes")),
    def(MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS, Kind::Int, "1000", Rule::AtLeast(0),
        "How many fetch sessions are kept; consumers without one name all their partitions in every fetch."),
    def(MAX_REQUEST_PARTITION_SIZE_LIMIT, Kind::Int, "2000", Rule::AtLeast(1),
        "The most partitions that one answer of DescribeTopicPartitions holds."),
    def("message.max.bytes", Kind::Int, "1048588", Rule::AtLeast(0),
        default_of!("max.message.bytes")),
    def("min.insync.replicas", Kind::Int, "1", Rule::AtLeast(1),
        default_of!("min.insync.replicas")),
    unset(NODE_ID, Kind::Int, Rule::Flag("--node-id"),
        "This broker's id."),
    def(NUM_PARTITIONS, Kind::Int, "1", Rule::AtLeast(1),
        "How many partitions a topic gets when its creator leaves it to the broker."),
    def(OFFSET_METADATA_MAX_BYTES, Kind::Int, "4096", Rule::AtLeast(0),
        "How long the metadata of a committed offset may be."),
    def(OFFSETS_RETENTION_CHECK_INTERVAL_MS, Kind::Long, "600000", Rule::AtLeast(1),
        "How often committed offsets are looked at for those past their retention, in milliseconds."),
    def(OFFSETS_RETENTION_MINUTES, Kind::Int, "10080", Rule::AtLeast(1),
        "How long a group's committed offsets are kept once it has no members, in minutes."),
    def(OFFSETS_TOPIC_NUM_PARTITIONS, Kind::Int, "50", Rule::AtLeast(1),
        "How many partitions the topic of committed offsets gets when it is made."),
    def(OFFSETS_TOPIC_REPLICATION_FACTOR, Kind::Short, "3", Rule::AtLeast(1),
        "How many replicas the topic of committed offsets gets, where there are as many brokers."),
    def(OFFSETS_TOPIC_SEGMENT_BYTES, Kind::Int, "104857600", Rule::AtLeast(1),
        "segment.bytes of the topic of committed offsets when it is made."),
    def(PRODUCER_ID_EXPIRATION_MS, Kind::Int, "86400000", Rule::AtLeast(1),
        "How long a partition remembers a producer that has stopped writing, in milliseconds."),
    def(QUOTA_WINDOW_NUM, Kind::Int, "11", Rule::AtLeast(1),
        "Over how many windows the rates of clients with quotas are measured, the one that is filling included."),
    def(QUOTA_WINDOW_SIZE_SECONDS, Kind::Int, "1", Rule::AtLeast(1),
        "How long such a window is, in seconds."),
    def(SOCKET_REQUEST_MAX_BYTES, Kind::Int, "104857600", Rule::AtLeast(1),
        "The largest request, in bytes. A connection that announces a larger one is closed."),
    def(TRANSACTION_MAX_TIMEOUT_MS, Kind::Int, "900000", Rule::AtLeast(1),
        "The longest transaction.timeout.ms that a producer may ask for."),
    def("unclean.leader.election.enable", Kind::Boolean, "false", Rule::Any,
        default_of!("unclean.leader.election.enable")),
];
