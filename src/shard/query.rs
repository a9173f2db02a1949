//! Questions about offsets: ListOffsets and OffsetForLeaderEpoch; what DeleteRecords asks goes the same way.
//!
//! The shard that owns a partition answers; the one that owns the connection puts the answers together. Lookups by time are
//! exact: the table says which chunk, the chunk's records say which record.

use super::connection::{Header, Slot};
use super::partition::Partition;
use super::{Level, Shard};
use crate::boundary::{ConnId, Timestamp};
use crate::ids::{Epoch, Offset, PartitionKey, TopicId};
use crate::log::segment::Chunk;
use crate::mail::{Letter, Ticket};
use crate::records;
use crate::wire::ErrorCode;
use crate::wire::delete_records::{DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult};
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::wire::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;

/// Bytes that one batch may take decompressed while it is searched.
const DECOMPRESSED_MAX: usize = 64 << 20;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// A question about one partition.
#[derive(Clone, Copy, Debug)]
pub enum Query {
    Offset {
        version: i16,
        current_leader_epoch: i32,
        timestamp: i64,
    },
    EpochEnd {
        current_leader_epoch: i32,
        leader_epoch: i32,
    },
    /// Not only a question: the log is to start here.
    DeleteRecords {
        offset: i64,
    },
    /// No question: it is answered with an error, whatever it is about.
    Refused(ErrorCode),
}

/// Its answer: for a lookup by time also the record's own time.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub error: ErrorCode,
    pub timestamp: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

impl Answer {
    pub fn error(error: ErrorCode) -> Answer {
        Answer { error, timestamp: -1, offset: -1, leader_epoch: -1 }
    }

    pub fn at(offset: Offset) -> Answer {
        Answer { offset: offset.0, ..Answer::error(ErrorCode::NONE) }
    }
}

/// A request of many questions that is being answered.
pub struct Querying {
    header: Header,
    kind: Kind,
    topics: Vec<(String, u32)>,
    parts: Vec<(i32, Option<Answer>)>,
    left: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    ListOffsets,
    EpochEnds,
    DeleteRecords,
}

/// A lookup by time on its way through the segments: the first record at or after `from` whose time is at least `target`.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    ticket: Ticket,
    target: Timestamp,
    from: Offset,
    /// Wanted is the record with the largest time, which is thought to be `target`.
    largest: bool,
}

impl Search {
    /// Where it looks on.
    pub fn from(&self) -> Offset {
        self.from
    }

    /// The first chunk that can hold it.
    pub fn chunk(&self, chunks: &[Chunk]) -> Option<usize> {
        chunks.iter().position(|chunk| chunk.end > self.from && chunk.max_timestamp >= self.target.0)
    }
}

