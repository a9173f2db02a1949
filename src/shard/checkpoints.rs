//! Checkpoints: what frees the journal.
//!
//! ```text
//! due ─▶ flush what is older than the file to be freed ─▶ snapshot, and sync every dirty segment and new folder
//!     ─▶ the snapshot's last frame is durable ─▶ write the copy and its mirror ─▶ free the journal's files
//! ```
//!
//! Invariant: a journal file is used again only when everything in it is in synced segments or in a durable checkpoint. The
//! snapshot is taken before the syncs begin, and holds no more of a segment than had arrived by then; it is written only
//! when every frame that it knows is durable.

use super::tasks::{Step, Then, save};
use super::{Level, Phase, Shard};
use crate::boundary::{Halt, OpenMode};
use crate::checkpoint::{Checkpoint, SlotSnapshot};
use crate::ids::{Offset, PartitionKey, ShardId};
use crate::journal::frame::Place;
use crate::journal::ring::{Ring, Slot, SlotState};
use crate::log::segment;
use crate::memory::{round_down, round_up};
use crate::shard::tasks::Outcome;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

#[derive(Default)]
pub struct Checkpoints {
    pub generation: u64,
    stage: Stage,
    /// The first journal file that must be kept after the next checkpoint.
    target: u64,
    /// Partitions that may have batches in a file before it that are in no segment.
    behind: Vec<u32>,
    /// Where the journal has to be read from, once the checkpoint under way is durable.
    frees: Place,
    frame: u64,
    bytes: Bytes,
    /// Files of the ring that the checkpoint under way makes known.
    filled: Vec<usize>,
    syncing: usize,
    /// Segments that are to be cut to their length, and how many of them are being cut.
    to_trim: Vec<Vec<Step>>,
    trimming: usize,
    copies: usize,
    /// Segments and folders whose sync is to be started.
    to_sync: Vec<(u32, Offset)>,
    folders: BTreeSet<PartitionKey>,
    /// The last checkpoint before the shard stops.
    last: LastStage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// Batches below the target are being written to their segments.
    Flushing,
    /// They are there; the snapshot waits for a moment when no frame is half filled.
    Ready,
    /// Segments and folders are being synced.
    Syncing,
    /// The snapshot's last frame is not durable yet: a checkpoint must never know more than the journal behind it.
    Waiting,
    /// The copies are being written.
    Saving,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LastStage {
    #[default]
    NotAsked,
    /// Every staged batch goes to its segment.
    Draining,
    /// Active segments are cut to their length.
    Trimming,
    Saving,
    Done,
}

/// Syncs in flight: enough to keep the disk busy, few enough to leave it to the journal.
const SYNCS_IN_FLIGHT: usize = 2;
/// Between two writes of zeros, so that commits seldom meet one: a ring is full after some seconds.
const FILLING_PAUSE: Duration = Duration::from_millis(2);
/// When nobody waits for the journal any more.
const SYNCS_IN_FLIGHT_AT_STOP: usize = 32;
/// A stop that has taken so long leaves the rest to the next start, which finds it in the journal.
pub const STOP_MAX: Duration = Duration::from_millis(600);

impl Checkpoints {
    /// What was synced is in no checkpoint of ours: the new layout's will have it.
    pub fn on_moved(&mut self) {
        self.stage = Stage::Saving;
    }
}

impl Shard {
    /// What the checkpoint under way waits for, for people.
    pub(super) fn checkpoint_waits_for(&self) -> String {
        let behind = self.checkpoints.behind.iter().filter_map(|slot| self.partitions[*slot as usize].as_deref());
        let behind: Vec<String> = behind
            .map(|partition| {
                let (log, limit) = (&partition.log, partition.replica.settled());
                let (staged, flushed, writing) = (log.staged_bytes(), log.flushed(), log.writing);
                let refused = partition.refusal.is_some();
                format!(
                    "{}: {staged} bytes from {flushed} of {limit}, writing {writing}, refused {refused}",
                    partition.key
                )
            })
            .collect();
        let journal = self.journal.as_ref().map(|journal| (journal.place(), journal.open_notes(), journal.is_idle()));
        format!("checkpoint {:?}, journal {journal:?}, behind: {}", self.checkpoints.stage, behind.join("; "))
    }

