//! What `--metrics` serves: numbers that agree with what clients did, whatever else is sent to that port.

use crate::broker::{Broker, PATIENCE, run};
use crate::client::{Client, batch};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A broker that serves metrics, and where.
fn start(args: &[&str]) -> (Broker, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let address = free.to_string();
    let all: Vec<&str> = args.iter().copied().chain(["--metrics", &address]).collect();
    (Broker::start(&all), free)
}

/// Sends bytes; returns the status line's code and the body of what comes back.
fn send(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(request).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    send(address, format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes())
}

/// Every series with its value; each belongs to a family that was announced, and stands there once.
fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200);
    let mut families = BTreeSet::new();
    let mut series = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let family = rest.split(' ').next().expect("a name");
            assert!(families.insert(family), "{family} is announced twice");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a series: {line:?}"));
            let family = name.split('{').next().expect("a name");
            let part = ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end));
            assert!(families.contains(family) || part.is_some_and(|part| families.contains(part)), "{line}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("not a number: {line:?}"));
            assert!(series.insert(name.to_owned(), value).is_none(), "{name} stands there twice");
        }
    }
    series
}

/// The sum of a family's series, whatever their labels.
fn total(series: &BTreeMap<String, f64>, family: &str) -> f64 {
    let of_family = series.iter().filter(|(name, _)| name.split('{').next() == Some(family));
    of_family.map(|(_, value)| value).sum()
}

#[test]
fn metrics_agree_with_what_clients_did() {
    let (mut broker, metrics) = start(&["--shards", "2"]);
    let mut client = Client::connect(broker.address);
    assert_eq!(client.create_topic("orders", 4), 0);
    let before = scrape(metrics);
    assert_eq!(before["kafka_server_replicamanager_partitioncount"], 4.0);
    assert_eq!(before["kafka_controller_kafkacontroller_activecontrollercount"], 1.0);
    let one = batch(&[b"a", b"bc", b"def"]);
    for partition in 0..4 {
        for round in 0..5 {
            assert_eq!(client.produce("orders", partition, &one), (0, 3 * round));
        }
    }
    assert_eq!(client.produce("orders", 0, &one[..40]).0, 87, "half a batch is refused");
    assert!(!client.fetch("orders", 2, 0).records.is_empty());
    let after = scrape(metrics);
    let bytes = (20 * one.len()) as f64;
    assert_eq!(after["kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"}"], 60.0);
    assert_eq!(after["kafka_server_brokertopicmetrics_bytesin_total{topic=\"orders\"}"], bytes);
    assert_eq!(after["kafka_server_brokertopicmetrics_failedproducerequests_total{topic=\"orders\"}"], 1.0);
    assert!(after["kafka_server_brokertopicmetrics_bytesout_total{topic=\"orders\"}"] >= one.len() as f64);
    assert_eq!(after["kafka_network_requestmetrics_requests_total{request=\"Produce\"}"], 21.0);
    assert_eq!(after["highwater_request_duration_seconds_count{request=\"Produce\"}"], 21.0);
    assert_eq!(after["highwater_request_duration_seconds_bucket{request=\"Produce\",le=\"+Inf\"}"], 21.0);
    for partition in 0..4 {
        let end = format!("kafka_log_log_logendoffset{{topic=\"orders\",partition=\"{partition}\"}}");
        assert_eq!(after[&end], 15.0);
    }
    let commits = |series| total(series, "highwater_journal_commit_duration_seconds_count");
    assert!(commits(&after) >= commits(&before) + 1.0, "nothing was committed");
    assert_eq!(total(&after, "highwater_connections"), 1.0);
    assert!(after["process_resident_memory_bytes"] > 1e6);
    assert_eq!(total(&after, "highwater_compactions_total"), 0.0);
    assert_eq!(after["kafka_log_logcleanermanager_max_dirty_percent"], 0.0);
    assert_eq!(after["highwater_memory_bytes{shard=\"0\",for=\"compaction\"}"], 0.0);
    broker.signal(Signal::TERM);
    assert_eq!(broker.wait().0.code(), Some(0));
}

#[test]
fn connections_are_shared_out_evenly_between_shards() {
    let (broker, metrics) = start(&["--shards", "4"]);
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(broker.address)).collect();
    for client in &mut clients {
        client.api_count();
    }
    let counts = |series: &BTreeMap<String, f64>| -> Vec<f64> {
        (0..4).map(|shard| series[&format!("highwater_connections{{shard=\"{shard}\"}}")]).collect()
    };
    let found = counts(&scrape(metrics));
    // Two shards that take one at the same moment may both give it to the same third.
    assert!(found.iter().all(|count| (8.0..=12.0).contains(count)), "{found:?}");
    assert_eq!(found.iter().sum::<f64>(), 40.0);
}

#[test]
fn health_and_readiness_are_told_and_nothing_else() {
    let (_broker, metrics) = start(&["--shards", "2"]);
    assert_eq!(get(metrics, "/health"), (200, "ok\n".to_owned()));
    assert_eq!(get(metrics, "/ready"), (200, "ok\n".to_owned()));
    assert_eq!(get(metrics, "/ready?verbose").0, 200);
    let (status, text) = get(metrics, "/");
    assert_eq!((status, text.as_str()), (404, "/ is not here: /metrics, /health and /ready are\n"));
    assert_eq!(send(metrics, b"POST /metrics HTTP/1.1\r\n\r\n").0, 405);
    assert_eq!(send(metrics, b"HEAD /metrics HTTP/1.0\r\n\r\n"), (200, String::new()));
    assert_eq!(send(metrics, b"\x00\x00\x00\x10 not HTTP at all").0, 400);
}

#[test]
fn visitors_who_say_nothing_hold_nobody_up_for_long() {
    let (broker, metrics) = start(&[]);
    let idle: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(metrics).expect("connected")).collect();
    let mut client = Client::connect(broker.address);
    assert_eq!(client.create_topic("orders", 1), 0);
    let start = Instant::now();
    // All seats may be taken by those who say nothing: then a visitor is turned away, but never for long.
    let served = loop {
        let mut stream = TcpStream::connect(metrics).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /health HTTP/1.1\r\n\r\n");
        if asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.contains("200 OK") {
            break start.elapsed();
        }
        assert!(start.elapsed() < PATIENCE, "nobody is answered any more");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(served < Duration::from_secs(10), "{served:?}");
    drop(idle);
}

#[test]
fn an_address_that_cannot_be_had_is_refused_before_anything_is_touched() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let args = ["--data", data.to_str().expect("UTF-8"), "--listen", "127.0.0.1:0", "--metrics", &address];
    let (code, _, stderr) = run(&args);
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&format!("--metrics: cannot listen on {address}")), "{stderr}");
    assert!(!data.exists(), "the data folder was made");
    let (code, _, stderr) = run(&["--metrics", "nowhere"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--metrics: \"nowhere\" is not HOST:PORT"), "{stderr}");
}
