//! The driver of one shard: a thread, a ring, and the loop that carries actions out and answers back.
//!
//! It performs and decides nothing: no rule of the protocol lives here. Each op in flight has a [`Flight`], which names
//! the token to answer; what the kernel may touch is held by the ring. Invariant: each `Submit` gets exactly one `Done`,
//! so `submitted` minus `answered` is what the shard still waits for.

mod conns;
mod files;
#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::limits::Seats;
use crate::mailbox::Mailboxes;
use crate::ring::{Event, Ring};
pub use conns::Guest;
use conns::{Conns, Door};
use files::Files;
use highwater::boundary::{Action, ConnId, Done, FileId, Halt, Input, Instant, Level, Now, Op, Token};
use highwater::ids::ShardId;
use highwater::mail::Mail;
use highwater::metrics::Sample;
use highwater::shard::Shard;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// While nothing can be received because all buffers are in use, maybe on other shards: look again this often.
const STARVED_PAUSE: Duration = Duration::from_millis(1);

/// What a driver drives: a shard, or a script in its place.
pub trait Core {
    fn handle(&mut self, now: Now, input: Input);
    fn poll(&mut self) -> Option<Action>;
    fn deadline(&self) -> Option<Instant>;
    fn sample(&self) -> Sample;
}

impl Core for Shard {
    fn handle(&mut self, now: Now, input: Input) {
        Shard::handle(self, now, input);
    }

    fn poll(&mut self) -> Option<Action> {
        Shard::poll(self)
    }

    fn deadline(&self) -> Option<Instant> {
        Shard::deadline(self)
    }

    fn sample(&self) -> Sample {
        Shard::sample(self)
    }
}

/// What one driver has for another.
#[derive(Debug)]
pub enum Post {
    /// From shard to shard.
    Mail(Mail),
    Guest(Guest),
}

/// What a driver is given by the process.
pub struct Outfit {
    pub shard: ShardId,
    pub mailboxes: Arc<Mailboxes<Post>>,
    pub clock: Clock,
    /// The data folder, under which every path lies.
    pub folder: OwnedFd,
    /// What says that the folder is ours. It stays locked until the last op has ended: a successor that read and wrote
    /// the journal while a write of ours is still on its way would lose what that write falls upon.
    pub lock: OwnedFd,
    /// `Op::Accept` counts them from 0.
    pub listeners: Vec<OwnedFd>,
    pub seats: Arc<Seats>,
    /// Where samples go, for whoever has asked for them in the mailbox.
    pub samples: Sender<(ShardId, Sample)>,
    /// Called on the first [`Action::Ready`].
    pub on_ready: Box<dyn FnOnce() + Send>,
}

pub struct Driver<C> {
    ring: Ring<Flight>,
    core: C,
    now: Now,
    clock: Clock,
    shard: ShardId,
    mailboxes: Arc<Mailboxes<Post>>,
    folder: OwnedFd,
    /// By listener.
    doors: Vec<Door>,
    seats: Arc<Seats>,
    samples: Sender<(ShardId, Sample)>,
    on_ready: Option<Box<dyn FnOnce() + Send>>,
    files: Files,
    conns: Conns,
    /// Answers that need no waiting.
    ready: VecDeque<(Token, Done)>,
    /// Answers that are held back for a while.
    later: Vec<(Instant, Token, Done)>,
    /// Receives that wait for a buffer of the pool.
    starved: Vec<(Token, ConnId)>,
    /// By shard, delivered together before the driver waits.
    outgoing: Vec<Vec<Post>>,
    arrived: Vec<(ShardId, Post)>,
    events: Vec<Event<Flight>>,
    submitted: u64,
    answered: u64,
}

/// An op in flight: whom to answer, and how.
enum Flight {
    /// The wait for the bell of our mailbox.
    Bell,
    File {
        token: Token,
        file: FileId,
        kind: FileOp,
    },
    CloseFile {
        token: Token,
        file: FileId,
    },
    Open {
        token: Token,
        direct: bool,
    },
    Name {
        token: Token,
        kind: NameOp,
    },
    Accept {
        listener: u16,
    },
    Receive {
        token: Token,
        conn: ConnId,
    },
    Send {
        token: Token,
        conn: ConnId,
    },
    Hangup {
        token: Token,
        conn: ConnId,
    },
}