    /// A checkpoint is due when the journal has moved on to another file, or cannot.
    pub(super) fn check_checkpoint_due(&mut self) {
        if self.checkpoints.stage != Stage::Idle || matches!(self.phase, Phase::Stopping | Phase::Moving) {
            return;
        }
        let (live, place) = (self.journal().ring.live_slots(), self.journal().place());
        let slots = self.journal().ring.len();
        let few_left = self.journal().ring.free_slots() * 2 <= slots;
        if live > 1 && (few_left || self.journal_full) {
            // About half of what is live is freed: what is old has mostly been written by then.
            self.checkpoints.target = place.file_seq - (live as u64 - 1) / 2;
            self.checkpoints.stage = Stage::Flushing;
            self.checkpoints.behind = (0..self.partitions.len() as u32).collect();
        } else if !self.journal().ring.filled().is_empty()
            && (!self.boot.filling || self.journal().ring.free_slots() == 0)
        {
            // Nothing is to be freed: the new files are only to be made known, at once where the next one is needed.
            self.checkpoints.target = 0;
            self.checkpoints.stage = Stage::Flushing;
            self.checkpoints.behind.clear();
        } else if self.compactor.wants_checkpoint() && self.phase == Phase::Serving {
            // Only then do the segments go that compaction has replaced.
            self.checkpoints.target = 0;
            self.checkpoints.stage = Stage::Flushing;
            self.checkpoints.behind.clear();
        }
    }

    pub(super) fn pump_checkpoint(&mut self) {
        self.check_checkpoint_due();
        match self.checkpoints.stage {
            Stage::Flushing => self.flush_below_target(),
            Stage::Syncing => self.pump_syncs(),
            Stage::Idle | Stage::Ready | Stage::Saving | Stage::Waiting => {}
        }
        if self.checkpoints.stage == Stage::Waiting && self.durable_frame() >= self.checkpoints.frame {
            if self.phase == Phase::Moving {
                return self.move_out();
            }
            self.save_checkpoint();
        }
    }

    fn durable_frame(&mut self) -> u64 {
        let in_flight = u64::from(self.commit.is_some());
        self.journal().open_frame() - 1 - in_flight
    }

    /// Sees that every batch of a file to be freed gets to its segment.
    fn flush_below_target(&mut self) {
        let target = self.checkpoints.target;
        let mut behind = core::mem::take(&mut self.checkpoints.behind);
        behind.retain(|slot| {
            let Some(partition) = self.partition(*slot) else { return false };
            let old = |file_seq| file_seq < target;
            let is_behind = !partition.deleted && partition.log.oldest_staged_file().is_some_and(old);
            if is_behind {
                self.queue_flush(*slot);
            }
            is_behind
        });
        if behind.is_empty() {
            self.checkpoints.stage = Stage::Ready;
        } else {
            self.checkpoints.behind = behind;
            self.pump_flusher();
        }
    }

    /// Everything in memory is in some sealed frame just now: the snapshot is as of the last one.
    pub(super) fn snapshot_if_ready(&mut self) {
        if self.checkpoints.stage == Stage::Ready && self.journal().open_is_empty() {
            self.take_snapshot();
        }
    }

    /// The state as of now, to be made durable piece by piece.
    fn take_snapshot(&mut self) {
        let place = self.journal().place();
        let (run, id, frame) = (self.journal().run(), self.journal().id(), self.journal().open_frame() - 1);
        let live = self.partitions.iter().flatten().filter(|partition| !partition.deleted);
        let oldest_staged = live.filter_map(|partition| partition.log.oldest_staged_file()).min();
        let in_flight = self.commit_in_flight();
        // The frame in flight is in the snapshot, but its batches are in no tail yet: it is read again as well.
        let (replay, replay_frame, replay_run) =
            match oldest_staged.and_then(|file| self.file_starts.get(&file).copied()) {
                Some(start) => start,
                None => in_flight.unwrap_or((place, frame + 1, run)),
            };
        self.replaced_in_snapshot();
        self.checkpoints.generation += 1;
        let journal = self.journal.as_ref().expect("the journal is open");
        let slots = journal.ring.slots.iter().filter_map(|slot| slot_snapshot(slot, replay.file_seq)).collect();
        let metadata = if self.me == ShardId(0) { self.controller.image.encode() } else { Vec::new() };
        let partitions = self.partitions.iter().flatten().map(|partition| partition.to_snapshot()).collect();
        let generation = self.checkpoints.generation;
        let checkpoint = Checkpoint {
            generation,
            journal: id,
            run,
            frame,
            replay,
            replay_frame,
            replay_run,
            slots,
            partitions,
            metadata,
        };
        self.checkpoints.bytes = checkpoint.encode();
        self.checkpoints.frame = frame;
        self.checkpoints.frees = replay;
        self.checkpoints.filled = self.journal().ring.filled();
        self.list_what_to_sync();
        self.checkpoints.stage = Stage::Syncing;
        self.pump_syncs();
    }

