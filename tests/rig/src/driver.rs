//! The driver of one shard, as a task: what it does is what the production driver does, in the same order.
//!
//! Perform every action, deliver the letters, sleep unless there is something to do, and tell the shard what has come. Ops
//! are tasks of their own, so they end in any order; between any two actions other tasks may run. The mailbox is the
//! production one. Invariant: the boundary's contract, asserted by [`Contract`].

use crate::conns::{Backlog, Conns};
use crate::contract::Contract;
use crate::mailbox::Mailboxes;
use crate::node::{Site, Watch};
use crate::runtime::{Runtime, chance, linger, pause, race};
use highwater::boundary::{
    Accepted, Action, ConnId, Done, FileId, Halt, Input, Instant, Level, Now, Op, Timestamp, Token,
};
use highwater::ids::ShardId;
use highwater::mail::Mail;
use highwater::shard::Shard;
use highwater_sim::node::file_of;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// 2026-11-21, in milliseconds.
const WALL_BASE: i64 = 1_795_219_200_000;
/// A shard's own invariants are looked at after so many turns.
const CHECK_EVERY: u64 = 16;

/// Where a task hands in what has become of its op.
#[derive(Clone)]
pub struct Hand {
    ended: Rc<RefCell<VecDeque<(Token, Done)>>>,
    bell: Rc<Notify>,
}

impl Hand {
    pub fn end(&self, token: Token, done: Done) {
        self.ended.borrow_mut().push_back((token, done));
        self.bell.notify_one();
    }
}

/// What the drivers of one process share.
pub struct Crew {
    pub mailboxes: Mailboxes<Mail>,
    pub bells: Vec<Rc<Notify>>,
    pub backlogs: Vec<Backlog>,
    pub made: Cell<u64>,
    pub started: Duration,
    pub run: u64,
}

pub struct Driver<R> {
    shard: ShardId,
    core: Shard,
    site: Site,
    crew: Rc<Crew>,
    hand: Hand,
    conns: Rc<Conns>,
    /// Ops under way by file, and the Close that waits for them.
    files: Rc<RefCell<BTreeMap<FileId, u32>>>,
    outgoing: Vec<Vec<Mail>>,
    contract: Contract,
    turns: u64,
    _runtime: PhantomData<R>,
}

impl<R: Runtime> Driver<R> {
    pub fn new(shard: ShardId, site: Site, crew: Rc<Crew>, core: impl FnOnce(Now) -> Shard) -> Driver<R> {
        Driver {
            shard,
            core: core(now::<R>(&crew)),
            hand: Hand { ended: Rc::default(), bell: Rc::clone(&crew.bells[usize::from(shard.0)]) },
            conns: Rc::default(),
            files: Rc::default(),
            outgoing: (0..site.shards).map(|_| Vec::new()).collect(),
            contract: Contract::default(),
            turns: 0,
            site,
            crew,
            _runtime: PhantomData,
        }
    }

    /// Runs the shard until it halts.
    pub async fn run(mut self) -> Halt {
        loop {
            if let Some(halt) = self.perform_all().await {
                self.deliver_mail().await;
                return halt;
            }
            self.deliver_mail().await;
            self.look();
            self.wait().await;
            self.tell();
        }
    }

    async fn perform_all(&mut self) -> Option<Halt> {
        while let Some(action) = self.core.poll() {
            self.watch(|watch, shard| watch.trace.action(shard, &action));
            match action {
                Action::Submit { token, op } => {
                    self.contract.on_submit(token, &op);
                    self.submit(token, op);
                }
                Action::Mail { to, mail } => self.outgoing[usize::from(to.0)].push(mail),
                Action::Halt(halt) => return Some(halt),
                Action::Log { level, text } => self.log(level, text),
                Action::Ready => self.watch(|watch, _| watch.ready += 1),
            }
            if chance::<R>(10) {
                pause().await;
            }
        }
        None
    }

    async fn deliver_mail(&mut self) {
        for to in 0..self.outgoing.len() {
            if self.outgoing[to].is_empty() {
                continue;
            }
            if chance::<R>(30) {
                pause().await;
            }
            let mailbox = self.crew.mailboxes.of(ShardId(to as u16));
            if mailbox.deliver(self.shard, &mut self.outgoing[to]) {
                self.crew.bells[to].notify_one();
            }
        }
    }

    /// Sleeps until an op ends, a letter comes or the deadline is due.
    async fn wait(&mut self) {
        let mailbox = self.crew.mailboxes.of(self.shard);
        let busy = !self.hand.ended.borrow().is_empty() || !mailbox.fall_asleep();
        if !busy {
            let woken = self.hand.bell.notified();
            match self.core.deadline() {
                Some(due) => {
                    let time = due.since(now::<R>(&self.crew).mono);
                    race(woken, R::sleep(time)).await;
                }
                None => woken.await,
            }
        }
        mailbox.wake_up();
    }

