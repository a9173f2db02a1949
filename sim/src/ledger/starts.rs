//! Where logs may start: behind what retention gives up, or where a client wanted them to start; nowhere else.
//!
//! Invariant: a start that was told is below everything that must be kept, and never goes back.

use super::{Known, Ledger, Part, Verdict};
use crate::report::Invariant;

/// What a client asks DeleteRecords for in place of an offset: the high watermark.
pub const ALL: i64 = -1;

impl Ledger {
    /// Nothing of this partition may go: neither retention nor a client takes from it.
    pub fn keeps_all(&self, part: Part) -> bool {
        let topic = self.topic_of(part);
        topic.retention_bytes < 0 && topic.retention_ms < 0 && self.parts[part].purge_asked <= 0
    }

    /// A log that starts at `start` has lost nothing that it must keep.
    pub fn may_start(&self, part: Part, start: i64) -> Verdict {
        let (state, topic) = (&self.parts[part], self.topic_of(part));
        if start <= state.purge_asked.max(0) || topic.retention_bytes >= 0 || self.lax(part) {
            return Ok(());
        }
        let name = self.name(part);
        if topic.retention_ms < 0 {
            return Err((Invariant::Durable, format!("{name}: log start {start}, and nobody wanted that")));
        }
        let too_young = |id: u32| {
            let batch = &self.batches[id as usize];
            let last = batch.timestamp + (i64::from(batch.records) - 1) * batch.step;
            last + topic.retention_ms >= self.wall_max
        };
        let gone =
            state.places.range(..start).filter(|(base, (_, count))| *base + i64::from(*count) > state.purge_asked);
        for (base, (id, _)) in gone {
            if too_young(*id) {
                let detail = format!(
                    "{name}: log start {start}, and the batch at {base} from {} is not older than {} ms at {}",
                    self.batches[*id as usize].timestamp, topic.retention_ms, self.wall_max
                );
                return Err((Invariant::Durable, detail));
            }
        }
        Ok(())
    }

    /// A log start that was told; -1 where none was.
    pub fn told_start(&mut self, part: Part, start: i64) -> Verdict {
        if start < 0 || self.lax(part) {
            return Ok(());
        }
        self.may_start(part, start)?;
        if start > self.parts[part].purge_asked {
            // Only a client may want it inside a batch.
            self.mark(part, start, "log start")?;
        } else if start > self.parts[part].offered {
            let detail = format!("{}: log start {start}, and no more was sent", self.name(part));
            return Err((Invariant::Genuine, detail));
        }
        let state = &mut self.parts[part];
        state.start = state.start.max(start);
        Ok(())
    }

    /// Somebody is about to ask for the log to start at `offset`, or at its high watermark ([`ALL`]). Gives back what must be
    /// told to [`Ledger::purged`].
    pub fn purges(&mut self, part: Part, offset: i64) -> i64 {
        let state = &mut self.parts[part];
        let before = state.purge_asked;
        state.purge_asked = if offset == ALL { i64::MAX } else { before.max(offset.min(state.offered)) };
        if offset == ALL { before } else { state.purge_asked }
    }

    /// It was done: the log starts at `low_watermark`. `asked` is what [`Ledger::purges`] gave back.
    pub fn purged(&mut self, part: Part, offset: i64, known: Known, asked: i64, low_watermark: i64) -> Verdict {
        if self.lax(part) {
            return Ok(());
        }
        let end = known.high_watermark.max(known.acked_end);
        let least = if offset == ALL && !self.parts[part].may_refuse { end } else { offset };
        if low_watermark < least.max(known.start) {
            let detail = format!(
                "{}: deleted up to {offset}, the log starts at {low_watermark}; known were {known:?}",
                self.name(part)
            );
            return Err((Invariant::Purged, detail));
        }
        if offset == ALL {
            // Nobody else asks, so this is what was meant.
            self.parts[part].purge_asked = asked.max(low_watermark);
        }
        self.told_start(part, low_watermark)
    }
}
