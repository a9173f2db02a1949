//! When what is due, for one coordinator. Invariant: a timer that is cancelled never fires.

use crate::boundary::Instant;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// A member has not been heard of for its session timeout.
    Session { group: Arc<str>, member: String },
    /// The group's members have had their time to join.
    Join { group: Arc<str> },
    /// The group's members have had their time to sync.
    Sync { group: Arc<str> },
    /// Look for offsets and groups past their retention.
    Retention,
}

/// Names a timer that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId(Instant, u64);

#[derive(Debug, Default)]
pub struct Timers {
    due: BTreeMap<TimerId, Due>,
    next: u64,
}

impl Timers {
    pub fn set(&mut self, at: Instant, due: Due) -> TimerId {
        self.next += 1;
        let id = TimerId(at, self.next);
        self.due.insert(id, due);
        id
    }

    pub fn cancel(&mut self, id: Option<TimerId>) {
        if let Some(id) = id {
            self.due.remove(&id);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.due.first_key_value().map(|(id, _)| id.0)
    }

    /// The earliest timer that is due.
    pub fn pop(&mut self, now: Instant) -> Option<(TimerId, Due)> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove_entry())
    }
}
