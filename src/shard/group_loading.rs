//! How a coordinator learns its state: its log from the start to the end, segments and memory.
//!
//! Invariant: it answers nothing before every record below the high watermark is applied, in order, each once.

use super::groups::Stage;
use super::partition::Machine;
use super::timers::Timer;
use super::{Level, Phase, Shard};
use crate::boundary::Now;
use crate::groups::{Coordinator, Record, Request};
use crate::ids::{Offset, TopicId};
use crate::log::segment::Chunk;
use crate::records::{self, BatchHeader, iter};
use crate::wire::ErrorCode;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// A read that failed is tried again after this.
const RETRY: Duration = Duration::from_millis(250);
/// What one batch may take decompressed; ours are not compressed.
const BATCH_BYTES_MAX: usize = 4 << 20;

impl Shard {
    /// The shard serves: every coordinator reads its log.
    pub(super) fn load_all_groups(&mut self) {
        for slot in self.coordinators() {
            self.load_groups(slot);
        }
    }

    /// Goes on with reading the log, from memory as far as it is there, and from the disk.
    pub(super) fn load_groups(&mut self, slot: u32) {
        let (now, serving) = (self.fx.now, self.phase == Phase::Serving);
        loop {
            let Some(partition) = self.partition(slot) else { return };
            if partition.deleted || !serving || !partition.replica.is_serving() {
                return;
            }
            let (key, end) = (partition.key, partition.replica.high_watermark());
            let refused = partition.refusal.as_ref().map(ToString::to_string);
            let Machine::Groups(groups) = &mut partition.machine else { return };
            let Stage::Loading { coordinator, next, reading } = &mut groups.stage else { return };
            if *reading {
                return;
            }
            if let Some(reason) = refused {
                return self.fail_groups(slot, &reason);
            }
            *next = (*next).max(partition.replica.start());
            if *next >= end {
                return self.on_groups_loaded(slot);
            }
            if *next < partition.log.tail_base() {
                let from = *next;
                if partition.log.segment_of(from).is_none() {
                    return self.fail_groups(slot, &format!("offset {from} is neither in memory nor in a segment"));
                }
                *reading = true;
                return self.read_groups(slot, from);
            }
            let before = *next;
            let mut result = Ok(());
            for batch in partition.log.tail_from(before) {
                result = apply_batch(coordinator, now, &batch.bytes, before);
                if result.is_err() {
                    break;
                }
                *next = batch.end;
            }
            if let Err(reason) = result {
                return self.fail_groups(slot, &reason);
            }
            assert!(self.load_position(slot) > Some(before), "{key}: nothing in memory at {before}, below {end}");
        }
    }

    fn load_position(&mut self, slot: u32) -> Option<Offset> {
        match &self.groups(slot)?.stage {
            Stage::Loading { next, .. } => Some(*next),
            Stage::Active(_) | Stage::Failed => None,
        }
    }

    /// Chunks of the log have come from the disk.
    pub(super) fn on_groups_read(&mut self, slot: u32, result: Result<(Vec<Chunk>, Vec<Bytes>), ErrorCode>) {
        let now = self.fx.now;
        let Some(groups) = self.groups(slot) else { return };
        let Stage::Loading { coordinator, next, reading } = &mut groups.stage else { return };
        *reading = false;
        let before = *next;
        let chunks = match result {
            Ok((_, chunks)) if !chunks.is_empty() => chunks,
            Err(ErrorCode::CORRUPT_MESSAGE) => return self.fail_groups(slot, "its log is damaged"),
            // No memory for it, or an error that may pass.
            Ok(_) | Err(_) => {
                let again = now.mono.after(RETRY);
                return self.timers.set(again, Timer::LoadGroups { partition: slot });
            }
        };
        let mut failed = None;
        for batch in chunks.iter().flat_map(|chunk| records::split(chunk)) {
            let Ok((header, batch)) = batch else { break };
            if header.end_offset() <= *next {
                continue;
            }
            if let Err(reason) = apply_batch(coordinator, now, batch, before) {
                failed = Some(reason);
                break;
            }
            *next = header.end_offset();
        }
        if failed.is_none() && *next == before {
            failed = Some(format!("no batch at offset {before}"));
        }
        match failed {
            Some(reason) => self.fail_groups(slot, &reason),
            None => self.load_groups(slot),
        }
    }

    fn fail_groups(&mut self, slot: u32, reason: &str) {
        let Some(partition) = self.partition(slot) else { return };
        let text = format!("the group coordinator of {} does not serve: {reason}", partition.key);
        let Machine::Groups(groups) = &mut partition.machine else { return };
        groups.stage = Stage::Failed;
        self.fx.log(Level::Error, text);
    }

    fn on_groups_loaded(&mut self, slot: u32) {
        let now = self.fx.now;
        let Some(groups) = self.groups(slot) else { return };
        let stage = core::mem::replace(&mut groups.stage, Stage::Failed);
        let Stage::Loading { mut coordinator, .. } = stage else { panic!("a coordinator is loaded twice") };
        let decision = coordinator.loaded(now);
        // Topics may have gone while nobody was there to hear of it.
        let mut gone = coordinator.topics();
        gone.retain(|(id, name)| match *id {
            TopicId::ZERO => self.image.topic_named(name).is_none(),
            id => self.image.topic(id).is_none(),
        });
        let groups = self.groups(slot).expect("just seen");
        groups.queue.extend(gone.into_iter().map(|(id, name)| (None, Request::TopicDeleted { id, name })));
        groups.stage = Stage::Active(coordinator);
        groups.take(decision);
        self.pump_groups(slot);
    }
}

/// Applies the records of one batch of the log from `from` on.
fn apply_batch(coordinator: &mut Coordinator, now: Now, batch: &[u8], from: Offset) -> Result<(), String> {
    let header = BatchHeader::parse(batch).map_err(|error| error.to_string())?;
    if header.is_control() {
        return Ok(());
    }
    let bytes = iter::record_bytes(batch, &header, BATCH_BYTES_MAX).map_err(|error| error.to_string())?;
    for record in iter::Records::new(&header, &bytes) {
        let record = record.map_err(|error| error.to_string())?;
        let offset = record.offset;
        let Some(key) = record.key.filter(|_| offset >= from) else { continue };
        let at = |error| format!("the record at {offset}: {error}");
        if let Some(record) = Record::decode(key, record.value).map_err(at)? {
            coordinator.apply(now, offset.0, &record).map_err(at)?;
        }
    }
    Ok(())
}
