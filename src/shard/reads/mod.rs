//! Reads from segments: whole chunks, verified, into a bounded pool; nothing on the way blocks the shard.
//!
//! A request that names many partitions is answered from the first few of them, so its next ones are read meanwhile:
//! the reader will ask for them at these offsets. Where a request is answered whole, what lies behind it is read.
//!
//! ```text
//! open the file ─▶ load the table (a sealed segment's sidecar) ─▶ read whole chunks ─▶ verify each ─▶ cut out batches
//! ```
//!
//! A sidecar that is damaged is made anew from its segment (`rebuild`), and the read goes on.
//!
//! Invariant: no byte of a segment is served whose chunk's checksum was not verified after this read. A damaged chunk is
//! refused with its file and offset; everything else of the partition is served. A job that waits for memory belongs to a
//! letter that holds none.

mod pool;
mod rebuild;
mod verify;

use super::effects::Pending;
use super::fetch::{ReadPart, ReadResult};
use super::partition::Partition;
use super::query::Search;
use super::timers::Timer;
use super::{Level, Shard};
use crate::boundary::{Done, IoError, Op, OpenMode};
use crate::ids::Offset;
use crate::log::segment::{self, Chunk, Name};
use crate::log::sidecar;
use crate::mail::Ticket;
use crate::memory::{round_down, round_up};
use crate::wire::ErrorCode;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::time::Duration;
use pool::{ChunkKey, ReadPool};
use rebuild::Rebuilding;
use verify::{Limit, check_of, cut_out, overlay};

/// The most of a table of chunks that one read brings.
const TABLE_READ_MAX: usize = 1 << 20;
/// Reads that one letter starts ahead of its reader.
const AHEAD_MAX: usize = 4;
/// A fetch waits this long for memory, then does without what it wanted there: two that hold what the other waits for, on
/// two shards, would wait for ever.
const ROOM_PATIENCE: Duration = Duration::from_millis(20);
/// Short reads in a row, without a whole sector in any, after which the file is taken to end there.
const STALLED_MAX: u8 = 8;

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    pub ticket: Ticket,
    pub round: u32,
}

/// A part of a letter that is to be read from a segment.
pub struct Wanted {
    pub slot: u32,
    pub part: ReadPart,
    /// At most so many bytes.
    pub bytes: usize,
    /// But the first batch whatever its size.
    pub whole: bool,
}

pub struct Reads {
    jobs: BTreeMap<u64, Job>,
    gathers: BTreeMap<u64, Gather>,
    next: u64,
    pool: ReadPool,
    /// Bytes that are being read ahead.
    ahead_bytes: usize,
    /// Jobs that wait for memory.
    waiting: VecDeque<u64>,
    /// A timer ends their patience.
    timed: bool,
    /// Chunks that are being read, and the jobs that wait for them rather than read them again.
    coming: BTreeMap<ChunkKey, Vec<u64>>,
    /// Damage that has been told already.
    told: BTreeSet<ChunkKey>,
    /// The read that makes a table anew, and those that wait until it is done.
    rebuilding: Option<u64>,
    without_table: Vec<u64>,
    /// Segments whose table is damaged, and which are damaged themselves.
    lost: BTreeSet<(u32, Name)>,
}

/// A read of one partition.
struct Job {
    slot: u32,
    /// The segment. Where compaction has replaced it, the read begins anew.
    name: Name,
    purpose: Purpose,
    stage: Stage,
    /// What of `ahead_bytes` is this job's.
    ahead_bytes: usize,
    tried_again: bool,
    /// It has waited for memory long enough.
    impatient: bool,
    /// Reads in a row that brought no whole sector.
    stalled: u8,
}

