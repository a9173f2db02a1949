//! Connections: frames in, answers out, in order.
//!
//! Requests of a connection are answered in order and pipelined: a Produce is appended while the ones before it wait for
//! their commit. Everything else waits until what came before is answered, as in Kafka. Back-pressure is not asking for
//! more bytes. Invariants: at most one `Recv` and one `Send` in flight; what is held for a connection is bounded; a stranger
//! costs one log line.

use super::effects::Pending;
use super::fetch::Fetching;
use super::group_calls::Grouping;
use super::inspect::Looking;
use super::produce::{Appended, Producing};
use super::query::Querying;
use super::timers::Timer;
use super::{Level, Phase, Shard};
use crate::api::{Api, Route, request_bytes_max, route};
use crate::boundary::{ConnId, Done, Instant, NetError, Op};
use crate::configs::BrokerSettings;
use crate::mail::Ticket;
use crate::wire::frame::{decode_header, encode_response, encode_response_onto};
use crate::wire::{ApiKey, ErrorCode, Message, Reader};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};
use core::time::Duration;

/// Requests of one connection that may wait for their answer.
const REQUESTS_MAX: usize = 256;
/// Bytes of answers a connection may leave unread before nothing more is read from it.
const OUTPUT_MAX: usize = 1 << 20;
/// Frames up to this come in the driver's buffers or in one of this size; larger ones in a buffer of their own.
const SMALL_FRAME: usize = 64 << 10;
/// Closed connections that get a line of the log, in one second.
const REFUSALS_LOGGED: u32 = 1000;
/// The part of a shard's memory that one frame may take.
const FRAME_PART: u64 = 4;
/// What a frame gets at first where memory is tight.
const TIGHT_FRAME: usize = 2 << 10;
/// Frames above this are not expected again.
const EXPECTED_MAX: usize = 4 << 20;
/// Slices in one send.
const SLICES_MAX: usize = 512;
/// Answers below this are gathered in one buffer.
const GATHER_MAX: usize = 4 << 10;
const IDLE_CHECK: Duration = Duration::from_secs(5);
/// A frame that was begun and is not ended in this time will not be.
const FRAME_TIME_MAX: Duration = Duration::from_secs(60);
/// The same where others wait for the memory that it holds: without a byte for so long.
const FRAME_SILENCE_MAX: Duration = Duration::from_secs(5);
/// For each this many bytes of a shard's memory one element in a request's arrays: what it becomes in memory, and in the
/// answer, fits beside everything else.
const MEMORY_PER_ELEMENT: u64 = 2 << 10;
/// And at least so many.
const ELEMENTS_MIN: u64 = 10_000;
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

pub struct Connections {
    by_id: BTreeMap<ConnId, Connection>,
    /// Those with something to send, or that may go on.
    dirty: Vec<ConnId>,
    /// Those whose next request waits for room in the journal or for another shard.
    stalled: VecDeque<ConnId>,
    /// Bytes of buffers that connections own.
    input_bytes: usize,
    input_bytes_max: usize,
    /// Those that wait for such bytes.
    starved: VecDeque<ConnId>,
    refusals: Refusals,
}

/// Connections that were closed in one second, so that strangers cannot flood the log.
#[derive(Default)]
struct Refusals {
    second: u64,
    lines: u32,
    unwritten: u32,
}

struct Connection {
    peer: String,
    input: BytesMut,
    /// What of `input_bytes` is this connection's.
    owned: usize,
    receiving: bool,
    next_request: u64,
    slots: VecDeque<Slot>,
    out: VecDeque<Bytes>,
    gathering: BytesMut,
    out_bytes: usize,
    sending: Option<VecDeque<Bytes>>,
    stalled: bool,
    starved: bool,
    dirty: bool,
    last_active: Instant,
    frame_begun: Option<Instant>,
    /// Size of the last frame, its size field included: the next one of a busy connection is likely to be as large.
    last_frame: usize,
    /// Nothing is read any more; hung up once everything is sent.
    closing: bool,
}

