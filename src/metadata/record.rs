//! What the metadata log holds.
//!
//! ```text
//!   value of a record in the metadata log
//!   ┌─────────┬──────────────────────────────────────────────────────────────────────────────────┐
//!   │ version │ postcard                                                                         │
//!   │ u8 = 1  │ variant varint, then its fields:                                                 │
//!   │         │  0 TopicCreated          id [16] · name · partitions · {config: value} · created │
//!   │         │  1 TopicDeleted          id [16]                                                 │
//!   │         │  2 ProducerIdsAllocated  next                                                    │
//!   └─────────┴──────────────────────────────────────────────────────────────────────────────────┘
//!   text = length varint, UTF-8 · map = count varint, keys and values in order · integer = zigzag varint
//! ```
//!
//! Extended by variants at the end, under the same version: a reader that does not know a variant refuses the log rather
//! than skip it. Invariant: equal records have equal bytes.

use super::Topic;
use crate::ids::TopicId;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The version of [`Record`]'s and [`Image`](super::Image)'s bytes.
pub(super) const VERSION: u8 = 1;

/// One change of the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A topic and all its partitions. Its id is new, its name is free.
    TopicCreated(Topic),
    /// A topic and all its data. Only this ever removes data; it names the id, so that a topic of the same name made
    /// later is safe from it.
    TopicDeleted { id: TopicId },
    /// Producer ids below `next` are taken.
    ProducerIdsAllocated { next: i64 },
}

impl Record {
    /// The bytes that stand in the log.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Record, FormatError> {
        decode(bytes)
    }
}

/// Bytes that are not what this version of the broker writes. Their checksum was right, so they are no damage: they are
/// newer, or not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The format version that was found; `None` where there is not even one byte.
    Version(Option<u8>),
    /// An unknown variant, a field that does not fit, or bytes behind the end.
    Malformed,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Version(Some(found)) => write!(f, "metadata of format {found}, this broker reads {VERSION}"),
            FormatError::Version(None) => f.write_str("metadata of no bytes"),
            FormatError::Malformed => f.write_str("metadata that this broker does not know, perhaps of a newer one"),
        }
    }
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, Vec::from([VERSION])).expect("a vector takes every byte")
}

pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FormatError> {
    let (version, body) = bytes.split_first().ok_or(FormatError::Version(None))?;
    if *version != VERSION {
        return Err(FormatError::Version(Some(*version)));
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(FormatError::Malformed),
    }
}
