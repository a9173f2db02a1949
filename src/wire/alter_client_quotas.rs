//! AlterClientQuotas (key 49): sets and removes quotas, entity by entity.
//!
//! Version 1 is flexible. Source: KIP-546.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `validate_only`: check everything, change nothing.
    struct AlterClientQuotasRequest<'a>: Request ALTER_CLIENT_QUOTAS 0..=1, flexible 1.. {
        entries: Vec<EntryData<'a>> [0..],
        validate_only: bool [0..],
    }

    /// One entity, and what becomes of its quotas; those that are not named stay.
    struct EntryData<'a> {
        entity: Vec<EntityData<'a>> [0..],
        ops: Vec<OpData<'a>> [0..],
    }

    /// One part of an entity: `user`, `client-id` or `ip`; without a name it is the default.
    struct EntityData<'a> {
        entity_type: Str<'a> [0..],
        entity_name: Option<Str<'a>> [0..],
    }

    /// `remove`: the quota goes, whatever `value` is.
    struct OpData<'a> {
        key: Str<'a> [0..],
        value: f64 [0..],
        remove: bool [0..],
    }

    /// What became of each entity.
    struct AlterClientQuotasResponse<'a>: Response ALTER_CLIENT_QUOTAS 0..=1, flexible 1.. {
        throttle_time_ms: i32 [0..],
        entries: Vec<EntryResponse<'a>> [0..],
    }

    /// One entity. (Kafka's structure is called `EntryData` too.)
    struct EntryResponse<'a> {
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
        entity: Vec<EntityData<'a>> [0..],
    }
}
