//! What a shard is told when it starts. Plain data: the driver reads flags, environment and file.

use crate::ids::{NodeId, ShardId};
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::time::Duration;

/// Everything a shard must know and cannot compute.
#[derive(Clone, Debug)]
pub struct Config {
    pub node: NodeId,
    /// Which of the node's shards this is, and how many there are.
    pub shard: ShardId,
    pub shards: u16,
    /// Do not serve: lay the data folder out for so many shards instead, and end with `Halt::Resharded`. `shards` is then
    /// what the folder has until that is done.
    pub reshard: Option<u16>,
    /// Listeners of this shard, named `0..listeners` in `Op::Accept`.
    pub listeners: u16,
    /// What Metadata tells clients to connect to.
    pub advertised_host: String,
    pub advertised_port: u16,
    /// This shard's share of `--memory`, in bytes: staging, connections, disk reads, all of it.
    pub memory_bytes: u64,
    pub journal: JournalConfig,
    /// Broker configurations by Kafka's names, only those that differ from the default; names and values were checked
    /// by `configs::check_broker`.
    pub broker: BTreeMap<String, String>,
}

/// The shape of a shard's journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalConfig {
    /// Size of a full-grown file of the ring, a multiple of 4 KiB.
    pub file_bytes: u64,
    /// Size of the first file of an empty folder, so that it serves at once.
    pub first_file_bytes: u64,
    /// Files in the ring.
    pub files: u16,
    /// The largest commit.
    pub commit_bytes_max: usize,
    /// Recovery reads the journal in pieces of this size, whole sectors; longer frames whole.
    pub read_bytes: u64,
    /// Memory is taken in arenas of this size.
    pub arena_bytes: usize,
    /// What is staged of a partition is written to its segment at this size, and read back in pieces of it.
    pub chunk_bytes: usize,
    /// Chunks on their way to segments at once; a run of one partition takes no more than half of them.
    pub chunks_in_flight: usize,
    /// What segments hold leaves the memory when for so long nobody has appended anything, or read it there.
    pub rest: Duration,
}

impl Default for JournalConfig {
    fn default() -> JournalConfig {
        JournalConfig {
            file_bytes: 64 << 20,
            first_file_bytes: 4 << 20,
            files: 6,
            commit_bytes_max: 4 << 20,
            read_bytes: 1 << 20,
            arena_bytes: 1 << 20,
            chunk_bytes: 512 << 10,
            chunks_in_flight: 8,
            rest: Duration::from_secs(60),
        }
    }
}
