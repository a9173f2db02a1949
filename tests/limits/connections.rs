//! How many connections there may be: of one address, of all, and in a second. The shards count together.

use crate::node::{MILLIS, Node, SECONDS};
use crate::quotas::set_of;
use highwater::boundary::ConnId;
use highwater::wire::api_versions::ApiVersionsRequest;
use highwater::wire::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use highwater::wire::{Message, Reader};

fn connect(node: &mut Node, shard: u16, address: &str) -> ConnId {
    node.run_until(SECONDS, |node| node.accepts(shard));
    let conn = node.connect(shard, address);
    node.run_for(MILLIS);
    conn
}

/// Whether it is let in: it is answered.
fn is_in(node: &mut Node, conn: ConnId) -> bool {
    if node.is_closed(conn) {
        return false;
    }
    node.send(conn, "test", 0, &ApiVersionsRequest::default());
    node.run_for(10 * MILLIS);
    node.take(conn).is_some()
}

#[test]
fn an_address_has_no_more_connections_than_it_may_on_all_shards_together() {
    let limits = [("max.connections.per.ip", "3"), ("max.connections.per.ip.overrides", "10.0.0.9:1,::1:5")];
    let mut node = Node::start(2, &limits);
    let mut conns: Vec<ConnId> = (0..5).map(|number| connect(&mut node, number % 2, "10.0.0.1")).collect();
    let inside: Vec<bool> = conns.iter().map(|conn| is_in(&mut node, *conn)).collect();
    assert_eq!(inside, [true, true, true, false, false]);
    assert!(node.is_closed(conns[3]) && node.is_closed(conns[4]));
    let other = connect(&mut node, 0, "10.0.0.2");
    assert!(is_in(&mut node, other), "other addresses have their own count");
    let single = [0, 1].map(|shard| connect(&mut node, shard, "10.0.0.9"));
    assert_eq!(single.map(|conn| is_in(&mut node, conn)), [true, false], "an override");
    // Who leaves makes room.
    node.close(conns.remove(0));
    node.run_for(MILLIS);
    let next = connect(&mut node, 1, "10.0.0.1");
    assert!(is_in(&mut node, next));
}

#[test]
fn what_comes_beyond_all_connections_waits_until_somebody_leaves() {
    let mut node = Node::start(2, &[("max.connections", "3")]);
    let inside: Vec<ConnId> = (0..3).map(|number| connect(&mut node, number % 2, "10.0.0.1")).collect();
    assert!(inside.iter().all(|conn| is_in(&mut node, *conn)));
    let waiting = connect(&mut node, 1, "10.0.0.2");
    assert!(!is_in(&mut node, waiting) && !node.is_closed(waiting));
    assert!(!node.accepts(1), "the others stay with the kernel");
    node.close(inside[0]);
    node.run_for(10 * MILLIS);
    assert!(node.take(waiting).is_some(), "what it asked is answered now");
    assert!(node.accepts(1));
    // The limit is raised while it runs.
    let second = connect(&mut node, 0, "10.0.0.2");
    assert!(!is_in(&mut node, second));
    let config = AlterableConfig { name: "max.connections".into(), config_operation: 0, value: Some("10".into()) };
    let resource = AlterConfigsResource { resource_type: 4, resource_name: "".into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let body = node.call(inside[1], "admin", 1, &request);
    let answer = IncrementalAlterConfigsResponse::decode(&mut Reader::new(&body), 1).expect("an answer");
    assert!(answer.responses[0].error_code.is_none(), "{answer:?}");
    node.run_for(10 * MILLIS);
    assert!(node.take(second).is_some());
}

#[test]
fn who_connects_more_often_than_he_may_is_closed_after_a_while() {
    let mut node = Node::start(2, &[]);
    let admin = connect(&mut node, 0, "10.0.0.1");
    set_of(&mut node, admin, "ip", Some("10.0.0.2"), "connection_creation_rate", 2.0);
    let conns: Vec<ConnId> = (0..30).map(|number| connect(&mut node, number % 2, "10.0.0.2")).collect();
    assert!(!conns.iter().any(|conn| node.is_closed(*conn)), "nobody is closed at once");
    let inside = conns.iter().filter(|conn| is_in(&mut node, **conn)).count();
    assert_eq!(inside, 20, "two a second over ten seconds");
    node.run_for(2 * SECONDS);
    assert_eq!(conns.iter().filter(|conn| node.is_closed(**conn)).count(), 10);
    let other = connect(&mut node, 1, "10.0.0.3");
    assert!(is_in(&mut node, other));
    node.run_for(10 * SECONDS);
    let again = connect(&mut node, 1, "10.0.0.2");
    assert!(is_in(&mut node, again), "time makes it good");
}
