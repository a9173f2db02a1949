//! Another number of shards: old journals and new ones hold the same, and a crash on the way leaves one or the other.

use crate::{at, holds};
use highwater_sim::faults::Fault;
use highwater_sim::plan::{Disaster, Plan};
use highwater_sim::queue::MILLIS;

#[test]
fn a_folder_is_served_with_more_shards_and_with_fewer() {
    let mut plan = Plan::quiet(41);
    plan.shape.shards = 2;
    for (second, shards) in [(2, 3), (4, 1), (6, 4)] {
        plan.chaos.push(at(second, Disaster::Reshard { shards }));
        plan.chaos.push(at(second, Disaster::Stop { down: MILLIS }));
    }
    let report = holds(plan);
    assert_eq!(report.counts.get(Fault::Reshard), 3);
}

#[test]
fn a_crash_while_the_number_of_shards_changes_leaves_one_layout_whole() {
    let mut met = 0;
    for ops in 0..24 {
        let mut plan = Plan::quiet(42 + ops);
        let power = ops % 2 == 0;
        let again_after_ops = Some(ops as u32 * 12);
        plan.chaos = vec![
            at(3, Disaster::Reshard { shards: 4 - plan.shape.shards }),
            at(3, Disaster::Crash { power, after_ops: 3, down: MILLIS, again_after_ops, harm: Vec::new() }),
        ];
        if plan.shape.shards == 2 {
            plan.shape.shards = 1;
        }
        let report = holds(plan);
        assert_eq!(report.counts.get(Fault::Reshard), 1);
        met += report.counts.get(Fault::CrashInReshard);
    }
    assert!(met > 12, "only {met} crashes met the change");
}
