//! The headers of requests and responses. See `tests/golden/targets.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[macro_use]
#[path = "../../tests/golden/messages.rs"]
mod messages;
#[path = "../../tests/golden/targets.rs"]
mod targets;

fuzz_target!(|bytes: &[u8]| targets::frame(bytes));
