//! The 61 bytes before the records of a batch: their picture, their parsed view, what is patched in place.
//!
//! ```text
//!  0  base offset        i64   given by the broker
//!  8  batch length       i32   bytes that follow this field
//! 12  leader epoch       i32   given by the broker
//! 16  magic              i8    2
//! 17  CRC-32C            u32   of all that follows: what stands before may be patched
//! 21  attributes         i16   bits 0-2 compression, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon
//! 23  last offset delta  i32
//! 27  base timestamp     i64   ms; with the delete horizon bit, the horizon
//! 35  max timestamp      i64   ms
//! 43  producer id        i64   -1 for none
//! 51  producer epoch     i16
//! 53  base sequence      i32   -1 for none
//! 57  records count      i32
//! 61  records, perhaps compressed
//! ```
//!
//! All big-endian. Invariant: a [`BatchHeader`] was parsed from at least 61 bytes whose length field is that of a
//! batch; nothing else in it has been believed yet.

use super::codec::Compression;
use super::error::BatchError;
use crate::boundary::Timestamp;
use crate::ids::{Epoch, Offset};

/// The length of a header.
pub const HEADER_LEN: usize = 61;
/// Base offset and batch length, which the batch length does not count.
pub const PREFIX_LEN: usize = 12;

const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const CRC: usize = 17;
pub const ATTRIBUTES: usize = 21;
pub const MAX_TIMESTAMP: usize = 35;

const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
pub const DELETE_HORIZON_BIT: i16 = 1 << 6;
pub const COMPRESSION_BITS: i16 = 0x07;

/// A header, parsed and not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    pub batch_length: i32,
    pub leader_epoch: Epoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: Timestamp,
    pub max_timestamp: Timestamp,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records_count: i32,
}

/// Whose clock the timestamps of a batch are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. The magic comes before everything that depends on it.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let truncated = |needed| BatchError::Truncated { needed, remaining: bytes.len() };
        if bytes.len() <= MAGIC {
            return Err(truncated(HEADER_LEN));
        }
        let magic = bytes[MAGIC] as i8;
        if magic != 2 {
            return Err(BatchError::Magic { magic });
        }
        let batch_length = i32::from_be_bytes(field(bytes, 8));
        if batch_length < (HEADER_LEN - PREFIX_LEN) as i32 || batch_length > i32::MAX - PREFIX_LEN as i32 {
            return Err(BatchError::Length { length: batch_length });
        }
        if bytes.len() < HEADER_LEN {
            return Err(truncated(HEADER_LEN));
        }
        Ok(BatchHeader {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length,
            leader_epoch: Epoch(i32::from_be_bytes(field(bytes, LEADER_EPOCH))),
            magic,
            crc: u32::from_be_bytes(field(bytes, CRC)),
            attributes: i16::from_be_bytes(field(bytes, ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: Timestamp(i64::from_be_bytes(field(bytes, 27))),
            max_timestamp: Timestamp(i64::from_be_bytes(field(bytes, MAX_TIMESTAMP))),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            records_count: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    /// The size of the whole batch in bytes, header included.
    pub fn size(&self) -> usize {
        PREFIX_LEN + self.batch_length as usize
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.wrapping_add(i64::from(self.last_offset_delta)))
    }

    /// Where the next batch begins (exclusive end).
    pub fn end_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_id((self.attributes & COMPRESSION_BITS) as u8)
    }

    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes & TIMESTAMP_TYPE_BIT {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    /// The sequence of the last record: sequences go on at 0 after `i32::MAX`. -1 where there is none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 { -1 } else { next_sequence(self.base_sequence, self.last_offset_delta) }
    }
}

/// The sequence `increment` records after `sequence`, both at least 0; 0 follows `i32::MAX`.
pub fn next_sequence(sequence: i32, increment: i32) -> i32 {
    ((i64::from(sequence) + i64::from(increment)) & i64::from(i32::MAX)) as i32
}

/// The bytes of a field. The caller has checked that they are there.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the caller has checked the length")
}

/// The checksum that the header of this whole batch should have.
pub fn checksum(batch: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(&batch[ATTRIBUTES..])
}

/// Gives a batch its place in the log. Outside the checksum, which stays as the producer made it.
pub fn patch(batch: &mut [u8], base_offset: Offset, leader_epoch: Epoch) {
    assert!(batch.len() >= HEADER_LEN, "a batch of {} bytes", batch.len());
    batch[..8].copy_from_slice(&base_offset.0.to_be_bytes());
    batch[LEADER_EPOCH..MAGIC].copy_from_slice(&leader_epoch.0.to_be_bytes());
}

/// Stamps a whole batch with the broker's clock: every record then has this time. Makes the checksum anew.
pub fn set_log_append_time(batch: &mut [u8], now: Timestamp) {
    set_timestamp(batch, TIMESTAMP_TYPE_BIT, now);
}

/// Corrects the largest timestamp that the header of a whole batch claims. Makes the checksum anew.
pub fn set_max_timestamp(batch: &mut [u8], max_timestamp: Timestamp) {
    set_timestamp(batch, 0, max_timestamp);
}

fn set_timestamp(batch: &mut [u8], type_bit: i16, max_timestamp: Timestamp) {
    assert!(batch.len() >= HEADER_LEN, "a batch of {} bytes", batch.len());
    let attributes = i16::from_be_bytes(field(batch, ATTRIBUTES)) & !TIMESTAMP_TYPE_BIT | type_bit;
    batch[ATTRIBUTES..ATTRIBUTES + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&max_timestamp.0.to_be_bytes());
    set_checksum(batch);
}

/// Says of a whole batch in what its records are compressed, and how long it is. Makes the checksum anew.
pub fn set_compression(batch: &mut [u8], compression: Compression) {
    assert!(batch.len() >= HEADER_LEN, "a batch of {} bytes", batch.len());
    let attributes = i16::from_be_bytes(field(batch, ATTRIBUTES)) & !COMPRESSION_BITS | i16::from(compression.id());
    batch[ATTRIBUTES..ATTRIBUTES + 2].copy_from_slice(&attributes.to_be_bytes());
    let len = (batch.len() - PREFIX_LEN) as i32;
    batch[PREFIX_LEN - 4..PREFIX_LEN].copy_from_slice(&len.to_be_bytes());
    set_checksum(batch);
}

/// Makes the checksum of a whole batch anew, after a change to what it covers.
pub fn set_checksum(batch: &mut [u8]) {
    let crc = checksum(batch);
    batch[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}

/// The batches that stand one after another in `bytes`, each whole, with its header. Lengths are checked, checksums are
/// not. Ends at the first error; a batch that is cut off at the end is [`BatchError::Truncated`].
pub fn split(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    /// The bytes not yet split off; after an error, those from the bad batch on.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = self.rest;
        let result = BatchHeader::parse(rest).and_then(|header| match rest.split_at_checked(header.size()) {
            Some((batch, after)) => {
                self.rest = after;
                Ok((header, batch))
            }
            None => Err(BatchError::Truncated { needed: header.size(), remaining: rest.len() }),
        });
        Some(result)
    }
}
