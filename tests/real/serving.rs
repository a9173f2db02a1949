//! The real binary as its clients see it: what is acknowledged is there after a stop and after a kill, strangers are
//! turned away, and limits are kept.

use crate::broker::Broker;
use crate::client::{Client, batch, values};
use rustix::process::Signal;
use std::time::{Duration, Instant};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 3;

/// Writes one record to each partition; its value tells round and partition. Offsets follow each other.
fn produce_round(client: &mut Client, round: i64) {
    for partition in 0..PARTITIONS {
        let value = format!("{round}/{partition}");
        let outcome = client.produce(TOPIC, partition, &batch(&[value.as_bytes()]));
        assert_eq!(outcome, (0, round), "round {round}, partition {partition}");
    }
}

fn assert_rounds(client: &mut Client, rounds: i64) {
    for partition in 0..PARTITIONS {
        let mut next = 0;
        while next < rounds {
            let fetched = client.fetch(TOPIC, partition, next);
            assert_eq!((fetched.error, fetched.high_watermark), (0, rounds), "partition {partition} at {next}");
            for (base, found) in values(&fetched.records) {
                assert_eq!((base, found), (next, vec![format!("{next}/{partition}").into_bytes()]));
                next += 1;
            }
        }
    }
}

#[test]
fn what_is_acknowledged_is_there_after_a_stop_and_after_a_kill() {
    for shards in ["1", "2"] {
        let folder = tempfile::tempdir().expect("folder");
        let data = folder.path().join("data");
        let mut rounds = 0;
        for life in 0..6 {
            let mut broker = Broker::start_on(&data, &["--shards", shards]);
            let mut client = Client::connect(broker.address);
            if life == 0 {
                assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
            }
            assert_rounds(&mut client, rounds);
            for _ in 0..20 {
                produce_round(&mut client, rounds);
                rounds += 1;
            }
            assert_rounds(&mut client, rounds);
            if life % 2 == 0 {
                broker.kill();
            } else {
                broker.signal(Signal::TERM);
                let (status, took, _) = broker.wait();
                assert_eq!(status.code(), Some(0));
                assert!(took < Duration::from_secs(1), "stopping took {took:?}");
            }
        }
    }
}

#[test]
fn large_batches_go_in_and_out_unchanged() {
    let broker = Broker::start(&["--shards", "2"]);
    let mut client = Client::connect(broker.address);
    assert_eq!(client.create_topic(TOPIC, 1), 0);
    let value: Vec<u8> = (0..1_000_000u32).map(|byte| (byte % 251) as u8).collect();
    for round in 0..20 {
        assert_eq!(client.produce(TOPIC, 0, &batch(&[&value])), (0, round));
    }
    for round in 0..20 {
        let fetched = client.fetch(TOPIC, 0, round);
        let batches = values(&fetched.records);
        assert!(batches[0] == (round, vec![value.clone()]), "the batch at {round} differs");
    }
}

#[test]
fn strangers_are_turned_away_and_nobody_else_notices() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(broker.address);
    let apis = client.api_count();
    for hello in [
        &b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n"[..],
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        &[0xff; 64],
        &[0x7f, 0xff, 0xff, 0xff, 0, 0],
        &[0, 0, 0, 2, 0, 0],
    ] {
        let mut stranger = Client::connect(broker.address);
        stranger.send_raw(hello);
        assert!(stranger.is_closed(), "{hello:?}");
        assert_eq!(client.api_count(), apis);
    }
}

#[test]
fn the_first_answer_comes_soon_and_an_idle_broker_is_small() {
    let start = Instant::now();
    let broker = Broker::start(&[]);
    Client::connect(broker.address).api_count();
    // 100 ms on a quiet machine; the tests beside this one make it a busy one.
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let _idle: Vec<Client> = (0..500).map(|_| Client::connect(broker.address)).collect();
    Client::connect(broker.address).api_count();
    std::thread::sleep(Duration::from_millis(200));
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 40_000, "{kib} KiB resident");
}

#[test]
fn a_broker_without_descriptors_rests_and_takes_connections_again_later() {
    let broker = Broker::start_limited(120, &["--shards", "1"]);
    let mut first = Client::connect(broker.address);
    let apis = first.api_count();
    let waiting: Vec<Client> = (0..200).map(|_| Client::connect(broker.address)).collect();
    std::thread::sleep(Duration::from_millis(100));
    let before = cpu_time(broker.pid());
    std::thread::sleep(Duration::from_millis(500));
    let spent = cpu_time(broker.pid()) - before;
    assert!(spent < 20, "{spent} hundredths of a second of CPU spent on failing to accept");
    assert_eq!(first.api_count(), apis, "those inside are served");
    assert_eq!(first.create_topic(TOPIC, 3), 0, "and there is something left for files");
    produce_round(&mut first, 0);
    drop(waiting);
    assert_eq!(Client::connect(broker.address).api_count(), apis);
}

/// User and system time, in hundredths of a second.
fn cpu_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("after the name").split_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}
