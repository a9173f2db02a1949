//! Clients over connections that are cut, held, reset and half-open, while the node crashes and starts again.
//!
//! What was acknowledged is there, once and in order; what was read stays; who is gone is forgotten.

mod host;

use highwater_rig::client::{Client, Deeds, Manners};
use highwater_rig::ledger::Ledger;
use highwater_rig::node::Site;
use highwater_rig::producer::{Producer, create_topic};
use highwater_rig::reader::{follow, read_all};
use highwater_rig::runtime::Runtime;
use highwater_rig::seeds;
use host::{BROKER, Replay, Turmoil, dial, seed, serve, step};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

const PARTITIONS: i32 = 3;
const PRODUCERS: usize = 2;
/// From then on nothing more goes wrong.
const CALM: Duration = Duration::from_secs(10);

type Sim = turmoil::Sim<'static>;

/// What a run is about, seen from outside of it.
#[derive(Clone)]
struct World {
    site: Site,
    ledger: Rc<RefCell<Ledger>>,
    deeds: Rc<RefCell<Deeds>>,
    /// The topic is there.
    begun: Rc<Cell<bool>>,
    /// Producers that have still batches to send.
    busy: Rc<Cell<usize>>,
    stop: Rc<Cell<bool>>,
}

impl World {
    fn new(seed: u64, shards: u16, broker: &[(&str, &str)]) -> World {
        World {
            site: Site::new(seed, shards, broker),
            ledger: Rc::default(),
            deeds: Rc::default(),
            begun: Rc::default(),
            busy: Rc::new(Cell::new(PRODUCERS)),
            stop: Rc::default(),
        }
    }

    fn broker(&self, sim: &mut Sim) {
        let site = self.site.clone();
        sim.host(BROKER, move || serve(site.clone()));
    }

    fn producer(&self, sim: &mut Sim, number: usize, manners: Manners, batches: usize) {
        let world = self.clone();
        sim.client(format!("producer-{number}"), async move {
            wait_until(|| world.begun.get()).await;
            let producer = Producer {
                name: format!("p{number}"),
                dial: dial(),
                manners,
                deeds: world.deeds,
                ledger: world.ledger,
                partitions: PARTITIONS,
                batches,
                answer_max: None,
                idle_max: Duration::from_millis(300),
            };
            producer.run::<Turmoil>().await;
            world.busy.set(world.busy.get() - 1);
            Ok(())
        });
    }

    fn follower(&self, sim: &mut Sim, manners: Manners) {
        let world = self.clone();
        sim.client("follower", async move {
            wait_until(|| world.begun.get()).await;
            follow::<Turmoil>(dial(), manners, world.deeds, world.ledger, PARTITIONS, world.stop).await;
            Ok(())
        });
    }

    /// Makes the topic, and settles the ledger when all is done.
    fn judge(&self, sim: &mut Sim) {
        let world = self.clone();
        sim.client("judge", async move {
            create_topic::<Turmoil>(&dial(), &world.deeds, PARTITIONS).await;
            world.begun.set(true);
            wait_until(|| world.busy.get() == 0).await;
            world.stop.set(true);
            for partition in 0..PARTITIONS {
                let log = read_all::<Turmoil>(&dial(), &world.deeds, partition).await;
                world.ledger.borrow().settle(partition, &log, false);
            }
            Ok(())
        });
    }
}

async fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        Turmoil::sleep(Duration::from_millis(20)).await;
    }
}

/// Ends a fault.
type Mend = Box<dyn FnOnce(&mut Sim)>;

/// Something goes wrong; what mends it, and when.
fn harm(sim: &mut Sim, site: &Site) -> (Duration, Mend) {
    let victim = ["producer-0", "producer-1", "follower"][Turmoil::below(3) as usize];
    let time = Duration::from_millis(50 + Turmoil::below(4_000));
    let mend: Mend = match Turmoil::below(5) {
        0 => {
            sim.partition(victim, BROKER);
            Box::new(move |sim| sim.repair(victim, BROKER))
        }
        1 => {
            sim.partition_oneway(victim, BROKER);
            Box::new(move |sim| sim.repair_oneway(victim, BROKER))
        }
        2 => {
            sim.partition_oneway(BROKER, victim);
            Box::new(move |sim| sim.repair_oneway(BROKER, victim))
        }
        // Late, not lost: what an abandoned connection sent arrives behind what the next one sends.
        3 => {
            sim.hold(victim, BROKER);
            Box::new(move |sim| sim.release(victim, BROKER))
        }
        _ => {
            sim.crash(BROKER);
            site.platter.crash(Turmoil::below(2) == 0);
            Box::new(|sim| sim.bounce(BROKER))
        }
    };
    (time, mend)
}

/// Steps to the end, with one fault after another until it is calm.
fn run(sim: &mut Sim, site: &Site) {
    let mut next = Duration::from_millis(500);
    let mut mend: Option<Mend> = None;
    loop {
        if sim.elapsed() >= next {
            if let Some(mend) = mend.take() {
                mend(sim);
                next = sim.elapsed() + Duration::from_millis(100 + Turmoil::below(1_500));
            } else if sim.elapsed() < CALM {
                let (time, how) = harm(sim, site);
                mend = Some(how);
                next = sim.elapsed() + time;
            }
        }
        match step(sim) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => panic!("after {:?}: {error}; the broker: {}", sim.elapsed(), broker_of(site)),
        }
    }
}

