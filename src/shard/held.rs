//! What connections may hold, and what becomes of those that wait for memory.
//!
//! ```text
//! frame ─▶ admitted ─▶ under way ─▶ answer ─▶ Send ─▶ taken by the peer: nothing is held
//!    │ no room             │ an answer that does not fit, and changes nothing: made again later
//!    └─▶ waits ◀───────────┘
//! ```
//!
//! Everything is counted in one [`Budget`]: receive buffers on one side; requests under way, fetches that are granted, and
//! answers until they are taken, on the other. A connection that holds much waits where little room is left; one whose
//! answers are wholly taken holds nothing, so it goes on. Where somebody waits, a reader that takes nothing is hung up.
//! Invariants: the output stays within its side of the budget, one answer excepted that alone is larger; who waits is looked
//! at again whenever anything is given back.

use super::Shard;
use super::connection::{Connection, Header};
use super::timers::Timer;
use crate::boundary::{ConnId, Instant};
use crate::memory::{Account, Budget, Side};
use crate::wire::frame::measure_response;
use crate::wire::{ApiKey, Message, Reader};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// What any request takes while it is under way.
pub const REQUEST_BYTES: usize = 512;
/// What an element of its arrays takes: of a Produce, and of anything else.
const PRODUCE_ELEMENT_BYTES: usize = 128;
const ELEMENT_BYTES: usize = 256;
/// Answers up to this are given without asking: they are covered by what their request was counted for.
const SMALL_ANSWER: usize = 1 << 10;
/// The longest answer that is made of many small ones: a part of the memory, and at least so much.
const ANSWER_PART: u64 = 8;
const ANSWER_MIN: usize = 20 << 20;
/// Who has taken nothing for this long is hung up where others wait for memory.
pub const STUCK: Duration = Duration::from_secs(2);
/// Who has taken something within this time, or has had nothing to take before, is not slow.
const MOVING: Duration = Duration::from_millis(100);
/// How often it is looked at who waits for memory, and for whom.
const STUCK_CHECK: Duration = Duration::from_secs(1);
/// Of those that wait, so many are looked at in one step.
const LOOKS_MAX: usize = 64;

pub struct Held {
    pub budget: Budget,
    /// Those that wait for memory to receive into.
    pub starved: VecDeque<ConnId>,
    /// Those whose next request waits for memory.
    waiting: VecDeque<ConnId>,
    /// How many of them were not looked at since something was given back.
    unlooked: usize,
    /// A timer looks after those who wait.
    timed: bool,
    /// One that holds nothing has waited for long, because fetches take what becomes free: they wait for it.
    pub pressing: bool,
    /// The request being taken: whose it is, and what it counts for.
    pub taking: ConnId,
    pub cost: usize,
    /// It must wait until so many bytes are there.
    pub refused: Option<usize>,
}

impl Held {
    pub fn new(bytes_max: u64) -> Held {
        Held {
            budget: Budget::new(bytes_max),
            starved: VecDeque::new(),
            waiting: VecDeque::new(),
            unlooked: 0,
            timed: false,
            pressing: false,
            taking: ConnId(0),
            cost: REQUEST_BYTES,
            refused: None,
        }
    }

    /// What a connection holds of the output has changed.
    pub fn recount(&mut self, connection: &mut Connection) {
        let bytes = connection.output_bytes();
        self.budget.set(&mut connection.output, bytes);
    }
}

impl Shard {
    /// Whether the request that was just read may be handled: its elements become many bytes. If not, it is put off.
    pub(super) fn may_take(&mut self, key: ApiKey, reader: &Reader<'_>) -> bool {
        let elements = self.elements_max() - reader.elements_left();
        let each = if key == ApiKey::PRODUCE { PRODUCE_ELEMENT_BYTES } else { ELEMENT_BYTES };
        self.conns.held.cost += elements * each;
        self.admits(self.conns.held.cost)
    }

