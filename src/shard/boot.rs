//! From an empty process to a serving shard.
//!
//! ```text
//! shard 0   read `format` ── Begin ──▶ every shard   no format: make the shard's folder ── Formatted ──▶ shard 0
//! shard 0   all formatted: write `format` ── Recover ──▶ every shard   checkpoint, journal, replay, elections
//! shard 0   its metadata replica leads ── Image ──▶ every shard   make what is missing; all lead ── Booted ──▶ shard 0
//! shard 0   all booted ── Serve ──▶ every shard   accept connections
//! ```
//!
//! Invariant: before `format` is durable nothing in the folder was ever served, so it may be made anew; after that nothing
//! is made anew. A start that is only to change the number of shards goes another way after recovery, see `reshard`.

use super::format::{FORMAT, Format};
use super::tasks::{Outcome, Step, Then, save};
use super::{Phase, Shard};
use crate::boundary::{Halt, Level, OpenMode};
use crate::checkpoint::{Checkpoint, PartitionSnapshot, SlotSnapshot};
use crate::configs::{BrokerSettings, TopicSettings};
use crate::ids::{PartitionKey, ShardId};
use crate::journal::Resume;
use crate::journal::frame::Place;
use crate::journal::ring::{Ring, Slot, SlotState};
use crate::journal::scan::Scanner;
use crate::mail::Letter;
use crate::memory::round_up;
use crate::metadata::Image;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use rand::RngCore;

/// What is only needed on the way up.
#[derive(Default)]
pub struct Boot {
    /// Shard 0: how many shards have reached the present stage.
    pub reached: u16,
    /// The folder of all shards' folders is `layout-` and this.
    pub layout: u64,
    pub copies: Vec<Option<Vec<u8>>>,
    pub checkpoint: Option<Checkpoint>,
    pub scanner: Option<Scanner>,
    /// The scan is over; the damaged files that it found are being renamed.
    pub scanned: Option<(Scanner, Resume)>,
    pub ring: Ring,
    pub recovery: super::recovery::Recovery,
    /// The metadata image, where it came before our own recovery was over.
    pub early_image: Option<Vec<u8>>,
    pub image_applied: bool,
    pub booted: bool,
    /// Slots of the ring that are still to be filled.
    pub filling: bool,
}

impl Shard {
    pub(super) fn boot(&mut self) {
        if self.me == ShardId(0) {
            // After a kill its name may be in a cache only, and what is read here is counted on.
            let steps = vec![Step::SyncDir(String::new()), Step::ReadAll(FORMAT.into())];
            self.start_task(steps, None, FORMAT, Then::FormatRead);
        }
    }

    /// Shard 0 has read what the folder says of itself.
    pub(super) fn on_format_read(&mut self, bytes: Option<Vec<u8>>) {
        let fresh = bytes.is_none();
        let format = match bytes {
            None => Ok(Format { shards: self.config.shards, layout: 1, cluster_id: self.new_cluster_id() }),
            Some(bytes) => Format::decode(&bytes).and_then(|format| self.check_shards(format)),
        };
        match format {
            Ok(Format { layout, cluster_id, .. }) => {
                self.broadcast(|| Letter::Begin { fresh, layout, cluster_id: cluster_id.clone() });
            }
            Err(reason) => self.fx.halt(Halt::Refused { reason }),
        }
    }

    pub(super) fn on_begin(&mut self, fresh: bool, layout: u64, cluster_id: String) {
        self.boot.layout = layout;
        self.cluster_id = cluster_id;
        if fresh {
            self.make_folder();
        } else if self.me == ShardId(0) {
            self.broadcast(|| Letter::Recover);
        }
    }

    pub(super) fn on_folder_made(&mut self) {
        self.send(ShardId(0), Letter::Formatted);
    }

    pub(super) fn on_formatted(&mut self) {
        if !self.all_reached() {
            return;
        }
        let steps = self.format_steps(self.config.shards, self.boot.layout);
        self.start_task(steps, None, FORMAT, Then::FormatWritten);
    }

    pub(super) fn on_format_written(&mut self) {
        self.broadcast(|| Letter::Recover);
    }

    /// Shard 0: whether this was the last shard to reach the stage.
    fn all_reached(&mut self) -> bool {
        self.boot.reached += 1;
        let all = self.boot.reached == self.config.shards;
        if all {
            self.boot.reached = 0;
        }
        all
    }

    /// Reads both copies of the checkpoint.
    pub(super) fn recover(&mut self) {
        let folder = self.folder();
        for (mirror, name) in [(false, "checkpoint"), (true, "checkpoint.mirror")] {
            let path = format!("{folder}/{name}");
            // A kill may have come between its rename and the folder's sync. What it frees of the journal is used again, so
            // the one before must not come back.
            let steps = vec![Step::SyncDir(folder.clone()), Step::ReadAll(path.clone())];
            self.start_task(steps, None, &path, Then::CheckpointRead { mirror });
        }
    }

