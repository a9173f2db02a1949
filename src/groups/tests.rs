//! The coordinator by its behaviours: one group of members that a test moves through time.

mod retention;

use super::*;
use crate::boundary::{Instant, Now, Timestamp};
use crate::ids::TopicId;
use crate::wire::ErrorCode;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

pub const SETTINGS: Settings = Settings {
    size_max: 100,
    session_min_ms: 6_000,
    session_max_ms: 1_800_000,
    initial_rebalance_delay_ms: 3_000,
    metadata_max: 4_096,
    retention_ms: 7 * 24 * 3_600_000,
    retention_check_ms: 600_000,
    record_bytes_max: 1 << 20,
    memory_max: 64 << 20,
    slack: 16_384,
};

/// A coordinator, its log, and what it has answered.
pub struct World {
    pub coordinator: Coordinator,
    pub log: Vec<Record>,
    pub start: i64,
    pub ms: u64,
    next: u64,
    pub replies: BTreeMap<Call, Reply>,
}

impl World {
    pub fn new(settings: Settings) -> World {
        let mut coordinator = Coordinator::new(settings);
        coordinator.loaded(now(0));
        World { coordinator, log: Vec::new(), start: 0, ms: 0, next: 0, replies: BTreeMap::new() }
    }

    pub fn ask(&mut self, request: Request) -> Call {
        self.next += 1;
        let call = Call(self.next);
        let decision = self.coordinator.decide(now(self.ms), call, request);
        self.carry_out(decision);
        call
    }

    fn carry_out(&mut self, decision: Decision) {
        let mut appended = decision.records;
        let count = appended.len();
        for record in appended.drain(..) {
            self.append(record);
        }
        for record in self.coordinator.clean(self.start, self.log.len() as i64, count) {
            self.append(record);
        }
        self.start = self.coordinator.log_start(self.start, self.log.len() as i64).unwrap_or(self.start);
        for (call, reply) in decision.replies {
            assert!(self.replies.insert(call, reply).is_none(), "{call:?} is answered twice");
        }
        self.coordinator.check();
    }

    fn append(&mut self, record: Record) {
        let offset = self.log.len() as i64;
        let again = Record::decode(&record.key(), record.value().as_deref()).unwrap().unwrap();
        assert_eq!(again, record);
        self.coordinator.apply(now(self.ms), offset, &record).unwrap();
        self.log.push(record);
    }

    /// Lets time pass.
    pub fn pass(&mut self, ms: u64) {
        let end = self.ms + ms;
        while let Some(due) = self.coordinator.deadline().filter(|due| due.0 <= now(end).mono.0) {
            self.ms = self.ms.max(due.0 / 1_000_000);
            let decision = self.coordinator.on_time(now(self.ms));
            self.carry_out(decision);
        }
        self.ms = end;
    }

    /// The process has died: what is known is what the log says, from its start.
    pub fn restart(&mut self) {
        let settings = self.coordinator.settings;
        self.coordinator = Coordinator::new(settings);
        for offset in self.start..self.log.len() as i64 {
            self.coordinator.apply(now(self.ms), offset, &self.log[offset as usize]).unwrap();
        }
        let decision = self.coordinator.loaded(now(self.ms));
        self.carry_out(decision);
    }

    pub fn joined(&self, call: Call) -> Joined {
        match self.replies.get(&call) {
            Some(Reply::Joined(joined)) => joined.clone(),
            other => panic!("{call:?} is {other:?}"),
        }
    }

    pub fn error(&self, call: Call) -> ErrorCode {
        match self.replies.get(&call) {
            Some(Reply::Joined(joined)) => joined.error,
            Some(Reply::Synced(synced)) => synced.error,
            Some(Reply::Error(error)) => *error,
            Some(Reply::Left { error, members }) => members.first().copied().unwrap_or(*error),
            Some(Reply::Partitions(Ok(errors))) => errors[0],
            Some(Reply::Partitions(Err(error))) => *error,
            Some(Reply::Described(described)) => described.error,
            other => panic!("{call:?} is {other:?}"),
        }
    }

