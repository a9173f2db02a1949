//! DescribeTopicPartitions (key 75, KIP-966): topics and their partitions, page by page.

use crate::ids::TopicId;
use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// No topics: all of them. The page begins at `cursor`.
    struct DescribeTopicPartitionsRequest<'a>: Request DESCRIBE_TOPIC_PARTITIONS 0..=0, flexible 0.. {
        topics: Vec<TopicRequest<'a>> [0..],
        response_partition_limit: i32 [0..] = 2000,
        cursor: Option<Cursor<'a>> [0..],
    }

    /// A topic by name.
    struct TopicRequest<'a> {
        name: Str<'a> [0..],
    }

    /// Where a page begins.
    struct Cursor<'a> {
        topic_name: Str<'a> [0..],
        partition_index: i32 [0..],
    }

    /// A page; `next_cursor` is null on the last one.
    struct DescribeTopicPartitionsResponse<'a>: Response DESCRIBE_TOPIC_PARTITIONS 0..=0, flexible 0.. {
        throttle_time_ms: i32 [0..],
        topics: Vec<DescribeTopicPartitionsResponseTopic<'a>> [0..],
        next_cursor: Option<Cursor<'a>> [0..],
    }

    /// One topic.
    struct DescribeTopicPartitionsResponseTopic<'a> {
        error_code: ErrorCode [0..],
        name: Option<Str<'a>> [0..],
        topic_id: TopicId [0..],
        is_internal: bool [0..],
        partitions: Vec<DescribeTopicPartitionsResponsePartition> [0..],
        topic_authorized_operations: i32 [0..] = i32::MIN,
    }

    /// One partition, with its eligible leader replicas (KIP-966).
    struct DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode [0..],
        partition_index: i32 [0..],
        leader_id: i32 [0..],
        leader_epoch: i32 [0..] = -1,
        replica_nodes: Vec<i32> [0..],
        isr_nodes: Vec<i32> [0..],
        eligible_leader_replicas: Option<Vec<i32>> [0..],
        last_known_elr: Option<Vec<i32>> [0..],
        offline_replicas: Vec<i32> [0..],
    }
}
