//! AlterConfigs (key 33): all the configurations of a resource at once; what is not named goes.
//!
//! Version 2 is flexible. Superseded by IncrementalAlterConfigs (KIP-339), still spoken by librdkafka.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `validate_only`: check everything, change nothing.
    struct AlterConfigsRequest<'a>: Request ALTER_CONFIGS 0..=2, flexible 2.. {
        resources: Vec<AlterConfigsResource<'a>> [0..],
        validate_only: bool [0..],
    }

    /// `resource_type` as in DescribeConfigs.
    struct AlterConfigsResource<'a> {
        resource_type: i8 [0..],
        resource_name: Str<'a> [0..],
        configs: Vec<AlterableConfig<'a>> [0..],
    }

    /// A configuration that the resource is to have.
    struct AlterableConfig<'a> {
        name: Str<'a> [0..],
        value: Option<Str<'a>> [0..],
    }

    /// What became of each resource.
    struct AlterConfigsResponse<'a>: Response ALTER_CONFIGS 0..=2, flexible 2.. {
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
