//! Which offset is the last of each key, for compaction: exact keys, within a bound on memory.
//!
//! The keys themselves, not hashes of them: two keys of one hash would make one of them vanish. Invariant: what the map holds
//! is the last offset of each key in `[from, to)`, and nothing of what lies outside.

use crate::ids::Offset;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

/// What an entry takes beside its key: its part of a node of the tree, a pointer, a length, an offset, the heap's own.
const ENTRY_BYTES: usize = 80;

#[derive(Debug)]
pub struct Keys {
    last: BTreeMap<Box<[u8]>, Offset>,
    bytes: usize,
    bytes_max: usize,
}

impl Keys {
    pub fn new(bytes_max: usize) -> Keys {
        Keys { last: BTreeMap::new(), bytes: 0, bytes_max }
    }

    /// A record with this key lies at `offset`, behind all that were told before. False where it finds no room, unless it
    /// `must`.
    pub fn put(&mut self, key: &[u8], offset: Offset, must: bool) -> bool {
        if let Some(last) = self.last.get_mut(key) {
            *last = offset;
            return true;
        }
        let bytes = self.bytes + key.len() + ENTRY_BYTES;
        if bytes > self.bytes_max && !must {
            return false;
        }
        self.bytes = bytes;
        self.last.insert(key.into(), offset);
        true
    }

    /// Whether a record with the same key lies behind `offset`.
    pub fn is_overtaken(&self, key: &[u8], offset: Offset) -> bool {
        self.last.get(key).is_some_and(|last| *last > offset)
    }
}
