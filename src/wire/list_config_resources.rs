//! ListConfigResources (key 74): what has configurations (KIP-1142). Version 0 knows only client metrics (KIP-1000).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `resource_types` as in DescribeConfigs; none ask for all that are supported.
    struct ListConfigResourcesRequest: Request LIST_CONFIG_RESOURCES 0..=1, flexible 0.. {
        resource_types: Vec<i8> [1..],
    }

    /// The resources found.
    struct ListConfigResourcesResponse<'a>: Response LIST_CONFIG_RESOURCES 0..=1, flexible 0.. {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [0..],
        config_resources: Vec<ConfigResource<'a>> [0..],
    }

    /// One resource.
    struct ConfigResource<'a> {
        resource_name: Str<'a> [0..],
        resource_type: i8 [1..] = 16,
    }
}
