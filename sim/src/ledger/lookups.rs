//! Lookups by time and by leader epoch, judged by what the clients know of the log.
//!
//! The clients know less than the broker: an answer may name a record that nobody has read. It must never contradict one
//! that somebody has. Invariant: nothing here changes the ledger but by what was read before.

use super::{BatchId, Known, Ledger, Part, Verdict};
use crate::report::Invariant;

/// What a lookup found; -1 where there is nothing.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub offset: i64,
    pub timestamp: i64,
    pub epoch: i32,
}

impl Ledger {
    /// The record at `offset`, where its batch is known: its timestamp, and the batch's leader epoch.
    fn record_at(&self, part: Part, offset: i64) -> Option<(i64, Option<i32>)> {
        let (base, (id, records)) = self.parts[part].places.range(..=offset).next_back()?;
        let batch = &self.batches[*id as usize];
        let inside = offset < *base + i64::from(*records);
        inside.then(|| (batch.timestamp + (offset - base) * batch.step, batch.epoch))
    }

    /// The first known record below `end` whose time is at least `target`.
    pub fn first_since(&self, part: Part, target: i64, end: i64) -> Option<i64> {
        let start = self.parts[part].start;
        let places = self.parts[part].places.range(..end).filter(|(base, _)| **base >= start);
        let mut hits = places.filter_map(|(base, (id, records))| {
            let batch = &self.batches[*id as usize];
            let of = |index: &i64| batch.timestamp + index * batch.step >= target;
            (0..i64::from(*records)).find(of).map(|index| base + index)
        });
        hits.next()
    }

    /// The largest timestamp of all known records.
    pub fn largest_time(&self, part: Part) -> Option<i64> {
        let last = |(id, records): &(BatchId, u32)| {
            let batch = &self.batches[*id as usize];
            batch.timestamp + (i64::from(*records) - 1) * batch.step
        };
        self.parts[part].places.values().map(last).max()
    }

    /// Some known batch of a partition: its first timestamp and its leader epoch.
    pub fn some_batch(&self, part: Part, pick: impl FnOnce(usize) -> usize) -> Option<(i64, Option<i32>)> {
        let places = &self.parts[part].places;
        if places.is_empty() {
            return None;
        }
        let (id, _) = places.values().nth(pick(places.len()))?;
        let batch = &self.batches[*id as usize];
        Some((batch.timestamp, batch.epoch))
    }

    /// Judges the answer to a lookup by time: `known` is where the first such record was known to be when it was asked.
    pub fn found_by_time(&mut self, part: Part, target: i64, known: Option<i64>, found: Found) -> Verdict {
        if self.lax(part) {
            return Ok(());
        }
        let wrong = |ledger: &Ledger, why: String| {
            let detail = format!("{}: the first record since {target}: {found:?}, {why}", ledger.name(part));
            Err((Invariant::Lookup, detail))
        };
        let kept = self.keeps_all(part) && !self.parts[part].may_refuse;
        if kept && known.is_some_and(|known| found.offset < 0 || found.offset > known) {
            return wrong(self, format!("though one lies at {known:?}"));
        }
        if found.offset < 0 {
            return Ok(());
        }
        if found.offset >= self.parts[part].offered {
            return wrong(self, format!("and only {} records were ever sent", self.parts[part].offered));
        }
        if let Some(before) = self.first_since(part, target, found.offset).filter(|at| *at < found.offset && kept) {
            return wrong(self, format!("and one at {before} comes before it"));
        }
        match self.record_at(part, found.offset) {
            Some((time, _)) if time != found.timestamp || time < target => wrong(self, format!("its time is {time}")),
            Some((_, Some(epoch))) if found.epoch >= 0 && found.epoch != epoch => {
                wrong(self, format!("its leader epoch is {epoch}"))
            }
            _ => Ok(()),
        }
    }

    /// Judges the answer to "the record with the largest timestamp"; `known` is the largest that was known.
    pub fn found_largest(&mut self, part: Part, known: Option<i64>, found: Found) -> Verdict {
        let kept = self.keeps_all(part) && !self.parts[part].may_refuse && !self.lax(part);
        let time = self.record_at(part, found.offset).map(|(time, _)| time);
        let less = known.is_some_and(|known| found.timestamp < known);
        if kept && (less || time.is_some_and(|time| time != found.timestamp)) {
            let name = self.name(part);
            let detail =
                format!("{name}: the largest timestamp: {found:?}, known was {known:?}, its record has {time:?}");
            return Err((Invariant::Lookup, detail));
        }
        Ok(())
    }

    /// Judges what was told of the end of a leader epoch (OffsetForLeaderEpoch).
    pub fn found_epoch_end(&self, part: Part, asked: i32, known: Known, epoch: i32, end: i64) -> Verdict {
        if self.lax(part) || self.parts[part].may_refuse || !self.keeps_all(part) {
            return Ok(());
        }
        for (base, (id, records)) in &self.parts[part].places {
            let Some(of) = self.batches[*id as usize].epoch else { continue };
            let behind = base + i64::from(*records);
            let old = behind <= known.high_watermark.max(known.acked_end);
            // An epoch that nobody has led yet is unknown, as in Kafka.
            if epoch < 0 && of < asked {
                continue;
            }
            let cut = of <= asked && old && behind > end;
            let beyond = of > asked && *base < end;
            if cut || beyond || (of > epoch && of <= asked && old) || epoch > asked {
                let detail = format!(
                    "{}: epoch {asked} is said to be {epoch}, ending at {end}; the batch at {base}..{behind} has {of}",
                    self.name(part)
                );
                return Err((Invariant::Lookup, detail));
            }
        }
        Ok(())
    }
}
