//! The simulator: one node of Highwater in virtual time, on a faulty disk, behind a faulty network.
//!
//! ```text
//! seed -> plan -> world ( queue, disk, net, node = shards of the core, clients ) -> report
//! ```
//!
//! - [`dice`], [`queue`], [`faults`]: chance, time and what can go wrong;
//! - [`disk`]: files, names, and the atlas of damage;
//!
//! Invariants: everything comes from the seed; there is no clock, no thread and no map of random order in a run; the
//! same seed gives the same trace in another process, in debug and in release.

pub mod dice;
pub mod disk;
pub mod faults;
pub mod queue;