    fn list_what_to_sync(&mut self) {
        let mut to_sync = Vec::new();
        let mut folders = BTreeSet::new();
        for (slot, partition) in self.partitions.iter_mut().enumerate() {
            let Some(partition) = partition.as_deref_mut().filter(|partition| !partition.deleted) else { continue };
            for segment in &mut partition.log.segments {
                if segment.open.dirty && segment.open.file.is_some() {
                    segment.open.dirty = false;
                    to_sync.push((slot as u32, segment.base));
                }
                if segment.open.unnamed && segment.bytes > 0 {
                    segment.open.unnamed = false;
                    folders.insert(partition.key);
                }
            }
        }
        self.checkpoints.to_sync = to_sync;
        self.checkpoints.folders = folders;
    }

    /// Starts syncs, a few at a time; the folders after the files.
    fn pump_syncs(&mut self) {
        let serves = self.phase == Phase::Serving;
        let in_flight = if serves { SYNCS_IN_FLIGHT } else { SYNCS_IN_FLIGHT_AT_STOP };
        while self.checkpoints.syncing < in_flight {
            if let Some((slot, base)) = self.checkpoints.to_sync.pop() {
                let Some(partition) = self.partition(slot) else { continue };
                let Some(segment) = partition.log.segment_at(base) else { continue };
                let Some(file) = segment.open.file else { continue };
                let path = segment.path(partition.key);
                partition.reads += 1;
                self.checkpoints.syncing += 1;
                self.start_task(vec![Step::Sync], Some(file), &path, Then::Synced { partition: Some(slot) });
            } else if let Some(key) = self.checkpoints.folders.pop_first() {
                let mut steps = vec![Step::SyncDir(segment::folder(key))];
                if self.checkpoints.folders.is_empty() {
                    steps.push(Step::SyncDir("partitions".to_string()));
                }
                self.checkpoints.syncing += 1;
                self.start_task(steps, None, "partitions", Then::Synced { partition: None });
            } else {
                break;
            }
        }
        if self.checkpoints.syncing == 0 && self.checkpoints.stage == Stage::Syncing {
            self.checkpoints.stage = Stage::Waiting;
            self.dirty = true;
        }
    }

    pub(super) fn on_synced(&mut self, slot: Option<u32>) {
        self.checkpoints.syncing -= 1;
        if let Some(slot) = slot
            && let Some(partition) = self.partition(slot)
        {
            partition.reads -= 1;
            self.remove_doomed(slot);
            self.remove_partition_if_due(slot);
        }
        if self.checkpoints.stage == Stage::Syncing {
            self.pump_syncs();
        }
    }

    fn save_checkpoint(&mut self) {
        self.checkpoints.stage = Stage::Saving;
        self.checkpoints.copies = 2;
        let (folder, bytes) = (self.folder(), core::mem::take(&mut self.checkpoints.bytes));
        let mut steps = save(&folder, "checkpoint", bytes.clone());
        steps.extend(save(&folder, "checkpoint.mirror", bytes));
        let path = format!("{folder}/checkpoint");
        self.start_task(steps, None, &path, Then::CheckpointSaved);
    }

    pub(super) fn on_checkpoint_saved(&mut self) {
        if self.checkpoints.last == LastStage::Saving {
            self.checkpoints.last = LastStage::Done;
            return self.fx.halt(Halt::Stopped);
        }
        self.on_checkpoint_durable();
    }

