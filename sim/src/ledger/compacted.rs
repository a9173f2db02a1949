//! What was written by key to the compacted topic, and what must be found of it.
//!
//! Invariant: of each key the last acknowledged record is there, or one behind it; a tombstone may go in the end, and then
//! nothing that it has overtaken is there.

use super::{Ledger, Verdict};
use crate::client::batch::{HEADER, crc32c, take_varint};
use crate::report::Invariant;
use highwater::records::BatchHeader;
use highwater::records::iter::record_bytes;
use std::collections::BTreeMap;

pub const TOPIC: &str = "compacted";

struct Write {
    key: u32,
    tombstone: bool,
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
    pub fn write(&mut self, key: u32, tombstone: bool) -> u32 {
        self.writes.push(Write { key, tombstone, offset: None });
        self.next() - 1
    }

    pub fn acked_at(&mut self, first: u32, count: u32, base: i64) -> Verdict {
        for (index, number) in (first..first + count).enumerate() {
            self.writes[number as usize].offset = Some(base + index as i64);
            self.acked.push(number);
        }
        Ok(())
    }

    /// How many records were acknowledged.
    pub fn acked(&self) -> usize {
        self.acked.len()
    }

    /// Whether something that was acknowledged is there no more.
    pub fn is_compacted(&self, seen: &[Seen], acked: usize) -> bool {
        let there = |number: &u32| seen.iter().any(|seen| seen.number == *number);
        self.acked[..acked].iter().any(|number| !there(number))
    }

    /// Holds a whole reading against the first `acked` acknowledgements. `still`: nothing was taken away while it was read.
    pub fn judge(&self, seen: &[Seen], acked: usize, still: bool) -> Verdict {
        let mut last_seen: BTreeMap<u32, &Seen> = BTreeMap::new();
        for record in seen {
            let wrong = |why: &str| Err((Invariant::Genuine, format!("{TOPIC}: {record:?} {why}")));
            let Some(write) = self.writes.get(record.number as usize) else { return wrong("was never sent") };
            if (write.key, write.tombstone) != (record.key, record.tombstone) {
                return wrong("is not what was sent");
            }
            if write.offset.is_some_and(|offset| offset != record.offset) {
                return wrong(&format!("was at {:?}", write.offset));
            }
            last_seen.insert(record.key, record);
        }
        let mut last_acked: BTreeMap<u32, (i64, bool)> = BTreeMap::new();
        for number in &self.acked[..acked] {
            let write = &self.writes[*number as usize];
            let offset = write.offset.expect("it was acknowledged");
            let last = last_acked.entry(write.key).or_insert((offset, write.tombstone));
            if offset >= last.0 {
                *last = (offset, write.tombstone);
            }
        }
        for (key, (offset, tombstone)) in last_acked {
            match last_seen.get(&key) {
                Some(seen) if seen.offset >= offset => {}
                // A tombstone may have gone, with everything that it had overtaken.
                None if tombstone => {}
                Some(_) if tombstone && !still => {}
                other => {
                    let detail = format!("{TOPIC}: the last record of key {key} is at {offset}, found is {other:?}");
                    return Err((Invariant::Compacted, detail));
                }
            }
        }
        Ok(())
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
