//! The command line: a table of what this program can do.

use crate::bench;
use crate::serve;
use crate::settings::ServeArgs;
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
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
    /// Drive a Kafka broker, this one or another, and measure it
    Bench(bench::Args),
    /// Replay a simulated run from its seed, or sweep many
    Sim(highwater_sim::cli::Args),
}

/// Does what the command line asks.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => serve_logged(&cli.serve),
        Some(Command::Serve(args)) => serve_logged(&args),
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
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(std::io::stderr);
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
