//! The real binary, started on a folder of its own and ended with the test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// The binary with a clean environment: what the developer has set must not leak in.
pub fn highwater(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    for (name, _) in std::env::vars() {
        if name.starts_with("HIGHWATER_") {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end: exit code, stdout, stderr.
pub fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = highwater(args).output().expect("started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A broker that has printed its ready line.
pub struct Broker {
    child: Child,
    pub ready_line: String,
    pub address: SocketAddr,
    folder: Option<TempDir>,
    pub data: PathBuf,
}

impl Broker {
    /// On a free port and a new folder.
    pub fn start(args: &[&str]) -> Broker {
        let folder = tempfile::tempdir().expect("folder");
        let data = folder.path().join("data");
        let mut broker = Broker::start_on(&data, args);
        broker.folder = Some(folder);
        broker
    }

    /// On a new folder, with so many descriptors.
    pub fn start_limited(descriptors: u32, args: &[&str]) -> Broker {
        let folder = tempfile::tempdir().expect("folder");
        let data = folder.path().join("data");
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_highwater"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).arg("--data").arg(&data);
        let mut broker = Broker::spawn(command, &data, args);
        broker.folder = Some(folder);
        broker
    }

    pub fn start_on(data: &Path, args: &[&str]) -> Broker {
        Broker::spawn(highwater(&["--data", data.to_str().expect("UTF-8")]), data, args)
    }

    fn spawn(mut command: Command, data: &Path, args: &[&str]) -> Broker {
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.args(args).stderr(Stdio::inherit()).spawn().expect("started");
        let mut ready_line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut ready_line).expect("a line");
        let ready_line = ready_line.trim_end().to_owned();
        let address = ready_line.strip_prefix("highwater ready on ").and_then(|rest| rest.split(", ").next());
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("not a ready line: {ready_line:?}"));
        Broker { child, ready_line, address, folder: None, data: data.to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signaled");
    }

    /// How it ended, how long that took, and what else it printed.
    pub fn wait(&mut self) -> (ExitStatus, Duration, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "the broker does not end");
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = start.elapsed();
        let mut rest = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut rest).expect("UTF-8");
        (status, took, rest)
    }

    /// As if the power went, but for the page cache.
    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
