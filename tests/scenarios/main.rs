//! Behaviours under one fault each, in the simulator: every test is a quiet run with the one thing added that it is about.
//!
//! A bug that the sweep found has its test here, named for the behaviour, on plans that make the moment likely that it
//! needs; each was seen to fail without its fix.

mod bounds;
mod compaction;
mod crashes;
mod damage;
mod deletion;
mod disk;
mod recovery;
mod reshard;
mod ring;
mod segments;

use highwater_sim::faults::Fault;
use highwater_sim::plan::{Chaos, Disaster, Harm, Plan};
use highwater_sim::queue::{MILLIS, SECONDS};
use highwater_sim::report::Report;
use highwater_sim::run::run_plan;

/// Runs the plan; every invariant must hold.
fn holds(plan: Plan) -> Report {
    let report = run_plan(plan, true);
    if let Some(failure) = &report.failure {
        let (seed, story) = (report.seed, report.story.join("\n"));
        panic!("seed {seed}: {}: {}\n{story}", failure.invariant.name(), failure.detail);
    }
    report
}

/// Every plan must hold; how often `fault` fired in all of them.
fn all_hold(plans: impl Iterator<Item = Plan>, fault: Fault) -> u64 {
    plans.map(|plan| holds(plan).counts.get(fault)).sum()
}

fn at(seconds: u64, what: Disaster) -> Chaos {
    Chaos { at: seconds * SECONDS, what }
}

/// At so many milliseconds.
fn at_ms(millis: u64, what: Disaster) -> Chaos {
    Chaos { at: millis * MILLIS, what }
}

/// A crash at the `after_ops`-th op of the disk from then on.
fn crash(power: bool, after_ops: u32) -> Disaster {
    Disaster::Crash { power, after_ops, down: 20 * MILLIS, again_after_ops: None, harm: Vec::new() }
}

fn crash_and_harm(power: bool, after_ops: u32, harm: Vec<Harm>) -> Disaster {
    Disaster::Crash { power, after_ops, down: 20 * MILLIS, again_after_ops: None, harm }
}
