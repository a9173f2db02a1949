//! `Replica`: the state machine that every log in the system is, whatever it holds.
//!
//! ```text
//! start  <=  high watermark  <=  end          durable  <=  end          (every boundary exclusive)
//! ```
//!
//! Pure: it never journals, sends or waits; it says what must be journalled, and is told what became durable. It counts
//! voters, so that a cluster adds voters and not a second path: with one voter the same states are passed.
//!
//! Invariants (`check`): the ruler above; epochs never go back; no process leads an epoch that it did not win in this
//! run; the high watermark is a position that a majority holds durably in the leader's epoch.

pub mod position;
pub mod producers;

use crate::ids::{Epoch, NodeId, Offset};
use alloc::vec;
use alloc::vec::Vec;
use position::{EpochStart, Position};
use serde::{Deserialize, Serialize};

/// What of a replica outlives its process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durable {
    /// The highest epoch this replica has taken part in, and whom it voted for in it.
    pub epoch: Epoch,
    pub voted_for: Option<NodeId>,
    pub start: Offset,
    pub end: Position,
    pub high_watermark: Offset,
    pub epochs: Vec<EpochStart>,
}

/// What a replica is in its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows, or has just started.
    Follower,
    /// Has raised the epoch and voted for itself; leads once a majority of durable votes is in.
    Candidate { votes: Vec<NodeId> },
    /// Has won this epoch in this run. For each voter, how much of the log it holds durably.
    Leader { durable: Vec<(NodeId, Position)> },
}

#[derive(Clone, Debug)]
pub struct Replica {
    me: NodeId,
    voters: Vec<NodeId>,
    role: Role,
    epoch: Epoch,
    voted_for: Option<NodeId>,
    start: Offset,
    end: Position,
    durable: Position,
    high_watermark: Position,
    epochs: Vec<EpochStart>,
}

impl Replica {
    /// A replica as its disk knows it. Everything recovered has been synced, so it is durable.
    pub fn new(me: NodeId, voters: Vec<NodeId>, durable: Durable) -> Replica {
        assert!(voters.contains(&me), "{me:?} is no voter of {voters:?}");
        let high_watermark = Position { offset: durable.high_watermark, ..Position::default() };
        let replica = Replica {
            me,
            voters,
            role: Role::Follower,
            epoch: durable.epoch,
            voted_for: durable.voted_for,
            start: durable.start,
            end: durable.end,
            durable: durable.end,
            high_watermark,
            epochs: durable.epochs,
        };
        replica.check();
        replica
    }

    /// What a checkpoint must hold.
    pub fn to_durable(&self) -> Durable {
        Durable {
            epoch: self.epoch,
            voted_for: self.voted_for,
            start: self.start,
            end: self.end,
            high_watermark: self.high_watermark.offset,
            epochs: self.epochs.clone(),
        }
    }

    /// Raises the epoch and votes for itself. The vote must be durable before [`Replica::on_vote`] is told of it.
    pub fn campaign(&mut self) -> Epoch {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.voted_for = Some(self.me);
        self.role = Role::Candidate { votes: vec![] };
        self.epoch
    }

    /// A durable vote for us in `epoch`. True when it made us the leader: the caller then appends the epoch's start.
    pub fn on_vote(&mut self, from: NodeId, epoch: Epoch) -> bool {
        let majority = self.majority();
        match &mut self.role {
            Role::Candidate { votes } if epoch == self.epoch => {
                if !votes.contains(&from) {
                    votes.push(from);
                }
                if votes.len() < majority {
                    return false;
                }
                let durable = self.voters.iter().map(|voter| (*voter, Position::default())).collect();
                self.role = Role::Leader { durable };
                true
            }
            Role::Candidate { .. } | Role::Follower | Role::Leader { .. } => false,
        }
    }

    /// Appends the epoch's start, a zero-width entry. Returns the line of the epoch table to journal.
    pub fn append_epoch_start(&mut self) -> EpochStart {
        assert!(self.leads(), "only a leader starts its epoch, not {:?}", self.role);
        let line = EpochStart { epoch: self.epoch, start: self.end.offset };
        self.apply_epoch_start(line);
        line
    }

    /// Appends `count` records. Returns the offset of the first.
    pub fn append(&mut self, count: i64) -> Offset {
        assert!(self.leads(), "only a leader appends, not {:?}", self.role);
        assert!(self.end.epoch == self.epoch, "records before the start of epoch {}", self.epoch);
        let base = self.end.offset;
        self.end.offset = Offset(base.0 + count);
        base
    }

