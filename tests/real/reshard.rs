//! Another `--shards` on a folder that has data: everything is there again, whatever the start before ended in.

use crate::broker::{Broker, highwater};
use crate::client::{Client, batch, values};
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;

const TOPIC: &str = "moved";
const PARTITIONS: i32 = 7;

/// Writes one record to each partition; its value tells round and partition. Offsets follow each other.
fn produce_rounds(client: &mut Client, rounds: std::ops::Range<i64>) {
    for round in rounds {
        for partition in 0..PARTITIONS {
            let value = format!("{round}/{partition}");
            let outcome = client.produce(TOPIC, partition, &batch(&[value.as_bytes()]));
            assert_eq!(outcome, (0, round), "round {round}, partition {partition}");
        }
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

fn layouts(data: &Path) -> Vec<String> {
    let names = std::fs::read_dir(data).expect("listed").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("layout-"));
    names
}

#[test]
fn everything_is_there_with_another_number_of_shards() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut rounds = 0;
    for (life, shards) in [(0, "2"), (1, "1"), (2, "3"), (3, "3"), (4, "2")] {
        let mut broker = Broker::start_on(&data, &["--shards", shards]);
        let mut client = Client::connect(broker.address);
        if life == 0 {
            assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
        }
        assert_rounds(&mut client, rounds);
        produce_rounds(&mut client, rounds..rounds + 20);
        rounds += 20;
        assert_rounds(&mut client, rounds);
        assert_eq!(layouts(&data).len(), 1, "{:?}", layouts(&data));
        if life % 2 == 0 {
            broker.kill();
        } else {
            broker.signal(Signal::TERM);
            assert_eq!(broker.wait().0.code(), Some(0));
        }
    }
    let broker = Broker::start_on(&data, &[]);
    assert_rounds(&mut Client::connect(broker.address), rounds);
}

#[test]
fn a_kill_while_the_number_changes_leaves_one_layout_or_the_other() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut rounds = 0;
    let mut shards = 1;
    for life in 0..12 {
        // Too short for the change, sometimes.
        let asked = shards % 4 + 1;
        let mut command = highwater(&["--listen", "127.0.0.1:0", "--shards", &asked.to_string(), "--data"]);
        let mut child = command.arg(&data).stderr(std::process::Stdio::null()).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(2 + 7 * life));
        child.kill().expect("killed");
        child.wait().expect("ended");
        shards = if life % 3 == 0 { shards } else { asked };
        let mut broker = Broker::start_on(&data, &["--shards", &shards.to_string()]);
        let mut client = Client::connect(broker.address);
        if life == 0 {
            assert_eq!(client.create_topic(TOPIC, PARTITIONS), 0);
        }
        assert_rounds(&mut client, rounds);
        produce_rounds(&mut client, rounds..rounds + 5);
        rounds += 5;
        broker.kill();
    }
}
