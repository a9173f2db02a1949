//! CreateTopics: every check, and what is written.

use crate::world::{NOW, World, request, wish};
use highwater::api::create_topics::PARTITIONS_MAX;
use highwater::ids::TopicId;
use highwater::metadata::{Record, Topic};
use highwater::wire::ErrorCode;
use highwater::wire::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicResult, CreateTopicsRequest,
};
use std::collections::BTreeMap;

fn results(world: &mut World, request: &CreateTopicsRequest<'_>) -> Vec<(i16, String, String)> {
    let decision = world.decide(request);
    let created = decision.response.topics.iter().filter(|topic| topic.error_code.is_none()).count();
    assert_eq!(decision.records.len(), created, "as many topics are written as are answered without an error");
    let result = |result: &CreatableTopicResult<'_>| {
        let message = result.error_message.as_deref().unwrap_or_default();
        (result.error_code.0, result.name.to_string(), message.to_string())
    };
    decision.response.topics.iter().map(result).collect()
}

fn refusal(topic: CreatableTopic<'_>) -> (i16, String) {
    let mut world = World::new();
    let mut all = results(&mut world, &request([topic]));
    assert_eq!(all.len(), 1);
    let (code, _, message) = all.remove(0);
    (code, message)
}

fn assigned(parts: &[(i32, &[i32])]) -> CreatableTopic<'static> {
    let assignment = |(index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *index,
        broker_ids: brokers.to_vec(),
    };
    CreatableTopic { assignments: parts.iter().map(assignment).collect(), ..wish("as", -1, -1, &[]) }
}

#[test]
fn a_topic_is_created_as_it_was_asked_for() {
    let mut world = World::new();
    let decision = world.decide(&request([wish("t", 2, 1, &[("cleanup.policy", "compact"), ("segment.ms", " 7 ")])]));
    let result = &decision.response.topics[0];
    let pairs = [("cleanup.policy", "compact"), ("segment.ms", " 7 ")];
    let configs: BTreeMap<_, _> = pairs.map(|(name, value)| (name.to_string(), value.to_string())).into();
    let topic = Topic { id: result.topic_id, name: "t".into(), partitions: 2, configs, created_ms: NOW.0 };
    assert_eq!(decision.records, [Record::TopicCreated(topic)]);
    assert_eq!((result.error_code, result.error_message.as_deref()), (ErrorCode::NONE, None));
    assert_eq!((result.num_partitions, result.replication_factor), (2, 1));

    let all = result.configs.as_ref().unwrap();
    assert_eq!(all.len(), 37);
    assert!(all.is_sorted_by(|left, right| left.name < right.name));
    let told = |name: &str| {
        let config = all.iter().find(|config| config.name == name).unwrap();
        (config.value.as_deref(), config.config_source, config.read_only, config.is_sensitive)
    };
    assert_eq!(told("cleanup.policy"), (Some("compact"), 1, false, false));
    assert_eq!(told("segment.ms"), (Some(" 7 "), 1, false, false));
    assert_eq!(told("retention.ms"), (Some("604800000"), 5, false, false));
}

#[test]
fn configurations_of_the_broker_are_told_as_such() {
    let mut world = World::with(&[("log.segment.bytes", "2000000"), ("num.partitions", "3")]);
    let decision = world.decide(&request([wish("t", -1, -1, &[])]));
    let result = &decision.response.topics[0];
    assert_eq!((result.num_partitions, result.replication_factor), (3, 1));
    let config = result.configs.as_ref().unwrap().iter().find(|config| config.name == "segment.bytes").unwrap();
    assert_eq!((config.value.as_deref(), config.config_source), (Some("2000000"), 4));
}

#[test]
fn ids_are_random_uuids_that_look_like_no_option() {
    let mut world = World::new();
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..500 {
        let id = world.topic(&format!("t{number}"), 1, &[]);
        assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (4, 2), "version 4, variant 2");
        assert!(!id.to_string().starts_with('-'));
        assert!(seen.insert(id) && id != TopicId::ZERO);
    }
}

#[test]
fn the_same_chance_gives_the_same_topic() {
    let decide = || World::new().decide(&request([wish("t", 1, 1, &[])]));
    assert_eq!(decide(), decide());
}

#[test]
fn validate_only_answers_the_same_and_writes_nothing() {
    let topic = || wish("t", -1, -1, &[("retention.ms", "5")]);
    let real = World::new().decide(&request([topic()]));
    let dry = World::new().decide(&CreateTopicsRequest { validate_only: true, ..request([topic()]) });
    assert_eq!((dry.response, dry.records), (real.response, vec![]));
    assert_eq!(real.records.len(), 1);
}

