//! The network: byte streams between clients and the node's listeners.
//!
//! Bytes arrive in order, in fragments or coalesced, late, or never: a connection may be reset in the middle of a frame,
//! or be half-open, one side gone and the other not told. Which shard accepts is drawn. A slow reader's window is
//! small and empties slowly, so that the node's Sends are short and wait.
//!
//! Invariant: a stream gives the bytes that were sent, each once, in order, up to the point where it breaks.

use crate::faults::Fault;
use crate::node::InFlight;
use crate::queue::{MICROS, MILLIS, Nanos, SECONDS};
use crate::world::{Event, World};
use bytes::{Buf, Bytes, BytesMut};
use highwater::boundary::{Accepted, ConnId, Done, NetError, Token};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
pub enum Wire {
    Bytes(Bytes),
    /// The connection is made.
    Open,
    Fin,
    Reset,
}

#[derive(Default)]
pub struct Net {
    pub conns: BTreeMap<ConnId, Conn>,
    /// Arrived and not accepted, for each shard.
    backlog: Vec<VecDeque<ConnId>>,
    made: u64,
}

pub struct Conn {
    client: u32,
    pub shard: u16,
    accepted: bool,
    inbox: BytesMut,
    fin: bool,
    reset: bool,
    pub recv: Option<(Token, Option<BytesMut>)>,
    pub send: Option<(Token, Vec<Bytes>)>,
    pub hung: bool,
    /// Bytes that may be on their way to the client.
    window: usize,
    outstanding: usize,
    slow: bool,
    /// The client is gone and the node does not know.
    void: bool,
    last_in: Nanos,
    last_out: Nanos,
}

impl Net {
    /// Connections made so far.
    pub fn made(&self) -> u64 {
        self.made
    }
}

const WINDOW: usize = 512 << 10;
const SLOW_WINDOW: usize = 4 << 10;

impl World {
    fn wire_delay(&mut self) -> Nanos {
        let rates = &self.plan.net;
        let base = rates.delay_us * MICROS;
        if !self.calm && self.streams.net.chance(rates.spike) {
            self.counts.add(Fault::Delay);
            return self.streams.net.between(1, 200) * MILLIS;
        }
        base / 2 + self.streams.net.below(base)
    }

    pub fn connect(&mut self, client: u32) {
        let shard = self.streams.schedule.below(u64::from(self.shards)) as u16;
        self.net.made += 1;
        let conn = ConnId(self.net.made);
        let slow = !self.calm && self.streams.net.chance(self.plan.net.slow);
        let delay = self.wire_delay();
        let at = self.queue.now() + delay;
        let fresh = Conn {
            client,
            shard,
            accepted: false,
            inbox: BytesMut::new(),
            fin: false,
            reset: false,
            recv: None,
            send: None,
            hung: false,
            window: if slow { SLOW_WINDOW } else { WINDOW },
            outstanding: 0,
            slow,
            void: false,
            last_in: at,
            last_out: at,
        };
        self.net.conns.insert(conn, fresh);
        self.queue.push(at, Event::Syn { conn });
    }

    /// The request to connect arrives: the kernel answers it where a process listens, before the process knows.
    pub fn on_syn(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        let (client, shard) = (conn.client, conn.shard);
        let delay = self.wire_delay();
        // It was told of more shards than the process has that starts meanwhile.
        let listens = |node: &crate::node::Process| node.ready() && usize::from(shard) < node.seats.len();
        if !self.node.as_ref().is_some_and(listens) {
            self.net.conns.remove(&id);
            self.queue.push_in(delay, Event::ToClient { client, conn: id, wire: Wire::Reset });
            return;
        }
        let at = self.queue.now() + delay;
        self.net.conns.get_mut(&id).expect("it was there").last_out = at;
        self.queue.push(at, Event::ToClient { client, conn: id, wire: Wire::Open });
        let shards = self.node.as_ref().map_or(0, |node| node.seats.len());
        self.net.backlog.resize_with(shards, VecDeque::new);
        self.net.backlog[usize::from(shard)].push_back(id);
        self.offer(shard);
    }

    /// Hands the next connection to a waiting Accept.
    pub fn offer(&mut self, shard: u16) {
        let Some(queue) = self.net.backlog.get_mut(usize::from(shard)) else { return };
        let Some(node) = &mut self.node else { return };
        let seat = &mut node.seats[usize::from(shard)];
        let Some((&listener, _)) = seat.accepts.first_key_value() else { return };
        let Some(id) = queue.pop_front() else { return };
        let token = seat.accepts.remove(&listener).expect("it was first");
        let Some(conn) = self.net.conns.get_mut(&id) else { return self.offer_again(shard, listener, token) };
        conn.accepted = true;
        let peer = format!("10.0.0.{}:{}", conn.client + 1, 1024 + id.0 % 60_000);
        let accepted = Accepted { conn: id, listener, peer, principal: "User:ANONYMOUS".to_string() };
        self.settle(shard, token, Done::Accepted(Ok(accepted)), MICROS);
    }

