//! What must hold of the files when all is at rest, and after a clean stop.
//!
//! The files are read as any tool would read them, by the simulator's own code. Invariant: nothing here asks the node.

use crate::client::batch::take;
use crate::disk::Disk;
use crate::disk::atlas::is_index;
use crate::ledger::TopicState;
use crate::queue::{Nanos, SECONDS};
use crate::report::Invariant;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// The last frame that was written to a shard's journal.
#[derive(Clone, Copy)]
pub struct LastFrame {
    pub at: Nanos,
    /// An empty frame: it proves the one before it.
    pub seal: bool,
}

/// Whether these bytes begin a frame of a journal, and whether that one is empty (`src/journal/frame.rs`, the header's picture).
pub fn is_seal(bytes: &[u8]) -> Option<bool> {
    let directory = bytes.get(64..68).filter(|_| bytes.starts_with(b"HWJ1"))?;
    Some(u32::from_le_bytes(directory.try_into().expect("four")) <= EMPTY_DIRECTORY)
}

/// Bytes of a directory without a line: its count.
const EMPTY_DIRECTORY: u32 = 1;
/// What was deleted takes a moment to go.
const REST_SLACK: Nanos = 2 * SECONDS;
/// On a full disk, what meets it is tried again every half a second.
const FULL_SLACK: Nanos = 2 * SECONDS;
const SEAL_SLACK: Nanos = SECONDS;

impl World {
    /// All clients are done and no op is in flight. False where it is too early to tell.
    pub fn check_rest(&mut self) -> bool {
        let now = self.queue.now();
        let quiet_since = *self.quiet_since.get_or_insert(now);
        if now - quiet_since < REST_SLACK {
            return false;
        }
        let unsealed = self.frames.iter().find(|(_, last)| !last.seal && now - last.at > SEAL_SLACK);
        if let Some((shard, last)) = unsealed {
            let idle = (now - last.at) / 1_000_000;
            let detail = format!("{shard}: the last frame has been without proof for {idle} ms");
            self.fail(Invariant::Seals, detail);
        }
        if let Some(path) = self.disk.open_without_name() {
            let detail = format!("{path} is removed, and still open");
            self.fail(Invariant::Leaks, detail);
        }
        self.check_deleted(now);
        true
    }

    /// A disk that was full has room again, or is to have it: what was deleted long before is gone, or it would have stayed full
    /// for ever where only that makes room.
    pub fn check_deleted_while_full(&mut self) {
        let now = self.queue.now();
        let Some(full_since) = self.full_since.take() else { return };
        let Some(node) = self.node.as_ref().filter(|_| !self.stopping) else { return };
        let Some(ready_at) = node.ready_at else { return };
        if full_since.max(ready_at).max(node.frozen_until) + FULL_SLACK < now {
            self.check_deleted(now - FULL_SLACK);
        }
    }

    /// Files of topics deleted before are gone.
    fn check_deleted(&mut self, before: Nanos) {
        let paths = self.disk.paths();
        for topic in self.ledger.topics.iter().filter(|topic| topic.deleted_at < before) {
            let (TopicState::Deleted, Some(id)) = (topic.state, topic.id) else { continue };
            let id = id.to_string();
            if let Some(path) = paths.iter().find(|path| path.contains(&id)) {
                let detail = format!("{} is deleted, and {path} is still there", topic.name);
                return self.fail(Invariant::Deleted, detail);
            }
        }
    }

    /// The topic of a partition's folder, and the log start that was told of it.
    fn find_folder(&self, folder: &str) -> Option<(usize, i64)> {
        let (id, index) = folder.strip_prefix("partitions/")?.rsplit_once('-')?;
        let topics = &self.ledger.topics;
        let topic = topics.iter().position(|topic| topic.id.is_some_and(|of| of.to_string() == id))?;
        let part = self.ledger.find_part(topic, index.parse().ok()?)?;
        let state = &self.ledger.parts[part];
        let live = topics[topic].state == TopicState::Live && !state.may_refuse && !state.may_lose;
        live.then_some((topic, state.start))
    }

    /// After a clean stop each partition's segments follow each other, in Kafka's format from their first byte to their last.
    /// Where all was at rest before, `last`, no file is left that is not in that chain.
    pub fn check_segments(&mut self, last: bool) {
        let harmed = self.disk.atlas.hits().iter().map(|hit| hit.path.as_str());
        let harmed: Vec<&str> = harmed.filter(|path| !is_index(path)).collect();
        let mut broken = None;
        for (folder, bases) in segments(&self.disk) {
            let Some((_, start)) = self.find_folder(&folder) else { continue };
            if harmed.iter().any(|hit| hit.starts_with(&folder)) {
                continue;
            }
            // Where a log starts is told to nobody once its last reader is gone.
            let first = if last { bases.first().copied() } else { Some(start) };
            let (mut next, mut chained) = (first, 0);
            while let Some(base) = next.take().filter(|base| bases.contains(base)) {
                chained += 1;
                let path = format!("{folder}/{base:020}.log");
                match self.disk.bytes(&path).map_or(Ok(base), |bytes| whole(&bytes, base)) {
                    Ok(end) if end > base => next = Some(end),
                    Ok(_) => {}
                    Err(why) => broken = Some(format!("{path}: {why}")),
                }
            }
            if last && chained < bases.len() && broken.is_none() {
                broken = Some(format!("{folder}: of the segments {bases:?} the first {chained} follow each other"));
            }
        }
        if let Some(detail) = broken.filter(|_| !self.ledger.beyond) {
            self.fail(Invariant::Segments, detail);
        }
    }
}

/// By folder: the bases of the segments in it.
fn segments(disk: &Disk) -> BTreeMap<String, BTreeSet<i64>> {
    let mut all: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for path in disk.paths() {
        let Some((folder, name)) = path.strip_suffix(".log").and_then(|stem| stem.rsplit_once('/')) else { continue };
        if let Ok(base) = name.parse() {
            all.entry(folder.to_string()).or_default().insert(base);
        }
    }
    all
}

/// Where batches end that lie one behind the other, without a gap and with nothing behind the last.
fn whole(bytes: &[u8], base: i64) -> Result<i64, String> {
    let (mut rest, mut next) = (bytes, base);
    if bytes.iter().all(|byte| *byte == 0) {
        // Room was reserved for it, and it was never written: no checkpoint knows it.
        return Ok(base);
    }
    while let Some(view) = take(&mut rest)? {
        if view.base != next {
            return Err(format!("a batch at {} where {next} was due", view.base));
        }
        next = view.base + i64::from(view.records);
    }
    Ok(next)
}
