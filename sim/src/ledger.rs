//! The ledger: what the clients sent, what they were told, and what they read. Written by clients alone.
//!
//! A batch is the unit: it has a number, and its first record's value carries that number, so that whoever reads it back
//! finds the entry. Its checksum covers everything that a broker may not change, so equal checksums over re-summed
//! bytes mean equal contents.
//!
//! Invariants (each named in `report`): one batch has one place, one offset one content; an acknowledged or read batch
//! is never gone; nothing refused is ever seen; what is told about a partition never goes back.

pub mod compacted;
mod lookups;
mod starts;

pub use lookups::Found;
pub use starts::ALL;

use crate::claims::Claims;
use crate::client::producer::MESSAGE_BYTES_MAX;
use crate::plan::{TopicPlan, Workload};
use crate::queue::Nanos;
use crate::report::Invariant;
use crate::settings::Settings;
use highwater::ids::TopicId;
use std::collections::{BTreeMap, BTreeSet};

pub type Part = usize;
pub type BatchId = u32;
pub type Verdict = Result<(), (Invariant, String)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicState {
    Planned,
    /// A CreateTopics has been sent and not answered.
    Creating,
    Live,
    /// A DeleteTopics has been sent and not answered.
    Deleting,
    Deleted,
}

pub struct Topic {
    pub name: String,
    pub id: Option<TopicId>,
    pub state: TopicState,
    /// When the administrator was told that it is deleted.
    pub deleted_at: Nanos,
    pub segment_ms: u64,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub purged: bool,
    pub doomed: bool,
    /// Its partitions, those that it is known to have.
    pub parts: Vec<Part>,
    /// How many it may have: a growth was asked for and not answered.
    pub parts_max: u16,
    /// What is set on it.
    pub settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sent, or about to be; what became of it is unknown.
    Open,
    Acked,
    /// Refused by the broker's own checks: must never be seen.
    Refused,
}

pub struct Batch {
    pub part: Part,
    pub records: u32,
    pub crc: u32,
    pub len: u32,
    pub state: State,
    /// Where it lies, once anyone was told.
    pub base: Option<i64>,
    pub read: bool,
    /// The first record's timestamp, and what each following one has more.
    pub timestamp: i64,
    pub step: i64,
    /// The leader epoch in its header, once it was read.
    pub epoch: Option<i32>,
    /// The end of what was acknowledged in the partition when this was first sent.
    after: i64,
    /// The batch before it and the one behind it, of the same idempotent producer in the same partition.
    before: Option<BatchId>,
    behind: Option<BatchId>,
}

#[derive(Default)]
pub struct PartState {
    pub topic: usize,
    pub index: i32,
    /// By base offset: the batch there, and its records.
    places: BTreeMap<i64, (BatchId, u32)>,
    /// Offsets that were told as an end or a start: each stands between two batches.
    marks: BTreeSet<i64>,
    /// Records of all batches that were sent and may be stored: no log is longer.
    pub offered: i64,
    pub high_watermark: i64,
    pub start: i64,
    /// The highest offset that a client wanted the log to start at; `i64::MAX` where one wanted its high watermark and was
    /// not told which that was.
    purge_asked: i64,
    pub epoch: i32,
    pub acked_end: i64,
    /// Damage that a later frame proves: it may refuse.
    pub may_refuse: bool,
    /// Damage that nothing proves, or a disk rolled back: it may have lost anything, silently.
    pub may_lose: bool,
    /// It has refused, so it is not expected to serve.
    pub refused: bool,
}

pub struct Ledger {
    pub topics: Vec<Topic>,
    pub parts: Vec<PartState>,
    pub batches: Vec<Batch>,
    /// What the members of groups were told.
    pub claims: Claims,
    /// What was written to the compacted topic.
    pub compacted: compacted::Compacted,
    pub skew_ms: i64,
    /// The latest that the node's clock has shown.
    pub wall_max: i64,
    /// Batches that some damage has hit.
    harmed: BTreeSet<BatchId>,
    /// What is set for every broker, and for the one that there is.
    pub every_broker: Settings,
    /// By the administrator's names of them.
    pub quotas: Settings,
    pub broker: Settings,
    /// A wipe or a rollback: only genuineness is still asked for.
    pub beyond: bool,
    pub records_acked: u64,
    pub records_read: u64,
    producer_ids: BTreeSet<i64>,
}

