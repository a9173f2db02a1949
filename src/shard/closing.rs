//! Connections that are closed for what they do, or do not: strangers, frames that are never ended, silence.
//!
//! Invariant: a connection that is refused costs one line of the log, and no more than a bounded number of them a second.

use super::timers::Timer;
use super::{Level, Shard};
use crate::boundary::ConnId;
use crate::memory::Side;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

/// Closed connections that get a line of the log, in one second.
const REFUSALS_LOGGED: u32 = 1000;
const IDLE_CHECK: Duration = Duration::from_secs(5);
/// A frame that was begun and is not ended in this time will not be.
const FRAME_TIME_MAX: Duration = Duration::from_secs(60);
/// The same where others wait for the memory that it holds: without a byte for so long.
const FRAME_SILENCE_MAX: Duration = Duration::from_secs(5);

/// Connections that were closed in one second, so that strangers cannot flood the log.
#[derive(Default)]
pub struct Refusals {
    second: u64,
    lines: u32,
    unwritten: u32,
}

impl Shard {
    /// Closes a connection whose bytes make no sense: one line, nobody else notices.
    pub(super) fn refuse(&mut self, conn: ConnId, reason: &str) {
        self.report_unwritten();
        if let Some(connection) = self.conns.by_id.get(&conn) {
            self.counters.connections_refused += 1;
            if self.conns.refusals.lines < REFUSALS_LOGGED {
                self.conns.refusals.lines += 1;
                let text = format!("connection of {} is closed: {reason}", connection.peer);
                self.fx.log(Level::Warn, text);
            } else {
                self.conns.refusals.unwritten += 1;
            }
        }
        self.hang_up(conn);
    }

    /// A new second begins: says how many refusals of the last one were not written.
    fn report_unwritten(&mut self) {
        let second = self.fx.now.mono.0 / 1_000_000_000;
        if self.conns.refusals.second == second {
            return;
        }
        let refusals = core::mem::replace(&mut self.conns.refusals, Refusals { second, ..Refusals::default() });
        if refusals.unwritten > 0 {
            let text = format!("{} more connections were closed within a second", refusals.unwritten);
            self.fx.log(Level::Warn, text);
        }
    }

    pub(super) fn start_idle_timer(&mut self) {
        self.timers.set(self.fx.now.mono.after(IDLE_CHECK), Timer::Idle);
    }

    /// Closes connections that have been silent for too long, and those that began a frame and do not end it.
    pub(super) fn on_idle_due(&mut self) {
        self.report_unwritten();
        let now = self.fx.now.mono;
        let idle_max = self.settings.connections_max_idle_ms.map(Duration::from_millis);
        let mut idle = Vec::new();
        let mut stuck = Vec::new();
        let mut starving = 0;
        let wanted = !self.conns.held.starved.is_empty();
        for (conn, connection) in &self.conns.by_id {
            let silent = wanted && now.since(connection.last_active) > FRAME_SILENCE_MAX;
            // A muted one was told to be silent; it gives up what it holds where others wait for that.
            let muted = connection.muted.is_some();
            let over = |begun| silent || !muted && now.since(begun) > FRAME_TIME_MAX;
            let late = connection.frame_begun.is_some_and(over) || muted && silent && connection.owned.bytes() > 0;
            starving += if connection.starved { connection.owned.bytes() } else { 0 };
            if late && !connection.starved {
                stuck.push(*conn);
            } else if !muted && idle_max.is_some_and(|max| now.since(connection.last_active) > max) {
                idle.push(*conn);
            }
        }
        if wanted && starving == self.conns.held.budget.held(Side::Input) {
            // All that is held waits for more of it: the last one makes room for the others.
            stuck.extend(self.conns.held.starved.back());
        }
        for conn in stuck {
            self.refuse(conn, "a request was begun and not ended in time");
        }
        for conn in idle {
            self.hang_up(conn);
        }
        self.expire_books();
        self.start_idle_timer();
    }
}
