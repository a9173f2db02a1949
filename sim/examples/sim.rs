//! The simulator without the rest of the program: `cargo run --release -p highwater-sim --example sim -- 7`.

use clap::Parser;
use highwater_sim::cli;
use std::process::ExitCode;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: cli::Args,
}

fn main() -> ExitCode {
    cli::run(Command::parse().args)
}