/// What stands before the batch's number in its first record's value.
pub const TAG: [u8; 4] = *b"HWT1";

impl Ledger {
    pub fn new(work: &Workload) -> Ledger {
        let mut ledger = Ledger {
            topics: Vec::new(),
            parts: Vec::new(),
            batches: Vec::new(),
            claims: Claims::default(),
            compacted: compacted::Compacted::default(),
            skew_ms: 0,
            wall_max: i64::MIN,
            harmed: BTreeSet::new(),
            every_broker: Settings::default(),
            quotas: Settings::default(),
            broker: Settings::default(),
            beyond: false,
            records_acked: 0,
            records_read: 0,
            producer_ids: BTreeSet::new(),
        };
        for (number, plan) in work.topics.iter().enumerate() {
            ledger.add_topic(format!("topic-{number}"), plan);
        }
        ledger
    }

    pub fn add_topic(&mut self, name: String, plan: &TopicPlan) -> usize {
        let topic = self.topics.len();
        let settings = vec![
            ("segment.ms", plan.segment_ms.to_string()),
            ("retention.bytes", plan.retention_bytes.to_string()),
            ("retention.ms", plan.retention_ms.to_string()),
            ("compression.type", plan.compression.name().to_string()),
            ("max.message.bytes", MESSAGE_BYTES_MAX.to_string()),
        ];
        self.topics.push(Topic {
            name,
            id: None,
            state: TopicState::Planned,
            deleted_at: 0,
            segment_ms: plan.segment_ms,
            retention_bytes: plan.retention_bytes,
            retention_ms: plan.retention_ms,
            purged: plan.purged,
            doomed: plan.doomed,
            parts: Vec::new(),
            parts_max: plan.partitions,
            settings: Settings::with(settings),
        });
        self.grown(topic, plan.partitions);
        topic
    }

    /// The topic has so many partitions now.
    pub fn grown(&mut self, topic: usize, partitions: u16) {
        for index in self.topics[topic].parts.len()..usize::from(partitions) {
            self.topics[topic].parts.push(self.parts.len());
            self.parts.push(PartState { topic, index: index as i32, ..PartState::default() });
        }
        let most = &mut self.topics[topic].parts_max;
        *most = partitions.max(*most);
    }

    pub fn topic_of(&self, part: Part) -> &Topic {
        &self.topics[self.parts[part].topic]
    }

    pub fn name(&self, part: Part) -> String {
        format!("{}-{}", self.topic_of(part).name, self.parts[part].index)
    }

    pub fn find_topic(&self, name: &str) -> Option<usize> {
        self.topics.iter().position(|topic| topic.name == name)
    }

    pub fn find_topic_id(&self, id: TopicId) -> Option<usize> {
        self.topics.iter().position(|topic| topic.id == Some(id))
    }

    pub fn find_part(&self, topic: usize, index: i32) -> Option<Part> {
        let topic = &self.topics[topic];
        topic.parts.get(usize::try_from(index).ok()?).copied()
    }

    /// True where clients may still expect to be served.
    pub fn serves(&self, part: Part) -> bool {
        let topic = self.topic_of(part);
        topic.state == TopicState::Live && topic.id.is_some() && !self.parts[part].refused && !self.parts[part].may_lose
    }

    pub fn new_batch(&mut self, part: Part, records: u32) -> BatchId {
        let after = self.parts[part].acked_end;
        self.batches.push(Batch {
            part,
            records,
            crc: 0,
            len: 0,
            state: State::Open,
            base: None,
            read: false,
            timestamp: 0,
            step: 0,
            epoch: None,
            after,
            before: None,
            behind: None,
        });
        (self.batches.len() - 1) as BatchId
    }

