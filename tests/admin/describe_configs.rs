//! DescribeConfigs: topics, this broker, and everything else.

use crate::world::World;
use highwater::api::View;
use highwater::api::describe_configs;
use highwater::configs::{BROKER, TOPIC};
use highwater::ids::NodeId;
use highwater::metadata::Record;
use highwater::wire::ApiKey;
use highwater::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use highwater::wire::frame::measure_response;

const BYTES_MAX: usize = 16 << 20;

fn answer<'a>(request: &'a DescribeConfigsRequest<'_>, view: &View<'a>) -> DescribeConfigsResponse<'a> {
    describe_configs::answer(request, view, BYTES_MAX)
}

const TOPIC_TYPE: i8 = 2;
const BROKER_TYPE: i8 = 4;

fn ask<'a>(resource_type: i8, name: &'a str, keys: Option<&[&'a str]>) -> DescribeConfigsRequest<'a> {
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name.into(),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
        }],
        ..DescribeConfigsRequest::default()
    }
}

fn describe<R>(
    world: &World,
    request: &DescribeConfigsRequest<'_>,
    look: impl Fn(&DescribeConfigsResult<'_>) -> R,
) -> R {
    look(&answer(request, &world.view()).results[0])
}

fn refusal(resource_type: i8, name: &str) -> (i16, String) {
    describe(&World::new(), &ask(resource_type, name, None), |result| {
        assert_eq!((result.resource_type, &*result.resource_name, result.configs.len()), (resource_type, name, 0));
        (result.error_code.0, result.error_message.as_deref().unwrap().to_string())
    })
}

/// The synonyms of one key, as (name, value, source).
fn synonyms(world: &World, resource_type: i8, name: &str, key: &str) -> Vec<(String, String, i8)> {
    let request = DescribeConfigsRequest { include_synonyms: true, ..ask(resource_type, name, Some(&[key])) };
    let row = |synonym: &DescribeConfigsSynonym<'_>| {
        (synonym.name.to_string(), synonym.value.as_deref().unwrap().to_string(), synonym.source)
    };
    describe(world, &request, |result| result.configs[0].synonyms.iter().map(row).collect())
}

fn row(name: &str, value: &str, source: i8) -> (String, String, i8) {
    (name.to_string(), value.to_string(), source)
}

fn value(world: &World, resource_type: i8, name: &str, key: &str) -> (Option<String>, i8, bool, i8) {
    describe(world, &ask(resource_type, name, Some(&[key])), |result| {
        let entry = &result.configs[0];
        let value = entry.value.as_deref().map(str::to_string);
        (value, entry.config_source, entry.read_only, entry.config_type)
    })
}

fn text(value: &str) -> Option<String> {
    Some(value.to_string())
}

#[test]
fn a_topic_is_described_with_every_key() {
    let mut world = World::new();
    world.topic("t", 1, &[("cleanup.policy", "delete, compact"), ("internal.segment.bytes", "9")]);
    let expected: Vec<&str> = TOPIC.iter().filter(|def| !def.internal).map(|def| def.name).collect();
    for keys in [None, Some(&[][..])] {
        describe(&world, &ask(TOPIC_TYPE, "t", keys), |result| {
            assert_eq!((result.error_code.0, result.error_message.as_deref()), (0, Some("")));
            let names: Vec<&str> = result.configs.iter().map(|entry| &*entry.name).collect();
            assert_eq!(names, expected);
        });
    }
    assert_eq!(value(&world, TOPIC_TYPE, "t", "cleanup.policy"), (text("delete,compact"), 1, false, 7));
    assert_eq!(value(&world, TOPIC_TYPE, "t", "retention.ms"), (text("604800000"), 5, false, 5));
    assert_eq!(value(&world, TOPIC_TYPE, "t", "min.cleanable.dirty.ratio"), (text("0.5"), 5, false, 6));
    assert_eq!(value(&world, TOPIC_TYPE, "t", "preallocate"), (text("false"), 5, false, 1));
    assert_eq!(value(&world, TOPIC_TYPE, "t", "compression.type"), (text("producer"), 5, false, 2));
    assert_eq!(value(&world, TOPIC_TYPE, "t", "segment.bytes"), (text("1073741824"), 5, false, 3));
}