    /// Joins as KIP-394 says: twice. Gives the member's id and the call that waits.
    pub fn join(&mut self, join: Join) -> (String, Call) {
        let call = self.ask(Request::Join(join.clone()));
        match self.replies.get(&call) {
            Some(Reply::Joined(joined)) if joined.error == ErrorCode::MEMBER_ID_REQUIRED => {
                let member = joined.member.clone();
                (member.clone(), self.ask(Request::Join(Join { member, ..join })))
            }
            Some(Reply::Joined(joined)) => (joined.member.clone(), call),
            _ => (String::new(), call),
        }
    }

    /// A stable group of these members, each with its own name as assignment.
    pub fn stable(&mut self, names: &[&str]) -> Vec<String> {
        let joins: Vec<(String, Call)> = names.iter().map(|name| self.join(member(name))).collect();
        self.pass(10_000);
        let ids: Vec<String> = joins.iter().map(|(_, call)| self.joined(*call).member).collect();
        self.sync_all(&ids);
        ids
    }

    pub fn sync_all(&mut self, ids: &[String]) -> Vec<Call> {
        let generation = self.generation();
        let assignments: Vec<(String, Bytes)> = ids.iter().map(|id| (id.clone(), Bytes::from(id.clone()))).collect();
        let leader = self.coordinator.groups["g"].leader.clone().unwrap();
        let calls = ids.iter().map(|id| {
            let assignments = if *id == leader { assignments.clone() } else { Vec::new() };
            self.ask(Request::Sync(Sync { who: who(id, generation), assignments, ..Sync::default() }))
        });
        calls.collect()
    }

    pub fn generation(&self) -> i32 {
        self.coordinator.groups["g"].generation
    }

    pub fn state(&self) -> &'static str {
        self.coordinator.groups["g"].phase.name()
    }

    pub fn beat(&mut self, id: &str) -> ErrorCode {
        let generation = self.generation();
        let call = self.ask(Request::Heartbeat(who(id, generation)));
        self.error(call)
    }

    pub fn leave(&mut self, id: &str) {
        self.ask(Request::Leave(Leave { group: "g".into(), members: vec![(id.into(), None)] }));
    }

    pub fn commit(&mut self, id: &str, generation: i32, offset: i64) -> ErrorCode {
        let call = self.ask(Request::Commit(commit_of(who(id, generation), "t", 0, offset)));
        self.error(call)
    }

    pub fn committed(&mut self, topic: &str, index: i32) -> Option<i64> {
        let topics = Some(vec![(topic.to_string(), vec![index])]);
        let call = self.ask(Request::Fetch(Fetch { group: "g".into(), topics, member: None }));
        match &self.replies[&call] {
            Reply::Offsets(topics) => topics[0].partitions[0].1.as_ref().map(|(offset, _, _)| *offset),
            other => panic!("{other:?}"),
        }
    }
}

pub fn now(ms: u64) -> Now {
    Now { mono: Instant(ms * 1_000_000), wall: Timestamp(1_700_000_000_000 + ms as i64) }
}

/// Each client id draws another id.
pub fn member(name: &str) -> Join {
    let mut entropy = [7; 16];
    entropy[..name.len()].copy_from_slice(name.as_bytes());
    Join {
        group: "g".into(),
        client_id: name.into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription(&["t"])), ("sticky".into(), subscription(&["t"]))],
        id_required: true,
        can_skip: true,
        entropy,
        ..Join::default()
    }
}

pub fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.into()
}

pub fn who(id: &str, generation: i32) -> Membership {
    Membership { group: "g".into(), generation, member: id.into(), instance: None }
}

pub fn commit_of(who: Membership, topic: &str, index: i32, offset: i64) -> Commit {
    let partitions = vec![CommitPartition { index, offset, leader_epoch: -1, metadata: String::new() }];
    let topic = CommitTopic { name: topic.into(), id: TopicId([3; 16]), partitions };
    Commit { who, topics: vec![topic], ..Commit::default() }
}

#[test]
fn a_groups_partition_is_javas_hash() {
    // "console-consumer-12345".hashCode(), and a name whose hash is the smallest integer.
    assert_eq!(partition_of("g", 50), 103 % 50);
    assert_eq!(partition_of("polygenelubricants", 50), 0);
    assert_eq!(partition_of("hello", 50), 99_162_322 % 50);
}

