//! `Log`: the bytes of one partition, in memory and in segments.
//!
//! ```text
//!        start          tail.front().base        flushed            high watermark        end
//!          |---- segments on disk -----------------|
//!                            |------------- tail: batches in memory -------------------|
//! ```
//!
//! What is committed enters the tail at its end; runs of it are written to the active segment, always whole batches and
//! always below the high watermark; what is written may leave the tail at its front. Invariant: every committed batch
//! from the start on is in a segment below `flushed`, or in the tail, or in both.

pub mod check;
pub mod keys;
pub mod rebuild;
mod refusal;
pub mod segment;
pub mod sidecar;

pub use refusal::Refusal;

use crate::ids::Offset;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use segment::{Chunk, Name, Segment, chunk_check};
use serde::{Deserialize, Serialize};

/// A committed batch in memory.
#[derive(Clone, Debug)]
pub struct TailBatch {
    pub base: Offset,
    pub end: Offset,
    pub max_timestamp: i64,
    pub bytes: Bytes,
    /// CRC-32 (ISO) of the bytes.
    pub check: u32,
    /// The journal file that makes it durable until its segment is synced.
    pub file_seq: u64,
    /// Bytes of the log before it, for counting what lies between two batches.
    pub position: u64,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// Oldest first; the last one is active (unless it has rolled, or there is none yet).
    pub segments: VecDeque<Segment>,
    tail: VecDeque<TailBatch>,
    /// How many batches at the front of the tail are in a segment already.
    tail_flushed: usize,
    /// Everything below has arrived in its segment.
    flushed: Offset,
    /// Bytes in the tail that are in no segment.
    staged_bytes: usize,
    /// The last bytes of the active segment, behind its last full sector: written again with the next run.
    pub partial: Vec<u8>,
    /// Bytes appended since the process started, for `TailBatch::position`.
    position: u64,
    /// A run is on its way to the active segment.
    pub writing: bool,
    /// Below here every key has its last record only, up to here.
    pub cleaned: Offset,
}

/// What of a log outlives its process, beside its segments' files and the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSnapshot {
    pub segments: Vec<Segment>,
    pub partial: Vec<u8>,
    pub flushed: Offset,
    pub cleaned: Offset,
}

/// A run of staged batches, ready to be written at the end of the active segment.
#[derive(Debug)]
pub struct Run {
    /// One behind the other, at least one.
    pub chunks: Vec<Chunk>,
    pub batches: usize,
    /// The largest timestamp of its first batch.
    pub first_timestamp: i64,
}

impl Run {
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len as usize).sum()
    }
}

/// How much a run may take.
#[derive(Clone, Copy, Debug)]
pub struct RunMax {
    pub chunks: usize,
    /// In a chunk that holds more than one batch.
    pub chunk_bytes: usize,
}

/// What the active segment can still take.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes; an empty segment takes any first batch.
    pub bytes: u64,
    /// `segment.ms`, of which each segment's jitter is taken.
    pub segment_ms: u64,
    /// Wall-clock time, in milliseconds since 1970.
    pub now: i64,
}

impl Log {
    pub fn new(snapshot: LogSnapshot) -> Log {
        Log {
            segments: snapshot.segments.into(),
            tail: VecDeque::new(),
            tail_flushed: 0,
            flushed: snapshot.flushed,
            staged_bytes: 0,
            partial: snapshot.partial,
            position: 0,
            writing: false,
            cleaned: snapshot.cleaned,
        }
    }

    pub fn to_snapshot(&self) -> LogSnapshot {
        LogSnapshot {
            segments: self.segments.iter().cloned().collect(),
            partial: self.partial.clone(),
            flushed: self.flushed,
            cleaned: self.cleaned,
        }
    }

    /// A committed batch joins the tail.
    pub fn push(&mut self, base: Offset, end: Offset, max_timestamp: i64, bytes: Bytes, check: u32, file_seq: u64) {
        if let Some(last) = self.tail.back() {
            assert!(last.end == base, "a batch at {base} behind {}", last.end);
        } else {
            assert!(self.flushed == base, "a batch at {base}, but the segments end at {}", self.flushed);
        }
        self.staged_bytes += bytes.len();
        let position = self.position;
        self.position += bytes.len() as u64;
        self.tail.push_back(TailBatch { base, end, max_timestamp, bytes, check, file_seq, position });
    }

