//! One process: its shards, its clocks, and the node's side of the boundary with the contract asserted.
//!
//! A process lives from `boot` to a halt or a crash. Every input to a shard goes through `feed`, every action comes out
//! of `drain`; both are mixed into the trace.
//!
//! Invariants: each Submit gets exactly one Done unless the process dies first; `mono` never goes back; one Accept for
//! each listener, one Recv and one Send for each connection are in flight; nothing follows Hangup or Close.

use crate::disk::atlas::is_journal;
use crate::disk::{Disk, Trouble};
use crate::faults::Fault;
use crate::plan::{Plan, Shape};
use crate::queue::{MICROS, MILLIS, Nanos, SECONDS};
use crate::report::Invariant;
use crate::rest::{LastFrame, is_seal};
use crate::world::{Event, World};
use highwater::boundary::{
    Action, ConnId, Done, FileId, Halt, Input, Instant, IoError, Level, Now, Op, Timestamp, Token,
};
use highwater::config::{Config, JournalConfig};
use highwater::ids::{Epoch, NodeId, ShardId};
use highwater::mail::Mail;
use highwater::shard::{Observed, Shard};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub enum InFlight {
    Disk {
        op: Op,
        trouble: Trouble,
        mark: u64,
        canceled: bool,
    },
    /// Ended; waits only to be handed over.
    Settled(Done),
    Accept,
    Recv,
    Send,
}

pub struct Seat {
    pub shard: Shard,
    pub ops: BTreeMap<Token, InFlight>,
    /// Waiting Accepts by listener.
    pub accepts: BTreeMap<u16, Token>,
    tick_at: Option<Nanos>,
    /// The shard's partitions as they were after the last event.
    seen: Vec<Observed>,
    looks: u32,
    mono: Instant,
    mail_at: Nanos,
    halted: bool,
}

pub struct Process {
    pub seats: Vec<Seat>,
    /// From then on it serves.
    pub ready_at: Option<Nanos>,
    /// It does not serve: it changes the number of shards.
    pub resharding: bool,
    pub frozen_until: Nanos,
    started: Nanos,
    drift_ppm: i64,
    pub skew_ms: i64,
    closed: BTreeSet<FileId>,
    /// Ops that failed: a node halts for one of these, and for nothing else.
    failures: u64,
}

/// A write to a slow journal takes about this long, at the most.
const SLOW_MAX_US: u64 = 10_000;
/// Looks at a shard between two walks through everything in it.
const CHECK_EVERY: u32 = 16;

/// 2026-11-21, in milliseconds.
const WALL_BASE: i64 = 1_795_219_200_000;

/// What the node's clock shows at `at`, in milliseconds since 1970.
pub fn wall(at: Nanos, skew_ms: i64) -> i64 {
    WALL_BASE + (at / MILLIS) as i64 + skew_ms
}

/// How many shards a start is to run, and the number that it is to change them to, if that is all it does.
#[derive(Clone, Copy)]
pub struct Shards {
    pub run: u16,
    pub reshard: Option<u16>,
}

impl Shards {
    /// As the driver decides it: by what the folder says of itself, and what the operator asks for.
    pub fn of(disk: &Disk, asked: u16) -> Shards {
        let there = disk.bytes("format");
        let there = there.as_deref().map(String::from_utf8_lossy);
        let there = there.and_then(|text| text.lines().find_map(|line| line.strip_prefix("shards=")?.parse().ok()));
        match there.filter(|there| (1..=64).contains(there) && *there != asked) {
            Some(there) => Shards { run: there, reshard: Some(asked) },
            None => Shards { run: asked, reshard: None },
        }
    }
}

