//! The boundary's contract, held against both sides of it.
//!
//! Each Submit gets exactly one Done, of its kind; one Accept for each listener, one Recv and one Send for each
//! connection; nothing follows Close or Hangup, and both end when everything of their file or connection has ended; the
//! monotonic clock never goes back.

use highwater::boundary::{ConnId, Done, FileId, Instant, NetError, Now, Op, Token};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Folder,
    File(FileId),
    Close(FileId),
    Listener(u16),
    Receive(ConnId),
    Send(ConnId),
    Hangup(ConnId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Opened,
    Ended,
    Read,
    Wrote,
    Listed,
    Volume,
    Accepted,
    Received,
    Sent,
}

#[derive(Default)]
pub struct Contract {
    ops: BTreeMap<Token, (Owner, Kind)>,
    /// What may be in flight only once.
    once: BTreeSet<Owner>,
    open: BTreeSet<ConnId>,
    closed: BTreeSet<FileId>,
    mono: Instant,
    submitted: u64,
    answered: u64,
}

impl Contract {
    pub fn on_submit(&mut self, token: Token, op: &Op) {
        let (owner, kind) = of(op);
        match owner {
            Owner::Listener(_) => assert!(self.once.insert(owner), "two ops of {owner:?}: {op:?}"),
            Owner::Receive(conn) | Owner::Send(conn) => {
                assert!(self.open.contains(&conn), "{op:?} on a connection that is not there");
                assert!(self.once.insert(owner), "two ops of {owner:?}: {op:?}");
            }
            Owner::Hangup(conn) => assert!(self.open.remove(&conn), "{op:?} of a connection that is not there"),
            Owner::File(file) => assert!(!self.closed.contains(&file), "{op:?} after its Close"),
            Owner::Close(file) => assert!(self.closed.insert(file), "{op:?} twice"),
            Owner::Folder => {}
        }
        if let Op::Recv { into: Some(into), .. } = op {
            assert!(into.capacity() > into.len(), "{owner:?} into a full buffer");
        }
        if let Op::Send { data, .. } = op {
            assert!(data.iter().any(|slice| !slice.is_empty()), "{owner:?} of nothing");
        }
        let before = self.ops.insert(token, (owner, kind));
        assert!(before.is_none(), "{token:?} is in flight already, as {before:?}");
        self.submitted += 1;
    }

    pub fn on_done(&mut self, now: Now, token: Token, done: &Done) {
        self.on_time(now);
        let (owner, kind) = self.ops.remove(&token).unwrap_or_else(|| panic!("{token:?} is not in flight: {done:?}"));
        assert_eq!(kind, kind_of(done), "{owner:?} ends as {done:?}");
        self.once.remove(&owner);
        self.answered += 1;
        match (owner, done) {
            (Owner::Listener(_), Done::Accepted(Ok(accepted))) => {
                assert!(self.open.insert(accepted.conn), "{:?} is accepted twice", accepted.conn);
            }
            (Owner::Hangup(conn), _) => {
                let left = self
                    .ops
                    .values()
                    .any(|(other, _)| matches!(other, Owner::Receive(at) | Owner::Send(at) if *at == conn));
                assert!(!left, "{conn:?} is hung up, and an op of it is still in flight");
            }
            (Owner::Close(file), _) => {
                let left = self.ops.values().any(|(other, _)| *other == Owner::File(file));
                assert!(!left, "{file:?} is closed, and an op of it is still in flight");
            }
            (Owner::Receive(conn), Done::Received(result)) => {
                assert!(result.as_ref().map_or(true, |bytes| !bytes.is_empty()), "{conn:?} received nothing");
                let canceled = matches!(result, Err(NetError::Canceled));
                assert!(!canceled || !self.open.contains(&conn), "{conn:?} is not hung up, and its Recv is canceled");
            }
            _ => {}
        }
    }

    pub fn on_time(&mut self, now: Now) {
        assert!(now.mono >= self.mono, "the monotonic clock goes back from {:?} to {:?}", self.mono, now.mono);
        self.mono = now.mono;
    }

    /// Connections that were accepted and not hung up.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// What is in flight, for the message of a run that hangs.
    pub fn in_flight(&self) -> String {
        format!("{:?}", self.ops.values().map(|(owner, _)| owner).collect::<Vec<_>>())
    }

    /// At any moment.
    pub fn check(&self) {
        let (submitted, answered, in_flight) = (self.submitted, self.answered, self.ops.len() as u64);
        assert_eq!(submitted, answered + in_flight, "{answered} ops are answered, {in_flight} are in flight");
    }
}

fn of(op: &Op) -> (Owner, Kind) {
    match op {
        Op::Open { .. } => (Owner::Folder, Kind::Opened),
        Op::List { .. } => (Owner::Folder, Kind::Listed),
        Op::Volume => (Owner::Folder, Kind::Volume),
        Op::MakeDir { .. } | Op::Rename { .. } | Op::Remove { .. } | Op::SyncDir { .. } => (Owner::Folder, Kind::Ended),
        Op::Allocate { file, .. } | Op::Sync { file } | Op::Truncate { file, .. } => (Owner::File(*file), Kind::Ended),
        Op::Read { file, .. } => (Owner::File(*file), Kind::Read),
        Op::Write { file, .. } => (Owner::File(*file), Kind::Wrote),
        Op::Close { file } => (Owner::Close(*file), Kind::Ended),
        Op::Accept { listener } => (Owner::Listener(*listener), Kind::Accepted),
        Op::Recv { conn, .. } => (Owner::Receive(*conn), Kind::Received),
        Op::Send { conn, .. } => (Owner::Send(*conn), Kind::Sent),
        Op::Hangup { conn } => (Owner::Hangup(*conn), Kind::Ended),
    }
}

fn kind_of(done: &Done) -> Kind {
    match done {
        Done::Opened(_) => Kind::Opened,
        Done::Ended(_) => Kind::Ended,
        Done::Read { .. } => Kind::Read,
        Done::Wrote(_) => Kind::Wrote,
        Done::Listed(_) => Kind::Listed,
        Done::Volume(_) => Kind::Volume,
        Done::Accepted(_) => Kind::Accepted,
        Done::Received(_) => Kind::Received,
        Done::Sent(_) => Kind::Sent,
    }
}
