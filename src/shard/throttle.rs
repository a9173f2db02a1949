//! Quotas at work: what answers count for, and for how long their connection is muted (KIP-124, KIP-219).
//!
//! ```text
//! Produce comes ─┐
//! answer leaves ─▶ who shares which quota ─▶ booked ─▶ above the bound: throttle_time_ms in the answer,
//!                     (none: nothing is done)   │       and no byte is asked for until the time is over
//!                                               └─▶ every 10 ms ─ Used ─▶ the books of the other shards
//! ```
//!
//! A quota holds for the whole broker, whichever shards a client's connections are on. So every shard keeps books of what
//! all shards did: of its own connections at once, of the others' by mail. A client on several shards is seen at most
//! some 10 ms late, of windows of ten seconds, and what was seen late counts all the same; no shard waits for another
//! one before it answers. Without quotas nothing is booked, and no mail is sent.
//!
//! Where this differs from Kafka: a fetch above its quota is answered with what it has read and muted afterwards, where
//! Kafka answers nothing, and reads the same again when the time is over; both keep to the bound. The processor time of
//! `request_percentage` is reckoned, not measured, since there is no clock in here: [`REQUEST_NANOS`] for a request and
//! [`KIB_NANOS`] for each KiB that came or goes. Invariant: a muted connection has one timer, less than a second ahead.

use super::connection::{Connection, Connections, Place, Slot};
use super::timers::Timer;
use super::{Level, Shard};
use crate::api::Api;
use crate::boundary::{ConnId, Instant};
use crate::configs::BrokerSettings;
use crate::mail::{Letter, Ticket};
use crate::metrics::Counters;
use crate::quotas::{Books, QuotaKey, Quotas, Subject, Usage};
use crate::wire::throttle;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::time::Duration;

/// What one request counts for, whatever it holds.
pub const REQUEST_NANOS: u64 = 10_000;
/// What each KiB of a request and its answer counts for.
pub const KIB_NANOS: u64 = 250;
/// How long the other shards do not know of what was done.
const TELL_EVERY: Duration = Duration::from_millis(10);
/// Nobody is told to wait for longer: as long as books are kept.
const THROTTLE_MAX_MS: u64 = 3_600_000;
/// The timer of a muted connection, which may be gone by then, is no farther ahead.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

pub struct Throttling {
    pub books: Books,
    /// What the other shards do not know yet.
    untold: BTreeMap<(QuotaKey, Subject), i64>,
    /// A timer is set to tell it.
    telling: bool,
    expired_at: Instant,
}

/// What an answer costs its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    pub ms: u64,
    /// Because of this quota.
    pub key: Option<QuotaKey>,
}

impl Throttle {
    fn or(self, ms: u64, key: QuotaKey) -> Throttle {
        self.longer(Throttle { ms, key: Some(key) })
    }

    pub(super) fn longer(self, other: Throttle) -> Throttle {
        if other.ms > self.ms { other } else { self }
    }

    /// As `throttle_time_ms`.
    pub(super) fn told(self) -> i32 {
        i32::try_from(self.ms).unwrap_or(i32::MAX)
    }

    /// Writes it into an answer, where its version says it.
    pub(super) fn write(self, api: Api, version: i16, response: &mut [Bytes]) {
        let Some(first) = response.first_mut().filter(|_| self.ms > 0) else { return };
        let Some(at) = throttle::place(api.served().key, version, first) else { return };
        let mut own = BytesMut::from(&first[..]);
        own[at..at + 4].copy_from_slice(&self.told().to_be_bytes());
        *first = own.freeze();
    }
}

impl Throttling {
    /// `books_bytes`: what its books may take.
    pub fn new(books_bytes: u64) -> Throttling {
        let books = Books::new(usize::try_from(books_bytes).unwrap_or(usize::MAX));
        Throttling { books, untold: BTreeMap::new(), telling: false, expired_at: Instant(0) }
    }

