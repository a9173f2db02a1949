//! What a compaction tells of itself: how often, how much, how dirty.

use crate::node::{MILLIS, Node, SECONDS};
use bytes::Bytes;
use highwater::boundary::Timestamp;
use highwater::records::BatchBuilder;
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use highwater::wire::{Message, Reader, Records};

#[test]
fn a_compaction_counts_what_it_reads_and_keeps_and_leaves_nothing_dirty() {
    let mut node = Node::start(1, &[("log.cleaner.backoff.ms", "60000")]);
    let conn = node.connect(0, "10.0.0.1");
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
    // Ten keys, a hundred times each.
    for round in 0..1_000u32 {
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
