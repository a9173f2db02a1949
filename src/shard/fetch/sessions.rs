//! Fetch sessions (KIP-227): what a consumer wants is remembered, so that it need name only what has changed.
//!
//! ```text
//!              epoch 0                       epoch n: lend                 answered: back
//! full fetch ─────────▶ admit, at epoch 1 ─────────────────▶ a fetch ─────────────────────▶ kept, at epoch n + 1
//!                                │ epoch 0 or -1, or evicted
//!                                └─▶ closed
//! ```
//!
//! A session lives on the shard that made it, which its id tells (`id mod shards`), and is handed whole to the fetch that
//! uses it, on whatever connection and shard: nothing is copied. It is lost with the process, and clients begin anew.
//! Invariants, as in Kafka: at most `max.incremental.fetch.session.cache.slots` of them on a node; for a new one goes one
//! that nobody has used for two minutes, or one that is smaller and older than two minutes, or none. Beyond Kafka: their
//! memory is bounded. Where a request comes before the fetch ahead of it has brought the session back (the two on different
//! connections), it waits for it; Kafka lets it go ahead, and answers the other with an error.

use super::interest::Interest;
use crate::boundary::Instant;
use crate::ids::ShardId;
use crate::mail::Ticket;
use crate::wire::ErrorCode;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;
use rand::RngCore;

/// Kafka's `min.incremental.fetch.session.eviction.ms`.
const EVICTION: Duration = Duration::from_secs(120);
/// Requests that wait for one session; more at once are nobody's protocol.
const WAITING_MAX: usize = 8;

/// A request that names a session.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub ticket: Ticket,
    pub id: i32,
    pub epoch: i32,
    /// It names topics by their ids.
    pub by_ids: bool,
}

/// What becomes of a claim.
#[derive(Debug)]
pub enum Lent {
    Session(Box<Interest>),
    Refused(ErrorCode),
    /// When it is back.
    Later,
}

pub struct Sessions {
    me: ShardId,
    shards: u16,
    by_id: BTreeMap<i32, Session>,
    /// By the time of the last use.
    by_use: BTreeSet<(Instant, i32)>,
    /// By size: those that were made two minutes before they were last used.
    by_size: BTreeSet<(usize, i32)>,
    slots_max: usize,
    bytes: usize,
    bytes_max: usize,
    /// Claims on sessions that are gone.
    orphans: Vec<(Ticket, i32)>,
}

struct Session {
    /// `None`: a fetch has it.
    interest: Option<Box<Interest>>,
    waiting: VecDeque<Ticket>,
    /// The next request's.
    epoch: i32,
    by_ids: bool,
    /// Partitions, and bytes, when it was last here.
    size: usize,
    bytes: usize,
    created: Instant,
    used: Instant,
}

impl Session {
    fn is_old(&self) -> bool {
        self.used.since(self.created) > EVICTION
    }
}

impl Sessions {
    /// `slots_max` of the whole node; `bytes_max` of this shard.
    pub fn new(me: ShardId, shards: u16, slots_max: usize, bytes_max: u64) -> Sessions {
        let (each, rest) = (slots_max / usize::from(shards), slots_max % usize::from(shards));
        Sessions {
            me,
            shards,
            by_id: BTreeMap::new(),
            by_use: BTreeSet::new(),
            by_size: BTreeSet::new(),
            slots_max: each + usize::from(usize::from(me.0) < rest),
            bytes: 0,
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            orphans: Vec::new(),
        }
    }

    /// Where the session of this id would be.
    pub fn home(&self, id: i32) -> ShardId {
        ShardId(id.rem_euclid(i32::from(self.shards)) as u16)
    }

    /// A place for what a full fetch wants, which is to come [`Sessions::back`]; 0: there is none, and there is no session.
    pub fn admit(&mut self, interest: &Interest, rng: &mut impl RngCore, now: Instant) -> i32 {
        let (size, bytes) = (interest.len(), interest.bytes());
        if bytes > self.bytes_max {
            return 0;
        }
        while self.by_id.len() >= self.slots_max || self.bytes + bytes > self.bytes_max {
            let Some(id) = self.evictable(size, now) else { return 0 };
            self.close(id);
        }
        let id = self.fresh_id(rng);
        let session = Session {
            interest: None,
            waiting: VecDeque::new(),
            epoch: 1,
            by_ids: interest.by_ids(),
            size,
            bytes,
            created: now,
            used: now,
        };
        self.bytes += bytes;
        self.by_id.insert(id, session);
        self.enlist(id);
        id
    }

