//! How many connections there may be: of one address, of all, and how many of one address in a second.
//!
//! ```text
//! accepted ─ Knocks ─▶ shard 0: counted ─ Door ─▶ Open: bytes are asked for
//!     │                        │                  TooMany: hung up at once
//!     │                        │                  TooFast: hung up after a while (KIP-612)
//!     │                        └─ max.connections is reached: no answer until somebody leaves
//!     └─ the next one is accepted when this one is answered       ◀─ Leaves ─ hung up
//! ```
//!
//! Limits hold for the broker, so shard 0 counts for all shards. Nothing is read from a connection before it is let in,
//! and a shard has one that knocks at each listener: where the broker is full, the others stay with the kernel, as behind
//! Kafka's blocked acceptor. Those that are in stay where a limit is lowered. Addresses are taken as they are: a limit
//! set by a host's name is refused where it is set. Invariant: every connection that was let in is counted until it leaves.

use super::connection::Connection;
use super::timers::Timer;
use super::{Level, Shard};
use crate::boundary::{ConnId, Instant};
use crate::configs;
use crate::ids::ShardId;
use crate::mail::Letter;
use crate::quotas::{Limit, Rate, Windows, millis};
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

/// Addresses of whose connections the rate is known. Beyond, the oldest are forgotten.
const RATES_MAX: usize = 10_000;

/// What shard 0 says to a connection that knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Open,
    /// There may be so many of its address.
    TooMany(u32),
    /// It is to be hung up after so many milliseconds.
    TooFast(u64),
}

/// Where a connection stands with shard 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It was accepted from this listener, and is not let in yet.
    Knocks(u16),
    In,
    /// It is hung up in a moment.
    Out,
}

/// Those who knock, and those who are in. Only of shard 0.
#[derive(Default)]
pub struct Doors {
    by_address: BTreeMap<String, u32>,
    inside: BTreeMap<(ShardId, ConnId), String>,
    waiting: VecDeque<(ShardId, ConnId, String)>,
    rates: BTreeMap<String, (Instant, Rate)>,
}

impl Doors {
    fn count(&mut self, from: ShardId, conn: ConnId, address: String) {
        *self.by_address.entry(address.clone()).or_default() += 1;
        self.inside.insert((from, conn), address);
    }

    fn forget(&mut self, from: ShardId, conn: ConnId) {
        self.waiting.retain(|(shard, waiting, _)| (*shard, *waiting) != (from, conn));
        let Some(address) = self.inside.remove(&(from, conn)) else { return };
        let count = self.by_address.get_mut(&address).expect("who is in is counted");
        *count -= 1;
        if *count == 0 {
            self.by_address.remove(&address);
        }
    }

    /// How long one more of this address has to wait; it is counted if that is no time at all.
    fn too_fast(&mut self, address: &str, limit: Limit, now: Instant, windows: Windows) -> u64 {
        if self.rates.len() >= RATES_MAX && !self.rates.contains_key(address) {
            let mut used: Vec<Instant> = self.rates.values().map(|(used, _)| *used).collect();
            used.sort_unstable();
            let median = used[used.len() / 2];
            self.rates.retain(|_, (used, _)| *used > median);
        }
        let (used, rate) = self.rates.entry(address.to_owned()).or_default();
        *used = now;
        rate.record(1, millis(now), windows);
        let wait = rate.throttle_ms(limit.millionths(), millis(now), windows).min(windows.size_ms);
        if wait > 0 {
            rate.record(-1, millis(now), windows);
        }
        wait
    }
}

/// The address of a peer, without its port.
fn address_of(peer: &str) -> String {
    let parsed: Result<SocketAddr, _> = peer.parse();
    parsed.map_or_else(|_| peer.to_owned(), |address| address.ip().to_canonical().to_string())
}

impl Shard {
    /// A connection was accepted: may it stay?
    pub(super) fn knock(&mut self, conn: ConnId, peer: &str) {
        self.send(ShardId(0), Letter::Knocks { conn, address: address_of(peer) });
    }

    pub(super) fn on_knocks(&mut self, from: ShardId, conn: ConnId, address: String) {
        self.doors.waiting.push_back((from, conn, address));
        self.open_doors();
    }

    pub(super) fn on_leaves(&mut self, from: ShardId, conn: ConnId) {
        self.doors.forget(from, conn);
        self.open_doors();
    }

    /// Answers those who knock, as far as there is room.
    pub(super) fn open_doors(&mut self) {
        while self.doors.inside.len() < self.settings.connections_max as usize {
            let Some((from, conn, address)) = self.doors.waiting.pop_front() else { return };
            let door = self.door(&address);
            if door == Door::Open {
                self.doors.count(from, conn, address);
            }
            self.send(from, Letter::Door { conn, door });
        }
    }

    fn door(&mut self, address: &str) -> Door {
        let max = self.connections_of(address);
        let count = self.doors.by_address.get(address).copied().unwrap_or(0);
        if let Some(limit) = self.image.quotas().of_address(address) {
            let wait = self.doors.too_fast(address, limit, self.fx.now.mono, self.settings.quota_windows);
            if wait > 0 {
                return Door::TooFast(wait);
            }
        }
        if count >= max { Door::TooMany(max) } else { Door::Open }
    }

    /// How many connections there may be of an address.
    fn connections_of(&self, address: &str) -> u32 {
        let overrides = self.broker_values().get(configs::MAX_CONNECTIONS_PER_IP_OVERRIDES);
        let address: Option<IpAddr> = address.parse().ok();
        let own = overrides.and_then(|(text, _)| {
            let pairs = configs::address_counts(text).into_iter().flatten();
            pairs.filter(|(of, _)| Some(of.to_canonical()) == address).map(|(_, count)| count).last()
        });
        own.unwrap_or(self.settings.connections_per_ip_max)
    }

    /// What shard 0 says to a connection that knocked.
    pub(super) fn on_door(&mut self, conn: ConnId, door: Door) {
        let now = self.fx.now.mono;
        let Some(connection) = self.conns.by_id.get_mut(&conn) else { return };
        let Entry::Knocks(listener) = connection.entry else { panic!("{conn:?} is {door:?} after it came in") };
        match door {
            Door::Open => {
                connection.entry = Entry::In;
                self.receive(conn);
            }
            Door::TooMany(max) => {
                connection.entry = Entry::Out;
                self.refuse(conn, &format!("its address has {max} connections, as many as it may have"));
            }
            Door::TooFast(ms) => {
                connection.entry = Entry::Out;
                self.counters.connections_throttled += 1;
                self.timers.set(now.after(Duration::from_millis(ms)), Timer::TurnAway { conn });
            }
        }
        self.accept(listener);
    }

    pub(super) fn on_turn_away_due(&mut self, conn: ConnId) {
        if let Some(peer) = self.conns.peer(conn) {
            let text = format!("connection of {peer} is closed: its address connects more often than it may");
            self.fx.log(Level::Debug, text);
            self.hang_up(conn);
        }
    }

    /// A connection was hung up.
    pub(super) fn leave(&mut self, conn: ConnId, connection: &Connection) {
        match connection.entry {
            Entry::Knocks(listener) => {
                self.send(ShardId(0), Letter::Leaves { conn });
                self.accept(listener);
            }
            Entry::In => self.send(ShardId(0), Letter::Leaves { conn }),
            Entry::Out => {}
        }
    }
}
