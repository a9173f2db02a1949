//! Highwater: a replicated log that speaks the Kafka protocol.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod api;
pub mod boundary;
pub mod checkpoint;
pub mod config;
pub mod configs;
pub mod ids;
pub mod journal;
pub mod log;
pub mod mail;
pub mod memory;
pub mod metadata;
pub mod records;
pub mod replica;
pub mod shard;
pub mod wire;
