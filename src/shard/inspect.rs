//! Questions about what partitions hold: DescribeLogDirs and DescribeProducers.
//!
//! One letter to each shard that owns some of the partitions, one back; whoever has the connection puts them together.
//! Invariant: what is told back is bounded, however many partitions and producers there are.

use super::Shard;
use super::connection::{Header, Slot};
use super::effects::Pending;
use crate::boundary::{ConnId, Done, Op, Volume};
use crate::configs;
use crate::ids::{PartitionKey, ShardId};
use crate::mail::{Letter, Ticket};
use crate::metadata::name;
use crate::wire::ErrorCode;
use crate::wire::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use crate::wire::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// Producers that one answer tells of.
const PRODUCERS_MAX: usize = 50_000;

/// What a partition takes while it is asked, and told of.
const LOOK_BYTES: usize = 256;

/// What is asked of partitions.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    Sizes,
    Producers,
}

/// What a partition answers.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Bytes of its log, and how many offsets its end is ahead of its high watermark.
    Size {
        bytes: u64,
        lag: i64,
    },
    Producers(Vec<ProducerState>),
    /// There are more producers than one answer tells of.
    TooMany,
}

/// A request that is being answered.
pub struct Looking {
    header: Header,
    wanted: Wanted,
    seen: BTreeMap<PartitionKey, Seen>,
    volume: Option<Volume>,
    /// Answers of shards, and of the driver, that have not come.
    left: usize,
}

enum Wanted {
    Sizes,
    Producers(Vec<WantedTopic>),
}

/// A topic and its partitions as they were asked for; no key where there is none.
struct WantedTopic {
    name: String,
    parts: Vec<(i32, Option<PartitionKey>)>,
}

impl Shard {
    pub(super) fn describe_log_dirs(&mut self, conn: ConnId, header: Header, request: &DescribeLogDirsRequest<'_>) {
        let mut keys = BTreeSet::new();
        match &request.topics {
            None => keys.extend(self.image.topics().flat_map(|topic| topic.keys())),
            Some(topics) => {
                for wanted in topics {
                    let Some(topic) = self.image.topic_named(&wanted.topic) else { continue };
                    let there = wanted.partitions.iter().filter(|index| (0..topic.partitions).contains(*index));
                    keys.extend(there.map(|index| PartitionKey { topic: topic.id, index: *index }));
                }
            }
        }
        if !self.may_take_more(keys.len() * LOOK_BYTES) {
            return;
        }
        let ticket = self.look(conn, header, Wanted::Sizes, keys);
        self.fx.submit(Op::Volume, Pending::Volume(ticket));
    }

    pub(super) fn describe_producers(&mut self, conn: ConnId, header: Header, request: &DescribeProducersRequest<'_>) {
        let mut keys = BTreeSet::new();
        let mut wanted = Vec::new();
        for topic in &request.topics {
            let found = self.image.topic_named(&topic.name).map(|topic| (topic.id, topic.partitions));
            let key = |index: &i32| {
                let (topic, _) = found.filter(|(_, count)| (0..*count).contains(index))?;
                Some(PartitionKey { topic, index: *index })
            };
            let parts: Vec<_> = topic.partition_indexes.iter().map(|index| (*index, key(index))).collect();
            keys.extend(parts.iter().filter_map(|(_, key)| *key));
            wanted.push(WantedTopic { name: topic.name.clone().into_owned(), parts });
        }
        self.look(conn, header, Wanted::Producers(wanted), keys);
    }

    fn look(&mut self, conn: ConnId, header: Header, wanted: Wanted, keys: BTreeSet<PartitionKey>) -> Ticket {
        let mut by_shard: BTreeMap<ShardId, Vec<PartitionKey>> = BTreeMap::new();
        for key in keys {
            by_shard.entry(self.owner(key)).or_default().push(key);
        }
        let (look, others) = match wanted {
            Wanted::Sizes => (Look::Sizes, 1),
            Wanted::Producers(_) => (Look::Producers, 0),
        };
        let left = by_shard.len() + others;
        let looking = Looking { header, wanted, seen: BTreeMap::new(), volume: None, left };
        let ticket = self.open_slot(conn, Slot::Look(looking));
        for (shard, keys) in by_shard {
            self.send(shard, Letter::Look { ticket, look, keys });
        }
        if left == 0 {
            self.finish_look(ticket);
        }
        ticket
    }

    pub(super) fn on_look(&mut self, ticket: Ticket, look: Look, keys: &[PartitionKey]) {
        let mut seen = Vec::with_capacity(keys.len());
        let mut told = 0;
        for key in keys {
            let Some(partition) = self.partition_of(*key) else { continue };
            let one = match look {
                Look::Sizes => Seen::Size {
                    bytes: partition.log.segment_bytes() + partition.log.staged_bytes() as u64,
                    lag: partition.replica.end().offset.0 - partition.replica.high_watermark().0,
                },
                Look::Producers => {
                    told += partition.producers.len();
                    if told > PRODUCERS_MAX { Seen::TooMany } else { Seen::Producers(partition.active_producers()) }
                }
            };
            seen.push((*key, one));
        }
        self.send(ticket.shard, Letter::Looked { ticket, seen });
    }

