//! Memory that is aligned, recycled and counted.
//!
//! An arena is filled by one writer; what is filled is split off and frozen into shared slices, and the arena comes back
//! when the last of them is dropped. Invariant: a pool never owns more than its budget.

use crate::boundary::SECTOR;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{Buf, BytesMut};

/// An empty buffer at a sector-aligned address with room for `len` bytes.
pub fn aligned(len: usize) -> BytesMut {
    align(BytesMut::with_capacity(len + SECTOR))
}

/// A buffer of `len` zeros at a sector-aligned address, to be filled by a direct read.
pub fn aligned_zeroed(len: usize) -> BytesMut {
    let mut buf = aligned(len);
    buf.resize(len, 0);
    buf
}

/// Rounds up to whole sectors.
pub const fn round_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(SECTOR as u64)
}

/// Rounds down to whole sectors.
pub const fn round_down(bytes: u64) -> u64 {
    bytes / SECTOR as u64 * SECTOR as u64
}

fn align(mut empty: BytesMut) -> BytesMut {
    assert!(empty.is_empty(), "only an empty buffer can be aligned");
    let skip = empty.as_ptr().align_offset(SECTOR);
    empty.resize(skip, 0);
    empty.advance(skip);
    empty
}

/// Arenas of one size under one budget.
pub struct ArenaPool {
    arena_bytes: usize,
    arenas_max: usize,
    arenas: usize,
    /// Arenas to hand out.
    ready: Vec<BytesMut>,
    /// Empty ends of arenas whose slices may still be shared, oldest first.
    retired: VecDeque<BytesMut>,
}

impl ArenaPool {
    pub fn new(arena_bytes: usize, budget_bytes: u64) -> ArenaPool {
        assert!(arena_bytes.is_multiple_of(SECTOR), "an arena is whole sectors, not {arena_bytes} bytes");
        let arenas_max = usize::try_from(budget_bytes).unwrap_or(usize::MAX) / arena_bytes;
        assert!(arenas_max >= 2, "{budget_bytes} bytes do not hold two arenas of {arena_bytes}");
        ArenaPool { arena_bytes, arenas_max, arenas: 0, ready: Vec::new(), retired: VecDeque::new() }
    }

    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    pub fn arenas_max(&self) -> usize {
        self.arenas_max
    }

    /// Whether `count` arenas can be had now.
    pub fn available(&mut self, count: usize) -> bool {
        let mut index = 0;
        while self.ready.len() + (self.arenas_max - self.arenas) < count && index < self.retired.len() {
            if self.retired[index].try_reclaim(self.arena_bytes + SECTOR) {
                let arena = self.retired.remove(index).expect("the index was just used");
                self.ready.push(align(arena));
            } else {
                index += 1;
            }
        }
        self.ready.len() + (self.arenas_max - self.arenas) >= count
    }

    /// An empty arena, or `None` while all of them are shared.
    pub fn take(&mut self) -> Option<BytesMut> {
        if !self.available(1) {
            return None;
        }
        Some(self.ready.pop().unwrap_or_else(|| {
            self.arenas += 1;
            aligned(self.arena_bytes)
        }))
    }

    /// Takes back an arena, whose filled part was split off and frozen.
    pub fn retire(&mut self, mut arena: BytesMut) {
        arena.clear();
        self.retired.push_back(arena);
        assert!(self.retired.len() <= self.arenas, "{} arenas of {} came back", self.retired.len(), self.arenas);
    }

    /// Frees the arenas that nobody shares.
    pub fn release(&mut self) {
        self.available(self.arenas_max + 1);
        self.arenas -= self.ready.len();
        self.ready = Vec::new();
    }

    /// Bytes owned, shared or not.
    pub fn bytes(&self) -> usize {
        self.arenas * (self.arena_bytes + SECTOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_comes_back_only_when_its_last_slice_is_dropped() {
        let mut pool = ArenaPool::new(8192, 16384);
        let mut first = pool.take().expect("within budget");
        let second = pool.take().expect("within budget");
        assert!(pool.take().is_none());
        first.extend_from_slice(&[7; 4096]);
        let slice = first.split().freeze();
        assert_eq!(slice.as_ptr().align_offset(SECTOR), 0);
        pool.retire(first);
        assert!(!pool.available(1));
        drop(slice);
        assert!(pool.available(1));
        let again = pool.take().expect("reclaimed");
        assert_eq!(again.as_ptr().align_offset(SECTOR), 0);
        assert!(again.capacity() >= 8192);
        drop(second);
        assert_eq!(pool.bytes(), 2 * (8192 + SECTOR));
        pool.retire(again);
        pool.release();
        assert_eq!(pool.bytes(), 8192 + SECTOR);
        assert!(pool.available(1));
    }
}