    pub(super) fn on_checkpoint_read(&mut self, mirror: bool, bytes: Option<Vec<u8>>) {
        let folder = self.folder();
        let name = if mirror { "checkpoint.mirror" } else { "checkpoint" };
        let read = match &bytes {
            None => Err("the file is missing"),
            Some(bytes) => Checkpoint::decode(bytes),
        };
        if let Err(reason) = &read
            && bytes.is_some()
        {
            let text = format!("{folder}/{name} is damaged at offset 0: {reason}");
            self.fx.log(Level::Error, text);
        }
        self.boot.copies.push(bytes);
        if let Ok(checkpoint) = read
            && self.boot.checkpoint.as_ref().is_none_or(|other| other.generation < checkpoint.generation)
        {
            self.boot.checkpoint = Some(checkpoint);
        }
        if self.boot.copies.len() < 2 {
            return;
        }
        if self.boot.checkpoint.is_none() {
            let reason = String::from("neither it nor its mirror can be read");
            return self.fx.halt(Halt::Damage { path: format!("{folder}/checkpoint"), offset: 0, reason });
        }
        self.boot.copies.clear();
        self.start_task(vec![Step::List(folder.clone())], None, &folder, Then::FolderListed);
    }

    /// Opens the files of the ring, and syncs them: after a kill a frame may sit in the drive's cache. A file that was
    /// found damaged before has another name since.
    pub(super) fn open_slots(&mut self, names: &[String]) {
        let folder = self.folder();
        let slots = self.boot.checkpoint.as_ref().map_or(Vec::new(), |checkpoint| checkpoint.slots.clone());
        let known = slots.iter().map(|slot| slot.number);
        let there = names.iter().filter_map(|name| Ring::number_of(name));
        self.boot.ring = Ring { slots: Vec::with_capacity(slots.len()), next_number: 0 };
        self.boot.ring.next_number = known.chain(there).max().map_or(0, |number| number + 1);
        for (slot, known) in slots.iter().enumerate() {
            let mut path = Ring::slot_path(&folder, known.number);
            let kept = Ring::kept_path(&folder, known.number);
            if names.iter().any(|name| kept.ends_with(&format!("/{name}"))) {
                path = kept;
            }
            let mode = OpenMode { create: false, truncate: false, direct: true };
            let steps = vec![Step::Open(path.clone(), mode), Step::Sync];
            self.start_task(steps, None, &path, Then::SlotOpened { slot });
        }
        self.boot.reached = 0;
    }

    pub(super) fn on_slot_opened(&mut self, slot: usize, outcome: &Outcome) {
        let checkpoint = self.boot.checkpoint.as_ref().expect("it named the slots");
        let known = checkpoint.slots[slot];
        let state = known.file_seq.map_or(SlotState::Free, |file_seq| SlotState::Live { file_seq });
        let path = outcome.path.clone();
        let file = outcome.file.expect("the slot was opened");
        if outcome.len < known.bytes {
            let reason = format!("the file has {} bytes, the checkpoint knows {}", outcome.len, known.bytes);
            return self.fx.halt(Halt::Damage { path, offset: outcome.len, reason });
        }
        self.boot.ring.slots.push(Slot { number: known.number, path, file, bytes: known.bytes, state });
        if self.boot.ring.slots.len() == checkpoint.slots.len() {
            self.boot.ring.slots.sort_by_key(|slot| slot.number);
            self.start_replay();
        }
    }

    /// The metadata image has come: make what is missing, delete what is deleted, and hold elections.
    pub(super) fn on_image(&mut self, image: Vec<u8>) {
        if self.journal.is_none() {
            // Our own recovery is not over: until then nobody knows what is missing here.
            self.boot.early_image = Some(image);
            return;
        }
        let image = image.as_slice();
        match Image::decode(image) {
            Ok(image) => self.image = image,
            Err(error) => {
                let reason = format!("{error}");
                return self.fx.halt(Halt::Refused { reason });
            }
        }
        // Recovery asked for settings before the image was there: what it got were defaults.
        self.topic_settings.clear();
        self.settings = BrokerSettings::resolve(self.broker_values());
        let keys: Vec<PartitionKey> = self.image.topics().flat_map(|topic| topic.keys()).collect();
        let mine = keys.into_iter().filter(|key| self.owner(*key) == self.me);
        for key in mine.collect::<Vec<_>>() {
            let (settings, machine) = (self.settings_of(key.topic), self.machine_of(key.topic));
            match self.slots.get(&key).copied() {
                Some(slot) => {
                    if let Some(partition) = self.partition(slot) {
                        partition.settings = settings;
                        partition.machine = machine;
                    }
                }
                None => self.make_missing(key, settings),
            }
        }
        let deleting: Vec<_> = self.image.deleting().map(|(id, _)| id).collect();
        for topic in deleting {
            self.delete_topic(topic);
        }
        self.boot.image_applied = true;
        self.announce_boot();
    }

