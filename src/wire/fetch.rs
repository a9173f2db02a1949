//! Fetch (key 1): reads batches of records from partitions, of consumers and of replicas.
//!
//! From version 13 a topic is named by its id (KIP-516). Version 7 has sessions (KIP-227), 12 is flexible and has
//! epochs of the log (KIP-595), 15 moves the replica id (KIP-903), 16 tells the new leader (KIP-951), 18 the follower's
//! high watermark (KIP-1166).

use crate::ids::TopicId;
use crate::wire::{ErrorCode, Records, Str};
use alloc::vec::Vec;

schema! {
    /// A long poll: answered when `min_bytes` are there or `max_wait_ms` have passed.
    struct FetchRequest<'a>: Request FETCH 4..=18, flexible 12.. {
        cluster_id: Option<Str<'a>> [12.., tag 0],
        replica_id: i32 [0..=14] = -1,
        replica_state: ReplicaState [15.., tag 1],
        max_wait_ms: i32 [0..],
        min_bytes: i32 [0..],
        max_bytes: i32 [3..] = i32::MAX,
        isolation_level: i8 [4..],
        session_id: i32 [7..],
        session_epoch: i32 [7..] = -1,
        topics: Vec<FetchTopic<'a>> [0..],
        forgotten_topics_data: Vec<ForgottenTopic<'a>> [7..],
        rack_id: Str<'a> [11..],
    }

    /// The follower that fetches; -1 for a consumer (KIP-903).
    struct ReplicaState {
        replica_id: i32 [15..] = -1,
        replica_epoch: i64 [15..] = -1,
    }

    /// One topic: its name up to version 12, its id from 13.
    struct FetchTopic<'a> {
        topic: Str<'a> [0..=12],
        topic_id: TopicId [13..],
        partitions: Vec<FetchPartition> [0..],
    }

    /// One partition, from `fetch_offset`; at most `partition_max_bytes`, the first batch of the answer excepted.
    struct FetchPartition {
        partition: i32 [0..],
        current_leader_epoch: i32 [9..] = -1,
        fetch_offset: i64 [0..],
        last_fetched_epoch: i32 [12..] = -1,
        log_start_offset: i64 [5..] = -1,
        partition_max_bytes: i32 [0..],
        replica_directory_id: TopicId [17.., tag 0],
        high_watermark: i64 [18.., tag 1] = i64::MAX,
    }

    /// Partitions that leave the session.
    struct ForgottenTopic<'a> {
        topic: Str<'a> [7..=12],
        topic_id: TopicId [13..],
        partitions: Vec<i32> [7..],
    }

    /// Batches by partition. `session_id` 0: there is no session.
    struct FetchResponse<'a>: Response FETCH 4..=18, flexible 12.. {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [7..],
        session_id: i32 [7..],
        responses: Vec<FetchableTopicResponse<'a>> [0..],
        node_endpoints: Vec<NodeEndpoint<'a>> [16.., tag 0],
    }

    /// One topic, named as in the request.
    struct FetchableTopicResponse<'a> {
        topic: Str<'a> [0..=12],
        topic_id: TopicId [13..],
        partitions: Vec<PartitionData<'a>> [0..],
    }

    /// Whole batches below the high watermark; the first may begin before the offset asked for.
    struct PartitionData<'a> {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
        high_watermark: i64 [0..],
        last_stable_offset: i64 [4..] = -1,
        log_start_offset: i64 [5..] = -1,
        diverging_epoch: EpochEndOffset [12.., tag 0],
        current_leader: LeaderIdAndEpoch [12.., tag 1],
        snapshot_id: SnapshotId [12.., tag 2],
        aborted_transactions: Option<Vec<AbortedTransaction>> [4..],
        preferred_read_replica: i32 [11..] = -1,
        records: Option<Records<'a>> [0..],
    }

    /// Where the follower's log left the leader's: the largest epoch and its end (KIP-595).
    struct EpochEndOffset {
        epoch: i32 [12..] = -1,
        end_offset: i64 [12..] = -1,
    }

    /// Who leads now, -1 where that is unknown (KIP-951).
    struct LeaderIdAndEpoch {
        leader_id: i32 [12..] = -1,
        leader_epoch: i32 [12..] = -1,
    }

    /// A follower of a Raft log should fetch this snapshot (KIP-630).
    struct SnapshotId {
        end_offset: i64 [0..] = -1,
        epoch: i32 [0..] = -1,
    }

    /// A transaction that a read-committed consumer skips.
    struct AbortedTransaction {
        producer_id: i64 [4..],
        first_offset: i64 [4..],
    }

    /// Where a leader named in this answer listens (KIP-951).
    struct NodeEndpoint<'a> {
        node_id: i32 [16..],
        host: Str<'a> [16..],
        port: i32 [16..],
        rack: Option<Str<'a>> [16..],
    }
}