    /// Books one answer, and says how long its connection is to be muted.
    pub fn charge(
        &mut self,
        quotas: &Quotas,
        settings: &BrokerSettings,
        connection: &Connection,
        place: &Place,
        now: Instant,
    ) -> Throttle {
        let mut throttle = place.throttle;
        if quotas.is_empty() {
            return throttle;
        }
        let answer = match &place.slot {
            Slot::Ready(response) => response.iter().map(Bytes::len).sum(),
            Slot::Produce(_)
            | Slot::Fetch(_)
            | Slot::Query(_)
            | Slot::Group(_)
            | Slot::Look(_)
            | Slot::Forwarded
            | Slot::ProducerId { .. } => 0,
        };
        let nanos = REQUEST_NANOS + (place.asked + answer) as u64 * KIB_NANOS / 1024;
        let mut charge = |key: QuotaKey, amount: u64| {
            let ms = self.charge_one(key, amount, quotas, settings, connection, now);
            throttle = throttle.or(ms.min(THROTTLE_MAX_MS), key);
        };
        charge(QuotaKey::RequestPercentage, nanos);
        if place.api == Api::Fetch {
            charge(QuotaKey::ConsumerByteRate, answer as u64);
        }
        throttle
    }

    fn charge_one(
        &mut self,
        key: QuotaKey,
        amount: u64,
        quotas: &Quotas,
        settings: &BrokerSettings,
        connection: &Connection,
        now: Instant,
    ) -> u64 {
        let Some((subject, limit)) = quotas.of_client(key, &connection.user, &connection.client_id) else { return 0 };
        let windows = settings.quota_windows;
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        // A hundredth of a second's nanoseconds for each percent; for no longer than a window, as in Kafka.
        let (bound, most) = match key {
            QuotaKey::RequestPercentage => (limit.millionths().saturating_mul(10_000_000), windows.size_ms),
            QuotaKey::ConnectionCreationRate
            | QuotaKey::ConsumerByteRate
            | QuotaKey::ControllerMutationRate
            | QuotaKey::ProducerByteRate => (limit.millionths(), u64::MAX),
        };
        let whose = (key, subject);
        let wait = self.books.charge(&whose, amount, bound, now, windows);
        match self.untold.get_mut(&whose) {
            Some(told) => *told = told.saturating_add(amount),
            None => {
                self.untold.insert(whose, amount);
            }
        }
        wait.min(most)
    }
}

impl Connections {
    /// The client that the request which is being handled names.
    pub(super) fn known_as(&mut self, conn: ConnId, client_id: &str) {
        if let Some(connection) = self.by_id.get_mut(&conn).filter(|connection| connection.client_id != client_id) {
            connection.client_id = String::from(client_id);
        }
    }

    /// When this request is answered, its connection is to be muted.
    pub fn throttle(&mut self, ticket: Ticket, throttle_ms: u64) {
        let Some(connection) = self.by_id.get_mut(&ticket.conn) else { return };
        let first = connection.next_request - connection.slots.len() as u64;
        let index = ticket.request.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        if let Some(place) = index.and_then(|index| connection.slots.get_mut(index)) {
            place.throttle = Throttle::default().or(throttle_ms, QuotaKey::ControllerMutationRate);
        }
    }
}

impl Connection {
    /// Nothing is read from it for so long.
    pub(super) fn mute(&mut self, throttle: Throttle, now: Instant) -> bool {
        let until = now.after(Duration::from_millis(throttle.ms));
        let was_muted = self.muted.is_some();
        self.muted = self.muted.max(Some(until));
        !was_muted
    }
}

impl Shard {
    /// Books the Produce that has just come. Above its quota the connection is muted at once: what was sent behind it waits its
    /// turn, as behind Kafka, which takes one request at a time. The answer says so when it leaves.
    pub(super) fn charge_produce(&mut self, conn: ConnId) {
        let (quotas, now, key) = (self.image.quotas(), self.fx.now.mono, QuotaKey::ProducerByteRate);
        let Some(connection) = self.conns.by_id.get_mut(&conn).filter(|_| !quotas.is_empty()) else { return };
        let asked = connection.slots.back().map_or(0, |place| place.asked as u64);
        let ms = self.throttling.charge_one(key, asked, quotas, &self.settings, connection, now);
        let throttle = Throttle::default().or(ms.min(THROTTLE_MAX_MS), key);
        if throttle.ms == 0 {
            return;
        }
        connection.slots.back_mut().expect("just seen").throttle = throttle;
        if connection.mute(throttle, now) {
            self.set_unmute(conn);
        }
    }