fn broker_of(site: &Site) -> String {
    let watch = site.watch();
    let seats: Vec<String> =
        watch.seats.iter().map(|(shard, seat)| format!("shard {shard}: {}", seat.in_flight)).collect();
    format!("run {}, {}; {}", watch.runs, seats.join("; "), watch.complaints.join("; "))
}

/// A whole run: its trace, and what its clients did.
fn storm(number: u64) -> (u64, World) {
    let mut sim = seed(number).build();
    let world = World::new(number, 1 + Turmoil::below(3) as u16, &[]);
    let manners = Manners { pieces: 50, leaves_in_request: 3, leaves_in_answer: 3 };
    world.broker(&mut sim);
    world.judge(&mut sim);
    for number in 0..PRODUCERS {
        world.producer(&mut sim, number, manners, 60);
    }
    world.follower(&mut sim, manners);
    run(&mut sim, &world.site);
    let trace = world.site.watch().trace.hash();
    (trace, world)
}

#[test]
fn what_was_acknowledged_is_there_once_and_in_order() {
    let seeds = seeds(8);
    let mut all = Deeds::default();
    let mut runs = 0;
    for number in &seeds {
        let _replay = Replay { test: "what_was_acknowledged_is_there_once_and_in_order", seed: *number };
        let (_, world) = storm(*number);
        let deeds = world.deeds.borrow();
        assert!(world.ledger.borrow().acknowledged() > 100, "{:?}", world.ledger.borrow());
        all.connections += deeds.connections;
        all.cut_lengths += deeds.cut_lengths;
        all.left_in_request += deeds.left_in_request;
        all.left_in_answer += deeds.left_in_answer;
        all.timeouts += deeds.timeouts;
        all.lost += deeds.lost;
        runs += world.site.watch().runs;
    }
    println!("{all:?}, {runs} runs of the broker in {} seeds", seeds.len());
    if seeds.len() >= 8 {
        let each = [all.cut_lengths, all.left_in_request, all.left_in_answer, all.timeouts, all.lost];
        assert!(each.iter().all(|count| *count > 0) && runs > seeds.len() as u64, "{all:?}, {runs} runs");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for number in seeds(2) {
        let _replay = Replay { test: "the_same_seed_gives_the_same_trace", seed: number };
        assert_eq!(storm(number).0, storm(number).0);
    }
}

/// Connections that end here without a word, each in another state.
async fn ghosts(world: World, count: usize) -> turmoil::Result {
    let mut all = Vec::new();
    for number in 0..count {
        let mut client = Client::<Turmoil>::connect(&dial(), Manners::default(), &world.deeds).await?;
        match number % 3 {
            // It has said all it wanted to say.
            0 => {}
            // Half of a length.
            1 => client.scribble(&[0, 1]).await?,
            // A request of 100,000 bytes, and some of them.
            _ => client.scribble(&[&[0, 1, 0x86, 0xa0], &[0; 20_000][..]].concat()).await?,
        }
        all.push(client);
    }
    world.begun.set(true);
    wait_until(|| world.stop.get()).await;
    Ok(())
}

#[test]
fn who_is_gone_without_a_word_is_forgotten() {
    for number in seeds(2) {
        let _replay = Replay { test: "who_is_gone_without_a_word_is_forgotten", seed: number };
        let mut sim = seed(number).tick_duration(Duration::from_millis(5)).build();
        let world = World::new(number, 2, &[("connections.max.idle.ms", "30000")]);
        world.broker(&mut sim);
        let haunting = world.clone();
        sim.client("ghosts", async move { ghosts(haunting, 24).await });
        while !world.begun.get() {
            step(&mut sim).expect("the ghosts connect");
        }
        let held = |world: &World| {
            let watch = world.site.watch();
            let open: usize = watch.seats.values().map(|seat| seat.open).sum();
            let bytes: u64 = watch.seats.values().map(|seat| seat.gauges.input_bytes).sum();
            (open, bytes)
        };
        sim.partition("ghosts", BROKER);
        let mut most = (0, 0);
        let until = sim.elapsed() + Duration::from_secs(90);
        while sim.elapsed() < until {
            step(&mut sim).expect("nothing happens");
            let (open, bytes) = held(&world);
            most = (most.0.max(open), most.1.max(bytes));
        }
        assert!(most.0 >= 20 && most.1 > 0, "at the most {} connections and {} bytes were held", most.0, most.1);
        assert_eq!(held(&world), (0, 0), "connections and bytes of peers that are gone, a minute later");
        // Whoever comes back finds the broker as it was.
        sim.repair("ghosts", BROKER);
        world.stop.set(true);
        let again = world.clone();
        sim.client("again", async move {
            Client::<Turmoil>::connect(&dial(), Manners::default(), &again.deeds).await?;
            Ok(())
        });
        while step(&mut sim).expect("the broker answers") {}
    }
}
