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
//! `PATIENCE`; what answers own (copies of small batches, rests of slow answers) or may come to own stays within the
//! budget, so every answer counts until it is taken; who waits for it is served in turn, and a reader that takes nothing
//! is hung up for those who wait.

use super::timers::Timer;
use super::{Level, Shard};
use crate::boundary::{ConnId, Instant};
use crate::mail::Ticket;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

/// The most that one answer holds; what is left is there for the next. Its first batch may be larger.
const ANSWER_MAX: usize = 4 << 20;
/// The least that a limit on answers comes to.
const ANSWER_MIN: usize = 64 << 10;
/// How long the shared memory of an answer may be on its way.
const PATIENCE: Duration = Duration::from_millis(100);
/// Who has taken nothing for this long is hung up where others wait for memory.
const STUCK: Duration = Duration::from_secs(5);
/// How often that is looked at.
const STUCK_CHECK: Duration = Duration::from_secs(1);

pub struct Answers {
    by_conn: BTreeMap<ConnId, Answer>,
    held: usize,
    held_max: usize,
    /// Fetches that wait for memory.
    waiting: VecDeque<Ticket>,
    /// A timer looks after them.
    timed: bool,
}

/// The answers of one connection, which come one at a time.
struct Answer {
    /// The most that the next one holds: as much as this reader has shown to take in time.
    bytes_max: usize,
    /// What of `Answers::held` is this one's.
    held: usize,
    /// There is an answer; before that, `held` is what it may come to.
    complete: bool,
    /// Slices of shared memory are among what is to be sent.
    shared: bool,
    /// When it was handed to be sent, and what of it was taken since.
    begun: Instant,
    taken: usize,
    /// When the reader last took anything.
    moved: Instant,
}

impl Answers {
    pub fn new(bytes_max: u64) -> Answers {
        let held_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Answers { by_conn: BTreeMap::new(), held: 0, held_max, waiting: VecDeque::new(), timed: false }
    }

    /// How large an answer of at most `wanted` bytes may be; `None` while there is no memory for one.
    fn grant(&mut self, conn: ConnId, wanted: usize, now: Instant) -> Option<usize> {
        let left = self.held_max.saturating_sub(self.held);
        if left < ANSWER_MIN && self.held > 0 {
            return None;
        }
        let answer = self.by_conn.entry(conn).or_insert(Answer {
            bytes_max: ANSWER_MAX,
            held: 0,
            complete: false,
            shared: false,
            begun: now,
            taken: 0,
            moved: now,
        });
        answer.complete = false;
        let granted = wanted.min(answer.bytes_max).min((left / 4).max(ANSWER_MIN));
        self.hold(conn, granted);
        Some(granted)
    }

    /// Holds so many bytes for a connection instead of what it held.
    fn hold(&mut self, conn: ConnId, bytes: usize) {
        if let Some(answer) = self.by_conn.get_mut(&conn) {
            self.held = self.held + bytes - answer.held;
            answer.held = bytes;
        }
    }

    /// Nothing is to be sent to it now: its fetch waits for records.
    pub fn release(&mut self, conn: ConnId) {
        self.hold(conn, 0);
    }

    /// An answer is complete. `shared`: some of its bytes are not its own.
    pub fn settle(&mut self, conn: ConnId, bytes: usize, shared: bool, now: Instant) {
        self.hold(conn, bytes);
        if let Some(answer) = self.by_conn.get_mut(&conn) {
            (answer.complete, answer.shared) = (true, shared);
            (answer.begun, answer.taken, answer.moved) = (now, 0, now);
        }
    }

    /// The time that a Send to this connection is given.
    pub fn patience(&self, conn: ConnId) -> Option<Duration> {
        self.by_conn.get(&conn).filter(|answer| answer.shared).map(|_| PATIENCE)
    }

    /// `sent` bytes were taken and `left` remain. True: what remains must be copied, since it is shared and slow to go.
    pub fn on_sent(&mut self, conn: ConnId, sent: usize, left: usize, now: Instant) -> bool {
        let Some(answer) = self.by_conn.get_mut(&conn) else { return false };
        answer.taken += sent;
        if sent > 0 {
            answer.moved = now;
        }
        let slow = answer.shared && left > 0 && now.since(answer.begun) >= PATIENCE;
        if slow {
            answer.bytes_max = answer.taken.clamp(ANSWER_MIN, ANSWER_MAX);
        } else if answer.shared && left == 0 {
            answer.bytes_max = (2 * answer.bytes_max).min(ANSWER_MAX);
        }
        answer.shared &= left > 0 && !slow;
        let held = answer.held.min(left);
        self.hold(conn, held);
        slow
    }

