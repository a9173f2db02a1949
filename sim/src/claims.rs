//! What group members were told: which partitions are theirs, and which of their commits were taken. Written by clients alone.
//!
//! Invariants: in one generation a partition has one owner; once a commit is acknowledged, no fetch gives one that had ended
//! before it was sent, nor none at all; once a deletion is, none that it deleted; a commit of a generation that was known to be over is never taken.
//!
//! Every commit has a number of its own as its offset, so that a fetch names the commit it saw.

use crate::ledger::Verdict;
use crate::queue::Nanos;
use crate::report::Invariant;
use std::collections::BTreeMap;

/// One commit of one partition.
struct Attempt {
    sent: Nanos,
    generation: i32,
    /// The newest generation that anyone had been given an assignment of.
    newest: i32,
    ended: Option<(Nanos, bool)>,
    /// It deletes what is committed.
    deletes: bool,
}

struct Group {
    /// Who owns a partition, by generation.
    owners: BTreeMap<(i32, i32), String>,
    newest: i32,
    /// By partition and number.
    commits: BTreeMap<i32, BTreeMap<i64, Attempt>>,
}

impl Default for Group {
    fn default() -> Group {
        Group { owners: BTreeMap::new(), newest: -1, commits: BTreeMap::new() }
    }
}

#[derive(Default)]
pub struct Claims {
    groups: BTreeMap<String, Group>,
    next: i64,
    /// Damage: coordinators may refuse.
    pub may_refuse: bool,
    /// Damage that nothing proves: anything may be lost.
    pub may_lose: bool,
    pub acked: u64,
}

impl Claims {
    /// A member was given these partitions.
    pub fn assigned(&mut self, group: &str, generation: i32, owner: &str, partitions: &[i32]) -> Verdict {
        let lax = self.may_lose;
        let known = self.groups.entry(group.into()).or_default();
        known.newest = known.newest.max(generation);
        for partition in partitions {
            let before = known.owners.entry((generation, *partition)).or_insert_with(|| owner.to_string());
            if before != owner && !lax {
                let detail =
                    format!("{group}: generation {generation} gives partition {partition} to {before} and to {owner}");
                return Err((Invariant::OneOwner, detail));
            }
        }
        Ok(())
    }

    /// A commit is about to be sent. Gives the number that stands for it.
    pub fn sent(&mut self, group: &str, generation: i32, partition: i32, now: Nanos) -> i64 {
        self.attempt(group, generation, partition, now, false)
    }

    /// A deletion of what is committed is about to be sent.
    pub fn deletes(&mut self, group: &str, partition: i32, now: Nanos) -> i64 {
        self.attempt(group, -1, partition, now, true)
    }

    fn attempt(&mut self, group: &str, generation: i32, partition: i32, now: Nanos, deletes: bool) -> i64 {
        self.next += 1;
        let known = self.groups.entry(group.into()).or_default();
        let attempt = Attempt { sent: now, generation, newest: known.newest, ended: None, deletes };
        known.commits.entry(partition).or_default().insert(self.next, attempt);
        self.next
    }

    /// A commit was answered.
    pub fn ended(&mut self, group: &str, partition: i32, number: i64, taken: bool, now: Nanos) -> Verdict {
        let lax = self.may_lose;
        let known = self.groups.get_mut(group).expect("it was sent");
        let attempt = known.commits.get_mut(&partition).and_then(|commits| commits.get_mut(&number));
        let attempt = attempt.expect("it was sent");
        attempt.ended = Some((now, taken));
        self.acked += u64::from(taken);
        if taken && attempt.generation < attempt.newest && !lax {
            let (generation, newest) = (attempt.generation, attempt.newest);
            let detail = format!(
                "{group}: a commit of generation {generation} for partition {partition} is taken, \
                 though generation {newest} had its assignment before it was sent"
            );
            return Err((Invariant::Fenced, detail));
        }
        Ok(())
    }

    /// A fetch that was sent at `asked` saw this commit, or none.
    pub fn fetched(&self, group: &str, partition: i32, seen: Option<i64>, asked: Nanos) -> Verdict {
        if self.may_lose {
            return Ok(());
        }
        let none = BTreeMap::new();
        let commits = self.groups.get(group).and_then(|known| known.commits.get(&partition)).unwrap_or(&none);
        let over = match seen {
            // The last deletion that may have been carried out, or that nothing was there ever.
            None => commits
                .values()
                .filter(|attempt| attempt.deletes && attempt.ended.is_none_or(|(_, taken)| taken))
                .map(|attempt| attempt.ended.map_or(Nanos::MAX, |(at, _)| at))
                .max()
                .unwrap_or(0),
            Some(number) => match commits.get(&number).map(|attempt| (attempt.ended, attempt.deletes)) {
                None | Some((_, true)) => {
                    let detail = format!("{group}: partition {partition} is at {number}, which nobody committed");
                    return Err((Invariant::Committed, detail));
                }
                Some((Some((_, false)), _)) => {
                    let detail = format!("{group}: partition {partition} is at {number}, which was refused");
                    return Err((Invariant::Committed, detail));
                }
                Some((Some((at, true)), _)) => at,
                Some((None, _)) => Nanos::MAX,
            },
        };
        let newer = commits.iter().find(|(number, attempt)| {
            let other = if seen.is_none() { !attempt.deletes } else { seen != Some(**number) };
            other && attempt.sent >= over && attempt.ended.is_some_and(|(at, taken)| taken && at < asked)
        });
        match newer {
            Some((number, _)) => {
                let detail = format!(
                    "{group}: partition {partition} is at {seen:?}, though commit {number} was sent after that had \
                     ended, and was acknowledged before anybody asked"
                );
                Err((Invariant::Committed, detail))
            }
            None => Ok(()),
        }
    }

    /// Every group of which anything is known.
    pub fn committed(&self) -> Vec<String> {
        self.groups.keys().cloned().collect()
    }
}
