//! Where a shard's letters wait for it, and how it is woken for them.
//!
//! Letters of one sender stay in order: a sender appends under the lock, in the order in which it wrote them. No letter
//! is lost between "look" and "sleep": the owner says that it sleeps before it looks for the last time, a sender looks
//! whether it sleeps after it has delivered.

use highwater::ids::ShardId;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The mailboxes of all shards of a node, by shard.
pub struct Mailboxes<M>(Vec<Mailbox<M>>);

pub struct Mailbox<M> {
    letters: Mutex<Vec<(ShardId, M)>>,
    stop: AtomicBool,
    /// Somebody wants a sample of the owner.
    asked: AtomicBool,
    asleep: AtomicBool,
    /// The owner's ring, once it has one; -1 before.
    ring: AtomicI32,
    /// An eventfd that the owner's ring reads: for those who have no ring of their own.
    bell: OwnedFd,
}

impl<M> Mailboxes<M> {
    pub fn new(shards: u16) -> io::Result<Mailboxes<M>> {
        (0..shards).map(|_| Mailbox::new()).collect::<io::Result<Vec<_>>>().map(Mailboxes)
    }

    pub fn of(&self, shard: ShardId) -> &Mailbox<M> {
        &self.0[usize::from(shard.0)]
    }

    pub fn shards(&self) -> u16 {
        self.0.len() as u16
    }

    /// Asks every shard to stop. For a thread without a ring.
    pub fn stop_all(&self) {
        for mailbox in &self.0 {
            mailbox.stop.store(true, Ordering::SeqCst);
            mailbox.ring_bell();
        }
    }

    /// Asks every shard for a sample. For a thread without a ring.
    pub fn ask_all(&self) {
        for mailbox in &self.0 {
            mailbox.asked.store(true, Ordering::SeqCst);
            mailbox.ring_bell();
        }
    }
}

impl<M> Mailbox<M> {
    fn new() -> io::Result<Mailbox<M>> {
        Ok(Mailbox {
            letters: Mutex::new(Vec::new()),
            stop: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            ring: AtomicI32::new(-1),
            bell: eventfd(0, EventfdFlags::CLOEXEC)?,
        })
    }

    /// Moves `letters` of one sender in. True if the owner sleeps, and it falls to the caller to wake it.
    #[must_use]
    pub fn deliver(&self, from: ShardId, letters: &mut Vec<M>) -> bool {
        self.letters().extend(letters.drain(..).map(|letter| (from, letter)));
        self.asleep.swap(false, Ordering::SeqCst)
    }

    /// Exchanges what has arrived for the empty `letters`.
    pub fn take(&self, letters: &mut Vec<(ShardId, M)>) {
        assert!(letters.is_empty(), "{} letters would be lost", letters.len());
        std::mem::swap(&mut *self.letters(), letters);
    }

    /// True once after [`Mailboxes::stop_all`].
    pub fn take_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed) && self.stop.swap(false, Ordering::SeqCst)
    }

    /// True once after [`Mailboxes::ask_all`].
    pub fn take_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::SeqCst)
    }

    /// The owner is about to wait. False if there is something to do first.
    pub fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let flagged = self.stop.load(Ordering::SeqCst) || self.asked.load(Ordering::SeqCst);
        let quiet = self.letters().is_empty() && !flagged;
        if !quiet {
            self.wake_up();
        }
        quiet
    }

    /// The owner no longer waits.
    pub fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub fn ring_bell(&self) {
        // An eventfd refuses only when its counter is full: then the owner is going to wake anyway.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    pub fn bell(&self) -> RawFd {
        self.bell.as_fd().as_raw_fd()
    }

    pub fn set_ring(&self, ring: RawFd) {
        self.ring.store(ring, Ordering::Release);
    }

    pub fn ring(&self) -> Option<RawFd> {
        Some(self.ring.load(Ordering::Acquire)).filter(|ring| *ring >= 0)
    }

    fn letters(&self) -> MutexGuard<'_, Vec<(ShardId, M)>> {
        // Nothing panics while it holds the lock, and a vector is whole between any two of its operations.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_a_sender_stay_in_order() {
        let boxes = Mailboxes::new(2).expect("mailboxes");
        let mine = boxes.of(ShardId(1));
        std::thread::scope(|scope| {
            for from in [0, 7] {
                scope.spawn(move || {
                    for round in 0..1000u32 {
                        let _ = mine.deliver(ShardId(from), &mut vec![2 * round, 2 * round + 1]);
                    }
                });
            }
            let mut next = [0; 8];
            while next[0] + next[7] < 4000 {
                let mut letters = Vec::new();
                mine.take(&mut letters);
                for (from, letter) in letters {
                    let next = &mut next[usize::from(from.0)];
                    assert_eq!(letter, *next, "from shard {from:?}");
                    *next += 1;
                }
            }
        });
    }

    #[test]
    fn only_a_sleeper_is_woken_and_only_once() {
        let boxes = Mailboxes::new(1).expect("mailboxes");
        let mine = boxes.of(ShardId(0));
        assert!(!mine.deliver(ShardId(0), &mut vec!['a']), "it is awake");
        assert!(!mine.fall_asleep(), "there is a letter");
        mine.take(&mut Vec::new());
        assert!(mine.fall_asleep());
        assert!(mine.deliver(ShardId(0), &mut vec!['b']));
        assert!(!mine.deliver(ShardId(0), &mut vec!['c']), "the first has woken it");
    }

    #[test]
    fn a_stop_keeps_its_shard_awake_and_is_told_once() {
        let boxes = Mailboxes::<u8>::new(2).expect("mailboxes");
        boxes.stop_all();
        for shard in [ShardId(0), ShardId(1)] {
            assert!(!boxes.of(shard).fall_asleep());
            assert!(boxes.of(shard).take_stop());
            assert!(!boxes.of(shard).take_stop());
            assert!(boxes.of(shard).fall_asleep());
        }
    }
}
