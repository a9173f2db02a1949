//! CreatePartitions: counts, assignments, and what is wrong with them.

use crate::world::World;
use highwater::api::create_partitions::decide;
use highwater::metadata::Record;
use highwater::wire::create_partitions::{CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic};

fn wish<'a>(name: &'a str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic<'a> {
    let assignment = |brokers: &&[i32]| CreatePartitionsAssignment { broker_ids: brokers.to_vec() };
    let assignments = assignments.map(|all| all.iter().map(assignment).collect());
    CreatePartitionsTopic { name: name.into(), count, assignments }
}

fn request(topics: Vec<CreatePartitionsTopic<'_>>) -> CreatePartitionsRequest<'_> {
    CreatePartitionsRequest { topics, timeout_ms: 1000, validate_only: false }
}

/// Name, code and message of each topic.
fn grow(world: &mut World, request: &CreatePartitionsRequest<'_>) -> Vec<(String, i16, Option<String>)> {
    let decision = decide(request, &world.view());
    world.commit(&decision.records);
    let told = |result: &highwater::wire::create_partitions::CreatePartitionsTopicResult<'_>| {
        (result.name.to_string(), result.error_code.0, result.error_message.as_deref().map(str::to_string))
    };
    decision.response.results.iter().map(told).collect()
}

fn refusal(world: &mut World, name: &str, count: i32, assignments: Option<&[&[i32]]>) -> (i16, String) {
    let (_, code, text) = grow(world, &request(vec![wish(name, count, assignments)])).remove(0);
    (code, text.unwrap_or_default())
}

#[test]
fn a_topic_gets_more_partitions() {
    let mut world = World::new();
    let id = world.topic("t", 2, &[]);
    let decision = decide(&request(vec![wish("t", 5, None)]), &world.view());
    assert_eq!(decision.records, [Record::PartitionsAdded { id, partitions: 5 }]);
    world.commit(&decision.records);
    assert_eq!((world.image.topic(id).unwrap().partitions, world.image.partitions()), (5, 5));
    assert_eq!(grow(&mut world, &request(vec![wish("t", 7, Some(&[&[1], &[1]]))])), [("t".to_string(), 0, None)]);
    assert_eq!(world.image.partitions(), 7);
}

#[test]
fn what_is_no_increase_is_refused() {
    let mut world = World::new();
    world.topic("t", 3, &[]);
    assert_eq!(refusal(&mut world, "t", 3, None), (37, "Topic already has 3 partition(s).".to_string()));
    for count in [2, 0, -1, i32::MIN] {
        let text = format!("The topic t currently has 3 partition(s); {count} would not be an increase.");
        assert_eq!(refusal(&mut world, "t", count, None), (37, text));
    }
    assert_eq!(refusal(&mut world, "unk", 3, None), (3, String::new()));
}

#[test]
fn assignments_must_fit() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let cases: &[(&[&[i32]], &str)] = &[
        (&[], "Attempted to add 2 additional partition(s), but only 0 assignment(s) were specified."),
        (&[&[1]], "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."),
        (&[&[1], &[]], "The manual partition assignment includes an empty replica list."),
        (&[&[1], &[9]], "The manual partition assignment includes broker 9, but no such broker is registered."),
        (&[&[1, 1], &[1]], "The manual partition assignment includes the broker 1 more than once."),
    ];
    for (assignments, text) in cases {
        assert_eq!(refusal(&mut world, "t", 3, Some(assignments)), (39, text.to_string()));
    }
    assert_eq!(world.image.partitions(), 1);
}

#[test]
fn a_topic_named_twice_does_not_grow() {
    let mut world = World::new();
    world.topic("a", 1, &[]);
    world.topic("b", 1, &[]);
    let told = grow(&mut world, &request(vec![wish("a", 2, None), wish("b", 2, None), wish("a", 3, None)]));
    let twice = Some("Duplicate topic name.".to_string());
    assert_eq!(told, [("a".to_string(), 42, twice), ("b".to_string(), 0, None)]);
}

#[test]
fn what_is_only_validated_changes_nothing() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let asked = CreatePartitionsRequest { validate_only: true, ..request(vec![wish("t", 2, None)]) };
    assert_eq!(grow(&mut world, &asked), [("t".to_string(), 0, None)]);
    assert_eq!(world.image.partitions(), 1);
}

#[test]
fn a_broker_holds_no_more_than_it_can() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let text = "Excessively large number of additional partitions per request.".to_string();
    assert_eq!(refusal(&mut world, "t", i32::MAX, None), (44, text));
    for count in (1..10).map(|step| step * 10_000) {
        assert_eq!(refusal(&mut world, "t", count, None), (0, String::new()));
    }
    assert_eq!(refusal(&mut world, "t", 100_000, None).0, 0);
    let (code, text) = refusal(&mut world, "t", 100_001, None);
    assert_eq!(
        (code, &*text),
        (37, "The broker holds 100000 partitions and 1 more would be 100001: at most 100000 are allowed.")
    );
}

#[test]
fn the_topic_of_committed_offsets_keeps_its_partitions() {
    let mut world = World::new();
    world.topic("__consumer_offsets", 50, &[]);
    let text = "The number of partitions of __consumer_offsets cannot be changed.".to_string();
    assert_eq!(refusal(&mut world, "__consumer_offsets", 51, None), (37, text));
}
