//! Tests that start the real binary, on the real kernel.

mod broker;
mod client;
mod operator;
mod serving;