    /// One past the last batch that the log holds, in memory or in segments.
    pub fn end(&self) -> Offset {
        self.tail.back().map_or(self.flushed, |batch| batch.end)
    }

    pub fn flushed(&self) -> Offset {
        self.flushed
    }

    pub fn staged_bytes(&self) -> usize {
        self.staged_bytes
    }

    /// The journal file of the oldest batch that is in no segment yet.
    pub fn oldest_staged_file(&self) -> Option<u64> {
        self.tail.get(self.tail_flushed).map(|batch| batch.file_seq)
    }

    /// Whether a batch below `limit` waits to be written.
    pub fn oldest_staged_below(&self, limit: Offset) -> bool {
        self.tail.get(self.tail_flushed).is_some_and(|batch| batch.end <= limit)
    }

    /// Where the tail begins: reads from here on need no disk.
    pub fn tail_base(&self) -> Offset {
        self.tail.front().map_or(self.flushed, |batch| batch.base)
    }

    /// Drops the oldest batch of the tail if a segment holds it. False: it must be written first.
    pub fn evict_front(&mut self) -> bool {
        if self.tail_flushed == 0 {
            return false;
        }
        self.tail.pop_front();
        self.tail_flushed -= 1;
        true
    }

    /// Drops the batches of the tail below `end`, all of which segments hold: what these hold instead is to be read now.
    pub fn evict_below(&mut self, end: Offset) {
        assert!(end <= self.flushed, "the tail is to go below {end}, but the segments end at {}", self.flushed);
        while self.tail.front().is_some_and(|batch| batch.base < end) {
            assert!(self.evict_front(), "a batch below {end} is in no segment");
        }
    }

    /// The batches of the tail from the one that holds `offset`, oldest first.
    pub fn tail_from(&self, offset: Offset) -> impl Iterator<Item = &TailBatch> {
        let index = self.tail.partition_point(|batch| batch.end <= offset);
        self.tail.range(index..)
    }

    /// Bytes between `offset` and the end of the tail, or `None` where the disk must be asked.
    pub fn bytes_from(&self, offset: Offset) -> Option<u64> {
        if offset < self.tail_base() {
            return None;
        }
        Some(self.tail_from(offset).next().map_or(0, |batch| self.position - batch.position))
    }

    /// The next run: staged batches below `limit`, as many as there may be in it, at least one. `None` where the segment
    /// must roll first.
    pub fn next_run(&self, limit: Offset, max: RunMax, room: Room) -> Option<Run> {
        let start = self.segments.back().map_or(0, |segment| segment.bytes);
        let first = self.tail.get(self.tail_flushed)?;
        let (since, created, open_ms) = self.open_since(first, room);
        let mut chunks: Vec<Chunk> = Vec::new();
        let (mut bytes, mut batches) = (0, 0);
        for batch in self.tail.range(self.tail_flushed..) {
            let len = batch.bytes.len() as u32;
            let waited =
                if since >= 0 { batch.max_timestamp.saturating_sub(since) } else { room.now.saturating_sub(created) };
            let fits = bytes + u64::from(len) <= room.bytes || start + bytes == 0;
            if batch.end > limit || !fits || waited > open_ms {
                break;
            }
            let is_last = chunks.len() == max.chunks;
            match chunks.last_mut() {
                Some(chunk) if chunk.len as usize + len as usize <= max.chunk_bytes => {
                    chunk.len += len;
                    chunk.batches += 1;
                    chunk.end = batch.end;
                    chunk.max_timestamp = chunk.max_timestamp.max(batch.max_timestamp);
                }
                _ if is_last => break,
                _ => chunks.push(Chunk {
                    position: start + bytes,
                    len,
                    batches: 1,
                    base: batch.base,
                    end: batch.end,
                    max_timestamp: batch.max_timestamp,
                    check: 0,
                }),
            }
            bytes += u64::from(len);
            batches += 1;
        }
        let mut checks = self.tail.range(self.tail_flushed..).map(|batch| batch.check);
        for chunk in &mut chunks {
            chunk.check = chunk_check(checks.by_ref().take(chunk.batches as usize));
        }
        (batches > 0).then_some(Run { chunks, batches, first_timestamp: first.max_timestamp })
    }

