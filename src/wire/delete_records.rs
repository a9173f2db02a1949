//! DeleteRecords (key 21, KIP-107): moves the start of logs forward; what lies below is gone.
//!
//! Version 2 is flexible.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// Where logs are to start.
    struct DeleteRecordsRequest<'a>: Request DELETE_RECORDS 0..=2, flexible 2.. {
        topics: Vec<DeleteRecordsTopic<'a>> [0..],
        timeout_ms: i32 [0..],
    }

    /// One topic.
    struct DeleteRecordsTopic<'a> {
        name: Str<'a> [0..],
        partitions: Vec<DeleteRecordsPartition> [0..],
    }

    /// `offset`: the first that is kept; -1 for the high watermark.
    struct DeleteRecordsPartition {
        partition_index: i32 [0..],
        offset: i64 [0..],
    }

    /// How it went.
    struct DeleteRecordsResponse<'a>: Response DELETE_RECORDS 0..=2, flexible 2.. {
        throttle_time_ms: i32 [0..],
        topics: Vec<DeleteRecordsTopicResult<'a>> [0..],
    }

    /// One topic.
    struct DeleteRecordsTopicResult<'a> {
        name: Str<'a> [0..],
        partitions: Vec<DeleteRecordsPartitionResult> [0..],
    }

    /// `low_watermark`: where the log starts now; -1 with an error.
    struct DeleteRecordsPartitionResult {
        partition_index: i32 [0..],
        low_watermark: i64 [0..],
        error_code: ErrorCode [0..],
    }
}
