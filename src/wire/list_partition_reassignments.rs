//! ListPartitionReassignments (key 46): which partitions are on their way to other brokers (KIP-455).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// Null topics ask for all.
    struct ListPartitionReassignmentsRequest<'a>: Request LIST_PARTITION_REASSIGNMENTS 0..=0, flexible 0.. {
        timeout_ms: i32 [0..] = 60000,
        topics: Option<Vec<ListPartitionReassignmentsTopics<'a>>> [0..],
    }

    /// Some partitions of a topic.
    struct ListPartitionReassignmentsTopics<'a> {
        name: Str<'a> [0..],
        partition_indexes: Vec<i32> [0..],
    }

    /// What is under way.
    struct ListPartitionReassignmentsResponse<'a>: Response LIST_PARTITION_REASSIGNMENTS 0..=0, flexible 0.. {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
        topics: Vec<OngoingTopicReassignment<'a>> [0..],
    }

    /// One topic.
    struct OngoingTopicReassignment<'a> {
        name: Str<'a> [0..],
        partitions: Vec<OngoingPartitionReassignment> [0..],
    }

    /// One partition: its brokers, those that are to be, those that are not to be any more.
    struct OngoingPartitionReassignment {
        partition_index: i32 [0..],
        replicas: Vec<i32> [0..],
        adding_replicas: Vec<i32> [0..],
        removing_replicas: Vec<i32> [0..],
    }
}
