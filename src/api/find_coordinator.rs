//! FindCoordinator: which broker coordinates a group. With one broker it is this one, once the topic of committed offsets
//! exists: the first who asks has it made ([`offsets_topic_missing`], then
//! [`offsets_topic`](super::create_topics::offsets_topic)), and is answered when it is there. (Kafka answers
//! COORDINATOR_NOT_AVAILABLE at once and leaves the client to ask again.)

use super::View;
use crate::groups::partition_of;
use crate::ids::PartitionKey;
use crate::metadata::name::CONSUMER_OFFSETS;
use crate::wire::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use crate::wire::{ErrorCode, Str};
use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

const GROUP: i8 = 0;

/// Whether the request is about groups, and there is no place for their offsets yet.
pub fn offsets_topic_missing(request: &FindCoordinatorRequest<'_>, view: &View<'_>) -> bool {
    request.key_type == GROUP && view.image.topic_named(CONSUMER_OFFSETS).is_none()
}

/// Answers from what exists now.
pub fn answer<'a>(
    request: &'a FindCoordinatorRequest<'_>,
    version: i16,
    view: &View<'a>,
) -> FindCoordinatorResponse<'a> {
    let coordinators = || request.coordinator_keys.iter().map(|key| coordinator(key, request.key_type, view));
    if version >= 4 {
        // Kafka's default: the empty message, where there is nothing to say.
        let told = |found: Coordinator<'a>| Coordinator {
            error_message: found.error_message.or(Some(Cow::Borrowed(""))),
            ..found
        };
        let coordinators: Vec<_> = coordinators().map(told).collect();
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
    }
    let found = coordinator(&request.key, request.key_type, view);
    FindCoordinatorResponse {
        error_code: found.error_code,
        // Which is what Kafka says of no error in these versions.
        error_message: found.error_message.or_else(|| found.error_code.is_none().then_some(Cow::Borrowed("NONE"))),
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

fn coordinator<'a>(key: &'a str, key_type: i8, view: &View<'a>) -> Coordinator<'a> {
    let key_of = Cow::Borrowed(key);
    let refused = |error_code, message: Option<Str<'a>>| Coordinator {
        key: key_of.clone(),
        node_id: -1,
        port: -1,
        error_code,
        error_message: message,
        ..Coordinator::default()
    };
    if key_type != GROUP {
        let text = format!("Coordinator key type {key_type} is not served: only 0 (group) is.");
        return refused(ErrorCode::INVALID_REQUEST, Some(Cow::Owned(text)));
    }
    let topic = view.image.topic_named(CONSUMER_OFFSETS);
    let partition = topic.map(|topic| PartitionKey { topic: topic.id, index: partition_of(key, topic.partitions) });
    match partition.map(|partition| view.leader(partition).0) {
        Some(node_id) if node_id >= 0 => Coordinator {
            key: key_of,
            node_id,
            host: Cow::Borrowed(view.host),
            port: i32::from(view.port),
            error_code: ErrorCode::NONE,
            error_message: None,
        },
        Some(_) | None => refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, None),
    }
}
