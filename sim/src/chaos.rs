//! The disasters: crashes, stops, full disks, damage; and how the world looks at what they left.
//!
//! Invariant: after every crash the durable image is held against the ledger before anything runs on it.

use crate::audit::{Audit, Resend, audit};
use crate::client::Client;
use crate::disk::atlas::{Hit, is_index, is_journal};
use crate::faults::Fault;
use crate::node::InFlight;
use crate::plan::{Disaster, Harm, HarmTarget};
use crate::queue::{MILLIS, Nanos, SECONDS};
use crate::report::Invariant;
use crate::world::{Event, Fuse, REST, World};
use highwater::ids::TopicId;
use std::collections::BTreeSet;

/// Batches sent once more in each audit.
const RESENT: usize = 6;
/// A clean stop without faults takes no longer.
const STOP_MAX: Nanos = 2 * SECONDS;
/// A stop that takes longer may leave segments as a kill leaves them (`STOP_MAX` of the core, by a clock that drifts).
const STOP_WHOLE: Nanos = 400 * MILLIS;

impl World {
    pub fn strike(&mut self, what: Disaster) {
        match what {
            Disaster::Crash { power, after_ops, down, again_after_ops, harm } => {
                self.tell(|| format!("a crash is due after {after_ops} disk ops (power: {power})"));
                self.fuse = Some(Fuse { ops: after_ops, power, down, again_after_ops, harm });
                self.queue.push_in(300 * MILLIS, Event::Fuse);
            }
            Disaster::Stop { .. } if self.stopping => {}
            Disaster::Stop { down } => {
                if self.node.as_ref().is_some_and(|node| node.ready()) {
                    self.counts.add(Fault::Stop);
                    self.stop_for = Some(down);
                    self.stop();
                }
            }
            Disaster::Reshard { shards } => {
                self.shards = shards;
                self.shards_max = self.shards_max.max(shards);
                self.tell(|| format!("the next start is to run {shards} shards"));
            }
            Disaster::Full { spare, lasts } => {
                self.read_errors = true;
                let used = self.disk.used();
                self.tell(|| format!("the disk is full but for {spare} bytes"));
                self.disk.set_capacity(Some(used + spare));
                self.full_since = Some(self.queue.now());
                self.queue.push_in(lasts, Event::Roomy);
            }
            Disaster::Freeze { lasts } => {
                let until = self.queue.now() + lasts;
                if let Some(node) = &mut self.node {
                    node.frozen_until = until;
                    self.counts.add(Fault::Freeze);
                    self.tell(|| format!("the process freezes for {} ms", lasts / MILLIS));
                }
            }
            Disaster::StepWall { ms } => {
                self.counts.add(if ms < 0 { Fault::StepBack } else { Fault::StepForward });
                self.note_wall();
                self.ledger.skew_ms += ms;
                if let Some(node) = &mut self.node {
                    node.skew_ms += ms;
                }
                self.tell(|| format!("the wall clock steps by {ms} ms"));
            }
            Disaster::Harm(harm) => self.harm(harm),
            Disaster::ResetAll => {
                let conns: Vec<_> = self.net.conns.keys().copied().collect();
                self.tell(|| format!("all {} connections are reset", conns.len()));
                for conn in conns {
                    self.counts.add(Fault::Reset);
                    self.break_both(conn);
                }
            }
            Disaster::Look => {
                if self.node.as_ref().is_some_and(|node| node.ready()) {
                    self.look_at_disk();
                }
            }
            Disaster::Snapshot => self.snapshot = Some(self.disk.worst_case()),
            Disaster::Wipe | Disaster::Rollback => self.beyond(&what),
        }
    }

    /// Out of the promise: an older disk, or none.
    fn beyond(&mut self, what: &Disaster) {
        self.ledger.beyond = true;
        self.crash(true);
        let rollback = matches!(what, Disaster::Rollback);
        self.counts.add(if rollback { Fault::Rollback } else { Fault::Wipe });
        self.tell(|| format!("the disk is {}", if rollback { "rolled back" } else { "wiped" }));
        self.disk = self.snapshot.take().filter(|_| rollback).unwrap_or_default();
        self.queue.push_in(10 * MILLIS, Event::Boot);
    }

