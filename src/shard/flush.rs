//! The flusher: writes runs of staged batches to their segments, late and in large pieces.
//!
//! A partition's run goes when it fills a chunk, when memory is short (whose batch is oldest first), or when its journal
//! file comes round. Invariants: at most one run in flight for each partition and a few chunks in all; only batches below the
//! high watermark are written; a full disk stops the flusher, not the readers.

use super::effects::Pending;
use super::tasks::{Outcome, Step, Then};
use super::timers::Timer;
use super::{Level, Phase, Shard};
use crate::boundary::{Done, FileId, Halt, IoError, Op, OpenMode, SECTOR};
use crate::config::JournalConfig;
use crate::ids::{Offset, PartitionKey};
use crate::log::segment::{self, Segment};
use crate::log::{Room, Run, RunMax, sidecar};
use crate::memory::{self, Shares, round_down, round_up};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::time::Duration;
use rand::RngCore;

/// How many batches are looked at for one that can be written now.
const LOOK_AHEAD: usize = 4096;
/// A shard that has been idle for a while, and owns more arenas than this, gives them back.
const REST_ARENAS: usize = 8;
const RETRY: Duration = Duration::from_millis(500);
/// Files grow fourfold, by steps up to this.
const GROW_MAX: u64 = 32 << 20;
const GROW_MIN: u64 = 128 << 10;

#[derive(Default)]
pub struct Flusher {
    queue: VecDeque<u32>,
    in_flight: BTreeMap<u64, Flight>,
    next: u64,
    /// Partitions that are opening a file for their next run, or mending it.
    opening: usize,
    waiting_for_room: bool,
    /// Every batch of the cache before this index is in a segment.
    looked_at: usize,
    /// Since the last look, somebody has read batches from memory.
    tail_read: bool,
    /// Buffers of runs that were written, for those to come: fresh memory costs more than what is copied into it.
    spare: Vec<BytesMut>,
}

/// A run on its way.
struct Flight {
    partition: u32,
    run: Run,
    file: FileId,
    at: u64,
    data: Bytes,
    written: usize,
    /// Reserving room for it comes first.
    allocating: Option<u64>,
    /// Met a full disk, and waits to be tried again.
    stuck: bool,
    /// Met a full disk when it was last tried.
    full: bool,
}

impl Flusher {
    pub fn queue(&mut self, partition: u32) {
        self.queue.push_back(partition);
    }

    /// Chunks in flight, and those that wait for their file to be opened, one for each.
    fn chunks_under_way(&self) -> usize {
        self.opening + self.in_flight.values().map(|flight| flight.run.chunks.len()).sum::<usize>()
    }

    /// What is in flight waits for room on the disk, and nothing else is under way.
    pub fn is_stuck(&self) -> bool {
        self.opening == 0 && self.in_flight.values().all(|flight| flight.stuck)
    }

    /// A run met a full disk, and has not got through since.
    pub fn met_a_full_disk(&self) -> bool {
        self.in_flight.values().any(|flight| flight.full)
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty() && self.opening == 0
    }

    /// An empty, aligned buffer with room for `len` bytes.
    fn buffer(&mut self, len: usize) -> BytesMut {
        let fits = self.spare.iter().position(|spare| spare.capacity() >= len);
        fits.map_or_else(|| memory::aligned(len), |index| self.spare.swap_remove(index))
    }

    /// Takes back what was written, while there are no more than `bytes_max`.
    fn take_back(&mut self, data: Bytes, bytes_max: usize) {
        let held: usize = self.spare.iter().map(BytesMut::capacity).sum();
        if let Ok(mut buf) = data.try_into_mut()
            && held < bytes_max
        {
            buf.clear();
            self.spare.push(buf);
        }
    }
}

