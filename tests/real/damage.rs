//! A data folder in which bytes were changed while nobody ran: the node says what is damaged, or serves; it never panics, and
//! it never serves other bytes than were written.

use crate::broker::highwater;
use crate::client::{Client, batch, values};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TOPIC: &str = "damage";
const PARTITIONS: i32 = 4;
const ROUNDS: u64 = 16;

/// xorshift: a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// What a start came to: an address where it serves, or its exit code; and everything it said.
struct Started {
    child: Child,
    address: Option<std::net::SocketAddr>,
    said: std::thread::JoinHandle<String>,
}

fn start(data: &Path) -> Started {
    let mut command = highwater(&["--data", data.to_str().expect("UTF-8"), "--listen", "127.0.0.1:0", "--shards", "2"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut err = child.stderr.take().expect("piped");
    let said = std::thread::spawn(move || {
        let mut text = Vec::new();
        err.read_to_end(&mut text).expect("what it said");
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line or the end");
    let address = line.strip_prefix("highwater ready on ").and_then(|rest| rest.split(", ").next()?.parse().ok());
    Started { child, address, said }
}

impl Started {
    /// Stops it, if it serves, and returns how it ended and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        if self.address.is_some() {
            let pid = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signaled");
        }
        let begun = Instant::now();
        while self.child.try_wait().expect("a child").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().expect("a child");
        (status.code(), self.said.join().expect("read"))
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
    found.sort();
}

/// The journal is mostly zeros, which need not be written again.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "cp: {copied}");
}

/// What was written, by partition.
type Written = BTreeMap<i32, Vec<Vec<u8>>>;

fn write(client: &mut Client, written: &mut Written, random: &mut Random) {
    for round in 0..60 {
        for partition in 0..PARTITIONS {
            let value = format!("value {round} of {partition} {}", "x".repeat(random.below(20_000))).into_bytes();
            let (error, _) = client.produce(TOPIC, partition, &batch(&[&value]));
            assert_eq!(error, 0);
            written.entry(partition).or_default().push(value);
        }
    }
}

/// Changes up to eight bytes of one file: of what is there, not of the zeros behind it.
fn harm(data: &Path, random: &mut Random) -> String {
    let mut all = Vec::new();
    files(data, &mut all);
    let path = all.swap_remove(random.below(all.len()));
    let mut bytes = std::fs::read(&path).expect("read");
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if end == 0 {
        return format!("{} holds nothing", path.display());
    }
    let at = random.below(end);
    let until = (at + 1 + random.below(8)).min(end);
    bytes[at..until].iter_mut().for_each(|byte| *byte ^= 0x41);
    std::fs::write(&path, bytes).expect("written");
    format!("{} bytes {at} to {until} of {end}", path.strip_prefix(data).expect("inside").display())
}

/// Everything that is served is what was written, in order and from the beginning.
fn assert_true(address: std::net::SocketAddr, written: &Written, harmed: &str) -> usize {
    let mut client = Client::connect(address);
    let mut served = 0;
    for (partition, expected) in written {
        let mut offset = 0;
        loop {
            let fetched = client.fetch(TOPIC, *partition, offset as i64);
            if fetched.error != 0 || fetched.records.is_empty() {
                break;
            }
            for (base, batch) in values(&fetched.records) {
                for (index, value) in batch.iter().enumerate() {
                    let at = base as usize + index;
                    let same = expected.get(at).is_some_and(|expected| expected == value);
                    assert!(same, "{harmed}: partition {partition} serves other bytes at offset {at}");
                    offset = at + 1;
                }
            }
        }
        served += offset;
    }
    served
}

#[test]
fn changed_bytes_of_a_stopped_node_are_named_or_do_not_matter() {
    let folder = tempfile::tempdir().expect("folder");
    let whole = folder.path().join("whole");
    let mut random = Random(0x5eed_0002);
    let mut written = Written::new();
    let first = start(&whole);
    let mut client = Client::connect(first.address.expect("it serves"));
    assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
    write(&mut client, &mut written, &mut random);
    let (code, said) = first.end();
    assert_eq!(code, Some(0), "{said}");
    let (mut served, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let data = folder.path().join(format!("round-{round}"));
        copy(&whole, &data);
        let harmed = harm(&data, &mut random);
        let started = start(&data);
        match started.address {
            Some(address) => served += usize::from(assert_true(address, &written, &harmed) > 0),
            None => refused += 1,
        }
        let serves = started.address.is_some();
        let (code, said) = started.end();
        assert!(!said.contains("panicked"), "{harmed}: {said}");
        assert!(code.is_some(), "{harmed}: ended by a signal: {said}");
        assert!(serves || (code != Some(0) && !said.trim().is_empty()), "{harmed}: exit code {code:?}: {said}");
        std::fs::remove_dir_all(&data).expect("removed");
    }
    println!("{ROUNDS} rounds: {served} served, {refused} refused to start");
    assert!(served > 0, "no round served anything");
}
