//! Compaction: what is overtaken goes, what is not stays, whatever crashes.

use crate::{all_hold, at_ms, crash, holds};
use highwater_sim::faults::Fault;
use highwater_sim::plan::{Disaster, Plan};
use highwater_sim::queue::MILLIS;

/// Few keys, written often; runs and the journal are small, so that segments are sealed soon.
fn compacting(seed: u64) -> Plan {
    let mut plan = Plan::brief(seed);
    plan.shape.chunk_bytes = 4 << 10;
    plan.shape.files = 3;
    let kept = &mut plan.kept;
    (kept.writes, kept.keys, kept.tombstones) = (300, 6, 150_000);
    (kept.delete_retention_ms, kept.min_lag_ms, kept.retention_ms) = (300, 0, None);
    plan
}

/// How many of the files that starts have found, and that no checkpoint knew, were of compacted segments.
fn strays(story: &[String]) -> usize {
    let strays = story.iter().filter(|line| line.contains("begun by a run that ended before a checkpoint knew them"));
    // `00000000000000000042.1.log`, with its generation.
    strays.flat_map(|line| line.split([' ', ','])).filter(|name| name.matches('.').count() == 2).count()
}

#[test]
fn the_last_value_of_each_key_stays_and_what_it_has_overtaken_goes() {
    assert!(all_hold((700..704).map(compacting), Fault::Compacted) > 0);
}

/// Whatever op of a compaction a crash comes before: the old segments are served, or the new one.
#[test]
fn a_crash_while_segments_are_replaced_leaves_the_old_ones_or_the_new_one() {
    let (mut compacted, mut found) = (0, 0);
    for seed in 710..722 {
        let mut plan = compacting(seed);
        plan.disk.write_us = 1_000;
        plan.chaos = (1..11).map(|turn| at_ms(turn * 350, crash(turn % 2 == 0, (turn as u32 * 3) % 17))).collect();
        let report = holds(plan);
        compacted += report.counts.get(Fault::Compacted);
        found += strays(&report.story);
    }
    assert!(compacted > 0 && found > 0, "{compacted} compactions seen, {found} strays of theirs");
}

#[test]
fn a_tombstone_stays_for_its_time_and_goes_after_it() {
    let with = |retention_ms| {
        (730..734).map(move |seed| {
            let mut plan = compacting(seed);
            (plan.kept.keys, plan.kept.tombstones, plan.kept.delete_retention_ms) = (150, 400_000, retention_ms);
            plan
        })
    };
    assert!(all_hold(with(200), Fault::TombstoneGone) > 0);
    assert_eq!(all_hold(with(3_600_000), Fault::TombstoneGone), 0);
}

/// The producer's last batch is kept without its records, or at least its sequence is.
#[test]
fn a_duplicate_is_recognised_behind_a_compaction_and_a_restart() {
    let (mut compacted, mut again) = (0, 0);
    for seed in 740..746 {
        let mut plan = compacting(seed);
        plan.kept.idempotent = true;
        plan.chaos = (1..8)
            .map(|turn| match turn % 2 {
                0 => at_ms(turn * 500, Disaster::Stop { down: 20 * MILLIS }),
                _ => at_ms(turn * 500, crash(turn % 4 == 1, turn as u32)),
            })
            .collect();
        for producer in &mut plan.work.producers {
            producer.again = 0;
        }
        let report = holds(plan);
        compacted += report.counts.get(Fault::Compacted);
        again += report.counts.get(Fault::Again);
    }
    assert!(compacted > 0 && again > 10, "{compacted} compactions seen, {again} batches sent again");
}

#[test]
fn a_log_that_is_compacted_and_deleted_gives_up_what_is_old() {
    let (mut compacted, mut moved) = (0, 0);
    for seed in 750..756 {
        let mut plan = compacting(seed);
        plan.kept.retention_ms = Some(1_200);
        plan.chaos = (1..4).map(|turn| at_ms(turn * 900, crash(turn % 2 == 0, turn as u32))).collect();
        let report = holds(plan);
        compacted += report.counts.get(Fault::Compacted);
        moved += report.counts.get(Fault::KeptStart);
    }
    assert!(compacted > 0 && moved > 0, "{compacted} compactions seen, {moved} starts");
}

/// Records are taken out of a compressed batch, which is compressed again with its own codec.
#[test]
fn every_codec_is_compacted() {
    for codec in 0..5 {
        let plans = (760..762).map(|seed| {
            let mut plan = compacting(seed + 2 * u64::from(codec));
            plan.kept.codec = Some(codec);
            plan
        });
        assert!(all_hold(plans, Fault::Compacted) > 0, "codec {codec}");
    }
}

#[test]
fn a_record_younger_than_min_compaction_lag_ms_stays_as_it_is() {
    let plans = (780..783).map(|seed| {
        let mut plan = compacting(seed);
        plan.kept.min_lag_ms = 3_600_000;
        plan
    });
    assert_eq!(all_hold(plans, Fault::Compacted), 0);
}

/// What compaction writes meets a full disk: it is given up, and tried again when there is room.
#[test]
fn a_full_disk_ends_a_compaction_and_nothing_else() {
    let plans = (790..796).map(|seed| {
        let mut plan = compacting(seed);
        plan.chaos =
            (1..5).map(|turn| at_ms(turn * 700, Disaster::Full { spare: 8 << 10, lasts: 300 * MILLIS })).collect();
        plan
    });
    assert!(all_hold(plans, Fault::Compacted) > 0);
}
