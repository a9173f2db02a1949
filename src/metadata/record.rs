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
//!   │         │  3 TopicConfigured       id [16] · {config: value or none}                       │
//!   │         │  4 BrokersConfigured     node or none · {config: value or none}                  │
//!   │         │  5 PartitionsAdded       id [16] · partitions                                    │
//!   │         │  6 QuotasChanged         ip, client, user: who or none · {quota: bits or none}   │
//!   └─────────┴──────────────────────────────────────────────────────────────────────────────────┘
//!   text = length varint, UTF-8 · map = count varint, keys and values in order · integer = zigzag varint
//!   x or none = a byte 0, or a byte 1 and x · who = a byte 0 for the default, or a byte 1 and a name
//!   quota = variant of `QuotaKey` · bits = varint of the double's bits
//! ```
//!
//! Extended by variants at the end, under the same version: a reader that does not know a variant refuses the log rather
//! than skip it. Invariant: equal records have equal bytes.

use super::Topic;
use crate::ids::{NodeId, TopicId};
use crate::quotas::{Entity, QuotaChanges};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The version of [`Record`]'s bytes.
const VERSION: u8 = 1;

/// What becomes of configurations, by name: a new value, or none any more.
pub type Changes = BTreeMap<String, Option<String>>;

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
    /// A topic's own configurations; what is not named stays. The values that come of it passed
    /// `configs::check_topic_all`.
    TopicConfigured { id: TopicId, changes: Changes },
    /// The configurations of one broker, or of every broker (`None`). Each passed `configs::check_broker`.
    BrokersConfigured { node: Option<NodeId>, changes: Changes },
    /// A topic has so many partitions now, more than before.
    PartitionsAdded { id: TopicId, partitions: i32 },
    /// The quotas of an entity; what is not named stays. Each fits its entity.
    QuotasChanged { entity: Entity, changes: QuotaChanges },
}

impl Record {
    /// The bytes that stand in the log.
    pub fn encode(&self) -> Vec<u8> {
        encode(VERSION, self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Record, FormatError> {
        decode(VERSION, bytes)
    }
}

/// Bytes that are not what this version of the broker writes. Their checksum was right, so they are no damage: they are
/// newer, or not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The format version that was found, `None` where there is not even one byte; and the one that is read.
    Version { found: Option<u8>, read: u8 },
    /// An unknown variant, a field that does not fit, or bytes behind the end.
    Malformed,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Version { found: Some(found), read } => {
                write!(f, "metadata of format {found}, this broker reads {read}")
            }
            FormatError::Version { found: None, .. } => f.write_str("metadata of no bytes"),
            FormatError::Malformed => f.write_str("metadata that this broker does not know, perhaps of a newer one"),
        }
    }
}

pub(super) fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    postcard::to_extend(value, Vec::from([version])).expect("a vector takes every byte")
}

pub(super) fn decode<'a, T: Deserialize<'a>>(version: u8, bytes: &'a [u8]) -> Result<T, FormatError> {
    let (found, body) = bytes.split_first().ok_or(FormatError::Version { found: None, read: version })?;
    if *found != version {
        return Err(FormatError::Version { found: Some(*found), read: version });
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(FormatError::Malformed),
    }
}
