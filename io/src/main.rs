//! The `highwater` binary.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Drive a Kafka broker, this one or another, and measure it.
    Bench(highwater_io::bench::Args),
}

fn main() -> ExitCode {
    match Cli::parse().mode {
        Mode::Bench(args) => highwater_io::bench::run(args),
    }
}
