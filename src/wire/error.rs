//! Why bytes are not the message they should be: the innermost field and the reason, with the values.
//!
//! Kafka answers every one of these by closing the connection (an `InvalidRequestException` while parsing), except an
//! unsupported version, which has an error code of its own.

use super::ErrorCode;
use core::fmt;

/// A message that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The innermost field that could not be read, empty where it is in no field.
    pub field: &'static str,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The bytes end too early.
    Truncated { needed: usize, remaining: usize },
    /// A negative length that does not mean null.
    NegativeLength { length: i32 },
    /// A string longer than 32,767 bytes.
    StringTooLong { length: usize },
    /// An array of more elements than the bytes that follow can hold.
    CountExceedsBytes { count: usize, element_bytes_min: usize, remaining: usize },
    /// An array above [`ARRAY_MAX`](super::reader::ARRAY_MAX) elements.
    ArrayTooLong { count: usize },
    /// Arrays of more elements in all than the reader was given.
    TooManyElements { count: usize },
    /// More than [`TAGS_MAX`](super::reader::TAGS_MAX) tagged fields in one structure.
    TooManyTags { count: usize },
    /// A tagged field whose stated size is not that of its content.
    TagSize { tag: u32, unread: usize },
    /// A varint of more than 5 bytes (32 bits) or 10 bytes (64 bits).
    VarintTooLong,
    /// Null where this version has a value.
    Null,
    /// The API key is none of Kafka's.
    UnknownApi { key: i16 },
    /// The version is outside the schema.
    UnsupportedVersion { version: i16, min: i16, max: i16 },
}

impl DecodeError {
    #[cold]
    pub(crate) fn new(reason: Reason) -> DecodeError {
        DecodeError { field: "", reason }
    }

    /// Names the field, unless one inside it is named already.
    #[cold]
    pub(crate) fn in_field(self, field: &'static str) -> DecodeError {
        if self.field.is_empty() { DecodeError { field, ..self } } else { self }
    }

    /// What a client is told where it is told anything.
    pub fn code(&self) -> ErrorCode {
        match self.reason {
            Reason::UnknownApi { .. } | Reason::UnsupportedVersion { .. } => ErrorCode::UNSUPPORTED_VERSION,
            Reason::Truncated { .. }
            | Reason::NegativeLength { .. }
            | Reason::StringTooLong { .. }
            | Reason::CountExceedsBytes { .. }
            | Reason::ArrayTooLong { .. }
            | Reason::TooManyElements { .. }
            | Reason::TooManyTags { .. }
            | Reason::TagSize { .. }
            | Reason::VarintTooLong
            | Reason::Null => ErrorCode::INVALID_REQUEST,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        match self.reason {
            Reason::Truncated { needed, remaining } => write!(f, "{needed} bytes needed, {remaining} remain"),
            Reason::NegativeLength { length } => write!(f, "length {length} is negative; only -1, null, may be"),
            Reason::StringTooLong { length } => write!(f, "string of {length} bytes; at most 32767 are allowed"),
            Reason::CountExceedsBytes { count, element_bytes_min, remaining } => write!(
                f,
                "{count} elements of at least {element_bytes_min} bytes each are not in the {remaining} bytes left"
            ),
            Reason::TooManyElements { count } => {
                write!(f, "an array of {count} elements is more than the memory allows in one request")
            }
            Reason::ArrayTooLong { count } => {
                write!(f, "array of {count} elements; at most {} are allowed", super::reader::ARRAY_MAX)
            }
            Reason::TooManyTags { count } => {
                write!(f, "{count} tagged fields; at most {} are allowed", super::reader::TAGS_MAX)
            }
            Reason::TagSize { tag, unread } => write!(f, "tagged field {tag} states {unread} bytes more than it has"),
            Reason::VarintTooLong => f.write_str("varint does not end where it must"),
            Reason::Null => f.write_str("null, which this version does not allow"),
            Reason::UnknownApi { key } => write!(f, "API key {key} is unknown"),
            Reason::UnsupportedVersion { version, min, max } => {
                write!(f, "version {version} is not supported; {min} to {max} are")
            }
        }
    }
}

impl core::error::Error for DecodeError {}
