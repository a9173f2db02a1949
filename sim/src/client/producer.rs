//! A producer: idempotent or not, several requests in flight, several partitions in each, sending again after a loss.
//!
//! An idempotent producer sends a batch again, under the same sequence, until it is told where it lies. Another one
//! never does: what it was not told stays open.
//!
//! Invariant: the batches of a partition are sent in the order of their sequences; when one fails, what was sent behind
//! it is called back before anything else goes out.

use crate::client::batch::{Recipe, build};
use crate::client::{Ctx, Link, Linked, Sent, decode};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::ledger::{BatchId, Ledger, Part, State, TopicState};
use crate::plan::{ProducerPlan, Workload};
use crate::queue::{MICROS, MILLIS, Nanos};
use crate::report::Invariant;
use bytes::Bytes;
use highwater::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use highwater::wire::{ErrorCode, Records};
use std::collections::{BTreeMap, VecDeque};

/// A batch on its way.
#[derive(Clone)]
struct Parcel {
    id: BatchId,
    part: Part,
    sequence: i32,
    bytes: Bytes,
    /// The answer that a bad batch must get.
    bad: Option<ErrorCode>,
    /// It was acknowledged before: the answer must name the same place.
    again: bool,
}

pub enum What {
    Init,
    Produce(Vec<Part>),
}

#[derive(Default)]
struct Lane {
    /// To be sent, or sent again, in order.
    queue: VecDeque<Parcel>,
    /// Sent and not answered, in order.
    flying: VecDeque<Parcel>,
    next_sequence: i32,
    /// Acknowledged under the present id and epoch.
    acked: u32,
    /// The last batch that was made.
    last: Option<BatchId>,
    /// The last acknowledged ones, oldest first: the broker must know them still.
    recent: VecDeque<Parcel>,
    /// Something failed: wait until nothing is flying.
    hold: bool,
    /// After a refusal: not before this.
    resume_at: Nanos,
}

pub struct Producer {
    pub link: Link<What>,
    number: usize,
    plan: ProducerPlan,
    identity: Option<(i64, i16)>,
    lanes: BTreeMap<Part, Lane>,
    made: u32,
    next_at: Nanos,
}

/// As many batches of a producer are remembered by the broker, those in flight included (KIP-98).
const BATCHES_KNOWN: usize = 5;
/// Above this a batch is refused, see `admin`.
pub const MESSAGE_BYTES_MAX: usize = 60_000;

impl Linked for Producer {
    type What = What;

    fn link(&mut self) -> &mut Link<What> {
        &mut self.link
    }

    fn on_answer(&mut self, ctx: &mut Ctx, sent: Sent<What>, body: &[u8]) {
        match sent.what {
            What::Init => {
                let Some(answer) = decode::<InitProducerIdResponse>(ctx, body, sent.version) else { return };
                if answer.error_code.is_none() {
                    self.identity = Some((answer.producer_id, answer.producer_epoch));
                    let verdict = ctx.ledger.given_producer_id(answer.producer_id);
                    ctx.judge(verdict);
                }
            }
            What::Produce(parts) => {
                ctx.stats.produce_took_max = ctx.stats.produce_took_max.max(ctx.now - sent.at);
                let Some(answer) = decode::<ProduceResponse>(ctx, body, sent.version) else { return };
                self.on_produced(ctx, &parts, &answer);
            }
        }
    }

    /// The connection is gone: an idempotent producer sends everything again.
    fn on_lost(&mut self, _: Vec<Sent<What>>) {
        for lane in self.lanes.values_mut() {
            lane.hold = false;
            let flying = std::mem::take(&mut lane.flying);
            if self.plan.idempotent {
                // One before them may have been refused, and wait already.
                for parcel in flying.into_iter().filter(|parcel| parcel.bad.is_none() && !parcel.again) {
                    lane.put_back(parcel);
                }
            }
        }
    }

    fn go_on(&mut self, ctx: &mut Ctx) {
        self.pump(ctx);
    }
}

impl Producer {
    pub fn new(number: usize, work: &Workload) -> Producer {
        Producer {
            link: Link::new(format!("producer-{number}")),
            number,
            plan: work.producers[number].clone(),
            identity: None,
            lanes: BTreeMap::new(),
            made: 0,
            next_at: 0,
        }
    }

