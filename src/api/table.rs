//! What is served: one row for each API. ApiVersions answers from it, dispatch goes by it, and nothing else says it.
//!
//! Invariant: sorted by key, one row for each [`Api`], and no version that the codec cannot decode, Produce 0 to 2 apart.

use crate::wire::ApiKey;

/// The APIs that are served. Matches over it are complete, so that a new one cannot be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    OffsetCommit,
    OffsetFetch,
    FindCoordinator,
    JoinGroup,
    Heartbeat,
    LeaveGroup,
    SyncGroup,
    DescribeGroups,
    ListGroups,
    ApiVersions,
    CreateTopics,
    DeleteTopics,
    DeleteRecords,
    InitProducerId,
    OffsetForLeaderEpoch,
    DescribeConfigs,
    AlterConfigs,
    DescribeLogDirs,
    CreatePartitions,
    DeleteGroups,
    ElectLeaders,
    IncrementalAlterConfigs,
    ListPartitionReassignments,
    OffsetDelete,
    DescribeClientQuotas,
    AlterClientQuotas,
    DescribeUserScramCredentials,
    DescribeQuorum,
    DescribeCluster,
    DescribeProducers,
    ListConfigResources,
    DescribeTopicPartitions,
}

/// A row: the versions that are advertised, and from which on they are really served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub api: Api,
    pub key: ApiKey,
    /// The oldest version that ApiVersions names.
    pub min: i16,
    /// The newest.
    pub max: i16,
    /// The oldest that is answered: `min`, except for Produce. librdkafka switches features off where Produce 0 is not
    /// named, and never sends it (KAFKA-18659); Kafka does the same.
    pub served_from: i16,
}

const fn row(api: Api, key: ApiKey, min: i16, max: i16) -> Served {
    Served { api, key, min, max, served_from: min }
}

/// The table, by key. The versions are those of an Apache Kafka 4.4 broker.
pub static TABLE: [Served; 36] = [
    Served { api: Api::Produce, key: ApiKey::PRODUCE, min: 0, max: 13, served_from: 3 },
    row(Api::Fetch, ApiKey::FETCH, 4, 18),
    row(Api::ListOffsets, ApiKey::LIST_OFFSETS, 1, 11),
    row(Api::Metadata, ApiKey::METADATA, 0, 13),
    row(Api::OffsetCommit, ApiKey::OFFSET_COMMIT, 2, 10),
    row(Api::OffsetFetch, ApiKey::OFFSET_FETCH, 1, 10),
    row(Api::FindCoordinator, ApiKey::FIND_COORDINATOR, 0, 6),
    row(Api::JoinGroup, ApiKey::JOIN_GROUP, 0, 9),
    row(Api::Heartbeat, ApiKey::HEARTBEAT, 0, 4),
    row(Api::LeaveGroup, ApiKey::LEAVE_GROUP, 0, 5),
    row(Api::SyncGroup, ApiKey::SYNC_GROUP, 0, 5),
    row(Api::DescribeGroups, ApiKey::DESCRIBE_GROUPS, 0, 6),
    row(Api::ListGroups, ApiKey::LIST_GROUPS, 0, 5),
    row(Api::ApiVersions, ApiKey::API_VERSIONS, 0, 5),
    row(Api::CreateTopics, ApiKey::CREATE_TOPICS, 2, 7),
    row(Api::DeleteTopics, ApiKey::DELETE_TOPICS, 1, 6),
    row(Api::DeleteRecords, ApiKey::DELETE_RECORDS, 0, 2),
    row(Api::InitProducerId, ApiKey::INIT_PRODUCER_ID, 0, 5),
    row(Api::OffsetForLeaderEpoch, ApiKey::OFFSET_FOR_LEADER_EPOCH, 2, 4),
    row(Api::DescribeConfigs, ApiKey::DESCRIBE_CONFIGS, 1, 4),
    row(Api::AlterConfigs, ApiKey::ALTER_CONFIGS, 0, 2),
    row(Api::DescribeLogDirs, ApiKey::DESCRIBE_LOG_DIRS, 1, 5),
    row(Api::CreatePartitions, ApiKey::CREATE_PARTITIONS, 0, 3),
    row(Api::DeleteGroups, ApiKey::DELETE_GROUPS, 0, 3),
    row(Api::ElectLeaders, ApiKey::ELECT_LEADERS, 0, 2),
    row(Api::IncrementalAlterConfigs, ApiKey::INCREMENTAL_ALTER_CONFIGS, 0, 1),
    row(Api::ListPartitionReassignments, ApiKey::LIST_PARTITION_REASSIGNMENTS, 0, 0),
    row(Api::OffsetDelete, ApiKey::OFFSET_DELETE, 0, 0),
    row(Api::DescribeClientQuotas, ApiKey::DESCRIBE_CLIENT_QUOTAS, 0, 1),
    row(Api::AlterClientQuotas, ApiKey::ALTER_CLIENT_QUOTAS, 0, 1),
    row(Api::DescribeUserScramCredentials, ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS, 0, 0),
    row(Api::DescribeQuorum, ApiKey::DESCRIBE_QUORUM, 0, 2),
    row(Api::DescribeCluster, ApiKey::DESCRIBE_CLUSTER, 0, 2),
    row(Api::DescribeProducers, ApiKey::DESCRIBE_PRODUCERS, 0, 0),
    row(Api::ListConfigResources, ApiKey::LIST_CONFIG_RESOURCES, 0, 1),
    row(Api::DescribeTopicPartitions, ApiKey::DESCRIBE_TOPIC_PARTITIONS, 0, 0),
];

