//! Segments: rolled, given up by retention, cut by a clean stop; and what a crash leaves of them.

use crate::{all_hold, at, at_ms, crash, holds};
use highwater_sim::faults::Fault;
use highwater_sim::plan::{Codec, Disaster, Plan};
use highwater_sim::queue::{MILLIS, SECONDS};

/// Segments roll as soon as they have bytes, and retention gives up all but the last.
fn rolling(seed: u64) -> Plan {
    let mut plan = Plan::brief(seed);
    plan.work.topics.iter_mut().for_each(|topic| topic.segment_ms = 300);
    plan.shape.chunk_bytes = 8 << 10;
    plan
}

/// The part-filled last sector of an active segment may be torn by a power loss: it is written anew before the roll seals it.
#[test]
fn a_segment_that_rolls_after_a_power_loss_has_its_last_sector_whole() {
    let plans = (300..308).map(|seed| {
        let mut plan = rolling(seed);
        plan.chaos = (1..7).map(|turn| at_ms(turn * 500, crash(true, turn as u32))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::Roll) > 0);
}

fn with_retention(seed: u64) -> Plan {
    let mut plan = rolling(seed);
    plan.work.topics.iter_mut().for_each(|topic| topic.retention_bytes = 4 << 10);
    plan
}

/// A log start is told when it is durable, and never goes back.
#[test]
fn a_log_start_that_was_told_survives_a_power_loss() {
    let plans = (310..318).map(|seed| {
        let mut plan = with_retention(seed);
        plan.disk.write_us = 2_000;
        plan.chaos = (1..9).map(|turn| at_ms(turn * 400, crash(true, turn as u32))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::StartMoved) > 0);
}

/// A segment that the checkpoint calls active may have rolled and gone since: it is not written on.
#[test]
fn a_segment_that_retention_took_is_not_written_on_after_a_crash() {
    let plans = (320..328).map(|seed| {
        let mut plan = with_retention(seed);
        plan.shape.files = 5;
        plan.chaos = (1..9).map(|turn| at_ms(turn * 450, crash(turn % 2 == 0, 3))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::StartMoved) > 0);
}

/// A clean stop while the disk is full cuts segments to their length, and nothing grows them after that.
#[test]
fn a_clean_stop_with_a_full_disk_leaves_segments_as_long_as_their_bytes() {
    let plans = (330..342).map(|seed| {
        let mut plan = rolling(seed);
        plan.chaos = (0..3)
            .flat_map(|turn| {
                let full = Disaster::Full { spare: (seed % 4) * 4096, lasts: SECONDS };
                let stop = Disaster::Stop { down: 50 * MILLIS };
                [at_ms(600 + turn * 1_200, full), at_ms(600 + turn * 1_200 + 150 * (seed % 4), stop)]
            })
            .collect();
        plan
    });
    assert!(all_hold(plans, Fault::DiskFull) > 0);
}

/// What a run has begun since the last checkpoint is nobody's after a crash, unless the next run begins it at the same offset.
#[test]
fn a_segment_that_no_table_knows_after_a_crash_is_removed() {
    let plans = (350..362).map(|seed| {
        let mut plan = rolling(seed);
        (plan.shape.files, plan.shape.chunk_bytes) = (5, 4 << 10);
        plan.work.topics.iter_mut().for_each(|topic| topic.partitions = 2);
        plan.work.producers.iter_mut().for_each(|producer| producer.value_bytes *= 4);
        plan.chaos = (1..9).map(|turn| at_ms(turn * 430, crash(turn % 4 == 0, turn as u32))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::Roll) > 0);
}

/// A stop that runs out of time leaves segments longer than their bytes, with zeros behind: the next start goes on from there.
#[test]
fn a_stop_that_is_cut_off_leaves_nothing_that_the_next_start_cannot_go_on_with() {
    let mut cut = 0;
    for seed in 370..382 {
        let mut plan = rolling(seed);
        plan.disk.sync_us = 40_000;
        // A commit that waits for a checkpoint, and so for dozens of such syncs, outlasts sessions and patience.
        plan.groups.members = 0;
        plan.shape.files = 16;
        plan.chaos = (1..4).map(|turn| at_ms(turn * 900, Disaster::Stop { down: 20 * MILLIS })).collect();
        if seed % 2 == 0 {
            plan.chaos.push(at_ms(3_300, crash(seed % 4 == 0, 3)));
        }
        let story = holds(plan).story;
        cut += story.iter().filter(|line| line.contains("stops before all of its segments are written")).count();
    }
    assert!(cut > 10, "only {cut} stops ran out of time");
}

/// As in Kafka, what is past `retention.ms` goes whole, the active segment with it, though nothing more is written.
#[test]
fn a_log_past_its_retention_is_given_up_to_its_end() {
    let plans = (350..356).map(|seed| {
        let mut plan = Plan::brief(seed);
        plan.work.topics.iter_mut().for_each(|topic| (topic.segment_ms, topic.retention_ms) = (604_800_000, 1_000));
        plan.chaos = (1..4).map(|turn| at_ms(turn * 900, crash(turn % 2 == 0, turn as u32))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::StartMoved) > 0);
}

/// As in Kafka: neither the roll of a segment nor the flush of another lets go what is too old; that is looked for in intervals.
#[test]
fn what_is_too_old_stays_until_retention_is_looked_at() {
    for seed in 370..373 {
        let mut plan = Plan::brief(seed);
        plan.shape.retention_check_ms = 600_000;
        plan.work.topics.iter_mut().for_each(|topic| (topic.segment_ms, topic.retention_ms) = (300, 500));
        plan.work.topics.iter_mut().for_each(|topic| (topic.retention_bytes, topic.purged) = (-1, false));
        let report = holds(plan);
        assert!(report.stats.rolls > 20, "{} segments rolled", report.stats.rolls);
        assert_eq!(report.counts.get(Fault::StartMoved), 0, "seed {seed}: nothing was due");
    }
}

/// What a client has deleted stays deleted, and nothing above it goes, whatever crashes.
#[test]
fn a_deletion_of_records_survives_a_power_loss() {
    let plans = (360..368).map(|seed| {
        let mut plan = rolling(seed);
        plan.work.topics.iter_mut().for_each(|topic| topic.purged = true);
        (plan.work.admin_steps, plan.work.admin_pause_ms) = (120, 20);
        plan.disk.write_us = 2_000;
        plan.chaos = (1..9).map(|turn| at_ms(turn * 400, crash(turn % 3 != 0, turn as u32))).collect();
        plan
    });
    assert!(all_hold(plans, Fault::Purge) > 40);
}

/// A deletion may reach into what is still active, or in no segment at all.
#[test]
fn a_deletion_up_to_the_high_watermark_leaves_the_active_segment_to_its_writer() {
    let plans = (370..376).map(|seed| {
        let mut plan = Plan::brief(seed);
        plan.work.topics.iter_mut().for_each(|topic| (topic.purged, topic.segment_ms) = (true, 900));
        (plan.work.admin_steps, plan.work.admin_pause_ms) = (150, 15);
        plan.shape.chunk_bytes = 8 << 10;
        plan.chaos = (1..5).map(|turn| at_ms(turn * 700, Disaster::Stop { down: 20 * MILLIS })).collect();
        plan
    });
    assert!(all_hold(plans, Fault::Purge) > 60);
}

#[test]
fn batches_that_a_topic_wants_compressed_are_there_once_and_in_order_after_crashes() {
    for (seed, codec) in [(1, Codec::Gzip), (2, Codec::Snappy)] {
        let mut plan = Plan::brief(seed);
        plan.work.topics.iter_mut().for_each(|topic| topic.compression = codec);
        plan.chaos = vec![at(1, crash(true, 40)), at(2, crash(false, 40)), at(3, crash(true, 400))];
        let report = holds(plan);
        let seen = report.counts.get(Fault::Recoded);
        assert!(seen > 100, "{codec:?}: {seen} compressed batches were read");
    }
}