    fn harm(&mut self, harm: Harm) {
        let before = self.disk.atlas.hits().len();
        let (dice, counts) = (&mut self.streams.disk, &mut self.counts);
        if harm.target == HarmTarget::Index {
            if self.disk.harm_index(harm.fault(), dice, counts) {
                let path = self.disk.atlas.hits().last().expect("just made").path.clone();
                self.tell(|| format!("{}: {path}", harm.fault().name()));
            }
            return;
        }
        if !self.disk.harm(harm.fault(), harm.target.target(), dice, counts) {
            return;
        }
        self.read_errors = true;
        let hits: Vec<Hit> = self.disk.atlas.hits()[before..].to_vec();
        for hit in &hits {
            self.ledger.harmed(&hit.good);
        }
        for hit in &hits {
            self.tell(|| format!("{}: {} at {} (proven: {})", hit.kind.name(), hit.path, hit.offset, hit.proven));
        }
        // Two frames lost side by side: what they held may be unknown, so that all of their shard may refuse.
        let journals: Vec<Hit> = self.disk.atlas.hits().iter().filter(|hit| is_journal(&hit.path)).cloned().collect();
        // And the torn frame behind the last durable one may prove it without saying what it held.
        if journals.len() > 1 || journals.iter().any(|hit| !hit.proven) {
            self.ledger.parts.iter_mut().for_each(|part| part.may_refuse = true);
        }
        // What proves an older hit may have been harmed just now: judge all of them anew. An index holds nothing that its
        // segment does not tell: it excuses nothing.
        let all = self.disk.atlas.hits().iter().filter(|hit| !is_index(&hit.path));
        let all: Vec<Hit> = all.cloned().collect();
        for hit in all {
            let mut parts = self.ledger.damaged(&hit.good, hit.proven);
            parts.append(&mut self.ledger.damaged(&hit.around, true));
            // A lost tail of the metadata log may lose anything that was decided in it.
            self.ledger.beyond |= !hit.proven && hit.good.windows(16).any(|window| window == TopicId::METADATA.0);
            let names: Vec<String> = parts.iter().map(|part| self.ledger.name(*part)).collect();
            self.tell(|| format!("  may touch {}", names.join(" ")));
        }
    }

    /// Counts a disk op; the one that the fuse waits for is never done.
    pub fn burn_fuse(&mut self) {
        let Some(fuse) = &mut self.fuse else { return };
        if fuse.ops > 0 {
            fuse.ops -= 1;
            return;
        }
        self.blow();
    }

    /// The fuse has waited long enough.
    pub fn on_fuse(&mut self) {
        if self.fuse.is_some() && !self.calm && self.node.is_some() {
            self.blow();
        }
    }

    fn blow(&mut self) {
        let Some(fuse) = self.fuse.take() else { return };
        if self.node.is_none() {
            return;
        }
        self.crash(fuse.power);
        for harm in fuse.harm {
            self.harm(harm);
        }
        self.look_at_disk();
        self.next_fuse = fuse.again_after_ops.map(|ops| (ops, self.streams.schedule.coin()));
        self.queue.push_in(fuse.down, Event::Boot);
    }

    /// The process dies now, with what it has in flight.
    fn crash(&mut self, power: bool) {
        let Some(node) = self.node.take() else { return };
        self.stats.crashes += 1;
        self.counts.add(if power { Fault::PowerLoss } else { Fault::Kill });
        if !node.ready() {
            self.counts.add(Fault::CrashInRecovery);
        }
        if node.resharding {
            self.counts.add(Fault::CrashInReshard);
        }
        self.stopping = false;
        self.stop_for = None;
        let flying: usize = node.seats.iter().map(|seat| seat.ops.len()).sum();
        self.tell(|| format!("{}, {flying} ops in flight", if power { "power is lost" } else { "kill -9" }));
        for seat in node.seats {
            for (_, op) in seat.ops {
                if let InFlight::Disk { op, mark, canceled: false, .. } = op {
                    self.disk.interrupt(op, mark, power, &mut self.streams.disk, &mut self.counts);
                }
            }
        }
        if power {
            self.disk.lose_power(&mut self.streams.disk, &mut self.counts);
        } else {
            self.disk.process_gone();
        }
        self.drop_all(power);
    }

    /// A shard has halted: the process ends, and is started again.
    pub fn process_over(&mut self, down: Nanos) {
        let power = !self.calm && self.streams.schedule.chance(300_000);
        self.crash(power);
        self.look_at_disk();
        self.queue.push_in(down, Event::Boot);
    }

    /// Every shard has stopped as it was asked to.
    pub fn stopped(&mut self) {
        self.stopping = false;
        let took = self.queue.now() - self.asked_to_stop;
        // A disk that stalled before the faults ended may hold a stop up; one that was asked for after that must be quick.
        let undisturbed = self.calm_since.is_some_and(|since| self.asked_to_stop >= since);
        if undisturbed && took > STOP_MAX {
            self.fail(Invariant::Liveness, format!("a clean stop took {} ms", took / MILLIS));
        }
        self.tell(|| "stopped cleanly".to_string());
        // A stop that has run out of time leaves writes on their way.
        for op in self.node.take().into_iter().flat_map(|node| node.seats).flat_map(|seat| seat.ops.into_values()) {
            if let InFlight::Disk { op, mark, canceled: false, .. } = op {
                self.disk.interrupt(op, mark, false, &mut self.streams.disk, &mut self.counts);
            }
        }
        self.disk.process_gone();
        self.drop_all(false);
        if took < STOP_WHOLE {
            self.check_segments(self.stop_for.is_none());
        }
        self.look_at_disk();
        match self.stop_for.take() {
            Some(down) => self.queue.push_in(down, Event::Boot),
            None => {
                self.check_kept();
                self.over = true;
                self.tell(|| "the end".to_string());
            }
        }
    }

