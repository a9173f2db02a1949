//! The group commit: one frame in flight, the next one filling meanwhile.
//!
//! Invariant: nothing is answered before the frame that holds it is durable; a failed write of the journal ends the shard
//! and is never tried again.

use super::effects::Pending;
use super::partition::Waiter;
use super::produce::Appended;
use super::query::Answer;
use super::timers::Timer;
use super::{Phase, Shard};
use crate::boundary::{Done, Halt, Instant, Op, SECTOR};
use crate::ids::{Epoch, Offset, PartitionKey};
use crate::journal::Sealed;
use crate::journal::frame::{Note, Place};
use crate::mail::Letter;
use crate::replica::position::Position;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// A commit follows another one by at most twice the time that one took, and by no more than this, unless what is expected
/// has come before. With one connection of eight requests in flight, half as many commits carry half as much again.
const COMPANY_MAX: Duration = Duration::from_micros(250);
/// After this long without a commit the last one is sealed.
const IDLE: Duration = Duration::from_millis(10);

/// A frame on its way, and where each partition's log ends in it.
pub struct InFlight {
    sealed: Sealed,
    ends: Vec<(u32, Position)>,
    written: u64,
    begun: Instant,
}

/// What the next commit waits for, for a moment: whom the last one answered is likely to write again at once, and one
/// commit for all of them costs little more than one for the first.
#[derive(Default)]
pub struct Company {
    /// Batches that the last commit answered, with those that had come meanwhile.
    expected: usize,
    until: Instant,
    /// A frame is open and waits, until then.
    waits: bool,
}

impl Company {
    /// When it is to be looked at again.
    pub fn deadline(&self) -> Option<Instant> {
        self.waits.then_some(self.until)
    }
}

impl Shard {
    /// Writes the open frame, if there is one, nothing is in flight and nothing more is expected.
    pub(super) fn start_commit(&mut self) {
        let may = self.phase != Phase::Moving && self.commit.is_none() && self.journal().wants_commit();
        self.company.waits = may && self.expects_company();
        if may && !self.company.waits {
            self.seal_and_write();
        }
    }

    /// Whether the open frame holds less than most of what is expected, and it is not too late for more.
    fn expects_company(&mut self) -> bool {
        let (now, batches) = (self.fx.now.mono, self.journal().open_batches());
        batches > 0 && batches * 4 < self.company.expected * 3 && now < self.company.until
    }

    fn seal_and_write(&mut self) {
        let Some(sealed) = self.journal().seal() else {
            self.journal_full = true;
            return;
        };
        self.journal_full = false;
        let (place, frame, run) = (sealed.place, sealed.frame, self.journal().run());
        self.file_starts.entry(place.file_seq).or_insert((place, frame, run));
        let mut ends = Vec::with_capacity(sealed.notes.len());
        for note in &sealed.notes {
            let Some(slot) = self.slots.get(&note.key()).copied() else { continue };
            if let Some(partition) = self.partition(slot) {
                ends.push((slot, partition.replica.end()));
            }
        }
        self.commit = Some(InFlight { sealed, ends, written: 0, begun: self.fx.now.mono });
        self.write_commit();
    }

    /// The place, number and run of the frame in flight.
    pub(super) fn commit_in_flight(&self) -> Option<(Place, u64, u32)> {
        let run = self.journal.as_ref().map_or(0, |journal| journal.run());
        self.commit.as_ref().map(|commit| (commit.sealed.place, commit.sealed.frame, run))
    }

    fn write_commit(&mut self) {
        let commit = self.commit.as_ref().expect("a frame is in flight");
        let data = behind(&commit.sealed.chunks, commit.written);
        let offset = commit.sealed.place.offset + commit.written;
        let op = Op::Write { file: commit.sealed.file, offset, data, durable: true };
        self.fx.submit(op, Pending::Commit);
    }

    pub(super) fn on_commit_written(&mut self, done: Done) {
        let Done::Wrote(result) = done else { panic!("a write ended as {done:?}") };
        let commit = self.commit.as_mut().expect("a frame is in flight");
        match result {
            Ok(written) => commit.written += (written / SECTOR * SECTOR) as u64,
            Err(error) => {
                let path = self.journal_path();
                return self.fx.halt(Halt::Disk { path, error });
            }
        }
        if commit.written < commit.sealed.bytes {
            return self.write_commit();
        }
        let commit = self.commit.take().expect("a frame is in flight");
        self.journal().on_durable();
        self.on_durable(commit);
    }