/// A request that is being answered; the first is number `next_request - slots.len()`.
pub enum Slot {
    Ready(Vec<Bytes>),
    Produce(Producing),
    Fetch(Fetching),
    Query(Querying),
    Group(Grouping),
    Look(Looking),
    /// Shard 0 decides it.
    Forwarded,
    /// Waits for a block of producer ids.
    ProducerId {
        header: Header,
    },
}

impl Slot {
    fn is_ready(&self) -> bool {
        match self {
            Slot::Ready(_) => true,
            Slot::Produce(producing) => producing.is_answered(),
            Slot::Fetch(_)
            | Slot::Query(_)
            | Slot::Group(_)
            | Slot::Look(_)
            | Slot::Forwarded
            | Slot::ProducerId { .. } => false,
        }
    }
}

/// What of a request's header its response needs.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub key: ApiKey,
    pub version: i16,
    pub correlation: i32,
}

impl Header {
    /// The frame of a response to this request.
    pub fn respond<'a, M: Message<'a>>(&self, response: &M) -> Vec<Bytes> {
        encode_response(self.correlation, self.key, self.version, response)
    }

    /// The same, behind what is in `out`.
    pub fn respond_onto<'a, M: Message<'a>>(&self, response: &M, out: &mut BytesMut) {
        encode_response_onto(out, self.correlation, self.key, self.version, response);
    }
}

impl Connections {
    pub fn new(input_bytes_max: u64) -> Connections {
        Connections {
            by_id: BTreeMap::new(),
            dirty: Vec::new(),
            stalled: VecDeque::new(),
            input_bytes: 0,
            input_bytes_max: usize::try_from(input_bytes_max).unwrap_or(usize::MAX),
            starved: VecDeque::new(),
            refusals: Refusals::default(),
        }
    }

    pub fn slot(&mut self, conn: ConnId, request: u64) -> Option<&mut Slot> {
        let connection = self.by_id.get_mut(&conn)?;
        let first = connection.next_request - connection.slots.len() as u64;
        connection.slots.get_mut(usize::try_from(request.checked_sub(first)?).ok()?)
    }

    /// The outcome of one batch of a Produce. Returns what went wrong with a request that asked not to be answered.
    pub fn appended(&mut self, ticket: Ticket, appended: Appended) -> Option<ErrorCode> {
        let Some(Slot::Produce(producing)) = self.slot(ticket.conn, ticket.request) else { return None };
        producing.settle(ticket, appended);
        if !producing.is_answered() {
            return None;
        }
        let failure = producing.unanswerable();
        self.mark(ticket.conn);
        failure
    }

    /// Its address, for people.
    pub fn peer(&self, conn: ConnId) -> Option<&str> {
        self.by_id.get(&conn).map(|connection| connection.peer.as_str())
    }

    /// The answer to a request is there.
    pub fn complete(&mut self, conn: ConnId, request: u64, response: Vec<Bytes>) {
        if let Some(slot) = self.slot(conn, request) {
            *slot = Slot::Ready(response);
            self.mark(conn);
        }
    }

    /// It has something to send, or may go on.
    pub fn mark(&mut self, conn: ConnId) {
        if let Some(connection) = self.by_id.get_mut(&conn)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(conn);
        }
    }
}

impl Shard {
    pub(super) fn accept(&mut self, listener: u16) {
        if self.phase == Phase::Serving {
            self.fx.submit(Op::Accept { listener }, Pending::Accept(listener));
        }
    }

