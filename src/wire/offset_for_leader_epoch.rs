//! OffsetForLeaderEpoch (key 23): where a leader epoch ended, for consumers that look for truncation (KIP-320).
//!
//! Version 3 has the replica id, 4 is flexible.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `replica_id`: -1 for a consumer, -2 for a consumer before version 3.
    struct OffsetForLeaderEpochRequest<'a>: Request OFFSET_FOR_LEADER_EPOCH 2..=4, flexible 4.. {
        replica_id: i32 [3..] = -2,
        topics: Vec<OffsetForLeaderTopic<'a>> [0..],
    }

    /// One topic.
    struct OffsetForLeaderTopic<'a> {
        topic: Str<'a> [0..],
        partitions: Vec<OffsetForLeaderPartition> [0..],
    }

    /// The epoch asked about, and the epoch in which the client thinks the partition is now.
    struct OffsetForLeaderPartition {
        partition: i32 [0..],
        current_leader_epoch: i32 [2..] = -1,
        leader_epoch: i32 [0..],
    }

    /// The ends found.
    struct OffsetForLeaderEpochResponse<'a>: Response OFFSET_FOR_LEADER_EPOCH 2..=4, flexible 4.. {
        throttle_time_ms: i32 [2..],
        topics: Vec<OffsetForLeaderTopicResult<'a>> [0..],
    }

    /// One topic.
    struct OffsetForLeaderTopicResult<'a> {
        topic: Str<'a> [0..],
        partitions: Vec<EpochEndOffset> [0..],
    }

    /// The largest epoch not above the one asked about, and its end (exclusive); -1 and -1 where unknown.
    struct EpochEndOffset {
        error_code: ErrorCode [0..],
        partition: i32 [0..],
        leader_epoch: i32 [1..] = -1,
        end_offset: i64 [0..] = -1,
    }
}
