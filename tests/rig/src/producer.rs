//! An idempotent producer: several requests under way, everything unanswered sent again over the next connection.
//!
//! Invariant: batches of a partition go out in order with consecutive sequences, and no more than five wait (what a broker
//! remembers of a producer).

use crate::client::{Client, Deeds, Dial, Manners};
use crate::ledger::Ledger;
use crate::runtime::{Runtime, chance};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{CreateTopicsRequest, InitProducerIdRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

pub const TOPIC: &str = "rig";
pub const PRODUCE_VERSION: i16 = 9;
const WINDOW: usize = 5;

/// Errors after which the same request may succeed: the node starts, or lost what it was told meanwhile.
const PASSING: [i16; 8] = [3, 5, 6, 7, 14, 15, 16, 56];
const OUT_OF_ORDER: i16 = 45;
const TOPIC_EXISTS: i16 = 36;

pub struct Producer {
    pub name: String,
    pub dial: Dial,
    pub manners: Manners,
    pub deeds: Rc<RefCell<Deeds>>,
    pub ledger: Rc<RefCell<Ledger>>,
    pub partitions: i32,
    pub batches: usize,
    /// Where nothing goes wrong, no answer takes longer.
    pub answer_max: Option<Duration>,
    /// Between two batches, at the most.
    pub idle_max: Duration,
}

struct Batch {
    partition: i32,
    sequence: i32,
    values: Vec<String>,
    sent: Duration,
}

pub fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

/// Until the topic is there.
pub async fn create_topic<R: Runtime>(dial: &Dial, deeds: &Rc<RefCell<Deeds>>, partitions: i32) {
    let topic = CreatableTopic::default().with_name(topic()).with_num_partitions(partitions).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5_000);
    loop {
        if let Ok(mut client) = Client::<R>::connect(dial, Manners::default(), deeds).await
            && let Ok(answer) = client.call(&request, 7).await
        {
            let error = answer.topics[0].error_code;
            if error == 0 || error == TOPIC_EXISTS {
                return;
            }
            assert!(PASSING.contains(&error), "CreateTopics: error {error}");
        }
        R::sleep(Duration::from_millis(50)).await;
    }
}

impl Producer {
    /// Ends when every batch is acknowledged.
    pub async fn run<R: Runtime>(self) {
        let (mut id, mut batches, mut done) = (None, Vec::new(), 0);
        while done < self.batches {
            if let Ok(mut client) = Client::<R>::connect(&self.dial, self.manners, &self.deeds).await {
                let _ = self.session(&mut client, &mut id, &mut batches, &mut done).await;
            }
            R::sleep(Duration::from_millis(1 + R::below(200))).await;
        }
    }

    /// One connection's life.
    async fn session<R: Runtime>(
        &self,
        client: &mut Client<R>,
        id: &mut Option<(i64, i16)>,
        batches: &mut Vec<Batch>,
        done: &mut usize,
    ) -> io::Result<()> {
        let id = match id {
            Some(id) => *id,
            None => {
                let answer = client.call(&InitProducerIdRequest::default().with_transactional_id(None), 4).await?;
                assert!(answer.error_code == 0 || PASSING.contains(&answer.error_code), "{answer:?}");
                if answer.error_code != 0 {
                    return Ok(());
                }
                *id.insert((answer.producer_id.0, answer.producer_epoch))
            }
        };
        let mut sent = *done;
        // Whoever looks at the clock reads each answer before it does anything else.
        let window = if self.answer_max.is_some() { 1 } else { WINDOW };
        while *done < self.batches {
            while sent < self.batches && sent - *done < window && (sent == *done || chance::<R>(60)) {
                if sent == batches.len() {
                    R::sleep(Duration::from_micros(R::below(1 + self.idle_max.as_micros() as u64))).await;
                    batches.push(self.next_batch::<R>(batches));
                }
                batches[sent].sent = R::elapsed();
                client.send(&request(id, &batches[sent]), PRODUCE_VERSION).await?;
                sent += 1;
            }
            let answer = client.answer::<ProduceRequest>(PRODUCE_VERSION).await?;
            let batch = &batches[*done];
            let answer = &answer.responses[0].partition_responses[0];
            assert_eq!(answer.index, batch.partition, "the answer to another request");
            match answer.error_code {
                0 => self.acknowledged::<R>(batch, answer.base_offset),
                OUT_OF_ORDER => self.out_of_order(batch),
                error => {
                    assert!(
                        PASSING.contains(&error),
                        "{}: {} from {}: error {error}",
                        self.name,
                        batch.partition,
                        batch.sequence
                    );
                    return Ok(());
                }
            }
            *done += 1;
        }
        Ok(())
    }

    /// Rightly refused only where one before it of its partition is not there yet.
    fn out_of_order(&self, batch: &Batch) -> ! {
        let name = &self.name;
        panic!(
            "{name}: partition {} from {}: out of order, and all before it are acknowledged",
            batch.partition, batch.sequence
        )
    }

    fn acknowledged<R: Runtime>(&self, batch: &Batch, base: i64) {
        let mut ledger = self.ledger.borrow_mut();
        for (offset, value) in (base..).zip(&batch.values) {
            ledger.acknowledge(batch.partition, offset, value);
        }
        let took = R::elapsed().saturating_sub(batch.sent);
        let max = self.answer_max.unwrap_or(Duration::MAX);
        assert!(took <= max, "{}: an answer took {took:?}, where nothing went wrong", self.name);
    }

    fn next_batch<R: Runtime>(&self, batches: &[Batch]) -> Batch {
        let partition = R::below(self.partitions as u64) as i32;
        let before = batches.iter().rev().find(|batch| batch.partition == partition);
        let sequence = before.map_or(0, |batch| batch.sequence + batch.values.len() as i32);
        let count = 1 + R::below(4) as i32;
        let values = (sequence..sequence + count).map(|number| format!("{}-{number}", self.name)).collect();
        Batch { partition, sequence, values, sent: Duration::ZERO }
    }
}

fn request((id, epoch): (i64, i16), batch: &Batch) -> ProduceRequest {
    let records: Vec<Record> =
        batch.values.iter().zip(0..).map(|(value, at)| record(id, epoch, batch.sequence, at, value)).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("a batch");
    let partition = PartitionProduceData::default().with_index(batch.partition).with_records(Some(bytes.freeze()));
    let topic = TopicProduceData::default().with_name(topic()).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic])
}

fn record(producer_id: i64, producer_epoch: i16, sequence: i32, at: i32, value: &str) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(at),
        sequence: sequence + at,
        timestamp: 1_795_219_200_000,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    }
}
