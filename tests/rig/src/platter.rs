//! The node's disk, which outlives its processes: the simulator's, with the ops that are under way.
//!
//! Invariant: an op takes effect when its task ends it, or in part when a crash meets it; never twice, and never after the
//! crash.

use highwater::boundary::{Done, Op};
use highwater_sim::dice::{Dice, Purpose};
use highwater_sim::disk::{Disk, Trouble};
use highwater_sim::faults::Counts;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Platter {
    disk: Disk,
    dice: Dice,
    counts: Counts,
    under_way: BTreeMap<u64, (Op, u64)>,
    next: u64,
}

/// Shared by the processes of a node, one after another.
#[derive(Clone)]
pub struct SharedPlatter(Arc<Mutex<Platter>>);

impl SharedPlatter {
    pub fn new(seed: u64) -> SharedPlatter {
        SharedPlatter(Arc::new(Mutex::new(Platter {
            disk: Disk::default(),
            dice: Dice::new(seed, Purpose::Disk),
            counts: Counts::default(),
            under_way: BTreeMap::new(),
            next: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An op begins.
    pub fn begin(&self, op: Op) -> u64 {
        let platter = &mut *self.lock();
        let mark = platter.disk.mark(&op);
        platter.next += 1;
        platter.under_way.insert(platter.next, (op, mark));
        platter.next
    }

    /// It ends, having done less than asked where it is `short`. `None`: a crash has ended it.
    pub fn end(&self, number: u64, short: bool) -> Option<Done> {
        let platter = &mut *self.lock();
        let (op, mark) = platter.under_way.remove(&number)?;
        let trouble = if short { Trouble::Short } else { Trouble::None };
        Some(platter.disk.perform(op, trouble, mark, &mut platter.dice, &mut platter.counts))
    }

    /// The process is gone, and with `power` also all that was not on the platter.
    pub fn crash(&self, power: bool) {
        let platter = &mut *self.lock();
        for (_, (op, mark)) in std::mem::take(&mut platter.under_way) {
            platter.disk.interrupt(op, mark, power, &mut platter.dice, &mut platter.counts);
        }
        if power {
            platter.disk.lose_power(&mut platter.dice, &mut platter.counts);
        } else {
            platter.disk.process_gone();
        }
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.lock().disk.open_files()
    }
}