#[derive(Clone, Copy)]
enum FileOp {
    /// Allocate, Sync, Truncate.
    Plain,
    Read,
    Write,
}

enum NameOp {
    MakeDir(String),
    Rename,
    /// First as a file.
    Remove(String),
    /// Then as a folder.
    RemoveDir,
    /// The open folder, closed when this ends.
    SyncDir(OwnedFd),
}

impl<C: Core> Driver<C> {
    /// Call it on the thread that will [`Driver::run`]. `core` is made last, when everything else stands.
    pub fn new(outfit: Outfit, core: impl FnOnce(Now) -> C) -> io::Result<Driver<C>> {
        let Outfit { shard, mailboxes, clock, folder, lock, listeners, seats, samples, on_ready } = outfit;
        let ring = Ring::new()?;
        ring.keep_open(lock.as_fd())?;
        mailboxes.of(shard).set_ring(ring.descriptor());
        let now = clock.now();
        Ok(Driver {
            ring,
            core: core(now),
            now,
            clock,
            shard,
            folder,
            doors: listeners.into_iter().map(Door::new).collect(),
            seats,
            samples,
            on_ready: Some(on_ready),
            files: Files::default(),
            conns: Conns::default(),
            ready: VecDeque::new(),
            later: Vec::new(),
            starved: Vec::new(),
            outgoing: (0..mailboxes.shards()).map(|_| Vec::new()).collect(),
            arrived: Vec::new(),
            events: Vec::new(),
            mailboxes,
            submitted: 0,
            answered: 0,
        })
    }

    /// Runs the shard until it halts. What is in flight then is canceled, and answered to nobody.
    pub fn run(mut self) -> Halt {
        // The core's timers are as short as 50 us, which is also what Linux adds to every wait by default. Where it is
        // refused, commits come a little later.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        self.listen_for_bell();
        loop {
            if let Some(halt) = self.perform_all() {
                return halt;
            }
            self.wait();
            self.set_now();
            self.answer_completions();
            self.answer_ready();
            self.end_late_sends();
            self.read_mail();
            self.tick();
            self.feed_starved();
        }
    }

    /// Carries out what the core asks, until it asks for nothing more.
    fn perform_all(&mut self) -> Option<Halt> {
        while let Some(action) = self.core.poll() {
            match action {
                Action::Submit { token, op } => {
                    self.submitted += 1;
                    self.submit(token, op);
                }
                Action::Mail { to, mail } => self.outgoing[usize::from(to.0)].push(Post::Mail(mail)),
                Action::Halt(halt) => {
                    self.deliver_mail();
                    return Some(halt);
                }
                Action::Log { level, text } => log(level, &text),
                Action::Ready => {
                    if let Some(on_ready) = self.on_ready.take() {
                        on_ready();
                    }
                }
            }
        }
        self.deliver_mail();
        None
    }

    fn submit(&mut self, token: Token, op: Op) {
        match op {
            Op::Open { path, mode } => self.open(token, &path, mode),
            Op::Allocate { file, offset, len } => self.allocate(token, file, offset, len),
            Op::Read { file, offset, buf, len } => self.read(token, file, offset, buf, len),
            Op::Write { file, offset, data, durable } => self.write(token, file, offset, data, durable),
            Op::Sync { file } => self.sync(token, file),
            Op::Truncate { file, len } => self.truncate(token, file, len),
            Op::Close { file } => self.close(token, file),
            Op::List { path } => self.list(token, &path),
            Op::Volume => self.volume(token),
            Op::MakeDir { path } => self.make_dir(token, path),
            Op::Rename { from, to } => self.rename(token, &from, &to),
            Op::Remove { path } => self.remove(token, path),
            Op::SyncDir { path } => self.sync_dir(token, &path),
            Op::Accept { listener } => self.accept(token, listener),
            Op::Recv { conn, into } => self.receive(token, conn, into),
            Op::Send { conn, data, within } => self.send(token, conn, data, within),
            Op::Hangup { conn } => self.hang_up(token, conn),
        }
    }

    fn deliver_mail(&mut self) {
        for to in 0..self.outgoing.len() {
            let letters = &mut self.outgoing[to];
            if letters.is_empty() {
                continue;
            }
            let to = to as u16;
            let mailbox = self.mailboxes.of(ShardId(to));
            if !mailbox.deliver(self.shard, letters) {
                continue;
            }
            match mailbox.ring() {
                Some(ring) if self.ring.abilities().message => self.ring.wake(ring, to),
                Some(_) | None => mailbox.ring_bell(),
            }
        }
    }

