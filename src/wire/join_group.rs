//! JoinGroup (key 11): become, or stay, a member of a group; answered when the generation is complete.
//!
//! Version 1 has a rebalance timeout, 4 asks for a member id first (KIP-394), 5 has static members (KIP-345), 6 is flexible, 7
//! names the protocol's type, 8 gives a reason (KIP-800), 9 lets the leader skip its assignment (KIP-814).

use crate::wire::{Bin, ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// Who joins, and which protocols it speaks, best first. A `member_id` is empty the first time.
    struct JoinGroupRequest<'a>: Request JOIN_GROUP 0..=9, flexible 6.. {
        group_id: Str<'a> [0..],
        session_timeout_ms: i32 [0..],
        rebalance_timeout_ms: i32 [1..] = -1,
        member_id: Str<'a> [0..],
        group_instance_id: Option<Str<'a>> [5..],
        protocol_type: Str<'a> [0..],
        protocols: Vec<JoinGroupRequestProtocol<'a>> [0..],
        reason: Option<Str<'a>> [8..],
    }

    /// One protocol, and what the member says in it: opaque bytes.
    struct JoinGroupRequestProtocol<'a> {
        name: Str<'a> [0..],
        metadata: Bin<'a> [0..],
    }

    /// The new generation. Only the leader gets the members.
    struct JoinGroupResponse<'a>: Response JOIN_GROUP 0..=9, flexible 6.. {
        throttle_time_ms: i32 [2..],
        error_code: ErrorCode [0..],
        generation_id: i32 [0..] = -1,
        protocol_type: Option<Str<'a>> [7..],
        protocol_name: Option<Str<'a>> [0.., null 7..],
        leader: Str<'a> [0..],
        skip_assignment: bool [9..],
        member_id: Str<'a> [0..],
        members: Vec<JoinGroupResponseMember<'a>> [0..],
    }

    /// A member and its metadata in the chosen protocol.
    struct JoinGroupResponseMember<'a> {
        member_id: Str<'a> [0..],
        group_instance_id: Option<Str<'a>> [5..],
        metadata: Bin<'a> [0..],
    }
}