impl Shard {
    /// Starts as many runs as may be in flight.
    pub(super) fn pump_flusher(&mut self) {
        if self.flusher.waiting_for_room || self.is_trimming() {
            return;
        }
        self.relieve_memory();
        while self.flusher.chunks_under_way() < self.config.journal.chunks_in_flight {
            let Some(slot) = self.flusher.queue.pop_front() else { break };
            if let Some(partition) = self.partition(slot) {
                partition.queued = false;
            }
            self.flush(slot);
        }
    }

    /// Asks for the staged batches of a partition to be written, however few.
    pub(super) fn queue_flush(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        if !partition.queued && !partition.log.writing && partition.log.staged_bytes() > 0 {
            partition.queued = true;
            self.flusher.queue(slot);
        }
    }

    /// Makes room in memory for a request of `len` bytes: drops the oldest batches that segments hold, and sees that the
    /// next ones get there.
    pub(super) fn make_room(&mut self, len: usize) {
        // Looking for a free arena costs more than dropping a batch: an arena's worth is dropped at once.
        let mut dropped = self.config.journal.arena_bytes;
        while let Some(oldest) = self.cache.front().copied() {
            if dropped >= self.config.journal.arena_bytes {
                if self.journal().has_memory(len) {
                    return;
                }
                dropped = 0;
            }
            let evicted = match self.partition(oldest.slot) {
                Some(partition) => partition.log.evict_front(),
                None => true,
            };
            if !evicted {
                return self.queue_oldest();
            }
            self.cache.pop_front();
            self.cache_bytes -= oldest.len as usize;
            dropped += oldest.len as usize;
            self.flusher.looked_at = self.flusher.looked_at.saturating_sub(1);
        }
    }

    /// Segments were written anew below `end`: memory does not go on showing readers what they held before.
    pub(super) fn forget_below(&mut self, slot: u32, end: Offset) {
        let Some(partition) = self.partition(slot) else { return };
        partition.log.evict_below(end);
        let first_kept = partition.log.tail_base();
        let (looked_at, mut index) = (self.flusher.looked_at, 0);
        let (mut dropped_before, mut dropped_bytes) = (0, 0);
        self.cache.retain(|batch| {
            let keep = batch.slot != slot || batch.base >= first_kept;
            if !keep {
                dropped_before += usize::from(index < looked_at);
                dropped_bytes += batch.len as usize;
            }
            index += 1;
            keep
        });
        self.flusher.looked_at -= dropped_before;
        self.cache_bytes -= dropped_bytes;
    }

    /// A reader found what it asked for in memory.
    pub(super) fn on_tail_read(&mut self) {
        self.flusher.tail_read = true;
    }

    /// Nobody has appended anything for a moment: what the load has taken goes back after a while.
    pub(super) fn rest_later(&mut self, frame: u64) {
        if self.journal().memory_bytes() > REST_ARENAS * self.config.journal.arena_bytes {
            self.timers.set(self.fx.now.mono.after(self.config.journal.rest), Timer::Rest { frame });
        }
    }

    /// Still nothing: writes what is staged, drops what segments hold unless readers take it from memory, and frees the
    /// arenas that this leaves empty.
    pub(super) fn on_rest_due(&mut self, frame: u64) {
        if self.phase != Phase::Serving || self.journal().open_frame() != frame || !self.journal().is_idle() {
            return;
        }
        let read = core::mem::take(&mut self.flusher.tail_read);
        let mut kept = 0;
        for batch in core::mem::take(&mut self.cache) {
            let Some(partition) = self.partition(batch.slot) else {
                self.cache_bytes -= batch.len as usize;
                continue;
            };
            // A partition's batches stand in its order: behind the first that stays, all stay.
            if !read && partition.log.evict_front() {
                self.cache_bytes -= batch.len as usize;
            } else {
                kept += 1;
                self.queue_flush(batch.slot);
                self.cache.push_back(batch);
            }
        }
        self.flusher.looked_at = 0;
        self.flusher.spare = Vec::new();
        self.journal().release_memory();
        if kept > 0 {
            self.rest_later(frame);
        }
    }

