//! ListOffsets (key 2): the offset for a timestamp, or one of the ends of a partition.
//!
//! Version 4 checks the leader epoch (KIP-320), 6 is flexible, 7 has the offset of the largest timestamp (KIP-734), 10
//! a timeout for what is read from tiered storage (KIP-1075), 11 the earliest offset not yet uploaded (KIP-1023).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `replica_id` is -1 for a consumer.
    struct ListOffsetsRequest<'a>: Request LIST_OFFSETS 1..=11, flexible 6.. {
        replica_id: i32 [0..],
        isolation_level: i8 [2..],
        topics: Vec<ListOffsetsTopic<'a>> [0..],
        timeout_ms: i32 [10..],
    }

    /// One topic.
    struct ListOffsetsTopic<'a> {
        name: Str<'a> [0..],
        partitions: Vec<ListOffsetsPartition> [0..],
    }

    /// `timestamp`: milliseconds, or -1 latest, -2 earliest, -3 of the largest timestamp, -4 earliest local,
    /// -5 latest tiered, -6 earliest not yet uploaded.
    struct ListOffsetsPartition {
        partition_index: i32 [0..],
        current_leader_epoch: i32 [4..] = -1,
        timestamp: i64 [0..],
    }

    /// The offsets found.
    struct ListOffsetsResponse<'a>: Response LIST_OFFSETS 1..=11, flexible 6.. {
        throttle_time_ms: i32 [2..],
        topics: Vec<ListOffsetsTopicResponse<'a>> [0..],
    }

    /// One topic.
    struct ListOffsetsTopicResponse<'a> {
        name: Str<'a> [0..],
        partitions: Vec<ListOffsetsPartitionResponse> [0..],
    }

    /// The first record at or after the timestamp; -1 and -1 where there is none.
    struct ListOffsetsPartitionResponse {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
        timestamp: i64 [1..] = -1,
        offset: i64 [1..] = -1,
        leader_epoch: i32 [4..] = -1,
    }
}
