//! What was written by key to the compacted topic, and what must be found of it.
//!
//! Invariant: of each key the last acknowledged record is there, or one behind it; a tombstone may go when its time is over, and
//! then nothing that it has overtaken is there; nothing is there twice, or elsewhere than it was acknowledged.

use super::{Ledger, Verdict};
use crate::client::batch::{HEADER, crc32c, take_varint};
use crate::queue::Nanos;
use crate::report::Invariant;
use highwater::records::BatchHeader;
use highwater::records::iter::record_bytes;
use std::collections::{BTreeMap, BTreeSet};

pub const TOPIC: &str = "compacted";

struct Write {
    key: u32,
    tombstone: bool,
    sent: Nanos,
    offset: Option<i64>,
}

/// A record as it was read.
#[derive(Clone, Debug)]
pub struct Seen {
    pub offset: i64,
    pub key: u32,
    pub tombstone: bool,
    pub number: u32,
}

/// A reading of the whole log.
pub struct Reading<'a> {
    pub seen: &'a [Seen],
    /// How many records were acknowledged when it began.
    pub acked: usize,
    /// Where the log started by then: retention has taken what lies below.
    pub start: i64,
    /// When it ended, and how long tombstones stay at the least; `None` where nobody can say.
    pub at: Option<(Nanos, Nanos)>,
}

/// What a reading did not find, rightly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Records that others have overtaken.
    pub overtaken: usize,
    /// Tombstones that were the last of their keys.
    pub tombstones: usize,
}

#[derive(Default)]
pub struct Compacted {
    writes: Vec<Write>,
    /// Numbers of those that were acknowledged, in that order.
    acked: Vec<u32>,
}

impl Ledger {
    /// Damage, and what is beyond the promise: nothing is judged any more.
    pub fn compacted_lax(&self) -> bool {
        self.beyond || self.claims.may_refuse || self.claims.may_lose
    }
}

impl Compacted {
    pub fn next(&self) -> u32 {
        self.writes.len() as u32
    }

    /// A record that is about to be sent; its number.
    pub fn write(&mut self, key: u32, tombstone: bool, sent: Nanos) -> u32 {
        self.writes.push(Write { key, tombstone, sent, offset: None });
        self.next() - 1
    }

    /// These records are acknowledged at `base`, for the first time or again.
    pub fn acked_at(&mut self, first: u32, count: u32, base: i64) -> Verdict {
        for (index, number) in (first..first + count).enumerate() {
            let offset = base + index as i64;
            let known = &mut self.writes[number as usize].offset;
            match known.replace(offset) {
                None => self.acked.push(number),
                Some(known) if known == offset => {}
                Some(known) => {
                    let detail = format!("{TOPIC}: record {number} was acknowledged at {known}, and now at {offset}");
                    return Err((Invariant::Once, detail));
                }
            }
        }
        Ok(())
    }

    /// How many records were acknowledged.
    pub fn acked(&self) -> usize {
        self.acked.len()
    }

    /// Holds a whole reading against what was acknowledged before it.
    pub fn judge(&self, reading: &Reading<'_>) -> Result<Missing, (Invariant, String)> {
        let last_seen = self.genuine(reading.seen)?;
        let numbers: BTreeSet<u32> = reading.seen.iter().map(|record| record.number).collect();
        let mut missing = Missing::default();
        let mut last_acked: BTreeMap<u32, (i64, u32)> = BTreeMap::new();
        for number in &self.acked[..reading.acked] {
            let write = &self.writes[*number as usize];
            let offset = write.offset.expect("it was acknowledged");
            missing.overtaken += usize::from(!numbers.contains(number) && offset >= reading.start);
            let last = last_acked.entry(write.key).or_insert((offset, *number));
            *last = (*last).max((offset, *number));
        }
        for (key, (offset, number)) in last_acked {
            if offset < reading.start || last_seen.get(&key).is_some_and(|seen| seen.offset >= offset) {
                continue;
            }
            let write = &self.writes[number as usize];
            let early = reading.at.is_some_and(|(at, least)| at < write.sent + least);
            match last_seen.get(&key) {
                // With everything that it had overtaken.
                None if write.tombstone && !early => missing.tombstones += 1,
                None if self.may_be_buried(key, reading.at) => missing.tombstones += 1,
                // What was read before it went may have gone since, and it before it was read itself.
                Some(_) if write.tombstone && !early && reading.at.is_some() => missing.tombstones += 1,
                found => {
                    let what = if write.tombstone { "tombstone" } else { "record" };
                    let detail = format!("{TOPIC}: the last {what} of key {key} is at {offset}, found is {found:?}");
                    return Err((Invariant::Compacted, detail));
                }
            }
        }
        missing.overtaken -= missing.tombstones.min(missing.overtaken);
        Ok(missing)
    }