#[test]
fn only_the_keys_that_are_asked_for_are_told() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let request = ask(TOPIC_TYPE, "t", Some(&["retention.ms", "nope", "cleanup.policy"]));
    describe(&world, &request, |result| {
        let names: Vec<&str> = result.configs.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["cleanup.policy", "retention.ms"]);
    });
}

#[test]
fn an_entry_is_told_in_full_when_everything_is_asked_for() {
    let mut world = World::new();
    world.topic("t", 1, &[("cleanup.policy", "compact")]);
    let request = DescribeConfigsRequest {
        include_synonyms: true,
        include_documentation: true,
        ..ask(TOPIC_TYPE, "t", Some(&["cleanup.policy"]))
    };
    let synonym = |name: &'static str, value: &'static str, source| DescribeConfigsSynonym {
        name: name.into(),
        value: Some(value.into()),
        source,
    };
    let docs = TOPIC.iter().find(|def| def.name == "cleanup.policy").unwrap().docs;
    let expected = DescribeConfigsResourceResult {
        name: "cleanup.policy".into(),
        value: Some("compact".into()),
        read_only: false,
        config_source: 1,
        is_sensitive: false,
        synonyms: vec![synonym("cleanup.policy", "compact", 1), synonym("log.cleanup.policy", "delete", 5)],
        config_type: 7,
        documentation: Some(docs.into()),
    };
    describe(&world, &request, |result| assert_eq!(*result.configs, std::slice::from_ref(&expected)));
    let bare = ask(TOPIC_TYPE, "t", Some(&["cleanup.policy"]));
    describe(&world, &bare, |result| {
        assert!(result.configs[0].synonyms.is_empty() && result.configs[0].documentation.is_none());
    });
}

#[test]
fn a_synonym_says_what_the_broker_sets_and_what_it_defaults_to() {
    let mut world = World::with(&[("log.segment.bytes", "2000000"), ("log.retention.hours", "24")]);
    world.topic("t", 1, &[]);
    let told = |key: &str| synonyms(&world, TOPIC_TYPE, "t", key);
    let expected = [row("log.segment.bytes", "2000000", 4), row("log.segment.bytes", "1073741824", 5)];
    assert_eq!(told("segment.bytes"), expected);
    assert_eq!(value(&world, TOPIC_TYPE, "t", "segment.bytes"), (text("2000000"), 4, false, 3));
    // Kafka leaves these two out and calls the value a default.
    assert_eq!(told("retention.ms"), [row("log.retention.hours", "24", 4)]);
    assert_eq!(value(&world, TOPIC_TYPE, "t", "retention.ms"), (text("86400000"), 4, false, 5));
    assert_eq!(told("segment.ms"), []);
    assert_eq!(told("remote.storage.enable"), []);
    assert_eq!(told("flush.messages"), [row("log.flush.interval.messages", "9223372036854775807", 5)]);
}

#[test]
fn unknown_and_invalid_topics_have_their_codes() {
    assert_eq!(refusal(TOPIC_TYPE, "unk"), (3, String::new()));
    assert_eq!(refusal(TOPIC_TYPE, ""), (17, "Topic name is invalid: the empty string is not allowed".to_string()));
    assert_eq!(refusal(TOPIC_TYPE, "a b").0, 17);
}

