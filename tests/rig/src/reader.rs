//! A reader: follows partitions while others write, and reads everything at the end.
//!
//! Invariant: what it is given has the offsets it asked for, one after another.

use crate::client::{Client, Deeds, Dial, Manners};
use crate::ledger::Ledger;
use crate::producer::topic;
use crate::runtime::Runtime;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::records::RecordBatchDecoder;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

const FETCH_VERSION: i16 = 12;
/// Who waits longer than a client for its answer is asked for less.
const WAIT_MS: i32 = 300;

/// The records from `offset`, and whether that is all there is now.
async fn fetch<R: Runtime>(
    client: &mut Client<R>,
    partition: i32,
    offset: i64,
) -> io::Result<(Vec<(i64, String)>, bool)> {
    let at =
        FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(2_000);
    let at = FetchTopic::default().with_topic(topic()).with_partitions(vec![at]);
    let request = FetchRequest::default().with_max_wait_ms(WAIT_MS).with_min_bytes(1).with_topics(vec![at]);
    let answer = client.call(&request, FETCH_VERSION).await?;
    assert_eq!(answer.error_code, 0, "Fetch");
    let answer = &answer.responses[0].partitions[0];
    if answer.error_code != 0 {
        // The node starts: its topics are not known, or not led.
        assert!(
            [3, 5, 6, 56].contains(&answer.error_code),
            "Fetch of {partition} from {offset}: error {}",
            answer.error_code
        );
        return Err(io::ErrorKind::NotConnected.into());
    }
    let mut records = Vec::new();
    if let Some(mut bytes) = answer.records.clone().filter(|bytes| !bytes.is_empty()) {
        let batches = RecordBatchDecoder::decode_all(&mut bytes)
            .unwrap_or_else(|error| panic!("partition {partition} from {offset}: {error}"));
        for record in batches.into_iter().flat_map(|batch| batch.records) {
            let value = record.value.expect("every record has a value");
            records.push((record.offset, String::from_utf8(value.to_vec()).expect("text")));
        }
    }
    // The first batch may begin before what was asked for.
    records.retain(|(at, _)| *at >= offset);
    for (want, (at, value)) in (offset..).zip(&records) {
        assert_eq!(*at, want, "partition {partition}: {value} out of place");
        assert!(*at < answer.high_watermark, "partition {partition} offset {at}: beyond {}", answer.high_watermark);
    }
    let end = records.last().map_or(offset, |(at, _)| at + 1);
    Ok((records, end >= answer.high_watermark))
}

/// Follows every partition until it is told to stop.
pub async fn follow<R: Runtime>(
    dial: Dial,
    manners: Manners,
    deeds: Rc<RefCell<Deeds>>,
    ledger: Rc<RefCell<Ledger>>,
    partitions: i32,
    stop: Rc<Cell<bool>>,
) {
    let mut next = vec![0; partitions as usize];
    while !stop.get() {
        if let Ok(mut client) = Client::<R>::connect(&dial, manners, &deeds).await {
            while !stop.get() {
                let partition = R::below(partitions as u64) as i32;
                let next = &mut next[partition as usize];
                let Ok((records, _)) = fetch(&mut client, partition, *next).await else { break };
                for (offset, value) in records {
                    ledger.borrow_mut().see(partition, offset, &value);
                    *next = offset + 1;
                }
            }
        }
        R::sleep(Duration::from_millis(1 + R::below(100))).await;
    }
}

/// Everything there is, by a reader that nothing disturbs.
pub async fn read_all<R: Runtime>(dial: &Dial, deeds: &Rc<RefCell<Deeds>>, partition: i32) -> Vec<(i64, String)> {
    loop {
        let mut log = Vec::new();
        if let Ok(mut client) = Client::<R>::connect(dial, Manners::default(), deeds).await {
            while let Ok((records, end)) = fetch(&mut client, partition, log.len() as i64).await {
                log.extend(records);
                if end {
                    return log;
                }
            }
        }
        R::sleep(Duration::from_millis(50)).await;
    }
}
