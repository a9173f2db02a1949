//! The production runtime.

pub mod bench;
