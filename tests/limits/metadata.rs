//! Changes of the metadata that are long: each is one batch of the metadata log, and a file of the journal must hold it.

use crate::node::{Node, SECONDS};
use highwater::boundary::ConnId;
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::{ErrorCode, Message, Reader};

/// Asks for topics with so many bytes of configurations each, and gives what they are answered, or none for a closed connection.
fn create(node: &mut Node, conn: ConnId, name: &str, topics: usize, bytes: usize) -> Option<Vec<ErrorCode>> {
    let list = vec!["0:1"; bytes / 4].join(",");
    let config = || CreatableTopicConfig {
        name: "follower.replication.throttled.replicas".into(),
        value: Some(list.as_str().into()),
    };
    let topic = |number| CreatableTopic {
        name: format!("{name}-{number}").into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: std::iter::once(config()).collect(),
        ..CreatableTopic::default()
    };
    let request =
        CreateTopicsRequest { topics: (0..topics).map(topic).collect(), timeout_ms: 30_000, ..Default::default() };
    node.send(conn, "test", 7, &request);
    node.run_for(10 * SECONDS);
    let body = node.take(conn)?;
    let response = CreateTopicsResponse::decode(&mut Reader::new(&body), 7).expect("a whole answer");
    Some(response.topics.iter().map(|topic| topic.error_code).collect())
}

#[test]
fn a_long_change_is_made_and_holds_nothing_up() {
    let mut node = Node::start(2, &[]);
    let conn = node.connect(1, "10.0.0.1");
    assert_eq!(create(&mut node, conn, "long", 31, 30_000), Some(vec![ErrorCode::NONE; 31]));
    assert_eq!(create(&mut node, conn, "short", 1, 100), Some(vec![ErrorCode::NONE]));
}

/// No file would ever hold it: nothing is changed, and only who sent it notices.
#[test]
fn a_change_that_no_file_can_hold_closes_its_connection() {
    let mut node = Node::start(2, &[]);
    let (hostile, good) = (node.connect(1, "10.0.0.1"), node.connect(0, "10.0.0.2"));
    assert_eq!(create(&mut node, hostile, "long", 40, 30_000), None);
    assert!(node.is_closed(hostile));
    assert_eq!(create(&mut node, good, "long", 1, 100), Some(vec![ErrorCode::NONE]), "it has not been created");
}