/// The configuration of one shard.
pub fn config(shape: &Shape, shards: Shards, shard: u16) -> Config {
    let retention_check_ms = shape.retention_check_ms.to_string();
    Config {
        node: NodeId(1),
        shard: ShardId(shard),
        shards: shards.run,
        reshard: shards.reshard,
        listeners: 1,
        advertised_host: "sim".to_string(),
        advertised_port: 9092,
        memory_bytes: shape.memory_bytes,
        journal: JournalConfig {
            file_bytes: shape.file_bytes,
            first_file_bytes: shape.first_file_bytes,
            files: shape.files,
            commit_bytes_max: shape.commit_bytes_max,
            // Many frames are longer.
            read_bytes: 16 << 10,
            arena_bytes: shape.arena_bytes,
            chunk_bytes: shape.chunk_bytes,
            chunks_in_flight: 4,
            rest: Duration::from_secs(5),
        },
        broker: [
            ("log.cleaner.backoff.ms", "150"),
            ("log.retention.check.interval.ms", retention_check_ms.as_str()),
            // For the topic of committed offsets, whose own configurations say nothing of these.
            ("log.cleaner.delete.retention.ms", "300"),
            ("log.cleaner.min.cleanable.ratio", "0.1"),
            ("log.roll.ms", "600"),
            ("offsets.topic.num.partitions", "3"),
            ("offsets.topic.segment.bytes", "1048576"),
            ("group.min.session.timeout.ms", "100"),
            ("group.initial.rebalance.delay.ms", "50"),
            // Fewer than there are readers in many a seed.
            ("max.incremental.fetch.session.cache.slots", "6"),
        ]
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .into(),
    }
}

impl Process {
    fn new(plan: &Plan, started: Nanos, skew_ms: i64) -> Process {
        Process {
            seats: Vec::new(),
            ready_at: None,
            resharding: false,
            frozen_until: 0,
            started,
            drift_ppm: plan.clock.drift_ppm,
            skew_ms,
            closed: BTreeSet::new(),
            failures: 0,
        }
    }

    pub fn ready(&self) -> bool {
        self.ready_at.is_some()
    }

    fn now(&self, at: Nanos) -> Now {
        let lived = i128::from(at - self.started);
        let mono = lived + lived * i128::from(self.drift_ppm) / 1_000_000;
        Now { mono: Instant(mono as u64), wall: Timestamp(wall(at, self.skew_ms)) }
    }

    /// The true time at which this process's clock will show `due`.
    fn when(&self, due: Instant) -> Nanos {
        let rate = i128::from(1_000_000 + self.drift_ppm);
        let lived = (i128::from(due.0) * 1_000_000 + rate - 1) / rate;
        self.started.saturating_add(u64::try_from(lived).unwrap_or(u64::MAX)).saturating_add(1)
    }
}

impl World {
    pub fn boot(&mut self) {
        if self.node.is_some() {
            return;
        }
        self.runs += 1;
        // Folders of an older layout are written no more; a shard that is there writes a frame when it stands for election.
        self.frames.clear();
        let mut node = Process::new(&self.plan, self.queue.now(), self.ledger.skew_ms);
        if self.runs == 1 {
            if self.plan.clock.skew_ms != 0 {
                self.counts.add(Fault::WallSkew);
                self.ledger.skew_ms = self.plan.clock.skew_ms;
                node.skew_ms = self.plan.clock.skew_ms;
            }
            if self.plan.clock.drift_ppm != 0 {
                self.counts.add(Fault::Drift);
            }
        }
        let now = node.now(self.queue.now());
        let shards = Shards::of(&self.disk, self.shards);
        node.resharding = shards.reshard.is_some();
        for index in 0..shards.run {
            let shard = Shard::new(config(&self.plan.shape, shards, index), self.streams.core.key(), now);
            node.seats.push(Seat {
                shard,
                ops: BTreeMap::new(),
                accepts: BTreeMap::new(),
                tick_at: None,
                seen: Vec::new(),
                looks: 0,
                mono: now.mono,
                mail_at: 0,
                halted: false,
            });
        }
        self.node = Some(node);
        let run = self.runs;
        self.tell(|| match shards.reshard {
            None => format!("run {run} starts with {} shards", shards.run),
            Some(asked) => format!("run {run} starts to go from {} shards to {asked}", shards.run),
        });
        if let Some((ops, power)) = self.next_fuse.take() {
            self.fuse =
                Some(crate::world::Fuse { ops, power, down: 50 * MILLIS, again_after_ops: None, harm: Vec::new() });
        }
        for shard in 0..shards.run {
            self.drain(shard);
        }
    }

    fn seats(&self) -> u16 {
        self.node.as_ref().map_or(0, |node| node.seats.len() as u16)
    }

    /// Hands the event back if it is for the process that lives now; puts it off while that is frozen.
    pub fn awake(&mut self, run: u32, event: Event) -> Option<Event> {
        let node = self.node.as_ref().filter(|_| run == self.runs)?;
        if node.frozen_until > self.queue.now() {
            self.queue.push(node.frozen_until, event);
            return None;
        }
        Some(event)
    }

