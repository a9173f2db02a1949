//! What clients were told: which record is where. Written by clients alone.
//!
//! Invariant: an (offset, value) that anybody was told never becomes another one.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Ledger {
    acknowledged: BTreeMap<(i32, i64), String>,
    seen: BTreeMap<(i32, i64), String>,
}

impl Ledger {
    /// A producer was told that its record is there.
    pub fn acknowledge(&mut self, partition: i32, offset: i64, value: &str) {
        let before = self.acknowledged.insert((partition, offset), value.to_string());
        assert!(
            before.is_none(),
            "partition {partition} offset {offset}: {before:?} was acknowledged there, now {value}"
        );
        self.agree(partition, offset);
    }

    /// A reader was given it.
    pub fn see(&mut self, partition: i32, offset: i64, value: &str) {
        let before = self.seen.insert((partition, offset), value.to_string());
        assert!(
            before.as_deref().is_none_or(|before| before == value),
            "partition {partition} offset {offset}: {before:?}, now {value}"
        );
        self.agree(partition, offset);
    }

    fn agree(&self, partition: i32, offset: i64) {
        let at = (partition, offset);
        if let (Some(told), Some(seen)) = (self.acknowledged.get(&at), self.seen.get(&at)) {
            assert_eq!(told, seen, "partition {partition} offset {offset}: acknowledged, and read");
        }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// `log` is what a fresh reader finds: every acknowledged record once, at its offset; nothing else but what nobody was told
    /// of (`loose`: a producer may have ended without its answer); each producer's records in order and without a gap.
    pub fn settle(&self, partition: i32, log: &[(i64, String)], loose: bool) {
        let mut next = BTreeMap::<&str, u64>::new();
        for (at, (offset, value)) in log.iter().enumerate() {
            assert_eq!(*offset, at as i64, "partition {partition}: offset {offset} follows {at} records");
            let (producer, number) = value.rsplit_once('-').expect("producer-number");
            let next = next.entry(producer).or_default();
            assert_eq!(
                number.parse(),
                Ok(*next),
                "partition {partition} offset {offset}: {value} is twice, late or early"
            );
            *next += 1;
        }
        let acknowledged = self.acknowledged.range((partition, 0)..(partition + 1, 0));
        let mut count = 0;
        for ((_, offset), value) in acknowledged {
            let found = log.get(*offset as usize).map(|(_, value)| value.as_str());
            assert_eq!(found, Some(value.as_str()), "partition {partition} offset {offset}: acknowledged, and read");
            count += 1;
        }
        let more = log.len() - count;
        assert!(loose || more == 0, "partition {partition}: {more} records that were not acknowledged");
        for ((_, offset), value) in self.seen.range((partition, 0)..(partition + 1, 0)) {
            let found = log.get(*offset as usize).map(|(_, value)| value.as_str());
            assert_eq!(found, Some(value.as_str()), "partition {partition} offset {offset}: read, and read again");
        }
    }
}
