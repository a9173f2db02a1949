//! The pool of receive buffers that the kernel picks from when bytes have arrived, so that a connection which waits
//! holds none.
//!
//! A filled buffer goes up without a copy; the rest of its block stays here, and the block is given to the kernel again
//! once the receiver has dropped its part. Few blocks circulate, the last used first, so that they stay in the cache.
//! Invariant: `made` counts the blocks in the kernel's hands, lent and idle, and is at most `BLOCKS_MAX`.

use bytes::BytesMut;
use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// The kernel's name for the pool.
pub(super) const GROUP: u16 = 0;
/// One receive takes at most this much.
pub const BLOCK_BYTES: usize = 64 << 10;
/// Blocks that the kernel holds at a time. A power of two.
const OFFERED: u16 = 16;
/// Blocks in existence: beyond this, what is left of lent ones is offered, and then receivers wait.
pub const BLOCKS_MAX: usize = 64;
/// A rest of a block that is worth an offer.
const REST_BYTES_MIN: usize = 16 << 10;

pub(super) struct Pool {
    /// The table that is shared with the kernel: `OFFERED` entries, one page.
    table: NonNull<BufRingEntry>,
    tail: u16,
    /// By id, the block that the kernel may fill.
    offered: Vec<Option<BytesMut>>,
    /// Ids without a block.
    vacant: Vec<u16>,
    /// What is left of blocks whose filled part is in use.
    lent: Vec<BytesMut>,
    /// Whole blocks in nobody's use, the last used on top.
    idle: Vec<BytesMut>,
    made: usize,
}

impl Pool {
    pub(super) fn register(submitter: &Submitter<'_>) -> io::Result<Pool> {
        // SAFETY: the layout is not of size zero.
        let page = unsafe { alloc_zeroed(Self::layout()) };
        let Some(table) = NonNull::new(page.cast::<BufRingEntry>()) else { handle_alloc_error(Self::layout()) };
        let pool = Pool {
            table,
            tail: 0,
            offered: (0..OFFERED).map(|_| None).collect(),
            vacant: (0..OFFERED).rev().collect(),
            lent: Vec::new(),
            idle: Vec::new(),
            made: 0,
        };
        // SAFETY: the page holds `OFFERED` entries and lives until `unregister` has run (`Ring::drop`).
        unsafe { submitter.register_buf_ring_with_flags(table.as_ptr() as u64, OFFERED, GROUP, 0) }?;
        Ok(pool)
    }

    /// The kernel must have completed all ops that may take from the pool.
    pub(super) fn unregister(&mut self, submitter: &Submitter<'_>) {
        submitter.unregister_buf_ring(GROUP).expect("the pool is registered");
    }

    /// The first `count` bytes of a block that the kernel has filled.
    pub(super) fn take(&mut self, id: u16, count: usize) -> BytesMut {
        let mut block = self.offered[usize::from(id)].take().unwrap_or_else(|| panic!("block {id} was not offered"));
        self.vacant.push(id);
        assert!(count <= block.capacity(), "{count} bytes in a block of {}", block.capacity());
        // SAFETY: the kernel has written `count` bytes to the start of the block.
        unsafe { block.set_len(count) };
        let filled = block.split();
        self.lent.push(block);
        filled
    }

    /// Offers the kernel what it may have. False if it holds nothing then.
    pub(super) fn refill(&mut self) -> bool {
        if self.vacant.is_empty() {
            return true;
        }
        let idle = &mut self.idle;
        for at in (0..self.lent.len()).rev() {
            if self.lent[at].try_reclaim(BLOCK_BYTES) {
                idle.push(self.lent.swap_remove(at));
            }
        }
        while let Some(&id) = self.vacant.last() {
            let block = match self.idle.pop() {
                Some(block) => block,
                None if self.made < BLOCKS_MAX => {
                    self.made += 1;
                    BytesMut::with_capacity(BLOCK_BYTES)
                }
                None => match self.lent.iter().position(|rest| rest.capacity() >= REST_BYTES_MIN) {
                    Some(at) => self.lent.swap_remove(at),
                    None => break,
                },
            };
            self.vacant.pop();
            self.offer(id, block);
        }
        // More than circulate were needed for a while, and are not any more.
        if self.vacant.is_empty() {
            self.made -= self.idle.len();
            self.idle.clear();
        }
        self.vacant.len() < usize::from(OFFERED)
    }

    fn offer(&mut self, id: u16, mut block: BytesMut) {
        assert!(block.is_empty() && block.capacity() > 0, "an empty block, not {} bytes", block.len());
        let place = usize::from(self.tail % OFFERED);
        // SAFETY: `place` is inside the table. The kernel reads an entry only after the tail has passed it, and no more
        // than `OFFERED` are offered at a time, so that it has done with this one. Entry 0's last field is the tail:
        // the setters do not touch it.
        let entry = unsafe { &mut *self.table.as_ptr().add(place) };
        entry.set_addr(block.as_mut_ptr() as u64);
        entry.set_len(block.capacity() as u32);
        entry.set_bid(id);
        self.offered[usize::from(id)] = Some(block);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the table, is aligned to its size, and is only written here. The release makes
        // the entry visible to the kernel before it.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.table.as_ptr()).cast_mut()) }
            .store(self.tail, Ordering::Release);
    }

    fn layout() -> Layout {
        const { assert!(OFFERED as usize * size_of::<BufRingEntry>() <= 4096) };
        Layout::from_size_align(4096, 4096).expect("a page")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `register`; the kernel has let go (`unregister`), or never had it.
        unsafe { dealloc(self.table.as_ptr().cast(), Self::layout()) };
    }
}
