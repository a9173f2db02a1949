//! The checkpoint: as of one journal frame, everything of a shard that is not in segments.
//!
//! ```text
//! 0        4     8             16          24       32       36
//! +--------+-----+-------------+-----------+--------+--------+-------------------------+-----------+
//! | "HWK1" | ver | generation  | journal   | length | check  | body (postcard), length | zeros     |
//! +--------+-----+-------------+-----------+--------+--------+-------------------------+-----------+
//! ```
//!
//! Little-endian, padded to 4 KiB; `check` is the CRC-32 of bytes 4 to 32 and of the body. It is kept twice
//! (`checkpoint`, `checkpoint.mirror`), each written under another name, synced, renamed, and its folder synced, before any
//! journal file that it frees is used again. Both damaged: the shard refuses to start, naming the file.

use crate::boundary::SECTOR;
use crate::ids::PartitionKey;
use crate::journal::frame::Place;
use crate::log::segment::Name;
use crate::log::{LogSnapshot, Refusal};
use crate::memory::{self, round_up};
use crate::replica::Durable;
use crate::replica::producers::Producers;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 4] = *b"HWK1";
const VERSION: u32 = 3;
const HEADER_BYTES: usize = 36;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Raised by one each time: the newer of the two copies wins.
    pub generation: u64,
    /// Names the journal, and seeds every frame.
    pub journal: u64,
    pub run: u32,
    /// The last frame whose effects are in here. Frames from `replay` up to it only bring back batches above `flushed`.
    pub frame: u64,
    /// Where reading starts, and the number of the frame there.
    pub replay: Place,
    pub replay_frame: u64,
    /// The run that wrote that frame, at the least: often an older one than the checkpoint's.
    pub replay_run: u32,
    pub slots: Vec<SlotSnapshot>,
    pub partitions: Vec<PartitionSnapshot>,
    /// Shard 0: the metadata image, by its own format.
    pub metadata: Vec<u8>,
}

/// A file of the journal's ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotSnapshot {
    /// Names the file; a number is not used again while a file of it is left.
    pub number: u32,
    pub bytes: u64,
    pub file_seq: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSnapshot {
    pub key: PartitionKey,
    pub replica: Durable,
    pub log: LogSnapshot,
    pub producers: Producers,
    pub refusal: Option<Refusal>,
    /// Its deletion is journalled; files may be left.
    pub deleted: bool,
    /// Segments below the log's start, or replaced by compaction, whose files may be left.
    pub doomed: Vec<Name>,
}

impl Checkpoint {
    /// The file's bytes, at a sector-aligned address, in whole sectors.
    pub fn encode(&self) -> Bytes {
        let body = postcard::to_allocvec(self).expect("a checkpoint has no field that cannot be written");
        let mut out = memory::aligned(round_up((HEADER_BYTES + body.len()) as u64) as usize);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.journal.to_le_bytes());
        out.extend_from_slice(&(body.len() as u64).to_le_bytes());
        let check = check(&out[4..32], &body);
        out.extend_from_slice(&check.to_le_bytes());
        out.extend_from_slice(&body);
        let whole = out.len().next_multiple_of(SECTOR);
        out.resize(whole, 0);
        out.freeze()
    }

    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, &'static str> {
        if bytes.len() < HEADER_BYTES {
            return Err("the file is too short");
        }
        if bytes[..4] != MAGIC {
            return Err("no checkpoint");
        }
        if bytes[4..8] != VERSION.to_le_bytes() {
            return Err("a checkpoint of another format version");
        }
        let length = u64::from_le_bytes(bytes[24..32].try_into().expect("eight bytes"));
        let length = usize::try_from(length).map_err(|_| "the length is impossible")?;
        let Some(body) = HEADER_BYTES.checked_add(length).and_then(|end| bytes.get(HEADER_BYTES..end)) else {
            return Err("the file is cut short");
        };
        if bytes[32..36] != check(&bytes[4..32], body).to_le_bytes() {
            return Err("the checksum fails");
        }
        postcard::from_bytes(body).map_err(|_| "the body cannot be read")
    }
}

fn check(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_refuses_the_checkpoint() {
        let checkpoint = Checkpoint { generation: 3, journal: 9, frame: 7, ..Checkpoint::default() };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes).as_ref(), Ok(&checkpoint));
        let body = HEADER_BYTES + postcard::to_allocvec(&checkpoint).expect("postcard").len();
        for bit in 0..body * 8 {
            let mut bad = bytes.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::decode(&bad).is_err(), "bit {bit}");
        }
    }
}
