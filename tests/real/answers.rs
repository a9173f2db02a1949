//! Odd requests, and the answers that Apache Kafka 4.4.0 gives to them. tests/clients/compare.py holds both brokers against
//! each other in every version; here is what once differed.

use crate::broker::Broker;
use crate::client::Client;
use highwater::boundary::Timestamp;
use highwater::records::{BatchBuilder, Compression};
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use highwater::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use highwater::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};
use highwater::wire::metadata::{MetadataRequest, MetadataRequestTopic};
use highwater::wire::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use highwater::wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use highwater::wire::{ErrorCode, Message, Reader, Records};
use std::borrow::Cow;
use std::time::{Duration, Instant};

const TOPIC: &str = "answers";

fn decoded<'a, M: Message<'a>>(answer: &'a [u8], version: i16) -> M {
    let mut reader = Reader::new(answer);
    let message = M::decode(&mut reader, version).expect("an answer");
    assert_eq!(reader.remaining(), 0, "bytes behind the answer");
    message
}

/// A broker with a topic of one partition.
fn start(configs: &[(&'static str, &'static str)]) -> (Broker, Client) {
    let broker = Broker::start(&["--shards", "1"]);
    let mut client = Client::connect(broker.address);
    let config = |(name, value): &(&'static str, &'static str)| CreatableTopicConfig {
        name: Cow::Borrowed(*name),
        value: Some(Cow::Borrowed(*value)),
    };
    let topic = CreatableTopic {
        name: Cow::Borrowed(TOPIC),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let answer = client.ask(7, &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() });
    assert_eq!(decoded::<CreateTopicsResponse<'_>>(&answer, 7).topics[0].error_code, ErrorCode::NONE);
    (broker, client)
}

fn produced(client: &mut Client, topic: &str, acks: i16, batch: &[u8]) -> (ErrorCode, i64, i64, Vec<i32>) {
    let data = PartitionProduceData { index: 0, records: Some(Records::Borrowed(batch)) };
    let topic_data = vec![
        TopicProduceData { name: Cow::Borrowed(topic), partition_data: vec![data], ..TopicProduceData::default() },
        TopicProduceData { name: Cow::Borrowed("no partitions"), ..TopicProduceData::default() },
    ];
    let request = ProduceRequest { acks, timeout_ms: 1000, topic_data, ..ProduceRequest::default() };
    let answer = client.ask(9, &request);
    let response: ProduceResponse<'_> = decoded(&answer, 9);
    assert_eq!(response.responses.len(), 1, "a topic without partitions is left out");
    let PartitionProduceResponse { error_code, base_offset, log_start_offset, record_errors, .. } =
        &response.responses[0].partition_responses[0];
    (*error_code, *base_offset, *log_start_offset, record_errors.iter().map(|error| error.batch_index).collect())
}

fn batch(compression: Compression, key: Option<&[u8]>, times: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(compression);
    for time in times {
        builder.push(Timestamp(*time), key, Some(b"value"), &[]);
    }
    builder.build().to_vec()
}

/// A byte of the compressed records is another, and the checksum right.
fn damaged(compression: Compression) -> Vec<u8> {
    let mut batch = batch(compression, None, &[-1; 40]);
    let at = batch.len() - 9;
    batch[61..at].iter_mut().for_each(|byte| *byte ^= 0x5a);
    highwater::records::header::set_checksum(&mut batch);
    batch
}

#[test]
fn compressed_records_are_looked_at_before_they_are_taken() {
    let (_broker, mut client) = start(&[("cleanup.policy", "compact")]);
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let (error, base, start, _) = produced(&mut client, TOPIC, -1, &damaged(compression));
        assert_eq!((error, base, start), (ErrorCode::INVALID_RECORD, -1, 0), "{compression}");
        let (error, _, _, records) = produced(&mut client, TOPIC, -1, &batch(compression, None, &[-1; 2]));
        assert_eq!((error, records), (ErrorCode::INVALID_RECORD, vec![0]), "{compression} without keys");
    }
    let good = batch(Compression::Zstd, Some(b"key"), &[-1; 2]);
    assert_eq!(produced(&mut client, TOPIC, -1, &good), (ErrorCode::NONE, 0, 0, vec![]));
}

