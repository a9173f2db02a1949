//! A node of Highwater as tasks of madsim, whose scheduler takes any task that is ready, and which ends a node's tasks
//! wherever they are.
//!
//! Streams are tokio's in-memory pipes, a few bytes wide: whoever writes waits for who reads. Invariant: all chance is
//! madsim's, so that `check_determinism` sees all of it.
#[cfg(not(madsim))]
compile_error!("madsim needs `--cfg madsim`: run cargo in tests/madsim/, and without RUSTFLAGS in the environment");

use highwater_rig::client::{Dial, Dialing};
use highwater_rig::conns::BoxStream;
use highwater_rig::node::{Node, Site};
use highwater_rig::runtime::Runtime;
use madsim::rand::RngCore;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// madsim's tasks, time and chance.
pub struct Madsim;

impl Runtime for Madsim {
    fn spawn(task: impl Future<Output = ()> + 'static) {
        drop(madsim::task::spawn_local(task));
    }

    async fn sleep(time: Duration) {
        madsim::time::sleep(time).await;
    }

    fn elapsed() -> Duration {
        madsim::time::TimeHandle::current().elapsed()
    }

    fn below(n: u64) -> u64 {
        let word = madsim::rand::thread_rng().next_u64();
        ((u128::from(word) * u128::from(n)) >> 64) as u64
    }
}

thread_local! {
    /// The node's process that listens.
    static LISTENS: RefCell<Option<Rc<Node>>> = const { RefCell::new(None) };
}

/// The node's process: boots on its disk, and takes connections until it ends.
pub async fn serve(site: Site) {
    let node = Rc::new(Node::boot::<Madsim>(&site));
    LISTENS.set(Some(Rc::clone(&node)));
    node.stopped().await;
    LISTENS.set(None);
}

/// Nobody listens, or not any more.
pub fn crashed() {
    LISTENS.set(None);
}

/// Asks the process that listens to stop.
pub fn stop() {
    LISTENS.with_borrow(|node| node.as_ref().inspect(|node| node.stop()).map(drop));
}

pub fn dial() -> Dial {
    Rc::new(|| -> Dialing {
        Box::pin(async {
            Madsim::sleep(Duration::from_millis(1)).await;
            let width = 1 + Madsim::below(600) as usize;
            let (ours, theirs) = tokio::io::duplex(width);
            LISTENS.with_borrow(|node| match node {
                Some(node) => node.offer::<Madsim>(Box::new(theirs), "client".to_string()),
                None => drop(theirs),
            });
            Ok::<_, io::Error>(Box::new(ours) as BoxStream)
        })
    })
}
