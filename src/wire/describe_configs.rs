//! DescribeConfigs (key 32): the configuration of topics and brokers, with its sources.
//!
//! Version 3 has types and documentation (KIP-569), 4 is flexible.

use crate::wire::{ErrorCode, List, Str};
use alloc::vec::Vec;

schema! {
    /// The resources asked about.
    struct DescribeConfigsRequest<'a>: Request DESCRIBE_CONFIGS 1..=4, flexible 4.. {
        resources: Vec<DescribeConfigsResource<'a>> [0..],
        include_synonyms: bool [1..],
        include_documentation: bool [3..],
    }

    /// `resource_type`: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group. Null keys ask for all.
    struct DescribeConfigsResource<'a> {
        resource_type: i8 [0..],
        resource_name: Str<'a> [0..],
        configuration_keys: Option<Vec<Str<'a>>> [0..],
    }

    /// The configurations found.
    struct DescribeConfigsResponse<'a>: Response DESCRIBE_CONFIGS 1..=4, flexible 4.. {
        throttle_time_ms: i32 [0..],
        results: Vec<DescribeConfigsResult<'a>> [0..],
    }

    /// One resource.
    struct DescribeConfigsResult<'a> {
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
        resource_type: i8 [0..],
        resource_name: Str<'a> [0..],
        configs: List<'a, DescribeConfigsResourceResult<'a>> [0..],
    }

    /// `config_source`: 1 topic, 2 dynamic broker, 3 dynamic default broker, 4 static broker, 5 default,
    /// 6 dynamic broker logger, 7 client metrics, 8 group. `config_type`: 0 unknown, 1 boolean, 2 string, 3 int,
    /// 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
    struct DescribeConfigsResourceResult<'a> {
        name: Str<'a> [0..],
        value: Option<Str<'a>> [0..],
        read_only: bool [0..],
        config_source: i8 [1..] = -1,
        is_sensitive: bool [0..],
        synonyms: Vec<DescribeConfigsSynonym<'a>> [1..],
        config_type: i8 [3..],
        documentation: Option<Str<'a>> [3..],
    }

    /// Another source of the same configuration, the one in force first.
    struct DescribeConfigsSynonym<'a> {
        name: Str<'a> [1..],
        value: Option<Str<'a>> [1..],
        source: i8 [1..],
    }
}
