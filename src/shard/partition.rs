//! One partition on its shard: replica, log, producers, and who waits for what.
//!
//! Invariant: whoever waits for an offset is answered when it is reached or the partition goes, never dropped.

use super::groups::Groups;
use crate::boundary::{ConnId, FileId};
use crate::checkpoint::PartitionSnapshot;
use crate::configs::TopicSettings;
use crate::ids::{NodeId, Offset, PartitionKey, ShardId};
use crate::journal::NoteHint;
use crate::log::segment::{Name, Segment};
use crate::log::{Log, Refusal};
use crate::mail::Ticket;
use crate::metrics::Traffic;
use crate::replica::Replica;
use crate::replica::producers::Producers;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// A produced batch that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    pub ticket: Ticket,
    pub base: Offset,
    pub end: Offset,
    pub batch_bytes: usize,
    /// What the broker's clock stamped, or -1.
    pub append_time: i64,
}

/// A fetch that wants to know of new records.
#[derive(Clone, Copy, Debug)]
pub struct Watcher {
    pub ticket: Ticket,
    pub round: u32,
}

/// A client that has deleted records, and waits until that is durable.
#[derive(Clone, Copy, Debug)]
pub struct Purge {
    pub ticket: Ticket,
    /// The log starts here then, or later.
    pub start: Offset,
}

/// What a partition's log is for.
#[derive(Debug)]
pub enum Machine {
    Data,
    /// A partition of `__consumer_offsets`.
    Groups(Box<Groups>),
}

#[derive(Debug)]
pub struct Partition {
    pub key: PartitionKey,
    pub machine: Machine,
    pub replica: Replica,
    pub log: Log,
    pub producers: Producers,
    pub settings: Arc<TopicSettings>,
    pub refusal: Option<Refusal>,
    /// What it took since the process started.
    pub traffic: Traffic,
    pub hint: NoteHint,
    /// `acks=all`: answered at the high watermark. `acks=1`: at the leader's durable end. In order of `end`.
    pub at_high_watermark: VecDeque<Waiter>,
    pub at_durable: VecDeque<Waiter>,
    /// By the connection that waits: it has one fetch at a time.
    pub watchers: BTreeMap<(ShardId, ConnId), Watcher>,
    /// Deleted by a committed decision; files go when nothing is in flight.
    pub deleted: bool,
    /// The deletion is durable.
    pub deletion_durable: bool,
    /// The frame behind that deletion is durable: damage to its note would be seen, and not taken for a torn tail.
    pub deletion_proven: bool,
    pub removing: bool,
    /// Segments below the start, or replaced, whose files are not gone yet.
    pub doomed: Vec<Name>,
    /// Those of them that are open.
    pub doomed_files: Vec<FileId>,
    /// Replaced by compaction since the last snapshot, perhaps open; and those before it, which is not durable yet.
    pub replaced: Vec<(Name, Option<FileId>)>,
    pub leaving: Vec<(Name, Option<FileId>)>,
    /// Compaction reads it, or writes for it.
    pub compacting: bool,
    /// The log start that is being journalled; it moves, and segments below it go, when that is durable.
    pub next_start: Offset,
    /// The log's start as of the last frame that another one has proven: only below it are files unlinked.
    pub proven_start: Offset,
    /// Who waits for the start to move.
    pub purges: Vec<Purge>,
    /// Everything it holds was past its retention when that was last looked at: the active segment is on its way out too.
    pub expiring: bool,
    /// In the flusher's queue.
    pub queued: bool,
    pub folder_made: bool,
    /// Reads of its segments in flight: files stay open meanwhile.
    pub reads: u32,
}