    fn on_checkpoint_durable(&mut self) {
        self.checkpoints.stage = Stage::Idle;
        let keep = self.checkpoints.frees.file_seq;
        let gone = self.journal().ring.free_before(keep);
        self.close_files(gone);
        let filled = core::mem::take(&mut self.checkpoints.filled);
        self.journal().ring.recorded(&filled);
        self.file_starts.retain(|file_seq, _| *file_seq >= keep);
        self.journal_full = false;
        let (generation, frame) = (self.checkpoints.generation, self.checkpoints.frame);
        let text =
            format!("shard {}: checkpoint {generation} as of frame {frame}; journal kept from file {keep}", self.me.0);
        self.fx.log(Level::Debug, text);
        self.expire_producers();
        self.remove_replaced();
        self.fill_ring();
        self.check_stopped();
    }

    fn expire_producers(&mut self) {
        let before = self.fx.now.wall.0.saturating_sub_unsigned(self.settings.producer_id_expiration_ms);
        for partition in self.partitions.iter_mut().flatten() {
            partition.producers.expire(before);
        }
    }

    /// Adds the next missing file to the ring, or grows one that is smaller than the others, behind everything else.
    pub(super) fn fill_ring(&mut self) {
        if self.boot.filling || self.phase == Phase::Stopping {
            return;
        }
        let folder = self.folder();
        let (file_bytes, files) = (round_up(self.config.journal.file_bytes), self.config.journal.files as usize);
        let ring = &mut self.journal.as_mut().expect("the journal is open").ring;
        let small = |slot: &Slot| slot.state == SlotState::Free && slot.bytes < file_bytes;
        let (slot, number, file, from) = if ring.len() < files {
            ring.next_number += 1;
            (ring.slots.len(), ring.next_number - 1, None, 0)
        } else if let Some(slot) = ring.slots.iter().position(small) {
            let small = &mut ring.slots[slot];
            small.state = SlotState::Filling;
            (slot, small.number, Some(small.file), small.bytes)
        } else {
            return;
        };
        let path = Ring::slot_path(&folder, number);
        let mut steps = Vec::new();
        if file.is_none() {
            steps.push(Step::Open(path.clone(), OpenMode { create: true, truncate: true, direct: true }));
        }
        steps.push(Step::Allocate { offset: from, len: file_bytes - from });
        steps.push(Step::Zero { from, to: file_bytes });
        steps.push(Step::Sync);
        steps.push(Step::SyncDir(folder));
        self.boot.filling = true;
        self.start_task(steps, file, &path, Then::SlotFilled { slot, number, bytes: file_bytes });
    }

    /// How long the filling of the ring rests after a write of zeros: not at all while little is left that can be written.
    pub(super) fn filling_pause(&self) -> Option<Duration> {
        let journal = self.journal.as_ref()?;
        let needed = round_up(self.config.journal.file_bytes) / 2;
        (journal.ring.room(journal.place()) >= needed).then_some(FILLING_PAUSE)
    }

    pub(super) fn on_slot_filled(&mut self, slot: usize, number: u32, bytes: u64, outcome: &Outcome) {
        self.boot.filling = false;
        let path = Ring::slot_path(&self.folder(), number);
        let file = outcome.file.expect("the slot is open");
        let ring = &mut self.journal().ring;
        let filled = Slot { number, path, file, bytes, state: SlotState::Filled };
        if slot == ring.slots.len() {
            ring.slots.push(filled);
        } else {
            ring.slots[slot] = filled;
        }
        self.fill_ring();
        self.pump_checkpoint();
    }

    /// The way down: commits, flushes, trims, a last checkpoint; called whenever one of them may be over.
    pub(super) fn check_stopped(&mut self) {
        if self.phase == Phase::Moving {
            return self.check_moved();
        }
        if self.phase != Phase::Stopping || self.fx.halted() {
            return;
        }
        match self.checkpoints.last {
            LastStage::NotAsked => {
                self.checkpoints.last = LastStage::Draining;
                self.check_stopped();
            }
            LastStage::Draining => self.drain(),
            LastStage::Trimming | LastStage::Saving | LastStage::Done => {}
        }
    }

    fn drain(&mut self) {
        if self.commit.is_some() || !self.journal().is_idle() || self.checkpoints.stage != Stage::Idle {
            return;
        }
        let drained = self.drained();
        let stuck = self.disk_full && self.flusher.is_stuck();
        if drained || stuck {
            self.trim();
        }
    }

