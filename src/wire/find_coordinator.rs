//! FindCoordinator (key 10): which broker coordinates a group, a transactional id or a share partition.
//!
//! Version 1 has key types and messages, 3 is flexible, 4 asks for many keys at once (KIP-699), 6 knows share groups (KIP-932).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// The keys asked about. `key_type`: 0 group, 1 transaction, 2 share partition (`group:topicId:partition`).
    struct FindCoordinatorRequest<'a>: Request FIND_COORDINATOR 0..=6, flexible 3.. {
        key: Str<'a> [0..=3],
        key_type: i8 [1..],
        coordinator_keys: Vec<Str<'a>> [4..],
    }

    /// One answer up to version 3, one for each key from version 4 on.
    struct FindCoordinatorResponse<'a>: Response FIND_COORDINATOR 0..=6, flexible 3.. {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..=3],
        error_message: Option<Str<'a>> [1..=3],
        node_id: i32 [0..=3],
        host: Str<'a> [0..=3],
        port: i32 [0..=3],
        coordinators: Vec<Coordinator<'a>> [4..],
    }

    /// Who coordinates one key.
    struct Coordinator<'a> {
        key: Str<'a> [4..],
        node_id: i32 [4..],
        host: Str<'a> [4..],
        port: i32 [4..],
        error_code: ErrorCode [4..],
        error_message: Option<Str<'a>> [4..],
    }
}
