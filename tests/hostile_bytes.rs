//! Golden bytes, changed at random, for everything that reads bytes of others: the fuzz targets in a few seconds.
//!
//! `HIGHWATER_CORPUS=fuzz/corpus cargo test --test hostile_bytes` writes the seeds for `cargo fuzz run TARGET` as well.

use highwater::boundary::{FileId, Timestamp};
use highwater::checkpoint::{Checkpoint, PartitionSnapshot, SlotSnapshot};
use highwater::groups::{Committed, Record};
use highwater::ids::{Epoch, Offset, PartitionKey, TopicId};
use highwater::journal::frame::Place;
use highwater::journal::ring::{Ring, Slot, SlotState};
use highwater::journal::{Entry, Journal, NoteHint, Resume};
use highwater::log::LogSnapshot;
use highwater::log::segment::{Chunk, Name, Segment};
use highwater::log::sidecar;
use highwater::memory::ArenaPool;
use highwater::replica::Durable;
use highwater::replica::producers::{Producers, Sequence};
use highwater::wire::ApiKey;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[macro_use]
#[path = "golden/messages.rs"]
mod messages;
#[path = "golden/targets.rs"]
mod targets;

const MESSAGES: &str = include_str!("golden/messages.txt");
const BATCHES: &str = include_str!("golden/batches.txt");
/// Changed inputs for each target.
const ROUNDS: usize = 20_000;
const KEY: PartitionKey = PartitionKey { topic: TopicId([7; 16]), index: 3 };

/// Every target, with what is right in form for it, as it is and changed: it returns.
#[test]
fn changed_golden_bytes_are_read_or_refused_and_never_end_the_process() {
    for (name, target) in targets::TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() > 1 && seeds.iter().all(|seed| !seed.is_empty()), "{name} has {} seeds", seeds.len());
        write_corpus(name, &seeds);
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seeds.len() as u64);
        seeds.iter().for_each(|seed| target(seed));
        for round in 0..ROUNDS {
            let seed = &seeds[random.below(seeds.len())];
            let bytes = changed(seed, &seeds[random.below(seeds.len())], &mut random);
            let ended = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            assert!(ended.is_ok(), "{name}, round {round}: {} bytes: {}", bytes.len(), hex(&bytes));
        }
    }
}

