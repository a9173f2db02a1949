//! The keeper: writes values by key to a compacted topic, and reads it whole again and again.
//!
//! It knows for each record where it lies, once it was acknowledged. Compaction may take away what was overtaken, and
//! nothing else: of each key the last acknowledged record, or one behind it, must be there.
//!
//! Invariant: what is judged was acknowledged before the reading began.

use crate::client::{Ctx, Link, Sent, Turn, decode};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::ledger::compacted::{Seen, TOPIC, parse};
use crate::net::Wire;
use crate::plan::Plan;
use crate::queue::{MILLIS, Nanos};
use crate::report::Invariant;
use bytes::Bytes;
use highwater::boundary::{ConnId, Timestamp};
use highwater::records::{BatchBuilder, Compression};
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use highwater::wire::{ErrorCode, Records};

pub enum What {
    Create,
    /// Records from this number on.
    Write {
        first: u32,
        count: u32,
    },
    Read {
        offset: i64,
    },
}

pub struct Keeper {
    pub link: Link<What>,
    writes_left: u32,
    keys: u32,
    created: bool,
    next_at: Nanos,
    pause: Nanos,
    /// The reading under way, where it goes on, and how many records there were when it began.
    scan: Option<(Vec<Seen>, i64, usize)>,
    /// Whole readings since the faults ended.
    calm_scans: u32,
}

const KINDS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

impl Keeper {
    pub fn new(plan: &Plan, dice: &mut Dice) -> Keeper {
        let writes = dice.between(150, 400) as u32;
        Keeper {
            link: Link::new("keeper".to_string()),
            writes_left: writes,
            keys: dice.between(2, 20) as u32,
            created: false,
            next_at: 0,
            pause: plan.heal_at / u64::from(writes) * 2 / 3,
            scan: None,
            calm_scans: 0,
        }
    }

    pub fn on_wake(&mut self, ctx: &mut Ctx) {
        let turn = self.link.on_wake(ctx);
        self.turn(ctx, turn);
    }

    pub fn on_wire(&mut self, ctx: &mut Ctx, conn: ConnId, wire: Wire) {
        let turn = self.link.on_wire(ctx, conn, wire);
        self.turn(ctx, turn);
    }

    pub fn unfinished(&self, ctx: &crate::ledger::Ledger) -> Option<String> {
        let done = self.link.is_retired() || ctx.compacted_lax() || (self.writes_left == 0 && self.calm_scans >= 2);
        (!done).then(|| {
            format!("{}; {} writes left, {} readings", self.link.describe(), self.writes_left, self.calm_scans)
        })
    }

    fn turn(&mut self, ctx: &mut Ctx, turn: Turn<What>) {
        match turn {
            Turn::Nothing | Turn::Up => {}
            Turn::Lost(_) => self.scan = None,
            Turn::Answers(answers) => {
                for (sent, body) in answers {
                    self.on_answer(ctx, sent, &body);
                }
            }
        }
        if !self.link.is_up() || !self.link.sent.is_empty() || ctx.ledger.compacted_lax() {
            return;
        }
        if ctx.now < self.next_at {
            return self.link.wake(ctx, self.next_at);
        }
        if !self.created {
            self.next_at = ctx.now + 20 * MILLIS;
            self.create(ctx);
        } else if let Some((_, next, _)) = &self.scan {
            let next = *next;
            self.read(ctx, next);
        } else if self.writes_left > 0 && !ctx.dice.chance(60_000) {
            self.next_at = ctx.now + if ctx.calm { 2 * MILLIS } else { ctx.dice.skewed(self.pause / 2) };
            self.write(ctx);
        } else {
            self.next_at = ctx.now + if self.writes_left == 0 { 1_500 * MILLIS } else { 0 };
            self.scan = Some((Vec::new(), 0, ctx.ledger.compacted.acked()));
            self.read(ctx, 0);
        }
        if let Turn::Lost(_) = self.link.maybe_leave(ctx) {
            self.scan = None;
        }
        self.link.wake(ctx, self.next_at);
    }

