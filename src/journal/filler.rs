//! Where a frame's bytes are put together: arenas filled one after another, split into whole sectors.
//!
//! Invariant: every chunk but the last is whole sectors before the next one begins, and a piece never lies in two chunks.

use crate::boundary::SECTOR;
use crate::memory::{self, ArenaPool, round_up};
use alloc::vec::Vec;
use bytes::BytesMut;

/// Where a piece lies: the chunk, and the byte in it.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    pub chunk: u32,
    pub start: u32,
}

pub struct Filler {
    pool: ArenaPool,
    /// Full chunks of the present frame.
    chunks: Vec<BytesMut>,
    chunks_bytes: usize,
    /// The present arena: its filled part belongs to the present frame.
    arena: Option<Arena>,
}

struct Arena {
    buf: BytesMut,
    /// Bytes from the start of `buf` that may be filled. Never the buffer's capacity: that depends on its address, and
    /// equal inputs must give equal frames.
    left: usize,
    /// Oversized ones are not the pool's.
    pooled: bool,
}

impl Arena {
    fn room(&self) -> usize {
        self.left - self.buf.len()
    }

    fn pad_and_split(&mut self) -> BytesMut {
        let whole = round_up(self.buf.len() as u64) as usize;
        self.buf.resize(whole, 0);
        self.left -= whole;
        self.buf.split()
    }
}

impl Filler {
    pub fn new(pool: ArenaPool) -> Filler {
        Filler { pool, chunks: Vec::new(), chunks_bytes: 0, arena: None }
    }

    /// Bytes of the present frame so far.
    pub fn filled(&self) -> usize {
        self.chunks_bytes + self.arena.as_ref().map_or(0, |arena| arena.buf.len())
    }

    /// Whether pieces of `len` bytes in all can be put without waiting for memory. An empty pool cannot be asked for
    /// more than half of itself: a request larger than that takes the heap's memory for its commit.
    pub fn has_room(&mut self, len: usize) -> bool {
        if self.arena.as_ref().is_some_and(|arena| arena.room() >= len) {
            return true;
        }
        let arenas = self.arenas_for(len);
        self.pool.available(arenas)
    }

    /// Whether memory is left for `len` bytes, with a little to spare: where this is so, `has_room` is, too.
    pub fn has_memory(&mut self, len: usize) -> bool {
        let spare = (self.pool.arenas_max() / 8).clamp(1, 4);
        let arenas = spare.max(self.arenas_for(len));
        self.pool.available(arenas)
    }

    fn arenas_for(&self, len: usize) -> usize {
        let arenas = 1 + 2 * (len / self.pool.arena_bytes());
        arenas.min(self.pool.arenas_max() / 2)
    }

    /// Puts a piece, and gives it back to be patched. Where the pool is empty (`has_room` was not asked: a header, a
    /// seal) the memory is the heap's, for the life of the frame.
    pub fn put(&mut self, piece: &[u8]) -> (Spot, &mut [u8]) {
        self.reserve(piece.len());
        let chunk = self.chunks.len() as u32;
        let arena = self.arena.as_mut().expect("reserved");
        let start = arena.buf.len();
        arena.buf.extend_from_slice(piece);
        (Spot { chunk, start: start as u32 }, &mut arena.buf[start..])
    }

    /// Ends the frame: appends the footer and hands out the chunks, whole sectors each, with the frame's length.
    pub fn finish(&mut self, footer: &[&[u8]]) -> (Vec<BytesMut>, u32) {
        let footer_bytes = footer.iter().map(|part| part.len()).sum();
        self.reserve(footer_bytes);
        let arena = self.arena.as_mut().expect("reserved");
        for part in footer {
            arena.buf.extend_from_slice(part);
        }
        let length = (self.chunks_bytes + arena.buf.len()) as u32;
        let mut chunks = core::mem::take(&mut self.chunks);
        self.chunks_bytes = 0;
        chunks.push(arena.pad_and_split());
        (chunks, length)
    }

    /// Where each chunk of the present frame starts.
    pub fn chunk_starts(&self) -> Vec<u32> {
        let mut starts = Vec::with_capacity(self.chunks.len() + 1);
        let mut start = 0;
        for chunk in &self.chunks {
            starts.push(start);
            start += chunk.len() as u32;
        }
        starts.push(start);
        starts
    }

    pub fn memory_bytes(&self) -> usize {
        self.pool.bytes()
    }

    pub fn release_memory(&mut self) {
        self.pool.release();
    }

    fn reserve(&mut self, len: usize) {
        if self.arena.as_ref().is_some_and(|arena| arena.room() >= len) {
            return;
        }
        if let Some(mut arena) = self.arena.take() {
            if !arena.buf.is_empty() {
                let chunk = arena.pad_and_split();
                self.chunks_bytes += chunk.len();
                self.chunks.push(chunk);
            }
            if arena.pooled {
                self.pool.retire(arena.buf);
            }
        }
        let pooled = if len <= self.pool.arena_bytes() { self.pool.take() } else { None };
        self.arena = Some(match pooled {
            Some(buf) => Arena { buf, left: self.pool.arena_bytes(), pooled: true },
            None => {
                let left = round_up(len.max(SECTOR) as u64) as usize;
                Arena { buf: memory::aligned(left), left, pooled: false }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_memory_is_left_for_a_request_there_is_room_for_it() {
        let arena_bytes = 64 << 10;
        let mut filler = Filler::new(ArenaPool::new(arena_bytes, 32 * arena_bytes as u64));
        // Uses the pool up, an arena at a time: whoever makes room until `has_memory` must then find `has_room`.
        let mut held = Vec::new();
        for taken in 0..32 {
            for len in [1, arena_bytes, 4 * arena_bytes, 100 * arena_bytes] {
                assert!(!filler.has_memory(len) || filler.has_room(len), "{len} bytes with {taken} of 32 arenas taken");
            }
            held.push(filler.pool.take().expect("32 arenas"));
        }
        assert!(!filler.has_memory(1));
    }
}
