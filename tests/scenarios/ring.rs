//! The journal's ring: it grows, it is full, it comes round; and the checkpoints that free it.

use crate::{all_hold, at_ms, crash, crash_and_harm};
use highwater_sim::faults::Fault;
use highwater_sim::plan::{Harm, HarmKind, HarmTarget, Plan};

/// The smallest ring, and producers that fill it.
fn small(seed: u64) -> Plan {
    let mut plan = Plan::brief(seed);
    (plan.shape.files, plan.shape.file_bytes, plan.shape.first_file_bytes) = (3, 256 << 10, 64 << 10);
    plan.work.producers.iter_mut().for_each(|producer| producer.large = 150_000);
    plan
}

/// A ring that is nearly full leaves room for the elections of the next run, and a checkpoint can run before them.
#[test]
fn a_shard_whose_ring_is_nearly_full_boots() {
    let plans = (200..208).map(|seed| {
        let mut plan = small(seed);
        plan.disk.sync_us = 2_000;
        plan.chaos = (1..9).map(|turn| at_ms(turn * 400, crash(turn % 2 == 0, 2))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::Wrap) > 0);
}

/// A new or grown file is used once a checkpoint has recorded it, and so is read back.
#[test]
fn a_grown_file_is_used_only_when_a_checkpoint_knows_it() {
    let plans = (210..222).map(|seed| {
        let mut plan = small(seed);
        plan.chaos = (1..5).map(|turn| at_ms(turn * 150 + seed % 12 * 10, crash(turn % 2 == 0, 4))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::Kill) > 0);
}

/// A checkpoint never knows more than the journal behind it, however long the last frame's write takes.
#[test]
fn a_checkpoint_waits_for_the_last_frame_that_it_knows() {
    let plans = (230..242).map(|seed| {
        let mut plan = small(seed);
        plan.disk.stall = 30_000;
        plan.chaos = (1..9).map(|turn| at_ms(turn * 400, crash(true, 1 + turn as u32))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::Stall) > 0);
}

/// What recovery finds damaged is journalled even where the ring is full: elections leave room for it.
#[test]
fn damage_is_journalled_when_the_ring_is_full() {
    let plans = (250..262).map(|seed| {
        let mut plan = small(seed);
        plan.disk.sync_us = 2_000;
        let harm = |kind| Harm { kind, target: HarmTarget::Journal };
        plan.chaos = (1..7)
            .map(|turn| at_ms(turn * 500, crash_and_harm(turn % 2 == 0, 2, vec![harm(HarmKind::BitFlip)])))
            .collect();
        plan
    });
    assert!(all_hold(plans, Fault::BitFlip) > 0);
}

/// Memory that batches hold is given up for the request that waits for it, whatever its size.
#[test]
fn a_large_request_gets_its_memory_when_all_of_it_was_used() {
    let plans = (270..274).map(|seed| {
        let mut plan = small(seed);
        (plan.shape.memory_bytes, plan.shape.arena_bytes) = (4 << 20, 64 << 10);
        plan.shape.chunk_bytes = 1 << 20;
        plan.work.producers.iter_mut().for_each(|producer| producer.large = 900_000);
        plan
    });
    assert!(all_hold(plans, Fault::Wrap) > 0);
}

/// A kill may come between a checkpoint's rename and its folder's sync. The next run counts on that checkpoint and uses the
/// files again that it frees: so it must not be lost when the power goes.
#[test]
fn a_checkpoint_that_a_kill_left_in_a_cache_is_durable_before_the_ring_is_used_again() {
    let plans = (280..320).map(|seed| {
        let mut plan = small(seed);
        plan.disk.sync_us = 2_000;
        let after_ops = |turn: u64| (1 + (7 * seed + 5 * turn) % 23) as u32;
        plan.chaos = (1..9).map(|turn| at_ms(turn * 400, crash(turn % 2 == 0, after_ops(turn)))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::LostRename) > 0);
}

/// Retention moves starts while a ring that is full waits for its checkpoint, which waits for every note that was taken.
#[test]
fn log_starts_do_not_move_while_the_ring_has_no_room_for_them() {
    let plans = (310..322).map(|seed| {
        let mut plan = small(seed);
        plan.disk.sync_us = 2_000;
        plan.work.topics.iter_mut().for_each(|topic| (topic.segment_ms, topic.retention_bytes) = (300, 4 << 10));
        plan.chaos = (1..9).map(|turn| at_ms(turn * 400, crash(turn % 2 == 0, 2 + turn as u32))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::StartMoved) > 0);
}