    fn create(&mut self, ctx: &mut Ctx) {
        let config = |name: &'static str, value: &'static str| CreatableTopicConfig {
            name: name.into(),
            value: Some(value.into()),
        };
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![
                config("cleanup.policy", "compact"),
                config("segment.ms", "200"),
                config("min.cleanable.dirty.ratio", "0.01"),
                config("delete.retention.ms", "300"),
            ],
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..CreateTopicsRequest::default() };
        self.link.send(ctx, 5, &request, What::Create, true);
    }

    fn write(&mut self, ctx: &mut Ctx) {
        self.writes_left -= 1;
        let count = ctx.dice.between(1, 5) as u32;
        let mut builder = BatchBuilder::new().compression(ctx.dice.pick(&KINDS));
        let first = ctx.ledger.compacted.next();
        let timestamp = Timestamp(1_795_219_200_000 + (ctx.now / MILLIS) as i64);
        for _ in 0..count {
            let key = ctx.dice.below(u64::from(self.keys)) as u32;
            let tombstone = ctx.dice.chance(150_000);
            let number = ctx.ledger.compacted.write(key, tombstone);
            let value = [&number.to_le_bytes()[..], &[number as u8; 200]].concat();
            let value = Some(&value[..]).filter(|_| !tombstone);
            builder.push(timestamp, Some(&key.to_le_bytes()), value, &[(b"n", Some(&number.to_le_bytes()))]);
        }
        let bytes = Bytes::from(builder.build());
        let data = PartitionProduceData { index: 0, records: Some(Records::from(bytes)) };
        let topic_data =
            vec![TopicProduceData { name: TOPIC.into(), partition_data: vec![data], ..TopicProduceData::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..ProduceRequest::default() };
        self.link.send(ctx, 9, &request, What::Write { first, count }, true);
    }

    fn read(&mut self, ctx: &mut Ctx, offset: i64) {
        let partition =
            FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 16, ..FetchPartition::default() };
        let topics = vec![FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..FetchTopic::default() }];
        let request = FetchRequest { max_bytes: 1 << 16, session_epoch: -1, topics, ..FetchRequest::default() };
        self.link.send(ctx, 12, &request, What::Read { offset }, true);
    }

    fn on_answer(&mut self, ctx: &mut Ctx, sent: Sent<What>, body: &[u8]) {
        match sent.what {
            What::Create => {
                let Some(answer) = decode::<CreateTopicsResponse>(ctx, body, sent.version) else { return };
                match answer.topics.first().map(|topic| topic.error_code) {
                    Some(ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS) => self.created = true,
                    Some(_) if !ctx.calm => {}
                    other => ctx.fail(Invariant::Answers, format!("CreateTopics {TOPIC}: {other:?}")),
                }
            }
            What::Write { first, count } => {
                let Some(answer) = decode::<ProduceResponse>(ctx, body, sent.version) else { return };
                let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
                match partition.map(|partition| (partition.error_code, partition.base_offset)) {
                    Some((ErrorCode::NONE, base)) => {
                        let verdict = ctx.ledger.compacted.acked_at(first, count, base);
                        ctx.judge(verdict);
                    }
                    Some(_) if !ctx.calm || ctx.ledger.compacted_lax() => {}
                    other => ctx.fail(Invariant::Answers, format!("Produce to {TOPIC}: {other:?}")),
                }
            }
            What::Read { offset } => {
                let Some(answer) = decode::<FetchResponse>(ctx, body, sent.version) else { return };
                self.on_read(ctx, offset, &answer);
            }
        }
    }

    fn on_read(&mut self, ctx: &mut Ctx, offset: i64, answer: &FetchResponse) {
        let Some((mut seen, _, acked)) = self.scan.take() else { return };
        let data = answer.responses.first().and_then(|topic| topic.partitions.first());
        let Some(data) = data.filter(|data| data.error_code.is_none()) else {
            if ctx.calm && !ctx.ledger.compacted_lax() && !ctx.read_errors {
                let error = data.map(|data| data.error_code);
                ctx.fail(Invariant::Damage, format!("{TOPIC}: a read from {offset} is answered {error:?}"));
            }
            return;
        };
        let bytes = data.records.as_ref().map(|records| records.contiguous()).unwrap_or_default();
        let next = match parse(&bytes, offset, &mut seen) {
            Ok(next) => next,
            Err(why) => return ctx.fail(Invariant::Genuine, format!("{TOPIC}: read from {offset}: {why}")),
        };
        if next < data.high_watermark {
            if next == offset && ctx.calm && !bytes.is_empty() {
                let detail = format!("{TOPIC}: nothing behind {offset} of {}", data.high_watermark);
                return ctx.fail(Invariant::Holes, detail);
            }
            self.scan = Some((seen, next, acked));
            return;
        }
        if ctx.ledger.compacted.is_compacted(&seen, acked) {
            ctx.counts.add(Fault::Compacted);
        }
        self.calm_scans += u32::from(ctx.calm && self.writes_left == 0);
        let verdict = if ctx.ledger.compacted_lax() { Ok(()) } else { ctx.ledger.compacted.judge(&seen, acked, false) };
        ctx.judge(verdict);
    }
}
