//! Compaction: of each key, the last record stays (`cleanup.policy=compact`).
//!
//! ```text
//! choose a log ─▶ read what is dirty, note the last offset of each key ─▶ for each group of sealed segments: read, take out
//! what is overtaken, write a new segment, sync it, its table and its name ─▶ the new one stands where the old ones stood
//! ─▶ a checkpoint that knows it is durable ─▶ the old ones go
//! ```
//!
//! One log at a time, one read or write at a time; what is in memory is bounded: the keys by a part of the shard's memory
//! (what finds no room is left to another pass), the bytes by what one read brings. Invariants: only sealed segments are read,
//! so nothing above the high watermark; a new segment has another name (its generation), so that a crash at any write finds
//! the old ones as the last checkpoint knew them; a file is unlinked only when a durable checkpoint knows it no more. The last
//! batch of a group, and the last of each producer, stay, if need be without records.

use super::partition::Partition;
use super::tasks::{Outcome, Step, Then};
use super::timers::Timer;
use super::{Phase, Shard};
use crate::boundary::Timestamp;
use crate::boundary::{FileId, Level, OpenMode};
use crate::ids::{Offset, PartitionKey};
use crate::log::keys::Keys;
use crate::log::segment::{self, CHUNK_BYTES_MAX, Chunk, Name, Segment};
use crate::log::sidecar;
use crate::records::filter::{Filtered, emptied, filter};
use crate::records::iter::{Records, record_bytes};
use crate::records::{self, BatchError, BatchHeader};
use crate::shard::partition::Machine;
use crate::wire::ErrorCode;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// Kafka's cleaner looks so often whether there is something to do (`log.cleaner.backoff.ms`).
const LOOK_MS: u64 = 15_000;
/// Of a shard's memory, for keys.
const KEYS_PART: u64 = 16;
/// What one batch may take decompressed.
const DECOMPRESSED_MAX: usize = 64 << 20;

#[derive(Default)]
pub struct Compactor {
    job: Option<Job>,
    /// Logs that hold what cannot be read: left alone in this run.
    unable: BTreeSet<u32>,
    /// Segments were replaced whose files wait for a checkpoint.
    replaced: bool,
}

struct Job {
    slot: u32,
    keys: Keys,
    /// What is mapped, or is to be: `[from, mapped)`, up to `limit` at the most.
    from: Offset,
    mapped: Offset,
    limit: Offset,
    stage: Stage,
}

enum Stage {
    Mapping,
    Rewriting(Group),
}

/// Segments on their way to become one.
struct Group {
    sources: Vec<Name>,
    end: Offset,
    /// Where to read next.
    next: Offset,
    made: Segment,
    file: Option<FileId>,
    changed: bool,
}

/// What goes to the new segment behind one read.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
    checks: Vec<u32>,
}

