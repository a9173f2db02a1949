//! ElectLeaders: an election that someone asks for. With one replica each partition's leader is the preferred one, and
//! the only one that is in sync, so none is needed; while a partition has no leader yet, its one replica is standing.
//!
//! As in Kafka a request for all partitions tells only of those where something happened, which is none.

use super::View;
use crate::ids::PartitionKey;
use crate::metadata::Topic;
use crate::wire::ErrorCode;
use crate::wire::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult, TopicPartitions,
};
use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub fn answer<'a>(request: &'a ElectLeadersRequest<'_>, view: &View<'a>) -> ElectLeadersResponse<'a> {
    let known = matches!(request.election_type, PREFERRED | UNCLEAN);
    let all = |topic: &'a Topic| ReplicaElectionResult { topic: Cow::Borrowed(&topic.name), ..Default::default() };
    let named = |wanted: &'a TopicPartitions<'_>| ReplicaElectionResult {
        topic: Cow::Borrowed(&*wanted.topic),
        partition_result: wanted.partitions.iter().map(|index| result(request, wanted, *index, view)).collect(),
    };
    let replica_election_results: Vec<_> = match &request.topic_partitions {
        Some(topics) => topics.iter().map(named).collect(),
        None if known => view.image.topics().map(all).collect(),
        None => Vec::new(),
    };
    let nothing = request.topic_partitions.as_ref().is_some_and(Vec::is_empty);
    let error_code = if known || nothing { ErrorCode::NONE } else { ErrorCode::INVALID_REQUEST };
    ElectLeadersResponse { error_code, replica_election_results, throttle_time_ms: 0 }
}

fn result<'a>(
    request: &ElectLeadersRequest<'_>,
    wanted: &TopicPartitions<'_>,
    index: i32,
    view: &View<'_>,
) -> PartitionResult<'a> {
    let name = &*wanted.topic;
    let (error_code, message) = match (request.election_type, view.image.topic_named(name)) {
        (PREFERRED | UNCLEAN, None) => {
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Cow::Owned(format!("No such topic as {name}")))
        }
        (PREFERRED | UNCLEAN, Some(topic)) if !(0..topic.partitions).contains(&index) => {
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Cow::Owned(format!("No such partition as {name}-{index}")))
        }
        (PREFERRED | UNCLEAN, Some(topic)) if view.leaders.contains_key(&PartitionKey { topic: topic.id, index }) => {
            (ErrorCode::ELECTION_NOT_NEEDED, Cow::Borrowed("Leader election not needed for topic partition."))
        }
        (PREFERRED, Some(_)) => {
            (ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE, Cow::Borrowed("The preferred leader was not available."))
        }
        (UNCLEAN, Some(_)) => {
            let text = "Eligible topic partition leaders are not available.";
            (ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE, Cow::Borrowed(text))
        }
        (other, _) => (ErrorCode::INVALID_REQUEST, Cow::Owned(format!("Unknown election type {other}"))),
    };
    PartitionResult { partition_id: index, error_code, error_message: Some(message) }
}