    pub(super) fn on_accepted(&mut self, listener: u16, done: Done) {
        let Done::Accepted(result) = done else { panic!("an accept ended as {done:?}") };
        match result {
            Ok(accepted) => {
                let connection = Connection {
                    peer: accepted.peer,
                    input: BytesMut::new(),
                    owned: 0,
                    receiving: false,
                    next_request: 0,
                    slots: VecDeque::new(),
                    out: VecDeque::new(),
                    gathering: BytesMut::new(),
                    out_bytes: 0,
                    sending: None,
                    stalled: false,
                    starved: false,
                    dirty: false,
                    last_active: self.fx.now.mono,
                    frame_begun: None,
                    last_frame: 0,
                    closing: false,
                };
                let other = self.conns.by_id.insert(accepted.conn, connection);
                assert!(other.is_none(), "{:?} is accepted twice", accepted.conn);
                self.receive(accepted.conn);
                self.accept(listener);
            }
            Err(NetError::Canceled) => {}
            Err(error) => {
                self.fx.log(Level::Warn, format!("cannot accept a connection: {error}"));
                self.timers.set(self.fx.now.mono.after(ACCEPT_RETRY), Timer::Accept { listener });
            }
        }
    }

    /// Asks for more bytes, where there is room for what they bring.
    fn receive(&mut self, conn: ConnId) {
        let serving = self.phase == Phase::Serving;
        let conns = &mut self.conns;
        let Some(connection) = conns.by_id.get_mut(&conn) else { return };
        if connection.receiving || connection.stalled || connection.closing || !serving {
            return;
        }
        if connection.input.is_empty() {
            // Before anything is waited for: others may wait for these bytes.
            conns.input_bytes -= core::mem::take(&mut connection.owned);
            connection.input = BytesMut::new();
        }
        if connection.slots.len() >= REQUESTS_MAX || connection.out_bytes >= OUTPUT_MAX {
            return;
        }
        let into = if connection.input.is_empty() {
            // A large frame is received in place, not through a buffer of the driver's; an idle connection holds nothing.
            let expected = connection.last_frame;
            let busy = !connection.slots.is_empty();
            if busy
                && expected > SMALL_FRAME
                && expected <= EXPECTED_MAX
                && conns.input_bytes + expected <= conns.input_bytes_max
            {
                conns.input_bytes += expected;
                connection.owned = expected;
                Some(BytesMut::with_capacity(expected))
            } else {
                None
            }
        } else {
            let wanted = connection.wanted(conns.input_bytes >= conns.input_bytes_max / 2);
            if connection.input.capacity() < wanted || connection.owned == 0 {
                let more = wanted.saturating_sub(connection.owned);
                if conns.input_bytes + more > conns.input_bytes_max && conns.input_bytes > connection.owned {
                    connection.starved = true;
                    conns.starved.push_back(conn);
                    return;
                }
                let mut own = BytesMut::with_capacity(wanted);
                own.extend_from_slice(&connection.input);
                connection.input = own;
                conns.input_bytes = conns.input_bytes + wanted - connection.owned;
                connection.owned = wanted;
            }
            Some(core::mem::take(&mut connection.input))
        };
        connection.receiving = true;
        self.fx.submit(Op::Recv { conn, into }, Pending::Recv(conn));
    }

    pub(super) fn on_received(&mut self, conn: ConnId, done: Done) {
        let Done::Received(result) = done else { panic!("a receive ended as {done:?}") };
        let now = self.fx.now.mono;
        let Some(connection) = self.conns.by_id.get_mut(&conn) else { return };
        connection.receiving = false;
        match result {
            Ok(bytes) => {
                connection.input = bytes;
                connection.last_active = now;
                self.process(conn);
            }
            Err(_) => self.hang_up(conn),
        }
    }