impl Shard {
    pub(super) fn start_compactor(&mut self) {
        let backoff = Duration::from_millis(self.settings.retention_check_interval_ms.clamp(1_000, LOOK_MS));
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

    fn compact_next(&mut self) {
        if self.compactor.job.is_some() || self.phase != Phase::Serving {
            return;
        }
        let now = self.fx.now.wall.0;
        let mut best: Option<(u64, u32)> = None;
        for slot in 0..self.partitions.len() as u32 {
            let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { continue };
            if !partition.is_compacted() || self.compactor.unable.contains(&slot) {
                continue;
            }
            let Some(ppm) = partition.dirty_ppm(now) else { continue };
            if best.is_none_or(|(most, _)| ppm > most) {
                best = Some((ppm, slot));
            }
        }
        if let Some((_, slot)) = best {
            self.start_compaction(slot);
        }
    }

    fn start_compaction(&mut self, slot: u32) {
        let (now, keys_bytes) = (self.fx.now.wall.0, (self.config.memory_bytes / KEYS_PART) as usize);
        let Some(partition) = self.partition(slot) else { return };
        let (from, limit) = (partition.first_dirty(), partition.cleanable_end(now));
        partition.compacting = true;
        let keys = Keys::new(keys_bytes);
        let job = Job { slot, keys, from, mapped: from, limit, stage: Stage::Mapping };
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
        let Some((chunks, bytes)) = result.ok().filter(|(chunks, _)| !chunks.is_empty()) else {
            self.compactor.unable.insert(slot);
            return self.abort_compaction();
        };
        let end = chunks.last().expect("just seen").end;
        let outcome = match &mut job.stage {
            Stage::Mapping => job.map(&bytes, end),
            Stage::Rewriting(_) => return self.rewrite(slot, &bytes, end),
        };
        match outcome {
            Ok(true) => self.next_group(slot),
            Ok(false) => self.read_on(),
            Err(error) => self.unable_to_compact(slot, &error),
        }
    }

    fn unable_to_compact(&mut self, slot: u32, error: &BatchError) {
        if let Some(partition) = self.partition(slot) {
            let text = format!("{}: is compacted no more, for a batch that cannot be read: {error}", partition.key);
            self.fx.log(Level::Error, text);
        }
        self.compactor.unable.insert(slot);
        self.abort_compaction();
    }

    /// Begins with the next segments that become one, or is done.
    fn next_group(&mut self, slot: u32) {
        let Some(job) = self.compactor.job.as_mut() else { return };
        let done = match &job.stage {
            Stage::Mapping => Offset(0),
            Stage::Rewriting(group) => group.end,
        };
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { return self.abort_compaction() };
        match partition.group_from(done, job.mapped) {
            Some(group) => {
                job.stage = Stage::Rewriting(group);
                self.read_on();
            }
            None => {
                partition.log.cleaned = job.mapped;
                partition.compacting = false;
                let text = format!("{}: compacted up to offset {}", partition.key, job.mapped);
                self.compactor.job = None;
                self.fx.log(Level::Debug, text);
                self.dirty = true;
                self.remove_partition_if_due(slot);
                self.compact_next();
            }
        }
    }

    /// Takes out what is overtaken of what was read, and writes the rest.
    fn rewrite(&mut self, slot: u32, bytes: &[Bytes], end: Offset) {
        let now = self.fx.now.wall.0;
        let Some(job) = self.compactor.job.as_mut() else { return };
        let Some(partition) = self.partitions[slot as usize].as_deref() else { return self.abort_compaction() };
        let Stage::Rewriting(group) = &mut job.stage else { panic!("nothing is rewritten while keys are mapped") };
        let position = group.made.bytes;
        let output = match group.take(&job.keys, partition, bytes, now) {
            Ok(output) => output,
            Err(error) => return self.unable_to_compact(slot, &error),
        };
        group.next = end.min(group.end);
        let key = partition.key;
        let path = group.made.path(key);
        let mut steps = Vec::new();
        if group.file.is_none() {
            let mode = OpenMode { create: true, truncate: true, direct: false };
            steps.push(Step::Open(path.clone(), mode));
        }
        if !output.bytes.is_empty() {
            steps.push(Step::Write { offset: position, data: Bytes::from(output.bytes) });
        }
        let sealed = group.next >= group.end;
        if sealed {
            let table = sidecar::encode(key, group.made.base, &group.made.chunks);
            steps.extend([Step::Sync, Step::Close]);
            steps.extend(super::flush::seal_steps(key, group.made.name(), table));
        }
        let file = group.file;
        self.start_task(steps, file, &path, Then::Compacted { partition: slot, sealed });
    }

    pub(super) fn on_compact_written(&mut self, slot: u32, sealed: bool, outcome: &Outcome) {
        let Some(job) = self.compactor.job.as_mut().filter(|job| job.slot == slot) else { return };
        let Stage::Rewriting(group) = &mut job.stage else { panic!("nothing is written while keys are mapped") };
        group.file = outcome.file;
        if !sealed {
            return self.read_on();
        }
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { return self.abort_compaction() };
        if partition.deleted || self.phase != Phase::Serving || !partition.holds(&group.sources) {
            return self.abort_compaction();
        }
        if !group.changed && group.sources.len() == 1 {
            let steps = unlink(partition.key, group.made.name());
            let folder = segment::folder(partition.key);
            self.start_task(steps, None, &folder, Then::Nothing);
            return self.next_group(slot);
        }
        let made = core::mem::replace(&mut group.made, Segment::new(group.end, 0, 0));
        partition.replace(&group.sources, made);
        self.compactor.replaced = true;
        self.next_group(slot);
    }

    /// The disk is full.
    pub(super) fn on_compaction_stuck(&mut self, file: Option<FileId>) {
        if let Some(Job { stage: Stage::Rewriting(group), .. }) = &mut self.compactor.job {
            group.file = file;
        }
        self.abort_compaction();
    }

    /// Leaves everything as it was. What was written goes, or is found by the next start.
    pub(super) fn abort_compaction(&mut self) {
        let Some(job) = self.compactor.job.take() else { return };
        let slot = job.slot;
        let Some(partition) = self.partition(slot) else { return };
        partition.compacting = false;
        let (key, deleted) = (partition.key, partition.deleted);
        if let Stage::Rewriting(group) = job.stage {
            self.close_files(group.file.into_iter().collect());
            if !deleted {
                let folder = segment::folder(key);
                self.start_task(unlink(key, group.made.name()), None, &folder, Then::Nothing);
            }
        }
        self.remove_partition_if_due(slot);
    }

    /// A snapshot is taken: what was replaced before it goes when it is durable.
    pub(super) fn replaced_in_snapshot(&mut self) {
        self.compactor.replaced = false;
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
    /// A log is compacted, and its old segments wait to go.
    pub fn wants_checkpoint(&self) -> bool {
        self.replaced && self.job.is_none()
    }
}

impl Job {
    /// Notes the keys of these batches. True when everything is mapped, or no more finds room.
    fn map(&mut self, chunks: &[Bytes], end: Offset) -> Result<bool, BatchError> {
        for chunk in chunks {
            for batch in records::split(chunk) {
                let (header, batch) = batch?;
                if header.end_offset() <= self.mapped || header.is_control() {
                    continue;
                }
                if header.base_offset >= self.limit {
                    self.mapped = self.limit;
                    return Ok(true);
                }
                // One batch finds room whatever its size, or nothing would ever come of it.
                let must = self.mapped <= self.from || header.base_offset <= self.from;
                if !self.map_batch(&header, batch, must)? {
                    self.mapped = header.base_offset;
                    return Ok(true);
                }
                self.mapped = header.end_offset();
            }
        }
        self.mapped = end.min(self.limit);
        Ok(self.mapped >= self.limit)
    }

    fn map_batch(&mut self, header: &BatchHeader, batch: &[u8], must: bool) -> Result<bool, BatchError> {
        let bytes = record_bytes(batch, header, DECOMPRESSED_MAX)?;
        for record in Records::new(header, &bytes) {
            let record = record?;
            if let Some(key) = record.key
                && !self.keys.put(key, record.offset, must)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Group {
    /// What of these chunks goes to the new segment, whose table it joins.
    fn take(&mut self, keys: &Keys, partition: &Partition, chunks: &[Bytes], now: i64) -> Result<Output, BatchError> {
        let start = partition.replica.start();
        let horizon = Timestamp(now.saturating_add_unsigned(partition.settings.delete_retention_ms));
        let mut output = Output::default();
        for chunk in chunks {
            for batch in records::split(chunk) {
                let (header, batch) = batch?;
                if header.end_offset() <= self.next || header.base_offset >= self.end {
                    continue;
                }
                let keep = |header: &BatchHeader, record: &records::Record<'_>| {
                    let gone = header.has_delete_horizon() && now > header.base_timestamp.0;
                    let is_kept = |key| !keys.is_overtaken(key, record.offset);
                    record.offset >= start && record.key.is_some_and(is_kept) && (record.value.is_some() || !gone)
                };
                let filtered =
                    if header.is_control() { Filtered::Whole } else { filter(batch, horizon, DECOMPRESSED_MAX, keep)? };
                let last = header.end_offset() >= self.end || partition.producers.ends_with(&header);
                self.changed |= filtered != Filtered::Whole;
                match filtered {
                    Filtered::Whole => self.put(&mut output, &header, batch, header.max_timestamp.0),
                    Filtered::Part(part) => {
                        let time = BatchHeader::parse(&part)?.max_timestamp.0;
                        self.put(&mut output, &header, &part, time);
                    }
                    Filtered::Nothing if last => self.put(&mut output, &header, &emptied(batch), -1),
                    Filtered::Nothing => {}
                }
            }
        }
        self.close_chunk(&mut output);
        Ok(output)
    }

    fn put(&mut self, output: &mut Output, header: &BatchHeader, batch: &[u8], max_timestamp: i64) {
        if output.chunks.last().is_some_and(|chunk| chunk.len + batch.len() as u32 > CHUNK_BYTES_MAX) {
            self.close_chunk(output);
        }
        let end = header.end_offset();
        output.bytes.extend_from_slice(batch);
        output.checks.push(segment::batch_check(batch));
        match output.chunks.last_mut() {
            Some(chunk) => {
                chunk.len += batch.len() as u32;
                chunk.batches += 1;
                chunk.end = end;
                chunk.max_timestamp = chunk.max_timestamp.max(max_timestamp);
            }
            None => {
                // A chunk reaches back to the one before it, over what was taken out: so whoever asks for that finds it.
                let (position, base, len) = (self.made.bytes, self.made.end, batch.len() as u32);
                output.chunks.push(Chunk { position, len, batches: 1, base, end, max_timestamp, check: 0 });
            }
        }
    }

    /// The chunk under way joins the table.
    fn close_chunk(&mut self, output: &mut Output) {
        let Some(mut chunk) = output.chunks.pop() else { return };
        chunk.check = segment::chunk_check(core::mem::take(&mut output.checks).into_iter());
        self.made.push(chunk);
    }
}

impl Partition {
    fn is_compacted(&self) -> bool {
        let data = matches!(self.machine, Machine::Data) && self.key != PartitionKey::METADATA;
        data && self.settings.cleanup.compact && !self.deleted && self.refusal.is_none() && self.replica.is_serving()
    }

    fn first_dirty(&self) -> Offset {
        self.log.cleaned.max(self.replica.start())
    }

    /// Where the first segment begins that must not be compacted yet: the active one, or one that is too young.
    fn cleanable_end(&self, now: i64) -> Offset {
        let lag = i64::try_from(self.settings.min_compaction_lag_ms).unwrap_or(i64::MAX);
        let young = |segment: &&Segment| lag > 0 && segment.stamp() > now.saturating_sub(lag);
        let settled = |segment: &&Segment| segment.sealed && segment.end <= self.replica.high_watermark();
        let old = self.log.segments.iter().take_while(|segment| settled(segment) && !young(segment));
        old.last().map_or(Offset(0), |segment| segment.end)
    }

    /// How much of what may be compacted is dirty, in parts per million; `None` where that is not enough.
    fn dirty_ppm(&self, now: i64) -> Option<u64> {
        let (from, end) = (self.first_dirty(), self.cleanable_end(now));
        if from >= end {
            return None;
        }
        let old = || self.log.segments.iter().filter(|segment| segment.end <= end);
        let dirty = || old().filter(|segment| segment.end > from);
        let (all, dirty_bytes): (u64, u64) =
            (old().map(|segment| segment.bytes).sum(), dirty().map(|segment| segment.bytes).sum());
        let ppm = dirty_bytes.saturating_mul(1_000_000) / all.max(1);
        let oldest =
            dirty().map(|segment| if segment.first_timestamp >= 0 { segment.first_timestamp } else { segment.created });
        let age = oldest.min().map_or(0, |oldest| u64::try_from(now.saturating_sub(oldest)).unwrap_or(0));
        let overdue = age > self.settings.max_compaction_lag_ms;
        (overdue || ppm > u64::from(self.settings.min_cleanable_dirty_ppm)).then_some(if overdue {
            1_000_001
        } else {
            ppm
        })
    }

    /// The sealed segments from `done` on that become one, none of which begins at or behind `mapped`.
    fn group_from(&self, done: Offset, mapped: Offset) -> Option<Group> {
        let start = self.replica.start();
        let bytes_max = u64::from(self.settings.segment_bytes);
        let mut sources: Vec<&Segment> = Vec::new();
        let mut bytes = 0;
        for segment in self.log.segments.iter().filter(|segment| segment.base >= done && segment.end > start) {
            let reach = segment.end.0 - sources.first().map_or(segment.base.0, |first| first.base.0);
            let fits = sources.is_empty() || (bytes + segment.bytes <= bytes_max && reach <= i64::from(i32::MAX));
            if !segment.sealed || segment.base >= mapped || !fits {
                break;
            }
            bytes += segment.bytes;
            sources.push(segment);
        }
        let (first, last) = (*sources.first()?, *sources.last()?);
        let generation = sources.iter().map(|segment| segment.generation).max().unwrap_or(0) + 1;
        let mut made = Segment::new(first.base, first.created, 0);
        (made.generation, made.rolled, made.sealed) = (generation, true, true);
        (made.first_timestamp, made.modified) = (first.first_timestamp, last.modified);
        made.open.unnamed = false;
        let next = first.base.max(start);
        let names = sources.iter().map(|segment| segment.name()).collect();
        Some(Group { sources: names, end: last.end, next, made, file: None, changed: false })
    }

    /// Whether these segments still stand one behind the other.
    fn holds(&self, sources: &[Name]) -> bool {
        let first = self.log.segments.iter().position(|segment| Some(&segment.name()) == sources.first());
        first.is_some_and(|first| {
            let there = self.log.segments.range(first..).map(Segment::name);
            there.take(sources.len()).eq(sources.iter().copied())
        })
    }

    /// One segment takes the place of those.
    fn replace(&mut self, sources: &[Name], made: Segment) {
        let first = self.log.segments.iter().position(|segment| Some(&segment.name()) == sources.first());
        let first = first.expect("they are there");
        let end = self.log.segments[first + sources.len() - 1].end;
        assert!(made.end == end, "{}: segments up to {end} become one up to {}", self.key, made.end);
        for old in self.log.segments.drain(first..first + sources.len()) {
            self.replaced.push((old.name(), old.open.file));
        }
        self.log.segments.insert(first, made);
    }
}