    /// Whether the answer to the request that was just read may be given. If not, the request is put off.
    pub(super) fn may_answer(&mut self, response: &[Bytes]) -> bool {
        let len: usize = response.iter().map(Bytes::len).sum();
        len <= SMALL_ANSWER || self.admits(REQUEST_BYTES + len)
    }

    /// The same, of an answer that is not there yet.
    pub(super) fn has_room(&self, len: usize) -> bool {
        len <= SMALL_ANSWER || self.is_admitted(REQUEST_BYTES + len)
    }

    /// The request that was just read waits until there is room for an answer of so many bytes.
    pub(super) fn put_off(&mut self, len: usize) {
        self.conns.held.refused = Some(REQUEST_BYTES + len);
    }

    /// What the request that was just read counts for beside its elements. False: it is put off.
    pub(super) fn may_take_more(&mut self, bytes: usize) -> bool {
        self.conns.held.cost += bytes;
        self.admits(self.conns.held.cost)
    }

    /// An answer that may be long: it is known how long before it is there. `Err`: there is no room for so many bytes now.
    pub(super) fn respond_measured<'a, M: Message<'a>>(
        &self,
        header: Header,
        response: M,
    ) -> Result<Vec<Bytes>, usize> {
        match measure_response(header.key, header.version, &response, usize::MAX) {
            Some(len) if !self.has_room(len) => Err(len),
            _ => Ok(header.respond(&response)),
        }
    }

    /// The same as [`Shard::answer_now`], of what was measured before.
    pub(super) fn answer_measured(&mut self, conn: ConnId, response: Result<Vec<Bytes>, usize>) {
        match response {
            Ok(response) => self.answer_now(conn, response),
            Err(len) => self.put_off(len),
        }
    }

    /// The longest answer to a request that asks for many things: some ten thousand topics' configurations, or more where
    /// there is more memory.
    pub(super) fn answer_bytes_max(&self) -> usize {
        usize::try_from(self.config.memory_bytes / ANSWER_PART).unwrap_or(usize::MAX).max(ANSWER_MIN)
    }

    /// Closes a connection that asked for more than one answer may be.
    pub(super) fn refuse_answer(&mut self, conn: ConnId, key: ApiKey) {
        let max = self.answer_bytes_max();
        self.refuse(conn, &format!("the answer to its {key} would be more than {max} bytes"));
    }

    fn is_admitted(&self, bytes: usize) -> bool {
        let held = &self.conns.held;
        let nothing = Account::new(Side::Output);
        let account = self.conns.get(held.taking).map_or(&nothing, |connection| &connection.output);
        held.budget.admits(account, bytes)
    }

    fn admits(&mut self, bytes: usize) -> bool {
        let admitted = self.is_admitted(bytes);
        if !admitted {
            self.conns.held.refused = Some(bytes);
        }
        admitted
    }

    /// Its next request waits until so many bytes are there.
    pub(super) fn wait_its_turn(&mut self, conn: ConnId, needed: usize) {
        self.conns.waits(conn, Some(needed), self.fx.now.mono);
        self.conns.held.waiting.push_back(conn);
        self.time_waiting();
    }

    /// Lets connections go on that wait for memory, as far as there is some now.
    pub(super) fn resume_waiting(&mut self) {
        let held = &mut self.conns.held;
        if held.budget.take_freed() {
            held.unlooked = held.waiting.len();
        }
        for _ in 0..held.unlooked.min(LOOKS_MAX) {
            let held = &mut self.conns.held;
            held.unlooked = held.unlooked.saturating_sub(1);
            let Some(conn) = held.waiting.pop_front() else { break };
            let Some(connection) = self.conns.get(conn) else { continue };
            let needed = connection.waits_for.expect("who waits knows for what");
            if self.conns.held.budget.admits(&connection.output, needed) {
                self.conns.held.pressing = false;
                self.conns.waits(conn, None, self.fx.now.mono);
                self.process(conn);
            } else {
                self.conns.held.waiting.push_back(conn);
            }
        }
        let held = &mut self.conns.held;
        // The others' turn comes in the next step, which is at once.
        self.dirty |= held.unlooked > 0;
        if held.budget.room(Side::Input) > held.budget.side_max() / 4 {
            for conn in core::mem::take(&mut held.starved) {
                self.conns.starves(conn, false);
                self.receive(conn);
            }
        }
    }

