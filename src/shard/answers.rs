//! The memory of answers to Fetch: how much of it there is, who may answer, and what becomes of a reader that is slow.
//!
//! ```text
//! grant ─▶ read ─▶ settle ─▶ Send, within PATIENCE ─▶ all taken: the next answer may be larger
//!   │ no room                        └─ not all taken: the rest is copied, the next answer is what such a reader takes
//!   └─▶ waits its turn
//! ```
//!
//! An answer is mostly slices of memory that belongs to the journal or to the reads: it costs nothing while it leaves at
//! once, but a reader that takes nothing must not keep that memory. Invariants: shared memory is in a Send for at most
//! `PATIENCE`; what an answer may come to own counts from the grant on, in the budget of all connections (`held`); who waits
//! for it is served in turn.

use super::Shard;
use crate::boundary::{ConnId, Instant};
use crate::mail::Ticket;
use crate::memory::{Account, Budget, Side};
use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

/// The most that one answer holds; what is left is there for the next. Its first batch may be larger.
const ANSWER_MAX: usize = 4 << 20;
/// The least that a limit on answers comes to, where there is so much.
const ANSWER_MIN: usize = 64 << 10;
/// And where there is little.
const TIGHT_ANSWER_MIN: usize = 4 << 10;
/// How long the shared memory of an answer may be on its way.
const PATIENCE: Duration = Duration::from_millis(100);

pub struct Answers {
    by_conn: BTreeMap<ConnId, Answer>,
    /// Fetches that wait for memory.
    waiting: VecDeque<Ticket>,
}

/// The answers of one connection, which come one at a time.
struct Answer {
    /// The most that the next one holds: as much as this reader has shown to take in time.
    bytes_max: usize,
    /// What the next one may come to, before it is there.
    granted: Account,
    /// Slices of shared memory are among what is to be sent.
    shared: bool,
    /// When it was handed to be sent, and what of it was taken since.
    begun: Instant,
    taken: usize,
}

impl Answers {
    pub fn new() -> Answers {
        Answers { by_conn: BTreeMap::new(), waiting: VecDeque::new() }
    }

    pub fn somebody_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What is granted and not used yet.
    pub fn granted(&self) -> usize {
        self.by_conn.values().map(|answer| answer.granted.bytes()).sum()
    }

    /// How large an answer of at most `wanted` bytes may be; `None` while there is no memory for one.
    fn grant(&mut self, budget: &mut Budget, conn: ConnId, wanted: usize, now: Instant) -> Option<usize> {
        let answer = self.by_conn.entry(conn).or_insert(Answer {
            bytes_max: ANSWER_MAX,
            granted: Account::new(Side::Output),
            shared: false,
            begun: now,
            taken: 0,
        });
        budget.set(&mut answer.granted, 0);
        let bytes_max = answer.bytes_max;
        let room = budget.room(Side::Output);
        let least = if room < ANSWER_MIN { TIGHT_ANSWER_MIN } else { ANSWER_MIN };
        // What holds the memory may be fetches that wait here: one of them always goes on.
        if room < least && self.granted() > 0 {
            return None;
        }
        let answer = self.by_conn.get_mut(&conn).expect("just seen");
        let granted = wanted.min(bytes_max).min((room / 4).max(least));
        budget.set(&mut answer.granted, granted);
        Some(granted)
    }

    /// Nothing is to be sent to it now: its fetch waits for records.
    pub fn release(&mut self, budget: &mut Budget, conn: ConnId) {
        if let Some(answer) = self.by_conn.get_mut(&conn) {
            budget.set(&mut answer.granted, 0);
        }
    }

    /// An answer is complete, and counts as its connection's from now on. `shared`: some of its bytes are not its own.
    /// Returns what was granted to it.
    pub fn settle(&mut self, budget: &mut Budget, conn: ConnId, shared: bool, now: Instant) -> usize {
        let Some(answer) = self.by_conn.get_mut(&conn) else { return 0 };
        let granted = answer.granted.bytes();
        budget.set(&mut answer.granted, 0);
        (answer.shared, answer.begun, answer.taken) = (shared, now, 0);
        granted
    }

