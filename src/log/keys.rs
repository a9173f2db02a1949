//! Which offset is the last of each key, for compaction: one line of 24 bytes for a key of any length, in a table that is
//! as large as it may be from the start.
//!
//! ```text
//! slot:  | hash, 128 bits | offset + 1 (0: free) |         open addressing, the next slot where one is taken
//! ```
//!
//! A key is its hash, seeded anew for each table: that two of a billion keys have the same one happens once in 10^20 tables,
//! and nobody can choose keys for it. Invariant: what the table holds is the last offset of each key that it was told.

use crate::ids::Offset;
use alloc::vec;
use alloc::vec::Vec;

/// Words of 64 bits in a slot.
const WORDS: usize = 3;
pub const SLOT_BYTES: usize = 8 * WORDS;
/// Of ten slots, so many may be taken.
const TAKEN_OF_TEN: usize = 8;
const SLOTS_MIN: usize = 64;

#[derive(Debug)]
pub struct Keys {
    seed: [u64; 2],
    /// Zeros of a fresh table are the kernel's: what is not used takes no memory.
    words: Vec<u64>,
    len: usize,
}

impl Keys {
    /// A table for at most `keys`, and of at most so many bytes.
    pub fn new(seed: [u64; 2], keys: u64, bytes_max: usize) -> Keys {
        let wanted = usize::try_from(keys.saturating_mul(10) / TAKEN_OF_TEN as u64 + 1).unwrap_or(usize::MAX);
        let slots = wanted.min(bytes_max / SLOT_BYTES).max(SLOTS_MIN);
        Keys { seed, words: vec![0; slots * WORDS], len: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    /// Whether so many keys more find room, whatever they are.
    pub fn has_room(&self, keys: usize) -> bool {
        (self.len + keys).saturating_mul(10) <= self.slots().saturating_mul(TAKEN_OF_TEN)
    }

    /// Makes room for so many more, whatever it takes.
    pub fn grow(&mut self, keys: usize) {
        let slots = (self.len + keys) * 10 / TAKEN_OF_TEN + 1;
        let old = core::mem::replace(&mut self.words, vec![0; slots * WORDS]);
        self.len = 0;
        for slot in old.chunks_exact(WORDS).filter(|slot| slot[2] != 0) {
            self.put_hash([slot[0], slot[1]], slot[2]);
        }
    }

    /// A record with this key lies at `offset`, behind all that were told before.
    pub fn put(&mut self, key: &[u8], offset: Offset) {
        self.put_hash(sip_hash(self.seed, key), offset.0 as u64 + 1);
    }

    /// Whether a record with the same key lies behind `offset`.
    pub fn is_overtaken(&self, key: &[u8], offset: Offset) -> bool {
        let hash = sip_hash(self.seed, key);
        self.words[self.find(hash) * WORDS + 2] > offset.0 as u64 + 1
    }

    fn put_hash(&mut self, hash: [u64; 2], value: u64) {
        let at = self.find(hash) * WORDS;
        if self.words[at + 2] == 0 {
            self.len += 1;
            assert!(self.len < self.slots(), "{} keys in {} slots", self.len, self.slots());
        }
        self.words[at..at + WORDS].copy_from_slice(&[hash[0], hash[1], value]);
    }

    /// The slot of this hash, or the free one that it would take.
    fn find(&self, hash: [u64; 2]) -> usize {
        let slots = self.slots();
        let mut slot = ((u128::from(hash[0]) * slots as u128) >> 64) as usize;
        loop {
            let at = slot * WORDS;
            if self.words[at + 2] == 0 || self.words[at..at + 2] == hash {
                return slot;
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
    }

    fn slots(&self) -> usize {
        self.words.len() / WORDS
    }
}

/// SipHash-2-4 with a result of 128 bits (Aumasson and Bernstein).
fn sip_hash(seed: [u64; 2], bytes: &[u8]) -> [u64; 2] {
    let mut v = [
        seed[0] ^ 0x736f_6d65_7073_6575,
        seed[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        seed[0] ^ 0x6c79_6765_6e65_7261,
        seed[1] ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let last = u64::from_le_bytes(last) | (bytes.len() as u64) << 56;
    for word in words.iter().map(|word| u64::from_le_bytes(*word)).chain([last]) {
        v[3] ^= word;
        sip_rounds(&mut v, 2);
        v[0] ^= word;
    }
    v[2] ^= 0xee;
    sip_rounds(&mut v, 4);
    let first = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    sip_rounds(&mut v, 4);
    [first, v[0] ^ v[1] ^ v[2] ^ v[3]]
}

fn sip_rounds(v: &mut [u64; 4], rounds: usize) {
    for _ in 0..rounds {
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[1]);
        v[0] = v[0].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two results of its authors' table.
    #[test]
    fn the_hash_is_its_authors() {
        let seed = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let bytes = |hash: [u64; 2]| hash.map(u64::to_be_bytes).concat();
        let none = [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93];
        let one = [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45];
        assert_eq!(bytes(sip_hash(seed, &[]).map(u64::swap_bytes)), none);
        assert_eq!(bytes(sip_hash(seed, &[0]).map(u64::swap_bytes)), one);
    }

    #[test]
    fn the_last_offset_of_each_key_overtakes_those_before_it() {
        let mut keys = Keys::new([1, 2], 1_000, 1 << 20);
        for offset in 0..3_000u64 {
            keys.put(&(offset % 1_000).to_le_bytes(), Offset(offset as i64));
        }
        assert_eq!(keys.len, 1_000);
        for offset in 0..3_000u64 {
            let overtaken = keys.is_overtaken(&(offset % 1_000).to_le_bytes(), Offset(offset as i64));
            assert_eq!(overtaken, offset < 2_000, "{offset}");
        }
        assert!(!keys.is_overtaken(b"never told", Offset(0)));
    }

    #[test]
    fn a_table_is_no_larger_than_it_may_be_and_grows_only_where_it_must() {
        let mut keys = Keys::new([1, 2], u64::MAX, 24_000);
        assert_eq!(keys.words.len() * 8, 24_000);
        assert!(keys.has_room(800) && !keys.has_room(801));
        (0..800u64).for_each(|key| keys.put(&key.to_le_bytes(), Offset(key as i64)));
        assert!(!keys.has_room(1));
        keys.grow(500);
        assert!(keys.has_room(500));
        assert!((1..800u64).all(|key| keys.is_overtaken(&key.to_le_bytes(), Offset(key as i64 - 1))));
    }
}
