//! The rebalance: everybody is to join, and a generation begins.
//!
//! Invariant: a join is answered exactly once; who is not there when a generation begins is out, static members apart.

use super::after_ms;
use super::group::{Member, Phase, Preparing};
use super::record::Record;
use super::request::{Decision, Reply};
use super::state::Coordinator;
use super::timers::Due;
use crate::boundary::Now;
use crate::wire::ErrorCode;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Coordinator {
    pub(super) fn prepare_or_complete(&mut self, now: Now, name: &Arc<str>, out: &mut Decision) {
        if self.groups[name].is_preparing() {
            self.complete_if_all_joined(now, name, out);
        } else {
            self.prepare(now, name, out);
        }
    }

    /// Starts a rebalance: everybody is to join.
    pub(super) fn prepare(&mut self, now: Now, name: &Arc<str>, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        if group.phase == Phase::Completing {
            self.refuse_syncs(now, name, ErrorCode::REBALANCE_IN_PROGRESS, out);
        }
        let group = self.groups.get_mut(name).expect("just seen");
        self.timers.cancel(group.sync_timer.take());
        group.pending_sync.clear();
        let initial = group.phase == Phase::Empty;
        let delay_ms = self.settings.initial_rebalance_delay_ms;
        let timeout_ms = group.rebalance_timeout_ms().max(0) as u64;
        let remaining_ms = timeout_ms.saturating_sub(delay_ms);
        group.transition(Phase::Preparing(Preparing { initial, newcomer: false, delay_ms, remaining_ms }), now.wall);
        if !initial && group.has_all_joined() {
            return self.complete_join(now, name, out);
        }
        let wait_ms = if initial { delay_ms } else { timeout_ms };
        self.set_join_timer(now, name, wait_ms);
    }

    fn set_join_timer(&mut self, now: Now, name: &Arc<str>, wait_ms: u64) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        self.timers.cancel(group.join_timer.take());
        let at = after_ms(now.mono, wait_ms as i64);
        group.join_timer = Some(self.timers.set(at, Due::Join { group: name.clone() }));
    }

    pub(super) fn on_join_due(&mut self, now: Now, name: &Arc<str>, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("a group's timers go with it");
        group.join_timer = None;
        let Phase::Preparing(preparing) = &mut group.phase else { return };
        if preparing.initial && preparing.newcomer && preparing.remaining_ms > 0 {
            preparing.newcomer = false;
            let spent = preparing.delay_ms;
            preparing.delay_ms = self.settings.initial_rebalance_delay_ms.min(preparing.remaining_ms);
            preparing.remaining_ms = preparing.remaining_ms.saturating_sub(spent);
            let wait_ms = preparing.delay_ms;
            return self.set_join_timer(now, name, wait_ms);
        }
        self.complete_join(now, name, out);
    }

    /// Unless the group waits for its first members to gather.
    pub(super) fn complete_if_all_joined(&mut self, now: Now, name: &Arc<str>, out: &mut Decision) {
        let group = &self.groups[name];
        let Phase::Preparing(preparing) = group.phase else { return };
        if !preparing.initial && group.has_all_joined() {
            self.complete_join(now, name, out);
        }
    }

    /// The join is over: who has not come again is out, static members apart; a generation begins.
    pub(super) fn complete_join(&mut self, now: Now, name: &Arc<str>, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        self.timers.cancel(group.join_timer.take());
        let late = |member: &Member| member.join.is_none() && member.instance.is_none();
        let gone: Vec<String> =
            group.members.iter().filter(|(_, member)| late(member)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.drop_member(name, &id);
        }
        let group = self.groups.get_mut(name).expect("just seen");
        let led = group.leader.as_ref().is_some_and(|leader| group.members[leader].join.is_some());
        if !led {
            // A static leader that is away cannot assign.
            let next = group.members.iter().find(|(_, member)| member.join.is_some()).map(|(id, _)| id.clone());
            if next.is_none() && !group.members.is_empty() {
                let wait_ms = group.rebalance_timeout_ms().max(0) as u64;
                return self.set_join_timer(now, name, wait_ms);
            }
            group.leader = next;
        }
        group.generation = group.generation.checked_add(1).unwrap_or(1);
        if group.members.is_empty() {
            group.protocol = None;
            group.subscribed = group.protocol_type.as_deref().map(|_| Default::default());
            group.transition(Phase::Empty, now.wall);
            let value = group.to_value(|_, member| &member.assignment);
            out.records.push(Record::Group { group: name.clone(), value: Some(value) });
            return;
        }
        group.protocol = group.select_protocol();
        group.subscribed = group.subscribed_topics();
        group.transition(Phase::Completing, now.wall);
        self.answer_joins(now, name, out);
    }

    fn answer_joins(&mut self, now: Now, name: &Arc<str>, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        let ids: Vec<(String, i32)> =
            group.members.iter().map(|(id, member)| (id.clone(), member.session_timeout_ms)).collect();
        for (id, session_timeout_ms) in ids {
            let group = self.groups.get_mut(name).expect("just seen");
            let reply = group.joined(&id);
            let answered = |member: &mut Member| {
                member.is_new = false;
                member.join.take()
            };
            let waiting = group.members.change(&id, answered).expect("just seen");
            group.pending_sync.insert(id.clone());
            if let Some(call) = waiting {
                out.replies.push((call, Reply::Joined(reply)));
            }
            self.expect_in(now, name, &id, session_timeout_ms.into());
        }
        let group = self.groups.get_mut(name).expect("just seen");
        let at = after_ms(now.mono, group.rebalance_timeout_ms());
        group.sync_timer = Some(self.timers.set(at, Due::Sync { group: name.clone() }));
    }

    /// The member is to be heard of again within so many milliseconds.
    pub(super) fn expect_in(&mut self, now: Now, name: &Arc<str>, id: &str, ms: i64) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        let timers = &mut self.timers;
        group.members.change(id, |member| {
            timers.cancel(member.session.take());
            let due = Due::Session { group: name.clone(), member: id.into() };
            member.session = Some(timers.set(after_ms(now.mono, ms), due));
        });
    }
}