    /// Submits everything, and blocks until there is something to do.
    fn wait(&mut self) {
        let mailbox = self.mailboxes.of(self.shard);
        let busy = !self.ready.is_empty() || !mailbox.fall_asleep();
        let until = if busy { Some(Instant(0)) } else { self.wake_up_time() };
        self.ring.wait(until.map(|until| until.since(self.clock.mono())));
        mailbox.wake_up();
        self.ring.collect(&mut self.events);
    }

    fn wake_up_time(&self) -> Option<Instant> {
        let starved = (!self.starved.is_empty()).then(|| self.now.mono.after(STARVED_PAUSE));
        let later = self.later.iter().map(|(due, ..)| *due);
        later.chain(self.core.deadline()).chain(starved).chain(self.conns.next_due()).min()
    }

    /// Inputs that have come in together are told the same time.
    fn set_now(&mut self) {
        let now = self.clock.now();
        assert!(now.mono >= self.now.mono, "the monotonic clock went back: {:?}, {:?}", self.now.mono, now.mono);
        self.now = now;
    }

    fn answer_completions(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event {
                Event::Ended(ended) => self.ended(ended),
                Event::Woken => {}
                Event::WakeFailed(shard) => self.mailboxes.of(ShardId(shard)).ring_bell(),
            }
        }
        self.events = events;
    }

    fn ended(&mut self, ended: crate::ring::Completion<Flight>) {
        let (result, payload) = (ended.result, ended.payload);
        match ended.context {
            Flight::Bell => self.listen_for_bell(),
            Flight::File { token, file, kind } => self.ended_on_file(token, file, kind, result, payload),
            Flight::CloseFile { token, file } => self.ended_close(token, file, result),
            Flight::Open { token, direct } => self.ended_open(token, direct, result),
            Flight::Name { token, kind } => self.ended_name(token, kind, result),
            Flight::Accept { listener } => self.ended_accept(listener, result, payload),
            Flight::Receive { token, conn } => self.ended_receive(token, conn, result, payload),
            Flight::Send { token, conn } => self.ended_send(token, conn, result),
            Flight::Hangup { token, conn } => self.ended_hang_up(token, conn),
        }
    }

    fn answer_ready(&mut self) {
        while let Some((token, done)) = self.ready.pop_front() {
            self.answer(token, done);
        }
        let now = self.now.mono;
        while let Some(at) = self.later.iter().position(|(due, ..)| *due <= now) {
            let (_, token, done) = self.later.swap_remove(at);
            self.answer(token, done);
        }
    }

    fn answer(&mut self, token: Token, done: Done) {
        self.answered += 1;
        assert!(self.answered <= self.submitted, "{} answers to {} submissions", self.answered, self.submitted);
        self.core.handle(self.now, Input::Done { token, done });
    }

    fn read_mail(&mut self) {
        let mailbox = self.mailboxes.of(self.shard);
        let (stop, asked) = (mailbox.take_stop(), mailbox.take_asked());
        mailbox.take(&mut self.arrived);
        let mut arrived = std::mem::take(&mut self.arrived);
        for (from, post) in arrived.drain(..) {
            match post {
                Post::Mail(mail) => self.core.handle(self.now, Input::Mail { from, mail }),
                Post::Guest(guest) => self.welcome(guest),
            }
        }
        self.arrived = arrived;
        if stop {
            self.core.handle(self.now, Input::Stop);
        }
        if asked {
            // Nobody may be listening any more.
            let _ = self.samples.send((self.shard, self.core.sample()));
        }
    }

    fn tick(&mut self) {
        if self.core.deadline().is_some_and(|due| due <= self.now.mono) {
            self.core.handle(self.now, Input::Tick);
        }
    }

    fn listen_for_bell(&mut self) {
        self.ring.read_event(Flight::Bell, self.mailboxes.of(self.shard).bell());
    }
}

fn log(level: Level, text: &str) {
    match level {
        Level::Error => tracing::error!("{text}"),
        Level::Warn => tracing::warn!("{text}"),
        Level::Info => tracing::info!("{text}"),
        Level::Debug => tracing::debug!("{text}"),
    }
}
