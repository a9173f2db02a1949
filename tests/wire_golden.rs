//! The wire codec against bytes that Apache Kafka 4.4's own classes wrote: every version of every message.
//!
//! `tests/golden/Golden.java` writes them, and says how. "full" lines have every field set, "null" lines none.

use highwater::boundary::Timestamp;
use highwater::ids::Offset;
use highwater::records::{self, Compression, Limits, iter};
use highwater::wire::{ApiKey, Message, Reader, Writer, throttle};
use std::fmt::Debug;

#[path = "golden/messages.rs"]
mod messages;

const GOLDEN: &str = include_str!("golden/messages.txt");
const BATCHES: &str = include_str!("golden/batches.txt");

struct Golden<'a> {
    full: bool,
    name: &'a str,
    version: i16,
    bytes: Vec<u8>,
    facts: &'a str,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn golden() -> impl Iterator<Item = Golden<'static>> {
    GOLDEN.lines().map(|line| {
        let mut parts = line.splitn(5, ' ');
        let mut part = || parts.next().unwrap();
        Golden {
            full: part() == "full",
            name: part(),
            version: part().parse().unwrap(),
            bytes: unhex(part()),
            facts: part(),
        }
    })
}

/// The bytes are understood whole and written back as they were, and the fields have the values that Java set.
fn check<'a, M: Message<'a> + Debug + PartialEq + Default>(golden: &'a Golden<'_>) {
    let place = format!("{} version {} full {}", golden.name, golden.version, golden.full);
    let mut reader = Reader::new(&golden.bytes);
    let message = M::decode(&mut reader, golden.version).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(reader.remaining(), 0, "{place}");
    let mut writer = Writer::new();
    message.encode(&mut writer, golden.version);
    assert_eq!(writer.finish().concat(), golden.bytes, "{place}");
    let debug = format!("{message:?}");
    for fact in golden.facts.split(',').filter(|fact| !fact.is_empty()) {
        let (field, value) = fact.split_once('=').unwrap();
        let plain = debug.contains(&format!("{field}: {value}"));
        // Nullable, or an element of an array.
        let wrapped = debug.contains(&format!("{field}: Some({value})")) || debug.contains(value);
        assert!(plain || wrapped && is_wrapped(field, value), "{place}: {fact} is not in {debug}");
    }
}

/// Strings may be nullable, and these are arrays of plain values.
fn is_wrapped(field: &str, value: &str) -> bool {
    let arrays = [
        "partitions",
        "replica_nodes",
        "isr_nodes",
        "offline_replicas",
        "broker_ids",
        "topic_names",
        "partition_indexes",
        "replicas",
        "adding_replicas",
        "removing_replicas",
        "resource_types",
    ];
    let elr = ["eligible_leader_replicas", "last_known_elr"];
    value.starts_with('"') || arrays.contains(&field) || elr.contains(&field)
}

#[test]
fn every_version_of_every_message_is_as_kafka_writes_it() {
    let mut seen = 0;
    for golden in golden() {
        dispatch!(golden.name, check(&golden));
        seen += 1;
    }
    let expected: usize = messages::MESSAGES.iter().map(|(_, min, max)| 2 * (max - min + 1) as usize).sum();
    assert_eq!(seen, expected, "the schema has versions without golden bytes");
}

#[test]
fn kafkas_batches_are_accepted_in_every_compression() {
    let limits = Limits { batch_bytes_max: 1 << 20, zstd: true, transactional: false };
    for line in BATCHES.lines() {
        let (name, hex) = line.split_once(' ').unwrap();
        let batch = unhex(hex);
        let header = records::check(&batch, &limits).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(header.compression().map(|compression| compression.to_string()), Ok(name.to_owned()));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 3, 42));
        assert_eq!((header.records_count, header.last_sequence()), (500, 541));
        let contents = records::check_records(&batch, 1 << 20).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(contents.max_timestamp, header.max_timestamp);
        assert_eq!(contents.first_without_key, Some(0));
        let bytes = iter::record_bytes(&batch, &header, 1 << 20).unwrap();
        let record = iter::Records::new(&header, &bytes).nth(123).unwrap().unwrap();
        assert_eq!(record.value, Some(&b"value 123 of some length"[..]));
        assert_eq!(record.headers.collect::<Vec<_>>(), [(&b"h"[..], Some(&b"123"[..]))]);
        let target = Timestamp(1_700_000_000_000 + 1_231);
        let found = records::find_timestamp(&batch, target, Offset(0), 1 << 20);
        assert_eq!(found, Ok(Some((Offset(124), Timestamp(1_700_000_000_000 + 1_240)))));
    }
    assert_eq!(BATCHES.lines().count(), 5);
    assert_eq!(Compression::from_id(4), Ok(Compression::Zstd));
}

/// A response's frame of this body.
fn frame(key: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let flexible = key != ApiKey::API_VERSIONS && key.is_flexible(version);
    let header = vec![0; if flexible { 9 } else { 8 }];
    [&header, body].concat()
}

#[test]
fn the_throttle_time_stands_where_kafka_wrote_it() {
    let mut found = 0;
    for golden in golden().filter(|golden| golden.full && golden.name.ends_with("Response")) {
        let key = ApiKey::ALL.iter().find(|key| key.name() == golden.name.strip_suffix("Response"));
        let key = *key.unwrap_or_else(|| panic!("no API {}", golden.name));
        let told = golden.facts.split(',').find_map(|fact| fact.strip_prefix("throttle_time_ms="));
        let frame = frame(key, golden.version, &golden.bytes);
        let place = throttle::place(key, golden.version, &frame);
        let read = place.map(|at| i32::from_be_bytes(frame[at..at + 4].try_into().unwrap()).to_string());
        if key == ApiKey::PRODUCE {
            assert_eq!(place, None, "Produce says it itself");
        } else {
            assert_eq!(read.as_deref(), told, "{} version {}", golden.name, golden.version);
            found += usize::from(told.is_some());
        }
    }
    assert!(found > 100, "{found} versions with a throttle time");
}