    fn on_durable(&mut self, commit: InFlight) {
        self.count_commit(&commit);
        self.on_proven(commit.sealed.frame);
        let took = self.fx.now.mono.since(commit.begun);
        let InFlight { sealed, ends, .. } = commit;
        let file_seq = sealed.place.file_seq;
        let frame = sealed.frame;
        let has_content = !sealed.notes.is_empty();
        self.company.expected = sealed.batches.len() + self.journal().open_batches();
        self.company.until = self.fx.now.mono.after((2 * took).min(COMPANY_MAX));
        let chunk_bytes = self.config.journal.chunk_bytes;
        for committed in sealed.batches {
            let (entry, len) = (committed.entry, committed.bytes.len());
            let Some(partition) = self.partitions[entry.slot as usize].as_deref_mut() else { continue };
            partition.log.push(entry.base, entry.end, entry.max_timestamp, committed.bytes, committed.check, file_seq);
            if partition.log.staged_bytes() >= chunk_bytes && !partition.queued {
                partition.queued = true;
                self.flusher.queue(entry.slot);
            }
            self.cached(entry.slot, entry.base, len);
        }
        for (slot, position) in ends {
            let Some(partition) = self.partition(slot) else { continue };
            partition.replica.on_durable(position);
            self.advance(slot);
        }
        for note in &sealed.notes {
            self.on_note_durable(frame, note);
        }
        if has_content {
            self.last_content = (frame, self.fx.now.mono);
            self.start_seal_timer();
        }
        self.announce_boot();
        self.check_applied();
        self.check_checkpoint_due();
        self.check_stopped();
    }

    fn count_commit(&mut self, commit: &InFlight) {
        let commits = &mut self.counters.commits;
        commits.latency.add(self.fx.now.mono.since(commit.begun).as_micros() as u64);
        commits.bytes.add(commit.sealed.bytes);
        commits.batches.add(commit.sealed.batches.len() as u64);
    }

    fn start_seal_timer(&mut self) {
        if !self.seal_timer {
            self.seal_timer = true;
            self.timers.set(self.last_content.1.after(IDLE), Timer::Seal);
        }
    }

    /// Where the shard has been idle since its last frame, an empty frame behind it proves it.
    pub(super) fn on_seal_due(&mut self) {
        self.seal_timer = false;
        let (frame, since) = self.last_content;
        if self.commit.is_some() || self.phase == Phase::Stopping {
            return;
        }
        if self.fx.now.mono < since.after(IDLE) {
            return self.start_seal_timer();
        }
        let last = |journal: &crate::journal::Journal| journal.is_idle() && journal.open_frame() == frame + 1;
        if !self.journal.as_ref().is_some_and(last) {
            return;
        }
        if self.journal().ring_has_room_for_notes() {
            self.seal_and_write();
            self.rest_later(frame + 2);
        } else {
            // On a full disk only what is given up makes room for its proof.
            self.on_proven(frame + 1);
        }
    }

    fn on_note_durable(&mut self, frame: u64, note: &Note) {
        let Some(slot) = self.slots.get(&note.key()).copied() else { return };
        match note {
            Note::Batches { .. } | Note::EpochStart { .. } | Note::Refused { .. } => {}
            Note::Vote { epoch, .. } => self.on_vote_durable(slot, *epoch),
            Note::LogStart { start, .. } => {
                if let Some(partition) = self.partition(slot)
                    && !partition.deleted
                    && *start > partition.replica.start()
                {
                    partition.replica.advance_start(*start);
                }
                self.unproven.push_back((frame, slot, Some(*start)));
                self.answer_purges(slot);
            }
            Note::Deleted { .. } => {
                if let Some(partition) = self.partition(slot) {
                    partition.deletion_durable = true;
                }
                self.unproven.push_back((frame, slot, None));
            }
        }
    }

    /// Every frame before this one is proven: what they have given up may be unlinked. Not earlier: damage to the last frame is
    /// taken for a torn tail, and recovery would look for what is gone.
    fn on_proven(&mut self, frame: u64) {
        while let Some((_, slot, start)) = self.unproven.pop_front_if(|(given_up, ..)| *given_up < frame) {
            let Some(partition) = self.partition(slot) else { continue };
            match start {
                Some(start) => {
                    partition.proven_start = partition.proven_start.max(start);
                    self.forget_below_start(slot);
                }
                None => {
                    partition.deletion_proven = true;
                    self.remove_partition(slot);
                }
            }
        }
    }