    /// Handles every whole frame that may be handled now, then asks for more.
    fn process(&mut self, conn: ConnId) {
        let most = u32::try_from(self.config.memory_bytes / FRAME_PART).unwrap_or(u32::MAX);
        while self.phase == Phase::Serving {
            let now = self.fx.now.mono;
            let Some(connection) = self.conns.by_id.get_mut(&conn) else { return };
            if connection.closing || connection.slots.len() >= REQUESTS_MAX || connection.out_bytes >= OUTPUT_MAX {
                break;
            }
            match connection.frame_size() {
                None => break,
                Some(size) if size < 0 || size as u32 > connection.request_max(&self.settings).min(most) => {
                    let max = connection.request_max(&self.settings).min(most);
                    return self.refuse(conn, &format!("a frame of {size} bytes; at most {max} are allowed"));
                }
                Some(size) if connection.input.len() < 4 + size as usize => {
                    connection.frame_begun.get_or_insert(now);
                    break;
                }
                Some(size) => {
                    let whole = 4 + size as usize;
                    // It has arrived: from here on it waits for us.
                    connection.frame_begun = None;
                    if !self.may_handle(conn, whole) {
                        return;
                    }
                    let connection = self.conns.by_id.get_mut(&conn).expect("just seen");
                    connection.last_frame = whole;
                    let mut frame = connection.input.split_to(whole);
                    frame.advance(4);
                    self.on_frame(conn, frame.freeze());
                }
            }
        }
        self.receive(conn);
    }

    /// Whether the next frame may be handled. If not, the connection goes on when what it waits for has happened.
    fn may_handle(&mut self, conn: ConnId, len: usize) -> bool {
        let connection = self.conns.by_id.get_mut(&conn).expect("it has a frame");
        let is_produce = connection.input[4..].starts_with(&ApiKey::PRODUCE.0.to_be_bytes());
        // What is no Produce begins only when nothing is before it: so it is the first, if there is one.
        let in_turn = match connection.slots.front() {
            None => true,
            Some(Slot::Produce(_) | Slot::Ready(_)) => is_produce,
            Some(
                Slot::Fetch(_)
                | Slot::Query(_)
                | Slot::Group(_)
                | Slot::Look(_)
                | Slot::Forwarded
                | Slot::ProducerId { .. },
            ) => false,
        };
        if !in_turn {
            // It is looked at again when the answers before it have gone.
            return false;
        }
        if is_produce && !self.can_append(len) {
            let connection = self.conns.by_id.get_mut(&conn).expect("just seen");
            connection.stalled = true;
            self.conns.stalled.push_back(conn);
            return false;
        }
        true
    }

    /// Room may have been made: lets stalled connections go on, in order, and starved ones.
    pub(super) fn resume_stalled(&mut self) {
        if self.journal.is_none() || self.phase != Phase::Serving {
            return;
        }
        self.resume_backlog();
        self.resume_groups();
        for _ in 0..self.conns.stalled.len() {
            let Some(conn) = self.conns.stalled.pop_front() else { break };
            let Some(connection) = self.conns.by_id.get_mut(&conn) else { continue };
            connection.stalled = false;
            self.process(conn);
            if self.conns.by_id.get(&conn).is_some_and(|connection| connection.stalled) {
                // No room for the first means no room for those behind it.
                let again = self.conns.stalled.pop_back().expect("it was just put there");
                self.conns.stalled.push_front(again);
                break;
            }
        }
        if self.conns.input_bytes < self.conns.input_bytes_max / 4 * 3 {
            for conn in core::mem::take(&mut self.conns.starved) {
                if let Some(connection) = self.conns.by_id.get_mut(&conn) {
                    connection.starved = false;
                    self.receive(conn);
                }
            }
        }
    }

    fn on_frame(&mut self, conn: ConnId, frame: Bytes) {
        let mut reader = Reader::bounded(&frame, self.elements_max());
        let header = match decode_header(&mut reader) {
            Ok(header) => header,
            Err(error) => return self.refuse(conn, &format!("a frame that is no request: {error}")),
        };
        let short = Header { key: header.api_key, version: header.api_version, correlation: header.correlation_id };
        match route(header.api_key, header.api_version) {
            Route::Serve(api) => self.serve(conn, api, short, &mut reader, &frame),
            Route::ApiVersionsFallback => {
                let response = crate::api::api_versions::unsupported();
                let frame = encode_response(short.correlation, short.key, 0, &response);
                self.answer_now(conn, frame);
            }
            Route::Version { min, max } => {
                let (key, version) = (short.key, short.version);
                self.refuse(conn, &format!("{key} version {version}; {min} to {max} are served"));
            }
            Route::Key => self.refuse(conn, &format!("API {}, which is not served", short.key)),
        }
    }

