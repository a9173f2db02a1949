//! A node in virtual time, with as many connections on its shards as a test wants: every op is done at once, and time jumps
//! when nothing is left to do.

use bytes::{Buf, Bytes, BytesMut};
use highwater::boundary::{Accepted, Action, ConnId, Done, Input, Instant, NetError, Now, Op, Timestamp, Token};
use highwater::ids::ShardId;
use highwater::metrics::Sample;
use highwater::shard::Shard;
use highwater::wire::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::frame::{RequestHeader, decode_response_header, encode_request};
use highwater::wire::{ApiKey, Message, Reader};
use highwater_sim::dice::{Dice, Purpose};
use highwater_sim::disk::{Disk, Trouble};
use highwater_sim::faults::Counts;
use highwater_sim::node::{Shards, config};
use highwater_sim::plan::Shape;
use std::collections::{BTreeMap, VecDeque};

pub const MILLIS: u64 = 1_000_000;
pub const SECONDS: u64 = 1_000 * MILLIS;

pub struct Node {
    shards: Vec<Shard>,
    disk: Disk,
    inbox: VecDeque<(u16, Input)>,
    now: Now,
    accepts: Vec<Option<Token>>,
    wires: BTreeMap<ConnId, Wire>,
    ready: bool,
    dice: Dice,
    counts: Counts,
}

struct Wire {
    shard: u16,
    recv: Option<(Token, Option<BytesMut>)>,
    to_node: BytesMut,
    to_client: BytesMut,
    /// What was asked and is not answered: API and version.
    asked: VecDeque<(ApiKey, i16)>,
    closed: bool,
}

impl Node {
    /// With these broker configurations.
    pub fn start(shards: u16, broker: &[(&str, &str)]) -> Node {
        let shape = Shape {
            shards,
            file_bytes: 4 << 20,
            first_file_bytes: 1 << 20,
            files: 4,
            commit_bytes_max: 256 << 10,
            arena_bytes: 512 << 10,
            chunk_bytes: 64 << 10,
            memory_bytes: 32 << 20,
            retention_check_ms: 1000,
        };
        let now = Now { mono: Instant(0), wall: Timestamp(1_795_219_200_000) };
        let start = |shard| {
            let mut config = config(&shape, Shards { run: shards, reshard: None }, shard);
            config.broker.extend(broker.iter().map(|(name, value)| (name.to_string(), value.to_string())));
            Shard::new(config, [7; 32], now)
        };
        let mut node = Node {
            shards: (0..shards).map(start).collect(),
            disk: Disk::default(),
            inbox: VecDeque::new(),
            now,
            accepts: (0..shards).map(|_| None).collect(),
            wires: BTreeMap::new(),
            ready: false,
            dice: Dice::new(0, Purpose::Disk),
            counts: Counts::default(),
        };
        (0..shards).for_each(|shard| node.drain(shard));
        node.run_until(10 * SECONDS, |node| node.ready && node.accepts.iter().all(Option::is_some));
        node
    }

    pub fn now(&self) -> u64 {
        self.now.mono.0
    }

    /// What a shard tells of itself.
    pub fn sample(&self, shard: u16) -> Sample {
        self.shards[usize::from(shard)].sample()
    }

    /// Runs until `done`, which must come within so many nanoseconds.
    pub fn run_until(&mut self, within: u64, done: impl Fn(&Node) -> bool) {
        let end = self.now() + within;
        while !done(self) {
            assert!(self.step(end), "nothing came of it within {} ms", within / MILLIS);
        }
    }

    /// Runs for so many nanoseconds.
    pub fn run_for(&mut self, time: u64) {
        let end = self.now() + time;
        while self.step(end) {}
        self.now.mono = Instant(end);
    }

    /// One input, or the next timer. False where nothing happens before `end`.
    fn step(&mut self, end: u64) -> bool {
        if self.inbox.is_empty() {
            let due =
                self.shards.iter().enumerate().filter_map(|(index, shard)| Some((shard.deadline()?, index))).min();
            let Some((due, shard)) = due.filter(|(due, _)| due.0 <= end) else { return false };
            self.now.mono = self.now.mono.max(due);
            self.inbox.push_back((shard as u16, Input::Tick));
        }
        let Some((shard, input)) = self.inbox.pop_front() else { return false };
        self.now.mono.0 += 200;
        self.now.wall = Timestamp(1_795_219_200_000 + (self.now() / MILLIS) as i64);
        self.shards[usize::from(shard)].handle(self.now, input);
        self.drain(shard);
        true
    }

    fn drain(&mut self, shard: u16) {
        while let Some(action) = self.shards[usize::from(shard)].poll() {
            match action {
                Action::Submit { token, op } => self.submit(shard, token, op),
                Action::Mail { to, mail } => self.inbox.push_back((to.0, Input::Mail { from: ShardId(shard), mail })),
                Action::Halt(halt) => panic!("it halts: {halt}"),
                Action::Log { .. } => {}
                Action::Ready => self.ready = true,
            }
        }
    }

