//! Configurations: the tables against Kafka's, values in and out, what they come to.

use highwater::configs::{
    self, BROKER, BrokerSettings, Cleanup, Def, Rule, Source, TOPIC, TimestampType, TopicSettings, Values,
    check_broker, check_topic, check_topic_all,
};
use highwater::quotas::Windows;

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn topic(overrides: &[(&str, &str)], broker: &[(&str, &str)]) -> TopicSettings {
    TopicSettings::resolve(&values(overrides), &values(broker))
}

/// Every topic configuration of Kafka 4.4.0, with its type and default.
const KAFKA_TOPIC: &str = "\
cleanup.policy LIST delete
compression.gzip.level INT -1
compression.lz4.level INT 9
compression.type STRING producer
compression.zstd.level INT 3
delete.retention.ms LONG 86400000
errors.deadletterqueue.group.enable BOOLEAN false
file.delete.delay.ms LONG 60000
flush.messages LONG 9223372036854775807
flush.ms LONG 9223372036854775807
follower.replication.throttled.replicas LIST
index.interval.bytes INT 4096
leader.replication.throttled.replicas LIST
local.retention.bytes LONG -2
local.retention.ms LONG -2
max.compaction.lag.ms LONG 9223372036854775807
max.decompressed.message.bytes INT 2147483639
max.message.bytes INT 1048588
message.timestamp.after.max.ms LONG 3600000
message.timestamp.before.max.ms LONG 9223372036854775807
message.timestamp.type STRING CreateTime
min.cleanable.dirty.ratio DOUBLE 0.5
min.compaction.lag.ms LONG 0
min.insync.replicas INT 1
preallocate BOOLEAN false
remote.copy.lag.bytes LONG -1
remote.copy.lag.ms LONG 0
remote.log.copy.disable BOOLEAN false
remote.log.delete.on.disable BOOLEAN false
remote.storage.enable BOOLEAN false
retention.bytes LONG -1
retention.ms LONG 604800000
segment.bytes INT 1073741824
segment.index.bytes INT 10485760
segment.jitter.ms LONG 0
segment.ms LONG 604800000
unclean.leader.election.enable BOOLEAN false";

#[test]
fn topics_have_every_configuration_of_kafka_with_its_type_and_default() {
    let row = |def: &Def| {
        let kind = format!("{:?}", def.kind).to_uppercase();
        format!("{} {kind} {}", def.name, def.default.unwrap()).trim_end().to_string()
    };
    let ours: Vec<String> = TOPIC.iter().filter(|def| !def.internal).map(row).collect();
    assert_eq!(ours, KAFKA_TOPIC.lines().collect::<Vec<_>>());
}

/// Type and default, in Kafka 4.4.0, of every broker configuration that a file may set here.
const KAFKA_BROKER: &str = "\
auto.create.topics.enable BOOLEAN true
compression.gzip.level INT -1
compression.lz4.level INT 9
compression.type STRING producer
compression.zstd.level INT 3
connections.max.idle.ms LONG 600000
controller.quota.window.num INT 11
controller.quota.window.size.seconds INT 1
default.replication.factor INT 1
delete.topic.enable BOOLEAN true
fetch.max.bytes INT 57671680
group.initial.rebalance.delay.ms INT 3000
group.max.session.timeout.ms INT 1800000
group.max.size INT 2147483647
group.min.session.timeout.ms INT 6000
log.cleaner.backoff.ms LONG 15000
log.cleaner.delete.retention.ms LONG 86400000
log.cleaner.max.compaction.lag.ms LONG 9223372036854775807
log.cleaner.min.cleanable.ratio DOUBLE 0.5
log.cleaner.min.compaction.lag.ms LONG 0
log.cleanup.policy LIST delete
log.flush.interval.messages LONG 9223372036854775807
log.flush.interval.ms LONG null
log.flush.scheduler.interval.ms LONG 9223372036854775807
log.index.interval.bytes INT 4096
log.index.size.max.bytes INT 10485760
log.local.retention.bytes LONG -2
log.local.retention.ms LONG -2
log.message.timestamp.after.max.ms LONG 3600000
log.message.timestamp.before.max.ms LONG 9223372036854775807
log.message.timestamp.type STRING CreateTime
log.preallocate BOOLEAN false
log.remote.copy.lag.bytes LONG -1
log.remote.copy.lag.ms LONG 0
log.retention.bytes LONG -1
log.retention.check.interval.ms LONG 300000
log.retention.hours INT 168
log.retention.minutes INT null
log.retention.ms LONG null
log.roll.hours INT 168
log.roll.jitter.hours INT 0
log.roll.jitter.ms LONG null
log.roll.ms LONG null
log.segment.bytes INT 1073741824
log.segment.delete.delay.ms LONG 60000
max.connections INT 2147483647
max.connections.per.ip INT 2147483647
max.connections.per.ip.overrides STRING
max.decompressed.message.bytes INT 2147483639
max.incremental.fetch.session.cache.slots INT 1000
max.request.partition.size.limit INT 2000
message.max.bytes INT 1048588
min.insync.replicas INT 1
num.partitions INT 1
offset.metadata.max.bytes INT 4096
offsets.retention.check.interval.ms LONG 600000
offsets.retention.minutes INT 10080
offsets.topic.num.partitions INT 50
offsets.topic.replication.factor SHORT 3
offsets.topic.segment.bytes INT 104857600
producer.id.expiration.ms INT 86400000
quota.window.num INT 11
quota.window.size.seconds INT 1
socket.request.max.bytes INT 104857600
transaction.max.timeout.ms INT 900000
unclean.leader.election.enable BOOLEAN false";

