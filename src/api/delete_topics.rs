//! DeleteTopics: by name, and from version 6 by id.
//!
//! The decision is answered once every shard has applied the deletion; the data goes after it, shard by shard (see
//! `Image::deleting`). Results stand in the order of the request, where Kafka shuffles them.

use super::View;
use crate::ids::TopicId;
use crate::metadata::{Decision, Record};
use crate::wire::ErrorCode;
use crate::wire::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use alloc::borrow::{Cow, ToOwned};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// One topic of a request, by what names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted<'r> {
    Name(&'r str),
    Id(TopicId),
    Both(&'r str, TopicId),
    Neither,
}

/// `version` is that of the request: before 3 there was no error code for "disabled".
pub fn decide(
    request: &DeleteTopicsRequest<'_>,
    version: i16,
    view: &View<'_>,
) -> Decision<DeleteTopicsResponse<'static>> {
    let wanted = wanted(request);
    let (records, responses) = if view.settings.delete_topics {
        delete(&wanted, view)
    } else {
        let code = if version < 3 { ErrorCode::INVALID_REQUEST } else { ErrorCode::TOPIC_DELETION_DISABLED };
        (Vec::new(), wanted.iter().map(|wanted| wanted.result(code, None)).collect())
    };
    Decision { records, response: DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() } }
}

fn wanted<'r>(request: &'r DeleteTopicsRequest<'_>) -> Vec<Wanted<'r>> {
    let names = request.topic_names.iter().map(|name| Wanted::Name(name));
    let topics = request.topics.iter().map(|topic| match (topic.name.as_deref(), topic.topic_id) {
        (Some(name), TopicId::ZERO) => Wanted::Name(name),
        (Some(name), id) => Wanted::Both(name, id),
        (None, TopicId::ZERO) => Wanted::Neither,
        (None, id) => Wanted::Id(id),
    });
    names.chain(topics).collect()
}

fn delete(all: &[Wanted<'_>], view: &View<'_>) -> (Vec<Record>, Vec<DeletableTopicResult<'static>>) {
    let mut times: BTreeMap<Wanted<'_>, usize> = BTreeMap::new();
    for wanted in all {
        *times.entry(*wanted).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut results = Vec::with_capacity(all.len());
    let mut records = Vec::new();
    for wanted in all {
        let (text, once) = match wanted {
            Wanted::Neither => ("Neither topic name nor id were specified.", false),
            Wanted::Both(..) => ("You may not specify both topic name and topic id.", false),
            Wanted::Name(_) => ("Duplicate topic name.", times[wanted] == 1),
            Wanted::Id(_) => ("Duplicate topic id.", times[wanted] == 1),
        };
        if once {
            results.extend(delete_one(wanted, &times, view, &mut records));
        } else if matches!(wanted, Wanted::Neither | Wanted::Both(..)) || answered.insert(*wanted) {
            // A repeated name or id is answered once.
            results.push(wanted.result(ErrorCode::INVALID_REQUEST, Some(text)));
        }
    }
    (records, results)
}

/// A topic that is named once by its name or once by its id.
fn delete_one(
    wanted: &Wanted<'_>,
    all: &BTreeMap<Wanted<'_>, usize>,
    view: &View<'_>,
    records: &mut Vec<Record>,
) -> Option<DeletableTopicResult<'static>> {
    let topic = match wanted {
        Wanted::Name(name) => view.image.topic_named(name),
        Wanted::Id(id) => view.image.topic(*id),
        Wanted::Both(..) | Wanted::Neither => None,
    };
    let Some(topic) = topic else {
        return Some(match wanted {
            Wanted::Id(_) => {
                wanted.result(ErrorCode::UNKNOWN_TOPIC_ID, Some("This server does not host this topic ID."))
            }
            Wanted::Name(_) | Wanted::Both(..) | Wanted::Neither => {
                let text = "This server does not host this topic-partition.";
                wanted.result(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(text))
            }
        });
    };
    let both = Wanted::Both(&topic.name, topic.id);
    if all.contains_key(&Wanted::Name(&topic.name)) && all.contains_key(&Wanted::Id(topic.id)) {
        // One topic by both its names, apart: told once, where the name stands.
        let text = "The provided topic name maps to an ID that was already supplied.";
        let tell = matches!(wanted, Wanted::Name(_));
        return tell.then(|| both.result(ErrorCode::INVALID_REQUEST, Some(text)));
    }
    records.push(Record::TopicDeleted { id: topic.id });
    Some(both.result(ErrorCode::NONE, None))
}

impl Wanted<'_> {
    fn result(&self, error_code: ErrorCode, message: Option<&'static str>) -> DeletableTopicResult<'static> {
        let (name, topic_id) = match *self {
            Wanted::Name(name) => (Some(name), TopicId::ZERO),
            Wanted::Id(id) => (None, id),
            Wanted::Both(name, id) => (Some(name), id),
            Wanted::Neither => (None, TopicId::ZERO),
        };
        let name = name.map(|name| Cow::Owned(name.to_owned()));
        DeletableTopicResult { name, topic_id, error_code, error_message: message.map(Cow::Borrowed) }
    }
}