/// xorshift: a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// One to eight changes: a bit, a byte that counts and lengths dislike, a cut, a piece of another seed, a piece twice.
fn changed(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + random.below(8) {
        let at = random.below(bytes.len());
        match random.below(6) {
            _ if bytes.is_empty() => bytes.push(random.next() as u8),
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            3 => bytes.truncate(at),
            4 => {
                let end = (at + 1 + random.below(16)).min(bytes.len()).min(other.len());
                if at < end {
                    bytes[at..end].copy_from_slice(&other[at..end]);
                }
            }
            _ => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "frame" => requests().into_iter().map(|request| request[..request.len().min(60)].to_vec()).collect(),
        "request" => requests(),
        "batch" | "records" => batches(),
        "segment" => vec![batches().concat(), batches()[0].repeat(3)],
        "journal" => vec![ring(1), ring(3)],
        "index" => vec![
            sidecar::encode(PartitionKey::METADATA, Offset(0), &[chunk(0), chunk(1)]),
            sidecar::encode(KEY, Offset(5), &[chunk(5)]),
        ],
        "checkpoint" => checkpoints(),
        "group" => group_records(),
        name => panic!("no seeds for {name}"),
    }
}

/// Golden requests behind a header.
fn requests() -> Vec<Vec<u8>> {
    let keys: Vec<(String, i16)> = (0..100).map(|key| (format!("{}Request", ApiKey(key)), key)).collect();
    let request = |line: &str| {
        let parts: Vec<_> = line.split(' ').collect();
        let key = keys.iter().find(|(name, _)| name == parts[1])?.1;
        let version: i16 = parts[2].parse().expect("a version");
        let mut out = [key.to_be_bytes(), version.to_be_bytes()].concat();
        out.extend([0, 0, 0, 7, 0, 2, b'a', b'b']);
        if ApiKey(key).is_flexible(version) {
            out.push(0);
        }
        out.extend(unhex(parts[3]));
        Some(out)
    };
    MESSAGES.lines().filter_map(request).collect()
}

fn batches() -> Vec<Vec<u8>> {
    BATCHES.lines().map(|line| unhex(line.split(' ').nth(1).expect("a batch"))).collect()
}

/// The files of a journal with so many frames.
fn ring(frames: usize) -> Vec<u8> {
    let file_bytes = 64 << 10;
    let slot = |index: usize| Slot {
        number: index as u32,
        path: format!("journal-{index:02}"),
        file: FileId(index as u32),
        bytes: file_bytes as u64,
        state: if index == 0 { SlotState::Live { file_seq: 1 } } else { SlotState::Free },
    };
    let ring = Ring { slots: (0..2).map(slot).collect(), next_number: 2 };
    let resume = Resume { place: Place { file_seq: 1, offset: 0 }, next_frame: 1, notes_before: Vec::new() };
    let mut journal = Journal::new(targets::JOURNAL, 1, ring, ArenaPool::new(16 << 10, 1 << 20), 32 << 10, resume);
    let mut files = vec![0; 2 * file_bytes];
    let mut hint = NoteHint::default();
    for frame in 0..frames as i64 {
        let entry =
            Entry { key: KEY, slot: 0, epoch: Epoch(1), base: Offset(frame), end: Offset(frame + 1), max_timestamp: 0 };
        journal.append_batch(entry, &batches()[0], &mut hint, |_| {});
        let sealed = journal.seal().expect("the ring has room");
        let mut at = sealed.file.0 as usize * file_bytes + sealed.place.offset as usize;
        for chunk in &sealed.chunks {
            files[at..at + chunk.len()].copy_from_slice(chunk);
            at += chunk.len();
        }
        journal.on_durable();
    }
    files
}

fn chunk(base: i64) -> Chunk {
    Chunk { position: 0, len: 500, batches: 1, base: Offset(base), end: Offset(base + 1), max_timestamp: 9, check: 0 }
}

fn checkpoints() -> Vec<Vec<u8>> {
    let mut segment = Segment::new(Offset(0), 5, 0);
    segment.push(chunk(0));
    let mut producers = Producers::default();
    producers.apply(Sequence { producer_id: 1, epoch: 0, first: 0, last: 4, timestamp: 9 }, Offset(0), Offset(5), 9);
    let partition = PartitionSnapshot {
        key: KEY,
        replica: Durable::default(),
        log: LogSnapshot { segments: vec![segment], partial: vec![1; 40], flushed: Offset(1), cleaned: Offset(1) },
        producers,
        refusal: None,
        deleted: false,
        doomed: vec![Name { base: Offset(3), generation: 1 }],
    };
    let slots = vec![SlotSnapshot { number: 0, bytes: 1 << 20, file_seq: Some(1) }];
    let full = Checkpoint { slots, partitions: vec![partition], metadata: vec![1; 20], ..Checkpoint::default() };
    let of = |checkpoint: &Checkpoint| {
        let bytes = checkpoint.encode();
        let length = u64::from_le_bytes(bytes[24..32].try_into().expect("eight bytes")) as usize;
        bytes[..36 + length].to_vec()
    };
    vec![of(&full), of(&Checkpoint::default()), highwater::metadata::Image::default().encode()]
}

/// The length of the key, the key, and the value.
fn group_records() -> Vec<Vec<u8>> {
    let committed = Committed {
        offset: 4711,
        leader_epoch: 3,
        metadata: "metadata".into(),
        at: Timestamp(1_000),
        expires: None,
        topic_id: TopicId([1; 16]),
    };
    let expiring = Committed { expires: Some(Timestamp(9)), ..committed.clone() };
    let record =
        |value: Option<Committed>| Record::Offset { group: "group".into(), topic: "topic".into(), partition: 2, value };
    let with_key = |record: Record| {
        let (key, value) = (record.key(), record.value().unwrap_or_default());
        [&[key.len() as u8 + 1][..], &key, &value].concat()
    };
    let mut seeds: Vec<_> = [Some(committed), Some(expiring), None].map(|value| with_key(record(value))).into();
    // A group's metadata as Kafka 4.4 writes it: version 3, one member with its subscription and assignment.
    seeds.push(unhex("00030008636f6e73756d6572000000010005726174676500016d0000018bcfe568000000000100016d00000163000178000003e8000003e80000000a00000000000100017400000000000000000000"));
    seeds.push(unhex("0001000000020005746f7069630001740000000000000000"));
    seeds
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(2_000).map(|byte| format!("{byte:02x}")).collect()
}

fn write_corpus(name: &str, seeds: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("HIGHWATER_CORPUS") else { return };
    let folder = Path::new(&folder).join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the corpus");
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("golden-{number:03}")), seed).expect("a seed");
    }
}
