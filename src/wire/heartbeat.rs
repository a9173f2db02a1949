//! Heartbeat (key 12): a member lives, and learns of a rebalance.
//!
//! Version 3 has static members, 4 is flexible.

use crate::wire::{ErrorCode, Str};

schema! {
    /// The member, and the generation that it is in.
    struct HeartbeatRequest<'a>: Request HEARTBEAT 0..=4, flexible 4.. {
        group_id: Str<'a> [0..],
        generation_id: i32 [0..],
        member_id: Str<'a> [0..],
        group_instance_id: Option<Str<'a>> [3..],
    }

    /// REBALANCE_IN_PROGRESS asks the member to join again.
    struct HeartbeatResponse: Response HEARTBEAT 0..=4, flexible 4.. {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..],
    }
}
