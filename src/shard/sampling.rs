//! A shard's sample of itself, for whoever operates the node.
//!
//! It reads and changes nothing, is taken only when somebody asks, and walks each partition and group once.

use super::partition::{Machine, Partition};
use super::{Phase, Shard};
use crate::ids::PartitionKey;
use crate::metrics::{CommittedSample, Gauges, GroupSample, PartitionSample, SERIES_MAX, Sample, Traffic};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

impl Shard {
    /// What it has counted, and how things stand.
    pub fn sample(&self) -> Sample {
        let mut sample = Sample {
            serving: self.phase == Phase::Serving,
            counters: self.counters.clone(),
            traffic: Vec::new(),
            gauges: self.gauges(),
            partitions: Vec::new(),
            groups: Vec::new(),
            committed: Vec::new(),
            left_out: 0,
        };
        let mut traffic: BTreeMap<&str, Traffic> = BTreeMap::new();
        for partition in self.partitions.iter().flatten().filter(|partition| !partition.deleted) {
            let Some(topic) = self.image.topic(partition.key.topic) else { continue };
            traffic.entry(&topic.name).or_default().merge(&partition.traffic);
            if sample.partitions.len() < SERIES_MAX {
                sample.partitions.push(partition.sample(&topic.name));
            } else {
                sample.left_out += 1;
            }
            if let Machine::Groups(groups) = &partition.machine
                && let Some(coordinator) = groups.coordinator()
            {
                sample.groups.extend(coordinator.observe().map(|(group, state, generation, members)| GroupSample {
                    group: group.to_owned(),
                    state,
                    generation,
                    members: members as u64,
                }));
                for (group, topic, index, offset) in coordinator.committed() {
                    if sample.committed.len() < SERIES_MAX {
                        let (group, topic) = (group.to_owned(), topic.to_owned());
                        sample.committed.push(CommittedSample { group, topic, index, offset });
                    } else {
                        sample.left_out += 1;
                    }
                }
            }
        }
        for (topic, bytes) in &self.counters.sent_bytes {
            if let Some(topic) = self.image.topic(*topic) {
                traffic.entry(&topic.name).or_default().bytes_out += bytes;
            }
        }
        sample.traffic = traffic.into_iter().map(|(topic, traffic)| (String::from(topic), traffic)).collect();
        sample
    }

    fn gauges(&self) -> Gauges {
        let all = || self.partitions.iter().flatten().filter(|partition| !partition.deleted);
        let partitions = || all().filter(|partition| partition.key != PartitionKey::METADATA);
        let segments = || partitions().flat_map(|partition| &partition.log.segments);
        let mut gauges = Gauges {
            backlog: self.backlog.len() as u64,
            ops: self.fx.pending().count() as u64,
            partitions: partitions().count() as u64,
            leaders: partitions().filter(|partition| partition.replica.leads()).count() as u64,
            controllers: all().filter(|one| one.key == PartitionKey::METADATA && one.replica.leads()).count() as u64,
            refused: partitions().filter(|partition| partition.refusal.is_some()).count() as u64,
            topics: self.image.topic_count() as u64,
            segments: segments().count() as u64,
            log_bytes: segments().map(|segment| segment.bytes).sum(),
            disk_full: self.disk_full,
            tail_bytes: self.cache_bytes as u64,
            staged_bytes: self.staged_bytes as u64,
            groups_bytes: self.groups_bytes as u64,
            ..Gauges::default()
        };
        if let Some(journal) = &self.journal {
            gauges.journal_bytes = journal.ring.bytes();
            gauges.journal_room_bytes = journal.ring.room(journal.place());
        }
        let now = self.fx.now.wall.0;
        let dirt = partitions().filter(|partition| partition.is_compacted()).filter_map(|one| one.dirt(now));
        gauges.dirtiest_ppm = dirt.map(|(ppm, _)| ppm).max().unwrap_or(0);
        self.compactor.gauge(&mut gauges);
        self.conns.gauge(&mut gauges);
        gauges
    }
}

impl Partition {
    fn sample(&self, topic: &str) -> PartitionSample {
        PartitionSample {
            topic: topic.to_owned(),
            index: self.key.index,
            start: self.replica.start().0,
            high_watermark: self.replica.high_watermark().0,
            end: self.replica.end().offset.0,
            epoch: self.replica.epoch().0,
            bytes: self.log.segments.iter().map(|segment| segment.bytes).sum(),
        }
    }
}
