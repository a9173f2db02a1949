//! IncrementalAlterConfigs and AlterConfigs: operations, refusals, and what comes of them.

use crate::world::World;
use highwater::api::alter_configs::{CHANGED_BYTES_MAX, VALUE_BYTES_MAX, decide, decide_all_at_once};
use highwater::configs::{self, Source};
use highwater::ids::NodeId;
use highwater::metadata::Record;
use highwater::wire::alter_configs as all_at_once;
use highwater::wire::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Change<'a> = (&'a str, i8, Option<&'a str>);

fn resource<'a>(resource_type: i8, name: &'a str, changes: &[Change<'a>]) -> AlterConfigsResource<'a> {
    let config = |(name, operation, value): &Change<'a>| AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Into::into),
    };
    AlterConfigsResource { resource_type, resource_name: name.into(), configs: changes.iter().map(config).collect() }
}

fn request(resources: Vec<AlterConfigsResource<'_>>) -> IncrementalAlterConfigsRequest<'_> {
    IncrementalAlterConfigsRequest { resources, validate_only: false }
}

/// Decides and commits; the code and message of each resource.
fn alter(world: &mut World, request: &IncrementalAlterConfigsRequest<'_>) -> Vec<(i16, Option<String>)> {
    let decision = decide(request, &world.view());
    world.commit(&decision.records);
    let told = |response: &highwater::wire::incremental_alter_configs::AlterConfigsResourceResponse<'_>| {
        (response.error_code.0, response.error_message.as_deref().map(str::to_string))
    };
    decision.response.responses.iter().map(told).collect()
}