enum Purpose {
    /// Batches from `part.offset` on, up to `bytes` of them; the first one `whole`, however large.
    Fetch {
        gather: u64,
        part: ReadPart,
        bytes: usize,
        /// The first batch comes whatever its size.
        whole: bool,
        /// Reads to start behind it.
        ahead: usize,
    },
    Search(Search),
    /// What is to be compacted, from here on.
    Compact {
        offset: Offset,
    },
    /// A coordinator's log, from here on.
    Load {
        offset: Offset,
    },
    /// What a reader will ask for next: the chunk that holds `offset`, some behind it, and so many reads more.
    Ahead {
        offset: Offset,
        more: usize,
    },
}

impl Purpose {
    /// Where it reads.
    fn offset(&self) -> Offset {
        match self {
            Purpose::Fetch { part, .. } => part.offset,
            Purpose::Search(search) => search.from(),
            Purpose::Compact { offset } | Purpose::Load { offset } | Purpose::Ahead { offset, .. } => *offset,
        }
    }
}

enum Stage {
    Start,
    Opening,
    OpeningSidecar,
    Sidecar { read: Vec<u8>, len: u64, file: crate::boundary::FileId },
    Rebuilding(Box<Rebuilding>),
    Reading { chunks: Vec<Chunk>, from: u64 },
}

/// The jobs of one read letter.
struct Gather {
    reader: Reader,
    results: Vec<ReadResult>,
    left: usize,
}

impl Reads {
    pub fn new(bytes_max: u64) -> Reads {
        Reads {
            jobs: BTreeMap::new(),
            gathers: BTreeMap::new(),
            next: 1,
            pool: ReadPool::new(bytes_max),
            ahead_bytes: 0,
            waiting: VecDeque::new(),
            timed: false,
            coming: BTreeMap::new(),
            told: BTreeSet::new(),
            rebuilding: None,
            without_table: Vec::new(),
            lost: BTreeSet::new(),
        }
    }

    /// These chunks are no longer on their way: who waited for them.
    fn arrived(&mut self, slot: u32, name: Name, chunks: &[Chunk]) -> Vec<u64> {
        let keys = chunks.iter().map(|chunk| (slot, name, chunk.position));
        keys.filter_map(|key| self.coming.remove(&key)).flatten().collect()
    }

    /// Whether a job may wait for memory. A letter that holds some must be answered with that: others wait for it.
    fn may_wait(&self, job: &Job) -> bool {
        match &job.purpose {
            Purpose::Fetch { gather, .. } => {
                !job.impatient && self.gathers[gather].results.iter().all(|result| result.records.is_empty())
            }
            Purpose::Search(_) | Purpose::Load { .. } | Purpose::Compact { .. } => true,
            Purpose::Ahead { .. } => false,
        }
    }
}

impl Job {
    /// The last `count` bytes of `have` have come: how many more are to be read behind them, unless `needed` bytes are there or
    /// the file ends.
    fn missing(&mut self, have: &mut BytesMut, count: usize, needed: usize) -> Option<usize> {
        // A direct read goes on at a whole sector.
        let whole = round_down(have.len() as u64) as usize;
        // A file that ends inside a sector, too early, gives the same bytes again and again.
        self.stalled = if whole + count > have.len() { 0 } else { self.stalled + 1 };
        if have.len() >= needed || count == 0 || self.stalled > STALLED_MAX {
            return None;
        }
        have.truncate(whole);
        Some(round_up(needed as u64) as usize - whole)
    }
}

impl Shard {
    /// Reads the parts of one letter that are not in memory, then ahead what its reader will ask for next: `later` are
    /// partitions and offsets that the letter named and that had no room in the answer.
    pub(super) fn read_segments(
        &mut self,
        reader: Reader,
        results: Vec<ReadResult>,
        parts: Vec<Wanted>,
        later: Vec<(u32, Offset)>,
    ) {
        let gather = self.reads.next;
        self.reads.next += 1;
        self.reads.gathers.insert(gather, Gather { reader, results, left: parts.len() });
        let behind = AHEAD_MAX.saturating_sub(later.len()).div_ceil(parts.len());
        for Wanted { slot, part, bytes, whole } in parts {
            self.start_read(slot, part.offset, Purpose::Fetch { gather, part, bytes, whole, ahead: behind });
        }
        for (slot, offset) in later.into_iter().take(AHEAD_MAX) {
            self.read_ahead(slot, offset, 0);
        }
    }