#[test]
fn a_topic_that_exists_is_told_so_before_anything_else() {
    let mut world = World::new();
    world.topic("t", 1, &[]);
    let got = results(&mut world, &request([wish("t", 0, 9, &[("nope", "1")])]));
    assert_eq!(got, [(36, "t".into(), "Topic 't' already exists.".into())]);
}

#[test]
fn a_failing_topic_does_not_hinder_the_others() {
    let mut world = World::new();
    let got = results(&mut world, &request([wish("a", 1, 1, &[]), wish("b", 0, 1, &[]), wish("c", 1, 1, &[])]));
    let codes: Vec<_> = got.iter().map(|(code, name, _)| (*code, name.as_str())).collect();
    assert_eq!(codes, [(0, "a"), (37, "b"), (0, "c")]);
}

#[test]
fn a_name_twice_in_one_request_is_answered_once_behind_the_others() {
    let mut world = World::new();
    let got = results(&mut world, &request([wish("dup", 1, 1, &[]), wish("one", 1, 1, &[]), wish("dup", 2, 1, &[])]));
    let expected = [(0, "one".into(), String::new()), (42, "dup".into(), "Duplicate topic name.".into())];
    assert_eq!(got, expected);
}

#[test]
fn bad_names_are_refused_with_the_reason() {
    let long = "x".repeat(250);
    let odd = "contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'";
    for (name, reason) in [
        ("", "the empty string is not allowed".to_string()),
        (".", "'.' is not allowed".into()),
        ("..", "'..' is not allowed".into()),
        ("a b", format!("'a b' {odd}")),
        ("é", format!("'é' {odd}")),
        (&*long, format!("the length of '{long}' is longer than the max allowed length 249")),
    ] {
        assert_eq!(refusal(wish(name, 1, 1, &[])), (17, format!("Topic name is invalid: {reason}")));
    }
    assert_eq!(refusal(wish(&"x".repeat(249), 1, 1, &[])).0, 0);
}

#[test]
fn names_that_differ_by_dot_and_underscore_collide() {
    let mut world = World::new();
    world.topic("col.a", 1, &[]);
    let got = results(&mut world, &request([wish("col_a", 1, 1, &[])]));
    assert_eq!(got, [(17, "col_a".into(), "Topic 'col_a' collides with existing topic: col.a".into())]);
    // Kafka would create both of these.
    let got = results(&mut world, &request([wish("x.y", 1, 1, &[]), wish("x_y", 1, 1, &[])]));
    let text = "Topic 'x_y' collides with another topic of the request.";
    assert_eq!(got, [(0, "x.y".into(), String::new()), (17, "x_y".into(), text.into())]);
}

#[test]
fn nobody_creates_the_metadata_log() {
    let expected = (42, "Creation of internal topic __cluster_metadata is prohibited.".to_string());
    assert_eq!(refusal(wish("__cluster_metadata", 1, 1, &[])), expected);
    assert_eq!(refusal(wish("__transaction_state", 1, 1, &[])).0, 0);
}

#[test]
fn replication_needs_as_many_brokers() {
    let text = "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached \
                because only 1 broker(s) are registered.";
    assert_eq!(refusal(wish("rf", 1, 3, &[])), (38, text.to_string()));
    let text = "Replication factor must be larger than 0, or -1 to use the default value.";
    for factor in [0, -2] {
        assert_eq!(refusal(wish("rf", 0, factor, &[])), (38, text.to_string()));
    }
    let mut world = World::with(&[("default.replication.factor", "2")]);
    assert_eq!(results(&mut world, &request([wish("rf", 1, -1, &[])]))[0].0, 38);
}

#[test]
fn partitions_must_be_positive_or_left_to_the_broker() {
    let text = "Number of partitions was set to an invalid non-positive value.";
    for partitions in [0, -2, i32::MIN] {
        assert_eq!(refusal(wish("p", partitions, 1, &[])), (37, text.to_string()));
    }
}

#[test]
fn a_request_for_very_many_partitions_is_refused_whole() {
    let text = "Excessively large number of partitions per request.";
    let mut world = World::new();
    let got = results(&mut world, &request([wish("a", 6000, 1, &[]), wish("b", 6000, 1, &[])]));
    assert_eq!(got, [(44, "a".into(), text.into()), (44, "b".into(), text.into())]);
    assert_eq!(refusal(wish("a", i32::MAX, 1, &[])), (44, text.to_string()));
    assert_eq!(refusal(wish("a", 9999, 1, &[])).0, 0);
}

