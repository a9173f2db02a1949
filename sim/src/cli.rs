//! `highwater sim`: replay one seed and tell its story, or sweep many.

use crate::faults::Fault;
use crate::plan::Plan;
use crate::report::{Report, Story};
use crate::run::{
    ALL_FAULTS_FROM, RECORDS_PROMISED, Sweep, held, median, name_panics, replay, run_seed, run_story, sweep,
};
use crate::shrink::shrink;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Instant;

/// Prints a line. Fails, and does not panic as `println!` does, where whoever reads it has read enough.
fn print_line(line: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Replay a seed, or sweep many.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The seed to replay.
    seed: Option<u64>,
    /// How many seeds to sweep.
    #[arg(long, conflicts_with = "seed", env = "HIGHWATER_SEEDS")]
    seeds: Option<u64>,
    /// The first seed of the sweep.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop at the first failure.
    #[arg(long)]
    first: bool,
    /// Threads; all cores if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
    /// Make the seed's plan as small as its failure allows, and print it.
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Tell every op of the disk as well.
    #[arg(long, requires = "seed")]
    ops: bool,
    /// Print the hash of the trace: equal for equal runs.
    #[arg(long)]
    trace: bool,
}

pub fn run(args: Args) -> ExitCode {
    name_panics();
    let ended = match (args.seed, args.seeds) {
        (Some(seed), _) => replay_one(seed, &args),
        (None, Some(count)) => sweep_many(count, &args),
        (None, None) => {
            eprintln!("say which seed to replay (highwater sim 7), or how many to sweep (highwater sim --seeds 1000)");
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(good) => verdict(good),
        // Whoever reads our output has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("highwater sim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the smallest plan that fails as this seed does. Gives, as those below, whether all was well.
fn shrink_one(seed: u64) -> io::Result<bool> {
    let Some(failure) = run_seed(seed, false).failure else {
        print_line(format_args!("seed {seed} keeps every invariant: there is nothing to shrink"))?;
        return Ok(true);
    };
    let bar = ProgressBar::new_spinner().with_message("plans tried");
    let (plan, report) = shrink(Plan::draw(seed), failure.invariant, |_| bar.inc(1));
    bar.finish_and_clear();
    print_line(format_args!("{plan:#?}"))?;
    let failure = report.failure.expect("it still fails");
    print_line(format_args!("{}: {}", failure.invariant.name(), failure.detail))?;
    Ok(false)
}

fn replay_one(seed: u64, args: &Args) -> io::Result<bool> {
    if args.shrink {
        return shrink_one(seed);
    }
    let story = Story { told: !args.json && !args.trace, ops: args.ops, lines: Vec::new() };
    let plan = Plan::draw(seed);
    if story.told {
        print_line(format_args!("seed {seed}"))?;
        for line in plan.describe() {
            print_line(format_args!("  {line}"))?;
        }
        print_line(format_args!(""))?;
    }
    let report = held(run_story(plan, story));
    if args.json {
        print_line(format_args!("{}", report_json(&report)))?;
    } else if args.trace {
        print_line(format_args!("{:016x}", report.trace))?;
    } else {
        tell(&report)?;
    }
    Ok(report.failure.is_none())
}

fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(report: &Report) -> io::Result<()> {
    for line in &report.story {
        print_line(format_args!("{line}"))?;
    }
    let stats = &report.stats;
    print_line(format_args!(""))?;
    print_line(format_args!("seed {}, trace {:016x}", report.seed, report.trace))?;
    print_line(format_args!(
        "{:.3} s of virtual time, {} events, {} disk ops",
        report.virtual_ns as f64 / 1e9,
        stats.events,
        stats.disk_ops
    ))?;
    print_line(format_args!(
        "{} produce and {} fetch requests; {} records acknowledged, {} of them read back; {} offsets committed",
        stats.produces, stats.fetches, stats.records_acked, stats.records_read, stats.commits
    ))?;
    print_line(format_args!(
        "{} crashes, {} recoveries, {} audits; {} checkpoints, {} journal files begun, {} segments begun, {} refusals",
        stats.crashes,
        stats.recoveries,
        stats.audits,
        stats.checkpoints,
        stats.journal_turns,
        stats.segments,
        stats.refusals
    ))?;
    let fired: Vec<String> = report
        .counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(fault, count)| format!("{} {count}", fault.name()))
        .collect();
    print_line(format_args!("faults: {}", fired.join(", ")))?;
    match &report.failure {
        None => print_line(format_args!("verdict: every invariant held")),
        Some(failure) => {
            print_line(format_args!("verdict: BROKEN: {}\n  {}", failure.invariant.name(), failure.detail))?;
            let replay = replay(report.seed);
            print_line(format_args!(
                "  again: {replay}\n  with every op of the disk: {replay} --ops\n  the smallest plan that fails so: {replay} --shrink"
            ))
        }
    }
}

fn report_json(report: &Report) -> Value {
    let stats = &report.stats;
    let faults: Map<String, Value> =
        report.counts.iter().map(|(fault, count)| (fault.name().to_string(), json!(count))).collect();
    json!({
        "seed": report.seed,
        "trace": format!("{:016x}", report.trace),
        "failure": report.failure.as_ref().map(|failure| json!({
            "invariant": failure.invariant.name(),
            "detail": failure.detail,
            "replay": replay(report.seed),
        })),
        "virtual_seconds": report.virtual_ns as f64 / 1e9,
        "events": stats.events,
        "disk_ops": stats.disk_ops,
        "produce_requests": stats.produces,
        "fetch_requests": stats.fetches,
        "records_acked": stats.records_acked,
        "records_read": stats.records_read,
        "commits": stats.commits,
        "crashes": stats.crashes,
        "recoveries": stats.recoveries,
        "audits": stats.audits,
        "checkpoints": stats.checkpoints,
        "journal_files_begun": stats.journal_turns,
        "segments_begun": stats.segments,
        "refusals": stats.refusals,
        "faults": faults,
    })
}

fn sweep_many(count: u64, args: &Args) -> io::Result<bool> {
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let seeds: Vec<u64> = (args.from..args.from.saturating_add(count)).collect();
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new(count) };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds  {per_sec}  {eta}").expect("it is a template");
    bar.set_style(style);
    let began = Instant::now();
    let result = sweep(&seeds, threads, args.first, |report| {
        bar.inc(1);
        if let Some(failure) = &report.failure {
            bar.suspend(|| {
                eprintln!("seed {}: {}: {}", report.seed, failure.invariant.name(), failure.detail);
                eprintln!("  replay: {}", replay(report.seed));
            });
        }
    });
    bar.finish_and_clear();
    let silent = if result.seeds >= ALL_FAULTS_FROM { result.silent() } else { Vec::new() };
    let few = result.seeds >= ALL_FAULTS_FROM && median(&result.records) < RECORDS_PROMISED;
    if args.json {
        print_line(format_args!("{}", sweep_json(&result, &silent, began.elapsed().as_secs_f64())))?;
    } else {
        print_sweep(&result, &silent, began.elapsed().as_secs_f64(), args.trace)?;
    }
    if few {
        eprintln!("{RECORDS_PROMISED} records acknowledged and read back are promised at the median");
    }
    Ok(result.failed.is_empty() && silent.is_empty() && !few)
}

fn print_sweep(sweep: &Sweep, silent: &[Fault], seconds: f64, trace: bool) -> io::Result<()> {
    let mut group = "";
    for (fault, count) in sweep.counts.iter() {
        if fault.group() != group {
            group = fault.group();
            print_line(format_args!("{group}"))?;
        }
        print_line(format_args!("  {count:>10}  {}", fault.name()))?;
    }
    let virtual_seconds = sweep.virtual_ns as f64 / 1e9;
    print_line(format_args!(
        "{} seeds in {seconds:.1} s ({:.1} a second); {:.0} s of virtual time ({:.0} times real); {} events",
        sweep.seeds,
        sweep.seeds as f64 / seconds,
        virtual_seconds,
        virtual_seconds / seconds,
        sweep.events
    ))?;
    print_line(format_args!(
        "at the median {} requests, {} records acknowledged and read back, {} offsets committed, {} crashes, {} checkpoints, {} journal files begun, {} segments begun; {} refusals in all",
        median(&sweep.requests),
        median(&sweep.records),
        median(&sweep.commits),
        median(&sweep.crashes),
        median(&sweep.checkpoints),
        median(&sweep.journal_turns),
        median(&sweep.segments),
        sweep.refusals
    ))?;
    if trace {
        print_line(format_args!("trace {:016x}", sweep.trace))?;
    }
    for fault in silent {
        print_line(format_args!("never fired: {}", fault.name()))?;
    }
    print_line(format_args!("{} passed, {} failed", sweep.seeds - sweep.failed.len() as u64, sweep.failed.len()))
}

fn sweep_json(sweep: &Sweep, silent: &[Fault], seconds: f64) -> Value {
    let faults: Map<String, Value> =
        sweep.counts.iter().map(|(fault, count)| (fault.name().to_string(), json!(count))).collect();
    let failed: Vec<Value> = sweep.failed.iter().map(report_json).collect();
    let silent: Vec<&str> = silent.iter().map(|fault| fault.name()).collect();
    json!({
        "seeds": sweep.seeds,
        "failed": failed,
        "seconds": seconds,
        "virtual_seconds": sweep.virtual_ns as f64 / 1e9,
        "events": sweep.events,
        "median_requests": median(&sweep.requests),
        "median_records": median(&sweep.records),
        "minimum_crashes": sweep.crashes.iter().min(),
        "trace": format!("{:016x}", sweep.trace),
        "faults": faults,
        "never_fired": silent,
    })
}
