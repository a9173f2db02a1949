//! The owner of coordinators: a partition of `__consumer_offsets` loads its log, decides, appends, answers at the commit.
//!
//! ```text
//! leads ─▶ Loading: the log from its start, segments and memory ─▶ Active: ask ─ decide ─▶ records ─▶ journal
//!                                                                        answers ◀─ high watermark ─┘
//! ```
//!
//! Invariants: one decision at a time, and the next one only when every record of the last one is appended and applied; no
//! answer leaves before everything that was appended up to it is committed; until its log is applied to the end a coordinator
//! answers COORDINATOR_LOAD_IN_PROGRESS, and one whose log is damaged COORDINATOR_NOT_AVAILABLE.

use super::partition::Machine;
use super::timers::Timer;
use super::{Phase, Shard};
use crate::boundary::Instant;
use crate::groups::{Call, Coordinator, Decision, Record, Reply, Request, Settings};
use crate::ids::{Offset, PartitionKey, TopicId};
use crate::journal::Entry;
use crate::journal::frame::Note;
use crate::mail::{Letter, Ticket};
use crate::memory::Shares;
use crate::records::{self, BatchBuilder};
use crate::wire::ErrorCode;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// Records are gathered in batches of about this many bytes.
const BATCH_BYTES: usize = 256 << 10;
/// A journal file of this many bytes allows one record more beside twice the live ones: 16,384 in all, and less where
/// everything is smaller.
const BYTES_PER_SLACK: u64 = 4096;
/// A timer that found no room is tried again after this.
const RETRY: Duration = Duration::from_millis(250);

/// One partition's coordinator, and who waits for it.
#[derive(Debug)]
pub struct Groups {
    pub(super) stage: Stage,
    /// Not asked yet.
    pub(super) queue: VecDeque<(Option<Ticket>, Request)>,
    /// Decided and not appended yet, for want of room.
    batches: VecDeque<Vec<Record>>,
    /// Their answers.
    deciding: Vec<(Call, Reply)>,
    /// Records of this decision, for which the log is cleaned.
    appended: usize,
    /// Answers that wait for the high watermark, in order.
    answers: VecDeque<(Offset, Ticket, Reply)>,
    /// Who asked, of whom is not answered.
    calls: BTreeMap<Call, Ticket>,
    next_call: u64,
    /// When the shard's timer for it is due.
    timer: Option<Instant>,
    stalled: bool,
    /// What is being appended are records that the log had already.
    cleaning: bool,
    /// What of the shard's memory for coordinators is counted for it.
    counted: usize,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The log is applied below `next`.
    Loading {
        coordinator: Coordinator,
        next: Offset,
        reading: bool,
    },
    Active(Coordinator),
    /// Its log cannot be read.
    Failed,
}

impl Groups {
    pub fn new(settings: Settings) -> Groups {
        Groups {
            stage: Stage::Loading { coordinator: Coordinator::new(settings), next: Offset(0), reading: false },
            queue: VecDeque::new(),
            batches: VecDeque::new(),
            deciding: Vec::new(),
            appended: 0,
            answers: VecDeque::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            timer: None,
            stalled: false,
            cleaning: false,
            counted: 0,
        }
    }

