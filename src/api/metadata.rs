//! Metadata: brokers, topics, partitions and who leads them; and the wish for topics that do not exist yet.
//!
//! A request that may create topics is answered in two steps: [`missing`] names what it wishes for; the owner of the
//! metadata log commits [`auto_create`](super::create_topics::auto_create)'s records; then [`answer`] finds the topics.
//! (Kafka answers UNKNOWN_TOPIC_OR_PARTITION at once and leaves the client to ask again.) Topics stand in the order of
//! the request, each once; all of them in the order of their names.

use super::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED, TOPIC_OPERATIONS, View};
use crate::ids::TopicId;
use crate::metadata::{Topic, name};
use crate::wire::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use crate::wire::{ErrorCode, List};
use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeSet;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

/// What a request asks for.
enum Wanted<'a> {
    All,
    Names(Vec<&'a str>),
    /// Where there is one id, names beside it are not looked at.
    Ids(Vec<TopicId>),
    /// A null name without an id, or an id before version 12: INVALID_REQUEST for each of its topics.
    Invalid(&'a [MetadataRequestTopic<'a>]),
}

/// The names that the request wishes into being: unknown, valid, allowed by the request and by
/// `auto.create.topics.enable`. The broker's own topics are made by their coordinators, never by being asked for.
pub fn missing(request: &MetadataRequest<'_>, version: i16, view: &View<'_>) -> Vec<String> {
    if !request.allow_auto_topic_creation || !view.settings.auto_create_topics {
        return Vec::new();
    }
    match wanted(request, version) {
        Wanted::Names(names) => {
            names.into_iter().filter(|name| can_be_made(name, view)).map(ToOwned::to_owned).collect()
        }
        Wanted::All | Wanted::Ids(_) | Wanted::Invalid(_) => Vec::new(),
    }
}

/// Whether a topic of this name may be made because someone asked for it.
pub(super) fn can_be_made(topic: &str, view: &View<'_>) -> bool {
    let reserved = name::is_internal(topic) || topic == name::CLUSTER_METADATA;
    name::check(topic).is_ok() && !reserved && view.image.colliding(topic).is_none()
}

/// Answers from what exists now.
pub fn answer<'a>(request: &'a MetadataRequest<'_>, version: i16, view: &View<'a>) -> MetadataResponse<'a> {
    let operations = if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { OPERATIONS_OMITTED };
    let view = *view;
    let topics = match wanted(request, version) {
        Wanted::All => List::lazy(view.image.topics().count(), move || {
            view.image.topics().map(move |topic| found(topic, operations, view))
        }),
        Wanted::Names(names) => {
            let names: Rc<[&str]> = names.into();
            List::lazy(names.len(), move || {
                let names = names.clone();
                (0..names.len()).map(move |place| by_name(names[place], operations, view))
            })
        }
        Wanted::Ids(ids) => {
            let ids: Rc<[TopicId]> = ids.into();
            List::lazy(ids.len(), move || {
                let ids = ids.clone();
                (0..ids.len()).map(move |place| by_id(ids[place], operations, view))
            })
        }
        Wanted::Invalid(topics) => return invalid(topics),
    };
    let cluster_operations = (8..=10).contains(&version) && request.include_cluster_authorized_operations;
    MetadataResponse {
        brokers: [MetadataResponseBroker {
            node_id: view.node.0,
            host: Cow::Borrowed(view.host),
            port: i32::from(view.port),
            rack: None,
        }]
        .into(),
        cluster_id: Some(Cow::Borrowed(view.cluster_id)),
        controller_id: view.node.0,
        topics,
        cluster_authorized_operations: if cluster_operations { CLUSTER_OPERATIONS } else { OPERATIONS_OMITTED },
        ..MetadataResponse::default()
    }
}

fn wanted<'a>(request: &'a MetadataRequest<'_>, version: i16) -> Wanted<'a> {
    let topics = match &request.topics {
        None => return Wanted::All,
        // Version 0 has no null.
        Some(topics) if topics.is_empty() && version == 0 => return Wanted::All,
        Some(topics) => topics,
    };
    let has_id = |topic: &MetadataRequestTopic<'_>| topic.topic_id != TopicId::ZERO;
    let nameless = topics.iter().any(|topic| topic.name.is_none());
    let with_ids = topics.iter().any(has_id);
    if version < 12 && (nameless || with_ids) {
        return Wanted::Invalid(topics);
    }
    let mut seen = BTreeSet::new();
    if with_ids {
        let ids = topics.iter().filter(|topic| has_id(topic)).map(|topic| topic.topic_id);
        return Wanted::Ids(ids.filter(|id| seen.insert(*id)).collect());
    }
    if nameless {
        return Wanted::Invalid(topics);
    }
    let mut seen = BTreeSet::new();
    let names = topics.iter().filter_map(|topic| topic.name.as_deref());
    Wanted::Names(names.filter(|name| seen.insert(*name)).collect())
}

fn by_name<'a>(wanted: &'a str, operations: i32, view: View<'a>) -> MetadataResponseTopic<'a> {
    if let Some(topic) = view.image.topic_named(wanted) {
        return found(topic, operations, view);
    }
    MetadataResponseTopic {
        error_code: match name::check(wanted) {
            Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        },
        name: Some(Cow::Borrowed(wanted)),
        is_internal: name::is_internal(wanted),
        topic_authorized_operations: operations,
        ..MetadataResponseTopic::default()
    }
}

fn by_id<'a>(id: TopicId, operations: i32, view: View<'a>) -> MetadataResponseTopic<'a> {
    match view.image.topic(id) {
        Some(topic) => found(topic, operations, view),
        None => MetadataResponseTopic {
            error_code: ErrorCode::UNKNOWN_TOPIC_ID,
            topic_id: id,
            ..MetadataResponseTopic::default()
        },
    }
}

fn found<'a>(topic: &'a Topic, operations: i32, view: View<'a>) -> MetadataResponseTopic<'a> {
    let partition = move |key| {
        let (leader_id, leader_epoch) = view.leader(key);
        MetadataResponsePartition {
            error_code: if leader_id < 0 { ErrorCode::LEADER_NOT_AVAILABLE } else { ErrorCode::NONE },
            partition_index: key.index,
            leader_id,
            leader_epoch,
            replica_nodes: Vec::from([view.node.0]),
            isr_nodes: Vec::from([view.node.0]),
            offline_replicas: Vec::new(),
        }
    };
    let partitions = List::lazy(topic.partitions as usize, move || topic.keys().map(partition));
    MetadataResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(Cow::Borrowed(&topic.name)),
        topic_id: topic.id,
        is_internal: name::is_internal(&topic.name),
        partitions,
        topic_authorized_operations: operations,
    }
}

/// Kafka's answer to a request it cannot take: no broker, and the error at each topic.
fn invalid<'a>(topics: &'a [MetadataRequestTopic<'_>]) -> MetadataResponse<'a> {
    let refused = |topic: &'a MetadataRequestTopic<'_>| MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST,
        name: Some(Cow::Borrowed(topic.name.as_deref().unwrap_or_default())),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    };
    let error_code = ErrorCode::INVALID_REQUEST;
    MetadataResponse { topics: topics.iter().map(refused).collect(), error_code, ..MetadataResponse::default() }
}
