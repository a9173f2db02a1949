//! SyncGroup and Heartbeat: a generation gets its assignment, and its members stay.
//!
//! Invariant: an assignment leaves only when the record that holds it is committed, since replies wait for it; so no two
//! members of one generation are ever told that they own the same thing by two assignments.

use super::group::Phase;
use super::record::Record;
use super::request::{Call, Decision, Membership, Reply, Sync, Synced};
use super::state::Coordinator;
use crate::boundary::Now;
use crate::wire::ErrorCode;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

impl Coordinator {
    pub(super) fn sync(&mut self, now: Now, call: Call, sync: Sync, out: &mut Decision) {
        if let Err(error) = self.may_sync(&sync) {
            return out.replies.push((call, Reply::Synced(Synced::error(error))));
        }
        let (name, group) = self.groups.get_key_value(sync.who.group.as_str()).expect("just seen");
        let (name, id) = (name.clone(), sync.who.member);
        match group.phase {
            Phase::Completing => {
                let group = self.groups.get_mut(&name).expect("just seen");
                group.pending_sync.remove(&id);
                let is_leader = group.leader.as_deref() == Some(&id);
                let before = group.members.change(&id, |member| member.sync.replace(call)).expect("just seen");
                if let Some(before) = before {
                    let reply = Reply::Synced(Synced::error(ErrorCode::REBALANCE_IN_PROGRESS));
                    out.replies.push((before, reply));
                }
                if is_leader {
                    self.assign(now, &name, sync.assignments, out);
                }
            }
            Phase::Stable => {
                let group = self.groups.get_mut(&name).expect("just seen");
                group.pending_sync.remove(&id);
                let reply = Synced {
                    error: ErrorCode::NONE,
                    protocol_type: group.protocol_type.clone(),
                    protocol: group.protocol.clone(),
                    assignment: group.members[&id].assignment.clone(),
                };
                out.replies.push((call, Reply::Synced(reply)));
                self.cancel_sync_timer_if_all_synced(&name);
            }
            Phase::Preparing(_) | Phase::Empty => {
                out.replies.push((call, Reply::Synced(Synced::error(ErrorCode::REBALANCE_IN_PROGRESS))));
            }
        }
    }

    fn may_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        if sync.is_unnamed {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if sync.who.group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let group = self.groups.get(sync.who.group.as_str()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        group.validate(&sync.who.member, sync.who.instance.as_deref())?;
        if sync.who.generation != group.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |said: &Option<String>, is: &Option<String>| said.is_some() && said != is;
        if differs(&sync.protocol_type, &group.protocol_type) || differs(&sync.protocol, &group.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        Ok(())
    }

    /// The leader's assignment: recorded, then handed to who waits.
    fn assign(&mut self, now: Now, name: &Arc<str>, assignments: Vec<(String, Bytes)>, out: &mut Decision) {
        let assignments = super::join::by_member(assignments);
        let group = self.groups.get_mut(name).expect("the caller has it");
        let before = group.since;
        group.transition(Phase::Stable, now.wall);
        let empty: &[u8] = &[];
        let value = group.to_value(|id, _| assignments.get(id).map_or(empty, |bytes| bytes));
        if value.len() > self.settings.record_bytes_max {
            group.transition(Phase::Completing, before);
            self.refuse_syncs(now, name, ErrorCode::UNKNOWN_SERVER_ERROR, out);
            return self.prepare(now, name, out);
        }
        let mut heard = Vec::new();
        let (protocol_type, protocol, bytes) = (&group.protocol_type, &group.protocol, &mut self.bytes);
        group.members.change_all(|id, member| {
            *bytes -= member.bytes();
            // A copy of its own: a slice would keep the leader's whole request in memory.
            member.assignment = assignments.get(id).map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default();
            *bytes += member.bytes();
            if let Some(call) = member.sync.take() {
                let reply = Synced {
                    error: ErrorCode::NONE,
                    protocol_type: protocol_type.clone(),
                    protocol: protocol.clone(),
                    assignment: member.assignment.clone(),
                };
                out.replies.push((call, Reply::Synced(reply)));
                heard.push((String::from(id), member.session_timeout_ms));
            }
        });
        out.records.push(Record::Group { group: name.clone(), value: Some(value) });
        for (id, session_timeout_ms) in heard {
            self.expect_in(now, name, &id, session_timeout_ms.into());
        }
        self.cancel_sync_timer_if_all_synced(name);
    }

    fn cancel_sync_timer_if_all_synced(&mut self, name: &Arc<str>) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        if group.pending_sync.is_empty() {
            self.timers.cancel(group.sync_timer.take());
        }
    }

    /// Answers everybody who waits for the assignment that it will not come.
    pub(super) fn refuse_syncs(&mut self, now: Now, name: &Arc<str>, error: ErrorCode, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        let mut heard = Vec::new();
        let bytes = &mut self.bytes;
        group.members.change_all(|id, member| {
            *bytes -= member.bytes();
            member.assignment = Bytes::new();
            *bytes += member.bytes();
            if let Some(call) = member.sync.take() {
                out.replies.push((call, Reply::Synced(Synced::error(error))));
                heard.push((String::from(id), member.session_timeout_ms));
            }
        });
        for (id, session_timeout_ms) in heard {
            self.expect_in(now, name, &id, session_timeout_ms.into());
        }
    }

    /// Members have had their time to sync: who has not is out.
    pub(super) fn on_sync_due(&mut self, now: Now, name: &Arc<str>, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("a group's timers go with it");
        group.sync_timer = None;
        if group.pending_sync.is_empty() || !matches!(group.phase, Phase::Completing | Phase::Stable) {
            return;
        }
        let late: Vec<String> = core::mem::take(&mut group.pending_sync).into_iter().collect();
        for id in late {
            self.drop_member(name, &id);
        }
        self.prepare(now, name, out);
    }

    pub(super) fn heartbeat(&mut self, now: Now, call: Call, who: &Membership, out: &mut Decision) {
        let error = match self.may_beat(who) {
            Err(error) => error,
            Ok(name) => {
                let group = &self.groups[&name];
                let (phase, timeout_ms) = (group.phase, group.members[&who.member].session_timeout_ms);
                self.expect_in(now, &name, &who.member, timeout_ms.into());
                match phase {
                    Phase::Preparing(_) => ErrorCode::REBALANCE_IN_PROGRESS,
                    Phase::Completing | Phase::Stable => ErrorCode::NONE,
                    Phase::Empty => ErrorCode::UNKNOWN_MEMBER_ID,
                }
            }
        };
        out.replies.push((call, Reply::Error(error)));
    }

    fn may_beat(&self, who: &Membership) -> Result<Arc<str>, ErrorCode> {
        if who.group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let (name, group) = self.groups.get_key_value(who.group.as_str()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        group.validate(&who.member, who.instance.as_deref())?;
        if who.generation != group.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        Ok(name.clone())
    }
}
