//! SyncGroup (key 14): the leader brings the assignment of its generation, everyone takes home their own part.
//!
//! Version 3 has static members, 4 is flexible, 5 names the protocol that the member believes in (KIP-559).

use crate::wire::{Bin, ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `assignments` is empty but for the leader's.
    struct SyncGroupRequest<'a>: Request SYNC_GROUP 0..=5, flexible 4.. {
        group_id: Str<'a> [0..],
        generation_id: i32 [0..],
        member_id: Str<'a> [0..],
        group_instance_id: Option<Str<'a>> [3..],
        protocol_type: Option<Str<'a>> [5..],
        protocol_name: Option<Str<'a>> [5..],
        assignments: Vec<SyncGroupRequestAssignment<'a>> [0..],
    }

    /// One member's part: opaque bytes.
    struct SyncGroupRequestAssignment<'a> {
        member_id: Str<'a> [0..],
        assignment: Bin<'a> [0..],
    }

    /// The member's own assignment.
    struct SyncGroupResponse<'a>: Response SYNC_GROUP 0..=5, flexible 4.. {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..],
        protocol_type: Option<Str<'a>> [5..],
        protocol_name: Option<Str<'a>> [5..],
        assignment: Bin<'a> [0..],
    }
}
