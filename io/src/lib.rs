//! Highwater's production runtime: what the core asks for, performed with io_uring.
//!
//! ```text
//!   main -> cli -> settings (+ file, address)      what is asked
//!               -> serve -> limits, folder, listen what is there
//!                        -> driver, one per shard  runs highwater::shard::Shard
//!                             -> ring              the only talk with io_uring
//!                             -> mailbox           letters between shards
//!                        -> metrics                what shards tell of themselves, over HTTP
//!               -> commands                       topics, groups, records, files: clients like any other
//!                    bench                          a load generator
//!                        -> client                  one small client for both
//! ```
//!
//! Invariants: no rule of the protocol is here (`driver` performs and answers, nothing else); `unsafe` is only in
//! `ring`, where the kernel and our memory meet, and where a descriptor of the kernel's becomes ours; nothing here waits
//! but [`ring::Ring::wait`].
#![deny(unsafe_op_in_unsafe_fn)]

mod address;
mod bench;
pub mod cli;
mod client;
mod clock;
mod commands;
mod driver;
mod file;
mod folder;
mod limits;
mod listen;
mod mailbox;
mod metrics;
mod process;
mod ring;
mod serve;
mod settings;
