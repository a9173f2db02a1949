//! Effects: how the core asks for anything to happen. A function without `fx` among its arguments is pure.
//!
//! Invariant: every op submitted is in `pending` until its `Done`, and what waits for it is named there.

use crate::boundary::{Action, ConnId, Done, Halt, Level, Now, Op, Token};
use crate::ids::ShardId;
use crate::mail::{Letter, Mail, Ticket};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

/// What the shard waits for: print it, and a hang explains itself.
#[derive(Debug)]
pub enum Pending {
    /// A file task, by its number.
    Task(u64),
    /// The frame in flight.
    Commit,
    /// The next bytes of the journal, in recovery.
    Scan,
    /// Bytes of a segment or of its sidecar, for readers.
    ReadSegment(u64),
    /// A run on its way to its segment.
    Flush(u64),
    Accept(u16),
    Recv(ConnId),
    Send(ConnId),
    Hangup(ConnId),
    /// How large the volume is, for somebody who asked.
    Volume(Ticket),
    /// Nobody waits: a file that is closed after use.
    Nothing,
}

pub struct Effects {
    pub now: Now,
    shard: ShardId,
    actions: VecDeque<Action>,
    next_token: u64,
    pending: BTreeMap<Token, Pending>,
    /// Letters of this step, by shard.
    outbox: Vec<Vec<Letter>>,
    halted: bool,
}

impl Effects {
    pub fn new(shard: ShardId, shards: u16, now: Now) -> Effects {
        Effects {
            now,
            shard,
            actions: VecDeque::new(),
            next_token: 1,
            pending: BTreeMap::new(),
            outbox: (0..shards).map(|_| Vec::new()).collect(),
            halted: false,
        }
    }

    pub fn submit(&mut self, op: Op, pending: Pending) {
        if self.halted {
            return;
        }
        let token = Token(self.next_token);
        self.next_token += 1;
        self.pending.insert(token, pending);
        self.actions.push_back(Action::Submit { token, op });
    }

    /// What waited for `token`.
    pub fn done(&mut self, token: Token, done: &Done) -> Pending {
        self.pending.remove(&token).unwrap_or_else(|| panic!("{token:?} was not submitted, or is done twice: {done:?}"))
    }

    pub(crate) fn mail(&mut self, to: ShardId, letter: Letter) {
        assert!(to != self.shard, "shard {to:?} writes to itself");
        self.outbox[to.0 as usize].push(letter);
    }

    pub fn log(&mut self, level: Level, text: String) {
        self.actions.push_back(Action::Log { level, text });
    }

    pub fn ready(&mut self) {
        self.actions.push_back(Action::Ready);
    }

    /// Ends the shard: nothing is submitted after this.
    pub fn halt(&mut self, halt: Halt) {
        if !self.halted {
            self.actions.push_back(Action::Halt(halt));
            self.halted = true;
        }
    }

    pub fn halted(&self) -> bool {
        self.halted
    }

    pub fn pop(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Turns this step's letters into mail.
    pub fn post(&mut self) {
        for (index, letters) in self.outbox.iter_mut().enumerate() {
            if !letters.is_empty() && !self.halted {
                let mail = Mail(core::mem::take(letters));
                self.actions.push_back(Action::Mail { to: ShardId(index as u16), mail });
            }
        }
    }

    pub fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let (me, shards) = (self.shard, self.outbox.len() as u16);
        (0..shards).map(ShardId).filter(move |shard| *shard != me)
    }

    pub fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.values()
    }
}
