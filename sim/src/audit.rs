//! The audit: a fresh node on a durable image, in a world without faults, read from the first offset to the last.
//!
//! It drives the shards directly: each op is done at once, in order, and time jumps when nothing is left to do.
//!
//! Invariant: it only reads; the image is a copy.

#[cfg(test)]
mod tests;

use crate::client::batch::take;
use crate::client::member::{fetch_request, seen_in};
use crate::dice::{Dice, Purpose};
use crate::disk::{Disk, Trouble};
use crate::faults::Counts;
use crate::ledger::compacted::{self, TOPIC, parse};
use crate::ledger::{BatchId, Ledger, Part, TopicState};
use crate::node::{Shards, config};
use crate::plan::Shape;
use crate::report::Invariant;
use bytes::{Buf, Bytes, BytesMut};
use highwater::boundary::{Accepted, Action, ConnId, Done, Halt, Input, Instant, Now, Op, Timestamp, Token};
use highwater::ids::ShardId;
use highwater::shard::Shard;
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use highwater::wire::frame::{RequestHeader, decode_response_header, encode_request};
use highwater::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};
use highwater::wire::metadata::{MetadataRequest, MetadataResponse};
use highwater::wire::offset_fetch::OffsetFetchResponse;
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use highwater::wire::{ErrorCode, Message, Reader, Records};
use std::collections::{BTreeMap, VecDeque};

/// What an audit saw.
#[derive(Debug, PartialEq, Eq)]
pub struct Audit {
    pub records: u64,
    /// Partitions that refuse, rightly.
    pub refused: usize,
}

/// An acknowledged batch of an idempotent producer: sent once more it must be recognised.
pub struct Resend {
    pub part: Part,
    pub batch: BatchId,
    pub bytes: Bytes,
}

type Broken = (Invariant, String);

struct Auditor {
    shards: Vec<Shard>,
    disk: Disk,
    inbox: VecDeque<(u16, Input)>,
    now: Now,
    accept: Option<Token>,
    recv: Option<(Token, Option<BytesMut>)>,
    to_node: BytesMut,
    to_client: BytesMut,
    ready: bool,
    halt: Option<Halt>,
    dice: Dice,
    counts: Counts,
    correlation: i32,
    /// Reads of the disk so far.
    reads: u32,
    /// What the core said, for the message of a failure.
    said: Vec<String>,
}

const CONN: ConnId = ConnId(1);
const STEPS_MAX: u32 = 400_000;

pub fn audit(disk: Disk, shape: &Shape, ledger: &Ledger, resends: &[Resend], seed: [u8; 32]) -> Result<Audit, Broken> {
    let mut auditor = Auditor::boot(disk, shape, seed);
    auditor.look(ledger, resends).map_err(|(invariant, detail)| {
        let said = auditor.said.join("; ");
        (invariant, if said.is_empty() { detail } else { format!("{detail}; it said: {said}") })
    })
}

impl Auditor {
    fn look(&mut self, ledger: &Ledger, resends: &[Resend]) -> Result<Audit, Broken> {
        let auditor = self;
        if let Err(why) = auditor.until(|auditor| auditor.ready) {
            return match auditor.halt.take() {
                // It may have hit the metadata log before there was any partition.
                Some(Halt::Damage { .. }) if ledger.claims.may_refuse => {
                    Ok(Audit { records: 0, refused: ledger.parts.len() })
                }
                Some(halt) => Err((Invariant::Halts, format!("recovery ends in {halt}"))),
                None => Err((Invariant::Liveness, format!("recovery: {why}"))),
            };
        }
        auditor.connect()?;
        let mut reading = Reading {
            ledger,
            wanted: auditor.topics(ledger)?,
            found: BTreeMap::new(),
            starts: BTreeMap::new(),
            overtaken: Vec::new(),
            seen: Audit { records: 0, refused: 0 },
        };
        while !reading.wanted.is_empty() {
            let body = auditor.call(13, &reading.request())?;
            let answer = FetchResponse::decode(&mut Reader::new(&body), 13)
                .map_err(|error| (Invariant::Answers, format!("Fetch: {error}")))?;
            reading.take(&answer)?;
            for (part, asked) in std::mem::take(&mut reading.overtaken) {
                let start = auditor.earliest(ledger, part)?;
                if start <= asked {
                    let detail = format!("{} starts at {start}, and {asked} is out of range", ledger.name(part));
                    return Err((Invariant::Damage, detail));
                }
                reading.wanted.insert(part, start);
                reading.starts.insert(part, start);
            }
        }
        for (part, start) in &reading.starts {
            ledger.audit(*part, *start, reading.found.entry(*part).or_default())?;
        }
        let whole = |resend: &&Resend| ledger.serves(resend.part) && reading.starts.contains_key(&resend.part);
        for resend in resends.iter().filter(whole) {
            auditor.send_again(ledger, resend)?;
        }
        let seen = reading.seen;
        auditor.compacted(ledger)?;
        auditor.commits(ledger)?;
        Ok(seen)
    }

