//! A node of Highwater as a host of turmoil's, and what a test needs around it.
//!
//! turmoil gives streams of bytes that are segments on their way: late, held, lost with their connection, reset by a peer
//! that leaves bytes unread; and peers that are gone without a word. (It sends nothing again: what a partition swallows is
//! lost, and the connection is half-open from then on. No keep-alive ever tells the broker; its own timer must.)
//!
//! Invariant: all chance comes from the seed, drawn here; turmoil draws its own from the same seed.

use highwater_rig::client::{Dial, Dialing};
use highwater_rig::conns::BoxStream;
use highwater_rig::node::{Node, Site};
use highwater_rig::runtime::Runtime;
use highwater_sim::dice::{Dice, Purpose};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

pub const BROKER: &str = "broker";
pub const PORT: u16 = 9092;

/// tokio's tasks and time, which turmoil steps.
pub struct Turmoil;

thread_local! {
    static PANICKED: Cell<bool> = const { Cell::new(false) };
    static DICE: RefCell<Dice> = RefCell::new(Dice::new(0, Purpose::Schedule));
}

impl Runtime for Turmoil {
    fn spawn(task: impl Future<Output = ()> + 'static) {
        drop(tokio::task::spawn_local(async move {
            // tokio keeps a task's panic for whoever waits for it; nobody does.
            let _fuse = Fuse;
            task.await;
        }));
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn elapsed() -> Duration {
        turmoil::sim_elapsed().expect("within a simulation")
    }

    fn below(n: u64) -> u64 {
        DICE.with(|dice| dice.borrow_mut().below(n))
    }
}

/// Burns when a task panics.
struct Fuse;

impl Drop for Fuse {
    fn drop(&mut self) {
        PANICKED.set(PANICKED.get() || std::thread::panicking());
    }
}

/// One step; false where that was the last. A task that panicked ends the run.
pub fn step(sim: &mut turmoil::Sim) -> Result<bool, String> {
    let ended = sim.step().map_err(|error| error.to_string())?;
    if PANICKED.replace(false) {
        return Err("a task panicked".to_string());
    }
    Ok(!ended)
}

/// Seeds everything of one run.
pub fn seed(seed: u64) -> turmoil::Builder {
    DICE.with(|dice| *dice.borrow_mut() = Dice::new(seed, Purpose::Schedule));
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(seed)
        .epoch(std::time::UNIX_EPOCH + Duration::from_secs(1_795_219_200))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(1 + Turmoil::below(20)))
        .simulation_duration(Duration::from_secs(600));
    builder
}

/// The node's process: boots on its disk, and hands every connection to a shard.
pub async fn serve(site: Site) -> turmoil::Result {
    let node = Rc::new(Node::boot::<Turmoil>(&site));
    let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
    let doorman = Rc::clone(&node);
    Turmoil::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            doorman.offer::<Turmoil>(Box::new(stream), peer.to_string());
        }
    });
    node.stopped().await;
    Ok(())
}

pub fn dial() -> Dial {
    Rc::new(|| -> Dialing {
        Box::pin(async {
            let stream = turmoil::net::TcpStream::connect((BROKER, PORT)).await?;
            Ok(Box::new(stream) as BoxStream)
        })
    })
}

/// Says which seed it was, where a test panics.
pub struct Replay {
    pub test: &'static str,
    pub seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay { test, seed } = self;
            eprintln!("seed {seed} of {test}; replay: HIGHWATER_SEED={seed} cargo test -p highwater-turmoil {test}");
        }
    }
}