    /// Tells shard 0 once every replica leads.
    pub(super) fn announce_boot(&mut self) {
        if !self.boot.image_applied || self.boot.booted {
            return;
        }
        let settled = |partition: &super::Partition| {
            if partition.deleted { partition.deletion_durable } else { partition.replica.is_serving() }
        };
        if self.partitions.iter().flatten().all(|partition| settled(partition)) {
            self.boot.booted = true;
            let leads = self.leads();
            self.broadcast(|| Letter::Leads(leads.clone()));
            self.send(ShardId(0), Letter::Booted);
        }
    }

    pub(super) fn on_booted(&mut self) {
        if self.all_reached() {
            self.confirm_deletions();
            self.broadcast(|| Letter::Serve);
        }
    }

    pub(super) fn on_serve(&mut self) {
        if self.phase != Phase::Booting {
            return;
        }
        self.phase = Phase::Serving;
        for listener in 0..self.config.listeners {
            self.accept(listener);
        }
        self.start_retention();
        self.start_compactor();
        self.start_idle_timer();
        self.load_all_groups();
        if self.me == ShardId(0) {
            self.remove_old_layouts();
            self.fx.ready();
        }
        self.fill_ring();
    }

    pub(super) fn settings_of(&mut self, topic: crate::ids::TopicId) -> Arc<TopicSettings> {
        if let Some(settings) = self.topic_settings.get(&topic) {
            return settings.clone();
        }
        let overrides = self.image.topic(topic).map(|topic| topic.configs.clone()).unwrap_or_default();
        let settings = Arc::new(TopicSettings::resolve(&overrides, self.broker_values()));
        self.topic_settings.insert(topic, settings.clone());
        settings
    }

    /// Makes the shard's folder of an empty node.
    fn make_folder(&mut self) {
        let metadata = if self.me == ShardId(0) { Image::default().encode() } else { Vec::new() };
        let mut steps = vec![Step::MakeDir(layout_folder(self.boot.layout)), Step::MakeDir("partitions".into())];
        steps.extend(self.folder_steps(self.boot.layout, self.me, Vec::new(), metadata));
        steps.push(Step::SyncDir(layout_folder(self.boot.layout)));
        steps.push(Step::SyncDir(String::new()));
        let path = self.folder();
        self.start_task(steps, None, &path, Then::FolderMade);
    }

    /// Makes a shard's folder: a first, small journal file, and a checkpoint that knows these partitions and an empty
    /// journal.
    pub(super) fn folder_steps(
        &mut self,
        layout: u64,
        shard: ShardId,
        partitions: Vec<PartitionSnapshot>,
        metadata: Vec<u8>,
    ) -> Vec<Step> {
        let folder = shard_folder(layout, shard);
        let bytes = round_up(self.config.journal.first_file_bytes.min(self.config.journal.file_bytes));
        let checkpoint = Checkpoint {
            generation: 1,
            journal: self.rng.next_u64(),
            run: 0,
            frame: 0,
            replay: Place { file_seq: 1, offset: 0 },
            replay_frame: 1,
            replay_run: 0,
            slots: vec![SlotSnapshot { number: 0, bytes, file_seq: Some(1) }],
            partitions,
            metadata,
        };
        let bytes_of_it = checkpoint.encode();
        let mut steps = vec![
            Step::MakeDir(folder.clone()),
            Step::Open(Ring::slot_path(&folder, 0), OpenMode { create: true, truncate: true, direct: true }),
            Step::Allocate { offset: 0, len: bytes },
            Step::Zero { from: 0, to: bytes },
            Step::Sync,
            Step::Close,
        ];
        steps.extend(save(&folder, "checkpoint", bytes_of_it.clone()));
        steps.extend(save(&folder, "checkpoint.mirror", bytes_of_it));
        steps
    }

    pub(super) fn format_steps(&self, shards: u16, layout: u64) -> Vec<Step> {
        let format = Format { shards, layout, cluster_id: self.cluster_id.clone() };
        save("", FORMAT, Bytes::from(format.encode()))
    }

    /// The driver starts as many shards as the folder has, also where that is to be changed.
    fn check_shards(&self, format: Format) -> Result<Format, String> {
        let (there, asked) = (format.shards, self.config.shards);
        if there == asked {
            return Ok(format);
        }
        Err(format!("{FORMAT}: the data folder has {there} shards, and {asked} were started on it"))
    }

    fn new_cluster_id(&mut self) -> String {
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        crate::ids::TopicId(id).to_string()
    }
}

/// The folder of all shards' folders.
pub fn layout_folder(layout: u64) -> String {
    format!("layout-{layout}")
}

pub fn shard_folder(layout: u64, shard: ShardId) -> String {
    format!("layout-{layout}/shard-{}", shard.0)
}
