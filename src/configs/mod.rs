//! Configurations of topics and of the broker: names, types, defaults, ranges, and what they come to.
//!
//! ```text
//!   topic's own value                "retention.ms"           DYNAMIC_TOPIC_CONFIG
//!     else this broker's, altered    "log.retention.ms"       DYNAMIC_BROKER_CONFIG
//!     else every broker's, altered   "log.retention.ms"       DYNAMIC_DEFAULT_BROKER_CONFIG
//!     else the broker's file         "log.retention.ms"       STATIC_BROKER_CONFIG
//!                                    "log.retention.minutes"     (x 60,000)
//!                                    "log.retention.hours"       (x 3,600,000)
//!     else the default               "604800000"              DEFAULT_CONFIG
//! ```
//!
//! Names, types, defaults, ranges and messages are those of an Apache Kafka 4.4.0 broker (`LogConfig`, `KafkaConfig`,
//! `ServerTopicConfigSynonyms`), compared with what it answers. Values are checked when they enter ([`check_topic`],
//! [`check_topic_all`], [`check_broker`]) and kept as they were written; whoever acts on them resolves them once
//! ([`TopicSettings`], [`BrokerSettings`]). Nothing here is ever written or read by itself: the metadata log keeps
//! what was altered while it runs, of topics and of brokers ([`layers`]); the driver reads the broker's file.

mod broker;
mod def;
pub mod layers;
mod settings;
mod topic;

pub use broker::{
    ADVERTISED_LISTENERS, AUTO_CREATE_TOPICS_ENABLE, BROKER, BROKER_ID, CONNECTIONS_MAX_IDLE_MS,
    CONTROLLER_QUOTA_WINDOW_NUM, CONTROLLER_QUOTA_WINDOW_SIZE_SECONDS, DEFAULT_REPLICATION_FACTOR, DELETE_TOPIC_ENABLE,
    FETCH_MAX_BYTES, GROUP_INITIAL_REBALANCE_DELAY_MS, GROUP_MAX_SESSION_TIMEOUT_MS, GROUP_MAX_SIZE,
    GROUP_MIN_SESSION_TIMEOUT_MS, LISTENERS, LOG_CLEANER_BACKOFF_MS, LOG_DIR, LOG_DIRS,
    LOG_RETENTION_CHECK_INTERVAL_MS, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_IP, MAX_CONNECTIONS_PER_IP_OVERRIDES,
    MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS, MAX_REQUEST_PARTITION_SIZE_LIMIT, NODE_ID, NUM_PARTITIONS,
    OFFSET_METADATA_MAX_BYTES, OFFSETS_RETENTION_CHECK_INTERVAL_MS, OFFSETS_RETENTION_MINUTES,
    OFFSETS_TOPIC_NUM_PARTITIONS, OFFSETS_TOPIC_REPLICATION_FACTOR, OFFSETS_TOPIC_SEGMENT_BYTES,
    PRODUCER_ID_EXPIRATION_MS, QUOTA_WINDOW_NUM, QUOTA_WINDOW_SIZE_SECONDS, SOCKET_REQUEST_MAX_BYTES,
    TRANSACTION_MAX_TIMEOUT_MS,
};
pub use def::{Def, Kind, Rule, Synonym, Value, address_counts};
pub use layers::BrokerValues;
pub use settings::{BrokerSettings, Cleanup, TimestampType, TopicSettings};
pub use topic::*;

use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

/// Values by name, as they were written.
pub type Values = BTreeMap<String, String>;

/// Where a value comes from. The numbers are those of DescribeConfigs' `ConfigSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic.
    DynamicTopic = 1,
    /// Altered at run time, for this broker.
    DynamicBroker = 2,
    /// Altered at run time, for every broker.
    DynamicDefaultBroker = 3,
    /// Set in the broker's configuration file.
    StaticBroker = 4,
    Default = 5,
}

/// What a configuration comes to, in the spelling that DescribeConfigs shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// `None` where nothing is set and there is no default.
    pub value: Option<Cow<'static, str>>,
    pub source: Source,
}

pub fn topic_def(name: &str) -> Option<&'static Def> {
    TOPIC.binary_search_by(|def| def.name.cmp(name)).ok().map(|place| &TOPIC[place])
}

pub fn broker_def(name: &str) -> Option<&'static Def> {
    BROKER.binary_search_by(|def| def.name.cmp(name)).ok().map(|place| &BROKER[place])
}

