//! Running seeds: one, or many on all cores; and what a failed assertion becomes.
//!
//! Invariant: a seed's report depends on the seed alone, not on which thread ran it or what ran before.

use crate::faults::{Counts, Fault};
use crate::plan::Plan;
use crate::report::{Failure, Invariant, Report, Story};
use crate::world::World;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

thread_local! {
    /// The seed that this thread runs, for the panic hook.
    static RUNNING: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A sweep of this many seeds must have fired every fault.
pub const ALL_FAULTS_FROM: u64 = 1_000;
/// Records acknowledged and read back in a default seed, at the median.
pub const RECORDS_PROMISED: u64 = 10_000;

/// The seeds to try: `HIGHWATER_SEED` pins one, `HIGHWATER_SEEDS` says how many.
pub fn seeds(count: u64) -> Vec<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is {text:?}; a number is needed")))
    };
    match number("HIGHWATER_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("HIGHWATER_SEEDS").unwrap_or(count)).collect(),
    }
}

/// The command that replays a seed.
pub fn replay(seed: u64) -> String {
    format!("cargo run --release -- sim {seed}")
}

/// Makes a failed assertion say whose it is. In a build that aborts on panic this line is the report.
pub fn name_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| match RUNNING.get() {
        Some(seed) => {
            let name = Invariant::Panics.name();
            eprintln!("seed {seed}: {name}: {info}\n  replay: {}", replay(seed));
            if cfg!(panic = "abort") {
                std::process::exit(1);
            }
        }
        None => before(info),
    }));
}

/// A default seed: held to what it promises to do, as well.
pub fn run_seed(seed: u64, told: bool) -> Report {
    held(run_plan(Plan::draw(seed), told))
}

/// The report, failed where the run was less than a default seed promises. One beyond the budget ends early, and where
/// damage is refused there may be nothing left to ask for.
pub fn held(mut report: Report) -> Report {
    let refused = report.stats.refusals > 0;
    if report.failure.is_none()
        && !report.stats.beyond
        && !refused
        && let Some(detail) = report.stats.unkept()
    {
        report.failure = Some(Failure { invariant: Invariant::Search, detail });
    }
    report
}

pub fn run_plan(plan: Plan, told: bool) -> Report {
    run_story(plan, Story { told, ..Story::default() })
}

pub fn run_story(plan: Plan, story: Story) -> Report {
    let seed = plan.seed;
    RUNNING.set(Some(seed));
    let mut world = World::new(plan, story);
    let caught = catch_unwind(AssertUnwindSafe(|| world.run()));
    RUNNING.set(None);
    if let Err(panic) = caught {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        let detail = text.unwrap_or_else(|| "a panic without words".to_string());
        world.failure = Some(Failure { invariant: Invariant::Panics, detail });
    }
    world.stats.records_acked = world.ledger.records_acked;
    world.stats.records_read = world.ledger.records_read;
    world.stats.beyond = world.ledger.beyond || world.ledger.parts.iter().any(|part| part.may_lose);
    world.stats.commits = world.ledger.claims.acked;
    world.stats.connections = world.net.made();
    world.stats.partitions = world.ledger.parts.len() as u64;
    Report {
        seed,
        failure: world.failure,
        trace: world.trace.hash(),
        virtual_ns: world.queue.now(),
        counts: world.counts,
        stats: world.stats,
        story: world.story.lines,
    }
}

/// What a sweep found.
#[derive(Default)]
pub struct Sweep {
    pub seeds: u64,
    pub failed: Vec<Report>,
    pub counts: Counts,
    pub virtual_ns: u64,
    pub events: u64,
    pub requests: Vec<u64>,
    pub records: Vec<u64>,
    pub commits: Vec<u64>,
    pub crashes: Vec<u64>,
    pub checkpoints: Vec<u64>,
    pub journal_turns: Vec<u64>,
    pub segments: Vec<u64>,
    pub refusals: u64,
    /// All seeds' traces in the order of the seeds, as one number.
    pub trace: u64,
}

impl Sweep {
    fn take(&mut self, report: Report) {
        self.seeds += 1;
        self.counts.merge(&report.counts);
        self.virtual_ns += report.virtual_ns;
        self.events += report.stats.events;
        self.requests.push(report.stats.produces + report.stats.fetches);
        self.records.push(report.stats.records_read);
        self.commits.push(report.stats.commits);
        self.crashes.push(report.stats.crashes);
        self.checkpoints.push(report.stats.checkpoints);
        self.journal_turns.push(report.stats.journal_turns);
        self.segments.push(report.stats.segments);
        self.refusals += report.stats.refusals;
        // Addition forgets the order in which threads finish.
        self.trace = self.trace.wrapping_add(report.trace.wrapping_mul(report.seed.wrapping_mul(2) | 1));
        if report.failure.is_some() {
            self.failed.push(report);
        }
    }

    /// Faults that never fired.
    pub fn silent(&self) -> Vec<Fault> {
        self.counts.iter().filter(|(_, count)| *count == 0).map(|(fault, _)| fault).collect()
    }
}

/// The middle of a list, 0 of none.
pub fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// Runs the seeds on `threads` threads; `each` sees every report as it comes. Stops at the first failure if asked to.
pub fn sweep(seeds: &[u64], threads: usize, first_only: bool, each: impl Fn(&Report) + Sync) -> Sweep {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Sweep::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) else { return };
                    let report = run_seed(*seed, false);
                    each(&report);
                    if report.failure.is_some() && first_only {
                        stop.store(true, Ordering::Relaxed);
                    }
                    total.lock().expect("no thread panics with it").take(report);
                }
            });
        }
    });
    let mut sweep = total.into_inner().expect("no thread panicked");
    sweep.failed.sort_by_key(|report| report.seed);
    sweep
}
