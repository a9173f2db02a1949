//! Where a response says how long its connection is muted: `throttle_time_ms`, which is known when the answer leaves.
//!
//! In most responses it is the first field, from some version on; this table says which. Invariant: what stands at the
//! place is `throttle_time_ms` and nothing else, in every version (held against Kafka's own bytes).

use super::ApiKey;
use super::frame::response_header_is_flexible;
use super::reader::Reader;

/// The size of a frame and its correlation id.
const HEADER: usize = 8;

/// Where `throttle_time_ms` stands in the frame of a response, its size included; `None` where the version has none, and
/// for Produce, which says it behind its records.
pub fn place(key: ApiKey, version: i16, frame: &[u8]) -> Option<usize> {
    let body = HEADER + usize::from(response_header_is_flexible(key, version));
    let first_from = match key {
        ApiKey::FETCH | ApiKey::FIND_COORDINATOR | ApiKey::HEARTBEAT | ApiKey::LEAVE_GROUP | ApiKey::SYNC_GROUP => 1,
        ApiKey::DESCRIBE_GROUPS | ApiKey::LIST_GROUPS | ApiKey::DELETE_TOPICS => 1,
        ApiKey::LIST_OFFSETS | ApiKey::JOIN_GROUP | ApiKey::CREATE_TOPICS | ApiKey::OFFSET_FOR_LEADER_EPOCH => 2,
        ApiKey::METADATA | ApiKey::OFFSET_COMMIT | ApiKey::OFFSET_FETCH => 3,
        // Behind the error code.
        ApiKey::OFFSET_DELETE => return Some(body + 2),
        ApiKey::API_VERSIONS => return behind_the_versions(version, frame),
        ApiKey::PRODUCE | ApiKey::DESCRIBE_QUORUM => return None,
        _ => 0,
    };
    (version >= first_from).then_some(body)
}

/// Of ApiVersions: behind the error code and the array, whose elements have one size.
fn behind_the_versions(version: i16, frame: &[u8]) -> Option<usize> {
    let array = HEADER + 2;
    match version {
        0 => None,
        1 | 2 => {
            let count = frame.get(array..)?.first_chunk::<4>()?;
            Some(array + 4 + 6 * u32::from_be_bytes(*count) as usize)
        }
        _ => {
            let mut reader = Reader::new(frame.get(array..)?);
            let before = reader.remaining();
            let count = reader.uvarint().ok()?.checked_sub(1)? as usize;
            Some(array + (before - reader.remaining()) + 7 * count)
        }
    }
}