    fn serve(&mut self, conn: ConnId, api: Api, header: Header, reader: &mut Reader<'_>, frame: &Bytes) {
        let served = match api {
            Api::Produce => self.decoded(reader, header, |shard, request| {
                shard.produce(conn, header, &request, frame);
            }),
            Api::Fetch => self.decoded(reader, header, |shard, request| shard.fetch(conn, header, &request)),
            Api::ListOffsets => {
                self.decoded(reader, header, |shard, request| shard.list_offsets(conn, header, &request))
            }
            Api::OffsetForLeaderEpoch => {
                self.decoded(reader, header, |shard, request| shard.offset_for_epoch(conn, header, &request))
            }
            Api::InitProducerId => {
                self.decoded(reader, header, |shard, request| shard.init_producer_id(conn, header, &request))
            }
            Api::JoinGroup => {
                let client_id = decode_header(&mut Reader::new(frame)).ok().and_then(|header| header.client_id);
                self.decoded(reader, header, |shard, request| shard.join_group(conn, header, client_id, &request))
            }
            Api::SyncGroup => self.decoded(reader, header, |shard, request| shard.sync_group(conn, header, &request)),
            Api::Heartbeat => self.decoded(reader, header, |shard, request| shard.heartbeat(conn, header, &request)),
            Api::LeaveGroup => self.decoded(reader, header, |shard, request| shard.leave_group(conn, header, &request)),
            Api::OffsetCommit => {
                self.decoded(reader, header, |shard, request| shard.offset_commit(conn, header, &request))
            }
            Api::OffsetFetch => {
                self.decoded(reader, header, |shard, request| shard.offset_fetch(conn, header, &request))
            }
            Api::OffsetDelete => {
                self.decoded(reader, header, |shard, request| shard.offset_delete(conn, header, &request))
            }
            Api::DeleteGroups => {
                self.decoded(reader, header, |shard, request| shard.delete_groups(conn, header, &request))
            }
            Api::DescribeGroups => {
                self.decoded(reader, header, |shard, request| shard.describe_groups(conn, header, &request))
            }
            Api::ListGroups => self.decoded(reader, header, |shard, request| shard.list_groups(conn, header, &request)),
            Api::FindCoordinator => self.decoded(reader, header, |shard, request| {
                if crate::api::find_coordinator::offsets_topic_missing(&request, &shard.view()) {
                    shard.forward(conn, frame.clone());
                } else {
                    let response = crate::api::find_coordinator::answer(&request, header.version, &shard.view());
                    let response = header.respond(&response);
                    shard.answer_now(conn, response);
                }
            }),
            Api::CreateTopics
            | Api::DeleteTopics
            | Api::CreatePartitions
            | Api::IncrementalAlterConfigs
            | Api::AlterConfigs
            | Api::DescribeQuorum => {
                self.forward(conn, frame.clone());
                Ok(())
            }
            Api::Metadata => self.decoded(reader, header, |shard, request| {
                if crate::api::metadata::missing(&request, header.version, &shard.view()).is_empty() {
                    let response = crate::api::metadata::answer(&request, header.version, &shard.view());
                    let response = header.respond(&response);
                    shard.answer_now(conn, response);
                } else {
                    shard.forward(conn, frame.clone());
                }
            }),
            Api::ApiVersions => self.answered(conn, reader, header, |shard, request| {
                crate::api::api_versions::answer(&request, header.version, &shard.view())
            }),
            Api::DescribeConfigs => self.decoded(reader, header, |shard, request| {
                let response = crate::api::describe_configs::answer(&request, &shard.view());
                let response = header.respond(&response);
                shard.answer_now(conn, response);
            }),
            Api::DescribeCluster => self.decoded(reader, header, |shard, request| {
                let response = crate::api::describe_cluster::answer(&request, &shard.view());
                let response = header.respond(&response);
                shard.answer_now(conn, response);
            }),
            Api::DescribeLogDirs => {
                self.decoded(reader, header, |shard, request| shard.describe_log_dirs(conn, header, &request))
            }
            Api::DescribeProducers => {
                self.decoded(reader, header, |shard, request| shard.describe_producers(conn, header, &request))
            }
            Api::ElectLeaders => self.decoded(reader, header, |shard, request| {
                let response = crate::api::elect_leaders::answer(&request, &shard.view());
                let response = header.respond(&response);
                shard.answer_now(conn, response);
            }),
            Api::ListConfigResources => self.decoded(reader, header, |shard, request| {
                let response = crate::api::list_config_resources::answer(&request, header.version, &shard.view());
                let response = header.respond(&response);
                shard.answer_now(conn, response);
            }),
            Api::ListPartitionReassignments => self.answered(conn, reader, header, |_, request| {
                crate::api::list_partition_reassignments::answer(&request)
            }),
            Api::DescribeTopicPartitions => self.decoded(reader, header, |shard, request| {
                let response = crate::api::describe_topic_partitions::answer(&request, &shard.view());
                let response = header.respond(&response);
                shard.answer_now(conn, response);
            }),
        };
        if let Err(error) = served {
            let (key, version) = (header.key, header.version);
            self.refuse(conn, &format!("{key} version {version} that cannot be read: {error}"));
        }
    }