    /// The connection had gone before anyone took it.
    fn offer_again(&mut self, shard: u16, listener: u16, token: Token) {
        let node = self.node.as_mut().expect("it was offered to");
        node.seats[usize::from(shard)].accepts.insert(listener, token);
        self.offer(shard);
    }

    pub fn client_send(&mut self, id: ConnId, bytes: Bytes) {
        let rates = self.plan.net.clone();
        if !self.net.conns.contains_key(&id) {
            return;
        }
        let mut rest = bytes;
        let calm = self.calm;
        if !calm && self.streams.net.chance(rates.reset) {
            let part = self.streams.net.below(rest.len() as u64) as usize;
            rest.truncate(part);
            self.counts.add(if part > 0 { Fault::ResetMidFrame } else { Fault::Reset });
            self.deliver_in(id, Wire::Bytes(rest));
            return self.break_both(id);
        }
        if !calm && self.streams.net.chance(rates.fragment) {
            self.counts.add(Fault::Fragment);
            for _ in 0..self.streams.net.between(1, 4) {
                if rest.len() > 1 {
                    let part = rest.split_to(self.streams.net.between(1, rest.len() as u64 - 1) as usize);
                    self.deliver_in(id, Wire::Bytes(part));
                }
            }
        }
        self.deliver_in(id, Wire::Bytes(rest));
    }

    fn deliver_in(&mut self, id: ConnId, wire: Wire) {
        let delay = self.wire_delay();
        let now = self.queue.now();
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        conn.last_in = conn.last_in.max(now + delay);
        self.queue.push(conn.last_in, Event::ToNode { conn: id, wire });
    }

    fn deliver_out(&mut self, id: ConnId, wire: Wire) {
        let mut delay = self.wire_delay();
        let now = self.queue.now();
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        if conn.slow && !self.calm {
            self.counts.add(Fault::SlowReader);
            delay += self.streams.net.between(1, 40) * MILLIS;
            if self.streams.net.below(30) == 0 {
                // It does something else for a while: longer than an answer may be on its way.
                delay += self.streams.net.between(100, 400) * MILLIS;
            }
        }
        conn.last_out = conn.last_out.max(now + delay);
        self.queue.push(conn.last_out, Event::ToClient { client: conn.client, conn: id, wire });
    }

    /// A reset in both directions, each side told in its own time.
    pub fn break_both(&mut self, id: ConnId) {
        self.deliver_in(id, Wire::Reset);
        self.deliver_out(id, Wire::Reset);
    }

    pub fn client_close(&mut self, id: ConnId) {
        self.deliver_in(id, Wire::Fin);
    }

