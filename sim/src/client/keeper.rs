//! The keeper: writes values by key to a compacted topic, and reads it whole again and again.
//!
//! It knows for each record where it lies, once it was acknowledged. Compaction may take away what was overtaken, and
//! nothing else: of each key the last acknowledged record, or one behind it, must be there. Where it is idempotent, it sends a
//! batch until it is told where it lies, and now and then the last one once more, which must be recognised.
//!
//! Invariant: what is judged was acknowledged before the reading began.

use crate::client::producer::passing;
use crate::client::{Ctx, Link, Linked, Sent, decode};
use crate::faults::Fault;
use crate::ledger::compacted::{Reading, Seen, TOPIC, parse};
use crate::node::wall;
use crate::plan::{Disaster, KeptPlan, Plan};
use crate::queue::{MILLIS, Nanos};
use crate::report::Invariant;
use bytes::Bytes;
use highwater::boundary::Timestamp;
use highwater::records::{BatchBuilder, Compression};
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use highwater::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use highwater::wire::{ErrorCode, Records};

pub enum What {
    Init,
    Create,
    Write(Parcel),
    Read { offset: i64 },
}

/// A batch of records from this number on.
#[derive(Clone)]
pub struct Parcel {
    first: u32,
    count: u32,
    bytes: Bytes,
    /// It was acknowledged before.
    again: bool,
}

/// A reading under way.
struct Scan {
    seen: Vec<Seen>,
    next: i64,
    /// How many records were acknowledged when it began, and where the log starts.
    acked: usize,
    start: i64,
}

pub struct Keeper {
    pub link: Link<What>,
    plan: KeptPlan,
    writes_left: u32,
    created: bool,
    next_at: Nanos,
    pause: Nanos,
    /// How long a tombstone stays at the least; `None` where the node's clock may jump.
    tombstones_stay: Option<Nanos>,
    identity: Option<(i64, i16)>,
    next_sequence: i32,
    /// Sent and not answered: an idempotent keeper sends it again.
    open: Option<Parcel>,
    /// The last that was acknowledged.
    last: Option<Parcel>,
    scan: Option<Scan>,
    /// Whole readings since the faults ended.
    calm_scans: u32,
}

/// A value that no codec makes much smaller: segments fill up whatever the codec.
fn noise(number: u32) -> Vec<u8> {
    let mut state = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(17);
        state as u8
    };
    (0..200).map(|_| next()).collect()
}

const KINDS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
/// In a million turns: the last acknowledged batch once more.
const AGAIN: u32 = 60_000;
/// In a million turns: a whole reading.
const SCAN: u32 = 60_000;

impl Linked for Keeper {
    type What = What;

    fn link(&mut self) -> &mut Link<What> {
        &mut self.link
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
            What::Init => {
                let Some(answer) = decode::<InitProducerIdResponse>(ctx, body, sent.version) else { return };
                if answer.error_code.is_none() {
                    self.identity = Some((answer.producer_id, answer.producer_epoch));
                    let verdict = ctx.ledger.given_producer_id(answer.producer_id);
                    ctx.judge(verdict);
                }
            }
            What::Write(parcel) => {
                let Some(answer) = decode::<ProduceResponse>(ctx, body, sent.version) else { return };
                self.on_written(ctx, parcel, &answer);
            }
            What::Read { offset } => {
                let Some(answer) = decode::<FetchResponse>(ctx, body, sent.version) else { return };
                self.on_read(ctx, offset, &answer);
            }
        }
    }

    /// The connection is gone. What was not acknowledged is sent again, where that is safe.
    fn on_lost(&mut self, sent: Vec<Sent<What>>) {
        self.scan = None;
        for sent in sent {
            if let What::Write(parcel) = sent.what
                && self.plan.idempotent
                && !parcel.again
            {
                self.open = Some(parcel);
            }
        }
    }

    fn go_on(&mut self, ctx: &mut Ctx) {
        if !self.link.is_up() || !self.link.sent.is_empty() || ctx.ledger.compacted_lax() {
            return;
        }
        if ctx.now < self.next_at {
            return self.link.wake(ctx, self.next_at);
        }
        self.act(ctx);
        let turn = self.link.maybe_leave(ctx);
        self.turn(ctx, turn);
        self.link.wake(ctx, self.next_at);
    }
}

