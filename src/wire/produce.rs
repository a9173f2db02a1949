//! Produce (key 0): appends batches of records to partitions.
//!
//! From version 13 a topic is named by its id (KIP-516). Version 9 is flexible, 10 tells the new leader with
//! NOT_LEADER_OR_FOLLOWER (KIP-951), 12 adds partitions to a transaction by itself (KIP-890). Versions 0 to 2 are
//! advertised for librdkafka's sake (KAFKA-18659) but refused, as in Kafka 4.

use crate::ids::TopicId;
use crate::wire::{ErrorCode, Records, Str};
use alloc::vec::Vec;

schema! {
    /// Batches for any number of partitions. `acks`: 0 for no answer, 1 for the leader alone, -1 for all in sync.
    struct ProduceRequest<'a>: Request PRODUCE 3..=13, flexible 9.. {
        transactional_id: Option<Str<'a>> [3..],
        acks: i16 [0..],
        timeout_ms: i32 [0..],
        topic_data: Vec<TopicProduceData<'a>> [0..],
    }

    /// One topic: its name up to version 12, its id from 13.
    struct TopicProduceData<'a> {
        name: Str<'a> [0..=12],
        topic_id: TopicId [13..],
        partition_data: Vec<PartitionProduceData<'a>> [0..],
    }

    /// One partition and, in `records`, exactly one batch for it.
    struct PartitionProduceData<'a> {
        index: i32 [0..],
        records: Option<Records<'a>> [0..],
    }

    /// What became of each partition.
    struct ProduceResponse<'a>: Response PRODUCE 3..=13, flexible 9.. {
        responses: Vec<TopicProduceResponse<'a>> [0..],
        throttle_time_ms: i32 [1..],
        node_endpoints: Vec<NodeEndpoint<'a>> [10.., tag 0],
    }

    /// One topic, named as in the request.
    struct TopicProduceResponse<'a> {
        name: Str<'a> [0..=12],
        topic_id: TopicId [13..],
        partition_responses: Vec<PartitionProduceResponse<'a>> [0..],
    }

    /// `log_append_time_ms` is -1 unless the topic stamps records by the broker's clock.
    struct PartitionProduceResponse<'a> {
        index: i32 [0..],
        error_code: ErrorCode [0..],
        base_offset: i64 [0..],
        log_append_time_ms: i64 [2..] = -1,
        log_start_offset: i64 [5..] = -1,
        record_errors: Vec<BatchIndexAndErrorMessage<'a>> [8..],
        error_message: Option<Str<'a>> [8..],
        current_leader: LeaderIdAndEpoch [10.., tag 0],
    }

    /// A record that made its batch fail, by its index in the batch (KIP-467).
    struct BatchIndexAndErrorMessage<'a> {
        batch_index: i32 [8..],
        batch_index_error_message: Option<Str<'a>> [8..],
    }

    /// Who leads now, -1 where that is unknown (KIP-951).
    struct LeaderIdAndEpoch {
        leader_id: i32 [10..] = -1,
        leader_epoch: i32 [10..] = -1,
    }

    /// Where a leader named in this answer listens (KIP-951).
    struct NodeEndpoint<'a> {
        node_id: i32 [10..],
        host: Str<'a> [10..],
        port: i32 [10..],
        rack: Option<Str<'a>> [10..],
    }
}
