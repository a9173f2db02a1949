//! One commit of the journal, byte for byte.
//!
//! ```text
//!      0        4     6     8           16    20    24         32       40        48           56       60
//!      +--------+-----+-----+-----------+-----+-----+----------+--------+---------+------------+--------+---------+
//!      | "HWJ1" | ver | kind| journal id| run | cut | file seq | offset | frame   | durable to | length | payload |
//!      +--------+-----+-----+-----------+-----+-----+----------+--------+---------+------------+--------+---------+
//!     64       68       72           76        80           84             88             92      96
//!      +--------+--------+------------+---------+------------+--------------+--------------+-------+--------------+
//!      | direct.| before | placements | checks. | dir. check | before check | header check | zeros | payload ...  |
//!      +--------+--------+------------+---------+------------+--------------+--------------+-------+--------------+
//!      payload | directory | directory of the frame before | placements | zeros to the next 4 KiB
//! ```
//!
//! Little-endian. `length` counts from the first byte of the header to the last placement. The directory says what the
//! frame holds; it is repeated in the next frame, so that damage to one of them can be named. Placements say where each
//! batch lies, and its checksum. Checksums are CRC-32 (ISO), the footer's (directories and placements) seeded with journal
//! id, run, file, offset and frame, so that a stale or misplaced frame refuses itself. Zeros between batches, where an arena
//! ended, are covered by nothing.

use crate::ids::{Epoch, NodeId, Offset, PartitionKey};
use crate::log::Refusal;
use crate::replica::position::EpochStart;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

pub const HEADER_BYTES: usize = 96;
const MAGIC: [u8; 4] = *b"HWJ1";
const VERSION: u16 = 1;

/// One line of a frame's directory. Small entries live in it whole; batches are named here and placed in the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// Batches of one partition, without a gap from `first` to `end`.
    Batches {
        key: PartitionKey,
        epoch: Epoch,
        first: Offset,
        end: Offset,
    },
    EpochStart {
        key: PartitionKey,
        line: EpochStart,
    },
    Vote {
        key: PartitionKey,
        epoch: Epoch,
        voted_for: NodeId,
    },
    LogStart {
        key: PartitionKey,
        start: Offset,
    },
    /// The partition is deleted by a committed decision that names its topic's id; its files may go.
    Deleted {
        key: PartitionKey,
    },
    /// Damage was found: the partition serves nothing from there on.
    Refused {
        key: PartitionKey,
        refusal: Refusal,
    },
}

impl Note {
    pub fn key(&self) -> PartitionKey {
        match self {
            Note::Batches { key, .. }
            | Note::EpochStart { key, .. }
            | Note::Vote { key, .. }
            | Note::LogStart { key, .. }
            | Note::Deleted { key }
            | Note::Refused { key, .. } => *key,
        }
    }
}

/// Where one batch lies in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Index of its line in the directory.
    pub note: u32,
    /// Byte offset from the start of the frame, and length.
    pub start: u32,
    pub len: u32,
    /// CRC-32 (ISO) of the batch, made when it was placed and in the cache; its segment's chunk is checked by it as well.
    pub check: u32,
}

/// A frame's place: which file of the ring, counted since the journal began, and where in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub file_seq: u64,
    pub offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub journal: u64,
    /// Raised at every start of the process: frames of an older run behind a newer one's are stale.
    pub run: u32,
    pub place: Place,
    /// Counts the frames since the journal began.
    pub frame: u64,
    /// Every frame before this one was known durable when this one was written.
    pub durable_to: u64,
    pub length: u32,
    pub directory_bytes: u32,
    pub before_bytes: u32,
    pub placements_bytes: u32,
    pub footer_check: u32,
    pub directory_check: u32,
    /// Of the repeated directory of the frame before.
    pub before_check: u32,
}

