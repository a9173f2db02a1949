//! Which logs are compacted, up to where, and which of their segments become one.
//!
//! It looks at partitions and changes nothing but their tables of segments, when a new one takes the place of others.
//! Invariants: only sealed segments below the high watermark are chosen; a new segment covers its sources' offsets to the last.

use super::group::Group;
use crate::ids::{Offset, PartitionKey};
use crate::log::segment::{Name, Segment};
use crate::shard::partition::Partition;
use alloc::vec::Vec;

/// A log that was not compacted for longer than it may comes before all that are only dirty.
const OVERDUE_PPM: u64 = 1_000_001;

impl Partition {
    /// Whether compaction is to look at it. The metadata log is not its kind: a checkpoint holds the image.
    pub(in crate::shard) fn is_compacted(&self) -> bool {
        let compacts = self.settings.cleanup.compact && self.key != PartitionKey::METADATA;
        compacts && !self.deleted && self.refusal.is_none() && self.replica.is_serving()
    }

    pub(super) fn first_dirty(&self) -> Offset {
        self.log.cleaned.max(self.replica.start())
    }

    /// Where the first segment begins that must not be compacted yet: the active one, or one that is too young.
    pub(super) fn cleanable_end(&self, now: i64) -> Offset {
        let lag = i64::try_from(self.settings.min_compaction_lag_ms).unwrap_or(i64::MAX);
        let young = |segment: &&Segment| lag > 0 && segment.stamp() > now.saturating_sub(lag);
        let settled = |segment: &&Segment| segment.sealed && segment.end <= self.replica.high_watermark();
        let old = self.log.segments.iter().take_while(|segment| settled(segment) && !young(segment));
        old.last().map_or(Offset(0), |segment| segment.end)
    }

    /// How much of what may be compacted is dirty, in parts per million; `None` where that is not enough. One that is past
    /// `max.compaction.lag.ms` is as dirty as can be.
    pub(super) fn dirty_ppm(&self, now: i64) -> Option<u64> {
        let (ppm, oldest) = self.dirt(now)?;
        let age = u64::try_from(now.saturating_sub(oldest)).unwrap_or(0);
        if age > self.settings.max_compaction_lag_ms {
            return Some(OVERDUE_PPM);
        }
        (ppm > u64::from(self.settings.min_cleanable_dirty_ppm)).then_some(ppm)
    }

    /// How much of what may be compacted is dirty, however little, in parts per million, and since when.
    pub(in crate::shard) fn dirt(&self, now: i64) -> Option<(u64, i64)> {
        let (from, end) = (self.first_dirty(), self.cleanable_end(now));
        if from >= end {
            return None;
        }
        let old = || self.log.segments.iter().filter(|segment| segment.end <= end);
        let dirty = || old().filter(|segment| segment.end > from);
        let (all, dirty_bytes): (u64, u64) =
            (old().map(|segment| segment.bytes).sum(), dirty().map(|segment| segment.bytes).sum());
        let ppm = dirty_bytes.saturating_mul(1_000_000) / all.max(1);
        let oldest =
            dirty().map(|segment| if segment.first_timestamp >= 0 { segment.first_timestamp } else { segment.created });
        Some((ppm, oldest.min().unwrap_or(now)))
    }

    /// The sealed segments from `done` on that become one, none of which begins at or behind `mapped`: as many as fit into
    /// `segment.bytes` as they are now.
    pub(super) fn group_from(&self, done: Offset, mapped: Offset) -> Option<Group> {
        let start = self.replica.start();
        let bytes_max = u64::from(self.settings.segment_bytes);
        let mut sources: Vec<&Segment> = Vec::new();
        let mut bytes = 0;
        for segment in self.log.segments.iter().filter(|segment| segment.base >= done && segment.end > start) {
            let reach = segment.end.0 - sources.first().map_or(segment.base.0, |first| first.base.0);
            let fits = sources.is_empty() || (bytes + segment.bytes <= bytes_max && reach <= i64::from(i32::MAX));
            if !segment.sealed || segment.base >= mapped || !fits {
                break;
            }
            bytes += segment.bytes;
            sources.push(segment);
        }
        (!sources.is_empty()).then(|| Group::of(&sources, start))
    }

    /// Whether these segments still stand one behind the other.
    pub(super) fn holds(&self, sources: &[Name]) -> bool {
        let first = self.log.segments.iter().position(|segment| Some(&segment.name()) == sources.first());
        first.is_some_and(|first| {
            let there = self.log.segments.range(first..).map(Segment::name);
            there.take(sources.len()).eq(sources.iter().copied())
        })
    }

    /// One segment takes the place of those, whose files wait for a checkpoint. Gives how many bytes they are.
    pub(super) fn replace(&mut self, sources: &[Name], made: Segment) -> u64 {
        let first = self.log.segments.iter().position(|segment| Some(&segment.name()) == sources.first());
        let first = first.expect("they are there");
        let end = self.log.segments[first + sources.len() - 1].end;
        assert!(made.end == end, "{}: segments up to {end} become one up to {}", self.key, made.end);
        let mut bytes = 0;
        for old in self.log.segments.drain(first..first + sources.len()) {
            bytes += old.bytes;
            self.replaced.push((old.name(), old.open.file));
        }
        self.log.segments.insert(first, made);
        bytes
    }
}
