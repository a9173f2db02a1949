//! A node of Highwater whose shards are tasks of an async runtime, and a client that shares no code with it.
//!
//! ```text
//! client (tokio-util's frames, kafka-protocol's messages) ── stream ──▶ driver ─ Input ▶ shard
//!                                                                        │ ▲
//!                                       platter (the simulator's disk) ◀─┘ └─ the production mailbox
//! ```
//!
//! What the event queue of `sim` cannot have: ops that are tasks of their own, drivers that sleep and are woken, byte
//! streams that a runtime made, messages that another codec wrote. The runtimes are in the packages `turmoil` and
//! `madsim` beside this one; nothing here knows which of them it runs on.
//!
//! Invariant: all chance and all time come from [`runtime::Runtime`].

pub mod client;
pub mod conns;
pub mod contract;
pub mod driver;
pub mod ledger;
#[path = "../../../io/src/mailbox.rs"]
pub mod mailbox;
pub mod node;
pub mod platter;
pub mod producer;
pub mod reader;
pub mod runtime;

pub use highwater_sim::run::seeds;