    /// An answer of this connection was throttled: it is muted.
    pub(super) fn on_throttled(&mut self, conn: ConnId, throttle: Throttle) {
        let now = self.fx.now.mono;
        let Some(connection) = self.conns.by_id.get_mut(&conn) else { return };
        count(&mut self.counters, throttle);
        if connection.mute(throttle, now) {
            self.set_unmute(conn);
        }
    }

    fn set_unmute(&mut self, conn: ConnId) {
        let now = self.fx.now.mono;
        let Some(until) = self.conns.by_id.get(&conn).and_then(|connection| connection.muted) else { return };
        self.timers.set(until.min(now.after(LOOK_EVERY)), Timer::Unmute { conn });
    }

    pub(super) fn on_unmute_due(&mut self, conn: ConnId) {
        let now = self.fx.now.mono;
        let Some(connection) = self.conns.by_id.get_mut(&conn) else { return };
        if connection.muted.is_some_and(|until| now < until) {
            return self.set_unmute(conn);
        }
        connection.muted = None;
        // It was told to be silent.
        connection.last_active = now;
        connection.frame_begun = connection.frame_begun.map(|_| now);
        if !connection.receiving && !connection.stalled {
            self.process(conn);
        }
    }

    /// Sets the timer after which the other shards are told what was done here.
    pub(super) fn tell_usage_soon(&mut self) {
        let throttling = &mut self.throttling;
        if self.config.shards == 1 {
            throttling.untold.clear();
        }
        if !throttling.untold.is_empty() && !core::mem::replace(&mut throttling.telling, true) {
            self.timers.set(self.fx.now.mono.after(TELL_EVERY), Timer::TellUsage);
        }
    }

    pub(super) fn on_tell_usage_due(&mut self) {
        self.throttling.telling = false;
        let untold = core::mem::take(&mut self.throttling.untold);
        let used: Vec<Usage> =
            untold.into_iter().map(|((key, subject), amount)| Usage { key, subject, amount }).collect();
        for to in self.fx.others() {
            self.fx.mail(to, Letter::Used(used.clone()));
        }
    }

    /// What clients did on another shard.
    pub(super) fn on_used(&mut self, used: Vec<Usage>) {
        let now = self.fx.now.mono;
        for usage in used {
            self.throttling.books.record(usage, now, self.settings.quota_windows);
        }
    }

    /// Forgets the books of those who are gone.
    pub(super) fn expire_books(&mut self) {
        let now = self.fx.now.mono;
        if now.since(self.throttling.expired_at) >= EXPIRE_EVERY {
            self.throttling.expired_at = now;
            let before = self.throttling.books.len();
            self.throttling.books.expire(now);
            let gone = before - self.throttling.books.len();
            if gone > 0 {
                self.fx.log(Level::Debug, format!("{gone} clients with quotas were not seen for an hour"));
            }
        }
    }

    /// The most bytes that one answer to a Fetch may have: what all whole windows allow, since more would always be
    /// throttled.
    pub(super) fn fetch_quota_bytes(&self, conn: ConnId) -> usize {
        let quotas = self.image.quotas();
        let Some(connection) = self.conns.by_id.get(&conn).filter(|_| !quotas.is_empty()) else { return usize::MAX };
        let key = QuotaKey::ConsumerByteRate;
        let Some((_, limit)) = quotas.of_client(key, &connection.user, &connection.client_id) else {
            return usize::MAX;
        };
        let windows = self.settings.quota_windows;
        let whole_ms = u128::from(windows.count.saturating_sub(1)) * u128::from(windows.size_ms);
        usize::try_from(u128::from(limit.millionths()) * whole_ms / 1_000_000_000).unwrap_or(usize::MAX)
    }
}

pub(super) fn count(counters: &mut Counters, throttle: Throttle) {
    if let Some(key) = throttle.key {
        let throttled = counters.throttled.entry(key).or_default();
        throttled.answers += 1;
        throttled.ms += throttle.ms;
    }
}
