//! Recovery: the checkpoint, then the journal behind it, frame by frame, never the segments.
//!
//! Frames up to the checkpoint's only bring back batches that are in no segment yet; later ones are applied whole. What was
//! damaged makes exactly the partitions that it hit refuse. Invariant: when recovery is over everything it brought back
//! is durable, and the journal goes on at the cut under a new run number.

use super::effects::Pending;
use super::partition::{Partition, empty_snapshot};
use super::tasks::Step::{Rename, SyncDir};
use super::tasks::Then;
use super::{Shard, controller, produce};
use crate::boundary::{Done, Halt, Level, Op};
use crate::configs::TopicSettings;
use crate::ids::{Offset, PartitionKey, ShardId};
use crate::journal::frame::{Frame, Note};
use crate::journal::ring::{Ring, SlotState};
use crate::journal::scan::{Damage, Scanner, SlotView, Step};
use crate::journal::{Journal, Resume};
use crate::log::Refusal;
use crate::memory::{self, ArenaPool, Shares, round_down};
use crate::metadata::Image;
use crate::records::BatchHeader;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// Lost frames: the first, and the one behind the last.
struct Lost {
    first: u64,
    proof: u64,
}

#[derive(Default)]
pub struct Recovery {
    /// Frames up to this one are in the checkpoint.
    frame: u64,
    /// The read in flight: slot, offset and length.
    read: Option<(usize, u64, usize)>,
    /// Frames that are not what was written, and of which nothing has been told yet.
    lost: Option<Lost>,
    /// Partitions that a damaged frame, whose directory is lost as well, may have hit: all that are not proved whole.
    unproved: BTreeSet<u32>,
    /// Such a frame is younger than the checkpoint: it may have held partitions that nothing else here knows of.
    blind: bool,
    /// The last damage: file and offset.
    damaged_at: Option<(String, u64)>,
    refusals: Vec<(PartitionKey, Refusal)>,
    /// Journal files that hold what is in no segment, and cannot get there.
    keep: BTreeSet<u64>,
    frames: u64,
}

impl Recovery {
    /// Where frames are lost that may have held partitions of which nothing else tells.
    pub(super) fn blind_at(&self) -> Option<(String, u64)> {
        self.damaged_at.clone().filter(|_| self.blind)
    }
}

impl Shard {
    /// Brings back the checkpoint's state and starts to read the journal.
    pub(super) fn start_replay(&mut self) {
        let checkpoint = self.boot.checkpoint.take().expect("it was read");
        let defaults = Arc::new(TopicSettings::resolve(&Default::default(), &self.config.broker));
        if self.me == ShardId(0) {
            match Image::decode(&checkpoint.metadata) {
                Ok(image) => self.controller.image = image,
                Err(error) => return self.fx.halt(Halt::Refused { reason: format!("{error}") }),
            }
        }
        for snapshot in &checkpoint.partitions {
            let partition = Partition::new(self.config.node, snapshot.clone(), defaults.clone());
            self.add_partition(partition);
        }
        let view = |slot: &crate::journal::ring::Slot| SlotView {
            bytes: slot.bytes,
            file_seq: match slot.state {
                SlotState::Live { file_seq } => Some(file_seq),
                SlotState::Free | SlotState::Filling | SlotState::Filled | SlotState::Kept => None,
            },
        };
        let slots = self.boot.ring.slots.iter().map(view).collect();
        // Not the checkpoint's own run: frames of an older run lie between `replay` and it.
        let (journal, run) = (checkpoint.journal, checkpoint.replay_run);
        let (from, frame, read_bytes) = (checkpoint.replay, checkpoint.replay_frame, self.config.journal.read_bytes);
        self.boot.scanner = Some(Scanner::new(journal, run, slots, from, frame, read_bytes));
        self.boot.recovery = Recovery { frame: checkpoint.frame, ..Recovery::default() };
        self.checkpoints.generation = checkpoint.generation;
        self.file_starts
            .insert(checkpoint.replay.file_seq, (checkpoint.replay, checkpoint.replay_frame, checkpoint.replay_run));
        self.boot.checkpoint = Some(checkpoint);
        self.scan();
    }

