//! What goes: segments past their retention or below the log's start, deleted partitions.
//!
//! Invariant: a file is unlinked only after the decision is durable in the journal (the log's new start, or a committed
//! deletion that names the topic's id), and only when nothing reads or writes it. So it needs no
//! `file.delete.delay.ms`: in Kafka that is the time left to those who still read it, and here they are waited for.

use super::partition::Partition;
use super::produce::Appended;
use super::tasks::{Step, Then};
use super::timers::Timer;
use super::{Phase, Shard};
use crate::boundary::{FileId, Op};
use crate::configs::TopicSettings;
use crate::ids::{Epoch, Offset, PartitionKey, TopicId};
use crate::journal::frame::Note;
use crate::log::segment::{self, Name};
use crate::wire::ErrorCode;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// When, after the start, the first look is taken for what is too old; and how often files are closed that nobody reads.
const FIRST_RETENTION: Duration = Duration::from_secs(30);
const CLOSE_INTERVAL: Duration = Duration::from_secs(60);
/// Entries in a frame above which more elections, deletions and moves of starts wait for the next one.
pub(super) const NOTES_MAX: usize = 512;

impl Shard {
    /// Makes a partition and lets it stand for election.
    pub(super) fn make_partition(&mut self, key: PartitionKey, settings: Arc<TopicSettings>) -> u32 {
        let mut partition = Partition::empty(self.config.node, key, settings);
        partition.machine = self.machine_of(key.topic);
        let slot = self.add_partition(partition);
        self.campaigns.push_back(slot);
        slot
    }

    /// Journals the deletions and holds the elections that are due, a bounded number in one frame.
    pub(super) fn pump_campaigns(&mut self) {
        while self.journal().open_notes() < NOTES_MAX && !(self.deletions.is_empty() && self.campaigns.is_empty()) {
            if !self.journal().ring_has_room_for_notes() {
                // A checkpoint comes first.
                self.journal_full = true;
                return;
            }
            if let Some(key) = self.deletions.pop_front() {
                self.journal().append_note(Note::Deleted { key });
            } else if let Some(slot) = self.campaigns.pop_front() {
                self.campaign(slot);
            }
        }
    }

    /// Where it is time, looks for what is too old in every partition; and closes files that nobody reads.
    pub(super) fn on_retention_due(&mut self) {
        if self.phase != Phase::Serving {
            return;
        }
        let now = self.fx.now.mono;
        let interval = Duration::from_millis(self.settings.retention_check_interval_ms.max(1_000));
        let by_age = now >= self.retention_at;
        if by_age {
            self.retention_at = now.after(interval);
        }
        for slot in 0..self.partitions.len() as u32 {
            if let Some(partition) = self.partition(slot) {
                partition.expiring |= by_age;
            }
            self.apply_retention(slot);
            self.expire(slot);
            self.close_unread(slot);
        }
        self.timers.set(now.after(interval.min(CLOSE_INTERVAL)), Timer::Retention);
    }

    /// The first look comes soon after the start, as in Kafka.
    pub(super) fn start_retention(&mut self) {
        let interval = Duration::from_millis(self.settings.retention_check_interval_ms.max(1_000));
        self.retention_at = self.fx.now.mono.after(interval.min(FIRST_RETENTION));
        self.timers.set(self.retention_at, Timer::Retention);
    }

    /// Moves the log's start past sealed segments that `retention.bytes` gives up, at once; and past those that are too old by
    /// `retention.ms`, when `log.retention.check.interval.ms` has passed, as in Kafka.
    pub(super) fn apply_retention(&mut self, slot: u32) {
        let now = self.fx.now.wall.0;
        if self.phase != Phase::Serving {
            return;
        }
        let Some(partition) = self.partition(slot) else { return };
        if !partition.is_retained_by_time_and_size() {
            return;
        }
        let start = partition.retained_from(now);
        if start <= partition.next_start.max(partition.replica.start()) {
            return;
        }
        let key = partition.key;
        // The checkpoint that makes room would wait for the note. It is looked at again.
        if !self.journal().ring_has_room_for_notes() {
            return;
        }
        // It moves when that is durable: a start that was told never goes back.
        let Some(partition) = self.partition(slot) else { return };
        partition.next_start = start;
        self.journal().append_note(Note::LogStart { key, start });
    }

