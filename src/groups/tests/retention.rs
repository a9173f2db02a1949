//! How long committed offsets are kept (KIP-211), and what of them goes with a topic.

use super::*;

const MINUTE: u64 = 60_000;
/// Kept for an hour, looked at every ten minutes.
const AN_HOUR: Settings = Settings { retention_ms: 60 * MINUTE as i64, ..SETTINGS };

impl World {
    /// Lets time pass in which a member shows that it lives.
    fn live(&mut self, id: &str, ms: u64) {
        for _ in 0..ms / 30_000 {
            self.pass(30_000);
            assert_eq!(self.beat(id), ErrorCode::NONE);
        }
    }

    /// Commits for another topic than the one that members read.
    fn commit_elsewhere(&mut self, id: &str, topic: &str, topic_id: [u8; 16], offset: i64) {
        let generation = self.generation();
        let mut commit = commit_of(who(id, generation), topic, 0, offset);
        commit.topics[0].id = TopicId(topic_id);
        let call = self.ask(Request::Commit(commit));
        assert_eq!(self.error(call), ErrorCode::NONE);
    }

    fn delete_topic(&mut self, id: [u8; 16], name: &str) {
        self.ask(Request::TopicDeleted { id: TopicId(id), name: name.into() });
    }

    fn has_group(&self) -> bool {
        self.coordinator.groups.contains_key("g")
    }
}

#[test]
fn offsets_of_a_topic_that_a_living_group_reads_no_more_go() {
    let mut world = World::new(AN_HOUR);
    let a = world.stable(&["a"]).remove(0);
    assert_eq!(world.commit(&a, 1, 5), ErrorCode::NONE);
    world.commit_elsewhere(&a, "before", [4; 16], 6);
    world.live(&a, 50 * MINUTE);
    assert_eq!(world.committed("before", 0), Some(6));
    world.live(&a, 21 * MINUTE);
    assert_eq!((world.committed("before", 0), world.committed("t", 0)), (None, Some(5)));
}

#[test]
fn offsets_of_a_group_that_is_no_consumer_are_kept_while_it_has_members() {
    let mut world = World::new(AN_HOUR);
    let join = Join { protocol_type: "connect".into(), protocols: vec![("v2".into(), Bytes::new())], ..member("a") };
    let (id, _) = world.join(join);
    world.pass(10_000);
    world.sync_all(core::slice::from_ref(&id));
    assert_eq!(world.commit(&id, 1, 5), ErrorCode::NONE);
    world.live(&id, 120 * MINUTE);
    assert_eq!(world.committed("t", 0), Some(5), "what it reads is not known");
    world.leave(&id);
    world.pass(71 * MINUTE);
    assert_eq!(world.committed("t", 0), None);
}

#[test]
fn offsets_of_who_is_no_member_are_kept_from_their_commit_on() {
    let mut world = World::new(AN_HOUR);
    assert_eq!(world.commit("", -1, 9), ErrorCode::NONE);
    world.pass(40 * MINUTE);
    let call = world.ask(Request::Commit(commit_of(who("", -1), "t", 1, 10)));
    assert_eq!(world.error(call), ErrorCode::NONE);
    world.pass(31 * MINUTE);
    assert_eq!((world.committed("t", 0), world.committed("t", 1)), (None, Some(10)));
    world.restart();
    world.pass(10 * MINUTE);
    assert_eq!(world.committed("t", 1), Some(10), "a restart neither prolongs nor shortens it");
    world.pass(30 * MINUTE);
    assert_eq!(world.committed("t", 1), None);
    assert!(!world.has_group());
}

#[test]
fn a_commit_may_have_a_retention_of_its_own() {
    let mut world = World::new(AN_HOUR);
    for (index, minutes) in [(0, 5), (1, 600)] {
        let ms = Some(minutes * MINUTE as i64);
        let commit = Commit { retention_ms: ms, ..commit_of(who("", -1), "t", index, 9) };
        let call = world.ask(Request::Commit(commit));
        assert_eq!(world.error(call), ErrorCode::NONE);
    }
    world.pass(11 * MINUTE);
    assert_eq!((world.committed("t", 0), world.committed("t", 1)), (None, Some(9)));
    world.pass(500 * MINUTE);
    assert_eq!(world.committed("t", 1), Some(9));
    world.pass(100 * MINUTE);
    assert_eq!(world.committed("t", 1), None);
}

#[test]
fn more_offsets_than_one_decision_lets_go_all_go() {
    let mut world = World::new(AN_HOUR);
    let partition = |index| CommitPartition { index, offset: 1, leader_epoch: -1, metadata: String::new() };
    let mut commit = commit_of(who("", -1), "t", 0, 1);
    commit.topics[0].partitions = (0..3_500).map(partition).collect();
    world.ask(Request::Commit(commit));
    world.pass(71 * MINUTE);
    assert!(!world.has_group(), "{} records in the log", world.log.len());
}

#[test]
fn what_was_committed_for_a_topic_goes_with_it() {
    let mut world = World::new(AN_HOUR);
    let a = world.stable(&["a"]).remove(0);
    assert_eq!(world.commit(&a, 1, 5), ErrorCode::NONE);
    world.commit_elsewhere(&a, "gone", [4; 16], 6);
    world.delete_topic([4; 16], "gone");
    assert_eq!((world.committed("gone", 0), world.committed("t", 0)), (None, Some(5)));
    world.commit_elsewhere(&a, "gone", [5; 16], 7);
    world.delete_topic([4; 16], "gone");
    assert_eq!(world.committed("gone", 0), Some(7), "another topic, of the same name");
    world.restart();
    assert_eq!((world.committed("gone", 0), world.committed("t", 0)), (Some(7), Some(5)));
}

#[test]
fn what_has_a_retention_of_its_own_goes_with_its_topic_too() {
    let mut world = World::new(AN_HOUR);
    for topic in ["gone", "t"] {
        let commit = Commit { retention_ms: Some(1 << 40), ..commit_of(who("", -1), topic, 0, 9) };
        world.ask(Request::Commit(commit));
    }
    world.restart();
    world.delete_topic([3; 16], "gone");
    assert_eq!((world.committed("gone", 0), world.committed("t", 0)), (None, Some(9)));
}