    /// An idempotent producer sends `id` right behind `before`: so they must lie.
    pub fn follows(&mut self, before: BatchId, id: BatchId) {
        self.batches[before as usize].behind = Some(id);
        self.batches[id as usize].before = Some(before);
    }

    fn lax(&self, part: Part) -> bool {
        self.beyond || self.parts[part].may_lose
    }

    /// Binds a batch to its place.
    fn place(&mut self, id: BatchId, base: i64, how: &str) -> Verdict {
        let batch = &self.batches[id as usize];
        let (part, records) = (batch.part, batch.records);
        if self.lax(part) {
            return Ok(());
        }
        if let Some(known) = batch.base {
            if known != base {
                let name = self.name(part);
                let detail = format!("{name}: batch {id} {how} at {base}, and was at {known} before");
                return Err((Invariant::Once, detail));
            }
            return Ok(());
        }
        if base < batch.after {
            let name = self.name(part);
            let detail = format!(
                "{name}: batch {id} {how} at {base}, though records up to {} were acknowledged before it was sent",
                batch.after
            );
            return Err((Invariant::Order, detail));
        }
        let placed = |other: Option<BatchId>| self.batches[other? as usize].base;
        let batch = &self.batches[id as usize];
        let (early, late) = (placed(batch.before), placed(batch.behind));
        if early.is_some_and(|early| early > base) || late.is_some_and(|late| late < base) {
            let name = self.name(part);
            let detail = format!(
                "{name}: batch {id} {how} at {base}, the one sent before it lies at {early:?}, the one after it at {late:?}"
            );
            return Err((Invariant::Order, detail));
        }
        let state = &self.parts[part];
        let end = base + i64::from(records);
        let overlap = state.places.range(..end).next_back().filter(|(at, (_, count))| *at + i64::from(*count) > base);
        if let Some((at, (other, count))) = overlap {
            let name = self.name(part);
            let detail = format!(
                "{name}: batch {id} {how} at {base}..{end}, where batch {other} lies at {at} with {count} records"
            );
            return Err((Invariant::Stable, detail));
        }
        if let Some(mark) = state.marks.range(base + 1..end).next() {
            let name = self.name(part);
            let detail = format!("{name}: batch {id} {how} at {base}..{end}, though a log ended or started at {mark}");
            return Err((Invariant::Holes, detail));
        }
        self.parts[part].places.insert(base, (id, records));
        self.batches[id as usize].base = Some(base);
        Ok(())
    }

    /// An offset was told as where the log ends or starts.
    fn mark(&mut self, part: Part, offset: i64, what: &str) -> Verdict {
        let state = &self.parts[part];
        if offset > state.offered {
            let name = self.name(part);
            let detail = format!("{name}: {what} {offset}, and only {} records were ever sent", state.offered);
            return Err((Invariant::Genuine, detail));
        }
        let before = state.places.range(..offset).next_back();
        if let Some((base, (id, records))) = before.filter(|(base, (_, count))| *base + i64::from(*count) > offset) {
            let name = self.name(part);
            let detail = format!("{name}: {what} {offset} lies inside batch {id} at {base} with {records} records");
            return Err((Invariant::Holes, detail));
        }
        self.parts[part].marks.insert(offset);
        Ok(())
    }

    /// A producer id that was handed out.
    pub fn given_producer_id(&mut self, id: i64) -> Verdict {
        if !self.producer_ids.insert(id) && !self.beyond {
            return Err((Invariant::ProducerIds, format!("producer id {id} is handed out twice")));
        }
        Ok(())
    }

    /// The leader epoch in the header of a batch that was read: it never changes, and never goes back along the log.
    pub fn seen_epoch(&mut self, id: BatchId, base: i64, epoch: i32) -> Verdict {
        self.judge_epoch(id, base, epoch)?;
        self.batches[id as usize].epoch = Some(epoch);
        Ok(())
    }

