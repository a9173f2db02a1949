//! DescribeLogDirs (key 35): which folders hold which partitions, and how much (KIP-113).
//!
//! Version 2 is flexible, 3 has an error of its own, 4 tells of the volume (KIP-827), 5 of folders that take nothing new.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// Null topics ask for all.
    struct DescribeLogDirsRequest<'a>: Request DESCRIBE_LOG_DIRS 1..=5, flexible 2.. {
        topics: Option<Vec<DescribableLogDirTopic<'a>>> [0..],
    }

    /// Some partitions of a topic.
    struct DescribableLogDirTopic<'a> {
        topic: Str<'a> [0..],
        partitions: Vec<i32> [0..],
    }

    /// The folders found.
    struct DescribeLogDirsResponse<'a>: Response DESCRIBE_LOG_DIRS 1..=5, flexible 2.. {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [3..],
        results: Vec<DescribeLogDirsResult<'a>> [0..],
    }

    /// One folder. Bytes of its volume are -1 where they are not known.
    struct DescribeLogDirsResult<'a> {
        error_code: ErrorCode [0..],
        log_dir: Str<'a> [0..],
        topics: Vec<DescribeLogDirsTopic<'a>> [0..],
        total_bytes: i64 [4..] = -1,
        usable_bytes: i64 [4..] = -1,
        is_cordoned: bool [5..],
    }

    /// What it holds of a topic.
    struct DescribeLogDirsTopic<'a> {
        name: Str<'a> [0..],
        partitions: Vec<DescribeLogDirsPartition> [0..],
    }

    /// Bytes of a partition's segments; how many offsets its end is ahead of its high watermark.
    struct DescribeLogDirsPartition {
        partition_index: i32 [0..],
        partition_size: i64 [0..],
        offset_lag: i64 [0..],
        is_future_key: bool [0..],
    }
}
