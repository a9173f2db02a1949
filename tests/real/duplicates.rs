//! A batch that comes again is answered as the first time, whatever the broker's clock says now and whoever wrote it down.

use crate::broker::Broker;
use crate::client::Client;
use highwater::boundary::Timestamp;
use highwater::records::BatchBuilder;
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use highwater::wire::{ErrorCode, Message, Reader, Records};
use std::borrow::Cow;
use std::time::Duration;

const TOPIC: &str = "duplicates";

/// The first offset and the time that a batch is answered with.
fn produced(client: &mut Client, sequence: i32, time: i64) -> (i64, i64) {
    let mut builder = BatchBuilder::new().producer(1000, 0, sequence);
    builder.push(Timestamp(time), None, Some(b"value"), &[]);
    let batch = builder.build();
    let data = PartitionProduceData { index: 0, records: Some(Records::Borrowed(&batch)) };
    let topic =
        TopicProduceData { name: Cow::Borrowed(TOPIC), partition_data: vec![data], ..TopicProduceData::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..ProduceRequest::default() };
    let answer = client.ask(9, &request);
    let response = ProduceResponse::decode(&mut Reader::new(&answer), 9).expect("an answer");
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, ErrorCode::NONE);
    (partition.base_offset, partition.log_append_time_ms)
}

/// Answers to batches 0 to 2: at once, again later, after a kill (from the journal), and after a stop (from the checkpoint).
fn answers_over_restarts(timestamp_type: &'static str) -> Vec<Vec<(i64, i64)>> {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut all = Vec::new();
    for life in 0..3 {
        let mut broker = Broker::start_on(&data, &["--shards", "1"]);
        let mut client = Client::connect(broker.address);
        if life == 0 {
            let config = CreatableTopicConfig {
                name: Cow::Borrowed("message.timestamp.type"),
                value: Some(Cow::Borrowed(timestamp_type)),
            };
            let topic = CreatableTopic {
                name: Cow::Borrowed(TOPIC),
                num_partitions: 1,
                replication_factor: 1,
                configs: vec![config],
                ..CreatableTopic::default()
            };
            client.ask(7, &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() });
            all.push((0..3).map(|sequence| produced(&mut client, sequence, 4711 + i64::from(sequence))).collect());
        }
        std::thread::sleep(Duration::from_millis(20));
        all.push((0..3).map(|sequence| produced(&mut client, sequence, 4711 + i64::from(sequence))).collect());
        if life == 0 {
            broker.kill();
        } else {
            broker.signal(rustix::process::Signal::TERM);
            broker.wait();
        }
    }
    all
}

#[test]
fn a_duplicate_is_answered_with_the_time_that_the_broker_stamped_on_the_original() {
    let answers = answers_over_restarts("LogAppendTime");
    assert!(answers[0].iter().enumerate().all(|(base, found)| found.0 == base as i64 && found.1 > 4713), "{answers:?}");
    assert!(answers.iter().all(|found| *found == answers[0]), "{answers:?}");
}

/// As Kafka does: it remembers one time of a batch, and answers a duplicate with it also where the producer said it.
#[test]
fn where_the_producer_says_the_time_a_duplicate_is_answered_with_that() {
    let answers = answers_over_restarts("CreateTime");
    assert_eq!(answers[0], [(0, -1), (1, -1), (2, -1)]);
    assert!(answers[1..].iter().all(|found| *found == [(0, 4711), (1, 4712), (2, 4713)]), "{answers:?}");
}