fn one(world: &mut World, resource_type: i8, name: &str, changes: &[Change<'_>]) -> (i16, Option<String>) {
    alter(world, &request(vec![resource(resource_type, name, changes)])).remove(0)
}

fn no(code: i16, text: &str) -> (i16, Option<String>) {
    (code, Some(text.to_string()))
}

const YES: (i16, Option<String>) = (0, None);

fn set_on(world: &World, topic: &str, key: &str) -> Option<String> {
    world.image.topic_named(topic).unwrap().configs.get(key).cloned()
}

#[test]
fn a_value_is_set_and_deleted() {
    let mut world = World::new();
    let id = world.topic("t", 1, &[("retention.ms", "1000")]);
    let changes = [("retention.ms", SET, Some(" 2000 ")), ("cleanup.policy", SET, Some("compact"))];
    let decision = decide(&request(vec![resource(TOPIC, "t", &changes)]), &world.view());
    let [Record::TopicConfigured { id: configured, changes }] = &decision.records[..] else {
        panic!("{:?}", decision.records)
    };
    assert_eq!((configured, changes.len()), (&id, 2));
    world.commit(&decision.records);
    assert_eq!(set_on(&world, "t", "retention.ms").as_deref(), Some(" 2000 "));
    assert_eq!(one(&mut world, TOPIC, "t", &[("retention.ms", DELETE, Some("x"))]), YES);
    assert_eq!(set_on(&world, "t", "retention.ms"), None);
    assert_eq!(set_on(&world, "t", "cleanup.policy").as_deref(), Some("compact"));
}

#[test]
fn what_changes_nothing_makes_no_record() {
    let mut world = World::new();
    world.topic("t", 1, &[("retention.ms", "1000")]);
    for changes in [
        &[("retention.ms", SET, Some("1000"))][..],
        &[("segment.ms", DELETE, None)],
        &[("nothing", DELETE, None)],
        &[("cleanup.policy", DELETE, None)],
        &[],
    ] {
        let decision = decide(&request(vec![resource(TOPIC, "t", changes)]), &world.view());
        assert!(decision.response.responses[0].error_code.is_none(), "{changes:?}: {:?}", decision.response);
        assert_eq!(decision.records, []);
    }
}

#[test]
fn lists_grow_and_shrink_from_what_is_set_or_from_the_default() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    for (operation, value, expected) in [
        (APPEND, "compact", "delete,compact"),
        (APPEND, "compact", "delete,compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "compact", ""),
        (APPEND, "delete,compact", "delete,compact"),
        (SUBTRACT, "compact,delete", ""),
    ] {
        assert_eq!(one(&mut world, TOPIC, "t", &[("cleanup.policy", operation, Some(value))]), YES);
        assert_eq!(set_on(&world, "t", "cleanup.policy").as_deref(), Some(expected));
    }
    let unknown = "Invalid value x for configuration cleanup.policy: String must be one of: compact, delete";
    assert_eq!(one(&mut world, TOPIC, "t", &[("cleanup.policy", APPEND, Some("x"))]), no(40, unknown));
    let number = "Can't APPEND to key retention.ms because its type is not LIST.";
    assert_eq!(one(&mut world, TOPIC, "t", &[("retention.ms", APPEND, Some("5"))]), no(40, number));
    let unknown = "Can't SUBTRACT to key nothing because its type is not LIST.";
    assert_eq!(one(&mut world, TOPIC, "t", &[("nothing", SUBTRACT, Some("5"))]), no(40, unknown));
}

#[test]
fn a_topics_bad_changes_have_kafkas_codes_and_messages() {
    let mut world = World::new();
    world.topic("t", 1, &[("min.compaction.lag.ms", "10")]);
    let cases: &[(&str, &[Change<'_>], i16, &str)] = &[
        ("t", &[("nothing", SET, Some("1"))], 40, "Unknown topic config name: nothing"),
        (
            "t",
            &[("retention.ms", SET, Some("x"))],
            40,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "t",
            &[("max.compaction.lag.ms", SET, Some("5"))],
            40,
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
        ),
        ("unk", &[("retention.ms", SET, Some("5"))], 3, "The topic 'unk' does not exist."),
        (
            "unk",
            &[("retention.ms", SET, Some("x"))],
            40,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        ("unk", &[], 3, "The topic 'unk' does not exist."),
        ("", &[("retention.ms", SET, Some("5"))], 42, "Default topic resources are not allowed."),
        (
            "a b",
            &[("retention.ms", SET, Some("5"))],
            17,
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            "t",
            &[("retention.ms", SET, Some("5")), ("retention.ms", DELETE, None)],
            42,
            "Error due to duplicate config keys",
        ),
        (
            "t",
            &[("retention.ms", SET, None), ("cleanup.policy", APPEND, None)],
            42,
            "Null value not supported for : retention.ms, cleanup.policy",
        ),
        ("t", &[("retention.ms", 4, Some("5"))], 42, "Unknown operations type 4"),
    ];
    for (name, changes, code, text) in cases {
        assert_eq!(one(&mut world, TOPIC, name, changes), no(*code, text), "{name} {changes:?}");
    }
    assert_eq!(world.image.topic_named("t").unwrap().configs.len(), 1);
}

#[test]
fn each_resource_is_decided_for_itself() {
    let mut world = World::new();
    world.topic("a", 1, &[]);
    world.topic("b", 1, &[]);
    let good = [("retention.ms", SET, Some("5"))];
    let told = alter(
        &mut world,
        &request(vec![
            resource(TOPIC, "a", &good),
            resource(TOPIC, "b", &[("retention.ms", SET, Some("x"))]),
            resource(TOPIC, "twice", &good),
            resource(0, "x", &good),
            resource(TOPIC, "twice", &good),
            resource(32, "group", &good),
        ]),
    );
    let codes: Vec<i16> = told.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0, 40, 42, 42, 42, 42]);
    assert_eq!(told[2], no(42, "Each resource must appear at most once."));
    assert_eq!(told[3], no(42, "Unknown resource type 0"));
    assert_eq!(told[5], no(42, "Unsupported resource type: GROUP"));
    assert_eq!(set_on(&world, "a", "retention.ms").as_deref(), Some("5"));
}

#[test]
fn what_is_only_validated_changes_nothing() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let resources = vec![
        resource(TOPIC, "t", &[("retention.ms", SET, Some("5"))]),
        resource(BROKER, "", &[("log.retention.ms", SET, Some("5"))]),
    ];
    let before = world.image.clone();
    let told = alter(&mut world, &IncrementalAlterConfigsRequest { resources, validate_only: true });
    assert_eq!((told, world.image), (vec![YES, YES], before));
}

#[test]
fn the_older_request_replaces_all_that_was_set() {
    let mut world = World::new();
    world.topic("t", 1, &[("retention.ms", "1000"), ("cleanup.policy", "compact")]);
    let config = |name: &'static str, value: &'static str| all_at_once::AlterableConfig {
        name: name.into(),
        value: Some(value.into()),
    };
    let resource = all_at_once::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "t".into(),
        configs: vec![config("segment.ms", "5"), config("cleanup.policy", "compact")],
    };
    let asked = all_at_once::AlterConfigsRequest { resources: vec![resource], validate_only: false };
    let decision = decide_all_at_once(&asked, &world.view());
    assert!(decision.response.responses[0].error_code.is_none(), "{:?}", decision.response);
    world.commit(&decision.records);
    let topic = world.image.topic_named("t").unwrap();
    let set: Vec<_> = topic.configs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(set, [("cleanup.policy", "compact"), ("segment.ms", "5")]);
}

