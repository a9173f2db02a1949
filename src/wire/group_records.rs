//! The records of `__consumer_offsets`: keys and values as Kafka's message definitions have them. The two bytes of kind or
//! version in front of each are written by whoever uses them.

use crate::ids::TopicId;
use crate::wire::{Bin, Str};
use alloc::vec::Vec;

schema! {
    /// Which offset.
    struct OffsetCommitKey<'a> {
        group: Str<'a> [0..],
        topic: Str<'a> [0..],
        partition: i32 [0..],
    }

    /// A committed offset. Times in milliseconds since 1970.
    struct OffsetCommitValue<'a> {
        offset: i64 [0..],
        leader_epoch: i32 [3..] = -1,
        metadata: Str<'a> [0..],
        commit_timestamp: i64 [0..],
        expire_timestamp: i64 [1..=1] = -1,
        topic_id: TopicId [4.., tag 0],
    }

    /// Which group.
    struct GroupMetadataKey<'a> {
        group: Str<'a> [0..],
    }

    /// A group of the classic protocol, as of its last assignment or of when it became empty.
    struct GroupMetadataValue<'a> {
        protocol_type: Str<'a> [0..],
        generation: i32 [0..],
        protocol: Option<Str<'a>> [0..],
        leader: Option<Str<'a>> [0..],
        current_state_timestamp: i64 [2..] = -1,
        members: Vec<MemberMetadata<'a>> [0..],
    }

    /// One member.
    struct MemberMetadata<'a> {
        member_id: Str<'a> [0..],
        group_instance_id: Option<Str<'a>> [3..],
        client_id: Str<'a> [0..],
        client_host: Str<'a> [0..],
        rebalance_timeout: i32 [1..] = -1,
        session_timeout: i32 [0..],
        subscription: Bin<'a> [0..],
        assignment: Bin<'a> [0..],
    }
}
