//! What the program does besides serving: a command each, all of them clients like any other or readers of files.
//!
//! ```text
//! config                    what can be set
//! topic, group, quota       a broker's topics, groups and quotas
//! produce, consume          records, a line each
//! log                       the files of a data folder, offline
//! ```
//!
//! What people read goes to stdout as a table, what programs read as JSON (`--json`), and what went wrong to stderr, one line
//! that names the value. Exit codes: 0 done, 1 refused or failed, 2 wrong usage (clap's).

pub mod config;
pub mod consume;
pub mod group;
pub mod log;
pub mod produce;
pub mod quota;
pub mod table;
pub mod topic;

use crate::client::cluster::Cluster;
use clap::Args;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// Which cluster is asked.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// A broker of the cluster
    #[arg(long, value_name = "HOST:PORT", env = "HIGHWATER_BOOTSTRAP", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
}

impl Target {
    pub fn open(&self) -> io::Result<Cluster> {
        Cluster::open(&self.bootstrap)
    }
}

/// The exit code of what was done, and the line that says why it was not.
pub fn finish(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("highwater: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `KEY=VALUE`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form KEY=VALUE"))?;
    if key.is_empty() {
        return Err(format!("{text:?} has no key before its ="));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Tries one thing after another, and goes on behind what fails: each failure gets its line, and fails the whole.
pub fn each<T>(items: &[T], mut act: impl FnMut(&T) -> io::Result<()>) -> io::Result<()> {
    let mut last = None;
    for item in items {
        if let Err(error) = act(item)
            && let Some(before) = last.replace(error)
        {
            eprintln!("highwater: {before}");
        }
    }
    last.map_or(Ok(()), Err)
}
