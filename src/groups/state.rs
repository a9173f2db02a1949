//! The coordinator's state: what `apply` makes of records, and which of them the log must still hold.
//!
//! Invariant (`check`): `live` has exactly one entry for each committed offset and each recorded group, at the offset of the
//! newest record of it.

use super::group::{Group, Phase, Stored};
use super::record::{Committed, Record};
use super::request::{Call, Decision, Request};
use super::timers::{Due, Timers};
use super::{Settings, after_ms};
use crate::boundary::{Instant, Now};
use crate::ids::TopicId;
use crate::wire::DecodeError;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// About what a committed offset takes in memory, its metadata apart.
pub(super) const OFFSET_BYTES: usize = 256;
/// Live records that one append brings along, for each record of its own.
const CLEANED_PER_RECORD: usize = 2;
/// The log's start moves by at least this part of the slack.
const START_STEPS: i64 = 4;

/// The groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Coordinator {
    pub(super) settings: Settings,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) timers: Timers,
    /// What the record at each offset is the newest of.
    live: BTreeMap<i64, Live>,
    /// About what all this takes in memory.
    pub(super) bytes: usize,
    loading: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Live {
    Group(Arc<str>),
    Offset(Arc<str>, Arc<str>, i32),
}

impl Coordinator {
    /// Knows nothing yet: apply the log, then say [`Coordinator::loaded`].
    pub fn new(settings: Settings) -> Coordinator {
        Coordinator {
            settings,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            live: BTreeMap::new(),
            bytes: 0,
            loading: true,
        }
    }

    /// The log has been applied to its end: sessions begin anew.
    pub fn loaded(&mut self, now: Now) -> Decision {
        assert!(self.loading, "a coordinator is loaded twice");
        self.loading = false;
        let mut out = Decision::default();
        let names: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for name in names {
            let group = &self.groups[&name];
            let members: Vec<(String, i32)> =
                group.members.iter().map(|(id, member)| (id.clone(), member.session_timeout_ms)).collect();
            let too_many = members.len() > self.settings.size_max;
            for (id, session_timeout_ms) in members {
                self.expect_in(now, &name, &id, session_timeout_ms.into());
            }
            if too_many {
                self.prepare(now, &name, &mut out);
            }
        }
        let at = after_ms(now.mono, self.settings.retention_check_ms as i64);
        self.timers.set(at, Due::Retention);
        out
    }

    pub fn decide(&mut self, now: Now, call: Call, request: Request) -> Decision {
        assert!(!self.loading, "asked before the log was applied");
        let mut out = Decision::default();
        match request {
            Request::Join(join) => self.join(now, call, join, &mut out),
            Request::Sync(sync) => self.sync(now, call, sync, &mut out),
            Request::Heartbeat(who) => self.heartbeat(now, call, &who, &mut out),
            Request::Leave(leave) => self.leave(now, call, &leave, &mut out),
            Request::Commit(commit) => self.commit(now, call, &commit, &mut out),
            Request::Fetch(fetch) => self.fetch(call, &fetch, &mut out),
            Request::DeleteOffsets { group, topics } => self.delete_offsets(call, &group, &topics, &mut out),
            Request::DeleteGroup { group } => self.delete_group(call, &group, &mut out),
            Request::Describe { group } => self.describe(call, &group, &mut out),
            Request::List { states, types } => self.list(call, &states, &types, &mut out),
            Request::TopicDeleted { id, name } => self.forget_topic(id, &name, &mut out),
        }
        out
    }

    /// Time has passed: does one thing that is due. Call it again while the deadline is past.
    pub fn on_time(&mut self, now: Now) -> Decision {
        let mut out = Decision::default();
        match self.timers.pop(now.mono) {
            None => {}
            Some((_, Due::Session { group, member })) => self.on_session_due(now, &group, &member, &mut out),
            Some((_, Due::Join { group })) => self.on_join_due(now, &group, &mut out),
            Some((_, Due::Sync { group })) => self.on_sync_due(now, &group, &mut out),
            Some((_, Due::Retention)) => self.on_retention_due(now, &mut out),
        }
        out
    }

