//! JoinGroup: who comes in, and under which id.
//!
//! Invariant: a join is answered exactly once: with its generation, with an error, or when its member goes.

use super::after_ms;
use super::group::{Group, Member, Phase};
use super::record::Record;
use super::request::{Call, Decision, Join, Joined, Reply};
use super::state::Coordinator;
use super::timers::Due;
use crate::boundary::Now;
use crate::wire::ErrorCode;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// How long a member that was never answered is kept: it may be gone, and its connection cannot tell.
const NEW_MEMBER_TIMEOUT_MS: i64 = 300_000;

impl Coordinator {
    pub(super) fn join(&mut self, now: Now, call: Call, join: Join, out: &mut Decision) {
        if let Err(error) = self.may_join(&join) {
            return out.replies.push((call, Reply::Joined(Joined::error(error, &join.member))));
        }
        let name: Arc<str> = Arc::from(join.group.as_str());
        let is_unknown = join.member.is_empty();
        if !self.groups.contains_key(&name) {
            if !is_unknown {
                let reply = Joined::error(ErrorCode::UNKNOWN_MEMBER_ID, &join.member);
                return out.replies.push((call, Reply::Joined(reply)));
            }
            self.groups.insert(name.clone(), Group::new(now.wall));
        }
        let group = self.groups.get_mut(&name).expect("just made");
        let refused = if !accepts(group, &join.member, self.settings.size_max) {
            Some((ErrorCode::GROUP_MAX_SIZE_REACHED, ""))
        } else if !group.speaks(&join.protocol_type, &join.protocols) {
            Some((ErrorCode::INCONSISTENT_GROUP_PROTOCOL, join.member.as_str()))
        } else {
            None
        };
        if let Some((error, member)) = refused {
            out.replies.push((call, Reply::Joined(Joined::error(error, member))));
            if error == ErrorCode::GROUP_MAX_SIZE_REACHED && !is_unknown {
                self.remove_member(now, &name, &join.member, out);
            }
            return self.forget_if_unused(&name);
        }
        if is_unknown {
            self.join_new(now, call, &name, join, out);
        } else if self.groups[&name].pending.contains_key(&join.member) {
            let id = join.member.clone();
            self.cancel_pending(&name, &id);
            self.add_member(now, call, &name, id, join, out);
        } else {
            self.join_again(now, call, &name, join, out);
        }
    }

