//! The commands that are clients: topics, groups, records; what they print, and their exit codes.

use crate::broker::{Broker, highwater};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Runs a command against a broker: exit code, stdout, stderr.
fn ask(broker: &Broker, args: &[&str]) -> (Option<i32>, String, String) {
    ask_with(broker, args, "")
}

fn ask_with(broker: &Broker, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let address = broker.address.to_string();
    let mut command = highwater(args);
    let mut child = command.env("HIGHWATER_BOOTSTRAP", address).stdin(Stdio::piped()).spawn().expect("started");
    // What refuses its input early closes it.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("ended");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn done(broker: &Broker, args: &[&str], input: &str) -> String {
    let (code, out, err) = ask_with(broker, args, input);
    assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    out
}

/// It fails, and says all of this.
fn fails(broker: &Broker, args: &[&str], code: i32, told: &[&str]) {
    let (found, out, err) = ask(broker, args);
    assert_eq!(found, Some(code), "{args:?}: {out}{err}");
    for text in told {
        assert!(err.contains(text), "{args:?}: {err:?} does not say {text:?}");
    }
}

#[test]
fn topics_are_made_listed_described_and_deleted() {
    let broker = Broker::start(&[]);
    let out =
        done(&broker, &["topic", "create", "one", "two", "--partitions", "3", "--config", "retention.ms=5000"], "");
    assert_eq!(out, "one: made, 3 partitions\ntwo: made, 3 partitions\n");
    let listed = done(&broker, &["topic", "list"], "");
    let names: Vec<&str> = listed.lines().map(|line| line.split(' ').next().expect("a name")).collect();
    assert_eq!(names, ["NAME", "one", "two"], "{listed}");
    let described = done(&broker, &["topic", "describe", "one"], "");
    assert!(described.contains("retention.ms=5000") && described.lines().count() == 5, "{described}");
    let json = done(&broker, &["topic", "describe", "one", "--json"], "");
    assert!(json.contains(r#""configs":{"retention.ms":"5000"}"#) && json.contains(r#""end":0"#), "{json}");
    assert_eq!(done(&broker, &["topic", "create", "three", "--dry-run"], ""), "three: could be made, 1 partitions\n");
    fails(&broker, &["topic", "create", "one"], 1, &["one", "TOPIC_ALREADY_EXISTS (36)"]);
    fails(&broker, &["topic", "create", "a b"], 1, &["a b", "INVALID_TOPIC_EXCEPTION (17)"]);
    fails(&broker, &["topic", "create", "x", "--config", "retention.ms=soon"], 1, &["soon", "INVALID_CONFIG (40)"]);
    fails(&broker, &["topic", "create", "x", "--partitions", "0"], 2, &["--partitions"]);
    fails(&broker, &["topic", "describe", "three"], 1, &["three", "UNKNOWN_TOPIC_OR_PARTITION (3)"]);
    assert_eq!(done(&broker, &["topic", "delete", "one", "two"], ""), "one: deleted\ntwo: deleted\n");
    fails(&broker, &["topic", "delete", "one", "two"], 1, &["topic one", "topic two", "UNKNOWN_TOPIC"]);
}

#[test]
fn lines_are_produced_and_consumed_with_their_keys_headers_and_places() {
    let broker = Broker::start(&[]);
    done(&broker, &["topic", "create", "t", "--partitions", "2"], "");
    let (code, _, err) = ask_with(&broker, &["produce", "t", "--partition", "1"], "first\n\nthird");
    assert_eq!((code, err.as_str()), (Some(0), "3 records\n"));
    let all = ["consume", "t", "--from-beginning", "--until-end"];
    assert_eq!(done(&broker, &all, ""), "first\n\nthird\n");
    let keyed = ["produce", "t", "--key-separator", ":", "--header", "h=1", "--null", "-", "--partition", "0", "-q"];
    done(&broker, &keyed, "k:v\nk:-\n:w:x\n");
    let printed = done(&broker, &[&all[..], &["--partitions", "0", "--keys", "--headers"]].concat(), "");
    assert_eq!(printed, "h=1\tk\tv\nh=1\tk\tnull\nh=1\t\tw:x\n");
    let hex = done(&broker, &[&all[..], &["--partitions", "0", "--format", "hex", "--max-messages", "1"]].concat(), "");
    assert_eq!(hex, "76\n");
    let json = done(&broker, &["consume", "t", "--from", "1", "--until-end", "--partitions", "0", "--json"], "");
    let first = json.lines().next().expect("a line");
    assert!(first.contains(r#""key":"k""#) && first.contains(r#""value":null"#) && first.contains(r#""offset":1"#));
    assert!(first.contains(r#""headers":[["h","1"]]"#) && json.lines().count() == 2, "{json}");
    fails(&broker, &["consume", "t", "--partitions", "7"], 1, &["no partition 7", "0 to 1"]);
    fails(&broker, &["consume", "none"], 1, &["none", "UNKNOWN_TOPIC_OR_PARTITION"]);
    fails(&broker, &["consume", "t", "--from", "yesterday"], 2, &["yesterday", "start, end, an offset"]);
    let (code, _, err) = ask_with(&broker, &["produce", "t", "--key-separator", "="], "no key\n");
    assert!(code == Some(1) && err.contains("no key"), "{err}");
}

#[test]
fn many_lines_come_back_in_order_and_keys_stay_together() {
    let broker = Broker::start(&[]);
    done(&broker, &["topic", "create", "many", "--partitions", "3"], "");
    let lines: Vec<String> = (0..50_000).map(|number| format!("{}:{number}\n", number % 17)).collect();
    done(&broker, &["produce", "many", "--key-separator", ":", "-q"], &lines.concat());
    let out = done(
        &broker,
        &["consume", "many", "--from-beginning", "--until-end", "--keys", "--separator", ":", "--places"],
        "",
    );
    let mut last = std::collections::BTreeMap::new();
    for line in out.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let (partition, key) = (fields[0].to_owned(), fields[3].to_owned());
        let value: u32 = fields[4].parse().expect("a number");
        let (of, before) = last.insert(key, (partition.clone(), value)).unwrap_or((partition.clone(), 0));
        assert!(of == partition && before <= value, "{line} behind {before} in {of}");
    }
    assert_eq!((out.lines().count(), last.len()), (50_000, 17));
}

#[test]
fn a_group_goes_on_where_it_has_committed() {
    let broker = Broker::start(&[]);
    done(&broker, &["topic", "create", "t", "--partitions", "2"], "");
    done(&broker, &["produce", "t", "--partition", "0", "-q"], "1\n2\n3\n");
    let shared = ["consume", "t", "--group", "g", "--from-beginning", "--until-end"];
    assert_eq!(done(&broker, &shared, ""), "1\n2\n3\n");
    done(&broker, &["produce", "t", "--partition", "0", "-q"], "4\n");
    done(&broker, &["produce", "t", "--partition", "1", "-q"], "5\n");
    let mut rest: Vec<String> = done(&broker, &shared, "").lines().map(str::to_owned).collect();
    rest.sort();
    assert_eq!(rest, ["4", "5"]);
    let told = done(&broker, &["group", "describe", "g"], "");
    assert!(told.contains("t      0          4       4    0") && told.contains("t      1          1       1    0"));
    // What is not in the log any more is begun anew, where it is told.
    let gone = ["consume", "t", "--group", "h", "--max-messages", "1", "--until-end", "--from", "3"];
    assert_eq!(done(&broker, &gone, ""), "4\n");
    fails(&broker, &["consume", "t", "--group", "g", "--partitions", "0"], 2, &["--group", "--partitions"]);
}

#[test]
fn members_of_a_group_share_a_topic_and_leave_it_when_they_are_stopped() {
    let broker = Broker::start(&[]);
    done(&broker, &["topic", "create", "t", "--partitions", "4"], "");
    let address = broker.address.to_string();
    let members: Vec<_> = (0..2)
        .map(|_| {
            let mut command = highwater(&["consume", "t", "--group", "g", "--from-beginning"]);
            command.env("HIGHWATER_BOOTSTRAP", &address).stdout(Stdio::piped()).spawn().expect("started")
        })
        .collect();
    let described = || ask(&broker, &["group", "describe", "g"]).1;
    until("two members", || described().contains("g  Stable  2 members"));
    let lines: Vec<String> = (0..1_000).map(|number| format!("{number}:{number}\n")).collect();
    done(&broker, &["produce", "t", "--key-separator", ":", "-q"], &lines.concat());
    until("no lag", || described().lines().filter(|line| line.starts_with("t ") && line.ends_with(" 0")).count() == 4);
    let mut seen = Vec::new();
    for member in members {
        let pid = rustix::process::Pid::from_child(&member);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let output = member.wait_with_output().expect("ended");
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.lines().count() > 100, "one member has read {} of 1000", text.lines().count());
        seen.extend(text.lines().map(|line| line.parse::<u32>().expect("a number")));
    }
    seen.sort();
    assert_eq!(seen, (0..1_000).collect::<Vec<u32>>(), "each record once");
    assert!(described().contains("g  Empty  0 members"), "{}", described());
}

/// Looks again until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < give_up, "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn groups_are_listed_described_reset_and_deleted() {
    let broker = Broker::start(&[]);
    done(&broker, &["topic", "create", "t", "--partitions", "2"], "");
    done(&broker, &["produce", "t", "--partition", "0", "-q"], "1\n2\n3\n");
    fails(&broker, &["group", "describe", "g"], 1, &["g", "no such group"]);
    let reset = ["group", "reset", "g", "--topic", "t", "--to"];
    let dry = done(&broker, &[&reset[..], &["end", "--dry-run"]].concat(), "");
    assert_eq!(dry, "TOPIC  PARTITION  OFFSET\nt      0          3\nt      1          0\n");
    fails(&broker, &["group", "describe", "g"], 1, &["no such group"]);
    done(&broker, &[&reset[..], &["1", "--partitions", "0"]].concat(), "");
    let listed = done(&broker, &["group", "list"], "");
    assert!(listed.lines().nth(1).is_some_and(|line| line.starts_with("g  ") && line.contains("Empty")), "{listed}");
    let json = done(&broker, &["group", "describe", "g", "--json"], "");
    assert!(json.contains(r#""lag":2"#) && json.contains(r#""state":"Empty""#), "{json}");
    done(&broker, &[&reset[..], &["time=1"]].concat(), "");
    let told = done(&broker, &["group", "describe", "g"], "");
    assert!(
        told.contains("t      0          0       3    3") && told.contains("t      1          0       0    0"),
        "{told}"
    );
    fails(&broker, &[&reset[..], &["0", "--partitions", "9"]].concat(), 1, &["no partition 9"]);
    assert_eq!(done(&broker, &["group", "delete", "g"], ""), "g: deleted\n");
    fails(&broker, &["group", "delete", "g"], 1, &["g", "GROUP_ID_NOT_FOUND (69)"]);
}

#[test]
fn quotas_are_set_listed_and_deleted() {
    let broker = Broker::start(&[]);
    assert_eq!(done(&broker, &["quota", "list"], ""), "ENTITY  QUOTA  VALUE\n");
    let set = ["quota", "set", "--client-id", "billing", "producer_byte_rate=1000", "request_percentage=50"];
    let dry = done(&broker, &[&set[..], &["--dry-run"]].concat(), "");
    assert_eq!(dry.lines().next(), Some("client-id billing: producer_byte_rate could be 1000"));
    assert_eq!(done(&broker, &["quota", "list", "--json"], ""), "");
    let out = done(&broker, &set, "");
    assert_eq!(out, "client-id billing: producer_byte_rate is 1000\nclient-id billing: request_percentage is 50\n");
    done(&broker, &["quota", "set", "--default-user", "--client-id", "billing", "consumer_byte_rate=7"], "");
    done(&broker, &["quota", "set", "--ip", "127.0.0.9", "connection_creation_rate=2"], "");
    let listed = done(&broker, &["quota", "list"], "");
    assert_eq!(listed.lines().count(), 5, "{listed}");
    let row = "client-id billing, user <default>  consumer_byte_rate        7";
    assert!(listed.contains(row), "{listed}");
    // One entity alone, not those that it is a part of.
    let json = done(&broker, &["quota", "list", "--client-id", "billing", "--json"], "");
    let expected =
        r#"{"entity":{"client-id":"billing"},"quotas":{"producer_byte_rate":1000.0,"request_percentage":50.0}}"#;
    assert_eq!(json.trim_end(), expected);
    let gone = done(&broker, &["quota", "delete", "--client-id", "billing", "request_percentage"], "");
    assert_eq!(gone, "client-id billing: request_percentage deleted\n");
    let gone = ["quota", "delete", "--client-id", "billing"];
    assert_eq!(done(&broker, &gone, ""), "client-id billing: producer_byte_rate deleted\n");
    fails(&broker, &gone, 1, &["client-id billing: has no quota"]);
    fails(&broker, &["quota", "delete", "--ip", "127.0.0.9", "request_percentage"], 1, &["has no request_percentage"]);
    fails(
        &broker,
        &["quota", "set", "--ip", "127.0.0.9", "producer_byte_rate=1"],
        1,
        &["ip 127.0.0.9", "INVALID_REQUEST (42)"],
    );
    fails(&broker, &["quota", "set", "--client-id", "a", "producer_byte_rate=-1"], 1, &["client-id a", "(42)"]);
    fails(&broker, &["quota", "set", "--client-id", "a", "producer_byte_rate=1.5"], 1, &["client-id a", "fractional"]);
    fails(&broker, &["quota", "set", "--client-id", "a", "speed=1"], 2, &["speed", "producer_byte_rate"]);
    fails(&broker, &["quota", "set", "--client-id", "a", "--ip", "::1", "producer_byte_rate=1"], 2, &["--ip"]);
    fails(&broker, &["quota", "set", "producer_byte_rate=1"], 2, &["--client-id"]);
}

#[test]
fn what_needs_no_broker_needs_none() {
    let (code, out, _) = crate::broker::run(&["config", "retention.ms", "--of", "topic"]);
    assert_eq!((code, out.lines().count()), (Some(0), 4), "{out}");
    assert!(out.contains("delete.retention.ms") && out.contains("604800000"), "{out}");
    let (code, out, _) = crate::broker::run(&["config", "--json", "fetch.max.bytes"]);
    assert!(code == Some(0) && out.contains(r#""default":"57671680""#), "{out}");
    let (code, _, err) = crate::broker::run(&["config", "no.such.key"]);
    assert!(code == Some(1) && err.contains("no.such.key"), "{err}");
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = crate::broker::run(&["completions", shell]);
        assert!(code == Some(0) && out.contains("consume"), "{shell}");
    }
    let (code, _, err) = crate::broker::run(&["topic", "list", "--bootstrap", "127.0.0.1:1"]);
    assert!(code == Some(1) && err.contains("127.0.0.1:1"), "{err}");
    let (code, _, _) = crate::broker::run(&["topic", "shout"]);
    assert_eq!(code, Some(2));
}

/// As in `highwater sim 1 | head`.
#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    for command in [&["completions", "bash"][..], &["config"], &["sim", "1"], &["sim", "--seeds", "1"]] {
        let mut child = crate::broker::highwater(command).spawn().expect("started");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("ended");
        let err = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && !err.contains("panicked"), "{command:?}: {err}");
    }
}