    /// For each partition the last acknowledged batch that the broker must recognise, if it is sent once more now.
    pub fn recognised(&self) -> impl Iterator<Item = (Part, BatchId, Bytes)> {
        let known = self.lanes.iter().filter(|(_, lane)| lane.queue.len() + lane.flying.len() < BATCHES_KNOWN);
        known.filter_map(|(part, lane)| lane.recent.back().map(|parcel| (*part, parcel.id, parcel.bytes.clone())))
    }

    pub fn unfinished(&self, ledger: &Ledger) -> Option<String> {
        if self.link.is_retired() {
            return None;
        }
        let waiting: usize = self
            .lanes
            .iter()
            .filter(|(part, _)| ledger.serves(**part))
            .map(|(_, lane)| lane.queue.len() + lane.flying.len())
            .sum();
        if self.made < self.plan.requests || waiting > 0 {
            return Some(format!(
                "{}; {} of {} made, {waiting} batches wait",
                self.link.describe(),
                self.made,
                self.plan.requests
            ));
        }
        None
    }

    fn pump(&mut self, ctx: &mut Ctx) {
        let mut bound = 16;
        while self.link.is_up() && self.link.sent.len() < self.plan.in_flight && bound > 0 {
            bound -= 1;
            if self.plan.idempotent && self.identity.is_none() {
                if self.link.sent.is_empty() {
                    let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
                    self.link.send(ctx, (self.number % 6) as i16, &request, What::Init, true);
                }
                return;
            }
            let resend =
                self.lanes.iter().any(|(part, lane)| !lane.queue.is_empty() && self.may_send(ctx, *part, lane));
            let fresh = self.made < self.plan.requests && (ctx.now >= self.next_at || ctx.calm);
            if fresh && !resend && self.begin_anew(ctx) {
                continue;
            }
            if !resend && !fresh {
                break;
            }
            let parcels = self.gather(ctx, fresh);
            if parcels.is_empty() {
                break;
            }
            self.ship(ctx, parcels);
            let turn = self.link.maybe_leave(ctx);
            self.turn(ctx, turn);
        }
        // A link keeps its earliest wake only: what is to be sent again later needs one of its own.
        let waiting = self.lanes.iter().filter(|(_, lane)| !lane.queue.is_empty() && lane.resume_at > ctx.now);
        if let Some(at) = waiting.map(|(_, lane)| lane.resume_at).min() {
            self.link.wake(ctx, at);
        }
        // With all requests in flight, or no connection, an answer or the link's own wake comes first.
        if self.made < self.plan.requests && self.link.is_up() && self.link.sent.len() < self.plan.in_flight {
            self.link.wake(ctx, self.next_at.max(ctx.now + 500 * MICROS));
        }
    }

    /// Where nothing is on its way: sometimes raises the epoch, or asks for another id.
    fn begin_anew(&mut self, ctx: &mut Ctx) -> bool {
        let waits = |(part, lane): (&Part, &Lane)| {
            !lane.flying.is_empty() || (!lane.queue.is_empty() && ctx.ledger.serves(*part))
        };
        if !self.plan.idempotent || !self.link.sent.is_empty() || self.lanes.iter().any(waits) {
            return false;
        }
        let raise = ctx.dice.chance(self.plan.raise);
        let renew = ctx.dice.chance(self.plan.renew);
        if !raise && !renew {
            return false;
        }
        for lane in self.lanes.values_mut() {
            (lane.next_sequence, lane.acked) = (if renew { first_sequence(ctx.dice) } else { 0 }, 0);
            if !lane.queue.is_empty() {
                // What is given up may be stored or not: it orders nothing.
                (lane.last, lane.queue) = (None, VecDeque::new());
            }
            lane.recent.clear();
        }
        ctx.counts.add(if renew { Fault::NewProducer } else { Fault::NewEpoch });
        self.made += 1;
        self.identity = self.identity.filter(|_| !renew).map(|(id, epoch)| (id, epoch + 1));
        true
    }

    fn may_send(&self, ctx: &Ctx, part: Part, lane: &Lane) -> bool {
        !lane.hold && lane.resume_at <= ctx.now && ctx.ledger.serves(part)
    }

