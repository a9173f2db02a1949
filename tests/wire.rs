//! The wire codec as its users see it: frames, headers, splicing, and what hostile bytes get.

use bytes::Bytes;
use highwater::ids::TopicId;
use highwater::wire::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use highwater::wire::frame::{self, RequestHeader};
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use highwater::wire::{ApiKey, Message, Reader, Reason, Records};

fn produce_request(records: &[u8]) -> ProduceRequest<'_> {
    let data = PartitionProduceData { index: 3, records: Some(records.into()) };
    let topic = TopicProduceData { name: "logs".into(), topic_id: TopicId::METADATA, partition_data: vec![data] };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

#[test]
fn a_request_is_read_back_as_it_was_written() {
    for version in 3..=13 {
        let header = RequestHeader {
            api_key: ApiKey::PRODUCE,
            api_version: version,
            correlation_id: 77,
            client_id: Some("me".into()),
        };
        let frame = frame::encode_request(&header, &produce_request(b"batch")).concat();
        let mut reader = Reader::new(&frame);
        assert_eq!(reader.i32(), Ok(frame.len() as i32 - 4));
        assert_eq!(frame::decode_header(&mut reader), Ok(header));
        let mut expected = produce_request(b"batch");
        match version < 13 {
            true => expected.topic_data[0].topic_id = TopicId::ZERO,
            false => expected.topic_data[0].name = "".into(),
        }
        assert_eq!(ProduceRequest::decode(&mut reader, version), Ok(expected));
        assert_eq!(reader.remaining(), 0);
    }
}

#[test]
fn long_records_are_spliced_and_short_ones_copied() {
    let (long, short) = (Bytes::from(vec![7; 100_000]), Bytes::from_static(b"short"));
    let partition = |index, records: &Bytes| PartitionData {
        partition_index: index,
        records: Some(Records::Slices(vec![records.clone()])),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        topic: "logs".into(),
        partitions: vec![partition(0, &short), partition(1, &long), partition(2, &short), partition(3, &long)],
        ..Default::default()
    };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    let slices = frame::encode_response(9, ApiKey::FETCH, 12, &response);
    assert_eq!(slices.iter().filter(|slice| slice.as_ptr() == long.as_ptr()).count(), 2);
    assert_eq!(slices.len(), 5, "head, records, between, records, end");
    let bytes = slices.concat();
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.i32(), Ok(bytes.len() as i32 - 4));
    assert_eq!(frame::decode_response_header(&mut reader, ApiKey::FETCH, 12), Ok(9));
    assert_eq!(FetchResponse::decode(&mut reader, 12), Ok(response));
}

#[test]
fn an_old_produce_version_is_refused_by_name() {
    let error = ProduceRequest::decode(&mut Reader::new(&[]), 2).unwrap_err();
    assert_eq!(error.reason, Reason::UnsupportedVersion { version: 2, min: 3, max: 13 });
    assert_eq!(error.to_string(), "ProduceRequest: version 2 is not supported; 3 to 13 are");
}