    fn relieve_memory(&mut self) {
        if self.staged_bytes > self.staged_bytes_max() {
            self.queue_oldest();
        }
    }

    /// The partitions whose staged batches are oldest go next, as many as may be in flight.
    fn queue_oldest(&mut self) {
        let mut index = self.flusher.looked_at;
        let mut prefix = true;
        for _ in 0..LOOK_AHEAD {
            let Some(batch) = self.cache.get(index).copied() else { break };
            let Some(partition) = self.partitions[batch.slot as usize].as_deref() else {
                index += 1;
                continue;
            };
            let flushed = batch.base < partition.log.flushed();
            if !flushed {
                self.queue_flush(batch.slot);
                if self.flusher.queue.len() + self.flusher.chunks_under_way() >= self.config.journal.chunks_in_flight {
                    break;
                }
            }
            prefix &= flushed;
            index += 1;
            if prefix {
                self.flusher.looked_at = index;
            }
        }
    }

    /// How much may be staged. Between the oldest batch that is staged and the newest stands twice as much where many
    /// partitions take turns, because a run takes all of its partition's; and nothing behind the oldest can be dropped. A
    /// quarter of the memory for batches is left to those that wait for room.
    fn staged_bytes_max(&self) -> usize {
        (Shares::of(self.config.memory_bytes).journal * 3 / 8) as usize
    }

    /// Starts one run of one partition, opening or rolling its segment first where that is due.
    fn flush(&mut self, slot: u32) {
        let journal = &self.config.journal;
        // A partition that is alone writes long runs: it has only one in flight.
        let chunks = journal.chunks_in_flight.saturating_sub(self.flusher.chunks_under_way());
        let max = RunMax { chunks: chunks.clamp(1, journal.chunks_in_flight / 2), chunk_bytes: journal.chunk_bytes };
        let now = self.fx.now.wall.0;
        let Some(partition) = self.partition(slot) else { return };
        if partition.log.writing || partition.deleted || partition.log.staged_bytes() == 0 {
            return;
        }
        let limit = partition.replica.settled();
        if partition.log.segments.back().is_none_or(|segment| segment.rolled) {
            let jitter_ms = self.draw_jitter(slot);
            let Some(partition) = self.partition(slot) else { return };
            partition.log.segments.push_back(Segment::new(partition.log.flushed(), now, jitter_ms));
            partition.log.partial.clear();
        }
        let Some(partition) = self.partition(slot) else { return };
        let segment = partition.log.segments.back().expect("just made");
        let segment_ms = partition.settings.segment_ms_max();
        let bytes = u64::from(partition.settings.segment_bytes).saturating_sub(segment.bytes);
        match partition.log.next_run(limit, max, Room { bytes, segment_ms, now }) {
            Some(run) => match segment.open.file {
                Some(file) => self.write_run(slot, file, run),
                None => self.open_segment(slot),
            },
            None if segment.bytes > 0 && partition.log.oldest_staged_below(limit) => self.roll(slot),
            None => {}
        }
    }

    /// How much sooner than `segment.ms` a new segment is to roll: so that those of many partitions do not roll at once.
    fn draw_jitter(&mut self, slot: u32) -> u64 {
        let Some(settings) = self.partition(slot).map(|partition| partition.settings.clone()) else { return 0 };
        match settings.segment_jitter_ms.min(settings.segment_ms) {
            0 => 0,
            below => self.rng.next_u64() % below,
        }
    }

    fn open_segment(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        let segment = partition.log.segments.back().expect("an active segment");
        let (key, fresh, path) = (partition.key, segment.bytes == 0, segment.path(partition.key));
        partition.log.writing = true;
        let mode = OpenMode { create: true, truncate: fresh, direct: true };
        let mut steps = Vec::new();
        if !partition.folder_made {
            steps.push(Step::MakeDir(segment::folder(key)));
        }
        steps.push(Step::Open(path.clone(), mode));
        self.flusher.opening += 1;
        self.start_task(steps, None, &path, Then::SegmentOpened { partition: slot });
    }

