//! ApiVersions (key 18): what the broker serves.
//!
//! A version that the broker does not know is answered with a body of version 0 and UNSUPPORTED_VERSION (KIP-511).
//! Version 3 is flexible and has features (KIP-584), 5 checks that the client reached the broker it meant (KIP-1242).
//! Before version 4 clients choke on a supported feature whose least level is 0 (KAFKA-17011): leave such features out.

use crate::wire::{ApiKey, ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// The client's name and version (KIP-511), the cluster and node it means to reach (-1: any).
    struct ApiVersionsRequest<'a>: Request API_VERSIONS 0..=5, flexible 3.. {
        client_software_name: Str<'a> [3..],
        client_software_version: Str<'a> [3..],
        cluster_id: Option<Str<'a>> [5..],
        node_id: i32 [5..] = -1,
    }

    /// The APIs served, and the features supported and finalized (KIP-584). `finalized_features_epoch` is -1 where
    /// unknown.
    struct ApiVersionsResponse<'a>: Response API_VERSIONS 0..=5, flexible 3.. {
        error_code: ErrorCode [0..],
        api_keys: Vec<ApiVersion> [0..],
        throttle_time_ms: i32 [1..],
        supported_features: Vec<SupportedFeatureKey<'a>> [3.., tag 0],
        finalized_features_epoch: i64 [3.., tag 1] = -1,
        finalized_features: Vec<FinalizedFeatureKey<'a>> [3.., tag 2],
        zk_migration_ready: bool [3.., tag 3],
    }

    /// One API, its versions inclusive.
    struct ApiVersion {
        api_key: ApiKey [0..],
        min_version: i16 [0..],
        max_version: i16 [0..],
    }

    /// A feature and the levels that this broker can have.
    struct SupportedFeatureKey<'a> {
        name: Str<'a> [3..],
        min_version: i16 [3..],
        max_version: i16 [3..],
    }

    /// A feature and the levels that the cluster has.
    struct FinalizedFeatureKey<'a> {
        name: Str<'a> [3..],
        max_version_level: i16 [3..],
        min_version_level: i16 [3..],
    }
}