    /// Raises the epoch of a replica and asks for its own vote.
    pub(super) fn campaign(&mut self, slot: u32) {
        let me = self.config.node;
        let Some(partition) = self.partition(slot) else { return };
        if partition.deleted || partition.replica.leads() {
            return;
        }
        let (key, epoch) = (partition.key, partition.replica.campaign());
        self.journal().append_note(Note::Vote { key, epoch, voted_for: me });
    }

    fn on_vote_durable(&mut self, slot: u32, epoch: Epoch) {
        let me = self.config.node;
        let Some(partition) = self.partition(slot) else { return };
        if !partition.deleted && partition.replica.on_vote(me, epoch) {
            let (key, line) = (partition.key, partition.replica.append_epoch_start());
            self.journal().append_note(Note::EpochStart { key, line });
        }
    }

    /// The partition's durable end or high watermark may have moved: answers whom that concerns.
    pub(super) fn advance(&mut self, slot: u32) {
        while let Some((waiter, start)) = self.next_due(slot) {
            self.answer_waiter(waiter, Appended::ok(waiter.base, waiter.append_time, start));
        }
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { return };
        let key = partition.key;
        let woken = core::mem::take(&mut partition.watchers);
        for watcher in woken.into_values() {
            self.send(watcher.ticket.shard, Letter::Woken { ticket: watcher.ticket, round: watcher.round });
        }
        if key == PartitionKey::METADATA {
            self.on_metadata_committed();
        }
        self.load_groups(slot);
        self.answer_committed(slot);
    }

    /// The next batch that may be answered, and where the log starts.
    fn next_due(&mut self, slot: u32) -> Option<(Waiter, Offset)> {
        let partition = self.partitions[slot as usize].as_deref_mut()?;
        let (high_watermark, durable) = (partition.replica.high_watermark(), partition.replica.durable().offset);
        let committed = partition.at_high_watermark.front().is_some_and(|waiter| waiter.end <= high_watermark);
        let on_disk = partition.at_durable.front().is_some_and(|waiter| waiter.end <= durable);
        let waiter = match (committed, on_disk) {
            (true, _) => partition.at_high_watermark.pop_front(),
            (false, true) => partition.at_durable.pop_front(),
            (false, false) => None,
        };
        waiter.map(|waiter| (waiter, partition.replica.start()))
    }

    fn answer_waiter(&mut self, waiter: Waiter, appended: Appended) {
        let (ticket, batch_bytes) = (waiter.ticket, waiter.batch_bytes);
        if ticket.shard == self.me {
            self.on_appended(ticket, appended);
        } else {
            self.fx.mail(ticket.shard, Letter::Appended { ticket, batch_bytes, appended });
        }
    }

    /// Answers everyone who waits for a partition that is going away.
    pub(super) fn refuse_waiters(&mut self, slot: u32, appended: &Appended) {
        let Some(partition) = self.partitions[slot as usize].as_deref_mut() else { return };
        let waiters: Vec<Waiter> =
            partition.at_high_watermark.drain(..).chain(partition.at_durable.drain(..)).collect();
        let watchers = core::mem::take(&mut partition.watchers);
        let purges = core::mem::take(&mut partition.purges);
        for waiter in waiters {
            self.answer_waiter(waiter, appended.clone());
        }
        for purge in purges {
            self.reply(purge.ticket, Answer::error(appended.error));
        }
        for watcher in watchers.into_values() {
            self.send(watcher.ticket.shard, Letter::Woken { ticket: watcher.ticket, round: watcher.round });
        }
    }

    fn journal_path(&self) -> String {
        let journal = self.journal.as_ref().expect("a frame was in flight");
        let live = self.commit.as_ref().and_then(|commit| journal.ring.live(commit.sealed.place.file_seq));
        live.map_or_else(|| self.folder(), |slot| slot.path.clone())
    }
}

/// What of the chunks lies behind the first `written` bytes.
fn behind(chunks: &[Bytes], written: u64) -> Vec<Bytes> {
    let mut skip = written as usize;
    let mut left = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        if skip >= chunk.len() {
            skip -= chunk.len();
        } else {
            left.push(chunk.slice(skip..));
            skip = 0;
        }
    }
    if left.is_empty() { vec![Bytes::new()] } else { left }
}
