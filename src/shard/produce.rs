//! Produce: checks a batch, journals it, answers when it is durable.
//!
//! Invariant: base offset, epoch and (where the topic says so) time of a batch are patched in the one copy, from the receive
//! buffer into the journal's arena. Only what its topic wants in another compression is copied before (`backlog.rs`).

use super::Shard;
use super::connection::{Header, Slot};
use super::partition::{Partition, Waiter};
use crate::boundary::{ConnId, Timestamp};
use crate::config::Config;
use crate::configs::{TimestampType, TopicSettings};
use crate::ids::{Epoch, Offset, PartitionKey, TopicId};
use crate::journal::Entry;
use crate::mail::{Letter, Ticket};
use crate::memory::Shares;
use crate::records::{self, BatchError, BatchHeader, Limits};
use crate::replica::producers::{Sequence, Verdict};
use crate::wire::ErrorCode;
use crate::wire::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// A batch shares its journal file with others.
const BATCHES_PER_FILE_MIN: u64 = 4;

/// What became of one batch.
#[derive(Clone, Debug)]
pub struct Appended {
    pub error: ErrorCode,
    pub message: Option<String>,
    /// The record that made the batch fail, by its index, and what is wrong with it.
    pub record: Option<Box<(i32, String)>>,
    pub base: Offset,
    /// The broker's clock, where it stamped the batch; else -1.
    pub append_time: i64,
    pub start: Offset,
}

impl Appended {
    pub fn ok(base: Offset, append_time: i64, start: Offset) -> Appended {
        Appended { error: ErrorCode::NONE, message: None, record: None, base, append_time, start }
    }

    pub fn error(error: ErrorCode) -> Appended {
        Appended { error, message: None, record: None, base: Offset(-1), append_time: -1, start: Offset(-1) }
    }

    fn because(error: ErrorCode, message: String) -> Appended {
        Appended { message: Some(message), ..Appended::error(error) }
    }
}

/// A Produce that is being answered.
pub struct Producing {
    header: Header,
    acks: i16,
    topics: SmallVec<[(String, TopicId, u32); 1]>,
    partitions: SmallVec<[(i32, Option<Appended>); 1]>,
    /// How many batches have no outcome yet.
    left: u32,
}

impl Shard {
    pub(super) fn can_append(&mut self, len: usize) -> bool {
        let mailed: usize = self.mailed_bytes.iter().sum();
        if mailed > 0 && mailed + len > Shares::of(self.config.memory_bytes).mail as usize {
            return false;
        }
        self.can_append_local(len)
    }

    /// The disk is full, and neither the journal nor memory, which only segments free, has room for `len` bytes: only then appends
    /// are refused rather than made to wait.
    pub(super) fn journal_refuses(&mut self, len: usize) -> bool {
        self.disk_full && !(self.journal().ring_has_room(len) && self.journal().has_memory(len))
    }