    pub fn judge_epoch(&self, id: BatchId, base: i64, epoch: i32) -> Verdict {
        let batch = &self.batches[id as usize];
        if self.lax(batch.part) || batch.epoch == Some(epoch) {
            return Ok(());
        }
        if let Some(known) = batch.epoch {
            let name = self.name(batch.part);
            let detail = format!("{name}: the batch at {base} has leader epoch {epoch}, and had {known} before");
            return Err((Invariant::Stable, detail));
        }
        let epoch_of = |(at, (id, _)): (&i64, &(BatchId, u32))| Some((*at, self.batches[*id as usize].epoch?));
        let places = &self.parts[batch.part].places;
        let before = places.range(..base).rev().find_map(epoch_of).filter(|(_, other)| *other > epoch);
        let behind = places.range(base + 1..).find_map(epoch_of).filter(|(_, other)| *other < epoch);
        if let Some((at, other)) = before.or(behind).or((epoch < 0).then_some((base, epoch))) {
            let name = self.name(batch.part);
            let detail = format!("{name}: leader epoch {epoch} in the batch at {base}, {other} in the one at {at}");
            return Err((Invariant::Monotone, detail));
        }
        Ok(())
    }

    pub fn acked(&mut self, id: BatchId, base: i64) -> Verdict {
        let part = self.batches[id as usize].part;
        if self.batches[id as usize].state != State::Acked {
            self.records_acked += u64::from(self.batches[id as usize].records);
            if self.batches[id as usize].read {
                self.records_read += u64::from(self.batches[id as usize].records);
            }
        }
        self.batches[id as usize].state = State::Acked;
        if base < 0 {
            return Ok(());
        }
        self.place(id, base, "acknowledged")?;
        let end = base + i64::from(self.batches[id as usize].records);
        let state = &mut self.parts[part];
        state.acked_end = state.acked_end.max(end);
        Ok(())
    }

    /// The broker's own checks refused it.
    pub fn refused(&mut self, id: BatchId) -> Verdict {
        let batch = &mut self.batches[id as usize];
        if batch.state == State::Acked || batch.base.is_some() {
            let detail = format!("batch {id} at {:?} was refused though it is stored", batch.base);
            return if self.lax(self.batches[id as usize].part) { Ok(()) } else { Err((Invariant::Refused, detail)) };
        }
        batch.state = State::Refused;
        Ok(())
    }

    /// A batch came back. `tag` is the number in its first record; `genuine` says that its checksum fits its bytes.
    pub fn served(&self, part: Part, tag: Option<BatchId>, base: i64, crc: u32, len: u32, records: u32) -> Verdict {
        let wrong = |why: &str| {
            let detail =
                format!("{}: the batch at {base} ({tag:?}, {records} records, {len} bytes) {why}", self.name(part));
            Err((Invariant::Genuine, detail))
        };
        let Some(batch) = tag.and_then(|id| self.batches.get(id as usize)) else { return wrong("was never sent") };
        if batch.part != part {
            return wrong(&format!("was sent to {}", self.name(batch.part)));
        }
        if (batch.crc, batch.len, batch.records) != (crc, len, records) {
            return wrong("is not what was sent");
        }
        if batch.state == State::Refused {
            let detail = format!("{}: batch {tag:?}, refused before, is served at {base}", self.name(part));
            return Err((Invariant::Refused, detail));
        }
        Ok(())
    }

    pub fn read(&mut self, id: BatchId, base: i64, epoch: i32) -> Verdict {
        self.place(id, base, "read")?;
        self.seen_epoch(id, base, epoch)?;
        let batch = &mut self.batches[id as usize];
        if !batch.read && batch.state == State::Acked {
            self.records_read += u64::from(batch.records);
        }
        batch.read = true;
        Ok(())
    }

