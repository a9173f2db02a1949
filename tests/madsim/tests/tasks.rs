//! The shards as tasks that are run in any order, woken, killed wherever they are, and started again on what is left.
//!
//! What was acknowledged is there, once and in order; nobody sleeps through a letter; and the whole of it is the same again
//! from the same seed.

use highwater_madsim::{Madsim, crashed, dial, serve, stop};
use highwater_rig::client::{Deeds, Manners};
use highwater_rig::ledger::Ledger;
use highwater_rig::node::Site;
use highwater_rig::producer::{Producer, create_topic};
use highwater_rig::reader::{follow, read_all};
use highwater_rig::runtime::{Runtime, within};
use highwater_rig::seeds;
use madsim::Config;
use madsim::runtime::{Handle, NodeHandle, Runtime as Sim};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const PARTITIONS: i32 = 4;
const SHARDS: u16 = 3;
/// From then on nothing more goes wrong.
const CALM: Duration = Duration::from_secs(6);
const PRODUCERS: usize = 3;
/// Long after everything is done, where nothing hangs.
const LIMIT: Duration = Duration::from_secs(120);

struct World {
    site: Site,
    ledger: Rc<RefCell<Ledger>>,
    deeds: Rc<RefCell<Deeds>>,
    busy: Rc<Cell<usize>>,
    stop: Rc<Cell<bool>>,
}

impl World {
    fn new(seed: u64) -> World {
        crashed();
        World {
            site: Site::new(seed, SHARDS, &[]),
            ledger: Rc::default(),
            deeds: Rc::default(),
            busy: Rc::new(Cell::new(PRODUCERS)),
            stop: Rc::default(),
        }
    }

    fn boot(&self) -> NodeHandle {
        let site = self.site.clone();
        Handle::current().create_node().name("node").init(move || serve(site.clone())).build()
    }

    fn produce(&self, manners: Manners, batches: usize, answer_max: Option<Duration>, idle_max: Duration) {
        for number in 0..PRODUCERS {
            let producer = Producer {
                name: format!("p{number}"),
                dial: dial(),
                manners,
                deeds: Rc::clone(&self.deeds),
                ledger: Rc::clone(&self.ledger),
                partitions: PARTITIONS,
                batches,
                answer_max,
                idle_max,
            };
            let busy = Rc::clone(&self.busy);
            Madsim::spawn(async move {
                producer.run::<Madsim>().await;
                busy.set(busy.get() - 1);
            });
        }
    }

    async fn settle(&self) {
        self.stop.set(true);
        for partition in 0..PARTITIONS {
            let log = read_all::<Madsim>(&dial(), &self.deeds, partition).await;
            self.ledger.borrow().settle(partition, &log, false);
        }
    }
}

/// Ends the process somehow and starts it again; or lets it stand still for a while.
async fn harm(node: &NodeHandle, world: &World) {
    let sim = Handle::current();
    let down = Duration::from_millis(Madsim::below(400));
    match Madsim::below(5) {
        kind @ 0..3 => {
            sim.kill(node.id());
            crashed();
            world.site.platter.crash(kind > 0);
            Madsim::sleep(down).await;
            sim.restart(node.id());
        }
        3 => {
            sim.pause(node.id());
            Madsim::sleep(down).await;
            sim.resume(node.id());
        }
        _ => {
            stop();
            Madsim::sleep(Duration::from_millis(200) + down).await;
            // It has stopped by itself, or is killed while it does.
            sim.kill(node.id());
            crashed();
            world.site.platter.crash(true);
            sim.restart(node.id());
        }
    }
}

/// A whole run: a number that tells of every input and action, and how often the node was started.
async fn storm() -> (u64, u64) {
    let ended = within::<Madsim, _>(LIMIT, storm_and_rest()).await;
    ended.unwrap_or_else(|| panic!("the run does not end within {LIMIT:?}"))
}

async fn storm_and_rest() -> (u64, u64) {
    let world = World::new(Handle::current().seed());
    let node = world.boot();
    create_topic::<Madsim>(&dial(), &world.deeds, PARTITIONS).await;
    let manners = Manners { pieces: 20, leaves_in_request: 2, leaves_in_answer: 2 };
    world.produce(manners, 60, None, Duration::from_millis(150));
    let (deeds, ledger, stop) = (Rc::clone(&world.deeds), Rc::clone(&world.ledger), Rc::clone(&world.stop));
    Madsim::spawn(follow::<Madsim>(dial(), manners, deeds, ledger, PARTITIONS, stop));
    while Madsim::elapsed() < CALM {
        Madsim::sleep(Duration::from_millis(50 + Madsim::below(1_500))).await;
        harm(&node, &world).await;
    }
    while world.busy.get() > 0 {
        Madsim::sleep(Duration::from_millis(20)).await;
    }
    world.settle().await;
    assert!(world.ledger.borrow().acknowledged() > 100, "{:?}", world.ledger.borrow());
    let watch = world.site.watch();
    (watch.trace.hash(), watch.runs)
}

/// Says which seed it was, where a test panics.
struct Replay(&'static str, u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay(test, seed) = self;
            eprintln!("seed {seed} of {test}; replay: (cd tests/madsim && HIGHWATER_SEED={seed} cargo test {test})");
        }
    }
}

fn sim(seed: u64) -> Sim {
    let mut sim = Sim::with_seed_and_config(seed, Config::default());
    sim.set_time_limit(2 * LIMIT);
    sim
}

#[test]
fn what_was_acknowledged_is_there_once_and_in_order() {
    let mut starts = 0;
    let seeds = seeds(16);
    for seed in &seeds {
        let _replay = Replay("what_was_acknowledged_is_there_once_and_in_order", *seed);
        starts += sim(*seed).block_on(storm()).1;
    }
    println!("{starts} runs of the node in {} seeds", seeds.len());
    assert!(starts > 2 * seeds.len() as u64, "{starts} runs of the node in {} seeds", seeds.len());
}

/// Nothing goes wrong, and the clients rest between requests: an answer that waits for a timer, because a shard slept through
/// a letter, takes longer than any other.
#[test]
fn no_shard_sleeps_through_a_letter() {
    for seed in seeds(8) {
        let _replay = Replay("no_shard_sleeps_through_a_letter", seed);
        sim(seed).block_on(async {
            let world = World::new(seed);
            let _node = world.boot();
            create_topic::<Madsim>(&dial(), &world.deeds, PARTITIONS).await;
            let longest = Duration::from_millis(1_000);
            world.produce(Manners::default(), 40, Some(longest), Duration::from_millis(500));
            while world.busy.get() > 0 {
                Madsim::sleep(Duration::from_millis(20)).await;
            }
            world.settle().await;
            assert_eq!(world.deeds.borrow().timeouts, 0, "no answer within the client's time");
        });
    }
}

/// What both runs of a seed must agree on.
static FIRST: Mutex<Option<(u64, u64)>> = Mutex::new(None);

async fn storm_again() {
    let seed = Handle::current().seed();
    let (trace, _) = storm().await;
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    match *first {
        Some((of, before)) if of == seed => assert_eq!(trace, before, "inputs and actions of seed {seed}, twice"),
        Some(_) | None => *first = Some((seed, trace)),
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in seeds(4) {
        let _replay = Replay("the_same_seed_is_the_same_run", seed);
        Sim::check_determinism(seed, Config::default(), storm_again);
    }
}
