//! Reads from segments: whole chunks, verified, into a bounded pool; nothing on the way blocks the shard.
//!
//! ```text
//! open the file ─▶ load the table (a sealed segment's sidecar) ─▶ read whole chunks ─▶ verify each ─▶ cut out batches
//! ```
//!
//! Invariant: no byte of a segment is served whose chunk's checksum was not verified after this read. A damaged chunk is
//! refused with its file and offset; everything else of the partition is served.

use super::effects::Pending;
use super::fetch::{ReadPart, ReadResult};
use super::partition::Partition;
use super::query::Search;
use super::{Level, Shard};
use crate::boundary::{Done, IoError, Op, OpenMode};
use crate::ids::Offset;
use crate::log::segment::{self, Chunk};
use crate::log::sidecar;
use crate::mail::Ticket;
use crate::memory::{self, round_down, round_up};
use crate::records;
use crate::wire::ErrorCode;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// The most that one read brings.
const READ_MAX: u64 = 1 << 20;
/// Short reads in a row, without a whole sector in any, after which the file is taken to end there.
const STALLED_MAX: u8 = 8;

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    pub ticket: Ticket,
    pub round: u32,
}

pub struct Reads {
    jobs: BTreeMap<u64, Job>,
    gathers: BTreeMap<u64, Gather>,
    next: u64,
    /// Bytes that jobs in flight will bring, and their limit.
    in_flight: usize,
    in_flight_max: usize,
    waiting: VecDeque<u64>,
    /// Verified chunks that were read lately: by partition, segment and position.
    cache: BTreeMap<(u32, Offset, u64), Bytes>,
    cache_order: VecDeque<(u32, Offset, u64)>,
    cache_bytes: usize,
    cache_max: usize,
    /// Chunks that are being read, and the jobs that wait for them rather than read them again.
    coming: BTreeMap<(u32, Offset, u64), Vec<u64>>,
    /// Damage that has been told already.
    told: BTreeSet<(u32, Offset, u64)>,
}

/// A read of one partition.
struct Job {
    slot: u32,
    /// The segment.
    base: Offset,
    purpose: Purpose,
    stage: Stage,
    counted: usize,
    tried_again: bool,
    /// Reads in a row that brought no whole sector.
    stalled: u8,
}

enum Purpose {
    /// Batches from `part.offset` on, about `bytes` of them.
    Fetch {
        gather: u64,
        part: ReadPart,
        bytes: usize,
    },
    Search(Search),
    /// A coordinator's log, from here on.
    Load {
        offset: Offset,
    },
    /// What a reader will ask for next: the chunk at this position, and some behind it.
    Ahead {
        position: u64,
    },
}

enum Stage {
    Start,
    Opening,
    OpeningSidecar,
    Sidecar { read: Vec<u8>, len: u64, file: crate::boundary::FileId },
    Reading { chunks: Vec<Chunk>, from: u64, have: BytesMut },
}

/// The jobs of one read letter.
struct Gather {
    reader: Reader,
    results: Vec<ReadResult>,
    left: usize,
}

