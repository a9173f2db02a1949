//! DescribeGroups (key 15): the state and the members of groups of the classic protocol.
//!
//! Version 3 can ask for what the client may do, 4 has static members, 5 is flexible, 6 answers GROUP_ID_NOT_FOUND with a
//! message where older versions call an unknown group dead (KIP-1043).

use crate::wire::{Bin, ErrorCode, List, Str};
use alloc::vec::Vec;

schema! {
    /// The groups.
    struct DescribeGroupsRequest<'a>: Request DESCRIBE_GROUPS 0..=6, flexible 5.. {
        groups: Vec<Str<'a>> [0..],
        include_authorized_operations: bool [3..],
    }

    /// What they are.
    struct DescribeGroupsResponse<'a>: Response DESCRIBE_GROUPS 0..=6, flexible 5.. {
        throttle_time_ms: i32 [1..],
        groups: List<'a, DescribedGroup<'a>> [0..],
    }

    /// One group. `group_state`: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead.
    struct DescribedGroup<'a> {
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [6..],
        group_id: Str<'a> [0..],
        group_state: Str<'a> [0..],
        protocol_type: Str<'a> [0..],
        protocol_data: Str<'a> [0..],
        members: Vec<DescribedGroupMember<'a>> [0..],
        authorized_operations: i32 [3..] = i32::MIN,
    }

    /// One member; metadata and assignment are those of the chosen protocol, in a stable group.
    struct DescribedGroupMember<'a> {
        member_id: Str<'a> [0..],
        group_instance_id: Option<Str<'a>> [4..],
        client_id: Str<'a> [0..],
        client_host: Str<'a> [0..],
        member_metadata: Bin<'a> [0..],
        member_assignment: Bin<'a> [0..],
    }
}
