//! The cluster's metadata: which topics exist, and what they are. Pure state, changed by records alone.
//!
//! ```text
//!   request ──decide(&Image)──▶ Decision { records, response }
//!                                   │ appended to the metadata log (one partition, a Replica like any other)
//!                                   ▼ committed
//!                               Image::apply(record), on every shard
//!                                   │ all have
//!                                   ▼
//!                               response
//! ```
//!
//! Rules of use, for whoever owns the metadata log (shard 0):
//! - what is decided must see everything that was decided before: apply at append, answer at commit, and start again
//!   from the committed image where leadership is lost;
//! - records are applied in log order, each once; equal records make equal images, byte for byte.
//!
//! Nothing here reads a clock, draws chance (the caller passes both) or knows a shard, a file or a connection.
//! Names of topics are checked here ([`name`]), because here is where they enter.

mod image;
pub mod name;
mod record;

pub use image::{Image, Topic};
pub use record::{Changes, FormatError, Record};

use alloc::vec::Vec;

/// What to write, and what to answer once it is committed and every shard has applied it. Without records the answer
/// may go at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<R> {
    pub records: Vec<Record>,
    pub response: R,
}

/// A block of producer ids, `first..end`, that is handed out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIds {
    pub first: i64,
    /// Exclusive.
    pub end: i64,
}

/// Takes the next `count` producer ids. They may be used once the decision's record is committed, never before: an id
/// that is given twice would let one producer's sequence stand for another's.
pub fn allocate_producer_ids(image: &Image, count: i64) -> Decision<ProducerIds> {
    assert!(count > 0, "a block of {count} producer ids");
    let first = image.next_producer_id();
    let end = first.checked_add(count).unwrap_or_else(|| panic!("producer ids are used up at {first}"));
    Decision { records: Vec::from([Record::ProducerIdsAllocated { next: end }]), response: ProducerIds { first, end } }
}