/// What to do with a request, by the key and the version of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Decode it and answer it.
    Serve(Api),
    /// ApiVersions in a version that we do not know: do not decode it, answer
    /// [`unsupported`](super::api_versions::unsupported) in version 0 (KIP-511).
    ApiVersionsFallback,
    /// Close the connection, as Kafka does: the version is not served. `min` and `max` are for the log line.
    Version { min: i16, max: i16 },
    /// Close the connection: the API is not served, or not Kafka's.
    Key,
}

impl Api {
    /// This API's row.
    pub fn served(self) -> &'static Served {
        let row = TABLE.iter().find(|row| row.api == self);
        row.unwrap_or_else(|| panic!("{self:?} has no row"))
    }

    /// The number of its row: the APIs stand in the order of the table.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The largest request of this API, in bytes; a connection that announces a larger one is closed, as it is above
    /// `socket.request.max.bytes`. Only records take room: everything else is names and numbers, of which some bytes
    /// on the wire become a hundred in memory, so that 100 MiB of them would be more than the whole process may use.
    pub fn request_bytes_max(self, socket_request_max_bytes: u32) -> u32 {
        const MIB: u32 = 1 << 20;
        let max = match self {
            Api::Produce => socket_request_max_bytes,
            // They name every partition that a client follows.
            Api::Fetch | Api::ListOffsets | Api::OffsetForLeaderEpoch | Api::DeleteRecords => 8 * MIB,
            // Members' metadata and assignments, the offsets of every partition.
            Api::JoinGroup | Api::SyncGroup | Api::OffsetCommit | Api::OffsetFetch | Api::OffsetDelete => 8 * MIB,
            Api::FindCoordinator | Api::Heartbeat | Api::LeaveGroup => 4 * MIB,
            Api::DescribeGroups | Api::ListGroups | Api::DeleteGroups => 4 * MIB,
            Api::Metadata | Api::DescribeTopicPartitions | Api::CreateTopics | Api::DeleteTopics => 4 * MIB,
            Api::CreatePartitions | Api::IncrementalAlterConfigs | Api::AlterConfigs => 4 * MIB,
            Api::DescribeLogDirs | Api::DescribeProducers | Api::ElectLeaders | Api::ListPartitionReassignments => MIB,
            Api::DescribeQuorum | Api::ListConfigResources => MIB,
            Api::DescribeClientQuotas | Api::AlterClientQuotas | Api::DescribeUserScramCredentials => MIB,
            Api::ApiVersions | Api::InitProducerId | Api::DescribeConfigs | Api::DescribeCluster => MIB,
        };
        max.min(socket_request_max_bytes)
    }
}

/// The largest request under this key, in bytes. What is not served is closed as soon as it is read.
pub fn request_bytes_max(key: ApiKey, socket_request_max_bytes: u32) -> u32 {
    match TABLE.iter().find(|row| row.key == key) {
        Some(row) => row.api.request_bytes_max(socket_request_max_bytes),
        None => socket_request_max_bytes.min(1 << 20),
    }
}

/// Finds the handler of a request.
pub fn route(key: ApiKey, version: i16) -> Route {
    let Some(row) = TABLE.iter().find(|row| row.key == key) else { return Route::Key };
    if (row.served_from..=row.max).contains(&version) {
        return Route::Serve(row.api);
    }
    match row.api {
        Api::ApiVersions => Route::ApiVersionsFallback,
        Api::Produce
        | Api::Fetch
        | Api::ListOffsets
        | Api::Metadata
        | Api::CreateTopics
        | Api::DeleteTopics
        | Api::DeleteRecords
        | Api::InitProducerId
        | Api::OffsetForLeaderEpoch
        | Api::DescribeConfigs
        | Api::AlterConfigs
        | Api::CreatePartitions
        | Api::IncrementalAlterConfigs
        | Api::DescribeLogDirs
        | Api::DescribeProducers
        | Api::DescribeQuorum
        | Api::ElectLeaders
        | Api::ListConfigResources
        | Api::ListPartitionReassignments
        | Api::DescribeCluster
        | Api::DescribeTopicPartitions
        | Api::OffsetCommit
        | Api::OffsetFetch
        | Api::FindCoordinator
        | Api::JoinGroup
        | Api::Heartbeat
        | Api::LeaveGroup
        | Api::SyncGroup
        | Api::DescribeGroups
        | Api::ListGroups
        | Api::DeleteGroups
        | Api::OffsetDelete
        | Api::DescribeClientQuotas
        | Api::AlterClientQuotas
        | Api::DescribeUserScramCredentials => Route::Version { min: row.served_from, max: row.max },
    }
}