    pub fn forget(&mut self, conn: ConnId) {
        self.hold(conn, 0);
        self.by_conn.remove(&conn);
    }

    /// Those who have not taken anything for `time`, though there is something for them, the longest first.
    fn stuck(&self, now: Instant, time: Duration) -> Vec<ConnId> {
        let is_stuck = |answer: &Answer| answer.complete && answer.held > 0 && now.since(answer.moved) >= time;
        let holding = self.by_conn.iter().filter(|(_, answer)| is_stuck(answer));
        let mut stuck: Vec<(Instant, ConnId)> = holding.map(|(conn, answer)| (answer.moved, *conn)).collect();
        stuck.sort_unstable();
        stuck.into_iter().map(|(_, conn)| conn).collect()
    }
}

impl Shard {
    /// How large the answer to a fetch may be, or `None`: it goes on when there is room.
    pub(super) fn grant_answer(&mut self, ticket: Ticket, wanted: usize) -> Option<usize> {
        let now = self.fx.now.mono;
        let in_turn = self.answers.waiting.is_empty();
        let granted = if in_turn { self.answers.grant(ticket.conn, wanted, now) } else { None };
        if granted.is_none() {
            self.answers.waiting.push_back(ticket);
            self.time_waiting();
        }
        granted
    }

    fn time_waiting(&mut self) {
        if !self.answers.waiting.is_empty() && !core::mem::replace(&mut self.answers.timed, true) {
            self.timers.set(self.fx.now.mono.after(STUCK_CHECK), Timer::AnswersWait);
        }
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

    /// Before the rest of an answer is copied. Where first batches are larger than what was granted, slow answers may come
    /// to own more than there is for all: then those go that have not moved for the longest time.
    pub(super) fn bound_answers(&mut self) {
        while self.answers.held > self.answers.held_max {
            let Some(conn) = self.answers.stuck(self.fx.now.mono, Duration::ZERO).first().copied() else { break };
            self.drop_reader(conn);
        }
    }

    /// Hangs up readers that take nothing, where others wait for the memory of their answers.
    pub(super) fn on_answers_wait_due(&mut self) {
        self.answers.timed = false;
        if !self.answers.waiting.is_empty() {
            for conn in self.answers.stuck(self.fx.now.mono, STUCK) {
                self.drop_reader(conn);
            }
        }
        self.time_waiting();
    }

    fn drop_reader(&mut self, conn: ConnId) {
        let held = self.answers.by_conn.get(&conn).map_or(0, |answer| answer.held);
        let text = format!("{conn:?} is hung up: it does not take its answer, {held} bytes that others wait for");
        self.fx.log(Level::Warn, text);
        self.hang_up(conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn answers_become_smaller_as_memory_does_and_never_more_than_there_is() {
        let mut answers = Answers::new(16 << 20);
        let mut granted = 0;
        let mut last = ANSWER_MAX;
        for conn in 0.. {
            let Some(bytes) = answers.grant(ConnId(conn), 8 << 20, Instant(0)) else { break };
            assert!(bytes <= last && bytes >= ANSWER_MIN, "{bytes} after {last}");
            (granted, last) = (granted + bytes, bytes);
        }
        assert!((15 << 20..=16 << 20).contains(&granted), "{granted} bytes were granted");
        answers.forget(ConnId(0));
        assert!(answers.grant(ConnId(1 << 32), 1, Instant(0)).is_some());
    }

    #[test]
    fn a_slow_reader_gets_what_it_takes_in_time_and_a_fast_one_all() {
        let mut answers = Answers::new(64 << 20);
        let conn = ConnId(1);
        assert_eq!(answers.grant(conn, 8 << 20, Instant(0)), Some(4 << 20));
        answers.settle(conn, 4 << 20, true, Instant(0));
        assert!(!answers.on_sent(conn, 1 << 20, 3 << 20, Instant(50 * MILLISECOND)), "there is time left");
        assert!(answers.on_sent(conn, 0, 3 << 20, Instant(100 * MILLISECOND)), "time is up");
        assert_eq!((answers.held, answers.patience(conn)), (3 << 20, None));
        assert!(!answers.on_sent(conn, 3 << 20, 0, Instant(200 * MILLISECOND)));
        assert_eq!((answers.held, answers.grant(conn, 8 << 20, Instant(0))), (0, Some(1 << 20)));
        answers.settle(conn, 1 << 20, true, Instant(0));
        assert!(!answers.on_sent(conn, 1 << 20, 0, Instant(MILLISECOND)));
        assert_eq!(answers.grant(conn, 8 << 20, Instant(0)), Some(2 << 20));
    }
}