    /// When [`Coordinator::on_time`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.deadline()
    }

    /// A record stands in the log at this offset. Fails only on bytes that no coordinator wrote.
    pub fn apply(&mut self, now: Now, offset: i64, record: &Record) -> Result<(), DecodeError> {
        match record {
            Record::Offset { group, topic, partition, value: Some(value) } => {
                self.put_offset(offset, group, topic, *partition, value);
            }
            Record::Offset { group, topic, partition, value: None } => self.remove_offset(group, topic, *partition),
            Record::Group { group, value: Some(value) } => self.put_group(now, offset, group, value)?,
            Record::Group { group, value: None } => self.remove_group(group),
        }
        Ok(())
    }

    fn put_offset(&mut self, at: i64, group: &Arc<str>, topic: &Arc<str>, partition: i32, value: &Committed) {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.clone(), Group::new(value.at));
        }
        let name = self.groups.get_key_value(group).expect("just made").0.clone();
        let group = self.groups.get_mut(&name).expect("just made");
        let topic = group.offsets.get_key_value(topic).map_or(topic, |(topic, _)| topic).clone();
        let stored = Stored { committed: value.clone(), at };
        let before = group.offsets.entry(topic.clone()).or_default().insert(partition, stored);
        self.bytes += OFFSET_BYTES + value.metadata.len();
        if let Some(before) = before {
            self.bytes -= OFFSET_BYTES + before.committed.metadata.len();
            self.live.remove(&before.at);
        }
        self.live.insert(at, Live::Offset(name, topic, partition));
    }

    fn remove_offset(&mut self, name: &Arc<str>, topic: &Arc<str>, partition: i32) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(offsets) = group.offsets.get_mut(topic) else { return };
        if let Some(before) = offsets.remove(&partition) {
            self.bytes -= OFFSET_BYTES + before.committed.metadata.len();
            self.live.remove(&before.at);
        }
        if offsets.is_empty() {
            group.offsets.remove(topic);
        }
        self.forget_if_unused(name);
    }

    fn put_group(&mut self, now: Now, at: i64, name: &Arc<str>, value: &Bytes) -> Result<(), DecodeError> {
        let name = self.groups.get_key_value(name).map_or(name, |(name, _)| name).clone();
        // A group that nobody used was forgotten while its record was on its way: it is what the record says.
        let forgotten = self.groups.get(&name).is_none_or(Group::is_blank);
        let recorded = if self.loading || forgotten { Some(Group::from_record(value, now.wall)?) } else { None };
        if let Some(mut group) = recorded.filter(|group| self.loading || group.members.is_empty()) {
            self.bytes += group.members.values().map(super::group::Member::bytes).sum::<usize>();
            if let Some(before) = self.groups.remove(&name) {
                self.bytes -= before.members.values().map(super::group::Member::bytes).sum::<usize>();
                (group.offsets, group.recorded) = (before.offsets, before.recorded);
            }
            self.groups.insert(name.clone(), group);
        }
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group::new(now.wall));
        self.bytes += value.len();
        if let Some((before, old)) = group.recorded.replace((at, value.clone())) {
            self.bytes -= old.len();
            self.live.remove(&before);
        }
        self.live.insert(at, Live::Group(name));
        Ok(())
    }

    fn remove_group(&mut self, name: &Arc<str>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if let Some((at, value)) = group.recorded.take() {
            self.bytes -= value.len();
            self.live.remove(&at);
        }
        let pending: Vec<String> = group.pending.keys().cloned().collect();
        for id in pending {
            self.cancel_pending(name, &id);
        }
        let group = self.groups.get_mut(name).expect("just seen");
        if self.loading {
            self.bytes -= group.members.values().map(super::group::Member::bytes).sum::<usize>();
            *group = Group { offsets: core::mem::take(&mut group.offsets), ..Group::new(group.since) };
        }
        assert!(group.members.is_empty(), "group {name} is deleted with members");
        self.forget_if_unused(name);
    }

    /// Drops a group of which nobody knows.
    pub(super) fn forget_if_unused(&mut self, name: &Arc<str>) {
        if self.groups.get(name).is_some_and(Group::is_forgettable) {
            let group = self.groups.remove(name).expect("just seen");
            self.timers.cancel(group.join_timer);
            self.timers.cancel(group.sync_timer);
        }
    }

    /// What to append again now that a log from `start` to `end` got `appended` more records: its oldest live ones, where
    /// it has grown too long.
    pub fn clean(&self, start: i64, end: i64, appended: usize) -> Vec<Record> {
        if end - start <= 2 * self.live.len() as i64 + self.settings.slack {
            return Vec::new();
        }
        self.live.values().take(appended * CLEANED_PER_RECORD).map(|live| self.record_of(live)).collect()
    }

    fn record_of(&self, live: &Live) -> Record {
        match live {
            Live::Group(group) => {
                let value = self.groups[group].recorded.as_ref().map(|(_, value)| value.clone());
                Record::Group { group: group.clone(), value }
            }
            Live::Offset(group, topic, partition) => {
                let value = Some(self.groups[group].offsets[topic][partition].committed.clone());
                Record::Offset { group: group.clone(), topic: topic.clone(), partition: *partition, value }
            }
        }
    }

    /// Where the log may start, if it is worth moving its start from `start`: nothing below is the newest of anything.
    pub fn log_start(&self, start: i64, end: i64) -> Option<i64> {
        let needed = self.live.first_key_value().map_or(end, |(offset, _)| *offset);
        (needed - start >= (self.settings.slack / START_STEPS).max(1)).then_some(needed)
    }

    /// The topics for which anything is committed, and their names.
    pub fn topics(&self) -> BTreeSet<(TopicId, Arc<str>)> {
        let offsets = self.groups.values().flat_map(|group| &group.offsets);
        let topics = offsets.flat_map(|(name, all)| all.values().map(move |stored| (stored.committed.topic_id, name)));
        // There may be a million offsets of a few topics.
        let topics: BTreeSet<(TopicId, &Arc<str>)> = topics.collect();
        topics.into_iter().map(|(id, name)| (id, name.clone())).collect()
    }

    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes it may take in memory; what is there stays.
    pub fn set_memory_max(&mut self, bytes: usize) {
        self.settings.memory_max = bytes;
    }

    /// For observers: every group's phase and generation, and how many members it has.
    pub fn observe(&self) -> impl Iterator<Item = (&str, &'static str, i32, usize)> {
        let groups = self.groups.iter();
        groups.map(|(name, group)| (&**name, group.phase.name(), group.generation, group.members.len()))
    }

    /// For observers: every committed offset, by group, topic and partition.
    pub fn committed(&self) -> impl Iterator<Item = (&str, &str, i32, i64)> {
        self.groups.iter().flat_map(|(name, group)| {
            let topics = group.offsets.iter();
            topics.flat_map(move |(topic, offsets)| {
                offsets.iter().map(move |(index, stored)| (&**name, &**topic, *index, stored.committed.offset))
            })
        })
    }

    /// Every invariant of the state, with its values.
    pub fn check(&self) {
        let mut expected = 0;
        let mut bytes = 0;
        for (name, group) in &self.groups {
            group.check(name);
            bytes += group.members.values().map(super::group::Member::bytes).sum::<usize>();
            bytes += group.pending.len() * super::join::PENDING_BYTES;
            if let Some((at, value)) = &group.recorded {
                expected += 1;
                bytes += value.len();
                let is = matches!(self.live.get(at), Some(Live::Group(live)) if live == name);
                assert!(is, "group {name} is not live at {at}");
            }
            for (topic, offsets) in &group.offsets {
                for (index, stored) in offsets {
                    expected += 1;
                    bytes += OFFSET_BYTES + stored.committed.metadata.len();
                    let live = self.live.get(&stored.at);
                    let is = matches!(live, Some(Live::Offset(group, of, at)) if group == name && of == topic && at == index);
                    assert!(is, "{name} {topic}-{index}: at {} is {live:?}", stored.at);
                }
            }
            let busy = group.phase != Phase::Empty || !group.members.is_empty();
            assert!(busy || group.join_timer.is_none(), "group {name} is empty and waits for joins");
        }
        assert!(self.live.len() == expected, "{} live records of {expected} keys", self.live.len());
        assert!(self.bytes == bytes, "{} bytes are counted, {bytes} are there", self.bytes);
    }
}
