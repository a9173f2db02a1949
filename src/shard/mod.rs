//! The shard: one core's share of a node. Connections, requests, partitions, one journal.
//!
//! ```text
//!            Input                                                         Action
//!   ─────────▶ on_done ─▶ connection ─▶ produce ─▶ journal ─▶ commit ─▶ poll ─────▶
//!   ─────────▶ on_letter ─▶ fetch, query, controller                │
//!   ─────────▶ on_timer                     flush ─▶ segments ◀─────┘
//!                                           checkpoints ─▶ frees the journal
//! ```
//!
//! Everything that happens in one step of the driver is gathered and settled once: one commit, one send per connection, one
//! mail per shard. Invariant: `handle` and `poll` run to completion; nothing blocks, and what waits is in `Pending`, in a
//! timer or in a queue of a partition.

mod answers;
mod backlog;
pub mod boot;
mod checkpoints;
mod closing;
mod commit;
mod compact;
mod connection;
mod controller;
mod dispatch;
pub mod doors;
mod effects;
pub mod fetch;
mod flush;
pub mod format;
mod group_answers;
mod group_calls;
mod group_loading;
mod groups;
mod header;
mod held;
pub mod inspect;
mod mutations;
mod output;
mod partition;
pub mod produce;
mod purge;
pub mod query;
mod reads;
mod recovery;
mod removal;
mod reshard;
mod sampling;
mod tasks;
mod throttle;
mod tidy;
mod timers;

use crate::boundary::{Action, Done, Halt, Input, Instant, Level, Now};
use crate::config::Config;
use crate::configs::{BrokerSettings, TopicSettings};
use crate::ids::{Epoch, Offset, PartitionKey, ShardId, TopicId};
use crate::journal::Journal;
use crate::journal::frame::Place;
use crate::mail::Letter;
use crate::memory::Shares;
use crate::metadata::Image;
use crate::metrics::Counters;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use answers::Answers;
use boot::Boot;
use bytes::Bytes;
use checkpoints::Checkpoints;
use connection::Connections;
use controller::{Applying, Controller};
use doors::Doors;
use effects::{Effects, Pending};
use fetch::sessions::Sessions;
use flush::Flusher;
use partition::Partition;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reads::Reads;
use reshard::Reshard;
use tasks::{Outcome, Task, Then};
use throttle::Throttling;
use timers::{Timer, Timers};

/// Where a shard is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// From the first look at the data folder until every shard's replicas lead.
    Booting,
    Serving,
    /// In place of serving: the journal goes to the segments, because the node is to have another number of shards.
    Moving,
    /// Asked to stop: committing what is there, then a last checkpoint.
    Stopping,
}

/// A batch in some partition's tail.
#[derive(Clone, Copy, Debug)]
struct Cached {
    slot: u32,
    len: u32,
    base: Offset,
}

/// One core's share of a node.
pub struct Shard {
    fx: Effects,
    config: Config,
    me: ShardId,
    settings: BrokerSettings,
    /// The only source of chance.
    rng: ChaCha8Rng,
    phase: Phase,
    boot: Boot,
    reshard: Reshard,
    cluster_id: String,
    timers: Timers,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    zeros: Option<Bytes>,

    journal: Option<Journal>,
    /// The frame in flight, how much of it is written, and where each partition's log ended in it.
    commit: Option<commit::InFlight>,
    /// The last frame that holds anything, and when it became durable.
    last_content: (u64, Instant),
    seal_timer: bool,
    company: commit::Company,
    journal_full: bool,
    disk_full: bool,
    /// By journal file: where its first frame that may be needed lies, and that frame's number and run.
    file_starts: BTreeMap<u64, (Place, u64, u32)>,
    /// Replicas that are to stand for election, a few at a time.
    campaigns: VecDeque<u32>,
    /// Partitions whose deletion is not journalled yet.
    deletions: VecDeque<PartitionKey>,
    /// Partitions whose folders are still to be looked at after recovery, and how many are being.
    untidy: VecDeque<u32>,
    tidying: usize,

