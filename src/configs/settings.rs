//! Configurations as the broker acts on them: typed, resolved once, cheap to copy and to ask.
//!
//! Resolved again when a topic's values change; never stored. Invariant: every value has passed its check, so resolving
//! does not fail.

use super::{BrokerValues, Value, Values, broker_def, topic_value};
use crate::configs as keys;
use crate::quotas::Windows;
use crate::records::Compression;
use alloc::string::String;
use alloc::vec::Vec;

/// Whose clock stamps records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// `cleanup.policy`. Neither: everything is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanup {
    pub delete: bool,
    pub compact: bool,
}

/// A topic's configurations, resolved: its own values, then the broker's, then the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// `internal.segment.bytes` where it is set, else `segment.bytes`.
    pub segment_bytes: u32,
    pub segment_ms: u64,
    pub segment_jitter_ms: u64,
    pub segment_index_bytes: u32,
    pub index_interval_bytes: u32,
    pub preallocate: bool,
    /// `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// `None`: no limit.
    pub retention_ms: Option<u64>,
    pub file_delete_delay_ms: u64,
    pub cleanup: Cleanup,
    /// The largest batch, in bytes as sent.
    pub max_message_bytes: u32,
    pub max_decompressed_message_bytes: u32,
    pub min_insync_replicas: u32,
    pub unclean_leader_election: bool,
    pub timestamp_type: TimestampType,
    /// How far behind the broker's clock a record may be; `i64::MAX` where it does not matter.
    pub timestamp_before_max_ms: i64,
    /// How far ahead of it.
    pub timestamp_after_max_ms: i64,
    /// What batches are re-encoded in; `None`: they stay as their producer sent them.
    pub compression: Option<Compression>,
    /// `None`: the codec's own default.
    pub compression_gzip_level: Option<u8>,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    /// `min.cleanable.dirty.ratio`, in parts per million.
    pub min_cleanable_dirty_ppm: u32,
    pub delete_retention_ms: u64,
    pub min_compaction_lag_ms: u64,
    pub max_compaction_lag_ms: u64,
    pub flush_messages: u64,
    pub flush_ms: u64,
}

impl TopicSettings {
    /// `overrides` are the topic's own values, `broker` the broker's; both hold only what was set, and was checked.
    pub fn resolve<'a>(overrides: &Values, broker: impl Into<BrokerValues<'a>>) -> TopicSettings {
        let of = Resolver { overrides, broker: broker.into() };
        let segment_bytes = match overrides.get(keys::INTERNAL_SEGMENT_BYTES) {
            Some(_) => of.int(keys::INTERNAL_SEGMENT_BYTES),
            None => of.int(keys::SEGMENT_BYTES),
        };
        let policies = of.list(keys::CLEANUP_POLICY);
        let has = |policy: &str| policies.iter().any(|entry| entry == policy);
        TopicSettings {
            segment_bytes,
            segment_ms: of.long(keys::SEGMENT_MS),
            segment_jitter_ms: of.long(keys::SEGMENT_JITTER_MS),
            segment_index_bytes: of.int(keys::SEGMENT_INDEX_BYTES),
            index_interval_bytes: of.int(keys::INDEX_INTERVAL_BYTES),
            preallocate: of.flag(keys::PREALLOCATE),
            retention_bytes: u64::try_from(of.number(keys::RETENTION_BYTES)).ok(),
            retention_ms: u64::try_from(of.number(keys::RETENTION_MS)).ok(),
            file_delete_delay_ms: of.long(keys::FILE_DELETE_DELAY_MS),
            cleanup: Cleanup { delete: has("delete"), compact: has("compact") },
            max_message_bytes: of.int(keys::MAX_MESSAGE_BYTES),
            max_decompressed_message_bytes: of.int(keys::MAX_DECOMPRESSED_MESSAGE_BYTES),
            min_insync_replicas: of.int(keys::MIN_INSYNC_REPLICAS),
            unclean_leader_election: of.flag(keys::UNCLEAN_LEADER_ELECTION_ENABLE),
            timestamp_type: of.timestamp_type(),
            timestamp_before_max_ms: of.number(keys::MESSAGE_TIMESTAMP_BEFORE_MAX_MS),
            timestamp_after_max_ms: of.number(keys::MESSAGE_TIMESTAMP_AFTER_MAX_MS),
            compression: of.compression(),
            compression_gzip_level: u8::try_from(of.number(keys::COMPRESSION_GZIP_LEVEL)).ok(),
            compression_lz4_level: of.number(keys::COMPRESSION_LZ4_LEVEL) as i32,
            compression_zstd_level: of.number(keys::COMPRESSION_ZSTD_LEVEL) as i32,
            min_cleanable_dirty_ppm: of.ppm(keys::MIN_CLEANABLE_DIRTY_RATIO),
            delete_retention_ms: of.long(keys::DELETE_RETENTION_MS),
            min_compaction_lag_ms: of.long(keys::MIN_COMPACTION_LAG_MS),
            max_compaction_lag_ms: of.long(keys::MAX_COMPACTION_LAG_MS),
            flush_messages: of.long(keys::FLUSH_MESSAGES),
            flush_ms: of.long(keys::FLUSH_MS),
        }
    }
}

