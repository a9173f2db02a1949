//! ApiVersions: what is advertised, and to whom.

use crate::world::{CLUSTER, World};
use highwater::api::{Api, Route, TABLE, api_versions, route};
use highwater::wire::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use highwater::wire::{ApiKey, ErrorCode, Message, Reader, Writer};

fn client<'a>(name: &'a str, version: &'a str) -> ApiVersionsRequest<'a> {
    ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
        ..ApiVersionsRequest::default()
    }
}

fn code(request: &ApiVersionsRequest<'_>, version: i16) -> ErrorCode {
    let response = api_versions::answer(request, version, &World::new().view());
    assert_eq!(response.api_keys.is_empty(), !response.error_code.is_none());
    response.error_code
}

#[test]
fn the_table_is_what_is_advertised() {
    let response = api_versions::answer(&client("librdkafka", "2.15.0"), 3, &World::new().view());
    let rows: Vec<_> = response.api_keys.iter().map(|row| (row.api_key.0, row.min_version, row.max_version)).collect();
    assert_eq!(
        rows,
        [
            (0, 0, 13),
            (1, 4, 18),
            (2, 1, 11),
            (3, 0, 13),
            (8, 2, 10),
            (9, 1, 10),
            (10, 0, 6),
            (11, 0, 9),
            (12, 0, 4),
            (13, 0, 5),
            (14, 0, 5),
            (15, 0, 6),
            (16, 0, 5),
            (18, 0, 5),
            (19, 2, 7),
            (20, 1, 6),
            (21, 0, 2),
            (22, 0, 5),
            (23, 2, 4),
            (32, 1, 4),
            (33, 0, 2),
            (35, 1, 5),
            (37, 0, 3),
            (42, 0, 3),
            (43, 0, 2),
            (44, 0, 1),
            (46, 0, 0),
            (47, 0, 0),
            (48, 0, 1),
            (49, 0, 1),
            (50, 0, 0),
            (55, 0, 2),
            (60, 0, 2),
            (61, 0, 0),
            (74, 0, 1),
            (75, 0, 0),
        ]
    );
    let features = (response.supported_features.len(), response.finalized_features_epoch);
    assert_eq!((response.error_code, features), (ErrorCode::NONE, (0, -1)));
}

#[test]
fn each_api_has_its_row_and_rows_are_in_order() {
    for row in &TABLE {
        assert_eq!(row.api.served(), row);
    }
    assert!(TABLE.is_sorted_by(|left, right| left.key < right.key && left.api < right.api));
}

#[test]
fn requests_are_routed_by_key_and_version() {
    assert_eq!(route(ApiKey::METADATA, 0), Route::Serve(Api::Metadata));
    assert_eq!(route(ApiKey::METADATA, 13), Route::Serve(Api::Metadata));
    assert_eq!(route(ApiKey::METADATA, 14), Route::Version { min: 0, max: 13 });
    assert_eq!(route(ApiKey::FETCH, 3), Route::Version { min: 4, max: 18 });
    assert_eq!(route(ApiKey::METADATA, -1), Route::Version { min: 0, max: 13 });
    assert_eq!(route(ApiKey::SASL_HANDSHAKE, 0), Route::Key);
    assert_eq!(route(ApiKey(1234), 0), Route::Key);
}

#[test]
fn only_records_may_fill_a_request() {
    let socket_max = 100 << 20;
    assert_eq!(Api::Produce.request_bytes_max(socket_max), socket_max);
    for row in TABLE.iter().filter(|row| row.api != Api::Produce) {
        assert!((1 << 20..=8 << 20).contains(&row.api.request_bytes_max(socket_max)), "{row:?}");
        assert_eq!(row.api.request_bytes_max(1000), 1000);
    }
}

#[test]
fn produce_0_to_2_are_advertised_and_not_served() {
    assert_eq!(Api::Produce.served().min, 0);
    assert_eq!(route(ApiKey::PRODUCE, 2), Route::Version { min: 3, max: 13 });
    assert_eq!(route(ApiKey::PRODUCE, 3), Route::Serve(Api::Produce));
}

#[test]
fn an_unknown_version_gets_version_0_with_the_range() {
    assert_eq!(route(ApiKey::API_VERSIONS, 6), Route::ApiVersionsFallback);
    assert_eq!(route(ApiKey::API_VERSIONS, i16::MAX), Route::ApiVersionsFallback);
    let mut writer = Writer::new();
    api_versions::unsupported().encode(&mut writer, 0);
    let bytes = writer.finish().concat();
    assert_eq!(bytes, [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5]);
    let row = ApiVersion { api_key: ApiKey::API_VERSIONS, min_version: 0, max_version: 5 };
    let expected = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![row],
        ..ApiVersionsResponse::default()
    };
    assert_eq!(ApiVersionsResponse::decode(&mut Reader::new(&bytes), 0), Ok(expected));
}

#[test]
fn the_clients_software_must_have_a_name_from_version_3_on() {
    for good in ["a", "7", "apache-kafka-java", "librdkafka", "a.b-c"] {
        assert_eq!(code(&client(good, "1.0"), 3), ErrorCode::NONE, "{good}");
        assert_eq!(code(&client("x", good), 3), ErrorCode::NONE, "{good}");
    }
    for bad in ["", "-", "-a", "a-", ".a", "a b", "a_b", "ä"] {
        assert_eq!(code(&client(bad, "1.0"), 3), ErrorCode::INVALID_REQUEST, "{bad}");
        assert_eq!(code(&client("x", bad), 4), ErrorCode::INVALID_REQUEST, "{bad}");
        assert_eq!(code(&client(bad, bad), 2), ErrorCode::NONE, "{bad}");
    }
}

#[test]
fn a_client_that_expects_another_cluster_or_node_must_rebootstrap() {
    let cases = [
        (None, -1, ErrorCode::NONE),
        (None, 1, ErrorCode::INVALID_REQUEST),
        (Some(CLUSTER), -1, ErrorCode::INVALID_REQUEST),
        (Some(CLUSTER), 1, ErrorCode::NONE),
        (Some(CLUSTER), 7, ErrorCode::REBOOTSTRAP_REQUIRED),
        (Some("abc"), 1, ErrorCode::REBOOTSTRAP_REQUIRED),
        (Some("abc"), -1, ErrorCode::INVALID_REQUEST),
        (Some(""), 1, ErrorCode::REBOOTSTRAP_REQUIRED),
    ];
    for (cluster, node, expected) in cases {
        let request = ApiVersionsRequest { cluster_id: cluster.map(Into::into), node_id: node, ..client("x", "1") };
        assert_eq!(code(&request, 5), expected, "{cluster:?} {node}");
    }
    let both_wrong = ApiVersionsRequest { cluster_id: Some("abc".into()), node_id: 3, ..client("-", "1") };
    assert_eq!(code(&both_wrong, 5), ErrorCode::INVALID_REQUEST);
}
