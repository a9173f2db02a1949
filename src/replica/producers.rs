//! Idempotent producers (KIP-98): who has written what to one partition, so that a retry is recognised.
//!
//! Follows the log: changed at append, rebuilt from the journal in recovery, kept in the checkpoint. Never more than
//! [`PRODUCERS_MAX`] producers; the one silent for longest is forgotten first. Whoever is unknown may begin at any sequence, as
//! in Kafka; but once its first batch was refused and may come again, nothing that it sent behind it comes first.

use crate::ids::Offset;
use crate::records::BatchHeader;
use alloc::collections::{BTreeMap, VecDeque};
use serde::{Deserialize, Serialize};

/// Kafka remembers as many batches of a producer; a client keeps no more in flight.
pub const BATCHES_KEPT: usize = 5;
pub const PRODUCERS_MAX: usize = 10_000;

/// The part of a batch header that identifies a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub producer_id: i64,
    pub epoch: i16,
    pub first: i32,
    /// Inclusive; wraps from `i32::MAX` to 0.
    pub last: i32,
    /// The batch's largest timestamp as the log has it, in ms since 1970. It identifies nothing: a duplicate is answered
    /// with the original's.
    pub timestamp: i64,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Append,
    /// It is in the log already: answer as the original was answered.
    Duplicate {
        base: Offset,
        end: Offset,
        timestamp: i64,
    },
    /// INVALID_PRODUCER_EPOCH: a newer incarnation of this producer has written.
    Fenced {
        current: i16,
    },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER.
    OutOfOrder {
        expected: i32,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producers {
    by_id: BTreeMap<i64, Producer>,
    /// Unknown producers whose first batch was refused for a while. A restart forgets them: their connections end with it.
    #[serde(skip)]
    refused: BTreeMap<i64, Refused>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    epoch: i16,
    first: i32,
    timestamp: i64,
}

/// One producer that a partition remembers. -1 where no sequence is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active {
    pub id: i64,
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Batch>,
    last_timestamp: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    first: i32,
    last: i32,
    base: Offset,
    end: Offset,
    timestamp: i64,
}

impl Producers {
    pub fn judge(&self, sequence: Sequence) -> Verdict {
        let Some(producer) = self.by_id.get(&sequence.producer_id) else {
            let refused = self.refused.get(&sequence.producer_id).filter(|refused| refused.epoch == sequence.epoch);
            return match refused.filter(|refused| refused.first != sequence.first) {
                Some(refused) => Verdict::OutOfOrder { expected: refused.first },
                None => Verdict::Append,
            };
        };
        if sequence.epoch < producer.epoch {
            return Verdict::Fenced { current: producer.epoch };
        }
        if sequence.epoch > producer.epoch {
            return if sequence.first == 0 { Verdict::Append } else { Verdict::OutOfOrder { expected: 0 } };
        }
        let same = |batch: &&Batch| batch.first == sequence.first && batch.last == sequence.last;
        if let Some(batch) = producer.batches.iter().find(same) {
            let Batch { base, end, timestamp, .. } = *batch;
            return Verdict::Duplicate { base, end, timestamp };
        }
        let last = producer.batches.back().expect("a known producer has written").last;
        let expected = if last == i32::MAX { 0 } else { last + 1 };
        if sequence.first == expected { Verdict::Append } else { Verdict::OutOfOrder { expected } }
    }

    /// Whether this is the last batch that its producer has written.
    pub fn ends_with(&self, header: &BatchHeader) -> bool {
        let producer = self.by_id.get(&header.producer_id).filter(|_| header.has_producer_id());
        producer.is_some_and(|producer| {
            let last = producer.batches.back().map(|batch| batch.last);
            producer.epoch == header.producer_epoch && last == Some(header.last_sequence())
        })
    }

