//! Connections: frames in, answers out, in order.
//!
//! Requests of a connection are answered in order and pipelined: a Produce is appended while the ones before it wait for
//! their commit. Everything else waits until what came before is answered, as in Kafka. Back-pressure is not asking for
//! more bytes; what may be held is said in `held`. Invariants: at most one `Recv` and one `Send` in flight; every byte held
//! for a connection is in one of its two accounts; a stranger costs one log line.

use super::closing::Refusals;
use super::doors::Entry;
use super::effects::Pending;
use super::fetch::Fetching;
use super::group_calls::Grouping;
pub use super::header::Header;
use super::held::{Held, REQUEST_BYTES};
use super::inspect::Looking;
use super::produce::{Appended, Producing};
use super::query::Querying;
use super::throttle::Throttle;
use super::timers::Timer;
use super::{Level, Phase, Shard};
use crate::api::{Api, request_bytes_max};
use crate::boundary::{Accepted, ConnId, Done, Instant, NetError, Op};
use crate::configs::BrokerSettings;
use crate::mail::Ticket;
use crate::memory::{Account, Side};
use crate::metrics::Gauges;
use crate::wire::{ApiKey, ErrorCode};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};
use core::time::Duration;

/// Requests of one connection that may wait for their answer.
const REQUESTS_MAX: usize = 256;
/// Bytes of answers a connection may leave unread before nothing more is read from it.
pub const OUTPUT_MAX: usize = 1 << 20;
/// Frames up to this come in the driver's buffers or in one of this size; larger ones in a buffer of their own.
const SMALL_FRAME: usize = 64 << 10;
/// What a frame gets at first where memory is tight.
const TIGHT_FRAME: usize = 2 << 10;
/// Frames above this are not expected again.
const EXPECTED_MAX: usize = 4 << 20;
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

pub struct Connections {
    pub(super) by_id: BTreeMap<ConnId, Connection>,
    /// Those with something to send, or that may go on.
    pub(super) dirty: Vec<ConnId>,
    /// Those whose next request waits for room in the journal or for another shard.
    pub(super) stalled: VecDeque<ConnId>,
    pub held: Held,
    pub(super) refusals: Refusals,
    /// Of the request that is being handled: its API and version, and how many bytes it has.
    pub serving: (Api, i16, usize),
}

pub struct Connection {
    pub(super) peer: String,
    pub(super) entry: Entry,
    /// Without the type of its principal.
    pub(super) user: String,
    /// Of its last request, while there are quotas.
    pub(super) client_id: String,
    /// Nothing is read until then.
    pub(super) muted: Option<Instant>,
    pub(super) input: BytesMut,
    /// The size of the buffer behind it, where that is not the driver's.
    pub owned: Account,
    pub(super) receiving: bool,
    pub(super) next_request: u64,
    pub(super) slots: VecDeque<Place>,
    pub(super) out: VecDeque<Bytes>,
    pub(super) gathering: BytesMut,
    pub out_bytes: usize,
    /// What of them is in memory that others count.
    pub(super) shared: usize,
    /// What is under way, answers included that are not among what is to be sent yet.
    pub(super) under_way: usize,
    /// Both of them.
    pub output: Account,
    pub(super) sending: Option<VecDeque<Bytes>>,
    pub(super) stalled: bool,
    pub starved: bool,
    /// Its next request waits for so many bytes.
    pub waits_for: Option<usize>,
    pub waits_since: Instant,
    /// That request, where it was begun and put off.
    pub(super) put_off: Option<Bytes>,
    pub(super) dirty: bool,
    pub(super) last_active: Instant,
    /// When its peer last took anything of what is to be sent, or there was nothing.
    pub moved: Instant,
    pub(super) frame_begun: Option<Instant>,
    /// Size of the last frame, its size field included: the next one of a busy connection is likely to be as large.
    pub(super) last_frame: usize,
    /// Nothing is read any more; hung up once everything is sent.
    pub(super) closing: bool,
}

/// A place in the order of answers; the first is request number `next_request - slots.len()`.
pub struct Place {
    pub slot: Slot,
    pub api: Api,
    pub version: i16,
    /// Bytes of the request.
    pub asked: usize,
    /// What is known of it before its answer leaves.
    pub throttle: Throttle,
    pub begun: Instant,
    /// What it counts for.
    pub bytes: usize,
    /// What of its answer is in memory that others count.
    pub shared: usize,
}

