//! One segment: a run of v2 record batches in Kafka's own file format, and its table of chunks.
//!
//! ```text
//! 00000000000000000042.log    | batch | batch | batch | batch | ...      byte for byte as Kafka writes it
//!                             '---- chunk ----'---- chunk ----'          one line of the table each
//! ```
//!
//! A chunk is whole batches, written at once (or several such merged): its line says where it starts, what it holds and the
//! checksum of its bytes. Kafka's own CRC leaves out base offset, length and epoch; the chunk's covers all. Invariant:
//! the chunks cover the segment from its first byte to its last without a gap.

use crate::boundary::FileId;
use crate::ids::{Offset, PartitionKey};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Neighbouring chunks are merged up to this size, so that the table stays small whatever the size of writes.
pub const CHUNK_BYTES_MAX: u32 = 512 << 10;

/// One line of a segment's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Byte position in the segment, and length.
    pub position: u64,
    pub len: u32,
    /// How many batches it holds.
    pub batches: u32,
    /// Offset of its first record, and one past its last.
    pub base: Offset,
    pub end: Offset,
    pub max_timestamp: i64,
    /// CRC-32 (ISO) of the checksums of its batches, four bytes each, little-endian: each is the CRC-32 of a whole batch, made
    /// once when it was journalled.
    pub check: u32,
}

/// What is known of a segment without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub base: Offset,
    pub end: Offset,
    /// Bytes written and known to have arrived.
    pub bytes: u64,
    pub max_timestamp: i64,
    /// The largest timestamp of its first batch, from which `segment.ms` counts; -1 where that has none.
    pub first_timestamp: i64,
    /// Wall-clock time when it was begun: `segment.ms` counts from here where its first batch has no time.
    pub created: i64,
    /// Wall-clock time of the last write: its age for retention where no record has a time.
    pub modified: i64,
    /// It rolls so much sooner than `segment.ms` says (`segment.jitter.ms`).
    pub jitter_ms: u64,
    /// The table; empty for a rolled segment whose sidecar holds it and is not loaded.
    pub chunks: Vec<Chunk>,
    /// How often it was compacted.
    pub generation: u32,
    /// Takes no more batches.
    pub rolled: bool,
    /// Cut to its length, its table in a sidecar, both durable: the table need not stay in memory.
    pub sealed: bool,
    /// Active, but its file is cut to its length: so it was left by a clean stop.
    pub trimmed: bool,
    #[serde(skip)]
    pub open: OpenState,
}

/// What a segment is to the disk in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenState {
    pub file: Option<FileId>,
    /// Bytes reserved in the file.
    pub allocated: u64,
    /// Written since its last sync.
    pub dirty: bool,
    /// The file, or its folder, has been made since the folders were last synced.
    pub unnamed: bool,
    /// Its part-filled last sector has been written in this run: what the run before left there may be torn.
    pub mended: bool,
}

impl Segment {
    pub fn new(base: Offset, created: i64, jitter_ms: u64) -> Segment {
        Segment {
            base,
            end: base,
            bytes: 0,
            max_timestamp: -1,
            first_timestamp: -1,
            created,
            modified: created,
            jitter_ms,
            chunks: Vec::new(),
            generation: 0,
            rolled: false,
            sealed: false,
            trimmed: false,
            open: OpenState { unnamed: true, mended: true, ..OpenState::default() },
        }
    }

    /// A run of whole batches has been written at the segment's end.
    pub fn push(&mut self, chunk: Chunk) {
        assert!(chunk.position == self.bytes, "a chunk at {} of a segment of {} bytes", chunk.position, self.bytes);
        assert!(chunk.base == self.end, "a chunk from {} behind {}", chunk.base, self.end);
        self.bytes += u64::from(chunk.len);
        self.end = chunk.end;
        self.max_timestamp = self.max_timestamp.max(chunk.max_timestamp);
        if let Some(last) = self.chunks.last_mut()
            && last.len + chunk.len <= CHUNK_BYTES_MAX
        {
            last.check = combine(last.check, chunk.check, 4 * chunk.batches);
            last.len += chunk.len;
            last.batches += chunk.batches;
            last.end = chunk.end;
            last.max_timestamp = last.max_timestamp.max(chunk.max_timestamp);
        } else {
            self.chunks.push(chunk);
        }
    }

