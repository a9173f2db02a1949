//! Highwater: a replicated log that speaks the Kafka protocol.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod boundary;
pub mod config;
pub mod ids;
pub mod mail;
pub mod shard;
pub mod wire;
