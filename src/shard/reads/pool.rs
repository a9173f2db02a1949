//! The memory of reads: arenas to read into, and the verified chunks that lie in them.
//!
//! A read is given a piece of an arena; small reads share one. An arena comes back when no chunk in it is remembered, and
//! no answer that holds a slice of one is on its way. Invariant: the arenas never take more than the budget; what is
//! read ahead takes at most half of it, and is dropped only for a read that somebody waits for.

use crate::boundary::SECTOR;
use crate::log::segment::Name;
use crate::memory::{self, ArenaPool};
use alloc::collections::BTreeMap;
use bytes::{Bytes, BytesMut};

/// The most that one read brings, in whole chunks: the largest batch of default topics fits.
const READ_MAX: usize = (1 << 20) + SECTOR;
/// Chunks begin and end anywhere in a sector.
const EDGES: usize = 2 * SECTOR;

/// A chunk: partition, segment, and position in it.
pub type ChunkKey = (u32, Name, u64);

pub struct ReadPool {
    arenas: ArenaPool,
    /// The arena that pieces are cut from, and how much of it is left. Never its capacity: that depends on its address,
    /// and equal inputs must give equal reads.
    open: Option<(BytesMut, usize)>,
    /// A read of a chunk that no arena holds is on its way.
    huge: bool,
    chunks: BTreeMap<ChunkKey, Remembered>,
    /// By age: chunks that were read to their end by somebody, the first to go, and those that were not.
    used: BTreeMap<u64, ChunkKey>,
    fresh: BTreeMap<u64, ChunkKey>,
    fresh_bytes: usize,
    budget_bytes: usize,
    /// Bytes that were ever remembered: a chunk's age.
    remembered: u64,
}

struct Remembered {
    bytes: Bytes,
    age: u64,
    used: bool,
}

impl ReadPool {
    pub fn new(budget_bytes: u64) -> ReadPool {
        let arena_bytes = (READ_MAX + EDGES).min(memory::round_down(budget_bytes / 3) as usize);
        let arenas = ArenaPool::new(arena_bytes, budget_bytes);
        ReadPool {
            budget_bytes: arenas.arenas_max() * arena_bytes,
            arenas,
            open: None,
            huge: false,
            chunks: BTreeMap::new(),
            used: BTreeMap::new(),
            fresh: BTreeMap::new(),
            fresh_bytes: 0,
            remembered: 0,
        }
    }

    /// The most that one read brings, a single larger chunk excepted.
    pub fn read_max(&self) -> usize {
        self.arenas.arena_bytes() - EDGES
    }

    /// An empty buffer with room for `len` bytes, whole sectors, for a direct read. Chunks are forgotten for it where there
    /// is no room, those that were read ahead only if it is `urgent`. `None`: everything is in use.
    pub fn take(&mut self, len: usize, urgent: bool) -> Option<BytesMut> {
        assert!(len.is_multiple_of(SECTOR), "a direct read of {len} bytes");
        if len > self.arenas.arena_bytes() {
            // One huge batch: the heap's, and one at a time.
            let may = urgent && !core::mem::replace(&mut self.huge, true);
            return may.then(|| memory::aligned(len));
        }
        if self.open.as_ref().is_none_or(|(_, left)| *left < len) {
            self.make_room(urgent);
            let arena = self.arenas.take()?;
            if let Some((old, _)) = self.open.replace((arena, self.arenas.arena_bytes())) {
                self.arenas.retire(old);
            }
        }
        let (arena, left) = self.open.as_mut().expect("just seen");
        *left -= len;
        let rest = arena.split_off(len);
        Some(core::mem::replace(arena, rest))
    }

    /// A read of so many bytes is over.
    pub fn on_read(&mut self, len: usize) {
        if len > self.arenas.arena_bytes() {
            self.huge = false;
        }
    }

    /// Whether so many bytes may be read ahead.
    pub fn may_read_ahead(&self, coming: usize) -> bool {
        self.fresh_bytes + coming <= self.budget_bytes / 2
    }

    /// The chunk, if it is remembered and has this length: an active segment's last one grows.
    pub fn get(&self, key: &ChunkKey, len: u32) -> Option<Bytes> {
        self.chunks.get(key).filter(|chunk| chunk.bytes.len() == len as usize).map(|chunk| chunk.bytes.clone())
    }

    pub fn remember(&mut self, key: ChunkKey, bytes: Bytes) {
        if bytes.len() > self.read_max() {
            // It is not the pool's.
            return;
        }
        self.forget(key);
        let (age, len) = (self.remembered, bytes.len());
        self.remembered += len as u64;
        self.fresh_bytes += len;
        self.fresh.insert(age, key);
        self.chunks.insert(key, Remembered { bytes, age, used: false });
        // What was read ahead for a reader that has left is nobody's any more.
        while let Some((age, key)) = self.fresh.first_key_value()
            && age + 2 * (self.budget_bytes as u64) < self.remembered
        {
            self.on_used(*key);
        }
    }