    /// One batch for each of some partitions: those that wait to be sent again first.
    fn gather(&mut self, ctx: &mut Ctx, fresh: bool) -> Vec<Parcel> {
        let mut parcels: Vec<Parcel> = Vec::new();
        for (part, lane) in &mut self.lanes {
            if !lane.queue.is_empty()
                && parcels.len() < self.plan.partitions_per_request
                && !lane.hold
                && lane.resume_at <= ctx.now
                && ctx.ledger.serves(*part)
                && let Some(parcel) = lane.queue.pop_front()
            {
                ctx.counts.add(Fault::Retry);
                parcels.push(parcel);
            }
        }
        if !fresh || !parcels.is_empty() {
            return parcels;
        }
        let live: Vec<Part> = (0..ctx.ledger.parts.len()).filter(|part| ctx.ledger.serves(*part)).collect();
        if live.is_empty() {
            if ctx.calm && !ctx.ledger.topics.iter().any(|topic| topic.state == TopicState::Creating) {
                self.made = self.plan.requests;
            }
            return parcels;
        }
        self.made += 1;
        self.next_at = ctx.now + ctx.dice.skewed(self.plan.pause_us * MICROS / 2);
        if ctx.dice.chance(self.plan.again)
            && let Some(parcel) = self.once_more(ctx)
        {
            ctx.counts.add(Fault::Again);
            return vec![parcel];
        }
        let bad = ctx.dice.chance(self.plan.invalid);
        let count = if bad { 1 } else { self.plan.partitions_per_request };
        for _ in 0..count {
            let large = ctx.dice.chance(self.plan.large) && live[0] == 0 && parcels.is_empty();
            let part = if large { 0 } else { live[ctx.dice.index(live.len())] };
            let begin = |dice| Lane { next_sequence: first_sequence(dice), ..Lane::default() };
            let lane = self.lanes.entry(part).or_insert_with(|| begin(ctx.dice));
            if lane.hold || !lane.queue.is_empty() || parcels.iter().any(|parcel| parcel.part == part) {
                continue;
            }
            parcels.push(self.make(ctx, part, bad, large));
        }
        parcels
    }

    /// One of the last acknowledged batches of some partition.
    fn once_more(&self, ctx: &mut Ctx) -> Option<Parcel> {
        let known = |lane: &Lane| lane.recent.len().min(BATCHES_KNOWN.saturating_sub(lane.flying.len()));
        let lanes: Vec<&Lane> = self
            .lanes
            .iter()
            .filter(|(part, lane)| self.may_send(ctx, **part, lane) && lane.queue.is_empty() && known(lane) > 0)
            .map(|(_, lane)| lane)
            .collect();
        if lanes.is_empty() {
            return None;
        }
        let lane = lanes[ctx.dice.index(lanes.len())];
        let back = 1 + ctx.dice.index(known(lane));
        Some(Parcel { again: true, ..lane.recent[lane.recent.len() - back].clone() })
    }

