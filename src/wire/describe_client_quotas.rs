//! DescribeClientQuotas (key 48): which quotas are set, of the entities that a filter lets through.
//!
//! Version 1 is flexible. Source: KIP-546.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `strict`: an entity that has a type which no component names is left out.
    struct DescribeClientQuotasRequest<'a>: Request DESCRIBE_CLIENT_QUOTAS 0..=1, flexible 1.. {
        components: Vec<ComponentData<'a>> [0..],
        strict: bool [0..],
    }

    /// `match_type`: 0 the entity called `matches`, 1 the default entity, 2 any entity of the type.
    struct ComponentData<'a> {
        entity_type: Str<'a> [0..],
        match_type: i8 [0..],
        /// Kafka's field is `match`; null for what needs no name.
        matches: Option<Str<'a>> [0..],
    }

    /// `entries` is null where the whole request is refused.
    struct DescribeClientQuotasResponse<'a>: Response DESCRIBE_CLIENT_QUOTAS 0..=1, flexible 1.. {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
        entries: Option<Vec<EntryData<'a>>> [0..],
    }

    /// One entity, and what it may do.
    struct EntryData<'a> {
        entity: Vec<EntityData<'a>> [0..],
        values: Vec<ValueData<'a>> [0..],
    }

    /// One part of an entity: `user`, `client-id` or `ip`; without a name it is the default.
    struct EntityData<'a> {
        entity_type: Str<'a> [0..],
        entity_name: Option<Str<'a>> [0..],
    }

    /// One quota: bytes a second, percent of a thread, mutations or connections a second.
    struct ValueData<'a> {
        key: Str<'a> [0..],
        value: f64 [0..],
    }
}
