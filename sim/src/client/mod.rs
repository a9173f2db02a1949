//! The simulated clients: producers, readers, members of groups and one administrator, in real frames over a stream of
//! bytes; and a stranger.
//!
//! They know only what a client can know, write it into the ledger, and judge every answer by it. They share a `Link`:
//! one connection at a time, requests in order, answers in order.
//!
//! Invariant: an answer that a correct broker cannot give ends the run.

pub mod admin;
mod alter;
pub mod batch;
pub mod keeper;
pub mod member;
pub mod producer;
mod quotas;
pub mod reader;
pub mod session;
pub mod stranger;

use crate::dice::Dice;
use crate::faults::{Counts, Fault};
use crate::ledger::{Ledger, Verdict};
use crate::net::Wire;
use crate::plan::{NetRates, Plan, Workload};
use crate::queue::{MILLIS, Nanos, SECONDS};
use crate::report::{Invariant, Stats};
use bytes::{Buf, Bytes, BytesMut};
use highwater::boundary::ConnId;
use highwater::wire::frame::{RequestHeader, decode_response_header, encode_request};
use highwater::wire::{ApiKey, Kind, Message, Reader as WireReader};
use std::collections::VecDeque;

/// What a client may touch while it acts.
pub struct Ctx<'a> {
    pub now: Nanos,
    pub calm: bool,
    /// When the faults ended.
    pub calm_since: Option<Nanos>,
    /// Reads of the disk may fail in this seed.
    pub read_errors: bool,
    pub shards: u16,
    pub work: &'a Workload,
    pub dice: &'a mut Dice,
    pub ledger: &'a mut Ledger,
    pub counts: &'a mut Counts,
    pub stats: &'a mut Stats,
    pub rates: &'a NetRates,
    pub out: Vec<Command>,
    pub failure: Option<(Invariant, String)>,
}

pub enum Command {
    Connect,
    Send { conn: ConnId, bytes: Bytes },
    Close { conn: ConnId },
    Vanish { conn: ConnId },
    Wake { at: Nanos },
}

/// What went wrong before the faults ended may still be felt for so long.
const AFTERMATH: Nanos = 4 * SECONDS;

impl Ctx<'_> {
    /// No fault, nor what one leaves behind, has disturbed anything since `at`.
    pub fn well_since(&self, at: Nanos) -> bool {
        self.calm_since.is_some_and(|since| at > since + AFTERMATH)
    }

    pub fn fail(&mut self, invariant: Invariant, detail: String) {
        self.failure.get_or_insert((invariant, detail));
    }

    /// False where the verdict is a failure.
    pub fn judge(&mut self, verdict: Verdict) -> bool {
        match verdict {
            Ok(()) => true,
            Err((invariant, detail)) => {
                self.fail(invariant, detail);
                false
            }
        }
    }
}

pub enum Client {
    Producer(producer::Producer),
    Reader(reader::Reader),
    Admin(admin::Admin),
    Member(member::Member),
    Stranger(stranger::Stranger),
    Keeper(keeper::Keeper),
}

impl Client {
    pub fn reader(&mut self) -> Option<&mut reader::Reader> {
        match self {
            Client::Reader(reader) => Some(reader),
            Client::Producer(_) | Client::Admin(_) | Client::Member(_) | Client::Stranger(_) | Client::Keeper(_) => {
                None
            }
        }
    }

    pub fn all(plan: &Plan, dice: &mut Dice) -> Vec<Option<Box<Client>>> {
        let mut all = vec![Client::Admin(admin::Admin::new(&plan.work, dice))];
        for (number, _) in plan.work.producers.iter().enumerate() {
            all.push(Client::Producer(producer::Producer::new(number, &plan.work)));
        }
        for number in 0..plan.work.readers {
            all.push(Client::Reader(reader::Reader::new(number, plan, dice)));
        }
        for number in 0..plan.groups.members {
            all.push(Client::Member(member::Member::new(number, &plan.groups, dice)));
        }
        all.push(Client::Keeper(keeper::Keeper::new(plan)));
        if plan.work.strangers > 0 {
            all.push(Client::Stranger(stranger::Stranger::new(plan)));
        }
        all.into_iter().map(|client| Some(Box::new(client))).collect()
    }