impl Reads {
    pub fn new(bytes_max: u64) -> Reads {
        let half = usize::try_from(bytes_max / 2).unwrap_or(usize::MAX);
        Reads {
            jobs: BTreeMap::new(),
            gathers: BTreeMap::new(),
            next: 1,
            in_flight: 0,
            in_flight_max: half,
            waiting: VecDeque::new(),
            cache: BTreeMap::new(),
            cache_order: VecDeque::new(),
            cache_bytes: 0,
            cache_max: half,
            coming: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// These chunks are no longer on their way: who waited for them.
    fn arrived(&mut self, slot: u32, base: Offset, chunks: &[Chunk]) -> Vec<u64> {
        let keys = chunks.iter().map(|chunk| (slot, base, chunk.position));
        keys.filter_map(|key| self.coming.remove(&key)).flatten().collect()
    }

    fn remember(&mut self, key: (u32, Offset, u64), bytes: Bytes) {
        if bytes.len() > self.cache_max / 2 {
            return;
        }
        self.cache_bytes += bytes.len();
        match self.cache.insert(key, bytes) {
            Some(old) => self.cache_bytes -= old.len(),
            None => self.cache_order.push_back(key),
        }
        while self.cache_bytes > self.cache_max {
            let Some(oldest) = self.cache_order.pop_front() else { break };
            if let Some(bytes) = self.cache.remove(&oldest) {
                self.cache_bytes -= bytes.len();
            }
        }
    }
}

impl Shard {
    /// Reads the parts of one letter that are not in memory.
    pub(super) fn read_segments(
        &mut self,
        reader: Reader,
        results: Vec<ReadResult>,
        parts: Vec<(u32, ReadPart, usize)>,
    ) {
        let gather = self.reads.next;
        self.reads.next += 1;
        self.reads.gathers.insert(gather, Gather { reader, results, left: parts.len() });
        for (slot, part, bytes) in parts {
            self.start_read(slot, part.offset, Purpose::Fetch { gather, part, bytes });
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

    fn start_read(&mut self, slot: u32, offset: Offset, purpose: Purpose) {
        let id = self.reads.next;
        self.reads.next += 1;
        let Some(partition) = self.partition(slot) else { return };
        let index = partition.log.segment_of(offset).expect("the caller has seen that a segment holds it");
        let base = partition.log.segments[index].base;
        partition.reads += 1;
        let job = Job { slot, base, purpose, stage: Stage::Start, counted: 0, tried_again: false, stalled: 0 };
        self.reads.jobs.insert(id, job);
        self.step_read(id);
    }

    /// Does the next thing that a read needs.
    fn step_read(&mut self, id: u64) {
        let Some(job) = self.reads.jobs.get_mut(&id) else { return };
        let (slot, base) = (job.slot, job.base);
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else {
            return self.end_read(id, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let key = partition.key;
        let Some(segment) = partition.log.segments.iter().find(|segment| segment.base == base) else {
            return self.end_read(id, Err(ErrorCode::OFFSET_OUT_OF_RANGE));
        };
        let read_only = |direct| OpenMode { create: false, truncate: false, direct };
        if segment.open.file.is_none() {
            job.stage = Stage::Opening;
            let op = Op::Open { path: segment::log_path(key, base), mode: read_only(true) };
            return self.fx.submit(op, Pending::ReadSegment(id));
        }
        if segment.chunks.is_empty() {
            job.stage = Stage::OpeningSidecar;
            let op = Op::Open { path: segment::sidecar_path(key, base), mode: read_only(false) };
            return self.fx.submit(op, Pending::ReadSegment(id));
        }
        self.read_chunks(id);
    }

    /// The table is there: finds the chunks, in the pool or on the disk.
    fn read_chunks(&mut self, id: u64) {
        let job = self.reads.jobs.get_mut(&id).expect("it is being stepped");
        let partition = self.partitions[job.slot as usize].as_deref().expect("just seen");
        let segment = partition.log.segments.iter().find(|segment| segment.base == job.base).expect("just seen");
        let (index, wanted) = match &job.purpose {
            Purpose::Fetch { part, bytes, .. } => (segment.chunk_of(part.offset), *bytes as u64),
            Purpose::Search(search) => (search.chunk(&segment.chunks), 1),
            Purpose::Load { offset } => (segment.chunk_of(*offset), READ_MAX),
            Purpose::Ahead { position } => {
                (segment.chunks.iter().position(|chunk| chunk.position == *position), READ_MAX)
            }
        };
        let Some(index) = index else { return self.end_read(id, Ok((Vec::new(), Vec::new()))) };
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut len = 0;
        for chunk in &segment.chunks[index..] {
            if !chunks.is_empty() && (len >= wanted || len + u64::from(chunk.len) > READ_MAX) {
                break;
            }
            len += u64::from(chunk.len);
            chunks.push(*chunk);
        }
        let cached: Vec<Bytes> = chunks
            .iter()
            .map_while(|chunk| self.reads.cache.get(&(job.slot, job.base, chunk.position)))
            .zip(&chunks)
            .take_while(|(bytes, chunk)| bytes.len() == chunk.len as usize)
            .map(|(bytes, _)| bytes.clone())
            .collect();
        if !cached.is_empty() {
            chunks.truncate(cached.len());
            return self.end_read(id, Ok((chunks, cached)));
        }
        let key = |chunk: &Chunk| (job.slot, job.base, chunk.position);
        if let Some(waiting) = self.reads.coming.get_mut(&key(&chunks[0])) {
            job.stage = Stage::Start;
            waiting.push(id);
            return;
        }
        if self.reads.in_flight > 0 && self.reads.in_flight + len as usize > self.reads.in_flight_max {
            job.stage = Stage::Start;
            self.reads.waiting.push_back(id);
            return;
        }
        for chunk in &chunks {
            self.reads.coming.entry(key(chunk)).or_default();
        }
        let from = round_down(chunks[0].position);
        job.counted = len as usize;
        self.reads.in_flight += job.counted;
        job.stage = Stage::Reading { chunks, from, have: BytesMut::new() };
        self.submit_read(id);
    }

    fn submit_read(&mut self, id: u64) {
        let job = &self.reads.jobs[&id];
        let Stage::Reading { chunks, from, have } = &job.stage else { panic!("job {id} does not read") };
        let last = chunks.last().expect("a read has chunks");
        let to = round_up(last.position + u64::from(last.len));
        let offset = from + have.len() as u64;
        let partition = self.partitions[job.slot as usize].as_deref();
        let segment =
            partition.and_then(|partition| partition.log.segments.iter().find(|segment| segment.base == job.base));
        let Some(file) = segment.and_then(|segment| segment.open.file) else {
            let chunks = chunks.clone();
            return self.on_read_failed(id, IoError::Canceled, &chunks);
        };
        let buf = memory::aligned_zeroed((to - offset) as usize);
        self.fx.submit(Op::Read { file, offset, buf }, Pending::ReadSegment(id));
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
            (Stage::Opening | Stage::OpeningSidecar, Done::Opened(Err(error))) => Err(error),
            (Stage::Sidecar { mut read, len, file }, Done::Read { buf, result }) => match result {
                Ok(0) => {
                    self.on_sidecar(id, file, &read);
                    Ok(())
                }
                Ok(count) => {
                    read.extend_from_slice(&buf[..count]);
                    job.stage = Stage::Sidecar { read, len, file };
                    self.read_sidecar(id);
                    Ok(())
                }
                Err(error) => {
                    self.fx.submit(Op::Close { file }, Pending::Nothing);
                    Err(error)
                }
            },
            (Stage::Reading { chunks, from, mut have }, Done::Read { buf, result }) => match result {
                Ok(count) => {
                    let (asked, had) = (buf.len(), have.len());
                    if have.is_empty() && count == asked {
                        have = buf;
                    } else {
                        have.extend_from_slice(&buf[..count]);
                    }
                    let last = chunks.last().expect("a read has chunks");
                    let enough = from + have.len() as u64 >= last.position + u64::from(last.len);
                    // A direct read goes on at a whole sector.
                    let whole = round_down(have.len() as u64) as usize;
                    // A file that ends inside a sector, too early, gives the same bytes again and again.
                    job.stalled = if whole > had { 0 } else { job.stalled + 1 };
                    let ended = count == 0 || job.stalled > STALLED_MAX;
                    if !enough && !ended {
                        have.truncate(whole);
                    }
                    job.stage = Stage::Reading { chunks, from, have };
                    if enough || ended {
                        self.on_chunks_read(id)
                    } else {
                        self.submit_read(id)
                    }
                    Ok(())
                }
                Err(error) => return self.on_read_failed(id, error, &chunks),
            },
            (_, done) => panic!("read {id} ended as {done:?}"),
        };
        if let Err(error) = result {
            self.on_read_failed(id, error, &[]);
        }
    }

    fn on_log_opened(&mut self, id: u64, file: crate::boundary::FileId) {
        let job = &self.reads.jobs[&id];
        let partition = self.partitions[job.slot as usize].as_deref_mut();
        let segment =
            partition.and_then(|partition| partition.log.segments.iter_mut().find(|segment| segment.base == job.base));
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
        let op =
            Op::Read { file: *file, offset: read.len() as u64, buf: BytesMut::zeroed(left.min(READ_MAX as usize)) };
        if left == 0 {
            let (file, read) = (*file, read.clone());
            return self.on_sidecar(id, file, &read);
        }
        self.fx.submit(op, Pending::ReadSegment(id));
    }

    fn on_sidecar(&mut self, id: u64, file: crate::boundary::FileId, read: &[u8]) {
        self.fx.submit(Op::Close { file }, Pending::Nothing);
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        job.stage = Stage::Start;
        let (slot, base) = (job.slot, job.base);
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { return self.step_read(id) };
        let key = partition.key;
        let Some(segment) = partition.log.segments.iter_mut().find(|segment| segment.base == base) else {
            return self.step_read(id);
        };
        let covers = |chunks: &Vec<Chunk>| {
            chunks
                .last()
                .is_some_and(|last| (last.position + u64::from(last.len), last.end) == (segment.bytes, segment.end))
        };
        match sidecar::decode(key, base, read) {
            Ok(chunks) if covers(&chunks) => {
                segment.chunks = chunks;
                self.step_read(id);
            }
            Ok(_) => self.on_damaged(id, segment::sidecar_path(key, base), 0, "the chunk table of another length"),
            Err(reason) => self.on_damaged(id, segment::sidecar_path(key, base), 0, reason),
        }
    }

    /// Verifies what was read, chunk by chunk.
    fn on_chunks_read(&mut self, id: u64) {
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        let (slot, base) = (job.slot, job.base);
        let Stage::Reading { mut chunks, from, mut have } = core::mem::replace(&mut job.stage, Stage::Start) else {
            panic!("job {id} does not read")
        };
        self.reads.in_flight -= core::mem::take(&mut job.counted);
        let waiting = self.reads.arrived(slot, base, &chunks);
        let partition = self.partitions[slot as usize].as_deref();
        overlay(partition, base, from, &mut have);
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
            self.reads.remember((slot, base, chunk.position), bytes.clone());
        }
        match (verified.is_empty(), damaged, partition_key(&self.partitions, slot)) {
            (true, Some(_), _) if !self.reads.jobs[&id].tried_again => {
                // The last sector may have been on its way while it was read.
                self.reads.jobs.get_mut(&id).expect("it reads").tried_again = true;
                self.step_read(id);
            }
            (true, Some(position), Some(key)) => {
                self.on_damaged(id, segment::log_path(key, base), position, "the chunk's checksum fails");
            }
            (_, _, _) => self.end_read(id, Ok((chunks, verified))),
        }
        self.resume_reads(waiting);
    }

    fn on_damaged(&mut self, id: u64, path: String, position: u64, reason: &str) {
        let job = &self.reads.jobs[&id];
        if self.reads.told.insert((job.slot, job.base, position)) {
            let key = partition_key(&self.partitions, job.slot).map(|key| format!("{key}")).unwrap_or_default();
            let text = format!("partition {key} refuses: {path} is damaged at offset {position}: {reason}");
            self.fx.log(Level::Error, text);
        }
        self.end_read(id, Err(ErrorCode::CORRUPT_MESSAGE));
    }

    fn on_read_failed(&mut self, id: u64, error: IoError, chunks: &[Chunk]) {
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        self.reads.in_flight -= core::mem::take(&mut job.counted);
        let (slot, base) = (job.slot, job.base);
        let waiting = self.reads.arrived(slot, base, chunks);
        let Some(key) = partition_key(&self.partitions, slot) else {
            return self.end_read(id, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        self.fx.log(Level::Error, format!("{}: cannot be read: {error}", segment::log_path(key, base)));
        self.end_read(id, Err(ErrorCode::KAFKA_STORAGE_ERROR));
        self.resume_reads(waiting);
    }

    /// Lets go on who waited for these chunks, and who waited for room.
    fn resume_reads(&mut self, waiting: Vec<u64>) {
        let room = core::mem::take(&mut self.reads.waiting);
        for id in waiting.into_iter().chain(room) {
            self.step_read(id);
        }
    }

    /// Reads on behind a reader that goes through a segment in order, where there is memory to spare.
    fn read_ahead(&mut self, slot: u32, base: Offset, behind: &Chunk) {
        let position = behind.position + u64::from(behind.len);
        let Some(partition) = self.partition(slot) else { return };
        let Some(segment) = partition.log.segments.iter().find(|segment| segment.base == base) else { return };
        if position >= segment.bytes || behind.end >= partition.log.tail_base() || partition.deleted {
            return;
        }
        let key = (slot, base, position);
        let known = self.reads.cache.contains_key(&key) || self.reads.coming.contains_key(&key);
        if !known && self.reads.in_flight + READ_MAX as usize <= self.reads.in_flight_max {
            self.start_read(slot, behind.end, Purpose::Ahead { position });
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
            Purpose::Fetch { gather, part, bytes } => {
                if let Ok((chunks, _)) = &result
                    && let Some(last) = chunks.last()
                {
                    self.read_ahead(slot, job.base, last);
                }
                let partition = self.partitions[slot as usize].as_deref();
                let read = match (result, partition) {
                    (Ok((_, chunks)), Some(partition)) => {
                        let mut read = partition.empty_result(part.item);
                        cut_out(&chunks, part.offset, partition.served_end(), bytes, &mut read);
                        read
                    }
                    (Ok(_), None) => ReadResult::error(part.item, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                    (Err(error), Some(partition)) => ReadResult { error, ..partition.empty_result(part.item) },
                    (Err(error), None) => ReadResult::error(part.item, error),
                };
                self.gathered(gather, read);
            }
            Purpose::Search(search) => self.on_searched(slot, search, result),
            Purpose::Load { .. } => self.on_groups_read(slot, result),
            Purpose::Ahead { .. } => {}
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

/// The checksum of a chunk's bytes, if they are whole batches.
fn check_of(bytes: &[u8]) -> Option<u32> {
    let mut checks = Vec::new();
    for batch in records::split(bytes) {
        checks.push(crc32fast::hash(batch.ok()?.1));
    }
    Some(segment::chunk_check(checks.into_iter()))
}

/// The active segment's last sector may have been torn when it was written again: memory knows better.
fn overlay(partition: Option<&Partition>, base: Offset, from: u64, have: &mut BytesMut) {
    let Some(partition) = partition else { return };
    let Some(segment) = partition.log.segments.back().filter(|segment| segment.base == base) else { return };
    let at = round_down(segment.bytes);
    let partial = &partition.log.partial;
    let Some(start) = at.checked_sub(from).map(|start| start as usize) else { return };
    if start < have.len() {
        let len = partial.len().min(have.len() - start);
        have[start..start + len].copy_from_slice(&partial[..len]);
    }
}

/// Whole batches from the one that holds `offset`, below `end`, about `bytes` of them and at least one.
fn cut_out(chunks: &[Bytes], offset: Offset, end: Offset, bytes: usize, result: &mut ReadResult) {
    for chunk in chunks {
        let mut start = None;
        let mut at = 0;
        for batch in records::split(chunk) {
            let Ok((header, batch)) = batch else { break };
            let wanted = header.end_offset() > offset && header.end_offset() <= end;
            let fits = result.bytes == 0 || result.bytes + batch.len() <= bytes;
            if wanted && !fits {
                break;
            }
            if wanted {
                start.get_or_insert(at);
                result.bytes += batch.len();
            }
            at += batch.len();
        }
        if let Some(start) = start {
            result.records.push(chunk.slice(start..at));
        }
        if at < chunk.len() {
            break;
        }
    }
}