    /// Somebody has read this chunk to its end.
    pub fn on_used(&mut self, key: ChunkKey) {
        if let Some(chunk) = self.chunks.get_mut(&key)
            && !chunk.used
        {
            chunk.used = true;
            self.fresh_bytes -= chunk.bytes.len();
            self.fresh.remove(&chunk.age);
            self.used.insert(chunk.age, key);
        }
    }

    /// Forgets chunks until an arena is free, or nothing more may be forgotten.
    fn make_room(&mut self, urgent: bool) {
        while !self.arenas.available(1) {
            // Looking for a free arena costs more than forgetting a chunk.
            let mut dropped = 0;
            while dropped < self.arenas.arena_bytes() / 2 {
                let fresh = || self.fresh.first_key_value().filter(|_| urgent);
                let Some((_, oldest)) = self.used.first_key_value().or_else(fresh) else { break };
                dropped += self.forget(*oldest);
            }
            if dropped == 0 {
                return;
            }
        }
    }

    fn forget(&mut self, key: ChunkKey) -> usize {
        let Some(chunk) = self.chunks.remove(&key) else { return 0 };
        if chunk.used {
            self.used.remove(&chunk.age);
        } else {
            self.fresh.remove(&chunk.age);
            self.fresh_bytes -= chunk.bytes.len();
        }
        chunk.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Offset;
    use alloc::vec::Vec;

    const SEGMENT: Name = Name { base: Offset(0), generation: 0 };

    fn read(pool: &mut ReadPool, position: u64, len: usize, urgent: bool) -> Option<Bytes> {
        let mut buf = pool.take(len, urgent)?;
        assert!(buf.is_empty() && buf.capacity() >= len && buf.as_ptr().align_offset(SECTOR) == 0);
        buf.resize(len, 0);
        let bytes = buf.freeze();
        pool.remember((0, SEGMENT, position), bytes.clone());
        Some(bytes)
    }

    #[test]
    fn what_is_read_ahead_makes_room_only_for_a_read_that_somebody_waits_for() {
        let mut pool = ReadPool::new(5 << 20);
        let len = pool.read_max();
        for position in 0..4 {
            assert!(read(&mut pool, position, len, false).is_some());
        }
        assert!(!pool.may_read_ahead(len), "half of the budget is read ahead");
        assert!(read(&mut pool, 4, len, false).is_none(), "and nothing is forgotten for more of it");
        assert!(read(&mut pool, 4, len, true).is_some());
        assert!(pool.get(&(0, SEGMENT, 0), len as u32).is_none(), "the oldest went");
        pool.on_used((0, SEGMENT, 3));
        assert!(read(&mut pool, 5, len, false).is_some());
        assert!(pool.get(&(0, SEGMENT, 3), len as u32).is_none(), "what was used goes before what is older");
        assert!(pool.get(&(0, SEGMENT, 1), len as u32).is_some());
    }

    #[test]
    fn an_answer_on_its_way_keeps_its_arena_and_nothing_else() {
        let mut pool = ReadPool::new(5 << 20);
        let len = pool.read_max();
        let held: Vec<Bytes> = (0..4).filter_map(|position| read(&mut pool, position, len, true)).collect();
        assert!(held.len() == 4 && read(&mut pool, 4, len, true).is_none(), "all arenas are in use");
        let bytes = pool.arenas.bytes();
        assert!(bytes <= 5 << 20, "{bytes} of 5 MiB");
        drop(held);
        assert!(read(&mut pool, 4, len, true).is_some());
    }

    #[test]
    fn what_was_read_ahead_for_nobody_gives_way() {
        let mut pool = ReadPool::new(5 << 20);
        let len = pool.read_max();
        for position in 0..2 {
            assert!(read(&mut pool, position, len, false).is_some());
        }
        assert!(!pool.may_read_ahead(len));
        for position in 2..20 {
            assert!(read(&mut pool, position, len, true).is_some());
            pool.on_used((0, SEGMENT, position));
        }
        assert!(pool.may_read_ahead(2 * len), "nobody has read the first two for long");
    }

    #[test]
    fn small_reads_share_an_arena() {
        let mut pool = ReadPool::new(5 << 20);
        for position in 0..200 {
            assert!(read(&mut pool, position, 4 * SECTOR, false).is_some());
        }
        assert_eq!(pool.get(&(0, SEGMENT, 0), 4 * SECTOR as u32).map(|bytes| bytes.len()), Some(4 * SECTOR));
    }
}
