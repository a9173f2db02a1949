//! FindCoordinator: the first who asks has the topic of committed offsets made.

use crate::world::World;
use highwater::api::{create_topics, find_coordinator};
use highwater::boundary::Timestamp;
use highwater::metadata::Record;
use highwater::wire::ErrorCode;
use highwater::wire::find_coordinator::FindCoordinatorRequest;

fn asking<'a>(keys: &[&'a str]) -> FindCoordinatorRequest<'a> {
    FindCoordinatorRequest {
        coordinator_keys: keys.iter().map(|key| (*key).into()).collect(),
        ..FindCoordinatorRequest::default()
    }
}

#[test]
fn the_topic_of_offsets_is_made_as_kafka_makes_it() {
    let world = World::new();
    let view = world.view();
    assert!(find_coordinator::offsets_topic_missing(&asking(&["g"]), &view));
    let transaction = FindCoordinatorRequest { key_type: 1, ..asking(&["t"]) };
    assert!(!find_coordinator::offsets_topic_missing(&transaction, &view));
    let records = create_topics::offsets_topic(&view, Timestamp(1), &mut world.rng.clone());
    let [Record::TopicCreated(topic)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((topic.name.as_str(), topic.partitions), ("__consumer_offsets", 50));
    let configs: Vec<_> = topic.configs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        configs,
        [("cleanup.policy", "compact"), ("compression.type", "producer"), ("segment.bytes", "104857600")]
    );
}

#[test]
fn a_coordinator_that_does_not_lead_yet_is_not_available() {
    let world = World::new();
    let request = asking(&["one", "two"]);
    let response = find_coordinator::answer(&request, 4, &world.view());
    let told: Vec<_> =
        response.coordinators.iter().map(|found| (&*found.key, found.node_id, found.error_code)).collect();
    let error = ErrorCode::COORDINATOR_NOT_AVAILABLE;
    assert_eq!(told, [("one", -1, error), ("two", -1, error)]);
    let old = FindCoordinatorRequest { key: "one".into(), ..FindCoordinatorRequest::default() };
    assert_eq!(find_coordinator::answer(&old, 3, &world.view()).error_code, error);
}

#[test]
fn other_kinds_of_keys_are_refused_with_a_reason() {
    let world = World::new();
    let request = FindCoordinatorRequest { key_type: 1, ..asking(&["t"]) };
    let response = find_coordinator::answer(&request, 6, &world.view());
    assert_eq!(response.coordinators[0].error_code, ErrorCode::INVALID_REQUEST);
    assert!(response.coordinators[0].error_message.as_ref().unwrap().contains("key type 1"));
}
