//! Every topic configuration of Apache Kafka 4.4, with Kafka's types, defaults and ranges.
//!
//! Defaults are written twice on purpose, here and in the broker's table: a test holds them to each other. The
//! documentation says what *this* broker does with a key. Invariant: sorted by name, each name once.

use super::def::{Def, Kind, Rule, Synonym};

pub const CLEANUP_POLICY: &str = "cleanup.policy";
pub const COMPRESSION_GZIP_LEVEL: &str = "compression.gzip.level";
pub const COMPRESSION_LZ4_LEVEL: &str = "compression.lz4.level";
pub const COMPRESSION_TYPE: &str = "compression.type";
pub const COMPRESSION_ZSTD_LEVEL: &str = "compression.zstd.level";
pub const DELETE_RETENTION_MS: &str = "delete.retention.ms";
pub const FILE_DELETE_DELAY_MS: &str = "file.delete.delay.ms";
pub const FLUSH_MESSAGES: &str = "flush.messages";
pub const FLUSH_MS: &str = "flush.ms";
pub const INDEX_INTERVAL_BYTES: &str = "index.interval.bytes";
pub const INTERNAL_SEGMENT_BYTES: &str = "internal.segment.bytes";
pub const MAX_COMPACTION_LAG_MS: &str = "max.compaction.lag.ms";
pub const MAX_DECOMPRESSED_MESSAGE_BYTES: &str = "max.decompressed.message.bytes";
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub const MESSAGE_TIMESTAMP_AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";
pub const MESSAGE_TIMESTAMP_BEFORE_MAX_MS: &str = "message.timestamp.before.max.ms";
pub const MESSAGE_TIMESTAMP_TYPE: &str = "message.timestamp.type";
pub const MIN_CLEANABLE_DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
pub const MIN_COMPACTION_LAG_MS: &str = "min.compaction.lag.ms";
pub const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub const PREALLOCATE: &str = "preallocate";
pub const REMOTE_STORAGE_ENABLE: &str = "remote.storage.enable";
pub const RETENTION_BYTES: &str = "retention.bytes";
pub const RETENTION_MS: &str = "retention.ms";
pub const SEGMENT_BYTES: &str = "segment.bytes";
pub const SEGMENT_INDEX_BYTES: &str = "segment.index.bytes";
pub const SEGMENT_JITTER_MS: &str = "segment.jitter.ms";
pub const SEGMENT_MS: &str = "segment.ms";
pub const UNCLEAN_LEADER_ELECTION_ENABLE: &str = "unclean.leader.election.enable";

pub(super) const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];
pub(super) const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
pub(super) const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
/// The largest array a Java virtual machine makes; Kafka's bound of a decompressed batch.
pub(super) const JAVA_ARRAY_MAX: i64 = 2_147_483_639;

const fn def(name: &'static str, kind: Kind, default: &'static str, rule: Rule, docs: &'static str) -> Def {
    Def { name, kind, default: Some(default), rule, synonyms: &[], internal: false, docs }
}

impl Def {
    const fn from(self, synonyms: &'static [Synonym]) -> Def {
        Def { synonyms, ..self }
    }
}

const fn same(name: &'static str) -> Synonym {
    Synonym { name, scale: 1 }
}

const fn scaled(name: &'static str, scale: i64) -> Synonym {
    Synonym { name, scale }
}

