//! The simulator: one node of Highwater in virtual time, on a faulty disk, behind a faulty network.
//!
//! ```text
//! seed -> plan -> world ( queue, disk, net, node = shards of the core, clients ) -> report
//! ```
//!
//! - [`dice`], [`queue`], [`faults`]: chance, time and what can go wrong;
//! - [`disk`]: files, names, and the atlas of damage;
//! - [`plan`]: a seed's run as data;
//! - [`world`], [`node`], [`net`], [`chaos`]: the run;
//! - [`client`], [`ledger`], [`audit`], [`rest`]: who uses the node, what they know, and how the disk is held against it;
//! - [`report`], [`trace`]: what is left of a run.
//!
//! Invariants: everything comes from the seed; there is no clock, no thread and no map of random order in a run; the
//! same seed gives the same trace in another process, in debug and in release.

pub mod audit;
pub mod chaos;
pub mod claims;
pub mod cli;
pub mod client;
pub mod dice;
pub mod disk;
pub mod faults;
pub mod ledger;
pub mod net;
pub mod node;
pub mod plan;
pub mod queue;
pub mod report;
pub mod rest;
pub mod run;
pub mod settings;
pub mod shrink;
pub mod trace;
pub mod world;