    /// Where everything of a log is past its retention, its active segment rolls, as in Kafka, and goes like the others;
    /// what is staged for it goes to it first. Whether it is too old is looked at again when it has rolled.
    pub(super) fn expire(&mut self, slot: u32) {
        let (now, serving) = (self.fx.now.wall.0, self.phase == Phase::Serving);
        let Some(partition) = self.partition(slot) else { return };
        if !partition.expiring || partition.log.writing || partition.queued {
            return;
        }
        partition.expiring = serving && partition.is_retained_by_time_and_size() && partition.is_whole_too_old(now);
        if !partition.expiring {
            return;
        }
        let limit = partition.replica.settled();
        if partition.log.staged_bytes() > 0 {
            if partition.log.oldest_staged_below(limit) {
                self.queue_flush(slot);
            }
        } else if partition.log.segments.back().is_some_and(|segment| !segment.rolled && segment.bytes > 0) {
            self.roll(slot);
        }
    }

    /// Sealed segments below the log's proven start are doomed, and go. One that is active or about to be sealed goes later.
    pub(super) fn forget_below_start(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        let start = partition.proven_start;
        while partition.log.segments.front().is_some_and(|segment| segment.sealed && segment.end <= start) {
            let segment = partition.log.segments.pop_front().expect("just seen");
            partition.doomed.push(segment.name());
            partition.doomed_files.extend(segment.open.file);
        }
        self.remove_doomed(slot);
    }

    /// Unlinks segments below the durable start.
    pub(super) fn remove_doomed(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        if partition.doomed.is_empty() || partition.removing || partition.reads > 0 || partition.deleted {
            return;
        }
        partition.removing = true;
        let (key, names) = (partition.key, partition.doomed.clone());
        let files = core::mem::take(&mut partition.doomed_files);
        self.close_files(files);
        let mut steps = Vec::new();
        for name in &names {
            steps.push(Step::Remove(segment::log_path(key, *name)));
            steps.push(Step::Remove(segment::sidecar_path(key, *name)));
        }
        let path = segment::folder(key);
        // Nobody remembers them after this: a power loss must not bring them back.
        steps.push(Step::SyncDir(path.clone()));
        self.start_task(steps, None, &path, Then::SegmentsRemoved { partition: slot, names });
    }

    pub(super) fn on_segments_removed(&mut self, slot: u32, names: &[Name]) {
        let Some(partition) = self.partition(slot) else { return };
        partition.removing = false;
        partition.doomed.retain(|name| !names.contains(name));
        self.remove_doomed(slot);
        self.remove_partition_if_due(slot);
    }