    pub(super) fn on_looked(&mut self, ticket: Ticket, seen: Vec<(PartitionKey, Seen)>) {
        let Some(Slot::Look(looking)) = self.conns.slot(ticket.conn, ticket.request) else { return };
        looking.seen.extend(seen);
        self.looked_once(ticket);
    }

    pub(super) fn on_volume(&mut self, ticket: Ticket, done: Done) {
        let Done::Volume(volume) = done else { panic!("a question about the volume ended as {done:?}") };
        let Some(Slot::Look(looking)) = self.conns.slot(ticket.conn, ticket.request) else { return };
        looking.volume = volume.ok();
        self.looked_once(ticket);
    }

    fn looked_once(&mut self, ticket: Ticket) {
        let Some(Slot::Look(looking)) = self.conns.slot(ticket.conn, ticket.request) else { return };
        looking.left -= 1;
        if looking.left == 0 {
            self.finish_look(ticket);
        }
    }

    fn finish_look(&mut self, ticket: Ticket) {
        let Some(Slot::Look(looking)) = self.conns.slot(ticket.conn, ticket.request) else { return };
        let (header, seen, volume) = (looking.header, core::mem::take(&mut looking.seen), looking.volume);
        let response = match core::mem::replace(&mut looking.wanted, Wanted::Sizes) {
            Wanted::Sizes => self.log_dirs(header, &seen, volume),
            Wanted::Producers(wanted) => producers(header, &wanted, &seen),
        };
        self.conns.complete(ticket.conn, ticket.request, response);
    }

    fn log_dirs(&self, header: Header, seen: &BTreeMap<PartitionKey, Seen>, volume: Option<Volume>) -> Vec<Bytes> {
        let mut topics: Vec<DescribeLogDirsTopic<'_>> = Vec::new();
        let mut before = None;
        for (key, seen) in seen {
            let (Seen::Size { bytes, lag }, Some(topic)) = (seen, self.image.topic(key.topic)) else { continue };
            if before != Some(key.topic) {
                before = Some(key.topic);
                topics.push(DescribeLogDirsTopic { name: Cow::Borrowed(&topic.name), partitions: Vec::new() });
            }
            let partitions = &mut topics.last_mut().expect("it was just put there").partitions;
            partitions.push(DescribeLogDirsPartition {
                partition_index: key.index,
                partition_size: *bytes as i64,
                offset_lag: *lag,
                is_future_key: false,
            });
        }
        let folder = self.config.broker.get(configs::LOG_DIRS).map_or("highwater-data", String::as_str);
        let result = DescribeLogDirsResult {
            error_code: ErrorCode::NONE,
            log_dir: Cow::Borrowed(folder),
            topics,
            total_bytes: volume.map_or(-1, |volume| volume.total_bytes as i64),
            usable_bytes: volume.map_or(-1, |volume| volume.usable_bytes as i64),
            is_cordoned: false,
        };
        header.respond(&DescribeLogDirsResponse { results: Vec::from([result]), ..DescribeLogDirsResponse::default() })
    }
}

/// What DescribeProducers answers.
fn producers(header: Header, wanted: &[WantedTopic], seen: &BTreeMap<PartitionKey, Seen>) -> Vec<Bytes> {
    let mut told = 0;
    let topics = wanted.iter().map(|WantedTopic { name: topic, parts }| {
        let checked = name::check(topic);
        let known = parts.iter().any(|(_, key)| key.is_some());
        let part = |(partition_index, key): &(i32, Option<PartitionKey>)| {
            let (error_code, error_message, active_producers) = match (&checked, key.and_then(|key| seen.get(&key))) {
                (Err(text), _) => (ErrorCode::INVALID_TOPIC_EXCEPTION, Some(Cow::Owned(text.clone())), Vec::new()),
                (Ok(()), Some(Seen::Producers(active))) if told + active.len() <= PRODUCERS_MAX => {
                    told += active.len();
                    (ErrorCode::NONE, None, active.clone())
                }
                (Ok(()), Some(Seen::Producers(_) | Seen::TooMany)) => {
                    let text =
                        format!("One request tells of at most {PRODUCERS_MAX} producers: ask for fewer partitions.");
                    (ErrorCode::POLICY_VIOLATION, Some(Cow::Owned(text)), Vec::new())
                }
                (Ok(()), Some(Seen::Size { .. }) | None) => {
                    let text = (!known).then_some(Cow::Borrowed("This server does not host this topic-partition."));
                    (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, text, Vec::new())
                }
            };
            PartitionResponse { partition_index: *partition_index, error_code, error_message, active_producers }
        };
        TopicResponse { name: Cow::Borrowed(topic), partitions: parts.iter().map(part).collect() }
    });
    let topics = topics.collect();
    header.respond(&DescribeProducersResponse { topics, throttle_time_ms: 0 })
}

impl super::Partition {
    fn active_producers(&self) -> Vec<ProducerState> {
        let state = |producer: crate::replica::producers::Active| ProducerState {
            producer_id: producer.id,
            producer_epoch: i32::from(producer.epoch),
            last_sequence: producer.last_sequence,
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: -1,
            current_txn_start_offset: -1,
        };
        self.producers.active().map(state).collect()
    }
}
