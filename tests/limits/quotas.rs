//! Clients above their quota are held to it, whichever shards they use; nobody else notices.

use crate::node::{MILLIS, Node, SECONDS};
use bytes::Bytes;
use highwater::boundary::{ConnId, Timestamp};
use highwater::records::BatchBuilder;
use highwater::wire::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, EntityData, EntryData, OpData,
};
use highwater::wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use highwater::wire::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use highwater::wire::{ErrorCode, Message, Reader, Records};

/// Sets a quota of a client, `None` for every other client.
pub fn set(node: &mut Node, conn: ConnId, client_id: Option<&str>, key: &str, value: f64) {
    set_of(node, conn, "client-id", client_id, key, value);
}

pub fn set_of(node: &mut Node, conn: ConnId, entity_type: &str, name: Option<&str>, key: &str, value: f64) {
    let part = EntityData { entity_type: entity_type.into(), entity_name: name.map(Into::into) };
    let op = OpData { key: key.into(), value, remove: value == 0.0 };
    let entry = EntryData { entity: vec![part], ops: vec![op] };
    let request = AlterClientQuotasRequest { entries: vec![entry], validate_only: false };
    let body = node.call(conn, "admin", 1, &request);
    let answer = AlterClientQuotasResponse::decode(&mut Reader::new(&body), 1).expect("an answer");
    assert_eq!(answer.entries[0].error_code, ErrorCode::NONE, "{answer:?}");
}

fn produce(node: &mut Node, conn: ConnId, client_id: &str, bytes: usize) -> usize {
    let mut batch = BatchBuilder::new();
    let now = Timestamp(1_795_219_200_000 + (node.now() / MILLIS) as i64);
    batch.push(now, None, Some(&vec![7u8; bytes][..]), &[]);
    let records = Some(Records::from(Bytes::from(batch.build().to_vec())));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data = vec![TopicProduceData { name: "t".into(), partition_data, ..TopicProduceData::default() }];
    let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data, ..ProduceRequest::default() };
    node.send(conn, client_id, 9, &request)
}

/// The throttle time of an answer to it.
fn produced(body: &[u8]) -> i32 {
    let answer = ProduceResponse::decode(&mut Reader::new(body), 9).expect("an answer");
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::NONE, "{answer:?}");
    answer.throttle_time_ms
}

/// A connection that sends its next request as soon as the last one is answered.
struct Greedy {
    conn: ConnId,
    bytes: u64,
    throttled: u32,
}

fn is_near(done: u64, allowed: u64) -> bool {
    (allowed * 8 / 10..=allowed * 12 / 10).contains(&done)
}

#[test]
fn a_producer_above_its_quota_is_held_to_it_on_all_shards_together_and_others_are_not_slowed() {
    let mut node = Node::start(2, &[]);
    let admin = node.connect(0, "10.0.0.1");
    node.create_topic(admin, "t", 1);
    set(&mut node, admin, Some("greedy"), "producer_byte_rate", 100_000.0);
    let mut greedy: Vec<Greedy> = [0, 1, 0]
        .map(|shard| {
            node.run_until(SECONDS, |node| node.accepts(shard));
            Greedy { conn: node.connect(shard, "10.0.0.2"), bytes: 0, throttled: 0 }
        })
        .into();
    node.run_until(SECONDS, |node| node.accepts(1));
    let modest = node.connect(1, "10.0.0.3");
    for one in &mut greedy {
        one.bytes += produce(&mut node, one.conn, "greedy", 10_000) as u64;
    }
    let (begun, mut slowest) = (node.now(), 0);
    while node.now() < begun + 120 * SECONDS {
        let asked = node.now();
        produce(&mut node, modest, "modest", 1_000);
        let body = loop {
            if let Some(body) = node.take(modest) {
                break body;
            }
            node.run_for(MILLIS / 4);
        };
        slowest = slowest.max(node.now() - asked);
        assert_eq!(produced(&body), 0, "who has no quota is not throttled");
        for _ in 0..10 {
            node.run_for(10 * MILLIS);
            for one in &mut greedy {
                if let Some(body) = node.take(one.conn) {
                    one.throttled += u32::from(produced(&body) > 0);
                    one.bytes += produce(&mut node, one.conn, "greedy", 10_000) as u64;
                }
            }
        }
    }
    let seconds = (node.now() - begun) / SECONDS;
    let bytes: u64 = greedy.iter().map(|one| one.bytes).sum();
    assert!(is_near(bytes, 100_000 * seconds + 1_000_000), "{bytes} bytes in {seconds} s at 100,000 a second");
    assert!(greedy.iter().all(|one| one.throttled > 3 && one.bytes > 500_000), "each has its part");
    assert!(slowest < 20 * MILLIS, "others waited for {} us", slowest / 1_000);
}

