//! Damage: exactly the partition that it hit refuses, and says where; without proof nothing wrong is served.

use crate::{all_hold, at, at_ms, crash, crash_and_harm, holds};
use highwater_sim::faults::Fault;
use highwater_sim::plan::{Disaster, Harm, HarmKind, HarmTarget, Plan};
use highwater_sim::queue::MILLIS;

const KINDS: [HarmKind; 5] =
    [HarmKind::BitFlip, HarmKind::Zeroed, HarmKind::Stale, HarmKind::Lost, HarmKind::Misdirected];

#[test]
fn a_damaged_journal_frame_is_refused_and_never_cut() {
    for (number, kind) in KINDS.into_iter().enumerate() {
        let mut plan = Plan::quiet(20 + number as u64);
        let harm = vec![Harm { kind, target: HarmTarget::Journal }];
        plan.chaos =
            vec![at(3, Disaster::Crash { power: true, after_ops: 9, down: MILLIS, again_after_ops: None, harm })];
        holds(plan);
    }
}

#[test]
fn a_damaged_journal_file_is_kept_and_what_it_holds_survives_the_ring() {
    let mut kept = 0;
    for (number, kind) in KINDS.into_iter().cycle().take(10).enumerate() {
        let mut plan = Plan::quiet(50 + number as u64);
        let harm = vec![Harm { kind, target: HarmTarget::Journal }];
        let crash = Disaster::Crash { power: false, after_ops: 9, down: MILLIS, again_after_ops: None, harm };
        // Early, so that the ring comes round behind it; half of them are given other shards, and a new journal, as well.
        plan.chaos = vec![at(2, crash)];
        if number % 2 == 1 {
            plan.chaos.push(at(5, Disaster::Reshard { shards: plan.shape.shards % 3 + 1 }));
            plan.chaos.push(at(5, Disaster::Stop { down: MILLIS }));
        }
        kept += holds(plan).stats.kept;
    }
    assert!(kept > 0, "no file was damaged behind a durable frame");
}

#[test]
fn a_damaged_segment_refuses_its_partition_alone() {
    for (number, kind) in KINDS.into_iter().enumerate() {
        let mut plan = Plan::quiet(30 + number as u64);
        plan.chaos = vec![at(4, Disaster::Harm(Harm { kind, target: HarmTarget::Data }))];
        holds(plan);
    }
}

fn journal(kind: HarmKind) -> Harm {
    Harm { kind, target: HarmTarget::Journal }
}

/// Two lost stretches in a row: the partitions of both refuse, whether a good frame follows or nothing.
#[test]
fn each_of_several_damaged_frames_in_a_row_refuses_its_partitions() {
    let plans = (500..516).map(|seed| {
        let mut plan = Plan::brief(seed);
        let harm = vec![journal(KINDS[seed as usize % 5]); 4];
        plan.chaos = vec![at_ms(1_500, crash_and_harm(true, 9, harm))];
        plan
    });
    all_hold(plans, Fault::BitFlip);
}

/// Frames that could not be read in one recovery, and for which partitions refuse since, were read in the next one. Their
/// batches waited for a segment that would never take them, and held the journal until it was full and all stood still.
#[test]
fn what_is_refused_once_does_not_come_back_and_hold_the_journal() {
    holds(Plan::draw(575));
}

/// A journal file that was kept for its damage is damaged again, further in front. The note of the first refusal, replayed
/// behind the new damage, put the refusal back to where it was: in between was nothing, and nobody was told.
#[test]
fn a_refusal_of_an_earlier_run_does_not_hide_damage_in_front_of_it() {
    holds(Plan::draw(94));
}

/// A consumer that has read beyond the damage is refused there, wherever the log's end is now: it must not start elsewhere.
#[test]
fn a_read_beyond_the_damage_is_refused_and_not_out_of_range() {
    let plans = (520..536).map(|seed| {
        let mut plan = Plan::brief(seed);
        let harm = vec![journal(KINDS[seed as usize % 5])];
        plan.chaos = (1..5).map(|turn| at_ms(turn * 700, crash_and_harm(true, 9, harm.clone()))).collect();
        plan
    });
    all_hold(plans, Fault::RefusedPart);
}

/// Records that damage took may be below a log start that was journalled later: the log ends there, and refuses from there on.
#[test]
fn a_log_start_beyond_what_damage_left_is_recovered() {
    let plans = (540..556).map(|seed| {
        let mut plan = Plan::brief(seed);
        plan.work.topics.iter_mut().for_each(|topic| (topic.segment_ms, topic.retention_bytes) = (300, 4 << 10));
        let harm = vec![journal(KINDS[seed as usize % 5]); 2];
        plan.chaos = (1..7).map(|turn| at_ms(turn * 550, crash_and_harm(turn % 2 == 0, 9, harm.clone()))).collect();
        plan
    });
    all_hold(plans, Fault::StartMoved);
}

/// The last frames of a run are lost, and the next run has begun epochs behind what they held: those epochs are refused with the
/// records in front of them, or the one after would start before them.
#[test]
fn an_epoch_that_starts_behind_lost_records_is_refused_with_them() {
    let plans = (700..740).map(|seed| {
        let mut plan = Plan::brief(seed);
        let harm = vec![journal(KINDS[seed as usize % 5]); 3];
        let pairs = (1..6).map(|turn| turn * 600).flat_map(|at| {
            let second = crash_and_harm(true, 2, harm.clone());
            [at_ms(at, crash(true, 3)), at_ms(at + 40 + seed % 8 * 15, second)]
        });
        plan.chaos = pairs.collect();
        plan
    });
    assert!(all_hold(plans, Fault::RefusedPart) > 0);
}

