//! Metadata (key 3): the brokers, and the topics with their leaders and replicas.
//!
//! In version 0 an empty list of topics asks for all, later a null does. Version 9 is flexible, 10 has topic ids, 12
//! may ask by id alone, 13 has an error for the whole answer (KIP-1102).

use crate::ids::TopicId;
use crate::wire::{ErrorCode, List, Str};
use alloc::vec::Vec;

schema! {
    /// `topics`: null asks for all, an empty list for none (in version 0 for all).
    struct MetadataRequest<'a>: Request METADATA 0..=13, flexible 9.. {
        topics: Option<Vec<MetadataRequestTopic<'a>>> [0.., null 1..],
        allow_auto_topic_creation: bool [4..] = true,
        include_cluster_authorized_operations: bool [8..=10],
        include_topic_authorized_operations: bool [8..],
    }

    /// A topic by name or, from version 12, by id.
    struct MetadataRequestTopic<'a> {
        topic_id: TopicId [10..],
        name: Option<Str<'a>> [0.., null 10..],
    }

    /// The cluster as this broker sees it.
    struct MetadataResponse<'a>: Response METADATA 0..=13, flexible 9.. {
        throttle_time_ms: i32 [3..],
        brokers: Vec<MetadataResponseBroker<'a>> [0..],
        cluster_id: Option<Str<'a>> [2..],
        controller_id: i32 [1..] = -1,
        topics: List<'a, MetadataResponseTopic<'a>> [0..],
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        error_code: ErrorCode [13..],
    }

    /// A broker and where it listens.
    struct MetadataResponseBroker<'a> {
        node_id: i32 [0..],
        host: Str<'a> [0..],
        port: i32 [0..],
        rack: Option<Str<'a>> [1..],
    }

    /// One topic. The operations are a bit field, `i32::MIN` where they were not asked for (KIP-430).
    struct MetadataResponseTopic<'a> {
        error_code: ErrorCode [0..],
        name: Option<Str<'a>> [0.., null 12..],
        topic_id: TopicId [10..],
        is_internal: bool [1..],
        partitions: List<'a, MetadataResponsePartition> [0..],
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// One partition; `leader_id` is -1 where nobody leads.
    struct MetadataResponsePartition {
        error_code: ErrorCode [0..],
        partition_index: i32 [0..],
        leader_id: i32 [0..],
        leader_epoch: i32 [7..] = -1,
        replica_nodes: Vec<i32> [0..],
        isr_nodes: Vec<i32> [0..],
        offline_replicas: Vec<i32> [5..],
    }
}
