//! Ops on connections and listeners.
//!
//! Invariant: at most one receive and one send of a connection are in flight; after its hang-up there is no new one, and
//! the descriptor is closed when both have ended. An id carries a generation: none is used twice.

use super::files::own;
use super::{Core, Driver, Flight, Post};
use crate::ring::Payload;
use bytes::{Bytes, BytesMut};
use highwater::boundary::{Accepted, ConnId, Done, Instant, NetError, Token};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Who is there where nobody is asked.
const ANONYMOUS: &str = "User:ANONYMOUS";
/// How long a listener rests when a connection cannot be taken for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Conns {
    places: Vec<Place>,
    free: Vec<u32>,
    /// Sends whose time is limited, by its end, and the ring's ops.
    due: BTreeMap<(Instant, Token), u32>,
}

/// A connection's id is its place and how many were there before.
#[derive(Default)]
struct Place {
    generation: u32,
    conn: Option<Conn>,
}

struct Conn {
    /// `None` once its close is submitted.
    fd: Option<OwnedFd>,
    receiving: Receiving,
    /// With the end of its time, where that is limited.
    sending: Option<(Token, Option<Instant>)>,
    closing: Option<Token>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    No,
    InRing,
    /// Waits for a buffer of the pool.
    Starved,
}

impl Conns {
    fn insert(&mut self, fd: OwnedFd) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).expect("connections fit in 32 bits")
        });
        let place = &mut self.places[index as usize];
        place.generation = place.generation.checked_add(1).expect("four billion connections in one place");
        place.conn = Some(Conn { fd: Some(fd), receiving: Receiving::No, sending: None, closing: None });
        ConnId(u64::from(place.generation) << 32 | u64::from(index))
    }

    fn find(&mut self, id: ConnId) -> Option<&mut Conn> {
        let place = self.places.get_mut(id.0 as u32 as usize)?;
        place.conn.as_mut().filter(|_| u64::from(place.generation) == id.0 >> 32)
    }

    fn get(&mut self, id: ConnId) -> &mut Conn {
        self.find(id).unwrap_or_else(|| panic!("{id:?} is not open"))
    }

    fn open(&mut self, id: ConnId) -> &mut Conn {
        let conn = self.get(id);
        assert!(conn.closing.is_none(), "an op on {id:?} after its hang-up");
        conn
    }

    /// When the next send is to be ended.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    fn forget(&mut self, id: ConnId) {
        let index = id.0 as u32;
        self.places[index as usize].conn = None;
        self.free.push(index);
    }
}

impl Conn {
    fn fd(&self) -> RawFd {
        self.fd.as_ref().expect("open until its last op has ended").as_raw_fd()
    }
}

/// A listener of this shard.
pub(super) struct Door {
    socket: OwnedFd,
    /// The core waits for a connection.
    asked: Option<Token>,
    /// An accept is in flight.
    watched: bool,
    /// Connections that the core has not asked for yet.
    guests: VecDeque<Guest>,
}

/// A connection on its way to the shard that is to have it.
#[derive(Debug)]
pub struct Guest {
    pub fd: OwnedFd,
    pub listener: u16,
    pub peer: String,
}

impl Door {
    pub(super) fn new(socket: OwnedFd) -> Door {
        Door { socket, asked: None, watched: false, guests: VecDeque::new() }
    }
}

impl<C: Core> Driver<C> {
    pub(super) fn accept(&mut self, token: Token, listener: u16) {
        let door = &mut self.doors[usize::from(listener)];
        assert!(door.asked.is_none(), "two accepts at listener {listener}");
        if let Some(guest) = door.guests.pop_front() {
            let accepted = self.let_in(guest);
            return self.ready.push_back((token, accepted));
        }
        door.asked = Some(token);
        self.watch(listener);
    }

    fn watch(&mut self, listener: u16) {
        let door = &mut self.doors[usize::from(listener)];
        if door.watched {
            return;
        }
        if !self.seats.take() {
            return self.refuse_accept(listener, libc::EMFILE);
        }
        door.watched = true;
        self.ring.accept(Flight::Accept { listener }, door.socket.as_raw_fd());
    }

    /// The kernel draws lots between the shards' sockets: whoever has come goes to the shard with the fewest connections.
    pub(super) fn ended_accept(&mut self, listener: u16, result: Result<u32, i32>, payload: Payload) {
        self.doors[usize::from(listener)].watched = false;
        match result {
            Ok(fd) => {
                let Payload::Peer(peer) = payload else { unreachable!("an accept returns its peer") };
                let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
                let guest = Guest { fd: own(fd), listener, peer };
                let to = self.seats.show(self.shard);
                if to == self.shard {
                    self.welcome(guest);
                } else {
                    self.outgoing[usize::from(to.0)].push(Post::Guest(guest));
                }
                if self.doors[usize::from(listener)].asked.is_some() {
                    self.watch(listener);
                }
            }
            Err(errno) => {
                self.seats.give_back();
                self.refuse_accept(listener, errno);
            }
        }
    }

    /// A connection has come, to our own door or to another shard's.
    pub(super) fn welcome(&mut self, guest: Guest) {
        let door = &mut self.doors[usize::from(guest.listener)];
        match door.asked.take() {
            Some(token) => {
                let accepted = self.let_in(guest);
                self.answer(token, accepted);
            }
            None => door.guests.push_back(guest),
        }
    }

    fn let_in(&mut self, guest: Guest) -> Done {
        let Guest { fd, listener, peer } = guest;
        let conn = self.conns.insert(fd);
        Done::Accepted(Ok(Accepted { conn, listener, peer, principal: ANONYMOUS.to_owned() }))
    }