    fn submit(&mut self, shard: u16, token: Token, op: Op) {
        let done = match op {
            Op::Accept { .. } => {
                self.accepts[usize::from(shard)] = Some(token);
                return;
            }
            Op::Recv { conn, into } => {
                self.wires.get_mut(&conn).expect("connected").recv = Some((token, into));
                return self.pump(conn);
            }
            Op::Send { conn, data, .. } => {
                let wire = self.wires.get_mut(&conn).expect("connected");
                data.iter().for_each(|slice| wire.to_client.extend_from_slice(slice));
                Done::Sent(Ok(data.iter().map(Bytes::len).sum()))
            }
            Op::Hangup { conn } => {
                let wire = self.wires.get_mut(&conn).expect("connected");
                wire.closed = true;
                if let Some((pending, _)) = wire.recv.take() {
                    self.inbox.push_back((shard, Input::Done { token: pending, done: canceled() }));
                }
                Done::Ended(Ok(()))
            }
            op => {
                let mark = self.disk.mark(&op);
                self.disk.perform(op, Trouble::None, mark, &mut self.dice, &mut self.counts)
            }
        };
        self.inbox.push_back((shard, Input::Done { token, done }));
    }

    fn pump(&mut self, conn: ConnId) {
        let wire = self.wires.get_mut(&conn).expect("connected");
        if wire.to_node.is_empty() {
            return;
        }
        let Some((token, into)) = wire.recv.take() else { return };
        let mut buf = into.unwrap_or_default();
        let room = if buf.capacity() == buf.len() { 64 << 10 } else { buf.capacity() - buf.len() };
        let part = wire.to_node.split_to(wire.to_node.len().min(room));
        buf.extend_from_slice(&part);
        self.inbox.push_back((wire.shard, Input::Done { token, done: Done::Received(Ok(buf)) }));
    }

    /// Whether a shard would take a connection now.
    pub fn accepts(&self, shard: u16) -> bool {
        self.accepts[usize::from(shard)].is_some()
    }

    /// A connection to this shard, from this address. It may still be refused.
    pub fn connect(&mut self, shard: u16, address: &str) -> ConnId {
        let conn = ConnId(self.wires.len() as u64 + 1);
        let token = self.accepts[usize::from(shard)].take().expect("it accepts");
        let peer = format!("{address}:{}", 1024 + conn.0);
        let accepted = Accepted { conn, listener: 0, peer, principal: "User:ANONYMOUS".to_string() };
        let wire = Wire {
            shard,
            recv: None,
            to_node: BytesMut::new(),
            to_client: BytesMut::new(),
            asked: VecDeque::new(),
            closed: false,
        };
        self.wires.insert(conn, wire);
        self.inbox.push_back((shard, Input::Done { token, done: Done::Accepted(Ok(accepted)) }));
        conn
    }

    /// The peer closes its side.
    pub fn close(&mut self, conn: ConnId) {
        let wire = self.wires.get_mut(&conn).expect("connected");
        let (token, _) = wire.recv.take().expect("somebody listens");
        let done = Done::Received(Err(NetError::Closed));
        self.inbox.push_back((wire.shard, Input::Done { token, done }));
    }

    pub fn is_closed(&self, conn: ConnId) -> bool {
        self.wires[&conn].closed
    }

    pub fn send<'a, M: Message<'a>>(&mut self, conn: ConnId, client_id: &str, version: i16, message: &M) -> usize {
        let header = RequestHeader {
            api_key: M::API,
            api_version: version,
            correlation_id: 1,
            client_id: Some(client_id.into()),
        };
        let wire = self.wires.get_mut(&conn).expect("connected");
        let slices = encode_request(&header, message);
        slices.iter().for_each(|slice| wire.to_node.extend_from_slice(slice));
        wire.asked.push_back((M::API, version));
        self.pump(conn);
        slices.iter().map(Bytes::len).sum()
    }

    /// The next whole answer's body, if it is there.
    pub fn take(&mut self, conn: ConnId) -> Option<Bytes> {
        let wire = self.wires.get_mut(&conn).expect("connected");
        let size = u32::from_be_bytes(wire.to_client.get(..4)?.try_into().expect("four")) as usize;
        if wire.to_client.len() < 4 + size {
            return None;
        }
        wire.to_client.advance(4);
        let frame = wire.to_client.split_to(size).freeze();
        let (key, version) = wire.asked.pop_front().expect("it was asked");
        let mut reader = Reader::new(&frame);
        decode_response_header(&mut reader, key, version).expect("a header");
        Some(frame.slice(size - reader.remaining()..))
    }

    /// One request and its answer.
    pub fn call<'a, M: Message<'a>>(&mut self, conn: ConnId, client_id: &str, version: i16, message: &M) -> Bytes {
        self.send(conn, client_id, version, message);
        let end = self.now() + 60 * SECONDS;
        loop {
            if let Some(body) = self.take(conn) {
                return body;
            }
            assert!(self.step(end), "{} is not answered", M::API);
        }
    }

    pub fn create_topic(&mut self, conn: ConnId, name: &str, partitions: i32) {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..CreateTopicsRequest::default() };
        let body = self.call(conn, "admin", 5, &request);
        let answer = CreateTopicsResponse::decode(&mut Reader::new(&body), 5).expect("an answer");
        assert!(answer.topics[0].error_code.is_none(), "{answer:?}");
    }
}

fn canceled() -> Done {
    Done::Received(Err(NetError::Canceled))
}
