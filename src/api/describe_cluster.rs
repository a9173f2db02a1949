//! DescribeCluster (KIP-700): the brokers and who controls them, as clients and `kafka-broker-api-versions` ask.

use super::{CLUSTER_OPERATIONS, OPERATIONS_OMITTED, View};
use crate::wire::ErrorCode;
use crate::wire::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// The endpoint types of KIP-919.
const BROKER: i8 = 1;
const CONTROLLER: i8 = 2;

pub fn answer<'a>(request: &DescribeClusterRequest, view: &View<'a>) -> DescribeClusterResponse<'a> {
    match request.endpoint_type {
        BROKER => {}
        CONTROLLER => {
            let text = "The request was sent to an endpoint of type BROKER, \
                        but we wanted an endpoint of type CONTROLLER";
            return refused(ErrorCode::MISMATCHED_ENDPOINT_TYPE, text.into());
        }
        other => {
            return refused(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, format!("Unsupported endpoint type {other}"));
        }
    }
    let operations = request.include_cluster_authorized_operations;
    DescribeClusterResponse {
        cluster_id: Cow::Borrowed(view.cluster_id),
        controller_id: view.node.0,
        brokers: [DescribeClusterBroker {
            broker_id: view.node.0,
            host: Cow::Borrowed(view.host),
            port: i32::from(view.port),
            rack: None,
            is_fenced: false,
        }]
        .into(),
        cluster_authorized_operations: if operations { CLUSTER_OPERATIONS } else { OPERATIONS_OMITTED },
        ..DescribeClusterResponse::default()
    }
}

fn refused(error_code: ErrorCode, message: String) -> DescribeClusterResponse<'static> {
    DescribeClusterResponse {
        error_code,
        error_message: Some(Cow::Owned(message)),
        ..DescribeClusterResponse::default()
    }
}
