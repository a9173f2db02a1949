//! Crashes: what was acknowledged is there, once, in order.

use crate::{at, crash, holds};
use highwater_sim::faults::Fault;
use highwater_sim::plan::{Disaster, Plan};
use highwater_sim::queue::MILLIS;

#[test]
fn a_quiet_run_reads_everything_back() {
    let report = holds(Plan::quiet(1));
    assert!(report.stats.records_acked > 1_000, "{} records", report.stats.records_acked);
    assert_eq!(report.stats.crashes, 0);
}

#[test]
fn power_loss_under_load_loses_nothing_acknowledged() {
    let mut plan = Plan::quiet(2);
    plan.chaos = (1..7).map(|second| at(second, crash(true, 5))).collect();
    let report = holds(plan);
    assert_eq!(report.counts.get(Fault::PowerLoss), 6);
}

#[test]
fn a_kill_under_load_loses_nothing_acknowledged() {
    let mut plan = Plan::quiet(3);
    plan.chaos = (1..7).map(|second| at(second, crash(false, 5))).collect();
    let report = holds(plan);
    assert_eq!(report.counts.get(Fault::Kill), 6);
}

#[test]
fn a_crash_in_recovery_changes_nothing() {
    for ops in 0..12 {
        let mut plan = Plan::quiet(4);
        let power = ops % 2 == 0;
        let again_after_ops = Some(ops);
        let what = Disaster::Crash { power, after_ops: 5, down: 20 * MILLIS, again_after_ops, harm: Vec::new() };
        plan.chaos = vec![at(3, what)];
        holds(plan);
    }
}

#[test]
fn a_clean_stop_leaves_everything_in_its_checkpoint() {
    let mut plan = Plan::quiet(5);
    plan.chaos = vec![at(2, Disaster::Stop { down: MILLIS }), at(5, Disaster::Stop { down: MILLIS })];
    let report = holds(plan);
    assert_eq!(report.counts.get(Fault::Stop), 2);
}
