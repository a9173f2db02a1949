//! The wire codec against the crate kafka-protocol, byte by byte and field by field, in every version both know.
//!
//! A message of ours is decoded by the oracle, which must see the same values under the same names, and encoded again,
//! which must give the same bytes. (The oracle is not used to serve: hostile counts make it allocate without bound.)

use bytes::{Bytes, BytesMut};
use highwater::wire::{ApiKey, ErrorCode, Message, Reader, Writer};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use messages::{Any, Entropy};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;

#[path = "golden/messages.rs"]
mod messages;

/// The plain numbers and booleans in a Debug text, by the name of their field, in order.
fn scalars(debug: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut all = BTreeMap::<&str, Vec<&str>>::new();
    for (at, _) in debug.match_indices(": ") {
        let name_start = debug[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |end| end + 1);
        let mut value = &debug[at + 2..];
        // The oracle wraps ids: `BrokerId(1)`.
        if let Some((wrapper, inner)) = value.split_once('(')
            && wrapper.chars().all(char::is_alphanumeric)
            && wrapper != "Some"
        {
            value = inner;
        }
        let end = value.find([',', ')', ' ', '}', ']']).unwrap_or(value.len());
        let value = &value[..end];
        if value.parse::<i64>().is_ok() || value == "true" || value == "false" {
            all.entry(&debug[name_start..at]).or_default().push(value);
        }
    }
    all
}

fn encode<'a, M: Message<'a>>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    Bytes::from(writer.finish().concat())
}

fn compare<'a, M, T>(ours: &dyn Debug, bytes: &'a Bytes, version: i16) -> Result<(), TestCaseError>
where
    M: Message<'a> + Debug,
    T: TheirMessage + Decodable + Encodable + Debug,
{
    let place = format!("{} {:?} version {version}", M::API, M::KIND);
    let mut reader = Reader::new(bytes);
    let decoded = M::decode(&mut reader, version);
    prop_assert!(decoded.is_ok() && reader.remaining() == 0, "{place}: {decoded:?} of {ours:?}");
    let decoded = decoded.unwrap();
    prop_assert_eq!(&encode(&decoded, version), bytes, "{}", place);

    let mut input = bytes.clone();
    let theirs = T::decode(&mut input, version).map_err(|error| TestCaseError::fail(format!("{place}: {error}")))?;
    prop_assert!(input.is_empty(), "{place}: the oracle leaves {} bytes", input.len());
    let (our_debug, their_debug) = (format!("{decoded:?}"), format!("{theirs:?}"));
    let (our_scalars, their_scalars) = (scalars(&our_debug), scalars(&their_debug));
    for (name, values) in &our_scalars {
        if let Some(theirs) = their_scalars.get(name) {
            prop_assert_eq!(values, theirs, "{}: {}", place, name);
        }
    }
    let mut output = BytesMut::new();
    theirs.encode(&mut output, version).map_err(|error| TestCaseError::fail(format!("{place}: {error}")))?;
    prop_assert_eq!(&output.freeze(), bytes, "{}: {}", place, our_debug);
    Ok(())
}

macro_rules! oracle {
    ($($test:ident: $module:ident::$name:ident;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(48))]
            $(#[test]
            fn $test(entropy in prop::collection::vec(any::<u8>(), 0..600)) {
                let message = highwater::wire::$module::$name::any(&mut Entropy(&entropy));
                let range = <theirs::$name as TheirMessage>::VERSIONS;
                let (min, max) = versions(&message);
                for version in min.max(range.min)..=max.min(range.max) {
                    let bytes = encode(&message, version);
                    compare::<highwater::wire::$module::$name, theirs::$name>(&message, &bytes, version)?;
                }
            })*
        }
    };
}

fn versions<'a, M: Message<'a>>(_: &M) -> (i16, i16) {
    (M::MIN_VERSION, M::MAX_VERSION)
}

