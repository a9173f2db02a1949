//! IncrementalAlterConfigs (key 44): changes of single configurations (KIP-339).
//!
//! Version 1 is flexible.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `validate_only`: check everything, change nothing.
    struct IncrementalAlterConfigsRequest<'a>: Request INCREMENTAL_ALTER_CONFIGS 0..=1, flexible 1.. {
        resources: Vec<AlterConfigsResource<'a>> [0..],
        validate_only: bool [0..],
    }

    /// `resource_type` as in DescribeConfigs.
    struct AlterConfigsResource<'a> {
        resource_type: i8 [0..],
        resource_name: Str<'a> [0..],
        configs: Vec<AlterableConfig<'a>> [0..],
    }

    /// `config_operation`: 0 set, 1 delete, 2 append to a list, 3 subtract from a list.
    struct AlterableConfig<'a> {
        name: Str<'a> [0..],
        config_operation: i8 [0..],
        value: Option<Str<'a>> [0..],
    }

    /// What became of each resource.
    struct IncrementalAlterConfigsResponse<'a>: Response INCREMENTAL_ALTER_CONFIGS 0..=1, flexible 1.. {
        throttle_time_ms: i32 [0..],
        responses: Vec<AlterConfigsResourceResponse<'a>> [0..],
    }

    /// One resource.
    struct AlterConfigsResourceResponse<'a> {
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
        resource_type: i8 [0..],
        resource_name: Str<'a> [0..],
    }
}