    pub(super) fn on_segment_opened(&mut self, slot: u32, outcome: &Outcome) {
        self.flusher.opening -= 1;
        let Some(partition) = self.partition(slot) else { return };
        partition.log.writing = false;
        partition.folder_made = true;
        let deleted = partition.deleted;
        let segment = partition.log.segments.back_mut().expect("an active segment");
        let spare = match segment.open.file {
            // A reader has opened it meanwhile.
            Some(_) => outcome.file,
            None => {
                segment.open.file = outcome.file;
                segment.open.allocated = outcome.len;
                None
            }
        };
        if let Some(file) = spare {
            self.fx.submit(Op::Close { file }, Pending::Nothing);
        }
        if deleted {
            return self.remove_partition(slot);
        }
        self.flush(slot);
        self.expire(slot);
    }

    /// Writes a run behind the segment's end: the part-filled last sector again, the batches, zeros to the next sector.
    fn write_run(&mut self, slot: u32, file: FileId, run: Run) {
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { return };
        let segment = partition.log.segments.back().expect("an active segment");
        let at = round_down(segment.bytes);
        assert!(
            partition.log.partial.len() as u64 == segment.bytes - at,
            "the last sector of {} is lost",
            partition.key
        );
        let whole = round_up(segment.bytes - at + run.bytes() as u64);
        let mut buf = self.flusher.buffer(whole as usize);
        buf.extend_from_slice(&partition.log.partial);
        for batch in partition.log.run_batches(&run) {
            buf.extend_from_slice(&batch.bytes);
        }
        buf.resize(whole as usize, 0);
        let allocated = segment.open.allocated;
        let allocating = (at + whole > allocated).then(|| grown(allocated, at + whole));
        partition.log.writing = true;
        partition.log.segments.back_mut().expect("an active segment").trimmed = false;
        let flight = Flight {
            partition: slot,
            run,
            file,
            at,
            data: buf.freeze(),
            written: 0,
            allocating,
            stuck: false,
            full: false,
        };
        let id = self.flusher.next;
        self.flusher.next += 1;
        self.flusher.in_flight.insert(id, flight);
        self.submit_flight(id);
    }

    fn submit_flight(&mut self, id: u64) {
        let flight = &self.flusher.in_flight[&id];
        let op = match flight.allocating {
            Some(to) => {
                let from = self.partitions[flight.partition as usize].as_deref().map_or(0, allocated);
                Op::Allocate { file: flight.file, offset: from, len: to - from }
            }
            None => Op::Write {
                file: flight.file,
                offset: flight.at + flight.written as u64,
                data: vec![flight.data.slice(flight.written..)],
                durable: false,
            },
        };
        self.fx.submit(op, Pending::Flush(id));
    }

    pub(super) fn on_flushed(&mut self, id: u64, done: Done) {
        let flight = self.flusher.in_flight.get_mut(&id).expect("a run was in flight");
        let slot = flight.partition;
        let result = match done {
            Done::Ended(result) => result.map(|()| {
                let to = flight.allocating.take().expect("it was allocating");
                if let Some(partition) = self.partitions[slot as usize].as_deref_mut() {
                    partition.log.segments.back_mut().expect("an active segment").open.allocated = to;
                }
            }),
            Done::Wrote(result) => result.map(|written| flight.written += written / SECTOR * SECTOR),
            other => panic!("a run ended as {other:?}"),
        };
        match result {
            Ok(()) if core::mem::take(&mut flight.full) => self.on_room(),
            Ok(()) => {}
            Err(IoError::NoSpace) if self.is_deleted(slot) => return self.give_up_run(id, slot),
            Err(IoError::NoSpace) => {
                let path = self.segment_path(slot);
                self.on_disk_full(&path);
                let flight = self.flusher.in_flight.get_mut(&id).expect("just seen");
                (flight.stuck, flight.full) = (true, true);
                self.flusher.waiting_for_room = true;
                self.timers.set(self.fx.now.mono.after(RETRY), Timer::RetryFlush);
                return;
            }
            Err(error) => {
                let path = self.segment_path(slot);
                return self.fx.halt(Halt::Disk { path, error });
            }
        }
        let flight = &self.flusher.in_flight[&id];
        if flight.written < flight.data.len() || flight.allocating.is_some() {
            return self.submit_flight(id);
        }
        let flight = self.flusher.in_flight.remove(&id).expect("just seen");
        self.on_run_written(slot, flight);
    }