    /// Goes on until the scan wants bytes or is over.
    fn scan(&mut self) {
        let mut scanner = self.boot.scanner.take().expect("recovery is under way");
        loop {
            match scanner.step() {
                Step::Read { slot, offset, len } => {
                    let file = self.boot.ring.slots[slot].file;
                    self.boot.recovery.read = Some((slot, offset, len));
                    self.fx.submit(Op::Read { file, offset, buf: memory::aligned(len), len }, Pending::Scan);
                    break;
                }
                Step::Frame(frame) => self.replay(&scanner, &frame),
                Step::Damage(damage) => self.on_damage(&damage),
                Step::End(resume) => return self.keep_damaged(scanner, resume),
            }
            if self.fx.halted() {
                return;
            }
        }
        self.boot.scanner = Some(scanner);
    }

    pub(super) fn on_scan_read(&mut self, done: Done) {
        let Done::Read { mut buf, result } = done else { panic!("a read ended as {done:?}") };
        let (slot, offset, len) = self.boot.recovery.read.expect("a read was in flight");
        let path = self.boot.ring.slots[slot].path.clone();
        match result {
            Ok(0) => {
                let end = offset + buf.len() as u64;
                let reason = format!("the file ends at {end}, its size was recorded otherwise");
                return self.fx.halt(Halt::Damage { path, offset: end, reason });
            }
            Ok(_) => {}
            Err(error) => return self.fx.halt(Halt::Disk { path, error }),
        }
        if buf.len() < len {
            // A short read may end inside a sector; the next one goes on at a whole one.
            buf.truncate(round_down(buf.len() as u64) as usize);
            let (file, from, len) = (self.boot.ring.slots[slot].file, offset + buf.len() as u64, len - buf.len());
            return self.fx.submit(Op::Read { file, offset: from, buf, len }, Pending::Scan);
        }
        self.boot.scanner.as_mut().expect("recovery is under way").on_read(slot, offset, buf);
        self.scan();
    }

    /// One good frame.
    fn replay(&mut self, scanner: &Scanner, frame: &Frame) {
        let bytes = scanner.frame_bytes();
        self.settle_lost(scanner, Some(&frame.notes_before));
        self.boot.recovery.frames += 1;
        let place = frame.header.place;
        self.file_starts.entry(place.file_seq).or_insert((place, frame.header.frame, frame.header.run));
        let known = frame.header.frame <= self.boot.recovery.frame;
        if !known {
            for note in &frame.notes {
                self.replay_note(note);
            }
        }
        for placed in &frame.placements {
            let (start, len) = (placed.start as usize, placed.len as usize);
            let key = frame.notes[placed.note as usize].key();
            if known && !self.slots.contains_key(&key) {
                // The checkpoint is younger than this frame, and has forgotten the partition: it is deleted and gone.
                continue;
            }
            self.replay_batch(key, &bytes[start..start + len], frame.header.place.file_seq, known);
        }
    }

    fn replay_note(&mut self, note: &Note) {
        let slot = self.recovered(note.key());
        let Some(partition) = self.partition(slot) else { return };
        match note {
            Note::Batches { .. } => {}
            Note::EpochStart { .. } if partition.refusal.is_some() => {}
            Note::EpochStart { key, line } => {
                if partition.replica.end().offset == line.start {
                    return partition.replica.apply_epoch_start(*line);
                }
                // The records between are lost, whether or not the directory of a lost frame still tells of them.
                let (end, start) = (partition.log.end(), line.start);
                let Some(at) = self.boot.recovery.damaged_at.clone() else {
                    panic!("{key}: an epoch from {start} on behind {end}, and no damage between them")
                };
                self.refuse_partition(slot, end, &at);
            }
            Note::Vote { epoch, voted_for, .. } => partition.replica.apply_vote(*epoch, *voted_for),
            Note::LogStart { start, .. } => {
                partition.replica.recover_start(*start);
                partition.next_start = partition.next_start.max(*start);
                if let Some(refusal) = &mut partition.refusal {
                    refusal.from = refusal.from.max(*start);
                }
            }
            Note::Deleted { .. } => {
                partition.deleted = true;
                partition.deletion_durable = true;
            }
            // Harm that came later than the note may have cut the log further in front: what is found first stands.
            Note::Refused { refusal, .. } => {
                if partition.refusal.as_ref().is_none_or(|found| refusal.from < found.from) {
                    partition.refusal = Some(refusal.clone());
                }
            }
        }
    }

