//! The real binary as its operator sees it: flags, messages, folders, signals.

use crate::broker::{Broker, highwater, run};
use std::time::Duration;

/// Ends with code 1 and a message that holds all of these.
fn assert_refused(args: &[&str], parts: &[&str]) {
    let (code, out, err) = run(args);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}: {err}");
    for part in parts {
        assert!(err.contains(part), "{args:?} should say {part:?}: {err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn bad_flags_are_refused_with_what_is_allowed() {
    assert_refused(&["--listen", "9092"], &["--listen", "\"9092\"", "as in localhost:9092"]);
    assert_refused(&["--listen", "127.0.0.1:1,[::1]"], &["an IPv6 address is written [::1]:9092"]);
    assert_refused(&["--advertise", "broker:0"], &["--advertise", "no client can connect to broker:0"]);
    assert_refused(&["--shards", "0"], &["--shards: \"0\" is not a number from 1 to 1024"]);
    assert_refused(&["--memory", "lots"], &["--memory: \"lots\"", "write 512MB, 1GiB or a number of bytes"]);
    assert_refused(&["--node-id", "x"], &["--node-id: \"x\" is not a number from 0"]);
    assert_refused(&["--log", "loud"], &["--log: \"loud\" is not one of error, warn, info, debug, trace, off"]);
    assert_refused(&["--config", "/no/such.toml"], &["/no/such.toml cannot be read"]);
    assert_refused(&["serve", "--shards", "0"], &["--shards"]);
}

#[test]
fn an_unknown_flag_or_command_ends_with_code_2_and_a_hint() {
    let (code, _, err) = run(&["--lissten", "a:1"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("--listen"), "{err}");
    assert_eq!(run(&["server"]).0, Some(2));
}

#[test]
fn too_little_memory_is_refused_with_what_is_needed() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let parts = ["10000000 bytes are too few for 1 shard: at least", "MB are needed"];
    assert_refused(&["--memory", "10MB", "--shards", "1", "--data", data], &parts);
}

#[test]
fn too_few_files_are_refused_with_what_is_needed() {
    let folder = tempfile::tempdir().expect("folder");
    let script = "ulimit -n 40; exec \"$0\" --listen 127.0.0.1:0 --data \"$1\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_highwater")]).arg(folder.path().join("data"));
    let output = command.output().expect("started");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("only 40 files and connections may be open at a time: more than 64 are needed"), "{err}");
    assert!(!folder.path().join("data").exists(), "nothing is touched");
}

#[test]
fn a_wildcard_address_needs_an_advertised_one() {
    for listen in ["0.0.0.0:9092", "[::]:9092"] {
        let parts = [listen, "add --advertise HOST:PORT, for example --advertise ", ":9092"];
        assert_refused(&["--listen", listen], &parts);
    }
    let broker = Broker::start(&["--listen", "0.0.0.0:0", "--advertise", "localhost:9092"]);
    assert!(broker.address.ip().is_unspecified() && broker.address.port() != 0, "{}", broker.ready_line);
}

#[test]
fn the_ready_line_names_the_port_that_was_free_and_the_folder() {
    let broker = Broker::start(&[]);
    assert_ne!(broker.address.port(), 0);
    let expected = format!("highwater ready on {}, data in {}", broker.address, broker.data.display());
    assert_eq!(broker.ready_line, expected);
    std::net::TcpStream::connect(broker.address).expect("it listens");
}

#[test]
fn names_and_ipv6_are_listened_on() {
    let broker = Broker::start(&["--listen", "localhost:0"]);
    std::net::TcpStream::connect(("localhost", broker.address.port())).expect("it listens");
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let broker = Broker::start(&["--listen", "[::1]:0"]);
        assert!(broker.ready_line.starts_with("highwater ready on [::1]:"), "{}", broker.ready_line);
        std::net::TcpStream::connect(broker.address).expect("it listens");
    }
}

#[test]
fn an_address_in_use_is_refused() {
    let broker = Broker::start(&[]);
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().to_str().expect("UTF-8");
    let address = broker.address.to_string();
    for shards in ["1", "2"] {
        let args = ["--listen", &address, "--data", data, "--shards", shards];
        assert_refused(&args, &["cannot listen on", &address, "another process does"]);
    }
}

#[test]
fn a_signal_ends_it_within_a_second_with_code_0() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        for shards in ["1", "2"] {
            let mut broker = Broker::start(&["--shards", shards]);
            broker.signal(signal);
            let (status, took, rest) = broker.wait();
            assert_eq!(status.code(), Some(0), "{signal:?}, {shards} shards");
            assert!(took < Duration::from_secs(1), "{took:?} with {shards} shards");
            assert_eq!(rest, "", "one line on stdout, no more");
        }
    }
}

#[test]
fn a_data_folder_serves_one_process() {
    let mut broker = Broker::start(&[]);
    let data = broker.data.to_str().expect("UTF-8").to_owned();
    let args = ["--listen", "127.0.0.1:0", "--data", &data];
    assert_refused(&args, &[&format!("data folder {data} is in use by another process")]);
    broker.kill();
    drop(Broker::start_on(&broker.data, &[]));
}

#[test]
fn a_folder_of_others_or_of_another_release_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().to_str().expect("UTF-8");
    std::fs::write(folder.path().join("photo.jpg"), "cat").expect("written");
    let args = ["--listen", "127.0.0.1:0", "--data", data];
    assert_refused(&args, &[data, "is not Highwater's: it holds \"photo.jpg\""]);
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    std::fs::write(folder.path().join("format"), "version=99\nshards=1\n").expect("written");
    assert_refused(&args, &[data, "says version 99", "this one reads version 2"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_the_reason() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let data = file.join("data");
    let data = data.to_str().expect("UTF-8");
    assert_refused(
        &["--listen", "127.0.0.1:0", "--data", data],
        &[data, "cannot be made: Not a directory (os error 20)"],
    );
}

#[test]
fn a_configuration_file_with_a_misspelt_key_is_refused_with_the_nearest() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("highwater.toml");
    std::fs::write(&file, "num.partition = 4\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    assert_refused(&["--config", file], &[file, "num.partition is not a setting: did you mean num.partitions?"]);
}

#[test]
fn every_flag_is_an_environment_variable_too() {
    let folder = tempfile::tempdir().expect("folder");
    for (name, value, part) in [
        ("HIGHWATER_LISTEN", "nowhere", "--listen"),
        ("HIGHWATER_ADVERTISE", "nowhere", "--advertise"),
        ("HIGHWATER_SHARDS", "none", "--shards"),
        ("HIGHWATER_MEMORY", "none", "--memory"),
        ("HIGHWATER_NODE_ID", "none", "--node-id"),
        ("HIGHWATER_CONFIG", "/no/such.toml", "/no/such.toml"),
        ("HIGHWATER_LOG", "loud", "--log"),
    ] {
        for args in [&[][..], &["serve"]] {
            let output = highwater(args).env(name, value).current_dir(&folder).output().expect("started");
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{name} {args:?}: {err}");
            assert!(err.contains(part), "{name}: {err}");
        }
    }
    let missing = folder.path().join("file/data");
    std::fs::write(folder.path().join("file"), "").expect("written");
    let output = highwater(&[]).env("HIGHWATER_DATA", &missing).output().expect("started");
    assert!(String::from_utf8_lossy(&output.stderr).contains("file/data cannot be made"));
}
