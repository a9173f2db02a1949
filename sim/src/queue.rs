//! The event queue: virtual nanoseconds, first come first served among equals.
//!
//! Invariant: time never goes back, and two runs that push alike pop alike.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Virtual nanoseconds since the run began: the one true time, which no process can read.
pub type Nanos = u64;

pub const MICROS: Nanos = 1_000;
pub const MILLIS: Nanos = 1_000_000;
pub const SECONDS: Nanos = 1_000_000_000;

/// Bits of a slot, and of the order among equals.
const SLOT_BITS: u32 = 24;
const ORDER_BITS: u32 = 40;

pub struct Queue<E> {
    /// Time, order and slot in one number, which compares at once.
    heap: BinaryHeap<Reverse<u128>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    pushed: u64,
    now: Nanos,
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        Queue { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), pushed: 0, now: 0 }
    }
}

impl<E> Queue<E> {
    pub fn now(&self) -> Nanos {
        self.now
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Schedules `event` at `at`, or now if that has passed.
    pub fn push(&mut self, at: Nanos, event: E) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some(event);
        assert!(slot < 1 << SLOT_BITS && self.pushed < 1 << ORDER_BITS, "{} events, {slot} at once", self.pushed);
        let order = u128::from(self.pushed) << SLOT_BITS | u128::from(slot);
        self.heap.push(Reverse(u128::from(at.max(self.now)) << (ORDER_BITS + SLOT_BITS) | order));
        self.pushed += 1;
    }

    pub fn push_in(&mut self, delay: Nanos, event: E) {
        self.push(self.now.saturating_add(delay), event);
    }

    pub fn pop(&mut self) -> Option<E> {
        let Reverse(key) = self.heap.pop()?;
        let (at, slot) = ((key >> (ORDER_BITS + SLOT_BITS)) as Nanos, key as u32 & ((1 << SLOT_BITS) - 1));
        assert!(at >= self.now, "time went back from {} to {at}", self.now);
        self.now = at;
        self.free.push(slot);
        self.slots[slot as usize].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_by_order() {
        let mut queue = Queue::default();
        queue.push(5, 'b');
        queue.push(1, 'a');
        queue.push(5, 'c');
        assert_eq!([queue.pop(), queue.pop(), queue.pop(), queue.pop()], [Some('a'), Some('b'), Some('c'), None]);
        assert_eq!(queue.now(), 5);
    }
}