    fn tell(&mut self) {
        let now = now::<R>(&self.crew);
        self.contract.on_time(now);
        let ended = std::mem::take(&mut *self.hand.ended.borrow_mut());
        for (token, done) in ended {
            self.contract.on_done(now, token, &done);
            self.handle(now, Input::Done { token, done });
        }
        let mailbox = self.crew.mailboxes.of(self.shard);
        let (stop, mut letters) = (mailbox.take_stop(), Vec::new());
        mailbox.take(&mut letters);
        for (from, mail) in letters {
            self.handle(now, Input::Mail { from, mail });
        }
        if stop {
            self.handle(now, Input::Stop);
        }
        let due = self.core.deadline().is_some_and(|due| due <= now.mono);
        // A tick for nothing is allowed.
        if due || chance::<R>(1) {
            self.handle(now, Input::Tick);
        }
    }

    fn handle(&mut self, now: Now, input: Input) {
        self.watch(|watch, shard| watch.trace.input(shard, now, &input));
        self.core.handle(now, input);
    }

    fn look(&mut self) {
        self.turns += 1;
        if !self.turns.is_multiple_of(CHECK_EVERY) {
            return;
        }
        self.core.check();
        self.contract.check();
        let (open, gauges) = (self.contract.open(), self.core.sample().gauges);
        let in_flight = self.contract.in_flight();
        self.watch(|watch, shard| {
            let seat = watch.seats.entry(shard).or_default();
            seat.open = open;
            seat.gauges = gauges;
            seat.in_flight = in_flight;
        });
    }

    /// What a dead process's tasks still do before they are dropped, nobody watches.
    fn watch(&self, look: impl FnOnce(&mut Watch, u16)) {
        let mut watch = self.site.watch();
        if watch.runs == self.crew.run {
            look(&mut watch, self.shard.0);
        }
    }

    fn log(&self, level: Level, text: String) {
        if matches!(level, Level::Error | Level::Warn) {
            self.watch(|watch, shard| watch.complaints.push(format!("shard {shard}: {text}")));
        }
    }

    fn submit(&mut self, token: Token, op: Op) {
        match op {
            Op::Accept { .. } => self.accept(token),
            Op::Recv { conn, into } => self.conns.receive::<R>(self.hand.clone(), token, conn, into),
            Op::Send { conn, data, within } => self.conns.send::<R>(self.hand.clone(), token, conn, data, within),
            Op::Hangup { conn } => self.conns.hang_up::<R>(self.hand.clone(), token, conn),
            Op::Close { file } => self.close(token, file),
            op => self.disk(token, op),
        }
    }

    fn accept(&mut self, token: Token) {
        let (crew, conns, hand, shard) = (Rc::clone(&self.crew), Rc::clone(&self.conns), self.hand.clone(), self.shard);
        R::spawn(async move {
            let (stream, peer) = crew.backlogs[usize::from(shard.0)].next().await;
            crew.made.set(crew.made.get() + 1);
            let conn = ConnId(crew.made.get());
            conns.insert(conn, stream);
            linger::<R>().await;
            let principal = "User:ANONYMOUS".to_string();
            hand.end(token, Done::Accepted(Ok(Accepted { conn, listener: 0, peer, principal })));
        });
    }

    fn disk(&mut self, token: Token, op: Op) {
        let file = file_of(&op);
        if let Some(file) = file {
            *self.files.borrow_mut().entry(file).or_default() += 1;
        }
        let number = self.site.platter.begin(op);
        let (site, hand, files) = (self.site.clone(), self.hand.clone(), Rc::clone(&self.files));
        R::spawn(async move {
            linger::<R>().await;
            let Some(done) = site.platter.end(number, chance::<R>(5)) else { return };
            if let Some(file) = file {
                *files.borrow_mut().get_mut(&file).expect("it has ops under way") -= 1;
            }
            hand.end(token, done);
        });
    }

    /// Ends after every op of the file.
    fn close(&mut self, token: Token, file: FileId) {
        let (site, hand, files) = (self.site.clone(), self.hand.clone(), Rc::clone(&self.files));
        R::spawn(async move {
            while files.borrow().get(&file).is_some_and(|left| *left > 0) {
                R::sleep(Duration::from_millis(1)).await;
            }
            files.borrow_mut().remove(&file);
            let number = site.platter.begin(Op::Close { file });
            let Some(done) = site.platter.end(number, false) else { return };
            hand.end(token, done);
        });
    }
}

fn now<R: Runtime>(crew: &Crew) -> Now {
    let elapsed = R::elapsed();
    let lived = elapsed.saturating_sub(crew.started);
    Now { mono: Instant(lived.as_nanos() as u64), wall: Timestamp(WALL_BASE + elapsed.as_millis() as i64) }
}