    fn decoded<'a, M: Message<'a>>(
        &mut self,
        reader: &mut Reader<'a>,
        header: Header,
        serve: impl FnOnce(&mut Shard, M),
    ) -> Result<(), crate::wire::DecodeError> {
        let request = M::decode(reader, header.version)?;
        serve(self, request);
        Ok(())
    }

    fn answered<'a, 'r, M: Message<'a>, R: Message<'r>>(
        &mut self,
        conn: ConnId,
        reader: &mut Reader<'a>,
        header: Header,
        answer: impl FnOnce(&mut Shard, M) -> R,
    ) -> Result<(), crate::wire::DecodeError> {
        let request = M::decode(reader, header.version)?;
        let response = answer(self, request);
        let response = header.respond(&response);
        self.answer_now(conn, response);
        Ok(())
    }

    /// How many elements the arrays of one request may have, all together.
    pub(super) fn elements_max(&self) -> usize {
        (self.config.memory_bytes / MEMORY_PER_ELEMENT).max(ELEMENTS_MIN) as usize
    }

    /// Takes the next place in the order of answers. `item` 0 of the ticket is the whole request.
    pub(super) fn open_slot(&mut self, conn: ConnId, slot: Slot) -> Ticket {
        let connection = self.conns.by_id.get_mut(&conn).expect("a request has its connection");
        connection.slots.push_back(slot);
        let request = connection.next_request;
        connection.next_request += 1;
        Ticket { shard: self.me, conn, request, item: 0 }
    }

    pub(super) fn answer_now(&mut self, conn: ConnId, response: Vec<Bytes>) {
        self.open_slot(conn, Slot::Ready(response));
        self.conns.mark(conn);
    }

    /// Moves answers that are due into their connections' sends, and lets connections go on.
    pub(super) fn flush_connections(&mut self) {
        for conn in core::mem::take(&mut self.conns.dirty) {
            let Some(connection) = self.conns.by_id.get_mut(&conn) else { continue };
            connection.dirty = false;
            let before = connection.slots.len();
            while let Some(slot) = connection.slots.pop_front_if(|slot| slot.is_ready()) {
                connection.push_slot(slot);
            }
            let answered = connection.slots.len() < before;
            if connection.out_bytes > 0 && connection.sending.is_none() {
                self.send_out(conn);
            }
            let Some(connection) = self.conns.by_id.get_mut(&conn) else { continue };
            if answered && !connection.stalled && !connection.receiving {
                self.process(conn);
                self.dirty = true;
            }
        }
    }

