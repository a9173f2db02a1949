//! The sidecar of a rolled segment: its table of chunks, written once, beside it.
//!
//! ```text
//! 0        4     8           24       28       36       40       44
//! +--------+-----+-----------+--------+--------+--------+--------+------------------------------+
//! | "HWC1" | ver | topic id  | index  | base   | length | check  | chunks (postcard), length B  |
//! +--------+-----+-----------+--------+--------+--------+--------+------------------------------+
//! ```
//!
//! Little-endian; `check` is the CRC-32 of everything before it and of the chunks, so that a table that belongs to another
//! topic, partition or segment refuses itself.

use super::segment::Chunk;
use crate::ids::{Offset, PartitionKey};
use alloc::vec::Vec;

const MAGIC: [u8; 4] = *b"HWC1";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 44;

pub fn encode(key: PartitionKey, base: Offset, chunks: &[Chunk]) -> Vec<u8> {
    let body = postcard::to_allocvec(chunks).expect("chunks can be written");
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&prefix(key, base, body.len()));
    let check = check(&out, &body);
    out.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(&body);
    out
}

/// The table, or why the bytes are not the sidecar of this segment. Bytes behind it are padding.
pub fn decode(key: PartitionKey, base: Offset, bytes: &[u8]) -> Result<Vec<Chunk>, &'static str> {
    if bytes.len() < HEADER_BYTES || bytes[..4] != MAGIC {
        return Err("no chunk table");
    }
    let length = u32::from_le_bytes([bytes[36], bytes[37], bytes[38], bytes[39]]) as usize;
    let Some(body) = bytes.get(HEADER_BYTES..HEADER_BYTES + length) else { return Err("the chunk table is cut short") };
    if bytes[..40] != prefix(key, base, length) {
        return Err("the chunk table of another segment");
    }
    if bytes[40..44] != check(&bytes[..40], body).to_le_bytes() {
        return Err("the chunk table's checksum fails");
    }
    postcard::from_bytes(body).map_err(|_| "the chunk table cannot be read")
}

fn prefix(key: PartitionKey, base: Offset, length: usize) -> [u8; 40] {
    let mut out = [0; 40];
    out[0..4].copy_from_slice(&MAGIC);
    out[4..8].copy_from_slice(&VERSION.to_le_bytes());
    out[8..24].copy_from_slice(&key.topic.0);
    out[24..28].copy_from_slice(&key.index.to_le_bytes());
    out[28..36].copy_from_slice(&base.0.to_le_bytes());
    out[36..40].copy_from_slice(&(length as u32).to_le_bytes());
    out
}

fn check(prefix: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(prefix);
    hasher.update(body);
    hasher.finalize()
}
