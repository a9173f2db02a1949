//! What a shard counts while it works, and what it tells of itself when it is asked.
//!
//! [`Counters`] only grow while the process lives; a [`Sample`] is a copy of them with the state of the moment, for whoever
//! operates the node. Nothing here decides anything. Invariants: counting costs a few additions and no allocation for a
//! request; a sample names at most [`SERIES_MAX`] partitions and as many committed offsets, and says how many it left out.

use crate::api::Api;
use crate::api::TABLE;
use crate::boundary::Instant;
use crate::ids::TopicId;
use crate::quotas::QuotaKey;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// The most partitions, and the most committed offsets, that one shard's sample names one by one.
pub const SERIES_MAX: usize = 20_000;

/// Upper bounds of times, in microseconds.
pub static MICROSECONDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];
/// Upper bounds of sizes, in bytes.
pub static BYTES: [u64; 13] = [
    1 << 10,
    4 << 10,
    8 << 10,
    16 << 10,
    32 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    2 << 20,
    4 << 20,
    8 << 20,
];
/// Upper bounds of counts.
pub static COUNTS: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096];

/// How often values fell below each of some bounds, and their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: what is above the last one.
    counts: Vec<u64>,
    sum: u64,
}

impl Histogram {
    pub fn new(bounds: &'static [u64]) -> Histogram {
        Histogram { bounds, counts: core::iter::repeat_n(0, bounds.len() + 1).collect(), sum: 0 }
    }

    pub fn add(&mut self, value: u64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// What another shard counted.
    pub fn merge(&mut self, other: &Histogram) {
        assert!(self.bounds == other.bounds, "histograms of {:?} and {:?}", self.bounds, other.bounds);
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sum = self.sum.saturating_add(other.sum);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// In the unit of the bounds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Each bound with how many values were at or below it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bounds.iter().zip(&self.counts).scan(0, |total, (bound, count)| {
            *total += count;
            Some((*bound, *total))
        })
    }
}

/// Records and bytes of one topic, on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Batches that were appended, and what they held. Bytes are those of batches as they came.
    pub batches_in: u64,
    pub records_in: u64,
    pub bytes_in: u64,
    /// Bytes of batches in answers to Fetch.
    pub bytes_out: u64,
    /// Batches that were refused.
    pub refused: u64,
}

impl Traffic {
    /// A batch was appended.
    pub fn took(&mut self, records: i32, bytes: usize) {
        self.batches_in += 1;
        self.records_in += records.max(0) as u64;
        self.bytes_in += bytes as u64;
    }

    pub fn merge(&mut self, other: &Traffic) {
        self.batches_in += other.batches_in;
        self.records_in += other.records_in;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.refused += other.refused;
    }
}

/// What grows while a shard works.
#[derive(Clone, Debug)]
pub struct Counters {
    /// From a request's arrival until its answer is handed to be sent, in microseconds; by row of [`TABLE`].
    requests: Vec<Histogram>,
    /// Bytes of batches in answers to Fetch, by topic.
    pub sent_bytes: BTreeMap<TopicId, u64>,
    pub commits: Commits,
    pub connections_accepted: u64,
    /// Closed for what they sent.
    pub connections_refused: u64,
    /// Closed because their address connects too often.
    pub connections_throttled: u64,
    /// Answers whose connection was muted, by the quota that was exceeded.
    pub throttled: BTreeMap<QuotaKey, Throttled>,
    pub compactions: Compactions,
}

/// Logs that were compacted, one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compactions {
    /// That came to their end, and that were given up.
    pub done: u64,
    pub given_up: u64,
    /// Bytes of segments that were read, for their keys or to be written anew; and that were written.
    pub read_bytes: u64,
    pub kept_bytes: u64,
    /// From their begin to their end, given up or not, in microseconds.
    pub us: u64,
    /// Of the last one that came to its end: bytes that were read to be written anew, what stayed of them, its time.
    pub last_read_bytes: u64,
    pub last_kept_bytes: u64,
    pub last_us: u64,
}

/// Answers that were throttled, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    pub answers: u64,
    pub ms: u64,
}

/// Frames of the journal.
#[derive(Clone, Debug)]
pub struct Commits {
    /// From the submission of a frame's write until it is durable, in microseconds.
    pub latency: Histogram,
    /// Bytes of a frame, directory and padding included.
    pub bytes: Histogram,
    /// Batches in a frame.
    pub batches: Histogram,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            requests: TABLE.iter().map(|_| Histogram::new(&MICROSECONDS)).collect(),
            sent_bytes: BTreeMap::new(),
            commits: Commits {
                latency: Histogram::new(&MICROSECONDS),
                bytes: Histogram::new(&BYTES),
                batches: Histogram::new(&COUNTS),
            },
            connections_accepted: 0,
            connections_refused: 0,
            connections_throttled: 0,
            throttled: BTreeMap::new(),
            compactions: Compactions::default(),
        }
    }
}