    /// Asks for every staged batch to be written to its segment. True when all are there, and no roll is half done.
    fn drained(&mut self) -> bool {
        if !self.flusher.is_idle() {
            self.pump_flusher();
            return false;
        }
        for slot in 0..self.partitions.len() as u32 {
            self.queue_flush(slot);
        }
        self.pump_flusher();
        let staged = |partition: &super::Partition| {
            !partition.deleted
                && (partition.log.staged_bytes() > 0 && partition.log.oldest_staged_below(partition.replica.settled()))
        };
        let rolling = |partition: &super::Partition| {
            partition.log.segments.iter().any(|segment| segment.rolled && !segment.sealed)
        };
        let busy = self.partitions.iter().flatten().any(|partition| staged(partition) || rolling(partition));
        !busy && self.flusher.is_idle()
    }

    /// Moving: once every batch is in its segment, the segments and their folders are synced.
    pub(super) fn check_moved(&mut self) {
        if self.checkpoints.stage == Stage::Idle && self.drained() {
            self.list_what_to_sync();
            self.checkpoints.stage = Stage::Syncing;
            self.pump_syncs();
        }
    }

    /// The last files are being cut: no segment may grow any more, or the cut would take what was written.
    pub(super) fn is_trimming(&self) -> bool {
        matches!(self.checkpoints.last, LastStage::Trimming | LastStage::Saving | LastStage::Done)
    }

    /// Cuts every active segment to its length, so that other tools read it.
    fn trim(&mut self) {
        self.checkpoints.last = LastStage::Trimming;
        let mut steps = Vec::new();
        for partition in self.partitions.iter_mut().flatten().filter(|partition| !partition.deleted) {
            let key = partition.key;
            let Some(segment) = partition.log.segments.back_mut().filter(|segment| !segment.rolled) else { continue };
            // Room may have been reserved for what never came.
            let is_there = segment.bytes > 0 || segment.open.file.is_some();
            if !is_there || segment.trimmed {
                continue;
            }
            segment.trimmed = true;
            segment.open.dirty = false;
            segment.open.unnamed = false;
            let partial = Bytes::copy_from_slice(&partition.log.partial);
            steps.push((segment.path(key), segment.bytes, key, partial));
        }
        for (path, bytes, key, partial) in steps {
            let mut all = Vec::new();
            all.push(Step::Open(path, OpenMode { create: false, truncate: false, direct: false }));
            if !partial.is_empty() {
                // A crash before this run may have torn it, and other tools read the file as it is. The batches that were being
                // written then come again and write it too, but not where the disk is full, or the partition refuses them.
                all.push(Step::Write { offset: bytes - partial.len() as u64, data: partial });
            }
            all.push(Step::Truncate(bytes));
            all.push(Step::Sync);
            all.push(Step::Close);
            all.push(Step::SyncDir(segment::folder(key)));
            self.checkpoints.to_trim.push(all);
        }
        self.checkpoints.trimming = 1;
        self.start_task(vec![Step::SyncDir("partitions".to_string())], None, "partitions", Then::Trimmed);
    }

    pub(super) fn on_trimmed(&mut self) {
        self.checkpoints.trimming -= 1;
        while self.checkpoints.trimming < SYNCS_IN_FLIGHT_AT_STOP {
            let Some(steps) = self.checkpoints.to_trim.pop() else { break };
            self.checkpoints.trimming += 1;
            self.start_task(steps, None, "partitions", Then::Trimmed);
        }
        if self.checkpoints.trimming == 0 {
            self.checkpoints.last = LastStage::Saving;
            self.take_snapshot();
        }
    }

    /// What is not in its segment, or not in a checkpoint, is in the journal: as safe, and soon read at the next start.
    pub(super) fn on_stop_due(&mut self) {
        let text = format!(
            "shard {} stops before all of its segments are written: the next start finds the rest in the journal",
            self.me.0
        );
        self.fx.log(Level::Info, text);
        self.fx.halt(Halt::Stopped);
    }
}

/// What a checkpoint that needs the journal from `keep` on says of a slot; nothing of one that leaves the ring with it.
fn slot_snapshot(slot: &Slot, keep: u64) -> Option<SlotSnapshot> {
    let file_seq = match slot.state {
        SlotState::Live { file_seq } if slot.is_kept() && file_seq < keep => return None,
        SlotState::Live { file_seq } => Some(file_seq),
        SlotState::Free | SlotState::Filling | SlotState::Filled => None,
        SlotState::Kept => return None,
    };
    Some(SlotSnapshot { number: slot.number, bytes: round_down(slot.bytes), file_seq })
}
