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
use super::iter::{Record, Records};
use crate::boundary::Timestamp;
use crate::wire::Reader;
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

/// Keeps the records that `keep` wants; `records` are those of the whole batch, decompressed
/// ([`record_bytes`](super::iter::record_bytes)). Where a tombstone is among them for the first time, the batch is given the
/// time after which it may go (`horizon`, KIP-534).
pub fn filter(
    batch: &[u8],
    header: &BatchHeader,
    records: &[u8],
    horizon: Timestamp,
    keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<Filtered, BatchError> {
    let choice = Choice::of(header, records, keep)?;
    let marks = choice.tombstones && !header.has_delete_horizon();
    if choice.count == 0 {
        return Ok(Filtered::Nothing);
    }
    if choice.count == choice.kept.len() && !marks {
        return Ok(Filtered::Whole);
    }
    let base = if marks { horizon } else { header.base_timestamp };
    let compression = header.compression()?;
    let mut out = Vec::with_capacity(batch.len() + if marks { 10 * choice.count } else { 0 });
    out.extend_from_slice(&batch[..HEADER_LEN]);
    match compression {
        Compression::None => choice.copy(header, records, base, &mut out)?,
        Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
            let mut plain = Vec::with_capacity(records.len());
            choice.copy(header, records, base, &mut plain)?;
            out.extend_from_slice(&codec::compress(compression, None, &plain));
        }
    }
    let attributes = if marks { header.attributes | DELETE_HORIZON_BIT } else { header.attributes };
    let max = match header.timestamp_type() {
        TimestampType::CreateTime => choice.latest,
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    let length = (out.len() - PREFIX_LEN) as i32;
    put(&mut out, 8, &length.to_be_bytes());
    put(&mut out, ATTRIBUTES, &attributes.to_be_bytes());
    put(&mut out, BASE_TIMESTAMP, &base.0.to_be_bytes());
    put(&mut out, MAX_TIMESTAMP, &max.0.to_be_bytes());
    put(&mut out, COUNT, &(choice.count as i32).to_be_bytes());
    set_checksum(&mut out);
    Ok(Filtered::Part(out))
}

/// Which records of a batch stay.
struct Choice {
    kept: Vec<bool>,
    count: usize,
    tombstones: bool,
    /// The largest time of those that stay.
    latest: Timestamp,
}

impl Choice {
    fn of(
        header: &BatchHeader,
        records: &[u8],
        mut keep: impl FnMut(&Record<'_>) -> bool,
    ) -> Result<Choice, BatchError> {
        let mut choice = Choice { kept: Vec::new(), count: 0, tombstones: false, latest: Timestamp(-1) };
        for record in Records::new(header, records) {
            let record = record?;
            let keeps = keep(&record);
            if keeps {
                choice.count += 1;
                choice.tombstones |= record.value.is_none();
                choice.latest = choice.latest.max(record.timestamp);
            }
            choice.kept.push(keeps);
        }
        Ok(choice)
    }

    /// Puts those that stay behind each other. Their bytes stay too, but where `base` is another time, what they say of theirs.
    fn copy(&self, header: &BatchHeader, records: &[u8], base: Timestamp, out: &mut Vec<u8>) -> Result<(), BatchError> {
        let mut all = Records::new(header, records);
        for kept in &self.kept {
            let from = records.len() - all.trailing();
            let record = all.next().expect("as many as there were")?;
            let bytes = &records[from..records.len() - all.trailing()];
            match *kept {
                true if base == header.base_timestamp => out.extend_from_slice(bytes),
                true => put_at_base(bytes, record.timestamp.0.wrapping_sub(base.0), out),
                false => {}
            }
        }
        Ok(())
    }
}

/// One record, whose time is so far from its batch's now.
fn put_at_base(record: &[u8], delta: i64, out: &mut Vec<u8>) {
    let mut r = Reader::new(record);
    let mut attributes = 0;
    let parsed = (|| {
        r.varint()?;
        attributes = r.i8()?;
        r.varlong()
    })();
    assert!(parsed.is_ok(), "a record of {} bytes was read before", record.len());
    let rest = r.rest();
    let mut time = Vec::with_capacity(10);
    put_varlong(delta, &mut time);
    put_varlong((1 + time.len() + rest.len()) as i64, out);
    out.push(attributes as u8);
    out.extend_from_slice(&time);
    out.extend_from_slice(rest);
}

/// Zigzag, as inside records; the same for 32 bits.
fn put_varlong(value: i64, out: &mut Vec<u8>) {
    let mut left = (value << 1 ^ value >> 63) as u64;
    while left > 0x7f {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
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

#[cfg(test)]
mod tests {
    use super::super::builder::BatchBuilder;
    use super::super::check::{Limits, check};
    use super::super::header::patch;
    use super::super::iter::record_bytes;
    use super::*;
    use crate::ids::{Epoch, Offset};

    const KINDS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    const BASE: i64 = 40;

    /// Five records of one producer; that at 43 is a tombstone.
    fn batch(compression: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new().producer(7, 2, 10).compression(compression);
        for number in 0..5u8 {
            let value = [number; 100];
            let value = (number != 3).then_some(&value[..]);
            builder.push(Timestamp(1_000 + i64::from(number)), Some(&[number]), value, &[(b"h", None)]);
        }
        let mut batch = builder.build().to_vec();
        patch(&mut batch, Offset(BASE), Epoch(3));
        batch
    }

    /// What [`super::filter`] makes of a batch, decompressed for it.
    fn filter(batch: &[u8], horizon: i64, keep: impl FnMut(&Record<'_>) -> bool) -> Result<Filtered, BatchError> {
        let header = BatchHeader::parse(batch)?;
        let bytes = record_bytes(batch, &header, 1 << 20)?;
        super::filter(batch, &header, &bytes, Timestamp(horizon), keep)
    }

    fn records(batch: &[u8]) -> Vec<(i64, i64, Option<u8>, bool)> {
        let header = BatchHeader::parse(batch).expect("a header");
        let bytes = record_bytes(batch, &header, 1 << 20).expect("records");
        let records = Records::new(&header, &bytes).map(|record| record.expect("a record"));
        let of = |record: Record<'_>| {
            assert_eq!(record.headers.count_left(), 1);
            (record.offset.0, record.timestamp.0, record.key.map(|key| key[0]), record.value.is_some())
        };
        records.map(of).collect()
    }

    #[test]
    fn what_is_left_keeps_its_offset_and_time_in_every_codec() {
        for compression in KINDS {
            let batch = batch(compression);
            let keep = |record: &Record<'_>| [41, 44].contains(&record.offset.0);
            let Ok(Filtered::Part(part)) = filter(&batch, 9_000, keep) else { panic!("a part") };
            assert_eq!(records(&part), [(41, 1_001, Some(1), true), (44, 1_004, Some(4), true)], "{compression:?}");
            let (old, new) = (BatchHeader::parse(&batch).unwrap(), BatchHeader::parse(&part).unwrap());
            assert_eq!((new.end_offset(), new.last_sequence()), (old.end_offset(), old.last_sequence()));
            assert_eq!((new.producer_id, new.producer_epoch, new.leader_epoch), (7, 2, Epoch(3)));
            assert_eq!((new.attributes, new.records_count, new.max_timestamp), (old.attributes, 2, Timestamp(1_004)));
            assert_eq!(new.crc, super::super::header::checksum(&part));
        }
    }

    #[test]
    fn a_batch_that_loses_nothing_stays_and_one_that_loses_all_is_nothing() {
        let batch = batch(Compression::Lz4);
        let all = filter(&batch, 0, |record| record.value.is_some() || record.offset.0 == 43);
        assert!(matches!(all, Ok(Filtered::Part(_))), "the tombstone's time is noted");
        let none = filter(&batch, 0, |_| false);
        assert_eq!(none, Ok(Filtered::Nothing));
        let Ok(Filtered::Part(part)) = filter(&batch, 0, |record| record.value.is_some()) else {
            panic!("without the tombstone")
        };
        assert_eq!(filter(&part, 0, |_| true), Ok(Filtered::Whole));
    }

    #[test]
    fn a_tombstone_is_given_the_time_after_which_it_may_go_once() {
        let batch = batch(Compression::Zstd);
        let Ok(Filtered::Part(part)) = filter(&batch, 9_000, |_| true) else { panic!("noted") };
        let header = BatchHeader::parse(&part).unwrap();
        assert_eq!((header.has_delete_horizon(), header.base_timestamp), (true, Timestamp(9_000)));
        assert_eq!(records(&part), records(&batch), "the records keep their own times");
        assert_eq!(filter(&part, 9_999, |_| true), Ok(Filtered::Whole), "it is noted already");
    }

    #[test]
    fn an_emptied_batch_is_a_header_that_ends_where_it_did() {
        let batch = batch(Compression::Gzip);
        let empty = emptied(&batch);
        let (old, new) = (BatchHeader::parse(&batch).unwrap(), BatchHeader::parse(&empty).unwrap());
        assert_eq!((empty.len(), new.size(), new.records_count), (HEADER_LEN, HEADER_LEN, 0));
        assert_eq!((new.end_offset(), new.last_sequence()), (old.end_offset(), old.last_sequence()));
        assert_eq!(new.crc, super::super::header::checksum(&empty));
        assert_eq!(records(&empty), []);
        let limits = Limits { batch_bytes_max: 1 << 20, zstd: true, transactional: false };
        assert!(check(&empty, &limits).is_err(), "no producer may send one");
    }
}