    /// From when on the segment that takes `first` next counts its age (by records, else by the clock), and its limit.
    fn open_since(&self, first: &TailBatch, room: Room) -> (i64, i64, i64) {
        let active = self.segments.back();
        let jitter_ms = active.map_or(0, |segment| segment.jitter_ms);
        let open_ms = i64::try_from(room.segment_ms.saturating_sub(jitter_ms)).unwrap_or(i64::MAX);
        match active.filter(|segment| segment.bytes > 0) {
            Some(segment) => (segment.first_timestamp, segment.created, open_ms),
            None => (first.max_timestamp, room.now, open_ms),
        }
    }

    /// The batches of a run that [`Log::next_run`] gave.
    pub fn run_batches(&self, run: &Run) -> impl Iterator<Item = &TailBatch> {
        self.tail.range(self.tail_flushed..self.tail_flushed + run.batches)
    }

    /// The run has arrived in the active segment; `partial` are the bytes behind its last full sector.
    pub fn on_written(&mut self, run: &Run, partial: Vec<u8>, now: i64) {
        let segment = self.segments.back_mut().expect("a run goes to the active segment");
        if segment.bytes == 0 {
            segment.first_timestamp = run.first_timestamp;
        }
        for chunk in &run.chunks {
            assert!(chunk.base == self.flushed, "a run from {} written behind {}", chunk.base, self.flushed);
            segment.push(*chunk);
            self.flushed = chunk.end;
        }
        segment.modified = now;
        segment.open.dirty = true;
        segment.open.mended = true;
        self.tail_flushed += run.batches;
        self.staged_bytes -= run.bytes();
        self.partial = partial;
    }

    /// Bytes in segments.
    pub fn segment_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The segment that holds `offset`, if one does.
    pub fn segment_of(&self, offset: Offset) -> Option<usize> {
        let index = self.segments.partition_point(|segment| segment.end <= offset);
        (index < self.segments.len() && offset < self.flushed).then_some(index)
    }

    /// The segment whose first record has offset `base`, if the log still has it.
    pub fn segment_at(&self, base: Offset) -> Option<&Segment> {
        let index = self.segments.partition_point(|segment| segment.base < base);
        self.segments.get(index).filter(|segment| segment.base == base)
    }

    pub fn segment_at_mut(&mut self, base: Offset) -> Option<&mut Segment> {
        let index = self.segments.partition_point(|segment| segment.base < base);
        self.segments.get_mut(index).filter(|segment| segment.base == base)
    }

    /// The segment of this name, if the log still has it.
    pub fn segment_named(&self, name: Name) -> Option<&Segment> {
        self.segment_at(name.base).filter(|segment| segment.generation == name.generation)
    }

    pub fn segment_named_mut(&mut self, name: Name) -> Option<&mut Segment> {
        self.segment_at_mut(name.base).filter(|segment| segment.generation == name.generation)
    }

