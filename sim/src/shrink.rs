//! Making a failing plan small: leave out what the failure does not need, until nothing more can go.
//!
//! A smaller plan counts as the same failure when the same invariant breaks. Each part of a plan hangs on its own stream
//! of chance, so that leaving one out disturbs the others little.

use crate::plan::Plan;
use crate::report::{Invariant, Report};
use crate::run::run_plan;

/// The smallest plan found that still breaks `invariant`, and its report.
pub fn shrink(plan: Plan, invariant: Invariant, mut tried: impl FnMut(usize)) -> (Plan, Report) {
    let mut best = plan;
    let mut report = run_plan(best.clone(), false);
    let mut runs = 0;
    loop {
        let mut smaller = None;
        for candidate in candidates(&best) {
            runs += 1;
            tried(runs);
            let outcome = run_plan(candidate.clone(), false);
            if outcome.failure.as_ref().is_some_and(|failure| failure.invariant == invariant) {
                smaller = Some((candidate, outcome));
                break;
            }
        }
        match smaller {
            Some((plan, outcome)) => (best, report) = (plan, outcome),
            None => return (best, report),
        }
    }
}

/// Plans with one thing less.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all: Vec<Plan> = Vec::new();
    let mut push = |change: &dyn Fn(&mut Plan)| {
        let mut candidate = plan.clone();
        change(&mut candidate);
        if candidate != *plan {
            all.push(candidate);
        }
    };
    for index in 0..plan.chaos.len() {
        push(&|plan| {
            plan.chaos.remove(index);
        });
    }
    push(&|plan| (plan.disk.read_error, plan.disk.write_error, plan.disk.sync_error) = (0, 0, 0));
    push(&|plan| plan.disk.short = 0);
    push(&|plan| plan.disk.stall = 0);
    push(&|plan| plan.disk.slow_by = 1);
    push(&|plan| (plan.net.reset, plan.net.half_open, plan.net.leave) = (0, 0, 0));
    push(&|plan| (plan.net.fragment, plan.net.spike, plan.net.slow) = (0, 0, 0));
    push(&|plan| plan.clock = Default::default());
    push(&|plan| plan.shape.shards = 1);
    for index in 0..plan.work.producers.len() {
        push(&|plan| {
            if plan.work.producers.len() > 1 {
                plan.work.producers.remove(index);
            }
        });
        push(&|plan| (plan.work.producers[index].large, plan.work.producers[index].invalid) = (0, 0));
        push(&|plan| {
            let producer = &mut plan.work.producers[index];
            (producer.again, producer.raise, producer.renew) = (0, 0, 0);
        });
        push(&|plan| plan.work.producers[index].requests /= 2);
    }
    push(&|plan| plan.work.admin_steps = 0);
    push(&|plan| plan.work.strangers = 0);
    push(&|plan| (plan.work.readers, plan.work.fetches) = (1, 0));
    push(&|plan| plan.crashes_min = 0);
    all
}
