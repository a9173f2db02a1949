//! Compaction: of each key, the last record stays (`cleanup.policy=compact`).
//!
//! ```text
//! choose a log ─▶ read what is dirty, note the last offset of each key ─▶ for each group of sealed segments: read, take out
//! what is overtaken, write a new segment, sync it, its table and its name ─▶ the new one stands where the old ones stood
//! ─▶ a checkpoint that knows it is durable ─▶ the old ones go
//! ```
//!
//! One log at a time, one read or write at a time, and what was read is worked through in slices, so that everything else goes
//! on in between. What is in memory is bounded: the keys by their share (what finds no room is left to another pass), the bytes
//! by what one read brings. Invariants: only sealed segments are read, so nothing above the high watermark; a new segment
//! has another name (its generation), so that a crash at any write finds the old ones as the last checkpoint knew them; no
//! file of that name is begun while one is being unlinked; a file is unlinked only when a durable checkpoint knows it no more.

mod choice;
mod group;

use super::tasks::{Outcome, Step, Then};
use super::timers::Timer;
use super::{Phase, Shard};
use crate::boundary::{FileId, Instant, Level, OpenMode};
use crate::ids::{Offset, PartitionKey};
use crate::log::keys::Keys;
use crate::log::segment::{self, Chunk, Name};
use crate::log::sidecar;
use crate::memory::Shares;
use crate::metrics::Gauges;
use crate::records::iter::{Records, record_bytes};
use crate::records::{self, BatchError, BatchHeader};
use crate::wire::ErrorCode;
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use core::time::Duration;
use group::{Group, Rules};
use rand::RngCore;

/// The least that `log.cleaner.backoff.ms` comes to.
const BACKOFF_MIN_MS: u64 = 10;
/// Bytes of records, decompressed, that are worked through at a time; and the rest between two such slices.
const SLICE_BYTES: usize = 128 << 10;
const SLICE_PAUSE: Duration = Duration::from_micros(50);
/// Replaced segments of so many bytes ask for a checkpoint, which lets them go, before their log is done.
const REPLACED_BYTES_MAX: u64 = 256 << 20;

#[derive(Default)]
pub struct Compactor {
    job: Option<Job>,
    /// Logs that hold what cannot be read: left alone in this run.
    unable: BTreeSet<u32>,
    /// A segment that is not wanted any more is being unlinked: nothing is begun meanwhile.
    undoing: bool,
    /// Of segments that were replaced, and whose files wait for a snapshot.
    replaced_bytes: u64,
}

struct Job {
    slot: u32,
    keys: Keys,
    /// What is mapped, or is to be: `[from, mapped)`, up to `limit` at the most.
    from: Offset,
    mapped: Offset,
    limit: Offset,
    stage: Stage,
    /// What was read and is not worked through, and where that ends.
    work: VecDeque<Bytes>,
    read_end: Offset,
    /// A timer is set, behind which it goes on.
    rests: bool,
    begun: Instant,
    /// Bytes that were read to be written anew, and what was written of them.
    read_bytes: u64,
    kept_bytes: u64,
}

enum Stage {
    Mapping,
    Rewriting(Box<Group>),
}

/// What has been written for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// A part of its new segment.
    Part,
    /// The rest, and its table: all of it durable.
    Sealed,
    /// Nothing: the new segment was as the old one, and is unlinked.
    Unchanged,
    /// Nothing: its compaction was given up, and what was written is unlinked.
    Undone,
}

/// How far a slice of work has come.
enum Slice {
    /// There is more to do.
    More,
    /// What was read is worked through.
    Through,
    /// Every key is noted, or no more finds room.
    Mapped,
}

impl Shard {
    pub(super) fn start_compactor(&mut self) {
        let backoff = Duration::from_millis(self.settings.log_cleaner_backoff_ms.max(BACKOFF_MIN_MS));
        self.timers.set(self.fx.now.mono.after(backoff), Timer::Compact);
    }

    /// Looks for a log to compact, and again after a while.
    pub(super) fn on_compact_due(&mut self) {
        if self.phase != Phase::Serving {
            return;
        }
        self.compact_next();
        self.start_compactor();
    }