    pub fn tail_len(&self) -> usize {
        self.tail.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with staged batches of these times, one record each.
    fn staged(times: &[i64]) -> Log {
        let mut log = Log::new(LogSnapshot::default());
        for (offset, time) in times.iter().enumerate() {
            let base = Offset(offset as i64);
            log.push(base, Offset(base.0 + 1), *time, Bytes::from_static(b"batch"), 0, 1);
        }
        log
    }

    const ANY: RunMax = RunMax { chunks: 1, chunk_bytes: 1 << 20 };

    /// Writes runs as the flusher does; where each segment begins.
    fn bases(log: &mut Log, segment_ms: u64, jitter_ms: u64, now: i64) -> Vec<i64> {
        let end = log.end();
        let mut bases = Vec::new();
        while log.flushed() < end {
            if log.segments.back().is_none_or(|segment| segment.rolled) {
                bases.push(log.flushed().0);
                log.segments.push_back(Segment::new(log.flushed(), now, jitter_ms));
            }
            match log.next_run(end, ANY, Room { bytes: u64::MAX, segment_ms, now }) {
                Some(run) => log.on_written(&run, Vec::new(), now),
                None => log.segments.back_mut().expect("just made").rolled = true,
            }
        }
        bases
    }

    #[test]
    fn a_segment_rolls_by_the_time_of_its_records_and_not_of_the_clock() {
        // As Kafka counts: from the first batch's time, and later than `segment.ms`, not at it.
        let times = [5_000, 5_900, 6_000, 6_001, 6_500, 4_000, 7_002];
        assert_eq!(bases(&mut staged(&times), 1_000, 0, 1), [0, 3, 6]);
        assert_eq!(bases(&mut staged(&times), 1_000, 100, 1), [0, 2, 6], "the jitter is taken off");
        assert_eq!(bases(&mut staged(&times), u64::MAX, 0, i64::MAX), [0]);
    }

    #[test]
    fn a_run_takes_whole_chunks_and_no_more_than_the_segment_has_room_for() {
        let mut log = staged(&[1; 9]);
        let len = log.tail[0].bytes.len();
        log.segments.push_back(Segment::new(log.flushed(), 0, 0));
        let run = |log: &Log, chunks, chunk_bytes, bytes| {
            let room = Room { bytes, segment_ms: u64::MAX, now: 0 };
            log.next_run(log.end(), RunMax { chunks, chunk_bytes }, room)
        };
        let batches = |found: Option<Run>| -> Vec<u32> {
            found.map_or(Vec::new(), |run| run.chunks.iter().map(|chunk| chunk.batches).collect())
        };
        assert_eq!(batches(run(&log, 3, 2 * len, u64::MAX)), [2, 2, 2]);
        assert_eq!(batches(run(&log, 9, 2 * len, u64::MAX)), [2, 2, 2, 2, 1]);
        assert_eq!(batches(run(&log, 2, 1, u64::MAX)), [1, 1], "a batch is never split");
        assert_eq!(batches(run(&log, 9, 2 * len, 3 * len as u64)), [2, 1]);
        assert_eq!(batches(run(&log, 9, 2 * len, 0)), [1], "an empty segment takes any batch");
        let first = run(&log, 2, 2 * len, u64::MAX).expect("a run");
        assert_eq!((first.bytes(), first.batches), (4 * len, 4));
        log.on_written(&first, Vec::new(), 0);
        assert_eq!((log.flushed(), log.segments[0].end), (Offset(4), Offset(4)));
        assert_eq!(log.segments[0].bytes, 4 * len as u64);
        assert_eq!(batches(run(&log, 9, 2 * len, 0)), [], "a segment that holds something does not");
        assert_eq!(run(&log, 1, 1, u64::MAX).expect("a run").chunks[0].position, 4 * len as u64);
    }

    #[test]
    fn a_segment_without_times_rolls_by_the_clock() {
        let mut log = staged(&[-1, -1]);
        assert_eq!(bases(&mut log, 1_000, 0, 10_000), [0]);
        let (base, end) = (log.end(), Offset(log.end().0 + 1));
        log.push(base, end, -1, Bytes::from_static(b"batch"), 0, 1);
        assert!(log.next_run(end, ANY, Room { bytes: u64::MAX, segment_ms: 1_000, now: 11_000 }).is_some());
        assert!(log.next_run(end, ANY, Room { bytes: u64::MAX, segment_ms: 1_000, now: 11_001 }).is_none());
    }

    #[test]
    fn the_age_of_a_segment_is_its_largest_time_or_that_of_its_last_write() {
        let mut log = staged(&[7, 9, 8]);
        bases(&mut log, 1_000, 0, 50);
        assert_eq!(log.segments[0].stamp(), 9);
        let mut log = staged(&[-1]);
        bases(&mut log, 1_000, 0, 50);
        assert_eq!(log.segments[0].stamp(), 50);
    }
}