    pub(super) fn produce(&mut self, conn: ConnId, header: Header, request: &ProduceRequest<'_>, frame: &Bytes) {
        let mut producing = Producing {
            header,
            acks: request.acks,
            topics: SmallVec::with_capacity(request.topic_data.len()),
            partitions: SmallVec::new(),
            left: 0,
        };
        for topic in &request.topic_data {
            let count = topic.partition_data.len() as u32;
            producing.topics.push((topic.name.to_string(), topic.topic_id, count));
            producing.partitions.extend(topic.partition_data.iter().map(|data| (data.index, None)));
        }
        producing.left = producing.partitions.len() as u32;
        let none = producing.left == 0;
        let refused = self.refused_whole(request);
        let mut ticket = self.open_slot(conn, Slot::Produce(producing));
        if none {
            return self.conns.mark(conn);
        }
        for topic in &request.topic_data {
            let found = match header.version {
                13.. => self.image.topic(topic.topic_id),
                _ => self.image.topic_named(&topic.name),
            };
            // Only coordinators write to the broker's own topics.
            let internal = found.is_some_and(|topic| crate::metadata::name::is_internal(&topic.name));
            let found = found.map(|topic| (topic.id, topic.partitions));
            for data in &topic.partition_data {
                let records = data.records.as_ref().map(|records| records.contiguous()).unwrap_or_default();
                let outcome = match found {
                    Some(_) if internal => Some(Appended::error(ErrorCode::INVALID_TOPIC_EXCEPTION)),
                    None if header.version >= 13 => Some(Appended::error(ErrorCode::UNKNOWN_TOPIC_ID)),
                    Some((_, partitions)) if (0..partitions).contains(&data.index) => refused.clone(),
                    Some(_) | None => Some(Appended::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
                };
                match (outcome, found) {
                    (None, Some((id, _))) => {
                        let key = PartitionKey { topic: id, index: data.index };
                        self.append_somewhere(ticket, key, request.acks, header.version, &records, frame);
                    }
                    (outcome, _) => {
                        let appended = outcome.expect("a topic that is not found is refused");
                        self.on_appended(ticket, appended);
                    }
                }
                ticket.item += 1;
            }
        }
    }

    /// What makes every partition that exists fail.
    fn refused_whole(&self, request: &ProduceRequest<'_>) -> Option<Appended> {
        if !(-1..=1).contains(&request.acks) {
            let text = format!("acks {}; -1, 0 and 1 are allowed", request.acks);
            return Some(Appended::because(ErrorCode::INVALID_REQUIRED_ACKS, text));
        }
        None
    }

    fn append_somewhere(
        &mut self,
        ticket: Ticket,
        key: PartitionKey,
        acks: i16,
        version: i16,
        batch: &[u8],
        frame: &Bytes,
    ) {
        let owner = self.owner(key);
        if owner == self.me && self.may_pass(key) {
            if let Err(refused) = self.append(ticket, key, acks, version, batch, 0) {
                self.count_refused(key);
                self.on_appended(ticket, refused);
            }
            return;
        }
        self.mailed_bytes[owner.0 as usize] += batch.len();
        let letter = Letter::Append { ticket, key, acks, version, batch: frame.slice_ref(batch) };
        if owner == self.me { self.on_append(owner, letter) } else { self.fx.mail(owner, letter) }
    }

    pub(super) fn can_append_local(&mut self, len: usize) -> bool {
        // Where it is refused, each batch gets a code that says why.
        self.finds_room(len) || self.journal_refuses(len)
    }

    /// Whether `len` bytes can be journalled now, if need be in place of batches that segments hold.
    pub(super) fn finds_room(&mut self, len: usize) -> bool {
        if self.journal().has_room(len) {
            return true;
        }
        self.make_room(len);
        self.journal().has_room(len)
    }

    /// Counts a batch that is refused, where its partition is here.
    pub(super) fn count_refused(&mut self, key: PartitionKey) {
        if let Some(slot) = self.slots.get(&key).copied()
            && let Some(partition) = self.partition(slot)
        {
            partition.traffic.refused += 1;
        }
    }

    /// Appends a batch to a partition of this shard, or says why not.
    pub(super) fn append(
        &mut self,
        ticket: Ticket,
        key: PartitionKey,
        acks: i16,
        version: i16,
        batch: &[u8],
        mailed: usize,
    ) -> Result<(), Appended> {
        let now = self.fx.now.wall;
        // Whoever came here without room came to be refused.
        let refuses = self.disk_full && !self.journal().has_room(batch.len());
        let serving = self.phase == super::Phase::Serving;
        let slot = *self.slots.get(&key).ok_or_else(|| Appended::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
        let (Some(partition), Some(journal)) = (self.partitions[slot as usize].as_deref_mut(), self.journal.as_mut())
        else {
            return Err(Appended::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        partition.admit(acks, serving, batch, now)?;
        let start = partition.replica.start();
        let bounds = Bounds::of(&self.config, start);
        let checked = check(batch, version, &partition.settings, &bounds, now)?;
        let sequence =
            sequence_of(&checked.header).map(|sequence| Sequence { timestamp: checked.max_timestamp.0, ..sequence });
        let mut waiter = Waiter {
            ticket,
            base: Offset(-1),
            end: Offset(-1),
            batch_bytes: mailed,
            append_time: checked.append_time.map_or(-1, |time| time.0),
        };
        match sequence.map_or(Verdict::Append, |sequence| partition.producers.judge(sequence)) {
            Verdict::Append => {}
            Verdict::Duplicate { base, end, timestamp } => {
                // As in Kafka, which remembers one time of a batch: also where the time is the producer's.
                (waiter.base, waiter.end, waiter.append_time) = (base, end, timestamp);
                partition.answer_later(waiter, acks);
                self.advance(slot);
                return Ok(());
            }
            Verdict::Fenced { current } => {
                let text = format!("producer epoch {}; the newest is {current}", checked.header.producer_epoch);
                return Err(Appended { start, ..Appended::because(ErrorCode::INVALID_PRODUCER_EPOCH, text) });
            }
            Verdict::OutOfOrder { expected } => {
                let (id, found) = (checked.header.producer_id, checked.header.base_sequence);
                let text =
                    format!("out of order sequence number for producer {id} in {key}: {found}, expected {expected}");
                return Err(Appended { start, ..Appended::because(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, text) });
            }
        }
        if refuses {
            sequence.iter().for_each(|sequence| partition.producers.refuse(*sequence, now.0));
            let text = String::from("the disk is full");
            return Err(Appended::because(ErrorCode::KAFKA_STORAGE_ERROR, text));
        }
        let base = partition.replica.append(checked.header.records_count.into());
        let (end, epoch) = (partition.replica.end().offset, partition.replica.epoch());
        let max_timestamp = checked.max_timestamp.0;
        if let Some(sequence) = sequence {
            partition.producers.apply(sequence, base, end, now.0);
        }
        let entry = Entry { key, slot, epoch, base, end, max_timestamp };
        journal.append_batch(entry, batch, &mut partition.hint, |copy| checked.patch(copy, base, epoch));
        (waiter.base, waiter.end) = (base, end);
        partition.traffic.took(checked.header.records_count, batch.len());
        partition.answer_later(waiter, acks);
        Ok(())
    }

    /// One batch of a request has its outcome.
    pub(super) fn on_appended(&mut self, ticket: Ticket, appended: Appended) {
        if let Some(error) = self.conns.appended(ticket, appended) {
            // Kafka's way to tell a producer that asked not to be answered.
            self.refuse(ticket.conn, &format!("a batch sent with acks=0 failed: {error}"));
        }
    }
}

impl Partition {
    /// Whether anything may be appended. Who is refused for a moment only sends the same batch again, and that comes first.
    fn admit(&mut self, acks: i16, serving: bool, batch: &[u8], now: Timestamp) -> Result<(), Appended> {
        let refused = self.may_append(acks, serving);
        if refused.as_ref().is_err_and(|refused| refused.error == ErrorCode::NOT_LEADER_OR_FOLLOWER)
            && let Some(sequence) = BatchHeader::parse(batch).ok().and_then(|header| sequence_of(&header))
        {
            self.producers.refuse(sequence, now.0);
        }
        refused
    }

    fn may_append(&self, acks: i16, serving: bool) -> Result<(), Appended> {
        if self.deleted {
            return Err(Appended::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        }
        if let Some(refusal) = &self.refusal {
            return Err(Appended::because(ErrorCode::KAFKA_STORAGE_ERROR, refusal.to_string()));
        }
        if !serving || !self.replica.is_serving() {
            return Err(Appended::error(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        }
        // As in Kafka, nobody can want more replicas in sync than there are.
        let wanted = self.settings.min_insync_replicas.min(self.replica.replicas() as u32);
        if acks == -1 && wanted > 1 {
            let text = format!("1 replica is in sync; min.insync.replicas is {wanted}");
            return Err(Appended::because(ErrorCode::NOT_ENOUGH_REPLICAS, text));
        }
        Ok(())
    }

    fn answer_later(&mut self, waiter: Waiter, acks: i16) {
        let queue = if acks == -1 { &mut self.at_high_watermark } else { &mut self.at_durable };
        Partition::wait(queue, waiter);
    }
}

/// A batch that may be appended, and what must be patched in its copy.
pub(super) struct Checked {
    header: BatchHeader,
    max_timestamp: Timestamp,
    /// Stamp it with this.
    append_time: Option<Timestamp>,
    /// Its header claims another largest timestamp than its records have.
    correct_max: bool,
}

impl Checked {
    fn patch(&self, copy: &mut [u8], base: Offset, epoch: Epoch) {
        match self.append_time {
            Some(now) => records::set_log_append_time(copy, now),
            None if self.correct_max => records::set_max_timestamp(copy, self.max_timestamp),
            None => {}
        }
        records::patch(copy, base, epoch);
    }
}

/// The largest batch that the journal takes.
pub(super) fn batch_bytes_max(config: &Config) -> u64 {
    config.journal.file_bytes / BATCHES_PER_FILE_MIN
}

/// What a batch is held against beside its topic's settings.
pub(super) struct Bounds {
    batch_bytes_max: u64,
    /// Records that take more are not looked at: the batch is taken by its header, whose checksum is right.
    pub decompressed_bytes_max: usize,
    /// The log's start, which a refusal names.
    start: Offset,
}

impl Bounds {
    pub fn of(config: &Config, start: Offset) -> Bounds {
        Bounds {
            batch_bytes_max: batch_bytes_max(config),
            decompressed_bytes_max: Shares::of(config.memory_bytes).decompressed as usize,
            start,
        }
    }
}

pub(super) fn check(
    batch: &[u8],
    version: i16,
    settings: &TopicSettings,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<Checked, Appended> {
    let size_max = u64::from(settings.max_message_bytes).min(bounds.batch_bytes_max) as usize;
    let limits = Limits { batch_bytes_max: size_max, zstd: version >= 7, transactional: false };
    let header = records::check(batch, &limits).map_err(|error| refused(&error, bounds))?;
    let mut max_timestamp = header.max_timestamp;
    let mut min_timestamp = Some(header.base_timestamp);
    match records::check_records(batch, bounds.decompressed_bytes_max) {
        Ok(contents) => {
            if settings.cleanup.compact
                && let Some(index) = contents.first_without_key
            {
                let text = String::from("Compacted topic cannot accept message without key");
                return Err(one_refused(ErrorCode::INVALID_RECORD, text.clone(), index, text, bounds));
            }
            max_timestamp = contents.max_timestamp;
            min_timestamp = contents.min_timestamp;
        }
        // Nobody could read its keys.
        Err(error @ BatchError::DecompressedTooLarge { .. }) if settings.cleanup.compact => {
            return Err(refused(&error, bounds));
        }
        Err(BatchError::DecompressedTooLarge { .. }) => {}
        Err(error) => return Err(refused(&error, bounds)),
    }
    if settings.timestamp_type == TimestampType::LogAppendTime {
        return Ok(Checked { header, max_timestamp: now, append_time: Some(now), correct_max: false });
    }
    let oldest = now.0.saturating_sub(settings.timestamp_before_max_ms);
    let newest = now.0.saturating_add(settings.timestamp_after_max_ms);
    if min_timestamp.is_some_and(|least| least.0 != -1 && least.0 < oldest) || max_timestamp.0 > newest {
        let outside = records::find_outside(batch, &(oldest..=newest), bounds.decompressed_bytes_max);
        let (index, found) = outside.ok().flatten().map_or((0, max_timestamp.0), |(offset, time)| (offset.0, time.0));
        let detail = format!(
            "Timestamp {found} of message with offset {index} is out of range. The timestamp should be within \
             [{oldest}, {newest}]"
        );
        let text = String::from("One or more records have been rejected due to invalid timestamp");
        return Err(one_refused(ErrorCode::INVALID_TIMESTAMP, text, index as i32, detail, bounds));
    }
    Ok(Checked { header, max_timestamp, append_time: None, correct_max: max_timestamp != header.max_timestamp })
}

/// A batch that is refused for one of its records.
fn one_refused(error: ErrorCode, text: String, index: i32, detail: String, bounds: &Bounds) -> Appended {
    let record = Some(Box::new((index, detail)));
    Appended { record, start: bounds.start, ..Appended::because(error, text) }
}

fn refused(error: &BatchError, bounds: &Bounds) -> Appended {
    match error {
        BatchError::Record { index, .. } => {
            one_refused(error.code(), error.to_string(), *index, error.to_string(), bounds)
        }
        // As in Kafka: what is refused before the log is looked at does not name the log's start.
        BatchError::Truncated { .. }
        | BatchError::NotOneBatch { .. }
        | BatchError::Length { .. }
        | BatchError::Magic { .. }
        | BatchError::Checksum { .. }
        | BatchError::TooLarge { .. } => Appended::because(error.code(), error.to_string()),
        BatchError::BaseOffset { .. }
        | BatchError::Count { .. }
        | BatchError::UnknownCompression { .. }
        | BatchError::CompressionNotAllowed { .. }
        | BatchError::Control
        | BatchError::Transactional
        | BatchError::DeleteHorizon
        | BatchError::Sequence { .. }
        | BatchError::LogAppendTime
        | BatchError::Decompress { .. }
        | BatchError::DecompressedTooLarge { .. } => {
            Appended { start: bounds.start, ..Appended::because(error.code(), error.to_string()) }
        }
    }
}

/// What identifies a retry of this batch.
pub(super) fn sequence_of(header: &BatchHeader) -> Option<Sequence> {
    header.has_producer_id().then(|| Sequence {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        first: header.base_sequence,
        last: header.last_sequence(),
        timestamp: header.max_timestamp.0,
    })
}

impl Producing {
    /// One of its batches has its outcome.
    pub fn settle(&mut self, ticket: Ticket, appended: Appended) {
        let outcome = &mut self.partitions[ticket.item as usize].1;
        assert!(outcome.is_none(), "{ticket:?} is answered twice");
        *outcome = Some(appended);
        self.left -= 1;
    }

    /// Every batch has its outcome.
    pub fn is_answered(&self) -> bool {
        self.left == 0
    }

    /// What went wrong, where nobody is to be told.
    pub fn unanswerable(&self) -> Option<ErrorCode> {
        if self.acks != 0 {
            return None;
        }
        let outcomes = self.partitions.iter().filter_map(|(_, appended)| appended.as_ref());
        outcomes.map(|appended| appended.error).find(|error| *error != ErrorCode::NONE)
    }

    /// Writes the response, if one was asked for, behind what is in `out`.
    pub fn respond(&self, throttle_time_ms: i32, out: &mut BytesMut) {
        if self.acks == 0 {
            return;
        }
        let mut rest = self.partitions.iter();
        // Of a topic without partitions there is nothing to say.
        let topics = self.topics.iter().filter(|(_, _, count)| *count > 0);
        let responses = topics.map(|(name, topic_id, count)| TopicProduceResponse {
            name: Cow::Borrowed(name.as_str()),
            topic_id: *topic_id,
            partition_responses: rest.by_ref().take(*count as usize).map(partition_response).collect(),
        });
        let responses = responses.collect();
        self.header.respond_onto(&ProduceResponse { responses, throttle_time_ms, ..ProduceResponse::default() }, out);
    }
}

fn partition_response((index, appended): &(i32, Option<Appended>)) -> PartitionProduceResponse<'_> {
    let appended = appended.as_ref().expect("every partition has its outcome");
    let record_error = appended.record.as_deref().map(|(batch_index, text)| BatchIndexAndErrorMessage {
        batch_index: *batch_index,
        batch_index_error_message: Some(Cow::Borrowed(text)),
    });
    PartitionProduceResponse {
        index: *index,
        error_code: appended.error,
        base_offset: appended.base.0,
        log_append_time_ms: appended.append_time,
        log_start_offset: appended.start.0,
        record_errors: record_error.into_iter().collect(),
        error_message: appended.message.as_deref().map(Cow::Borrowed),
        ..PartitionProduceResponse::default()
    }
}