    /// What an answer says of a partition, against what was known when it was asked.
    pub fn told(&mut self, part: Part, known: Known, high_watermark: i64, start: i64) -> Verdict {
        if self.lax(part) {
            return Ok(());
        }
        let name = |ledger: &Ledger| ledger.name(part);
        let whole = !self.parts[part].may_refuse;
        if whole && high_watermark < known.high_watermark.max(known.acked_end) {
            let detail = format!(
                "{}: high watermark {high_watermark}, though {} was told and {} acknowledged before",
                name(self),
                known.high_watermark,
                known.acked_end
            );
            return Err((Invariant::Monotone, detail));
        }
        if start >= 0 && start < known.start {
            return Err((Invariant::Monotone, format!("{}: log start {start} after {}", name(self), known.start)));
        }
        self.mark(part, high_watermark, "high watermark")?;
        let state = &mut self.parts[part];
        state.high_watermark = state.high_watermark.max(high_watermark);
        self.told_start(part, start)
    }

    /// Where ListOffsets says that the log ends, or starts.
    pub fn told_offset(&mut self, part: Part, known: Known, offset: i64, latest: bool) -> Verdict {
        if self.lax(part) {
            return Ok(());
        }
        let state = &self.parts[part];
        let least = if latest { known.high_watermark.max(known.acked_end) } else { known.start };
        if (offset < least && !(latest && state.may_refuse)) || offset < 0 {
            let what = if latest { "latest" } else { "earliest" };
            let detail = format!("{}: the {what} offset is {offset}, known was {least}", self.name(part));
            return Err((Invariant::Monotone, detail));
        }
        if latest { self.mark(part, offset, "latest offset") } else { self.told_start(part, offset) }
    }

    pub fn known(&self, part: Part, calm: bool) -> Known {
        let state = &self.parts[part];
        Known {
            high_watermark: state.high_watermark,
            start: state.start,
            acked_end: state.acked_end,
            epoch: state.epoch,
            calm,
        }
    }

    pub fn told_epoch(&mut self, part: Part, known: i32, epoch: i32) -> Verdict {
        if epoch < known && !self.lax(part) {
            let detail = format!("{}: leader epoch {epoch} after {known}", self.name(part));
            return Err((Invariant::Monotone, detail));
        }
        let state = &mut self.parts[part];
        state.epoch = state.epoch.max(epoch);
        Ok(())
    }

    /// Holds a whole partition, as read from a durable image, against everything known of it.
    pub fn audit(&self, part: Part, start: i64, found: &BTreeMap<i64, BatchId>) -> Verdict {
        if self.lax(part) {
            return Ok(());
        }
        self.may_start(part, start)?;
        let name = self.name(part);
        if start < self.parts[part].start {
            let told = self.parts[part].start;
            return Err((
                Invariant::Monotone,
                format!("{name}: starts at {start} on the disk, {told} was told before"),
            ));
        }
        let kept: u64 = found.values().map(|id| u64::from(self.batches[*id as usize].len)).sum();
        let wanted = self.topic_of(part).retention_bytes.max(0) as u64;
        let by_size = start > self.parts[part].purge_asked && self.topic_of(part).retention_ms < 0;
        if by_size && kept < wanted && !self.parts[part].may_refuse {
            let detail = format!("{name}: {kept} bytes from {start} on are left, retention keeps {wanted}");
            return Err((Invariant::Durable, detail));
        }
        let last = found.last_key_value().map(|(base, id)| base + i64::from(self.batches[*id as usize].records));
        let end = last.unwrap_or(start);
        if end < self.parts[part].high_watermark && !self.parts[part].may_refuse {
            let told = self.parts[part].high_watermark;
            return Err((Invariant::Durable, format!("{name} ends at {end}, high watermark {told} was told before")));
        }
        let mut seen = BTreeSet::new();
        for (base, id) in found {
            if !seen.insert(*id) {
                return Err((
                    Invariant::Once,
                    format!("{name}: batch {id} is on the disk twice, the second time at {base}"),
                ));
            }
            if let Some(known) = self.batches[*id as usize].base
                && known != *base
            {
                return Err((
                    Invariant::Once,
                    format!("{name}: batch {id} is on the disk at {base}, and was at {known}"),
                ));
            }
        }
        for (base, (id, records)) in &self.parts[part].places {
            if *base + i64::from(*records) <= start || found.get(base) == Some(id) {
                continue;
            }
            let batch = &self.batches[*id as usize];
            let invariant = if batch.state == State::Acked { Invariant::Durable } else { Invariant::Stable };
            let how = if batch.state == State::Acked { "acknowledged" } else { "read" };
            let there = found.get(base).map_or("nothing".to_string(), |other| format!("batch {other}"));
            let detail = format!(
                "{name}: batch {id}, {how} at {base}, is not on the disk (log start {start}, there is {there}, end {:?})",
                found.last_key_value().map(|(base, id)| base + i64::from(self.batches[*id as usize].records))
            );
            return Err((invariant, detail));
        }
        Ok(())
    }