    pub fn on_wake(&mut self, ctx: &mut Ctx) {
        self.actor().on_wake(ctx);
    }

    pub fn on_wire(&mut self, ctx: &mut Ctx, conn: ConnId, wire: Wire) {
        self.actor().on_wire(ctx, conn, wire);
    }

    /// What it has still to do, `None` when nothing.
    pub fn unfinished(&self, ledger: &Ledger) -> Option<String> {
        match self {
            Client::Producer(producer) => producer.unfinished(ledger),
            Client::Reader(reader) => reader.unfinished(ledger),
            Client::Admin(admin) => admin.unfinished(),
            Client::Member(member) => member.unfinished(ledger),
            Client::Stranger(stranger) => stranger.unfinished(),
            Client::Keeper(keeper) => keeper.unfinished(ledger),
        }
    }

    /// Closes its connection for good.
    pub fn retire(&mut self, ctx: &mut Ctx) {
        self.actor().retire(ctx);
    }

    fn actor(&mut self) -> &mut dyn Actor {
        match self {
            Client::Producer(producer) => producer,
            Client::Reader(reader) => reader,
            Client::Admin(admin) => admin,
            Client::Member(member) => member,
            Client::Stranger(stranger) => stranger,
            Client::Keeper(keeper) => keeper,
        }
    }
}

/// What time and the network do to a client.
trait Actor {
    fn on_wake(&mut self, ctx: &mut Ctx);
    fn on_wire(&mut self, ctx: &mut Ctx, conn: ConnId, wire: Wire);
    fn retire(&mut self, ctx: &mut Ctx);
}

/// A client that speaks over a link.
trait Linked {
    type What;

    fn link(&mut self) -> &mut Link<Self::What>;

    /// Comes before what the link does on a wake.
    fn look(&mut self, _: &mut Ctx) {}

    /// A whole answer, behind its header.
    fn on_answer(&mut self, ctx: &mut Ctx, sent: Sent<Self::What>, body: &[u8]);

    /// The connection is gone, and with it the answers to these.
    fn on_lost(&mut self, _: Vec<Sent<Self::What>>) {}

    /// Does what is next, after whatever happened on the link.
    fn go_on(&mut self, ctx: &mut Ctx);

    fn turn(&mut self, ctx: &mut Ctx, turn: Turn<Self::What>) {
        match turn {
            Turn::Nothing => {}
            Turn::Lost(sent) => self.on_lost(sent),
            Turn::Answers(answers) => {
                for (sent, body) in answers {
                    self.on_answer(ctx, sent, &body);
                }
            }
        }
    }
}

impl<C: Linked> Actor for C {
    fn on_wake(&mut self, ctx: &mut Ctx) {
        self.look(ctx);
        let turn = self.link().on_wake(ctx);
        self.turn(ctx, turn);
        self.go_on(ctx);
        self.link().stay_awake(ctx);
    }

    fn on_wire(&mut self, ctx: &mut Ctx, conn: ConnId, wire: Wire) {
        let turn = self.link().on_wire(ctx, conn, wire);
        self.turn(ctx, turn);
        self.go_on(ctx);
    }

    fn retire(&mut self, ctx: &mut Ctx) {
        self.link().retire(ctx);
    }
}

/// A request on its way, with what the client needs to understand the answer.
pub struct Sent<T> {
    pub api: ApiKey,
    pub version: i16,
    pub at: Nanos,
    pub what: T,
    correlation: i32,
}