    fn fresh_id(&self, rng: &mut impl RngCore) -> i32 {
        let shards = u32::from(self.shards);
        loop {
            let number = rng.next_u32() % (i32::MAX as u32 / shards) * shards + u32::from(self.me.0);
            let id = number as i32;
            if id > 0 && !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    /// The one that gives way to a new one of `size` partitions.
    fn evictable(&self, size: usize, now: Instant) -> Option<i32> {
        let (used, stale) = self.by_use.first()?;
        if now.since(*used) > EVICTION {
            return Some(*stale);
        }
        self.by_size.first().filter(|(smallest, _)| *smallest < size).map(|(_, id)| *id)
    }

    /// Takes a session out for a fetch, and counts its epoch on.
    pub fn lend(&mut self, claim: &Claim, now: Instant) -> Lent {
        let Some(session) = self.by_id.get_mut(&claim.id) else {
            return Lent::Refused(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        };
        if session.epoch != claim.epoch {
            return Lent::Refused(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_ids != claim.by_ids {
            return Lent::Refused(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        if session.waiting.len() >= WAITING_MAX {
            return Lent::Refused(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        session.epoch = next_epoch(session.epoch);
        let taken = session.interest.take();
        if taken.is_none() {
            session.waiting.push_back(claim.ticket);
        }
        self.touch(claim.id, now);
        taken.map_or(Lent::Later, Lent::Session)
    }

    /// What a fetch had comes back, and goes to the claim that waits for it.
    pub fn back(&mut self, id: i32, interest: Box<Interest>, now: Instant) -> Option<(Ticket, Box<Interest>)> {
        // It may have been closed or evicted meanwhile.
        self.by_id.get(&id)?;
        self.unlist(id);
        let session = self.by_id.get_mut(&id).expect("just seen");
        let bytes = interest.bytes();
        self.bytes = self.bytes + bytes - session.bytes;
        (session.size, session.bytes, session.used) = (interest.len(), bytes, now);
        let next = session.waiting.pop_front();
        let given = match next {
            Some(ticket) => Some((ticket, interest)),
            None => {
                session.interest = Some(interest);
                None
            }
        };
        self.enlist(id);
        if self.bytes > self.bytes_max {
            // It has grown: its reader begins anew, and is given a session if there is room for one.
            self.close(id);
        }
        given
    }

    pub fn close(&mut self, id: i32) {
        if !self.by_id.contains_key(&id) {
            return;
        }
        self.unlist(id);
        let session = self.by_id.remove(&id).expect("just seen");
        self.bytes -= session.bytes;
        self.orphans.extend(session.waiting.into_iter().map(|ticket| (ticket, id)));
    }

    /// Those that waited for a session that is gone.
    pub fn take_orphans(&mut self) -> Vec<(Ticket, i32)> {
        core::mem::take(&mut self.orphans)
    }

    fn touch(&mut self, id: i32, now: Instant) {
        self.unlist(id);
        if let Some(session) = self.by_id.get_mut(&id) {
            session.used = now;
        }
        self.enlist(id);
    }

    fn enlist(&mut self, id: i32) {
        let session = &self.by_id[&id];
        self.by_use.insert((session.used, id));
        if session.is_old() {
            self.by_size.insert((session.size, id));
        }
    }

    fn unlist(&mut self, id: i32) {
        let session = &self.by_id[&id];
        self.by_use.remove(&(session.used, id));
        self.by_size.remove(&(session.size, id));
    }
}

/// Epoch 0 makes a session: what wraps goes on with 1.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::ConnId;
    use crate::metadata::Image;
    use crate::shard::fetch::interest::Terms;
    use crate::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn interest(partitions: i32) -> Box<Interest> {
        let topic = FetchTopic {
            partitions: (0..partitions)
                .map(|partition| FetchPartition { partition, ..FetchPartition::default() })
                .collect(),
            ..FetchTopic::default()
        };
        let request = FetchRequest { topics: alloc::vec![topic], ..FetchRequest::default() };
        let image = Image::default();
        let mut interest = Box::new(Interest::new(false, true));
        interest.update(&request, &Terms { image: &image, shards: 1, refused: ErrorCode::NONE });
        interest
    }

    fn sessions(slots: usize, bytes: u64) -> (Sessions, ChaCha8Rng) {
        (Sessions::new(ShardId(1), 3, slots, bytes), ChaCha8Rng::from_seed([3; 32]))
    }

    fn seconds(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    fn add(sessions: &mut Sessions, rng: &mut ChaCha8Rng, size: i32, now: Instant) -> i32 {
        let interest = interest(size);
        let id = sessions.admit(&interest, rng, now);
        assert!(sessions.back(id, interest, now).is_none());
        id
    }

    fn claim(id: i32, epoch: i32) -> Claim {
        Claim { ticket: Ticket { shard: ShardId(0), conn: ConnId(1), request: 0, item: 0 }, id, epoch, by_ids: false }
    }

    fn lend(sessions: &mut Sessions, id: i32, epoch: i32, now: Instant) -> Result<Box<Interest>, ErrorCode> {
        match sessions.lend(&claim(id, epoch), now) {
            Lent::Session(interest) => Ok(interest),
            Lent::Refused(error) => Err(error),
            Lent::Later => Err(ErrorCode::NONE),
        }
    }

    #[test]
    fn a_session_is_used_epoch_by_epoch() {
        let (mut all, mut rng) = sessions(30, 1 << 20);
        let id = add(&mut all, &mut rng, 2, seconds(0));
        assert_eq!((id % 3, all.home(id)), (1, ShardId(1)));
        for epoch in [0, -1, 2, i32::MAX] {
            let error = lend(&mut all, id, epoch, seconds(0)).unwrap_err();
            assert_eq!(error, ErrorCode::INVALID_FETCH_SESSION_EPOCH, "epoch {epoch} before 1");
        }
        for epoch in 1..4 {
            let interest = lend(&mut all, id, epoch, seconds(0)).expect("its turn");
            assert!(all.back(id, interest, seconds(0)).is_none());
            assert_eq!(lend(&mut all, id, epoch, seconds(0)).unwrap_err(), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        let by_ids = Claim { by_ids: true, ..claim(id, 4) };
        assert!(matches!(all.lend(&by_ids, seconds(0)), Lent::Refused(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR)));
        assert_eq!(lend(&mut all, id + 3, 1, seconds(0)).unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        all.close(id);
        assert_eq!(lend(&mut all, id, 4, seconds(0)).unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        assert_eq!((all.bytes, all.by_use.len()), (0, 0));
        assert_eq!((next_epoch(1), next_epoch(i32::MAX)), (2, 1));
    }

    #[test]
    fn who_comes_before_the_session_is_back_waits_for_it() {
        let (mut all, mut rng) = sessions(30, 1 << 20);
        let id = add(&mut all, &mut rng, 2, seconds(0));
        let interest = lend(&mut all, id, 1, seconds(0)).expect("its turn");
        assert_eq!(lend(&mut all, id, 2, seconds(0)).unwrap_err(), ErrorCode::NONE, "later");
        let (ticket, interest) = all.back(id, interest, seconds(1)).expect("somebody waits for it");
        assert_eq!(ticket, claim(id, 2).ticket);
        assert_eq!(lend(&mut all, id, 3, seconds(2)).unwrap_err(), ErrorCode::NONE, "later");
        all.close(id);
        assert_eq!(all.take_orphans(), [(ticket, id)]);
        assert!(all.back(id, interest, seconds(3)).is_none(), "it is gone, and stays gone");
        assert_eq!((all.by_id.len(), all.bytes), (0, 0));
    }

    #[test]
    fn a_full_cache_lets_go_what_is_stale_and_else_what_is_smaller_and_old() {
        let (mut all, mut rng) = sessions(6, 1 << 20);
        let (small, large) = (add(&mut all, &mut rng, 2, seconds(0)), add(&mut all, &mut rng, 5, seconds(1)));
        assert!(small > 0 && large > 0);
        assert_eq!(all.admit(&interest(9), &mut rng, seconds(100)), 0, "both are young");
        for (epoch, now) in [(1, seconds(119)), (2, seconds(130))] {
            for id in [small, large] {
                let interest = lend(&mut all, id, epoch, now).expect("in turn");
                all.back(id, interest, now);
            }
        }
        assert_eq!(all.admit(&interest(2), &mut rng, seconds(131)), 0, "it is no larger than the smallest");
        let third = add(&mut all, &mut rng, 3, seconds(131));
        assert!(third > 0 && !all.by_id.contains_key(&small) && all.by_id.contains_key(&large));
        let fourth = add(&mut all, &mut rng, 1, seconds(251));
        assert!(fourth > 0 && !all.by_id.contains_key(&large), "nobody used it for more than two minutes");
    }

    #[test]
    fn memory_is_bounded_however_large_sessions_are_and_grow() {
        let room = 3 * interest(40).bytes() as u64;
        let (mut all, mut rng) = sessions(3_000, room);
        let ids: Vec<i32> = (0..3).map(|_| add(&mut all, &mut rng, 40, seconds(0))).collect();
        assert!(ids.iter().all(|id| *id > 0) && all.bytes as u64 <= room);
        assert_eq!(all.admit(&interest(40), &mut rng, seconds(1)), 0);
        assert_eq!(all.admit(&interest(1_000), &mut rng, seconds(200)), 0, "larger than all there is");
        drop(lend(&mut all, ids[1], 1, seconds(1)).expect("its turn"));
        assert!(all.back(ids[1], interest(90), seconds(1)).is_none());
        assert!(!all.by_id.contains_key(&ids[1]), "what has grown too large is let go");
        assert!(all.bytes as u64 <= room);
        assert_eq!(sessions(0, 1 << 20).0.slots_max, 0);
    }
}