    /// Looks for a timestamp in the segment that holds `offset`.
    pub(super) fn search_segment(&mut self, slot: u32, offset: Offset, search: Search) {
        self.start_read(slot, offset, Purpose::Search(search));
    }

    /// Reads on in a coordinator's log.
    pub(super) fn read_groups(&mut self, slot: u32, offset: Offset) {
        self.start_read(slot, offset, Purpose::Load { offset });
    }

    /// Reads what is to be compacted.
    pub(super) fn read_to_compact(&mut self, slot: u32, offset: Offset) {
        self.start_read(slot, offset, Purpose::Compact { offset });
    }

    fn start_read(&mut self, slot: u32, offset: Offset, purpose: Purpose) {
        let id = self.reads.next;
        self.reads.next += 1;
        let Some(partition) = self.partition(slot) else { return };
        let index = partition.log.segment_of(offset).expect("the caller has seen that a segment holds it");
        let name = partition.log.segments[index].name();
        partition.reads += 1;
        let job = Job {
            slot,
            name,
            purpose,
            stage: Stage::Start,
            ahead_bytes: 0,
            tried_again: false,
            impatient: false,
            stalled: 0,
        };
        self.reads.jobs.insert(id, job);
        self.step_read(id);
    }

    /// Does the next thing that a read needs.
    fn step_read(&mut self, id: u64) {
        let Some(job) = self.reads.jobs.get_mut(&id) else { return };
        let slot = job.slot;
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else {
            return self.end_read(id, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let key = partition.key;
        if partition.log.segment_named(job.name).is_none()
            && let Some(index) = partition.log.segment_of(job.purpose.offset())
        {
            job.name = partition.log.segments[index].name();
        }
        let name = job.name;
        let Some(segment) = partition.log.segment_named(name) else {
            return self.end_read(id, Err(ErrorCode::OFFSET_OUT_OF_RANGE));
        };
        let read_only = |direct| OpenMode { create: false, truncate: false, direct };
        if segment.open.file.is_none() {
            job.stage = Stage::Opening;
            let op = Op::Open { path: segment::log_path(key, name), mode: read_only(true) };
            return self.fx.submit(op, Pending::ReadSegment(id));
        }
        if segment.chunks.is_empty() {
            job.stage = Stage::OpeningSidecar;
            let op = Op::Open { path: segment::sidecar_path(key, name), mode: read_only(false) };
            return self.fx.submit(op, Pending::ReadSegment(id));
        }
        self.read_chunks(id);
    }

    /// The table is there: finds the chunks, in the pool or on the disk.
    fn read_chunks(&mut self, id: u64) {
        let job = &self.reads.jobs[&id];
        let (slot, name) = (job.slot, job.name);
        let Some(chunks) = self.wanted_chunks(job) else { return self.end_read(id, Ok((Vec::new(), Vec::new()))) };
        let key = |chunk: &Chunk| (slot, name, chunk.position);
        let cached: Vec<Bytes> = chunks.iter().map_while(|chunk| self.reads.pool.get(&key(chunk), chunk.len)).collect();
        if !cached.is_empty() {
            return self.end_read(id, Ok((chunks[..cached.len()].to_vec(), cached)));
        }
        let ahead = matches!(job.purpose, Purpose::Ahead { .. });
        if let Some(waiting) = self.reads.coming.get_mut(&key(&chunks[0])) {
            if ahead {
                return self.end_read(id, Ok((chunks, Vec::new())));
            }
            waiting.push(id);
            return;
        }
        let (from, len) = (round_down(chunks[0].position), reach_bytes(&chunks));
        let may = !ahead || self.reads.pool.may_read_ahead(self.reads.ahead_bytes + len);
        let Some(buf) = may.then(|| self.reads.pool.take(len, !ahead)).flatten() else {
            return self.wait_for_memory(id);
        };
        for chunk in &chunks {
            self.reads.coming.entry(key(chunk)).or_default();
        }
        let job = self.reads.jobs.get_mut(&id).expect("just seen");
        job.ahead_bytes = if ahead { len } else { 0 };
        self.reads.ahead_bytes += job.ahead_bytes;
        job.stage = Stage::Reading { chunks, from };
        self.submit_read(id, buf, len);
    }

    /// The chunks that a job asks for: neighbours, as many as one read brings.
    fn wanted_chunks(&self, job: &Job) -> Option<Vec<Chunk>> {
        let partition = self.partitions[job.slot as usize].as_deref()?;
        let segment = partition.log.segment_named(job.name)?;
        let read_max = self.reads.pool.read_max();
        let (index, wanted) = match &job.purpose {
            Purpose::Fetch { part, bytes, .. } => (segment.chunk_of(part.offset)?, *bytes),
            Purpose::Search(search) => (search.chunk(&segment.chunks)?, 1),
            Purpose::Load { offset } | Purpose::Compact { offset } | Purpose::Ahead { offset, .. } => {
                (segment.chunk_of(*offset)?, read_max)
            }
        };
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut len = 0;
        for chunk in &segment.chunks[index..] {
            if !chunks.is_empty() && (len >= wanted || len + chunk.len as usize > read_max) {
                break;
            }
            len += chunk.len as usize;
            chunks.push(*chunk);
        }
        Some(chunks)
    }

    fn wait_for_memory(&mut self, id: u64) {
        if !self.reads.may_wait(&self.reads.jobs[&id]) {
            return self.end_read(id, Ok((Vec::new(), Vec::new())));
        }
        if !core::mem::replace(&mut self.reads.timed, true) {
            self.timers.set(self.fx.now.mono.after(ROOM_PATIENCE), Timer::ReadsWait);
        }
        self.reads.waiting.push_back(id);
    }

    pub(super) fn on_reads_wait_due(&mut self) {
        self.reads.timed = false;
        for id in &self.reads.waiting {
            self.reads.jobs.get_mut(id).expect("it waits").impatient = true;
        }
        for id in core::mem::take(&mut self.reads.waiting) {
            self.step_read(id);
        }
    }

    /// Lets reads go on that wait for memory: answers may have gone, or chunks been forgotten.
    pub(super) fn resume_waiting_reads(&mut self) {
        while let Some(id) = self.reads.waiting.pop_front() {
            self.step_read(id);
            if self.reads.waiting.back() == Some(&id) {
                // No room for the first means none for those behind it.
                self.reads.waiting.rotate_right(1);
                break;
            }
        }
    }

    /// Reads `len` bytes behind those that are there.
    fn submit_read(&mut self, id: u64, have: BytesMut, len: usize) {
        let job = &self.reads.jobs[&id];
        let Stage::Reading { chunks, from } = &job.stage else { panic!("job {id} does not read") };
        let offset = from + have.len() as u64;
        let partition = self.partitions[job.slot as usize].as_deref();
        let segment = partition.and_then(|partition| partition.log.segment_named(job.name));
        let Some(file) = segment.and_then(|segment| segment.open.file) else {
            // Replaced or gone meanwhile: whoever waits finds what is there now.
            let chunks = chunks.clone();
            return self.read_anew(id, &chunks);
        };
        self.fx.submit(Op::Read { file, offset, buf: have, len }, Pending::ReadSegment(id));
    }

    fn read_anew(&mut self, id: u64, chunks: &[Chunk]) {
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        self.reads.ahead_bytes -= core::mem::take(&mut job.ahead_bytes);
        job.stage = Stage::Start;
        let (slot, name) = (job.slot, job.name);
        let waiting = self.reads.arrived(slot, name, chunks);
        self.reads.pool.on_read(reach_bytes(chunks));
        self.step_read(id);
        waiting.into_iter().for_each(|id| self.step_read(id));
    }

    pub(super) fn on_segment_read(&mut self, id: u64, done: Done) {
        let Some(job) = self.reads.jobs.get_mut(&id) else { panic!("read {id} has no job: {done:?}") };
        let result = match (core::mem::replace(&mut job.stage, Stage::Start), done) {
            (Stage::Opening, Done::Opened(Ok(opened))) => {
                self.on_log_opened(id, opened.file);
                Ok(())
            }
            (Stage::OpeningSidecar, Done::Opened(Ok(opened))) => {
                job.stage = Stage::Sidecar { read: Vec::new(), len: opened.len, file: opened.file };
                self.read_sidecar(id);
                Ok(())
            }
            (Stage::OpeningSidecar, Done::Opened(Err(IoError::NotFound))) => {
                self.on_no_table(id, "no chunk table");
                Ok(())
            }
            (Stage::Opening | Stage::OpeningSidecar, Done::Opened(Err(error))) => Err(error),
            (Stage::Sidecar { mut read, len, file }, Done::Read { buf, result }) => match result {
                Ok(0) => {
                    self.on_sidecar(id, file, &read);
                    Ok(())
                }
                Ok(_) => {
                    read.extend_from_slice(&buf);
                    job.stage = Stage::Sidecar { read, len, file };
                    self.read_sidecar(id);
                    Ok(())
                }
                Err(error) => {
                    self.fx.submit(Op::Close { file }, Pending::Nothing);
                    Err(error)
                }
            },
            (Stage::Rebuilding(rebuilding), Done::Read { buf, result }) => match result {
                Ok(count) => return self.on_piece(id, rebuilding, buf, count),
                Err(error) => Err(error),
            },
            (Stage::Reading { chunks, from }, Done::Read { buf, result }) => match result {
                Ok(count) => return self.on_bytes(id, chunks, from, buf, count),
                Err(error) => return self.on_read_failed(id, error, &chunks),
            },
            (_, done) => panic!("read {id} ended as {done:?}"),
        };
        if let Err(error) = result {
            self.on_read_failed(id, error, &[]);
        }
    }

    /// `count` bytes more have come: goes on until the chunks are whole or the file ends.
    fn on_bytes(&mut self, id: u64, chunks: Vec<Chunk>, from: u64, mut have: BytesMut, count: usize) {
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        let last = chunks.last().expect("a read has chunks");
        let needed = (last.position + u64::from(last.len) - from) as usize;
        let missing = job.missing(&mut have, count, needed);
        if let Some(len) = missing {
            job.stage = Stage::Reading { chunks, from };
            return self.submit_read(id, have, len);
        }
        self.on_chunks_read(id, chunks, from, have);
    }

    fn on_log_opened(&mut self, id: u64, file: crate::boundary::FileId) {
        let job = &self.reads.jobs[&id];
        let partition = self.partitions[job.slot as usize].as_deref_mut();
        let segment = partition.and_then(|partition| partition.log.segment_named_mut(job.name));
        match segment {
            // The flusher, or another reader, may have opened it meanwhile; an active one knows its length by opening it.
            Some(segment) if segment.open.file.is_none() && segment.rolled => segment.open.file = Some(file),
            Some(segment) if segment.open.file.is_none() => {
                segment.open.file = Some(file);
                segment.open.allocated = round_up(segment.bytes);
            }
            Some(_) | None => self.fx.submit(Op::Close { file }, Pending::Nothing),
        }
        self.step_read(id);
    }

    fn read_sidecar(&mut self, id: u64) {
        let Stage::Sidecar { read, len, file } = &self.reads.jobs[&id].stage else { panic!("job {id} reads no table") };
        let left = len.saturating_sub(read.len() as u64) as usize;
        if left == 0 {
            let (file, read) = (*file, read.clone());
            return self.on_sidecar(id, file, &read);
        }
        let len = left.min(TABLE_READ_MAX);
        let op = Op::Read { file: *file, offset: read.len() as u64, buf: BytesMut::with_capacity(len), len };
        self.fx.submit(op, Pending::ReadSegment(id));
    }

    fn on_sidecar(&mut self, id: u64, file: crate::boundary::FileId, read: &[u8]) {
        self.fx.submit(Op::Close { file }, Pending::Nothing);
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        job.stage = Stage::Start;
        let (slot, name) = (job.slot, job.name);
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { return self.step_read(id) };
        let key = partition.key;
        let Some(segment) = partition.log.segment_named_mut(name) else {
            return self.step_read(id);
        };
        let covers = |chunks: &Vec<Chunk>| {
            chunks
                .last()
                .is_some_and(|last| (last.position + u64::from(last.len), last.end) == (segment.bytes, segment.end))
        };
        match sidecar::decode(key, name.base, read) {
            Ok(chunks) if covers(&chunks) => {
                segment.chunks = chunks;
                self.step_read(id);
            }
            Ok(_) => self.on_no_table(id, "the chunk table of another length"),
            Err(reason) => self.on_no_table(id, reason),
        }
    }

    /// Verifies what was read, chunk by chunk.
    fn on_chunks_read(&mut self, id: u64, mut chunks: Vec<Chunk>, from: u64, mut have: BytesMut) {
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        let (slot, name) = (job.slot, job.name);
        self.reads.ahead_bytes -= core::mem::take(&mut job.ahead_bytes);
        let waiting = self.reads.arrived(slot, name, &chunks);
        self.reads.pool.on_read(reach_bytes(&chunks));
        let partition = self.partitions[slot as usize].as_deref();
        overlay(partition, name, from, &mut have);
        let have = have.freeze();
        let mut verified = Vec::with_capacity(chunks.len());
        let mut damaged = None;
        for chunk in &chunks {
            let start = (chunk.position - from) as usize;
            let bytes =
                (have.len() >= start + chunk.len as usize).then(|| have.slice(start..start + chunk.len as usize));
            match bytes.filter(|bytes| check_of(bytes) == Some(chunk.check)) {
                Some(bytes) => verified.push(bytes),
                None => {
                    damaged = Some(chunk.position);
                    break;
                }
            }
        }
        chunks.truncate(verified.len());
        for (chunk, bytes) in chunks.iter().zip(&verified) {
            self.reads.pool.remember((slot, name, chunk.position), bytes.clone());
        }
        match (verified.is_empty(), damaged, partition_key(&self.partitions, slot)) {
            (true, Some(_), _) if !self.reads.jobs[&id].tried_again => {
                // The last sector may have been on its way while it was read.
                self.reads.jobs.get_mut(&id).expect("it reads").tried_again = true;
                self.step_read(id);
            }
            (true, Some(position), Some(key)) => {
                self.on_damaged(id, segment::log_path(key, name), position, "the chunk's checksum fails");
            }
            (_, _, _) => self.end_read(id, Ok((chunks, verified))),
        }
        waiting.into_iter().for_each(|id| self.step_read(id));
    }

    fn on_damaged(&mut self, id: u64, path: String, position: u64, reason: &str) {
        let job = &self.reads.jobs[&id];
        if self.reads.told.insert((job.slot, job.name, position)) {
            let key = partition_key(&self.partitions, job.slot).map(|key| format!("{key}")).unwrap_or_default();
            let text = format!("partition {key} refuses: {path} is damaged at offset {position}: {reason}");
            self.fx.log(Level::Error, text);
        }
        self.end_read(id, Err(ErrorCode::CORRUPT_MESSAGE));
    }

    fn on_read_failed(&mut self, id: u64, error: IoError, chunks: &[Chunk]) {
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        self.reads.ahead_bytes -= core::mem::take(&mut job.ahead_bytes);
        let (slot, name) = (job.slot, job.name);
        let waiting = self.reads.arrived(slot, name, chunks);
        self.reads.pool.on_read(reach_bytes(chunks));
        match partition_key(&self.partitions, slot) {
            Some(key) => {
                self.fx.log(Level::Error, format!("{}: cannot be read: {error}", segment::log_path(key, name)));
                self.end_read(id, Err(ErrorCode::KAFKA_STORAGE_ERROR));
            }
            None => self.end_read(id, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
        }
        self.rebuild_over(id);
        waiting.into_iter().for_each(|id| self.step_read(id));
    }

    /// Reads what a reader will ask for, where there is memory to spare.
    fn read_ahead(&mut self, slot: u32, offset: Offset, more: usize) {
        let Some(partition) = self.partition(slot) else { return };
        let in_segments = offset < partition.log.tail_base() && partition.log.segment_of(offset).is_some();
        if in_segments && !partition.deleted {
            self.start_read(slot, offset, Purpose::Ahead { offset, more });
        }
    }

    /// A read is over: with verified chunks, or an error.
    fn end_read(&mut self, id: u64, result: Result<(Vec<Chunk>, Vec<Bytes>), ErrorCode>) {
        let job = self.reads.jobs.remove(&id).expect("it reads");
        let slot = job.slot;
        if let Some(partition) = self.partition(slot) {
            partition.reads -= 1;
        }
        match job.purpose {
            Purpose::Fetch { gather, part, bytes, whole, ahead } => {
                let behind = result.as_ref().ok().and_then(|(chunks, _)| chunks.last()).map(|last| last.end);
                let partition = self.partitions[slot as usize].as_deref();
                let read = match (result, partition) {
                    // DeleteRecords or retention has moved the start meanwhile.
                    (Ok(_), Some(partition)) if part.offset < partition.replica.start() => {
                        let error = ErrorCode::OFFSET_OUT_OF_RANGE;
                        ReadResult { error, ..partition.empty_result(part.item) }
                    }
                    (Ok((chunks, bytes_of)), Some(partition)) => {
                        let mut read = partition.empty_result(part.item);
                        let limit = Limit { end: partition.served_end(), bytes, whole };
                        let used = cut_out(&bytes_of, part.offset, limit, &mut read);
                        for chunk in &chunks[..used] {
                            self.reads.pool.on_used((slot, job.name, chunk.position));
                        }
                        read
                    }
                    (Ok(_), None) => ReadResult::error(part.item, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                    (Err(error), Some(partition)) => ReadResult { error, ..partition.empty_result(part.item) },
                    (Err(error), None) => ReadResult::error(part.item, error),
                };
                self.gathered(gather, read);
                if let Some(offset) = behind.filter(|_| ahead > 0) {
                    self.read_ahead(slot, offset, ahead - 1);
                }
            }
            Purpose::Search(search) => self.on_searched(slot, search, result),
            Purpose::Load { .. } => self.on_groups_read(slot, result),
            Purpose::Compact { .. } => self.on_compact_read(slot, result),
            Purpose::Ahead { more, .. } => {
                // Whether it was read now, before, or is on its way: on behind it.
                if let Ok((chunks, _)) = result
                    && let Some(last) = chunks.last()
                    && more > 0
                {
                    self.read_ahead(slot, last.end, more - 1);
                }
            }
        }
        self.remove_doomed(slot);
        self.remove_partition_if_due(slot);
    }

    fn gathered(&mut self, id: u64, result: ReadResult) {
        let gather = self.reads.gathers.get_mut(&id).expect("it has jobs left");
        gather.results.push(result);
        gather.left -= 1;
        if gather.left == 0 {
            let gather = self.reads.gathers.remove(&id).expect("just seen");
            self.read_done(gather.reader.ticket, gather.reader.round, gather.results);
        }
    }
}

fn partition_key(partitions: &[Option<alloc::boxed::Box<Partition>>], slot: u32) -> Option<crate::ids::PartitionKey> {
    partitions[slot as usize].as_deref().map(|partition| partition.key)
}

/// The bytes of the whole sectors that hold these chunks.
fn reach_bytes(chunks: &[Chunk]) -> usize {
    let end = chunks.last().map_or(0, |last| round_up(last.position + u64::from(last.len)));
    (end - chunks.first().map_or(0, |first| round_down(first.position))) as usize
}