    /// By slot; a slot is never used again in a run.
    partitions: Vec<Option<Box<Partition>>>,
    slots: BTreeMap<PartitionKey, u32>,
    /// The tails of all partitions, oldest batch first.
    cache: VecDeque<Cached>,
    cache_bytes: usize,
    /// Bytes of it that are in no segment yet.
    staged_bytes: usize,
    flusher: Flusher,
    checkpoints: Checkpoints,
    compactor: compact::Compactor,
    reads: Reads,
    answers: Answers,
    sessions: Sessions,

    /// When what is too old is looked for again.
    retention_at: Instant,
    counters: Counters,
    conns: Connections,
    doors: Doors,
    throttling: Throttling,
    /// Bytes of batches on their way to another shard, by shard: its credits.
    mailed_bytes: Vec<usize>,
    /// Letters to ourselves.
    local: VecDeque<Letter>,
    /// Appends of other shards that found no room.
    backlog: VecDeque<backlog::Parked>,
    /// What durable frames have given up, by frame and slot, and is not proven: a log's start, or a whole partition.
    unproven: VecDeque<(u64, u32, Option<Offset>)>,
    /// Coordinators whose records found no room.
    groups_stalled: VecDeque<u32>,
    /// Deletions of records that found no room in the journal.
    purges_stalled: VecDeque<purge::Stalled>,
    /// About what all coordinators take in memory.
    groups_bytes: usize,

    image: Image,
    /// How often the image has changed in this run.
    image_changes: u64,
    leaders: BTreeMap<PartitionKey, Epoch>,
    controller: Controller,
    /// Committed metadata that this shard has not carried out whole, oldest first.
    applying: VecDeque<Applying>,
    producer_ids: controller::ProducerIdBlock,
    topic_settings: BTreeMap<TopicId, Arc<TopicSettings>>,
    dirty: bool,
}

impl Shard {
    /// `seed` is the only source of chance in the shard.
    pub fn new(config: Config, seed: [u8; 32], now: Now) -> Shard {
        assert!(config.shard.0 < config.shards, "shard {:?} of {}", config.shard, config.shards);
        let settings = BrokerSettings::resolve(&config.broker);
        let shares = Shares::of(config.memory_bytes);
        let mut shard = Shard {
            fx: Effects::new(config.shard, config.shards, now),
            me: config.shard,
            settings,
            rng: ChaCha8Rng::from_seed(seed),
            phase: Phase::Booting,
            boot: Boot::default(),
            reshard: Reshard::default(),
            cluster_id: String::new(),
            timers: Timers::default(),
            tasks: BTreeMap::new(),
            next_task: 1,
            zeros: None,
            journal: None,
            commit: None,
            last_content: (0, now.mono),
            seal_timer: false,
            company: commit::Company::default(),
            journal_full: false,
            disk_full: false,
            file_starts: BTreeMap::new(),
            campaigns: VecDeque::new(),
            deletions: VecDeque::new(),
            untidy: VecDeque::new(),
            tidying: 0,
            partitions: Vec::new(),
            slots: BTreeMap::new(),
            cache: VecDeque::new(),
            cache_bytes: 0,
            staged_bytes: 0,
            flusher: Flusher::default(),
            checkpoints: Checkpoints::default(),
            compactor: compact::Compactor::default(),
            reads: Reads::new(shares.reads),
            answers: Answers::new(),
            retention_at: now.mono,
            counters: Counters::default(),
            sessions: Sessions::new(config.shard, config.shards, settings.fetch_sessions_max, shares.sessions),
            conns: Connections::new(shares.connections),
            doors: Doors::default(),
            throttling: Throttling::new(shares.quotas),
            mailed_bytes: (0..config.shards).map(|_| 0).collect(),
            local: VecDeque::new(),
            backlog: VecDeque::new(),
            unproven: VecDeque::new(),
            groups_stalled: VecDeque::new(),
            purges_stalled: VecDeque::new(),
            groups_bytes: 0,
            image: Image::default(),
            image_changes: 0,
            leaders: BTreeMap::new(),
            controller: Controller::default(),
            applying: VecDeque::new(),
            producer_ids: controller::ProducerIdBlock::default(),
            topic_settings: BTreeMap::new(),
            dirty: true,
            config,
        };
        shard.boot();
        shard
    }