    /// The dirtiest log is next.
    fn compact_next(&mut self) {
        // Folders are being tidied after recovery: what is unlinked there may have the name of what would be written here.
        let tidy = self.untidy.is_empty() && self.tidying == 0;
        if self.compactor.job.is_some() || self.compactor.undoing || self.phase != Phase::Serving || !tidy {
            return;
        }
        let now = self.fx.now.wall.0;
        let mut best: Option<(u64, u32)> = None;
        for (slot, partition) in self.partitions.iter().enumerate() {
            let Some(partition) = partition.as_deref().filter(|partition| partition.is_compacted()) else { continue };
            let Some(ppm) = partition.dirty_ppm(now) else { continue };
            if best.is_none_or(|(most, _)| ppm > most) && !self.compactor.unable.contains(&(slot as u32)) {
                best = Some((ppm, slot as u32));
            }
        }
        if let Some((_, slot)) = best {
            self.start_compaction(slot);
        }
    }

    fn start_compaction(&mut self, slot: u32) {
        let now = self.fx.now.wall.0;
        let keys_bytes = Shares::of(self.config.memory_bytes).keys as usize;
        let seed = [self.rng.next_u64(), self.rng.next_u64()];
        let Some(partition) = self.partition(slot) else { return };
        let (from, limit) = (partition.first_dirty(), partition.cleanable_end(now));
        partition.compacting = true;
        let keys = Keys::new(seed, (limit.0 - from.0) as u64, keys_bytes);
        let (work, stage) = (VecDeque::new(), Stage::Mapping);
        let begun = self.fx.now.mono;
        let job = Job {
            slot,
            keys,
            from,
            mapped: from,
            limit,
            stage,
            work,
            read_end: from,
            rests: false,
            begun,
            read_bytes: 0,
            kept_bytes: 0,
        };
        self.compactor.job = Some(job);
        self.read_on();
    }

    /// Asks for the next bytes of the log.
    fn read_on(&mut self) {
        let Some(job) = &self.compactor.job else { return };
        let (slot, offset) = match &job.stage {
            Stage::Mapping => (job.slot, job.mapped),
            Stage::Rewriting(group) => (job.slot, group.next),
        };
        let there = self.partition(slot).is_some_and(|partition| {
            !partition.deleted && offset >= partition.replica.start() && partition.log.segment_of(offset).is_some()
        });
        if there && self.phase == Phase::Serving { self.read_to_compact(slot, offset) } else { self.abort_compaction() }
    }

    pub(super) fn on_compact_read(&mut self, slot: u32, result: Result<(Vec<Chunk>, Vec<Bytes>), ErrorCode>) {
        let Some(job) = self.compactor.job.as_mut().filter(|job| job.slot == slot) else { return };
        match result {
            Ok((chunks, bytes)) if !chunks.is_empty() => {
                job.read_end = chunks.last().expect("just seen").end;
                let read_bytes: u64 = bytes.iter().map(|chunk| chunk.len() as u64).sum();
                self.counters.compactions.read_bytes += read_bytes;
                job.read_bytes += if matches!(job.stage, Stage::Rewriting(_)) { read_bytes } else { 0 };
                job.work = bytes.into();
                self.work_on();
            }
            Err(ErrorCode::CORRUPT_MESSAGE) => {
                // Which the read has told, with file and offset.
                self.compactor.unable.insert(slot);
                self.abort_compaction();
            }
            // Something that may pass: it is tried again.
            Ok(_) | Err(_) => self.abort_compaction(),
        }
    }

    /// Lets everything else go on for a moment.
    fn rest(&mut self) {
        if let Some(job) = &mut self.compactor.job {
            job.rests = true;
            self.timers.set(self.fx.now.mono.after(SLICE_PAUSE), Timer::CompactOn);
        }
    }

    pub(super) fn compact_on(&mut self) {
        // The timer may be that of a job that was given up.
        let Some(job) = self.compactor.job.as_mut().filter(|job| job.rests) else { return };
        job.rests = false;
        if job.work.is_empty() { self.read_on() } else { self.work_on() }
    }

