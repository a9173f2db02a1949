//! What the machine and the operator allow: cores, descriptors, memory.

use crate::ring::{BLOCK_BYTES, BLOCKS_MAX};
use highwater::ids::ShardId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::atomic::{AtomicI64, Ordering};

/// The program, its libraries, the log, one megabyte here and there: what a process takes before its first shard.
const PROCESS_BYTES: u64 = 24 << 20;
/// What a shard's driver takes at most beside the core: receive blocks, the ring, the ops in flight, the stack.
const DRIVER_BYTES: u64 = (BLOCKS_MAX * BLOCK_BYTES) as u64 + (4 << 20);
/// Of what is left, one part in this many is the allocator's: free lists, and blocks rounded up.
const ALLOCATOR_PART: u64 = 8;
/// The least a core shard is given: two commits, their arenas, and some connections.
const SHARE_BYTES_MIN: u64 = 24 << 20;
/// Of the descriptors, one part in this many is kept for files: connections must never take the last one, for a file that
/// cannot be opened ends the process.
const FILES_PART: u64 = 4;
/// And at least so many.
const FILES_MIN: u64 = 64;
/// Descriptors below which it is worth a warning: connections, and two files for each partition in use.
const DESCRIPTORS_WANTED: u64 = 10_000;

/// How many shards to run where nobody has said it: one for each core, as far as the memory goes.
pub fn default_shards(memory_bytes: u64) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let affordable = memory_bytes.saturating_sub(PROCESS_BYTES) / (memory_needed(1) - PROCESS_BYTES);
    u16::try_from((cores as u64).min(affordable)).unwrap_or(u16::MAX).clamp(1, 1024)
}

/// The part of `--memory` that each core shard may use.
pub fn memory_share(memory_bytes: u64, shards: u16) -> Result<u64, String> {
    let needed = memory_needed(shards);
    if memory_bytes < needed {
        return Err(format!(
            "--memory: {memory_bytes} bytes are too few for {shards} shard{}: at least {}MB are needed",
            if shards == 1 { "" } else { "s" },
            needed.div_ceil(1_000_000)
        ));
    }
    let shards = u64::from(shards);
    let left = memory_bytes - PROCESS_BYTES - shards * DRIVER_BYTES;
    Ok((left - left / ALLOCATOR_PART) / shards)
}

fn memory_needed(shards: u16) -> u64 {
    let share = SHARE_BYTES_MIN * ALLOCATOR_PART / (ALLOCATOR_PART - 1);
    PROCESS_BYTES + u64::from(shards) * (DRIVER_BYTES + share + 1)
}

/// How many connections all shards together may still have, and how many each of them has.
#[derive(Debug)]
pub struct Seats {
    free: AtomicI64,
    taken: Vec<AtomicI64>,
}

impl Seats {
    pub fn new(count: u64, shards: u16) -> Seats {
        let free = AtomicI64::new(i64::try_from(count).unwrap_or(i64::MAX));
        Seats { free, taken: (0..shards).map(|_| AtomicI64::new(0)).collect() }
    }

    /// A seat for a connection that may come. False if all are taken.
    #[must_use]
    pub fn take(&self) -> bool {
        let taken = self.free.fetch_sub(1, Ordering::Relaxed) > 0;
        if !taken {
            self.give_back();
        }
        taken
    }

    /// No connection has come.
    pub fn give_back(&self) {
        self.free.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has come to `at`: which shard is to have it. It is the one that has the fewest, `at` among equals.
    pub fn show(&self, at: ShardId) -> ShardId {
        let rank = |(shard, taken): &(u16, &AtomicI64)| (taken.load(Ordering::Relaxed), *shard != at.0);
        let (shard, taken) = (0..).zip(&self.taken).min_by_key(rank).expect("there are shards");
        taken.fetch_add(1, Ordering::Relaxed);
        ShardId(shard)
    }

    /// A connection of this shard is gone.
    pub fn leave(&self, shard: ShardId) {
        self.taken[usize::from(shard.0)].fetch_sub(1, Ordering::Relaxed);
        self.give_back();
    }
}

/// What [`raise_descriptors`] came to.
pub struct Descriptors {
    /// For connections.
    pub seats: u64,
    /// Where the limit is low.
    pub warning: Option<String>,
}

/// Raises the limit on descriptors as far as we may. Refuses where it is too low for the files of an empty node alone.
pub fn raise_descriptors() -> Result<Descriptors, String> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Not raised is as it was: what counts is read back below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if current <= FILES_MIN {
        return Err(format!(
            "only {current} files and connections may be open at a time: more than {FILES_MIN} are needed, and \
             {DESCRIPTORS_WANTED} are better (`ulimit -n`, `LimitNOFILE=` of a systemd unit, `--ulimit nofile=` of a \
             container)"
        ));
    }
    let seats = current.saturating_sub(FILES_MIN.max(current / FILES_PART)).max(1);
    let warning = (current < DESCRIPTORS_WANTED).then(|| {
        format!(
            "only {current} files and connections may be open at a time, {seats} of them connections; \
             {DESCRIPTORS_WANTED} or more are better (`ulimit -n`, `LimitNOFILE=` of a systemd unit, `--ulimit nofile=` \
             of a container)"
        )
    });
    Ok(Descriptors { seats, warning })
}

/// The processors that this process may use.
pub fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect()
}

/// Binds the calling thread to one processor.
pub fn pin(processor: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).map_err(|error| format!("a thread cannot be bound to processor {processor}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_and_everything_else_stay_within_the_memory() {
        for (memory, shards) in [(512_000_000, 1), (512_000_000, 2), (8 << 30, 64), (memory_needed(3), 3)] {
            let share = memory_share(memory, shards).expect("enough");
            assert!(share >= SHARE_BYTES_MIN, "{share} of {memory} for {shards}");
            assert!(PROCESS_BYTES + u64::from(shards) * (share + DRIVER_BYTES) <= memory);
        }
    }

    #[test]
    fn a_seat_that_is_given_back_is_taken_again() {
        let seats = Seats::new(2, 1);
        assert!(seats.take() && seats.take());
        assert!(!seats.take() && !seats.take());
        seats.give_back();
        assert!(seats.take() && !seats.take());
    }

    #[test]
    fn the_shard_with_the_fewest_connections_has_the_next() {
        let seats = Seats::new(100, 3);
        let shown: Vec<u16> = (0..4).map(|_| seats.show(ShardId(1)).0).collect();
        assert_eq!(shown, [1, 0, 2, 1]);
        seats.leave(ShardId(2));
        assert_eq!((seats.show(ShardId(1)), seats.show(ShardId(2))), (ShardId(2), ShardId(2)));
    }

    #[test]
    fn too_little_memory_is_refused_with_the_least() {
        let message = memory_share(10_000_000, 1).expect_err("too little");
        assert_eq!(message, "--memory: 10000000 bytes are too few for 1 shard: at least 63MB are needed");
        memory_share(63_000_000, 1).expect("what the message says");
    }

    #[test]
    fn the_default_number_of_shards_fits_the_memory() {
        for memory in [1, 63_000_000, 100_000_000, 512_000_000, 1 << 40] {
            let shards = default_shards(memory);
            assert!(shards == 1 || memory_share(memory, shards).is_ok(), "{shards} for {memory}");
        }
    }
}
