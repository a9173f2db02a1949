//! Every message by name, and how to make any of them: shared by the tests of the wire codec.

#![allow(dead_code)]

use highwater::ids::TopicId;
use highwater::wire::*;
use std::borrow::Cow;

/// Calls a function generic over the message whose name is given.
#[macro_export]
macro_rules! dispatch {
    ($name:expr, $f:ident($($arg:expr),*)) => {
        match $name {
            "ProduceRequest" => $f::<highwater::wire::produce::ProduceRequest>($($arg),*),
            "ProduceResponse" => $f::<highwater::wire::produce::ProduceResponse>($($arg),*),
            "FetchRequest" => $f::<highwater::wire::fetch::FetchRequest>($($arg),*),
            "FetchResponse" => $f::<highwater::wire::fetch::FetchResponse>($($arg),*),
            "ListOffsetsRequest" => $f::<highwater::wire::list_offsets::ListOffsetsRequest>($($arg),*),
            "ListOffsetsResponse" => $f::<highwater::wire::list_offsets::ListOffsetsResponse>($($arg),*),
            "MetadataRequest" => $f::<highwater::wire::metadata::MetadataRequest>($($arg),*),
            "MetadataResponse" => $f::<highwater::wire::metadata::MetadataResponse>($($arg),*),
            "ApiVersionsRequest" => $f::<highwater::wire::api_versions::ApiVersionsRequest>($($arg),*),
            "ApiVersionsResponse" => $f::<highwater::wire::api_versions::ApiVersionsResponse>($($arg),*),
            "CreateTopicsRequest" => $f::<highwater::wire::create_topics::CreateTopicsRequest>($($arg),*),
            "CreateTopicsResponse" => $f::<highwater::wire::create_topics::CreateTopicsResponse>($($arg),*),
            "DeleteTopicsRequest" => $f::<highwater::wire::delete_topics::DeleteTopicsRequest>($($arg),*),
            "DeleteTopicsResponse" => $f::<highwater::wire::delete_topics::DeleteTopicsResponse>($($arg),*),
            "DeleteRecordsRequest" => $f::<highwater::wire::delete_records::DeleteRecordsRequest>($($arg),*),
            "DeleteRecordsResponse" => $f::<highwater::wire::delete_records::DeleteRecordsResponse>($($arg),*),
            "InitProducerIdRequest" => $f::<highwater::wire::init_producer_id::InitProducerIdRequest>($($arg),*),
            "InitProducerIdResponse" => $f::<highwater::wire::init_producer_id::InitProducerIdResponse>($($arg),*),
            "OffsetForLeaderEpochRequest" => $f::<highwater::wire::offset_for_leader_epoch::OffsetForLeaderEpochRequest>($($arg),*),
            "OffsetForLeaderEpochResponse" => $f::<highwater::wire::offset_for_leader_epoch::OffsetForLeaderEpochResponse>($($arg),*),
            "DescribeConfigsRequest" => $f::<highwater::wire::describe_configs::DescribeConfigsRequest>($($arg),*),
            "DescribeConfigsResponse" => $f::<highwater::wire::describe_configs::DescribeConfigsResponse>($($arg),*),
            "DescribeClusterRequest" => $f::<highwater::wire::describe_cluster::DescribeClusterRequest>($($arg),*),
            "DescribeClusterResponse" => $f::<highwater::wire::describe_cluster::DescribeClusterResponse>($($arg),*),
            "DescribeTopicPartitionsRequest" => $f::<highwater::wire::describe_topic_partitions::DescribeTopicPartitionsRequest>($($arg),*),
            "DescribeTopicPartitionsResponse" => $f::<highwater::wire::describe_topic_partitions::DescribeTopicPartitionsResponse>($($arg),*),
            "FindCoordinatorRequest" => $f::<highwater::wire::find_coordinator::FindCoordinatorRequest>($($arg),*),
            "FindCoordinatorResponse" => $f::<highwater::wire::find_coordinator::FindCoordinatorResponse>($($arg),*),
            "JoinGroupRequest" => $f::<highwater::wire::join_group::JoinGroupRequest>($($arg),*),
            "JoinGroupResponse" => $f::<highwater::wire::join_group::JoinGroupResponse>($($arg),*),
            "SyncGroupRequest" => $f::<highwater::wire::sync_group::SyncGroupRequest>($($arg),*),
            "SyncGroupResponse" => $f::<highwater::wire::sync_group::SyncGroupResponse>($($arg),*),
            "HeartbeatRequest" => $f::<highwater::wire::heartbeat::HeartbeatRequest>($($arg),*),
            "HeartbeatResponse" => $f::<highwater::wire::heartbeat::HeartbeatResponse>($($arg),*),
            "LeaveGroupRequest" => $f::<highwater::wire::leave_group::LeaveGroupRequest>($($arg),*),
            "LeaveGroupResponse" => $f::<highwater::wire::leave_group::LeaveGroupResponse>($($arg),*),
            "OffsetCommitRequest" => $f::<highwater::wire::offset_commit::OffsetCommitRequest>($($arg),*),
            "OffsetCommitResponse" => $f::<highwater::wire::offset_commit::OffsetCommitResponse>($($arg),*),
            "OffsetFetchRequest" => $f::<highwater::wire::offset_fetch::OffsetFetchRequest>($($arg),*),
            "OffsetFetchResponse" => $f::<highwater::wire::offset_fetch::OffsetFetchResponse>($($arg),*),
            "OffsetDeleteRequest" => $f::<highwater::wire::offset_delete::OffsetDeleteRequest>($($arg),*),
            "OffsetDeleteResponse" => $f::<highwater::wire::offset_delete::OffsetDeleteResponse>($($arg),*),
            "DeleteGroupsRequest" => $f::<highwater::wire::delete_groups::DeleteGroupsRequest>($($arg),*),
            "DeleteGroupsResponse" => $f::<highwater::wire::delete_groups::DeleteGroupsResponse>($($arg),*),
            "DescribeGroupsRequest" => $f::<highwater::wire::describe_groups::DescribeGroupsRequest>($($arg),*),
            "DescribeGroupsResponse" => $f::<highwater::wire::describe_groups::DescribeGroupsResponse>($($arg),*),
            "ListGroupsRequest" => $f::<highwater::wire::list_groups::ListGroupsRequest>($($arg),*),
            "ListGroupsResponse" => $f::<highwater::wire::list_groups::ListGroupsResponse>($($arg),*),
            "AlterConfigsRequest" => $f::<highwater::wire::alter_configs::AlterConfigsRequest>($($arg),*),
            "AlterConfigsResponse" => $f::<highwater::wire::alter_configs::AlterConfigsResponse>($($arg),*),
            "IncrementalAlterConfigsRequest" => $f::<highwater::wire::incremental_alter_configs::IncrementalAlterConfigsRequest>($($arg),*),
            "IncrementalAlterConfigsResponse" => $f::<highwater::wire::incremental_alter_configs::IncrementalAlterConfigsResponse>($($arg),*),
            "CreatePartitionsRequest" => $f::<highwater::wire::create_partitions::CreatePartitionsRequest>($($arg),*),
            "CreatePartitionsResponse" => $f::<highwater::wire::create_partitions::CreatePartitionsResponse>($($arg),*),
            "DescribeLogDirsRequest" => $f::<highwater::wire::describe_log_dirs::DescribeLogDirsRequest>($($arg),*),
            "DescribeLogDirsResponse" => $f::<highwater::wire::describe_log_dirs::DescribeLogDirsResponse>($($arg),*),
            "DescribeProducersRequest" => $f::<highwater::wire::describe_producers::DescribeProducersRequest>($($arg),*),
            "DescribeProducersResponse" => $f::<highwater::wire::describe_producers::DescribeProducersResponse>($($arg),*),
            "ListPartitionReassignmentsRequest" => $f::<highwater::wire::list_partition_reassignments::ListPartitionReassignmentsRequest>($($arg),*),
            "ListPartitionReassignmentsResponse" => $f::<highwater::wire::list_partition_reassignments::ListPartitionReassignmentsResponse>($($arg),*),
            "ElectLeadersRequest" => $f::<highwater::wire::elect_leaders::ElectLeadersRequest>($($arg),*),
            "ElectLeadersResponse" => $f::<highwater::wire::elect_leaders::ElectLeadersResponse>($($arg),*),
            "DescribeQuorumRequest" => $f::<highwater::wire::describe_quorum::DescribeQuorumRequest>($($arg),*),
            "DescribeQuorumResponse" => $f::<highwater::wire::describe_quorum::DescribeQuorumResponse>($($arg),*),
            "ListConfigResourcesRequest" => $f::<highwater::wire::list_config_resources::ListConfigResourcesRequest>($($arg),*),
            "ListConfigResourcesResponse" => $f::<highwater::wire::list_config_resources::ListConfigResourcesResponse>($($arg),*),
            "DescribeClientQuotasRequest" => $f::<highwater::wire::describe_client_quotas::DescribeClientQuotasRequest>($($arg),*),
            "DescribeClientQuotasResponse" => $f::<highwater::wire::describe_client_quotas::DescribeClientQuotasResponse>($($arg),*),
            "AlterClientQuotasRequest" => $f::<highwater::wire::alter_client_quotas::AlterClientQuotasRequest>($($arg),*),
            "AlterClientQuotasResponse" => $f::<highwater::wire::alter_client_quotas::AlterClientQuotasResponse>($($arg),*),
            "DescribeUserScramCredentialsRequest" => $f::<highwater::wire::describe_user_scram_credentials::DescribeUserScramCredentialsRequest>($($arg),*),
            "DescribeUserScramCredentialsResponse" => $f::<highwater::wire::describe_user_scram_credentials::DescribeUserScramCredentialsResponse>($($arg),*),
            name => panic!("no message {name}"),
        }
    };
}

