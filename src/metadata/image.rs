//! The metadata as of one place in its log.
//!
//! Changed by [`Image::apply`] alone (and by [`Image::deletion_confirmed`], which is this node's own knowledge). Invariants:
//! every topic is found by its id and by its name; no two names collide; a topic is never among those being deleted;
//! [`Image::partitions`] is the sum over the topics; a broker of which nothing is altered is not there.

use super::name;
use super::record::{Changes, FormatError, Record, decode, encode};
use crate::configs::Values;
use crate::ids::{NodeId, PartitionKey, TopicId};
use crate::quotas::Quotas;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;
use serde::{Deserialize, Serialize};

/// The version of [`Image`]'s bytes.
const VERSION: u8 = 3;

static NOTHING: Values = Values::new();

/// A topic, as it was created and altered since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub id: TopicId,
    pub name: String,
    /// How many partitions it has, numbered from 0.
    pub partitions: i32,
    /// Only what was set, as it was written; each value passed `configs::check_topic_all`.
    pub configs: Values,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
}

impl Topic {
    pub fn keys(&self) -> impl Iterator<Item = PartitionKey> + use<> {
        let topic = self.id;
        (0..self.partitions).map(move |index| PartitionKey { topic, index })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Image {
    topics: BTreeMap<TopicId, Topic>,
    next_producer_id: i64,
    /// Deleted topics of which some shard may still hold data, and how many partitions they had.
    deleting: BTreeMap<TopicId, i32>,
    /// What was altered of brokers' configurations: of every broker (`None`), and of each.
    brokers: BTreeMap<Option<NodeId>, Values>,
    quotas: Quotas,
    /// Indices over `topics`; the checkpoint does not hold them.
    #[serde(skip)]
    names: BTreeMap<String, TopicId>,
    #[serde(skip)]
    collisions: BTreeMap<String, TopicId>,
    #[serde(skip)]
    partitions: u64,
}

/// What a checkpoint holds: the fields of [`Image`] that are not indices, in the same order.
#[derive(Deserialize)]
struct Stored {
    topics: BTreeMap<TopicId, Topic>,
    next_producer_id: i64,
    deleting: BTreeMap<TopicId, i32>,
    brokers: BTreeMap<Option<NodeId>, Values>,
    quotas: Quotas,
}

impl From<Stored> for Image {
    fn from(stored: Stored) -> Image {
        let Stored { topics, next_producer_id, deleting, brokers, quotas } = stored;
        let mut image = Image { next_producer_id, deleting, brokers, quotas, ..Image::default() };
        for topic in topics.into_values() {
            image.insert(topic);
        }
        image
    }
}

impl Image {
    /// Brings the image past one committed record.
    ///
    /// Panics on a record that no [`Decision`](super::Decision) on this image could have made.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::TopicCreated(topic) => {
                assert!(!self.topics.contains_key(&topic.id), "topic id {} is given twice", topic.id);
                if let Some(other) = self.colliding(&topic.name) {
                    panic!("topic {} is made beside topic {}", topic.name, other.name);
                }
                assert!(topic.partitions > 0, "topic {} has {} partitions", topic.name, topic.partitions);
                self.insert(topic.clone());
            }
            Record::TopicDeleted { id } => {
                let topic = self.topics.remove(id).unwrap_or_else(|| panic!("no topic {id} to delete"));
                self.names.remove(&topic.name);
                self.collisions.remove(&name::collision_form(&topic.name));
                self.partitions -= topic.partitions as u64;
                self.deleting.insert(*id, topic.partitions);
            }
            Record::ProducerIdsAllocated { next } => {
                let before = self.next_producer_id;
                assert!(*next > before, "producer ids go back from {before} to {next}");
                self.next_producer_id = *next;
            }
            Record::TopicConfigured { id, changes } => {
                let topic = self.topics.get_mut(id).unwrap_or_else(|| panic!("no topic {id} to configure"));
                change(&mut topic.configs, changes);
            }
            Record::BrokersConfigured { node, changes } => {
                let values = self.brokers.entry(*node).or_default();
                change(values, changes);
                if values.is_empty() {
                    self.brokers.remove(node);
                }
            }
            Record::PartitionsAdded { id, partitions } => {
                let topic = self.topics.get_mut(id).unwrap_or_else(|| panic!("no topic {id} to grow"));
                let before = topic.partitions;
                assert!(*partitions > before, "topic {} goes from {before} to {partitions} partitions", topic.name);
                topic.partitions = *partitions;
                self.partitions += (*partitions - before) as u64;
            }
            Record::QuotasChanged { entity, changes } => self.quotas.change(entity, changes),
        }
    }

    fn insert(&mut self, topic: Topic) {
        self.names.insert(topic.name.clone(), topic.id);
        self.collisions.insert(name::collision_form(&topic.name), topic.id);
        self.partitions += topic.partitions as u64;
        self.topics.insert(topic.id, topic);
    }

    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.names.get(name).map(|id| &self.topics[id])
    }

    /// The topic whose name is `name`, or differs from it only by `.` for `_`.
    pub fn colliding(&self, name: &str) -> Option<&Topic> {
        self.collisions.get(&name::collision_form(name)).map(|id| &self.topics[id])
    }

    /// Every topic, in the byte order of names, from `name` on.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Topic> {
        self.names.range::<str, _>((Bound::Included(name), Bound::Unbounded)).map(|(_, id)| &self.topics[id])
    }

    /// Every topic, in the byte order of names.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics_from("")
    }

    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// How many partitions all topics have.
    pub fn partitions(&self) -> u64 {
        self.partitions
    }

    /// What was altered at run time of the configurations of one broker, or of every broker (`None`).
    pub fn broker(&self, node: Option<NodeId>) -> &Values {
        self.brokers.get(&node).unwrap_or(&NOTHING)
    }

    /// Who may do how much.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The first producer id that is not taken.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Whether the id is in use, or was and its data may not be gone yet.
    pub fn knows(&self, id: TopicId) -> bool {
        self.topics.contains_key(&id) || self.deleting.contains_key(&id)
    }

    /// Deleted topics that not every shard of this node has confirmed, and how many partitions each had.
    pub fn deleting(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.deleting.iter().map(|(id, partitions)| (*id, *partitions))
    }

    /// Every shard of this node has made the deletion durable. Not in the log: another node's shards are its own
    /// matter. Replaying the log may bring the deletion back; then it is confirmed again.
    pub fn deletion_confirmed(&mut self, id: TopicId) {
        self.deleting.remove(&id);
    }

    /// The image for a checkpoint: the format version, then postcard of topics, next producer id, deletions, brokers,
    /// quotas.
    pub fn encode(&self) -> Vec<u8> {
        encode(VERSION, self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Image, FormatError> {
        decode(VERSION, bytes)
    }
}

fn change(values: &mut Values, changes: &Changes) {
    for (name, value) in changes {
        match value {
            Some(value) => values.insert(name.clone(), value.clone()),
            None => values.remove(name),
        };
    }
}