impl Shard {
    pub(super) fn list_offsets(&mut self, conn: ConnId, header: Header, request: &ListOffsetsRequest<'_>) {
        let mut times: BTreeMap<(&str, i32), u32> = BTreeMap::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                *times.entry((&*topic.name, partition.partition_index)).or_default() += 1;
            }
        }
        let topics = request.topics.iter().map(|topic| {
            let questions = topic.partitions.iter().filter_map(|partition| {
                // What is asked twice is refused, once.
                let query = match times.insert((&*topic.name, partition.partition_index), 0)? {
                    0 => return None,
                    1 if !(0..=1).contains(&request.isolation_level) => Query::Refused(ErrorCode::UNKNOWN_SERVER_ERROR),
                    1 => Query::Offset {
                        version: header.version,
                        current_leader_epoch: partition.current_leader_epoch,
                        timestamp: partition.timestamp,
                    },
                    2.. => Query::Refused(ErrorCode::INVALID_REQUEST),
                };
                Some((partition.partition_index, query))
            });
            (topic.name.to_string(), questions.collect::<Vec<_>>())
        });
        let topics = topics.filter(|(_, questions)| !questions.is_empty()).collect();
        self.ask_all(conn, header, Kind::ListOffsets, topics);
    }

    pub(super) fn offset_for_epoch(&mut self, conn: ConnId, header: Header, request: &OffsetForLeaderEpochRequest<'_>) {
        let topics = request.topics.iter().map(|topic| {
            let questions = topic.partitions.iter().map(|partition| {
                let query = Query::EpochEnd {
                    current_leader_epoch: partition.current_leader_epoch,
                    leader_epoch: partition.leader_epoch,
                };
                (partition.partition, query)
            });
            (topic.topic.to_string(), questions.collect())
        });
        let topics = topics.collect();
        self.ask_all(conn, header, Kind::EpochEnds, topics);
    }

    pub(super) fn ask_all(
        &mut self,
        conn: ConnId,
        header: Header,
        kind: Kind,
        topics: Vec<(String, Vec<(i32, Query)>)>,
    ) {
        let mut querying = Querying { header, kind, topics: Vec::new(), parts: Vec::new(), left: 0 };
        let mut asks = Vec::new();
        for (name, questions) in topics {
            let topic = self.image.topic_named(&name).map(|topic| (topic.id, topic.partitions));
            querying.topics.push((name, questions.len() as u32));
            for (index, query) in questions {
                querying.parts.push((index, None));
                let key = topic.filter(|(_, count)| (0..*count).contains(&index));
                asks.push((key.map(|(topic, _): (TopicId, i32)| PartitionKey { topic, index }), query));
            }
        }
        querying.left = asks.len();
        let none = asks.is_empty();
        let mut ticket = self.open_slot(conn, Slot::Query(querying));
        if none {
            self.finish_query(ticket);
        }
        for (key, query) in asks {
            match (key, query) {
                (_, Query::Refused(error)) => self.on_answer(ticket, Answer::error(error)),
                (None, _) => self.on_answer(ticket, Answer::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
                (Some(key), _) if self.owner(key) == self.me => self.on_ask(ticket, key, query),
                (Some(key), _) => self.fx.mail(self.owner(key), Letter::Ask { ticket, key, query }),
            }
            ticket.item += 1;
        }
    }

    pub(super) fn on_ask(&mut self, ticket: Ticket, key: PartitionKey, query: Query) {
        let slot = self.slots.get(&key).copied();
        let partition = slot.and_then(|slot| self.partitions[slot as usize].as_deref());
        let answer = match (partition.filter(|partition| !partition.deleted), slot) {
            (Some(partition), Some(slot)) => match partition.answer(query) {
                Asked::Answer(answer) => answer,
                Asked::Purge(offset) => return self.purge(slot, ticket, offset),
                Asked::Search { target, largest } => {
                    let from = partition.replica.start();
                    return self.search(slot, Search { ticket, target, from, largest });
                }
            },
            (_, _) => Answer::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        };
        self.reply(ticket, answer);
    }

    pub(super) fn reply(&mut self, ticket: Ticket, answer: Answer) {
        if ticket.shard == self.me {
            self.on_answer(ticket, answer);
        } else {
            self.fx.mail(ticket.shard, Letter::Answer { ticket, answer });
        }
    }

    /// Looks on in the segments, then in memory.
    fn search(&mut self, slot: u32, search: Search) {
        let Some(partition) = self.partitions[slot as usize].as_deref() else {
            return self.reply(search.ticket, Answer::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let tail_base = partition.log.tail_base();
        let mut segments = partition.log.segments.iter();
        let found = segments.find(|segment| segment.end > search.from && segment.max_timestamp >= search.target.0);
        if let Some(segment) = found
            && search.from.max(segment.base) < tail_base
        {
            let offset = search.from.max(segment.base);
            return self.search_segment(slot, offset, Search { from: offset, ..search });
        }
        let end = partition.served_end();
        let found = partition.log.tail_from(search.from).take_while(|batch| batch.end <= end).find_map(|batch| {
            let may = batch.max_timestamp >= search.target.0;
            let find = || records::find_timestamp(&batch.bytes, search.target, search.from, DECOMPRESSED_MAX);
            may.then(find).and_then(Result::transpose)
        });
        if let (None, true) = (&found, search.largest) {
            return self.search_smaller(slot, search, &[]);
        }
        let answer = match found.transpose() {
            Ok(found) => found_answer(partition, found),
            Err(_) => Answer::error(ErrorCode::CORRUPT_MESSAGE),
        };
        self.reply(search.ticket, answer);
    }

    /// The chunk that may hold it has been read.
    pub(super) fn on_searched(
        &mut self,
        slot: u32,
        search: Search,
        result: Result<(Vec<Chunk>, Vec<Bytes>), ErrorCode>,
    ) {
        let Some(partition) = self.partitions[slot as usize].as_deref() else {
            return self.reply(search.ticket, Answer::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let start = partition.replica.start();
        if search.from < start {
            // Retention has moved the log's start meanwhile.
            return self.search(slot, Search { from: start, ..search });
        }
        let (chunks, bytes) = match result {
            Ok(read) => read,
            Err(error) => return self.reply(search.ticket, Answer::error(error)),
        };
        for chunk in &bytes {
            for batch in records::split(chunk) {
                let Ok((_, batch)) = batch else { break };
                match records::find_timestamp(batch, search.target, search.from, DECOMPRESSED_MAX) {
                    Ok(None) => {}
                    Ok(found) => return self.reply(search.ticket, found_answer(partition, found)),
                    Err(error) => {
                        let text =
                            format!("{}: a lookup by time met a batch that cannot be read: {error}", partition.key);
                        self.fx.log(Level::Warn, text);
                        return self.reply(search.ticket, Answer::error(ErrorCode::CORRUPT_MESSAGE));
                    }
                }
            }
        }
        if search.largest {
            return self.search_smaller(slot, search, &bytes);
        }
        let read_to = chunks.last().map(|chunk| chunk.end);
        let segment_end = partition.log.segment_of(search.from).map(|index| partition.log.segments[index].end);
        let from = read_to.or(segment_end).unwrap_or(partition.log.flushed());
        self.search(slot, Search { from, ..search });
    }

    /// The record with the largest time lies below the log's start, which a client has put between it and its neighbours.
    /// `read` are the chunks that hold the start, none where it lies in memory: the largest of what is left of them, or of
    /// all that lies behind them.
    fn search_smaller(&mut self, slot: u32, search: Search, read: &[Bytes]) {
        let Some(partition) = self.partitions[slot as usize].as_deref() else {
            return self.reply(search.ticket, Answer::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let served_end = partition.served_end();
        let tail = || partition.log.tail_from(search.from).take_while(|batch| batch.end <= served_end);
        let batches = read.iter().flat_map(|chunk| records::split(chunk)).map_while(Result::ok).map(|(_, batch)| batch);
        let cut = tail().filter(|batch| batch.base < search.from && read.is_empty()).map(|batch| &batch.bytes[..]);
        let mut here: Option<(Offset, Timestamp)> = None;
        let mut end = search.from;
        let mut corrupt = false;
        for batch in batches.chain(cut) {
            match records::find_largest(batch, search.from, DECOMPRESSED_MAX) {
                Ok(Some((offset, time))) if here.is_none_or(|(_, most)| time > most) => here = Some((offset, time)),
                Ok(_) => {}
                Err(_) => corrupt = true,
            }
            end = records::BatchHeader::parse(batch).map_or(end, |header| end.max(header.end_offset()));
        }
        if corrupt {
            return self.reply(search.ticket, Answer::error(ErrorCode::CORRUPT_MESSAGE));
        }
        let segments = &partition.log.segments;
        // One that holds the start and was not read, because it is not what held the largest.
        let unread = |chunk: &&Chunk| read.is_empty() && chunk.end > end && end < partition.log.tail_base();
        let chunks = segments.iter().flat_map(|segment| &segment.chunks);
        // What memory holds as well is looked for there; what is refused, nowhere.
        let limit = served_end.min(partition.log.tail_base());
        let chunks = chunks.filter(|chunk| chunk.base < limit && (chunk.base >= end || unread(chunk)));
        // A segment whose table is not loaded was not read just now: it lies behind.
        let whole = segments.iter().filter(|segment| (end..limit).contains(&segment.base) && segment.bytes > 0);
        let behind = chunks.map(|chunk| chunk.max_timestamp).chain(whole.map(|segment| segment.max_timestamp));
        let staged = tail().filter(|batch| batch.base >= end).map(|batch| batch.max_timestamp);
        let behind = behind.chain(staged).max().map(Timestamp);
        // Less each time, or further on: or it would never end.
        let next = |target: &Timestamp| *target < search.target || end > search.from;
        match behind.filter(|behind| here.is_none_or(|(_, time)| *behind > time) && next(behind)) {
            Some(target) => self.search(slot, Search { target, from: end, ..search }),
            None => {
                let answer = found_answer(partition, here);
                self.reply(search.ticket, answer);
            }
        }
    }

    pub(super) fn on_answer(&mut self, ticket: Ticket, answer: Answer) {
        let Some(Slot::Query(querying)) = self.conns.slot(ticket.conn, ticket.request) else { return };
        querying.parts[ticket.item as usize].1 = Some(answer);
        querying.left -= 1;
        if querying.left == 0 {
            self.finish_query(ticket);
        }
    }

    fn finish_query(&mut self, ticket: Ticket) {
        let Some(Slot::Query(querying)) = self.conns.slot(ticket.conn, ticket.request) else { return };
        let response = querying.response();
        self.conns.complete(ticket.conn, ticket.request, response);
    }

    pub(super) fn init_producer_id(&mut self, conn: ConnId, header: Header, request: &InitProducerIdRequest<'_>) {
        // Transactions are not served, which FindCoordinator has told every client already. An id without its epoch is
        // nobody's.
        let half_known = (request.producer_id == -1) != (request.producer_epoch == -1);
        if request.transactional_id.is_some() || half_known {
            let error_code = ErrorCode::INVALID_REQUEST;
            let response =
                InitProducerIdResponse { error_code, producer_epoch: -1, ..InitProducerIdResponse::default() };
            let response = header.respond(&response);
            return self.answer_now(conn, response);
        }
        let ticket = self.open_slot(conn, Slot::ProducerId { header });
        self.producer_ids.waiting.push_back(ticket);
        self.give_producer_ids();
    }

    /// Answers whoever waits for a producer id, as long as there are some; asks for more otherwise.
    pub(super) fn give_producer_ids(&mut self) {
        while let Some(ticket) = self.producer_ids.waiting.front().copied() {
            let Some(producer_id) = self.producer_ids.take() else { return self.want_producer_ids() };
            self.producer_ids.waiting.pop_front();
            let Some(Slot::ProducerId { header }) = self.conns.slot(ticket.conn, ticket.request) else { continue };
            let response =
                InitProducerIdResponse { producer_id, producer_epoch: 0, ..InitProducerIdResponse::default() };
            let response = header.respond(&response);
            self.conns.complete(ticket.conn, ticket.request, response);
        }
    }
}

/// What a partition says to a question.
enum Asked {
    Answer(Answer),
    /// The first record whose time is at least `target`, or the one with the largest time, which that seems to be.
    Search {
        target: Timestamp,
        largest: bool,
    },
    /// The log is to start here.
    Purge(i64),
}

impl Partition {
    fn answer(&self, query: Query) -> Asked {
        match query {
            Query::Offset { version, current_leader_epoch, timestamp } => {
                self.offset_answer(version, current_leader_epoch, timestamp)
            }
            Query::EpochEnd { current_leader_epoch, leader_epoch } => {
                Asked::Answer(self.epoch_answer(current_leader_epoch, leader_epoch))
            }
            Query::DeleteRecords { offset } => Asked::Purge(offset),
            Query::Refused(error) => Asked::Answer(Answer::error(error)),
        }
    }

    fn offset_answer(&self, version: i16, current_leader_epoch: i32, timestamp: i64) -> Asked {
        let since = match timestamp {
            LATEST | EARLIEST | 0.. => 1,
            MAX_TIMESTAMP => 7,
            EARLIEST_LOCAL => 8,
            LATEST_TIERED => 9,
            EARLIEST_PENDING_UPLOAD => 11,
            _ => i16::MAX,
        };
        if version < since {
            return Asked::Answer(Answer::error(ErrorCode::UNSUPPORTED_VERSION));
        }
        let error = self.check_asked_epoch(current_leader_epoch);
        if error != ErrorCode::NONE {
            return Asked::Answer(Answer::error(error));
        }
        if !self.replica.is_serving() {
            let old = version < 5;
            let error = if old { ErrorCode::LEADER_NOT_AVAILABLE } else { ErrorCode::OFFSET_NOT_AVAILABLE };
            return Asked::Answer(Answer::error(error));
        }
        let at = |offset: Offset| Answer {
            offset: offset.0,
            leader_epoch: self.replica.epoch_of(offset).0,
            ..Answer::error(ErrorCode::NONE)
        };
        match timestamp {
            LATEST => Asked::Answer(at(self.served_end())),
            EARLIEST | EARLIEST_LOCAL => Asked::Answer(at(self.replica.start())),
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Asked::Answer(Answer::error(ErrorCode::NONE)),
            MAX_TIMESTAMP => match self.max_timestamp() {
                Some(target) => Asked::Search { target, largest: true },
                None => Asked::Answer(Answer::error(ErrorCode::NONE)),
            },
            _ => Asked::Search { target: Timestamp(timestamp), largest: false },
        }
    }

    /// The largest timestamp of all records that are served.
    fn max_timestamp(&self) -> Option<Timestamp> {
        let end = self.served_end();
        let segments =
            self.log.segments.iter().filter(|segment| segment.bytes > 0).map(|segment| segment.max_timestamp);
        let tail = self.log.tail_from(self.log.flushed()).take_while(|batch| batch.end <= end);
        segments.chain(tail.map(|batch| batch.max_timestamp)).max().map(Timestamp)
    }

    /// Here, unlike in a Fetch, only -1 is no epoch.
    fn check_asked_epoch(&self, current: i32) -> ErrorCode {
        match current {
            ..-1 => ErrorCode::FENCED_LEADER_EPOCH,
            -1.. => self.check_epoch(current),
        }
    }

    fn epoch_answer(&self, current_leader_epoch: i32, leader_epoch: i32) -> Answer {
        let error = self.check_asked_epoch(current_leader_epoch);
        if error != ErrorCode::NONE {
            return Answer::error(error);
        }
        match self.replica.end_of_epoch(Epoch(leader_epoch)) {
            Some((epoch, end)) => Answer { offset: end.0, leader_epoch: epoch.0, ..Answer::error(ErrorCode::NONE) },
            None => Answer::error(ErrorCode::NONE),
        }
    }
}

fn found_answer(partition: &Partition, found: Option<(Offset, Timestamp)>) -> Answer {
    match found.filter(|(offset, _)| *offset < partition.served_end()) {
        Some((offset, timestamp)) => Answer {
            error: ErrorCode::NONE,
            timestamp: timestamp.0,
            offset: offset.0,
            leader_epoch: partition.replica.epoch_of(offset).0,
        },
        None => Answer::error(ErrorCode::NONE),
    }
}

impl Querying {
    fn response(&self) -> Vec<Bytes> {
        match self.kind {
            Kind::ListOffsets => self.list_offsets_response(),
            Kind::EpochEnds => self.epoch_ends_response(),
            Kind::DeleteRecords => self.delete_records_response(),
        }
    }

    fn list_offsets_response(&self) -> Vec<Bytes> {
        let mut parts = self.parts.iter().map(|(partition_index, answer)| {
            let answer = answer.as_ref().expect("every question is answered");
            ListOffsetsPartitionResponse {
                partition_index: *partition_index,
                error_code: answer.error,
                timestamp: answer.timestamp,
                offset: answer.offset,
                leader_epoch: answer.leader_epoch,
            }
        });
        let topics = self.topics.iter().map(|(name, count)| ListOffsetsTopicResponse {
            name: Cow::Borrowed(name),
            partitions: parts.by_ref().take(*count as usize).collect(),
        });
        let response = ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() };
        self.header.respond(&response)
    }

    fn delete_records_response(&self) -> Vec<Bytes> {
        let mut parts = self.parts.iter().map(|(partition_index, answer)| {
            let answer = answer.as_ref().expect("every question is answered");
            DeleteRecordsPartitionResult {
                partition_index: *partition_index,
                low_watermark: answer.offset,
                error_code: answer.error,
            }
        });
        let topics = self.topics.iter().map(|(name, count)| DeleteRecordsTopicResult {
            name: Cow::Borrowed(name),
            partitions: parts.by_ref().take(*count as usize).collect(),
        });
        self.header.respond(&DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() })
    }

    fn epoch_ends_response(&self) -> Vec<Bytes> {
        let mut parts = self.parts.iter().map(|(partition, answer)| {
            let answer = answer.as_ref().expect("every question is answered");
            EpochEndOffset {
                error_code: answer.error,
                partition: *partition,
                leader_epoch: answer.leader_epoch,
                end_offset: answer.offset,
            }
        });
        let topics = self.topics.iter().map(|(topic, count)| OffsetForLeaderTopicResult {
            topic: Cow::Borrowed(topic),
            partitions: parts.by_ref().take(*count as usize).collect(),
        });
        let response =
            OffsetForLeaderEpochResponse { topics: topics.collect(), ..OffsetForLeaderEpochResponse::default() };
        self.header.respond(&response)
    }
}