    /// The batches whose numbers stand in these bytes.
    pub fn tags_in(&self, bytes: &[u8]) -> BTreeSet<BatchId> {
        let (mut found, mut rest) = (BTreeSet::new(), bytes);
        while let Some(last) = rest.get(TAG.len() - 1) {
            // Whole files are searched: by the last byte of where it may stand, most places are passed over.
            let Some(pass) = TAG.iter().rev().position(|byte| byte == last).map(|back| back.max(1)) else {
                rest = &rest[TAG.len()..];
                continue;
            };
            if let Some(number) = rest.strip_prefix(&TAG).and_then(|behind| behind.first_chunk()) {
                found.insert(u32::from_le_bytes(*number));
            }
            rest = &rest[pass..];
        }
        found.retain(|number| (*number as usize) < self.batches.len());
        found
    }

    /// Damage has hit these bytes.
    pub fn harmed(&mut self, bytes: &[u8]) {
        let mut tags = self.tags_in(bytes);
        self.harmed.append(&mut tags);
    }

    /// An acknowledged batch that is not among those on the disk, though no damage has hit it.
    pub fn missing(&self, there: &BTreeSet<BatchId>) -> Option<String> {
        for part in 0..self.parts.len() {
            let (state, topic) = (&self.parts[part], self.topic_of(part));
            if !state.may_refuse || self.lax(part) || topic.state != TopicState::Live || !self.keeps_all(part) {
                continue;
            }
            for (base, (id, _)) in &state.places {
                let acked = self.batches[*id as usize].state == State::Acked;
                if acked && !there.contains(id) && !self.harmed.contains(id) {
                    let name = self.name(part);
                    return Some(format!("{name}: batch {id}, acknowledged at {base} and not harmed, is in no file"));
                }
            }
        }
        None
    }

    /// Which partitions the harmed bytes speak of: by the numbers of batches in them, and by topic ids.
    pub fn named_in(&self, bytes: &[u8]) -> BTreeSet<Part> {
        let mut parts: BTreeSet<Part> = self.tags_in(bytes).iter().map(|id| self.batches[*id as usize].part).collect();
        for topic in self.topics.iter() {
            if let Some(id) = topic.id
                && bytes.windows(16).any(|window| window == id.0)
            {
                parts.extend(&topic.parts);
            }
        }
        parts
    }

    /// Notes what damage may do. Returns the partitions that are touched.
    pub fn damaged(&mut self, bytes: &[u8], proven: bool) -> BTreeSet<Part> {
        let parts = self.named_in(bytes);
        // Which coordinators' records lie there is not looked for: any may.
        self.claims.may_refuse = true;
        self.claims.may_lose |= !proven;
        for part in &parts {
            let state = &mut self.parts[*part];
            state.may_refuse = true;
            state.may_lose |= !proven;
        }
        parts
    }
}

/// What was known of a partition when a request was sent.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub high_watermark: i64,
    pub start: i64,
    pub acked_end: i64,
    pub epoch: i32,
    /// The faults had ended: nothing that fails from here on may fail for them.
    pub calm: bool,
}
