//! A segment held against its table, offline: every line of the table, every batch, every offset.
//!
//! Pure: bytes in, the first fault out. Invariant: what passes is byte for byte what was written, in one row from the
//! segment's first offset to its last.

use super::segment::{Chunk, Segment, batch_check, chunk_check};
use crate::records::{self, header};
use alloc::format;
use alloc::string::{String, ToString};

/// What is wrong, and where in the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub position: u64,
    pub reason: String,
}

fn fault(position: u64, reason: String) -> Fault {
    Fault { position, reason }
}

/// Whether these lines cover the segment: bytes and offsets without a gap.
pub fn check_table(segment: &Segment, chunks: &[Chunk]) -> Result<(), Fault> {
    let (mut position, mut next) = (0, segment.base);
    for chunk in chunks {
        if chunk.position != position {
            return Err(fault(position, format!("the table goes on at byte {}", chunk.position)));
        }
        if chunk.base != next || chunk.end <= chunk.base {
            let reason = format!("the table has offsets {} to {} where {next} is due", chunk.base.0, chunk.end.0);
            return Err(fault(position, reason));
        }
        (position, next) = (position + u64::from(chunk.len), chunk.end);
    }
    if position != segment.bytes || next != segment.end {
        let reason = format!(
            "the table ends at byte {position} and offset {}, the segment at byte {} and offset {}",
            next.0, segment.bytes, segment.end.0
        );
        return Err(fault(position, reason));
    }
    Ok(())
}

/// Whether these are the bytes of a chunk; gives how many batches that is.
pub fn check_chunk(chunk: &Chunk, bytes: &[u8]) -> Result<u32, Fault> {
    let at = |place: usize| chunk.position + place as u64;
    let (mut place, mut next, mut count) = (0, chunk.base, 0);
    let mut checks = alloc::vec::Vec::with_capacity(chunk.batches as usize);
    for batch in records::split(bytes) {
        let (header, batch) = batch.map_err(|error| fault(at(place), error.to_string()))?;
        if header::checksum(batch) != header.crc {
            return Err(fault(at(place), format!("the batch at offset {}: its checksum fails", header.base_offset.0)));
        }
        if header.base_offset < next || header.end_offset() > chunk.end {
            let (base, end) = (header.base_offset.0, header.end_offset().0);
            let reason = format!("a batch of offsets {base} to {end} where {next} to {} are due", chunk.end.0);
            return Err(fault(at(place), reason));
        }
        checks.push(batch_check(batch));
        (place, next, count) = (place + batch.len(), header.end_offset(), count + 1);
    }
    if place != bytes.len() || count != chunk.batches {
        let reason = format!("{count} batches in {place} bytes where {} in {} are due", chunk.batches, chunk.len);
        return Err(fault(at(place), reason));
    }
    if chunk_check(checks.into_iter()) != chunk.check {
        return Err(fault(chunk.position, String::from("the chunk's checksum fails")));
    }
    Ok(count)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::boundary::Timestamp;
    use crate::ids::{Epoch, Offset};
    use crate::records::{BatchBuilder, patch};
    use alloc::vec::Vec;

    /// Three batches of two records each, as a chunk each.
    pub fn segment() -> (Segment, Vec<u8>) {
        let mut segment = Segment::new(Offset(10), 0, 0);
        let mut bytes = Vec::new();
        for index in 0..3 {
            let mut builder = BatchBuilder::new();
            builder.push(Timestamp(5 + index), None, Some(b"value"), &[]).push(Timestamp(6), None, None, &[]);
            let mut batch = builder.build();
            let base = Offset(10 + 2 * index);
            patch(&mut batch, base, Epoch(1));
            segment.push(Chunk {
                position: segment.bytes,
                len: batch.len() as u32,
                batches: 1,
                base,
                end: Offset(base.0 + 2),
                max_timestamp: 6.max(5 + index),
                check: chunk_check([batch_check(&batch)].into_iter()),
            });
            bytes.extend_from_slice(&batch);
        }
        (segment, bytes)
    }

    #[test]
    fn every_flipped_bit_of_a_segment_is_found() {
        let (segment, bytes) = segment();
        let chunk = &segment.chunks[0];
        assert_eq!((check_table(&segment, &segment.chunks), check_chunk(chunk, &bytes)), (Ok(()), Ok(3)));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(check_chunk(chunk, &bad).is_err(), "bit {bit}");
        }
        assert!(check_chunk(chunk, &bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn a_table_with_a_gap_or_another_end_is_refused_where_it_goes_wrong() {
        let (segment, _) = segment();
        let mut gap = segment.chunks.clone();
        gap[0].position = 7;
        assert_eq!(check_table(&segment, &gap).unwrap_err().position, 0);
        let mut short = segment.chunks.clone();
        short[0].end = Offset(15);
        assert!(check_table(&segment, &short).unwrap_err().reason.contains("offset 15"));
        assert!(check_table(&segment, &[]).is_err());
    }
}
