//! The world: the queue of events and everything that they happen to.
//!
//! Its parts live in their own files: the node's side of the boundary in `node`, the wires in `net`, the disasters in
//! `chaos`, what the clients do in `client`, what must hold in `ledger` and `check`.
//!
//! Invariant: all chance comes from `streams`, each used for its own purpose only.

use crate::client::{Client, Command, Ctx};
use crate::dice::{Dice, Purpose};
use crate::disk::Disk;
use crate::faults::Counts;
use crate::ledger::Ledger;
use crate::net::{Net, Wire};
use crate::node::{Process, wall};
use crate::plan::{Disaster, Plan};
use crate::queue::{MILLIS, Nanos, Queue, SECONDS};
use crate::report::{Failure, Invariant, REQUESTS_MIN, Stats, Story};
use crate::rest::LastFrame;
use crate::trace::Trace;
use highwater::boundary::{ConnId, Token};
use highwater::ids::{Epoch, PartitionKey};
use highwater::mail::Mail;
use std::collections::{BTreeMap, BTreeSet};

pub enum Event {
    /// An op of a shard ends.
    Done {
        run: u32,
        shard: u16,
        token: Token,
    },
    Tick {
        run: u32,
        shard: u16,
    },
    Mail {
        run: u32,
        to: u16,
        from: u16,
        mail: Mail,
    },
    /// A connection request reaches the node.
    Syn {
        conn: ConnId,
    },
    ToNode {
        conn: ConnId,
        wire: Wire,
    },
    ToClient {
        client: u32,
        conn: ConnId,
        wire: Wire,
    },
    /// The time that a Send was given is over.
    SendDue {
        conn: ConnId,
        token: Token,
    },
    Wake {
        client: u32,
    },
    Boot,
    Chaos(usize),
    /// The crash that is due has waited long enough.
    Fuse,
    /// A limit on the disk is lifted.
    Roomy,
    Heal,
    /// A last look at progress.
    Watch,
}

pub struct Streams {
    pub net: Dice,
    pub disk: Dice,
    pub clock: Dice,
    pub schedule: Dice,
    pub work: Dice,
    pub core: Dice,
}

/// A crash that waits for the disk's n-th op from now.
pub struct Fuse {
    pub ops: u32,
    pub power: bool,
    pub down: Nanos,
    pub again_after_ops: Option<u32>,
    pub harm: Vec<crate::plan::Harm>,
}

pub struct World {
    pub plan: Plan,
    pub queue: Queue<Event>,
    pub disk: Disk,
    pub net: Net,
    pub node: Option<Process>,
    pub runs: u32,
    /// The most shards that were asked for so far.
    pub shards_max: u16,
    /// How many shards the operator asks for.
    pub shards: u16,
    /// By partition: the highest epoch that was led, and by which run.
    pub led: BTreeMap<PartitionKey, (Epoch, u32)>,
    /// Files of journals that a first frame was written to.
    pub begun: BTreeSet<String>,
    /// By journal folder.
    pub frames: BTreeMap<String, LastFrame>,
    /// Since when nobody has anything to do.
    pub quiet_since: Option<Nanos>,
    pub clients: Vec<Option<Box<Client>>>,
    pub ledger: Ledger,
    pub streams: Streams,
    pub counts: Counts,
    pub trace: Trace,
    pub stats: Stats,
    pub story: Story,
    next_pulse: Nanos,
    pub fuse: Option<Fuse>,
    /// A crash to come in the next run's recovery: after so many ops, with the power or not.
    pub next_fuse: Option<(u32, bool)>,
    pub asked_to_stop: Nanos,
    pub snapshot: Option<Disk>,
    /// Something was harmed under the node, or the disk was full: reads may have failed for it.
    pub read_errors: bool,
    /// When the disk became full, while it is.
    pub full_since: Option<Nanos>,
    pub calm: bool,
    /// When the faults ended.
    pub calm_since: Option<Nanos>,
    pub stopping: bool,
    /// How long a clean stop lasts; the last one has no end.
    pub stop_for: Option<Nanos>,
    pub failure: Option<Failure>,
    pub over: bool,
}

