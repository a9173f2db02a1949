//! Metadata: whom a client learns of, which topics, and which it wishes into being.

use crate::world::{CLUSTER, NOW, World};
use highwater::api::create_topics::auto_create;
use highwater::api::metadata::{answer, missing};
use highwater::ids::TopicId;
use highwater::metadata::Record;
use highwater::wire::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use highwater::wire::{ErrorCode, List};

fn named<'a>(names: &[&'a str]) -> MetadataRequest<'a> {
    let topic = |name: &&'a str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    MetadataRequest { topics: Some(names.iter().map(topic).collect()), ..MetadataRequest::default() }
}

fn by_ids(ids: &[TopicId]) -> MetadataRequest<'static> {
    let topic = |id: &TopicId| MetadataRequestTopic { topic_id: *id, ..Default::default() };
    MetadataRequest { topics: Some(ids.iter().map(topic).collect()), ..MetadataRequest::default() }
}

fn all() -> MetadataRequest<'static> {
    MetadataRequest { topics: None, ..MetadataRequest::default() }
}

fn told(response: &MetadataResponse<'_>) -> Vec<(i16, String)> {
    let topic =
        |topic: &MetadataResponseTopic<'_>| (topic.error_code.0, topic.name.as_deref().unwrap_or("null").to_string());
    response.topics.iter().map(topic).collect()
}

#[test]
fn a_topic_is_told_with_its_partitions_and_their_leader() {
    let mut world = World::new();
    let id = world.topic("t", 2, &[]);
    let partition = |index| MetadataResponsePartition {
        error_code: ErrorCode::NONE,
        partition_index: index,
        leader_id: 1,
        leader_epoch: 0,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        offline_replicas: vec![],
    };
    let requests = [named(&["t"]), by_ids(&[id]), all()];
    let expected = MetadataResponse {
        brokers: vec![MetadataResponseBroker { node_id: 1, host: "localhost".into(), port: 9092, rack: None }],
        cluster_id: Some(CLUSTER.into()),
        controller_id: 1,
        topics: List::from(vec![MetadataResponseTopic {
            error_code: ErrorCode::NONE,
            name: Some("t".into()),
            topic_id: id,
            is_internal: false,
            partitions: vec![partition(0), partition(1)].into(),
            topic_authorized_operations: i32::MIN,
        }]),
        cluster_authorized_operations: i32::MIN,
        ..MetadataResponse::default()
    };
    for request in &requests {
        assert_eq!(answer(request, 12, &world.view()), expected);
    }
}

#[test]
fn a_partition_without_a_leader_is_not_available() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    world.leaders.clear();
    let response = answer(&named(&["t"]), 12, &world.view()).topics[0].partitions[0].clone();
    assert_eq!(response.error_code, ErrorCode::LEADER_NOT_AVAILABLE);
    assert_eq!((response.leader_id, response.leader_epoch, response.replica_nodes), (-1, -1, vec![1]));
}

#[test]
fn null_means_every_topic_and_an_empty_list_means_none() {
    let mut world = World::new();
    world.topic("b", 1, &[]);
    world.topic("a", 1, &[]);
    for version in 1..=13 {
        assert_eq!(told(&answer(&all(), version, &world.view())), [(0, "a".to_string()), (0, "b".to_string())]);
        assert_eq!(told(&answer(&named(&[]), version, &world.view())), []);
    }
}

#[test]
fn in_version_0_an_empty_list_means_every_topic() {
    let mut world = World::new();
    world.topic("a", 1, &[]);
    assert_eq!(told(&answer(&named(&[]), 0, &world.view())), [(0, "a".to_string())]);
}

#[test]
fn unknown_and_invalid_names_have_their_codes() {
    let world = World::new();
    let request = named(&["unknown", "a b", "", ".", "__consumer_offsets", "unknown"]);
    let response = answer(&request, 12, &world.view());
    let expected = [(3, "unknown"), (17, "a b"), (17, ""), (17, "."), (3, "__consumer_offsets")];
    assert_eq!(told(&response), expected.map(|(code, name)| (code, name.to_string())));
    assert!(response.topics[4].is_internal && response.topics[0].topic_id == TopicId::ZERO);
}

#[test]
fn an_unknown_id_has_its_code_and_no_name() {
    let world = World::new();
    let mut request = by_ids(&[TopicId([5; 16])]);
    request.include_topic_authorized_operations = true;
    let expected = MetadataResponseTopic {
        error_code: ErrorCode::UNKNOWN_TOPIC_ID,
        name: None,
        topic_id: TopicId([5; 16]),
        ..MetadataResponseTopic::default()
    };
    assert_eq!(*answer(&request, 12, &world.view()).topics, [expected]);
}