    fn replay_batch(&mut self, key: PartitionKey, bytes: &[u8], file_seq: u64, known: bool) {
        let slot = self.recovered(key);
        let header = BatchHeader::parse(bytes).unwrap_or_else(|error| panic!("{key}: a journalled batch: {error}"));
        let (base, end, stamp) = (header.base_offset, header.end_offset(), header.max_timestamp.0);
        let Some(partition) = self.partition(slot) else { return };
        if partition.deleted {
            return;
        }
        let log_end = partition.log.end();
        let refused_from = partition.refusal.as_ref().map(|refusal| refusal.from);
        // What could not be read once, and for which the partition refuses since, may be readable now: it does not come
        // back, or it would wait in the journal for ever, above the end of its log.
        if base > log_end || refused_from.is_some_and(|from| base >= from) {
            // No segment will hold it: its journal file is all that is left of it.
            self.boot.recovery.keep.insert(file_seq);
            if refused_from.is_some() {
                return;
            }
            let Some(at) = self.boot.recovery.damaged_at.clone() else {
                panic!("{key}: a batch at {base} behind {log_end}, and no damage between them")
            };
            return self.refuse_partition(slot, log_end, &at);
        }
        if base == log_end {
            let (bytes, check) = (Bytes::copy_from_slice(bytes), crc32fast::hash(bytes));
            partition.log.push(base, end, stamp, bytes, check, file_seq);
        }
        if !known {
            partition.replica.recover_records(end);
            if let Some(sequence) = produce::sequence_of(&header) {
                partition.producers.apply(sequence, base, end, stamp);
            }
        }
        self.boot.recovery.unproved.remove(&slot);
        if base >= log_end {
            self.cached(slot, base, bytes.len());
        }
        if !known && key == PartitionKey::METADATA {
            for record in controller::decode_records(bytes) {
                self.controller.image.apply(&record);
            }
        }
    }

    /// The slot of a partition that the journal names.
    fn recovered(&mut self, key: PartitionKey) -> u32 {
        if let Some(slot) = self.slots.get(&key) {
            return *slot;
        }
        let settings = self.settings_of(key.topic);
        let partition = Partition::new(self.config.node, empty_snapshot(key), settings);
        self.add_partition(partition)
    }

    fn on_damage(&mut self, damage: &Damage) {
        let slot = &self.boot.ring.slots[damage.slot];
        let (first, last) = (damage.first_frame, damage.proof - 1);
        let text = format!(
            "{} is damaged at offset {}: frames {first} to {last} are not what was written",
            slot.path, damage.offset
        );
        self.fx.log(Level::Error, text);
        self.boot.recovery.keep.extend(damage.files.0..=damage.files.1);
        let path = slot.path.clone();
        let lost = self.boot.recovery.lost.get_or_insert(Lost { first, proof: damage.proof });
        lost.proof = damage.proof;
        self.boot.recovery.damaged_at = Some((path, damage.offset));
    }

    /// What the lost frames held, as far as it can be told: by their own directories, or by `last`, which the good frame
    /// behind them repeats. A frame that nothing tells of may have hit every partition.
    fn settle_lost(&mut self, scanner: &Scanner, last: Option<&[Note]>) {
        let Some(lost) = self.boot.recovery.lost.take() else { return };
        let at = self.boot.recovery.damaged_at.clone().expect("damage has a place");
        for frame in lost.first..lost.proof {
            let repeated = last.filter(|_| frame + 1 == lost.proof);
            match scanner.directory(frame).or(repeated) {
                Some(notes) => notes.iter().for_each(|note| self.replay_lost(note, &at, frame)),
                None => {
                    self.boot.recovery.unproved = (0..self.partitions.len() as u32).collect();
                    self.boot.recovery.blind |= frame > self.boot.recovery.frame;
                }
            }
        }
    }

    /// A line of a lost frame's directory: small entries are whole in it, batches are lost.
    fn replay_lost(&mut self, note: &Note, at: &(String, u64), frame: u64) {
        let known = frame <= self.boot.recovery.frame;
        match note {
            Note::Batches { key, first, end, .. } => {
                let slot = self.recovered(*key);
                let Some(partition) = self.partition(slot) else { return };
                // Segments that the checkpoint vouches for hold it as well.
                if partition.log.flushed() >= *end {
                    return;
                }
                self.refuse_partition(slot, (*first).max(Offset(0)), at);
            }
            Note::EpochStart { .. }
            | Note::Vote { .. }
            | Note::LogStart { .. }
            | Note::Deleted { .. }
            | Note::Refused { .. } => {
                if !known {
                    self.replay_note(note);
                }
            }
        }
    }