    /// The compacted topic, from its first offset to its last.
    fn compacted(&mut self, ledger: &Ledger) -> Result<(), Broken> {
        if ledger.compacted_lax() || ledger.compacted.acked() == 0 {
            return Ok(());
        }
        let (mut seen, mut next, mut start) = (Vec::new(), 0, 0);
        loop {
            let partition =
                FetchPartition { fetch_offset: next, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
            let topics = vec![FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..FetchTopic::default() }];
            let request = FetchRequest { max_bytes: 4 << 20, session_epoch: -1, topics, ..FetchRequest::default() };
            let body = self.call(12, &request)?;
            let answer = FetchResponse::decode(&mut Reader::new(&body), 12)
                .map_err(|error| (Invariant::Answers, format!("Fetch: {error}")))?;
            let data = answer.responses.first().and_then(|topic| topic.partitions.first());
            if let Some(data) = data.filter(|data| data.error_code == ErrorCode::OFFSET_OUT_OF_RANGE)
                && data.log_start_offset > next
            {
                (next, start) = (data.log_start_offset, data.log_start_offset);
                seen.clear();
                continue;
            }
            let Some(data) = data.filter(|data| data.error_code.is_none()) else {
                return Err((Invariant::Damage, format!("{TOPIC} from {next}: {answer:?}")));
            };
            let bytes = data.records.as_ref().map(|records| records.contiguous()).unwrap_or_default();
            let end = parse(&bytes, next, &mut seen).map_err(|why| (Invariant::Genuine, format!("{TOPIC}: {why}")))?;
            if end >= data.high_watermark {
                break;
            }
            if end == next {
                return Err(liveness(format!("{TOPIC}: nothing from {next} of {}", data.high_watermark)));
            }
            next = end;
        }
        let reading = compacted::Reading { seen: &seen, acked: ledger.compacted.acked(), start, at: None };
        ledger.compacted.judge(&reading).map(|_| ())
    }

    /// Where a log starts, by ListOffsets.
    fn earliest(&mut self, ledger: &Ledger, part: Part) -> Result<i64, Broken> {
        let partition = ListOffsetsPartition {
            partition_index: ledger.parts[part].index,
            timestamp: -2,
            ..ListOffsetsPartition::default()
        };
        let name = ledger.topic_of(part).name.clone().into();
        let topics = vec![ListOffsetsTopic { name, partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
        let body = self.call(7, &request)?;
        let answer = ListOffsetsResponse::decode(&mut Reader::new(&body), 7)
            .map_err(|error| (Invariant::Answers, format!("ListOffsets: {error}")))?;
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        match partition {
            Some(partition) if partition.error_code.is_none() => Ok(partition.offset),
            other => Err((Invariant::Answers, format!("ListOffsets: {other:?}"))),
        }
    }

    /// What a producer was told is stored is recognised as that, after recovery as before.
    fn send_again(&mut self, ledger: &Ledger, resend: &Resend) -> Result<(), Broken> {
        let topic = ledger.topic_of(resend.part);
        let index = ledger.parts[resend.part].index;
        let data = PartitionProduceData { index, records: Some(Records::from(resend.bytes.clone())) };
        let topic_id = topic.id.expect("it serves");
        let topic_data =
            vec![TopicProduceData { name: topic.name.clone().into(), topic_id, partition_data: vec![data] }];
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..ProduceRequest::default() };
        let body = self.call(9, &request)?;
        let answer = ProduceResponse::decode(&mut Reader::new(&body), 9)
            .map_err(|error| (Invariant::Answers, format!("Produce: {error}")))?;
        let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let partition = partition.ok_or((Invariant::Answers, "Produce answers nothing".to_string()))?;
        let known = ledger.batches[resend.batch as usize].base;
        let (code, base) = (partition.error_code, partition.base_offset);
        if !code.is_none() || known.is_some_and(|known| known != base) {
            let name = ledger.name(resend.part);
            let detail =
                format!("{name}: batch {}, acknowledged at {known:?}, is sent again: {code} at {base}", resend.batch);
            return Err((Invariant::Sequence, detail));
        }
        Ok(())
    }
}

fn liveness(why: String) -> Broken {
    (Invariant::Liveness, why)
}

impl Auditor {
    fn boot(disk: Disk, shape: &Shape, seed: [u8; 32]) -> Auditor {
        let now = Now { mono: Instant(0), wall: Timestamp(1_795_219_200_000) };
        // The image says how many shards it has.
        let count = Shards::of(&disk, shape.shards).run;
        let shards = Shards { run: count, reshard: None };
        let shards = (0..count).map(|shard| Shard::new(config(shape, shards, shard), seed, now)).collect();
        let mut auditor = Auditor {
            shards,
            disk,
            inbox: VecDeque::new(),
            now,
            accept: None,
            recv: None,
            to_node: BytesMut::new(),
            to_client: BytesMut::new(),
            ready: false,
            halt: None,
            dice: Dice::new(0, Purpose::Disk),
            counts: Counts::default(),
            correlation: 0,
            reads: 0,
            said: Vec::new(),
        };
        for shard in 0..count {
            auditor.drain(shard);
        }
        auditor
    }

