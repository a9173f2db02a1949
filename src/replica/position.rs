//! Where a log ends: more than an offset, because some entries have none.

use crate::ids::{Epoch, Offset};
use serde::{Deserialize, Serialize};

/// A place in a log, compared field by field: the epoch of the last entry, the offset of the next record, and how many
/// zero-width entries (the epoch's start, membership changes) that epoch has had so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub epoch: Epoch,
    pub offset: Offset,
    pub zero_width: u32,
}

/// One line of the epoch table: where an epoch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStart {
    pub epoch: Epoch,
    pub start: Offset,
}
