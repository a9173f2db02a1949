//! The memory of reads: arenas to read into, and the verified chunks that lie in them.
//!
//! A read is given a piece of an arena; small reads share one. An arena comes back when no chunk in it is remembered, and
//! no answer that holds a slice of one is on its way. Invariant: the arenas never take more than the budget; what is
//! read ahead takes at most half of it, and is dropped only for a read that somebody waits for.

use crate::boundary::SECTOR;
use crate::ids::Offset;
use crate::memory::{self, ArenaPool};
use alloc::collections::{BTreeMap, VecDeque};
use bytes::{Bytes, BytesMut};

/// The most that one read brings, in whole chunks: the largest batch of default topics fits.
const READ_MAX: usize = (1 << 20) + SECTOR;
/// Chunks begin and end anywhere in a sector.
const EDGES: usize = 2 * SECTOR;

/// A chunk: partition, segment, and position in it.
pub type ChunkKey = (u32, Offset, u64);

pub struct ReadPool {
    arenas: ArenaPool,
    /// The arena that pieces are cut from, and how much of it is left. Never its capacity: that depends on its address,
    /// and equal inputs must give equal reads.
    open: Option<(BytesMut, usize)>,
    chunks: BTreeMap<ChunkKey, Remembered>,
    /// Chunks that were read to their end by somebody, the first to go; and those that were not. Oldest first; what is
    /// no longer in `chunks`, or not in this state, is passed over.
    used: VecDeque<ChunkKey>,
    fresh: VecDeque<ChunkKey>,
    fresh_bytes: usize,
    fresh_bytes_max: usize,
}

struct Remembered {
    bytes: Bytes,
    used: bool,
}

impl ReadPool {
    pub fn new(budget_bytes: u64) -> ReadPool {
        let arena_bytes = (READ_MAX + EDGES).min(memory::round_down(budget_bytes / 3) as usize);
        let arenas = ArenaPool::new(arena_bytes, budget_bytes);
        ReadPool {
            fresh_bytes_max: arenas.arenas_max() * arena_bytes / 2,
            arenas,
            open: None,
            chunks: BTreeMap::new(),
            used: VecDeque::new(),
            fresh: VecDeque::new(),
            fresh_bytes: 0,
        }
    }

    /// The most that one read brings, a single larger chunk excepted.
    pub fn read_max(&self) -> usize {
        self.arenas.arena_bytes() - EDGES
    }

    /// A buffer of `len` bytes, whole sectors, to be filled by a direct read. Chunks are forgotten for it where there is
    /// no room, those that were read ahead only if it is `urgent`. `None`: everything is in use.
    pub fn take(&mut self, len: usize, urgent: bool) -> Option<BytesMut> {
        assert!(len.is_multiple_of(SECTOR), "a direct read of {len} bytes");
        if len > self.arenas.arena_bytes() {
            // One huge batch: the heap's, for as long as it is on its way.
            return Some(memory::aligned_zeroed(len));
        }
        if self.open.as_ref().is_none_or(|(_, left)| *left < len) {
            self.make_room(urgent);
            let arena = self.arenas.take()?;
            if let Some((old, _)) = self.open.replace((arena, self.arenas.arena_bytes())) {
                self.arenas.retire(old);
            }
        }
        let (arena, left) = self.open.as_mut().expect("just seen");
        arena.resize(len, 0);
        *left -= len;
        Some(arena.split())
    }

    /// Whether so many bytes may be read ahead.
    pub fn may_read_ahead(&self, coming: usize) -> bool {
        self.fresh_bytes + coming <= self.fresh_bytes_max
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
        self.fresh_bytes += bytes.len();
        match self.chunks.insert(key, Remembered { bytes, used: false }) {
            Some(old) if !old.used => self.fresh_bytes -= old.bytes.len(),
            Some(_) | None => self.fresh.push_back(key),
        }
    }

    /// Somebody has read this chunk to its end.
    pub fn on_used(&mut self, key: ChunkKey) {
        if let Some(chunk) = self.chunks.get_mut(&key)
            && !chunk.used
        {
            chunk.used = true;
            self.fresh_bytes -= chunk.bytes.len();
            self.used.push_back(key);
        }
    }

    /// Forgets chunks until an arena is free, or nothing more may be forgotten.
    fn make_room(&mut self, urgent: bool) {
        while !self.arenas.available(1) {
            let mut dropped = 0;
            while dropped < self.arenas.arena_bytes() / 2 {
                let Some(bytes) = self.forget_used().or_else(|| if urgent { self.forget_fresh() } else { None }) else {
                    break;
                };
                dropped += bytes;
            }
            if dropped == 0 {
                return;
            }
        }
    }

    fn forget_used(&mut self) -> Option<usize> {
        while let Some(key) = self.used.pop_front() {
            if self.chunks.get(&key).is_some_and(|chunk| chunk.used) {
                return self.chunks.remove(&key).map(|chunk| chunk.bytes.len());
            }
        }
        None
    }

    fn forget_fresh(&mut self) -> Option<usize> {
        while let Some(key) = self.fresh.pop_front() {
            if self.chunks.get(&key).is_some_and(|chunk| !chunk.used) {
                let bytes = self.chunks.remove(&key).map_or(0, |chunk| chunk.bytes.len());
                self.fresh_bytes -= bytes;
                return Some(bytes);
            }
        }
        None
    }
}
