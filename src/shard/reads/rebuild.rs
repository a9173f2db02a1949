//! A damaged or missing sidecar: the table is made anew from the segment, in memory and on the disk.
//!
//! ```text
//! sidecar refused ─▶ read the segment, piece by piece ─▶ every batch verified ─▶ table ─▶ the read goes on; sidecar written
//! ```
//!
//! One at a time, because its pieces are the heap's; other reads that need it wait. Invariants: the sidecar is written only
//! while nothing of its partition can be unlinked; a segment that is damaged itself is read through once, then refused.

use super::Stage;
use crate::boundary::Op;
use crate::log::check::Fault;
use crate::log::rebuild::Rebuild;
use crate::log::segment::{self, Chunk};
use crate::log::sidecar;
use crate::memory::{aligned, round_down, round_up};
use crate::records::BatchHeader;
use crate::shard::effects::Pending;
use crate::shard::flush::seal_steps;
use crate::shard::tasks::{Step, Then};
use crate::shard::{Level, Phase, Shard};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::BytesMut;

/// What one read brings, where no batch is larger.
const PIECE_BYTES: u64 = 1 << 20;
/// A larger batch is none: four must fit into a file of the journal.
const BATCH_BYTES_MAX: u64 = 64 << 20;

/// How far a table has come.
pub struct Rebuilding {
    table: Rebuild,
    /// Where the piece under way begins, a whole sector.
    from: u64,
    /// How much of it there is to come.
    needed: usize,
}

impl Shard {
    /// The table cannot be had from the sidecar.
    pub(super) fn on_no_table(&mut self, id: u64, reason: &str) {
        let job = &self.reads.jobs[&id];
        let (slot, name) = (job.slot, job.name);
        let Some(partition) = self.partitions[slot as usize].as_deref() else { return self.step_read(id) };
        let path = segment::sidecar_path(partition.key, name);
        if self.reads.lost.contains(&(slot, name)) {
            return self.on_damaged(id, path, 0, reason);
        }
        if self.reads.rebuilding.is_some() {
            return self.reads.without_table.push(id);
        }
        let Some(segment) = partition.log.segment_named(name) else { return self.step_read(id) };
        let table = Rebuild::of(segment);
        let text = format!("{path}: {reason}; it is made anew from its segment");
        self.fx.log(Level::Warn, text);
        self.reads.rebuilding = Some(id);
        let rebuilding = Rebuilding { table, from: 0, needed: 0 };
        self.next_piece(id, Box::new(rebuilding), PIECE_BYTES);
    }

    /// Reads on, so far that the next `wanted` bytes are there.
    fn next_piece(&mut self, id: u64, mut rebuilding: Box<Rebuilding>, wanted: u64) {
        let (position, left) = (rebuilding.table.position(), rebuilding.table.left());
        if wanted > BATCH_BYTES_MAX {
            let reason = format!("a batch of {wanted} bytes, no more than {BATCH_BYTES_MAX} are possible");
            return self.on_rebuilt(id, Err(Fault { position, reason }));
        }
        rebuilding.from = round_down(position);
        rebuilding.needed = (position - rebuilding.from + wanted.max(PIECE_BYTES).min(left)) as usize;
        let len = round_up(rebuilding.needed as u64) as usize;
        self.read_piece(id, rebuilding, aligned(len), len);
    }

    fn read_piece(&mut self, id: u64, rebuilding: Box<Rebuilding>, have: BytesMut, len: usize) {
        let offset = rebuilding.from + have.len() as u64;
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        let partition = self.partitions[job.slot as usize].as_deref();
        let segment = partition.and_then(|partition| partition.log.segment_named(job.name));
        let Some(file) = segment.and_then(|segment| segment.open.file) else {
            // Replaced or gone meanwhile: whoever waits finds what is there now.
            self.step_read(id);
            return self.rebuild_over(id);
        };
        job.stage = Stage::Rebuilding(rebuilding);
        self.fx.submit(Op::Read { file, offset, buf: have, len }, Pending::ReadSegment(id));
    }

