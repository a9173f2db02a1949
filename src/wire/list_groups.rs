//! ListGroups (key 16): the groups that this broker coordinates.
//!
//! Version 3 is flexible, 4 filters by state (KIP-518), 5 by type (KIP-848).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// Empty filters let every group pass. Names are compared without case.
    struct ListGroupsRequest<'a>: Request LIST_GROUPS 0..=5, flexible 3.. {
        states_filter: Vec<Str<'a>> [4..],
        types_filter: Vec<Str<'a>> [5..],
    }

    /// The groups.
    struct ListGroupsResponse<'a>: Response LIST_GROUPS 0..=5, flexible 3.. {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..],
        groups: Vec<ListedGroup<'a>> [0..],
    }

    /// One group. `group_type`: classic, consumer, share or streams.
    struct ListedGroup<'a> {
        group_id: Str<'a> [0..],
        protocol_type: Str<'a> [0..],
        group_state: Str<'a> [4..],
        group_type: Str<'a> [5..],
    }
}