/// What becomes of a connection that is looked at.
enum Next {
    Frame(Bytes),
    /// There is none: ask for more bytes.
    Receive,
    /// It goes on when what it waits for has happened.
    Wait,
}

/// A request that is being answered.
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
    pub fn is_ready(&self) -> bool {
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

impl Connections {
    /// `bytes_max`: what all of them may hold.
    pub fn new(bytes_max: u64) -> Connections {
        Connections {
            by_id: BTreeMap::new(),
            dirty: Vec::new(),
            stalled: VecDeque::new(),
            held: Held::new(bytes_max),
            refusals: Refusals::default(),
            serving: (Api::ApiVersions, 0, 0),
        }
    }

    pub fn get(&self, conn: ConnId) -> Option<&Connection> {
        self.by_id.get(&conn)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &Connection)> {
        self.by_id.iter().map(|(conn, connection)| (*conn, connection))
    }

    /// It waits for memory, or does not any more.
    pub fn waits(&mut self, conn: ConnId, waits_for: Option<usize>, now: Instant) {
        if let Some(connection) = self.by_id.get_mut(&conn) {
            (connection.waits_for, connection.waits_since) = (waits_for, now);
        }
    }

    pub fn starves(&mut self, conn: ConnId, starved: bool) {
        if let Some(connection) = self.by_id.get_mut(&conn) {
            connection.starved = starved;
        }
    }

    pub fn slot(&mut self, conn: ConnId, request: u64) -> Option<&mut Slot> {
        let connection = self.by_id.get_mut(&conn)?;
        let first = connection.next_request - connection.slots.len() as u64;
        let place = connection.slots.get_mut(usize::try_from(request.checked_sub(first)?).ok()?)?;
        Some(&mut place.slot)
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
        self.complete_shared(conn, request, response, 0);
    }

    /// The answer to a request is there. `shared` of its bytes are in memory that others count.
    pub fn complete_shared(&mut self, conn: ConnId, request: u64, response: Vec<Bytes>, shared: usize) {
        let Some(connection) = self.by_id.get_mut(&conn) else { return };
        let first = connection.next_request - connection.slots.len() as u64;
        let index = request.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        let Some(place) = index.and_then(|index| connection.slots.get_mut(index)) else { return };
        let len: usize = response.iter().map(Bytes::len).sum();
        let bytes = REQUEST_BYTES + len - shared;
        connection.under_way = connection.under_way + bytes - place.bytes;
        (place.slot, place.bytes, place.shared) = (Slot::Ready(response), bytes, shared);
        self.held.recount(connection);
        self.mark(conn);
    }

    pub fn gauge(&self, gauges: &mut Gauges) {
        gauges.connections = self.by_id.len() as u64;
        gauges.muted = self.by_id.values().filter(|connection| connection.muted.is_some()).count() as u64;
        gauges.requests = self.by_id.values().map(|connection| connection.slots.len() as u64).sum();
        gauges.stalled = self.stalled.len() as u64;
        gauges.input_bytes = self.held.budget.held(Side::Input) as u64;
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
                let (conn, peer) = (accepted.conn, accepted.peer.clone());
                let connection = Connection::new(accepted, self.fx.now.mono);
                self.counters.connections_accepted += 1;
                let other = self.conns.by_id.insert(conn, connection);
                assert!(other.is_none(), "{conn:?} is accepted twice");
                self.knock(conn, &peer);
            }
            Err(NetError::Canceled) => {}
            Err(error) => {
                self.fx.log(Level::Warn, format!("cannot accept a connection: {error}"));
                self.timers.set(self.fx.now.mono.after(ACCEPT_RETRY), Timer::Accept { listener });
            }
        }
    }

    /// Asks for more bytes, where there is room for what they bring.
    pub(super) fn receive(&mut self, conn: ConnId) {
        let serving = self.phase == Phase::Serving;
        let conns = &mut self.conns;
        let Some(connection) = conns.by_id.get_mut(&conn) else { return };
        if connection.receiving || connection.stalled || connection.closing || !serving || connection.put_off.is_some()
        {
            return;
        }
        if connection.entry != Entry::In || connection.muted.is_some() {
            return;
        }
        if connection.input.is_empty() {
            // Before anything is waited for: others may wait for these bytes.
            conns.held.budget.set(&mut connection.owned, 0);
            connection.input = BytesMut::new();
        }
        if connection.slots.len() >= REQUESTS_MAX || connection.out_bytes >= OUTPUT_MAX {
            return;
        }
        let budget = &mut conns.held.budget;
        let into = if connection.input.is_empty() {
            // A large frame is received in place, not through a buffer of the driver's; an idle connection holds nothing.
            let expected = connection.last_frame;
            let large = expected > SMALL_FRAME && expected <= EXPECTED_MAX;
            if large && !connection.slots.is_empty() && expected <= budget.room(Side::Input) {
                budget.set(&mut connection.owned, expected);
                Some(BytesMut::with_capacity(expected))
            } else {
                None
            }
        } else {
            let wanted = connection.wanted(budget.held(Side::Input) >= budget.side_max() / 2);
            let owned = connection.owned.bytes();
            if connection.input.capacity() < wanted || owned == 0 {
                // One goes on whatever it needs: what it waits for would be its own.
                if wanted.saturating_sub(owned) > budget.room(Side::Input) && budget.held(Side::Input) > owned {
                    connection.starved = true;
                    conns.held.starved.push_back(conn);
                    return;
                }
                let mut own = BytesMut::with_capacity(wanted);
                own.extend_from_slice(&connection.input);
                connection.input = own;
                budget.set(&mut connection.owned, wanted);
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
    pub(super) fn process(&mut self, conn: ConnId) {
        while self.phase == Phase::Serving {
            match self.next_frame(conn) {
                Next::Frame(frame) => {
                    self.on_frame(conn, frame.clone());
                    if let Some(needed) = self.conns.held.refused.take() {
                        if let Some(connection) = self.conns.by_id.get_mut(&conn) {
                            connection.put_off = Some(frame);
                        }
                        return self.wait_its_turn(conn, needed);
                    }
                }
                Next::Receive => break,
                Next::Wait => return,
            }
        }
        self.receive(conn);
    }

    fn next_frame(&mut self, conn: ConnId) -> Next {
        let most = u32::try_from(self.conns.held.budget.side_max()).unwrap_or(u32::MAX);
        let now = self.fx.now.mono;
        let Some(connection) = self.conns.by_id.get_mut(&conn) else { return Next::Wait };
        if connection.waits_for.is_some() || connection.muted.is_some() {
            return Next::Wait;
        }
        if connection.closing || connection.slots.len() >= REQUESTS_MAX || connection.out_bytes >= OUTPUT_MAX {
            return Next::Receive;
        }
        if let Some(frame) = connection.put_off.take() {
            if self.may_handle(conn, &frame) {
                return Next::Frame(frame);
            }
            self.conns.by_id.get_mut(&conn).expect("just seen").put_off = Some(frame);
            return Next::Wait;
        }
        match connection.frame_size() {
            None => Next::Receive,
            Some(size) if size < 0 || size as u32 > connection.request_max(&self.settings).min(most) => {
                let max = connection.request_max(&self.settings).min(most);
                self.refuse(conn, &format!("a frame of {size} bytes; at most {max} are allowed"));
                Next::Wait
            }
            Some(size) if connection.input.len() < 4 + size as usize => {
                connection.frame_begun.get_or_insert(now);
                Next::Receive
            }
            Some(size) => {
                let whole = 4 + size as usize;
                // It has arrived: from here on it waits for us.
                connection.frame_begun = None;
                connection.last_frame = whole;
                let mut frame = connection.input.split_to(whole);
                frame.advance(4);
                let frame = frame.freeze();
                if self.may_handle(conn, &frame) {
                    return Next::Frame(frame);
                }
                self.conns.by_id.get_mut(&conn).expect("just seen").put_off = Some(frame);
                Next::Wait
            }
        }
    }

    /// Whether the next frame may be handled. If not, the connection goes on when what it waits for has happened.
    fn may_handle(&mut self, conn: ConnId, frame: &Bytes) -> bool {
        let connection = self.conns.by_id.get_mut(&conn).expect("it has a frame");
        let is_produce = frame.starts_with(&ApiKey::PRODUCE.0.to_be_bytes());
        // What is no Produce begins only when nothing is before it: so it is the first, if there is one.
        let in_turn = match connection.slots.front().map(|place| &place.slot) {
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
        if is_produce && !self.can_append(frame.len()) {
            let connection = self.conns.by_id.get_mut(&conn).expect("just seen");
            connection.stalled = true;
            self.conns.stalled.push_back(conn);
            return false;
        }
        // A batch is copied into the journal; of anything else a copy may be needed.
        let cost = REQUEST_BYTES + if is_produce { 0 } else { frame.len() };
        (self.conns.held.taking, self.conns.held.cost) = (conn, cost);
        let connection = &self.conns.by_id[&conn];
        if !self.conns.held.budget.admits(&connection.output, cost) {
            self.wait_its_turn(conn, cost);
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
        self.resume_purges();
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
        self.resume_waiting();
    }

    /// Takes the next place in the order of answers. `item` 0 of the ticket is the whole request.
    pub(super) fn open_slot(&mut self, conn: ConnId, slot: Slot) -> Ticket {
        let (conns, begun) = (&mut self.conns, self.fx.now.mono);
        let connection = conns.by_id.get_mut(&conn).expect("a request has its connection");
        let bytes = core::mem::replace(&mut conns.held.cost, REQUEST_BYTES);
        let (api, version, asked) = conns.serving;
        let throttle = Throttle::default();
        connection.slots.push_back(Place { slot, api, version, asked, throttle, begun, bytes, shared: 0 });
        connection.under_way += bytes;
        conns.held.recount(connection);
        let request = connection.next_request;
        connection.next_request += 1;
        if api == Api::Produce {
            self.charge_produce(conn);
        }
        Ticket { shard: self.me, conn, request, item: 0 }
    }

    /// Answers a request that changes nothing; where there is no room for the answer, the request is put off.
    pub(super) fn answer_now(&mut self, conn: ConnId, response: Vec<Bytes>) {
        if self.may_answer(&response) {
            let ticket = self.open_slot(conn, Slot::Forwarded);
            self.conns.complete(conn, ticket.request, response);
        }
    }

    pub(super) fn hang_up(&mut self, conn: ConnId) {
        let Some(mut connection) = self.conns.by_id.remove(&conn) else { return };
        let budget = &mut self.conns.held.budget;
        budget.set(&mut connection.owned, 0);
        budget.set(&mut connection.output, 0);
        self.answers.forget(conn, budget);
        self.leave(conn, &connection);
        for place in connection.slots {
            if let Slot::Fetch(fetching) = place.slot {
                self.abandon_fetch(conn, fetching);
            }
        }
        self.fx.submit(Op::Hangup { conn }, Pending::Hangup(conn));
    }

    pub(super) fn on_hung_up(&mut self, conn: ConnId) {
        assert!(!self.conns.by_id.contains_key(&conn), "{conn:?} hung up by nobody");
    }
}

impl Connection {
    fn new(accepted: Accepted, now: Instant) -> Connection {
        let Accepted { listener, peer, principal, .. } = accepted;
        Connection {
            peer,
            entry: Entry::Knocks(listener),
            user: String::from(principal.strip_prefix("User:").unwrap_or(&principal)),
            client_id: String::new(),
            muted: None,
            input: BytesMut::new(),
            owned: Account::new(Side::Input),
            receiving: false,
            next_request: 0,
            slots: VecDeque::new(),
            out: VecDeque::new(),
            gathering: BytesMut::new(),
            out_bytes: 0,
            shared: 0,
            under_way: 0,
            output: Account::new(Side::Output),
            sending: None,
            stalled: false,
            starved: false,
            waits_for: None,
            waits_since: now,
            put_off: None,
            dirty: false,
            last_active: now,
            moved: now,
            frame_begun: None,
            last_frame: 0,
            closing: false,
        }
    }

    /// What it holds of requests and answers.
    pub fn output_bytes(&self) -> usize {
        self.under_way + self.out_bytes - self.shared
    }

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
}
