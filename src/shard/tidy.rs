//! Files that a crash has cut out of their log: begun after the last checkpoint, and begun elsewhere since.
//!
//! Recovery takes the table of segments from the checkpoint and the batches behind it from the journal. Those are written
//! anew, and where the new segments begin at other offsets, the old files would stay for ever. Invariants: a file goes
//! only when no table names it; no segment of its partition is begun meanwhile; a partition that refuses keeps all.

use super::Shard;
use super::partition::Partition;
use super::tasks::{Step, Then};
use crate::boundary::Level;
use crate::log::segment::{self, Name};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Folders that are looked at side by side.
const FOLDERS_IN_FLIGHT: usize = 8;

impl Shard {
    /// Recovery is over, and nothing is being written yet: holds the partition's segments until its folder is tidy.
    pub(super) fn tidy_later(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        if partition.refusal.is_none() {
            partition.log.writing = true;
            self.untidy.push_back(slot);
        }
    }

    /// Looks at the next folders.
    pub(super) fn pump_tidying(&mut self) {
        while self.tidying < FOLDERS_IN_FLIGHT {
            let Some(slot) = self.untidy.pop_front() else { return };
            let Some(partition) = self.partition(slot) else { continue };
            let folder = segment::folder(partition.key);
            self.tidying += 1;
            self.start_task(vec![Step::List(folder.clone())], None, &folder, Then::SegmentsListed { partition: slot });
        }
    }

    pub(super) fn on_segments_listed(&mut self, slot: u32, names: &[String]) {
        let strays = self.partition(slot).map_or_else(Vec::new, |partition| partition.strays(names));
        if strays.is_empty() {
            return self.on_tidied(slot);
        }
        let partition = self.partition(slot).expect("it has strays");
        let folder = segment::folder(partition.key);
        let text =
            format!("{folder}: {} go, begun by a run that ended before a checkpoint knew them", strays.join(", "));
        self.fx.log(Level::Info, text);
        let mut steps: Vec<Step> = strays.iter().map(|name| Step::Remove(format!("{folder}/{name}"))).collect();
        steps.push(Step::SyncDir(folder.clone()));
        self.start_task(steps, None, &folder, Then::Tidied { partition: slot });
    }

    pub(super) fn on_tidied(&mut self, slot: u32) {
        self.tidying -= 1;
        let chunk_bytes = self.config.journal.chunk_bytes;
        if let Some(partition) = self.partition(slot) {
            partition.log.writing = false;
            let full = partition.log.staged_bytes() >= chunk_bytes;
            self.remove_partition_if_due(slot);
            if full {
                self.queue_flush(slot);
            }
        }
        self.pump_tidying();
        self.check_stopped();
    }
}

impl Partition {
    /// Which of its folder's names are segments, or what belongs to one, that its table does not know.
    fn strays(&self, names: &[String]) -> Vec<String> {
        let known = |name: Name| self.log.segment_named(name).is_some() || self.doomed.contains(&name);
        let stray = |name: &&String| Name::of_file(name).is_some_and(|name| !known(name));
        names.iter().filter(stray).cloned().collect()
    }
}