/// The last frame is lost, nothing behind it proves that, and a checkpoint knows what it held: the node says so and halts.
#[test]
fn a_lost_frame_that_only_a_checkpoint_knows_is_no_torn_tail() {
    holds(Plan::draw(2_000_423));
}

/// Frames that nothing tells of any more, from before the first checkpoint: partitions that the topics have and the shard does not
/// know may have been in them. They refuse, and are not begun anew.
#[test]
fn partitions_that_lost_frames_may_have_held_are_not_begun_anew() {
    let plans = (740..800).map(|seed| {
        let mut plan = Plan::brief(seed);
        (plan.shape.files, plan.shape.file_bytes, plan.shape.first_file_bytes) = (4, 128 << 10, 64 << 10);
        plan.disk.write_us = 15_000;
        let harm = vec![journal(KINDS[seed as usize % 5])];
        let crashes = (1..8).map(|turn| at_ms(turn * 450, crash_and_harm(true, (seed % 6) as u32, harm.clone())));
        plan.chaos = crashes.collect();
        plan
    });
    assert!(all_hold(plans, Fault::RefusedPart) > 0);
}

/// Crash upon crash, each with up to three damaged sectors, most of them in journals, of all shapes of a node.
fn battered(seed: u64) -> Plan {
    let mut plan = Plan::brief(seed);
    plan.shape.shards = (seed % 3 + 1) as u16;
    (plan.shape.files, plan.shape.file_bytes, plan.shape.first_file_bytes) = (4, (128 << (seed % 2)) << 10, 64 << 10);
    plan.disk.write_us = [300, 3_000, 15_000, 1_000][(seed / 7 % 4) as usize];
    plan.work.topics.iter_mut().for_each(|topic| topic.segment_ms = 200 + seed % 5 * 200);
    let harm = |turn, number| Harm {
        kind: KINDS[((seed / 3 + turn + number) % 5) as usize],
        target: if (turn + number) % 5 == 0 { HarmTarget::Anything } else { HarmTarget::Journal },
    };
    let crashes = (1..9).map(|turn| {
        let harms = (0..(seed + turn) % 4).map(|number| harm(turn, number)).collect();
        let after_ops = ((seed + turn * 7) % 23) as u32;
        at_ms(turn * 400 + seed % 13 * 10, crash_and_harm(!(turn + seed).is_multiple_of(3), after_ops, harms))
    });
    plan.chaos = crashes.collect();
    if seed.is_multiple_of(4) {
        plan.chaos.push(at_ms(1_900, Disaster::Reshard { shards: (seed / 4 % 3 + 1) as u16 }));
        plan.chaos.push(at_ms(1_900, Disaster::Stop { down: MILLIS }));
    }
    plan
}

/// What is known to be lost may lie behind more that is lost, of which nothing tells: a partition refuses from where its log ends,
/// and leaves no gap in which nothing is served and nothing refused.
#[test]
fn a_refusal_reaches_down_to_where_the_log_ends() {
    let plans = (70..90).chain(450..460).map(battered);
    assert!(all_hold(plans, Fault::RefusedPart) > 0);
}

/// A frame that did not fit into one file begins the next: that one is named when it is lost, here for the metadata log.
#[test]
fn damage_to_the_first_frame_of_a_file_names_that_file() {
    holds(battered(2080));
    holds(Plan::draw(2_000_880));
}

/// The largest time may be that of a record that is refused: the lookup ends all the same.
#[test]
fn a_lookup_by_time_ends_in_a_partition_that_refuses() {
    let plans = (540..560).map(battered);
    assert!(all_hold(plans, Fault::RefusedPart) > 0);
}

const INDEX_KINDS: [HarmKind; 5] =
    [HarmKind::BitFlip, HarmKind::Zeroed, HarmKind::Lost, HarmKind::Misdirected, HarmKind::Garbage];

/// Everything that an index says can be had from its segment: nothing is refused, and every answer is as exact as before.
#[test]
fn a_damaged_index_is_made_anew_from_its_segment() {
    let mut made_anew = 0;
    for seed in 560..570 {
        let mut plan = Plan::brief(seed);
        plan.work.topics.iter_mut().for_each(|topic| topic.segment_ms = 300);
        let index = |number: usize| Harm { kind: INDEX_KINDS[number % 5], target: HarmTarget::Index };
        let down = (0..8).map(|number| index(seed as usize + number)).collect();
        plan.chaos = vec![at_ms(2_500, crash_and_harm(seed % 2 == 0, 9, down))];
        plan.chaos.extend((0..8).map(|number| at_ms(2_600 + 100 * number, Disaster::Harm(index(number as usize)))));
        plan.chaos.push(at_ms(3_500, crash_and_harm(seed % 2 == 1, 9, vec![index(seed as usize)])));
        let report = holds(plan);
        made_anew += report.stats.complaints.iter().filter(|text| text.contains("made anew from its segment")).count();
        assert_eq!(report.stats.refusals, 0, "seed {seed}");
    }
    assert!(made_anew > 0, "no damaged index was read");
}