    /// Runs until `done`, or says why that will never be.
    fn until(&mut self, done: impl Fn(&Auditor) -> bool) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            if self.halt.is_some() {
                return Err("it halts".to_string());
            }
            if done(self) {
                return Ok(());
            }
            let Some((shard, input)) = self.inbox.pop_front() else {
                self.jump()?;
                continue;
            };
            self.now.mono = Instant(self.now.mono.0 + 200);
            self.shards[usize::from(shard)].handle(self.now, input);
            self.drain(shard);
        }
        let next: Vec<String> = self.inbox.iter().take(3).map(|(_, input)| format!("{input:.200?}")).collect();
        let waits: Vec<String> = self.shards.iter().flat_map(|shard| shard.waits_for()).collect();
        let (mono, waits) = (self.now.mono.0, waits.join(", "));
        Err(format!("still going after {STEPS_MAX} steps, mono {mono}, next {next:?}, waits for {waits}"))
    }

    /// Nothing is left to do: the next timer.
    fn jump(&mut self) -> Result<(), String> {
        let due = self.shards.iter().enumerate().filter_map(|(index, shard)| Some((shard.deadline()?, index))).min();
        let Some((due, index)) = due else { return Err("it waits for nothing".to_string()) };
        self.now.mono = self.now.mono.max(due);
        self.inbox.push_back((index as u16, Input::Tick));
        Ok(())
    }

    fn drain(&mut self, shard: u16) {
        while let Some(action) = self.shards[usize::from(shard)].poll() {
            match action {
                Action::Submit { token, op } => self.submit(shard, token, op),
                Action::Mail { to, mail } => {
                    self.inbox.push_back((to.0, Input::Mail { from: ShardId(shard), mail }));
                }
                Action::Halt(halt) => {
                    self.halt = Some(halt);
                    return;
                }
                Action::Log { text, .. } => self.said.push(text),
                Action::Ready => self.ready = true,
            }
        }
    }

    fn done(&mut self, shard: u16, token: Token, done: Done) {
        self.inbox.push_back((shard, Input::Done { token, done }));
    }

    fn submit(&mut self, shard: u16, token: Token, op: Op) {
        match op {
            Op::Accept { .. } => {
                if shard == 0 {
                    self.accept = Some(token);
                }
            }
            Op::Recv { into, .. } => {
                self.recv = Some((token, into));
                self.pump();
            }
            Op::Send { data, .. } => {
                let len = data.iter().map(|slice| slice.len()).sum();
                for slice in data {
                    self.to_client.extend_from_slice(&slice);
                }
                self.done(shard, token, Done::Sent(Ok(len)));
            }
            Op::Hangup { .. } => self.done(shard, token, Done::Ended(Ok(()))),
            op => {
                self.reads += u32::from(matches!(op, Op::Read { .. }));
                let mark = self.disk.mark(&op);
                let done = self.disk.perform(op, Trouble::None, mark, &mut self.dice, &mut self.counts);
                self.done(shard, token, done);
            }
        }
    }

    fn pump(&mut self) {
        if self.to_node.is_empty() {
            return;
        }
        let Some((token, into)) = self.recv.take() else { return };
        let mut buf = into.unwrap_or_default();
        let room = if buf.capacity() == buf.len() { usize::MAX } else { buf.capacity() - buf.len() };
        let part = self.to_node.split_to(self.to_node.len().min(room));
        buf.extend_from_slice(&part);
        self.done(0, token, Done::Received(Ok(buf)));
    }

    fn connect(&mut self) -> Result<(), Broken> {
        self.until(|auditor| auditor.accept.is_some()).map_err(|why| liveness(format!("accept: {why}")))?;
        let token = self.accept.take().expect("it waits");
        let accepted = Accepted {
            conn: CONN,
            listener: 0,
            peer: "127.0.0.1:1".to_string(),
            principal: "User:ANONYMOUS".to_string(),
        };
        self.done(0, token, Done::Accepted(Ok(accepted)));
        Ok(())
    }

    /// One request and its answer, without the size.
    fn call<'a, M: Message<'a>>(&mut self, version: i16, message: &M) -> Result<bytes::Bytes, Broken> {
        self.correlation += 1;
        let header = RequestHeader {
            api_key: M::API,
            api_version: version,
            correlation_id: self.correlation,
            client_id: Some("audit".into()),
        };
        for slice in encode_request(&header, message) {
            self.to_node.extend_from_slice(&slice);
        }
        self.pump();
        let whole = |auditor: &Auditor| {
            let size = auditor.to_client.get(..4).map(|size| u32::from_be_bytes(size.try_into().expect("four")));
            size.is_some_and(|size| auditor.to_client.len() >= 4 + size as usize)
        };
        self.until(whole).map_err(|why| match &self.halt {
            Some(halt) => (Invariant::Halts, format!("{}: the node halts: {halt}", M::API)),
            None => liveness(format!("{}: {why}", M::API)),
        })?;
        let size = self.to_client.get_u32() as usize;
        let frame = self.to_client.split_to(size).freeze();
        let mut r = Reader::new(&frame);
        match decode_response_header(&mut r, M::API, version) {
            Ok(correlation) if correlation == self.correlation => Ok(frame.slice(size - r.remaining()..)),
            other => Err((Invariant::Answers, format!("{}: header {other:?}", M::API))),
        }
    }

    /// What groups have committed, against what they were told.
    fn commits(&mut self, ledger: &Ledger) -> Result<(), Broken> {
        let topic = &ledger.topics[0];
        let Some(id) = topic.id.filter(|_| topic.state == TopicState::Live) else { return Ok(()) };
        for group in ledger.claims.committed() {
            let request = fetch_request(&group, &topic.name, id, topic.parts.len() as u16, 9);
            let mut asked = 0;
            let seen = loop {
                let body = self.call(9, &request)?;
                let answer = OffsetFetchResponse::decode(&mut Reader::new(&body), 9)
                    .map_err(|error| (Invariant::Answers, format!("OffsetFetch: {error}")))?;
                match seen_in(&answer) {
                    (ErrorCode::NONE, seen) => break seen,
                    (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, _) if asked < 1_000 => asked += 1,
                    (_, _) if ledger.claims.may_refuse => return Ok(()),
                    (error, _) => return Err((Invariant::Damage, format!("{group}: OffsetFetch: {error}"))),
                }
            };
            for (partition, offset) in seen {
                ledger.claims.fetched(&group, partition, offset, u64::MAX)?;
            }
        }
        Ok(())
    }

    /// All partitions that should be there, each to be read from 0.
    fn topics(&mut self, ledger: &Ledger) -> Result<BTreeMap<Part, i64>, Broken> {
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        let body = self.call(12, &request)?;
        let answer = MetadataResponse::decode(&mut Reader::new(&body), 12)
            .map_err(|error| (Invariant::Answers, format!("Metadata: {error}")))?;
        let mut wanted = BTreeMap::new();
        for topic in &ledger.topics {
            let lax = topic.parts.iter().any(|part| ledger.parts[*part].may_lose);
            let listed = answer.topics.iter().find(|listed| listed.name.as_deref() == Some(&topic.name));
            match (topic.state, listed) {
                (TopicState::Live, None) if !lax => {
                    return Err((Invariant::Durable, format!("{}, created before, is not there", topic.name)));
                }
                (TopicState::Deleted, Some(_)) if !lax => {
                    return Err((Invariant::Deleted, format!("{}, deleted before, is there", topic.name)));
                }
                // What is still listed is not deleted, and whole.
                (TopicState::Live | TopicState::Deleting, Some(listed)) if topic.id == Some(listed.topic_id) => {
                    let whole = topic.parts.iter().filter(|part| !ledger.parts[**part].may_lose);
                    wanted.extend(whole.map(|part| (*part, 0)));
                }
                _ => {}
            }
        }
        Ok(wanted)
    }
}