    /// The client is gone and says nothing; the node learns it when its keep-alive fails.
    pub fn client_vanish(&mut self, id: ConnId) {
        self.counts.add(Fault::HalfOpen);
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.void = true;
            conn.last_in = conn.last_in.max(self.queue.now() + self.streams.net.between(1, 20) * SECONDS);
            self.queue.push(conn.last_in, Event::ToNode { conn: id, wire: Wire::Reset });
        }
    }

    pub fn on_node_wire(&mut self, id: ConnId, wire: Wire) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        if conn.reset || conn.hung {
            return;
        }
        match wire {
            Wire::Bytes(bytes) => {
                if !conn.inbox.is_empty() {
                    self.counts.add(Fault::Coalesced);
                }
                conn.inbox.extend_from_slice(&bytes);
            }
            Wire::Fin => conn.fin = true,
            Wire::Reset => {
                conn.reset = true;
                conn.inbox.clear();
            }
            Wire::Open => panic!("a client opens no connection of the node's"),
        }
        self.pump_recv(id);
        if self.net.conns.get(&id).is_some_and(|conn| conn.reset) {
            self.pump_send(id);
        }
    }

    /// Completes a waiting Recv where there is something to say.
    pub fn pump_recv(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        if conn.recv.is_none() || (conn.inbox.is_empty() && !conn.fin && !conn.reset) {
            return;
        }
        let (token, into) = conn.recv.take().expect("it waits");
        let shard = conn.shard;
        let result = if conn.reset {
            Err(NetError::Reset)
        } else if conn.inbox.is_empty() {
            Err(NetError::Closed)
        } else {
            let mut buf = into.unwrap_or_default();
            let room = if buf.capacity() == buf.len() { 64 << 10 } else { buf.capacity() - buf.len() };
            let mut len = conn.inbox.len().min(room);
            if len > 1 && !self.calm && self.streams.net.chance(self.plan.net.fragment) {
                len = self.streams.net.between(1, len as u64 - 1) as usize;
                self.counts.add(Fault::Fragment);
            }
            buf.extend_from_slice(&conn.inbox[..len]);
            conn.inbox.advance(len);
            Ok(buf)
        };
        self.settle(shard, token, Done::Received(result), MICROS);
    }

    /// Sends what the window lets through.
    pub fn pump_send(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        let Some((token, data)) = conn.send.take() else { return };
        let shard = conn.shard;
        if conn.reset {
            return self.settle(shard, token, Done::Sent(Err(NetError::Reset)), MICROS);
        }
        let room = conn.window - conn.outstanding.min(conn.window);
        if room == 0 {
            conn.send = Some((token, data));
            return;
        }
        let total: usize = data.iter().map(Bytes::len).sum();
        let mut len = total.min(room);
        if len > 1 && !self.calm && self.streams.net.chance(self.plan.net.fragment) {
            len = self.streams.net.between(1, len as u64 - 1) as usize;
            self.counts.add(Fault::Fragment);
        }
        conn.outstanding += len;
        let mut sent = BytesMut::with_capacity(len);
        for slice in &data {
            let part = slice.len().min(len - sent.len());
            sent.extend_from_slice(&slice[..part]);
        }
        let void = conn.void;
        self.settle(shard, token, Done::Sent(Ok(len)), 2 * MICROS);
        if void {
            return;
        }
        if !self.calm && self.streams.net.chance(self.plan.net.reset) {
            let part = self.streams.net.below(len as u64) as usize;
            self.counts.add(Fault::ResetMidFrame);
            sent.truncate(part);
            self.deliver_out(id, Wire::Bytes(sent.freeze()));
            return self.break_both(id);
        }
        self.deliver_out(id, Wire::Bytes(sent.freeze()));
    }

    /// The time of a Send is up: nothing was taken, or it would have ended.
    pub fn on_send_due(&mut self, id: ConnId, token: Token) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        if conn.send.take_if(|(waiting, _)| *waiting == token).is_some() {
            let shard = conn.shard;
            self.counts.add(Fault::Untaken);
            self.settle(shard, token, Done::Sent(Ok(0)), MICROS);
        }
    }

    pub fn on_client_wire(&mut self, client: u32, id: ConnId, wire: Wire) {
        if let (Wire::Bytes(bytes), Some(conn)) = (&wire, self.net.conns.get_mut(&id)) {
            conn.outstanding -= bytes.len().min(conn.outstanding);
            if conn.send.is_some() {
                self.pump_send(id);
            }
        }
        self.with_client(client, |client, ctx| client.on_wire(ctx, id, wire));
    }

    /// The node hangs up.
    pub fn hang_up(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        conn.hung = true;
        let (shard, recv, send) = (conn.shard, conn.recv.take(), conn.send.take());
        if let Some((token, _)) = recv {
            self.settle(shard, token, Done::Received(Err(NetError::Canceled)), MICROS);
        }
        if let Some((token, _)) = send {
            self.settle(shard, token, Done::Sent(Err(NetError::Canceled)), MICROS);
        }
        self.deliver_out(id, Wire::Fin);
        self.net.conns.remove(&id);
    }

    /// The node's machine forgets all connections; each client is told in its own time.
    pub fn drop_all(&mut self, power: bool) {
        let conns = std::mem::take(&mut self.net.conns);
        self.net.backlog.clear();
        for (id, conn) in conns {
            let wait = if power { self.streams.net.between(1, 2_000) } else { self.streams.net.between(0, 2) };
            let at = conn.last_out.max(self.queue.now() + wait * MILLIS + self.streams.net.below(MILLIS));
            self.queue.push(at, Event::ToClient { client: conn.client, conn: id, wire: Wire::Reset });
        }
    }

    /// An op that has ended, to be handed over after `delay`.
    pub fn settle(&mut self, shard: u16, token: Token, done: Done, delay: Nanos) {
        let run = self.runs;
        let Some(node) = &mut self.node else { return };
        node.seats[usize::from(shard)].ops.insert(token, InFlight::Settled(done));
        self.queue.push_in(delay, Event::Done { run, shard, token });
    }
}
