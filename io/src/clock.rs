//! The two clocks of a shard. All shards of a process count from the same start.

use highwater::boundary::{Instant, Now, Timestamp};
use std::time;

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: time::Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { start: time::Instant::now() }
    }

    pub fn now(&self) -> Now {
        // A wall clock before 1970 is a broken one; the core is told 0 and goes on.
        let wall = time::SystemTime::now().duration_since(time::UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.mono(), wall: Timestamp(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)) }
    }

    pub fn mono(&self) -> Instant {
        Instant(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
