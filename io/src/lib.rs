//! The production runtime of Highwater.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod clock;
pub mod driver;
pub mod folder;
pub mod mailbox;
pub mod ring;