    pub fn feed(&mut self, shard: u16, input: Input) {
        let at = self.queue.now();
        let Some(node) = &mut self.node else { return };
        let now = node.now(at);
        let seat = &mut node.seats[usize::from(shard)];
        if seat.halted {
            return;
        }
        assert!(now.mono >= seat.mono, "mono went back from {:?} to {:?}", seat.mono, now.mono);
        seat.mono = now.mono;
        self.trace.input(shard, now, &input);
        seat.shard.handle(now, input);
        self.drain(shard);
        self.look_at_shard(shard);
    }

    /// The invariants of a shard's own state: of what an event has changed after every event, of all the rest now and then.
    fn look_at_shard(&mut self, shard: u16) {
        let run = self.runs;
        let Some(node) = &mut self.node else { return };
        let Seat { shard: core, seen, halted, looks, .. } = &mut node.seats[usize::from(shard)];
        if *halted {
            return;
        }
        *looks += 1;
        if looks.is_multiple_of(CHECK_EVERY) {
            core.check();
        }
        let (mut at, mut broken) = (0, None);
        for one in core.observe() {
            if seen.get(at) == Some(&one) {
                at += 1;
                continue;
            }
            // Partitions keep their order: new ones come last, deleted ones drop out.
            let gone = seen[at..].iter().position(|old| old.key == one.key);
            let old = gone.map(|gone| {
                seen.drain(at..at + gone);
                std::mem::replace(&mut seen[at], one)
            });
            if old.is_none() {
                seen.insert(at, one);
            }
            at += 1;
            // In recovery the log grows before it counts as durable.
            broken = broken.or(ruler(&one, old.as_ref().filter(|old| old.leads)).filter(|_| one.leads));
            if one.leads && old.is_none_or(|old| !old.leads || old.epoch != one.epoch) {
                let (epoch, led) = self.led.get(&one.key).copied().unwrap_or((Epoch(-1), 0));
                if led != run && one.epoch <= epoch {
                    let detail = format!("{}: run {run} leads epoch {}, run {led} led {epoch}", one.key, one.epoch);
                    broken = broken.or(Some((Invariant::Epochs, detail)));
                }
                self.led.insert(one.key, (one.epoch, run));
            }
        }
        seen.truncate(at);
        if let Some((invariant, detail)) = broken {
            // A vote in a lost tail that nothing proves is forgotten, and nobody can know.
            let forgotten = self.disk.atlas.hits().iter().any(|hit| is_journal(&hit.path));
            if invariant != Invariant::Epochs || !forgotten {
                self.fail(invariant, format!("shard {shard}: {detail}"));
            }
        }
    }

    fn drain(&mut self, shard: u16) {
        let run = self.runs;
        while let Some(node) = self.node.as_mut().filter(|_| run == self.runs) {
            let seat = &mut node.seats[usize::from(shard)];
            if seat.halted {
                return;
            }
            let Some(action) = seat.shard.poll() else { break };
            self.trace.action(shard, &action);
            match action {
                Action::Submit { token, op } => self.submit(shard, token, op),
                Action::Mail { to, mail } => self.post(shard, to.0, mail),
                Action::Halt(halt) => self.on_halt(shard, halt),
                Action::Log { level, text } => self.on_log(shard, level, text),
                Action::Ready => self.on_ready(shard),
            }
        }
        self.schedule_tick(shard);
    }

    fn schedule_tick(&mut self, shard: u16) {
        let (at, run) = (self.queue.now(), self.runs);
        let Some(node) = &mut self.node else { return };
        let Some(due) = node.seats[usize::from(shard)].shard.deadline() else { return };
        let mut when = node.when(due).max(at + MICROS);
        let seat = &mut node.seats[usize::from(shard)];
        if seat.tick_at.is_some_and(|tick_at| tick_at <= when && tick_at >= at) {
            return;
        }
        if !self.calm && self.streams.clock.chance(self.plan.clock.late) {
            self.counts.add(Fault::LateTick);
            when += self.streams.clock.between(1, 5_000) * MICROS;
        }
        seat.tick_at = Some(when);
        self.queue.push(when, Event::Tick { run, shard });
    }