#[test]
fn the_broker_is_described_with_every_key() {
    let world = World::with(&[("num.partitions", "4")]);
    describe(&world, &ask(BROKER_TYPE, "1", None), |result| {
        let names: Vec<&str> = result.configs.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, BROKER.iter().map(|def| def.name).collect::<Vec<_>>());
        assert!(result.configs.iter().all(|entry| !entry.is_sensitive));
        // What gives topics their defaults, in its finest unit, and five more: as Kafka's DynamicBrokerConfig has it.
        let alterable: Vec<&str> =
            result.configs.iter().filter(|entry| !entry.read_only).map(|entry| &*entry.name).collect();
        assert_eq!((alterable.len(), alterable.contains(&"producer.id.expiration.ms")), (36, true), "{alterable:?}");
        assert!(alterable.contains(&"log.retention.ms") && !alterable.contains(&"log.retention.hours"));
    });
    assert_eq!(value(&world, BROKER_TYPE, "1", "num.partitions"), (text("4"), 4, true, 3));
    assert_eq!(
        synonyms(&world, BROKER_TYPE, "1", "num.partitions"),
        [row("num.partitions", "4", 4), row("num.partitions", "1", 5)]
    );
    assert_eq!(value(&world, BROKER_TYPE, "1", "log.retention.ms"), (None, 5, false, 5));
    assert_eq!(synonyms(&world, BROKER_TYPE, "1", "log.retention.ms"), []);
    assert_eq!(value(&world, BROKER_TYPE, "1", "auto.create.topics.enable"), (text("true"), 5, true, 1));
}

#[test]
fn what_the_command_line_told_is_told_on() {
    let mut world = World::new();
    world.broker.insert("log.dirs".into(), "./highwater-data".into());
    assert_eq!(value(&world, BROKER_TYPE, "1", "node.id"), (text("1"), 4, true, 3));
    assert_eq!(value(&world, BROKER_TYPE, "1", "broker.id"), (text("1"), 4, true, 3));
    let advertised = value(&world, BROKER_TYPE, "1", "advertised.listeners");
    assert_eq!(advertised, (text("PLAINTEXT://localhost:9092"), 4, true, 7));
    assert_eq!(value(&world, BROKER_TYPE, "1", "log.dirs"), (text("./highwater-data"), 4, true, 7));
    assert_eq!(value(&world, BROKER_TYPE, "1", "log.dir"), (text("./highwater-data"), 4, true, 7));
    assert_eq!(value(&world, BROKER_TYPE, "1", "listeners"), (None, 5, true, 7));

    let mut view = world.view();
    view.host = "::1";
    let request = ask(BROKER_TYPE, "1", Some(&["advertised.listeners"]));
    let response = answer(&request, &view);
    assert_eq!(response.results[0].configs[0].value.as_deref(), Some("PLAINTEXT://[::1]:9092"));
}

#[test]
fn no_broker_name_means_what_was_altered_for_every_broker() {
    assert_eq!(refusal(BROKER_TYPE, ""), (0, String::new()));
    let world = altered();
    describe(&world, &ask(BROKER_TYPE, "", None), |result| {
        let told: Vec<_> = result.configs.iter().map(|entry| (&*entry.name, entry.value.as_deref())).collect();
        assert_eq!(told, [("log.cleanup.policy", Some("compact")), ("log.retention.ms", Some("5000"))]);
        assert!(result.configs.iter().all(|entry| entry.config_source == 3 && !entry.read_only));
    });
    assert_eq!(synonyms(&world, BROKER_TYPE, "", "log.retention.ms"), [row("log.retention.ms", "5000", 3)]);
}

/// Something is altered for every broker, something for this one, something is in its file; nothing of another counts.
fn altered() -> World {
    let mut world = World::with(&[("log.retention.hours", "100"), ("message.max.bytes", "7")]);
    world.topic("t", 1, &[]);
    let set = |node, pairs: &[(&str, &str)]| Record::BrokersConfigured {
        node,
        changes: pairs.iter().map(|(name, value)| (name.to_string(), Some(value.to_string()))).collect(),
    };
    world.commit(&[
        set(None, &[("log.retention.ms", "5000"), ("log.cleanup.policy", " compact")]),
        set(Some(NodeId(1)), &[("log.retention.ms", "6000")]),
        set(Some(NodeId(2)), &[("log.retention.ms", "7000"), ("message.max.bytes", "8")]),
    ]);
    world
}

