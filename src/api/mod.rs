//! What is served, and the handlers that need no log: what exists, how it is configured, how it is changed.
//!
//! ```text
//!   header ──route(key, version)──▶ Serve(api) ── decode ──▶ answer(&request, &view) ─────────▶ response
//!                  │                                   │
//!                  │                                   └────▶ decide(&request, &view, ..) ──▶ Decision
//!                  │                                             records: commit, apply on every shard,
//!                  │                                             then its response
//!                  ├──▶ ApiVersionsFallback ──▶ api_versions::unsupported(), encoded in version 0
//!                  └──▶ Version, Key: the connection is closed
//! ```
//!
//! | file | what it answers | step |
//! | --- | --- | --- |
//! | `table.rs` | which APIs and versions are served, how large their requests may be, where they go | |
//! | `api_versions.rs` | ApiVersions, from the table | `answer` |
//! | `metadata.rs` | Metadata; which topics it wishes into being (`missing`) | `answer` |
//! | `describe_topic_partitions.rs` | DescribeTopicPartitions, page by page | `answer` |
//! | `describe_cluster.rs` | DescribeCluster | `answer` |
//! | `describe_configs.rs` | DescribeConfigs, for topics and for this broker | `answer` |
//! | `alter_configs.rs` | IncrementalAlterConfigs and AlterConfigs, for topics and for brokers | `decide` |
//! | `describe_client_quotas.rs` | DescribeClientQuotas | `answer` |
//! | `alter_client_quotas.rs` | AlterClientQuotas | `decide` |
//! | `describe_user_scram_credentials.rs` | DescribeUserScramCredentials: there are none | `answer` |
//! | `create_partitions.rs` | CreatePartitions | `decide` |
//! | `create_topics.rs` | CreateTopics; topics that are made because they were asked for (`auto_create`) | `decide` |
//! | `delete_topics.rs` | DeleteTopics | `decide` |
//! | `describe_quorum.rs` | DescribeQuorum, where the metadata log is owned | `answer` |
//! | `elect_leaders.rs` | ElectLeaders: none is needed | `answer` |
//! | `list_config_resources.rs` | ListConfigResources | `answer` |
//! | `list_partition_reassignments.rs` | ListPartitionReassignments: there are none | `answer` |
//! | `find_coordinator.rs` | FindCoordinator; whether it wishes for the topic of committed offsets | `answer` |
//!
//! A handler is a function of a decoded request and a [`View`] of what the shard knows. An `answer` borrows from both and
//! may be given by any shard. A `decide` runs only where the metadata log is owned, on an image that has everything
//! applied that was decided before, and its response owns its strings, because it waits for the commit
//! ([`Decision`](crate::metadata::Decision)). What reads or writes records (Produce, Fetch, ListOffsets,
//! OffsetForLeaderEpoch, InitProducerId) is in the table too, and answered by the shard; so is what group coordinators are
//! asked.
//!
//! What is deliberately absent:
//! - **effects**: no handler writes, sends, reads a clock, or draws chance that was not passed to it, so that equal
//!   arguments give equal answers;
//! - **refusals of its own making**: error codes, messages, the order of checks and the special cases are those of an
//!   Apache Kafka 4.4.0 broker, compared with what it answers; where ours differ, the handler's header says so;
//! - **authorization**: everyone may do everything, and is told so where a request asks for operations (KIP-430);
//! - **features**: none is supported or finalized, so that clients keep to what needs none;
//! - **throttling**: every `throttle_time_ms` is 0 here; the shard writes it into the answer as it leaves.
//!
//! To serve another API: a variant of [`Api`] and its row in [`TABLE`]; the compiler then names every place that must
//! know it.

pub mod alter_client_quotas;
pub mod alter_configs;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod find_coordinator;
pub mod list_config_resources;
pub mod list_partition_reassignments;
pub mod metadata;
mod table;

pub use table::{Api, Route, Served, TABLE, request_bytes_max, route};

use crate::configs::{BrokerSettings, BrokerValues, Values};
use crate::ids::{Epoch, NodeId, PartitionKey};
use crate::metadata::Image;
use alloc::collections::BTreeMap;

/// What a shard knows when it answers.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The committed metadata; for a `decide`, with everything applied that was decided before.
    pub image: &'a Image,
    /// The broker's configurations that its file sets, by Kafka's names. The driver may add what the command line told:
    /// `listeners`, `log.dirs`.
    pub broker: &'a Values,
    /// The same with what the image says was altered since, resolved.
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

impl<'a> View<'a> {
    /// The broker's configurations, altered ones included.
    pub fn values(&self) -> BrokerValues<'a> {
        BrokerValues { own: self.image.broker(Some(self.node)), every: self.image.broker(None), fixed: self.broker }
    }

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