/// A run that needs more events than this is going in circles.
const EVENTS_MAX: u64 = 6_000_000;
/// How long after the last fault everything may take to come to rest.
pub const REST: Nanos = 300 * SECONDS;

impl World {
    pub fn new(plan: Plan, story: Story) -> World {
        let stream = |purpose| Dice::new(plan.seed, purpose);
        let streams = Streams {
            net: stream(Purpose::Network),
            disk: stream(Purpose::Disk),
            clock: stream(Purpose::Clock),
            schedule: stream(Purpose::Schedule),
            work: stream(Purpose::Workload),
            core: stream(Purpose::Core),
        };
        let mut disk = Disk::default();
        disk.atlas.watching = plan.harms();
        let ledger = Ledger::new(&plan.work);
        let mut world = World {
            queue: Queue::default(),
            disk,
            net: Net::default(),
            node: None,
            runs: 0,
            shards: plan.shape.shards,
            shards_max: plan.shape.shards,
            led: BTreeMap::new(),
            begun: BTreeSet::new(),
            frames: BTreeMap::new(),
            quiet_since: None,
            clients: Vec::new(),
            ledger,
            streams,
            counts: Counts::default(),
            trace: Trace::default(),
            stats: Stats::default(),
            story,
            next_pulse: 2 * SECONDS,
            fuse: None,
            next_fuse: None,
            asked_to_stop: 0,
            snapshot: None,
            read_errors: false,
            full_since: None,
            calm: false,
            calm_since: None,
            stopping: false,
            stop_for: None,
            failure: None,
            over: false,
            plan,
        };
        world.clients = Client::all(&world.plan, &mut world.streams.work);
        world.queue.push(0, Event::Boot);
        for client in 0..world.clients.len() as u32 {
            let at = world.streams.work.below(5 * MILLIS);
            world.queue.push(at, Event::Wake { client });
        }
        for (index, chaos) in world.plan.chaos.iter().enumerate() {
            world.queue.push(chaos.at, Event::Chaos(index));
        }
        world.queue.push(world.plan.heal_at, Event::Heal);
        world
    }

    /// Runs to the end, or to the first broken invariant.
    pub fn run(&mut self) {
        while !self.over && self.failure.is_none() {
            let Some(event) = self.queue.pop() else {
                return self.fail(Invariant::Liveness, "nothing is left to happen".to_string());
            };
            self.stats.events += 1;
            if self.stats.events > EVENTS_MAX {
                return self.fail(Invariant::Liveness, format!("still going after {EVENTS_MAX} events"));
            }
            if self.story.told && self.queue.now() >= self.next_pulse {
                self.pulse();
            }
            self.dispatch(event);
        }
    }