oracle! {
    produce_request: produce::ProduceRequest;
    produce_response: produce::ProduceResponse;
    fetch_request: fetch::FetchRequest;
    fetch_response: fetch::FetchResponse;
    list_offsets_request: list_offsets::ListOffsetsRequest;
    list_offsets_response: list_offsets::ListOffsetsResponse;
    metadata_request: metadata::MetadataRequest;
    metadata_response: metadata::MetadataResponse;
    api_versions_request: api_versions::ApiVersionsRequest;
    api_versions_response: api_versions::ApiVersionsResponse;
    create_topics_request: create_topics::CreateTopicsRequest;
    create_topics_response: create_topics::CreateTopicsResponse;
    delete_topics_request: delete_topics::DeleteTopicsRequest;
    delete_topics_response: delete_topics::DeleteTopicsResponse;
    delete_records_request: delete_records::DeleteRecordsRequest;
    delete_records_response: delete_records::DeleteRecordsResponse;
    init_producer_id_request: init_producer_id::InitProducerIdRequest;
    init_producer_id_response: init_producer_id::InitProducerIdResponse;
    offset_for_leader_epoch_request: offset_for_leader_epoch::OffsetForLeaderEpochRequest;
    offset_for_leader_epoch_response: offset_for_leader_epoch::OffsetForLeaderEpochResponse;
    describe_configs_request: describe_configs::DescribeConfigsRequest;
    describe_configs_response: describe_configs::DescribeConfigsResponse;
    describe_cluster_request: describe_cluster::DescribeClusterRequest;
    describe_cluster_response: describe_cluster::DescribeClusterResponse;
    describe_topic_partitions_request: describe_topic_partitions::DescribeTopicPartitionsRequest;
    describe_topic_partitions_response: describe_topic_partitions::DescribeTopicPartitionsResponse;
    find_coordinator_request: find_coordinator::FindCoordinatorRequest;
    find_coordinator_response: find_coordinator::FindCoordinatorResponse;
    join_group_request: join_group::JoinGroupRequest;
    join_group_response: join_group::JoinGroupResponse;
    sync_group_request: sync_group::SyncGroupRequest;
    sync_group_response: sync_group::SyncGroupResponse;
    heartbeat_request: heartbeat::HeartbeatRequest;
    heartbeat_response: heartbeat::HeartbeatResponse;
    leave_group_request: leave_group::LeaveGroupRequest;
    leave_group_response: leave_group::LeaveGroupResponse;
    offset_commit_request: offset_commit::OffsetCommitRequest;
    offset_commit_response: offset_commit::OffsetCommitResponse;
    offset_fetch_request: offset_fetch::OffsetFetchRequest;
    offset_fetch_response: offset_fetch::OffsetFetchResponse;
    offset_delete_request: offset_delete::OffsetDeleteRequest;
    offset_delete_response: offset_delete::OffsetDeleteResponse;
    delete_groups_request: delete_groups::DeleteGroupsRequest;
    delete_groups_response: delete_groups::DeleteGroupsResponse;
    describe_groups_request: describe_groups::DescribeGroupsRequest;
    describe_groups_response: describe_groups::DescribeGroupsResponse;
    list_groups_request: list_groups::ListGroupsRequest;
    list_groups_response: list_groups::ListGroupsResponse;
    alter_configs_request: alter_configs::AlterConfigsRequest;
    alter_configs_response: alter_configs::AlterConfigsResponse;
    incremental_alter_configs_request: incremental_alter_configs::IncrementalAlterConfigsRequest;
    incremental_alter_configs_response: incremental_alter_configs::IncrementalAlterConfigsResponse;
    create_partitions_request: create_partitions::CreatePartitionsRequest;
    create_partitions_response: create_partitions::CreatePartitionsResponse;
    describe_log_dirs_request: describe_log_dirs::DescribeLogDirsRequest;
    describe_log_dirs_response: describe_log_dirs::DescribeLogDirsResponse;
    describe_producers_request: describe_producers::DescribeProducersRequest;
    describe_producers_response: describe_producers::DescribeProducersResponse;
    list_partition_reassignments_request: list_partition_reassignments::ListPartitionReassignmentsRequest;
    list_partition_reassignments_response: list_partition_reassignments::ListPartitionReassignmentsResponse;
    elect_leaders_request: elect_leaders::ElectLeadersRequest;
    elect_leaders_response: elect_leaders::ElectLeadersResponse;
    describe_quorum_request: describe_quorum::DescribeQuorumRequest;
    describe_quorum_response: describe_quorum::DescribeQuorumResponse;
    list_config_resources_request: list_config_resources::ListConfigResourcesRequest;
    list_config_resources_response: list_config_resources::ListConfigResourcesResponse;
    describe_client_quotas_request: describe_client_quotas::DescribeClientQuotasRequest;
    describe_client_quotas_response: describe_client_quotas::DescribeClientQuotasResponse;
    alter_client_quotas_request: alter_client_quotas::AlterClientQuotasRequest;
    alter_client_quotas_response: alter_client_quotas::AlterClientQuotasResponse;
    describe_user_scram_credentials_request: describe_user_scram_credentials::DescribeUserScramCredentialsRequest;
    describe_user_scram_credentials_response: describe_user_scram_credentials::DescribeUserScramCredentialsResponse;
}

#[test]
fn keys_and_codes_have_the_oracles_names() {
    for key in ApiKey::ALL {
        if let Ok(theirs) = theirs::ApiKey::try_from(key.0) {
            assert_eq!(key.name(), Some(format!("{theirs:?}").as_str()));
            let valid = theirs.valid_versions();
            for version in valid.min..=valid.max {
                assert_eq!(key.is_flexible(version), theirs.request_header_version(version) == 2, "{key} {version}");
            }
        }
    }
    for code in ErrorCode::ALL {
        if let Some(theirs) = kafka_protocol::ResponseError::try_from_code(code.0) {
            let name = code.name().unwrap().replace('_', "").to_lowercase();
            let theirs = format!("{theirs:?}").to_lowercase();
            assert!(name == theirs || theirs.starts_with("unknown("), "{code}: {theirs}");
        }
    }
}