    /// Runs to completion; never blocks, fails or re-enters.
    pub fn handle(&mut self, now: Now, input: Input) {
        assert!(now.mono >= self.fx.now.mono, "the clock went back from {:?} to {:?}", self.fx.now.mono, now.mono);
        self.fx.now = now;
        self.dirty = true;
        if self.fx.halted() {
            return;
        }
        match input {
            Input::Tick => {}
            Input::Done { token, done } => {
                let pending = self.fx.done(token, &done);
                self.on_done(pending, done);
            }
            Input::Mail { from, mail } => {
                for letter in mail.0 {
                    self.on_letter(from, letter);
                }
            }
            Input::Stop => self.stop(),
        }
        while let Some(timer) = self.timers.pop(self.fx.now.mono) {
            self.on_timer(timer);
        }
        self.deliver_locally();
    }

    /// The next action; any number of `handle`s may come before. Drain it until `None`.
    pub fn poll(&mut self) -> Option<Action> {
        loop {
            if let Some(action) = self.fx.pop() {
                return Some(action);
            }
            if !self.dirty || self.fx.halted() {
                return None;
            }
            self.dirty = false;
            self.settle();
        }
    }

    /// When the next `Tick` is due at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        if self.fx.halted() {
            return None;
        }
        self.timers.deadline().into_iter().chain(self.company.deadline()).min()
    }

    /// What the shard waits for, for people.
    pub fn waits_for(&self) -> Vec<String> {
        self.fx.pending().map(|pending| format!("{pending:?}")).chain([self.checkpoint_waits_for()]).collect()
    }

    /// Every invariant that can be stated of one shard, with its values. For simulators: it walks all partitions.
    pub fn check(&self) {
        for partition in self.partitions.iter().flatten() {
            partition.check();
        }
        if !self.dirty {
            self.check_held();
        }
    }

    /// For observers: each partition's leader epoch, log start, high watermark and end.
    pub fn observe(&self) -> impl Iterator<Item = Observed> {
        self.partitions.iter().flatten().filter(|partition| !partition.deleted).map(|partition| Observed {
            key: partition.key,
            epoch: partition.replica.epoch(),
            leads: partition.replica.leads(),
            start: partition.replica.start(),
            high_watermark: partition.replica.high_watermark(),
            durable: partition.replica.durable().offset,
            end: partition.replica.end().offset,
            refused_from: partition.refusal.as_ref().map(|refusal| refusal.from),
        })
    }

    /// Does once what everything of this step has made due.
    fn settle(&mut self) {
        self.resume_stalled();
        self.resume_waiting_reads();
        self.resume_fetches();
        self.deliver_locally();
        if self.journal.is_some() {
            self.pump_flusher();
            self.pump_checkpoint();
            self.pump_campaigns();
            self.pump_controller();
            self.start_commit();
            self.snapshot_if_ready();
        }
        self.deliver_locally();
        self.flush_connections();
        self.tell_usage_soon();
        self.shed_readers();
        self.fx.post();
    }

    fn on_done(&mut self, pending: Pending, done: Done) {
        match pending {
            Pending::Task(id) => self.on_task_done(id, done),
            Pending::Commit => self.on_commit_written(done),
            Pending::Scan => self.on_scan_read(done),
            Pending::ReadSegment(id) => self.on_segment_read(id, done),
            Pending::Flush(id) => self.on_flushed(id, done),
            Pending::Accept(listener) => self.on_accepted(listener, done),
            Pending::Recv(conn) => self.on_received(conn, done),
            Pending::Send(conn) => self.on_sent(conn, done),
            Pending::Volume(ticket) => self.on_volume(ticket, done),
            Pending::Hangup(conn) => self.on_hung_up(conn),
            Pending::Nothing => {}
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::RetryTask(id) => self.run_task(id),
            Timer::RetryFlush => self.on_retry_flush(),
            Timer::Seal => self.on_seal_due(),
            Timer::StopDue => self.on_stop_due(),
            Timer::Rest { frame } => self.on_rest_due(frame),
            Timer::FetchDue { conn, request, round } => self.on_fetch_due(conn, request, round),
            Timer::MemoryWait => self.on_memory_wait_due(),
            Timer::ReadsWait => self.on_reads_wait_due(),
            Timer::Retention => self.on_retention_due(),
            Timer::Compact => self.on_compact_due(),
            Timer::CompactOn => self.compact_on(),
            Timer::Idle => self.on_idle_due(),
            Timer::Groups { partition, at } => self.on_groups_due(partition, at),
            Timer::LoadGroups { partition } => self.load_groups(partition),
            Timer::Unmute { conn } => self.on_unmute_due(conn),
            Timer::TellUsage => self.on_tell_usage_due(),
            Timer::TurnAway { conn } => self.on_turn_away_due(conn),
            Timer::Accept { listener } => self.accept(listener),
        }
    }

    fn on_task(&mut self, then: Then, outcome: Outcome) {
        match then {
            Then::FormatRead => self.on_format_read(outcome.bytes),
            Then::FolderMade => self.on_folder_made(),
            Then::FormatWritten => self.on_format_written(),
            Then::CheckpointRead { mirror } => self.on_checkpoint_read(mirror, outcome.bytes),
            Then::FolderListed => self.open_slots(&outcome.names),
            Then::SlotOpened { slot } => self.on_slot_opened(slot, &outcome),
            Then::SlotFilled { slot, number, bytes } => self.on_slot_filled(slot, number, bytes, &outcome),
            Then::DamagedKept => self.on_damaged_kept(),
            Then::Mended { partition } => self.on_mended(partition),
            Then::SegmentOpened { partition } => self.on_segment_opened(partition, &outcome),
            Then::Rolled { partition, base } => self.on_rolled(partition, base),
            Then::TableWritten { partition } => self.on_table_written(partition),
            Then::SegmentsRemoved { partition, names } => self.on_segments_removed(partition, &names),
            Then::Compacted { partition, wrote } => self.on_compact_written(partition, wrote, &outcome),
            Then::SegmentsListed { partition } => self.on_segments_listed(partition, &outcome.names),
            Then::Tidied { partition } => self.on_tidied(partition),
            Then::PartitionRemoved { partition } => self.on_partition_removed(partition),
            Then::Synced { partition } => self.on_synced(partition),
            Then::CheckpointSaved => self.on_checkpoint_saved(),
            Then::Trimmed => self.on_trimmed(),
            Then::LaidOut => self.on_laid_out(),
            Then::Nothing => {}
        }
    }

    /// Sends a letter, to ourselves as well.
    fn send(&mut self, to: ShardId, letter: Letter) {
        if to == self.me {
            self.local.push_back(letter);
        } else {
            self.fx.mail(to, letter);
        }
    }

    fn broadcast(&mut self, letter: impl Fn() -> Letter) {
        for to in self.fx.others() {
            self.fx.mail(to, letter());
        }
        self.local.push_back(letter());
    }

    fn deliver_locally(&mut self) {
        while let Some(letter) = self.local.pop_front() {
            self.on_letter(self.me, letter);
        }
    }

    fn on_letter(&mut self, from: ShardId, letter: Letter) {
        match letter {
            Letter::Begin { fresh, layout, cluster_id } => self.on_begin(fresh, layout, cluster_id),
            Letter::Formatted => self.on_formatted(),
            Letter::Recover => self.recover(),
            Letter::Image(image) => self.on_image(image),
            Letter::Booted => self.on_booted(),
            Letter::Serve => self.on_serve(),
            Letter::Moved { partitions, metadata } => self.on_moved(partitions, metadata),
            Letter::Resharded => self.fx.halt(Halt::Resharded),
            Letter::Apply { number, records } => self.on_apply(number, &records),
            Letter::Applied { number } => self.on_applied(number),
            Letter::Leads(leads) => self.leaders.extend(leads),
            Letter::Forward { ticket, user, frame } => self.on_forward(ticket, user, frame),
            Letter::Forwarded { ticket, response, throttle_ms } => self.on_forwarded(ticket, response, throttle_ms),
            Letter::Used(used) => self.on_used(used),
            Letter::Knocks { conn, address } => self.on_knocks(from, conn, address),
            Letter::Door { conn, door } => self.on_door(conn, door),
            Letter::Leaves { conn } => self.on_leaves(from, conn),
            Letter::WantProducerIds => self.on_want_producer_ids(from),
            Letter::ProducerIds { first, end } => self.on_producer_ids(first, end),
            Letter::Append { .. } => self.on_append(from, letter),
            Letter::Appended { ticket, batch_bytes, appended } => {
                self.mailed_bytes[from.0 as usize] -= batch_bytes;
                self.on_appended(ticket, appended);
            }
            Letter::Read { ticket, round, parts, max_bytes } => self.on_read(ticket, round, &parts, max_bytes),
            Letter::ReadDone { ticket, round, results } => self.on_read_done(ticket, round, results),
            Letter::Watch { ticket, round, parts } => self.on_watch(ticket, round, &parts),
            Letter::Unwatch { shard, conn, keys } => self.on_unwatch(shard, conn, &keys),
            Letter::Woken { ticket, round } => self.on_woken(ticket, round),
            Letter::LendSession(claim) => self.on_lend_session(claim),
            Letter::SessionLent { ticket, id, lent } => self.on_session_lent(ticket, id, lent),
            Letter::SessionBack { id, interest } => self.on_session_back(id, interest),
            Letter::CloseSession { id } => self.on_close_session(id),
            Letter::Ask { ticket, key, query } => self.on_ask(ticket, key, query),
            Letter::Answer { ticket, answer } => self.on_answer(ticket, answer),
            Letter::Look { ticket, look, keys } => self.on_look(ticket, look, &keys),
            Letter::Looked { ticket, seen } => self.on_looked(ticket, seen),
            Letter::GroupAsk { ticket, key, request } => self.on_group_ask(Some(ticket), key, *request),
            Letter::GroupReply { ticket, reply } => self.on_group_reply(ticket, reply),
        }
    }

    fn owner(&self, key: PartitionKey) -> ShardId {
        key.shard(self.config.shards)
    }

    fn partition(&mut self, slot: u32) -> Option<&mut Partition> {
        self.partitions.get_mut(slot as usize)?.as_deref_mut()
    }

    fn partition_of(&self, key: PartitionKey) -> Option<&Partition> {
        let slot = *self.slots.get(&key)?;
        self.partitions[slot as usize].as_deref().filter(|partition| !partition.deleted)
    }

    fn add_partition(&mut self, partition: Partition) -> u32 {
        let slot = self.partitions.len() as u32;
        let other = self.slots.insert(partition.key, slot);
        assert!(other.is_none(), "{} is made twice", partition.key);
        self.partitions.push(Some(Box::new(partition)));
        slot
    }

    /// A batch has joined its partition's tail.
    fn cached(&mut self, slot: u32, base: Offset, len: usize) {
        self.cache.push_back(Cached { slot, len: len as u32, base });
        self.cache_bytes += len;
        self.staged_bytes += len;
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("the journal is open once recovery is over")
    }

    fn folder(&self) -> String {
        boot::shard_folder(self.boot.layout, self.me)
    }

    fn stop(&mut self) {
        if self.phase == Phase::Stopping {
            return;
        }
        let serving = self.phase == Phase::Serving;
        self.phase = Phase::Stopping;
        self.fx.log(Level::Info, format!("shard {} stops", self.me.0));
        if !serving {
            // Nothing was served that a restart would not find again.
            self.fx.halt(Halt::Stopped);
        }
        self.timers.set(self.fx.now.mono.after(checkpoints::STOP_MAX), Timer::StopDue);
        self.check_stopped();
    }
}

/// One partition as an observer may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    pub key: PartitionKey,
    pub epoch: Epoch,
    /// This process has won the epoch.
    pub leads: bool,
    pub start: Offset,
    pub high_watermark: Offset,
    pub durable: Offset,
    pub end: Offset,
    /// Damage was found: nothing is served from there on.
    pub refused_from: Option<Offset>,
}
