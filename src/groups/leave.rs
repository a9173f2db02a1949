//! LeaveGroup and sessions that ran out: how members go.

use super::group::Phase;
use super::request::{Call, Decision, Joined, Leave, Reply, Synced};
use super::state::Coordinator;
use crate::boundary::Now;
use crate::wire::ErrorCode;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Coordinator {
    pub(super) fn leave(&mut self, now: Now, call: Call, leave: &Leave, out: &mut Decision) {
        if leave.group.is_empty() {
            let left = Reply::Left { error: ErrorCode::INVALID_GROUP_ID, members: Vec::new() };
            return out.replies.push((call, left));
        }
        let Some((name, _)) = self.groups.get_key_value(leave.group.as_str()) else {
            // Nobody is known there: as Kafka says it, of each member and not of the request.
            let members = leave.members.iter().map(|_| ErrorCode::UNKNOWN_MEMBER_ID).collect();
            return out.replies.push((call, Reply::Left { error: ErrorCode::NONE, members }));
        };
        let name = name.clone();
        let mut members = Vec::with_capacity(leave.members.len());
        let mut any = false;
        for (id, instance) in &leave.members {
            let left = self.leave_one(&name, id, instance.as_deref(), out);
            any |= left.is_ok();
            members.push(left.err().unwrap_or_default());
        }
        if any {
            self.after_removal(now, &name, out);
        }
        out.replies.push((call, Reply::Left { error: ErrorCode::NONE, members }));
        self.forget_if_unused(&name);
    }

    fn leave_one(
        &mut self,
        name: &Arc<str>,
        id: &str,
        instance: Option<&str>,
        out: &mut Decision,
    ) -> Result<(), ErrorCode> {
        let group = &self.groups[name];
        let id: String = match instance {
            // An administrator removes a static member by its instance id alone.
            Some(instance) if id.is_empty() => {
                group.statics.get(instance).cloned().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?
            }
            Some(_) | None => id.into(),
        };
        if self.cancel_pending(name, &id) {
            return Ok(());
        }
        if !id.is_empty() {
            self.groups[name].validate(&id, instance)?;
        } else {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.expel(name, &id, out);
        Ok(())
    }

    /// Takes a member out and answers what it waits for.
    pub(super) fn expel(&mut self, name: &Arc<str>, id: &str, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        let waits = group.members.change(id, |member| (member.join.take(), member.sync.take()));
        let Some((join, sync)) = waits else { return };
        if let Some(call) = join {
            out.replies.push((call, Reply::Joined(Joined::error(ErrorCode::UNKNOWN_MEMBER_ID, ""))));
        }
        if let Some(call) = sync {
            out.replies.push((call, Reply::Synced(Synced::error(ErrorCode::UNKNOWN_MEMBER_ID))));
        }
        self.drop_member(name, id);
    }

    /// Takes a member out that waits for nothing.
    pub(super) fn drop_member(&mut self, name: &Arc<str>, id: &str) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        if let Some(member) = group.remove(id) {
            assert!(member.join.is_none() && member.sync.is_none(), "member {id} of {name} goes unanswered");
            self.bytes -= member.bytes();
            self.timers.cancel(member.session);
        }
    }

    pub(super) fn remove_member(&mut self, now: Now, name: &Arc<str>, id: &str, out: &mut Decision) {
        if self.cancel_pending(name, id) || self.groups[name].members.contains_key(id) {
            self.expel(name, id, out);
            self.after_removal(now, name, out);
        }
    }

    /// Somebody is gone: the others share anew, or need not wait any longer.
    fn after_removal(&mut self, now: Now, name: &Arc<str>, out: &mut Decision) {
        match self.groups[name].phase {
            Phase::Stable | Phase::Completing => self.prepare(now, name, out),
            Phase::Preparing(_) if self.groups[name].members.is_empty() => self.complete_join(now, name, out),
            Phase::Preparing(_) => self.complete_if_all_joined(now, name, out),
            Phase::Empty => {}
        }
    }

    pub(super) fn on_session_due(&mut self, now: Now, name: &Arc<str>, id: &str, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("a group's timers go with it");
        if group.pending.remove(id).is_some() {
            self.bytes -= super::join::PENDING_BYTES;
            self.complete_if_all_joined(now, name, out);
            return self.forget_if_unused(name);
        }
        // A member that waits for us is not silent; a new one may be gone all the same.
        let silent = group.members.change(id, |member| {
            member.session = None;
            member.is_new || (member.join.is_none() && member.sync.is_none())
        });
        if silent != Some(true) {
            return;
        }
        self.expel(name, id, out);
        self.after_removal(now, name, out);
    }
}
