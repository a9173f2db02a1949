//! Why a partition serves nothing from some offset on.

use crate::ids::Offset;
use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Damage that no other copy can mend: from `from` on nothing is served, and nothing is appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub from: Offset,
    /// The damaged file, and the offset in it.
    pub path: String,
    pub offset: u64,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged: {} at byte {}; nothing is served from offset {} on", self.path, self.offset, self.from)
    }
}