/// Name, oldest and newest version.
pub const MESSAGES: &[(&str, i16, i16)] = &[
    versions::<produce::ProduceRequest>("ProduceRequest"),
    versions::<produce::ProduceResponse>("ProduceResponse"),
    versions::<fetch::FetchRequest>("FetchRequest"),
    versions::<fetch::FetchResponse>("FetchResponse"),
    versions::<list_offsets::ListOffsetsRequest>("ListOffsetsRequest"),
    versions::<list_offsets::ListOffsetsResponse>("ListOffsetsResponse"),
    versions::<metadata::MetadataRequest>("MetadataRequest"),
    versions::<metadata::MetadataResponse>("MetadataResponse"),
    versions::<api_versions::ApiVersionsRequest>("ApiVersionsRequest"),
    versions::<api_versions::ApiVersionsResponse>("ApiVersionsResponse"),
    versions::<create_topics::CreateTopicsRequest>("CreateTopicsRequest"),
    versions::<create_topics::CreateTopicsResponse>("CreateTopicsResponse"),
    versions::<delete_topics::DeleteTopicsRequest>("DeleteTopicsRequest"),
    versions::<delete_topics::DeleteTopicsResponse>("DeleteTopicsResponse"),
    versions::<delete_records::DeleteRecordsRequest>("DeleteRecordsRequest"),
    versions::<delete_records::DeleteRecordsResponse>("DeleteRecordsResponse"),
    versions::<init_producer_id::InitProducerIdRequest>("InitProducerIdRequest"),
    versions::<init_producer_id::InitProducerIdResponse>("InitProducerIdResponse"),
    versions::<offset_for_leader_epoch::OffsetForLeaderEpochRequest>("OffsetForLeaderEpochRequest"),
    versions::<offset_for_leader_epoch::OffsetForLeaderEpochResponse>("OffsetForLeaderEpochResponse"),
    versions::<describe_configs::DescribeConfigsRequest>("DescribeConfigsRequest"),
    versions::<describe_configs::DescribeConfigsResponse>("DescribeConfigsResponse"),
    versions::<describe_cluster::DescribeClusterRequest>("DescribeClusterRequest"),
    versions::<describe_cluster::DescribeClusterResponse>("DescribeClusterResponse"),
    versions::<describe_topic_partitions::DescribeTopicPartitionsRequest>("DescribeTopicPartitionsRequest"),
    versions::<describe_topic_partitions::DescribeTopicPartitionsResponse>("DescribeTopicPartitionsResponse"),
    versions::<find_coordinator::FindCoordinatorRequest>("FindCoordinatorRequest"),
    versions::<find_coordinator::FindCoordinatorResponse>("FindCoordinatorResponse"),
    versions::<join_group::JoinGroupRequest>("JoinGroupRequest"),
    versions::<join_group::JoinGroupResponse>("JoinGroupResponse"),
    versions::<sync_group::SyncGroupRequest>("SyncGroupRequest"),
    versions::<sync_group::SyncGroupResponse>("SyncGroupResponse"),
    versions::<heartbeat::HeartbeatRequest>("HeartbeatRequest"),
    versions::<heartbeat::HeartbeatResponse>("HeartbeatResponse"),
    versions::<leave_group::LeaveGroupRequest>("LeaveGroupRequest"),
    versions::<leave_group::LeaveGroupResponse>("LeaveGroupResponse"),
    versions::<offset_commit::OffsetCommitRequest>("OffsetCommitRequest"),
    versions::<offset_commit::OffsetCommitResponse>("OffsetCommitResponse"),
    versions::<offset_fetch::OffsetFetchRequest>("OffsetFetchRequest"),
    versions::<offset_fetch::OffsetFetchResponse>("OffsetFetchResponse"),
    versions::<offset_delete::OffsetDeleteRequest>("OffsetDeleteRequest"),
    versions::<offset_delete::OffsetDeleteResponse>("OffsetDeleteResponse"),
    versions::<delete_groups::DeleteGroupsRequest>("DeleteGroupsRequest"),
    versions::<delete_groups::DeleteGroupsResponse>("DeleteGroupsResponse"),
    versions::<describe_groups::DescribeGroupsRequest>("DescribeGroupsRequest"),
    versions::<describe_groups::DescribeGroupsResponse>("DescribeGroupsResponse"),
    versions::<list_groups::ListGroupsRequest>("ListGroupsRequest"),
    versions::<list_groups::ListGroupsResponse>("ListGroupsResponse"),
    versions::<alter_configs::AlterConfigsRequest>("AlterConfigsRequest"),
    versions::<alter_configs::AlterConfigsResponse>("AlterConfigsResponse"),
    versions::<incremental_alter_configs::IncrementalAlterConfigsRequest>("IncrementalAlterConfigsRequest"),
    versions::<incremental_alter_configs::IncrementalAlterConfigsResponse>("IncrementalAlterConfigsResponse"),
    versions::<create_partitions::CreatePartitionsRequest>("CreatePartitionsRequest"),
    versions::<create_partitions::CreatePartitionsResponse>("CreatePartitionsResponse"),
    versions::<describe_log_dirs::DescribeLogDirsRequest>("DescribeLogDirsRequest"),
    versions::<describe_log_dirs::DescribeLogDirsResponse>("DescribeLogDirsResponse"),
    versions::<describe_producers::DescribeProducersRequest>("DescribeProducersRequest"),
    versions::<describe_producers::DescribeProducersResponse>("DescribeProducersResponse"),
    versions::<list_partition_reassignments::ListPartitionReassignmentsRequest>("ListPartitionReassignmentsRequest"),
    versions::<list_partition_reassignments::ListPartitionReassignmentsResponse>("ListPartitionReassignmentsResponse"),
    versions::<elect_leaders::ElectLeadersRequest>("ElectLeadersRequest"),
    versions::<elect_leaders::ElectLeadersResponse>("ElectLeadersResponse"),
    versions::<describe_quorum::DescribeQuorumRequest>("DescribeQuorumRequest"),
    versions::<describe_quorum::DescribeQuorumResponse>("DescribeQuorumResponse"),
    versions::<list_config_resources::ListConfigResourcesRequest>("ListConfigResourcesRequest"),
    versions::<list_config_resources::ListConfigResourcesResponse>("ListConfigResourcesResponse"),
    versions::<describe_client_quotas::DescribeClientQuotasRequest>("DescribeClientQuotasRequest"),
    versions::<describe_client_quotas::DescribeClientQuotasResponse>("DescribeClientQuotasResponse"),
    versions::<alter_client_quotas::AlterClientQuotasRequest>("AlterClientQuotasRequest"),
    versions::<alter_client_quotas::AlterClientQuotasResponse>("AlterClientQuotasResponse"),
    versions::<describe_user_scram_credentials::DescribeUserScramCredentialsRequest>(
        "DescribeUserScramCredentialsRequest",
    ),
    versions::<describe_user_scram_credentials::DescribeUserScramCredentialsResponse>(
        "DescribeUserScramCredentialsResponse",
    ),
];

