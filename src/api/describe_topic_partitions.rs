//! DescribeTopicPartitions (KIP-966): topics in the order of their names, a bounded number of partitions at a time, and
//! a cursor to the next.
//!
//! A partition without a leader has leader -1 and no error of its own, as in Kafka.

use super::{TOPIC_OPERATIONS, View};
use crate::ids::PartitionKey;
use crate::metadata::{Topic, name};
use crate::wire::ErrorCode;
use crate::wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic, TopicRequest,
};
use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

pub fn answer<'a>(
    request: &'a DescribeTopicPartitionsRequest<'_>,
    view: &View<'a>,
) -> DescribeTopicPartitionsResponse<'a> {
    let (first, first_partition) = match &request.cursor {
        Some(cursor) => (&*cursor.topic_name, cursor.partition_index),
        None => ("", 0),
    };
    let limit = view.settings.max_request_partition_size_limit.min(request.response_partition_limit).max(1);
    let mut page = Page { view, first, first_partition, remaining: limit, response: Default::default() };

    if request.topics.is_empty() {
        if first_partition < 0 {
            return DescribeTopicPartitionsResponse::default();
        }
        for topic in view.image.topics_from(first) {
            if !page.add(&topic.name, Some(topic)) {
                break;
            }
        }
        return page.response;
    }
    let names: BTreeSet<&str> = request.topics.iter().map(|topic| &*topic.name).filter(|name| *name >= first).collect();
    // The topic where the last answer stopped must be asked for again.
    if first_partition < 0 || (request.cursor.is_some() && !names.contains(first)) {
        return refused(&request.topics);
    }
    for name in names {
        if !page.add(name, view.image.topic_named(name)) {
            break;
        }
    }
    page.response
}

/// An answer that is being filled.
struct Page<'a, 'v> {
    view: &'v View<'a>,
    /// Where the cursor stands.
    first: &'a str,
    first_partition: i32,
    /// How many partitions still fit.
    remaining: i32,
    response: DescribeTopicPartitionsResponse<'a>,
}

impl<'a> Page<'a, '_> {
    /// Adds a topic or what fits of it; false once the page is full and its cursor set.
    fn add(&mut self, name: &'a str, topic: Option<&'a Topic>) -> bool {
        if self.remaining == 0 {
            self.response.next_cursor = Some(Cursor { topic_name: Cow::Borrowed(name), partition_index: 0 });
            return false;
        }
        let Some(topic) = topic else {
            self.response.topics.push(unknown(name));
            return true;
        };
        let start = if name == self.first { self.first_partition } else { 0 };
        let end = start.saturating_add(self.remaining).min(topic.partitions);
        let partitions: Vec<_> = (start..end).map(|index| self.partition(topic, index)).collect();
        self.remaining -= partitions.len() as i32;
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::NONE,
            name: Some(Cow::Borrowed(name)),
            topic_id: topic.id,
            is_internal: name::is_internal(name),
            partitions,
            topic_authorized_operations: TOPIC_OPERATIONS,
        });
        if end < topic.partitions {
            self.response.next_cursor = Some(Cursor { topic_name: Cow::Borrowed(name), partition_index: end });
            return false;
        }
        true
    }

    fn partition(&self, topic: &Topic, index: i32) -> DescribeTopicPartitionsResponsePartition {
        let (leader_id, leader_epoch) = self.view.leader(PartitionKey { topic: topic.id, index });
        DescribeTopicPartitionsResponsePartition {
            error_code: ErrorCode::NONE,
            partition_index: index,
            leader_id,
            leader_epoch,
            replica_nodes: [self.view.node.0].into(),
            isr_nodes: [self.view.node.0].into(),
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            offline_replicas: Vec::new(),
        }
    }
}

fn unknown(wanted: &str) -> DescribeTopicPartitionsResponseTopic<'_> {
    DescribeTopicPartitionsResponseTopic {
        error_code: match name::check(wanted) {
            Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        },
        name: Some(Cow::Borrowed(wanted)),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

/// A cursor that no answer of ours could have given: INVALID_REQUEST at each topic of the request, repeats included.
fn refused<'a>(topics: &'a [TopicRequest<'_>]) -> DescribeTopicPartitionsResponse<'a> {
    let refused = |topic: &'a TopicRequest<'_>| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST,
        name: Some(Cow::Borrowed(&*topic.name)),
        ..DescribeTopicPartitionsResponseTopic::default()
    };
    DescribeTopicPartitionsResponse {
        topics: topics.iter().map(refused).collect(),
        ..DescribeTopicPartitionsResponse::default()
    }
}
