//! What a lookup costs, counted in reads of the disk; and when a file goes that nobody needs any more.

use super::*;
use crate::client::batch::{Recipe, build};
use crate::plan::Plan;
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use highwater::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};

const SEGMENTS: u32 = 100;
const FIRST_MS: i64 = 1_795_219_000_000;
const RECORDS: i64 = 3;

impl Auditor {
    fn start(disk: Disk, shape: &Shape) -> Auditor {
        let mut auditor = Auditor::boot(disk, shape, [7; 32]);
        auditor.until(|auditor| auditor.ready).expect("it serves");
        auditor.connect().expect("it accepts");
        auditor
    }

    /// The topic's segments, and nothing of them in memory.
    fn filled(shape: &Shape) -> Auditor {
        let mut auditor = Auditor::start(Disk::default(), shape);
        auditor.fill(400);
        auditor.restart(shape)
    }

    /// A topic, and so many segments of one batch each; every batch has three records, so far apart.
    fn fill(&mut self, step: i64) {
        let config = CreatableTopicConfig { name: "segment.ms".into(), value: Some("1".into()) };
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![config],
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, ..CreateTopicsRequest::default() };
        self.call(4, &request).expect("made");
        for id in 0..SEGMENTS {
            let timestamp = FIRST_MS + i64::from(id) * 1_000;
            let recipe = Recipe { id, records: 3, value_bytes: 3_000, timestamp, step, producer: None };
            let data = PartitionProduceData { index: 0, records: Some(Records::from(Bytes::from(build(&recipe).0))) };
            let topic_data =
                vec![TopicProduceData { name: "t".into(), partition_data: vec![data], ..TopicProduceData::default() }];
            let request = ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data, ..ProduceRequest::default() };
            let body = self.call(9, &request).expect("stored");
            let answer = ProduceResponse::decode(&mut Reader::new(&body), 9).expect("an answer");
            assert_eq!(answer.responses[0].partition_responses[0].base_offset, i64::from(id) * RECORDS);
        }
    }

    /// A clean stop, so that nothing is in memory, and another start.
    fn restart(mut self, shape: &Shape) -> Auditor {
        self.inbox.push_back((0, Input::Stop));
        self.until(|_| false).expect_err("it stops");
        assert!(matches!(self.halt, Some(Halt::Stopped)), "{:?}", self.halt);
        Auditor::start(self.disk, shape)
    }

    /// Offset and time of what a lookup finds, and how many reads that took.
    fn lookup(&mut self, timestamp: i64) -> ((i64, i64), u32) {
        let before = self.reads;
        let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
        let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
        let body = self.call(7, &request).expect("answered");
        let answer = ListOffsetsResponse::decode(&mut Reader::new(&body), 7).expect("an answer");
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.error_code, ErrorCode::NONE);
        ((partition.offset, partition.timestamp), self.reads - before)
    }

    fn segments(&self) -> usize {
        self.disk.paths().iter().filter(|path| path.ends_with(".log")).count()
    }

    fn delete_below(&mut self, offset: i64) -> i64 {
        let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
        let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
        let body = self.call(2, &DeleteRecordsRequest { topics, timeout_ms: 1_000 }).expect("answered");
        let answer = DeleteRecordsResponse::decode(&mut Reader::new(&body), 2).expect("an answer");
        assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::NONE);
        answer.topics[0].partitions[0].low_watermark
    }
}

fn shape() -> Shape {
    Shape { shards: 1, chunk_bytes: 8 << 10, ..Plan::quiet(1).shape }
}

/// The table of each segment is a file of its own: it is read once, and then one chunk.
#[test]
fn a_lookup_by_time_reads_one_chunk_of_a_hundred_segments() {
    let shape = shape();
    let mut auditor = Auditor::filled(&shape);
    for id in [0, 1, 41, 77, i64::from(SEGMENTS) - 1] {
        for (within, record) in [(-199, 0), (0, 0), (1, 1), (401, 2)] {
            let (found, reads) = auditor.lookup(FIRST_MS + id * 1_000 + within);
            let time = FIRST_MS + id * 1_000 + record * 400;
            assert_eq!(found, (id * RECORDS + record, time), "segment {id}, {within} ms");
            assert!(reads <= 2, "{reads} reads for one lookup");
        }
    }
    let last = FIRST_MS + (i64::from(SEGMENTS) - 1) * 1_000 + 800;
    assert_eq!(auditor.lookup(last + 1).0, (-1, -1));
    assert_eq!(auditor.lookup(-3).0, (i64::from(SEGMENTS) * RECORDS - 1, last));
}

/// The log may start between the record with the largest time and its neighbours.
#[test]
fn the_largest_time_is_that_of_a_record_that_is_left() {
    let shape = shape();
    let end = i64::from(SEGMENTS) * RECORDS;
    for restart in [true, false] {
        let mut auditor = Auditor::start(Disk::default(), &shape);
        auditor.fill(-400);
        if restart {
            auditor = auditor.restart(&shape);
        }
        let newest = FIRST_MS + (i64::from(SEGMENTS) - 1) * 1_000;
        assert_eq!(auditor.lookup(-3).0, (end - 3, newest));
        assert_eq!(auditor.delete_below(end - 5), end - 5);
        assert_eq!(auditor.lookup(-3).0, (end - 3, newest));
        assert_eq!(auditor.delete_below(end - 2), end - 2);
        assert_eq!(auditor.lookup(-3).0, (end - 2, newest - 400));
        assert_eq!(auditor.lookup(FIRST_MS).0, (end - 2, newest - 400));
        assert_eq!(auditor.delete_below(-1), end);
        assert_eq!(auditor.lookup(-3).0, (-1, -1));
        assert_eq!(auditor.lookup(FIRST_MS).0, (-1, -1));
        assert_eq!((auditor.lookup(-2).0.0, auditor.lookup(-1).0.0), (end, end));
    }
}

/// Damage to the last frame is taken for a torn tail: where that is all that says that records were deleted, recovery looks
/// for their segments.
#[test]
fn a_segment_below_the_logs_start_goes_when_another_frame_proves_the_one_that_says_so() {
    let shape = shape();
    let mut auditor = Auditor::filled(&shape);
    let before = auditor.segments();
    assert_eq!(auditor.delete_below(150), 150);
    auditor.until(|auditor| auditor.inbox.is_empty()).expect("all is done but what waits for time to pass");
    assert_eq!(auditor.segments(), before, "the frame that gives them up is the last one");
    let answered_at = auditor.now.mono;
    auditor.until(|auditor| auditor.segments() == before - 50).expect("they go");
    let waited = auditor.now.mono.since(answered_at).as_millis();
    assert!((5..20).contains(&waited), "an idle node proves its last frame after 10 ms, not {waited}");
    let mut auditor = auditor.restart(&shape);
    assert_eq!((auditor.lookup(-2).0.0, auditor.segments()), (150, before - 50));
}