/// What happened on a link.
pub enum Turn<T> {
    Nothing,
    /// The connection is gone, and with it the answers to these.
    Lost(Vec<Sent<T>>),
    /// Whole answers, each with its request.
    Answers(Vec<(Sent<T>, Bytes)>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    Connecting,
    Up(ConnId),
    Retired,
}

/// One connection at a time.
pub struct Link<T> {
    name: String,
    state: State,
    /// Connections up to this one are over; what still arrives on them is ignored.
    dead: ConnId,
    rx: BytesMut,
    correlation: i32,
    pub sent: VecDeque<Sent<T>>,
    again_at: Nanos,
    wake_at: Nanos,
}

const TIMEOUT: Nanos = 6 * SECONDS;

impl<T> Link<T> {
    pub fn new(name: String) -> Link<T> {
        Link {
            name,
            state: State::Down,
            dead: ConnId(0),
            rx: BytesMut::new(),
            correlation: 0,
            sent: VecDeque::new(),
            again_at: 0,
            wake_at: Nanos::MAX,
        }
    }

    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    pub fn is_retired(&self) -> bool {
        self.state == State::Retired
    }

    /// Asks to be woken at `at`, unless a wake before that is on its way.
    pub fn wake(&mut self, ctx: &mut Ctx, at: Nanos) {
        let at = at.max(ctx.now + 1_000);
        if at < self.wake_at {
            self.wake_at = at;
            ctx.out.push(Command::Wake { at });
        }
    }

    /// Comes first on every wake: connects, and gives up what waits too long.
    fn on_wake(&mut self, ctx: &mut Ctx) -> Turn<T> {
        if self.wake_at <= ctx.now {
            self.wake_at = Nanos::MAX;
        }
        let late = self.sent.front().is_some_and(|sent| sent.at + TIMEOUT < ctx.now);
        if late && self.is_up() {
            let sent = self.sent.front().expect("it is late");
            if ctx.well_since(sent.at) {
                let detail = format!("{}: {} is not answered in {} s", self.name, sent.api, TIMEOUT / SECONDS);
                ctx.fail(Invariant::Liveness, detail);
            }
            let vanish = !ctx.calm && ctx.dice.coin();
            return self.give_up(ctx, vanish);
        }
        match self.state {
            State::Down if ctx.now >= self.again_at => {
                self.state = State::Connecting;
                ctx.out.push(Command::Connect);
            }
            State::Down => self.wake(ctx, self.again_at),
            State::Connecting | State::Up(_) | State::Retired => {}
        }
        Turn::Nothing
    }

    /// Comes last on every wake: there is another to come, where none has been asked for.
    fn stay_awake(&mut self, ctx: &mut Ctx) {
        if self.state != State::Retired {
            self.wake(ctx, ctx.now + 700 * MILLIS);
        }
    }

    /// Leaves the connection, with a word or without.
    fn give_up(&mut self, ctx: &mut Ctx, vanish: bool) -> Turn<T> {
        if let State::Up(conn) = self.state {
            ctx.out.push(if vanish { Command::Vanish { conn } } else { Command::Close { conn } });
            self.dead = conn;
        }
        self.lost(ctx)
    }

    fn lost(&mut self, ctx: &mut Ctx) -> Turn<T> {
        self.state = State::Down;
        self.rx.clear();
        self.again_at = ctx.now + ctx.dice.between(1, 40) * MILLIS;
        self.wake(ctx, self.again_at);
        Turn::Lost(self.sent.drain(..).collect())
    }

    fn retire(&mut self, ctx: &mut Ctx) {
        if let State::Up(conn) = self.state {
            ctx.out.push(Command::Close { conn });
            self.dead = conn;
        }
        self.state = State::Retired;
    }

    fn on_wire(&mut self, ctx: &mut Ctx, conn: ConnId, wire: Wire) -> Turn<T> {
        if conn <= self.dead {
            return Turn::Nothing;
        }
        match (self.state, wire) {
            (State::Connecting, Wire::Open) => {
                self.state = State::Up(conn);
                Turn::Nothing
            }
            (State::Retired, Wire::Open) => {
                self.dead = conn;
                ctx.out.push(Command::Close { conn });
                Turn::Nothing
            }
            (State::Connecting, Wire::Reset | Wire::Fin) => {
                self.dead = conn;
                self.lost(ctx)
            }
            (State::Up(mine), Wire::Bytes(bytes)) if mine == conn => {
                self.rx.extend_from_slice(&bytes);
                self.take_answers(ctx)
            }
            (State::Up(mine), Wire::Reset | Wire::Fin) if mine == conn => {
                self.dead = conn;
                // A FIN wants one in return, so that the node's side ends too.
                ctx.out.push(Command::Close { conn });
                self.lost(ctx)
            }
            _ => Turn::Nothing,
        }
    }

