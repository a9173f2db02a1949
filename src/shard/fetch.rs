//! Fetch: a long poll over any number of partitions, of any shard.
//!
//! ```text
//! read every partition ─▶ enough, an error, or out of time ─▶ answer
//!        ▲                          │ no
//!        └── something new ── watch every partition
//! ```
//!
//! Invariant: nothing at or above the high watermark is ever in an answer, and the first batch of an answer is whole.

use super::connection::{Header, Slot};
use super::partition::{Partition, Watcher};
use super::timers::Timer;
use super::{Shard, reads};
use crate::boundary::{ConnId, Instant};
use crate::ids::{Epoch, Offset, PartitionKey, ShardId, TopicId};
use crate::mail::{Letter, Ticket};
use crate::wire::fetch::{EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use crate::wire::{ErrorCode, Records};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::time::Duration;

/// Smaller batches are copied together: a slice of its own costs more than that.
const COPY_MAX: usize = 4 << 10;

/// One partition of a read.
#[derive(Clone, Copy, Debug)]
pub struct ReadPart {
    pub item: u32,
    pub key: PartitionKey,
    pub offset: Offset,
    pub max_bytes: usize,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
}

/// What was read of one partition.
#[derive(Clone, Debug)]
pub struct ReadResult {
    pub item: u32,
    pub error: ErrorCode,
    pub high_watermark: Offset,
    pub start: Offset,
    pub records: Vec<Bytes>,
    pub bytes: usize,
    /// What of them are copies; the others are shared.
    pub copied: usize,
    /// There is more to serve than was read: a limit was met, or a segment has ended.
    pub more: bool,
    /// The log has left the reader's: the largest epoch at or below the reader's, and its end.
    pub diverging: Option<(Epoch, Offset)>,
}

impl ReadResult {
    pub fn error(item: u32, error: ErrorCode) -> ReadResult {
        ReadResult {
            item,
            error,
            high_watermark: Offset(-1),
            start: Offset(-1),
            records: Vec::new(),
            bytes: 0,
            copied: 0,
            more: false,
            diverging: None,
        }
    }
}

/// A Fetch that is being answered.
pub struct Fetching {
    header: Header,
    topics: Vec<(String, TopicId, u32)>,
    parts: Vec<Part>,
    min_bytes: usize,
    max_bytes: usize,
    deadline: Instant,
    read_committed: bool,
    /// What the whole request is refused for.
    error: ErrorCode,
    round: u32,
    /// Shards that have not answered this round.
    left: usize,
    watching: bool,
    /// What was read, and is too little, was let go.
    let_go: bool,
}

struct Part {
    index: i32,
    wanted: Option<ReadPart>,
    result: Option<ReadResult>,
}

impl Part {
    /// What counts for `min_bytes`: where there is more than was read, what was asked for, as in Kafka.
    fn available(&self) -> usize {
        let Some(result) = &self.result else { return 0 };
        let wanted = self.wanted.filter(|_| result.more).map_or(0, |wanted| wanted.max_bytes);
        result.bytes.max(wanted)
    }
}

impl Shard {
    pub(super) fn fetch(&mut self, conn: ConnId, header: Header, request: &FetchRequest<'_>) {
        if !matches!(request.session_epoch, 0 | -1) {
            // No sessions are kept, so every one is foreign.
            let error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
            let response = FetchResponse { error_code, ..FetchResponse::default() };
            let response = header.respond(&response);
            return self.answer_now(conn, response);
        }
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(self.settings.fetch_max_bytes as usize);
        let mut fetching = Fetching {
            header,
            topics: Vec::with_capacity(request.topics.len()),
            parts: Vec::new(),
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
            max_bytes,
            deadline: self.fx.now.mono.after(wait),
            read_committed: request.isolation_level == 1,
            error: match request.isolation_level {
                0 | 1 => ErrorCode::NONE,
                _ => ErrorCode::UNKNOWN_SERVER_ERROR,
            },
            round: 0,
            left: 0,
            watching: false,
            let_go: false,
        };
        let refused = refused_whole(request);
        for topic in &request.topics {
            let by_id = header.version >= 13;
            let found = if by_id { self.image.topic(topic.topic_id) } else { self.image.topic_named(&topic.topic) };
            let unknown = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
            fetching.topics.push((topic.topic.to_string(), topic.topic_id, topic.partitions.len() as u32));
            for partition in &topic.partitions {
                let item = fetching.parts.len() as u32;
                let index = partition.partition;
                let (wanted, result) = match found {
                    None => (None, Some(ReadResult::error(item, unknown))),
                    Some(topic) if !(0..topic.partitions).contains(&index) => {
                        (None, Some(ReadResult::error(item, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)))
                    }
                    Some(_) if refused != ErrorCode::NONE => (None, Some(ReadResult::error(item, refused))),
                    // Kafka's code for what it did not expect.
                    Some(_) if partition.partition_max_bytes < 0 => {
                        (None, Some(ReadResult::error(item, ErrorCode::UNKNOWN_SERVER_ERROR)))
                    }
                    Some(topic) => {
                        let wanted = ReadPart {
                            item,
                            key: PartitionKey { topic: topic.id, index },
                            offset: Offset(partition.fetch_offset),
                            max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
                            current_leader_epoch: partition.current_leader_epoch,
                            last_fetched_epoch: partition.last_fetched_epoch,
                        };
                        (Some(wanted), None)
                    }
                };
                fetching.parts.push(Part { index, wanted, result });
            }
        }
        let ticket = self.open_slot(conn, Slot::Fetch(fetching));
        self.read_round(ticket);
    }

    fn fetching(&mut self, ticket: Ticket) -> Option<&mut Fetching> {
        match self.conns.slot(ticket.conn, ticket.request) {
            Some(Slot::Fetch(fetching)) => Some(fetching),
            Some(
                Slot::Ready(_)
                | Slot::Produce(_)
                | Slot::Query(_)
                | Slot::Group(_)
                | Slot::Look(_)
                | Slot::Forwarded
                | Slot::ProducerId { .. },
            )
            | None => None,
        }
    }

    /// Asks every shard for what its partitions have.
    pub(super) fn read_round(&mut self, ticket: Ticket) {
        let shards = self.config.shards;
        let Some(fetching) = self.fetching(ticket) else { return };
        let wanted = fetching.max_bytes;
        let Some(granted) = self.grant_answer(ticket, wanted) else { return };
        let fetching = self.fetching(ticket).expect("just seen");
        fetching.round += 1;
        let mut by_shard: BTreeMap<ShardId, Vec<ReadPart>> = BTreeMap::new();
        for part in &mut fetching.parts {
            if let Some(wanted) = part.wanted {
                part.result = None;
                by_shard.entry(wanted.key.shard(shards)).or_default().push(wanted);
            }
        }
        fetching.left = by_shard.len();
        let round = fetching.round;
        let max_bytes = granted / by_shard.len().max(1);
        if by_shard.is_empty() {
            return self.finish_fetch(ticket);
        }
        for (shard, parts) in by_shard {
            if shard == self.me {
                self.on_read(ticket, round, parts, max_bytes);
            } else {
                self.fx.mail(shard, Letter::Read { ticket, round, parts, max_bytes });
            }
        }
    }

    /// Reads partitions of this shard: from memory at once, from segments by jobs.
    pub(super) fn on_read(&mut self, ticket: Ticket, round: u32, parts: Vec<ReadPart>, max_bytes: usize) {
        let mut left = max_bytes;
        let mut first = true;
        let mut results = Vec::with_capacity(parts.len());
        let (mut wanted, mut later) = (Vec::new(), Vec::new());
        for part in parts {
            let slot = self.slots.get(&part.key).copied();
            let partition = slot.and_then(|slot| self.partitions[slot as usize].as_deref());
            match (partition.filter(|partition| !partition.deleted), slot) {
                (Some(partition), Some(slot)) => match partition.read(&part, left, first) {
                    Read::Done(result) => {
                        first &= result.bytes == 0;
                        left = left.saturating_sub(result.bytes);
                        results.push(result);
                    }
                    Read::Segments => {
                        let bytes = part.max_bytes.min(left).max(usize::from(first));
                        if bytes > 0 {
                            wanted.push(reads::Wanted { slot, part, bytes, whole: first });
                            left = left.saturating_sub(bytes);
                            first = false;
                        } else {
                            later.push((slot, part.offset));
                            results.push(ReadResult { more: true, ..partition.empty_result(part.item) });
                        }
                    }
                },
                (_, _) => results.push(ReadResult::error(part.item, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)),
            }
        }
        if wanted.is_empty() {
            self.read_done(ticket, round, results);
        } else {
            self.read_segments(reads::Reader { ticket, round }, results, wanted, later);
        }
    }

    pub(super) fn read_done(&mut self, ticket: Ticket, round: u32, results: Vec<ReadResult>) {
        if ticket.shard == self.me {
            self.on_read_done(ticket, round, results);
        } else {
            self.fx.mail(ticket.shard, Letter::ReadDone { ticket, round, results });
        }
    }

    pub(super) fn on_read_done(&mut self, ticket: Ticket, round: u32, results: Vec<ReadResult>) {
        let now = self.fx.now.mono;
        let Some(fetching) = self.fetching(ticket) else { return };
        if fetching.round != round {
            return;
        }
        for result in results {
            let item = result.item as usize;
            fetching.parts[item].result = Some(result);
        }
        fetching.left -= 1;
        if fetching.left > 0 {
            return;
        }
        // Partitions that do not exist hurry nobody: a client that asks for one again and again would not rest.
        let read = || fetching.parts.iter().filter(|part| part.wanted.is_some());
        let results = || read().filter_map(|part| part.result.as_ref());
        let available: usize = read().map(Part::available).sum();
        let failed = results().any(|result| result.error != ErrorCode::NONE || result.diverging.is_some());
        if failed || available >= fetching.min_bytes || now >= fetching.deadline {
            return self.finish_fetch(ticket);
        }
        self.watch(ticket);
    }

    /// Asks to be told of new records, and to be woken when time is up.
    fn watch(&mut self, ticket: Ticket) {
        let shards = self.config.shards;
        let Some(fetching) = self.fetching(ticket) else { return };
        fetching.watching = true;
        fetching.let_go = fetching.parts.iter().any(|part| part.result.as_ref().is_some_and(|read| read.bytes > 0));
        let (round, deadline) = (fetching.round, fetching.deadline);
        let mut by_shard: BTreeMap<ShardId, Vec<(PartitionKey, Offset)>> = BTreeMap::new();
        for part in &mut fetching.parts {
            let Some(wanted) = part.wanted else { continue };
            let read = part.result.as_ref().map(|result| result.high_watermark);
            let read = read.map_or(wanted.offset, |read| read.max(wanted.offset));
            by_shard.entry(wanted.key.shard(shards)).or_default().push((wanted.key, read));
            if let Some(result) = &mut part.result {
                // It waits perhaps for long: not with the memory of others.
                (result.records, result.bytes, result.copied) = (Vec::new(), 0, 0);
            }
        }
        self.answers.release(ticket.conn);
        self.timers.set(deadline, Timer::FetchDue { conn: ticket.conn, request: ticket.request, round });
        for (shard, parts) in by_shard {
            if shard == self.me {
                self.on_watch(ticket, round, &parts);
            } else {
                self.fx.mail(shard, Letter::Watch { ticket, round, parts });
            }
        }
    }

    /// Remembers who wants to know of records above the given offsets, or tells at once.
    pub(super) fn on_watch(&mut self, ticket: Ticket, round: u32, parts: &[(PartitionKey, Offset)]) {
        for (key, seen) in parts {
            let partition = self.slots.get(key).and_then(|slot| self.partitions[*slot as usize].as_deref_mut());
            let news = match partition {
                Some(partition) if !partition.deleted && partition.served_end() <= *seen => {
                    partition.watchers.insert((ticket.shard, ticket.conn), Watcher { ticket, round });
                    false
                }
                Some(_) | None => true,
            };
            if news {
                return self.send(ticket.shard, Letter::Woken { ticket, round });
            }
        }
    }

    pub(super) fn on_unwatch(&mut self, shard: ShardId, conn: ConnId, keys: &[PartitionKey]) {
        for key in keys {
            if let Some(slot) = self.slots.get(key)
                && let Some(partition) = self.partitions[*slot as usize].as_deref_mut()
            {
                partition.watchers.remove(&(shard, conn));
            }
        }
    }

    /// Takes back what [`Shard::watch`] asked for.
    pub(super) fn unwatch(&mut self, conn: ConnId, fetching: &Fetching) {
        if !fetching.watching {
            return;
        }
        let mut by_shard: BTreeMap<ShardId, Vec<PartitionKey>> = BTreeMap::new();
        for wanted in fetching.parts.iter().filter_map(|part| part.wanted) {
            by_shard.entry(self.owner(wanted.key)).or_default().push(wanted.key);
        }
        for (shard, keys) in by_shard {
            if shard == self.me {
                self.on_unwatch(self.me, conn, &keys);
            } else {
                self.fx.mail(shard, Letter::Unwatch { shard: self.me, conn, keys });
            }
        }
    }

    pub(super) fn on_woken(&mut self, ticket: Ticket, round: u32) {
        if self.stop_watching(ticket, round) {
            self.read_round(ticket);
        }
    }

    pub(super) fn on_fetch_due(&mut self, conn: ConnId, request: u64, round: u32) {
        let ticket = Ticket { shard: self.me, conn, request, item: 0 };
        if self.stop_watching(ticket, round) {
            match self.fetching(ticket) {
                // Time is up: whatever is there now is the answer.
                Some(fetching) if fetching.let_go => self.read_round(ticket),
                Some(_) | None => self.finish_fetch(ticket),
            }
        }
    }

    fn stop_watching(&mut self, ticket: Ticket, round: u32) -> bool {
        let Some(slot) = self.conns.slot(ticket.conn, ticket.request) else { return false };
        let watching = matches!(slot, Slot::Fetch(fetching) if fetching.watching && fetching.round == round);
        if !watching {
            return false;
        }
        let Slot::Fetch(mut fetching) = core::mem::replace(slot, Slot::Forwarded) else { unreachable!("just seen") };
        self.unwatch(ticket.conn, &fetching);
        fetching.watching = false;
        if let Some(slot) = self.conns.slot(ticket.conn, ticket.request) {
            *slot = Slot::Fetch(fetching);
        }
        true
    }

    fn finish_fetch(&mut self, ticket: Ticket) {
        let Some(slot) = self.conns.slot(ticket.conn, ticket.request) else { return };
        let Slot::Fetch(fetching) = core::mem::replace(slot, Slot::Forwarded) else { return };
        let results = || fetching.parts.iter().filter_map(|part| part.result.as_ref());
        let bytes = results().map(|result| result.bytes).sum();
        let shared = results().any(|result| result.bytes > result.copied);
        self.answers.settle(ticket.conn, bytes, shared, self.fx.now.mono);
        let response = fetching.response();
        self.conns.complete(ticket.conn, ticket.request, response);
    }
}

impl Fetching {
    fn response(self) -> Vec<Bytes> {
        let (header, committed) = (self.header, self.read_committed);
        let mut parts = self.parts.into_iter();
        let mut responses = Vec::with_capacity(self.topics.len());
        // Of a topic without partitions there is nothing to say.
        for (name, topic_id, count) in self.topics.into_iter().filter(|(_, _, count)| *count > 0) {
            let partitions = parts.by_ref().take(count as usize).map(|part| partition_data(part, committed)).collect();
            responses.push(FetchableTopicResponse { topic: Cow::Owned(name), topic_id, partitions });
        }
        let error_code = self.error;
        let response = FetchResponse { error_code, responses, ..FetchResponse::default() };
        header.respond(&response)
    }
}

/// What makes every partition that exists fail.
fn refused_whole(request: &FetchRequest<'_>) -> ErrorCode {
    let follower = request.replica_id.max(request.replica_state.replica_id);
    match request.isolation_level {
        // Nobody else holds a replica of anything here.
        0 | 1 if follower >= 0 => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        0 | 1 => ErrorCode::NONE,
        // Kafka's code for what it did not expect.
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

fn partition_data(part: Part, read_committed: bool) -> PartitionData<'static> {
    let result = part.result.expect("every partition was read");
    let diverging = result.diverging.map(|(epoch, end)| EpochEndOffset { epoch: epoch.0, end_offset: end.0 });
    PartitionData {
        partition_index: part.index,
        error_code: result.error,
        high_watermark: result.high_watermark.0,
        last_stable_offset: result.high_watermark.0,
        log_start_offset: result.start.0,
        diverging_epoch: diverging.unwrap_or_default(),
        // As in Kafka: null where there was nothing to look for.
        aborted_transactions: match part.wanted {
            Some(_) => (read_committed && result.error == ErrorCode::NONE).then(Vec::new),
            None => Some(Vec::new()),
        },
        records: Some(Records::Slices(result.records)),
        ..PartitionData::default()
    }
}

/// What a partition says to a read.
enum Read {
    Done(ReadResult),
    /// It must be looked for in the segments.
    Segments,
}

impl Partition {
    pub fn empty_result(&self, item: u32) -> ReadResult {
        ReadResult {
            high_watermark: self.replica.high_watermark(),
            start: self.replica.start(),
            ..ReadResult::error(item, ErrorCode::NONE)
        }
    }

    /// KIP-320: what a request's idea of the leader epoch is worth.
    pub fn check_epoch(&self, current: i32) -> ErrorCode {
        let epoch = self.replica.epoch().0;
        match current {
            ..0 => ErrorCode::NONE,
            _ if current < epoch => ErrorCode::FENCED_LEADER_EPOCH,
            _ if current > epoch => ErrorCode::UNKNOWN_LEADER_EPOCH,
            _ => ErrorCode::NONE,
        }
    }

    fn read(&self, part: &ReadPart, left: usize, first: bool) -> Read {
        let mut result = self.empty_result(part.item);
        let end = self.served_end();
        match self.readable(part) {
            Ok(None) => {}
            Ok(diverging) => {
                result.diverging = diverging;
                return Read::Done(result);
            }
            // Beyond Kafka: whoever reads outside the log is told where it is.
            Err(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                return Read::Done(ReadResult { error: ErrorCode::OFFSET_OUT_OF_RANGE, ..result });
            }
            Err(error) => return Read::Done(ReadResult::error(part.item, error)),
        }
        if part.offset >= end {
            return Read::Done(result);
        }
        if part.offset < self.log.tail_base() {
            return Read::Segments;
        }
        self.read_tail(part, left, first, &mut result);
        Read::Done(result)
    }

    /// Whether there is something to read at the reader's offset, or where its log has left this one.
    fn readable(&self, part: &ReadPart) -> Result<Option<(Epoch, Offset)>, ErrorCode> {
        if !self.replica.leads() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let error = self.check_epoch(part.current_leader_epoch);
        if error != ErrorCode::NONE {
            return Err(error);
        }
        if self.refusal.is_some() && part.offset >= self.served_end() {
            // Not OFFSET_OUT_OF_RANGE, wherever the log's end is now: a consumer would start somewhere else and skip it.
            return Err(ErrorCode::CORRUPT_MESSAGE);
        }
        if part.offset < self.replica.start() {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if part.last_fetched_epoch >= 0 {
            let found = self.replica.end_of_epoch(Epoch(part.last_fetched_epoch));
            let (epoch, end) = found.ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
            if epoch.0 < part.last_fetched_epoch || end < part.offset {
                return Ok(Some((epoch, end)));
            }
        }
        if part.offset > self.replica.end().offset {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        Ok(None)
    }

    /// Batches from memory: as many as fit, and the first one whole if it is the answer's first.
    fn read_tail(&self, part: &ReadPart, left: usize, first: bool, result: &mut ReadResult) {
        let end = self.served_end();
        let max = part.max_bytes.min(left);
        let (mut count, mut small_bytes) = (0, 0);
        for batch in self.log.tail_from(part.offset).take_while(|batch| batch.end <= end) {
            let whole_first = first && count == 0;
            if result.bytes + batch.bytes.len() > max && !whole_first {
                result.more = true;
                break;
            }
            count += 1;
            result.bytes += batch.bytes.len();
            small_bytes += if batch.bytes.len() < COPY_MAX { batch.bytes.len() } else { 0 };
        }
        result.copied = small_bytes;
        let mut small = BytesMut::with_capacity(small_bytes);
        for batch in self.log.tail_from(part.offset).take(count) {
            if batch.bytes.len() < COPY_MAX {
                small.extend_from_slice(&batch.bytes);
                continue;
            }
            if !small.is_empty() {
                result.records.push(small.split().freeze());
            }
            result.records.push(batch.bytes.clone());
        }
        if !small.is_empty() {
            result.records.push(small.freeze());
        }
    }
}
