//! Every answer in every version that the table names: written, read back to the last byte, and what must be left.

use crate::world::{CLUSTER, World, request, wish};
use highwater::api::{
    Api, api_versions, delete_topics, describe_cluster, describe_configs, describe_topic_partitions, metadata,
};
use highwater::ids::TopicId;
use highwater::wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use highwater::wire::create_topics::CreateTopicsResponse;
use highwater::wire::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use highwater::wire::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use highwater::wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use highwater::wire::describe_topic_partitions::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use highwater::wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use highwater::wire::{Message, Reader, Writer};

/// Encodes, decodes, and checks what came back.
macro_rules! through {
    ($response:ident, $value:expr, $version:expr, |$back:ident| $check:block) => {{
        let mut writer = Writer::new();
        $value.encode(&mut writer, $version);
        let bytes = writer.finish().concat();
        let mut reader = Reader::new(&bytes);
        let $back = $response::decode(&mut reader, $version).unwrap();
        assert_eq!(reader.remaining(), 0, "version {}", $version);
        $check
    }};
}

fn versions(api: Api) -> std::ops::RangeInclusive<i16> {
    api.served().served_from..=api.served().max
}

#[test]
fn api_versions_in_every_version() {
    let world = World::new();
    for version in versions(Api::ApiVersions) {
        let request = ApiVersionsRequest {
            client_software_name: "x".into(),
            client_software_version: "1".into(),
            ..ApiVersionsRequest::default()
        };
        let response = api_versions::answer(&request, version, &world.view());
        through!(ApiVersionsResponse, response, version, |back| { assert_eq!(back, response) });
    }
}

#[test]
fn metadata_in_every_version() {
    let mut world = World::new();
    let id = world.topic("t", 2, &[]);
    let names = ["t", "unknown", "a b"];
    let topic = |name: &&'static str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(names.iter().map(topic).collect()), ..MetadataRequest::default() };
    for version in versions(Api::Metadata) {
        let response = metadata::answer(&request, version, &world.view());
        through!(MetadataResponse, response, version, |back| {
            let codes: Vec<_> = back.topics.iter().map(|topic| topic.error_code.0).collect();
            assert_eq!((codes, back.brokers[0].port), (vec![0, 3, 17], 9092));
            assert_eq!(back.topics[0].topic_id, if version >= 10 { id } else { TopicId::ZERO });
            assert_eq!(back.controller_id, if version >= 1 { 1 } else { -1 });
            assert_eq!(back.cluster_id.as_deref(), (version >= 2).then_some(CLUSTER));
            assert_eq!(back.topics[0].partitions[1].leader_epoch, if version >= 7 { 0 } else { -1 });
        });
    }
}

#[test]
fn create_topics_in_every_version() {
    for version in versions(Api::CreateTopics) {
        let decision = World::new().decide(&request([wish("t", 2, 1, &[]), wish("a b", 1, 1, &[])]));
        through!(CreateTopicsResponse, decision.response, version, |back| {
            let codes: Vec<_> = back.topics.iter().map(|topic| topic.error_code.0).collect();
            let configs = back.topics[0].configs.as_ref().map_or(0, |configs| configs.len());
            let (partitions, keys) = if version >= 5 { (2, 37) } else { (-1, 0) };
            assert_eq!((codes, back.topics[0].num_partitions, configs), (vec![0, 17], partitions, keys));
            assert_eq!(back.topics[0].topic_id == TopicId::ZERO, version < 7);
        });
    }
}

#[test]
fn delete_topics_in_every_version() {
    let mut world = World::new();
    world.topic("t", 2, &[]);
    let request = DeleteTopicsRequest { topic_names: vec!["t".into(), "unk".into()], ..Default::default() };
    for version in versions(Api::DeleteTopics) {
        let decision = delete_topics::decide(&request, version, &world.view());
        through!(DeleteTopicsResponse, decision.response, version, |back| {
            let told: Vec<_> =
                back.responses.iter().map(|result| (result.name.as_deref().unwrap(), result.error_code.0)).collect();
            assert_eq!(told, [("t", 0), ("unk", 3)]);
            assert_eq!(back.responses[1].error_message.is_some(), version >= 5);
        });
    }
}

#[test]
fn describe_configs_in_every_version() {
    let mut world = World::new();
    world.topic("t", 2, &[("retention.ms", "5")]);
    let resource = |resource_type, name: &'static str| DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource(2, "t"), resource(4, "1"), resource(2, "unk")],
        include_synonyms: true,
        include_documentation: true,
    };
    for version in versions(Api::DescribeConfigs) {
        let response = describe_configs::answer(&request, &world.view(), 1 << 20);
        through!(DescribeConfigsResponse, response, version, |back| {
            let entry = back.results[0].configs.iter().find(|entry| entry.name == "retention.ms").unwrap();
            assert_eq!((entry.value.as_deref(), entry.config_source, entry.synonyms.len()), (Some("5"), 1, 1));
            assert_eq!(entry.documentation.as_ref().is_some_and(|docs| !docs.is_empty()), version >= 3);
            assert_eq!((back.results[1].configs.len() > 37, back.results[2].error_code.0), (true, 3));
        });
    }
}

#[test]
fn describe_cluster_in_every_version() {
    let world = World::new();
    for version in versions(Api::DescribeCluster) {
        let response = describe_cluster::answer(&DescribeClusterRequest::default(), &world.view());
        through!(DescribeClusterResponse, response, version, |back| { assert_eq!(back, response) });
    }
}

#[test]
fn describe_topic_partitions_in_every_version() {
    let mut world = World::new();
    world.topic("t", 2, &[]);
    let request = DescribeTopicPartitionsRequest { response_partition_limit: 1, ..Default::default() };
    for version in versions(Api::DescribeTopicPartitions) {
        let response = describe_topic_partitions::answer(&request, &world.view());
        through!(DescribeTopicPartitionsResponse, response, version, |back| {
            assert_eq!(back, response);
            assert_eq!(back.next_cursor.unwrap().partition_index, 1);
        });
    }
}
