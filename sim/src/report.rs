//! What a run leaves: the verdict, the counts, the trace, and the story for people.

use crate::faults::Counts;
use crate::queue::{MILLIS, Nanos};

macro_rules! invariants {
    ($($name:ident = $text:literal,)+) => {
        /// What must hold, by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Invariant { $($name,)+ }

        impl Invariant {
            pub fn name(self) -> &'static str {
                match self { $(Invariant::$name => $text,)+ }
            }
        }
    };
}

invariants! {
    Durable = "acknowledged records are durable",
    Stable = "what was read stays as it was read",
    Once = "each batch is stored once",
    Order = "acknowledged appends keep their order",
    Holes = "offsets have no holes",
    Genuine = "only what was sent is served, as it was sent",
    Purged = "nothing below the log start is served",
    Refused = "a refused batch is never visible",
    Monotone = "high watermark, leader epoch and log start never go back",
    Answers = "every request gets its own answer, in order",
    Sequence = "a valid sequence is never refused",
    ProducerIds = "a producer id is handed out once",
    Lookup = "lookups by time and by epoch are exact",
    Limits = "an answer keeps to the limits that were asked for",
    Damage = "exactly what is damaged is refused",
    Kept = "what damage has not hit stays on the disk",
    Halts = "a node halts only for a stated reason",
    Deleted = "a deleted topic is gone",
    Configured = "an acknowledged change of a configuration is never lost",
    Grown = "an acknowledged growth of a topic is never lost",
    OneOwner = "a partition has one owner in each generation",
    Fenced = "a commit of a former generation is refused",
    Committed = "an acknowledged commit is never lost or rolled back",
    Compacted = "a compacted log keeps the last value of every key",
    Leaks = "nothing is leaked",
    Seals = "an idle shard proves its last frame",
    Segments = "segments are Kafka's format from the first byte to the last",
    Ruler = "start <= high watermark <= durable <= end, and none goes back in a run",
    Epochs = "no epoch is led by two processes",
    Liveness = "everything comes to rest after the last fault",
    Panics = "no assertion fails",
    Search = "a default seed does what it promises",
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub invariant: Invariant,
    pub detail: String,
}

/// Numbers of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub events: u64,
    pub disk_ops: u64,
    pub produces: u64,
    /// The longest that an answer to one took.
    pub produce_took_max: Nanos,
    pub fetches: u64,
    pub requests: u64,
    pub records_acked: u64,
    pub records_read: u64,
    pub commits: u64,
    pub crashes: u64,
    pub recoveries: u64,
    pub audits: u64,
    pub checkpoints: u64,
    pub journal_turns: u64,
    /// Journal files that were begun once more.
    pub wraps: u64,
    pub segments: u64,
    pub rolls: u64,
    pub connections: u64,
    pub partitions: u64,
    pub refusals: u64,
    /// The disk lost more than one voter can see: there may be nothing left to ask for.
    pub beyond: bool,
    /// Journal files that recovery has set aside because of damage.
    pub kept: u64,
    /// Errors and warnings that the core logged.
    pub complaints: Vec<String>,
}

/// Produce and fetch requests that a default seed makes at least.
pub const REQUESTS_MIN: u64 = 5_000;

impl Stats {
    /// What a default seed promises to do, and this run did not.
    pub fn unkept(&self) -> Option<String> {
        let least = [
            ("connections", self.connections, 8),
            ("partitions", self.partitions, 20),
            ("produce and fetch requests", self.produces + self.fetches, REQUESTS_MIN),
            ("crashes", self.crashes, 3),
            ("checkpoints", self.checkpoints, 1),
            ("journal files used again", self.wraps, 1),
            ("segments rolled", self.rolls, 1),
        ];
        let missed = least.iter().find(|(_, count, least)| count < least);
        missed.map(|(what, count, least)| format!("{count} {what}; at least {least} are promised"))
    }
}

#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub failure: Option<Failure>,
    pub trace: u64,
    pub virtual_ns: Nanos,
    pub counts: Counts,
    pub stats: Stats,
    pub story: Vec<String>,
}

/// The timeline; kept only where somebody reads it.
#[derive(Clone, Default)]
pub struct Story {
    pub told: bool,
    /// With every op of the disk.
    pub ops: bool,
    pub lines: Vec<String>,
}

impl Story {
    pub fn tell(&mut self, now: Nanos, line: impl FnOnce() -> String) {
        if self.told {
            self.lines.push(format!("{:>9}.{:03} ms  {}", now / MILLIS, now / 1_000 % 1_000, line()));
        }
    }
}
