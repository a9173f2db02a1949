//! DeleteTopics: by name, by id, and what is wrong with both.

use crate::world::World;
use highwater::api::delete_topics::decide;
use highwater::ids::TopicId;
use highwater::metadata::{Decision, Record};
use highwater::wire::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};

fn by_names<'a>(names: &[&'a str]) -> DeleteTopicsRequest<'a> {
    DeleteTopicsRequest { topic_names: names.iter().map(|name| (*name).into()).collect(), ..Default::default() }
}

fn by_states<'a>(states: &[(Option<&'a str>, TopicId)]) -> DeleteTopicsRequest<'a> {
    let state =
        |(name, id): &(Option<&'a str>, TopicId)| DeleteTopicState { name: name.map(Into::into), topic_id: *id };
    DeleteTopicsRequest { topics: states.iter().map(state).collect(), ..Default::default() }
}

type Told = (i16, String, TopicId, String);

fn told(decision: &Decision<DeleteTopicsResponse<'_>>) -> Vec<Told> {
    let result = |result: &DeletableTopicResult<'_>| {
        let text = |text: Option<&str>| text.unwrap_or("null").to_string();
        (result.error_code.0, text(result.name.as_deref()), result.topic_id, text(result.error_message.as_deref()))
    };
    decision.response.responses.iter().map(result).collect()
}

fn row(code: i16, name: &str, id: TopicId, text: &str) -> Told {
    (code, name.to_string(), id, text.to_string())
}

const ID: TopicId = TopicId([5; 16]);
const ZERO: TopicId = TopicId::ZERO;

#[test]
fn topics_are_deleted_by_name() {
    let mut world = World::new();
    let (a, b) = (world.topic("a", 1, &[]), world.topic("b", 2, &[]));
    let decision = decide(&by_names(&["b", "a"]), 5, &world.view());
    assert_eq!(decision.records, [Record::TopicDeleted { id: b }, Record::TopicDeleted { id: a }]);
    assert_eq!(told(&decision), [row(0, "b", b, "null"), row(0, "a", a, "null")]);
    world.commit(&decision.records);
    assert_eq!(world.image.topic_count(), 0);
}

#[test]
fn topics_are_deleted_by_id() {
    let mut world = World::new();
    let a = world.topic("a", 1, &[]);
    let decision = decide(&by_states(&[(None, a)]), 6, &world.view());
    assert_eq!(decision.records, [Record::TopicDeleted { id: a }]);
    assert_eq!(told(&decision), [row(0, "a", a, "null")]);
}

#[test]
fn unknown_names_and_ids_have_their_codes() {
    let world = World::new();
    let decision = decide(&by_names(&["unk", "", "a b"]), 5, &world.view());
    let text = "This server does not host this topic-partition.";
    assert_eq!(told(&decision), [row(3, "unk", ZERO, text), row(3, "", ZERO, text), row(3, "a b", ZERO, text)]);
    let decision = decide(&by_states(&[(None, ID), (Some("unk"), ZERO)]), 6, &world.view());
    let expected = [row(100, "null", ID, "This server does not host this topic ID."), row(3, "unk", ZERO, text)];
    assert_eq!((told(&decision), decision.records), (expected.into(), vec![]));
}

#[test]
fn a_topic_named_twice_is_answered_once_and_not_deleted() {
    let mut world = World::new();
    let a = world.topic("a", 1, &[]);
    let decision = decide(&by_names(&["a", "x", "a", "a"]), 5, &world.view());
    assert_eq!(told(&decision)[0], row(42, "a", ZERO, "Duplicate topic name."));
    assert_eq!((told(&decision).len(), decision.records), (2, vec![]));
    let decision = decide(&by_states(&[(None, a), (None, a)]), 6, &world.view());
    assert_eq!((told(&decision), decision.records), (vec![row(42, "null", a, "Duplicate topic id.")], vec![]));
}

#[test]
fn a_topic_must_be_named_by_one_of_name_and_id() {
    let mut world = World::new();
    let a = world.topic("a", 1, &[]);
    let decision = decide(&by_states(&[(None, ZERO), (Some("a"), a)]), 6, &world.view());
    let expected = [
        row(42, "null", ZERO, "Neither topic name nor id were specified."),
        row(42, "a", a, "You may not specify both topic name and topic id."),
    ];
    assert_eq!((told(&decision), decision.records), (expected.into(), vec![]));
}

#[test]
fn one_topic_by_name_here_and_by_id_there_is_not_deleted() {
    let mut world = World::new();
    let a = world.topic("a", 1, &[]);
    let expected = [row(42, "a", a, "The provided topic name maps to an ID that was already supplied.")];
    for states in [[(None, a), (Some("a"), ZERO)], [(Some("a"), ZERO), (None, a)]] {
        let decision = decide(&by_states(&states), 6, &world.view());
        assert_eq!((told(&decision), decision.records), (expected.to_vec(), vec![]));
    }
}

#[test]
fn deletion_can_be_switched_off() {
    let mut world = World::with(&[("delete.topic.enable", "false")]);
    world.topic("a", 1, &[]);
    for (version, code) in [(1, 42), (2, 42), (3, 73), (5, 73)] {
        let decision = decide(&by_names(&["a", "unk"]), version, &world.view());
        let expected = vec![row(code, "a", ZERO, "null"), row(code, "unk", ZERO, "null")];
        assert_eq!((told(&decision), decision.records), (expected, vec![]));
    }
    let decision = decide(&by_states(&[(None, ID)]), 6, &world.view());
    assert_eq!(told(&decision), [row(73, "null", ID, "null")]);
}