    pub fn on_tick(&mut self, shard: u16) {
        let at = self.queue.now();
        let Some(node) = &mut self.node else { return };
        let now = node.now(at);
        let seat = &mut node.seats[usize::from(shard)];
        if seat.tick_at == Some(at) {
            seat.tick_at = None;
        }
        let due = seat.shard.deadline().is_some_and(|due| due <= now.mono);
        if due {
            self.feed(shard, Input::Tick);
        } else if !self.calm && self.streams.clock.chance(self.plan.clock.spurious) {
            self.counts.add(Fault::SpuriousTick);
            self.feed(shard, Input::Tick);
        } else {
            self.schedule_tick(shard);
        }
    }

    fn post(&mut self, from: u16, to: u16, mail: Mail) {
        assert!(to < self.seats() && to != from, "mail from shard {from} to {to}");
        let delay = MICROS + self.streams.schedule.below(20 * MICROS);
        let now = self.queue.now();
        let run = self.runs;
        let node = self.node.as_mut().expect("the shard lives");
        // One clock for all letters of a sender keeps each pair in order.
        let seat = &mut node.seats[usize::from(from)];
        seat.mail_at = seat.mail_at.max(now + delay);
        self.queue.push(seat.mail_at, Event::Mail { run, to, from, mail });
    }

    pub fn on_mail(&mut self, to: u16, from: u16, mail: Mail) {
        self.feed(to, Input::Mail { from: ShardId(from), mail });
    }

    fn on_log(&mut self, shard: u16, level: Level, text: String) {
        if matches!(level, Level::Error | Level::Warn) {
            self.stats.complaints.push(text.clone());
        }
        self.tell(|| format!("shard {shard}: {level:?}: {text}"));
    }

    fn on_ready(&mut self, shard: u16) {
        assert_eq!(shard, 0, "only shard 0 says that all are ready");
        let at = self.queue.now();
        let node = self.node.as_mut().expect("the shard lives");
        assert!(node.ready_at.is_none(), "ready twice");
        node.ready_at = Some(at);
        let took = (at - node.started) / MICROS;
        self.stats.recoveries += 1;
        self.tell(|| format!("ready after {took} us"));
    }

    fn submit(&mut self, shard: u16, token: Token, op: Op) {
        let node = self.node.as_ref().expect("the shard lives");
        let seat = &node.seats[usize::from(shard)];
        assert!(!seat.ops.contains_key(&token), "{token:?} is in flight already, now {op:?}");
        match op {
            Op::Accept { listener } => {
                let seat = &mut self.node.as_mut().expect("the shard lives").seats[usize::from(shard)];
                seat.ops.insert(token, InFlight::Accept);
                let before = seat.accepts.insert(listener, token);
                assert!(before.is_none(), "two Accepts on listener {listener}");
                self.offer(shard);
            }
            Op::Recv { conn, into } => {
                self.keep(shard, token, InFlight::Recv);
                if let Some(into) = &into {
                    assert!(into.capacity() > into.len(), "Recv on {conn:?} into a full buffer");
                }
                let conn_state = self.conn(shard, conn);
                assert!(conn_state.recv.is_none(), "two Recvs on {conn:?}");
                conn_state.recv = Some((token, into));
                self.pump_recv(conn);
            }
            Op::Send { conn, data, within } => {
                self.keep(shard, token, InFlight::Send);
                assert!(data.iter().any(|slice| !slice.is_empty()), "an empty Send on {conn:?}");
                let conn_state = self.conn(shard, conn);
                assert!(conn_state.send.is_none(), "two Sends on {conn:?}");
                conn_state.send = Some((token, data));
                self.pump_send(conn);
                // Most are taken at once, and nothing falls due.
                let waits = self.net.conns.get(&conn).is_some_and(|conn| conn.send.is_some());
                if let Some(within) = within.filter(|_| waits) {
                    let within = u64::try_from(within.as_nanos()).expect("a time that a node can wait");
                    self.queue.push_in(within, Event::SendDue { conn, token });
                }
            }
            Op::Hangup { conn } => {
                self.conn(shard, conn);
                self.hang_up(conn);
                self.settle(shard, token, Done::Ended(Ok(())), 2 * MICROS);
            }
            op => self.submit_disk(shard, token, op),
        }
    }

    fn keep(&mut self, shard: u16, token: Token, op: InFlight) {
        self.node.as_mut().expect("the shard lives").seats[usize::from(shard)].ops.insert(token, op);
    }