    pub fn name(&self) -> Name {
        Name { base: self.base, generation: self.generation }
    }

    pub fn path(&self, key: PartitionKey) -> String {
        log_path(key, self.name())
    }

    /// What retention counts its age from, in milliseconds since 1970.
    pub fn stamp(&self) -> i64 {
        if self.max_timestamp >= 0 { self.max_timestamp } else { self.modified }
    }

    /// The chunk that holds `offset`.
    pub fn chunk_of(&self, offset: Offset) -> Option<usize> {
        let index = self.chunks.partition_point(|chunk| chunk.end <= offset);
        (index < self.chunks.len() && self.chunks[index].base <= offset).then_some(index)
    }
}

fn combine(first: u32, second: u32, second_len: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(first);
    hasher.combine(&crc32fast::Hasher::new_with_initial_len(second, second_len.into()));
    hasher.finalize()
}

/// The folder of a partition: its topic's id and its index, because names are used again and ids are not.
pub fn folder(key: PartitionKey) -> String {
    format!("partitions/{key}")
}

/// Names the files of a segment: its first offset, as in Kafka, and how often it was compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    pub base: Offset,
    pub generation: u32,
}

impl Name {
    /// `00000000000000000042.log`; compacted once `00000000000000000042.1.log`. Kafka's tools read the offset up to the
    /// first dot.
    pub fn log(self) -> String {
        self.file("log")
    }

    pub fn sidecar(self) -> String {
        self.file("chunks")
    }

    fn file(self, suffix: &str) -> String {
        match self.generation {
            0 => format!("{:020}.{suffix}", self.base.0),
            generation => format!("{:020}.{generation}.{suffix}", self.base.0),
        }
    }

    /// The segment that a file of this name belongs to, if it is one's.
    pub fn of_file(file: &str) -> Option<Name> {
        let stem = file.strip_suffix(".log").or_else(|| file.strip_suffix(".chunks"))?;
        let (base, generation) = match stem.split_once('.') {
            Some((base, generation)) => (base, generation.parse().ok()?),
            None => (stem, 0),
        };
        Some(Name { base: Offset(base.parse().ok()?), generation })
    }
}

pub fn log_path(key: PartitionKey, name: Name) -> String {
    format!("partitions/{key}/{}", name.log())
}

pub fn sidecar_path(key: PartitionKey, name: Name) -> String {
    format!("partitions/{key}/{}", name.sidecar())
}

/// The checksum of a batch: CRC-32 (ISO) of all its bytes. crc-fast takes memory that is in no cache twice as fast as
/// crc32fast does, whose hashers can be combined.
pub fn batch_check(batch: &[u8]) -> u32 {
    crc_fast::crc32_iso_hdlc(batch)
}

/// The checksum of a chunk whose batches have these checksums.
pub fn chunk_check(batches: impl Iterator<Item = u32>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for check in batches {
        hasher.update(&check.to_le_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_chunks_have_the_checksum_of_all_their_batches() {
        let mut segment = Segment::new(Offset(0), 0, 0);
        for (index, bytes) in [b"first".as_slice(), b"second run", b"x"].iter().enumerate() {
            segment.push(Chunk {
                position: segment.bytes,
                len: bytes.len() as u32,
                batches: 1,
                base: Offset(index as i64),
                end: Offset(index as i64 + 1),
                max_timestamp: 5,
                check: chunk_check([crc32fast::hash(bytes)].into_iter()),
            });
        }
        assert_eq!(segment.chunks.len(), 1);
        let all = [b"first".as_slice(), b"second run", b"x"].map(crc32fast::hash);
        assert_eq!(segment.chunks[0].check, chunk_check(all.into_iter()));
        assert_eq!(all[1], batch_check(b"second run"), "one polynomial, two crates");
        assert_eq!(segment.chunk_of(Offset(2)), Some(0));
        assert_eq!(segment.chunk_of(Offset(3)), None);
    }
}
