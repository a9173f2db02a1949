//! The seed sweep: every seed is one run of the simulator, and every invariant must hold in it.
//!
//! `HIGHWATER_SEEDS` says how many (200 if not set), `HIGHWATER_SEED` pins one. Each seed is held to what a default seed
//! promises to do (see `Stats::unkept`), all of them together to the median, a thousand of them to every fault.

use highwater_sim::run::{ALL_FAULTS_FROM, RECORDS_PROMISED, median, name_panics, replay, seeds, sweep};

#[test]
fn every_seed_keeps_every_invariant() {
    name_panics();
    let seeds = seeds(200);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let result = sweep(&seeds, threads, false, |_| {});
    for report in &result.failed {
        let failure = report.failure.as_ref().expect("it failed");
        eprintln!("seed {}: {}: {}", report.seed, failure.invariant.name(), failure.detail);
        eprintln!("  replay: {}", replay(report.seed));
    }
    assert!(result.failed.is_empty(), "{} of {} seeds failed", result.failed.len(), result.seeds);
    assert_eq!(result.seeds, seeds.len() as u64);
    if seeds.len() > 1 {
        let records = median(&result.records);
        assert!(records >= RECORDS_PROMISED, "{records} records acknowledged and read back at the median");
    }
    if result.seeds >= ALL_FAULTS_FROM {
        let silent: Vec<&str> = result.silent().iter().map(|fault| fault.name()).collect();
        assert!(silent.is_empty(), "never fired in {} seeds: {}", result.seeds, silent.join(", "));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..3 {
        let trace = |seed| highwater_sim::run::run_seed(seed, false).trace;
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}
