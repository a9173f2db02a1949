//! From what coordinators said to the response, in the version that was asked.

use super::group_calls::{AskedGroup, AskedTopic, Grouping, Kind};
use crate::groups::{Described, FetchedTopic, Joined, Listed, Reply, Synced};
use crate::ids::TopicId;
use crate::metadata::Image;
use crate::wire::delete_groups::{DeletableGroupResult, DeleteGroupsResponse};
use crate::wire::describe_groups::{DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};
use crate::wire::heartbeat::HeartbeatResponse;
use crate::wire::join_group::{JoinGroupResponse, JoinGroupResponseMember};
use crate::wire::leave_group::{LeaveGroupResponse, MemberResponse};
use crate::wire::list_groups::{ListGroupsResponse, ListedGroup};
use crate::wire::offset_commit::{OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use crate::wire::offset_delete::{OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use crate::wire::offset_fetch::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::wire::sync_group::SyncGroupResponse;
use crate::wire::{ErrorCode, List, Str};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// Operations that everyone may do with a group (KIP-430): read, delete, describe, describe and alter its configs.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
const OPERATIONS_OMITTED: i32 = i32::MIN;

/// Every coordinator has answered. `None`: it would be more than so many bytes, since a group that is named again is told of
/// again.
pub fn respond(grouping: &Grouping, image: &Image, bytes_max: usize) -> Option<Vec<Bytes>> {
    let (header, replies) = (&grouping.header, &grouping.replies);
    let first = || replies[0].as_ref().expect("all have answered");
    let response = match &grouping.kind {
        Kind::Join => header.respond(&joined(first())),
        Kind::Sync => header.respond(&synced(first())),
        Kind::Heartbeat => {
            header.respond(&HeartbeatResponse { error_code: error_of(first()), ..HeartbeatResponse::default() })
        }
        Kind::Leave { members } => header.respond(&left(header.version, members, first())),
        Kind::Commit { topics } => {
            let reply = replies.first().and_then(Option::as_ref);
            header.respond(&committed(topics, reply))
        }
        Kind::DeleteOffsets { topics } => header.respond(&offsets_deleted(topics, first())),
        Kind::Fetch { groups, of } => {
            let response = fetched(header.version, groups, of, replies, image);
            return header.respond_within(&response, bytes_max);
        }
        Kind::DeleteGroups { names } => {
            let results = names.iter().zip(replies).map(|(name, reply)| DeletableGroupResult {
                group_id: Cow::Borrowed(name),
                error_code: reply.as_ref().map_or(ErrorCode::NONE, error_of),
                error_message: None,
            });
            header.respond(&DeleteGroupsResponse { results: results.collect(), ..DeleteGroupsResponse::default() })
        }
        Kind::Describe { names, of, operations } => {
            let operations = if *operations { GROUP_OPERATIONS } else { OPERATIONS_OMITTED };
            let groups = List::lazy(names.len(), move || {
                let answered = names.iter().zip(of).map(|(name, place)| (name, answer_at(replies, *place)));
                answered.map(move |(name, reply)| described(header.version, name, operations, reply))
            });
            let response = DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() };
            return header.respond_within(&response, bytes_max);
        }
        Kind::List => header.respond(&listed(replies)),
    };
    Some(response)
}

fn answer_at(replies: &[Option<Reply>], place: usize) -> &Reply {
    replies[place].as_ref().expect("all have answered")
}

/// The error of a reply that is nothing else, or of one that could not be given.
fn error_of(reply: &Reply) -> ErrorCode {
    match reply {
        Reply::Error(error) | Reply::Refused(error) => *error,
        Reply::Joined(Joined { error, .. })
        | Reply::Synced(Synced { error, .. })
        | Reply::Left { error, .. }
        | Reply::Described(Described { error, .. }) => *error,
        Reply::Partitions(result) => result.as_ref().err().copied().unwrap_or_default(),
        Reply::Offsets(_) | Reply::Listed(_) => ErrorCode::NONE,
    }
}

fn joined(reply: &Reply) -> JoinGroupResponse<'_> {
    let Reply::Joined(joined) = reply else {
        return JoinGroupResponse { error_code: error_of(reply), ..JoinGroupResponse::default() };
    };
    let members = joined.members.iter().map(|(id, instance, metadata)| JoinGroupResponseMember {
        member_id: Cow::Borrowed(id),
        group_instance_id: text(instance),
        metadata: Cow::Borrowed(metadata),
    });
    JoinGroupResponse {
        error_code: joined.error,
        generation_id: joined.generation,
        protocol_type: text(&joined.protocol_type),
        protocol_name: text(&joined.protocol),
        leader: Cow::Borrowed(&joined.leader),
        skip_assignment: joined.skip_assignment,
        member_id: Cow::Borrowed(&joined.member),
        members: members.collect(),
        ..JoinGroupResponse::default()
    }
}