#[test]
fn a_batch_that_is_refused_names_the_record() {
    let (_broker, mut client) = start(&[("message.timestamp.before.max.ms", "3600000")]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis() as i64;
    let old = [now, now - 7_200_000, now];
    for compression in [Compression::None, Compression::Lz4] {
        let outcome = produced(&mut client, TOPIC, -1, &batch(compression, None, &old));
        assert_eq!(outcome, (ErrorCode::INVALID_TIMESTAMP, -1, 0, vec![1]), "{compression}");
    }
    let negative = batch(Compression::None, None, &[-2]);
    assert_eq!(produced(&mut client, TOPIC, -1, &negative).0, ErrorCode::INVALID_TIMESTAMP);
}

#[test]
fn nobody_can_want_more_replicas_in_sync_than_there_are() {
    let (_broker, mut client) = start(&[("min.insync.replicas", "2")]);
    let batch = batch(Compression::None, None, &[-1]);
    assert_eq!(produced(&mut client, TOPIC, -1, &batch).0, ErrorCode::NONE);
    assert_eq!(produced(&mut client, TOPIC, 2, &batch).0, ErrorCode::INVALID_REQUIRED_ACKS);
    assert_eq!(produced(&mut client, "unknown", 2, &batch).0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

/// Fetches from the topic's partition, and from one that does not exist if `more`.
fn fetch(
    client: &mut Client,
    request: FetchRequest<'static>,
    part: FetchPartition,
    more: bool,
) -> (ErrorCode, PartitionData<'static>) {
    let mut partitions = vec![part];
    if more {
        partitions.push(FetchPartition { partition: 7, ..FetchPartition::default() });
    }
    let topics = vec![FetchTopic { topic: Cow::Borrowed(TOPIC), partitions, ..FetchTopic::default() }];
    let answer = client.ask(12, &FetchRequest { topics, ..request });
    let response: FetchResponse<'_> = decoded(&answer, 12);
    let found = response.responses.first().and_then(|topic| topic.partitions.first());
    let found = found.map(|found| PartitionData {
        partition_index: found.partition_index,
        error_code: found.error_code,
        high_watermark: found.high_watermark,
        last_stable_offset: found.last_stable_offset,
        log_start_offset: found.log_start_offset,
        diverging_epoch: found.diverging_epoch.clone(),
        ..PartitionData::default()
    });
    (response.error_code, found.unwrap_or_default())
}

#[test]
fn a_fetch_that_is_refused_says_nothing_of_the_log() {
    let (_broker, mut client) = start(&[]);
    assert_eq!(produced(&mut client, TOPIC, -1, &batch(Compression::None, None, &[-1; 2])).0, ErrorCode::NONE);
    let at = |fetch_offset| FetchPartition { fetch_offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let plain = || FetchRequest { max_bytes: 1 << 20, ..FetchRequest::default() };
    let good = fetch(&mut client, plain(), at(0), false).1;
    assert_eq!((good.error_code, good.high_watermark, good.log_start_offset), (ErrorCode::NONE, 2, 0));
    let mut refused = |request, part, code| {
        let (_, found) = fetch(&mut client, request, part, false);
        let ends = (found.high_watermark, found.last_stable_offset, found.log_start_offset);
        assert_eq!((found.error_code, ends), (code, (-1, -1, -1)));
    };
    refused(plain(), FetchPartition { current_leader_epoch: 99, ..at(0) }, ErrorCode::UNKNOWN_LEADER_EPOCH);
    refused(plain(), FetchPartition { partition_max_bytes: -1, ..at(0) }, ErrorCode::UNKNOWN_SERVER_ERROR);
    refused(FetchRequest { replica_id: 5, ..plain() }, at(0), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    refused(FetchRequest { isolation_level: 2, ..plain() }, at(0), ErrorCode::UNKNOWN_SERVER_ERROR);
    // But where the log is, to those who read outside it.
    for part in [at(3), FetchPartition { last_fetched_epoch: 99, ..at(0) }] {
        let (_, found) = fetch(&mut client, plain(), part, false);
        assert_eq!((found.error_code, found.high_watermark), (ErrorCode::OFFSET_OUT_OF_RANGE, 2));
    }
    let (error, _) = fetch(&mut client, FetchRequest { session_epoch: -2, ..plain() }, at(0), false);
    assert_eq!(error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    let (_, beyond) = fetch(&mut client, plain(), FetchPartition { last_fetched_epoch: 1, ..at(3) }, false);
    assert_eq!((beyond.error_code, beyond.diverging_epoch.end_offset), (ErrorCode::NONE, 2));
}

#[test]
fn a_partition_that_does_not_exist_does_not_hurry_a_fetch() {
    let (_broker, mut client) = start(&[]);
    let began = Instant::now();
    let part = FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let request = FetchRequest { max_wait_ms: 300, min_bytes: 1, max_bytes: 1 << 20, ..FetchRequest::default() };
    let (_, found) = fetch(&mut client, request, part, true);
    assert_eq!(found.error_code, ErrorCode::NONE);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
}

#[test]
fn what_is_asked_twice_of_list_offsets_is_refused_once() {
    let (_broker, mut client) = start(&[]);
    let part =
        |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..ListOffsetsPartition::default() };
    let topic = |parts: &[i32]| ListOffsetsTopic {
        name: Cow::Borrowed(TOPIC),
        partitions: parts.iter().copied().map(part).collect(),
    };
    let topics = vec![topic(&[0, 1, 0]), topic(&[0]), topic(&[])];
    let answer = client.ask(7, &ListOffsetsRequest { topics, ..ListOffsetsRequest::default() });
    let response: ListOffsetsResponse<'_> = decoded(&answer, 7);
    assert_eq!(response.topics.len(), 1);
    let found: Vec<_> =
        response.topics[0].partitions.iter().map(|part| (part.partition_index, part.error_code)).collect();
    assert_eq!(found, [(0, ErrorCode::INVALID_REQUEST), (1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)]);
}

#[test]
fn nobody_knows_where_an_epoch_ends_that_is_still_to_come() {
    let (_broker, mut client) = start(&[]);
    let mut end = |current_leader_epoch, leader_epoch| {
        let part = OffsetForLeaderPartition { partition: 0, current_leader_epoch, leader_epoch };
        let topics = vec![OffsetForLeaderTopic { topic: Cow::Borrowed(TOPIC), partitions: vec![part] }];
        let answer = client.ask(4, &OffsetForLeaderEpochRequest { topics, ..OffsetForLeaderEpochRequest::default() });
        let response: OffsetForLeaderEpochResponse<'_> = decoded(&answer, 4);
        let found = &response.topics[0].partitions[0];
        (found.error_code, found.leader_epoch, found.end_offset)
    };
    assert_eq!(end(-1, 1), (ErrorCode::NONE, 1, 0));
    assert_eq!(end(-1, 2), (ErrorCode::NONE, -1, -1));
    assert_eq!(end(-1, -1), (ErrorCode::NONE, -1, -1));
    assert_eq!(end(-1, 0), (ErrorCode::NONE, 0, 0));
    assert_eq!(end(-2, 1), (ErrorCode::FENCED_LEADER_EPOCH, -1, -1));
}

#[test]
fn a_producer_id_without_its_epoch_is_nobodys() {
    let (_broker, mut client) = start(&[]);
    let mut init = |request: InitProducerIdRequest<'static>| {
        let answer = client.ask(4, &request);
        let response: InitProducerIdResponse = decoded(&answer, 4);
        (response.error_code, response.producer_id == -1, response.producer_epoch)
    };
    let plain = InitProducerIdRequest::default();
    assert_eq!(init(plain.clone()), (ErrorCode::NONE, false, 0));
    assert_eq!(init(InitProducerIdRequest { producer_id: 5, ..plain.clone() }), (ErrorCode::INVALID_REQUEST, true, -1));
    assert_eq!(
        init(InitProducerIdRequest { producer_epoch: 5, ..plain.clone() }),
        (ErrorCode::INVALID_REQUEST, true, -1)
    );
    let transactional = InitProducerIdRequest { transactional_id: Some(Cow::Borrowed("tx")), ..plain };
    assert_eq!(init(transactional), (ErrorCode::INVALID_REQUEST, true, -1));
}

#[test]
fn a_request_of_more_things_than_memory_holds_is_closed() {
    let broker = Broker::start(&["--shards", "1", "--memory", "128MB"]);
    let mut good = Client::connect(broker.address);
    let apis = good.api_count();
    let topics =
        vec![MetadataRequestTopic { name: Some(Cow::Borrowed("")), ..MetadataRequestTopic::default() }; 300_000];
    let mut stranger = Client::connect(broker.address);
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stranger.ask(1, &MetadataRequest { topics: Some(topics), ..MetadataRequest::default() })
    }));
    assert!(answer.is_err(), "it was answered");
    assert_eq!(good.api_count(), apis);
}