impl Keeper {
    pub fn new(plan: &Plan) -> Keeper {
        let steady = plan.clock.drift_ppm == 0
            && !plan.chaos.iter().any(|chaos| matches!(chaos.what, Disaster::StepWall { .. }));
        let stay = plan.kept.delete_retention_ms * MILLIS;
        Keeper {
            link: Link::new("keeper".to_string()),
            plan: plan.kept.clone(),
            writes_left: plan.kept.writes,
            created: false,
            next_at: 0,
            pause: plan.heal_at / u64::from(plan.kept.writes.max(1)) * 2 / 3,
            tombstones_stay: steady.then_some(stay),
            identity: None,
            next_sequence: 0,
            open: None,
            last: None,
            scan: None,
            calm_scans: 0,
        }
    }

    pub fn unfinished(&self, ctx: &crate::ledger::Ledger) -> Option<String> {
        let written = self.writes_left == 0 && self.open.is_none();
        let done = self.link.is_retired() || ctx.compacted_lax() || (written && self.calm_scans >= 2);
        (!done).then(|| {
            format!("{}; {} writes left, {} readings", self.link.describe(), self.writes_left, self.calm_scans)
        })
    }

    /// The next thing, one at a time.
    fn act(&mut self, ctx: &mut Ctx) {
        if !self.created {
            self.next_at = ctx.now + 20 * MILLIS;
            self.create(ctx);
        } else if self.plan.idempotent && self.identity.is_none() {
            let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
            self.link.send(ctx, 4, &request, What::Init, true);
        } else if let Some(next) = self.scan.as_ref().map(|scan| scan.next) {
            self.read(ctx, next);
        } else if let Some(parcel) = self.open.take() {
            self.next_at = ctx.now + 5 * MILLIS;
            ctx.counts.add(Fault::Retry);
            self.send(ctx, parcel);
        } else if let Some(parcel) = self.last.clone().filter(|_| self.plan.idempotent && ctx.dice.chance(AGAIN)) {
            ctx.counts.add(Fault::Again);
            self.send(ctx, Parcel { again: true, ..parcel });
        } else if self.writes_left > 0 && !ctx.dice.chance(SCAN) {
            self.next_at = ctx.now + if ctx.calm { 2 * MILLIS } else { ctx.dice.skewed(self.pause / 2) };
            self.write(ctx);
        } else {
            self.next_at = ctx.now + if self.writes_left == 0 { 1_500 * MILLIS } else { 0 };
            let acked = ctx.ledger.compacted.acked();
            self.scan = Some(Scan { seen: Vec::new(), next: 0, acked, start: 0 });
            self.read(ctx, 0);
        }
    }

