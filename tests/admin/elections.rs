//! What a single broker answers to questions that are about several: elections, reassignments, the quorum; and what has
//! configurations.

use crate::world::World;
use highwater::api::describe_quorum::Quorum;
use highwater::api::{describe_quorum, elect_leaders, list_config_resources, list_partition_reassignments};
use highwater::ids::{Epoch, Offset};
use highwater::wire::ErrorCode;
use highwater::wire::describe_quorum::{DescribeQuorumRequest, QuorumPartitionRequest, QuorumTopicRequest};
use highwater::wire::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use highwater::wire::list_config_resources::ListConfigResourcesRequest;
use highwater::wire::list_partition_reassignments::ListPartitionReassignmentsRequest;

fn elect<'a>(election_type: i8, topics: Option<&[(&'a str, &[i32])]>) -> ElectLeadersRequest<'a> {
    let topic = |(topic, partitions): &(&'a str, &[i32])| TopicPartitions {
        topic: (*topic).into(),
        partitions: partitions.to_vec(),
    };
    let topic_partitions = topics.map(|topics| topics.iter().map(topic).collect());
    ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 1000 }
}

/// The whole code, then code and message of each partition.
fn elected(world: &World, request: &ElectLeadersRequest<'_>) -> (i16, Vec<(i16, String)>) {
    let answer = elect_leaders::answer(request, &world.view());
    let told = answer.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
    let told = told.map(|one| (one.error_code.0, one.error_message.as_deref().unwrap_or("null").to_string()));
    (answer.error_code.0, told.collect())
}

#[test]
fn an_election_is_never_needed() {
    let mut world = World::new();
    world.topic("t", 2, &[]);
    let not_needed = (84, "Leader election not needed for topic partition.".to_string());
    for kind in [0, 1] {
        assert_eq!(elected(&world, &elect(kind, Some(&[("t", &[0, 1])]))), (0, vec![not_needed.clone(); 2]));
    }
    let all = elect(0, None);
    let answer = elect_leaders::answer(&all, &world.view());
    let topics: Vec<_> =
        answer.replica_election_results.iter().map(|one| (&*one.topic, one.partition_result.len())).collect();
    assert_eq!(topics, [("t", 0)]);
}

#[test]
fn an_election_that_cannot_be_has_its_code() {
    let mut world = World::new();
    world.topic("t", 2, &[]);
    let row = |code: i16, text: &str| (code, text.to_string());
    assert_eq!(
        elected(&world, &elect(0, Some(&[("t", &[2, -1]), ("unk", &[0])]))),
        (
            0,
            vec![
                row(3, "No such partition as t-2"),
                row(3, "No such partition as t--1"),
                row(3, "No such topic as unk")
            ]
        )
    );
    assert_eq!(elected(&world, &elect(2, Some(&[("t", &[0])]))), (42, vec![row(42, "Unknown election type 2")]));
    world.leaders.clear();
    assert_eq!(elected(&world, &elect(0, Some(&[("t", &[0])]))).1[0].0, 80);
    assert_eq!(elected(&world, &elect(1, Some(&[("t", &[0])]))).1[0].0, 83);
}

#[test]
fn nothing_is_being_reassigned() {
    let answer = list_partition_reassignments::answer(&ListPartitionReassignmentsRequest::default());
    assert_eq!((answer.error_code, answer.topics.len()), (ErrorCode::NONE, 0));
}

#[test]
fn the_metadata_log_is_a_quorum_of_one() {
    let world = World::new();
    let quorum = Quorum { epoch: Epoch(3), high_watermark: Offset(7), end: Offset(8), now: crate::world::NOW };
    let ask = |topics: &[(&'static str, &[i32])]| {
        let partition = |index: &i32| QuorumPartitionRequest { partition_index: *index };
        let topic = |(name, parts): &(&'static str, &[i32])| QuorumTopicRequest {
            topic_name: (*name).into(),
            partitions: parts.iter().map(partition).collect(),
        };
        let request = DescribeQuorumRequest { topics: topics.iter().map(topic).collect() };
        describe_quorum::answer(&request, &quorum, &world.view())
    };
    let answer = ask(&[("__cluster_metadata", &[0])]);
    let part = &answer.topics[0].partitions[0];
    assert_eq!((part.error_code, part.leader_id, part.leader_epoch, part.high_watermark), (ErrorCode::NONE, 1, 3, 7));
    let voters: Vec<_> = part.current_voters.iter().map(|voter| (voter.replica_id, voter.log_end_offset)).collect();
    assert_eq!((voters, part.observers.len()), (vec![(1, 8)], 0));
    assert_eq!(
        (answer.nodes[0].node_id, &*answer.nodes[0].listeners[0].host, answer.nodes[0].listeners[0].port),
        (1, "localhost", 9092)
    );
    for topics in
        [&[("__cluster_metadata", &[0, 1][..])][..], &[("t", &[0])], &[("__cluster_metadata", &[0]), ("t", &[0])]]
    {
        let answer = ask(topics);
        let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|part| part.error_code);
        assert!(codes.clone().count() > 0 && codes.clone().all(|code| code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        assert!(answer.nodes.is_empty());
    }
}

#[test]
fn topics_and_the_broker_have_configurations() {
    let mut world = World::new();
    world.topic("b", 1, &[]);
    world.topic("a", 1, &[]);
    let list = |version, types: &[i8]| {
        let request = ListConfigResourcesRequest { resource_types: types.to_vec() };
        let answer = list_config_resources::answer(&request, version, &world.view());
        let found = answer.config_resources.iter().map(|one| (one.resource_type, one.resource_name.to_string()));
        (answer.error_code.0, found.collect::<Vec<_>>())
    };
    let (topics, broker) = ([(2, "a".to_string()), (2, "b".to_string())], (4, "1".to_string()));
    assert_eq!(list(1, &[]), (0, [&topics[..], std::slice::from_ref(&broker)].concat()));
    assert_eq!(list(1, &[2, 2]), (0, topics.to_vec()));
    assert_eq!(list(1, &[4]), (0, vec![broker]));
    assert_eq!(list(1, &[8, 16, 32]), (0, vec![]));
    assert_eq!(list(1, &[2, 3]), (35, vec![]));
    assert_eq!(list(0, &[]), (0, vec![]));
}
