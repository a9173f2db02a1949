//! The members of a group, and what is asked of all of them at every join, counted as they change.
//!
//! Invariant: `joining` and `speakers` are what a look at each member would find: a group of ten thousand costs no more to
//! join than one of ten.

use super::group::Member;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use core::ops::Deref;

/// By their ids; read like a map.
#[derive(Clone, Debug, Default)]
pub struct Members {
    all: BTreeMap<String, Member>,
    /// How many wait for an answer to their join.
    joining: usize,
    /// How many speak a protocol, by its name.
    speakers: BTreeMap<String, usize>,
}

impl Deref for Members {
    type Target = BTreeMap<String, Member>;

    fn deref(&self) -> &BTreeMap<String, Member> {
        &self.all
    }
}

impl Members {
    pub fn insert(&mut self, id: String, member: Member) -> Option<Member> {
        let before = self.remove(&id);
        self.joining += usize::from(member.join.is_some());
        self.speaks(&member);
        self.all.insert(id, member);
        before
    }

    pub fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.all.remove(id)?;
        self.joining -= usize::from(member.join.is_some());
        self.spoke(&member);
        Some(member)
    }

    /// Changes a member, all but its protocols. `None`: there is no such member.
    pub fn change<R>(&mut self, id: &str, change: impl FnOnce(&mut Member) -> R) -> Option<R> {
        let member = self.all.get_mut(id)?;
        self.joining -= usize::from(member.join.is_some());
        let result = change(member);
        self.joining += usize::from(member.join.is_some());
        Some(result)
    }

    /// Changes every member, all but what it joins with.
    pub fn change_all(&mut self, mut change: impl FnMut(&str, &mut Member)) {
        for (id, member) in &mut self.all {
            let joins = member.join;
            change(id, member);
            assert_eq!(member.join, joins, "the join of {id}");
        }
    }

    pub fn joining(&self) -> usize {
        self.joining
    }

    /// Whether every member speaks this protocol.
    pub fn all_speak(&self, protocol: &str) -> bool {
        self.speakers.get(protocol).copied().unwrap_or(0) == self.all.len()
    }

    fn speaks(&mut self, member: &Member) {
        for name in names(member) {
            match self.speakers.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(self.speakers.insert(name.to_string(), 1)),
            }
        }
    }

    fn spoke(&mut self, member: &Member) {
        for name in names(member) {
            let count = self.speakers.get_mut(name).expect("it was counted");
            *count -= 1;
            if *count == 0 {
                self.speakers.remove(name);
            }
        }
    }

    pub fn check(&self) {
        let joining = self.all.values().filter(|member| member.join.is_some()).count();
        assert_eq!(self.joining, joining, "members that join");
        let mut speakers: BTreeMap<&str, usize> = BTreeMap::new();
        self.all.values().flat_map(names).for_each(|name| *speakers.entry(name).or_default() += 1);
        let counted: BTreeMap<&str, usize> =
            self.speakers.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(counted, speakers, "members by protocol");
    }
}

/// The protocols that a member speaks, each once.
fn names(member: &Member) -> BTreeSet<&str> {
    member.protocols.iter().map(|(name, _)| name.as_str()).collect()
}