impl TopicSettings {
    /// After how many milliseconds a segment rolls: as in Kafka, what must be compacted may not stay in the active one.
    pub fn segment_ms_max(&self) -> u64 {
        if self.cleanup.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }
}

/// Reads a topic's effective values by type. Each panic names a value that passed its check and should not have.
struct Resolver<'a> {
    overrides: &'a Values,
    broker: BrokerValues<'a>,
}

impl Resolver<'_> {
    fn value(&self, name: &str) -> Value {
        let value = topic_value(name, self.overrides, self.broker);
        value.unwrap_or_else(|| panic!("{name} has neither value nor default"))
    }

    fn number(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Number(number) => number,
            other => panic!("{name} is {other:?}, not a number"),
        }
    }

    fn long(&self, name: &str) -> u64 {
        let number = self.number(name);
        u64::try_from(number).unwrap_or_else(|_| panic!("{name} is {number}, below its range"))
    }

    fn int(&self, name: &str) -> u32 {
        let number = self.number(name);
        u32::try_from(number).unwrap_or_else(|_| panic!("{name} is {number}, out of its range"))
    }

    fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Boolean(flag) => flag,
            other => panic!("{name} is {other:?}, not a boolean"),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::List(entries) => entries,
            other => panic!("{name} is {other:?}, not a list"),
        }
    }

    fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(text) => text,
            other => panic!("{name} is {other:?}, not a text"),
        }
    }

    fn ppm(&self, name: &str) -> u32 {
        match self.value(name) {
            Value::Double(ratio) => (ratio * 1e6) as u32,
            other => panic!("{name} is {other:?}, not a ratio"),
        }
    }

    fn timestamp_type(&self) -> TimestampType {
        match self.text(keys::MESSAGE_TIMESTAMP_TYPE).as_str() {
            "CreateTime" => TimestampType::CreateTime,
            "LogAppendTime" => TimestampType::LogAppendTime,
            other => panic!("{} is {other}", keys::MESSAGE_TIMESTAMP_TYPE),
        }
    }

    fn compression(&self) -> Option<Compression> {
        match self.text(keys::COMPRESSION_TYPE).as_str() {
            "producer" => None,
            "uncompressed" => Some(Compression::None),
            "gzip" => Some(Compression::Gzip),
            "snappy" => Some(Compression::Snappy),
            "lz4" => Some(Compression::Lz4),
            "zstd" => Some(Compression::Zstd),
            other => panic!("{} is {other}", keys::COMPRESSION_TYPE),
        }
    }
}

/// The broker's own configurations, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    pub auto_create_topics: bool,
    pub delete_topics: bool,
    /// Partitions of a topic whose creator leaves it to us.
    pub num_partitions: i32,
    /// Replicas of a topic whose creator leaves it to us.
    pub default_replication_factor: i16,
    pub offsets_topic_num_partitions: i32,
    pub offsets_topic_replication_factor: i16,
    /// `None`: connections may idle for ever.
    pub connections_max_idle_ms: Option<u64>,
    /// `max.connections`, `max.connections.per.ip`.
    pub connections_max: u32,
    pub connections_per_ip_max: u32,
    /// Of quotas, and of `controller_mutation_rate`.
    pub quota_windows: Windows,
    pub controller_quota_windows: Windows,
    pub socket_request_max_bytes: u32,
    pub fetch_max_bytes: u32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// Partitions in one answer of DescribeTopicPartitions.
    pub max_request_partition_size_limit: i32,
    pub retention_check_interval_ms: u64,
    /// `log.cleaner.backoff.ms`.
    pub log_cleaner_backoff_ms: u64,
    pub producer_id_expiration_ms: u64,
    pub transaction_max_timeout_ms: i32,
    pub group_initial_rebalance_delay_ms: u64,
    pub group_max_session_timeout_ms: i32,
    pub group_max_size: i32,
    pub group_min_session_timeout_ms: i32,
    /// Bytes of the metadata of one committed offset.
    pub offset_metadata_max_bytes: i32,
    pub offsets_retention_check_interval_ms: u64,
    pub offsets_retention_ms: i64,
    pub offsets_topic_segment_bytes: i32,
}