    /// How far the clients are, for the story alone.
    fn pulse(&mut self) {
        let (acked, read) = (self.ledger.records_acked, self.ledger.records_read);
        let requests = self.stats.requests;
        self.tell(|| format!("so far {requests} requests; {acked} records acknowledged, {read} of them read back"));
        self.next_pulse = self.queue.now() + 2 * SECONDS;
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Done { run, shard, token } => {
                if let Some(event) = self.awake(run, Event::Done { run, shard, token }) {
                    let Event::Done { shard, token, .. } = event else { unreachable!("it is handed back") };
                    self.on_done(shard, token);
                }
            }
            Event::Tick { run, shard } => {
                if self.awake(run, Event::Tick { run, shard }).is_some() {
                    self.on_tick(shard);
                }
            }
            Event::Mail { run, to, from, mail } => {
                if let Some(event) = self.awake(run, Event::Mail { run, to, from, mail }) {
                    let Event::Mail { to, from, mail, .. } = event else { unreachable!("it is handed back") };
                    self.on_mail(to, from, mail);
                }
            }
            Event::Syn { conn } => self.on_syn(conn),
            Event::ToNode { conn, wire } => self.on_node_wire(conn, wire),
            Event::ToClient { client, conn, wire } => self.on_client_wire(client, conn, wire),
            Event::SendDue { conn, token } => self.on_send_due(conn, token),
            Event::Wake { client } => self.with_client(client, |client, ctx| client.on_wake(ctx)),
            Event::Boot => self.boot(),
            Event::Chaos(index) => {
                let what = self.plan.chaos[index].what.clone();
                self.strike(what);
            }
            Event::Fuse => self.on_fuse(),
            Event::Roomy => {
                self.check_deleted_while_full();
                self.disk.set_capacity(None);
                self.tell(|| "the disk has room again".to_string());
            }
            Event::Heal => self.heal(),
            Event::Watch => self.watch(),
        }
    }

    /// Remembers the latest time that the node's clock may have shown.
    pub fn note_wall(&mut self) {
        self.ledger.wall_max = self.ledger.wall_max.max(wall(self.queue.now(), self.ledger.skew_ms));
    }

    /// Lets a client act, and does what it asks.
    pub fn with_client(&mut self, index: u32, act: impl FnOnce(&mut Client, &mut Ctx)) {
        self.note_wall();
        let Some(mut client) = self.clients[index as usize].take() else { return };
        let mut ctx = Ctx {
            now: self.queue.now(),
            calm: self.calm,
            calm_since: self.calm_since,
            read_errors: self.plan.disk.read_error > 0 || self.read_errors,
            // An answer may be of a process that is gone, and of one that has not changed their number yet.
            shards: self.shards_max,
            work: &self.plan.work,
            dice: &mut self.streams.work,
            ledger: &mut self.ledger,
            counts: &mut self.counts,
            stats: &mut self.stats,
            rates: &self.plan.net,
            out: Vec::new(),
            failure: None,
        };
        act(&mut client, &mut ctx);
        let (out, failure) = (ctx.out, ctx.failure);
        self.clients[index as usize] = Some(client);
        if let Some((invariant, detail)) = failure {
            self.fail(invariant, detail);
        }
        for command in out {
            match command {
                Command::Connect => self.connect(index),
                Command::Send { conn, bytes } => self.client_send(conn, bytes),
                Command::Close { conn } => self.client_close(conn),
                Command::Vanish { conn } => self.client_vanish(conn),
                Command::Wake { at } => self.queue.push(at, Event::Wake { client: index }),
            }
        }
    }

    pub fn fail(&mut self, invariant: Invariant, detail: String) {
        let excused = self.ledger.beyond && !matches!(invariant, Invariant::Genuine | Invariant::Panics);
        if self.failure.is_none() && !excused {
            self.tell(|| format!("FAILED: {}: {detail}", invariant.name()));
            self.failure = Some(Failure { invariant, detail });
        }
    }

    /// A line of the story; nothing is formatted when nobody listens.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.queue.now();
        self.story.tell(now, line);
    }

    /// The faults end: from here on everything must come to rest.
    fn heal(&mut self) {
        if self.stats.crashes < self.plan.crashes_min && !self.ledger.beyond {
            // Some were overtaken by others, or met a process that was down.
            self.plan.heal_at += SECONDS;
            self.queue.push_in(SECONDS, Event::Heal);
            let power = self.streams.schedule.coin();
            let after_ops = self.streams.schedule.below(10) as u32;
            let (down, again_after_ops, harm) = (50 * MILLIS, None, Vec::new());
            return self.strike(Disaster::Crash { power, after_ops, down, again_after_ops, harm });
        }
        self.calm = true;
        self.calm_since = Some(self.queue.now());
        self.fuse = None;
        self.check_deleted_while_full();
        self.disk.set_capacity(None);
        if let Some(node) = &mut self.node {
            node.frozen_until = 0;
        }
        self.tell(|| "the faults end; all must come to rest".to_string());
        self.make_up();
        for client in 0..self.clients.len() as u32 {
            self.queue.push_in(0, Event::Wake { client });
        }
        self.queue.push_in(SECONDS, Event::Watch);
    }

    /// Where many crashes have kept the clients from what a default seed promises, the readers go on for longer.
    fn make_up(&mut self) {
        let missing = REQUESTS_MIN.saturating_sub(self.stats.produces + self.stats.fetches);
        let mut readers: Vec<_> = self.clients.iter_mut().flatten().filter_map(|client| client.reader()).collect();
        if self.plan.crashes_min > 0 && !readers.is_empty() {
            // Some readers may find nothing left to read.
            let each = missing * 5 / 4 / readers.len() as u64 + 1;
            readers.iter_mut().for_each(|reader| reader.fetch_at_least(each as u32));
        }
    }
}
