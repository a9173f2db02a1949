//! Memory that is aligned, recycled and counted.
//!
//! An arena is filled by one writer; what is filled is split off and frozen into shared slices, and the arena comes back
//! when the last of them is dropped. What connections hold is counted in accounts of one budget. Invariants: a pool never
//! owns more than its budget; a budget's accounts add up to what it says is held.

use crate::boundary::SECTOR;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{Buf, BytesMut};

/// An empty buffer at a sector-aligned address with room for `len` bytes.
pub fn aligned(len: usize) -> BytesMut {
    align(BytesMut::with_capacity(len + SECTOR))
}

/// A buffer of `len` zeros at a sector-aligned address.
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

/// A shard's memory, shared out. The parts add up to the whole: what groups take beyond half of theirs, connections do not
/// get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Arenas of the journal, which hold every partition's tail as well.
    pub journal: u64,
    /// The table of keys of a log that is being compacted.
    pub keys: u64,
    /// Arenas of reads from segments.
    pub reads: u64,
    /// What connections hold, with few groups about.
    pub connections: u64,
    /// Fetch sessions.
    pub sessions: u64,
    /// The books of clients that have quotas.
    pub quotas: u64,
    /// Group coordinators, at most.
    pub groups: u64,
    /// The records of one compressed batch while they are looked at.
    pub decompressed: u64,
    /// Bytes of batches on their way to other shards. A single frame may be larger: its memory was its connection's.
    pub mail: u64,
}

impl Shares {
    pub const fn of(memory_bytes: u64) -> Shares {
        let part = memory_bytes / 16;
        Shares {
            journal: 7 * part + part / 2,
            keys: part / 2,
            reads: 2 * part + part / 2,
            sessions: part / 2 - part / 8,
            quotas: part / 8,
            connections: 2 * part + part / 2,
            groups: 2 * part,
            decompressed: part,
            mail: part / 2,
        }
    }

    /// What connections may hold beside groups that take so much.
    pub fn connections_beside(&self, groups_bytes: u64) -> u64 {
        self.connections
            .min((self.connections + self.groups / 2).saturating_sub(groups_bytes))
            .max(self.connections / 2)
    }
}

/// For what a connection holds bytes. Each has a quarter of the budget that the other cannot take, so that neither requests
/// that are never ended nor answers that are never read stop everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What was received, and what is on its way to it.
    Input,
    /// Requests under way, and answers until they are taken.
    Output,
}

/// What one owner holds of a budget.
#[derive(Debug)]
pub struct Account {
    side: Side,
    bytes: usize,
}