    /// The old shards are over: the new ones start.
    pub fn resharded(&mut self) {
        self.counts.add(Fault::Reshard);
        self.tell(|| "the number of shards is changed".to_string());
        self.node = None;
        self.disk.process_gone();
        self.drop_all(false);
        self.look_at_disk();
        self.queue.push_in(MILLIS, Event::Boot);
    }

    /// The checkpoint or the metadata log is damaged, says the node. It must be so; then the disk is repaired.
    pub fn on_damage(&mut self, path: &str, offset: u64, reason: &str) {
        let hit = self.disk.atlas.hits().iter().any(|hit| hit.path == path);
        if !hit && !self.ledger.beyond {
            return self.fail(Invariant::Damage, format!("{path} at {offset}: {reason}, though it was never harmed"));
        }
        self.stats.refusals += 1;
        self.disk.heal();
        self.tell(|| "the disk is repaired".to_string());
        self.process_over(10 * MILLIS);
    }

    /// The folder is not one that it can serve, says the node. Only damage to `format` makes that true.
    pub fn on_refused(&mut self, reason: &str) {
        if self.ledger.beyond {
            self.over = true;
            return;
        }
        if !self.disk.atlas.hits().iter().any(|hit| hit.path == "format") {
            return self.fail(Invariant::Halts, format!("refused: {reason}"));
        }
        self.stats.refusals += 1;
        self.disk.heal();
        self.process_over(10 * MILLIS);
    }

    /// Boots a fresh node on what is surely durable, in a clean environment, and reads everything.
    fn look_at_disk(&mut self) {
        if self.ledger.beyond || self.failure.is_some() {
            return;
        }
        self.note_wall();
        let image = self.disk.worst_case();
        self.stats.audits += 1;
        self.counts.add(Fault::Look);
        let known = self.recognised();
        match audit(image, &self.plan.shape, &self.ledger, &known, self.streams.core.key()) {
            Ok(Audit { records, refused }) => {
                self.tell(|| format!("audit of the durable image: {records} records, {refused} partitions refuse"));
            }
            Err((invariant, detail)) => self.fail(invariant, format!("durable image: {detail}")),
        }
    }

    /// Some acknowledged batches that the broker must recognise when they are sent once more.
    fn recognised(&mut self) -> Vec<Resend> {
        let producers = self.clients.iter().flatten().filter_map(|client| match &**client {
            Client::Producer(producer) => Some(producer),
            Client::Reader(_) | Client::Admin(_) | Client::Member(_) | Client::Stranger(_) | Client::Keeper(_) => None,
        });
        let all = producers.flat_map(|producer| producer.recognised());
        let mut all: Vec<Resend> = all.map(|(part, batch, bytes)| Resend { part, batch, bytes }).collect();
        while all.len() > RESENT {
            let index = self.streams.schedule.index(all.len());
            all.swap_remove(index);
        }
        all
    }

    /// After the faults: are all done? Then close, stop and look a last time.
    pub fn watch(&mut self) {
        let waited = self.queue.now() - self.plan.heal_at;
        if self.ledger.beyond {
            self.over |= waited > 3 * SECONDS;
            return self.queue.push_in(SECONDS, Event::Watch);
        }
        let unfinished: Vec<String> =
            self.clients.iter().flatten().filter_map(|client| client.unfinished(&self.ledger)).collect();
        if waited > REST {
            let detail = format!("clients: {}; node: {}", unfinished.join(" | "), self.waiting());
            return self.fail(Invariant::Liveness, detail);
        }
        self.queue.push_in(200 * MILLIS, Event::Watch);
        if !unfinished.is_empty() || self.stopping || self.node.as_ref().is_none_or(|node| !node.ready()) {
            self.quiet_since = None;
            return;
        }
        for client in 0..self.clients.len() as u32 {
            self.with_client(client, |client, ctx| client.retire(ctx));
        }
        let busy = self.node.iter().flat_map(|node| &node.seats).flat_map(|seat| seat.ops.values());
        let busy = busy.filter(|op| !matches!(op, InFlight::Accept)).count();
        if busy > 0 || !self.net.conns.is_empty() {
            if waited > REST / 2 {
                let detail =
                    format!("{} connections and {busy} ops are left: {}", self.net.conns.len(), self.waiting());
                self.fail(Invariant::Leaks, detail);
            }
            return;
        }
        if !self.check_rest() {
            return;
        }
        self.stop();
    }

    /// What damage has not hit is on the disk, though its partition refuses: in a segment or in a journal file.
    fn check_kept(&mut self) {
        if !self.plan.harms() || self.ledger.beyond {
            return;
        }
        let paths = self.disk.paths();
        let there = paths.iter().filter_map(|path| self.disk.bytes(path));
        let there: BTreeSet<_> = there.flat_map(|bytes| self.ledger.tags_in(&bytes)).collect();
        if let Some(detail) = self.ledger.missing(&there) {
            self.fail(Invariant::Kept, detail);
        }
    }
}