    fn conn(&mut self, shard: u16, id: ConnId) -> &mut crate::net::Conn {
        let conn = self.net.conns.get_mut(&id).unwrap_or_else(|| panic!("{id:?} is closed or was never accepted"));
        assert!(conn.shard == shard && !conn.hung, "{id:?} is not shard {shard}'s, or was hung up");
        conn
    }

    fn submit_disk(&mut self, shard: u16, token: Token, op: Op) {
        self.observe(&op);
        if self.story.ops {
            let path = file_of(&op).and_then(|file| self.disk.describe(file)).map_or("", |(path, _)| path).to_string();
            self.tell(|| format!("  shard {shard} op {} {} {path}", token.0, brief(&op)));
        }
        if let Some(file) = file_of(&op) {
            let node = self.node.as_mut().expect("the shard lives");
            assert!(!node.closed.contains(&file), "{op:?} after its Close");
        }
        let (delay, trouble) = self.lot(&op);
        let mark = self.disk.mark(&op);
        let mut end = self.queue.now() + delay;
        if let Op::Close { file } = op {
            end = end.max(self.cancel(shard, file));
        }
        let run = self.runs;
        self.keep(shard, token, InFlight::Disk { op, trouble, mark, canceled: false });
        self.queue.push(end, Event::Done { run, shard, token });
        self.burn_fuse();
    }

    /// Ends every pending op of a file; gives the time after which all have.
    fn cancel(&mut self, shard: u16, closing: FileId) -> Nanos {
        let node = self.node.as_mut().expect("the shard lives");
        node.closed.insert(closing);
        let (now, run) = (self.queue.now(), self.runs);
        for (token, op) in &mut node.seats[usize::from(shard)].ops {
            if let InFlight::Disk { op, canceled, .. } = op
                && file_of(op) == Some(closing)
                && !*canceled
            {
                *canceled = true;
                self.queue.push(now + MICROS, Event::Done { run, shard, token: *token });
            }
        }
        now + 2 * MICROS
    }

    /// How many times as long as others it takes, because one shard's journal is slow.
    fn slowness(&mut self, op: &Op) -> u64 {
        let (shard, by) = (self.plan.disk.slow_shard, self.plan.disk.slow_by);
        let Op::Write { file, durable: true, .. } = op else { return 1 };
        let path = self.disk.describe(*file).filter(|_| by > 1 && !self.calm).map(|(path, _)| path);
        if path.is_none_or(|path| !path.contains(&format!("shard-{shard}/"))) {
            return 1;
        }
        self.counts.add(Fault::SlowJournal);
        by
    }

    /// How long an op takes, and what goes wrong with it.
    fn lot(&mut self, op: &Op) -> (Nanos, Trouble) {
        let slow = self.slowness(op);
        let (rates, dice) = (&self.plan.disk, &mut self.streams.disk);
        let (base, fail, short) = match op {
            Op::Read { len, .. } => (rates.write_us + *len as u64 / 4096, rates.read_error, rates.short),
            Op::Write { data, durable, .. } => {
                let bytes: usize = data.iter().map(|slice| slice.len()).sum();
                let fail = if *durable { rates.write_error.max(rates.sync_error) } else { rates.write_error };
                (rates.write_us + bytes as u64 / 2048, fail, rates.short)
            }
            Op::Sync { .. } | Op::SyncDir { .. } => (rates.sync_us, rates.sync_error, 0),
            Op::Open { .. } | Op::List { .. } | Op::Volume => (5, rates.read_error / 4, 0),
            Op::Allocate { .. } | Op::Truncate { .. } => (20, rates.write_error, 0),
            Op::Close { .. } => (2, 0, 0),
            Op::MakeDir { .. } | Op::Rename { .. } | Op::Remove { .. } => (20, rates.write_error, 0),
            Op::Accept { .. } | Op::Recv { .. } | Op::Send { .. } | Op::Hangup { .. } => {
                panic!("not an op of the disk: {op:?}")
            }
        };
        let base = if slow > 1 { (base * slow).min(SLOW_MAX_US) } else { base };
        let mut delay = dice.skewed(base.max(1)) * MICROS + dice.below(MICROS);
        if self.calm {
            return (delay, Trouble::None);
        }
        if dice.chance(rates.stall) {
            self.counts.add(Fault::Stall);
            delay += dice.between(10, 30_000) * MILLIS / 10;
        }
        let trouble = if dice.chance(fail) {
            Trouble::Fail
        } else if dice.chance(short) {
            Trouble::Short
        } else {
            Trouble::None
        };
        (delay, trouble)
    }

