//! Tests that start the real binary, on the real kernel.

mod answers;
mod broker;
mod client;
mod commands;
mod damage;
mod duplicates;
mod kills;
mod memory;
mod metrics;
mod offline;
mod operator;
mod quotas;
mod readers;
mod reshard;
mod serving;
