//! The files of a data folder, read without a broker: a clean one is clean, and a flipped byte is found in whatever file it
//! is, named with its place.

use crate::broker::{Broker, highwater, run};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A folder that was served, filled beyond one segment and stopped.
fn stopped() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut broker = Broker::start_on(&data, &["--shards", "2"]);
    let address = broker.address.to_string();
    let create = ["topic", "create", "t", "--partitions", "3", "--config", "segment.bytes=1048576"];
    let (code, _, err) = run(&[&create[..], &["--bootstrap", &address]].concat());
    assert_eq!(code, Some(0), "{err}");
    let mut producing = highwater(&["produce", "t", "--quiet", "--bootstrap", &address]);
    let mut child = producing.stdin(Stdio::piped()).spawn().expect("started");
    let mut input = child.stdin.take().expect("piped");
    for number in 0..60_000 {
        writeln!(input, "{number:0100}").expect("taken");
    }
    drop(input);
    assert!(child.wait().expect("ended").success());
    let (code, out, err) = run(&["log", "verify", data.to_str().expect("UTF-8")]);
    assert!(code == Some(1) && err.contains("use"), "it is served: {out}{err}");
    broker.signal(Signal::TERM);
    assert!(broker.wait().0.success());
    (folder, data)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("listed").flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Where a byte of this file counts: in the middle of what was written.
fn byte_that_counts(path: &Path, name: &str) -> Option<u64> {
    let bytes = fs::read(path).expect("read");
    match name {
        "lock" => None,
        // The second frame: behind the first sector there is one, where anything was written.
        _ if name.starts_with("journal-") => bytes.get(4096..4100).filter(|magic| *magic == b"HWJ1").map(|_| 4096 + 90),
        _ if name.starts_with("checkpoint") => Some(60),
        _ => (bytes.len() > 50).then_some(bytes.len() as u64 / 2),
    }
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
}

#[test]
fn a_cleanly_stopped_folder_is_clean_and_a_flipped_byte_in_each_kind_of_file_is_named() {
    let (_folder, data) = stopped();
    let verify = ["log", "verify", data.to_str().expect("UTF-8")];
    let (code, out, err) = run(&verify);
    assert!(code == Some(0) && out.contains("all is as it was written"), "{out}{err}");
    let mut kinds = BTreeSet::new();
    for path in files(&data) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        let Some(at) = byte_that_counts(&path, &name) else { continue };
        let kind = if name.starts_with("journal-") { "journal".to_owned() } else { name.clone() };
        let kind = kind.rsplit_once('.').map_or(kind.clone(), |(_, end)| end.to_owned());
        kinds.insert(kind);
        flip(&path, at);
        let (code, out, err) = run(&verify);
        let shown = path.strip_prefix(&data).expect("below").to_str().expect("UTF-8");
        assert!(code == Some(1) && out.contains(shown), "{shown}, byte {at}: {out}{err}");
        let (_, out, _) = run(&[&verify[..], &["--json"]].concat());
        assert!(out.contains(&format!(r#""path":"{shown}""#)), "{shown}: {out}");
        flip(&path, at);
    }
    let wanted = ["checkpoint", "chunks", "format", "journal", "log", "mirror"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    let (code, out, err) = run(&verify);
    assert_eq!(code, Some(0), "all bytes are back: {out}{err}");
}

#[test]
fn a_file_that_is_gone_or_cut_is_missed() {
    let (_folder, data) = stopped();
    let verify = ["log", "verify", data.to_str().expect("UTF-8")];
    let logs: Vec<PathBuf> =
        files(&data).into_iter().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    let largest = logs.iter().max_by_key(|path| fs::metadata(path).expect("there").len()).expect("a segment");
    let bytes = fs::read(largest).expect("read");
    let shown = largest.strip_prefix(&data).expect("below").to_str().expect("UTF-8").to_owned();
    fs::write(largest, &bytes[..bytes.len() / 2]).expect("cut");
    let (code, out, _) = run(&verify);
    assert!(code == Some(1) && out.contains(&shown) && out.contains("the file ends at byte"), "{out}");
    fs::remove_file(largest).expect("removed");
    let (code, out, _) = run(&verify);
    assert!(code == Some(1) && out.contains(&shown) && out.contains("No such file"), "{out}");
    let (code, _, err) = run(&["log", "verify", "/nonexistent/folder"]);
    assert!(code == Some(1) && err.contains("/nonexistent/folder"), "{err}");
}

#[test]
fn a_folder_whose_broker_was_killed_is_clean_too() {
    let mut broker = Broker::start(&["--shards", "2"]);
    let address = broker.address.to_string();
    let mut producing = highwater(&["produce", "t", "--quiet", "--bootstrap", &address]);
    let mut child = producing.stdin(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("piped").write_all("a line\n".repeat(20_000).as_bytes()).expect("taken");
    assert!(child.wait().expect("ended").success());
    broker.kill();
    let (code, out, err) = run(&["log", "verify", broker.data.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn every_kind_of_file_is_dumped() {
    let (_folder, data) = stopped();
    for path in files(&data) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        if name == "lock" {
            continue;
        }
        let text = path.to_str().expect("UTF-8");
        let (code, out, err) = run(&["log", "dump", text]);
        assert!(code == Some(0) && !out.is_empty(), "{name}: {out}{err}");
        let (code, json, err) = run(&["log", "dump", "--json", text]);
        assert!(code == Some(0) && json.lines().all(|line| line.starts_with('{')), "{name}: {json}{err}");
        let told = match name.as_str() {
            "format" => "2 shards",
            _ if name.starts_with("checkpoint") => "HIGH WATERMARK",
            _ if name.ends_with(".chunks") => "BATCHES",
            _ if name.starts_with("journal-") && out.contains("FRAME") => "DURABLE TO",
            _ => "OFFSETS",
        };
        assert!(out.contains(told), "{name} does not tell {told}: {out}");
    }
    let mut segments = files(&data).into_iter().filter(|path| path.extension().is_some_and(|e| e == "log"));
    let (segment, other) = (segments.next().expect("one"), segments.next().expect("two"));
    flip(&segment, 30);
    let (segment, other) = (segment.to_str().expect("UTF-8"), other.to_str().expect("UTF-8"));
    let (code, _, err) = run(&["log", "dump", segment]);
    assert!(code == Some(1) && err.contains("checksum") && err.contains("byte 0"), "{err}");
    // As a shell hands over the files of all partitions: what is wrong with one of them hides no other.
    let (code, out, err) = run(&["log", "dump", segment, other]);
    assert!(code == Some(1) && err.contains(segment) && !err.contains(other), "{err}");
    assert!(out.contains(&format!("{segment}:\n")) && out.contains(&format!("{other}:\n")), "{out}");
}