const fn versions<'a, M: Message<'a>>(name: &'static str) -> (&'static str, i16, i16) {
    (name, M::MIN_VERSION, M::MAX_VERSION)
}

/// Bytes that decide what is made; zeros follow their end, so that what is made is finite and shrinks.
pub struct Entropy<'a>(pub &'a [u8]);

impl Entropy<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let len = N.min(self.0.len());
        array[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        array
    }

    fn below(&mut self, end: u8) -> usize {
        usize::from(self.array::<1>()[0] % end)
    }
}

/// Can be made of entropy.
pub trait Any {
    fn any(entropy: &mut Entropy<'_>) -> Self;
}

macro_rules! any_integer {
    ($($ty:ty),*) => {
        $(impl Any for $ty {
            fn any(entropy: &mut Entropy<'_>) -> Self {
                <$ty>::from_be_bytes(entropy.array())
            }
        })*
    };
}

any_integer!(i8, i16, u16, i32, i64);

impl Any for f64 {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        // Neither equal to nothing nor written like an integer.
        f64::from(i32::any(entropy)) + 0.5
    }
}

impl Any for bool {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        entropy.below(2) == 1
    }
}

impl Any for TopicId {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        TopicId(entropy.array())
    }
}

impl Any for ErrorCode {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        ErrorCode(i16::any(entropy))
    }
}

