//! DescribeCluster (key 60, KIP-700): the brokers or controllers of the cluster.
//!
//! Version 1 asks for a kind of endpoint (KIP-919), 2 also for fenced brokers (KIP-1073).

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `endpoint_type`: 1 brokers, 2 controllers.
    struct DescribeClusterRequest: Request DESCRIBE_CLUSTER 0..=2, flexible 0.. {
        include_cluster_authorized_operations: bool [0..],
        endpoint_type: i8 [1..] = 1,
        include_fenced_brokers: bool [2..],
    }

    /// The operations are a bit field, `i32::MIN` where they were not asked for.
    struct DescribeClusterResponse<'a>: Response DESCRIBE_CLUSTER 0..=2, flexible 0.. {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
        endpoint_type: i8 [1..] = 1,
        cluster_id: Str<'a> [0..],
        controller_id: i32 [0..] = -1,
        brokers: Vec<DescribeClusterBroker<'a>> [0..],
        cluster_authorized_operations: i32 [0..] = i32::MIN,
    }

    /// A broker and where it listens.
    struct DescribeClusterBroker<'a> {
        broker_id: i32 [0..],
        host: Str<'a> [0..],
        port: i32 [0..],
        rack: Option<Str<'a>> [0..],
        is_fenced: bool [2..],
    }
}
