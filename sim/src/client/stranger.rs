//! A stranger: bytes that are no request, requests that lie, and connections that are left half-way.
//!
//! It never sends what could store anything. Invariant: whatever it sends, the node goes on, and lets go of the
//! connection by itself where the bytes make no sense.

use crate::client::{Actor, Command, Ctx};
use crate::faults::Fault;
use crate::net::Wire;
use crate::plan::Plan;
use crate::queue::{MILLIS, Nanos, SECONDS};
use bytes::Bytes;
use highwater::boundary::ConnId;
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use highwater::wire::frame::{RequestHeader, encode_request};
use highwater::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use highwater::wire::metadata::MetadataRequest;
use highwater::wire::{ApiKey, Message};

pub struct Stranger {
    conn: Option<ConnId>,
    connecting: bool,
    /// Connections up to this one are over.
    dead: ConnId,
    left: u16,
    next_at: Nanos,
    pause: Nanos,
    retired: bool,
}

impl Stranger {
    pub fn new(plan: &Plan) -> Stranger {
        Stranger {
            conn: None,
            connecting: false,
            dead: ConnId(0),
            left: plan.work.strangers,
            next_at: 0,
            pause: plan.heal_at / (u64::from(plan.work.strangers) + 1),
            retired: false,
        }
    }

    pub fn unfinished(&self) -> Option<String> {
        (self.left > 0 && !self.retired).then(|| format!("a stranger has {} connections to make", self.left))
    }

    fn leave(&mut self, ctx: &mut Ctx) {
        if let Some(conn) = self.conn.take() {
            self.dead = conn;
            ctx.out.push(Command::Close { conn });
        }
    }
}

impl Actor for Stranger {
    fn on_wake(&mut self, ctx: &mut Ctx) {
        if self.retired || ctx.now < self.next_at {
            return;
        }
        self.leave(ctx);
        let pause = if ctx.calm { 20 * MILLIS } else { ctx.dice.skewed(self.pause / 2) };
        self.next_at = ctx.now + pause;
        if self.left > 0 && !self.connecting {
            self.left -= 1;
            self.connecting = true;
            ctx.out.push(Command::Connect);
        }
        ctx.out.push(Command::Wake { at: self.next_at.max(ctx.now + MILLIS) });
    }

    fn on_wire(&mut self, ctx: &mut Ctx, conn: ConnId, wire: Wire) {
        if conn <= self.dead {
            return;
        }
        match wire {
            Wire::Open if self.retired => {
                self.dead = conn;
                ctx.out.push(Command::Close { conn });
            }
            Wire::Open => {
                (self.connecting, self.conn) = (false, Some(conn));
                ctx.counts.add(Fault::Stranger);
                let bytes = speak(ctx);
                ctx.out.push(Command::Send { conn, bytes });
                if ctx.dice.chance(200_000) {
                    self.leave(ctx);
                } else {
                    self.next_at = self.next_at.max(ctx.now + ctx.dice.between(1, 2 * SECONDS));
                    ctx.out.push(Command::Wake { at: self.next_at });
                }
            }
            Wire::Bytes(_) => {}
            Wire::Fin | Wire::Reset => {
                self.dead = conn;
                self.connecting = false;
                if self.conn.take().is_some() {
                    ctx.out.push(Command::Close { conn });
                }
            }
        }
    }

    fn retire(&mut self, ctx: &mut Ctx) {
        self.leave(ctx);
        self.retired = true;
    }
}

/// What a stranger says.
fn speak(ctx: &mut Ctx) -> Bytes {
    let mut bytes = match ctx.dice.below(6) {
        0 => return Bytes::from_static(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        1 => return Bytes::from_static(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        2 => {
            let mut bytes = vec![0; ctx.dice.between(1, 300) as usize];
            ctx.dice.fill(&mut bytes);
            return bytes.into();
        }
        // A gigabyte announced, and not sent.
        3 => return Bytes::from_static(&[0x40, 0, 0, 0, 0, 3, 0, 12, 0, 0, 0, 1]),
        4 => request(ctx),
        _ => {
            // An API or a version that nobody serves.
            let mut bytes = request(ctx);
            let at = 4 + ctx.dice.index(4);
            bytes[at] = ctx.dice.word() as u8 | 0x40;
            return bytes.into();
        }
    };
    for _ in 0..ctx.dice.between(1, 4) {
        // Behind the API's key: what it asks for stays harmless.
        let at = 6 + ctx.dice.index(bytes.len() - 6);
        bytes[at] = match ctx.dice.below(3) {
            0 => 0xff,
            1 => 0x7f,
            _ => ctx.dice.word() as u8,
        };
    }
    if ctx.dice.coin() {
        // Cut short, and its size says so.
        let len = ctx.dice.between(10, bytes.len() as u64) as usize;
        bytes.truncate(len);
        bytes[..4].copy_from_slice(&(len as u32 - 4).to_be_bytes());
    }
    bytes.into()
}

/// A request that is right, and stores nothing.
fn request(ctx: &mut Ctx) -> Vec<u8> {
    let name = ctx.ledger.topics.first().map_or(String::new(), |topic| topic.name.clone());
    match ctx.dice.below(3) {
        0 => {
            let request =
                MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
            frame(ctx, 12, &request)
        }
        1 => {
            let partitions = vec![ListOffsetsPartition { timestamp: -1, ..ListOffsetsPartition::default() }];
            let topics = vec![ListOffsetsTopic { name: name.into(), partitions }];
            frame(ctx, 7, &ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() })
        }
        _ => {
            let partitions = vec![FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() }];
            let topics = vec![FetchTopic { topic: name.into(), partitions, ..FetchTopic::default() }];
            let request = FetchRequest { max_wait_ms: 50, session_epoch: -1, topics, ..FetchRequest::default() };
            frame(ctx, 12, &request)
        }
    }
}

fn frame<'a, M: Message<'a>>(ctx: &mut Ctx, version: i16, message: &M) -> Vec<u8> {
    assert!(M::API != ApiKey::PRODUCE, "a stranger stores nothing");
    let header = RequestHeader {
        api_key: M::API,
        api_version: version,
        correlation_id: ctx.dice.word() as i32,
        client_id: Some("stranger".into()),
    };
    encode_request(&header, message).concat()
}