impl Counters {
    pub fn answered(&mut self, api: Api, begun: Instant, now: Instant) {
        let micros = u64::try_from(now.since(begun).as_micros()).unwrap_or(u64::MAX);
        self.requests[api.index()].add(micros);
    }

    pub fn sent(&mut self, topic: TopicId, bytes: usize) {
        if bytes > 0 {
            *self.sent_bytes.entry(topic).or_default() += bytes as u64;
        }
    }

    /// Each API that is served, with its requests.
    pub fn requests(&self) -> impl Iterator<Item = (Api, &Histogram)> {
        TABLE.iter().map(|row| row.api).zip(&self.requests)
    }
}

/// One shard at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// It has recovered, leads its partitions and takes connections.
    pub serving: bool,
    pub counters: Counters,
    /// Of this shard, by name.
    pub traffic: Vec<(String, Traffic)>,
    pub gauges: Gauges,
    pub partitions: Vec<PartitionSample>,
    pub groups: Vec<GroupSample>,
    pub committed: Vec<CommittedSample>,
    /// Partitions and committed offsets that exist and are not named above.
    pub left_out: u64,
}

/// Levels: how much there is of something now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    pub connections: u64,
    /// Connections that are muted, because a quota was exceeded.
    pub muted: u64,
    /// Requests that are not answered yet.
    pub requests: u64,
    /// Connections whose next request waits for room.
    pub stalled: u64,
    /// Appends of other shards that wait for room.
    pub backlog: u64,
    /// Ops that the driver has not answered.
    pub ops: u64,
    pub partitions: u64,
    pub leaders: u64,
    /// 1 where this shard leads the metadata log.
    pub controllers: u64,
    /// Partitions that refuse appends because of damage.
    pub refused: u64,
    pub topics: u64,
    pub segments: u64,
    /// Bytes of segments.
    pub log_bytes: u64,
    pub journal_bytes: u64,
    /// Bytes of the journal that can be written before a file must be freed.
    pub journal_room_bytes: u64,
    pub disk_full: bool,
    /// Bytes of memory: batches that are served from it, those of them that are in no segment yet, requests that are
    /// coming in, coordinators.
    pub tail_bytes: u64,
    pub staged_bytes: u64,
    pub input_bytes: u64,
    pub groups_bytes: u64,
    /// The table of keys of the log that is being compacted.
    pub keys_bytes: u64,
    /// Of the logs that are compacted: how dirty the dirtiest is, in parts per million, and how many hold what cannot be read.
    pub dirtiest_ppm: u64,
    pub uncleanable: u64,
}

#[derive(Clone, Debug)]
pub struct PartitionSample {
    pub topic: String,
    pub index: i32,
    pub start: i64,
    pub high_watermark: i64,
    pub end: i64,
    pub epoch: i32,
    /// Bytes of its segments.
    pub bytes: u64,
}

#[derive(Clone, Debug)]
pub struct GroupSample {
    pub group: String,
    /// Kafka's name of its state.
    pub state: &'static str,
    pub generation: i32,
    pub members: u64,
}

#[derive(Clone, Debug)]
pub struct CommittedSample {
    pub group: String,
    pub topic: String,
    pub index: i32,
    pub offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_for_the_first_bound_that_it_does_not_exceed() {
        let mut histogram = Histogram::new(&COUNTS);
        for value in [0, 1, 2, 3, 4, 5000] {
            histogram.add(value);
        }
        let cumulative: Vec<_> = histogram.cumulative().take(3).collect();
        assert_eq!(cumulative, [(1, 2), (2, 3), (4, 5)]);
        assert_eq!((histogram.count(), histogram.sum()), (6, 5010));
        assert_eq!(histogram.cumulative().last(), Some((4096, 5)));
        let mut both = histogram.clone();
        both.merge(&histogram);
        assert_eq!((both.count(), both.sum()), (12, 10020));
    }

    #[test]
    fn every_api_has_its_own_row() {
        let mut counters = Counters::default();
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.api.index(), index, "{:?}", row.api);
            counters.answered(row.api, Instant(0), Instant(1_000));
        }
        assert!(counters.requests().all(|(_, histogram)| histogram.count() == 1));
    }
}