    /// From `from` on the partition is damaged.
    pub(super) fn refuse_partition(&mut self, slot: u32, from: Offset, at: &(String, u64)) {
        let Some(partition) = self.partition(slot) else { return };
        if partition.deleted || partition.refusal.as_ref().is_some_and(|refusal| refusal.from <= from) {
            return;
        }
        let key = partition.key;
        // What is known to be lost may lie behind more that is lost, of which nothing tells.
        let from = from.min(partition.log.end()).max(partition.replica.start());
        let refusal = Refusal { from, path: at.0.clone(), offset: at.1 };
        partition.refusal = Some(refusal.clone());
        let text = format!("partition {key} refuses: {refusal}");
        self.fx.log(Level::Error, text);
        if key == PartitionKey::METADATA {
            let reason = String::from("the metadata log is lost there");
            return self.fx.halt(Halt::Damage { path: at.0.clone(), offset: at.1, reason });
        }
        if let Some(journal) = &mut self.journal {
            journal.append_note(Note::Refused { key, refusal });
        } else {
            self.boot.recovery.refusals.push((key, refusal));
        }
    }

    /// The scan is over. Files that hold damage, or what lies behind it, get a name under which the ring never uses them
    /// again, before anything more is written.
    fn keep_damaged(&mut self, scanner: Scanner, resume: Resume) {
        let folder = self.folder();
        let mut found: BTreeSet<usize> = BTreeSet::new();
        for file_seq in core::mem::take(&mut self.boot.recovery.keep) {
            match scanner.slot_of(file_seq) {
                Some(slot) => found.extend([slot]),
                // Its first sector is lost, and nothing in it tells which file it is.
                None => found.extend(scanner.strangers()),
            }
        }
        let mut steps = Vec::new();
        for slot in found {
            let slot = &mut self.boot.ring.slots[slot];
            if !slot.is_kept() {
                let from = core::mem::replace(&mut slot.path, Ring::kept_path(&folder, slot.number));
                let text = format!("{from} is kept as {}: with what damage has cut off from its partition", slot.path);
                self.fx.log(Level::Warn, text);
                let to = slot.path.clone();
                self.rename_in_refusals(&from, &to);
                steps.push(Rename { from, to });
            }
        }
        if steps.is_empty() {
            return self.on_replayed(&scanner, resume);
        }
        steps.push(SyncDir(folder.clone()));
        self.boot.scanned = Some((scanner, resume));
        self.start_task(steps, None, &folder, Then::DamagedKept);
    }

    /// What was refused in this recovery names the file by which people will find it.
    fn rename_in_refusals(&mut self, from: &str, to: &str) {
        let partitions = self.partitions.iter_mut().flatten().filter_map(|partition| partition.refusal.as_mut());
        let journalled = self.boot.recovery.refusals.iter_mut().map(|(_, refusal)| refusal);
        let paths = partitions.chain(journalled).map(|refusal| &mut refusal.path);
        let last = self.boot.recovery.damaged_at.iter_mut().map(|(path, _)| path);
        paths.chain(last).filter(|path| *path == from).for_each(|path| *path = String::from(to));
    }

    pub(super) fn on_damaged_kept(&mut self) {
        let (scanner, resume) = self.boot.scanned.take().expect("the scan was over");
        self.on_replayed(&scanner, resume);
    }