    /// Everything up to `position` of the present log is on our disk.
    pub fn on_durable(&mut self, position: Position) {
        assert!(position <= self.end, "durable at {position:?}, but the log ends at {:?}", self.end);
        if position > self.durable {
            self.durable = position;
        }
        let me = self.me;
        self.on_voter_durable(me, position);
    }

    /// A voter holds everything up to `position` durably. Counts only within the leader's own epoch.
    pub fn on_voter_durable(&mut self, voter: NodeId, position: Position) {
        let majority = self.majority();
        let Role::Leader { durable } = &mut self.role else { return };
        let Some((_, known)) = durable.iter_mut().find(|(id, _)| *id == voter) else { return };
        *known = (*known).max(position);
        // This runs for every partition of every commit, and voters are few: counting costs less than sorting.
        let held_by = |position: Position| durable.iter().filter(|(_, held)| *held >= position).count();
        let held = durable.iter().map(|(_, held)| *held).filter(|held| held_by(*held) >= majority);
        let majority_holds = held.max().unwrap_or_default();
        if majority_holds.epoch == self.epoch && majority_holds > self.high_watermark {
            assert!(
                majority_holds.offset >= self.high_watermark.offset,
                "the high watermark goes back from {:?} to {majority_holds:?}",
                self.high_watermark
            );
            self.high_watermark = majority_holds;
        }
    }

    /// Recovery: a journalled epoch start belongs to this log.
    pub fn apply_epoch_start(&mut self, line: EpochStart) {
        assert!(line.epoch >= self.end.epoch, "epoch {} starts after {:?}", line.epoch, self.end);
        self.epoch = self.epoch.max(line.epoch);
        if self.epochs.last().is_none_or(|last| last.epoch < line.epoch) {
            // An epoch without records leaves no trace in the table once the next one starts at the same offset.
            if self.epochs.last().is_some_and(|last| last.start == line.start) {
                self.epochs.pop();
            }
            self.epochs.push(line);
        }
        let zero_width = if line.epoch == self.end.epoch { self.end.zero_width + 1 } else { 1 };
        self.end = Position { epoch: line.epoch, offset: self.end.offset, zero_width };
    }

    /// Recovery: a journalled vote.
    pub fn apply_vote(&mut self, epoch: Epoch, voted_for: NodeId) {
        assert!(epoch >= self.epoch, "a vote in epoch {epoch} behind {}", self.epoch);
        self.epoch = epoch;
        self.voted_for = Some(voted_for);
    }

    /// Recovery: journalled records up to `end`.
    pub fn recover_records(&mut self, end: Offset) {
        assert!(end > self.end.offset, "records up to {end} behind {:?}", self.end);
        self.end.offset = end;
    }

    /// Recovery: a journalled start of the log, which was below the high watermark when it was written. Where damage took the
    /// records before it, the log ends there all the same: the next one would have that offset.
    pub fn recover_start(&mut self, start: Offset) {
        self.end.offset = self.end.offset.max(start);
        self.high_watermark.offset = self.high_watermark.offset.max(start);
        self.advance_start(start);
    }

    /// Recovery is over: everything that was read back has been synced.
    pub fn recovered(&mut self) {
        self.durable = self.end;
    }

    /// Moves the start of the log forward (retention, DeleteRecords); never back.
    pub fn advance_start(&mut self, start: Offset) {
        assert!(start <= self.high_watermark.offset, "start {start} above {:?}", self.high_watermark);
        self.start = self.start.max(start);
        let first = self.epochs.iter().rposition(|line| line.start <= self.start).unwrap_or(0);
        self.epochs.drain(..first);
        if let Some(line) = self.epochs.first_mut() {
            line.start = line.start.max(self.start);
        }
    }

    /// KIP-101, KIP-320: the largest epoch up to `epoch` and where it ends. An epoch older than the log ends where the log
    /// begins; of one that is still to come nobody knows (`None`), nor of -1.
    pub fn end_of_epoch(&self, epoch: Epoch) -> Option<(Epoch, Offset)> {
        if epoch == self.epoch {
            return Some((epoch, self.high_watermark.offset.max(self.start)));
        }
        if epoch > self.epoch || epoch == Epoch(-1) {
            return None;
        }
        let Some(index) = self.epochs.iter().rposition(|line| line.epoch <= epoch) else {
            return self.epochs.first().map(|first| (epoch, first.start));
        };
        let end = self.epochs.get(index + 1).map_or(self.high_watermark.offset, |next| next.start);
        Some((self.epochs[index].epoch, end))
    }

