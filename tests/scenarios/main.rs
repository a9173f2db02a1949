//! Behaviours under one fault each, in the simulator: every test is a quiet run with the one thing added that it is about.

mod crashes;
mod damage;
mod disk;
mod reshard;

use highwater_sim::plan::{Chaos, Disaster, Plan};
use highwater_sim::queue::SECONDS;
use highwater_sim::report::Report;
use highwater_sim::run::run_plan;

/// Runs the plan; every invariant must hold.
fn holds(plan: Plan) -> Report {
    let report = run_plan(plan, true);
    if let Some(failure) = &report.failure {
        panic!("{}: {}\n{}", failure.invariant.name(), failure.detail, report.story.join("\n"));
    }
    report
}

fn at(seconds: u64, what: Disaster) -> Chaos {
    Chaos { at: seconds * SECONDS, what }
}
