//! `highwater log`: the files of a data folder, read offline with the core's own readers.
//!
//! Nothing here writes but the folder's lock, and nothing is repaired.

mod dump;
mod verify;

use clap::{Args as ClapArgs, Subcommand};
use std::io;
use std::path::PathBuf;

#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print what files hold: segments, their chunk tables, journal files, checkpoints, the format file
    Dump {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// One JSON object for each line
        #[arg(long)]
        json: bool,
    },
    /// Hold every file of a data folder against its checksums; no broker may run on it
    Verify {
        /// The data folder
        folder: PathBuf,
        /// One JSON object for each fault, and one at the end
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: &Args) -> io::Result<()> {
    match &args.command {
        Command::Dump { files, json } => dump::run(files, *json),
        Command::Verify { folder, json } => verify::run(folder, *json),
    }
}
