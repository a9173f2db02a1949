//! The atlas of damage: which durable bytes were harmed, what they should be, and whether a later write proves it.
//!
//! It remembers the last writes of each file with the bytes that were there before, so that harm can be done at the
//! moment when it matters: while the node is down, to what its recovery will read. It never decides what may be lost:
//! the checker does, with what is written here.
//!
//! Invariant: every byte that differs from what the node was told is durable lies in a hit.

use crate::dice::Dice;
use crate::disk::Disk;
use crate::disk::file::{File, UNIT};
use crate::disk::names::{Node, parent};
use crate::faults::{Counts, Fault};
use std::collections::VecDeque;

/// How many of the last writes can still be harmed.
const RECENT_MAX: usize = 96;

/// One write, as it was done.
#[derive(Clone)]
struct Recent {
    file: usize,
    path: String,
    offset: usize,
    bytes: Vec<u8>,
    before: Vec<u8>,
    durable: bool,
}

/// Harm done to one write.
#[derive(Clone, Debug)]
pub struct Hit {
    pub kind: Fault,
    pub path: String,
    /// The write that was harmed: where it began, and what its bytes should be.
    pub offset: u64,
    pub good: Vec<u8>,
    /// What stands and falls with it: the whole frame of a journal, else the files beside it, whose chunks share checksums.
    pub around: Vec<u8>,
    /// A later durable write to the same folder stands unharmed, so that the loss can be seen.
    pub proven: bool,
    file: usize,
    bad: Vec<u8>,
}

#[derive(Clone, Default)]
pub struct Atlas {
    /// Off, and nothing is remembered.
    pub watching: bool,
    recent: VecDeque<Recent>,
    hits: Vec<Hit>,
}

/// A shard's journal is told by its folder's name.
pub fn is_journal(path: &str) -> bool {
    path.contains("journal")
}

/// The table beside a segment: nothing that only it holds.
pub fn is_index(path: &str) -> bool {
    path.ends_with(".chunks")
}

/// The magic of the journal's frames.
fn begins_frame(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HWJ1")
}

impl Atlas {
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    pub fn clear(&mut self) {
        self.hits.clear();
        self.recent.clear();
    }

    pub fn renamed(&mut self, from: &str, to: &str) {
        let paths = self.recent.iter_mut().map(|recent| &mut recent.path);
        let paths = paths.chain(self.hits.iter_mut().map(|hit| &mut hit.path));
        paths.filter(|path| *path == from).for_each(|path| *path = to.to_string());
    }

    /// Called before the bytes are put.
    pub fn note(&mut self, index: usize, path: &str, file: &File, offset: usize, bytes: &[u8], durable: bool) {
        if !self.watching || bytes.is_empty() {
            return;
        }
        let mut before = vec![0; bytes.len()];
        file.live().read(offset, &mut before);
        let path = path.to_string();
        self.recent.push_back(Recent { file: index, path, offset, bytes: bytes.to_vec(), before, durable });
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }
}

/// Which files to harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Journal,
    /// Segments and the files beside them.
    Data,
    Anything,
    /// Tables of chunks, whenever they were written.
    Index,
}

impl Target {
    fn takes(self, path: &str) -> bool {
        match self {
            Target::Journal => is_journal(path),
            Target::Data => path.starts_with("partitions/"),
            Target::Anything => true,
            Target::Index => is_index(path),
        }
    }
}

impl Disk {
    /// The remembered writes that still stand, whole, on the platter under their name.
    fn standing(&self) -> Vec<usize> {
        let stands = |recent: &Recent| {
            let named = self.names.get(&recent.path) == Some(Node::File(recent.file));
            let file = self.files[recent.file].as_ref();
            named && file.is_some_and(|file| file.stable().holds(recent.offset, &recent.bytes))
        };
        // A write that was repeated, because it had come out short, is not the one that counts.
        let repeated = |index: usize, recent: &Recent| {
            let end = recent.offset + recent.bytes.len();
            let later = self.atlas.recent.iter().skip(index + 1);
            later.into_iter().any(|later| {
                later.file == recent.file && later.offset < end && recent.offset < later.offset + later.bytes.len()
            })
        };
        let recent = self.atlas.recent.iter().enumerate();
        let standing = recent.filter(|(index, recent)| stands(recent) && !repeated(*index, recent));
        standing.map(|(index, _)| index).collect()
    }

    /// Harms one of the last writes that stand, as `kind` does it. False where nothing could be harmed.
    pub fn harm(&mut self, kind: Fault, target: Target, dice: &mut Dice, counts: &mut Counts) -> bool {
        let standing = self.standing();
        let matching: Vec<usize> =
            standing.iter().copied().filter(|at| target.takes(&self.atlas.recent[*at].path)).collect();
        if matching.is_empty() {
            return false;
        }
        let victim = matching[dice.index(matching.len())];
        match kind {
            Fault::BitFlip => self.harm_part(victim, kind, dice, |bytes, _, dice| {
                let at = dice.index(bytes.len());
                bytes[at] ^= 1 << dice.below(8);
            }),
            Fault::ZeroedSector => self.harm_part(victim, kind, dice, |bytes, _, dice| {
                let unit = dice.index(bytes.len().div_ceil(UNIT)) * UNIT;
                let end = (unit + UNIT).min(bytes.len());
                bytes[unit..end].fill(0);
            }),
            Fault::StaleSector => self.harm_part(victim, kind, dice, |bytes, before, dice| {
                let unit = dice.index(bytes.len().div_ceil(UNIT)) * UNIT;
                let end = (unit + UNIT).min(bytes.len());
                bytes[unit..end].copy_from_slice(&before[unit..end]);
            }),
            Fault::LostWrite => self.harm_part(victim, kind, dice, |bytes, before, _| bytes.copy_from_slice(before)),
            Fault::MisdirectedWrite => {
                let stray = self.atlas.recent[victim].bytes.clone();
                self.harm_part(victim, kind, dice, |bytes, before, _| bytes.copy_from_slice(before));
                let other = standing[dice.index(standing.len())];
                if other != victim {
                    self.harm_part(other, kind, dice, |bytes, _, _| {
                        let len = stray.len().min(bytes.len());
                        bytes[..len].copy_from_slice(&stray[..len]);
                    });
                }
            }
            other => panic!("{} harms no write", other.name()),
        }
        counts.add(kind);
        true
    }

