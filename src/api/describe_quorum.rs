//! DescribeQuorum: the metadata log as a quorum of one voter.
//!
//! As in Kafka only a request for exactly that one partition is answered; any other gets an error at each partition it
//! names. The voter is always caught up with itself. The node's listener is the one that clients use: there is no other.

use super::View;
use crate::boundary::Timestamp;
use crate::ids::{Epoch, Offset, TopicId};
use crate::metadata::name::CLUSTER_METADATA;
use crate::wire::ErrorCode;
use crate::wire::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, QuorumListener, QuorumNode, QuorumPartition, QuorumPartitionRequest,
    QuorumTopic, QuorumTopicRequest, ReplicaState,
};
use alloc::borrow::{Cow, ToOwned};
use alloc::vec::Vec;

/// The metadata log as its leader knows it.
#[derive(Clone, Copy, Debug)]
pub struct Quorum {
    pub epoch: Epoch,
    pub high_watermark: Offset,
    pub end: Offset,
    pub now: Timestamp,
}

pub fn answer(
    request: &DescribeQuorumRequest<'_>,
    quorum: &Quorum,
    view: &View<'_>,
) -> DescribeQuorumResponse<'static> {
    let asked = match &request.topics[..] {
        [topic] => {
            topic.topic_name == CLUSTER_METADATA && matches!(&topic.partitions[..], [one] if one.partition_index == 0)
        }
        _ => false,
    };
    let topic = |topic: &QuorumTopicRequest<'_>| QuorumTopic {
        topic_name: Cow::Owned(topic.topic_name.clone().into_owned()),
        partitions: topic.partitions.iter().map(unknown).collect(),
    };
    let (topics, nodes) = if asked {
        let partitions = Vec::from([described(quorum, view)]);
        (Vec::from([QuorumTopic { topic_name: Cow::Borrowed(CLUSTER_METADATA), partitions }]), Vec::from([node(view)]))
    } else {
        (request.topics.iter().map(topic).collect(), Vec::new())
    };
    // Kafka's default of this field is empty, not null.
    DescribeQuorumResponse { error_code: ErrorCode::NONE, error_message: Some(Cow::Borrowed("")), topics, nodes }
}

fn unknown(partition: &QuorumPartitionRequest) -> QuorumPartition<'static> {
    QuorumPartition {
        partition_index: partition.partition_index,
        error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        error_message: Some(Cow::Borrowed("This server does not host this topic-partition.")),
        ..QuorumPartition::default()
    }
}

fn described(quorum: &Quorum, view: &View<'_>) -> QuorumPartition<'static> {
    let voter = ReplicaState {
        replica_id: view.node.0,
        replica_directory_id: TopicId::ZERO,
        log_end_offset: quorum.end.0,
        last_fetch_timestamp: quorum.now.0,
        last_caught_up_timestamp: quorum.now.0,
    };
    QuorumPartition {
        partition_index: 0,
        error_code: ErrorCode::NONE,
        error_message: Some(Cow::Borrowed("")),
        leader_id: view.node.0,
        leader_epoch: quorum.epoch.0,
        high_watermark: quorum.high_watermark.0,
        current_voters: Vec::from([voter]),
        observers: Vec::new(),
    }
}

fn node(view: &View<'_>) -> QuorumNode<'static> {
    let listener =
        QuorumListener { name: Cow::Borrowed("PLAINTEXT"), host: Cow::Owned(view.host.to_owned()), port: view.port };
    QuorumNode { node_id: view.node.0, listeners: Vec::from([listener]) }
}
