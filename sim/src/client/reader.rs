//! A reader: long polls over some partitions, from the start or from the tail, checking every batch it is given.
//!
//! It verifies that offsets follow each other, that each batch is one that was sent, byte for byte, that nothing lies
//! beyond the high watermark, and that nothing it was told before has gone back. Many a reader uses fetch sessions: then
//! what is not answered must be as it was.

use crate::client::batch::take;
use crate::client::session::Session;
use crate::client::{Ctx, Link, Linked, Sent, decode};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::ledger::{Found, Known, Ledger, Part, TopicState};
use crate::plan::Plan;
use crate::queue::{MILLIS, Nanos};
use crate::report::Invariant;
use highwater::wire::ErrorCode;
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use highwater::wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use highwater::wire::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

/// One partition in a request: what was asked, and what was known then.
pub struct Asked {
    pub part: Part,
    pub offset: i64,
    pub known: Known,
}

pub enum What {
    Fetch(Vec<Asked>, Limits),
    Offsets(Asked),
    /// The first record since this time; known when it was asked: where one lies.
    Since(Asked, i64, Option<i64>),
    /// The record with the largest timestamp; the largest known when it was asked.
    Largest(Asked, Option<i64>),
    /// The end of this leader epoch.
    EpochEnd(Asked, i32),
}

/// What a fetch asked for: bytes in all, bytes of each partition, when to answer.
#[derive(Clone, Debug)]
pub struct Limits {
    wait: Nanos,
    min_bytes: usize,
    max_bytes: usize,
    parts: Vec<usize>,
    /// Only what has changed is asked for, and answered.
    incremental: bool,
}

struct Place {
    part: Part,
    /// Leader epoch of the batch before `next`, where the log goes on behind it.
    epoch: Option<i32>,
    /// A leader epoch that is not the newest any more.
    fenced: i32,
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
    /// Of a reader that uses one.
    session: Option<Session>,
    fetches_left: u32,
    /// Fetches after the faults that wait for long.
    patient: u8,
    /// Since when there has been something to read for the fetch that waits.
    due_since: Option<Nanos>,
}

const LARGEST: i64 = -3;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// From the first version that knows `LARGEST`.
const LARGEST_SINCE: i16 = 7;
/// Lookups among a million requests.
const LOOKUPS: u32 = 60_000;
/// Without faults a waiting fetch hears of new records sooner than this.
const NEWS_MAX: Nanos = 3_500 * MILLIS;
/// Between the fetches of a reader that has read everything, and waits for the others.
const DONE_PAUSE: Nanos = 250 * MILLIS;

impl Linked for Reader {
    type What = What;

    fn link(&mut self) -> &mut Link<What> {
        &mut self.link
    }

    fn on_answer(&mut self, ctx: &mut Ctx, sent: Sent<What>, body: &[u8]) {
        match sent.what {
            What::Offsets(asked) => {
                let Some(partition) = listed(ctx, body, sent.version, &asked) else { return };
                self.on_offset(ctx, &asked, partition.error_code, partition.offset);
            }
            What::Since(asked, target, known) => {
                let Some(partition) = listed(ctx, body, sent.version, &asked) else { return };
                self.on_found(ctx, &asked, &partition, |ledger, found| {
                    ledger.found_by_time(asked.part, target, known, found)
                });
            }
            What::Largest(asked, known) => {
                let Some(partition) = listed(ctx, body, sent.version, &asked) else { return };
                self.on_found(ctx, &asked, &partition, |ledger, found| ledger.found_largest(asked.part, known, found));
            }
            What::EpochEnd(asked, epoch) => {
                let Some(answer) = decode::<OffsetForLeaderEpochResponse>(ctx, body, sent.version) else { return };
                let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
                let Some(partition) = partition else {
                    return ctx.fail(Invariant::Answers, "OffsetForLeaderEpoch answers nothing".to_string());
                };
                if !partition.error_code.is_none() {
                    return self.on_error(ctx, &asked, partition.error_code);
                }
                let (of, end) = (partition.leader_epoch, partition.end_offset);
                let verdict = ctx.ledger.found_epoch_end(asked.part, epoch, asked.known, of, end);
                ctx.judge(verdict);
            }
            What::Fetch(asked, limits) => {
                let Some(answer) = decode::<FetchResponse>(ctx, body, sent.version) else { return };
                if let Some(session) = &mut self.session
                    && session.is_lost(ctx, &answer)
                {
                    return;
                }
                if !answer.error_code.is_none() {
                    return ctx.fail(Invariant::Answers, format!("Fetch is answered {}", answer.error_code));
                }
                self.check_limits(ctx, sent.at, (&asked, &limits), &answer);
                self.on_fetched(ctx, &asked, limits.incremental, &answer);
            }
        }
    }