    /// Harms an index that is at rest, as `kind` does it. False where there is none.
    pub fn harm_index(&mut self, kind: Fault, dice: &mut Dice, counts: &mut Counts) -> bool {
        let at_rest = |file: &File| !file.is_empty() && !file.has_unsynced() && file.live() == file.stable();
        let indexes = self.names.live().filter(|(path, _)| Target::Index.takes(path));
        let indexes = indexes.filter_map(|(path, node)| match node {
            Node::File(file) => Some((path.to_string(), file)),
            Node::Dir => None,
        });
        let indexes: Vec<(String, usize)> = indexes.filter(|(_, file)| at_rest(self.file(*file))).collect();
        if indexes.is_empty() {
            return false;
        }
        let (path, file) = indexes[dice.index(indexes.len())].clone();
        let good = self.file(file).stable().to_vec();
        let mut bad = good.clone();
        let unit = dice.index(bad.len().div_ceil(UNIT)) * UNIT;
        let sector = unit..(unit + UNIT).min(bad.len());
        match kind {
            Fault::IndexFlip => bad[dice.index(good.len())] ^= 1 << dice.below(8),
            Fault::IndexZeroed => bad[sector].fill(0),
            Fault::IndexGarbage => bad[sector].iter_mut().for_each(|byte| *byte = dice.below(256) as u8),
            Fault::IndexLost => bad.fill(0),
            Fault::IndexForeign => {
                self.file(indexes[dice.index(indexes.len())].1).stable().read(0, &mut bad);
            }
            other => panic!("{} harms no index", other.name()),
        }
        if bad == good {
            return false;
        }
        self.file_mut(file).overwrite(0, &bad);
        self.atlas.hits.push(Hit { kind, path, offset: 0, good, around: Vec::new(), proven: true, file, bad });
        counts.add(kind);
        true
    }

    fn harm_part(
        &mut self,
        index: usize,
        kind: Fault,
        dice: &mut Dice,
        harm: impl FnOnce(&mut [u8], &[u8], &mut Dice),
    ) {
        let recent = self.atlas.recent[index].clone();
        let mut bytes = recent.bytes.clone();
        harm(&mut bytes, &recent.before, dice);
        let journal = is_journal(&recent.path);
        let around = if journal { self.frame_around(index) } else { self.neighbourhood(&recent.path) };
        let hit = Hit {
            kind,
            path: recent.path.clone(),
            offset: recent.offset as u64,
            good: recent.bytes,
            around,
            proven: !journal,
            file: recent.file,
            bad: bytes,
        };
        self.file_mut(recent.file).overwrite(recent.offset, &hit.bad);
        self.atlas.hits.push(hit);
        self.prove();
    }

    /// The whole frame that a write is part of: a short write leaves its rest to the next one.
    fn frame_around(&self, index: usize) -> Vec<u8> {
        let recent = &self.atlas.recent;
        let victim = &recent[index];
        let same = |write: &&Recent| write.file == victim.file && write.durable;
        let (mut from, mut parts) = (victim.offset, vec![victim]);
        while !begins_frame(&parts[0].bytes)
            && let Some(before) =
                recent.iter().take(index).rev().filter(same).find(|write| write.offset + write.bytes.len() == from)
        {
            from = before.offset;
            parts.insert(0, before);
        }
        let mut to = victim.offset + victim.bytes.len();
        for next in recent.iter().skip(index + 1).filter(same) {
            if next.offset != to || begins_frame(&next.bytes) {
                break;
            }
            to += next.bytes.len();
            parts.push(next);
        }
        parts.iter().flat_map(|part| part.bytes.iter().copied()).collect()
    }

    /// All bytes of the files beside `path`: segment, index and checksums stand and fall together.
    fn neighbourhood(&self, path: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, node) in self.names.live() {
            if let Node::File(file) = node
                && parent(name) == parent(path)
                && !parent(path).is_empty()
            {
                bytes.extend_from_slice(&self.file(file).stable().to_vec());
            }
        }
        bytes
    }

    /// Sets anew which hits a later, unharmed write proves.
    fn prove(&mut self) {
        let standing = self.standing();
        let Atlas { recent, hits, .. } = &mut self.atlas;
        for hit in hits.iter_mut().filter(|hit| is_journal(&hit.path)) {
            let place = recent.iter().rposition(|write| {
                write.file == hit.file && write.offset as u64 == hit.offset && write.bytes == hit.good
            });
            let Some(place) = place else { continue };
            hit.proven = standing.iter().any(|at| {
                let write = &recent[*at];
                *at > place
                    && write.durable
                    && is_journal(&write.path)
                    && parent(&write.path) == parent(&hit.path)
                    && begins_frame(&write.bytes)
            });
        }
    }

    /// Undoes all damage that nothing has overwritten since.
    pub fn heal(&mut self) {
        for hit in std::mem::take(&mut self.atlas.hits) {
            let start = hit.offset as usize;
            if let Some(file) = self.files[hit.file].as_mut()
                && file.stable().holds(start, &hit.bad)
            {
                file.overwrite(start, &hit.good);
            }
        }
    }
}
