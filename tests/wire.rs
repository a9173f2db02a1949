//! The wire codec as its users see it: frames, headers, splicing, and what hostile bytes get.

use bytes::Bytes;
use highwater::ids::TopicId;
use highwater::wire::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use highwater::wire::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use highwater::wire::frame::{self, RequestHeader};
use highwater::wire::metadata::MetadataRequest;
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use highwater::wire::{ApiKey, DecodeError, ErrorCode, Message, Reader, Reason, Records, Writer};

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

#[test]
fn the_answer_to_api_versions_never_has_tags_in_its_header() {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![ApiVersion { api_key: ApiKey::API_VERSIONS, min_version: 0, max_version: 5 }],
        ..Default::default()
    };
    let body_0 = [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5];
    let expected = [&[0, 0, 0, 16, 0, 0, 0, 9], &body_0[..]].concat();
    assert_eq!(frame::encode_response(9, ApiKey::API_VERSIONS, 0, &response).concat(), expected);
    let flexible = frame::encode_response(9, ApiKey::API_VERSIONS, 3, &response).concat();
    assert_eq!(flexible[8..10], [0, 35], "the error code follows the correlation id at once");
    let mut reader = Reader::new(&flexible[4..]);
    assert_eq!(frame::decode_response_header(&mut reader, ApiKey::API_VERSIONS, 3), Ok(9));
    assert_eq!(ApiVersionsResponse::decode(&mut reader, 3), Ok(response));
}

/// An ApiVersions request of version 3 with one tagged field.
fn tagged_request(tag: &[u8]) -> Vec<u8> {
    [&[2, b'n', 2, b'v', 1][..], tag].concat()
}

#[test]
fn unknown_tagged_fields_are_skipped_and_wrong_sizes_refused() {
    let read = |tag: &[u8]| {
        let bytes = tagged_request(tag);
        ApiVersionsRequest::decode(&mut Reader::new(&bytes), 3).map(|message| message.client_software_name.into_owned())
    };
    assert_eq!(read(&[9, 3, 1, 2, 3]), Ok("n".to_owned()));
    let truncated = read(&[9, 4, 1, 2, 3]).unwrap_err();
    assert_eq!(truncated.reason, Reason::Truncated { needed: 4, remaining: 3 });
    // The cluster id of a Fetch request, tag 0, states two bytes more than its string has.
    let mut writer = Writer::new();
    FetchRequest { cluster_id: Some("id".into()), ..Default::default() }.encode(&mut writer, 12);
    let mut bytes = writer.finish().concat();
    let at = bytes.len() - 4;
    assert_eq!(bytes[at - 2..], [1, 0, 3, 3, b'i', b'd'], "one tag, number 0, three bytes");
    bytes[at] = 5;
    bytes.extend([0, 0]);
    let error = FetchRequest::decode(&mut Reader::new(&bytes), 12).unwrap_err();
    assert_eq!(error, DecodeError { field: "", reason: Reason::TagSize { tag: 0, unread: 2 } });
    let many = [&[2, b'n', 2, b'v'][..], &[0x91, 0x4e]].concat();
    let error = ApiVersionsRequest::decode(&mut Reader::new(&many), 3).unwrap_err();
    assert_eq!(error.reason, Reason::TooManyTags { count: 10_001 });
}

#[test]
fn null_is_refused_where_the_version_has_none_and_named() {
    // Version 0 of Metadata has no null list, version 1 has.
    let null = [0xff, 0xff, 0xff, 0xff];
    let error = MetadataRequest::decode(&mut Reader::new(&null), 0).unwrap_err();
    assert_eq!(error.to_string(), "topics: null, which this version does not allow");
    assert_eq!(error.code(), ErrorCode::INVALID_REQUEST);
    let request = MetadataRequest::decode(&mut Reader::new(&null), 1).unwrap();
    assert_eq!((request.topics, request.allow_auto_topic_creation), (None, true));
    // Written where it may not be, null is empty.
    let mut writer = Writer::new();
    MetadataRequest::default().encode(&mut writer, 0);
    assert_eq!(writer.finish().concat(), [0, 0, 0, 0]);
}

#[test]
fn a_client_id_in_latin_1_does_not_close_the_connection() {
    let bytes = [0, 3, 0, 0, 0, 0, 0, 1, 0, 2, b'a', 0xe9];
    let header = frame::decode_header(&mut Reader::new(&bytes)).unwrap();
    assert_eq!(header.client_id.as_deref(), Some("a\u{fffd}"));
}
