//! `kill -9` under load, again and again: nothing acknowledged is missing, nothing is there twice, order is kept.
//!
//! `HIGHWATER_KILLS` sets the number of rounds.

use crate::broker::Broker;
use crate::client::{Client, batch, values};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TOPIC: &str = "killed";
const PARTITIONS: usize = 6;
const ROUNDS: u64 = 5;
/// Requests on their way on each connection.
const PIPELINED: usize = 4;

/// What one writer knows of its partition. Values are numbers that only grow, and each is sent once.
#[derive(Default)]
struct Written {
    next: u64,
    acknowledged: Vec<(i64, u64)>,
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_there_twice() {
    let rounds = std::env::var("HIGHWATER_KILLS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut written: Vec<Written> = (0..PARTITIONS).map(|_| Written::default()).collect();
    for round in 0..rounds {
        kill_under_load(&data, round, &mut written);
        let broker = Broker::start_on(&data, &["--shards", "2"]);
        let mut client = Client::connect(broker.address);
        for (partition, written) in written.iter().enumerate() {
            check(&read(&mut client, partition), written, round, partition);
        }
    }
    let acknowledged: usize = written.iter().map(|written| written.acknowledged.len()).sum();
    assert!(acknowledged as u64 > 100 * rounds, "only {acknowledged} records were acknowledged");
}

/// Writes to every partition until the broker dies of it.
fn kill_under_load(data: &Path, round: u64, written: &mut [Written]) {
    let mut broker = Broker::start_on(data, &["--shards", "2"]);
    if round == 0 {
        assert_eq!(Client::connect(broker.address).create_topic(TOPIC, PARTITIONS as i32), 0);
    }
    let killed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (partition, written) in written.iter_mut().enumerate() {
            let (killed, address) = (&killed, broker.address);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                while write(&mut client, partition as i32, written).is_some() {
                    assert!(written.next < 10_000_000, "the broker does not die");
                }
                assert!(killed.load(Ordering::SeqCst), "partition {partition}: cut off before the kill");
            });
        }
        // Each round another time, from "hardly begun" to "well under way".
        std::thread::sleep(Duration::from_millis(20 + 97 * round % 700));
        killed.store(true, Ordering::SeqCst);
        broker.kill();
    });
}

/// Sends some batches, then takes their answers. `None` when the connection is gone.
fn write(client: &mut Client, partition: i32, written: &mut Written) -> Option<()> {
    let first = written.next;
    for _ in 0..PIPELINED {
        // From 10 bytes to some kilobytes, so that frames end anywhere.
        let mut value = written.next.to_string().into_bytes();
        value.resize(10 + (written.next % 97 * 61) as usize, b' ');
        written.next += 1;
        client.try_send_produce(TOPIC, partition, &batch(&[&value]))?;
    }
    for number in first..written.next {
        let (error, offset) = client.try_receive_produce(TOPIC, partition)?;
        assert_eq!(error, 0, "record {number} of partition {partition}");
        written.acknowledged.push((offset, number));
    }
    Some(())
}

/// Everything in a partition: offsets and numbers.
fn read(client: &mut Client, partition: usize) -> Vec<(i64, u64)> {
    let mut found = Vec::new();
    let mut next = 0;
    loop {
        let fetched = client.fetch(TOPIC, partition as i32, next);
        assert_eq!(fetched.error, 0, "partition {partition} at {next}");
        for (base, records) in values(&fetched.records) {
            assert_eq!((base, records.len()), (next, 1), "partition {partition}");
            let text = String::from_utf8(records[0].clone()).expect("what was written");
            found.push((base, text.trim_end().parse().expect("a number")));
            next = base + 1;
        }
        if next == fetched.high_watermark {
            return found;
        }
    }
}

fn check(found: &[(i64, u64)], written: &Written, round: u64, partition: usize) {
    let ordered = found.is_sorted_by(|(_, one), (_, other)| one < other);
    assert!(ordered, "round {round}, partition {partition}: twice, or out of order");
    for acknowledged in &written.acknowledged {
        let there = found.binary_search(acknowledged).is_ok();
        assert!(there, "round {round}, partition {partition}: offset and number {acknowledged:?} are missing");
    }
}
