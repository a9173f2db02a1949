//! What recovery must cope with: several runs in one journal, other shards that are faster, settings that come late.

use crate::{all_hold, at_ms, crash};
use highwater_sim::faults::Fault;
use highwater_sim::plan::{Disaster, Plan};
use highwater_sim::queue::MILLIS;

/// A crash every 600 ms.
fn crashes(plan: &mut Plan, power: bool) {
    plan.chaos = (1..6).map(|turn| at_ms(turn * 600, crash(power, 3 + turn as u32))).collect();
}

/// Frames of several runs lie behind one checkpoint: all of them count, not those of its own run alone.
#[test]
fn frames_of_older_runs_that_the_checkpoint_needs_are_read() {
    let plans = (100..106).map(|seed| {
        let mut plan = Plan::brief(seed);
        crashes(&mut plan, seed % 2 == 0);
        plan
    });
    assert!(all_hold(plans, Fault::Retry) > 0);
}

/// A shard's journal may be long when shard 0 sends the metadata image.
#[test]
fn a_shard_that_is_still_recovering_keeps_the_metadata_image_for_later() {
    let plans = (110..116).map(|seed| {
        let mut plan = Plan::brief(seed);
        plan.shape.shards = 3;
        plan.disk.stall = 20_000;
        plan.chaos = vec![at_ms(1_500, crash(false, 3)), at_ms(3_000, crash(true, 3))];
        plan
    });
    assert!(all_hold(plans, Fault::Stall) > 0);
}

/// `max.message.bytes` of a topic is known again before its first request, although its journal is read before the metadata.
#[test]
fn a_topics_settings_hold_after_a_restart() {
    let plans = (120..126).map(|seed| {
        let mut plan = Plan::brief(seed);
        plan.work.producers.iter_mut().for_each(|producer| producer.invalid = 200_000);
        plan.chaos = vec![at_ms(1_000, crash(true, 3)), at_ms(2_000, crash(false, 3))];
        plan
    });
    assert!(all_hold(plans, Fault::TooLarge) > 20);
}

/// Producers that are known, fenced or unknown stay that over every crash.
#[test]
fn producers_keep_their_ids_epochs_and_sequences_over_crashes() {
    let plans = (130..136).map(|seed| {
        let mut plan = Plan::brief(seed);
        for producer in plan.work.producers.iter_mut().filter(|producer| producer.idempotent) {
            (producer.again, producer.raise, producer.renew, producer.invalid) = (100_000, 20_000, 10_000, 50_000);
        }
        crashes(&mut plan, seed % 2 == 0);
        plan
    });
    assert!(all_hold(plans, Fault::Again) > 20);
}

/// A read that comes back with less than a sector is no end of the file.
#[test]
fn a_read_shorter_than_a_sector_is_gone_on_with() {
    let plans = (140..144).map(|seed| {
        let mut plan = Plan::brief(seed);
        plan.disk.short = 300_000;
        plan.chaos = (1..5).map(|turn| at_ms(turn * 700, crash(turn % 2 == 0, 3))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::ShortRead) > 10);
}

/// A kill leaves frames in the drive's cache: they are synced before anybody reads them, and the power may go next.
#[test]
fn what_a_kill_left_in_the_cache_is_synced_before_it_is_served() {
    let plans = (150..156).map(|seed| {
        let mut plan = Plan::brief(seed);
        let down = 5 * MILLIS;
        plan.chaos = (1..6)
            .map(|turn| {
                let again_after_ops = Some(40 + 7 * turn as u32);
                let harm = Vec::new();
                at_ms(turn * 600, Disaster::Crash { power: false, after_ops: 2, down, again_after_ops, harm })
            })
            .collect();
        plan
    });
    assert!(all_hold(plans, Fault::Kill) > 10);
}