    pub(super) fn time_waiting(&mut self) {
        if self.somebody_waits() && !core::mem::replace(&mut self.conns.held.timed, true) {
            self.timers.set(self.fx.now.mono.after(STUCK_CHECK), Timer::MemoryWait);
        }
    }

    fn somebody_waits(&self) -> bool {
        !self.conns.held.waiting.is_empty() || self.answers.somebody_waits()
    }

    /// Hangs up readers that take nothing, where others wait for the memory of their answers.
    pub(super) fn on_memory_wait_due(&mut self) {
        self.conns.held.timed = false;
        if self.somebody_waits() {
            for conn in self.stuck(self.fx.now.mono, STUCK) {
                self.drop_reader(conn);
            }
        }
        let now = self.fx.now.mono;
        let waits_long = |conn: &ConnId| {
            let connection = self.conns.get(*conn).filter(|connection| connection.output.bytes() == 0);
            connection.is_some_and(|connection| now.since(connection.waits_since) >= STUCK_CHECK)
        };
        self.conns.held.pressing = self.conns.held.waiting.iter().any(waits_long);
        self.time_waiting();
    }

    /// Some answers nobody can foresee: a first batch, a group's offsets. Where more came than there is, those go that have
    /// not moved for the longest time.
    pub(super) fn shed_readers(&mut self) {
        if !self.conns.held.budget.is_over() {
            return;
        }
        for conn in self.stuck(self.fx.now.mono, MOVING) {
            if !self.conns.held.budget.is_over() {
                return;
            }
            self.drop_reader(conn);
        }
        // The rest goes on taking, or has only just been answered: the largest go.
        while self.conns.held.budget.is_over() {
            let largest = self.conns.iter().max_by_key(|(conn, connection)| (connection.output.bytes(), *conn));
            let Some((conn, _)) = largest else { break };
            self.drop_reader(conn);
        }
    }

    /// Those who have not taken anything for `time`, though there is something for them, the longest first.
    fn stuck(&self, now: Instant, time: Duration) -> Vec<ConnId> {
        let is_stuck = |connection: &Connection| connection.out_bytes > 0 && now.since(connection.moved) >= time;
        let stuck = self.conns.iter().filter(|(_, connection)| is_stuck(connection));
        let mut stuck: Vec<_> = stuck.map(|(conn, connection)| (connection.moved, conn)).collect();
        stuck.sort_unstable();
        stuck.into_iter().map(|(_, conn)| conn).collect()
    }

    fn drop_reader(&mut self, conn: ConnId) {
        let held = self.conns.get(conn).map_or(0, |connection| connection.output.bytes());
        self.refuse(conn, &format!("it does not take its answers, {held} bytes that others wait for"));
    }

    /// What connections hold is counted, and stays within the budget.
    pub(super) fn check_held(&self) {
        let held = &self.conns.held;
        let (mut input, mut output) = (0, self.answers.granted());
        for (conn, connection) in self.conns.iter() {
            let counted = connection.output.bytes();
            assert!(counted == connection.output_bytes(), "{conn:?} holds {} bytes", connection.output_bytes());
            input += connection.owned.bytes();
            output += counted;
        }
        assert_eq!(input, held.budget.held(Side::Input), "bytes of receive buffers");
        assert_eq!(output, held.budget.held(Side::Output), "bytes of requests and answers");
        assert!(!held.budget.is_over(), "more is held than there is: {:?}", held.budget);
    }
}
