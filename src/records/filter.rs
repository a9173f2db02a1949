//! Takes records out of a batch, as Kafka's cleaner does: offsets, epoch, producer and sequences stay as they were.
//!
//! ```text
//! base offset 40, last delta 4:   40 41 42 43 44     ─▶     base offset 40, last delta 4:   41 44
//! ```
//!
//! A batch that loses nothing stays byte for byte. One that does is written anew with the codec that it had; one that is to
//! stay without records is its header alone. Invariant: the offset of a record that is left never changes, and neither
//! does where the next batch begins.

use super::BatchError;
use super::codec::{self, Compression};
use super::header::{
    ATTRIBUTES, BatchHeader, COMPRESSION_BITS, DELETE_HORIZON_BIT, HEADER_LEN, MAX_TIMESTAMP, PREFIX_LEN,
    TimestampType, set_checksum,
};
use super::iter::{Record, Records, record_bytes};
use crate::boundary::Timestamp;
use crate::wire::Writer;
use alloc::vec::Vec;

const BASE_TIMESTAMP: usize = 27;
const COUNT: usize = 57;

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Filtered {
    /// Every record.
    Whole,
    /// Some of them, in this batch.
    Part(Vec<u8>),
    Nothing,
}

/// Keeps the records that `keep` wants. Where a tombstone is among them for the first time, the batch is given the time after
/// which it may go (`horizon`, KIP-534).
pub fn filter(
    batch: &[u8],
    horizon: Timestamp,
    decompressed_bytes_max: usize,
    mut keep: impl FnMut(&BatchHeader, &Record<'_>) -> bool,
) -> Result<Filtered, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let bytes = record_bytes(batch, &header, decompressed_bytes_max)?;
    let (mut kept, mut all, mut tombstones) = (Vec::new(), true, false);
    for record in Records::new(&header, &bytes) {
        let record = record?;
        if keep(&header, &record) {
            tombstones |= record.value.is_none();
            kept.push(record);
        } else {
            all = false;
        }
    }
    let marks = tombstones && !header.has_delete_horizon();
    if kept.is_empty() {
        return Ok(Filtered::Nothing);
    }
    if all && !marks {
        return Ok(Filtered::Whole);
    }
    let base = if marks { horizon } else { header.base_timestamp };
    let compression = header.compression()?;
    let plain = encode(&header, base, &kept);
    let records = match compression {
        Compression::None => plain,
        compression => codec::compress(compression, &plain),
    };
    let mut out = Vec::with_capacity(HEADER_LEN + records.len());
    out.extend_from_slice(&batch[..HEADER_LEN]);
    out.extend_from_slice(&records);
    let mut attributes = header.attributes;
    if marks {
        attributes |= DELETE_HORIZON_BIT;
    }
    let latest = kept.iter().map(|record| record.timestamp).max();
    let max = match header.timestamp_type() {
        TimestampType::CreateTime => latest.unwrap_or(header.max_timestamp),
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    put(&mut out, 8, &((HEADER_LEN - PREFIX_LEN + records.len()) as i32).to_be_bytes());
    put(&mut out, ATTRIBUTES, &attributes.to_be_bytes());
    put(&mut out, BASE_TIMESTAMP, &base.0.to_be_bytes());
    put(&mut out, MAX_TIMESTAMP, &max.0.to_be_bytes());
    put(&mut out, COUNT, &(kept.len() as i32).to_be_bytes());
    set_checksum(&mut out);
    Ok(Filtered::Part(out))
}

/// The batch without its records: what a producer's last batch, or a log's, is kept as.
pub fn emptied(batch: &[u8]) -> Vec<u8> {
    let mut out = batch[..HEADER_LEN].to_vec();
    let attributes = i16::from_be_bytes([out[ATTRIBUTES], out[ATTRIBUTES + 1]]);
    put(&mut out, 8, &((HEADER_LEN - PREFIX_LEN) as i32).to_be_bytes());
    put(&mut out, ATTRIBUTES, &(attributes & !COMPRESSION_BITS & !DELETE_HORIZON_BIT).to_be_bytes());
    put(&mut out, BASE_TIMESTAMP, &(-1i64).to_be_bytes());
    put(&mut out, COUNT, &0i32.to_be_bytes());
    set_checksum(&mut out);
    out
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn encode(header: &BatchHeader, base: Timestamp, records: &[Record<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let mut w = Writer::new();
        w.put_i8(0);
        w.put_varlong(record.timestamp.0.wrapping_sub(base.0));
        w.put_varint((record.offset.0 - header.base_offset.0) as i32);
        put_bytes(&mut w, record.key);
        put_bytes(&mut w, record.value);
        w.put_varint(record.headers.count_left());
        for (key, value) in record.headers {
            put_bytes(&mut w, Some(key));
            put_bytes(&mut w, value);
        }
        let body = w.finish().concat();
        let mut len = Writer::new();
        len.put_varint(body.len() as i32);
        out.extend_from_slice(&len.finish().concat());
        out.extend_from_slice(&body);
    }
    out
}

fn put_bytes(w: &mut Writer, bytes: Option<&[u8]>) {
    w.put_varint(bytes.map_or(-1, |bytes| bytes.len() as i32));
    w.put(bytes.unwrap_or_default());
}
