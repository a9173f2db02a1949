//! A disk that is full, slow, short or failing: nothing is lost, and it recovers by itself.

use crate::{all_hold, at, at_ms, holds};
use highwater_sim::faults::Fault;
use highwater_sim::plan::{Disaster, Plan};
use highwater_sim::queue::{MILLIS, SECONDS};

#[test]
fn a_full_disk_refuses_and_recovers_when_there_is_room() {
    let mut plan = Plan::quiet(11);
    plan.chaos = vec![at(2, Disaster::Full { spare: 8 << 10, lasts: 2 * SECONDS })];
    let report = holds(plan);
    assert_eq!(report.stats.crashes, 0, "a full disk does not end the process");
}

#[test]
fn short_reads_and_writes_are_gone_on_with() {
    let mut plan = Plan::quiet(12);
    plan.disk.short = 200_000;
    let again_after_ops = None;
    let crash = Disaster::Crash { power: true, after_ops: 3, down: MILLIS, again_after_ops, harm: Vec::new() };
    plan.chaos = vec![at(2, crash.clone()), at(4, crash)];
    let report = holds(plan);
    assert!(report.counts.get(Fault::ShortWrite) > 10 && report.counts.get(Fault::ShortRead) > 0);
}

#[test]
fn a_failed_sync_halts_the_node_and_loses_nothing() {
    let mut plan = Plan::quiet(13);
    plan.disk.sync_error = 2_000;
    let report = holds(plan);
    assert!(report.counts.get(Fault::FailedSync) > 0);
    assert!(report.stats.crashes > 0, "it halts");
}

#[test]
fn failed_reads_are_answered_and_tried_again() {
    let mut plan = Plan::quiet(14);
    plan.disk.read_error = 20_000;
    holds(plan);
}

/// The first batch of a producer that nobody knows is refused while the disk is full; there is room again when the one behind
/// it comes: that one waits for the first, or their order would be lost.
#[test]
fn what_a_new_producer_sent_behind_a_refused_batch_is_refused_too() {
    let plans = (620..650).map(|seed| {
        let mut plan = Plan::brief(seed);
        (plan.shape.files, plan.shape.file_bytes, plan.shape.first_file_bytes) = (3, 256 << 10, 64 << 10);
        plan.work.topics.truncate(2);
        plan.work.topics.iter_mut().for_each(|topic| topic.partitions = 2);
        for producer in &mut plan.work.producers {
            (producer.idempotent, producer.acks, producer.in_flight) = (true, -1, 5);
            (producer.renew, producer.large, producer.partitions_per_request) = (300_000, 300_000, 1);
        }
        let full = Disaster::Full { spare: 0, lasts: 250 * MILLIS };
        plan.chaos = (1..9).map(|turn| at_ms(turn * 400, full.clone())).collect();
        plan
    });
    assert!(all_hold(plans, Fault::DiskFull) > 0);
}

/// Requests that never fit in what is left of the journal, or in the memory that only segments free, wait for nothing on a full
/// disk: they are refused.
#[test]
fn a_large_request_is_refused_at_once_while_the_disk_is_full() {
    for seed in 660..672 {
        let mut plan = Plan::brief(seed);
        plan.shape.memory_bytes = 8 << 20;
        for producer in &mut plan.work.producers {
            (producer.large, producer.partitions_per_request) = (300_000, 1);
            producer.pause_us /= 2;
        }
        plan.chaos = vec![at_ms(500, Disaster::Full { spare: 16 << 10, lasts: 3 * SECONDS })];
        let report = holds(plan);
        let took = report.stats.produce_took_max / MILLIS;
        assert!(took < 1_000, "seed {seed}: a request was answered after {took} ms");
    }
}