#[test]
fn a_consumer_above_its_quota_is_held_to_it_and_is_told_so() {
    let mut node = Node::start(2, &[]);
    let admin = node.connect(0, "10.0.0.1");
    node.create_topic(admin, "t", 1);
    for _ in 0..10 {
        produce(&mut node, admin, "admin", 20_000);
        let body = loop {
            if let Some(body) = node.take(admin) {
                break body;
            }
            node.run_for(MILLIS);
        };
        produced(&body);
    }
    set(&mut node, admin, None, "consumer_byte_rate", 50_000.0);
    node.run_until(SECONDS, |node| node.accepts(1));
    let reader = node.connect(1, "10.0.0.2");
    let (begun, mut bytes, mut throttled) = (node.now(), 0, 0);
    while node.now() < begun + 120 * SECONDS {
        let partitions = vec![FetchPartition { partition_max_bytes: 50_000, ..FetchPartition::default() }];
        let topics = vec![FetchTopic { topic: "t".into(), partitions, ..FetchTopic::default() }];
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics,
            ..FetchRequest::default()
        };
        let body = node.call(reader, "reader", 12, &request);
        let answer = FetchResponse::decode(&mut Reader::new(&body), 12).expect("an answer");
        assert_eq!(answer.responses[0].partitions[0].error_code, ErrorCode::NONE);
        throttled += u32::from(answer.throttle_time_ms > 0);
        bytes += body.len() as u64;
    }
    let seconds = (node.now() - begun) / SECONDS;
    assert!(is_near(bytes, 50_000 * seconds + 500_000), "{bytes} bytes in {seconds} s at 50,000 a second");
    assert!(throttled > 5, "{throttled} answers were throttled");
}

#[test]
fn the_share_of_a_thread_bounds_requests_of_any_kind() {
    let mut node = Node::start(1, &[]);
    let admin = node.connect(0, "10.0.0.1");
    // 1 ms in a second, where a request counts for 10 us.
    set_of(&mut node, admin, "user", Some("ANONYMOUS"), "request_percentage", 0.1);
    node.run_until(SECONDS, |node| node.accepts(0));
    let busy = node.connect(0, "10.0.0.2");
    let (begun, mut requests, mut longest) = (node.now(), 0u64, 0);
    while node.now() < begun + 60 * SECONDS {
        let body = node.call(busy, "busy", 3, &ApiVersionsRequest::default());
        let answer = ApiVersionsResponse::decode(&mut Reader::new(&body), 3).expect("an answer");
        longest = longest.max(answer.throttle_time_ms);
        requests += 1;
    }
    assert!(is_near(requests, 100 * 60 + 1000), "{requests} requests");
    assert!((1..=1000).contains(&longest), "no longer than a window, as in Kafka: {longest} ms");
}

#[test]
fn a_quota_that_is_removed_is_over_for_those_who_come() {
    let mut node = Node::start(2, &[]);
    let admin = node.connect(0, "10.0.0.1");
    node.create_topic(admin, "t", 1);
    set(&mut node, admin, Some("greedy"), "producer_byte_rate", 1_000.0);
    node.run_until(SECONDS, |node| node.accepts(1));
    let greedy = node.connect(1, "10.0.0.2");
    let mut throttles = Vec::new();
    for _ in 0..2 {
        produce(&mut node, greedy, "greedy", 12_000);
        node.run_for(SECONDS);
        throttles.push(node.take(greedy).map(|body| produced(&body)));
    }
    // 12,000 and some bytes over 10 s, where 10,000 are allowed; the second is not read before the time is over.
    assert!(matches!(throttles[..], [Some(2_000..=2_300), None]), "{throttles:?}");
    set(&mut node, admin, Some("greedy"), "producer_byte_rate", 0.0);
    node.run_for(3 * SECONDS);
    assert_eq!(node.take(greedy).map(|body| produced(&body)), Some(0));
}

#[test]
fn partitions_beyond_the_rate_of_mutations_are_refused_in_versions_that_know_how() {
    let mut node = Node::start(2, &[]);
    let admin = node.connect(1, "10.0.0.1");
    set(&mut node, admin, Some("maker"), "controller_mutation_rate", 1.0);
    let mut create = |version: i16, names: &[&str]| {
        let topic = |name: &&'static str| CreatableTopic {
            name: (*name).into(),
            num_partitions: 9,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let names: Vec<&'static str> = names.iter().map(|name| &*name.to_string().leak()).collect();
        let topics = names.iter().map(topic).collect();
        let request = CreateTopicsRequest { topics, timeout_ms: 1000, ..CreateTopicsRequest::default() };
        let body = node.call(admin, "maker", version, &request);
        let answer = CreateTopicsResponse::decode(&mut Reader::new(&body), version).expect("an answer");
        let codes: Vec<ErrorCode> = answer.topics.iter().map(|topic| topic.error_code).collect();
        (codes, answer.throttle_time_ms)
    };
    // Eleven tokens: the second topic overdraws them, the third is refused.
    let refused = ErrorCode::THROTTLING_QUOTA_EXCEEDED;
    assert_eq!(create(7, &["a", "b", "c"]), ([ErrorCode::NONE, ErrorCode::NONE, refused].to_vec(), 7_000));
    // Muted for as long: what was refused is made at once then.
    assert_eq!(create(7, &["c"]), ([ErrorCode::NONE].to_vec(), 0));
    // An old version is carried out, and muted.
    let (codes, throttle) = create(5, &["d"]);
    assert!(codes == [ErrorCode::NONE] && (17_000..=18_000).contains(&throttle), "{codes:?} {throttle}");
    assert_eq!(create(5, &["e"]).0, [ErrorCode::NONE]);
}
