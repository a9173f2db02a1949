//! OffsetCommit (key 8): a group has processed its partitions up to here.
//!
//! Version 5 has no retention time (KIP-211), 6 leader epochs, 7 static members, 8 is flexible, 9 takes member epochs of
//! KIP-848 in place of the generation, 10 names topics by id.

use crate::ids::TopicId;
use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// A generation of -1 and no member commit for a group that nobody manages.
    struct OffsetCommitRequest<'a>: Request OFFSET_COMMIT 2..=10, flexible 8.. {
        group_id: Str<'a> [0..],
        generation_id_or_member_epoch: i32 [1..] = -1,
        member_id: Str<'a> [1..],
        group_instance_id: Option<Str<'a>> [7..],
        retention_time_ms: i64 [2..=4] = -1,
        topics: Vec<OffsetCommitRequestTopic<'a>> [0..],
    }

    /// One topic: a name up to version 9, an id from version 10 on.
    struct OffsetCommitRequestTopic<'a> {
        name: Str<'a> [0..=9],
        topic_id: TopicId [10..],
        partitions: Vec<OffsetCommitRequestPartition<'a>> [0..],
    }

    /// One partition. `committed_offset`: the next record to process.
    struct OffsetCommitRequestPartition<'a> {
        partition_index: i32 [0..],
        committed_offset: i64 [0..],
        committed_leader_epoch: i32 [6..] = -1,
        committed_metadata: Option<Str<'a>> [0..],
    }

    /// How it went.
    struct OffsetCommitResponse<'a>: Response OFFSET_COMMIT 2..=10, flexible 8.. {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetCommitResponseTopic<'a>> [0..],
    }

    /// One topic.
    struct OffsetCommitResponseTopic<'a> {
        name: Str<'a> [0..=9],
        topic_id: TopicId [10..],
        partitions: Vec<OffsetCommitResponsePartition> [0..],
    }

    /// One partition.
    struct OffsetCommitResponsePartition {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
    }
}
