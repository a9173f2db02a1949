//! Segments on their way to become one: what of their batches stays, and the table of what is written.
//!
//! ```text
//! | 40-44 | 45-45 | 46-49 | 50-50 |   ─▶   | 40-44 | 46-49 | 50-50 |        chunk: offsets 40 to 50, no gap
//! ```
//!
//! Invariants: chunks cover the new segment from its first offset to its last, so that whoever asks for an offset that was
//! taken out finds the batch behind it; the last batch stays, and the last of each producer, if need be without records.

use crate::boundary::{FileId, Timestamp};
use crate::ids::Offset;
use crate::log::keys::Keys;
use crate::log::segment::{self, CHUNK_BYTES_MAX, Chunk, Name, Segment};
use crate::records::filter::{Filtered, emptied, filter};
use crate::records::iter::record_bytes;
use crate::records::{BatchError, BatchHeader, Record};
use crate::shard::partition::Partition;
use alloc::vec::Vec;

pub struct Group {
    pub sources: Vec<Name>,
    /// One past their last offset.
    pub end: Offset,
    /// Where to read next.
    pub next: Offset,
    pub made: Segment,
    pub file: Option<FileId>,
    /// The file of the new segment is there, or is about to be.
    pub begun: bool,
    /// Something of the sources is not in it.
    pub changed: bool,
    /// What is to be written next.
    output: Output,
}

/// Batches that follow each other, and the lines of the table about them.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// The chunk under way, and the checksums of its batches.
    open: Option<Chunk>,
    checks: Vec<u32>,
}

/// What the records of a log are held against.
pub struct Rules<'a> {
    pub keys: &'a Keys,
    pub partition: &'a Partition,
    /// Wall-clock time, in milliseconds since 1970.
    pub now: i64,
    pub decompressed_bytes_max: usize,
}

impl Rules<'_> {
    fn keeps(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        let expired = header.has_delete_horizon() && self.now > header.base_timestamp.0;
        record.offset >= self.partition.replica.start()
            && record.key.is_some_and(|key| !self.keys.is_overtaken(key, record.offset))
            && (record.value.is_some() || !expired)
    }
}

impl Group {
    /// What `sources`, neighbours, are to become, of a log that starts at `start`.
    pub fn of(sources: &[&Segment], start: Offset) -> Group {
        let (first, last) = (sources[0], sources[sources.len() - 1]);
        let generation = sources.iter().map(|segment| segment.generation).max().unwrap_or(0) + 1;
        let mut made = Segment::new(first.base, first.created, 0);
        (made.generation, made.rolled, made.sealed) = (generation, true, true);
        (made.first_timestamp, made.modified) = (first.first_timestamp, last.modified);
        made.open.unnamed = false;
        Group {
            sources: sources.iter().map(|segment| segment.name()).collect(),
            end: last.end,
            next: first.base.max(start),
            made,
            file: None,
            begun: false,
            changed: false,
            output: Output::default(),
        }
    }

    /// Holds one batch against the rules. Gives how many bytes that was the work of.
    pub fn take(&mut self, rules: &Rules<'_>, header: &BatchHeader, batch: &[u8]) -> Result<usize, BatchError> {
        if header.end_offset() <= self.next || header.base_offset >= self.end {
            return Ok(0);
        }
        self.next = header.end_offset();
        if header.is_control() {
            self.put(header, batch, header.max_timestamp.0);
            return Ok(batch.len());
        }
        let records = record_bytes(batch, header, rules.decompressed_bytes_max)?;
        let horizon = Timestamp(rules.now.saturating_add_unsigned(rules.partition.settings.delete_retention_ms));
        let last = header.end_offset() >= self.end || rules.partition.producers.ends_with(header);
        match filter(batch, header, &records, horizon, |record| rules.keeps(header, record))? {
            Filtered::Whole => self.put(header, batch, header.max_timestamp.0),
            Filtered::Nothing if last && header.records_count == 0 => self.put(header, batch, -1),
            Filtered::Part(part) => {
                self.changed = true;
                let time = BatchHeader::parse(&part)?.max_timestamp.0;
                self.put(header, &part, time);
            }
            Filtered::Nothing => {
                self.changed = true;
                if last {
                    self.put(header, &emptied(batch), -1);
                }
            }
        }
        Ok(records.len())
    }

    /// What is to be written now, and where.
    pub fn take_output(&mut self) -> (u64, Vec<u8>) {
        self.close_chunk();
        let bytes = core::mem::take(&mut self.output.bytes);
        (self.made.bytes - bytes.len() as u64, bytes)
    }

    fn put(&mut self, header: &BatchHeader, batch: &[u8], max_timestamp: i64) {
        let (len, end) = (batch.len() as u32, header.end_offset());
        if self.output.open.is_some_and(|chunk| chunk.len + len > CHUNK_BYTES_MAX) {
            self.close_chunk();
        }
        // A chunk reaches back to the one before it, over what was taken out.
        let (position, base) = (self.made.bytes, self.made.end);
        let fresh = Chunk { position, len: 0, batches: 0, base, end, max_timestamp: -1, check: 0 };
        let chunk = self.output.open.get_or_insert(fresh);
        chunk.len += len;
        chunk.batches += 1;
        chunk.end = end;
        chunk.max_timestamp = chunk.max_timestamp.max(max_timestamp);
        self.output.bytes.extend_from_slice(batch);
        self.output.checks.push(segment::batch_check(batch));
    }

    /// The chunk under way joins the table.
    fn close_chunk(&mut self) {
        let Some(mut chunk) = self.output.open.take() else { return };
        chunk.check = segment::chunk_check(core::mem::take(&mut self.output.checks).into_iter());
        self.made.push(chunk);
    }
}
