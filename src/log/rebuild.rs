//! A segment's table of chunks, made anew from its bytes where the sidecar is damaged or gone.
//!
//! Pure: whole batches in, lines of the table out. Invariant: a batch joins the table only if everything that the table
//! would have sworn to is shown otherwise: its CRC covers its contents, its neighbours its base offset and length, the log's
//! epochs its leader epoch. So one harm, to the table or to the segment, is never taken for good bytes.

use super::check::Fault;
use super::segment::{CHUNK_BYTES_MAX, Chunk, Segment, batch_check, chunk_check};
use crate::ids::Offset;
use crate::records::error::BatchError;
use crate::records::{self, BatchHeader, header};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

#[derive(Debug)]
pub struct Rebuild {
    /// What the segment holds, as its log knows it.
    bytes: u64,
    end: Offset,
    /// Compaction has left holes in it.
    holes: bool,
    /// How far it has come.
    position: u64,
    next: Offset,
    chunks: Vec<Chunk>,
    /// The chunk under way, and the checksums of its batches.
    open: Option<Chunk>,
    checks: Vec<u32>,
}

impl Rebuild {
    pub fn of(segment: &Segment) -> Rebuild {
        Rebuild {
            bytes: segment.bytes,
            end: segment.end,
            holes: segment.generation > 0,
            position: 0,
            next: segment.base,
            chunks: Vec::new(),
            open: None,
            checks: Vec::new(),
        }
    }

    /// Where in the segment the next batch begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the segment that are still to come.
    pub fn left(&self) -> u64 {
        self.bytes - self.position
    }

    /// Takes the whole batches at the front of `bytes`, which begin at [`Rebuild::position`]. `fits` says whether a batch's
    /// leader epoch is the log's. Gives how many bytes the next batch needs in one piece, at the least; 0 at the end.
    pub fn take(&mut self, bytes: &[u8], fits: impl Fn(&BatchHeader) -> bool) -> Result<u64, Fault> {
        for batch in records::split(bytes) {
            let (header, batch) = match batch {
                Ok(batch) => batch,
                Err(BatchError::Truncated { needed, .. }) if needed as u64 <= self.left() => return Ok(needed as u64),
                Err(error) => return Err(self.fault(error.to_string())),
            };
            let (base, end) = (header.base_offset, header.end_offset());
            if header::checksum(batch) != header.crc {
                return Err(self.fault(format!("the batch at offset {base}: its checksum fails")));
            }
            if base < self.next || (base > self.next && !self.holes) || end <= base || end > self.end {
                let reason = format!("a batch of offsets {base} to {end} where {} to {} are due", self.next, self.end);
                return Err(self.fault(reason));
            }
            if !fits(&header) {
                return Err(self.fault(format!("the batch at offset {base} is of another leader epoch")));
            }
            self.put(&header, batch);
        }
        Ok(if self.left() > 0 { header::HEADER_LEN as u64 } else { 0 })
    }

    /// The table, once all bytes were taken.
    pub fn finish(mut self) -> Result<Vec<Chunk>, Fault> {
        self.close_chunk();
        if self.left() > 0 || self.next != self.end {
            let reason = format!("it ends at offset {}, where {} is due", self.next, self.end);
            return Err(self.fault(reason));
        }
        Ok(self.chunks)
    }

    fn fault(&self, reason: String) -> Fault {
        Fault { position: self.position, reason }
    }

    fn put(&mut self, header: &BatchHeader, batch: &[u8]) {
        let (len, end) = (batch.len() as u32, header.end_offset());
        if self.open.is_some_and(|chunk| u64::from(chunk.len) + u64::from(len) > u64::from(CHUNK_BYTES_MAX)) {
            self.close_chunk();
        }
        // A chunk reaches back to the one before it, over what was taken out.
        let (position, base) = (self.position, self.next);
        let fresh = Chunk { position, len: 0, batches: 0, base, end, max_timestamp: -1, check: 0 };
        let chunk = self.open.get_or_insert(fresh);
        chunk.len += len;
        chunk.batches += 1;
        chunk.end = end;
        // One that compaction has emptied has no time.
        let time = if header.records_count > 0 { header.max_timestamp.0 } else { -1 };
        chunk.max_timestamp = chunk.max_timestamp.max(time);
        self.checks.push(batch_check(batch));
        self.position += u64::from(len);
        self.next = end;
    }

    fn close_chunk(&mut self) {
        if let Some(mut chunk) = self.open.take() {
            chunk.check = chunk_check(core::mem::take(&mut self.checks).into_iter());
            self.chunks.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::log::check::tests::segment;

    /// Given `step` bytes more each time, where no batch asks for more.
    fn rebuild(segment: &Segment, bytes: &[u8], step: u64) -> Result<Vec<Chunk>, Fault> {
        let mut rebuild = Rebuild::of(segment);
        let mut needed = step;
        while needed > 0 {
            let from = rebuild.position() as usize;
            let to = (from + needed.max(step) as usize).min(bytes.len());
            needed = rebuild.take(&bytes[from..to], |header| header.leader_epoch == Epoch(1))?;
        }
        rebuild.finish()
    }

    #[test]
    fn the_table_is_as_it_was_whatever_the_pieces() {
        let (segment, bytes) = segment();
        for step in [1, 61, 100, 1 << 20] {
            assert_eq!(rebuild(&segment, &bytes, step).as_ref(), Ok(&segment.chunks), "pieces of {step}");
        }
    }

    #[test]
    fn every_flipped_bit_of_the_segment_is_found_without_its_table() {
        let (segment, bytes) = segment();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(rebuild(&segment, &bad, 1 << 20).is_err(), "bit {bit}");
        }
        let cut = Segment { bytes: segment.bytes - 1, ..segment.clone() };
        assert!(rebuild(&cut, &bytes[..bytes.len() - 1], 1 << 20).is_err());
        let longer = Segment { end: Offset(17), ..segment };
        assert!(rebuild(&longer, &bytes, 1 << 20).is_err());
    }
}
