//! LeaveGroup (key 13): members leave, or are removed by an administrator.
//!
//! Version 3 takes many members, static ones by their instance id (KIP-345), 4 is flexible, 5 gives a reason (KIP-800).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `member_id` up to version 2, `members` from version 3 on.
    struct LeaveGroupRequest<'a>: Request LEAVE_GROUP 0..=5, flexible 4.. {
        group_id: Str<'a> [0..],
        member_id: Str<'a> [0..=2],
        members: Vec<MemberIdentity<'a>> [3..],
    }

    /// A leaving member; the member id may be empty where an instance id is given.
    struct MemberIdentity<'a> {
        member_id: Str<'a> [3..],
        group_instance_id: Option<Str<'a>> [3..],
        reason: Option<Str<'a>> [5..],
    }

    /// How it went, for all and for each.
    struct LeaveGroupResponse<'a>: Response LEAVE_GROUP 0..=5, flexible 4.. {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..],
        members: Vec<MemberResponse<'a>> [3..],
    }

    /// How it went for one member.
    struct MemberResponse<'a> {
        member_id: Str<'a> [3..],
        group_instance_id: Option<Str<'a>> [3..],
        error_code: ErrorCode [3..],
    }
}
