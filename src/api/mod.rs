//! The handlers that need no log: what is served, what exists, and how it is changed.
//!
//! | file | what it answers |
//! | --- | --- |
//! | `table.rs` | which APIs and versions are served, and where a request goes |
//! | `api_versions.rs` | ApiVersions, from the table |
//! | `metadata.rs` | Metadata, and which topics it wishes into being |
//! | `describe_topic_partitions.rs` | DescribeTopicPartitions, page by page |
//! | `describe_cluster.rs` | DescribeCluster |
//! | `describe_configs.rs` | DescribeConfigs, for topics and this broker |
//! | `create_topics.rs` | CreateTopics, and topics created by being asked for |
//! | `delete_topics.rs` | DeleteTopics |
//!
//! A handler is a function of a decoded request and a [`View`] of what the shard knows. Those that only ask have an
//! `answer`; those that change something have a `decide` that gives the records to commit and the response to send once
//! every shard has applied them ([`Decision`](crate::metadata::Decision)). None has an effect, reads a clock or draws
//! chance that was not passed to it.
//!
//! Error codes, messages and special cases are those of an Apache Kafka 4.4.0 broker, compared with what it answers;
//! where ours differ, the handler says so. There is no authorizer, so everyone may do everything.

pub mod api_versions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_topic_partitions;
pub mod metadata;
mod table;

pub use table::{Api, Route, Served, TABLE, route};

use crate::configs::{BrokerSettings, Values};
use crate::ids::{Epoch, NodeId, PartitionKey};
use crate::metadata::Image;
use alloc::collections::BTreeMap;

/// What a shard knows when it answers.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The committed metadata; for a `decide`, with everything applied that was decided before.
    pub image: &'a Image,
    /// The broker's configurations that were set, by Kafka's names. The driver may add what the command line told:
    /// `listeners`, `log.dirs`.
    pub broker: &'a Values,
    /// The same, resolved.
    pub settings: &'a BrokerSettings,
    pub node: NodeId,
    /// Where clients connect to this node.
    pub host: &'a str,
    pub port: u16,
    /// 22 characters of base64.
    pub cluster_id: &'a str,
    /// The partitions that this node leads, and in which epoch. One that is missing has no leader yet.
    pub leaders: &'a BTreeMap<PartitionKey, Epoch>,
}

impl View<'_> {
    /// The leader of a partition and its epoch, -1 and -1 where there is none.
    fn leader(&self, key: PartitionKey) -> (i32, i32) {
        match self.leaders.get(&key) {
            Some(epoch) => (self.node.0, epoch.0),
            None => (-1, -1),
        }
    }
}

/// Operations as bits (KIP-430): bit n for Kafka's `AclOperation` with code n. What everyone may do with a topic where
/// there is no authorizer: read, write, create, delete, alter, describe, describe and alter its configs.
const TOPIC_OPERATIONS: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;

/// The same for the cluster: create, alter, describe, cluster action, describe and alter configs, idempotent write.
const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// Operations that were not asked for.
const OPERATIONS_OMITTED: i32 = i32::MIN;
