//! DescribeTopicPartitions: order, pages, cursors.

use crate::world::World;
use highwater::api::describe_topic_partitions::answer;
use highwater::ids::TopicId;
use highwater::wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponsePartition, TopicRequest,
};

fn ask<'a>(topics: &[&'a str], limit: i32, cursor: Option<(&'a str, i32)>) -> DescribeTopicPartitionsRequest<'a> {
    DescribeTopicPartitionsRequest {
        topics: topics.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, index)| Cursor { topic_name: name.into(), partition_index: index }),
    }
}

/// The answer as (error, name, partitions), and the cursor.
fn told(world: &World, request: &DescribeTopicPartitionsRequest<'_>) -> (Vec<String>, Option<(String, i32)>) {
    let response = answer(request, &world.view());
    let topic = |topic: &highwater::wire::describe_topic_partitions::DescribeTopicPartitionsResponseTopic<'_>| {
        let indices: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        format!("{} {} {indices:?}", topic.error_code.0, topic.name.as_deref().unwrap())
    };
    let cursor = response.next_cursor.map(|cursor| (cursor.topic_name.into_owned(), cursor.partition_index));
    (response.topics.iter().map(topic).collect(), cursor)
}

fn world() -> World {
    let mut world = World::new();
    for name in ["c5", "c4", "c6"] {
        world.topic(name, 2, &[]);
    }
    world
}

fn at(name: &str, index: i32) -> Option<(String, i32)> {
    Some((name.to_string(), index))
}

#[test]
fn no_names_means_every_topic_in_order() {
    let expected = ["0 c4 [0, 1]", "0 c5 [0, 1]", "0 c6 [0, 1]"].map(String::from).to_vec();
    assert_eq!(told(&world(), &ask(&[], 2000, None)), (expected, None));
}

#[test]
fn a_topic_is_described_in_full() {
    let mut world = World::new();
    let id = world.topic("__consumer_offsets", 1, &[]);
    let request = ask(&["__consumer_offsets"], 2000, None);
    let response = answer(&request, &world.view());
    let topic = &response.topics[0];
    assert_eq!((topic.topic_id, topic.is_internal, topic.topic_authorized_operations), (id, true, 3576));
    let expected = DescribeTopicPartitionsResponsePartition {
        leader_id: 1,
        leader_epoch: 0,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        eligible_leader_replicas: Some(vec![]),
        last_known_elr: Some(vec![]),
        ..Default::default()
    };
    assert_eq!(topic.partitions, [expected]);
}

#[test]
fn a_partition_without_a_leader_has_leader_minus_one_and_no_error() {
    let mut world = world();
    world.leaders.clear();
    let request = ask(&["c4"], 2000, None);
    let response = answer(&request, &world.view());
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code.0, partition.leader_id, partition.leader_epoch), (0, -1, -1));
}

#[test]
fn a_page_ends_at_the_limit_and_its_cursor_goes_on() {
    let world = world();
    let (topics, cursor) = told(&world, &ask(&[], 3, Some(("c4", 1))));
    assert_eq!((topics, cursor), (vec!["0 c4 [1]".to_string(), "0 c5 [0, 1]".into()], at("c6", 0)));
    let (topics, cursor) = told(&world, &ask(&[], 3, None));
    assert_eq!((topics, cursor), (vec!["0 c4 [0, 1]".to_string(), "0 c5 [0]".into()], at("c5", 1)));
}

#[test]
fn pages_of_one_partition_cover_everything_once() {
    let world = world();
    let mut cursor: Option<(String, i32)> = None;
    let mut seen = Vec::new();
    loop {
        let from = cursor.as_ref().map(|(name, index)| (name.as_str(), *index));
        let (topics, next) = told(&world, &ask(&[], 0, from));
        seen.extend(topics);
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["0 c4 [0]", "0 c4 [1]", "0 c5 [0]", "0 c5 [1]", "0 c6 [0]", "0 c6 [1]"]);
}

#[test]
fn the_broker_bounds_the_limit() {
    let mut world = World::with(&[("max.request.partition.size.limit", "2")]);
    world.topic("a", 5, &[]);
    assert_eq!(told(&world, &ask(&[], 2000, None)), (vec!["0 a [0, 1]".into()], at("a", 2)));
}

#[test]
fn a_cursor_at_a_topic_that_is_gone_goes_on_behind_it() {
    let (topics, cursor) = told(&world(), &ask(&[], 3, Some(("c44", 1))));
    assert_eq!((topics, cursor), (vec!["0 c5 [0, 1]".to_string(), "0 c6 [0]".into()], at("c6", 1)));
}

#[test]
fn a_cursor_behind_a_topics_last_partition_finds_none_there() {
    let (topics, cursor) = told(&world(), &ask(&[], 3, Some(("c4", 7))));
    assert_eq!(topics, ["0 c4 []", "0 c5 [0, 1]", "0 c6 [0]"]);
    assert_eq!(cursor, at("c6", 1));
    let (topics, _) = told(&world(), &ask(&[], i32::MAX, Some(("c4", i32::MAX))));
    assert_eq!(topics, ["0 c4 []", "0 c5 [0, 1]", "0 c6 [0, 1]"]);
}

#[test]
fn names_are_sorted_and_told_once_with_their_errors() {
    let (topics, cursor) = told(&world(), &ask(&["zz", "c4", "c4", "a b", "c6"], 2000, None));
    assert_eq!(topics, ["17 a b []", "0 c4 [0, 1]", "0 c6 [0, 1]", "3 zz []"]);
    assert_eq!(cursor, None);
    let world = world();
    let request = ask(&["zz"], 2000, None);
    let response = answer(&request, &world.view());
    assert_eq!((response.topics[0].topic_id, response.topics[0].topic_authorized_operations), (TopicId::ZERO, 3576));
}

#[test]
fn a_cursor_outside_the_names_is_refused_at_each_of_them() {
    let request = ask(&["zz", "c4", "c4"], 2000, Some(("c5", 0)));
    assert_eq!(told(&world(), &request).0, ["42 zz []", "42 c4 []", "42 c4 []"]);
    let request = ask(&["zz", "c4"], 2000, Some(("zz", 1)));
    assert_eq!(told(&world(), &request).0, ["3 zz []"]);
}

#[test]
fn a_negative_partition_in_the_cursor_is_refused() {
    assert_eq!(told(&world(), &ask(&["c4"], 2000, Some(("c4", -1)))).0, ["42 c4 []"]);
    assert_eq!(told(&world(), &ask(&[], 2000, Some(("c4", -1)))), (vec![], None));
}
