//! `highwater serve`: from settings to running shards, and to the end of the process.
//!
//! Everything that can be refused is refused before the first shard starts. Afterwards the process ends in one of two
//! ways: every shard has stopped (exit code 0), or one has halted for another reason, which ends all at once (1).

use crate::address::HostPort;
use crate::clock::Clock;
use crate::driver::{Driver, Outfit, Post};
use crate::folder::Folder;
use crate::limits::{self, Seats};
use crate::listen::{self, Listeners};
use crate::mailbox::Mailboxes;
use crate::metrics::{self, Collector};
use crate::ring::{self, Ring};
use crate::settings::{ServeArgs, Settings};
use highwater::boundary::Halt;
use highwater::config::{Config, JournalConfig};
use highwater::configs;
use highwater::ids::{NodeId, ShardId};
use highwater::metrics::Sample;
use highwater::shard::Shard;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Serves until a signal or a fault ends it.
pub fn run(args: &ServeArgs) -> ExitCode {
    end_process_on_panic();
    match prepare(args).and_then(Node::run) {
        Ok(()) => ExitCode::SUCCESS,
        // Not through the log: whoever has switched it off still wants to know why nothing runs.
        Err(reason) => {
            eprintln!("highwater: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// A node that is ready to start.
struct Node {
    settings: Settings,
    folder: Folder,
    shards: u16,
    share_bytes: u64,
    seats: Arc<Seats>,
    collector: Arc<Collector>,
    samples: Sender<(ShardId, Sample)>,
    listeners: Listeners,
    advertised: HostPort,
}

/// Checks and takes everything that a node needs, in the order in which it is least intrusive.
fn prepare(args: &ServeArgs) -> Result<Node, String> {
    let settings = Settings::resolve(args)?;
    drop(Ring::<()>::new().map_err(|error| ring::explain(&error))?);
    let descriptors = limits::raise_descriptors()?;
    if let Some(warning) = descriptors.warning {
        tracing::warn!("{warning}");
    }
    // What is too little for one shard is refused before the folder is touched.
    limits::memory_share(settings.memory_bytes, settings.shards.unwrap_or(1))?;
    let (collector, samples) = Collector::new();
    let collector = Arc::new(collector);
    if let Some(address) = &settings.metrics {
        let bound = metrics::serve(address, Arc::clone(&collector))?;
        tracing::info!("metrics on http://{bound}/metrics");
    }
    let folder = Folder::open(&settings.data).map_err(|error| error.to_string())?;
    let default = || limits::default_shards(settings.memory_bytes);
    let shards = settings.shards.or(folder.shards()).unwrap_or_else(default);
    let share_bytes = limits::memory_share(settings.memory_bytes, shards)?;
    let listeners = listen::open(&settings.listen, shards)?;
    let first = HostPort { host: settings.listen[0].host.clone(), port: listeners.addresses[0].port() };
    let advertised = settings.advertise.clone().unwrap_or(first);
    let seats = Arc::new(Seats::new(descriptors.seats, shards));
    Ok(Node { settings, folder, shards, share_bytes, seats, collector, samples, listeners, advertised })
}

impl Node {
    fn run(mut self) -> Result<(), String> {
        let clock = Clock::start();
        let stopping = Arc::new(Stopping::default());
        stop_on_signals(Arc::clone(&stopping))?;
        let crew = Crew { shards: self.shards, share_bytes: self.share_bytes, reshard: None };
        if let Some(there) = self.folder.shards().filter(|there| *there != self.shards) {
            let share_bytes = limits::memory_share(self.settings.memory_bytes, there)
                .map_err(|reason| format!("the data folder has {there} shards until it is changed: {reason}"))?;
            let old = Crew { shards: there, share_bytes, reshard: Some(self.shards) };
            if self.run_crew(&old, clock, &stopping)? == Ending::Stopped {
                return Ok(());
            }
        }
        self.run_crew(&crew, clock, &stopping)?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Runs shards from their start to their end.
    fn run_crew(&mut self, crew: &Crew, clock: Clock, stopping: &Stopping) -> Result<Ending, String> {
        let mailboxes = Mailboxes::new(crew.shards).map_err(|error| format!("no mailboxes: {error}"))?;
        let mailboxes = Arc::new(mailboxes);
        stopping.watch(&mailboxes);
        self.collector.watch(&mailboxes);
        let processors = limits::processors();
        let pinned = usize::from(crew.shards) <= processors.len();
        let (ended, endings) = channel();
        for index in 0..crew.shards {
            let shard = ShardId(index);
            let ready_line = self.ready_line();
            let listeners = match crew.reshard {
                None => std::mem::take(&mut self.listeners.by_shard[usize::from(index)]),
                Some(_) => Vec::new(),
            };
            let outfit = Outfit {
                shard,
                mailboxes: Arc::clone(&mailboxes),
                clock,
                folder: self.folder.descriptor().map_err(|error| format!("the data folder: {error}"))?,
                lock: self.folder.lock().map_err(|error| format!("the data folder's lock: {error}"))?,
                listeners,
                seats: Arc::clone(&self.seats),
                samples: self.samples.clone(),
                on_ready: Box::new(move || print(&ready_line)),
            };
            let config = self.config(shard, crew);
            let processor = pinned.then(|| processors[usize::from(index)]);
            let ended = ended.clone();
            thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || run_shard(outfit, config, processor, &ended))
                .map_err(|error| format!("no thread for shard {index}: {error}"))?;
        }
        drop(ended);
        let mut ending = Ending::Resharded;
        // Every other end of a shard ends the process where it happens.
        for _ in 0..crew.shards {
            let one = endings.recv().map_err(|_| "a shard ended without a word".to_owned())?;
            if one == Ending::Stopped {
                ending = Ending::Stopped;
            }
        }
        Ok(ending)
    }

    fn ready_line(&self) -> String {
        let addresses: Vec<String> = self.listeners.addresses.iter().map(SocketAddr::to_string).collect();
        format!("highwater ready on {}, data in {}", addresses.join(", "), self.folder.path().display())
    }

    fn config(&self, shard: ShardId, crew: &Crew) -> Config {
        Config {
            node: NodeId(self.settings.node),
            shard,
            shards: crew.shards,
            reshard: crew.reshard,
            listeners: u16::try_from(self.listeners.addresses.len()).expect("few listeners"),
            advertised_host: self.advertised.host.clone(),
            advertised_port: self.advertised.port,
            memory_bytes: crew.share_bytes,
            journal: JournalConfig::default(),
            broker: self.broker(),
        }
    }

    /// The configurations of the file, and those that the command line tells, for people to see.
    fn broker(&self) -> BTreeMap<String, String> {
        let plaintext = |address: &dyn std::fmt::Display| format!("PLAINTEXT://{address}");
        let addresses: Vec<String> = self.listeners.addresses.iter().map(|address| plaintext(address)).collect();
        let mut broker = self.settings.broker.clone();
        broker.insert(configs::LISTENERS.to_owned(), addresses.join(","));
        broker.insert(configs::ADVERTISED_LISTENERS.to_owned(), plaintext(&self.advertised));
        broker.insert(configs::LOG_DIRS.to_owned(), self.folder.path().display().to_string());
        broker.insert(configs::NODE_ID.to_owned(), self.settings.node.to_string());
        broker
    }
}

/// Shards that run at the same time.
struct Crew {
    shards: u16,
    share_bytes: u64,
    /// They do not serve: they change the data folder's number of shards to this.
    reshard: Option<u16>,
}

/// How a shard ends when nothing is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Stopped,
    Resharded,
}

/// The whole life of a shard's thread.
fn run_shard(outfit: Outfit, config: Config, processor: Option<usize>, ended: &Sender<Ending>) {
    if let Some(Err(reason)) = processor.map(limits::pin) {
        tracing::warn!("{reason}");
    }
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        end_process(&format!("the system has no random numbers: {error}"));
    }
    let driver = match Driver::new(outfit, |now| Shard::new(config, seed, now)) {
        Ok(driver) => driver,
        Err(error) => end_process(&ring::explain(&error)),
    };
    let end = |ending| {
        // The main thread gone already means that the process ends anyway.
        let _ = ended.send(ending);
    };
    match driver.run() {
        Halt::Stopped => end(Ending::Stopped),
        Halt::Resharded => end(Ending::Resharded),
        halt @ (Halt::Disk { .. } | Halt::Damage { .. } | Halt::Refused { .. }) => end_process(&halt.to_string()),
    }
}

/// Ends the process from any thread, with nothing more written anywhere.
fn end_process(reason: &str) -> ! {
    tracing::error!("{reason}");
    std::process::exit(1)
}

/// A shard that has broken its own rules must not leave half a node behind. (Release builds abort by themselves.)
fn end_process_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// Whether the process was asked to stop, and whom to tell.
#[derive(Default)]
struct Stopping(Mutex<(bool, Option<Arc<Mailboxes<Post>>>)>);

impl Stopping {
    /// These shards run from now on.
    fn watch(&self, mailboxes: &Arc<Mailboxes<Post>>) {
        let (asked, running) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *running = Some(Arc::clone(mailboxes));
        if *asked {
            mailboxes.stop_all();
        }
    }

    fn ask(&self) {
        let (asked, running) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *asked = true;
        if let Some(mailboxes) = running {
            mailboxes.stop_all();
        }
    }
}

/// The first SIGTERM or SIGINT stops the shards, the second ends the process.
fn stop_on_signals(stopping: Arc<Stopping>) -> Result<(), String> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| format!("signals: {error}"))?;
    let wait = move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 {
                end_process("asked twice to stop: ended without a checkpoint");
            }
            tracing::info!("stopping");
            stopping.ask();
        }
    };
    let spawned = thread::Builder::new().name("signals".to_owned()).spawn(wait);
    spawned.map(drop).map_err(|error| format!("no thread for signals: {error}"))
}

/// Whoever started us and closed the pipe does not want to know.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