    /// The batch is in the log, at append or in recovery.
    pub fn apply(&mut self, sequence: Sequence, base: Offset, end: Offset, timestamp: i64) {
        let batch = Batch { first: sequence.first, last: sequence.last, base, end, timestamp: sequence.timestamp };
        if !self.by_id.contains_key(&sequence.producer_id) && self.by_id.len() >= PRODUCERS_MAX {
            self.forget_the_most_silent();
        }
        self.refused.remove(&sequence.producer_id);
        let producer = self.by_id.entry(sequence.producer_id).or_insert(Producer {
            epoch: sequence.epoch,
            batches: VecDeque::new(),
            last_timestamp: timestamp,
        });
        if producer.epoch != sequence.epoch {
            producer.epoch = sequence.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(batch);
        producer.last_timestamp = producer.last_timestamp.max(timestamp);
    }

    /// The batch was refused, and will come again: what its producer sent behind it must not be appended before.
    pub fn refuse(&mut self, sequence: Sequence, timestamp: i64) {
        let id = sequence.producer_id;
        let newer = self.refused.get(&id).is_none_or(|refused| refused.epoch < sequence.epoch);
        if self.by_id.contains_key(&id) || !newer {
            return;
        }
        if self.refused.len() >= PRODUCERS_MAX {
            self.refused.pop_first();
        }
        self.refused.insert(id, Refused { epoch: sequence.epoch, first: sequence.first, timestamp });
    }

    /// Forgets who has been silent since before `timestamp` (`producer.id.expiration.ms`).
    pub fn expire(&mut self, timestamp: i64) {
        self.by_id.retain(|_, producer| producer.last_timestamp >= timestamp);
        self.refused.retain(|_, refused| refused.timestamp >= timestamp);
    }

    /// Who has written, in the order of their ids.
    pub fn active(&self) -> impl Iterator<Item = Active> {
        self.by_id.iter().map(|(id, producer)| Active {
            id: *id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map_or(-1, |batch| batch.last),
            last_timestamp: producer.last_timestamp,
        })
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn forget_the_most_silent(&mut self) {
        let oldest = self.by_id.iter().min_by_key(|(id, producer)| (producer.last_timestamp, **id)).map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.by_id.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(epoch: i16, first: i32, last: i32) -> Sequence {
        Sequence { producer_id: 7, epoch, first, last, timestamp: 100 + i64::from(first) }
    }

    #[test]
    fn a_retry_of_any_of_the_last_five_batches_is_recognised() {
        let mut producers = Producers::default();
        for n in 0..6 {
            assert_eq!(producers.judge(sequence(0, n, n)), Verdict::Append);
            producers.apply(sequence(0, n, n), Offset(n.into()), Offset(i64::from(n) + 1), 0);
        }
        assert_eq!(producers.judge(sequence(0, 0, 0)), Verdict::OutOfOrder { expected: 6 });
        for n in 1..6 {
            let (base, end) = (Offset(n.into()), Offset(i64::from(n) + 1));
            let timestamp = 100 + i64::from(n);
            let retry = Sequence { timestamp: 999, ..sequence(0, n, n) };
            assert_eq!(producers.judge(retry), Verdict::Duplicate { base, end, timestamp });
        }
    }

    #[test]
    fn a_new_epoch_starts_at_sequence_0_and_fences_the_old_one() {
        let mut producers = Producers::default();
        producers.apply(sequence(0, 0, 9), Offset(0), Offset(10), 0);
        assert_eq!(producers.judge(sequence(1, 10, 11)), Verdict::OutOfOrder { expected: 0 });
        producers.apply(sequence(1, 0, 0), Offset(10), Offset(11), 0);
        assert_eq!(producers.judge(sequence(0, 10, 10)), Verdict::Fenced { current: 1 });
    }

    #[test]
    fn what_was_sent_behind_a_refused_first_batch_does_not_come_first() {
        let mut producers = Producers::default();
        producers.refuse(sequence(0, 0, 4), 0);
        producers.refuse(sequence(0, 5, 9), 0);
        assert_eq!(producers.judge(sequence(0, 5, 9)), Verdict::OutOfOrder { expected: 0 });
        assert_eq!(producers.judge(sequence(1, 5, 9)), Verdict::Append, "an unknown epoch begins where it likes");
        assert_eq!(producers.judge(sequence(0, 0, 4)), Verdict::Append);
        producers.apply(sequence(0, 0, 4), Offset(0), Offset(5), 0);
        assert_eq!(producers.judge(sequence(0, 5, 9)), Verdict::Append);
    }

    #[test]
    fn sequences_wrap() {
        let mut producers = Producers::default();
        producers.apply(sequence(0, i32::MAX - 1, i32::MAX), Offset(0), Offset(2), 0);
        assert_eq!(producers.judge(sequence(0, 0, 0)), Verdict::Append);
    }
}
