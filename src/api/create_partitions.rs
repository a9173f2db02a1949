//! CreatePartitions: more partitions for topics that exist.
//!
//! Kafka's checks in Kafka's order: names that stand twice, the whole request's size, whether the topic exists, whether
//! there are more than before, the assignments. A topic that fails does not hinder the others. Beyond Kafka: a broker holds at most
//! [`PARTITIONS_MAX`](super::create_topics::PARTITIONS_MAX) partitions, and the topics whose number of partitions says
//! where a coordinator is keep it (Kafka's own tool refuses them, its broker loses what was committed).
//!
//! Where the new partitions go is the same hash as for those that were made with the topic.

use super::View;
use super::create_topics::{PARTITIONS_PER_REQUEST_MAX, check_assignment, check_room};
use crate::metadata::{Decision, Record, Topic, name};
use crate::wire::ErrorCode;
use crate::wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// An error code and the message that stands beside it, if one does.
type Refusal = (ErrorCode, Option<String>);

pub fn decide(request: &CreatePartitionsRequest<'_>, view: &View<'_>) -> Decision<CreatePartitionsResponse<'static>> {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<&str> =
        request.topics.iter().map(|topic| &*topic.name).filter(|name| !seen.insert(*name)).collect();
    let twice = || (ErrorCode::INVALID_REQUEST, Some("Duplicate topic name.".to_owned()));
    let once = || request.topics.iter().filter(|topic| !repeated.contains(&*topic.name));
    let mut results: Vec<_> = repeated.iter().map(|name| result(name, Err(twice()))).collect();
    let mut records = Vec::new();
    let mut partitions = view.image.partitions();
    let too_many = once().map(|topic| asked_partitions(topic, view)).sum::<i64>() > PARTITIONS_PER_REQUEST_MAX;
    for topic in once() {
        let grown = if too_many {
            let text = "Excessively large number of additional partitions per request.";
            Err((ErrorCode::POLICY_VIOLATION, Some(text.to_owned())))
        } else {
            grow(topic, partitions, view)
        };
        if let Ok((record, added)) = &grown {
            partitions += *added as u64;
            records.push(record.clone());
        }
        results.push(result(&topic.name, grown.map(|_| ())));
    }
    if request.validate_only {
        records.clear();
    }
    Decision { records, response: CreatePartitionsResponse { results, throttle_time_ms: 0 } }
}

fn result(name: &str, grown: Result<(), Refusal>) -> CreatePartitionsTopicResult<'static> {
    let (error_code, message) = match grown {
        Ok(()) => (ErrorCode::NONE, None),
        Err(refusal) => refusal,
    };
    let name = Cow::Owned(name.to_owned());
    CreatePartitionsTopicResult { name, error_code, error_message: message.map(Cow::Owned) }
}

/// How many partitions a topic that exists is asked to have more.
fn asked_partitions(wanted: &CreatePartitionsTopic<'_>, view: &View<'_>) -> i64 {
    let topic = view.image.topic_named(&wanted.name);
    topic.map_or(0, |topic| (i64::from(wanted.count) - i64::from(topic.partitions)).max(0))
}

/// The record that makes the topic's new partitions, and how many they are. The broker holds `partitions` by then.
fn grow(wanted: &CreatePartitionsTopic<'_>, partitions: u64, view: &View<'_>) -> Result<(Record, i32), Refusal> {
    let Some(topic) = view.image.topic_named(&wanted.name) else {
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None));
    };
    let added = check_count(wanted.count, topic)?;
    if let Some(assignments) = &wanted.assignments {
        let wrong = |text: String| (ErrorCode::INVALID_REPLICA_ASSIGNMENT, Some(text));
        if assignments.len() != added as usize {
            return Err(wrong(format!(
                "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            )));
        }
        for assignment in assignments {
            check_assignment(&assignment.broker_ids, view.node.0).map_err(wrong)?;
        }
    }
    check_room(partitions, added).map_err(|(code, text)| (code, Some(text)))?;
    Ok((Record::PartitionsAdded { id: topic.id, partitions: wanted.count }, added))
}

/// How many partitions are to be added.
fn check_count(count: i32, topic: &Topic) -> Result<i32, Refusal> {
    let before = topic.partitions;
    let refused = |text: String| Err((ErrorCode::INVALID_PARTITIONS, Some(text)));
    if count == before {
        return refused(format!("Topic already has {before} partition(s)."));
    }
    if count < before {
        return refused(format!(
            "The topic {} currently has {before} partition(s); {count} would not be an increase.",
            topic.name
        ));
    }
    if name::is_internal(&topic.name) {
        return refused(format!("The number of partitions of {} cannot be changed.", topic.name));
    }
    Ok(count - before)
}
