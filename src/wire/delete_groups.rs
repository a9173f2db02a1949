//! DeleteGroups (key 42): forgets empty groups with all that they have committed.
//!
//! Version 2 is flexible, 3 says why a group was not deleted.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// The groups.
    struct DeleteGroupsRequest<'a>: Request DELETE_GROUPS 0..=3, flexible 2.. {
        groups_names: Vec<Str<'a>> [0..],
    }

    /// How it went.
    struct DeleteGroupsResponse<'a>: Response DELETE_GROUPS 0..=3, flexible 2.. {
        throttle_time_ms: i32 [0..],
        results: Vec<DeletableGroupResult<'a>> [0..],
    }

    /// How it went for one group.
    struct DeletableGroupResult<'a> {
        group_id: Str<'a> [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [3..],
    }
}
