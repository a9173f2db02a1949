//! What a compaction tells of itself: how often, how much, how dirty; and that memory shows nothing that it took out.

use crate::node::{MILLIS, Node, SECONDS};
use bytes::Bytes;
use highwater::boundary::{ConnId, Timestamp};
use highwater::records::{BatchBuilder, BatchHeader};
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use highwater::wire::{Message, Reader, Records};

/// A compacted topic of one partition whose segments take 200,000 bytes.
fn compacted(node: &mut Node, conn: ConnId) {
    let configs = [("cleanup.policy", "compact"), ("internal.segment.bytes", "200000")];
    let config = |(name, value): (&'static str, &'static str)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
    };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.into_iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..CreateTopicsRequest::default() };
    let body = node.call(conn, "admin", 5, &request);
    let made = CreateTopicsResponse::decode(&mut Reader::new(&body), 5).expect("an answer");
    assert!(made.topics[0].error_code.is_none(), "{made:?}");
}

/// So many records of 10,000 bytes, to ten keys in turn.
fn write(node: &mut Node, conn: ConnId, records: u32) {
    for round in 0..records {
        let now = Timestamp(1_795_219_200_000 + (node.now() / MILLIS) as i64);
        let mut batch = BatchBuilder::new();
        batch.push(now, Some(&(round % 10).to_be_bytes()[..]), Some(&[7; 10_000][..]), &[]);
        let records = Some(Records::from(Bytes::from(batch.build().to_vec())));
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic_data = vec![TopicProduceData { name: "t".into(), partition_data, ..TopicProduceData::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data, ..ProduceRequest::default() };
        let body = node.call(conn, "writer", 9, &request);
        let told = ProduceResponse::decode(&mut Reader::new(&body), 9).expect("an answer");
        assert!(told.responses[0].partition_responses[0].error_code.is_none(), "{told:?}");
    }
}

/// The offsets of the batches that a reader of the whole log is given.
fn read(node: &mut Node, conn: ConnId, end: i64) -> Vec<i64> {
    let mut offsets = Vec::new();
    let mut next = 0;
    while next < end {
        let partition =
            FetchPartition { fetch_offset: next, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
        let topics = vec![FetchTopic { topic: "t".into(), partitions: vec![partition], ..FetchTopic::default() }];
        let (max_bytes, session_epoch) = (1 << 20, -1);
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes,
            session_epoch,
            topics,
            ..FetchRequest::default()
        };
        let body = node.call(conn, "reader", 12, &request);
        let answer = FetchResponse::decode(&mut Reader::new(&body), 12).expect("an answer");
        let records = answer.responses[0].partitions[0].records.as_ref().expect("records").contiguous();
        let mut rest = &records[..];
        assert!(!rest.is_empty(), "nothing from {next} on");
        while let Ok(header) = BatchHeader::parse(rest)
            && header.size() <= rest.len()
        {
            offsets.push(header.base_offset.0);
            next = header.end_offset().0;
            rest = &rest[header.size()..];
        }
    }
    offsets
}

#[test]
fn a_compaction_counts_what_it_reads_and_keeps_and_leaves_nothing_dirty() {
    let mut node = Node::start(1, &[("log.cleaner.backoff.ms", "60000")]);
    let conn = node.connect(0, "10.0.0.1");
    compacted(&mut node, conn);
    // Ten keys, a hundred times each.
    write(&mut node, conn, 1_000);
    let before = node.sample(0);
    assert!(before.gauges.dirtiest_ppm == 1_000_000 && before.counters.compactions.done == 0, "{:?}", before.gauges);
    node.run_for(100 * SECONDS);
    let after = node.sample(0);
    let counted = after.counters.compactions;
    assert!(counted.done >= 1 && counted.given_up == 0, "{counted:?}");
    assert!(counted.kept_bytes > 0 && counted.kept_bytes * 10 < counted.read_bytes, "{counted:?}");
    assert!(counted.last_kept_bytes <= counted.kept_bytes && counted.last_us > 0, "{counted:?}");
    assert!((after.gauges.dirtiest_ppm, after.gauges.keys_bytes) == (0, 0), "{:?}", after.gauges);
    assert!(after.gauges.log_bytes < before.gauges.log_bytes, "{:?}", after.gauges);
}

#[test]
fn what_a_compaction_has_taken_out_is_not_read_from_memory_either() {
    let mut node = Node::start(1, &[("log.cleaner.backoff.ms", "500")]);
    let conn = node.connect(0, "10.0.0.1");
    compacted(&mut node, conn);
    write(&mut node, conn, 200);
    let tail = node.sample(0).gauges.tail_bytes;
    assert!(tail >= 2_000_000, "all of it is in memory: {tail} bytes");
    node.run_for(2 * SECONDS);
    assert!(node.sample(0).counters.compactions.done >= 1, "{:?}", node.sample(0).counters.compactions);
    let kept = read(&mut node, conn, 200);
    assert!(
        kept.len() < 70,
        "{} batches are read, of which ten keys and a segment should be left: {kept:?}",
        kept.len()
    );
    let newest: Vec<i64> = (190..200).collect();
    assert!(kept.ends_with(&newest), "{kept:?}");
    let left = node.sample(0).gauges.tail_bytes;
    assert!(left > 0 && left < tail / 2, "{left} of {tail} bytes are in memory");
    // And what comes behind it is read like anything else.
    write(&mut node, conn, 100);
    node.run_for(2 * SECONDS);
    let kept = read(&mut node, conn, 300);
    assert!(kept.len() < 70 && kept.ends_with(&(290..300).collect::<Vec<i64>>()), "{kept:?}");
}