#[test]
fn the_brokers_configurations_have_kafkas_types_and_defaults() {
    let row = |def: &Def| {
        let kind = format!("{:?}", def.kind).to_uppercase();
        format!("{} {kind} {}", def.name, def.default.unwrap_or("null")).trim_end().to_string()
    };
    let in_files = BROKER.iter().filter(|def| !matches!(def.rule, Rule::Flag(_)));
    assert_eq!(in_files.map(row).collect::<Vec<_>>(), KAFKA_BROKER.lines().collect::<Vec<_>>());
}

#[test]
fn tables_are_sorted_and_every_key_is_documented() {
    for table in [TOPIC, BROKER] {
        assert!(table.is_sorted_by(|left, right| left.name < right.name));
        for def in table {
            assert!(def.docs.ends_with('.') && def.docs.len() > 10, "{}", def.name);
        }
    }
}

#[test]
fn every_default_passes_its_own_check() {
    for def in TOPIC.iter().chain(BROKER) {
        if let Some(default) = def.default {
            def.read(default).unwrap();
            assert_eq!(def.canonical(default), default, "{}", def.name);
        }
    }
}

#[test]
fn a_topics_default_is_its_brokers_default() {
    for def in TOPIC {
        for synonym in def.synonyms {
            let broker = configs::broker_def(synonym.name).expect(synonym.name);
            let Some(text) = broker.default else { continue };
            match text.parse::<i64>() {
                Ok(number) => assert_eq!((number * synonym.scale).to_string(), def.default.unwrap(), "{}", def.name),
                Err(_) => assert_eq!(Some(text), def.default, "{}", def.name),
            }
        }
    }
}

