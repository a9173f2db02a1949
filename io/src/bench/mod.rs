//! `highwater bench`: a load generator for any Kafka broker, lean enough to leave the machine to the broker.
//!
//! One thread, one epoll. It measures throughput, latency (from the time a request was due) and, for a broker on this
//! machine, what it costs in CPU and memory. Errors are counted and reported, and make the exit code 1.

mod admin;
mod batch;
mod consume;
mod meter;
mod net;
mod produce;
#[cfg(test)]
mod tests;
mod wire;

use crate::client::cluster::Cluster;
use crate::commands::table::print_line;
use crate::process::Process;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use meter::{Line, Meter};
use std::io;
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Drive a Kafka broker, this one or another, and measure it.
#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(subcommand)]
    load: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Write batches that were encoded once, to a topic made for the run.
    Produce(Produce),
    /// Read a topic; nothing but batch headers is decoded.
    Consume(Consume),
}

#[derive(ClapArgs, Debug)]
struct Common {
    /// A broker to begin with.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Connections, spread over the brokers that lead the topic's partitions.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Seconds before anything is counted.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    warmup: Duration,
    /// The broker's process id, where it runs on this machine: measures its CPU, until it rests again, and its memory.
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// Stop after so many bytes of batches.
    #[arg(long)]
    bytes: Option<u64>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(ClapArgs, Debug)]
struct Produce {
    #[command(flatten)]
    common: Common,
    /// The topic: made for the run, deleted after it. Without a name, one of its own.
    #[arg(long)]
    topic: Option<String>,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    partitions: i32,
    /// A configuration of the topic, such as retention.bytes=1000000; may be given again.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Leave the topic in place, and use it if it is there.
    #[arg(long)]
    keep: bool,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    in_flight: u16,
    /// Bytes of the values in each record batch; headers of batch and records come on top.
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=100 << 20))]
    batch_size: u32,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=100 << 20))]
    record_size: u32,
    /// Partitions in each request, one batch each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    partitions_per_request: u32,
    /// Requests a second over all connections, due at fixed times. Without it, the next follows an answer.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, value_enum, default_value = "all")]
    acks: Acks,
    /// Seconds to measure.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// Go on, however long it takes, until so many bytes of batches are written.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    at_least: u64,
}

#[derive(ClapArgs, Debug)]
struct Consume {
    #[command(flatten)]
    common: Common,
    #[arg(long)]
    topic: String,
    #[arg(long, value_enum, default_value = "earliest")]
    from: From,
    /// Most bytes of one answer.
    #[arg(long, default_value_t = 8 << 20, value_parser = clap::value_parser!(i32).range(1..))]
    max_bytes: i32,
    /// Most bytes of one partition in an answer.
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(i32).range(1..))]
    partition_max_bytes: i32,
    /// The broker waits for so many bytes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..))]
    min_bytes: i32,
    /// Most milliseconds the broker waits for them.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i32).range(0..))]
    max_wait: i32,
    /// Check the CRC of every batch.
    #[arg(long)]
    verify: bool,
    /// Read a partition again from its start when its end, as it was at first, is reached.
    #[arg(long)]
    again: bool,
    /// Seconds to measure. Without it, until every partition's end as it was at first.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Acks {
    #[value(name = "0")]
    None,
    #[value(name = "1")]
    Leader,
    All,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Earliest,
    Latest,
}