    /// `count` bytes more have come.
    pub(super) fn on_piece(&mut self, id: u64, mut rebuilding: Box<Rebuilding>, mut have: BytesMut, count: usize) {
        let job = self.reads.jobs.get_mut(&id).expect("it reads");
        if let Some(len) = job.missing(&mut have, count, rebuilding.needed) {
            return self.read_piece(id, rebuilding, have, len);
        }
        let slot = job.slot;
        let Some(partition) = self.partitions[slot as usize].as_deref() else {
            self.step_read(id);
            return self.rebuild_over(id);
        };
        let start = (rebuilding.table.position() - rebuilding.from) as usize;
        let end = rebuilding.needed.min(have.len());
        let piece = have.get(start..end).unwrap_or_default();
        let log_start = partition.replica.start();
        let fits = |header: &BatchHeader| {
            let epoch = partition.replica.epoch_of(header.base_offset.max(log_start));
            // Of what lies below its start, the log no longer knows the epochs.
            header.leader_epoch == epoch || (header.end_offset() <= log_start && header.leader_epoch < epoch)
        };
        let before = rebuilding.table.position();
        match rebuilding.table.take(piece, fits) {
            Ok(0) => self.on_rebuilt(id, rebuilding.table.finish()),
            Ok(_) if end < rebuilding.needed => {
                let reason = String::from("the file ends before the segment does");
                self.on_rebuilt(id, Err(Fault { position: rebuilding.table.position(), reason }));
            }
            Ok(wanted) if rebuilding.table.position() > before || wanted > piece.len() as u64 => {
                self.next_piece(id, rebuilding, wanted);
            }
            Ok(wanted) => panic!("{wanted} bytes are wanted at {before}, and {} were there", piece.len()),
            Err(fault) => self.on_rebuilt(id, Err(fault)),
        }
    }

    fn on_rebuilt(&mut self, id: u64, table: Result<Vec<Chunk>, Fault>) {
        let job = &self.reads.jobs[&id];
        let (slot, name) = (job.slot, job.name);
        let partition = self.partitions[slot as usize].as_deref_mut();
        let key = partition.as_ref().map(|partition| partition.key);
        let segment = partition.and_then(|partition| partition.log.segment_named_mut(name));
        match (table, segment, key) {
            (Ok(chunks), Some(segment), Some(key)) => {
                let table = sidecar::encode(key, segment.base, &chunks);
                segment.chunks = chunks;
                self.write_table(slot, segment::sidecar_path(key, name), seal_steps(key, name, table));
                self.step_read(id);
            }
            (Err(fault), Some(_), Some(key)) => {
                self.reads.lost.insert((slot, name));
                let reason = format!("{}, and its table of chunks is damaged too", fault.reason);
                self.on_damaged(id, segment::log_path(key, name), fault.position, &reason);
            }
            // Replaced or gone meanwhile.
            (Ok(_) | Err(_), _, _) => self.step_read(id),
        }
        self.rebuild_over(id);
    }

    /// A crash in between leaves a damaged sidecar again.
    fn write_table(&mut self, slot: u32, path: String, steps: Vec<Step>) {
        if self.phase != Phase::Serving {
            return;
        }
        self.partition(slot).expect("it is being read").reads += 1;
        self.start_task(steps, None, &path, Then::TableWritten { partition: slot });
    }

    pub(in crate::shard) fn on_table_written(&mut self, slot: u32) {
        if let Some(partition) = self.partition(slot) {
            partition.reads -= 1;
        }
        self.remove_doomed(slot);
        self.remove_partition_if_due(slot);
    }

    /// This read makes no table any more: those that waited for it go on.
    pub(super) fn rebuild_over(&mut self, id: u64) {
        if self.reads.rebuilding == Some(id) {
            self.reads.rebuilding = None;
            for id in core::mem::take(&mut self.reads.without_table) {
                self.step_read(id);
            }
        }
    }
}