#[test]
fn where_there_is_an_id_names_are_not_looked_at() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let mut request = named(&["t", "other"]);
    request.topics.as_mut().unwrap()[0].topic_id = TopicId([5; 16]);
    assert_eq!(told(&answer(&request, 12, &world.view())), [(100, "null".to_string())]);
    assert_eq!(missing(&request, 12, &world.view()), [""; 0]);
}

#[test]
fn ids_are_refused_before_version_12_and_null_names_always() {
    let world = World::new();
    let mut request = named(&["t"]);
    request.topics.as_mut().unwrap()[0].topic_id = TopicId([5; 16]);
    let refused = answer(&request, 10, &world.view());
    assert_eq!((told(&refused), refused.topics[0].topic_id), (vec![(42, "t".to_string())], TopicId([5; 16])));
    assert_eq!((refused.brokers.len(), refused.controller_id, refused.cluster_id.clone()), (0, -1, None));
    let nameless = by_ids(&[TopicId::ZERO]);
    for version in 10..=13 {
        assert_eq!(told(&answer(&nameless, version, &world.view())), [(42, String::new())]);
        assert_eq!(missing(&nameless, version, &world.view()), [""; 0]);
    }
}

#[test]
fn operations_are_told_when_they_are_asked_for() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let request = MetadataRequest {
        include_cluster_authorized_operations: true,
        include_topic_authorized_operations: true,
        ..named(&["t", "unknown"])
    };
    for (version, cluster) in [(8, 8096), (10, 8096), (11, i32::MIN)] {
        let response = answer(&request, version, &world.view());
        let topics = response.topics.iter().map(|topic| topic.topic_authorized_operations);
        assert_eq!((topics.collect::<Vec<_>>(), response.cluster_authorized_operations), (vec![3576, 3576], cluster));
    }
}

#[test]
fn only_missing_valid_names_are_wished_for() {
    let mut world = World::new();
    world.topic("here", 1, &[]);
    world.topic("col.a", 1, &[]);
    let names = ["new", "here", "a b", "", "col_a", "__consumer_offsets", "__cluster_metadata", "new"];
    assert_eq!(missing(&named(&names), 12, &world.view()), ["new"]);
    assert_eq!(missing(&all(), 12, &world.view()), [""; 0]);
    assert_eq!(missing(&by_ids(&[TopicId([5; 16])]), 12, &world.view()), [""; 0]);
}

#[test]
fn nothing_is_wished_for_where_the_request_or_the_broker_forbids_it() {
    let world = World::with(&[("auto.create.topics.enable", "false")]);
    assert_eq!(missing(&named(&["new"]), 12, &world.view()), [""; 0]);
    let request = MetadataRequest { allow_auto_topic_creation: false, ..named(&["new"]) };
    assert_eq!(missing(&request, 12, &World::new().view()), [""; 0]);
}

#[test]
fn a_wished_topic_is_made_with_the_brokers_defaults_and_then_found() {
    let mut world = World::with(&[("num.partitions", "3")]);
    let names = missing(&named(&["new", "other"]), 12, &world.view());
    let mut rng = world.rng.clone();
    let records = auto_create(&names, &world.view(), NOW, &mut rng);
    assert_eq!(records.len(), 2);
    let Record::TopicCreated(topic) = &records[0] else { panic!("{records:?}") };
    assert_eq!((&*topic.name, topic.partitions, topic.configs.len(), topic.created_ms), ("new", 3, 0, NOW.0));
    world.commit(&records);
    let request = named(&["new"]);
    let response = answer(&request, 12, &world.view());
    assert_eq!((told(&response), response.topics[0].partitions.len()), (vec![(0, "new".to_string())], 3));
    // Someone else's wish for the same topic came later: nothing is left to do.
    assert_eq!(auto_create(&names, &world.view(), NOW, &mut rng), []);
}

#[test]
fn of_two_wished_names_that_collide_the_first_is_made() {
    let world = World::new();
    let names = ["a.x".to_string(), "a_x".to_string()];
    let records = auto_create(&names, &world.view(), NOW, &mut world.rng.clone());
    assert_eq!(records.len(), 1);
}

#[test]
fn nothing_is_made_where_the_default_needs_more_brokers() {
    let world = World::with(&[("default.replication.factor", "3")]);
    assert_eq!(auto_create(&["new".to_string()], &world.view(), NOW, &mut world.rng.clone()), []);
}

#[test]
fn one_request_makes_a_bounded_number_of_partitions() {
    let world = World::with(&[("num.partitions", "3000")]);
    let names: Vec<String> = (0..9).map(|number| format!("t{number}")).collect();
    assert_eq!(auto_create(&names, &world.view(), NOW, &mut world.rng.clone()).len(), 3);
}