/// Runs the load and prints what it measured.
pub fn run(args: Args) -> ExitCode {
    let result = match &args.load {
        Command::Produce(args) => produce(args).map(|meter| (meter, &args.common)),
        Command::Consume(args) => consume(args).map(|meter| (meter, &args.common)),
    };
    let printed = result.and_then(|((meter, settings), common)| {
        let report = meter.report(settings)?;
        if common.json {
            print_line(format_args!("{}", report.json()))?;
        } else {
            print_line(format_args!("{}", report.table().trim_end()))?;
        }
        Ok(meter.failed())
    });
    match printed {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("highwater bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn produce(args: &Produce) -> io::Result<(Meter, Vec<Line>)> {
    // Requests of a fixed rate are due to the microsecond; the kernel's usual slack for timers is fifty.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    let records = (args.batch_size / args.record_size).max(1);
    let topic = args.topic.clone().unwrap_or_else(|| format!("bench-{}", now.as_micros()));
    let load = produce::Load {
        topic: topic.clone(),
        batch: batch::encode(records as usize, args.record_size as usize, now.as_millis() as i64),
        records_per_batch: u64::from(records),
        connections: usize::from(args.common.connections),
        in_flight: usize::from(args.in_flight),
        partitions_per_request: args.partitions_per_request as usize,
        rate: args.rate.filter(|rate| *rate > 0.0),
        acks: args.acks.on_the_wire(),
        timeout_ms: 30_000,
        warmup: args.common.warmup,
        duration: args.duration,
        bytes: args.common.bytes,
        at_least: args.at_least,
    };
    let mut cluster = Cluster::open(&args.common.bootstrap)?;
    if let Err(error) = admin::create_topic(&mut cluster, &topic, args.partitions, &args.configs) {
        let there = args.keep && error.to_string().contains("TOPIC_ALREADY_EXISTS");
        if !there {
            return Err(error);
        }
    }
    let leaders = admin::leaders(&mut cluster, &topic)?;
    let mut meter = Meter::begin(args.common.broker_pid.map(Process))?;
    produce::run(&load, &leaders, &mut meter)?;
    let mut settings = vec![
        Line::text("load", "produce"),
        Line::text("topic", &topic),
        Line::number("partitions", f64::from(args.partitions), ""),
        Line::number("connections", f64::from(args.common.connections), ""),
        Line::number("in flight", f64::from(args.in_flight), ""),
        Line::number("batch bytes", load.batch.len() as f64, ""),
        Line::number("partitions per request", f64::from(args.partitions_per_request), ""),
        Line::number("acks", f64::from(load.acks), ""),
    ];
    if let Some(rate) = load.rate {
        settings.push(Line::number("rate", rate, "per s"));
    }
    meter.settle()?;
    if !args.keep {
        // A connection of its own: a broker may have closed the first one, idle for so long.
        admin::delete_topic(&mut Cluster::open(&args.common.bootstrap)?, &topic)?;
    }
    Ok((meter, settings))
}

fn consume(args: &Consume) -> io::Result<(Meter, Vec<Line>)> {
    let load = consume::Load {
        topic: args.topic.clone(),
        connections: usize::from(args.common.connections),
        from_latest: args.from == From::Latest,
        max_bytes: args.max_bytes,
        partition_max_bytes: args.partition_max_bytes,
        min_bytes: args.min_bytes,
        max_wait_ms: args.max_wait,
        verify: args.verify,
        again: args.again,
        warmup: args.common.warmup,
        duration: args.duration,
        bytes: args.common.bytes,
    };
    if load.again && load.duration.is_none() && load.bytes.is_none() {
        return Err(io::Error::other("--again never ends: give --duration or --bytes too"));
    }
    let mut cluster = Cluster::open(&args.common.bootstrap)?;
    let mut meter = Meter::begin(args.common.broker_pid.map(Process))?;
    consume::run(&load, &mut cluster, &mut meter)?;
    meter.settle()?;
    let settings = vec![
        Line::text("load", "consume"),
        Line::text("topic", &args.topic),
        Line::number("connections", f64::from(args.common.connections), ""),
        Line::number("max bytes", f64::from(args.max_bytes), ""),
    ];
    Ok((meter, settings))
}

impl Acks {
    fn on_the_wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text} is not a number of seconds from 0 to 1,000,000");
    let seconds: f64 = text.parse().map_err(|_| bad())?;
    if (0.0..=1e6).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(bad()) }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text} is not of the form KEY=VALUE"))?;
    Ok((key.to_string(), value.to_string()))
}