fn synced(reply: &Reply) -> SyncGroupResponse<'_> {
    let Reply::Synced(synced) = reply else {
        return SyncGroupResponse { error_code: error_of(reply), ..SyncGroupResponse::default() };
    };
    SyncGroupResponse {
        error_code: synced.error,
        protocol_type: text(&synced.protocol_type),
        protocol_name: text(&synced.protocol),
        assignment: Cow::Borrowed(&synced.assignment),
        ..SyncGroupResponse::default()
    }
}

fn left<'a>(version: i16, members: &'a [(String, Option<String>)], reply: &Reply) -> LeaveGroupResponse<'a> {
    let (error, errors) = match reply {
        Reply::Left { error, members } => (*error, members.as_slice()),
        other => (error_of(other), &[][..]),
    };
    if version < 3 {
        // One member, whose error is that of the whole.
        let error_code = if error.is_none() { errors.first().copied().unwrap_or_default() } else { error };
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let members = members.iter().zip(errors).map(|((id, instance), error)| MemberResponse {
        member_id: Cow::Borrowed(id),
        group_instance_id: text(instance),
        error_code: *error,
    });
    LeaveGroupResponse { error_code: error, members: members.collect(), ..LeaveGroupResponse::default() }
}

/// The outcome of each partition: known before, or said by the coordinator, in order.
fn outcomes<'a>(
    topics: &'a [AskedTopic],
    reply: Option<&'a Reply>,
) -> impl FnMut(&(i32, Option<ErrorCode>)) -> ErrorCode {
    let (all, each): (Option<ErrorCode>, Vec<ErrorCode>) = match reply {
        Some(Reply::Partitions(Ok(errors))) => (None, errors.clone()),
        Some(other) => (Some(error_of(other)), Vec::new()),
        None => (None, Vec::new()),
    };
    let asked = topics.iter().flat_map(|topic| &topic.partitions).filter(|(_, error)| error.is_none()).count();
    assert!(all.is_some() || each.len() == asked, "{} outcomes for {asked} partitions", each.len());
    let mut each = each.into_iter();
    move |(_, known)| known.or(all).unwrap_or_else(|| each.next().expect("counted"))
}

fn committed<'a>(topics: &'a [AskedTopic], reply: Option<&Reply>) -> OffsetCommitResponse<'a> {
    let mut outcome = outcomes(topics, reply);
    let topics = topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: Cow::Borrowed(&topic.name),
        topic_id: topic.id,
        partitions: topic
            .partitions
            .iter()
            .map(|part| OffsetCommitResponsePartition { partition_index: part.0, error_code: outcome(part) })
            .collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
}

fn offsets_deleted<'a>(topics: &'a [AskedTopic], reply: &Reply) -> OffsetDeleteResponse<'a> {
    let error_code = error_of(reply);
    if !error_code.is_none() {
        return OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() };
    }
    let mut outcome = outcomes(topics, Some(reply));
    let topics = topics.iter().map(|topic| OffsetDeleteResponseTopic {
        name: Cow::Borrowed(&topic.name),
        partitions: topic
            .partitions
            .iter()
            .map(|part| OffsetDeleteResponsePartition { partition_index: part.0, error_code: outcome(part) })
            .collect(),
    });
    OffsetDeleteResponse { topics: topics.collect(), ..OffsetDeleteResponse::default() }
}

fn fetched<'a>(
    version: i16,
    groups: &'a [AskedGroup],
    of: &'a [usize],
    replies: &'a [Option<Reply>],
    image: &'a Image,
) -> OffsetFetchResponse<'a> {
    let all = move || {
        let answered = groups.iter().zip(of).map(|(group, place)| (group, answer_at(replies, *place)));
        answered.map(move |(group, reply)| fetched_group(version, group, reply, image))
    };
    if version >= 8 {
        let groups = List::lazy(groups.len(), all);
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let Some(group) = all().next() else { return OffsetFetchResponse::default() };
    let mut topics: Vec<OffsetFetchResponseTopic<'a>> = group.topics.into_iter().map(old_topic).collect();
    if version < 2 && !group.error_code.is_none() {
        // The error stands at each partition: version 1 has no other place.
        let asked = groups[0].topics.iter().flatten().map(|topic| OffsetFetchResponseTopic {
            name: Cow::Borrowed(&topic.name),
            partitions: topic
                .partitions
                .iter()
                .map(|(index, _)| old_partition(missing(*index, group.error_code)))
                .collect(),
        });
        topics = asked.collect();
    }
    OffsetFetchResponse { topics, error_code: group.error_code, ..OffsetFetchResponse::default() }
}