    /// A run of a deleted partition found no room: perhaps only its deletion makes some.
    fn give_up_run(&mut self, id: u64, slot: u32) {
        self.flusher.in_flight.remove(&id);
        if let Some(partition) = self.partition(slot) {
            partition.log.writing = false;
        }
        self.on_room();
        self.remove_partition(slot);
    }

    fn on_run_written(&mut self, slot: u32, flight: Flight) {
        let urgent = matches!(self.phase, Phase::Stopping | Phase::Moving);
        let now = self.fx.now.wall.0;
        let JournalConfig { chunk_bytes, chunks_in_flight, .. } = self.config.journal;
        let Some(partition) = self.partition(slot) else { return };
        partition.log.writing = false;
        let end = partition.log.segments.back().expect("an active segment").bytes + flight.run.bytes() as u64;
        let partial = &flight.data[(round_down(end) - flight.at) as usize..(end - flight.at) as usize];
        partition.log.on_written(&flight.run, partial.to_vec(), now);
        let deleted = partition.deleted;
        self.staged_bytes -= flight.run.bytes();
        self.flusher.take_back(flight.data, chunks_in_flight * chunk_bytes);
        if deleted {
            return self.remove_partition(slot);
        }
        let staged = self.partition(slot).map_or(0, |partition| partition.log.staged_bytes());
        if staged >= chunk_bytes || (urgent && staged > 0) {
            self.queue_flush(slot);
        }
        self.apply_retention(slot);
        self.expire(slot);
        self.check_stopped();
    }

    pub(super) fn on_retry_flush(&mut self) {
        if !self.flusher.waiting_for_room || self.is_trimming() {
            return;
        }
        self.flusher.waiting_for_room = false;
        let flights = self.flusher.in_flight.iter_mut();
        let stuck = flights.filter_map(|(id, flight)| core::mem::take(&mut flight.stuck).then_some(*id));
        for id in stuck.collect::<Vec<_>>() {
            self.submit_flight(id);
        }
    }

    /// The active segment is full: cuts it to its length and writes its table beside it.
    pub(super) fn roll(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        let key = partition.key;
        let segment = partition.log.segments.back_mut().expect("an active segment");
        let (base, bytes) = (segment.base, segment.bytes);
        let table = sidecar::encode(key, base, &segment.chunks);
        let Some(file) = segment.open.file else { return self.open_segment(slot) };
        if !segment.open.mended && !partition.log.partial.is_empty() {
            return self.mend(slot, file);
        }
        segment.rolled = true;
        let (log, name) = (segment.path(key), segment.name());
        let mut steps = vec![Step::Truncate(bytes), Step::Sync];
        steps.extend(seal_steps(key, name, table));
        self.fx.log(Level::Debug, format!("{log} is rolled at {bytes} bytes"));
        self.start_task(steps, Some(file), &log, Then::Rolled { partition: slot, base });
        self.flush(slot);
    }

