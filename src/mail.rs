//! What the shards of one node write to each other. Opaque to the drivers.

/// One letter. In order for each pair of shards.
#[derive(Debug)]
pub enum Mail {}
