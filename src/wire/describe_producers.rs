//! DescribeProducers (key 61): which producers a partition remembers (KIP-664).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// The partitions asked about.
    struct DescribeProducersRequest<'a>: Request DESCRIBE_PRODUCERS 0..=0, flexible 0.. {
        topics: Vec<TopicRequest<'a>> [0..],
    }

    /// Some partitions of a topic.
    struct TopicRequest<'a> {
        name: Str<'a> [0..],
        partition_indexes: Vec<i32> [0..],
    }

    /// What they remember.
    struct DescribeProducersResponse<'a>: Response DESCRIBE_PRODUCERS 0..=0, flexible 0.. {
        throttle_time_ms: i32 [0..],
        topics: Vec<TopicResponse<'a>> [0..],
    }

    /// One topic.
    struct TopicResponse<'a> {
        name: Str<'a> [0..],
        partitions: Vec<PartitionResponse<'a>> [0..],
    }

    /// One partition.
    struct PartitionResponse<'a> {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
        active_producers: Vec<ProducerState> [0..],
    }

    /// One producer. -1 where there is none: a sequence, a time, the first offset of an open transaction.
    struct ProducerState {
        producer_id: i64 [0..],
        producer_epoch: i32 [0..],
        last_sequence: i32 [0..] = -1,
        last_timestamp: i64 [0..] = -1,
        coordinator_epoch: i32 [0..],
        current_txn_start_offset: i64 [0..] = -1,
    }
}
