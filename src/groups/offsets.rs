//! Committed offsets: commit, fetch, delete, and how long they are kept.
//!
//! Invariant: an offset changes by a record alone; a commit of a former generation, a replaced static member or a stranger
//! is refused before there is one.

use super::group::{Group, Phase, Stored};
use super::record::{Committed, Record};
use super::request::{Call, Commit, Decision, Fetch, FetchedTopic, Reply};
use super::state::{Coordinator, OFFSET_BYTES};
use super::timers::Due;
use super::{Settings, after_ms};
use crate::boundary::{Now, Timestamp};
use crate::ids::TopicId;
use crate::wire::ErrorCode;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Tombstones of one decision of the retention; what is left is looked at right after.
const TOMBSTONES_MAX: usize = 1000;

impl Coordinator {
    pub(super) fn commit(&mut self, now: Now, call: Call, commit: &Commit, out: &mut Decision) {
        let reply = match self.may_commit(commit) {
            Err(error) => Err(error),
            Ok(()) => {
                self.hear_of(now, commit);
                Ok(self.commit_records(now, commit, out))
            }
        };
        out.replies.push((call, Reply::Partitions(reply)));
    }

    fn may_commit(&self, commit: &Commit) -> Result<(), ErrorCode> {
        let who = &commit.who;
        let Some(group) = self.groups.get(who.group.as_str()) else {
            // Offsets may be kept here by who does not want to be a member.
            return match (who.generation < 0, commit.knows_group_errors) {
                (true, _) => self.has_room_for(commit),
                (false, true) => Err(ErrorCode::GROUP_ID_NOT_FOUND),
                (false, false) => Err(ErrorCode::ILLEGAL_GENERATION),
            };
        };
        if who.generation < 0 && group.phase == Phase::Empty {
            return self.has_room_for(commit);
        }
        if who.generation < 0 && who.member.is_empty() && who.instance.is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        group.validate(&who.member, who.instance.as_deref())?;
        if who.generation != group.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if group.phase == Phase::Completing {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.has_room_for(commit)
    }

    fn has_room_for(&self, commit: &Commit) -> Result<(), ErrorCode> {
        let metadata = |topic: &super::CommitTopic| -> usize {
            topic.partitions.iter().map(|partition| OFFSET_BYTES + partition.metadata.len()).sum()
        };
        let bytes: usize = commit.topics.iter().map(metadata).sum();
        let fits = self.bytes + bytes <= self.settings.memory_max;
        let known = || {
            let group = self.groups.get(commit.who.group.as_str());
            commit.topics.iter().all(|topic| {
                let offsets = group.and_then(|group| group.offsets.get(&topic.name));
                topic.partitions.iter().all(|partition| offsets.is_some_and(|all| all.contains_key(&partition.index)))
            })
        };
        if fits || known() { Ok(()) } else { Err(ErrorCode::INVALID_COMMIT_OFFSET_SIZE) }
    }

    /// Who commits lives.
    fn hear_of(&mut self, now: Now, commit: &Commit) {
        let Some((name, group)) = self.groups.get_key_value(commit.who.group.as_str()) else { return };
        let Some(member) = group.members.get(&commit.who.member) else { return };
        let (name, timeout_ms) = (name.clone(), member.session_timeout_ms);
        self.expect_in(now, &name, &commit.who.member, timeout_ms.into());
    }

    fn commit_records(&self, now: Now, commit: &Commit, out: &mut Decision) -> Vec<ErrorCode> {
        let known = self.groups.get_key_value(commit.who.group.as_str());
        let name = known.map_or_else(|| Arc::from(commit.who.group.as_str()), |(name, _)| name.clone());
        let expires = commit.retention_ms.map(|ms| Timestamp(now.wall.0.saturating_add(ms)));
        let mut errors = Vec::new();
        for topic in &commit.topics {
            for partition in &topic.partitions {
                // Kafka counts characters as Java does.
                let length = partition.metadata.encode_utf16().count();
                if length > self.settings.metadata_max {
                    errors.push(ErrorCode::OFFSET_METADATA_TOO_LARGE);
                    continue;
                }
                errors.push(ErrorCode::NONE);
                let value = Committed {
                    offset: partition.offset,
                    leader_epoch: partition.leader_epoch,
                    metadata: Arc::from(partition.metadata.as_str()),
                    at: now.wall,
                    expires,
                    // The version of the record that tells of a retention has no place for the id.
                    topic_id: if expires.is_none() { topic.id } else { TopicId::ZERO },
                };
                out.records.push(Record::Offset {
                    group: name.clone(),
                    topic: topic.name.clone(),
                    partition: partition.index,
                    value: Some(value),
                });
            }
        }
        errors
    }

    pub(super) fn fetch(&self, call: Call, fetch: &Fetch, out: &mut Decision) {
        let group = self.groups.get(fetch.group.as_str());
        let told = |stored: &Stored| {
            let committed = &stored.committed;
            (committed.offset, committed.leader_epoch, committed.metadata.clone())
        };
        let topics = match &fetch.topics {
            Some(topics) => {
                let asked = topics.iter().map(|(name, indexes)| {
                    let stored = group.and_then(|group| group.offsets.get(name.as_str()));
                    let find = |index: &i32| (*index, stored.and_then(|all| all.get(index)).map(told));
                    FetchedTopic { name: Arc::from(name.as_str()), partitions: indexes.iter().map(find).collect() }
                });
                asked.collect()
            }
            None => {
                let all = group.into_iter().flat_map(|group| &group.offsets);
                let all = all.map(|(name, partitions)| FetchedTopic {
                    name: name.clone(),
                    partitions: partitions.iter().map(|(index, stored)| (*index, Some(told(stored)))).collect(),
                });
                all.collect()
            }
        };
        out.replies.push((call, Reply::Offsets(topics)));
    }

    pub(super) fn delete_offsets(&self, call: Call, group: &str, topics: &[(String, Vec<i32>)], out: &mut Decision) {
        let reply = match self.groups.get_key_value(group) {
            // Offsets may be committed for it, but Kafka's administrators have no group without a name.
            _ if group.is_empty() => Err(ErrorCode::INVALID_GROUP_ID),
            None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            Some((_, group)) if !group.may_delete_offsets() => Err(ErrorCode::NON_EMPTY_GROUP),
            Some((name, group)) => {
                let mut errors = Vec::new();
                for (topic, indexes) in topics {
                    let error = if group.reads(topic) { ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC } else { ErrorCode::NONE };
                    errors.extend(indexes.iter().map(|_| error));
                    let stored = group.offsets.get_key_value(topic.as_str()).filter(|_| error.is_none());
                    let Some((topic, stored)) = stored else { continue };
                    let there = indexes.iter().filter(|index| stored.contains_key(index));
                    out.records.extend(there.map(|index| tombstone(name, topic, *index)));
                }
                Ok(errors)
            }
        };
        out.replies.push((call, Reply::Partitions(reply)));
    }

    /// What was committed for a topic that is gone; by its name, where its id was not known.
    pub(super) fn forget_topic(&self, id: TopicId, gone: &str, out: &mut Decision) {
        for (name, group) in &self.groups {
            for (topic, offsets) in &group.offsets {
                let is_meant = |stored: &Stored| match stored.committed.topic_id {
                    TopicId::ZERO => **topic == *gone,
                    known => known == id,
                };
                let offsets = offsets.iter().filter(|(_, stored)| is_meant(stored));
                out.records.extend(offsets.map(|(index, _)| tombstone(name, topic, *index)));
            }
        }
    }

    /// Lets go what is past its retention, some of it at a time.
    pub(super) fn on_retention_due(&mut self, now: Now, out: &mut Decision) {
        for (name, group) in &self.groups {
            if out.records.len() >= TOMBSTONES_MAX {
                break;
            }
            let before = out.records.len();
            let all = group.offsets.iter().flat_map(|(topic, all)| all.iter().map(move |entry| (topic, entry)));
            let expired = all
                .clone()
                .filter(|(topic, (_, stored))| group.is_expired(topic, &stored.committed, now.wall, &self.settings));
            let expired = expired.take(TOMBSTONES_MAX);
            out.records.extend(expired.map(|(topic, (index, _))| tombstone(name, topic, *index)));
            let none_left = all.count() == out.records.len() - before;
            if group.phase == Phase::Empty && group.pending.is_empty() && none_left && group.recorded.is_some() {
                out.records.push(Record::Group { group: name.clone(), value: None });
            }
        }
        let more = out.records.len() >= TOMBSTONES_MAX;
        let wait_ms = if more { 0 } else { self.settings.retention_check_ms as i64 };
        self.timers.set(after_ms(now.mono, wait_ms), Due::Retention);
    }
}

impl Group {
    fn may_delete_offsets(&self) -> bool {
        self.phase == Phase::Empty || self.protocol_type.as_deref() == Some(super::group::CONSUMER)
    }

    /// KIP-211: a group's offsets are kept while it has members, or rather while they read the topic.
    fn is_expired(&self, topic: &str, committed: &Committed, now: Timestamp, settings: &Settings) -> bool {
        if self.reads(topic) {
            return false;
        }
        if let Some(expires) = committed.expires {
            return now >= expires;
        }
        let base = match (&self.protocol_type, self.phase) {
            (None, _) => committed.at,
            (Some(_), Phase::Empty) => self.since.max(committed.at),
            (Some(_), _) if self.subscribed.is_some() => committed.at,
            (Some(_), _) => return false,
        };
        now.0.saturating_sub(base.0) >= settings.retention_ms
    }
}

pub(super) fn tombstone(group: &Arc<str>, topic: &Arc<str>, partition: i32) -> Record {
    Record::Offset { group: group.clone(), topic: topic.clone(), partition, value: None }
}