impl Any for ApiKey {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        ApiKey(i16::any(entropy))
    }
}

impl Any for Cow<'_, str> {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        const LETTERS: [char; 5] = ['a', 'Z', '.', '\u{e9}', '\u{1f980}'];
        let len = entropy.below(12);
        (0..len).map(|_| LETTERS[entropy.below(5)]).collect()
    }
}

impl Any for Cow<'_, [u8]> {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        let len = entropy.below(20);
        (0..len).map(|_| entropy.array::<1>()[0]).collect()
    }
}

impl Any for Records<'_> {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        let len = entropy.below(40);
        Records::Slices(vec![(0..len).map(|_| entropy.array::<1>()[0]).collect()])
    }
}

impl<T: Any> Any for Option<T> {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        (entropy.below(3) > 0).then(|| T::any(entropy))
    }
}

impl<T: Any> Any for Vec<T> {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        let len = entropy.below(4);
        (0..len).map(|_| T::any(entropy)).collect()
    }
}

impl<T: Any> Any for List<'_, T> {
    fn any(entropy: &mut Entropy<'_>) -> Self {
        Vec::any(entropy).into()
    }
}

macro_rules! any_struct {
    ($($ty:ty { $($field:ident),* })*) => {
        $(impl Any for $ty {
            fn any(entropy: &mut Entropy<'_>) -> Self {
                Self { $($field: Any::any(entropy)),* }
            }
        })*
    };
}