    /// The epoch in which the record at `offset` was, or will be, written.
    pub fn epoch_of(&self, offset: Offset) -> Epoch {
        self.epochs.iter().rev().find(|line| line.start <= offset).map_or(self.epoch, |line| line.epoch)
    }

    pub fn leads(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    /// Leads, and its epoch's start is committed: it may answer for the log.
    pub fn is_serving(&self) -> bool {
        self.leads() && self.high_watermark.epoch == self.epoch
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many hold the log, this one included.
    pub fn replicas(&self) -> usize {
        self.voters.len()
    }

    pub fn start(&self) -> Offset {
        self.start
    }

    pub fn end(&self) -> Position {
        self.end
    }

    pub fn durable(&self) -> Position {
        self.durable
    }

    pub fn high_watermark(&self) -> Offset {
        self.high_watermark.offset
    }

    /// Where segments may end: at the high watermark. What a sole voter holds durably can never be truncated, before its
    /// election as well: so the journal can be freed when it is too full for an election.
    pub fn settled(&self) -> Offset {
        let committed = self.high_watermark.offset;
        if self.voters == [self.me] { committed.max(self.durable.offset) } else { committed }
    }

    fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Every invariant of the ruler, with its values.
    pub fn check(&self) {
        let (start, high_watermark, end) = (self.start, self.high_watermark.offset, self.end.offset);
        assert!(start <= high_watermark, "start {start} above the high watermark {high_watermark}");
        assert!(high_watermark <= end, "high watermark {high_watermark} above the end {end}");
        assert!(self.durable <= self.end, "durable {:?} above the end {:?}", self.durable, self.end);
        assert!(self.end.epoch <= self.epoch, "the log ends in epoch {}, beyond {}", self.end.epoch, self.epoch);
        assert!(
            self.epochs.windows(2).all(|pair| pair[0].epoch < pair[1].epoch && pair[0].start <= pair[1].start),
            "the epoch table is not in order: {:?}",
            self.epochs
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId(1);

    fn leader_of_one() -> Replica {
        let mut replica = Replica::new(ME, vec![ME], Durable::default());
        let epoch = replica.campaign();
        assert!(replica.on_vote(ME, epoch));
        replica.append_epoch_start();
        replica
    }

    #[test]
    fn a_topics_first_record_has_offset_0() {
        let mut replica = leader_of_one();
        assert_eq!(replica.append(3), Offset(0));
        assert_eq!(replica.append(1), Offset(3));
    }

    #[test]
    fn nothing_is_committed_before_it_is_durable() {
        let mut replica = leader_of_one();
        let start = replica.end();
        replica.append(5);
        let end = replica.end();
        assert!(!replica.is_serving());
        replica.on_durable(start);
        assert!(replica.is_serving());
        assert_eq!(replica.high_watermark(), Offset(0));
        replica.on_durable(end);
        assert_eq!(replica.high_watermark(), Offset(5));
    }

    #[test]
    fn an_old_epoch_is_not_committed_by_counting() {
        let voters = vec![ME, NodeId(2), NodeId(3)];
        let mut replica = Replica::new(ME, voters, Durable::default());
        let epoch = replica.campaign();
        assert!(!replica.on_vote(ME, epoch));
        assert!(replica.on_vote(NodeId(3), epoch));
        replica.append_epoch_start();
        replica.append(2);
        let old = Position { epoch: Epoch(0), offset: Offset(2), zero_width: 0 };
        replica.on_durable(replica.end());
        replica.on_voter_durable(NodeId(2), old);
        assert_eq!(replica.high_watermark(), Offset(0));
        replica.on_voter_durable(NodeId(2), replica.end());
        assert_eq!(replica.high_watermark(), Offset(2));
    }

    #[test]
    fn the_end_of_an_epoch_is_where_the_next_one_starts() {
        let mut replica = leader_of_one();
        replica.append(4);
        replica.on_durable(replica.end());
        let mut again = Replica::new(ME, vec![ME], replica.to_durable());
        let epoch = again.campaign();
        again.on_vote(ME, epoch);
        again.append_epoch_start();
        again.append(2);
        again.on_durable(again.end());
        assert_eq!(again.end_of_epoch(Epoch(1)), Some((Epoch(1), Offset(4))));
        assert_eq!(again.end_of_epoch(Epoch(2)), Some((Epoch(2), Offset(6))));
        assert_eq!(again.end_of_epoch(Epoch(0)), Some((Epoch(0), Offset(0))));
        assert_eq!(again.end_of_epoch(Epoch(3)), None);
        assert_eq!(again.end_of_epoch(Epoch(-1)), None);
    }
}
