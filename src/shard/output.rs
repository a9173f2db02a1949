//! The sending half of connections: answers in order, gathered, one send at a time.
//!
//! Invariant: what a connection has to send is in `out`, `gathering` and its one `Send`, `out_bytes` all together; while
//! there is something, a `Send` is in flight.

use super::Shard;
use super::connection::{Connection, OUTPUT_MAX, Place, Slot};
use super::effects::Pending;
use super::throttle::Throttle;
use crate::boundary::{ConnId, Done, Op};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};
use core::time::Duration;

/// Slices in one send.
const SLICES_MAX: usize = 512;
/// Answers below this are gathered in one buffer.
const GATHER_MAX: usize = 4 << 10;
/// How often it is looked at what was taken of answers that are longer than this.
const LONG_ANSWER: usize = 64 << 10;
const LONG_ANSWER_LOOK: Duration = Duration::from_secs(1);

impl Shard {
    /// Moves answers that are due into their connections' sends, and lets connections go on.
    pub(super) fn flush_connections(&mut self) {
        for conn in core::mem::take(&mut self.conns.dirty) {
            let Some(connection) = self.conns.by_id.get_mut(&conn) else { continue };
            connection.dirty = false;
            let before = connection.slots.len();
            if connection.out_bytes == 0 {
                connection.moved = self.fx.now.mono;
            }
            let mut throttle = Throttle::default();
            while let Some(place) = connection.slots.pop_front_if(|place| place.slot.is_ready()) {
                self.counters.answered(place.api, place.begun, self.fx.now.mono);
                connection.under_way -= place.bytes;
                let (quotas, settings, now) = (self.image.quotas(), &self.settings, self.fx.now.mono);
                let charged = self.throttling.charge(quotas, settings, connection, &place, now);
                connection.push_answer(place, charged);
                throttle = throttle.longer(charged);
            }
            let answered = connection.slots.len() < before;
            if answered {
                self.conns.held.recount(connection);
            }
            if connection.out_bytes > 0 && connection.sending.is_none() {
                self.send_out(conn);
            }
            if throttle.ms > 0 {
                self.on_throttled(conn, throttle);
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
        // Of a long answer it is told what was taken meanwhile: whoever takes something is not stuck.
        let within = self.answers.patience(conn).or((connection.out_bytes > LONG_ANSWER).then_some(LONG_ANSWER_LOOK));
        self.fx.submit(Op::Send { conn, data, within }, Pending::Send(conn));
    }

    pub(super) fn on_sent(&mut self, conn: ConnId, done: Done) {
        let Done::Sent(result) = done else { panic!("a send ended as {done:?}") };
        let Some(connection) = self.conns.by_id.get_mut(&conn) else { return };
        let mut sending = connection.sending.take().expect("a send was in flight");
        let Ok(mut sent) = result else { return self.hang_up(conn) };
        connection.out_bytes -= sent;
        if sent > 0 {
            (connection.last_active, connection.moved) = (self.fx.now.mono, self.fx.now.mono);
        }
        let must_copy = self.answers.on_sent(conn, sent, connection.out_bytes, self.fx.now.mono);
        connection.shared = if must_copy { 0 } else { connection.shared.min(connection.out_bytes) };
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
        if connection.out_bytes == 0 && connection.slots.is_empty() {
            // An idle connection holds nothing.
            connection.gathering = BytesMut::new();
        }
        self.conns.held.recount(connection);
        if must_copy {
            self.shed_readers();
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
}

impl Connection {
    /// Copies what is to be sent into memory of its own.
    fn own_output(&mut self) {
        let mut own = BytesMut::with_capacity(self.out_bytes);
        self.out.drain(..).for_each(|slice| own.extend_from_slice(&slice));
        own.extend_from_slice(&self.gathering.split());
        assert!(own.len() == self.out_bytes, "{} bytes where {} were to be sent", own.len(), self.out_bytes);
        self.out.push_back(own.freeze());
    }

    fn push_answer(&mut self, ready: Place, throttle: Throttle) {
        self.shared += ready.shared;
        match ready.slot {
            Slot::Ready(mut response) => {
                throttle.write(ready.api, ready.version, &mut response);
                self.push_out(response);
            }
            Slot::Produce(producing) => {
                let before = self.gathering.len();
                producing.respond(throttle.told(), &mut self.gathering);
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
