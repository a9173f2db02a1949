//! Fetch: a long poll over any number of partitions, of any shard.
//!
//! ```text
//! what is wanted ─▶ read every partition ─▶ enough, an error, or out of time ─▶ answer
//!   │ of the request,      ▲                         │ no
//!   │ or of its session    └── something new ── watch every partition
//! ```
//!
//! In a session only that is answered which its reader was not told before. Invariant: nothing at or above the high
//! watermark is ever in an answer, and the first batch of an answer is whole.

pub mod interest;
pub mod read;
pub mod sessions;

use super::connection::{Header, Slot};
use super::partition::Watcher;
use super::timers::Timer;
use super::{Shard, reads};
use crate::boundary::{ConnId, Instant};
use crate::ids::{Epoch, Offset, PartitionKey, ShardId};
use crate::mail::{Letter, Ticket};
use crate::wire::fetch::{EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use crate::wire::frame::decode_header;
use crate::wire::{ErrorCode, Message, Reader, Records};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use interest::{Interest, Interested, Known, Terms};
use read::Read;
use sessions::{Claim, Lent};

/// One partition of a read.
#[derive(Clone, Copy, Debug)]
pub struct ReadPart {
    pub item: u32,
    pub key: PartitionKey,
    pub offset: Offset,
    pub max_bytes: usize,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    /// What the reader knows already.
    pub known: Known,
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

    /// Whether its reader is to be told of it, who knows so much.
    pub fn is_news(&self, known: &Known) -> bool {
        self.bytes > 0
            || self.error != ErrorCode::NONE
            || self.diverging.is_some()
            || self.high_watermark != known.high_watermark
            || self.start != known.start
    }
}

/// A Fetch that is being answered.
pub struct Fetching {
    header: Header,
    session: Joined,
    /// `None` while its session is on its way.
    interest: Option<Box<Interest>>,
    /// What was read in this round and is worth an answer.
    results: Vec<ReadResult>,
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

/// What a fetch has to do with sessions.
enum Joined {
    Nothing,
    /// It would like to begin one.
    New,
    /// It is an incremental fetch, and waits for its session with this frame.
    Awaits(Bytes),
    Session(i32),
}

/// What one shard reads for a round.
struct Found {
    left: usize,
    first: bool,
    results: Vec<ReadResult>,
    wanted: Vec<reads::Wanted>,
    later: Vec<(u32, Offset)>,
}

impl Found {
    fn new(max_bytes: usize) -> Found {
        Found { left: max_bytes, first: true, results: Vec::new(), wanted: Vec::new(), later: Vec::new() }
    }
}

impl Shard {
    /// `frame` holds the request and its header.
    pub(super) fn fetch(&mut self, conn: ConnId, header: Header, request: &FetchRequest<'_>, frame: &Bytes) {
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(self.settings.fetch_max_bytes as usize);
        let max_bytes = max_bytes.min(self.fetch_quota_bytes(conn));
        let refused = refused_whole(request);
        let (id, epoch, by_ids) = (request.session_id, request.session_epoch, header.version >= 13);
        let full = matches!(epoch, 0 | -1);
        let session = match epoch {
            0 if refused == ErrorCode::NONE => Joined::New,
            0 | -1 => Joined::Nothing,
            _ => Joined::Awaits(frame.clone()),
        };
        let mut fetching = Fetching {
            header,
            session,
            interest: None,
            results: Vec::new(),
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
        if full {
            if id != 0 {
                self.send(self.sessions.home(id), Letter::CloseSession { id });
            }
            let mut interest = Box::new(Interest::new(by_ids, epoch == 0));
            interest.update(request, &Terms { image: &self.image, shards: self.config.shards, refused });
            interest.resolved_at = self.image_changes;
            fetching.interest = Some(interest);
            let ticket = self.open_slot(conn, Slot::Fetch(fetching));
            return self.read_round(ticket);
        }
        let ticket = self.open_slot(conn, Slot::Fetch(fetching));
        match refused {
            ErrorCode::NONE => {
                let claim = Claim { ticket, id, epoch, by_ids };
                self.send(self.sessions.home(id), Letter::LendSession(claim));
            }
            // No follower has a session here.
            ErrorCode::NOT_LEADER_OR_FOLLOWER => self.refuse_fetch(ticket, ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
            error => self.refuse_fetch(ticket, error),
        }
    }

    /// A fetch on some shard names a session of this one.
    pub(super) fn on_lend_session(&mut self, claim: Claim) {
        let lent = self.sessions.lend(&claim, self.fx.now.mono);
        match lent {
            Lent::Session(interest) => self.session_lent(claim.ticket, claim.id, Ok(interest)),
            Lent::Refused(error) => self.session_lent(claim.ticket, claim.id, Err(error)),
            Lent::Later => {}
        }
    }

    fn session_lent(&mut self, ticket: Ticket, id: i32, lent: Result<Box<Interest>, ErrorCode>) {
        if ticket.shard == self.me {
            self.on_session_lent(ticket, id, lent);
        } else {
            self.fx.mail(ticket.shard, Letter::SessionLent { ticket, id, lent });
        }
    }

    /// The session of a fetch of this shard is here: what the request changes in it, and the first read.
    pub(super) fn on_session_lent(&mut self, ticket: Ticket, id: i32, lent: Result<Box<Interest>, ErrorCode>) {
        let mut interest = match lent {
            Ok(interest) => interest,
            Err(error) => return self.refuse_fetch(ticket, error),
        };
        let Some(fetching) = self.fetching(ticket) else {
            // Whoever wanted it has left.
            return self.return_session(id, interest);
        };
        let Joined::Awaits(frame) = core::mem::replace(&mut fetching.session, Joined::Nothing) else {
            panic!("{ticket:?} was lent a session that it did not ask for");
        };
        let version = fetching.header.version;
        let mut reader = Reader::bounded(&frame, self.elements_max());
        let request = decode_header(&mut reader).and_then(|_| FetchRequest::decode(&mut reader, version));
        let request = request.expect("it was decoded before");
        let terms = Terms { image: &self.image, shards: self.config.shards, refused: ErrorCode::NONE };
        interest.resolve_all(&terms, self.image_changes);
        interest.update(&request, &terms);
        let is_over = interest.is_empty();
        if is_over {
            // As in Kafka: a session in which nothing is left ends.
            self.send(self.sessions.home(id), Letter::CloseSession { id });
        }
        let fetching = self.fetching(ticket).expect("just seen");
        fetching.session = if is_over { Joined::Nothing } else { Joined::Session(id) };
        fetching.interest = Some(interest);
        self.read_round(ticket);
    }

    /// A fetch has done with its session.
    fn return_session(&mut self, id: i32, interest: Box<Interest>) {
        let home = self.sessions.home(id);
        if home == self.me {
            self.on_session_back(id, interest);
        } else {
            self.fx.mail(home, Letter::SessionBack { id, interest });
        }
    }

    pub(super) fn on_session_back(&mut self, id: i32, interest: Box<Interest>) {
        let next = self.sessions.back(id, interest, self.fx.now.mono);
        if let Some((ticket, interest)) = next {
            self.session_lent(ticket, id, Ok(interest));
        }
        self.refuse_orphans();
    }

    pub(super) fn on_close_session(&mut self, id: i32) {
        self.sessions.close(id);
        self.refuse_orphans();
    }

    fn refuse_orphans(&mut self) {
        for (ticket, id) in self.sessions.take_orphans() {
            self.session_lent(ticket, id, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        }
    }

    /// Answers a whole incremental fetch with an error.
    fn refuse_fetch(&mut self, ticket: Ticket, error_code: ErrorCode) {
        let Some(fetching) = self.fetching(ticket) else { return };
        let response = FetchResponse { error_code, ..FetchResponse::default() };
        let response = fetching.header.respond(&response);
        self.conns.complete(ticket.conn, ticket.request, response);
    }

    /// The connection of this fetch has gone.
    pub(super) fn abandon_fetch(&mut self, conn: ConnId, fetching: Fetching) {
        self.unwatch(conn, &fetching);
        if let (Joined::Session(id), Some(interest)) = (fetching.session, fetching.interest) {
            self.return_session(id, interest);
        }
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
        let (me, shards) = (self.me, self.config.shards);
        let Some(fetching) = self.fetching(ticket) else { return };
        let wanted = fetching.max_bytes;
        let Some(granted) = self.grant_answer(ticket, wanted) else { return };
        let fetching = self.fetching(ticket).expect("just seen");
        fetching.round += 1;
        fetching.results.clear();
        let round = fetching.round;
        let interest = fetching.interest.take().expect("it is known what is read");
        let owners = interest.owners(shards);
        fetching.left = owners;
        let max_bytes = granted / owners.max(1);
        let mut by_shard: BTreeMap<ShardId, Vec<ReadPart>> = BTreeMap::new();
        let mut found = None;
        for part in interest.readable() {
            if part.owner == me {
                self.read_part(&part.read, found.get_or_insert_with(|| Found::new(max_bytes)));
            } else {
                by_shard.entry(part.owner).or_default().push(part.read);
            }
        }
        self.fetching(ticket).expect("just seen").interest = Some(interest);
        if owners == 0 {
            return self.finish_fetch(ticket);
        }
        for (shard, parts) in by_shard {
            self.fx.mail(shard, Letter::Read { ticket, round, parts, max_bytes });
        }
        if let Some(found) = found {
            self.parts_read(ticket, round, found);
        }
    }

    /// Reads partitions of this shard for another one.
    pub(super) fn on_read(&mut self, ticket: Ticket, round: u32, parts: &[ReadPart], max_bytes: usize) {
        let mut found = Found::new(max_bytes);
        parts.iter().for_each(|part| self.read_part(part, &mut found));
        self.parts_read(ticket, round, found);
    }

    /// Reads one partition of this shard: from memory now, from segments by a job.
    fn read_part(&self, part: &ReadPart, found: &mut Found) {
        let slot = self.slots.get(&part.key).copied();
        let partition = slot.and_then(|slot| self.partitions[slot as usize].as_deref());
        let (Some(partition), Some(slot)) = (partition.filter(|partition| !partition.deleted), slot) else {
            return found.results.push(ReadResult::error(part.item, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        match partition.read(part, found.left, found.first) {
            Read::Done(result) => {
                found.first &= result.bytes == 0;
                found.left = found.left.saturating_sub(result.bytes);
                if result.more || result.is_news(&part.known) {
                    found.results.push(result);
                }
            }
            Read::Segments => {
                let bytes = part.max_bytes.min(found.left).max(usize::from(found.first));
                if bytes > 0 {
                    found.wanted.push(reads::Wanted { slot, part: *part, bytes, whole: found.first });
                    found.left = found.left.saturating_sub(bytes);
                    found.first = false;
                } else {
                    found.later.push((slot, part.offset));
                    found.results.push(ReadResult { more: true, ..partition.empty_result(part.item) });
                }
            }
        }
    }

    fn parts_read(&mut self, ticket: Ticket, round: u32, found: Found) {
        if found.results.iter().any(|result| result.bytes > 0) {
            self.on_tail_read();
        }
        if found.wanted.is_empty() {
            self.read_done(ticket, round, found.results);
        } else {
            self.read_segments(reads::Reader { ticket, round }, found.results, found.wanted, found.later);
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
        let interest = fetching.interest.as_mut().expect("it was read for");
        results.iter().for_each(|result| interest.saw(result));
        fetching.results.extend(results);
        fetching.left -= 1;
        if fetching.left > 0 {
            return;
        }
        // Partitions that do not exist hurry nobody: a client that asks for one again and again would not rest.
        let failed = |result: &ReadResult| result.error != ErrorCode::NONE || result.diverging.is_some();
        let available: usize = fetching.results.iter().map(|result| fetching.available(result)).sum();
        if available >= fetching.min_bytes || now >= fetching.deadline || fetching.results.iter().any(failed) {
            return self.finish_fetch(ticket);
        }
        self.watch(ticket);
    }

    /// Asks to be told of new records, and to be woken when time is up.
    fn watch(&mut self, ticket: Ticket) {
        let Some(fetching) = self.fetching(ticket) else { return };
        fetching.watching = true;
        fetching.let_go = fetching.results.iter().any(|result| result.bytes > 0);
        let (round, deadline) = (fetching.round, fetching.deadline);
        let mut by_shard: BTreeMap<ShardId, Vec<(PartitionKey, Offset)>> = BTreeMap::new();
        for part in fetching.interest.iter().flat_map(|interest| interest.readable()) {
            by_shard.entry(part.owner).or_default().push((part.read.key, part.seen.max(part.read.offset)));
        }
        for result in &mut fetching.results {
            // It waits perhaps for long: not with the memory of others.
            (result.records, result.bytes, result.copied) = (Vec::new(), 0, 0);
        }
        self.answers.release(&mut self.conns.held.budget, ticket.conn);
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
        for part in fetching.interest.iter().flat_map(|interest| interest.readable()) {
            by_shard.entry(part.owner).or_default().push(part.read.key);
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
        let Slot::Fetch(mut fetching) = core::mem::replace(slot, Slot::Forwarded) else { return };
        let now = self.fx.now.mono;
        let mut interest = fetching.interest.take().expect("it was read for");
        let mut results = core::mem::take(&mut fetching.results);
        results.extend(interest.refusals());
        let in_session = matches!(fetching.session, Joined::Session(_));
        if in_session {
            results.retain(|result| result.is_news(&interest.part(result.item).read.known));
        }
        interest.sort(&mut results);
        let session = match fetching.session {
            Joined::Nothing | Joined::Awaits(..) => 0,
            Joined::New => self.sessions.admit(&interest, &mut self.rng, now),
            Joined::Session(id) => id,
        };
        let shared: usize = results.iter().map(|result| result.bytes - result.copied).sum();
        let granted = self.answers.settle(&mut self.conns.held.budget, ticket.conn, shared > 0, now);
        if session != 0 {
            results.iter().for_each(|result| interest.tell(result));
        }
        let given: Vec<u32> =
            results.iter().filter(|result| in_session && result.bytes > 0).map(|result| result.item).collect();
        self.count_sent(&interest, &results);
        let response = fetching.response(&interest, results, session);
        given.into_iter().for_each(|item| interest.move_to_end(item));
        // What goes beyond the grant (first batches are whole) counts once it has to be copied.
        self.conns.complete_shared(ticket.conn, ticket.request, response, shared.saturating_sub(granted));
        if session != 0 {
            self.return_session(session, interest);
        }
        self.refuse_orphans();
    }
}

impl Shard {
    fn count_sent(&mut self, interest: &Interest, results: &[ReadResult]) {
        let topic = |result: &ReadResult| interest.part(result.item).read.key.topic;
        for of_topic in results.chunk_by(|one, next| topic(one) == topic(next)) {
            let bytes = of_topic.iter().map(|result| result.bytes).sum();
            self.counters.sent(topic(&of_topic[0]), bytes);
        }
    }
}

impl Fetching {
    /// What counts for `min_bytes`: where there is more than was read, what was asked for, as in Kafka.
    fn available(&self, result: &ReadResult) -> usize {
        let wanted = self.interest.as_ref().map_or(0, |interest| interest.part(result.item).read.max_bytes);
        if result.more { result.bytes.max(wanted) } else { result.bytes }
    }

    /// The answer of these results, in their order.
    fn response(&self, interest: &Interest, results: Vec<ReadResult>, session_id: i32) -> Vec<Bytes> {
        let mut responses: Vec<FetchableTopicResponse<'_>> = Vec::new();
        for result in results {
            let part = interest.part(result.item);
            let same = |topic: &&mut FetchableTopicResponse<'_>| {
                topic.topic_id == part.topic_id && *topic.topic == *part.topic
            };
            let data = partition_data(part, result, self.read_committed);
            match responses.last_mut().filter(same) {
                Some(topic) => topic.partitions.push(data),
                None => responses.push(FetchableTopicResponse {
                    topic: Cow::Borrowed(&*part.topic),
                    topic_id: part.topic_id,
                    partitions: alloc::vec![data],
                }),
            }
        }
        let error_code = self.error;
        self.header.respond(&FetchResponse { error_code, session_id, responses, ..FetchResponse::default() })
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

fn partition_data(part: &Interested, result: ReadResult, read_committed: bool) -> PartitionData<'static> {
    let diverging = result.diverging.map(|(epoch, end)| EpochEndOffset { epoch: epoch.0, end_offset: end.0 });
    PartitionData {
        partition_index: part.read.key.index,
        error_code: result.error,
        high_watermark: result.high_watermark.0,
        last_stable_offset: result.high_watermark.0,
        log_start_offset: result.start.0,
        diverging_epoch: diverging.unwrap_or_default(),
        // As in Kafka: null where there was nothing to look for.
        aborted_transactions: match part.refused {
            ErrorCode::NONE => (read_committed && result.error == ErrorCode::NONE).then(Vec::new),
            _ => Some(Vec::new()),
        },
        records: Some(Records::Slices(result.records)),
        ..PartitionData::default()
    }
}
