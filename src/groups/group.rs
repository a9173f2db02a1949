//! One group: its members, its generation, what it has committed.
//!
//! ```text
//!              join                 all have joined              the leader's assignment
//!   Empty ───────────▶ Preparing ─────────────────▶ Completing ───────────────────────────▶ Stable
//!     ▲                  │  ▲                           │ join, leave, timeout                │
//!     └──────────────────┘  └───────────────────────────┴─────────────────────────────────────┘
//!       everybody has left
//! ```
//!
//! Invariant (`check`): a group without members is Empty or Preparing; the leader is a member; the static members' ids are
//! those of members; only Preparing has waiting joins, only Completing waiting syncs.

use super::members::Members;
use super::record::{self, Committed};
use super::request::Call;
use super::timers::TimerId;
use crate::boundary::Timestamp;
use crate::wire::DecodeError;
use crate::wire::group_records::{GroupMetadataValue, MemberMetadata};
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

/// The protocol type of Kafka's own consumers, whose metadata is known to name topics.
pub const CONSUMER: &str = "consumer";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Empty,
    /// Waiting for members to join.
    Preparing(Preparing),
    /// Waiting for the leader's assignment.
    Completing,
    Stable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparing {
    /// The group was empty: it waits for others to come, whoever has joined.
    pub initial: bool,
    /// Somebody came since the last wait began.
    pub newcomer: bool,
    /// This wait, and how long it may be prolonged, in milliseconds.
    pub delay_ms: u64,
    pub remaining_ms: u64,
}

impl Phase {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Preparing(_) => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Member {
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// Has not been answered yet, and may be gone without anybody knowing.
    pub is_new: bool,
    pub join: Option<Call>,
    pub sync: Option<Call>,
    pub session: Option<TimerId>,
}

impl Member {
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub fn bytes(&self) -> usize {
        let protocols: usize = self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len() + 48).sum();
        256 + self.client_id.len() + self.client_host.len() + protocols + self.assignment.len()
    }
}

/// A committed offset, and where its record stands in the log.
#[derive(Clone, Debug)]
pub struct Stored {
    pub committed: Committed,
    pub at: i64,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub phase: Phase,
    pub generation: i32,
    /// `None`: offsets are committed without membership.
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// When the phase began.
    pub since: Timestamp,
    pub members: Members,
    /// Member ids by instance id.
    pub statics: BTreeMap<String, String>,
    /// Ids that were given out and have not joined, with their session's timer.
    pub pending: BTreeMap<String, TimerId>,
    /// Members that have their join's answer and have not synced.
    pub pending_sync: BTreeSet<String>,
    /// The topics that members read, where that is known.
    pub subscribed: Option<BTreeSet<String>>,
    pub join_timer: Option<TimerId>,
    pub sync_timer: Option<TimerId>,
    pub offsets: BTreeMap<Arc<str>, BTreeMap<i32, Stored>>,
    /// The last record of the group itself: its value and where it stands.
    pub recorded: Option<(i64, Bytes)>,
}

