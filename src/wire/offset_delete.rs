//! OffsetDelete (key 47): forgets committed offsets of partitions that the group no longer reads (KIP-496).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// The partitions of one group.
    struct OffsetDeleteRequest<'a>: Request OFFSET_DELETE 0..=0, flexible 32767.. {
        group_id: Str<'a> [0..],
        topics: Vec<OffsetDeleteRequestTopic<'a>> [0..],
    }

    /// One topic.
    struct OffsetDeleteRequestTopic<'a> {
        name: Str<'a> [0..],
        partitions: Vec<OffsetDeleteRequestPartition> [0..],
    }

    /// One partition.
    struct OffsetDeleteRequestPartition {
        partition_index: i32 [0..],
    }

    /// How it went; the error stands before the throttle time here.
    struct OffsetDeleteResponse<'a>: Response OFFSET_DELETE 0..=0, flexible 32767.. {
        error_code: ErrorCode [0..],
        throttle_time_ms: i32 [0..],
        topics: Vec<OffsetDeleteResponseTopic<'a>> [0..],
    }

    /// One topic.
    struct OffsetDeleteResponseTopic<'a> {
        name: Str<'a> [0..],
        partitions: Vec<OffsetDeleteResponsePartition> [0..],
    }

    /// One partition.
    struct OffsetDeleteResponsePartition {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
    }
}