    fn send_out(&mut self, conn: ConnId) {
        let Some(connection) = self.conns.by_id.get_mut(&conn) else { return };
        if !connection.gathering.is_empty() {
            let gathered = connection.gathering.split().freeze();
            connection.out.push_back(gathered);
        }
        let count = connection.out.len().min(SLICES_MAX);
        let sending: VecDeque<Bytes> = connection.out.drain(..count).collect();
        let data = sending.iter().cloned().collect();
        connection.sending = Some(sending);
        let within = self.answers.patience(conn);
        self.fx.submit(Op::Send { conn, data, within }, Pending::Send(conn));
    }

    pub(super) fn on_sent(&mut self, conn: ConnId, done: Done) {
        let Done::Sent(result) = done else { panic!("a send ended as {done:?}") };
        let Some(connection) = self.conns.by_id.get_mut(&conn) else { return };
        let mut sending = connection.sending.take().expect("a send was in flight");
        let Ok(mut sent) = result else { return self.hang_up(conn) };
        connection.out_bytes -= sent;
        if sent > 0 {
            connection.last_active = self.fx.now.mono;
        }
        let must_copy = self.answers.on_sent(conn, sent, connection.out_bytes, self.fx.now.mono);
        while let Some(mut first) = sending.pop_front() {
            if sent < first.len() {
                first.advance(sent);
                sending.push_front(first);
                break;
            }
            sent -= first.len();
        }
        for slice in sending.into_iter().rev() {
            connection.out.push_front(slice);
        }
        if must_copy {
            self.bound_answers();
        }
        let Some(connection) = self.conns.by_id.get_mut(&conn) else { return };
        if must_copy {
            connection.own_output();
        }
        if connection.out_bytes > 0 {
            self.send_out(conn);
        } else if connection.closing {
            return self.hang_up(conn);
        }
        let Some(connection) = self.conns.by_id.get(&conn) else { return };
        if !connection.receiving && !connection.stalled && connection.out_bytes < OUTPUT_MAX {
            self.process(conn);
        }
    }

    /// Closes a connection whose bytes make no sense: one line, nobody else notices.
    pub(super) fn refuse(&mut self, conn: ConnId, reason: &str) {
        self.report_unwritten();
        if let Some(connection) = self.conns.by_id.get(&conn) {
            if self.conns.refusals.lines < REFUSALS_LOGGED {
                self.conns.refusals.lines += 1;
                let text = format!("connection of {} is closed: {reason}", connection.peer);
                self.fx.log(Level::Warn, text);
            } else {
                self.conns.refusals.unwritten += 1;
            }
        }
        self.hang_up(conn);
    }

    /// A new second begins: says how many refusals of the last one were not written.
    fn report_unwritten(&mut self) {
        let second = self.fx.now.mono.0 / 1_000_000_000;
        if self.conns.refusals.second == second {
            return;
        }
        let refusals = core::mem::replace(&mut self.conns.refusals, Refusals { second, ..Refusals::default() });
        if refusals.unwritten > 0 {
            let text = format!("{} more connections were closed within a second", refusals.unwritten);
            self.fx.log(Level::Warn, text);
        }
    }

    pub(super) fn hang_up(&mut self, conn: ConnId) {
        let Some(connection) = self.conns.by_id.remove(&conn) else { return };
        self.conns.input_bytes -= connection.owned;
        self.answers.forget(conn);
        for slot in &connection.slots {
            if let Slot::Fetch(fetching) = slot {
                self.unwatch(conn, fetching);
            }
        }
        self.fx.submit(Op::Hangup { conn }, Pending::Hangup(conn));
    }

    pub(super) fn on_hung_up(&mut self, conn: ConnId) {
        assert!(!self.conns.by_id.contains_key(&conn), "{conn:?} hung up by nobody");
    }

