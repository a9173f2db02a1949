//! DescribeQuorum (key 55): the voters of the metadata log (KIP-642).
//!
//! Version 1 tells when each fetched last (KIP-836), 2 names disks, nodes and errors (KIP-853).

use crate::ids::TopicId;
use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// The partitions asked about: `__cluster_metadata` has one.
    struct DescribeQuorumRequest<'a>: Request DESCRIBE_QUORUM 0..=2, flexible 0.. {
        topics: Vec<QuorumTopicRequest<'a>> [0..],
    }

    /// Some partitions of a topic.
    struct QuorumTopicRequest<'a> {
        topic_name: Str<'a> [0..],
        partitions: Vec<QuorumPartitionRequest> [0..],
    }

    /// One partition.
    struct QuorumPartitionRequest {
        partition_index: i32 [0..],
    }

    /// Their quorums.
    struct DescribeQuorumResponse<'a>: Response DESCRIBE_QUORUM 0..=2, flexible 0.. {
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [2..],
        topics: Vec<QuorumTopic<'a>> [0..],
        nodes: Vec<QuorumNode<'a>> [2..],
    }

    /// One topic.
    struct QuorumTopic<'a> {
        topic_name: Str<'a> [0..],
        partitions: Vec<QuorumPartition<'a>> [0..],
    }

    /// One partition. -1 where the leader is not known.
    struct QuorumPartition<'a> {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [2..],
        leader_id: i32 [0..],
        leader_epoch: i32 [0..],
        high_watermark: i64 [0..],
        current_voters: Vec<ReplicaState> [0..],
        observers: Vec<ReplicaState> [0..],
    }

    /// One replica; times in milliseconds since 1970, -1 where they are not known. The directory's id is a UUID.
    struct ReplicaState {
        replica_id: i32 [0..],
        replica_directory_id: TopicId [2..],
        log_end_offset: i64 [0..],
        last_fetch_timestamp: i64 [1..] = -1,
        last_caught_up_timestamp: i64 [1..] = -1,
    }

    /// Where a voter listens.
    struct QuorumNode<'a> {
        node_id: i32 [2..],
        listeners: Vec<QuorumListener<'a>> [2..],
    }

    /// One listener.
    struct QuorumListener<'a> {
        name: Str<'a> [2..],
        host: Str<'a> [2..],
        port: u16 [2..],
    }
}