    /// The next slice of what was read.
    fn work_on(&mut self) {
        let decompressed_bytes_max = Shares::of(self.config.memory_bytes).decompressed as usize;
        let now = self.fx.now.wall.0;
        let Some(job) = self.compactor.job.as_mut() else { return };
        let slot = job.slot;
        let partition = self.partitions[slot as usize].as_deref().filter(|partition| !partition.deleted);
        let Some(partition) = partition.filter(|_| self.phase == Phase::Serving) else {
            return self.abort_compaction();
        };
        let worked = match &mut job.stage {
            Stage::Mapping => job.map(decompressed_bytes_max),
            Stage::Rewriting(group) => {
                let rules = Rules { keys: &job.keys, partition, now, decompressed_bytes_max };
                rewrite(group, &rules, &mut job.work)
            }
        };
        match worked {
            Ok(Slice::More) => self.rest(),
            Ok(Slice::Mapped) => self.next_group(slot),
            Ok(Slice::Through) => match job.stage {
                Stage::Mapping => self.rest(),
                Stage::Rewriting(_) => self.write_on(slot),
            },
            Err(error) => {
                let text = format!("{}: is compacted no more, for a batch that cannot be read: {error}", partition.key);
                self.fx.log(Level::Error, text);
                self.compactor.unable.insert(slot);
                self.abort_compaction();
            }
        }
    }

    /// Begins with the next segments that become one, or is done.
    fn next_group(&mut self, slot: u32) {
        let Some(job) = self.compactor.job.as_mut() else { return };
        let done = match &job.stage {
            Stage::Mapping => Offset(0),
            Stage::Rewriting(group) => group.end,
        };
        job.work.clear();
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { return self.abort_compaction() };
        if let Some(group) = partition.group_from(done, job.mapped) {
            job.stage = Stage::Rewriting(Box::new(group));
            return self.read_on();
        }
        partition.log.cleaned = job.mapped;
        partition.compacting = false;
        let (from, to, bytes) = (job.from, job.mapped, partition.log.segment_bytes());
        let text = format!("{}: compacted from offset {from} up to {to}, {bytes} bytes now", partition.key);
        self.count_compaction(true);
        self.compactor.job = None;
        self.fx.log(Level::Debug, text);
        self.dirty = true;
        self.remove_partition_if_due(slot);
        self.compact_next();
    }

    /// Writes what stays of what was read.
    fn write_on(&mut self, slot: u32) {
        let Some(job) = self.compactor.job.as_mut() else { return };
        let Some(partition) = self.partitions[slot as usize].as_deref() else { return self.abort_compaction() };
        let Stage::Rewriting(group) = &mut job.stage else { panic!("nothing is rewritten while keys are mapped") };
        group.next = job.read_end.min(group.end);
        let sealed = group.next >= group.end;
        let (position, bytes) = group.take_output();
        let (key, name) = (partition.key, group.made.name());
        let path = group.made.path(key);
        let mut steps = Vec::new();
        if group.file.is_none() {
            let mode = OpenMode { create: true, truncate: true, direct: false };
            steps.push(Step::Open(path.clone(), mode));
        }
        group.begun = true;
        job.kept_bytes += bytes.len() as u64;
        self.counters.compactions.kept_bytes += bytes.len() as u64;
        if !bytes.is_empty() {
            steps.push(Step::Write { offset: position, data: Bytes::from(bytes) });
        }
        if sealed {
            let table = sidecar::encode(key, group.made.base, &group.made.chunks);
            steps.extend([Step::Sync, Step::Close]);
            steps.extend(super::flush::seal_steps(key, name, table));
        }
        if steps.is_empty() {
            return self.rest();
        }
        let (file, wrote) = (group.file, if sealed { Wrote::Sealed } else { Wrote::Part });
        self.start_task(steps, file, &path, Then::Compacted { partition: slot, wrote });
    }

    pub(super) fn on_compact_written(&mut self, slot: u32, wrote: Wrote, outcome: &Outcome) {
        match wrote {
            Wrote::Part => {
                self.group_file(outcome.file);
                self.rest();
            }
            Wrote::Sealed => {
                self.group_file(outcome.file);
                self.replace(slot);
            }
            Wrote::Unchanged => self.next_group(slot),
            Wrote::Undone => {
                self.compactor.undoing = false;
                self.compaction_over(slot);
            }
        }
    }

    fn group_file(&mut self, file: Option<FileId>) {
        if let Some(Job { stage: Stage::Rewriting(group), .. }) = &mut self.compactor.job {
            group.file = file;
        }
    }

