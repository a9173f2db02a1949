//! A whole request frame, of any API and version: decoded or refused, never a panic, never memory beyond its size.
#![no_main]

use highwater::api::{Api, Route, route};
use highwater::wire::frame::decode_header;
use highwater::wire::{Message, Reader};
use libfuzzer_sys::fuzz_target;

fn decode<'a, M: Message<'a>>(reader: &mut Reader<'a>, version: i16) {
    let _ = M::decode(reader, version);
}

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    let Ok(header) = decode_header(&mut reader) else { return };
    let Route::Serve(api) = route(header.api_key, header.api_version) else { return };
    let (reader, version) = (&mut reader, header.api_version);
    match api {
        Api::Produce => decode::<highwater::wire::produce::ProduceRequest>(reader, version),
        Api::Fetch => decode::<highwater::wire::fetch::FetchRequest>(reader, version),
        Api::ListOffsets => decode::<highwater::wire::list_offsets::ListOffsetsRequest>(reader, version),
        Api::Metadata => decode::<highwater::wire::metadata::MetadataRequest>(reader, version),
        Api::ApiVersions => decode::<highwater::wire::api_versions::ApiVersionsRequest>(reader, version),
        Api::CreateTopics => decode::<highwater::wire::create_topics::CreateTopicsRequest>(reader, version),
        Api::DeleteTopics => decode::<highwater::wire::delete_topics::DeleteTopicsRequest>(reader, version),
        Api::InitProducerId => decode::<highwater::wire::init_producer_id::InitProducerIdRequest>(reader, version),
        Api::OffsetForLeaderEpoch => {
            decode::<highwater::wire::offset_for_leader_epoch::OffsetForLeaderEpochRequest>(reader, version);
        }
        Api::IncrementalAlterConfigs => {
            decode::<highwater::wire::incremental_alter_configs::IncrementalAlterConfigsRequest>(reader, version)
        }
        Api::DescribeLogDirs => decode::<highwater::wire::describe_log_dirs::DescribeLogDirsRequest>(reader, version),
        Api::DescribeProducers => decode::<highwater::wire::describe_producers::DescribeProducersRequest>(reader, version),
        Api::DescribeQuorum => decode::<highwater::wire::describe_quorum::DescribeQuorumRequest>(reader, version),
        Api::ElectLeaders => decode::<highwater::wire::elect_leaders::ElectLeadersRequest>(reader, version),
        Api::ListConfigResources => {
            decode::<highwater::wire::list_config_resources::ListConfigResourcesRequest>(reader, version)
        }
        Api::ListPartitionReassignments => {
            decode::<highwater::wire::list_partition_reassignments::ListPartitionReassignmentsRequest>(reader, version)
        }
        Api::AlterConfigs => decode::<highwater::wire::alter_configs::AlterConfigsRequest>(reader, version),
        Api::CreatePartitions => decode::<highwater::wire::create_partitions::CreatePartitionsRequest>(reader, version),
        Api::DescribeConfigs => decode::<highwater::wire::describe_configs::DescribeConfigsRequest>(reader, version),
        Api::DescribeCluster => decode::<highwater::wire::describe_cluster::DescribeClusterRequest>(reader, version),
        Api::DescribeTopicPartitions => {
            decode::<highwater::wire::describe_topic_partitions::DescribeTopicPartitionsRequest>(reader, version);
        }
    }
});