    /// What cannot be asked now is refused with this.
    fn refusal(&self) -> Option<ErrorCode> {
        match self.stage {
            Stage::Loading { .. } => Some(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            Stage::Active(_) => None,
            Stage::Failed => Some(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        }
    }

    pub fn coordinator(&self) -> Option<&Coordinator> {
        match &self.stage {
            Stage::Active(coordinator) => Some(coordinator),
            Stage::Loading { .. } | Stage::Failed => None,
        }
    }
}

impl Shard {
    /// The machine of a topic's partitions.
    pub(super) fn machine_of(&self, topic: TopicId) -> Machine {
        let found = self.image.topic(topic);
        if found.is_none_or(|topic| topic.name != crate::metadata::name::CONSUMER_OFFSETS) {
            return Machine::Data;
        }
        let memory_max = self.groups_bytes_max();
        let slack = (self.config.journal.file_bytes / BYTES_PER_SLACK) as i64;
        Machine::Groups(Box::new(Groups::new(Settings::new(&self.settings, memory_max, slack))))
    }

    /// What all coordinators of the shard may take in memory.
    fn groups_bytes_max(&self) -> usize {
        Shares::of(self.config.memory_bytes).groups as usize
    }

    /// Counts what a coordinator takes by now.
    fn count_groups(&mut self, slot: u32) {
        let Some(groups) = self.groups(slot) else { return };
        let bytes = groups.coordinator().map_or(0, Coordinator::bytes);
        let before = core::mem::replace(&mut groups.counted, bytes);
        self.groups_bytes = self.groups_bytes + bytes - before;
        if bytes != before {
            let left = Shares::of(self.config.memory_bytes).connections_beside(self.groups_bytes as u64);
            self.conns.held.budget.resize(left);
        }
    }

    /// A request for the coordinator of this partition, which is to be ours. Without a ticket nobody waits.
    pub(super) fn on_group_ask(&mut self, ticket: Option<Ticket>, key: PartitionKey, request: Request) {
        let stopping = self.phase != Phase::Serving;
        let slot = self.slots.get(&key).copied().unwrap_or(u32::MAX);
        let found = self.partitions.get_mut(slot as usize).and_then(|partition| partition.as_deref_mut());
        let found = found.filter(|partition| !partition.deleted);
        let refusal = match found.map(|partition| &mut partition.machine) {
            None | Some(Machine::Data) => Some(ErrorCode::NOT_COORDINATOR),
            Some(Machine::Groups(_)) if stopping => Some(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            Some(Machine::Groups(groups)) => groups.refusal(),
        };
        if let Some(error) = refusal {
            return self.answer_group(ticket, request.refused(error));
        }
        if let Some(groups) = self.groups(slot) {
            groups.queue.push_back((ticket, request));
            self.pump_groups(slot);
        }
    }

    pub(super) fn groups(&mut self, slot: u32) -> Option<&mut Groups> {
        match &mut self.partition(slot)?.machine {
            Machine::Groups(groups) => Some(groups),
            Machine::Data => None,
        }
    }

    fn answer_group(&mut self, ticket: Option<Ticket>, reply: Reply) {
        if let Some(ticket) = ticket {
            self.send(ticket.shard, Letter::GroupReply { ticket, reply });
        }
    }

    /// Appends what is decided, then decides the next thing, as long as there is room and something to do.
    pub(super) fn pump_groups(&mut self, slot: u32) {
        loop {
            if !self.append_decided(slot) {
                let Some(groups) = self.groups(slot) else { return };
                if !core::mem::replace(&mut groups.stalled, true) {
                    self.groups_stalled.push_back(slot);
                }
                return;
            }
            self.count_groups(slot);
            let batch_bytes = BATCH_BYTES.min(self.config.journal.commit_bytes_max / 2);
            let (now, refuses) = (self.fx.now, self.journal_refuses(batch_bytes));
            let room = self.groups_bytes_max().saturating_sub(self.groups_bytes);
            let Some(groups) = self.groups(slot) else { return };
            let Stage::Active(coordinator) = &mut groups.stage else { return };
            coordinator.set_memory_max(coordinator.bytes() + room);
            if let Some((ticket, request)) = groups.queue.pop_front() {
                if refuses && request.may_write() {
                    self.answer_group(ticket, request.refused(ErrorCode::COORDINATOR_NOT_AVAILABLE));
                    continue;
                }
                groups.next_call += 1;
                let call = Call(groups.next_call);
                if let Some(ticket) = ticket {
                    groups.calls.insert(call, ticket);
                }
                let decision = coordinator.decide(now, call, request);
                groups.take(decision);
            } else if !refuses && coordinator.deadline().is_some_and(|due| due <= now.mono) {
                let decision = coordinator.on_time(now);
                groups.take(decision);
            } else {
                break;
            }
        }
        self.set_groups_timer(slot);
    }

    fn set_groups_timer(&mut self, slot: u32) {
        let now = self.fx.now.mono;
        let Some(groups) = self.groups(slot) else { return };
        let Some(due) = groups.coordinator().and_then(Coordinator::deadline) else { return };
        // What is due already found no room.
        let at = if due <= now { now.after(RETRY) } else { due };
        if groups.timer.is_none_or(|timer| at < timer || timer <= now) {
            groups.timer = Some(at);
            self.timers.set(at, Timer::Groups { partition: slot, at });
        }
    }

    pub(super) fn on_groups_due(&mut self, slot: u32, at: Instant) {
        let Some(groups) = self.groups(slot) else { return };
        if groups.timer == Some(at) {
            groups.timer = None;
            if self.phase == Phase::Serving {
                self.pump_groups(slot);
            }
        }
    }

    /// Room may have been made.
    pub(super) fn resume_groups(&mut self) {
        for _ in 0..self.groups_stalled.len() {
            let Some(slot) = self.groups_stalled.pop_front() else { return };
            let Some(groups) = self.groups(slot) else { continue };
            groups.stalled = false;
            self.pump_groups(slot);
        }
    }

    /// Appends the records of the decision under way. False: there is no room for all of them yet.
    fn append_decided(&mut self, slot: u32) -> bool {
        loop {
            let Some(groups) = self.groups(slot) else { return true };
            let Some(batch) = groups.batches.front() else { break };
            let len = 128 + batch.iter().map(Record::bytes_max).sum::<usize>();
            if !self.finds_room(len) {
                return false;
            }
            let Some(batch) = self.groups(slot).and_then(|groups| groups.batches.pop_front()) else { break };
            self.append_records(slot, &batch);
        }
        let Some(partition) = self.partition(slot) else { return true };
        let (start, end) = (partition.next_start.max(partition.replica.start()), partition.replica.end().offset);
        let Machine::Groups(groups) = &mut partition.machine else { return true };
        let appended = core::mem::take(&mut groups.appended);
        if appended > 0 {
            let Stage::Active(coordinator) = &groups.stage else { return true };
            let again = coordinator.clean(start.0, end.0, appended);
            if !again.is_empty() {
                groups.cleaning = true;
                groups.put(again);
                return self.append_decided(slot);
            }
        }
        groups.cleaning = false;
        for (call, reply) in core::mem::take(&mut groups.deciding) {
            if let Some(ticket) = groups.calls.remove(&call) {
                groups.answers.push_back((end, ticket, reply));
            }
        }
        self.move_groups_start(slot);
        self.answer_committed(slot);
        true
    }

    /// One batch of records: appended, and applied with the offsets it got.
    fn append_records(&mut self, slot: u32, batch: &[Record]) {
        let now = self.fx.now;
        let mut builder = BatchBuilder::new();
        for record in batch {
            builder.push(now.wall, Some(&record.key()), record.value().as_deref(), &[]);
        }
        let bytes = builder.build();
        let (Some(partition), Some(journal)) = (self.partitions[slot as usize].as_deref_mut(), self.journal.as_mut())
        else {
            return;
        };
        if partition.deleted {
            return;
        }
        let base = partition.replica.append(batch.len() as i64);
        let (end, epoch) = (partition.replica.end().offset, partition.replica.epoch());
        let entry = Entry { key: partition.key, slot, epoch, base, end, max_timestamp: now.wall.0 };
        journal.append_batch(entry, &bytes, &mut partition.hint, |copy| records::patch(copy, base, epoch));
        let Machine::Groups(groups) = &mut partition.machine else { return };
        let Stage::Active(coordinator) = &mut groups.stage else { return };
        for (offset, record) in (base.0..).zip(batch) {
            let applied = coordinator.apply(now, offset, record);
            applied.unwrap_or_else(|error| panic!("{}: our own record at {offset}: {error}", partition.key));
        }
        if !groups.cleaning {
            groups.appended += batch.len();
        }
    }

    /// Gives up what of the log no key needs, in whole sealed segments and inside the last one.
    fn move_groups_start(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        let (key, flushed) = (partition.key, partition.log.flushed());
        let (start, end) = (partition.next_start.max(partition.replica.start()), partition.replica.end().offset);
        let Machine::Groups(groups) = &partition.machine else { return };
        let Some(needed) = groups.coordinator().and_then(|coordinator| coordinator.log_start(start.0, end.0)) else {
            return;
        };
        // A segment that may still be written to, or is being sealed, stays.
        let unsealed = partition.log.segments.iter().find(|segment| !segment.sealed && segment.bytes > 0);
        let stays = unsealed.map_or(flushed, |segment| segment.end.min(flushed));
        let to = Offset(needed.min(stays.0 - 1));
        // The checkpoint that makes room would wait for the note.
        let room = self.journal().ring_has_room_for_notes();
        if to > start
            && room
            && let Some(partition) = self.partition(slot)
        {
            partition.next_start = to;
            self.journal().append_note(Note::LogStart { key, start: to });
        }
    }

    /// Lets go what is committed.
    pub(super) fn answer_committed(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        let high_watermark = partition.replica.high_watermark();
        let Machine::Groups(groups) = &mut partition.machine else { return };
        let due = groups.answers.partition_point(|(end, _, _)| *end <= high_watermark);
        let answers: Vec<_> = groups.answers.drain(..due).collect();
        for (_, ticket, reply) in answers {
            self.answer_group(Some(ticket), reply);
        }
    }

    /// The partition goes: whoever waits for its coordinator looks for another one.
    pub(super) fn refuse_group_calls(&mut self, slot: u32) {
        let Some(groups) = self.groups(slot) else { return };
        let queued = groups.queue.drain(..).filter_map(|(ticket, _)| ticket);
        let answered = groups.answers.drain(..).map(|(_, ticket, _)| ticket);
        let mut tickets: Vec<Ticket> = queued.chain(answered).collect();
        tickets.extend(core::mem::take(&mut groups.calls).into_values());
        groups.batches.clear();
        groups.deciding.clear();
        groups.stage = Stage::Failed;
        self.count_groups(slot);
        for ticket in tickets {
            self.answer_group(Some(ticket), Reply::Refused(ErrorCode::NOT_COORDINATOR));
        }
    }

    /// Tells every coordinator of this shard that a topic is gone.
    pub(super) fn forget_topic_in_groups(&mut self, id: TopicId) {
        let Some(name) = self.image.topic(id).map(|topic| Arc::from(&*topic.name)) else { return };
        for slot in self.coordinators() {
            let active = self.groups(slot).filter(|groups| groups.coordinator().is_some());
            if let Some(groups) = active {
                groups.queue.push_back((None, Request::TopicDeleted { id, name: Arc::clone(&name) }));
                self.pump_groups(slot);
            }
        }
    }

    pub(super) fn coordinators(&self) -> Vec<u32> {
        let all = self.partitions.iter().flatten();
        let ours = all.filter(|partition| !partition.deleted && matches!(partition.machine, Machine::Groups(_)));
        ours.filter_map(|partition| self.slots.get(&partition.key).copied()).collect()
    }
}

impl Groups {
    pub(super) fn take(&mut self, decision: Decision) {
        self.put(decision.records);
        self.deciding = decision.replies;
    }

    /// Queues records in batches of moderate size.
    fn put(&mut self, records: Vec<Record>) {
        let mut bytes = 0;
        for record in records {
            bytes += record.bytes_max();
            match self.batches.back_mut() {
                Some(batch) if bytes <= BATCH_BYTES => batch.push(record),
                Some(_) | None => {
                    bytes = record.bytes_max();
                    self.batches.push_back(Vec::from([record]));
                }
            }
        }
    }
}