    fn create(&mut self, ctx: &mut Ctx) {
        let config =
            |name: &'static str, value: String| CreatableTopicConfig { name: name.into(), value: Some(value.into()) };
        let mut configs = vec![
            config(
                "cleanup.policy",
                if self.plan.retention_ms.is_some() { "compact,delete" } else { "compact" }.into(),
            ),
            config("segment.ms", "200".into()),
            config("min.cleanable.dirty.ratio", "0.01".into()),
            config("delete.retention.ms", self.plan.delete_retention_ms.to_string()),
            config("min.compaction.lag.ms", self.plan.min_lag_ms.to_string()),
        ];
        configs.extend(self.plan.retention_ms.map(|ms| config("retention.ms", ms.to_string())));
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..CreateTopicsRequest::default() };
        self.link.send(ctx, 5, &request, What::Create, true);
    }

    fn write(&mut self, ctx: &mut Ctx) {
        self.writes_left -= 1;
        let count = ctx.dice.between(1, 5) as u32;
        let any = ctx.dice.pick(&KINDS);
        let codec = self.plan.codec.and_then(|id| KINDS.into_iter().find(|kind| kind.id() == id)).unwrap_or(any);
        let mut builder = BatchBuilder::new().compression(codec);
        if let Some((id, epoch)) = self.identity {
            builder = builder.producer(id, epoch, self.next_sequence);
            self.next_sequence += count as i32;
        }
        let first = ctx.ledger.compacted.next();
        // As the node's clock has it, or retention would take no notice.
        let timestamp = Timestamp(wall(ctx.now, ctx.ledger.skew_ms));
        for _ in 0..count {
            let key = ctx.dice.below(u64::from(self.plan.keys)) as u32;
            let tombstone = ctx.dice.chance(self.plan.tombstones);
            let number = ctx.ledger.compacted.write(key, tombstone, ctx.now);
            let value = noise(number);
            let value = Some(&value[..]).filter(|_| !tombstone);
            builder.push(timestamp, Some(&key.to_le_bytes()), value, &[(b"n", Some(&number.to_le_bytes()))]);
        }
        let bytes = Bytes::from(builder.build());
        self.send(ctx, Parcel { first, count, bytes, again: false });
    }

    fn send(&mut self, ctx: &mut Ctx, parcel: Parcel) {
        let data = PartitionProduceData { index: 0, records: Some(Records::from(parcel.bytes.clone())) };
        let topic_data =
            vec![TopicProduceData { name: TOPIC.into(), partition_data: vec![data], ..TopicProduceData::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..ProduceRequest::default() };
        self.link.send(ctx, 9, &request, What::Write(parcel), true);
    }

    fn read(&mut self, ctx: &mut Ctx, offset: i64) {
        let partition =
            FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 16, ..FetchPartition::default() };
        let topics = vec![FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..FetchTopic::default() }];
        let request = FetchRequest { max_bytes: 1 << 16, session_epoch: -1, topics, ..FetchRequest::default() };
        self.link.send(ctx, 12, &request, What::Read { offset }, true);
    }

    fn on_written(&mut self, ctx: &mut Ctx, parcel: Parcel, answer: &ProduceResponse) {
        let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        match partition.map(|partition| (partition.error_code, partition.base_offset)) {
            Some((ErrorCode::NONE, base)) => {
                let verdict = ctx.ledger.compacted.acked_at(parcel.first, parcel.count, base);
                ctx.judge(verdict);
                self.last = Some(parcel);
            }
            // With one batch on its way at a time, no sequence is out of order.
            Some((error, _)) if error == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER && !ctx.ledger.compacted_lax() => {
                let (first, again) = (parcel.first, parcel.again);
                ctx.fail(Invariant::Sequence, format!("{TOPIC}: the batch of record {first}, again {again}: {error}"));
            }
            Some((error, _)) if passing(error) || !ctx.calm || ctx.ledger.compacted_lax() => {
                self.open = Some(parcel).filter(|parcel| self.plan.idempotent && !parcel.again);
            }
            other => ctx.fail(Invariant::Answers, format!("Produce to {TOPIC}: {other:?}")),
        }
    }

    fn on_read(&mut self, ctx: &mut Ctx, offset: i64, answer: &FetchResponse) {
        let Some(mut scan) = self.scan.take() else { return };
        let data = answer.responses.first().and_then(|topic| topic.partitions.first());
        if let Some(data) = data.filter(|data| data.error_code == ErrorCode::OFFSET_OUT_OF_RANGE)
            && data.log_start_offset > offset
            && self.plan.retention_ms.is_some()
        {
            ctx.counts.add(Fault::KeptStart);
            let (next, start) = (data.log_start_offset, data.log_start_offset);
            self.scan = Some(Scan { seen: Vec::new(), next, start, ..scan });
            return;
        }
        let Some(data) = data.filter(|data| data.error_code.is_none()) else {
            if ctx.calm && !ctx.ledger.compacted_lax() && !ctx.read_errors {
                let error = data.map(|data| data.error_code);
                ctx.fail(Invariant::Damage, format!("{TOPIC}: a read from {offset} is answered {error:?}"));
            }
            return;
        };
        let bytes = data.records.as_ref().map(|records| records.contiguous()).unwrap_or_default();
        let next = match parse(&bytes, offset, &mut scan.seen) {
            Ok(next) => next,
            Err(why) => return ctx.fail(Invariant::Genuine, format!("{TOPIC}: read from {offset}: {why}")),
        };
        scan.start = scan.start.max(data.log_start_offset);
        if next < data.high_watermark {
            if next == offset && ctx.calm && !bytes.is_empty() {
                let detail = format!("{TOPIC}: nothing behind {offset} of {}", data.high_watermark);
                return ctx.fail(Invariant::Holes, detail);
            }
            self.scan = Some(Scan { next, ..scan });
            return;
        }
        self.calm_scans += u32::from(ctx.calm && self.writes_left == 0);
        if ctx.ledger.compacted_lax() {
            return;
        }
        let at = Some((ctx.now, self.tombstones_stay.unwrap_or(0)));
        let reading = Reading { seen: &scan.seen, acked: scan.acked, start: scan.start, at };
        match ctx.ledger.compacted.judge(&reading) {
            Ok(missing) => {
                if missing.overtaken > 0 {
                    ctx.counts.add(Fault::Compacted);
                }
                if missing.tombstones > 0 {
                    ctx.counts.add(Fault::TombstoneGone);
                }
            }
            Err((invariant, detail)) => ctx.fail(invariant, detail),
        }
    }
}
