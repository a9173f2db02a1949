//! The data folder.
pub const LOCK: &str = "lock";