    /// The new segment is durable: it takes the place of its sources.
    fn replace(&mut self, slot: u32) {
        let Some(job) = self.compactor.job.as_mut() else { return };
        let Stage::Rewriting(group) = &mut job.stage else { panic!("nothing is written while keys are mapped") };
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { return self.abort_compaction() };
        if partition.deleted || self.phase != Phase::Serving || !partition.holds(&group.sources) {
            return self.abort_compaction();
        }
        if !group.changed && group.sources.len() == 1 {
            let (steps, folder) = (unlink(partition.key, group.made.name()), segment::folder(partition.key));
            return self.start_task(steps, None, &folder, Then::Compacted { partition: slot, wrote: Wrote::Unchanged });
        }
        let end = group.made.end;
        self.compactor.replaced_bytes += partition.replace(&group.sources, group.made.clone());
        self.forget_below(slot, end);
        self.next_group(slot);
    }

    /// The disk is full.
    pub(super) fn on_compaction_stuck(&mut self, file: Option<FileId>) {
        self.group_file(file);
        self.abort_compaction();
    }

    /// Leaves everything as it was. What was written goes, or is found by the next start.
    pub(super) fn abort_compaction(&mut self) {
        self.count_compaction(false);
        let Some(job) = self.compactor.job.take() else { return };
        let slot = job.slot;
        if let Stage::Rewriting(group) = job.stage {
            self.close_files(group.file.into_iter().collect());
            let partition = self.partition(slot).filter(|partition| group.begun && !partition.deleted);
            if let Some(key) = partition.map(|partition| partition.key) {
                self.compactor.undoing = true;
                let (steps, folder) = (unlink(key, group.made.name()), segment::folder(key));
                let then = Then::Compacted { partition: slot, wrote: Wrote::Undone };
                return self.start_task(steps, None, &folder, then);
            }
        }
        self.compaction_over(slot);
    }

    /// The one that is under way is over.
    fn count_compaction(&mut self, done: bool) {
        let Some(job) = &self.compactor.job else { return };
        let us = u64::try_from(self.fx.now.mono.since(job.begun).as_micros()).unwrap_or(u64::MAX);
        let counted = &mut self.counters.compactions;
        counted.us = counted.us.saturating_add(us);
        if done {
            counted.done += 1;
            (counted.last_read_bytes, counted.last_kept_bytes, counted.last_us) = (job.read_bytes, job.kept_bytes, us);
        } else {
            counted.given_up += 1;
        }
    }

    fn compaction_over(&mut self, slot: u32) {
        if let Some(partition) = self.partition(slot) {
            partition.compacting = false;
        }
        self.remove_partition_if_due(slot);
    }

    /// A snapshot is taken: what was replaced before it goes when it is durable.
    pub(super) fn replaced_in_snapshot(&mut self) {
        self.compactor.replaced_bytes = 0;
        for partition in self.partitions.iter_mut().flatten() {
            let replaced = core::mem::take(&mut partition.replaced);
            partition.leaving.extend(replaced);
        }
    }

    /// The snapshot is durable: no crash brings the replaced segments back.
    pub(super) fn remove_replaced(&mut self) {
        for slot in 0..self.partitions.len() as u32 {
            let Some(partition) = self.partition(slot) else { continue };
            if partition.leaving.is_empty() {
                continue;
            }
            for (name, file) in core::mem::take(&mut partition.leaving) {
                partition.doomed.push(name);
                partition.doomed_files.extend(file);
            }
            self.remove_doomed(slot);
        }
    }
}

fn unlink(key: PartitionKey, name: Name) -> Vec<Step> {
    vec![Step::Remove(segment::log_path(key, name)), Step::Remove(segment::sidecar_path(key, name))]
}

impl Compactor {
    pub fn gauge(&self, gauges: &mut Gauges) {
        gauges.keys_bytes = self.job.as_ref().map_or(0, |job| job.keys.bytes() as u64);
        gauges.uncleanable = self.unable.len() as u64;
    }

    /// Old segments wait to go: of logs that are done, or too many.
    pub fn wants_checkpoint(&self) -> bool {
        self.replaced_bytes > if self.job.is_none() { 0 } else { REPLACED_BYTES_MAX }
    }
}