#[test]
fn a_bad_topic_value_gets_kafkas_message() {
    let replicas = "must be the literal '*' or a list of replicas in the following format: \
                    [partitionId]:[brokerId],[partitionId]:[brokerId],...";
    for (name, value, shown, reason) in [
        ("retention.ms", "x", "x", "Not a number of type LONG"),
        ("retention.ms", "-2", "-2", "Value must be at least -1"),
        ("retention.ms", "", "", "Not a number of type LONG"),
        ("retention.ms", "1.5", "1.5", "Not a number of type LONG"),
        ("retention.ms", "99999999999999999999", "99999999999999999999", "Not a number of type LONG"),
        ("segment.bytes", "100", "100", "Value must be at least 1048576"),
        ("segment.bytes", "99999999999", "99999999999", "Not a number of type INT"),
        ("cleanup.policy", "x", "x", "String must be one of: compact, delete"),
        ("cleanup.policy", "DELETE", "DELETE", "String must be one of: compact, delete"),
        ("compression.type", "zip", "zip", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
        ("preallocate", "yes", "yes", "Expected value to be either true or false"),
        ("preallocate", "", "", "Expected value to be either true or false"),
        ("min.cleanable.dirty.ratio", "2", "2.0", "Value must be no more than 1"),
        ("min.cleanable.dirty.ratio", "-0.1", "-0.1", "Value must be at least 0"),
        ("min.cleanable.dirty.ratio", "x", "x", "Not a number of type DOUBLE"),
        ("min.cleanable.dirty.ratio", "NaN", "NaN", "Not a number of type DOUBLE"),
        ("compression.gzip.level", "0", "0", "Value must be between 1 and 9 or equal to -1"),
        ("compression.gzip.level", "10", "10", "Value must be between 1 and 9 or equal to -1"),
        ("compression.lz4.level", "18", "18", "Value must be no more than 17"),
        ("compression.zstd.level", "23", "23", "Value must be no more than 22"),
        ("message.timestamp.type", "x", "x", "String must be one of: CreateTime, LogAppendTime"),
        ("max.message.bytes", "-1", "-1", "Value must be at least 0"),
        ("min.insync.replicas", "0", "0", "Value must be at least 1"),
        ("segment.ms", "0", "0", "Value must be at least 1"),
        ("max.decompressed.message.bytes", "2147483647", "2147483647", "Value must be no more than 2147483639"),
        ("max.compaction.lag.ms", "0", "0", "Value must be at least 1"),
    ] {
        let expected = format!("Invalid value {shown} for configuration {name}: {reason}");
        assert_eq!(check_topic(name, value), Err(expected));
    }
    let name = "leader.replication.throttled.replicas";
    for (value, shown) in
        [("x", "[x]"), ("0:1,*", "[0:1, *]"), ("none", "[none]"), ("1:", "[1:]"), ("*,*:1", "[*, *:1]")]
    {
        let expected = format!("Invalid value {shown} for configuration {name}: {name} {replicas}");
        assert_eq!(check_topic(name, value), Err(expected));
    }
    for name in ["nope", "", "message.format.version", "log.segment.bytes"] {
        assert_eq!(check_topic(name, "1"), Err(format!("Unknown topic config name: {name}")));
    }
}

#[test]
fn what_kafka_accepts_is_accepted_and_shown_in_one_spelling() {
    for (name, value, canonical) in [
        ("retention.ms", " 5 ", "5"),
        ("retention.ms", "+5", "5"),
        ("retention.bytes", "-7", "-7"),
        ("cleanup.policy", "delete, compact", "delete,compact"),
        ("cleanup.policy", "delete,delete", "delete"),
        ("cleanup.policy", " ", ""),
        ("preallocate", "TRUE", "true"),
        ("min.cleanable.dirty.ratio", "1", "1.0"),
        ("min.cleanable.dirty.ratio", "1e-1", "0.1"),
        ("leader.replication.throttled.replicas", "*", "*"),
        ("leader.replication.throttled.replicas", "0:1,1:2", "0:1,1:2"),
        ("min.insync.replicas", "3", "3"),
        ("internal.segment.bytes", "100", "100"),
    ] {
        assert_eq!(check_topic(name, value), Ok(()), "{name}={value}");
        assert_eq!(configs::topic_def(name).unwrap().canonical(value), canonical);
    }
}

#[test]
fn values_are_checked_together() {
    let none = Values::new();
    let lags = values(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "2")]);
    let conflict = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (2)";
    assert_eq!(check_topic_all(&lags, &none), Err(conflict.to_string()));
    let least = values(&[("min.compaction.lag.ms", "10")]);
    assert_eq!(check_topic_all(&least, &none), Ok(()));
    assert_eq!(check_topic_all(&least, &values(&[("log.cleaner.max.compaction.lag.ms", "2")])), Err(conflict.into()));

    let tiered = check_topic_all(&values(&[("remote.storage.enable", "True")]), &none);
    let text = "Tiered Storage functionality is disabled in the broker. \
                Topic cannot be configured with remote log storage.";
    assert_eq!(tiered, Err(text.to_string()));

    // Names come before values.
    let both = values(&[("retention.ms", "x"), ("zzz", "1")]);
    assert_eq!(check_topic_all(&both, &none), Err("Unknown topic config name: zzz".to_string()));
}