/// The partitions on their way from their first offset to their last.
struct Reading<'l> {
    ledger: &'l Ledger,
    /// Still to be read, and from where.
    wanted: BTreeMap<Part, i64>,
    /// The batches found, by base offset.
    found: BTreeMap<Part, BTreeMap<i64, BatchId>>,
    /// Log starts of those that were read and did not refuse.
    starts: BTreeMap<Part, i64>,
    /// Those whose start has left the offset behind that was asked for.
    overtaken: Vec<(Part, i64)>,
    seen: Audit,
}

impl Reading<'_> {
    fn request(&self) -> FetchRequest<'static> {
        let mut request = FetchRequest { max_wait_ms: 0, max_bytes: 4 << 20, session_epoch: -1, ..Default::default() };
        for (part, offset) in &self.wanted {
            let id = self.ledger.topic_of(*part).id.expect("only known topics are wanted");
            let partition = FetchPartition {
                partition: self.ledger.parts[*part].index,
                fetch_offset: *offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            };
            match request.topics.last_mut().filter(|topic| topic.topic_id == id) {
                Some(topic) => topic.partitions.push(partition),
                None => request.topics.push(FetchTopic { topic: "".into(), topic_id: id, partitions: vec![partition] }),
            }
        }
        request
    }

    /// Takes an answer in; something must have come of it.
    fn take(&mut self, answer: &FetchResponse) -> Result<(), Broken> {
        let mut progress = false;
        for topic in &answer.responses {
            let index = self.ledger.find_topic_id(topic.topic_id);
            for data in &topic.partitions {
                let part = index.and_then(|index| self.ledger.find_part(index, data.partition_index));
                let part = part.filter(|part| self.wanted.contains_key(part));
                let part = part.ok_or((Invariant::Answers, "Fetch answers for a stranger".to_string()))?;
                progress |= if data.error_code.is_none() {
                    self.take_records(part, data)?
                } else {
                    self.take_error(part, data)?
                };
            }
        }
        if progress { Ok(()) } else { Err(liveness(format!("Fetch gives nothing of {:?}", self.wanted))) }
    }

    fn take_error(&mut self, part: Part, data: &PartitionData) -> Result<bool, Broken> {
        let offset = self.wanted[&part];
        match data.error_code {
            // Retention may act while we read; where the log starts now is asked for.
            ErrorCode::OFFSET_OUT_OF_RANGE if !self.ledger.keeps_all(part) => {
                self.overtaken.push((part, offset));
                Ok(true)
            }
            _ if self.ledger.parts[part].may_refuse => {
                self.wanted.remove(&part);
                self.starts.remove(&part);
                self.seen.refused += 1;
                Ok(true)
            }
            code => {
                let (name, end) = (self.ledger.name(part), data.high_watermark);
                let detail = format!("{name} from {offset} of {end}: {code}, though nothing of it was harmed");
                Err((Invariant::Damage, detail))
            }
        }
    }

    fn take_records(&mut self, part: Part, data: &PartitionData) -> Result<bool, Broken> {
        let (name, offset) = (self.ledger.name(part), self.wanted[&part]);
        let start = data.log_start_offset.max(0);
        let known = self.starts.entry(part).or_insert(start);
        *known = start.max(*known);
        self.ledger.may_start(part, start)?;
        let bytes = data.records.as_ref().map(|records| records.contiguous()).unwrap_or_default();
        let mut rest = &bytes[..];
        let mut next = offset;
        while let Some(view) = take(&mut rest).map_err(|why| (Invariant::Genuine, format!("{name}: {why}")))? {
            self.ledger.served(part, view.tag, view.base, view.crc, view.len, view.records)?;
            self.ledger.judge_epoch(view.tag.expect("it was found"), view.base, view.epoch)?;
            let follows = view.base == next || (next == offset && view.base <= next);
            if !follows {
                let detail = format!("{name}: the batch at {} where {next} was due", view.base);
                return Err((Invariant::Holes, detail));
            }
            next = view.base + i64::from(view.records);
            self.found.entry(part).or_default().insert(view.base, view.tag.expect("it was found"));
            self.seen.records += u64::from(view.records);
        }
        // Where it may refuse it must be asked for what comes next: the answer is the refusal, or nothing.
        let asked_enough = !self.ledger.parts[part].may_refuse || next == offset;
        if next >= data.high_watermark && asked_enough {
            self.wanted.remove(&part);
            return Ok(true);
        }
        self.wanted.insert(part, next);
        Ok(next > offset)
    }
}