#[test]
fn a_broker_holds_so_many_partitions_and_no_more() {
    let mut world = World::new();
    for number in 0..PARTITIONS_MAX / 10_000 {
        world.topic(&format!("t{number}"), 10_000, &[]);
    }
    let got = results(&mut world, &request([wish("more", 1, 1, &[])]));
    let text = "The broker holds 100000 partitions and 1 more would be 100001: at most 100000 are allowed.";
    assert_eq!(got, [(37, "more".into(), text.into())]);
}

#[test]
fn an_assignment_to_this_broker_is_taken() {
    let mut world = World::new();
    let decision = world.decide(&request([assigned(&[(1, &[1]), (0, &[1])])]));
    let result = &decision.response.topics[0];
    assert_eq!((result.error_code.0, result.num_partitions, result.replication_factor), (0, 2, 1));
}

#[test]
fn an_assignment_stands_instead_of_counts() {
    let instead = |what: &str| format!("A manual partition assignment was specified, but {what} was not set to -1.");
    let with = |partitions, factor| CreatableTopic {
        num_partitions: partitions,
        replication_factor: factor,
        ..assigned(&[(0, &[1])])
    };
    assert_eq!(refusal(with(1, -1)), (42, instead("numPartitions")));
    assert_eq!(refusal(with(-1, 1)), (42, instead("replication factor")));
    assert_eq!(refusal(with(1, 1)), (42, instead("replication factor")));
}

#[test]
fn bad_assignments_are_refused_with_the_reason() {
    for (parts, text) in [
        (&[(0, &[2][..])][..], "The manual partition assignment includes broker 2, but no such broker is registered."),
        (&[(0, &[])], "The manual partition assignment includes an empty replica list."),
        (&[(0, &[1, 1])], "The manual partition assignment includes the broker 1 more than once."),
        (&[(0, &[1]), (2, &[1])], "partitions should be a consecutive 0-based integer sequence"),
        (&[(-1, &[1])], "partitions should be a consecutive 0-based integer sequence"),
        (&[(0, &[1]), (0, &[1])], "Found multiple manual partition assignments for partition 0"),
    ] {
        assert_eq!(refusal(assigned(parts)), (39, text.to_string()));
    }
}

#[test]
fn bad_configurations_are_refused_before_partitions_are_looked_at() {
    let refused = |configs: &[(&'static str, &'static str)]| refusal(wish("t", 0, 0, configs));
    assert_eq!(refused(&[("nope", "1")]), (40, "Unknown topic config name: nope".to_string()));
    let text = "Invalid value x for configuration retention.ms: Not a number of type LONG";
    assert_eq!(refused(&[("retention.ms", "x")]), (40, text.to_string()));
    let text = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (2)";
    assert_eq!(refused(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "2")]), (40, text.to_string()));
    assert_eq!(refused(&[("zzz", "1"), ("aaa", "1")]), (40, "Unknown topic config name: aaa".to_string()));
}

#[test]
fn a_configuration_without_a_value_is_refused() {
    let mut topic = wish("t", 1, 1, &[("retention.ms", "")]);
    topic.configs[0].value = None;
    assert_eq!(refusal(topic), (40, "Null value not supported for topic configs: retention.ms".to_string()));
}

#[test]
fn of_a_configuration_given_twice_the_last_counts() {
    let mut world = World::new();
    let decision = world.decide(&request([wish("t", 1, 1, &[("retention.ms", "1"), ("retention.ms", "2")])]));
    let Record::TopicCreated(topic) = &decision.records[0] else { panic!("{decision:?}") };
    assert_eq!(topic.configs["retention.ms"], "2");
}

#[test]
fn a_refused_topic_has_no_counts() {
    let decision = World::new().decide(&request([wish("t", 0, 1, &[])]));
    let expected = CreatableTopicResult {
        name: "t".into(),
        topic_id: TopicId::ZERO,
        error_code: ErrorCode::INVALID_PARTITIONS,
        error_message: Some("Number of partitions was set to an invalid non-positive value.".into()),
        topic_config_error_code: ErrorCode::NONE,
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(vec![].into()),
    };
    assert_eq!(decision.response.topics, [expected]);
}
