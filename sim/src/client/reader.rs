//! A reader: long polls over some partitions, from the start or from the tail, checking every batch it is given.
//!
//! It verifies that offsets follow each other, that each batch is one that was sent, byte for byte, that nothing lies
//! beyond the high watermark, and that nothing it was told before has gone back.

use crate::client::batch::take;
use crate::client::{Ctx, Link, Sent, Turn, decode};
use crate::dice::Dice;
use crate::ledger::{Known, Ledger, Part, TopicState};
use crate::net::Wire;
use crate::plan::Plan;
use crate::queue::{MILLIS, Nanos};
use crate::report::Invariant;
use highwater::boundary::ConnId;
use highwater::wire::ErrorCode;
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use highwater::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};

/// One partition in a request: what was asked, and what was known then.
pub struct Asked {
    part: Part,
    offset: i64,
    known: Known,
}

pub enum What {
    Fetch(Vec<Asked>),
    Offsets(Asked),
}

struct Place {
    part: Part,
    /// Where to read next; `None`: ask by ListOffsets for `from`.
    next: Option<i64>,
    from: i64,
}

pub struct Reader {
    pub link: Link<What>,
    number: u16,
    readers: u16,
    version: i16,
    places: Vec<Place>,
    known_parts: usize,
    next_at: Nanos,
    pause: Nanos,
    /// Partitions read by another reader as well, from their tail.
    tails: u64,
    turn: usize,
    fetches_left: u32,
}

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