impl Partition {
    pub fn new(me: NodeId, snapshot: PartitionSnapshot, settings: Arc<TopicSettings>) -> Partition {
        let next_start = snapshot.replica.start;
        Partition {
            key: snapshot.key,
            machine: Machine::Data,
            replica: Replica::new(me, vec![me], snapshot.replica),
            log: Log::new(snapshot.log),
            producers: snapshot.producers,
            settings,
            refusal: snapshot.refusal,
            traffic: Traffic::default(),
            hint: NoteHint::default(),
            at_high_watermark: VecDeque::new(),
            at_durable: VecDeque::new(),
            watchers: BTreeMap::new(),
            deleted: snapshot.deleted,
            deletion_durable: snapshot.deleted,
            deletion_proven: snapshot.deleted,
            removing: false,
            doomed: snapshot.doomed,
            doomed_files: Vec::new(),
            replaced: Vec::new(),
            leaving: Vec::new(),
            compacting: false,
            next_start,
            proven_start: next_start,
            purges: Vec::new(),
            expiring: false,
            queued: false,
            folder_made: false,
            reads: 0,
        }
    }

    /// A partition that nobody has written to.
    pub fn empty(me: NodeId, key: PartitionKey, settings: Arc<TopicSettings>) -> Partition {
        Partition::new(me, empty_snapshot(key), settings)
    }

    pub fn to_snapshot(&self) -> PartitionSnapshot {
        let mut log = self.log.to_snapshot();
        log.segments.retain(|segment| segment.bytes > 0);
        for segment in &mut log.segments {
            if segment.sealed {
                segment.chunks.clear();
            }
        }
        // A start whose note is in a frame that the checkpoint knows is not read from the journal again.
        let mut replica = self.replica.clone();
        if self.next_start > replica.start() {
            replica.advance_start(self.next_start);
        }
        let replaced = self.replaced.iter().chain(&self.leaving).map(|(name, _)| *name);
        PartitionSnapshot {
            key: self.key,
            replica: replica.to_durable(),
            log,
            producers: self.producers.clone(),
            refusal: self.refusal.clone(),
            // The decision is committed before anyone hears of it; from then on its batches hold no journal file.
            deleted: self.deleted,
            doomed: self.doomed.iter().copied().chain(replaced).collect(),
        }
    }

    /// The first offset that is not served.
    pub fn served_end(&self) -> Offset {
        let high_watermark = self.replica.high_watermark();
        self.refusal.as_ref().map_or(high_watermark, |refusal| refusal.from.min(high_watermark))
    }

    /// Recovery: all segments below the log's start are doomed, whatever the checkpoint knew of them.
    pub fn forget_all_below_start(&mut self) {
        let start = self.replica.start();
        let gone = |segment: &Segment| segment.end <= start && (segment.rolled || segment.bytes > 0);
        while self.log.segments.front().is_some_and(gone) {
            let segment = self.log.segments.pop_front().expect("just seen");
            self.doomed.push(segment.name());
            if !segment.rolled {
                // The run before may have rolled it, and have unlinked it already.
                self.log.partial.clear();
            }
            self.doomed_files.extend(segment.open.file);
        }
    }

    /// Puts a waiter in order of its end; duplicates of batches in flight may come late.
    pub fn wait(queue: &mut VecDeque<Waiter>, waiter: Waiter) {
        let index = queue.iter().rposition(|other| other.end <= waiter.end).map_or(0, |index| index + 1);
        queue.insert(index, waiter);
    }

    pub fn check(&self) {
        self.replica.check();
        if let Machine::Groups(groups) = &self.machine
            && let Some(coordinator) = groups.coordinator()
        {
            coordinator.check();
        }
        assert!(self.log.flushed() <= self.replica.end().offset, "{}: segments beyond the log's end", self.key);
    }
}

pub fn empty_snapshot(key: PartitionKey) -> PartitionSnapshot {
    PartitionSnapshot {
        key,
        replica: crate::replica::Durable::default(),
        log: crate::log::LogSnapshot::default(),
        producers: Producers::default(),
        refusal: None,
        deleted: false,
        doomed: Vec::new(),
    }
}