#[test]
fn a_brokers_change_gives_topics_another_default() {
    let mut world = World::with(&[("log.retention.hours", "1")]);
    world.topic("t", 1, &[]);
    let retention = |world: &World| {
        let effective = configs::topic("retention.ms", &configs::Values::new(), world.view().values());
        (effective.value.unwrap().to_string(), effective.source)
    };
    assert_eq!(retention(&world), ("3600000".to_string(), Source::StaticBroker));
    assert_eq!(one(&mut world, BROKER, "", &[("log.retention.ms", SET, Some("5000"))]), YES);
    assert_eq!(retention(&world), ("5000".to_string(), Source::DynamicDefaultBroker));
    assert_eq!(one(&mut world, BROKER, "1", &[("log.retention.ms", SET, Some("6000"))]), YES);
    assert_eq!(retention(&world), ("6000".to_string(), Source::DynamicBroker));
    assert_eq!(world.image.broker(Some(NodeId(1))).len(), 1);
    assert_eq!(one(&mut world, BROKER, "1", &[("log.retention.ms", DELETE, None)]), YES);
    assert_eq!(one(&mut world, BROKER, "", &[("log.retention.ms", DELETE, None)]), YES);
    assert_eq!(retention(&world), ("3600000".to_string(), Source::StaticBroker));
    assert!(world.image.broker(None).is_empty() && world.image.broker(Some(NodeId(1))).is_empty());
}

#[test]
fn a_brokers_bad_changes_have_kafkas_codes_and_messages() {
    let mut world = World::new();
    let cases: &[(&[Change<'_>], i16, &str)] = &[
        (
            &[("num.partitions", SET, Some("4")), ("default.replication.factor", SET, Some("1"))],
            42,
            "Cannot update these configs dynamically: [num.partitions, default.replication.factor]",
        ),
        (
            &[("log.retention.hours", SET, Some("1"))],
            42,
            "Cannot update these configs dynamically: [log.retention.hours]",
        ),
        (
            &[("log.retention.ms", SET, Some("x"))],
            42,
            "Invalid value x for configuration log.retention.ms: Not a number of type LONG",
        ),
        (
            &[("log.segment.bytes", SET, Some("1"))],
            42,
            "Invalid value 1 for configuration log.segment.bytes: Value must be at least 1048576",
        ),
        (
            &[("log.retention.ms", APPEND, Some("1"))],
            40,
            "Config value append is not allowed for config key: log.retention.ms",
        ),
        (&[("nothing", SUBTRACT, Some("1"))], 40, "Unknown config name: nothing"),
        (&[("nothing", SET, Some("1"))], 40, "Unknown config name: nothing"),
        (&[("log.retention.ms", 9, Some("1"))], 42, "Unknown operations type 9"),
    ];
    for (changes, code, text) in cases {
        for name in ["", "1"] {
            assert_eq!(one(&mut world, BROKER, name, changes), no(*code, text), "{changes:?}");
        }
    }
    let good = [("log.retention.ms", SET, Some("5"))];
    let other = no(42, "Unexpected broker id, expected 1, but received 2");
    assert_eq!(one(&mut world, BROKER, "2", &good), other);
    assert_eq!(one(&mut world, BROKER, "x", &good), no(42, "Node id must be an integer, but it is: x"));
    assert_eq!(one(&mut world, BROKER, "", &[("num.partitions", DELETE, None)]), YES);
}

#[test]
fn one_request_sees_what_it_did_before() {
    let mut world = World::new();
    world.topic("t", 1, &[("max.compaction.lag.ms", "5")]);
    let told = alter(
        &mut world,
        &request(vec![
            resource(BROKER, "", &[("log.cleaner.min.compaction.lag.ms", SET, Some("10"))]),
            resource(TOPIC, "t", &[("retention.ms", SET, Some("5"))]),
        ]),
    );
    assert_eq!(told[0], YES);
    assert_eq!(told[1], no(40, "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"));
}

#[test]
fn lists_do_not_grow_without_bound() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let pairs = |from: usize| (from..from + 3000).map(|at| format!("{at}:1")).collect::<Vec<_>>().join(",");
    let key = "leader.replication.throttled.replicas";
    let (first, second) = (pairs(0), pairs(3000));
    assert_eq!(one(&mut world, TOPIC, "t", &[(key, APPEND, Some(&first))]), YES);
    let (code, text) = one(&mut world, TOPIC, "t", &[(key, APPEND, Some(&second))]);
    assert_eq!(code, 40);
    assert!(text.unwrap().ends_with(&format!("at most {VALUE_BYTES_MAX} are allowed")));

    // Each byte of the request makes thousands in the metadata log: together they are bounded too.
    let topics: Vec<String> = (0..100).map(|at| format!("t{at}")).collect();
    for topic in &topics {
        world.topic(topic, 1, &[(key, &first)]);
    }
    let each = |topic: &String| (TOPIC, topic.clone(), vec![(key, APPEND, Some("9999:1"))]);
    let all: Vec<_> = topics.iter().map(each).collect();
    let resources = all.iter().map(|(kind, name, changes)| resource(*kind, name, changes)).collect();
    let told = alter(&mut world, &request(resources));
    let done = told.iter().filter(|(code, _)| *code == 0).count();
    assert!(told.iter().all(|(code, _)| matches!(code, 0 | 44)) && (1..100).contains(&done), "{done}");
    assert!(done * first.len() <= CHANGED_BYTES_MAX);
}
