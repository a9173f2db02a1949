//! CreateTopics (key 19).
//!
//! Version 4 may leave counts to the broker (KIP-464), 5 is flexible and returns the configuration (KIP-525), 7 returns
//! the topic's id.

use crate::ids::TopicId;
use crate::wire::{ErrorCode, List, Str};
use alloc::vec::Vec;

schema! {
    /// `validate_only`: check everything, create nothing.
    struct CreateTopicsRequest<'a>: Request CREATE_TOPICS 2..=7, flexible 5.. {
        topics: Vec<CreatableTopic<'a>> [0..],
        timeout_ms: i32 [0..] = 60000,
        validate_only: bool [1..],
    }

    /// -1 partitions or replicas: the broker's default, or as `assignments` say.
    struct CreatableTopic<'a> {
        name: Str<'a> [0..],
        num_partitions: i32 [0..],
        replication_factor: i16 [0..],
        assignments: Vec<CreatableReplicaAssignment> [0..],
        configs: Vec<CreatableTopicConfig<'a>> [0..],
    }

    /// The brokers of one partition, the preferred leader first.
    struct CreatableReplicaAssignment {
        partition_index: i32 [0..],
        broker_ids: Vec<i32> [0..],
    }

    /// A configuration of the topic.
    struct CreatableTopicConfig<'a> {
        name: Str<'a> [0..],
        value: Option<Str<'a>> [0..],
    }

    /// What became of each topic.
    struct CreateTopicsResponse<'a>: Response CREATE_TOPICS 2..=7, flexible 5.. {
        throttle_time_ms: i32 [2..],
        topics: Vec<CreatableTopicResult<'a>> [0..],
    }

    /// `configs` is null and `topic_config_error_code` set where the client may not see them.
    struct CreatableTopicResult<'a> {
        name: Str<'a> [0..],
        topic_id: TopicId [7..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [1..],
        topic_config_error_code: ErrorCode [5.., tag 0],
        num_partitions: i32 [5..] = -1,
        replication_factor: i16 [5..] = -1,
        configs: Option<List<'a, CreatableTopicConfigs<'a>>> [5..],
    }

    /// A configuration that the topic now has. `config_source` as in DescribeConfigs.
    struct CreatableTopicConfigs<'a> {
        name: Str<'a> [5..],
        value: Option<Str<'a>> [5..],
        read_only: bool [5..],
        config_source: i8 [5..] = -1,
        is_sensitive: bool [5..],
    }
}