    /// Nothing good is left behind this: the journal goes on here, under a new run number.
    fn on_replayed(&mut self, scanner: &Scanner, resume: Resume) {
        self.settle_lost(scanner, None);
        let checkpoint = self.boot.checkpoint.take().expect("it was read");
        if resume.next_frame <= checkpoint.frame {
            let slot = scanner.slot_of(resume.place.file_seq).unwrap_or(0);
            let path = self.boot.ring.slots[slot].path.clone();
            let reason =
                format!("frame {} is missing, and the checkpoint knows frame {}", resume.next_frame, checkpoint.frame);
            self.fx.log(Level::Error, format!("{path} is damaged at offset {}: {reason}", resume.place.offset));
            return self.fx.halt(Halt::Damage { path, offset: resume.place.offset, reason });
        }
        self.refuse_what_is_unproved();
        let run = scanner.run().max(checkpoint.run) + 1;
        // A run that went on behind a clean stop may have reserved room again in files that the stop had cut.
        let ran_on = resume.next_frame > checkpoint.frame + 1;
        let mut ring = core::mem::take(&mut self.boot.ring);
        for (index, slot) in ring.slots.iter_mut().enumerate() {
            let mut live = checkpoint.replay.file_seq..=resume.place.file_seq;
            slot.state = match live.find(|seq| scanner.slot_of(*seq) == Some(index)) {
                Some(file_seq) => SlotState::Live { file_seq },
                None => slot.freed(),
            };
        }
        let journal_config = self.config.journal;
        let pool = ArenaPool::new(journal_config.arena_bytes, Shares::of(self.config.memory_bytes).journal);
        let text = format!(
            "shard {} has read {} frames of its journal; run {run} goes on at file {} offset {}",
            self.me.0, self.boot.recovery.frames, resume.place.file_seq, resume.place.offset
        );
        self.fx.log(Level::Debug, text);
        self.last_content.0 = resume.next_frame - 1;
        let mut journal = Journal::new(checkpoint.journal, run, ring, pool, journal_config.commit_bytes_max, resume);
        for (key, refusal) in core::mem::take(&mut self.boot.recovery.refusals) {
            journal.append_note(Note::Refused { key, refusal });
        }
        self.journal = Some(journal);
        for partition in self.partitions.iter_mut().flatten() {
            partition.replica.recovered();
            partition.forget_all_below_start();
            if let Some(active) = partition.log.segments.back_mut().filter(|_| ran_on) {
                active.trimmed = false;
            }
            partition.check();
        }
        match self.config.reshard {
            None => self.after_recovery(),
            Some(shards) => self.start_moving(shards),
        }
    }

    /// Whatever damage may have hit and no later frame proves whole.
    fn refuse_what_is_unproved(&mut self) {
        let unproved = core::mem::take(&mut self.boot.recovery.unproved);
        for slot in 0..self.partitions.len() as u32 {
            let Some(partition) = self.partition(slot) else { continue };
            let (end, log_end, key) = (partition.replica.end().offset, partition.log.end(), partition.key);
            let start = partition.replica.start();
            let whole = match &partition.refusal {
                // Of an earlier run, perhaps: then more is lost in front of it now.
                Some(refusal) => refusal.from <= log_end.max(start),
                None => log_end == end && !unproved.contains(&slot),
            };
            if whole || partition.deleted {
                continue;
            }
            let Some(at) = self.boot.recovery.damaged_at.clone() else {
                panic!("{key} ends at {log_end}, the checkpoint says {end}, and no damage was found");
            };
            self.refuse_partition(slot, log_end, &at);
        }
    }

    /// A partition that should be here and is not: it was never begun, unless what is lost may have held it.
    pub(super) fn make_missing(&mut self, key: PartitionKey, settings: Arc<TopicSettings>) {
        let slot = self.make_partition(key, settings);
        if let Some(at) = self.boot.recovery.blind_at() {
            self.refuse_partition(slot, Offset(0), &at);
        }
    }

    /// Elections for everything that was brought back, and work that a crash interrupted.
    fn after_recovery(&mut self) {
        if self.me == ShardId(0) && !self.slots.contains_key(&PartitionKey::METADATA) {
            let settings = self.default_settings();
            self.make_missing(PartitionKey::METADATA, settings);
            if self.fx.halted() {
                return;
            }
        }
        for slot in 0..self.partitions.len() as u32 {
            let Some(partition) = self.partition(slot) else { continue };
            // What recovery has read is believed.
            (partition.deletion_proven, partition.proven_start) = (partition.deleted, partition.replica.start());
            if partition.deleted {
                // A roll that the last process left half done is not gone on with: its file goes.
                partition.log.segments.iter_mut().for_each(|segment| segment.sealed = true);
                self.remove_partition(slot);
                continue;
            }
            self.tidy_later(slot);
            self.remove_doomed(slot);
            self.finish_rolls(slot);
            if self.partition(slot).is_some_and(|partition| !partition.replica.leads())
                && !self.campaigns.contains(&slot)
            {
                self.campaigns.push_back(slot);
            }
        }
        self.pump_tidying();
        self.fill_ring();
        self.dirty = true;
        if let Some(image) = self.boot.early_image.take() {
            self.on_image(image);
        }
    }
}
