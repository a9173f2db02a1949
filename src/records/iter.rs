//! The records inside a batch, and the lookups by time that ListOffsets needs.
//!
//! ```text
//! length:varint  attributes:i8  timestamp delta:varlong  offset delta:varint
//! key length:varint (-1 null)  key  value length:varint (-1 null)  value
//! headers:varint  (key length:varint  key  value length:varint (-1 null)  value)*
//! ```
//!
//! Invariant: a record that is returned was read to its last byte, headers included; what it holds is borrowed.

use super::BatchError;
use super::codec::{self, Compression};
use super::error::RecordFault;
use super::header::{BatchHeader, HEADER_LEN, TimestampType};
use crate::boundary::Timestamp;
use crate::ids::Offset;
use crate::wire::{DecodeError, Reader};
use alloc::borrow::Cow;
use core::ops::RangeInclusive;

/// One record, its offset and timestamp made absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: Offset,
    /// In a batch stamped by the broker's clock, the batch's own time.
    pub timestamp: Timestamp,
    pub key: Option<&'a [u8]>,
    /// Null is a tombstone on a compacted topic.
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of a record: an iterator of key and value, already checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    count: i32,
    rest: &'a [u8],
}

impl Headers<'_> {
    /// How many are left.
    pub fn count_left(&self) -> i32 {
        self.count
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.count == 0 {
            return None;
        }
        let mut r = Reader::new(self.rest);
        let header = read_header(&mut r).ok()?;
        self.count -= 1;
        self.rest = r.rest();
        Some(header)
    }
}

/// The bytes of the records of a whole batch: borrowed, or decompressed into at most `decompressed_bytes_max`.
pub fn record_bytes<'a>(
    batch: &'a [u8],
    header: &BatchHeader,
    decompressed_bytes_max: usize,
) -> Result<Cow<'a, [u8]>, BatchError> {
    let needed = header.size();
    let bytes = batch.get(HEADER_LEN..needed).ok_or(BatchError::Truncated { needed, remaining: batch.len() })?;
    match header.compression()? {
        Compression::None => Ok(Cow::Borrowed(bytes)),
        compression => codec::decompress(compression, bytes, decompressed_bytes_max).map(Cow::Owned),
    }
}

/// Reads records one after another, as many as the header counts. Ends at the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    reader: Reader<'a>,
    index: i32,
    failed: bool,
}

impl<'a> Records<'a> {
    /// `bytes` are those of [`record_bytes`].
    pub fn new(header: &BatchHeader, bytes: &'a [u8]) -> Records<'a> {
        Records { header: *header, reader: Reader::new(bytes), index: 0, failed: false }
    }

    /// How many bytes stand behind the records read so far.
    pub fn trailing(&self) -> usize {
        self.reader.remaining()
    }

    fn read(&mut self) -> Result<Record<'a>, DecodeError> {
        let len = self.reader.varint()?;
        let mut r = Reader::new(self.reader.take(usize::try_from(len).unwrap_or(usize::MAX))?);
        r.i8()?; // attributes: none are defined
        let timestamp_delta = r.varlong()?;
        let offset_delta = r.varint()?;
        let key = read_bytes(&mut r)?;
        let value = read_bytes(&mut r)?;
        let headers = Headers { count: r.varint()?, rest: r.rest() };
        // Each header takes two bytes at least, so that this loop is bounded by the record.
        for _ in 0..headers.count {
            read_header(&mut r)?;
        }
        if headers.count < 0 || r.remaining() > 0 {
            r.take(usize::MAX)?;
        }
        let timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => Timestamp(self.header.base_timestamp.0.wrapping_add(timestamp_delta)),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        let offset = Offset(self.header.base_offset.0.wrapping_add(i64::from(offset_delta)));
        Ok(Record { offset, timestamp, key, value, headers })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.index >= self.header.records_count {
            return None;
        }
        let index = self.index;
        self.index += 1;
        let record = self.read().map_err(|_| BatchError::Record { index, fault: RecordFault::Structure });
        self.failed = record.is_err();
        Some(record)
    }
}

/// Bytes behind their length, -1 for null. Kafka takes every negative length for null.
fn read_bytes<'a>(r: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    match usize::try_from(r.varint()?) {
        Ok(len) => r.take(len).map(Some),
        Err(_) => Ok(None),
    }
}

fn read_header<'a>(r: &mut Reader<'a>) -> Result<(&'a [u8], Option<&'a [u8]>), DecodeError> {
    let key_len = r.varint()?;
    let key = r.take(usize::try_from(key_len).unwrap_or(usize::MAX))?;
    Ok((key, read_bytes(r)?))
}

/// The first record of a whole batch at or behind `from` whose timestamp is at least `target`, with its timestamp.
pub fn find_timestamp(
    batch: &[u8],
    target: Timestamp,
    from: Offset,
    decompressed_bytes_max: usize,
) -> Result<Option<(Offset, Timestamp)>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    if header.max_timestamp < target {
        return Ok(None);
    }
    find(batch, &header, decompressed_bytes_max, |record| record.timestamp >= target && record.offset >= from)
}

/// The first record of a whole batch that has a timestamp (-1 is none) outside `times`, with it.
pub fn find_outside(
    batch: &[u8],
    times: &RangeInclusive<i64>,
    decompressed_bytes_max: usize,
) -> Result<Option<(Offset, Timestamp)>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let outside = |record: &Record<'_>| record.timestamp.0 != -1 && !times.contains(&record.timestamp.0);
    find(batch, &header, decompressed_bytes_max, outside)
}

/// The first record at or behind `from` with the largest timestamp among those of a whole batch, with that timestamp.
pub fn find_largest(
    batch: &[u8],
    from: Offset,
    decompressed_bytes_max: usize,
) -> Result<Option<(Offset, Timestamp)>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let bytes = record_bytes(batch, &header, decompressed_bytes_max)?;
    let mut largest: Option<(Offset, Timestamp)> = None;
    for record in Records::new(&header, &bytes) {
        let record = record?;
        if record.offset >= from && largest.is_none_or(|(_, time)| record.timestamp > time) {
            largest = Some((record.offset, record.timestamp));
        }
    }
    Ok(largest)
}

/// The first record of a whole batch that has the largest timestamp (KIP-734), with that timestamp.
pub fn max_timestamp_offset(
    batch: &[u8],
    decompressed_bytes_max: usize,
) -> Result<Option<(Offset, Timestamp)>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    find(batch, &header, decompressed_bytes_max, |record| record.timestamp == header.max_timestamp)
}

fn find(
    batch: &[u8],
    header: &BatchHeader,
    decompressed_bytes_max: usize,
    mut wanted: impl FnMut(&Record<'_>) -> bool,
) -> Result<Option<(Offset, Timestamp)>, BatchError> {
    let bytes = record_bytes(batch, header, decompressed_bytes_max)?;
    for record in Records::new(header, &bytes) {
        let record = record?;
        if wanted(&record) {
            return Ok(Some((record.offset, record.timestamp)));
        }
    }
    Ok(None)
}