    /// Whether a tombstone of the key, of which nobody knows if it was written, may have come and gone.
    fn may_be_buried(&self, key: u32, at: Option<(Nanos, Nanos)>) -> bool {
        let over = |write: &Write| at.is_none_or(|(at, least)| at >= write.sent + least);
        self.writes.iter().any(|write| write.key == key && write.tombstone && write.offset.is_none() && over(write))
    }

    /// The last record of each key in a reading, each of which must be what was sent, where it was acknowledged, and once.
    fn genuine<'a>(&self, seen: &'a [Seen]) -> Result<BTreeMap<u32, &'a Seen>, (Invariant, String)> {
        let mut last_seen: BTreeMap<u32, &Seen> = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        for record in seen {
            let wrong = |invariant, why: &str| Err((invariant, format!("{TOPIC}: {record:?} {why}")));
            let Some(write) = self.writes.get(record.number as usize) else {
                return wrong(Invariant::Genuine, "was never sent");
            };
            if (write.key, write.tombstone) != (record.key, record.tombstone) {
                return wrong(Invariant::Genuine, "is not what was sent");
            }
            if write.offset.is_some_and(|offset| offset != record.offset) {
                return wrong(Invariant::Genuine, &format!("was at {:?}", write.offset));
            }
            if !numbers.insert(record.number) {
                return wrong(Invariant::Once, "is there twice");
            }
            last_seen.insert(record.key, record);
        }
        Ok(last_seen)
    }
}

/// Takes records off batches from `offset` on, and says where to go on.
pub fn parse(bytes: &[u8], offset: i64, seen: &mut Vec<Seen>) -> Result<i64, String> {
    let (mut rest, mut next) = (bytes, offset);
    while rest.len() >= HEADER {
        let length = i32::from_be_bytes(rest[8..12].try_into().expect("four")) as usize + 12;
        let Some(batch) = rest.get(..length) else { break };
        let header = BatchHeader::parse(batch).map_err(|error| error.to_string())?;
        let crc = u32::from_be_bytes(batch[17..21].try_into().expect("four"));
        if crc != crc32c(&batch[21..]) {
            return Err(format!("the batch at {} has a wrong checksum", header.base_offset.0));
        }
        let end = header.end_offset().0;
        if end <= next && end <= offset {
            return Err(format!("a batch up to {end} where {next} was due"));
        }
        let records = record_bytes(batch, &header, 16 << 20).map_err(|error| error.to_string())?;
        let mut records = &records[..];
        for _ in 0..header.records_count {
            let record = record(&mut records, header.base_offset.0).ok_or("a record cannot be read")?;
            if record.offset >= end || seen.last().is_some_and(|last| last.offset >= record.offset) {
                return Err(format!("{record:?} is out of order"));
            }
            if record.offset >= offset {
                seen.push(record);
            }
        }
        next = end;
        rest = &rest[length..];
    }
    Ok(next)
}

fn record(bytes: &mut &[u8], base: i64) -> Option<Seen> {
    let len = usize::try_from(take_varint(bytes)?).ok()?;
    let (mut record, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    record = record.get(1..)?;
    take_varint(&mut record)?;
    let offset = base + take_varint(&mut record)?;
    let key = taken(&mut record)??;
    let tombstone = taken(&mut record)?.is_none();
    (take_varint(&mut record)? == 1).then_some(())?;
    taken(&mut record)?;
    let number = taken(&mut record)??;
    let number_of = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?));
    Some(Seen { offset, key: number_of(key)?, tombstone, number: number_of(number)? })
}

/// Bytes behind their length: `Some(None)` for null.
fn taken<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(len) = usize::try_from(take_varint(bytes)?) else { return Some(None) };
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(Some(taken))
}