    pub(super) fn start_idle_timer(&mut self) {
        self.timers.set(self.fx.now.mono.after(IDLE_CHECK), Timer::Idle);
    }

    /// Closes connections that have been silent for too long, and those that began a frame and do not end it.
    pub(super) fn on_idle_due(&mut self) {
        self.report_unwritten();
        let now = self.fx.now.mono;
        let idle_max = self.settings.connections_max_idle_ms.map(Duration::from_millis);
        let mut idle = Vec::new();
        let mut stuck = Vec::new();
        let wanted = !self.conns.starved.is_empty();
        for (conn, connection) in &self.conns.by_id {
            let silent = wanted && now.since(connection.last_active) > FRAME_SILENCE_MAX;
            let late = connection.frame_begun.is_some_and(|begun| silent || now.since(begun) > FRAME_TIME_MAX);
            if late && !connection.starved {
                stuck.push(*conn);
            } else if idle_max.is_some_and(|max| now.since(connection.last_active) > max) {
                idle.push(*conn);
            }
        }
        for conn in stuck {
            self.refuse(conn, "a request was begun and not ended in time");
        }
        for conn in idle {
            self.hang_up(conn);
        }
        self.start_idle_timer();
    }
}

impl Connection {
    /// The size that the next frame announces, once its four bytes are there.
    fn frame_size(&self) -> Option<i32> {
        self.input.first_chunk::<4>().map(|size| i32::from_be_bytes(*size))
    }

    /// The largest frame that the next one may be, once its API's key is there.
    fn request_max(&self, settings: &BrokerSettings) -> u32 {
        let max = settings.socket_request_max_bytes;
        let key = self.input.get(4..).and_then(|rest| rest.first_chunk::<2>());
        key.map_or(max, |key| request_bytes_max(ApiKey(i16::from_be_bytes(*key)), max))
    }

    /// The capacity to receive into: the whole next frame, but a large one only as fast as it comes. Where memory is
    /// `tight`, none is held for bytes that are only announced.
    fn wanted(&self, tight: bool) -> usize {
        let Some(size) = self.frame_size() else { return if tight { TIGHT_FRAME } else { SMALL_FRAME } };
        let whole = 4 + size.max(0) as usize;
        if tight {
            return whole.min((2 * self.input.len()).max(TIGHT_FRAME));
        }
        if whole <= 1 << 20 { whole.max(SMALL_FRAME) } else { whole.min((2 * self.input.len()).max(1 << 20)) }
    }

    /// Copies what is to be sent into memory of its own.
    fn own_output(&mut self) {
        let mut own = BytesMut::with_capacity(self.out_bytes);
        self.out.drain(..).for_each(|slice| own.extend_from_slice(&slice));
        own.extend_from_slice(&self.gathering.split());
        assert!(own.len() == self.out_bytes, "{} bytes where {} were to be sent", own.len(), self.out_bytes);
        self.out.push_back(own.freeze());
    }

    fn push_slot(&mut self, ready: Slot) {
        match ready {
            Slot::Ready(response) => self.push_out(response),
            Slot::Produce(producing) => {
                let before = self.gathering.len();
                producing.respond(&mut self.gathering);
                self.out_bytes += self.gathering.len() - before;
            }
            Slot::Fetch(_)
            | Slot::Query(_)
            | Slot::Group(_)
            | Slot::Look(_)
            | Slot::Forwarded
            | Slot::ProducerId { .. } => {
                panic!("request {} of {} is not answered yet", self.next_request, self.peer)
            }
        }
    }

    fn push_out(&mut self, response: Vec<Bytes>) {
        for slice in response {
            self.out_bytes += slice.len();
            if slice.len() <= GATHER_MAX {
                self.gathering.extend_from_slice(&slice);
            } else {
                if !self.gathering.is_empty() {
                    self.out.push_back(self.gathering.split().freeze());
                }
                self.out.push_back(slice);
            }
        }
    }
}