#[test]
fn the_first_member_leads_a_first_generation() {
    let mut world = World::new(SETTINGS);
    let (id, call) = world.join(member("a"));
    assert!(!world.replies.contains_key(&call), "an empty group waits for others");
    assert_eq!(world.state(), "PreparingRebalance");
    world.pass(3_000);
    let joined = world.joined(call);
    assert_eq!((joined.generation, joined.error), (1, ErrorCode::NONE));
    assert_eq!((joined.leader.as_str(), joined.protocol.as_deref()), (id.as_str(), Some("range")));
    assert_eq!(joined.members.len(), 1);
    let calls = world.sync_all(core::slice::from_ref(&id));
    assert_eq!(world.state(), "Stable");
    let Reply::Synced(synced) = &world.replies[&calls[0]] else { panic!("no sync") };
    assert_eq!(synced.assignment, id.as_bytes());
    assert_eq!(world.log.len(), 1, "a generation is recorded with its assignment");
}

#[test]
fn the_initial_wait_is_prolonged_by_newcomers_up_to_the_rebalance_timeout() {
    let mut world = World::new(SETTINGS);
    let short = |name| Join { rebalance_timeout_ms: 7_000, ..member(name) };
    let (_, first) = world.join(short("a"));
    world.pass(2_000);
    world.join(short("b"));
    world.pass(2_000);
    assert!(!world.replies.contains_key(&first), "b came in the first three seconds");
    world.join(short("c"));
    world.pass(2_500);
    world.join(short("d"));
    world.pass(1_000);
    assert_eq!(world.joined(first).generation, 1, "seven seconds are over");
    assert_eq!(world.coordinator.groups["g"].members.len(), 4);
}