#[test]
fn a_broker_value_is_checked_like_a_topics() {
    assert_eq!(check_broker("num.partitions", "4"), Ok(()));
    let bad = "Invalid value 0 for configuration num.partitions: Value must be at least 1";
    assert_eq!(check_broker("num.partitions", "0"), Err(bad.to_string()));
    let bad = "Invalid value 1 for configuration auto.create.topics.enable: Expected value to be either true or false";
    assert_eq!(check_broker("auto.create.topics.enable", "1"), Err(bad.to_string()));
    let bad = "Invalid value 0 for configuration log.retention.ms: Value must be unlimited (-1) or at least 1";
    assert_eq!(check_broker("log.retention.ms", "0"), Err(bad.to_string()));
    assert_eq!(check_broker("num.network.threads", "3"), Err("Unknown broker config name: num.network.threads".into()));
}

#[test]
fn what_the_command_line_tells_is_not_taken_from_a_file() {
    let refused = check_broker("listeners", "PLAINTEXT://:9092").unwrap_err();
    assert_eq!(
        refused,
        "Invalid value [PLAINTEXT://:9092] for configuration listeners: \
         it is set by --listen, not in the broker's configuration"
    );
    for def in BROKER.iter().filter(|def| matches!(def.rule, Rule::Flag(_))) {
        assert!(check_broker(def.name, "1").is_err(), "{}", def.name);
    }
}

#[test]
fn without_any_value_the_defaults_are_kafkas() {
    let week = 604_800_000;
    let expected = TopicSettings {
        segment_bytes: 1 << 30,
        segment_ms: week,
        segment_jitter_ms: 0,
        segment_index_bytes: 10 << 20,
        index_interval_bytes: 4096,
        preallocate: false,
        retention_bytes: None,
        retention_ms: Some(week),
        file_delete_delay_ms: 60_000,
        cleanup: Cleanup { delete: true, compact: false },
        max_message_bytes: 1_048_588,
        max_decompressed_message_bytes: 2_147_483_639,
        min_insync_replicas: 1,
        unclean_leader_election: false,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compression: None,
        compression_gzip_level: None,
        compression_lz4_level: 9,
        compression_zstd_level: 3,
        min_cleanable_dirty_ppm: 500_000,
        delete_retention_ms: 86_400_000,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: i64::MAX as u64,
        flush_messages: i64::MAX as u64,
        flush_ms: i64::MAX as u64,
    };
    assert_eq!(topic(&[], &[]), expected);
}

#[test]
fn the_topic_wins_over_the_broker_and_the_broker_over_the_default() {
    let broker = [("log.retention.bytes", "100"), ("message.max.bytes", "7"), ("log.preallocate", "true")];
    let settings = topic(&[("retention.bytes", "5"), ("compression.type", "zstd")], &broker);
    assert_eq!(settings.retention_bytes, Some(5));
    assert_eq!((settings.max_message_bytes, settings.preallocate), (7, true));
    assert_eq!((settings.compression, settings.min_insync_replicas), (Some(highwater::records::Compression::Zstd), 1));
}

#[test]
fn the_finest_of_the_brokers_units_wins() {
    let hour = 3_600_000;
    let retention = |broker: &[(&str, &str)]| topic(&[], broker).retention_ms;
    assert_eq!(retention(&[("log.retention.hours", "2")]), Some(2 * hour));
    assert_eq!(retention(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]), Some(180_000));
    assert_eq!(retention(&[("log.retention.minutes", "3"), ("log.retention.ms", "9")]), Some(9));
    assert_eq!(retention(&[("log.retention.hours", "-1")]), None);
    assert_eq!(topic(&[], &[("log.roll.hours", "1")]).segment_ms, hour);
    assert_eq!(topic(&[], &[("log.roll.hours", "1"), ("log.roll.ms", "5")]).segment_ms, 5);
    assert_eq!(topic(&[], &[("log.roll.jitter.hours", "1")]).segment_jitter_ms, hour);
    assert_eq!(topic(&[], &[("log.flush.scheduler.interval.ms", "8")]).flush_ms, 8);
    assert_eq!(topic(&[], &[("log.flush.interval.ms", "6"), ("log.flush.scheduler.interval.ms", "8")]).flush_ms, 6);
}