    pub fn on_done(&mut self, shard: u16, token: Token) {
        let node = self.node.as_mut().expect("the event was for this run");
        let node_ready = node.ready();
        let seat = &mut node.seats[usize::from(shard)];
        // A canceled op has two events; the first one ends it.
        let Some(op) = seat.ops.remove(&token) else { return };
        let done = match op {
            InFlight::Settled(done) => done,
            InFlight::Accept | InFlight::Recv | InFlight::Send => panic!("{token:?} ends without an end"),
            InFlight::Disk { op: Op::Read { buf, .. }, canceled: true, .. } => {
                Done::Read { buf, result: Err(IoError::Canceled) }
            }
            InFlight::Disk { op, mark, canceled: true, .. } => {
                let done = canceled_done(&op);
                self.disk.interrupt(op, mark, false, &mut self.streams.disk, &mut self.counts);
                done
            }
            InFlight::Disk { op, trouble, mark, canceled: false } => {
                if seat.ops.range(..token).any(|(_, op)| matches!(op, InFlight::Disk { .. })) {
                    self.counts.add(Fault::OutOfOrder);
                }
                self.disk.perform(op, trouble, mark, &mut self.streams.disk, &mut self.counts)
            }
        };
        if may_halt(&done, node_ready)
            && let Some(node) = &mut self.node
        {
            node.failures += 1;
        }
        if self.story.ops && !matches!(done, Done::Received(_) | Done::Sent(_) | Done::Accepted(_)) {
            let failed = matches!(&done, Done::Ended(Err(_)) | Done::Wrote(Err(_)) | Done::Opened(Err(_)));
            self.tell(|| format!("  shard {shard} op {} ends{}", token.0, if failed { " badly" } else { "" }));
        }
        self.feed(shard, Input::Done { token, done });
    }

    fn on_halt(&mut self, shard: u16, halt: Halt) {
        self.tell(|| format!("shard {shard} halts: {halt}"));
        let node = self.node.as_mut().expect("the shard lives");
        node.seats[usize::from(shard)].halted = true;
        let all = node.seats.iter().all(|seat| seat.halted);
        match halt {
            Halt::Stopped if !self.stopping => {
                self.fail(Invariant::Halts, format!("shard {shard} stopped without being asked"));
            }
            Halt::Stopped if all => self.stopped(),
            Halt::Resharded if all => self.resharded(),
            Halt::Stopped | Halt::Resharded => {}
            Halt::Disk { path, error } => {
                if self.node.as_ref().is_none_or(|node| node.failures == 0) {
                    self.fail(
                        Invariant::Halts,
                        format!("{path}: {error}, though nothing failed that it must halt for"),
                    );
                }
                self.process_over(20 * MILLIS);
            }
            Halt::Damage { path, offset, reason } => self.on_damage(&path, offset, &reason),
            Halt::Refused { reason } => self.on_refused(&reason),
        }
    }

    /// Remembers the frame that a write to a journal begins.
    fn note_frame(&mut self, op: &Op) {
        if let Op::Write { file, data, durable: true, .. } = op
            && let Some(seal) = data.first().and_then(|first| is_seal(first))
            && let Some((path, _)) = self.disk.describe(*file).filter(|(path, _)| is_journal(path))
        {
            let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder).to_string();
            let last = LastFrame { at: self.queue.now(), seal };
            self.frames.insert(folder, last);
        }
    }

    /// Counts what the ops tell of the core's inner life.
    fn observe(&mut self, op: &Op) {
        self.note_frame(op);
        self.stats.disk_ops += 1;
        match op {
            Op::Rename { to, .. } if to.ends_with(".kept") => {
                self.stats.kept += 1;
                self.tell(|| format!("kept: {to}"));
            }
            Op::Rename { to, .. } if to.ends_with("/checkpoint") => {
                self.stats.checkpoints += 1;
                self.tell(|| format!("checkpoint: {to}"));
            }
            Op::Open { path, mode } if mode.create && path.ends_with(".log") => self.stats.segments += 1,
            Op::Open { path, mode } if mode.create && path.ends_with(".chunks") => {
                self.stats.rolls += 1;
                self.counts.add(Fault::Roll);
            }
            // The ring's files are written full of zeros first: those writes are not durable ones.
            Op::Write { file, offset: 0, durable: true, .. } => {
                let path = self.disk.describe(*file).map(|(path, _)| path.to_string());
                if let Some(path) = path.filter(|path| is_journal(path)) {
                    self.stats.journal_turns += 1;
                    if !self.begun.insert(path) {
                        self.stats.wraps += 1;
                        self.counts.add(Fault::Wrap);
                    }
                }
            }
            _ => {}
        }
    }

    /// Asks the shards to stop, and looks later whether they have.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.asked_to_stop = self.queue.now();
        self.tell(|| "SIGTERM".to_string());
        for shard in 0..self.seats() {
            self.feed(shard, Input::Stop);
        }
    }

    /// What each shard waits for, for the message of a run that hangs.
    pub fn waiting(&self) -> String {
        let Some(node) = &self.node else { return "no process runs".to_string() };
        let mut text = format!("ready: {}", node.ready());
        for (index, seat) in node.seats.iter().enumerate() {
            let ops: Vec<String> = seat.ops.iter().map(|(token, op)| format!("{} {}", token.0, describe(op))).collect();
            let due = seat.shard.deadline().map(|due| due.0 / MILLIS);
            text += &format!("; shard {index}: {} ops [{}], deadline {due:?} ms", ops.len(), ops.join(", "));
        }
        text + &format!("; time {} s", self.queue.now() / SECONDS)
    }
}

