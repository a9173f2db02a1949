//! Which texts may name a topic. Kafka's rules (`org.apache.kafka.common.internals.Topic`), with its messages.

use alloc::format;
use alloc::string::String;

/// Where consumer groups commit their offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Where transactions stand.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// Where share groups stand.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The metadata log, which no client makes.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

const LENGTH_MAX: usize = 249;

/// The error is the message of INVALID_TOPIC_EXCEPTION.
pub fn check(name: &str) -> Result<(), String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reason = match name {
        "" => String::from("the empty string is not allowed"),
        "." | ".." => format!("'{name}' is not allowed"),
        // Java counts UTF-16 units.
        _ if name.encode_utf16().count() > LENGTH_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {LENGTH_MAX}")
        }
        _ if !name.bytes().all(valid) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {reason}"))
}

/// Whether the topic belongs to the broker. Clients hide such topics unless they are asked not to.
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

/// Two names that are equal in this form may not both exist: Kafka's metrics write `.` as `_`.
pub fn collision_form(name: &str) -> String {
    name.replace('.', "_")
}
