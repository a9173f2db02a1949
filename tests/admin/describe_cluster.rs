//! DescribeCluster.

use crate::world::{CLUSTER, World};
use highwater::api::describe_cluster::answer;
use highwater::wire::ErrorCode;
use highwater::wire::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

#[test]
fn the_cluster_is_this_broker() {
    let world = World::new();
    let expected = DescribeClusterResponse {
        cluster_id: CLUSTER.into(),
        controller_id: 1,
        brokers: vec![DescribeClusterBroker {
            broker_id: 1,
            host: "localhost".into(),
            port: 9092,
            rack: None,
            is_fenced: false,
        }],
        ..DescribeClusterResponse::default()
    };
    assert_eq!(answer(&DescribeClusterRequest::default(), &world.view()), expected);
}

#[test]
fn operations_are_told_when_they_are_asked_for() {
    let world = World::new();
    let request = DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
    assert_eq!(answer(&request, &world.view()).cluster_authorized_operations, 8096);
    let without = answer(&DescribeClusterRequest::default(), &world.view());
    assert_eq!(without.cluster_authorized_operations, i32::MIN);
}

#[test]
fn controllers_are_not_to_be_asked_for_here() {
    let world = World::new();
    let request = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
    let expected = DescribeClusterResponse {
        error_code: ErrorCode::MISMATCHED_ENDPOINT_TYPE,
        error_message: Some(
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".into(),
        ),
        ..DescribeClusterResponse::default()
    };
    assert_eq!(answer(&request, &world.view()), expected);
    assert_eq!((expected.error_code.0, expected.controller_id), (114, -1));
}

#[test]
fn an_unknown_endpoint_type_is_refused() {
    let world = World::new();
    let response = answer(&DescribeClusterRequest { endpoint_type: 3, ..Default::default() }, &world.view());
    assert_eq!(response.error_code, ErrorCode(115));
    assert_eq!(response.error_message.as_deref(), Some("Unsupported endpoint type 3"));
}