    fn go_on(&mut self, ctx: &mut Ctx) {
        self.pump(ctx);
    }

    fn look(&mut self, ctx: &mut Ctx) {
        self.look_at_waiting(ctx);
    }
}

impl Reader {
    pub fn new(number: u16, plan: &Plan, dice: &mut Dice) -> Reader {
        let version = dice.between(4, 18) as i16;
        Reader {
            link: Link::new(format!("reader-{number}")),
            number,
            readers: plan.work.readers,
            version,
            session: (version >= Session::SINCE && dice.below(4) > 0).then(Session::default),
            places: Vec::new(),
            known_parts: 0,
            next_at: 0,
            pause: plan.heal_at / u64::from(plan.work.fetches.max(1)),
            tails: dice.below(4),
            turn: 0,
            fetches_left: plan.work.fetches,
            patient: 2,
            due_since: None,
        }
    }

    /// A fetch that waits must hear of what is acknowledged meanwhile.
    fn look_at_waiting(&mut self, ctx: &mut Ctx) {
        let Some(Sent { what: What::Fetch(asked, limits), at, .. }) = self.link.sent.front() else {
            self.due_since = None;
            return;
        };
        let waits =
            |asked: &&Asked| ctx.ledger.serves(asked.part) && ctx.ledger.parts[asked.part].acked_end > asked.offset;
        let Some(due) = asked
            .iter()
            .find(waits)
            .filter(|_| ctx.calm_since.is_some_and(|since| *at >= since) && limits.min_bytes <= 1)
        else {
            self.due_since = None;
            return;
        };
        let since = *self.due_since.get_or_insert(ctx.now);
        if ctx.now - since > NEWS_MAX {
            let (name, end) = (ctx.ledger.name(due.part), ctx.ledger.parts[due.part].acked_end);
            let detail = format!("{name}: a fetch from {} is not told of records up to {end}", due.offset);
            ctx.fail(Invariant::Liveness, detail);
        }
    }