impl Account {
    pub const fn new(side: Side) -> Account {
        Account { side, bytes: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Of the room that is left, one owner may hold this part: so there is always some left, for those who hold little.
const ROOM_PART: usize = 4;

/// Less than this part of a budget is little.
const MODEST_PART: usize = 1024;

/// Bytes that many owners hold, on two sides.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    input: usize,
    output: usize,
    /// Where one answer alone is larger than the output may be: what it comes to.
    giant: usize,
    freed: bool,
}

impl Budget {
    pub fn new(bytes_max: u64) -> Budget {
        let max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Budget { max, input: 0, output: 0, giant: 0, freed: false }
    }

    pub fn resize(&mut self, bytes_max: u64) {
        self.max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        self.freed = true;
    }

    /// The most that one side holds while there is little on the other one.
    pub fn side_max(&self) -> usize {
        self.max - self.max / 4
    }

    pub fn held(&self, side: Side) -> usize {
        match side {
            Side::Input => self.input,
            Side::Output => self.output,
        }
    }

    /// What a side may take beyond what it holds.
    pub fn room(&self, side: Side) -> usize {
        let (mine, other) = match side {
            Side::Input => (self.input, self.output),
            Side::Output => (self.output, self.input),
        };
        self.max.saturating_sub(other.max(self.max / 4)).saturating_sub(mine)
    }

    /// Whether an owner may come to hold `more` bytes beyond what it holds. One that holds much waits where little room
    /// is left, one that holds little goes on; and what would never fit goes alone.
    pub fn admits(&self, account: &Account, more: usize) -> bool {
        let held = self.held(account.side);
        let alone = account.bytes == 0 && held <= self.max / 4 && more >= self.side_max() / (2 * ROOM_PART);
        // Who holds nothing and wants little goes on, whatever others hold.
        let modest = account.bytes == 0 && more <= self.max / MODEST_PART && held + more <= self.ceiling();
        account.bytes + more <= self.room(account.side) / ROOM_PART || alone || modest
    }

    /// What the output never passes.
    fn ceiling(&self) -> usize {
        self.max.max(self.giant + self.max / 4)
    }

    /// The owner holds so many bytes from now on.
    pub fn set(&mut self, account: &mut Account, bytes: usize) {
        let side = match account.side {
            Side::Input => &mut self.input,
            Side::Output => &mut self.output,
        };
        let giant = bytes > account.bytes && *side <= self.max / 4 + account.bytes;
        *side = *side + bytes - account.bytes;
        if giant && account.side == Side::Output {
            self.giant = self.output;
        }
        self.freed |= bytes < account.bytes;
        account.bytes = bytes;
        if self.output <= self.side_max() {
            self.giant = 0;
        }
    }

    /// Whether anything was given back since this was last asked.
    pub fn take_freed(&mut self) -> bool {
        core::mem::take(&mut self.freed)
    }

    /// More is held in answers than there is: some came that nobody could foresee.
    pub fn is_over(&self) -> bool {
        self.output > self.ceiling()
    }
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
    fn the_shares_add_up_to_the_memory_however_much_groups_take() {
        for memory in [16 << 20, 24 << 20, 190_000_000] {
            let shares = Shares::of(memory);
            for groups in [0, shares.groups / 2, shares.groups] {
                let connections = shares.connections_beside(groups);
                let all = shares.journal
                    + shares.keys
                    + shares.reads
                    + shares.sessions
                    + shares.quotas
                    + connections
                    + groups
                    + shares.decompressed
                    + shares.mail;
                assert!(all <= memory && connections >= memory / 11, "{all} of {memory}, {groups} of groups");
            }
        }
    }

    #[test]
    fn owners_that_hold_much_wait_and_one_that_holds_little_goes_on() {
        let mut budget = Budget::new(8 << 20);
        let mut greedy: alloc::vec::Vec<Account> = (0..100).map(|_| Account::new(Side::Output)).collect();
        let mut taken = true;
        while core::mem::take(&mut taken) {
            for account in &mut greedy {
                while budget.admits(account, 10_000) {
                    let bytes = account.bytes() + 10_000;
                    budget.set(account, bytes);
                    taken = true;
                }
            }
        }
        assert!(budget.held(Side::Output) <= budget.side_max(), "{budget:?}");
        let modest = Account::new(Side::Output);
        assert!(budget.admits(&modest, 1_000), "{budget:?}");
        assert!(!budget.admits(&greedy[0], 1_000), "{budget:?}");
        assert!(budget.room(Side::Input) >= 2 << 20, "the input keeps its quarter: {budget:?}");
        greedy.iter_mut().for_each(|account| budget.set(account, 0));
        assert!(budget.take_freed() && !budget.take_freed());
        assert_eq!(budget.held(Side::Output), 0);
    }

    #[test]
    fn what_would_never_fit_goes_alone() {
        let mut budget = Budget::new(8 << 20);
        let (mut first, second) = (Account::new(Side::Output), Account::new(Side::Output));
        assert!(budget.admits(&first, 20 << 20));
        budget.set(&mut first, 20 << 20);
        assert!(!budget.is_over() && !budget.admits(&second, 20 << 20));
        budget.set(&mut first, 0);
        assert!(budget.admits(&second, 20 << 20));
    }

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
