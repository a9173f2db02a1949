//! The records of `__consumer_offsets`, as Apache Kafka 4.4 writes them.
//!
//! ```text
//! key    i16 1: OffsetCommitKey    group, topic, partition        value  i16 4 (or 1): OffsetCommitValue
//! key    i16 2: GroupMetadataKey   group                          value  i16 3: GroupMetadataValue
//! ```
//!
//! A null value is a tombstone. Older values (0 to 3) are read as well; keys of other kinds (KIP-848, KIP-932) are not ours
//! and skipped by the reader. Source: the message definitions of Kafka's group coordinator.

use crate::boundary::Timestamp;
use crate::ids::TopicId;
use crate::wire::group_records::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use crate::wire::value::Wire;
use crate::wire::{DecodeError, Reader, Str, Writer};
use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// The version with `expireTimestamp`, which only clients up to OffsetCommit 4 ask for.
const OFFSET_VALUE_EXPIRING: i16 = 1;
const OFFSET_VALUE: i16 = 4;
const OFFSET_VALUE_FLEXIBLE: i16 = 4;
const GROUP_VALUE: i16 = 3;
const GROUP_VALUE_FLEXIBLE: i16 = 4;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next record to process.
    pub offset: i64,
    /// The leader epoch of the last record processed, or -1.
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    pub at: Timestamp,
    /// Where the client asked for a retention of its own.
    pub expires: Option<Timestamp>,
    /// Zero where it was not known.
    pub topic_id: TopicId,
}

/// One change of a coordinator's state. `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Offset {
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
        value: Option<Committed>,
    },
    /// The value is an encoded `GroupMetadataValue`, its version in front.
    Group {
        group: Arc<str>,
        value: Option<Bytes>,
    },
}

impl Record {
    pub fn key(&self) -> Bytes {
        match self {
            Record::Offset { group, topic, partition, .. } => {
                let key =
                    OffsetCommitKey { group: Cow::Borrowed(group), topic: Cow::Borrowed(topic), partition: *partition };
                encode(OFFSET_KEY, |w| key.write(w, 0, false))
            }
            Record::Group { group, .. } => {
                let key = GroupMetadataKey { group: Cow::Borrowed(group) };
                encode(GROUP_KEY, |w| key.write(w, 0, false))
            }
        }
    }

    pub fn value(&self) -> Option<Bytes> {
        match self {
            Record::Offset { value, .. } => value.as_ref().map(Committed::encode),
            Record::Group { value, .. } => value.clone(),
        }
    }

    /// About what the record takes in a batch, in bytes.
    pub fn bytes_max(&self) -> usize {
        let framing = 64;
        match self {
            Record::Offset { group, topic, value, .. } => {
                framing + group.len() + topic.len() + value.as_ref().map_or(0, |value| 48 + value.metadata.len())
            }
            Record::Group { group, value } => framing + group.len() + value.as_ref().map_or(0, Bytes::len),
        }
    }

    /// `None` for a kind that is not ours.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, DecodeError> {
        let mut reader = Reader::new(key);
        match reader.i16()? {
            // Version 0 is how Kafka 0.8 wrote what is 1 since.
            0 | OFFSET_KEY => {
                let key = OffsetCommitKey::read(&mut reader, 0, false)?;
                Ok(Some(Record::Offset {
                    group: Arc::from(&*key.group),
                    topic: Arc::from(&*key.topic),
                    partition: key.partition,
                    value: value.map(Committed::decode).transpose()?,
                }))
            }
            GROUP_KEY => {
                let key = GroupMetadataKey::read(&mut reader, 0, false)?;
                Ok(Some(Record::Group { group: Arc::from(&*key.group), value: value.map(Bytes::copy_from_slice) }))
            }
            _ => Ok(None),
        }
    }
}