any_struct! {
    produce::ProduceRequest<'_> { transactional_id, acks, timeout_ms, topic_data }
    produce::TopicProduceData<'_> { name, topic_id, partition_data }
    produce::PartitionProduceData<'_> { index, records }
    produce::ProduceResponse<'_> { responses, throttle_time_ms, node_endpoints }
    produce::TopicProduceResponse<'_> { name, topic_id, partition_responses }
    produce::PartitionProduceResponse<'_> { index, error_code, base_offset, log_append_time_ms, log_start_offset, record_errors, error_message, current_leader }
    produce::BatchIndexAndErrorMessage<'_> { batch_index, batch_index_error_message }
    produce::LeaderIdAndEpoch { leader_id, leader_epoch }
    produce::NodeEndpoint<'_> { node_id, host, port, rack }
    fetch::FetchRequest<'_> { cluster_id, replica_id, replica_state, max_wait_ms, min_bytes, max_bytes, isolation_level, session_id, session_epoch, topics, forgotten_topics_data, rack_id }
    fetch::ReplicaState { replica_id, replica_epoch }
    fetch::FetchTopic<'_> { topic, topic_id, partitions }
    fetch::FetchPartition { partition, current_leader_epoch, fetch_offset, last_fetched_epoch, log_start_offset, partition_max_bytes, replica_directory_id, high_watermark }
    fetch::ForgottenTopic<'_> { topic, topic_id, partitions }
    fetch::FetchResponse<'_> { throttle_time_ms, error_code, session_id, responses, node_endpoints }
    fetch::FetchableTopicResponse<'_> { topic, topic_id, partitions }
    fetch::PartitionData<'_> { partition_index, error_code, high_watermark, last_stable_offset, log_start_offset, diverging_epoch, current_leader, snapshot_id, aborted_transactions, preferred_read_replica, records }
    fetch::EpochEndOffset { epoch, end_offset }
    fetch::LeaderIdAndEpoch { leader_id, leader_epoch }
    fetch::SnapshotId { end_offset, epoch }
    fetch::AbortedTransaction { producer_id, first_offset }
    fetch::NodeEndpoint<'_> { node_id, host, port, rack }
    list_offsets::ListOffsetsRequest<'_> { replica_id, isolation_level, topics, timeout_ms }
    list_offsets::ListOffsetsTopic<'_> { name, partitions }
    list_offsets::ListOffsetsPartition { partition_index, current_leader_epoch, timestamp }
    list_offsets::ListOffsetsResponse<'_> { throttle_time_ms, topics }
    list_offsets::ListOffsetsTopicResponse<'_> { name, partitions }
    list_offsets::ListOffsetsPartitionResponse { partition_index, error_code, timestamp, offset, leader_epoch }
    metadata::MetadataRequest<'_> { topics, allow_auto_topic_creation, include_cluster_authorized_operations, include_topic_authorized_operations }
    metadata::MetadataRequestTopic<'_> { topic_id, name }
    metadata::MetadataResponse<'_> { throttle_time_ms, brokers, cluster_id, controller_id, topics, cluster_authorized_operations, error_code }
    metadata::MetadataResponseBroker<'_> { node_id, host, port, rack }
    metadata::MetadataResponseTopic<'_> { error_code, name, topic_id, is_internal, partitions, topic_authorized_operations }
    metadata::MetadataResponsePartition { error_code, partition_index, leader_id, leader_epoch, replica_nodes, isr_nodes, offline_replicas }
    api_versions::ApiVersionsRequest<'_> { client_software_name, client_software_version, cluster_id, node_id }
    api_versions::ApiVersionsResponse<'_> { error_code, api_keys, throttle_time_ms, supported_features, finalized_features_epoch, finalized_features, zk_migration_ready }
    api_versions::ApiVersion { api_key, min_version, max_version }
    api_versions::SupportedFeatureKey<'_> { name, min_version, max_version }
    api_versions::FinalizedFeatureKey<'_> { name, max_version_level, min_version_level }
    create_topics::CreateTopicsRequest<'_> { topics, timeout_ms, validate_only }
    create_topics::CreatableTopic<'_> { name, num_partitions, replication_factor, assignments, configs }
    create_topics::CreatableReplicaAssignment { partition_index, broker_ids }
    create_topics::CreatableTopicConfig<'_> { name, value }
    create_topics::CreateTopicsResponse<'_> { throttle_time_ms, topics }
    create_topics::CreatableTopicResult<'_> { name, topic_id, error_code, error_message, topic_config_error_code, num_partitions, replication_factor, configs }
    create_topics::CreatableTopicConfigs<'_> { name, value, read_only, config_source, is_sensitive }
    delete_topics::DeleteTopicsRequest<'_> { topics, topic_names, timeout_ms }
    delete_topics::DeleteTopicState<'_> { name, topic_id }
    delete_topics::DeleteTopicsResponse<'_> { throttle_time_ms, responses }
    delete_topics::DeletableTopicResult<'_> { name, topic_id, error_code, error_message }
    delete_records::DeleteRecordsRequest<'_> { topics, timeout_ms }
    delete_records::DeleteRecordsTopic<'_> { name, partitions }
    delete_records::DeleteRecordsPartition { partition_index, offset }
    delete_records::DeleteRecordsResponse<'_> { throttle_time_ms, topics }
    delete_records::DeleteRecordsTopicResult<'_> { name, partitions }
    delete_records::DeleteRecordsPartitionResult { partition_index, low_watermark, error_code }
    init_producer_id::InitProducerIdRequest<'_> { transactional_id, transaction_timeout_ms, producer_id, producer_epoch, enable2_pc, keep_prepared_txn }
    init_producer_id::InitProducerIdResponse { throttle_time_ms, error_code, producer_id, producer_epoch, ongoing_txn_producer_id, ongoing_txn_producer_epoch }
    offset_for_leader_epoch::OffsetForLeaderEpochRequest<'_> { replica_id, topics }
    offset_for_leader_epoch::OffsetForLeaderTopic<'_> { topic, partitions }
    offset_for_leader_epoch::OffsetForLeaderPartition { partition, current_leader_epoch, leader_epoch }
    offset_for_leader_epoch::OffsetForLeaderEpochResponse<'_> { throttle_time_ms, topics }
    offset_for_leader_epoch::OffsetForLeaderTopicResult<'_> { topic, partitions }
    offset_for_leader_epoch::EpochEndOffset { error_code, partition, leader_epoch, end_offset }
    describe_configs::DescribeConfigsRequest<'_> { resources, include_synonyms, include_documentation }
    describe_configs::DescribeConfigsResource<'_> { resource_type, resource_name, configuration_keys }
    describe_configs::DescribeConfigsResponse<'_> { throttle_time_ms, results }
    describe_configs::DescribeConfigsResult<'_> { error_code, error_message, resource_type, resource_name, configs }
    describe_configs::DescribeConfigsResourceResult<'_> { name, value, read_only, config_source, is_sensitive, synonyms, config_type, documentation }
    describe_configs::DescribeConfigsSynonym<'_> { name, value, source }
    describe_cluster::DescribeClusterRequest { include_cluster_authorized_operations, endpoint_type, include_fenced_brokers }
    describe_cluster::DescribeClusterResponse<'_> { throttle_time_ms, error_code, error_message, endpoint_type, cluster_id, controller_id, brokers, cluster_authorized_operations }
    describe_cluster::DescribeClusterBroker<'_> { broker_id, host, port, rack, is_fenced }
    describe_topic_partitions::DescribeTopicPartitionsRequest<'_> { topics, response_partition_limit, cursor }
    describe_topic_partitions::TopicRequest<'_> { name }
    describe_topic_partitions::Cursor<'_> { topic_name, partition_index }
    describe_topic_partitions::DescribeTopicPartitionsResponse<'_> { throttle_time_ms, topics, next_cursor }
    describe_topic_partitions::DescribeTopicPartitionsResponseTopic<'_> { error_code, name, topic_id, is_internal, partitions, topic_authorized_operations }
    describe_topic_partitions::DescribeTopicPartitionsResponsePartition { error_code, partition_index, leader_id, leader_epoch, replica_nodes, isr_nodes, eligible_leader_replicas, last_known_elr, offline_replicas }
    find_coordinator::FindCoordinatorRequest<'_> { key, key_type, coordinator_keys }
    find_coordinator::FindCoordinatorResponse<'_> { throttle_time_ms, error_code, error_message, node_id, host, port, coordinators }
    find_coordinator::Coordinator<'_> { key, node_id, host, port, error_code, error_message }
    join_group::JoinGroupRequest<'_> { group_id, session_timeout_ms, rebalance_timeout_ms, member_id, group_instance_id, protocol_type, protocols, reason }
    join_group::JoinGroupRequestProtocol<'_> { name, metadata }
    join_group::JoinGroupResponse<'_> { throttle_time_ms, error_code, generation_id, protocol_type, protocol_name, leader, skip_assignment, member_id, members }
    join_group::JoinGroupResponseMember<'_> { member_id, group_instance_id, metadata }
    sync_group::SyncGroupRequest<'_> { group_id, generation_id, member_id, group_instance_id, protocol_type, protocol_name, assignments }
    sync_group::SyncGroupRequestAssignment<'_> { member_id, assignment }
    sync_group::SyncGroupResponse<'_> { throttle_time_ms, error_code, protocol_type, protocol_name, assignment }
    heartbeat::HeartbeatRequest<'_> { group_id, generation_id, member_id, group_instance_id }
    heartbeat::HeartbeatResponse { throttle_time_ms, error_code }
    leave_group::LeaveGroupRequest<'_> { group_id, member_id, members }
    leave_group::MemberIdentity<'_> { member_id, group_instance_id, reason }
    leave_group::LeaveGroupResponse<'_> { throttle_time_ms, error_code, members }
    leave_group::MemberResponse<'_> { member_id, group_instance_id, error_code }
    offset_commit::OffsetCommitRequest<'_> { group_id, generation_id_or_member_epoch, member_id, group_instance_id, retention_time_ms, topics }
    offset_commit::OffsetCommitRequestTopic<'_> { name, topic_id, partitions }
    offset_commit::OffsetCommitRequestPartition<'_> { partition_index, committed_offset, committed_leader_epoch, committed_metadata }
    offset_commit::OffsetCommitResponse<'_> { throttle_time_ms, topics }
    offset_commit::OffsetCommitResponseTopic<'_> { name, topic_id, partitions }
    offset_commit::OffsetCommitResponsePartition { partition_index, error_code }
    offset_fetch::OffsetFetchRequest<'_> { group_id, topics, groups, require_stable }
    offset_fetch::OffsetFetchRequestGroup<'_> { group_id, member_id, member_epoch, topics }
    offset_fetch::OffsetFetchRequestTopics<'_> { name, topic_id, partition_indexes }
    offset_fetch::OffsetFetchRequestTopic<'_> { name, partition_indexes }
    offset_fetch::OffsetFetchResponse<'_> { throttle_time_ms, topics, error_code, groups }
    offset_fetch::OffsetFetchResponseGroup<'_> { group_id, topics, error_code }
    offset_fetch::OffsetFetchResponseTopics<'_> { name, topic_id, partitions }
    offset_fetch::OffsetFetchResponsePartitions<'_> { partition_index, committed_offset, committed_leader_epoch, metadata, error_code }
    offset_fetch::OffsetFetchResponseTopic<'_> { name, partitions }
    offset_fetch::OffsetFetchResponsePartition<'_> { partition_index, committed_offset, committed_leader_epoch, metadata, error_code }
    offset_delete::OffsetDeleteRequest<'_> { group_id, topics }
    offset_delete::OffsetDeleteRequestTopic<'_> { name, partitions }
    offset_delete::OffsetDeleteRequestPartition { partition_index }
    offset_delete::OffsetDeleteResponse<'_> { error_code, throttle_time_ms, topics }
    offset_delete::OffsetDeleteResponseTopic<'_> { name, partitions }
    offset_delete::OffsetDeleteResponsePartition { partition_index, error_code }
    delete_groups::DeleteGroupsRequest<'_> { groups_names }
    delete_groups::DeleteGroupsResponse<'_> { throttle_time_ms, results }
    delete_groups::DeletableGroupResult<'_> { group_id, error_code, error_message }
    describe_groups::DescribeGroupsRequest<'_> { groups, include_authorized_operations }
    describe_groups::DescribeGroupsResponse<'_> { throttle_time_ms, groups }
    describe_groups::DescribedGroup<'_> { error_code, error_message, group_id, group_state, protocol_type, protocol_data, members, authorized_operations }
    describe_groups::DescribedGroupMember<'_> { member_id, group_instance_id, client_id, client_host, member_metadata, member_assignment }
    list_groups::ListGroupsRequest<'_> { states_filter, types_filter }
    list_groups::ListGroupsResponse<'_> { throttle_time_ms, error_code, groups }
    list_groups::ListedGroup<'_> { group_id, protocol_type, group_state, group_type }
    alter_configs::AlterConfigsRequest<'_> { resources, validate_only }
    alter_configs::AlterConfigsResource<'_> { resource_type, resource_name, configs }
    alter_configs::AlterableConfig<'_> { name, value }
    alter_configs::AlterConfigsResponse<'_> { throttle_time_ms, responses }
    alter_configs::AlterConfigsResourceResponse<'_> { error_code, error_message, resource_type, resource_name }
    incremental_alter_configs::IncrementalAlterConfigsRequest<'_> { resources, validate_only }
    incremental_alter_configs::AlterConfigsResource<'_> { resource_type, resource_name, configs }
    incremental_alter_configs::AlterableConfig<'_> { name, config_operation, value }
    incremental_alter_configs::IncrementalAlterConfigsResponse<'_> { throttle_time_ms, responses }
    incremental_alter_configs::AlterConfigsResourceResponse<'_> { error_code, error_message, resource_type, resource_name }
    create_partitions::CreatePartitionsRequest<'_> { topics, timeout_ms, validate_only }
    create_partitions::CreatePartitionsTopic<'_> { name, count, assignments }
    create_partitions::CreatePartitionsAssignment { broker_ids }
    create_partitions::CreatePartitionsResponse<'_> { throttle_time_ms, results }
    create_partitions::CreatePartitionsTopicResult<'_> { name, error_code, error_message }
    describe_log_dirs::DescribeLogDirsRequest<'_> { topics }
    describe_log_dirs::DescribableLogDirTopic<'_> { topic, partitions }
    describe_log_dirs::DescribeLogDirsResponse<'_> { throttle_time_ms, error_code, results }
    describe_log_dirs::DescribeLogDirsResult<'_> { error_code, log_dir, topics, total_bytes, usable_bytes, is_cordoned }
    describe_log_dirs::DescribeLogDirsTopic<'_> { name, partitions }
    describe_log_dirs::DescribeLogDirsPartition { partition_index, partition_size, offset_lag, is_future_key }
    describe_producers::DescribeProducersRequest<'_> { topics }
    describe_producers::TopicRequest<'_> { name, partition_indexes }
    describe_producers::DescribeProducersResponse<'_> { throttle_time_ms, topics }
    describe_producers::TopicResponse<'_> { name, partitions }
    describe_producers::PartitionResponse<'_> { partition_index, error_code, error_message, active_producers }
    describe_producers::ProducerState { producer_id, producer_epoch, last_sequence, last_timestamp, coordinator_epoch, current_txn_start_offset }
    list_partition_reassignments::ListPartitionReassignmentsRequest<'_> { timeout_ms, topics }
    list_partition_reassignments::ListPartitionReassignmentsTopics<'_> { name, partition_indexes }
    list_partition_reassignments::ListPartitionReassignmentsResponse<'_> { throttle_time_ms, error_code, error_message, topics }
    list_partition_reassignments::OngoingTopicReassignment<'_> { name, partitions }
    list_partition_reassignments::OngoingPartitionReassignment { partition_index, replicas, adding_replicas, removing_replicas }
    elect_leaders::ElectLeadersRequest<'_> { election_type, topic_partitions, timeout_ms }
    elect_leaders::TopicPartitions<'_> { topic, partitions }
    elect_leaders::ElectLeadersResponse<'_> { throttle_time_ms, error_code, replica_election_results }
    elect_leaders::ReplicaElectionResult<'_> { topic, partition_result }
    elect_leaders::PartitionResult<'_> { partition_id, error_code, error_message }
    describe_quorum::DescribeQuorumRequest<'_> { topics }
    describe_quorum::QuorumTopicRequest<'_> { topic_name, partitions }
    describe_quorum::QuorumPartitionRequest { partition_index }
    describe_quorum::DescribeQuorumResponse<'_> { error_code, error_message, topics, nodes }
    describe_quorum::QuorumTopic<'_> { topic_name, partitions }
    describe_quorum::QuorumPartition<'_> { partition_index, error_code, error_message, leader_id, leader_epoch, high_watermark, current_voters, observers }
    describe_quorum::ReplicaState { replica_id, replica_directory_id, log_end_offset, last_fetch_timestamp, last_caught_up_timestamp }
    describe_quorum::QuorumNode<'_> { node_id, listeners }
    describe_quorum::QuorumListener<'_> { name, host, port }
    list_config_resources::ListConfigResourcesRequest { resource_types }
    list_config_resources::ListConfigResourcesResponse<'_> { throttle_time_ms, error_code, config_resources }
    list_config_resources::ConfigResource<'_> { resource_name, resource_type }
    describe_client_quotas::DescribeClientQuotasRequest<'_> { components, strict }
    describe_client_quotas::ComponentData<'_> { entity_type, match_type, matches }
    describe_client_quotas::DescribeClientQuotasResponse<'_> { throttle_time_ms, error_code, error_message, entries }
    describe_client_quotas::EntryData<'_> { entity, values }
    describe_client_quotas::EntityData<'_> { entity_type, entity_name }
    describe_client_quotas::ValueData<'_> { key, value }
    alter_client_quotas::AlterClientQuotasRequest<'_> { entries, validate_only }
    alter_client_quotas::EntryData<'_> { entity, ops }
    alter_client_quotas::EntityData<'_> { entity_type, entity_name }
    alter_client_quotas::OpData<'_> { key, value, remove }
    alter_client_quotas::AlterClientQuotasResponse<'_> { throttle_time_ms, entries }
    alter_client_quotas::EntryResponse<'_> { error_code, error_message, entity }
    describe_user_scram_credentials::DescribeUserScramCredentialsRequest<'_> { users }
    describe_user_scram_credentials::UserName<'_> { name }
    describe_user_scram_credentials::DescribeUserScramCredentialsResponse<'_> { throttle_time_ms, error_code, error_message, results }
    describe_user_scram_credentials::DescribeUserScramCredentialsResult<'_> { user, error_code, error_message, credential_infos }
    describe_user_scram_credentials::CredentialInfo { mechanism, iterations }
}