/// Why bytes are not the frame that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// No header of this journal here, or its checksum fails.
    NoHeader,
    /// A good header, but the bytes behind it are not what was written.
    Damaged,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[8..16].copy_from_slice(&self.journal.to_le_bytes());
        out[16..20].copy_from_slice(&self.run.to_le_bytes());
        out[24..32].copy_from_slice(&self.place.file_seq.to_le_bytes());
        out[32..40].copy_from_slice(&self.place.offset.to_le_bytes());
        out[40..48].copy_from_slice(&self.frame.to_le_bytes());
        out[48..56].copy_from_slice(&self.durable_to.to_le_bytes());
        out[56..60].copy_from_slice(&self.length.to_le_bytes());
        out[64..68].copy_from_slice(&self.directory_bytes.to_le_bytes());
        out[68..72].copy_from_slice(&self.before_bytes.to_le_bytes());
        out[72..76].copy_from_slice(&self.placements_bytes.to_le_bytes());
        out[76..80].copy_from_slice(&self.footer_check.to_le_bytes());
        out[80..84].copy_from_slice(&self.directory_check.to_le_bytes());
        out[84..88].copy_from_slice(&self.before_check.to_le_bytes());
        let check = crc32fast::hash(&out[..88]);
        out[88..92].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads a header of `journal`, wherever it says it belongs.
    pub fn decode(bytes: &[u8], journal: u64) -> Result<Header, FrameError> {
        if bytes.len() < HEADER_BYTES || bytes[0..4] != MAGIC || bytes[4..6] != VERSION.to_le_bytes() {
            return Err(FrameError::NoHeader);
        }
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if crc32fast::hash(&bytes[..88]) != u32_at(88) || u64_at(8) != journal {
            return Err(FrameError::NoHeader);
        }
        Ok(Header {
            journal,
            run: u32_at(16),
            place: Place { file_seq: u64_at(24), offset: u64_at(32) },
            frame: u64_at(40),
            durable_to: u64_at(48),
            length: u32_at(56),
            directory_bytes: u32_at(64),
            before_bytes: u32_at(68),
            placements_bytes: u32_at(72),
            footer_check: u32_at(76),
            directory_check: u32_at(80),
            before_check: u32_at(84),
        })
    }

    /// The checksum of the footer, seeded with where and when the frame was written.
    pub fn footer_hasher(&self) -> crc32fast::Hasher {
        let mut hasher = crc32fast::Hasher::new();
        for word in [self.journal, self.run.into(), self.place.file_seq, self.place.offset, self.frame] {
            hasher.update(&word.to_le_bytes());
        }
        hasher
    }

    pub fn footer_bytes(&self) -> usize {
        (self.directory_bytes + self.before_bytes + self.placements_bytes) as usize
    }
}

/// A whole frame that has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub header: Header,
    pub notes: Vec<Note>,
    /// The directory of the frame before, as bytes; empty in a journal's first frame.
    pub notes_before: Vec<Note>,
    pub placements: Vec<Placement>,
}

impl Frame {
    /// Verifies the frame at the start of `bytes`, whose header was decoded.
    pub fn decode(header: Header, bytes: &[u8]) -> Result<Frame, FrameError> {
        let length = header.length as usize;
        if length < HEADER_BYTES + header.footer_bytes() || length > bytes.len() {
            return Err(FrameError::Damaged);
        }
        let directory_at = length - header.footer_bytes();
        let mut hasher = header.footer_hasher();
        hasher.update(&bytes[directory_at..length]);
        if hasher.finalize() != header.footer_check {
            return Err(FrameError::Damaged);
        }
        let before_at = directory_at + header.directory_bytes as usize;
        let placements_at = before_at + header.before_bytes as usize;
        let notes = decode_notes(&bytes[directory_at..before_at]).ok_or(FrameError::Damaged)?;
        let notes_before = decode_notes(&bytes[before_at..placements_at]).ok_or(FrameError::Damaged)?;
        let placements: Vec<Placement> =
            postcard::from_bytes(&bytes[placements_at..length]).map_err(|_| FrameError::Damaged)?;
        let good = |placed: &Placement| {
            (placed.note as usize) < notes.len()
                && (placed.start as usize) >= HEADER_BYTES
                && placed.start.checked_add(placed.len).is_some_and(|end| end as usize <= directory_at)
                && crc32fast::hash(&bytes[placed.start as usize..][..placed.len as usize]) == placed.check
        };
        if !placements.iter().all(good) {
            return Err(FrameError::Damaged);
        }
        Ok(Frame { header, notes, notes_before, placements })
    }

    /// What of a frame's directories can still be read, where its header is good although the rest is not: its own, and
    /// that of the frame before.
    pub fn salvage(header: &Header, bytes: &[u8]) -> (Option<Vec<Note>>, Option<Vec<Note>>) {
        let Some(at) = (header.length as usize).checked_sub(header.footer_bytes()) else { return (None, None) };
        let before_at = at + header.directory_bytes as usize;
        let end = before_at + header.before_bytes as usize;
        let part = |from: usize, to: usize, check: u32| {
            let bytes = bytes.get(from..to).filter(|bytes| crc32fast::hash(bytes) == check)?;
            decode_notes(bytes)
        };
        (part(at, before_at, header.directory_check), part(before_at, end, header.before_check))
    }
}

pub fn encode_notes(notes: &[Note]) -> Vec<u8> {
    postcard::to_allocvec(notes).expect("notes have no field that cannot be written")
}

fn decode_notes(bytes: &[u8]) -> Option<Vec<Note>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    postcard::from_bytes(bytes).ok()
}
