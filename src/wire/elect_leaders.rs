//! ElectLeaders (key 43): preferred and unclean elections on demand (KIP-183, KIP-460).
//!
//! Version 1 names the election, 2 is flexible.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `election_type`: 0 preferred, 1 unclean. Null partitions ask for all.
    struct ElectLeadersRequest<'a>: Request ELECT_LEADERS 0..=2, flexible 2.. {
        election_type: i8 [1..],
        topic_partitions: Option<Vec<TopicPartitions<'a>>> [0..],
        timeout_ms: i32 [0..] = 60000,
    }

    /// Some partitions of a topic.
    struct TopicPartitions<'a> {
        topic: Str<'a> [0..],
        partitions: Vec<i32> [0..],
    }

    /// What became of them.
    struct ElectLeadersResponse<'a>: Response ELECT_LEADERS 0..=2, flexible 2.. {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [1..],
        replica_election_results: Vec<ReplicaElectionResult<'a>> [0..],
    }

    /// One topic.
    struct ReplicaElectionResult<'a> {
        topic: Str<'a> [0..],
        partition_result: Vec<PartitionResult<'a>> [0..],
    }

    /// One partition.
    struct PartitionResult<'a> {
        partition_id: i32 [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
    }
}
