//! What is said of a request about groups that names nothing, nobody, or the same thing twice.

use crate::node::{MILLIS, Node};
use bytes::Bytes;
use highwater::boundary::ConnId;
use highwater::wire::Message;
use highwater::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use highwater::wire::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use highwater::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use highwater::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use highwater::wire::offset_delete::{OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse};
use highwater::wire::{ErrorCode, Reader};

/// A node whose coordinators have read their groups, with a topic "t" of one partition.
fn coordinators() -> (Node, ConnId) {
    let mut node = Node::start(2, &[]);
    let conn = node.connect(0, "10.0.0.1");
    node.create_topic(conn, "t", 1);
    for _ in 0..100 {
        let request = FindCoordinatorRequest { key: "g".into(), ..FindCoordinatorRequest::default() };
        let body = node.call(conn, "c", 3, &request);
        let found = FindCoordinatorResponse::decode(&mut Reader::new(&body), 3).expect("an answer");
        if found.error_code.is_none() {
            return (node, conn);
        }
        node.run_for(100 * MILLIS);
    }
    panic!("no coordinator");
}

fn commit(node: &mut Node, conn: ConnId, topic: &str, partitions: &[i32]) -> Bytes {
    let partition = |index: &i32| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: 5,
        ..OffsetCommitRequestPartition::default()
    };
    let partitions = partitions.iter().map(partition).collect();
    let topic = OffsetCommitRequestTopic { name: topic.into(), partitions, ..OffsetCommitRequestTopic::default() };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    node.call(conn, "c", 9, &request)
}

fn delete_offsets(node: &mut Node, conn: ConnId, group: &str, topic: &str) -> Bytes {
    let topic = OffsetDeleteRequestTopic { name: topic.into(), ..OffsetDeleteRequestTopic::default() };
    node.call(conn, "c", 0, &OffsetDeleteRequest { group_id: group.into(), topics: vec![topic] })
}

#[test]
fn a_topic_that_exists_and_of_which_no_partition_is_named_is_left_out() {
    let (mut node, conn) = coordinators();
    commit(&mut node, conn, "t", &[0]);
    for (topic, told) in [("t", 0), ("unknown", 1)] {
        let body = commit(&mut node, conn, topic, &[]);
        let committed = OffsetCommitResponse::decode(&mut Reader::new(&body), 9).expect("an answer");
        assert_eq!(committed.topics.len(), told, "{committed:?}");
        let body = delete_offsets(&mut node, conn, "g", topic);
        let deleted = OffsetDeleteResponse::decode(&mut Reader::new(&body), 0).expect("an answer");
        assert_eq!((deleted.error_code, deleted.topics.len()), (ErrorCode::NONE, told), "{deleted:?}");
    }
}

#[test]
fn offsets_of_a_group_without_a_name_are_not_deleted() {
    let (mut node, conn) = coordinators();
    let body = delete_offsets(&mut node, conn, "", "t");
    let deleted = OffsetDeleteResponse::decode(&mut Reader::new(&body), 0).expect("an answer");
    assert_eq!(deleted.error_code, ErrorCode::INVALID_GROUP_ID);
}

#[test]
fn a_group_that_is_to_be_deleted_twice_is_answered_once() {
    let (mut node, conn) = coordinators();
    commit(&mut node, conn, "t", &[0]);
    let groups_names = ["g", "nobody", "g", "nobody"].map(Into::into).to_vec();
    let body = node.call(conn, "c", 2, &DeleteGroupsRequest { groups_names });
    let deleted = DeleteGroupsResponse::decode(&mut Reader::new(&body), 2).expect("an answer");
    let told: Vec<_> = deleted.results.iter().map(|one| (&*one.group_id, one.error_code)).collect();
    assert_eq!(told, [("g", ErrorCode::NONE), ("nobody", ErrorCode::GROUP_ID_NOT_FOUND)]);
}

#[test]
fn who_leaves_a_group_that_does_not_exist_is_unknown_himself_and_the_request_is_well() {
    let (mut node, conn) = coordinators();
    let old = LeaveGroupRequest { group_id: "nobody".into(), member_id: "m".into(), ..LeaveGroupRequest::default() };
    let body = node.call(conn, "c", 2, &old);
    let left = LeaveGroupResponse::decode(&mut Reader::new(&body), 2).expect("an answer");
    assert_eq!(left.error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    let members = vec![MemberIdentity { member_id: "m".into(), ..MemberIdentity::default() }];
    for (members, told) in [(members, vec![("m", ErrorCode::UNKNOWN_MEMBER_ID)]), (vec![], vec![])] {
        let request = LeaveGroupRequest { group_id: "nobody".into(), members, ..LeaveGroupRequest::default() };
        let body = node.call(conn, "c", 5, &request);
        let left = LeaveGroupResponse::decode(&mut Reader::new(&body), 5).expect("an answer");
        assert_eq!(left.error_code, ErrorCode::NONE);
        assert_eq!(left.members.iter().map(|one| (&*one.member_id, one.error_code)).collect::<Vec<_>>(), told);
    }
}