impl Job {
    /// Notes the keys of some batches.
    fn map(&mut self, decompressed_bytes_max: usize) -> Result<Slice, BatchError> {
        let mut left = SLICE_BYTES;
        while let Some((header, batch)) = next_batch(&mut self.work)? {
            if header.base_offset >= self.limit {
                self.mapped = self.limit;
                return Ok(Slice::Mapped);
            }
            if header.end_offset() <= self.mapped {
                continue;
            }
            let records = record_bytes(&batch, &header, decompressed_bytes_max)?;
            let count = header.records_count.max(0) as usize;
            if !self.keys.has_room(count) {
                // One batch finds room whatever its size, or nothing would ever come of it.
                if self.mapped > self.from {
                    return Ok(Slice::Mapped);
                }
                self.keys.grow(count);
            }
            for record in Records::new(&header, &records).take(if header.is_control() { 0 } else { count }) {
                let record = record?;
                if let Some(key) = record.key {
                    self.keys.put(key, record.offset);
                }
            }
            self.mapped = header.end_offset();
            left = left.saturating_sub(records.len());
            if left == 0 && !self.work.is_empty() {
                return Ok(Slice::More);
            }
        }
        self.mapped = self.read_end.min(self.limit);
        Ok(if self.mapped >= self.limit { Slice::Mapped } else { Slice::Through })
    }
}

/// Takes out of some batches what is overtaken.
fn rewrite(group: &mut Group, rules: &Rules<'_>, work: &mut VecDeque<Bytes>) -> Result<Slice, BatchError> {
    let mut left = SLICE_BYTES;
    while let Some((header, batch)) = next_batch(work)? {
        left = left.saturating_sub(group.take(rules, &header, &batch)?);
        if left == 0 && !work.is_empty() {
            return Ok(Slice::More);
        }
    }
    Ok(Slice::Through)
}

/// Cuts the next batch off what was read.
fn next_batch(work: &mut VecDeque<Bytes>) -> Result<Option<(BatchHeader, Bytes)>, BatchError> {
    let Some(chunk) = work.front_mut() else { return Ok(None) };
    let (header, len) = match records::split(chunk).next() {
        Some(batch) => batch.map(|(header, batch)| (header, batch.len()))?,
        None => panic!("a chunk of no batch"),
    };
    let batch = chunk.split_to(len);
    if !chunk.has_remaining() {
        work.pop_front();
    }
    Ok(Some((header, batch)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::Timestamp;
    use crate::ids::Epoch;
    use crate::records::{BatchBuilder, patch};

    /// Batches of ten records each with keys of their own, from offset 0 on.
    fn chunk(batches: i64) -> Bytes {
        let mut bytes = Vec::new();
        for base in (0..batches).map(|batch| batch * 10) {
            let mut builder = BatchBuilder::new();
            (base..base + 10).for_each(|key| {
                builder.push(Timestamp(1), Some(&key.to_le_bytes()), Some(b"value"), &[]);
            });
            let mut batch = builder.build().to_vec();
            patch(&mut batch, Offset(base), Epoch(1));
            bytes.extend_from_slice(&batch);
        }
        Bytes::from(bytes)
    }

    /// Maps what is between `from` and 200, with so many bytes for keys.
    fn map(from: i64, keys_bytes: usize) -> Offset {
        let (from, limit) = (Offset(from), Offset(200));
        let keys = Keys::new([1, 2], (limit.0 - from.0) as u64, keys_bytes);
        let work = VecDeque::from([chunk(30)]);
        let (stage, read_end) = (Stage::Mapping, Offset(300));
        let begun = Instant(0);
        let (rests, read_bytes, kept_bytes) = (false, 0, 0);
        let mut job = Job {
            slot: 0,
            keys,
            from,
            mapped: from,
            limit,
            stage,
            work,
            read_end,
            rests,
            begun,
            read_bytes,
            kept_bytes,
        };
        loop {
            match job.map(1 << 20).expect("good batches") {
                Slice::More => {}
                Slice::Mapped => return job.mapped,
                Slice::Through => panic!("the limit lies below what was read"),
            }
        }
    }

    #[test]
    fn keys_that_find_no_room_are_left_to_another_pass() {
        assert_eq!(map(0, 1 << 20), Offset(200));
        // 64 slots at the least, of which 51 may be taken.
        assert_eq!(map(0, 0), Offset(50));
        assert_eq!(map(50, 0), Offset(100));
        assert_eq!(map(185, 0), Offset(200), "from the middle of a batch");
    }
}