impl BrokerSettings {
    /// `broker` holds only what was set, and was checked.
    pub fn resolve<'a>(broker: impl Into<BrokerValues<'a>>) -> BrokerSettings {
        let broker = broker.into();
        let number = |name: &str| match broker_value(name, broker) {
            Value::Number(number) => number,
            other => panic!("{name} is {other:?}, not a number"),
        };
        let flag = |name: &str| match broker_value(name, broker) {
            Value::Boolean(flag) => flag,
            other => panic!("{name} is {other:?}, not a boolean"),
        };
        let windows = |count: &str, seconds: &str| Windows {
            count: number(count) as u32,
            size_ms: number(seconds) as u64 * 1000,
        };
        BrokerSettings {
            auto_create_topics: flag(keys::AUTO_CREATE_TOPICS_ENABLE),
            delete_topics: flag(keys::DELETE_TOPIC_ENABLE),
            num_partitions: number(keys::NUM_PARTITIONS) as i32,
            default_replication_factor: number(keys::DEFAULT_REPLICATION_FACTOR) as i16,
            offsets_topic_num_partitions: number(keys::OFFSETS_TOPIC_NUM_PARTITIONS) as i32,
            offsets_topic_replication_factor: number(keys::OFFSETS_TOPIC_REPLICATION_FACTOR) as i16,
            connections_max_idle_ms: u64::try_from(number(keys::CONNECTIONS_MAX_IDLE_MS)).ok(),
            connections_max: number(keys::MAX_CONNECTIONS) as u32,
            connections_per_ip_max: number(keys::MAX_CONNECTIONS_PER_IP) as u32,
            quota_windows: windows(keys::QUOTA_WINDOW_NUM, keys::QUOTA_WINDOW_SIZE_SECONDS),
            controller_quota_windows: windows(
                keys::CONTROLLER_QUOTA_WINDOW_NUM,
                keys::CONTROLLER_QUOTA_WINDOW_SIZE_SECONDS,
            ),
            socket_request_max_bytes: number(keys::SOCKET_REQUEST_MAX_BYTES) as u32,
            fetch_max_bytes: number(keys::FETCH_MAX_BYTES) as u32,
            fetch_sessions_max: number(keys::MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS) as usize,
            max_request_partition_size_limit: number(keys::MAX_REQUEST_PARTITION_SIZE_LIMIT) as i32,
            retention_check_interval_ms: number(keys::LOG_RETENTION_CHECK_INTERVAL_MS) as u64,
            log_cleaner_backoff_ms: number(keys::LOG_CLEANER_BACKOFF_MS) as u64,
            producer_id_expiration_ms: number(keys::PRODUCER_ID_EXPIRATION_MS) as u64,
            transaction_max_timeout_ms: number(keys::TRANSACTION_MAX_TIMEOUT_MS) as i32,
            group_initial_rebalance_delay_ms: number(keys::GROUP_INITIAL_REBALANCE_DELAY_MS) as u64,
            group_max_session_timeout_ms: number(keys::GROUP_MAX_SESSION_TIMEOUT_MS) as i32,
            group_max_size: number(keys::GROUP_MAX_SIZE) as i32,
            group_min_session_timeout_ms: number(keys::GROUP_MIN_SESSION_TIMEOUT_MS) as i32,
            offset_metadata_max_bytes: number(keys::OFFSET_METADATA_MAX_BYTES) as i32,
            offsets_retention_check_interval_ms: number(keys::OFFSETS_RETENTION_CHECK_INTERVAL_MS) as u64,
            offsets_retention_ms: number(keys::OFFSETS_RETENTION_MINUTES) * 60_000,
            offsets_topic_segment_bytes: number(keys::OFFSETS_TOPIC_SEGMENT_BYTES) as i32,
        }
    }
}

fn broker_value(name: &str, broker: BrokerValues<'_>) -> Value {
    let def = broker_def(name).unwrap_or_else(|| panic!("{name} is not a broker configuration"));
    let text = broker.get(name).map(|(text, _)| text).or(def.default);
    def.must_read(text.unwrap_or_else(|| panic!("{name} has neither value nor default")))
}
