//! What connections hold stays within the budget (each step of the simulator counts it anew), and nobody starves of it.

use crate::all_hold;
use highwater_sim::faults::Fault;
use highwater_sim::plan::Plan;

/// Every reader takes its answers slowly, and there is memory for a few answers at a time.
#[test]
fn slow_readers_share_a_budget_that_holds_few_answers_and_all_get_theirs() {
    let plans = (500..504).map(|seed| {
        let mut plan = Plan::brief(seed);
        plan.shape.memory_bytes = 4 << 20;
        plan.work.readers *= 3;
        plan.net.slow = 1_000_000;
        plan
    });
    assert!(all_hold(plans, Fault::SlowReader) > 20);
}
