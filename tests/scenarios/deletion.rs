//! Deleted topics: gone for good, whatever happens on the way, and nothing else goes with them.

use crate::{all_hold, at_ms, crash};
use highwater_sim::faults::Fault;
use highwater_sim::plan::{Disaster, Plan};
use highwater_sim::queue::{MILLIS, SECONDS};

/// Every topic but the first is deleted in the course of the run.
fn deleting(seed: u64) -> Plan {
    let mut plan = Plan::brief(seed);
    plan.work.topics.iter_mut().skip(1).for_each(|topic| (topic.doomed, topic.segment_ms) = (true, 300));
    (plan.work.admin_steps, plan.work.admin_pause_ms) = (60, 25);
    plan
}

/// Frames of a partition that the checkpoint has forgotten are read again for other partitions' batches, not for its own.
#[test]
fn a_partition_that_is_deleted_and_gone_is_not_revived_by_its_old_frames() {
    let plans = (400..410).map(|seed| {
        let mut plan = deleting(seed);
        plan.chaos = (4..12).map(|turn| at_ms(turn * 300, crash(turn % 2 == 0, 3))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::Kill) > 0);
}

/// A roll that the process before left half done holds neither the removal nor a clean stop up.
#[test]
fn a_deleted_partition_with_a_half_done_roll_is_removed() {
    let plans = (420..430).map(|seed| {
        let mut plan = deleting(seed);
        plan.disk.sync_us = 2_000;
        plan.chaos = (4..12).map(|turn| at_ms(turn * 300, crash(turn % 2 == 0, turn as u32))).collect();
        plan.chaos.push(at_ms(3_700, Disaster::Stop { down: 10 * MILLIS }));
        plan
    });
    assert!(all_hold(plans, Fault::Roll) > 0);
}

/// A checkpoint taken between the decision and its note in the journal calls the partition deleted.
#[test]
fn a_checkpoint_after_the_decision_to_delete_knows_of_it() {
    let plans = (440..452).map(|seed| {
        let mut plan = deleting(seed);
        (plan.shape.files, plan.shape.file_bytes, plan.shape.first_file_bytes) = (3, 256 << 10, 64 << 10);
        plan.disk.write_us = 2_000;
        plan.chaos = (4..12).map(|turn| at_ms(turn * 300, crash(turn % 2 == 0, turn as u32))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::PowerLoss) > 0);
}

/// A folder may be removed while a checkpoint waits to sync it.
#[test]
fn a_folder_that_is_removed_before_its_sync_harms_nothing() {
    let plans = (460..472).map(|seed| {
        let mut plan = deleting(seed);
        (plan.shape.files, plan.shape.file_bytes, plan.shape.first_file_bytes) = (3, 256 << 10, 64 << 10);
        plan.disk.sync_us = 2_000;
        plan.disk.stall = 20_000;
        plan
    });
    assert!(all_hold(plans, Fault::Roll) > 0);
}

/// A run, a roll or a file of a deleted partition that met a full disk does not hold up its removal, which makes the room.
#[test]
fn a_deleted_partition_goes_while_the_disk_is_full() {
    let plans = (480..510).map(|seed| {
        let mut plan = deleting(seed);
        plan.heal_at = 6 * SECONDS;
        plan.work.admin_pause_ms = 10 + seed % 3 * 10;
        let full = Disaster::Full { spare: seed % 4 * 4096, lasts: 5 * SECONDS };
        plan.chaos = vec![at_ms(300 + seed % 7 * 100, full)];
        plan
    });
    assert!(all_hold(plans, Fault::DiskFull) > 0);
}