    /// What is wrong with a join, whatever the group is.
    fn may_join(&self, join: &Join) -> Result<(), ErrorCode> {
        if join.group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if !(self.settings.session_min_ms..=self.settings.session_max_ms).contains(&join.session_timeout_ms) {
            return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        let bytes: usize = join.protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum();
        // What can never be recorded would only end in a generation that cannot begin.
        if bytes > self.settings.record_bytes_max {
            return Err(ErrorCode::UNKNOWN_SERVER_ERROR);
        }
        if self.bytes + bytes > self.settings.memory_max {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        Ok(())
    }

    fn join_new(&mut self, now: Now, call: Call, name: &Arc<str>, join: Join, out: &mut Decision) {
        let id = member_id(&join);
        let group = self.groups.get_mut(name).expect("the caller has it");
        if let Some(instance) = &join.instance {
            return match group.statics.get(instance).cloned() {
                Some(old) => self.replace_static(now, call, name, &old, id, join, out),
                None => self.add_member(now, call, name, id, join, out),
            };
        }
        if !join.id_required {
            return self.add_member(now, call, name, id, join, out);
        }
        let due = Due::Session { group: name.clone(), member: id.clone() };
        let timer = self.timers.set(after_ms(now.mono, join.session_timeout_ms.into()), due);
        group.pending.insert(id.clone(), timer);
        self.bytes += PENDING_BYTES;
        out.replies.push((call, Reply::Joined(Joined::error(ErrorCode::MEMBER_ID_REQUIRED, &id))));
    }

    /// Somebody who was in it before.
    fn join_again(&mut self, now: Now, call: Call, name: &Arc<str>, join: Join, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        let id = join.member.clone();
        if let Err(error) = group.validate(&id, join.instance.as_deref()) {
            return out.replies.push((call, Reply::Joined(Joined::error(error, &id))));
        }
        let is_leader = group.leader.as_deref() == Some(&id);
        let same = group.members[&id].protocols == join.protocols;
        match group.phase {
            // It has not had the answer, or has: either way this is the generation it belongs to.
            Phase::Completing if same => out.replies.push((call, Reply::Joined(group.joined(&id)))),
            Phase::Stable if same && !is_leader => {
                let reply = Joined { members: Vec::new(), ..group.joined(&id) };
                out.replies.push((call, Reply::Joined(reply)));
            }
            Phase::Preparing(_) | Phase::Completing | Phase::Stable => {
                self.update_member(call, name, &id, join, out);
                self.prepare_or_complete(now, name, out);
            }
            Phase::Empty => {
                out.replies.push((call, Reply::Joined(Joined::error(ErrorCode::UNKNOWN_MEMBER_ID, &id))));
            }
        }
    }

    fn update_member(&mut self, call: Call, name: &Arc<str>, id: &str, join: Join, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        let mut member = group.members.remove(id).expect("a member joins again");
        self.bytes -= member.bytes();
        member.protocols = join.protocols;
        member.rebalance_timeout_ms = join.rebalance_timeout_ms;
        member.session_timeout_ms = join.session_timeout_ms;
        self.bytes += member.bytes();
        let before = member.join.replace(call);
        group.members.insert(id.into(), member);
        if let Some(before) = before {
            // It has asked again over another connection: nobody reads the answer to the first.
            out.replies.push((before, Reply::Joined(Joined::error(ErrorCode::REBALANCE_IN_PROGRESS, id))));
        }
    }

    fn add_member(&mut self, now: Now, call: Call, name: &Arc<str>, id: String, join: Join, out: &mut Decision) {
        let group = self.groups.get_mut(name).expect("the caller has it");
        if let Phase::Preparing(preparing) = &mut group.phase {
            preparing.newcomer = true;
        }
        if let Some(instance) = &join.instance {
            group.statics.insert(instance.clone(), id.clone());
        }
        if group.members.is_empty() {
            group.protocol_type = Some(join.protocol_type);
        }
        let member = Member {
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            is_new: true,
            join: Some(call),
            sync: None,
            session: None,
        };
        self.bytes += member.bytes();
        group.leader.get_or_insert_with(|| id.clone());
        let other = group.members.insert(id.clone(), member);
        assert!(other.is_none(), "member {id} of group {name} is added twice");
        self.expect_in(now, name, &id, NEW_MEMBER_TIMEOUT_MS);
        self.prepare_or_complete(now, name, out);
    }

    /// A static member has come back under a new id: the old one is a zombie from now on.
    #[allow(clippy::too_many_arguments)]
    fn replace_static(
        &mut self,
        now: Now,
        call: Call,
        name: &Arc<str>,
        old: &str,
        id: String,
        join: Join,
        out: &mut Decision,
    ) {
        let can_skip = join.can_skip;
        let group = self.groups.get_mut(name).expect("the caller has it");
        let led_before = group.leader.clone();
        let mut member = group.members.remove(old).expect("a static member is a member");
        self.timers.cancel(member.session.take());
        if let Some(join) = member.join.take() {
            out.replies.push((join, Reply::Joined(Joined::error(ErrorCode::FENCED_INSTANCE_ID, old))));
        }
        if let Some(sync) = member.sync.take() {
            out.replies.push((sync, Reply::Synced(super::Synced::error(ErrorCode::FENCED_INSTANCE_ID))));
        }
        group.members.insert(id.clone(), member);
        group.statics.insert(join.instance.clone().expect("a static member has an instance id"), id.clone());
        if group.pending_sync.remove(old) {
            group.pending_sync.insert(id.clone());
        }
        if group.leader.as_deref() == Some(old) {
            group.leader = Some(id.clone());
        }
        let session_timeout_ms = join.session_timeout_ms;
        self.update_member(call, name, &id, join, out);
        self.expect_in(now, name, &id, session_timeout_ms.into());
        let group = self.groups.get_mut(name).expect("just seen");
        match group.phase {
            Phase::Stable if group.protocol == group.select_protocol() => {
                // Nothing changes but the name: the assignment stays, and the log learns the new id.
                let answered = |member: &mut Member| (member.join, member.is_new) = (None, false);
                group.members.change(&id, answered).expect("just put there");
                group.since = now.wall;
                let is_leader = group.leader.as_deref() == Some(&id);
                let mut reply = group.joined(&id);
                if can_skip {
                    reply.skip_assignment = is_leader;
                } else {
                    // A client that cannot be told to skip must not think that it leads.
                    reply.leader = led_before.unwrap_or_default();
                    reply.members = Vec::new();
                }
                let value = group.to_value(|_, member| &member.assignment);
                out.records.push(Record::Group { group: name.clone(), value: Some(value) });
                out.replies.push((call, Reply::Joined(reply)));
            }
            // The leader may be assigning to the old id just now.
            Phase::Stable | Phase::Completing => self.prepare(now, name, out),
            Phase::Preparing(_) => self.complete_if_all_joined(now, name, out),
            Phase::Empty => panic!("group {name} is empty, but has the static member {id}"),
        }
    }

    pub(super) fn cancel_pending(&mut self, name: &Arc<str>, id: &str) -> bool {
        let group = self.groups.get_mut(name).expect("the caller has it");
        let timer = group.pending.remove(id);
        if timer.is_some() {
            self.bytes -= PENDING_BYTES;
        }
        self.timers.cancel(timer);
        timer.is_some()
    }
}

/// About what an id takes that was given out.
pub(super) const PENDING_BYTES: usize = 256;

impl Group {
    /// The generation, as a member is told of it; the leader gets everybody's metadata.
    pub(super) fn joined(&self, id: &str) -> Joined {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter();
        let members = members.map(|(id, member)| (id.clone(), member.instance.clone(), member.metadata(protocol)));
        let is_leader = self.leader.as_deref() == Some(id);
        Joined {
            error: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member: id.into(),
            members: if is_leader { members.collect() } else { Vec::new() },
        }
    }

    /// Whether this is a member of ours, and under an instance id the one that holds it.
    pub(super) fn validate(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(current) if current != id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }
}

/// Whether there is room for one more, or for this one.
fn accepts(group: &Group, id: &str, size_max: usize) -> bool {
    let known = group.members.get(id);
    // Ids that were given out count as well, or they could be had without end.
    let pending = if group.pending.contains_key(id) { 0 } else { group.pending.len() };
    match group.phase {
        Phase::Empty => pending < size_max,
        Phase::Preparing(_) => {
            known.is_some_and(|member| member.join.is_some()) || group.members.joining() + pending < size_max
        }
        Phase::Completing | Phase::Stable => known.is_some() || group.members.len() + pending < size_max,
    }
}

/// Kafka's form: who it says it is, and a random UUID.
fn member_id(join: &Join) -> String {
    let mut uuid = join.entropy;
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    format!("{}-{text}", join.instance.as_ref().unwrap_or(&join.client_id))
}

/// Assignments by member, for a record.
pub(super) fn by_member(assignments: Vec<(String, Bytes)>) -> BTreeMap<String, Bytes> {
    assignments.into_iter().collect()
}
