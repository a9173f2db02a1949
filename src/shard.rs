//! The shard: one core's share of a node. Being written.

use crate::boundary::{Action, Input, Instant, Now};
use crate::config::Config;

/// One core's share of a node: connections, requests, partitions, one journal.
pub struct Shard {}

impl Shard {
    /// `seed` is the only source of chance in the shard.
    pub fn new(_config: Config, _seed: [u8; 32], _now: Now) -> Shard {
        Shard {}
    }

    /// Runs to completion; never blocks, fails or re-enters.
    pub fn handle(&mut self, _now: Now, _input: Input) {}

    /// The next action; any number of `handle`s may come before. Drain it until `None`.
    pub fn poll(&mut self) -> Option<Action> {
        None
    }

    /// When the next `Tick` is due at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
}
