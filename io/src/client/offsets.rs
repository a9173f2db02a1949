//! What a group has committed, and its commits.

use super::check;
use super::cluster::Cluster;
use highwater::wire::ErrorCode;
use highwater::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use highwater::wire::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
use std::collections::BTreeMap;
use std::io;

/// The newest versions of one group each, with topics by name.
const OFFSET_FETCH: i16 = 7;
const OFFSET_COMMIT: i16 = 8;

/// For whom offsets are committed.
pub struct Committer<'a> {
    pub group: &'a str,
    /// -1, and no member: a group that nobody manages.
    pub generation: i32,
    pub member: &'a str,
}

impl Committer<'_> {
    pub fn nobody(group: &str) -> Committer<'_> {
        Committer { group, generation: -1, member: "" }
    }
}

/// What a group has committed: topic, partition, offset and metadata.
pub fn committed(cluster: &mut Cluster, group: &str) -> io::Result<Vec<(String, i32, i64, String)>> {
    let request = OffsetFetchRequest { group_id: group.into(), topics: None, ..OffsetFetchRequest::default() };
    let answer = cluster.coordinator(group)?.ask(OFFSET_FETCH, &request)?;
    let found: OffsetFetchResponse<'_> = answer.read()?;
    check(found.error_code, None, &format!("group {group}"))?;
    let mut offsets = Vec::new();
    for topic in &found.topics {
        for partition in topic.partitions.iter().filter(|partition| partition.committed_offset >= 0) {
            let name = format!("group {group}, {}-{}", topic.name, partition.partition_index);
            check(partition.error_code, None, &name)?;
            let metadata = partition.metadata.as_deref().unwrap_or_default().to_owned();
            offsets.push((topic.name.to_string(), partition.partition_index, partition.committed_offset, metadata));
        }
    }
    offsets.sort();
    Ok(offsets)
}

/// Commits offsets of one topic. The answer is the first error of a partition, if there is one.
pub fn commit(
    cluster: &mut Cluster,
    committer: &Committer<'_>,
    topic: &str,
    offsets: &BTreeMap<i32, i64>,
) -> io::Result<ErrorCode> {
    let partition = |(index, offset): (&i32, &i64)| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: *offset,
        committed_metadata: Some("".into()),
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: offsets.iter().map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: committer.group.into(),
        generation_id_or_member_epoch: committer.generation,
        member_id: committer.member.into(),
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    let answer = cluster.coordinator(committer.group)?.ask(OFFSET_COMMIT, &request)?;
    let done: OffsetCommitResponse<'_> = answer.read()?;
    let mut codes = done.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    Ok(codes.find(|code| *code != ErrorCode::NONE).unwrap_or(ErrorCode::NONE))
}
