//! CreatePartitions (key 37): more partitions for topics that exist (KIP-195).
//!
//! Version 2 is flexible; 3 may be refused by a quota (KIP-599).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `validate_only`: check everything, create nothing.
    struct CreatePartitionsRequest<'a>: Request CREATE_PARTITIONS 0..=3, flexible 2.. {
        topics: Vec<CreatePartitionsTopic<'a>> [0..],
        timeout_ms: i32 [0..],
        validate_only: bool [0..],
    }

    /// `count` is how many partitions the topic is to have in all. Null assignments leave their places to the broker.
    struct CreatePartitionsTopic<'a> {
        name: Str<'a> [0..],
        count: i32 [0..],
        assignments: Option<Vec<CreatePartitionsAssignment>> [0..],
    }

    /// The brokers of one new partition, the preferred leader first.
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32> [0..],
    }

    /// What became of each topic.
    struct CreatePartitionsResponse<'a>: Response CREATE_PARTITIONS 0..=3, flexible 2.. {
        throttle_time_ms: i32 [0..],
        results: Vec<CreatePartitionsTopicResult<'a>> [0..],
    }

    /// One topic.
    struct CreatePartitionsTopicResult<'a> {
        name: Str<'a> [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
    }
}