    /// The time that a Send to this connection is given.
    pub fn patience(&self, conn: ConnId) -> Option<Duration> {
        self.by_conn.get(&conn).filter(|answer| answer.shared).map(|_| PATIENCE)
    }

    /// `sent` bytes were taken and `left` remain. True: what remains must be copied, since it is shared and slow to go.
    pub fn on_sent(&mut self, conn: ConnId, sent: usize, left: usize, now: Instant) -> bool {
        let Some(answer) = self.by_conn.get_mut(&conn) else { return false };
        answer.taken += sent;
        let slow = answer.shared && left > 0 && now.since(answer.begun) >= PATIENCE;
        if slow {
            answer.bytes_max = answer.taken.clamp(ANSWER_MIN, ANSWER_MAX);
        } else if answer.shared && left == 0 {
            answer.bytes_max = (2 * answer.bytes_max).min(ANSWER_MAX);
        }
        answer.shared &= left > 0 && !slow;
        slow
    }

    pub fn forget(&mut self, conn: ConnId, budget: &mut Budget) {
        self.release(budget, conn);
        self.by_conn.remove(&conn);
    }
}

impl Shard {
    /// How large the answer to a fetch may be, or `None`: it goes on when there is room.
    pub(super) fn grant_answer(&mut self, ticket: Ticket, wanted: usize) -> Option<usize> {
        let now = self.fx.now.mono;
        let in_turn = self.answers.waiting.is_empty() && !self.conns.held.pressing;
        let budget = &mut self.conns.held.budget;
        let granted = if in_turn { self.answers.grant(budget, ticket.conn, wanted, now) } else { None };
        if granted.is_none() {
            self.answers.waiting.push_back(ticket);
            self.time_waiting();
        }
        granted
    }

    /// Lets fetches go on that wait for memory, in turn.
    pub(super) fn resume_fetches(&mut self) {
        while let Some(ticket) = self.answers.waiting.pop_front() {
            let others = core::mem::take(&mut self.answers.waiting);
            self.read_round(ticket);
            let stopped = !self.answers.waiting.is_empty();
            self.answers.waiting.extend(others);
            if stopped {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn answers_become_smaller_as_memory_does_and_never_more_than_there_is() {
        let (mut answers, mut budget) = (Answers::new(), Budget::new(16 << 20));
        let mut granted = 0;
        let mut last = ANSWER_MAX;
        for conn in 0.. {
            let Some(bytes) = answers.grant(&mut budget, ConnId(conn), 8 << 20, Instant(0)) else { break };
            assert!(bytes <= last && bytes >= TIGHT_ANSWER_MIN, "{bytes} after {last}");
            (granted, last) = (granted + bytes, bytes);
        }
        assert!((11 << 20..=12 << 20).contains(&granted), "{granted} bytes were granted");
        assert_eq!(answers.granted(), granted);
        answers.forget(ConnId(0), &mut budget);
        assert!(answers.grant(&mut budget, ConnId(1 << 32), 1, Instant(0)).is_some());
    }

    #[test]
    fn a_slow_reader_gets_what_it_takes_in_time_and_a_fast_one_all() {
        let (mut answers, mut budget) = (Answers::new(), Budget::new(64 << 20));
        let conn = ConnId(1);
        assert_eq!(answers.grant(&mut budget, conn, 8 << 20, Instant(0)), Some(4 << 20));
        assert_eq!(answers.settle(&mut budget, conn, true, Instant(0)), 4 << 20);
        assert_eq!(budget.held(Side::Output), 0);
        assert!(!answers.on_sent(conn, 1 << 20, 3 << 20, Instant(50 * MILLISECOND)), "there is time left");
        assert!(answers.on_sent(conn, 0, 3 << 20, Instant(100 * MILLISECOND)), "time is up");
        assert_eq!(answers.patience(conn), None);
        assert!(!answers.on_sent(conn, 3 << 20, 0, Instant(200 * MILLISECOND)));
        assert_eq!(answers.grant(&mut budget, conn, 8 << 20, Instant(0)), Some(1 << 20));
        answers.settle(&mut budget, conn, true, Instant(0));
        assert!(!answers.on_sent(conn, 1 << 20, 0, Instant(MILLISECOND)));
        assert_eq!(answers.grant(&mut budget, conn, 8 << 20, Instant(0)), Some(2 << 20));
    }
}
