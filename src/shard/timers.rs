//! Everything that is to happen at some time, in one table.

use crate::boundary::{ConnId, Instant};
use alloc::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A task met a full disk, or fills the ring without haste.
    RetryTask(u64),
    /// A run met a full disk.
    RetryFlush,
    /// The shard may have fallen idle: prove the last frame by a seal.
    Seal,
    /// A clean stop has taken long enough.
    StopDue,
    /// Nothing has been appended since this frame: give back memory.
    Rest { frame: u64 },
    /// A fetch has waited long enough.
    FetchDue { conn: ConnId, request: u64, round: u32 },
    /// Reads wait for memory, since a while.
    ReadsWait,
    /// Somebody waits for memory that answers hold, since a while.
    MemoryWait,
    /// Look for segments that are past their retention.
    Retention,
    /// Look for a log to compact.
    Compact,
    /// The next slice of a compaction.
    CompactOn,
    /// Close connections that have idled, or that never end what they began.
    Idle,
    /// A member, or a group, has had its time.
    Groups { partition: u32, at: Instant },
    /// Reading a coordinator's log failed: try again.
    LoadGroups { partition: u32 },
    /// A muted connection may be due.
    Unmute { conn: ConnId },
    /// The other shards do not know what clients did here.
    TellUsage,
    /// A connection that came too fast is hung up.
    TurnAway { conn: ConnId },
    /// Accepting failed for want of something: try again.
    Accept { listener: u16 },
}

#[derive(Debug, Default)]
pub struct Timers {
    due: BTreeMap<(Instant, u64), Timer>,
    next: u64,
}

impl Timers {
    pub fn set(&mut self, at: Instant, timer: Timer) {
        self.next += 1;
        self.due.insert((at, self.next), timer);
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The earliest timer that is due.
    pub fn pop(&mut self, now: Instant) -> Option<Timer> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}