#[test]
fn what_was_altered_stands_before_what_the_file_says() {
    let world = altered();
    assert_eq!(value(&world, BROKER_TYPE, "1", "log.retention.ms"), (text("6000"), 2, false, 5));
    let hours = [row("log.retention.hours", "100", 4), row("log.retention.hours", "168", 5)];
    let all = [&[row("log.retention.ms", "6000", 2), row("log.retention.ms", "5000", 3)][..], &hours].concat();
    assert_eq!(synonyms(&world, BROKER_TYPE, "1", "log.retention.ms"), all);
    assert_eq!(synonyms(&world, TOPIC_TYPE, "t", "retention.ms"), all);
    assert_eq!(value(&world, TOPIC_TYPE, "t", "retention.ms"), (text("6000"), 2, false, 5));
    assert_eq!(value(&world, BROKER_TYPE, "1", "log.retention.hours"), (text("100"), 4, true, 3));
    assert_eq!(synonyms(&world, BROKER_TYPE, "1", "log.retention.hours"), hours);
    assert_eq!(synonyms(&world, BROKER_TYPE, "1", "log.retention.minutes"), []);
    assert_eq!(value(&world, TOPIC_TYPE, "t", "cleanup.policy"), (text("compact"), 3, false, 7));
    assert_eq!(value(&world, TOPIC_TYPE, "t", "max.message.bytes"), (text("7"), 4, false, 3));
}

#[test]
fn another_broker_is_not_ours_to_describe() {
    let text = "Unexpected broker id, expected 1 or empty string, but received 2";
    assert_eq!(refusal(BROKER_TYPE, "2"), (42, text.to_string()));
    assert_eq!(refusal(BROKER_TYPE, "x"), (42, "Broker id must be an integer, but it is: x".to_string()));
}

#[test]
fn other_resources_are_refused() {
    for (resource_type, name) in [(8, "BROKER_LOGGER"), (16, "CLIENT_METRICS"), (32, "GROUP")] {
        assert_eq!(refusal(resource_type, "1"), (42, format!("Unsupported resource type: {name}")));
    }
    for resource_type in [0, 1, 3, 64, -1] {
        let text = format!("Unexpected resource type {resource_type} for resource r");
        assert_eq!(refusal(resource_type, "r"), (42, text));
    }
}

#[test]
fn each_resource_is_answered_for_itself() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let mut request = ask(TOPIC_TYPE, "t", Some(&["retention.ms"]));
    request.resources.extend(ask(TOPIC_TYPE, "unk", None).resources);
    request.resources.extend(ask(TOPIC_TYPE, "t", Some(&["segment.ms"])).resources);
    let response = answer(&request, &world.view());
    let shape: Vec<_> = response.results.iter().map(|result| (result.error_code.0, result.configs.len())).collect();
    assert_eq!(shape, [(0, 1), (3, 0), (0, 1)]);
}

#[test]
fn an_answer_is_bounded_however_often_a_topic_is_asked_for_and_whatever_of_it() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let mut request = ask(TOPIC_TYPE, "t", None);
    request.resources = vec![request.resources[0].clone(); 20_000];
    for everything in [false, true] {
        (request.include_synonyms, request.include_documentation) = (everything, everything);
        let response = answer(&request, &world.view());
        let told = response.results.iter().filter(|result| result.error_code.is_none()).count();
        assert!(told > if everything { 700 } else { 7_000 }, "{told} resources are told of");
        let len = measure_response(ApiKey::DESCRIBE_CONFIGS, 4, &response, usize::MAX).unwrap();
        let refusals = (20_000 - told) * 100;
        assert!((BYTES_MAX / 2..=BYTES_MAX + refusals).contains(&len), "{len} bytes for {told} resources");
        let last = response.results.last().unwrap();
        let text = "One answer describes configurations of at most 16777216 bytes: ask for fewer at a time.";
        assert_eq!((last.error_code.0, last.error_message.as_deref()), (44, Some(text)));
    }
}
