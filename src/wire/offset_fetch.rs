//! OffsetFetch (key 9): up to where groups have processed their partitions.
//!
//! Version 2 gives all of a group's partitions for null, 5 leader epochs, 6 is flexible, 7 can ask for stable offsets only
//! (KIP-447), 8 takes many groups (KIP-709), 9 member epochs (KIP-848), 10 names topics by id.

use crate::ids::TopicId;
use crate::wire::{ErrorCode, List, Str};
use alloc::vec::Vec;

schema! {
    /// One group up to version 7, `groups` from version 8 on.
    struct OffsetFetchRequest<'a>: Request OFFSET_FETCH 1..=10, flexible 6.. {
        group_id: Str<'a> [0..=7],
        topics: Option<Vec<OffsetFetchRequestTopic<'a>>> [0..=7, null 2..=7],
        groups: Vec<OffsetFetchRequestGroup<'a>> [8..],
        require_stable: bool [7..],
    }

    /// One group; null topics ask for all.
    struct OffsetFetchRequestGroup<'a> {
        group_id: Str<'a> [8..],
        member_id: Option<Str<'a>> [9..],
        member_epoch: i32 [9..] = -1,
        topics: Option<Vec<OffsetFetchRequestTopics<'a>>> [8..],
    }

    /// One topic, from version 8 on.
    struct OffsetFetchRequestTopics<'a> {
        name: Str<'a> [8..=9],
        topic_id: TopicId [10..],
        partition_indexes: Vec<i32> [8..],
    }

    /// One topic, up to version 7.
    struct OffsetFetchRequestTopic<'a> {
        name: Str<'a> [0..=7],
        partition_indexes: Vec<i32> [0..=7],
    }

    /// The committed offsets.
    struct OffsetFetchResponse<'a>: Response OFFSET_FETCH 1..=10, flexible 6.. {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetFetchResponseTopic<'a>> [0..=7],
        error_code: ErrorCode [2..=7],
        groups: List<'a, OffsetFetchResponseGroup<'a>> [8..],
    }

    /// One group.
    struct OffsetFetchResponseGroup<'a> {
        group_id: Str<'a> [8..],
        topics: Vec<OffsetFetchResponseTopics<'a>> [8..],
        error_code: ErrorCode [8..],
    }

    /// One topic, from version 8 on.
    struct OffsetFetchResponseTopics<'a> {
        name: Str<'a> [8..=9],
        topic_id: TopicId [10..],
        partitions: Vec<OffsetFetchResponsePartitions<'a>> [8..],
    }

    /// One partition, from version 8 on; an offset of -1 where nothing is committed.
    struct OffsetFetchResponsePartitions<'a> {
        partition_index: i32 [8..],
        committed_offset: i64 [8..],
        committed_leader_epoch: i32 [8..] = -1,
        metadata: Option<Str<'a>> [8..],
        error_code: ErrorCode [8..],
    }

    /// One topic, up to version 7.
    struct OffsetFetchResponseTopic<'a> {
        name: Str<'a> [0..=7],
        partitions: Vec<OffsetFetchResponsePartition<'a>> [0..=7],
    }

    /// One partition, up to version 7; an offset of -1 where nothing is committed.
    struct OffsetFetchResponsePartition<'a> {
        partition_index: i32 [0..=7],
        committed_offset: i64 [0..=7],
        committed_leader_epoch: i32 [5..=7] = -1,
        metadata: Option<Str<'a>> [0..=7],
        error_code: ErrorCode [0..=7],
    }
}