#[test]
fn a_second_member_makes_the_first_join_again() {
    let mut world = World::new(SETTINGS);
    let a = world.stable(&["a"]).remove(0);
    let (b, call) = world.join(member("b"));
    assert_eq!(world.beat(&a), ErrorCode::REBALANCE_IN_PROGRESS);
    let again = world.ask(Request::Join(Join { member: a.clone(), ..member("a") }));
    assert_eq!(world.joined(again).generation, 2);
    assert_eq!(world.joined(call).generation, 2);
    assert_eq!(world.joined(call).members.len(), 0, "a leads");
    assert_eq!(world.joined(again).members.len(), 2);
    world.sync_all(&[b, a]);
    assert_eq!(world.state(), "Stable");
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut world = World::new(SETTINGS);
    let ids = world.stable(&["a", "b"]);
    let again = world.ask(Request::Join(Join { member: ids[0].clone(), ..member("a") }));
    for _ in 0..6 {
        world.pass(10_000);
        world.beat(&ids[1]);
    }
    assert_eq!(world.joined(again).members.len(), 1, "b has beaten, but not joined for a minute");
    assert_eq!(world.beat(&ids[1]), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut world = World::new(SETTINGS);
    let ids = world.stable(&["a", "b"]);
    world.pass(40_000);
    assert_eq!(world.beat(&ids[0]), ErrorCode::NONE);
    world.pass(6_000);
    assert_eq!(world.beat(&ids[0]), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(world.beat(&ids[1]), ErrorCode::UNKNOWN_MEMBER_ID);
    world.pass(120_000);
    assert_eq!(world.state(), "Empty");
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut world = World::new(SETTINGS);
    let a = world.stable(&["a"]).remove(0);
    for offset in 0..5 {
        world.pass(40_000);
        assert_eq!(world.commit(&a, 1, offset), ErrorCode::NONE);
    }
    assert_eq!(world.committed("t", 0), Some(4));
}

#[test]
fn a_zombies_commit_is_refused() {
    let mut world = World::new(SETTINGS);
    let ids = world.stable(&["a", "b"]);
    let old = world.generation();
    world.leave(&ids[1]);
    assert_eq!(world.commit(&ids[1], old, 9), ErrorCode::UNKNOWN_MEMBER_ID);
    world.ask(Request::Join(Join { member: ids[0].clone(), ..member("a") }));
    assert_eq!(world.commit(&ids[0], old, 9), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(world.commit(&ids[0], old + 1, 9), ErrorCode::REBALANCE_IN_PROGRESS, "it has no assignment yet");
    assert_eq!(world.commit("", -1, 9), ErrorCode::UNKNOWN_MEMBER_ID, "the group has members");
    assert_eq!(world.committed("t", 0), None);
}

#[test]
fn offsets_are_kept_for_who_is_no_member() {
    let mut world = World::new(SETTINGS);
    assert_eq!(world.commit("", 3, 9), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(world.commit("", -1, 9), ErrorCode::NONE);
    assert_eq!(world.committed("t", 0), Some(9));
    assert_eq!(world.state(), "Empty");
    let long = CommitPartition { index: 0, offset: 10, leader_epoch: 2, metadata: "m".repeat(4_097) };
    let mut commit = commit_of(who("", -1), "t", 0, 10);
    commit.topics[0].partitions = vec![long];
    let call = world.ask(Request::Commit(commit));
    assert_eq!(world.error(call), ErrorCode::OFFSET_METADATA_TOO_LARGE);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_the_old_one() {
    let mut world = World::new(SETTINGS);
    let fixed = |entropy| Join { instance: Some("i".into()), entropy: [entropy; 16], ..member("a") };
    let (_, call) = world.join(fixed(1));
    world.pass(10_000);
    let old = world.joined(call).member;
    assert!(old.starts_with("i-"));
    world.sync_all(core::slice::from_ref(&old));
    let (id, call) = world.join(fixed(2));
    let joined = world.joined(call);
    assert_ne!(id, old);
    assert_eq!((joined.generation, joined.leader.as_str(), joined.skip_assignment), (1, id.as_str(), true));
    assert_eq!(world.state(), "Stable");
    let zombie = Membership { instance: Some("i".into()), ..who(&old, 1) };
    let call = world.ask(Request::Heartbeat(zombie.clone()));
    assert_eq!(world.error(call), ErrorCode::FENCED_INSTANCE_ID);
    let call = world.ask(Request::Commit(commit_of(zombie, "t", 0, 3)));
    assert_eq!(world.error(call), ErrorCode::FENCED_INSTANCE_ID);
    world.restart();
    assert_eq!(world.beat(&id), ErrorCode::NONE, "the log knows the new id");
    let call = world.ask(Request::Leave(Leave { group: "g".into(), members: vec![("".into(), Some("i".into()))] }));
    assert_eq!(world.error(call), ErrorCode::NONE);
    assert_eq!(world.state(), "Empty");
}

#[test]
fn a_static_member_may_be_away_during_a_rebalance() {
    let mut world = World::new(SETTINGS);
    let fixed = Join { instance: Some("i".into()), session_timeout_ms: 300_000, ..member("b") };
    let (_, a) = world.join(member("a"));
    let (_, b) = world.join(fixed);
    world.pass(10_000);
    let ids = [world.joined(a).member, world.joined(b).member];
    world.sync_all(&ids);
    let again = world.ask(Request::Join(Join {
        member: ids[0].clone(),
        protocols: vec![("range".into(), subscription(&["t", "u"])), ("sticky".into(), subscription(&["t"]))],
        ..member("a")
    }));
    world.pass(60_000);
    assert_eq!(world.joined(again).generation, 2);
    assert_eq!(world.joined(again).members.len(), 2, "b's partitions stay b's");
}

#[test]
fn an_offset_survives_a_restart_and_members_stay_members() {
    let mut world = World::new(SETTINGS);
    let ids = world.stable(&["a", "b"]);
    assert_eq!(world.commit(&ids[0], 1, 77), ErrorCode::NONE);
    world.restart();
    assert_eq!(world.state(), "Stable");
    assert_eq!(world.committed("t", 0), Some(77));
    assert_eq!((world.beat(&ids[0]), world.beat(&ids[1])), (ErrorCode::NONE, ErrorCode::NONE));
    assert_eq!(world.commit(&ids[1], 1, 78), ErrorCode::NONE);
}

#[test]
fn a_generation_that_was_never_recorded_is_joined_again_after_a_restart() {
    let mut world = World::new(SETTINGS);
    let a = world.stable(&["a"]).remove(0);
    let (b, call) = world.join(member("b"));
    world.ask(Request::Join(Join { member: a.clone(), ..member("a") }));
    assert_eq!(world.joined(call).generation, 2);
    world.restart();
    assert_eq!(world.generation(), 1);
    let call = world.ask(Request::Heartbeat(who(&a, 2)));
    assert_eq!(world.error(call), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(world.beat(&b), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_leader_that_never_syncs_is_out() {
    let mut world = World::new(SETTINGS);
    let (_, a) = world.join(member("a"));
    let (_, b) = world.join(member("b"));
    world.pass(10_000);
    let ids = [world.joined(a).member, world.joined(b).member];
    let leader = world.joined(a).leader;
    let other = ids.iter().find(|id| **id != leader).unwrap().clone();
    let call = world.ask(Request::Sync(Sync { who: who(&other, 1), ..Sync::default() }));
    for _ in 0..6 {
        world.pass(10_000);
        world.beat(&leader);
    }
    assert_eq!(world.error(call), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(world.beat(&leader), ErrorCode::UNKNOWN_MEMBER_ID);
}

/// From version 5 on a member names what it believes that the group speaks; one that does not is taken for inconsistent.
#[test]
fn a_sync_that_had_to_name_the_protocol_and_does_not_is_refused() {
    let mut world = World::new(SETTINGS);
    let (_, a) = world.join(member("a"));
    world.pass(10_000);
    let id = world.joined(a).member;
    let call = world.ask(Request::Sync(Sync { who: who(&id, 1), is_unnamed: true, ..Sync::default() }));
    assert_eq!(world.error(call), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

/// Its record is on its way when the last member leaves; what it says must not be lost on the way.
#[test]
fn a_group_whose_last_member_left_keeps_its_protocol_type_and_generation() {
    let mut world = World::new(SETTINGS);
    let (_, a) = world.join(member("a"));
    world.pass(10_000);
    let id = world.joined(a).member;
    world.leave(&id);
    let group = &world.coordinator.groups["g"];
    assert_eq!((group.protocol_type.as_deref(), group.generation), (Some("consumer"), 2));
}

#[test]
fn wrong_joins_are_refused() {
    let mut world = World::new(SETTINGS);
    let refused = |world: &mut World, join: Join| {
        let call = world.ask(Request::Join(join));
        world.error(call)
    };
    assert_eq!(refused(&mut world, Join { group: "".into(), ..member("a") }), ErrorCode::INVALID_GROUP_ID);
    let short = Join { session_timeout_ms: 5_999, ..member("a") };
    assert_eq!(refused(&mut world, short), ErrorCode::INVALID_SESSION_TIMEOUT);
    let stranger = Join { member: "x".into(), ..member("a") };
    assert_eq!(refused(&mut world, stranger.clone()), ErrorCode::UNKNOWN_MEMBER_ID);
    let none = Join { protocols: vec![], ..member("a") };
    assert_eq!(refused(&mut world, none), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    world.stable(&["a"]);
    assert_eq!(refused(&mut world, stranger), ErrorCode::UNKNOWN_MEMBER_ID);
    let other = Join { protocol_type: "connect".into(), ..member("b") };
    assert_eq!(refused(&mut world, other), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let foreign = Join { protocols: vec![("uniform".into(), Bytes::new())], ..member("b") };
    assert_eq!(refused(&mut world, foreign), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

#[test]
fn a_full_group_takes_nobody_and_ids_given_out_count() {
    let mut world = World::new(Settings { size_max: 2, ..SETTINGS });
    world.stable(&["a"]);
    let call = world.ask(Request::Join(member("b")));
    assert_eq!(world.error(call), ErrorCode::MEMBER_ID_REQUIRED);
    let call = world.ask(Request::Join(member("c")));
    assert_eq!(world.error(call), ErrorCode::GROUP_MAX_SIZE_REACHED);
    world.pass(30_000);
    let a = world.coordinator.groups["g"].leader.clone().unwrap();
    world.beat(&a);
    world.pass(20_000);
    let call = world.ask(Request::Join(member("c")));
    assert_eq!(world.error(call), ErrorCode::MEMBER_ID_REQUIRED, "b's id has run out");
}

#[test]
fn the_protocol_most_members_like_is_chosen() {
    let mut world = World::new(SETTINGS);
    let liking = |name: &str, protocols: &[&str]| Join {
        protocols: protocols.iter().map(|name| (name.to_string(), subscription(&["t"]))).collect(),
        ..member(name)
    };
    let (_, a) = world.join(liking("a", &["range", "cooperative-sticky"]));
    world.join(liking("b", &["cooperative-sticky", "range"]));
    world.join(liking("c", &["uniform", "cooperative-sticky", "range"]));
    world.pass(10_000);
    assert_eq!(world.joined(a).protocol.as_deref(), Some("cooperative-sticky"));
}

#[test]
fn groups_are_described_listed_and_deleted() {
    let mut world = World::new(SETTINGS);
    let a = world.stable(&["a"]).remove(0);
    world.commit(&a, 1, 5);
    let call = world.ask(Request::Describe { group: "g".into() });
    let Reply::Described(described) = &world.replies[&call] else { panic!("not described") };
    assert_eq!((described.state, described.protocol.as_str()), ("Stable", "range"));
    assert_eq!(described.members[0].assignment, a.as_bytes());
    let list = |world: &mut World, state: &str| {
        let call = world.ask(Request::List { states: vec![state.into()], types: vec!["Classic".into()] });
        let Reply::Listed(listed) = &world.replies[&call] else { panic!("not listed") };
        listed.len()
    };
    assert_eq!((list(&mut world, "stable"), list(&mut world, "empty")), (1, 0));
    let delete = |world: &mut World| {
        let call = world.ask(Request::DeleteGroup { group: "g".into() });
        world.error(call)
    };
    assert_eq!(delete(&mut world), ErrorCode::NON_EMPTY_GROUP);
    world.leave(&a);
    assert_eq!(delete(&mut world), ErrorCode::NONE);
    assert_eq!(delete(&mut world), ErrorCode::GROUP_ID_NOT_FOUND);
    world.restart();
    assert_eq!(world.committed("t", 0), None);
    let call = world.ask(Request::Describe { group: "g".into() });
    assert_eq!(world.error(call), ErrorCode::GROUP_ID_NOT_FOUND);
}

#[test]
fn offsets_of_topics_that_are_read_are_not_deleted() {
    let mut world = World::new(SETTINGS);
    let a = world.stable(&["a"]).remove(0);
    world.commit(&a, 1, 5);
    world.ask(Request::Commit(commit_of(who(&a, 1), "other", 0, 6)));
    let delete = |world: &mut World, topic: &str| {
        let topics = vec![(topic.into(), vec![0])];
        let call = world.ask(Request::DeleteOffsets { group: "g".into(), topics });
        world.error(call)
    };
    assert_eq!(delete(&mut world, "t"), ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
    assert_eq!(delete(&mut world, "other"), ErrorCode::NONE);
    assert_eq!((world.committed("t", 0), world.committed("other", 0)), (Some(5), None));
    world.ask(Request::TopicDeleted { id: TopicId([3; 16]), name: "t".into() });
    assert_eq!(world.committed("t", 0), None);
}

#[test]
fn offsets_go_a_week_after_the_last_member_and_the_group_with_them() {
    let mut world = World::new(SETTINGS);
    let a = world.stable(&["a"]).remove(0);
    world.commit(&a, 1, 5);
    let day = 24 * 3_600_000;
    for _ in 0..8 * 24 * 120 {
        world.pass(30_000);
        world.beat(&a);
    }
    assert_eq!(world.committed("t", 0), Some(5), "it has a member that reads the topic");
    world.leave(&a);
    world.pass(6 * day);
    assert_eq!(world.committed("t", 0), Some(5));
    world.pass(day + 600_000);
    assert_eq!(world.committed("t", 0), None);
    assert!(world.coordinator.groups.is_empty());
    world.restart();
    assert!(world.coordinator.groups.is_empty());
}

#[test]
fn a_million_commits_leave_a_short_log() {
    let mut world = World::new(SETTINGS);
    for round in 0..1_000_000i64 {
        let index = (round % 1_000) as i32;
        let commit = commit_of(who("", -1), "t", index, round);
        world.next += 1;
        let decision = world.coordinator.decide(now(0), Call(world.next), Request::Commit(commit));
        let mut records = decision.records;
        records.extend(world.coordinator.clean(world.start, world.log.len() as i64, 1));
        for record in records {
            world.coordinator.apply(now(0), world.log.len() as i64, &record).unwrap();
            world.log.push(record);
        }
        let end = world.log.len() as i64;
        world.start = world.coordinator.log_start(world.start, end).unwrap_or(world.start);
        assert!(end - world.start < 24_000, "{} records at {round}", end - world.start);
    }
    world.restart();
    world.coordinator.check();
    for index in 0..1_000 {
        assert_eq!(world.committed("t", index), Some(999_000 + i64::from(index)));
    }
    assert!(world.log.len() < 2_000_000, "{} records were appended for a million", world.log.len());
}