    /// Where the core would ask again at once, and fail again at once, the answer waits a little.
    fn refuse_accept(&mut self, listener: u16, errno: i32) {
        // Nobody may be waiting: another shard's guest was the answer.
        let Some(token) = self.doors[usize::from(listener)].asked.take() else { return };
        match errno {
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                let due = self.now.mono.after(ACCEPT_PAUSE);
                self.later.push((due, token, Done::Accepted(Err(NetError::Os(errno)))));
            }
            errno => self.answer(token, Done::Accepted(Err(net_error(errno)))),
        }
    }

    pub(super) fn receive(&mut self, token: Token, id: ConnId, into: Option<BytesMut>) {
        let conn = self.conns.open(id);
        assert!(conn.receiving == Receiving::No, "two receives on {id:?}");
        conn.receiving = Receiving::InRing;
        let (fd, flight) = (conn.fd(), Flight::Receive { token, conn: id });
        match into {
            Some(buf) => self.ring.receive(flight, fd, buf),
            None => self.ring.receive_pooled(flight, fd),
        }
    }

    pub(super) fn ended_receive(&mut self, token: Token, id: ConnId, result: Result<u32, i32>, payload: Payload) {
        let conn = self.conns.get(id);
        if result == Err(libc::ENOBUFS) && conn.closing.is_none() {
            // The kernel had bytes and no buffer of the pool for them: the core never sees this.
            conn.receiving = Receiving::Starved;
            self.starved.push((token, id));
            return;
        }
        conn.receiving = Receiving::No;
        let received = match (result, payload) {
            (Ok(0), _) => Err(NetError::Closed),
            (Ok(_), Payload::Buffer(buf)) => Ok(buf),
            (Ok(count), Payload::Nothing | Payload::Peer(_)) => unreachable!("{count} bytes received into nothing"),
            (Err(libc::ENOBUFS), _) => Err(NetError::Canceled),
            (Err(errno), _) => Err(net_error(errno)),
        };
        self.answer(token, Done::Received(received));
        self.hang_up_if_quiet(id);
    }

    /// Gives the pool its buffers back, and lets those receive again that found it empty.
    pub(super) fn feed_starved(&mut self) {
        if !self.ring.refill() {
            return;
        }
        for (token, id) in std::mem::take(&mut self.starved) {
            // It may have been hung up, and answered, meanwhile.
            let Some(conn) = self.conns.find(id).filter(|conn| conn.receiving == Receiving::Starved) else { continue };
            conn.receiving = Receiving::InRing;
            let fd = conn.fd();
            self.ring.receive_pooled(Flight::Receive { token, conn: id }, fd);
        }
    }

    pub(super) fn send(&mut self, token: Token, id: ConnId, data: Vec<Bytes>, within: Option<Duration>) {
        let due = within.map(|within| self.now.mono.after(within));
        let conn = self.conns.open(id);
        assert!(conn.sending.is_none(), "two sends on {id:?}");
        conn.sending = Some((token, due));
        let fd = conn.fd();
        let op = self.ring.send(Flight::Send { token, conn: id }, fd, data);
        if let Some(due) = due {
            self.conns.due.insert((due, token), op);
        }
    }

    /// Ends the sends whose time is up: they complete with what was taken.
    pub(super) fn end_late_sends(&mut self) {
        while self.conns.next_due().is_some_and(|due| due <= self.now.mono) {
            let (_, op) = self.conns.due.pop_first().expect("just seen");
            self.ring.end(op);
        }
    }

    pub(super) fn ended_send(&mut self, token: Token, id: ConnId, result: Result<u32, i32>) {
        let conn = self.conns.get(id);
        let (sent, due) = conn.sending.take().expect("a send was in flight");
        assert!(sent == token, "{token:?} ends where {sent:?} was in flight");
        let limited = due.is_some() && conn.closing.is_none();
        if let Some(due) = due {
            self.conns.due.remove(&(due, token));
        }
        let sent = match result {
            // Nothing was taken in time.
            Err(libc::ECANCELED) if limited => Ok(0),
            result => result.map(|count| count as usize).map_err(net_error),
        };
        self.answer(token, Done::Sent(sent));
        self.hang_up_if_quiet(id);
    }

    pub(super) fn hang_up(&mut self, token: Token, id: ConnId) {
        let conn = self.conns.open(id);
        conn.closing = Some(token);
        if conn.receiving == Receiving::Starved {
            conn.receiving = Receiving::No;
            let at = self.starved.iter().position(|(_, starved)| *starved == id).expect("a starved one is listed");
            let (receive, _) = self.starved.swap_remove(at);
            self.ready.push_back((receive, Done::Received(Err(NetError::Canceled))));
        }
        let conn = self.conns.get(id);
        if conn.receiving == Receiving::InRing || conn.sending.is_some() {
            let fd = conn.fd();
            self.ring.cancel(fd);
        }
        self.hang_up_if_quiet(id);
    }

    fn hang_up_if_quiet(&mut self, id: ConnId) {
        let conn = self.conns.get(id);
        let quiet = conn.receiving == Receiving::No && conn.sending.is_none();
        let Some(token) = conn.closing.filter(|_| quiet) else { return };
        let fd = conn.fd.take().expect("hung up once").into_raw_fd();
        self.ring.close(Flight::Hangup { token, conn: id }, fd);
    }

    pub(super) fn ended_hang_up(&mut self, token: Token, id: ConnId) {
        self.conns.forget(id);
        self.seats.leave(self.shard);
        // Whatever close says: the descriptor is gone.
        self.answer(token, Done::Ended(Ok(())));
    }
}

fn net_error(errno: i32) -> NetError {
    match errno {
        libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => NetError::Reset,
        libc::ECANCELED | libc::EINTR => NetError::Canceled,
        errno => NetError::Os(errno),
    }
}