fn fetched_group<'a>(
    version: i16,
    group: &'a AskedGroup,
    reply: &'a Reply,
    image: &Image,
) -> OffsetFetchResponseGroup<'a> {
    let answer =
        OffsetFetchResponseGroup { group_id: Cow::Borrowed(&group.name), ..OffsetFetchResponseGroup::default() };
    let Reply::Offsets(found) = reply else {
        return OffsetFetchResponseGroup { error_code: error_of(reply), ..answer };
    };
    let topics = match &group.topics {
        None => {
            let all = found.iter().map(|topic| (image.topic_named(&topic.name).map(|topic| topic.id), topic));
            // A topic that is gone has no id.
            let nameable = all.filter(|(id, _)| id.is_some() || version < 10);
            nameable.map(|(id, topic)| fetched_topic(id.unwrap_or(TopicId::ZERO), topic)).collect()
        }
        Some(asked) => {
            let mut found = found.iter();
            let topics = asked.iter().map(|topic| {
                if !topic.is_refused() {
                    return fetched_topic(topic.id, found.next().expect("as many as were asked"));
                }
                let refused = topic.partitions.iter();
                OffsetFetchResponseTopics {
                    name: Cow::Borrowed(&topic.name),
                    topic_id: topic.id,
                    partitions: refused.map(|(index, error)| missing(*index, error.unwrap_or_default())).collect(),
                }
            });
            topics.collect()
        }
    };
    OffsetFetchResponseGroup { topics, ..answer }
}

fn fetched_topic(id: TopicId, topic: &FetchedTopic) -> OffsetFetchResponseTopics<'_> {
    let partitions = topic.partitions.iter().map(|(index, found)| match found {
        None => missing(*index, ErrorCode::NONE),
        Some((offset, leader_epoch, metadata)) => OffsetFetchResponsePartitions {
            partition_index: *index,
            committed_offset: *offset,
            committed_leader_epoch: *leader_epoch,
            metadata: Some(Cow::Borrowed(metadata)),
            error_code: ErrorCode::NONE,
        },
    });
    OffsetFetchResponseTopics { name: Cow::Borrowed(&topic.name), topic_id: id, partitions: partitions.collect() }
}

fn missing(partition_index: i32, error_code: ErrorCode) -> OffsetFetchResponsePartitions<'static> {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Cow::Borrowed("")),
        error_code,
    }
}

fn old_topic(topic: OffsetFetchResponseTopics<'_>) -> OffsetFetchResponseTopic<'_> {
    OffsetFetchResponseTopic { name: topic.name, partitions: topic.partitions.into_iter().map(old_partition).collect() }
}

fn old_partition(partition: OffsetFetchResponsePartitions<'_>) -> OffsetFetchResponsePartition<'_> {
    OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    }
}

fn described<'a>(version: i16, name: &'a str, operations: i32, reply: &'a Reply) -> DescribedGroup<'a> {
    let Reply::Described(group) = reply else {
        return DescribedGroup {
            error_code: error_of(reply),
            group_id: Cow::Borrowed(name),
            authorized_operations: OPERATIONS_OMITTED,
            ..DescribedGroup::default()
        };
    };
    // Before version 6 a group that nobody knows is a dead one, and no error.
    let unknown = group.error == ErrorCode::GROUP_ID_NOT_FOUND && version < 6;
    let members = group.members.iter().map(|member| DescribedGroupMember {
        member_id: Cow::Borrowed(&member.id),
        group_instance_id: text(&member.instance),
        client_id: Cow::Borrowed(&member.client_id),
        client_host: Cow::Borrowed(&member.client_host),
        member_metadata: Cow::Borrowed(&member.metadata),
        member_assignment: Cow::Borrowed(&member.assignment),
    });
    DescribedGroup {
        error_code: if unknown { ErrorCode::NONE } else { group.error },
        error_message: text(&group.message),
        group_id: Cow::Borrowed(name),
        group_state: Cow::Borrowed(group.state),
        protocol_type: Cow::Borrowed(&group.protocol_type),
        protocol_data: Cow::Borrowed(&group.protocol),
        members: members.collect(),
        authorized_operations: operations,
    }
}

fn listed(replies: &[Option<Reply>]) -> ListGroupsResponse<'_> {
    let mut response = ListGroupsResponse::default();
    for reply in replies.iter().flatten() {
        let Reply::Listed(groups) = reply else {
            response.error_code = error_of(reply);
            continue;
        };
        response.groups.extend(groups.iter().map(|Listed { group, protocol_type, state }| ListedGroup {
            group_id: Cow::Borrowed(group),
            protocol_type: Cow::Borrowed(protocol_type),
            group_state: Cow::Borrowed(state),
            group_type: Cow::Borrowed(crate::groups::CLASSIC),
        }));
    }
    response
}

fn text(text: &Option<String>) -> Option<Str<'_>> {
    text.as_deref().map(Cow::Borrowed)
}