    /// Writes the active segment's part-filled last sector again. A crash may have torn its last rewrite, and only while
    /// the segment is active do checkpoints hold those bytes.
    fn mend(&mut self, slot: u32, file: FileId) {
        let Some(partition) = self.partition(slot) else { return };
        let segment = partition.log.segments.back_mut().expect("an active segment");
        // It becomes whole sectors long.
        segment.trimmed = false;
        let (at, path) = (round_down(segment.bytes), segment.path(partition.key));
        let mut sector = memory::aligned(SECTOR);
        sector.extend_from_slice(&partition.log.partial);
        sector.resize(SECTOR, 0);
        partition.log.writing = true;
        self.flusher.opening += 1;
        let steps = vec![Step::Write { offset: at, data: sector.freeze() }, Step::Sync];
        self.start_task(steps, Some(file), &path, Then::Mended { partition: slot });
    }

    pub(super) fn on_mended(&mut self, slot: u32) {
        self.flusher.opening -= 1;
        let Some(partition) = self.partition(slot) else { return };
        partition.log.writing = false;
        if let Some(segment) = partition.log.segments.back_mut() {
            segment.open.mended = true;
        }
        if partition.deleted {
            return self.remove_partition(slot);
        }
        self.flush(slot);
        self.expire(slot);
        self.check_stopped();
    }

    /// After a crash: segments that had rolled, whose tables are not known to be in sidecars.
    pub(super) fn finish_rolls(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        let key = partition.key;
        let unsealed = partition.log.segments.iter().filter(|segment| segment.rolled && !segment.sealed);
        let unsealed: Vec<(segment::Name, u64, Vec<u8>)> = unsealed
            .map(|segment| (segment.name(), segment.bytes, sidecar::encode(key, segment.base, &segment.chunks)))
            .collect();
        for (name, bytes, table) in unsealed {
            let (log, base) = (segment::log_path(key, name), name.base);
            let mut steps = vec![Step::Open(log.clone(), OpenMode { create: false, truncate: false, direct: false })];
            steps.push(Step::Truncate(bytes));
            steps.push(Step::Sync);
            steps.push(Step::Close);
            steps.extend(seal_steps(key, name, table));
            self.start_task(steps, None, &log, Then::Rolled { partition: slot, base });
        }
    }

    pub(super) fn on_rolled(&mut self, slot: u32, base: Offset) {
        let Some(partition) = self.partition(slot) else { return };
        if let Some(segment) = partition.log.segment_at_mut(base) {
            segment.sealed = true;
            segment.open.dirty = false;
            segment.open.unnamed = false;
        }
        self.forget_below_start(slot);
        self.apply_retention(slot);
        if let Some(partition) = self.partition(slot) {
            partition.expiring = false;
        }
        self.remove_doomed(slot);
        self.remove_partition_if_due(slot);
        self.check_stopped();
    }

    fn segment_path(&self, slot: u32) -> alloc::string::String {
        let partition = self.partitions[slot as usize].as_deref();
        partition
            .and_then(|partition| partition.log.segments.back().map(|segment| segment.path(partition.key)))
            .unwrap_or_else(|| "partitions".to_string())
    }
}

/// Writes a segment's table beside it, and makes both names durable.
pub(super) fn seal_steps(key: PartitionKey, name: segment::Name, table: Vec<u8>) -> Vec<Step> {
    vec![
        Step::Open(segment::sidecar_path(key, name), OpenMode { create: true, truncate: true, direct: false }),
        Step::Write { offset: 0, data: Bytes::from(table) },
        Step::Sync,
        Step::Close,
        Step::SyncDir(segment::folder(key)),
        Step::SyncDir("partitions".to_string()),
    ]
}

fn allocated(partition: &super::Partition) -> u64 {
    partition.log.segments.back().map_or(0, |segment| segment.open.allocated)
}

/// The size to grow to, so that `needed` bytes fit.
fn grown(allocated: u64, needed: u64) -> u64 {
    needed.max(allocated + (3 * allocated).clamp(GROW_MIN, GROW_MAX))
}
