//! ApiVersions (KIP-35, KIP-511): the first request of every connection, answered from the table.
//!
//! No features are supported or finalized, so `finalized_features_epoch` stays -1 and clients keep to what needs none.

use super::{TABLE, View};
use crate::wire::ErrorCode;
use crate::wire::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};

/// Answers versions 0 to 5.
pub fn answer(request: &ApiVersionsRequest<'_>, version: i16, view: &View<'_>) -> ApiVersionsResponse<'static> {
    let error_code = check(request, version, view);
    let mut response = ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
    if error_code.is_none() {
        let row = |row: &super::Served| ApiVersion { api_key: row.key, min_version: row.min, max_version: row.max };
        response.api_keys = TABLE.iter().map(row).collect();
    }
    response
}

/// Answers every other version; to be encoded in version 0, which every client reads. It names only ApiVersions, so
/// that the client can ask again.
pub fn unsupported() -> ApiVersionsResponse<'static> {
    let row = super::Api::ApiVersions.served();
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: [ApiVersion { api_key: row.key, min_version: row.min, max_version: row.max }].into(),
        ..ApiVersionsResponse::default()
    }
}

fn check(request: &ApiVersionsRequest<'_>, version: i16, view: &View<'_>) -> ErrorCode {
    let named = is_software(&request.client_software_name) && is_software(&request.client_software_version);
    if version >= 3 && !named {
        return ErrorCode::INVALID_REQUEST;
    }
    if version < 5 {
        return ErrorCode::NONE;
    }
    // A client that knows whom it expects here says so, and learns that its addresses are stale.
    match &request.cluster_id {
        None if request.node_id == -1 => ErrorCode::NONE,
        Some(_) if request.node_id == -1 => ErrorCode::INVALID_REQUEST,
        None => ErrorCode::INVALID_REQUEST,
        Some(cluster) if cluster == view.cluster_id && request.node_id == view.node.0 => ErrorCode::NONE,
        Some(_) => ErrorCode::REBOOTSTRAP_REQUIRED,
    }
}

/// Letters and digits, with `-` and `.` between them (KIP-511).
fn is_software(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.iter().all(inside) && edge(bytes.first()) && edge(bytes.last())
}