    fn take_answers(&mut self, ctx: &mut Ctx) -> Turn<T> {
        let mut answers = Vec::new();
        while self.rx.len() >= 4 {
            let size = i32::from_be_bytes(self.rx[..4].try_into().expect("four"));
            if !(4..=64 << 20).contains(&size) {
                ctx.fail(Invariant::Answers, format!("{}: an answer of {size} bytes", self.name));
                break;
            }
            if self.rx.len() < 4 + size as usize {
                break;
            }
            self.rx.advance(4);
            let frame = self.rx.split_to(size as usize).freeze();
            let Some(sent) = self.sent.pop_front() else {
                ctx.fail(Invariant::Answers, format!("{}: an answer to nothing", self.name));
                break;
            };
            let mut r = WireReader::new(&frame);
            match decode_response_header(&mut r, sent.api, sent.version) {
                Ok(correlation) if correlation == sent.correlation => {
                    let body = frame.slice(frame.len() - r.remaining()..);
                    answers.push((sent, body));
                }
                other => {
                    let detail = format!("{}: {} {}: header {other:?}", self.name, sent.api, sent.correlation);
                    ctx.fail(Invariant::Answers, detail);
                    break;
                }
            }
        }
        Turn::Answers(answers)
    }

    /// Sends a request; with `answered` false nothing will come back.
    pub fn send<'a, M: Message<'a>>(&mut self, ctx: &mut Ctx, version: i16, message: &M, what: T, answered: bool) {
        let State::Up(conn) = self.state else { panic!("{} is not connected", self.name) };
        assert!(M::KIND == Kind::Request, "only requests are sent");
        self.correlation += 1;
        let header = RequestHeader {
            api_key: M::API,
            api_version: version,
            correlation_id: self.correlation,
            client_id: Some(self.name.as_str().into()),
        };
        let slices = encode_request(&header, message);
        let bytes = if slices.len() == 1 { slices[0].clone() } else { slices.concat().into() };
        ctx.stats.requests += 1;
        if answered {
            let (correlation, at) = (self.correlation, ctx.now);
            self.sent.push_back(Sent { api: M::API, version, at, what, correlation });
        }
        ctx.out.push(Command::Send { conn, bytes });
    }

    /// Sometimes a client leaves right after it has asked.
    pub fn maybe_leave(&mut self, ctx: &mut Ctx) -> Turn<T> {
        if !ctx.calm && self.is_up() && ctx.dice.chance(ctx.rates.leave) {
            ctx.counts.add(Fault::DisconnectBeforeAnswer);
            return self.give_up(ctx, false);
        }
        if !ctx.calm && self.is_up() && ctx.dice.chance(ctx.rates.half_open) {
            return self.give_up(ctx, true);
        }
        Turn::Nothing
    }

    pub fn describe(&self) -> String {
        let state = match self.state {
            State::Down => "down".to_string(),
            State::Connecting => "connecting".to_string(),
            State::Up(conn) => format!("up on {}", conn.0),
            State::Retired => "retired".to_string(),
        };
        let waiting: Vec<String> = self.sent.iter().map(|sent| format!("{} v{}", sent.api, sent.version)).collect();
        format!("{} {state}, waits for [{}]", self.name, waiting.join(", "))
    }
}

/// Reads an answer, or fails the run.
pub fn decode<'a, M: Message<'a>>(ctx: &mut Ctx, body: &'a [u8], version: i16) -> Option<M> {
    match M::decode(&mut WireReader::new(body), version) {
        Ok(message) => Some(message),
        Err(error) => {
            ctx.fail(Invariant::Answers, format!("{} v{version}: cannot be read: {error}", M::API));
            None
        }
    }
}
