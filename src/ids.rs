//! The names of things: newtypes for every id, offset and epoch.
//!
//! Invariant: an id is never a bare integer outside the codec, and every end is exclusive.

use core::fmt;
use serde::{Deserialize, Serialize};

/// The 128-bit id that a topic gets when it is created (KIP-516). Never reused.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// Means "no id" on the wire.
    pub const ZERO: TopicId = TopicId([0; 16]);
    /// The metadata log, as Kafka names it (`Uuid.METADATA_TOPIC_ID`).
    pub const METADATA: TopicId = TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
}

/// Kafka's text form: URL-safe base64 without padding, 22 characters.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let (mut text, mut len) = ([0; 22], 0);
        for three in self.0.chunks(3) {
            let word = three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            for place in 0..=three.len() {
                text[len] = ALPHABET[(word >> (18 - 6 * place)) as usize & 63];
                len += 1;
            }
        }
        f.write_str(core::str::from_utf8(&text[..len]).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One partition of one topic: the unit that is replicated, and one log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionKey {
    pub topic: TopicId,
    pub index: i32,
}

impl PartitionKey {
    /// The one partition of the metadata log.
    pub const METADATA: PartitionKey = PartitionKey { topic: TopicId::METADATA, index: 0 };

    /// The shard that owns this partition: a stable hash, so that every shard agrees without asking.
    /// The metadata log always lives on shard 0.
    pub fn shard(self, shards: u16) -> ShardId {
        assert!(shards > 0, "a node has at least one shard");
        if self == PartitionKey::METADATA {
            return ShardId(0);
        }
        let mut hash = crc32fast::Hasher::new();
        hash.update(&self.topic.0);
        // Neighbouring partitions go to neighbouring shards: 100 partitions are spread evenly, not by luck.
        let base = u64::from(hash.finalize());
        ShardId(((base + self.index as u64) % u64::from(shards)) as u16)
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

impl fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A record's place in its partition. The first record of a topic has offset 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset(pub i64);

/// A leader epoch: raised at every election, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub i32);

/// A broker's `node.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub i32);

/// One core's share of a node, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u16);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_topic_id_prints_as_kafka_prints_it() {
        assert_eq!(TopicId::METADATA.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(TopicId([0xff; 16]).to_string(), "_____________________w");
    }
}