    fn make(&mut self, ctx: &mut Ctx, part: Part, bad: bool, large: bool) -> Parcel {
        let mut records = ctx.dice.between(1, self.plan.records_per_batch * 2) as u32;
        let mut value_bytes = self.plan.value_bytes as usize;
        if large {
            records = ctx.dice.between(1, 4) as u32;
            value_bytes = ctx.dice.between(36_000, 58_000) as usize / records as usize;
        }
        let lane = self.lanes.get_mut(&part).expect("it was made");
        let settled = lane.flying.is_empty() && lane.acked > 0;
        let kinds = [Fault::BadCrc, Fault::BadSequence, Fault::BadEpoch, Fault::TooLarge];
        let mut kind = if bad { ctx.dice.pick(&kinds) } else { Fault::Retry };
        let raised = self.identity.is_some_and(|(_, epoch)| epoch > 0);
        if kind == Fault::BadEpoch && !raised {
            kind = Fault::BadSequence;
        }
        if matches!(kind, Fault::BadSequence | Fault::BadEpoch) && !(self.plan.idempotent && settled) {
            kind = Fault::BadCrc;
        }
        let (mut sequence, mut identity) = (lane.next_sequence, self.identity);
        let refusal = match kind {
            Fault::BadCrc => Some(ErrorCode::CORRUPT_MESSAGE),
            Fault::BadSequence => {
                sequence = behind(sequence, ctx.dice.pick(&[1, 2, 1_000]));
                Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
            }
            Fault::BadEpoch => {
                identity = identity.map(|(id, epoch)| (id, epoch - 1));
                Some(ErrorCode::INVALID_PRODUCER_EPOCH)
            }
            Fault::TooLarge => {
                (records, value_bytes) = (1, MESSAGE_BYTES_MAX + ctx.dice.below(20_000) as usize);
                Some(ErrorCode::MESSAGE_TOO_LARGE)
            }
            _ => None,
        };
        let id = ctx.ledger.new_batch(part, records);
        let producer = identity.map(|(id, epoch)| (id, epoch, sequence));
        // A little behind each other, so that times do not only grow along the log.
        let timestamp = 1_795_219_200_000 + (ctx.now / MILLIS) as i64 - ctx.dice.below(40) as i64;
        let step = ctx.dice.pick(&[0, 0, 1, 7]);
        let (mut bytes, crc) = build(&Recipe { id, records, value_bytes, timestamp, step, producer });
        let batch = &mut ctx.ledger.batches[id as usize];
        (batch.crc, batch.len, batch.timestamp, batch.step) = (crc, bytes.len() as u32, timestamp, step);
        if refusal.is_some() {
            ctx.counts.add(kind);
            batch.state = State::Refused;
            if kind == Fault::BadCrc {
                // Not in the attributes: a codec that does not exist has an error of its own.
                let at = ctx.dice.between(23, bytes.len() as u64 - 1) as usize;
                bytes[at] ^= 1 << ctx.dice.below(8);
            }
        } else {
            lane.next_sequence = behind(lane.next_sequence, records);
            ctx.ledger.parts[part].offered += i64::from(records);
            if let Some(before) = lane.last.replace(id).filter(|_| self.plan.idempotent) {
                ctx.ledger.follows(before, id);
            }
        }
        Parcel { id, part, sequence, bytes: bytes.into(), bad: refusal, again: false }
    }

    fn ship(&mut self, ctx: &mut Ctx, parcels: Vec<Parcel>) {
        ctx.stats.produces += 1;
        let version = self.plan.version;
        let mut request = ProduceRequest { acks: self.plan.acks, timeout_ms: 30_000, ..ProduceRequest::default() };
        let mut parts = Vec::new();
        for parcel in &parcels {
            let topic = ctx.ledger.topic_of(parcel.part);
            let data = PartitionProduceData {
                index: ctx.ledger.parts[parcel.part].index,
                records: Some(Records::from(parcel.bytes.clone())),
            };
            request.topic_data.push(TopicProduceData {
                name: topic.name.clone().into(),
                topic_id: topic.id.expect("a live topic has an id"),
                partition_data: vec![data],
            });
            parts.push(parcel.part);
        }
        merge_topics(&mut request);
        let answered = self.plan.acks != 0;
        self.link.send(ctx, version, &request, What::Produce(parts), answered);
        if answered {
            for parcel in parcels {
                self.lanes.get_mut(&parcel.part).expect("it was made").flying.push_back(parcel);
            }
        }
    }

    fn on_produced(&mut self, ctx: &mut Ctx, parts: &[Part], answer: &ProduceResponse) {
        let mut answered = 0;
        for topic in &answer.responses {
            let found = ctx.ledger.find_topic(&topic.name).or_else(|| ctx.ledger.find_topic_id(topic.topic_id));
            for partition in &topic.partition_responses {
                let part = found.and_then(|topic| ctx.ledger.find_part(topic, partition.index));
                let Some(part) = part.filter(|part| parts.contains(part)) else {
                    let detail = format!("Produce answers for {}-{}, not asked", topic.name, partition.index);
                    return ctx.fail(Invariant::Answers, detail);
                };
                answered += 1;
                let lane = self.lanes.get_mut(&part).expect("it was sent");
                let Some(parcel) = lane.flying.pop_front() else { continue };
                let kept = ctx.ledger.keeps_all(part);
                if partition.error_code.is_none() && kept && partition.log_start_offset > 0 {
                    let detail = format!(
                        "{}: Produce tells of a log start {}",
                        ctx.ledger.name(part),
                        partition.log_start_offset
                    );
                    return ctx.fail(Invariant::Durable, detail);
                }
                self.on_result(ctx, parcel, partition.error_code, partition.base_offset);
            }
        }
        if answered != parts.len() {
            ctx.fail(Invariant::Answers, format!("Produce answers for {answered} of {} partitions", parts.len()));
        }
    }