impl Committed {
    fn encode(&self) -> Bytes {
        let version = if self.expires.is_some() { OFFSET_VALUE_EXPIRING } else { OFFSET_VALUE };
        let value = OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: Cow::Borrowed(&self.metadata),
            commit_timestamp: self.at.0,
            expire_timestamp: self.expires.map_or(-1, |time| time.0),
            topic_id: self.topic_id,
        };
        encode(version, |w| value.write(w, version, version >= OFFSET_VALUE_FLEXIBLE))
    }

    fn decode(bytes: &[u8]) -> Result<Committed, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.i16()?;
        let value = OffsetCommitValue::read(&mut reader, version, version >= OFFSET_VALUE_FLEXIBLE)?;
        Ok(Committed {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: Arc::from(&*value.metadata),
            at: Timestamp(value.commit_timestamp),
            expires: (value.expire_timestamp >= 0).then_some(Timestamp(value.expire_timestamp)),
            topic_id: value.topic_id,
        })
    }
}

pub fn encode_group(value: &GroupMetadataValue<'_>) -> Bytes {
    encode(GROUP_VALUE, |w| value.write(w, GROUP_VALUE, false))
}

pub fn decode_group(bytes: &[u8]) -> Result<GroupMetadataValue<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    GroupMetadataValue::read(&mut reader, version, version >= GROUP_VALUE_FLEXIBLE)
}

fn encode(version: i16, content: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::new();
    writer.put_i16(version);
    content(&mut writer);
    match writer.finish().as_slice() {
        [one] => one.clone(),
        many => Bytes::from(many.concat()),
    }
}

/// The topics that a member of Kafka's own consumers subscribes to: the head of its `ConsumerProtocolSubscription`.
pub fn subscribed_topics(metadata: &[u8]) -> Result<Vec<Str<'_>>, DecodeError> {
    let mut reader = Reader::new(metadata);
    let _version = reader.i16()?;
    Vec::<Str<'_>>::read(&mut reader, 0, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::group_records::MemberMetadata;
    use alloc::vec;

    /// What Kafka 4.4's own serializer wrote.
    #[test]
    fn a_commit_is_written_as_kafka_writes_it() {
        let value = Committed {
            offset: 42,
            leader_epoch: 7,
            metadata: "me".into(),
            at: Timestamp(1_000),
            expires: None,
            topic_id: TopicId::ZERO,
        };
        let record = Record::Offset { group: "g".into(), topic: "t".into(), partition: 3, value: Some(value) };
        assert_eq!(record.key()[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
        let expected = [0, 4, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 7, 3, b'm', b'e', 0, 0, 0, 0, 0, 0, 3, 0xe8, 0];
        assert_eq!(record.value().unwrap()[..], expected);
        let again = Record::decode(&record.key(), record.value().as_deref()).unwrap();
        assert_eq!(again, Some(record));
    }

    #[test]
    fn a_commit_with_a_retention_of_its_own_is_version_1() {
        let value = Committed {
            offset: 1,
            leader_epoch: -1,
            metadata: "".into(),
            at: Timestamp(5),
            expires: Some(Timestamp(9)),
            topic_id: TopicId::ZERO,
        };
        let record = Record::Offset { group: "g".into(), topic: "t".into(), partition: 0, value: Some(value) };
        let bytes = record.value().unwrap();
        assert_eq!(bytes[..2], [0, 1]);
        assert_eq!(Record::decode(&record.key(), Some(&bytes)).unwrap(), Some(record));
    }

    #[test]
    fn a_group_survives_its_encoding_and_foreign_keys_are_skipped() {
        let member = MemberMetadata {
            member_id: "m".into(),
            group_instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout: 60_000,
            session_timeout: 45_000,
            subscription: Cow::Borrowed(b"sub"),
            assignment: Cow::Borrowed(b"part"),
        };
        let value = GroupMetadataValue {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: Some("m".into()),
            current_state_timestamp: 77,
            members: vec![member],
        };
        let bytes = encode_group(&value);
        assert_eq!(decode_group(&bytes).unwrap(), value);
        assert_eq!(Record::decode(&[0, 3, 0, 1, b'g'], None).unwrap(), None);
        let tombstone = Record::Group { group: "g".into(), value: None };
        assert_eq!(Record::decode(&tombstone.key(), None).unwrap(), Some(tombstone));
    }

    #[test]
    fn the_topics_of_a_subscription_are_read() {
        let metadata = [0, 3, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(subscribed_topics(&metadata).unwrap(), ["a", "bc"]);
        assert!(subscribed_topics(&[0, 1, 9]).is_err());
    }
}