#[test]
fn no_limit_is_none() {
    let settings = topic(&[("retention.ms", "-1"), ("retention.bytes", "-1")], &[]);
    assert_eq!((settings.retention_ms, settings.retention_bytes), (None, None));
    assert_eq!(topic(&[("retention.ms", "0")], &[]).retention_ms, Some(0));
}

#[test]
fn policies_may_be_both_or_none() {
    let cleanup = |policy: &str| topic(&[("cleanup.policy", policy)], &[]).cleanup;
    assert_eq!(cleanup("compact"), Cleanup { delete: false, compact: true });
    assert_eq!(cleanup("delete, compact"), Cleanup { delete: true, compact: true });
    assert_eq!(cleanup(""), Cleanup { delete: false, compact: false });
}

#[test]
fn tests_may_have_smaller_segments_than_users() {
    let settings = topic(&[("internal.segment.bytes", "65536"), ("segment.bytes", "2000000")], &[]);
    assert_eq!(settings.segment_bytes, 65_536);
}

#[test]
fn the_brokers_defaults_are_kafkas() {
    let expected = BrokerSettings {
        auto_create_topics: true,
        delete_topics: true,
        num_partitions: 1,
        default_replication_factor: 1,
        offsets_topic_num_partitions: 50,
        offsets_topic_replication_factor: 3,
        connections_max_idle_ms: Some(600_000),
        connections_max: i32::MAX as u32,
        connections_per_ip_max: i32::MAX as u32,
        quota_windows: Windows { count: 11, size_ms: 1000 },
        controller_quota_windows: Windows { count: 11, size_ms: 1000 },
        socket_request_max_bytes: 100 << 20,
        fetch_max_bytes: 55 << 20,
        fetch_sessions_max: 1000,
        max_request_partition_size_limit: 2000,
        retention_check_interval_ms: 300_000,
        log_cleaner_backoff_ms: 15_000,
        producer_id_expiration_ms: 86_400_000,
        transaction_max_timeout_ms: 900_000,
        group_initial_rebalance_delay_ms: 3_000,
        group_max_session_timeout_ms: 1_800_000,
        group_max_size: i32::MAX,
        group_min_session_timeout_ms: 6_000,
        offset_metadata_max_bytes: 4_096,
        offsets_retention_check_interval_ms: 600_000,
        offsets_retention_ms: 7 * 24 * 3_600_000,
        offsets_topic_segment_bytes: 104_857_600,
    };
    assert_eq!(BrokerSettings::resolve(&Values::new()), expected);
    let idle = BrokerSettings::resolve(&values(&[("connections.max.idle.ms", "-1"), ("num.partitions", " 4 ")]));
    assert_eq!((idle.connections_max_idle_ms, idle.num_partitions), (None, 4));
}

#[test]
fn an_effective_value_says_where_it_comes_from() {
    let (own, broker) = (values(&[("retention.ms", " 5")]), values(&[("log.segment.bytes", "2000000")]));
    let told = |name: &str| {
        let effective = configs::topic(name, &own, &broker);
        (effective.value.unwrap().into_owned(), effective.source)
    };
    assert_eq!(told("retention.ms"), ("5".to_string(), Source::DynamicTopic));
    assert_eq!(told("segment.bytes"), ("2000000".to_string(), Source::StaticBroker));
    assert_eq!(told("segment.ms"), ("604800000".to_string(), Source::Default));
}

#[test]
fn limits_of_single_addresses_are_addresses_with_a_count() {
    let name = "max.connections.per.ip.overrides";
    for good in ["", "10.0.0.1:5", "10.0.0.1:5, ::1:7,[fe80::1]:0"] {
        assert_eq!(check_broker(name, good), Ok(()), "{good:?}");
    }
    for bad in ["10.0.0.1", "localhost:5", "10.0.0.1:-1", "10.0.0.1:x", ":5", "10.0.0.1:5;10.0.0.2:5"] {
        let message = check_broker(name, bad).unwrap_err();
        assert!(message.contains(bad) && message.contains("address:count"), "{message}");
    }
}