/// Checks one topic configuration by itself. The error is Kafka's message for INVALID_CONFIG.
pub fn check_topic(name: &str, value: &str) -> Result<(), String> {
    let def = topic_def(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    def.read(value).map(|_| ())
}

/// Checks a topic's configurations together: names, then values, then what they mean side by side.
pub fn check_topic_all<'a>(values: &Values, broker: impl Into<BrokerValues<'a>>) -> Result<(), String> {
    let broker = broker.into();
    for name in values.keys() {
        topic_def(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    }
    for (name, value) in values {
        check_topic(name, value)?;
    }
    let settings = TopicSettings::resolve(values, broker);
    let (least, most) = (settings.min_compaction_lag_ms, settings.max_compaction_lag_ms);
    if least > most {
        return Err(format!(
            "conflict topic config setting {MIN_COMPACTION_LAG_MS} ({least}) > {MAX_COMPACTION_LAG_MS} ({most})"
        ));
    }
    if topic_value(REMOTE_STORAGE_ENABLE, values, broker) == Some(Value::Boolean(true)) {
        return Err("Tiered Storage functionality is disabled in the broker. \
                    Topic cannot be configured with remote log storage."
            .to_owned());
    }
    Ok(())
}

/// Checks one broker configuration, as a configuration file has it. Keys that the command line tells (`listeners`,
/// `log.dirs`, ...) are refused with the flag's name.
pub fn check_broker(name: &str, value: &str) -> Result<(), String> {
    let def = broker_def(name).ok_or_else(|| format!("Unknown broker config name: {name}"))?;
    def.read(value).map(|_| ())
}

/// Whether the broker configuration can be altered while the broker runs. As in Kafka: whatever gives topics their
/// defaults, in its finest unit, how long producers are remembered, how many connections there may be, and how
/// often the cleaner looks.
pub fn is_dynamic(name: &str) -> bool {
    let gives_default = |def: &Def| def.synonyms.first().is_some_and(|synonym| synonym.name == name);
    let own = [
        PRODUCER_ID_EXPIRATION_MS,
        LOG_CLEANER_BACKOFF_MS,
        MAX_CONNECTIONS,
        MAX_CONNECTIONS_PER_IP,
        MAX_CONNECTIONS_PER_IP_OVERRIDES,
    ];
    own.contains(&name) || TOPIC.iter().any(gives_default)
}

/// What the topic configuration `name` comes to. Panics where there is no such configuration.
pub fn topic<'a>(name: &str, values: &Values, broker: impl Into<BrokerValues<'a>>) -> Effective {
    let def = topic_def(name).unwrap_or_else(|| panic!("{name} is not a topic configuration"));
    match set(def, values, broker.into()) {
        Some((value, source)) => Effective { value: Some(Cow::Owned(value.to_string())), source },
        None => Effective { value: def.default.map(Cow::Borrowed), source: Source::Default },
    }
}

/// The same as a value; `None` where there is not even a default.
fn topic_value(name: &str, values: &Values, broker: BrokerValues<'_>) -> Option<Value> {
    let def = topic_def(name).unwrap_or_else(|| panic!("{name} is not a topic configuration"));
    let set = set(def, values, broker).map(|(value, _)| value);
    set.or_else(|| def.default.map(|text| def.must_read(text)))
}

/// What the topic or the broker sets; the topic wins, then the broker's synonyms in their order.
fn set(def: &Def, values: &Values, broker: BrokerValues<'_>) -> Option<(Value, Source)> {
    if let Some(text) = values.get(def.name) {
        return Some((def.must_read(text), Source::DynamicTopic));
    }
    let of_broker = |synonym: &Synonym| broker.get(synonym.name).map(|(text, source)| (scaled(*synonym, text), source));
    def.synonyms.iter().find_map(of_broker)
}

/// A broker's value in the unit of the topic's. Negative times mean "no limit", which topics write as -1.
fn scaled(synonym: Synonym, text: &str) -> Value {
    let def = broker_def(synonym.name).unwrap_or_else(|| panic!("{} is not a broker configuration", synonym.name));
    match def.must_read(text) {
        Value::Number(number) if def.rule == Rule::NotZero && number < 0 => Value::Number(-1),
        Value::Number(number) => Value::Number(number.saturating_mul(synonym.scale)),
        value @ (Value::Boolean(_) | Value::Text(_) | Value::Double(_) | Value::List(_)) => value,
    }
}

/// What the broker configuration `name` comes to. Panics where there is no such configuration.
pub fn broker<'a>(name: &str, broker: impl Into<BrokerValues<'a>>) -> Effective {
    let def = broker_def(name).unwrap_or_else(|| panic!("{name} is not a broker configuration"));
    match broker.into().get(name) {
        Some((text, source)) => Effective { value: Some(Cow::Owned(shown(def, text))), source },
        None => Effective { value: def.default.map(Cow::Borrowed), source: Source::Default },
    }
}

/// What the command line tells needs no check: it is shown as it is.
pub(crate) fn shown(def: &Def, text: &str) -> String {
    match def.rule {
        Rule::Flag(_) => text.to_owned(),
        Rule::Any
        | Rule::AtLeast(_)
        | Rule::Between(..)
        | Rule::BetweenOr(..)
        | Rule::NotZero
        | Rule::OneOf(_)
        | Rule::Replicas
        | Rule::PerAddress => def.canonical(text),
    }
}