    /// Where acknowledged records have not been read yet.
    fn behind<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = &'a Place> {
        let serving = self.places.iter().filter(|place| ledger.serves(place.part));
        serving.filter(|place| place.next.is_none_or(|next| next < ledger.parts[place.part].acked_end))
    }

    pub fn unfinished(&self, ledger: &Ledger) -> Option<String> {
        if self.link.is_retired() {
            return None;
        }
        let behind: Vec<String> = self
            .behind(ledger)
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
                self.places.push(Place { part, next, from: EARLIEST, epoch: None, fenced: -1 });
            } else if self.tails > 0 && ctx.dice.chance(150_000) {
                self.places.push(Place { part, next: None, from: LATEST, epoch: None, fenced: -1 });
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
        self.next_at = ctx.now
            + if !ctx.calm {
                ctx.dice.skewed(self.pause * 5 / 8)
            } else if self.fetches_left == 0 && self.behind(ctx.ledger).next().is_none() {
                DONE_PAUSE
            } else {
                5 * MILLIS
            };
        let serving: Vec<usize> =
            (0..self.places.len()).filter(|at| ctx.ledger.serves(self.places[*at].part)).collect();
        if serving.is_empty() {
            return self.link.wake(ctx, self.next_at + 5 * MILLIS);
        }
        if let Some(at) = serving.iter().find(|at| self.places[**at].next.is_none()) {
            self.ask_offsets(ctx, *at);
        } else if ctx.dice.chance(LOOKUPS) {
            let at = serving[ctx.dice.index(serving.len())];
            self.ask_lookup(ctx, at);
        } else {
            self.ask_records(ctx, &serving);
        }
        self.link.maybe_leave(ctx);
        self.link.wake(ctx, self.next_at);
    }

    fn ask_offsets(&mut self, ctx: &mut Ctx, at: usize) {
        let Place { part, from, .. } = self.places[at];
        let asked = Asked { part, offset: from, known: ctx.ledger.known(part, ctx.calm) };
        self.send_list_offsets(ctx, part, from, What::Offsets(asked));
    }

    fn send_list_offsets(&mut self, ctx: &mut Ctx, part: Part, timestamp: i64, what: What) {
        let partition = ListOffsetsPartition {
            partition_index: ctx.ledger.parts[part].index,
            timestamp,
            ..ListOffsetsPartition::default()
        };
        let topic =
            ListOffsetsTopic { name: ctx.ledger.topic_of(part).name.clone().into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
        self.link.send(ctx, self.version.min(11), &request, what, true);
    }

    /// A lookup by time, or by leader epoch.
    fn ask_lookup(&mut self, ctx: &mut Ctx, at: usize) {
        let part = self.places[at].part;
        let asked = Asked { part, offset: 0, known: ctx.ledger.known(part, ctx.calm) };
        let dice = &mut *ctx.dice;
        let some = ctx.ledger.some_batch(part, |len| dice.index(len));
        let (time, epoch) = some.unwrap_or((1_795_219_200_000, None));
        match ctx.dice.below(3) {
            0 => {
                let target = time + ctx.dice.below(20) as i64 - 10;
                let end = asked.known.high_watermark.max(asked.known.acked_end);
                let known = ctx.ledger.first_since(part, target, end);
                ctx.counts.add(Fault::TimeLookup);
                self.send_list_offsets(ctx, part, target, What::Since(asked, target, known));
            }
            1 if self.version >= LARGEST_SINCE => {
                let known = ctx.ledger.largest_time(part);
                self.send_list_offsets(ctx, part, LARGEST, What::Largest(asked, known));
            }
            _ => {
                let epoch = epoch.unwrap_or(1) + ctx.dice.below(2) as i32;
                let partition = OffsetForLeaderPartition {
                    partition: ctx.ledger.parts[part].index,
                    leader_epoch: epoch,
                    ..OffsetForLeaderPartition::default()
                };
                let topic = ctx.ledger.topic_of(part).name.clone().into();
                let topics = vec![OffsetForLeaderTopic { topic, partitions: vec![partition] }];
                let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
                ctx.counts.add(Fault::EpochLookup);
                self.link.send(ctx, self.version.clamp(2, 4), &request, What::EpochEnd(asked, epoch), true);
            }
        }
    }

    /// Goes on for so many fetches more, if that is more than were left.
    pub fn fetch_at_least(&mut self, count: u32) {
        self.fetches_left = self.fetches_left.max(count);
    }

    fn ask_records(&mut self, ctx: &mut Ctx, serving: &[usize]) {
        let count = ctx.dice.between(1, 8).min(serving.len() as u64) as usize;
        let mut request = FetchRequest {
            max_wait_ms: if ctx.calm { 10 } else { ctx.dice.pick(&[0, 5, 20, 100]) },
            min_bytes: ctx.dice.pick(&[0, 1, 1, 1_000, 20_000]),
            max_bytes: ctx.dice.pick(&[1, 4_096, 65_536, 1 << 20]),
            session_epoch: -1,
            ..FetchRequest::default()
        };
        let same = self.session.as_ref().is_some_and(|_| ctx.dice.below(4) > 0);
        if ctx.calm && self.patient > 0 {
            self.patient -= 1;
            request.max_wait_ms = 5_000;
        }
        let mut asked: Vec<Asked> = Vec::new();
        let mut limits = Limits {
            wait: request.max_wait_ms as Nanos * MILLIS,
            min_bytes: request.min_bytes as usize,
            max_bytes: request.max_bytes as usize,
            parts: Vec::new(),
            incremental: false,
        };
        let epochs = ctx.dice.coin();
        let mut chosen: Vec<usize> = (0..count).map(|step| serving[(self.turn + step) % serving.len()]).collect();
        if let Some(session) = self.session.as_ref().filter(|session| same && session.goes_on()) {
            let kept = serving.iter().filter(|at| session.has(self.places[**at].part));
            let kept: Vec<usize> = kept.copied().collect();
            chosen = if kept.is_empty() { chosen } else { kept };
        }
        let mut wanted: Vec<(Part, FetchPartition)> = Vec::new();
        for at in chosen {
            let place = &self.places[at];
            let (part, offset) = (place.part, place.next.expect("only those that know their place"));
            let partition_max_bytes = ctx.dice.pick(&[1, 16_384, 262_144]);
            let known_epoch = ctx.ledger.parts[part].epoch;
            let last_epoch = place.epoch.filter(|_| epochs && ctx.ledger.keeps_all(part));
            let partition = FetchPartition {
                partition: ctx.ledger.parts[part].index,
                fetch_offset: offset,
                partition_max_bytes,
                current_leader_epoch: if epochs && known_epoch > place.fenced.max(0) { known_epoch } else { -1 },
                last_fetched_epoch: last_epoch.unwrap_or(-1),
                ..FetchPartition::default()
            };
            let before = self.session.as_ref().and_then(|session| session.before(part));
            // As it was asked for before, where it is still there.
            let partition = match before {
                Some(before) if same && before.fetch_offset == offset => before.clone(),
                Some(_) | None => partition,
            };
            limits.parts.push(partition.partition_max_bytes as usize);
            wanted.push((part, partition));
            asked.push(Asked { part, offset, known: ctx.ledger.known(part, ctx.calm) });
        }
        match &mut self.session {
            Some(session) => limits.incremental = session.ask(ctx, &wanted, &mut request),
            None => wanted.iter().for_each(|(part, partition)| name(ctx.ledger, *part, partition, &mut request)),
        }
        self.turn += count;
        ctx.stats.fetches += 1;
        self.fetches_left = self.fetches_left.saturating_sub(1);
        self.link.send(ctx, self.version, &request, What::Fetch(asked, limits), true);
    }

    /// Neither more than was asked for, nor before it was due.
    fn check_limits(
        &self,
        ctx: &mut Ctx,
        sent_at: Nanos,
        (asked, limits): (&[Asked], &Limits),
        answer: &FetchResponse,
    ) {
        let partitions: Vec<&PartitionData> = answer.responses.iter().flat_map(|topic| &topic.partitions).collect();
        let mut firsts = Vec::new();
        let (mut total, mut over) = (0, 0);
        let failed = |data: &&PartitionData| !data.error_code.is_none() || data.diverging_epoch.epoch >= 0;
        for data in &partitions {
            let bytes = data.records.as_ref().map(|records| records.contiguous()).unwrap_or_default();
            let mut rest = &bytes[..];
            let first = if take(&mut rest).is_ok() { bytes.len() - rest.len() } else { 0 };
            total += bytes.len();
            firsts.push(first);
            // The first batch of the answer is whole, whatever the limits; each shard has a first one.
            let max = limits.parts.iter().copied().max().unwrap_or(0);
            over += usize::from(bytes.len() > max.min(limits.max_bytes));
            if bytes.len() > max.max(first) || bytes.len() > limits.max_bytes.max(first) {
                let detail = format!("{} bytes of one partition, the first batch has {first}; {limits:?}", bytes.len());
                return ctx.fail(Invariant::Limits, detail);
            }
        }
        firsts.sort_unstable_by(|a, b| b.cmp(a));
        let whole: usize = firsts.iter().take(usize::from(ctx.shards)).sum();
        if over > usize::from(ctx.shards) || total > limits.max_bytes + whole {
            let detail = format!("{total} bytes in all, {over} partitions with a batch beyond their limit; {limits:?}");
            return ctx.fail(Invariant::Limits, detail);
        }
        let waited = ctx.now - sent_at;
        // The node's clock may be a little fast.
        // Where a partition has more than the byte it is asked for, that byte counts.
        let weighed = total + asked.len();
        let early = waited < limits.wait / 10 * 9 && weighed < limits.min_bytes.min(limits.max_bytes);
        let silent = |asked: &Asked| self.session.as_ref().is_some_and(|session| session.is_behind(asked));
        let behind = || {
            let mut pairs = asked.iter().zip(&limits.parts);
            pairs.any(|(asked, max)| is_behind(ctx, asked, *max, answer) || (*max > 1 && silent(asked)))
        };
        if early && !partitions.iter().any(failed) && !behind() {
            let detail = format!("{total} bytes after {} ms; {limits:?}", waited / MILLIS);
            ctx.fail(Invariant::Limits, detail);
        }
    }

    fn on_found(
        &mut self,
        ctx: &mut Ctx,
        asked: &Asked,
        partition: &ListOffsetsPartitionResponse,
        judge: impl FnOnce(&mut Ledger, Found) -> Result<(), (Invariant, String)>,
    ) {
        if !partition.error_code.is_none() {
            return self.on_error(ctx, asked, partition.error_code);
        }
        let found = Found { offset: partition.offset, timestamp: partition.timestamp, epoch: partition.leader_epoch };
        let verdict = judge(ctx.ledger, found);
        ctx.judge(verdict);
    }

    fn on_offset(&mut self, ctx: &mut Ctx, asked: &Asked, code: ErrorCode, offset: i64) {
        let part = asked.part;
        if !code.is_none() {
            return self.on_error(ctx, asked, code);
        }
        let verdict = ctx.ledger.told_offset(part, asked.known, offset, asked.offset == LATEST);
        if ctx.ledger.serves(part) && !ctx.judge(verdict) {
            return;
        }
        if let Some(place) = self.places.iter_mut().find(|place| place.part == part) {
            (place.next, place.epoch) = (Some(offset), None);
        }
    }

    fn on_fetched(&mut self, ctx: &mut Ctx, asked: &[Asked], incremental: bool, answer: &FetchResponse) {
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
        if let Some(session) = &mut self.session {
            session.on_answer(ctx, asked, answer);
        }
        if answered != asked.len() && !incremental {
            ctx.fail(Invariant::Answers, format!("Fetch answers for {answered} of {} partitions", asked.len()));
        }
    }

    fn on_records(&mut self, ctx: &mut Ctx, asked: &Asked, answer: &PartitionData) {
        let part = asked.part;
        let name = ctx.ledger.name(part);
        let lax = !ctx.ledger.serves(part) || ctx.ledger.beyond;
        if answer.log_start_offset > ctx.ledger.parts[part].start {
            ctx.counts.add(Fault::StartMoved);
        }
        let verdict = ctx.ledger.told(part, asked.known, answer.high_watermark, answer.log_start_offset);
        if !ctx.judge(verdict) {
            return;
        }
        let bytes = answer.records.as_ref().map(|records| records.contiguous()).unwrap_or_default();
        if asked.offset < asked.known.start && !lax {
            let (offset, start) = (asked.offset, asked.known.start);
            let detail = format!("{name}: a read from {offset} succeeds, though the log was known to start at {start}");
            return ctx.fail(Invariant::Purged, detail);
        }
        let mut rest = &bytes[..];
        let mut next = asked.offset;
        let mut epoch = None;
        if answer.diverging_epoch.epoch >= 0 && !lax {
            let (of, end) = (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset);
            let detail = format!("{name}: read up to {next}, and now the log has left there: epoch {of} ends at {end}");
            return ctx.fail(Invariant::Stable, detail);
        }
        loop {
            let view = match take(&mut rest) {
                Ok(Some(view)) => view,
                Ok(None) => break,
                Err(why) => {
                    return ctx.fail(Invariant::Genuine, format!("{name}: fetched from {}: {why}", asked.offset));
                }
            };
            if view.compressed {
                ctx.counts.add(Fault::Recoded);
            }
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
            let verdict = ctx.ledger.read(view.tag.expect("it was found"), view.base, view.epoch);
            if !ctx.judge(verdict) {
                return;
            }
            next = end;
            epoch = Some(view.epoch);
        }
        if let Some(place) = self.places.iter_mut().find(|place| place.part == part) {
            place.next = Some(next);
            place.epoch = epoch.or(place.epoch);
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
                if asked.offset < ctx.ledger.parts[part].start.max(1) || !ctx.ledger.keeps_all(part) =>
            {
                if let Some(place) = self.places.iter_mut().find(|place| place.part == part) {
                    (place.next, place.from, place.epoch) = (None, EARLIEST, None);
                }
            }
            ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::CORRUPT_MESSAGE if ctx.ledger.parts[part].may_refuse => {
                ctx.ledger.parts[part].refused = true;
                ctx.stats.refusals += 1;
                ctx.counts.add(Fault::RefusedPart);
            }
            ErrorCode::FENCED_LEADER_EPOCH => {
                ctx.counts.add(Fault::FencedLeader);
                let epoch = asked.known.epoch;
                for place in self.places.iter_mut().filter(|place| place.part == part) {
                    place.fenced = place.fenced.max(epoch);
                }
            }
            // A read that failed.
            ErrorCode::KAFKA_STORAGE_ERROR if !asked.known.calm && ctx.read_errors => {}
            ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::LEADER_NOT_AVAILABLE | ErrorCode::OFFSET_NOT_AVAILABLE
                if !asked.known.calm => {}
            other => {
                let live = ctx.ledger.topic_of(part).state == TopicState::Live;
                let detail = format!("{name}: a read from {} is answered {other}; live: {live}", asked.offset);
                ctx.fail(Invariant::Damage, detail);
            }
        }
    }
}

