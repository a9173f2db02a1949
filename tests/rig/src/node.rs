//! One process of the node: its shards as tasks, from boot to halt or crash. And what outlives it.
//!
//! Invariant: a process ends with the tasks that the runtime gave it; only the platter and the watch go on.

use crate::conns::{Backlog, BoxStream};
use crate::driver::{Crew, Driver};
use crate::mailbox::Mailboxes;
use crate::platter::SharedPlatter;
use crate::runtime::Runtime;
use highwater::boundary::Halt;
use highwater::config::{Config, JournalConfig};
use highwater::ids::{NodeId, ShardId};
use highwater::metrics::Gauges;
use highwater::shard::Shard;
use highwater_sim::trace::Trace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The place of a node: its disk, its configuration, and what is seen of its processes.
#[derive(Clone)]
pub struct Site {
    pub platter: SharedPlatter,
    pub shards: u16,
    pub broker: Vec<(String, String)>,
    watch: Arc<Mutex<Watch>>,
}

/// What is seen of the process that runs, and of those before it.
#[derive(Default)]
pub struct Watch {
    pub trace: Trace,
    pub runs: u64,
    pub ready: u64,
    pub seats: BTreeMap<u16, Seat>,
    pub complaints: Vec<String>,
}

/// A shard, as it was not long ago.
#[derive(Default)]
pub struct Seat {
    pub open: usize,
    pub gauges: Gauges,
    pub in_flight: String,
}

impl Site {
    pub fn new(seed: u64, shards: u16, broker: &[(&str, &str)]) -> Site {
        Site {
            platter: SharedPlatter::new(seed),
            shards,
            broker: broker.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            watch: Arc::default(),
        }
    }

    pub fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self, shard: ShardId) -> Config {
        Config {
            node: NodeId(1),
            shard,
            shards: self.shards,
            reshard: None,
            listeners: 1,
            advertised_host: "broker".to_string(),
            advertised_port: 9092,
            memory_bytes: 16 << 20,
            journal: JournalConfig {
                file_bytes: 256 << 10,
                first_file_bytes: 64 << 10,
                files: 4,
                commit_bytes_max: 64 << 10,
                read_bytes: 16 << 10,
                arena_bytes: 128 << 10,
                chunk_bytes: 16 << 10,
                chunks_in_flight: 4,
                rest: Duration::from_secs(5),
            },
            broker: self.broker.iter().cloned().collect(),
        }
    }
}

pub struct Node {
    crew: Rc<Crew>,
    halts: Rc<RefCell<Vec<Halt>>>,
    ended: Rc<Notify>,
}

impl Node {
    /// Starts the shards.
    pub fn boot<R: Runtime>(site: &Site) -> Node {
        let run = {
            let mut watch = site.watch();
            watch.runs += 1;
            watch.seats.clear();
            watch.runs
        };
        let crew = Rc::new(Crew {
            mailboxes: Mailboxes::new(site.shards).expect("mailboxes"),
            bells: (0..site.shards).map(|_| Rc::default()).collect(),
            backlogs: (0..site.shards).map(|_| Backlog::default()).collect(),
            made: Cell::new(0),
            started: R::elapsed(),
            run,
        });
        let node = Node { crew, halts: Rc::default(), ended: Rc::default() };
        for shard in (0..site.shards).map(ShardId) {
            let mut seed = [0; 32];
            seed.fill_with(|| R::below(256) as u8);
            let config = site.config(shard);
            let core = |now| Shard::new(config, seed, now);
            let driver = Driver::<R>::new(shard, site.clone(), Rc::clone(&node.crew), core);
            let (halts, ended) = (Rc::clone(&node.halts), Rc::clone(&node.ended));
            R::spawn(async move {
                let halt = driver.run().await;
                halts.borrow_mut().push(halt);
                ended.notify_one();
            });
        }
        node
    }

    /// A connection arrives, at a shard that is drawn.
    pub fn offer<R: Runtime>(&self, stream: BoxStream, peer: String) {
        let backlogs = &self.crew.backlogs;
        backlogs[R::below(backlogs.len() as u64) as usize].push(stream, peer);
    }

    /// Asks every shard to stop.
    pub fn stop(&self) {
        self.crew.mailboxes.stop_all();
        for bell in &self.crew.bells {
            bell.notify_one();
        }
    }

    /// Waits until every shard has stopped. Nothing that these runtimes do justifies another end.
    pub async fn stopped(&self) {
        loop {
            for halt in self.halts.borrow().iter() {
                assert_eq!(*halt, Halt::Stopped, "a shard ended without a reason");
            }
            if self.halts.borrow().len() == self.crew.bells.len() {
                return;
            }
            self.ended.notified().await;
        }
    }
}
