//! Tests that start the real binary, on the real kernel.

mod broker;
mod client;
mod kills;
mod operator;
mod readers;
mod reshard;
mod serving;
