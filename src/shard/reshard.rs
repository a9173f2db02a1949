//! Another number of shards: the old ones empty their journals into segments, and shard 0 lays out the new ones.
//!
//! ```text
//! every old shard   recovery ─ every batch to its segment ─ sync segments and folders ── Moved ──▶ shard 0
//! shard 0           all moved: make the new shards' folders, each with its partitions in a checkpoint
//!                   ─ replace `format` ── Resharded ──▶ every old shard: halt; the driver starts the new ones
//! ```
//!
//! Segments stay where they are. Nothing is written to an old journal or checkpoint on the way, so whatever ends the
//! process before the new `format` is durable leaves the old layout as it was: segments that are longer than its
//! checkpoints say. Invariant: `format` names a layout whose every folder, journal and checkpoint is durable, and the
//! layouts that it does not name may be unlinked, but for the journal files that are kept.

use super::boot::{layout_folder, shard_folder};
use super::tasks::{Step, Then};
use super::{Phase, Shard};
use crate::boundary::{Halt, Level};
use crate::checkpoint::PartitionSnapshot;
use crate::ids::ShardId;
use crate::mail::Letter;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// Shard 0: what the shards have handed in.
#[derive(Default)]
pub struct Reshard {
    moved: u16,
    partitions: Vec<PartitionSnapshot>,
    metadata: Vec<u8>,
}

impl Shard {
    /// Recovery is over, and this start is to change the number of shards.
    pub(super) fn start_moving(&mut self, shards: u16) {
        if let Some((path, offset)) = self.boot.recovery.blind_at() {
            // In the new layout nobody would know that it refuses what may have been there.
            let reason = format!(
                "partitions may be lost there that nothing else tells of: start it with {} shards, as before, and then change their number",
                self.config.shards
            );
            return self.fx.halt(Halt::Damage { path, offset, reason });
        }
        self.phase = Phase::Moving;
        if self.me == ShardId(0) {
            let text = format!(
                "the data folder goes from {} to {shards} shards: their journals are written to the segments",
                self.config.shards
            );
            self.fx.log(Level::Info, text);
        }
        for slot in 0..self.partitions.len() as u32 {
            let Some(partition) = self.partition(slot) else { continue };
            if partition.deleted {
                // Its files go in the new layout; nobody waits for a roll that was left half done.
                partition.log.segments.iter_mut().for_each(|segment| segment.sealed = true);
            } else {
                self.finish_rolls(slot);
            }
        }
        self.dirty = true;
        self.check_moved();
    }

    /// Everything of this shard is in segments and in its partitions' snapshots.
    pub(super) fn move_out(&mut self) {
        self.checkpoints.on_moved();
        let partitions = self.partitions.iter().flatten().map(|partition| partition.to_snapshot()).collect();
        let metadata = if self.me == ShardId(0) { self.controller.image.encode() } else { Vec::new() };
        self.send(ShardId(0), Letter::Moved { partitions, metadata });
    }

    pub(super) fn on_moved(&mut self, mut partitions: Vec<PartitionSnapshot>, metadata: Vec<u8>) {
        self.reshard.moved += 1;
        self.reshard.partitions.append(&mut partitions);
        if !metadata.is_empty() {
            self.reshard.metadata = metadata;
        }
        if self.reshard.moved == self.config.shards {
            self.lay_out();
        }
    }

    /// Makes the folders of the new shards, then names them in `format`.
    fn lay_out(&mut self) {
        let shards = self.config.reshard.expect("only then a shard moves out");
        let layout = self.boot.layout + 1;
        let Reshard { partitions, mut metadata, .. } = core::mem::take(&mut self.reshard);
        let mut by_shard: Vec<Vec<PartitionSnapshot>> = (0..shards).map(|_| Vec::new()).collect();
        let text =
            format!("{} partitions are given to {shards} shards, in {}", partitions.len(), layout_folder(layout));
        for partition in partitions {
            by_shard[partition.key.shard(shards).0 as usize].push(partition);
        }
        // What an attempt that was cut off has left, perhaps of yet another number of shards.
        let mut steps = vec![Step::RemoveTree(layout_folder(layout)), Step::MakeDir(layout_folder(layout))];
        for (index, partitions) in by_shard.into_iter().enumerate() {
            let metadata = core::mem::take(&mut metadata);
            steps.extend(self.folder_steps(layout, ShardId(index as u16), partitions, metadata));
        }
        steps.push(Step::SyncDir(layout_folder(layout)));
        steps.push(Step::SyncDir("".into()));
        steps.extend(self.format_steps(shards, layout));
        self.fx.log(Level::Info, text);
        self.start_task(steps, None, &shard_folder(layout, ShardId(0)), Then::LaidOut);
    }

    /// The new layout holds from here on. The letters must leave before the shard is over.
    pub(super) fn on_laid_out(&mut self) {
        for to in self.fx.others() {
            self.fx.mail(to, Letter::Resharded);
        }
        self.fx.post();
        self.fx.halt(Halt::Resharded);
    }

    /// Unlinks what earlier layouts have left.
    pub(super) fn remove_old_layouts(&mut self) {
        let but = layout_folder(self.boot.layout);
        self.start_task(vec![Step::RemoveLayouts { but }], None, "the data folder", Then::Nothing);
    }
}
