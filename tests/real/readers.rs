//! Readers that do not read: they cost the writers nothing, the other readers little, and the broker no memory.

use crate::broker::Broker;
use crate::client::{Client, batch, values};
use std::time::{Duration, Instant};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 4;
const BATCH_BYTES: usize = 16 << 10;
const MEMORY_MB: u64 = 80;
/// Requests that each deaf reader makes; the first answers go where the kernel keeps them.
const ASKED: usize = 4;

/// A value that tells partition and offset.
fn value(partition: i32, offset: i64) -> Vec<u8> {
    let mut value = vec![partition as u8; BATCH_BYTES];
    value[..8].copy_from_slice(&offset.to_be_bytes());
    value
}

/// Writes one batch of one record for each of these offsets to each partition; gives the longest wait.
fn produce(client: &mut Client, offsets: std::ops::Range<i64>) -> Duration {
    let mut longest = Duration::ZERO;
    for offset in offsets {
        for partition in 0..PARTITIONS {
            let begun = Instant::now();
            let outcome = client.produce(TOPIC, partition, &batch(&[&value(partition, offset)]));
            assert_eq!(outcome, (0, offset), "partition {partition}");
            longest = longest.max(begun.elapsed());
        }
    }
    longest
}

/// Holds a whole answer against what was written; gives where to go on.
fn assert_values(records: &[u8], partition: i32, mut next: i64) -> i64 {
    for (base, found) in values(records) {
        assert_eq!((base, found.len()), (next, 1), "partition {partition}");
        assert!(found[0] == value(partition, next), "offset {next} of partition {partition}");
        next += 1;
    }
    next
}

#[test]
fn readers_that_take_nothing_stop_nobody_and_cost_no_memory() {
    let memory = format!("{MEMORY_MB}MB");
    let broker = Broker::start(&["--shards", "1", "--memory", &memory]);
    let mut writer = Client::connect(broker.address);
    assert_eq!(writer.create_topic(TOPIC, PARTITIONS), 0);
    produce(&mut writer, 0..500);
    let mut deaf: Vec<Client> = (0..40).map(|_| Client::connect(broker.address)).collect();
    for (number, reader) in deaf.iter_mut().enumerate() {
        for _ in 0..ASKED {
            reader.ask_fetch(TOPIC, number as i32 % PARTITIONS, 0);
        }
    }
    // Several times the memory: whatever the answers hold of it is needed.
    let longest = produce(&mut writer, 500..2500);
    assert!(longest < Duration::from_secs(3), "a batch waited for {longest:?}");
    let mut reader = Client::connect(broker.address);
    for partition in 0..PARTITIONS {
        let mut next = 0;
        while next < 2500 {
            let fetched = reader.fetch(TOPIC, partition, next);
            assert_eq!((fetched.error, fetched.high_watermark), (0, 2500));
            next = assert_values(&fetched.records, partition, next);
        }
    }
    // A deaf reader that hears at last: each of its answers is whole, or the connection is gone.
    let mut heard = 0;
    for (number, mut reader) in deaf.into_iter().enumerate() {
        let partition = number as i32 % PARTITIONS;
        for _ in 0..ASKED {
            let Some(fetched) = reader.try_receive_fetch(TOPIC, partition) else { break };
            assert!(assert_values(&fetched.records, partition, 0) > 0);
            heard += 1;
        }
    }
    assert!(heard >= 40, "only {heard} answers came to 40 readers");
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("it runs");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    let most: u64 = most.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(most * 1024 <= MEMORY_MB * 1_000_000, "{most} KiB of {MEMORY_MB} MB");
}