impl Reader {
    pub fn new(number: u16, plan: &Plan, dice: &mut Dice) -> Reader {
        Reader {
            link: Link::new(format!("reader-{number}")),
            number,
            readers: plan.work.readers,
            version: dice.between(4, 18) as i16,
            places: Vec::new(),
            known_parts: 0,
            next_at: 0,
            pause: plan.heal_at / u64::from(plan.work.fetches.max(1)),
            tails: dice.below(4),
            turn: 0,
            fetches_left: plan.work.fetches,
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

    fn turn(&mut self, ctx: &mut Ctx, turn: Turn<What>) {
        if let Turn::Answers(answers) = turn {
            for (sent, body) in answers {
                self.on_answer(ctx, sent, &body);
            }
        }
        self.pump(ctx);
    }

    pub fn unfinished(&self, ledger: &Ledger) -> Option<String> {
        if self.link.is_retired() {
            return None;
        }
        let behind: Vec<String> = self
            .places
            .iter()
            .filter(|place| ledger.serves(place.part))
            .filter(|place| place.next.is_none_or(|next| next < ledger.parts[place.part].acked_end))
            .map(|place| {
                format!("{} at {:?} of {}", ledger.name(place.part), place.next, ledger.parts[place.part].acked_end)
            })
            .collect();
        let serving = self.places.iter().any(|place| ledger.serves(place.part));
        let enough = self.fetches_left == 0 || !serving;
        if behind.is_empty() && enough && self.known_parts == ledger.parts.len() {
            return None;
        }
        Some(format!("{}; {} fetches left; behind: {}", self.link.describe(), self.fetches_left, behind.join(", ")))
    }

    /// Takes its share of partitions that have come to be.
    fn adopt(&mut self, ctx: &mut Ctx) {
        for part in self.known_parts..ctx.ledger.parts.len() {
            if part as u64 % u64::from(self.readers) == u64::from(self.number) {
                let next = if ctx.dice.coin() { Some(0) } else { None };
                self.places.push(Place { part, next, from: EARLIEST });
            } else if self.tails > 0 && ctx.dice.chance(150_000) {
                self.places.push(Place { part, next: None, from: LATEST });
            }
        }
        self.known_parts = ctx.ledger.parts.len();
    }

    fn pump(&mut self, ctx: &mut Ctx) {
        self.adopt(ctx);
        if !self.link.is_up() || !self.link.sent.is_empty() {
            return;
        }
        if ctx.now < self.next_at {
            return self.link.wake(ctx, self.next_at);
        }
        self.next_at = ctx.now + if ctx.calm { 5 * MILLIS } else { ctx.dice.skewed(self.pause / 2) };
        let serving: Vec<usize> =
            (0..self.places.len()).filter(|at| ctx.ledger.serves(self.places[*at].part)).collect();
        if serving.is_empty() {
            return self.link.wake(ctx, self.next_at + 5 * MILLIS);
        }
        if let Some(at) = serving.iter().find(|at| self.places[**at].next.is_none()) {
            self.ask_offsets(ctx, *at);
        } else {
            self.ask_records(ctx, &serving);
        }
        self.link.maybe_leave(ctx);
        self.link.wake(ctx, self.next_at);
    }

    fn ask_offsets(&mut self, ctx: &mut Ctx, at: usize) {
        let Place { part, from, .. } = self.places[at];
        let version = self.version.min(11);
        let partition = ListOffsetsPartition {
            partition_index: ctx.ledger.parts[part].index,
            timestamp: from,
            ..ListOffsetsPartition::default()
        };
        let topic =
            ListOffsetsTopic { name: ctx.ledger.topic_of(part).name.clone().into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
        let asked = Asked { part, offset: from, known: ctx.ledger.known(part) };
        self.link.send(ctx, version, &request, What::Offsets(asked), true);
    }

    fn ask_records(&mut self, ctx: &mut Ctx, serving: &[usize]) {
        let count = ctx.dice.between(1, 8).min(serving.len() as u64) as usize;
        let mut request = FetchRequest {
            max_wait_ms: if ctx.calm { 20 } else { ctx.dice.pick(&[0, 5, 20, 100]) },
            min_bytes: ctx.dice.pick(&[0, 1, 1, 1_000, 20_000]),
            max_bytes: ctx.dice.pick(&[1, 4_096, 65_536, 1 << 20]),
            session_epoch: -1,
            ..FetchRequest::default()
        };
        let mut asked = Vec::new();
        for step in 0..count {
            let place = &self.places[serving[(self.turn + step) % serving.len()]];
            let (part, offset) = (place.part, place.next.expect("only those that know their place"));
            let topic = ctx.ledger.topic_of(part);
            let partition = FetchPartition {
                partition: ctx.ledger.parts[part].index,
                fetch_offset: offset,
                partition_max_bytes: ctx.dice.pick(&[1, 16_384, 262_144]),
                ..FetchPartition::default()
            };
            match request.topics.iter_mut().find(|other| other.topic == topic.name) {
                Some(other) => other.partitions.push(partition),
                None => request.topics.push(FetchTopic {
                    topic: topic.name.clone().into(),
                    topic_id: topic.id.expect("a live topic has an id"),
                    partitions: vec![partition],
                }),
            }
            asked.push(Asked { part, offset, known: ctx.ledger.known(part) });
        }
        self.turn += count;
        ctx.stats.fetches += 1;
        self.fetches_left = self.fetches_left.saturating_sub(1);
        self.link.send(ctx, self.version, &request, What::Fetch(asked), true);
    }

    fn on_answer(&mut self, ctx: &mut Ctx, sent: Sent<What>, body: &[u8]) {
        match sent.what {
            What::Offsets(asked) => {
                let Some(answer) = decode::<ListOffsetsResponse>(ctx, body, sent.version) else { return };
                let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
                let Some(partition) = partition else {
                    return ctx.fail(Invariant::Answers, "ListOffsets answers for no partition".to_string());
                };
                self.on_offset(ctx, &asked, partition.error_code, partition.offset);
            }
            What::Fetch(asked) => {
                let Some(answer) = decode::<FetchResponse>(ctx, body, sent.version) else { return };
                if !answer.error_code.is_none() {
                    return ctx.fail(Invariant::Answers, format!("Fetch is answered {}", answer.error_code));
                }
                self.on_fetched(ctx, &asked, &answer);
            }
        }
    }

    fn on_offset(&mut self, ctx: &mut Ctx, asked: &Asked, code: ErrorCode, offset: i64) {
        let part = asked.part;
        if !code.is_none() {
            return self.on_error(ctx, asked, code);
        }
        let least = if asked.offset == LATEST {
            asked.known.high_watermark.max(asked.known.acked_end)
        } else {
            asked.known.start
        };
        if offset < least && ctx.ledger.serves(part) {
            let detail =
                format!("{}: ListOffsets {} gives {offset}, known was {least}", ctx.ledger.name(part), asked.offset);
            return ctx.fail(Invariant::Monotone, detail);
        }
        if let Some(place) = self.places.iter_mut().find(|place| place.part == part) {
            place.next = Some(offset);
        }
    }

    fn on_fetched(&mut self, ctx: &mut Ctx, asked: &[Asked], answer: &FetchResponse) {
        let mut answered = 0;
        for topic in &answer.responses {
            let found = ctx.ledger.find_topic(&topic.topic).or_else(|| ctx.ledger.find_topic_id(topic.topic_id));
            for partition in &topic.partitions {
                let part = found.and_then(|topic| ctx.ledger.find_part(topic, partition.partition_index));
                let Some(asked) = asked.iter().find(|asked| Some(asked.part) == part) else {
                    let detail = format!("Fetch answers for {}-{}, not asked", topic.topic, partition.partition_index);
                    return ctx.fail(Invariant::Answers, detail);
                };
                answered += 1;
                if partition.error_code.is_none() {
                    self.on_records(ctx, asked, partition);
                } else {
                    self.on_error(ctx, asked, partition.error_code);
                }
            }
        }
        if answered != asked.len() {
            ctx.fail(Invariant::Answers, format!("Fetch answers for {answered} of {} partitions", asked.len()));
        }
    }

    fn on_records(&mut self, ctx: &mut Ctx, asked: &Asked, answer: &PartitionData) {
        let part = asked.part;
        let name = ctx.ledger.name(part);
        let lax = !ctx.ledger.serves(part) || ctx.ledger.beyond;
        let verdict = ctx.ledger.told(part, asked.known, answer.high_watermark, answer.log_start_offset);
        if !ctx.judge(verdict) {
            return;
        }
        let bytes = answer.records.as_ref().map(|records| records.contiguous()).unwrap_or_default();
        let mut rest = &bytes[..];
        let mut next = asked.offset;
        loop {
            let view = match take(&mut rest) {
                Ok(Some(view)) => view,
                Ok(None) => break,
                Err(why) => {
                    return ctx.fail(Invariant::Genuine, format!("{name}: fetched from {}: {why}", asked.offset));
                }
            };
            let verdict = ctx.ledger.served(part, view.tag, view.base, view.crc, view.len, view.records);
            if !ctx.judge(verdict) {
                return;
            }
            let end = view.base + i64::from(view.records);
            let follows = if next == asked.offset { view.base <= next && end > next } else { view.base == next };
            if !follows && !lax {
                let detail =
                    format!("{name}: fetched from {}: {}..{end} where {next} was due", asked.offset, view.base);
                return ctx.fail(Invariant::Holes, detail);
            }
            if end > answer.high_watermark && !lax {
                let detail =
                    format!("{name}: {}..{end} is served, high watermark {}", view.base, answer.high_watermark);
                return ctx.fail(Invariant::Monotone, detail);
            }
            let verdict = ctx.ledger.read(view.tag.expect("it was found"), view.base);
            if !ctx.judge(verdict) {
                return;
            }
            next = end;
        }
        if let Some(place) = self.places.iter_mut().find(|place| place.part == part) {
            place.next = Some(next);
        }
    }

    fn on_error(&mut self, ctx: &mut Ctx, asked: &Asked, code: ErrorCode) {
        let part = asked.part;
        let name = ctx.ledger.name(part);
        if !ctx.ledger.serves(part) || ctx.ledger.beyond {
            return;
        }
        match code {
            ErrorCode::OFFSET_OUT_OF_RANGE
                if asked.offset < ctx.ledger.parts[part].start.max(1)
                    || ctx.ledger.topic_of(part).retention_bytes >= 0 =>
            {
                if let Some(place) = self.places.iter_mut().find(|place| place.part == part) {
                    (place.next, place.from) = (None, EARLIEST);
                }
            }
            ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::CORRUPT_MESSAGE if ctx.ledger.parts[part].may_refuse => {
                ctx.ledger.parts[part].refused = true;
                ctx.stats.refusals += 1;
            }
            // A read that failed, a partition that is not open yet.
            ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::OFFSET_NOT_AVAILABLE
                if !ctx.calm => {}
            other => {
                let live = ctx.ledger.topic_of(part).state == TopicState::Live;
                let detail = format!("{name}: a read from {} is answered {other}; live: {live}", asked.offset);
                ctx.fail(Invariant::Damage, detail);
            }
        }
    }
}
