//! Record batches, made and taken apart by code of the simulator's own: an oracle shares nothing with what it judges.
//!
//! ```text
//! base:i64 length:i32 epoch:i32 magic:i8 crc:u32 | attributes:i16 last_delta:i32 first_ts:i64 max_ts:i64
//! producer:i64 epoch:i16 sequence:i32 count:i32 records...        (the checksum covers what is right of the bar)
//! ```
//!
//! Source: Kafka's record batch format, magic 2.

use crate::ledger::{BatchId, TAG};
use std::borrow::Cow;

pub const HEADER: usize = 61;

/// What a batch is made from.
pub struct Recipe {
    pub id: BatchId,
    pub records: u32,
    pub value_bytes: usize,
    pub timestamp: i64,
    /// Milliseconds from one record to the next.
    pub step: i64,
    pub producer: Option<(i64, i16, i32)>,
}

pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub fn take_varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// A batch, and its checksum.
pub fn build(recipe: &Recipe) -> (Vec<u8>, u32) {
    let mut out = Vec::with_capacity(HEADER + recipe.records as usize * (recipe.value_bytes + 40));
    out.resize(HEADER, 0);
    let mut record = Vec::with_capacity(recipe.value_bytes + 32);
    let mut noise = u64::from(recipe.id).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for index in 0..recipe.records {
        record.clear();
        record.push(0);
        put_varint(&mut record, i64::from(index) * recipe.step);
        put_varint(&mut record, i64::from(index));
        put_varint(&mut record, -1);
        put_varint(&mut record, recipe.value_bytes.max(12) as i64);
        record.extend_from_slice(&TAG);
        record.extend_from_slice(&recipe.id.to_le_bytes());
        record.extend_from_slice(&index.to_le_bytes());
        let mut left = recipe.value_bytes.max(12) - 12;
        while left > 0 {
            noise = noise.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(17);
            let len = left.min(8);
            record.extend_from_slice(&noise.to_le_bytes()[..len]);
            left -= len;
        }
        put_varint(&mut record, 0);
        put_varint(&mut out, record.len() as i64);
        out.extend_from_slice(&record);
    }
    let (producer, epoch, sequence) = recipe.producer.unwrap_or((-1, -1, -1));
    let length = (out.len() - 12) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[12..16].copy_from_slice(&(-1i32).to_be_bytes());
    out[16] = 2;
    out[23..27].copy_from_slice(&(recipe.records as i32 - 1).to_be_bytes());
    out[27..35].copy_from_slice(&recipe.timestamp.to_be_bytes());
    let last = recipe.timestamp + (i64::from(recipe.records) - 1) * recipe.step;
    out[35..43].copy_from_slice(&last.to_be_bytes());
    out[43..51].copy_from_slice(&producer.to_be_bytes());
    out[51..53].copy_from_slice(&epoch.to_be_bytes());
    out[53..57].copy_from_slice(&sequence.to_be_bytes());
    out[57..61].copy_from_slice(&(recipe.records as i32).to_be_bytes());
    let crc = crc32c(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    (out, crc)
}

/// A batch as a broker serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub base: i64,
    /// Its length as it was sent: not compressed.
    pub len: u32,
    pub epoch: i32,
    /// The checksum that it was sent with.
    pub crc: u32,
    pub compressed: bool,
    pub records: u32,
    /// The number in the first record's value.
    pub tag: Option<BatchId>,
}

/// Takes the next batch off; `Ok(None)` at the end, or where only a part of one is left.
pub fn take(bytes: &mut &[u8]) -> Result<Option<View>, String> {
    if bytes.len() < HEADER {
        return if bytes.is_empty() { Ok(None) } else { Err(format!("{} bytes are left of a batch", bytes.len())) };
    }
    let at = |range: std::ops::Range<usize>| &bytes[range];
    let i32_at = |from: usize| i32::from_be_bytes(at(from..from + 4).try_into().expect("four"));
    let base = i64::from_be_bytes(at(0..8).try_into().expect("eight"));
    let length = i32_at(8);
    if length < (HEADER - 12) as i32 {
        return Err(format!("the batch at {base} states {length} bytes"));
    }
    let len = length as usize + 12;
    if bytes.len() < len {
        return Err(format!("the batch at {base} has {len} bytes, {} are there", bytes.len()));
    }
    if bytes[16] != 2 {
        return Err(format!("the batch at {base} has magic {}", bytes[16]));
    }
    let crc = i32_at(17) as u32;
    let summed = crc32c(&bytes[21..len]);
    if crc != summed {
        return Err(format!("the batch at {base} says checksum {crc:08x}, its bytes give {summed:08x}"));
    }
    let sent = as_sent(&bytes[..len]).ok_or_else(|| format!("the batch at {base} cannot be decompressed"))?;
    let view = View {
        base,
        len: sent.len() as u32,
        epoch: i32_at(12),
        compressed: matches!(sent, Cow::Owned(_)),
        crc: if let Cow::Owned(sent) = &sent { crc32c(&sent[21..]) } else { crc },
        records: i32_at(57) as u32,
        tag: tag(&sent[HEADER..]),
    };
    *bytes = &bytes[len..];
    Ok(Some(view))
}

/// Undoes the compression that a topic has asked for. The checksum stays that of the compressed batch.
fn as_sent(batch: &[u8]) -> Option<Cow<'_, [u8]>> {
    let records = match batch[22] & 7 {
        0 => return Some(Cow::Borrowed(batch)),
        // A head without options, and a checksum and a length behind it all.
        1 => miniz_oxide::inflate::decompress_to_vec(batch.get(HEADER + 10..batch.len() - 8)?).ok()?,
        2 => snap::raw::Decoder::new().decompress_vec(&batch[HEADER..]).ok()?,
        _ => return None,
    };
    let mut sent = [&batch[..HEADER], &records].concat();
    sent[22] &= !7;
    let length = (sent.len() - 12) as i32;
    sent[8..12].copy_from_slice(&length.to_be_bytes());
    Some(Cow::Owned(sent))
}

fn tag(mut record: &[u8]) -> Option<BatchId> {
    take_varint(&mut record)?;
    record = record.get(1..)?;
    take_varint(&mut record)?;
    take_varint(&mut record)?;
    if take_varint(&mut record)? != -1 {
        return None;
    }
    take_varint(&mut record)?;
    if record.get(..4)? != TAG {
        return None;
    }
    Some(u32::from_le_bytes(record.get(4..8)?.try_into().expect("four")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_found_again_by_its_number() {
        for records in [1, 3, 100] {
            let recipe =
                Recipe { id: 70_001, records, value_bytes: 40, timestamp: 5, step: 2, producer: Some((9, 0, 3)) };
            let (bytes, crc) = build(&recipe);
            let mut rest = &bytes[..];
            let view = take(&mut rest).unwrap().unwrap();
            assert_eq!(
                (view.tag, view.crc, view.records, view.len as usize),
                (Some(70_001), crc, records, bytes.len())
            );
            assert_eq!(take(&mut rest), Ok(None));
            let mut spoilt = bytes.clone();
            spoilt[HEADER + 20] ^= 1;
            assert!(take(&mut &spoilt[..]).is_err());
        }
    }
}