/// The table.
pub static TOPIC: &[Def] = &[
    def(
        CLEANUP_POLICY,
        Kind::List,
        "delete",
        Rule::OneOf(CLEANUP_POLICIES),
        "What becomes of old records: delete removes segments past retention.ms or retention.bytes, compact keeps the \
         last record of each key. Both may be given; none keeps everything.",
    )
    .from(&[same("log.cleanup.policy")]),
    def(
        COMPRESSION_GZIP_LEVEL,
        Kind::Int,
        "-1",
        Rule::BetweenOr(1, 9, -1),
        "Level for gzip where the broker compresses: see compression.type.",
    )
    .from(&[same(COMPRESSION_GZIP_LEVEL)]),
    def(
        COMPRESSION_LZ4_LEVEL,
        Kind::Int,
        "9",
        Rule::Between(1, 17),
        "Stored and reported: the broker's lz4 has one level.",
    )
    .from(&[same(COMPRESSION_LZ4_LEVEL)]),
    def(
        COMPRESSION_TYPE,
        Kind::String,
        "producer",
        Rule::OneOf(COMPRESSION_TYPES),
        "The codec of stored batches. producer keeps each batch as its producer sent it; otherwise a batch in another codec \
         is re-encoded, unless it takes more than a sixteenth of the shard's memory when decompressed.",
    )
    .from(&[same(COMPRESSION_TYPE)]),
    def(
        COMPRESSION_ZSTD_LEVEL,
        Kind::Int,
        "3",
        Rule::Between(-131_072, 22),
        "Stored and reported: the broker's zstd has one level, a fast one.",
    )
    .from(&[same(COMPRESSION_ZSTD_LEVEL)]),
    def(
        DELETE_RETENTION_MS,
        Kind::Long,
        "86400000",
        Rule::AtLeast(0),
        "How long a tombstone of a compacted topic outlives its compaction, in milliseconds: a reader that starts at \
         offset 0 must finish within it to see every deletion.",
    )
    .from(&[same("log.cleaner.delete.retention.ms")]),
    def(
        "errors.deadletterqueue.group.enable",
        Kind::Boolean,
        "false",
        Rule::Any,
        "Whether the topic may take the rejected records of share groups. Stored and reported.",
    ),
    def(
        FILE_DELETE_DELAY_MS,
        Kind::Long,
        "60000",
        Rule::AtLeast(0),
        "How long a segment that is no longer needed stays on disk, in milliseconds.",
    )
    .from(&[same("log.segment.delete.delay.ms")]),
    def(
        FLUSH_MESSAGES,
        Kind::Long,
        "9223372036854775807",
        Rule::AtLeast(1),
        "After how many records Kafka syncs a log. Stored and reported: here every record is durable before it is \
         acknowledged.",
    )
    .from(&[same("log.flush.interval.messages")]),
    def(
        FLUSH_MS,
        Kind::Long,
        "9223372036854775807",
        Rule::AtLeast(0),
        "After how many milliseconds Kafka syncs a log. Stored and reported: here every record is durable before it \
         is acknowledged.",
    )
    .from(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")]),
    def(
        "follower.replication.throttled.replicas",
        Kind::List,
        "",
        Rule::Replicas,
        "Replicas whose fetching is throttled while they follow: partition:broker pairs, or * for all. Stored and \
         reported.",
    ),
    def(
        INDEX_INTERVAL_BYTES,
        Kind::Int,
        "4096",
        Rule::AtLeast(0),
        "How many bytes of a segment lie between two entries of its offset index.",
    )
    .from(&[same("log.index.interval.bytes")]),
    Def {
        name: INTERNAL_SEGMENT_BYTES,
        kind: Kind::Int,
        default: None,
        rule: Rule::AtLeast(1),
        synonyms: &[],
        internal: true,
        docs: "The size of a segment in bytes, for tests that need it smaller than segment.bytes may be.",
    },
    def(
        "leader.replication.throttled.replicas",
        Kind::List,
        "",
        Rule::Replicas,
        "Replicas whose fetching is throttled while they lead: partition:broker pairs, or * for all. Stored and \
         reported.",
    ),
    def(
        "local.retention.bytes",
        Kind::Long,
        "-2",
        Rule::AtLeast(-2),
        "Bytes kept on local disk where a topic is tiered; -2 means retention.bytes. Stored and reported.",
    )
    .from(&[same("log.local.retention.bytes")]),
    def(
        "local.retention.ms",
        Kind::Long,
        "-2",
        Rule::AtLeast(-2),
        "Milliseconds kept on local disk where a topic is tiered; -2 means retention.ms. Stored and reported.",
    )
    .from(&[same("log.local.retention.ms")]),
    def(
        MAX_COMPACTION_LAG_MS,
        Kind::Long,
        "9223372036854775807",
        Rule::AtLeast(1),
        "The longest time a record of a compacted topic stays out of compaction, in milliseconds.",
    )
    .from(&[same("log.cleaner.max.compaction.lag.ms")]),
    def(
        MAX_DECOMPRESSED_MESSAGE_BYTES,
        Kind::Int,
        "2147483639",
        Rule::Between(1, JAVA_ARRAY_MAX),
        "The largest batch after decompression, in bytes. Stored and reported.",
    )
    .from(&[same(MAX_DECOMPRESSED_MESSAGE_BYTES)]),
    def(
        MAX_MESSAGE_BYTES,
        Kind::Int,
        "1048588",
        Rule::AtLeast(0),
        "The largest batch that is accepted, in bytes as sent (after compression).",
    )
    .from(&[same("message.max.bytes")]),
    def(
        MESSAGE_TIMESTAMP_AFTER_MAX_MS,
        Kind::Long,
        "3600000",
        Rule::AtLeast(0),
        "How far ahead of the broker's clock a record's own time may be, in milliseconds (CreateTime only).",
    )
    .from(&[same("log.message.timestamp.after.max.ms")]),
    def(
        MESSAGE_TIMESTAMP_BEFORE_MAX_MS,
        Kind::Long,
        "9223372036854775807",
        Rule::AtLeast(0),
        "How far behind the broker's clock a record's own time may be, in milliseconds (CreateTime only).",
    )
    .from(&[same("log.message.timestamp.before.max.ms")]),
    def(
        MESSAGE_TIMESTAMP_TYPE,
        Kind::String,
        "CreateTime",
        Rule::OneOf(TIMESTAMP_TYPES),
        "Whose clock stamps a record: its producer's (CreateTime) or the broker's (LogAppendTime).",
    )
    .from(&[same("log.message.timestamp.type")]),
    def(
        MIN_CLEANABLE_DIRTY_RATIO,
        Kind::Double,
        "0.5",
        Rule::Between(0, 1),
        "Which share of a compacted log must be uncompacted before it is compacted again.",
    )
    .from(&[same("log.cleaner.min.cleanable.ratio")]),
    def(
        MIN_COMPACTION_LAG_MS,
        Kind::Long,
        "0",
        Rule::AtLeast(0),
        "How long a record of a compacted topic stays as it is at least, in milliseconds.",
    )
    .from(&[same("log.cleaner.min.compaction.lag.ms")]),
    def(
        MIN_INSYNC_REPLICAS,
        Kind::Int,
        "1",
        Rule::AtLeast(1),
        "How many replicas must hold a record durably before acks=all is answered, where that is more than a majority.",
    )
    .from(&[same(MIN_INSYNC_REPLICAS)]),
    def(PREALLOCATE, Kind::Boolean, "false", Rule::Any, "Whether a new segment's space is taken at once.")
        .from(&[same("log.preallocate")]),
    def(
        "remote.copy.lag.bytes",
        Kind::Long,
        "-1",
        Rule::AtLeast(-1),
        "How many bytes may wait before they are copied to the remote tier; -1 means local.retention.bytes. Stored \
         and reported.",
    )
    .from(&[same("log.remote.copy.lag.bytes")]),
    def(
        "remote.copy.lag.ms",
        Kind::Long,
        "0",
        Rule::AtLeast(-1),
        "How long a segment may wait before it is copied to the remote tier, in milliseconds; -1 means \
         local.retention.ms. Stored and reported.",
    )
    .from(&[same("log.remote.copy.lag.ms")]),
    def(
        "remote.log.copy.disable",
        Kind::Boolean,
        "false",
        Rule::Any,
        "Whether a tiered topic's remote part is only read. Stored and reported.",
    ),
    def(
        "remote.log.delete.on.disable",
        Kind::Boolean,
        "false",
        Rule::Any,
        "Whether a topic's remote part is deleted when tiering is switched off. Stored and reported.",
    ),
    def(
        REMOTE_STORAGE_ENABLE,
        Kind::Boolean,
        "false",
        Rule::Any,
        "Whether the topic is tiered. true is refused: this broker has no remote tier.",
    ),
    def(
        RETENTION_BYTES,
        Kind::Long,
        "-1",
        Rule::Any,
        "How many bytes a partition keeps before its oldest segments are deleted; negative means no limit.",
    )
    .from(&[same("log.retention.bytes")]),
    def(
        RETENTION_MS,
        Kind::Long,
        "604800000",
        Rule::AtLeast(-1),
        "How long a partition keeps its records, in milliseconds; -1 means no limit.",
    )
    .from(&[
        same("log.retention.ms"),
        scaled("log.retention.minutes", MINUTE_MS),
        scaled("log.retention.hours", HOUR_MS),
    ]),
    def(
        SEGMENT_BYTES,
        Kind::Int,
        "1073741824",
        Rule::AtLeast(1_048_576),
        "The size at which a partition begins a new segment, in bytes. Retention removes whole segments.",
    )
    .from(&[same("log.segment.bytes")]),
    def(
        SEGMENT_INDEX_BYTES,
        Kind::Int,
        "10485760",
        Rule::AtLeast(4),
        "The largest offset index of a segment, in bytes.",
    )
    .from(&[same("log.index.size.max.bytes")]),
    def(
        SEGMENT_JITTER_MS,
        Kind::Long,
        "0",
        Rule::AtLeast(0),
        "Up to how many milliseconds earlier than segment.ms a segment may end, so that not all end at once.",
    )
    .from(&[same("log.roll.jitter.ms"), scaled("log.roll.jitter.hours", HOUR_MS)]),
    def(
        SEGMENT_MS,
        Kind::Long,
        "604800000",
        Rule::AtLeast(1),
        "The age at which a partition begins a new segment, in milliseconds.",
    )
    .from(&[same("log.roll.ms"), scaled("log.roll.hours", HOUR_MS)]),
    def(
        UNCLEAN_LEADER_ELECTION_ENABLE,
        Kind::Boolean,
        "false",
        Rule::Any,
        "Whether a replica without the committed records may lead. Stored and reported: here a majority decides, and \
         nothing committed is lost silently.",
    )
    .from(&[same(UNCLEAN_LEADER_ELECTION_ENABLE)]),
];