/// Adds a partition to a request. Places of one topic stand together in it, and so in the answer.
pub fn name(ledger: &Ledger, part: Part, partition: &FetchPartition, request: &mut FetchRequest<'static>) {
    let topic = ledger.topic_of(part);
    match request.topics.iter_mut().find(|other| other.topic == topic.name) {
        Some(other) => other.partitions.push(partition.clone()),
        None => request.topics.push(FetchTopic {
            topic: topic.name.clone().into(),
            topic_id: topic.id.expect("a live topic has an id"),
            partitions: vec![partition.clone()],
        }),
    }
}

/// The one partition that a ListOffsets asked about.
fn listed(ctx: &mut Ctx, body: &[u8], version: i16, asked: &Asked) -> Option<ListOffsetsPartitionResponse> {
    let answer = decode::<ListOffsetsResponse>(ctx, body, version)?;
    let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let partition =
        partitions.next().filter(|partition| partition.partition_index == ctx.ledger.parts[asked.part].index);
    if partition.is_none() {
        ctx.fail(Invariant::Answers, "ListOffsets answers for another partition, or for none".to_string());
    }
    partition.cloned()
}

/// Whether a reader that would take any batch has more to come than this answer brought. As in Kafka, such an answer need
/// not wait: a segment has ended, or there was no room.
fn is_behind(ctx: &Ctx, asked: &Asked, max: usize, answer: &FetchResponse) -> bool {
    let found = answer.responses.iter().flat_map(|topic| topic.partitions.iter().map(move |data| (topic, data)));
    let mut of_part = found.filter(|(topic, data)| {
        let topic = ctx.ledger.find_topic(&topic.topic).or_else(|| ctx.ledger.find_topic_id(topic.topic_id));
        topic.and_then(|topic| ctx.ledger.find_part(topic, data.partition_index)) == Some(asked.part)
    });
    of_part.next().is_some_and(|(_, data)| {
        let bytes = data.records.as_ref().map(|records| records.contiguous()).unwrap_or_default();
        max > 1 && end_of(&bytes).unwrap_or(asked.offset) < data.high_watermark
    })
}

/// One past the last record of these batches.
fn end_of(mut bytes: &[u8]) -> Option<i64> {
    let mut end = None;
    while let Ok(Some(view)) = take(&mut bytes) {
        end = Some(view.base + i64::from(view.records));
    }
    end
}
