//! Topics before and after a run: made, found, listed and deleted over the client that the commands use.

use crate::client::cluster::{Cluster, LATEST, Missing};
use crate::client::{check, failed};
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use std::collections::BTreeMap;
use std::io;

const CREATE_TOPICS: i16 = 5;
const DELETE_TOPICS: i16 = 5;

/// Who leads a topic's partitions: address of a broker -> partitions, in order.
pub type Leaders = BTreeMap<String, Vec<i32>>;

pub fn create_topic(
    cluster: &mut Cluster,
    topic: &str,
    partitions: i32,
    configs: &[(String, String)],
) -> io::Result<()> {
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.clone().into(),
        value: Some(value.clone().into()),
    };
    let wanted = CreatableTopic {
        name: topic.into(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![wanted], ..CreateTopicsRequest::default() };
    let answer = cluster.any().ask(CREATE_TOPICS, &request)?;
    let made: CreateTopicsResponse<'_> = answer.read()?;
    made.topics
        .iter()
        .try_for_each(|topic| check(topic.error_code, topic.error_message.as_deref(), &format!("topic {}", topic.name)))
}

pub fn delete_topic(cluster: &mut Cluster, topic: &str) -> io::Result<()> {
    let request =
        DeleteTopicsRequest { topic_names: vec![topic.into()], timeout_ms: 30_000, ..DeleteTopicsRequest::default() };
    let answer = cluster.any().ask(DELETE_TOPICS, &request)?;
    let gone: DeleteTopicsResponse<'_> = answer.read()?;
    gone.responses.iter().try_for_each(|one| {
        check(one.error_code, one.error_message.as_deref(), &format!("topic {topic} is not deleted"))
    })
}

/// Waits until every partition of the topic has a leader, and serves: Kafka announces leaders some moments before they do.
pub fn leaders(cluster: &mut Cluster, topic: &str) -> io::Result<Leaders> {
    let found = cluster.topic(topic, Missing::Awaited)?;
    let all: Vec<i32> = found.partitions.iter().map(|partition| partition.index).collect();
    cluster.offsets(&found, &all, LATEST)?;
    let mut leaders = Leaders::new();
    for partition in &found.partitions {
        let address = cluster.address(partition.leader).ok_or_else(|| failed(format!("{topic} has no leader")))?;
        leaders.entry(address.to_owned()).or_default().push(partition.index);
    }
    Ok(leaders)
}

/// The offsets of some partitions at `time`: -2 the earliest, -1 the latest.
pub fn offsets(cluster: &mut Cluster, topic: &str, partitions: &[i32], time: i64) -> io::Result<BTreeMap<i32, i64>> {
    let found = cluster.topic(topic, Missing::Refused)?;
    cluster.offsets(&found, partitions, time)
}
