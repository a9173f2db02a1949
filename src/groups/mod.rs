//! The group coordinator: consumer groups of the classic protocol, and the offsets that groups commit.
//!
//! ```text
//!   request ─ decide ─▶ Decision { records, replies }
//!                           │ appended to one partition of `__consumer_offsets`
//!                           ├─▶ apply(record, offset)      at append
//!                           ▼ committed
//!                       replies                            at commit
//! ```
//!
//! One [`Coordinator`] for each partition of `__consumer_offsets`; a group belongs to the partition that the hash of its
//! name says ([`partition_of`]). Pure: no clock, no chance (a request brings its own), no log, no connection.
//!
//! Rules of use, for whoever owns the partition:
//! - records are appended in order and applied with the offset they got, before the next `decide`;
//! - a reply leaves when everything that was appended up to its decision is committed, and is dropped with the leadership;
//! - a new leader forgets everything, applies its log from the start to the end, and calls [`Coordinator::loaded`];
//! - after each append [`Coordinator::clean`] says what to append again, and [`Coordinator::log_start`] what of the log
//!   is not needed any more.
//!
//! Offsets change by `apply` alone. Who is a member, who waits and what is due is soft state, as in Kafka's classic
//! protocol: `decide` changes it at once, and the record of a group is a copy of it, made when a generation has its
//! assignment or has ended. After a crash the group is what the last such record says; members of a generation that was
//! never recorded are told to join again, and no assignment of it had left, because replies wait for the commit.
//!
//! # The log is its own snapshot
//!
//! The coordinator knows at which offset the record of each live key stands. Whenever the log is longer than twice the
//! live keys and some slack, each append brings the oldest live records along, written again at the end; the log's start
//! follows the oldest one that is left. So a log never holds more than about twice its live keys, start-up reads no more
//! than that whatever the history, no second format has to be kept or replicated, and no pause is as long as the state is
//! large. A tombstone stands behind what it deletes and is passed later by the start, so nothing comes back.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `record.rs` | the records, in Kafka's formats |
//! | `request.rs` | what is asked and answered |
//! | `group.rs` | a group, and what it asks of its members |
//! | `members.rs` | the members, counted by what they speak and wait for |
//! | `join.rs`, `sync.rs`, `leave.rs` | JoinGroup; SyncGroup and Heartbeat; LeaveGroup and expired sessions |
//! | `rebalance.rs` | from a reason to share anew to the next generation |
//! | `offsets.rs` | commit, fetch, delete, retention |
//! | `admin.rs` | describe, list, delete groups |
//! | `state.rs` | apply, load, clean |
//! | `timers.rs` | when what is due |

mod admin;
mod group;
mod join;
mod leave;
mod members;
mod offsets;
mod rebalance;
pub mod record;
mod request;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod timers;

pub use admin::CLASSIC;
pub use record::{Committed, Record};
pub use request::*;
pub use state::Coordinator;

use crate::boundary::Instant;
use crate::configs::BrokerSettings;

/// The broker configurations that a coordinator goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub size_max: usize,
    pub session_min_ms: i32,
    pub session_max_ms: i32,
    pub initial_rebalance_delay_ms: u64,
    /// Bytes of the metadata of one committed offset.
    pub metadata_max: usize,
    pub retention_ms: i64,
    pub retention_check_ms: u64,
    /// The largest record that the log takes.
    pub record_bytes_max: usize,
    /// Bytes that all groups of one coordinator may take in memory.
    pub memory_max: usize,
    /// Records that a log may hold beside twice its live ones.
    pub slack: i64,
}

impl Settings {
    pub fn new(broker: &BrokerSettings, memory_max: usize, slack: i64) -> Settings {
        Settings {
            size_max: broker.group_max_size as usize,
            session_min_ms: broker.group_min_session_timeout_ms,
            session_max_ms: broker.group_max_session_timeout_ms,
            initial_rebalance_delay_ms: broker.group_initial_rebalance_delay_ms,
            metadata_max: broker.offset_metadata_max_bytes as usize,
            retention_ms: broker.offsets_retention_ms,
            retention_check_ms: broker.offsets_retention_check_interval_ms,
            record_bytes_max: 1 << 20,
            memory_max,
            slack,
        }
    }
}

/// The partition of `__consumer_offsets` that coordinates a group: Java's hash of the name, as every Kafka broker and
/// tool computes it.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "{partitions} partitions of __consumer_offsets");
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions
}

/// Milliseconds from now.
fn after_ms(now: Instant, ms: i64) -> Instant {
    now.after(core::time::Duration::from_millis(ms.max(0) as u64))
}