    fn on_result(&mut self, ctx: &mut Ctx, parcel: Parcel, code: ErrorCode, base: i64) {
        let part = parcel.part;
        let name = ctx.ledger.name(part);
        let lane = self.lanes.get_mut(&part).expect("it was sent");
        let excused = !ctx.ledger.serves(part) || ctx.ledger.beyond;
        if let Some(expected) = parcel.bad {
            if code != expected && !passing(code) && !excused {
                let detail = format!("{name}: batch {} must be refused with {expected}, got {code}", parcel.id);
                ctx.fail(Invariant::Refused, detail);
            }
            return;
        }
        match code {
            ErrorCode::NONE if base < 0 && !excused => {
                return ctx.fail(Invariant::Answers, format!("{name}: batch {} is stored at {base}", parcel.id));
            }
            ErrorCode::NONE => {
                let verdict = ctx.ledger.acked(parcel.id, base);
                if !parcel.again && self.plan.idempotent {
                    lane.acked += 1;
                    lane.recent.push_back(parcel);
                    if lane.recent.len() > BATCHES_KNOWN {
                        lane.recent.pop_front();
                    }
                }
                ctx.judge(verdict);
            }
            _ if excused => {}
            code if parcel.again && !passing(code) => {
                let detail = format!("{name}: batch {}, acknowledged and sent again, is answered {code}", parcel.id);
                return ctx.fail(Invariant::Sequence, detail);
            }
            _ if parcel.again => {}
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER if self.plan.idempotent => {
                // Rightful only where one before it has failed.
                if !lane.hold {
                    let detail = format!(
                        "{name}: batch {}, sequence {}, all before it acknowledged",
                        parcel.id, parcel.sequence
                    );
                    return ctx.fail(Invariant::Sequence, detail);
                }
                self.call_back(ctx, parcel);
            }
            code if passing(code) => {
                if ctx.calm && ctx.ledger.parts[part].may_refuse {
                    ctx.ledger.parts[part].refused = true;
                    ctx.stats.refusals += 1;
                } else if self.plan.idempotent {
                    self.call_back(ctx, parcel);
                }
            }
            other => ctx.fail(Invariant::Answers, format!("{name}: batch {} is answered {other}", parcel.id)),
        }
        let lane = self.lanes.get_mut(&part).expect("it was sent");
        if lane.flying.is_empty() {
            lane.hold = false;
        }
    }

    /// To be sent again, when all that flies behind it is back.
    fn call_back(&mut self, ctx: &mut Ctx, parcel: Parcel) {
        let lane = self.lanes.get_mut(&parcel.part).expect("it was sent");
        lane.hold = true;
        lane.resume_at = ctx.now + ctx.dice.between(10, 60) * MILLIS;
        let resume_at = lane.resume_at;
        self.link.wake(ctx, resume_at);
        self.lanes.get_mut(&parcel.part).expect("it was sent").put_back(parcel);
    }
}

impl Lane {
    /// Among those that wait, where its sequence belongs.
    fn put_back(&mut self, parcel: Parcel) {
        // Sequences wrap from `i32::MAX` to 0: what is before is less than half of them behind.
        let is_before =
            |other: &Parcel| (1..1 << 30).contains(&(parcel.sequence.wrapping_sub(other.sequence) & i32::MAX));
        let place = self.queue.partition_point(is_before);
        self.queue.insert(place, parcel);
    }
}

/// A producer that the broker does not know may begin anywhere (as one does that was forgotten): sometimes so that it wraps.
fn first_sequence(dice: &mut Dice) -> i32 {
    if dice.below(6) == 0 { i32::MAX - dice.below(60) as i32 } else { 0 }
}

/// So many records further on; `i32::MAX` is followed by 0.
fn behind(sequence: i32, records: u32) -> i32 {
    sequence.wrapping_add(records as i32) & i32::MAX
}

/// Errors after which the same batch may be sent again.
pub fn passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::NETWORK_EXCEPTION
    )
}

/// Partitions of one topic stand together in a request.
fn merge_topics(request: &mut ProduceRequest) {
    let mut merged: Vec<TopicProduceData> = Vec::new();
    for mut topic in request.topic_data.drain(..) {
        match merged.iter_mut().find(|other| other.name == topic.name) {
            Some(other) => other.partition_data.append(&mut topic.partition_data),
            None => merged.push(topic),
        }
    }
    request.topic_data = merged;
}
