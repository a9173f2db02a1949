//! Kafka's record batches, format v2 (KIP-98): the unit that is produced, replicated, stored and fetched.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `header.rs` | the picture of the 61 bytes, their parsed view, what is patched in place, batches in a row |
//! | `check.rs` | what a broker holds against a producer's batch, and the error code for each fault |
//! | `filter.rs` | taking records out of a batch, for compaction |
//! | `iter.rs` | the records inside, and the lookups by time |
//! | `codec.rs` | the four compressions, within a bound on memory |
//! | `recode.rs` | a batch in another compression |
//! | `builder.rs` | making batches: simulated clients, the bench, the metadata log |
//!
//! Invariant: what a broker changes, it changes in place: base offset and leader epoch (outside the checksum), and the
//! timestamps of a topic stamped by the broker's clock (the checksum is made anew). A batch is re-encoded only where its
//! topic asks for it (`compression.type`), and where compaction takes records out of it.

pub mod builder;
pub mod check;
pub mod codec;
pub mod error;
pub mod filter;
pub mod header;
pub mod iter;
pub mod recode;

pub use builder::BatchBuilder;
pub use check::{Contents, Limits, check, check_records};
pub use codec::Compression;
pub use error::BatchError;
pub use header::{BatchHeader, HEADER_LEN, TimestampType, patch, set_log_append_time, set_max_timestamp, split};
pub use iter::{Record, find_largest, find_outside, find_timestamp, max_timestamp_offset};
pub use recode::recode;