/// What of `one`, which was `old` before, breaks the ruler. One voter: nothing is committed before it is durable here.
fn ruler(one: &Observed, old: Option<&Observed>) -> Option<(Invariant, String)> {
    let ends = one.start <= one.high_watermark && one.high_watermark <= one.durable && one.durable <= one.end;
    let forth = old.is_none_or(|old| {
        old.epoch <= one.epoch
            && old.start <= one.start
            && old.high_watermark <= one.high_watermark
            && old.durable <= one.durable
            && old.end <= one.end
    });
    (!ends || !forth).then(|| (Invariant::Ruler, format!("{one:?}, before {old:?}")))
}

/// An op without its bytes.
fn brief(op: &Op) -> String {
    match op {
        Op::Write { file, offset, data, durable } => {
            let len: usize = data.iter().map(|slice| slice.len()).sum();
            format!("Write {len} bytes at {offset} of {} (durable: {durable})", file.0)
        }
        Op::Read { file, offset, len, .. } => format!("Read {len} bytes at {offset} of {}", file.0),
        op => format!("{op:?}"),
    }
}

fn describe(op: &InFlight) -> String {
    match op {
        InFlight::Disk { op, .. } => brief(op),
        InFlight::Settled(_) => "settled".to_string(),
        InFlight::Accept => "Accept".to_string(),
        InFlight::Recv => "Recv".to_string(),
        InFlight::Send => "Send".to_string(),
    }
}

/// The open file that an op is about.
pub fn file_of(op: &Op) -> Option<FileId> {
    match op {
        Op::Allocate { file, .. }
        | Op::Read { file, .. }
        | Op::Write { file, .. }
        | Op::Sync { file }
        | Op::Truncate { file, .. }
        | Op::Close { file } => Some(*file),
        Op::Open { .. }
        | Op::List { .. }
        | Op::Volume
        | Op::MakeDir { .. }
        | Op::Rename { .. }
        | Op::Remove { .. }
        | Op::SyncDir { .. }
        | Op::Accept { .. }
        | Op::Recv { .. }
        | Op::Send { .. }
        | Op::Hangup { .. } => None,
    }
}

/// A failure after which what is durable is unknown, or after which a start cannot go on. A read that fails for somebody
/// who reads is answered, a full disk is waited for.
fn may_halt(done: &Done, ready: bool) -> bool {
    let real = |error: &IoError| !matches!(error, IoError::NoSpace | IoError::Canceled);
    let found = |error: &IoError| real(error) && !matches!(error, IoError::NotFound);
    match done {
        Done::Wrote(Err(error)) => real(error),
        Done::Ended(Err(error)) | Done::Listed(Err(error)) | Done::Opened(Err(error)) => found(error),
        Done::Read { result: Err(error), .. } => !ready && real(error),
        _ => false,
    }
}

fn canceled_done(op: &Op) -> Done {
    match op {
        Op::Write { .. } => Done::Wrote(Err(IoError::Canceled)),
        _ => Done::Ended(Err(IoError::Canceled)),
    }
}