    /// A committed deletion: refuses whoever waits. It is journalled as soon as there is room for that.
    pub(super) fn delete_topic(&mut self, topic: TopicId) -> Vec<u32> {
        self.topic_settings.remove(&topic);
        self.counters.sent_bytes.remove(&topic);
        let from = PartitionKey { topic, index: 0 };
        let to = PartitionKey { topic, index: i32::MAX };
        let mine: Vec<(PartitionKey, u32)> = self.slots.range(from..=to).map(|(key, slot)| (*key, *slot)).collect();
        for (key, slot) in &mine {
            let (key, slot) = (*key, *slot);
            let Some(partition) = self.partition(slot) else { continue };
            if !partition.deleted {
                partition.deleted = true;
                self.refuse_waiters(slot, &Appended::error(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
                self.refuse_group_calls(slot);
                self.deletions.push_back(key);
            }
        }
        let (from, to) = (PartitionKey { topic, index: 0 }, PartitionKey { topic, index: i32::MAX });
        let gone: Vec<PartitionKey> = self.leaders.range(from..=to).map(|(key, _)| *key).collect();
        for key in gone {
            self.leaders.remove(&key);
        }
        mine.into_iter().map(|(_, slot)| slot).collect()
    }

    pub(super) fn remove_partition_if_due(&mut self, slot: u32) {
        if self.is_deleted(slot) {
            self.remove_partition(slot);
        }
    }

    pub(super) fn is_deleted(&self, slot: u32) -> bool {
        self.partitions.get(slot as usize).is_some_and(|partition| partition.as_deref().is_some_and(|it| it.deleted))
    }

    /// Unlinks everything of a deleted partition, once that is proven and nothing is in flight.
    pub(super) fn remove_partition(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        let rolling = partition.log.segments.iter().any(|segment| segment.rolled && !segment.sealed);
        let busy =
            partition.removing || partition.reads > 0 || partition.log.writing || rolling || partition.compacting;
        if !partition.deletion_proven || busy {
            return;
        }
        partition.removing = true;
        let key = partition.key;
        let open = partition.log.segments.iter_mut().filter_map(|segment| segment.open.file.take());
        let mut files: Vec<FileId> = open.collect();
        files.append(&mut partition.doomed_files);
        files.extend(partition.replaced.drain(..).chain(partition.leaving.drain(..)).filter_map(|(_, file)| file));
        self.close_files(files);
        let folder = segment::folder(key);
        let steps = vec![Step::RemoveTree(folder.clone()), Step::SyncDir("partitions".to_string())];
        self.start_task(steps, None, &folder, Then::PartitionRemoved { partition: slot });
    }

    pub(super) fn on_partition_removed(&mut self, slot: u32) {
        if let Some(partition) = self.partitions[slot as usize].take() {
            self.slots.remove(&partition.key);
            self.staged_bytes -= partition.log.staged_bytes();
        }
    }

    pub(super) fn close_files(&mut self, files: Vec<FileId>) {
        for file in files {
            self.fx.submit(Op::Close { file }, super::Pending::Nothing);
        }
    }

    /// Closes the files of sealed segments that nobody reads.
    fn close_unread(&mut self, slot: u32) {
        let Some(partition) = self.partition(slot) else { return };
        if partition.reads > 0 || partition.removing {
            return;
        }
        let sealed = partition.log.segments.iter_mut().filter(|segment| segment.sealed);
        let files: Vec<FileId> = sealed.filter_map(|segment| segment.open.file.take()).collect();
        self.close_files(files);
    }

    /// The leaders among this shard's replicas, for everybody's metadata.
    pub(super) fn leads(&self) -> Vec<(PartitionKey, Epoch)> {
        let serving =
            self.partitions.iter().flatten().filter(|partition| !partition.deleted && partition.replica.is_serving());
        serving.map(|partition| (partition.key, partition.replica.epoch())).collect()
    }

    pub(super) fn default_settings(&self) -> Arc<TopicSettings> {
        Arc::new(TopicSettings::resolve(&Default::default(), &self.config.broker))
    }
}

impl Partition {
    /// Whether `retention.ms` and `retention.bytes` mean it.
    fn is_retained_by_time_and_size(&self) -> bool {
        !self.deleted && self.key != PartitionKey::METADATA && self.settings.cleanup.delete
    }

    /// Whether the log would be given up to its very end.
    fn is_whole_too_old(&self, now: i64) -> bool {
        let mut rolled = self.log.segments.iter().filter(|segment| segment.rolled);
        let retained = rolled.next_back().map_or(self.replica.start(), |segment| segment.end);
        if self.log.end() <= retained || self.retained_from(now) < retained {
            return false;
        }
        let active = self.log.segments.back().filter(|segment| !segment.rolled && segment.bytes > 0);
        let staged = self.log.tail_from(self.log.flushed()).map(|batch| batch.max_timestamp);
        let newest = active.map(|segment| segment.stamp()).into_iter().chain(staged).max();
        self.settings.retention_bytes == Some(0) || newest.is_some_and(|newest| self.is_too_old(newest, now))
    }

    fn is_too_old(&self, stamp: i64, now: i64) -> bool {
        let age = u64::try_from(now.saturating_sub(stamp)).unwrap_or(0);
        self.settings.retention_ms.is_some_and(|ms| age > ms)
    }

    /// Where the log starts if every sealed segment that retention gives up goes.
    fn retained_from(&self, now: i64) -> Offset {
        let mut start = self.replica.start();
        let mut left = self.log.segment_bytes();
        for segment in self.log.segments.iter().take_while(|segment| segment.sealed) {
            let too_much = self.settings.retention_bytes.is_some_and(|bytes| left - segment.bytes >= bytes);
            let too_old = self.expiring && self.is_too_old(segment.stamp(), now);
            if !(too_much || too_old) || segment.end > self.replica.high_watermark() {
                break;
            }
            left -= segment.bytes;
            start = segment.end;
        }
        start
    }
}
