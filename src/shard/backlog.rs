//! Batches that wait for room in the journal, in their order: those that other shards sent, and of this shard's own those
//! that their topic wants in another compression (`compression.type`), whose size nobody knew when their request was taken.
//!
//! Invariants: who waits here was counted in `mailed_bytes` by the shard that sent it, until it is answered (another's) or
//! taken (our own); nothing overtakes what waits here; only the first in line is held in two encodings.

use super::produce::{Bounds, check};
use super::{Phase, Shard};
use crate::ids::{PartitionKey, ShardId};
use crate::mail::{Letter, Ticket};
use crate::records::{self, BatchHeader};
use bytes::Bytes;

/// The first version of Produce that may bring ZStandard.
const ZSTD_SINCE: i16 = 7;

/// A batch that waits.
pub struct Parked {
    from: ShardId,
    ticket: Ticket,
    key: PartitionKey,
    acks: i16,
    version: i16,
    batch: Bytes,
    /// Its size as it was sent.
    sent_bytes: usize,
    /// It is in the compression that its topic wants.
    recoded: bool,
}

impl Shard {
    /// Whether a batch for this partition of ours may be appended at once.
    pub(super) fn may_pass(&self, key: PartitionKey) -> bool {
        let slot = self.slots.get(&key);
        let partition = slot.and_then(|slot| self.partitions[*slot as usize].as_deref());
        self.backlog.is_empty() && partition.is_none_or(|partition| partition.settings.compression.is_none())
    }

    /// A batch that waits its turn where there is no room.
    pub(super) fn on_append(&mut self, from: ShardId, letter: Letter) {
        let Letter::Append { ticket, key, acks, version, batch } = letter else {
            unreachable!("the caller matched it")
        };
        let stuck = !self.backlog.is_empty();
        let sent_bytes = batch.len();
        self.backlog.push_back(Parked { from, ticket, key, acks, version, batch, sent_bytes, recoded: false });
        // No room for the first means no room for those behind it, until the step is settled.
        if !stuck {
            self.resume_backlog();
        }
    }

    pub(super) fn resume_backlog(&mut self) {
        while !self.backlog.is_empty() {
            if self.journal.is_some() && self.phase == Phase::Serving {
                self.recode_first();
                let len = self.backlog.front().map_or(0, |parked| parked.batch.len());
                if !self.can_append_local(len) {
                    return;
                }
            }
            let Some(parked) = self.backlog.pop_front() else { return };
            self.append_parked(&parked);
        }
    }

    fn append_parked(&mut self, parked: &Parked) {
        let Parked { from, ticket, key, acks, version, ref batch, sent_bytes, .. } = *parked;
        let is_ours = from == self.me;
        if is_ours {
            self.mailed_bytes[from.0 as usize] -= sent_bytes;
        }
        let mailed = if is_ours { 0 } else { sent_bytes };
        if let Err(appended) = self.append(ticket, key, acks, version, batch, mailed) {
            self.count_refused(key);
            if is_ours {
                self.on_appended(ticket, appended);
            } else {
                self.fx.mail(from, Letter::Appended { ticket, batch_bytes: sent_bytes, appended });
            }
        }
    }

    /// Gives the first in line the compression that its topic wants. What would be refused, or takes too much memory, stays as
    /// it is: whoever appends it judges it.
    fn recode_first(&mut self) {
        let Some(parked) = self.backlog.front_mut().filter(|parked| !parked.recoded) else { return };
        parked.recoded = true;
        let slot = self.slots.get(&parked.key);
        let Some(partition) = slot.and_then(|slot| self.partitions[*slot as usize].as_deref()) else { return };
        let Some(wanted) = partition.settings.compression else { return };
        if BatchHeader::parse(&parked.batch).and_then(|header| header.compression()) == Ok(wanted) {
            return;
        }
        let bounds = Bounds::of(&self.config, partition.replica.start());
        if check(&parked.batch, parked.version, &partition.settings, &bounds, self.fx.now.wall).is_err() {
            return;
        }
        let level = partition.settings.compression_gzip_level;
        if let Ok(recoded) = records::recode(&parked.batch, wanted, level, bounds.decompressed_bytes_max) {
            parked.batch = Bytes::from(recoded);
            parked.version = parked.version.max(ZSTD_SINCE);
        }
    }
}
