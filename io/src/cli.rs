//! The command line: a table of what this program can do.

use crate::bench;
use crate::commands::{config, consume, finish, group, log, produce, quota, topic};
use crate::serve;
use crate::settings::ServeArgs;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::filter::LevelFilter;

const DEFAULT_LOG: &str = "info";

/// A replicated log that speaks the Kafka protocol.
#[derive(Parser, Debug)]
#[command(name = "highwater", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a broker (the default)
    Serve(ServeArgs),
    /// Print every configuration: its type, default and meaning
    Config(config::Args),
    /// Make, list, describe and delete topics
    Topic(topic::Args),
    /// List, describe, reset and delete consumer groups
    Group(group::Args),
    /// List, set and delete quotas of users, clients and addresses
    Quota(quota::Args),
    /// Write a record for each line of stdin
    Produce(produce::Args),
    /// Print the records of a topic
    Consume(consume::Args),
    /// Read the files of a data folder, offline
    Log(log::Args),
    /// Drive a Kafka broker, this one or another, and measure it
    Bench(bench::Args),
    /// Replay a simulated run from its seed, or sweep many
    Sim(highwater_sim::cli::Args),
    /// Print a shell's completions for this program
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Does what the command line asks.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => serve_logged(&cli.serve),
        Some(Command::Serve(args)) => serve_logged(&args),
        Some(Command::Config(args)) => finish(config::run(&args)),
        Some(Command::Topic(args)) => finish(topic::run(&args)),
        Some(Command::Group(args)) => finish(group::run(&args)),
        Some(Command::Quota(args)) => finish(quota::run(&args)),
        Some(Command::Produce(args)) => finish(produce::run(&args)),
        Some(Command::Consume(args)) => finish(consume::run(&args)),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "highwater", &mut script);
            finish(std::io::stdout().write_all(&script))
        }
        Some(Command::Log(args)) => finish(log::run(&args)),
        Some(Command::Bench(args)) => bench::run(args),
        Some(Command::Sim(args)) => highwater_sim::cli::run(args),
    }
}

fn serve_logged(args: &ServeArgs) -> ExitCode {
    let name = args.log.as_deref().unwrap_or(DEFAULT_LOG);
    let Ok(level) = name.parse::<LevelFilter>() else {
        eprintln!("highwater: --log: {name:?} is not one of error, warn, info, debug, trace, off");
        return ExitCode::FAILURE;
    };
    // A line that cannot be written (the log lies on the disk that is full) is lost; a complaint about it would panic.
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match args.log_format.as_deref().unwrap_or("text") {
        "text" => log.with_ansi(std::io::stderr().is_terminal()).init(),
        "json" => log.json().flatten_event(true).init(),
        other => {
            eprintln!("highwater: --log-format: {other:?} is not one of text, json");
            return ExitCode::FAILURE;
        }
    }
    serve::run(args)
}