impl Group {
    pub fn new(now: Timestamp) -> Group {
        Group {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            since: now,
            members: Members::default(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            subscribed: None,
            join_timer: None,
            sync_timer: None,
            offsets: BTreeMap::new(),
            recorded: None,
        }
    }

    /// What the group's record says, its members' sessions not yet begun.
    pub fn from_record(value: &[u8], now: Timestamp) -> Result<Group, DecodeError> {
        let recorded = record::decode_group(value)?;
        let protocol = recorded.protocol.as_deref().map(ToString::to_string);
        let mut group = Group {
            phase: if recorded.members.is_empty() { Phase::Empty } else { Phase::Stable },
            generation: recorded.generation,
            protocol_type: (!recorded.protocol_type.is_empty()).then(|| recorded.protocol_type.to_string()),
            protocol: protocol.clone(),
            leader: recorded.leader.as_deref().map(ToString::to_string),
            since: if recorded.current_state_timestamp < 0 { now } else { Timestamp(recorded.current_state_timestamp) },
            ..Group::new(now)
        };
        for member in &recorded.members {
            let id = member.member_id.to_string();
            let instance = member.group_instance_id.as_deref().map(ToString::to_string);
            if let Some(instance) = &instance {
                group.statics.insert(instance.clone(), id.clone());
            }
            let rebalance_timeout_ms =
                if member.rebalance_timeout < 0 { member.session_timeout } else { member.rebalance_timeout };
            let subscription = Bytes::copy_from_slice(&member.subscription);
            let restored = Member {
                instance,
                client_id: member.client_id.to_string(),
                client_host: member.client_host.to_string(),
                rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout,
                protocols: vec![(protocol.clone().unwrap_or_default(), subscription)],
                assignment: Bytes::copy_from_slice(&member.assignment),
                is_new: false,
                join: None,
                sync: None,
                session: None,
            };
            group.members.insert(id, restored);
        }
        if group.leader.as_ref().is_none_or(|leader| !group.members.contains_key(leader)) {
            group.leader = group.members.keys().next().cloned();
        }
        group.subscribed = group.subscribed_topics();
        Ok(group)
    }

    /// The record of the group as it is, with these assignments.
    pub fn to_value<'a>(&'a self, assignment: impl Fn(&str, &'a Member) -> &'a [u8]) -> Bytes {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let metadata: Vec<Bytes> = self.members.values().map(|member| member.metadata(protocol)).collect();
        let members = self.members.iter().zip(&metadata).map(|((id, member), metadata)| MemberMetadata {
            member_id: Cow::Borrowed(id),
            group_instance_id: member.instance.as_deref().map(Cow::Borrowed),
            client_id: Cow::Borrowed(&member.client_id),
            client_host: Cow::Borrowed(&member.client_host),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: Cow::Borrowed(metadata),
            assignment: Cow::Borrowed(assignment(id, member)),
        });
        let members = members.collect();
        record::encode_group(&GroupMetadataValue {
            protocol_type: Cow::Borrowed(self.protocol_type.as_deref().unwrap_or_default()),
            generation: self.generation,
            protocol: self.protocol.as_deref().map(Cow::Borrowed),
            leader: self.leader.as_deref().map(Cow::Borrowed),
            current_state_timestamp: self.since.0,
            members,
        })
    }

    pub fn transition(&mut self, phase: Phase, now: Timestamp) {
        self.phase = phase;
        self.since = now;
    }

    /// Nothing is known of it but, perhaps, offsets.
    pub fn is_blank(&self) -> bool {
        self.generation == 0 && self.protocol_type.is_none() && self.members.is_empty() && self.pending.is_empty()
    }

    pub fn is_preparing(&self) -> bool {
        matches!(self.phase, Phase::Preparing(_))
    }

    pub fn has_all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.joining() == self.members.len()
    }

    /// The longest that any member may take to join again.
    pub fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    /// Whether somebody who speaks this would have a protocol in common with all members.
    pub fn speaks(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let common = |(name, _): &(String, Bytes)| self.members.all_speak(name);
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(common)
    }

    /// The protocol that most members like best among those that all speak.
    pub fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, (usize, core::cmp::Reverse<usize>)> = BTreeMap::new();
        let first = self.members.values().next()?;
        for member in self.members.values() {
            let choice =
                member.protocols.iter().map(|(name, _)| name.as_str()).find(|name| self.members.all_speak(name))?;
            let rank = || first.protocols.iter().position(|(name, _)| name == choice).unwrap_or(usize::MAX);
            votes.entry(choice).or_insert_with(|| (0, core::cmp::Reverse(rank()))).0 += 1;
        }
        // Where votes are equal, what an older member likes better.
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(name, _)| name.to_string())
    }

    /// What the members read, if they are Kafka's consumers and all say it.
    pub fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(protocol);
            topics.extend(record::subscribed_topics(&metadata).ok()?.into_iter().map(Cow::into_owned));
        }
        Some(topics)
    }

    /// Whether members read the topic, as far as one can know.
    pub fn reads(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.protocol_type.as_deref() == Some(CONSUMER) && !self.members.is_empty(),
        }
    }

    /// Takes a member out; the caller has answered it.
    pub fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance
            && self.statics.get(instance).is_some_and(|current| current == id)
        {
            self.statics.remove(instance);
        }
        self.pending_sync.remove(id);
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Nobody is, or was told that they may be, in it, and nothing of it is recorded.
    pub fn is_forgettable(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty() && self.offsets.is_empty() && self.recorded.is_none()
    }

    pub fn check(&self, name: &str) {
        self.members.check();
        let phase = self.phase;
        let may_be_empty = matches!(phase, Phase::Empty | Phase::Preparing(_));
        assert!(!self.members.is_empty() || may_be_empty, "group {name} is {phase:?} without members");
        assert!(self.members.is_empty() || phase != Phase::Empty, "group {name} is empty with members");
        if let Some(leader) = &self.leader {
            assert!(self.members.contains_key(leader), "group {name} is led by {leader}, who is no member");
        }
        for (instance, id) in &self.statics {
            let of = self.members.get(id).and_then(|member| member.instance.as_ref());
            assert!(of == Some(instance), "group {name}: instance {instance} is {id}, whose instance is {of:?}");
        }
        for (id, member) in self.members.iter() {
            assert!(member.join.is_none() || self.is_preparing(), "group {name}: {id} joins while it is {phase:?}");
            assert!(member.sync.is_none() || phase == Phase::Completing, "group {name}: {id} syncs in {phase:?}");
        }
    }
}
