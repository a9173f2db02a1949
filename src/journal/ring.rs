//! The files of the journal: written full of zeros once, then used in turn and recycled.
//!
//! A slot is a file; a file sequence counts the uses of slots. Invariants: a slot is used again only after a checkpoint has
//! freed it, a new or grown one only after a checkpoint knows of it, and file sequences are used without a gap. A file that
//! recovery found damaged, or that holds what lies behind the damage, is renamed (`journal-03.kept`) before anything else is
//! written; it is never used again once it is free, and never unlinked: that is left to people.

use super::frame::Place;
use crate::boundary::FileId;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How the name of a file ends that is out of the ring, but not to be unlinked.
const KEPT: &str = ".kept";

#[derive(Clone, Debug)]
pub struct Slot {
    pub number: u32,
    pub path: String,
    pub file: FileId,
    /// Bytes written full of zeros, or of older frames.
    pub bytes: u64,
    pub state: SlotState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Being extended with zeros.
    Filling,
    /// Full of zeros, but in no durable checkpoint yet: recovery would not look there.
    Filled,
    Free,
    /// Holds the frames of this file sequence.
    Live {
        file_seq: u64,
    },
    /// Out of the ring for good.
    Kept,
}

impl Slot {
    /// What becomes of it when nothing in it is needed.
    pub fn freed(&self) -> SlotState {
        if self.is_kept() { SlotState::Kept } else { SlotState::Free }
    }

    /// Recovery found damage: it is to leave the ring when it is free.
    pub fn is_kept(&self) -> bool {
        Ring::is_kept(&self.path)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Ring {
    pub slots: Vec<Slot>,
    /// The number of the next file that is made.
    pub next_number: u32,
}

impl Ring {
    pub fn slot_path(shard_folder: &str, number: u32) -> String {
        format!("{shard_folder}/journal-{number:02}")
    }

    pub fn kept_path(shard_folder: &str, number: u32) -> String {
        format!("{shard_folder}/journal-{number:02}{KEPT}")
    }

    /// The number of a file by its name, kept or not.
    pub fn number_of(name: &str) -> Option<u32> {
        name.strip_prefix("journal-")?.trim_end_matches(KEPT).parse().ok()
    }

    /// Whether a file of this name holds what recovery found damaged: it is never written or unlinked.
    pub fn is_kept(name: &str) -> bool {
        name.ends_with(KEPT)
    }

    /// Makes sure that `bytes` fit at `place`, moving on to a free file where they do not. False where none is free.
    pub fn reserve(&mut self, place: &mut Place, bytes: u64) -> bool {
        if let Some(slot) = self.live(place.file_seq)
            && place.offset + bytes <= slot.bytes
        {
            return true;
        }
        let Some(free) = self.slots.iter_mut().find(|slot| slot.state == SlotState::Free && slot.bytes >= bytes) else {
            return false;
        };
        *place = Place { file_seq: place.file_seq + 1, offset: 0 };
        free.state = SlotState::Live { file_seq: place.file_seq };
        true
    }

    /// Whether `bytes` fit at `place` with `spare` bytes left behind them, or in a free file.
    pub fn fits(&self, place: Place, bytes: u64, spare: u64) -> bool {
        self.live(place.file_seq).is_some_and(|slot| place.offset + bytes + spare <= slot.bytes)
            || self.slots.iter().any(|slot| slot.state == SlotState::Free && slot.bytes >= bytes + spare)
    }

    /// Bytes that can be written behind `place` before a file must be freed.
    pub fn room(&self, place: Place) -> u64 {
        let free = self.slots.iter().filter(|slot| slot.state == SlotState::Free).map(|slot| slot.bytes);
        self.live(place.file_seq).map_or(0, |slot| slot.bytes - place.offset) + free.sum::<u64>()
    }

    /// Bytes of its smallest file.
    pub fn file_bytes_min(&self) -> u64 {
        self.slots.iter().map(|slot| slot.bytes).min().unwrap_or(0)
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }

    pub fn live(&self, file_seq: u64) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.state == SlotState::Live { file_seq })
    }

    pub fn file_of(&self, file_seq: u64) -> FileId {
        self.live(file_seq).map(|slot| slot.file).expect("a frame is written to a live file")
    }

    /// Frees every file before `file_seq`: a checkpoint no longer needs them. Returns those that leave the ring.
    pub fn free_before(&mut self, file_seq: u64) -> Vec<FileId> {
        let mut gone = Vec::new();
        for slot in &mut self.slots {
            if matches!(slot.state, SlotState::Live { file_seq: used } if used < file_seq) {
                slot.state = slot.freed();
                if slot.state == SlotState::Kept {
                    gone.push(slot.file);
                }
            }
        }
        gone
    }

    /// Slots of the ring; those that have left it are not counted.
    pub fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.state != SlotState::Kept).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A durable checkpoint knows these slots, by their index, as they are now: they may be used.
    pub fn recorded(&mut self, slots: &[usize]) {
        for slot in slots {
            assert!(self.slots[*slot].state == SlotState::Filled, "slot {slot} is {:?}", self.slots[*slot].state);
            self.slots[*slot].state = SlotState::Free;
        }
    }

    /// Slots that only a checkpoint is missing for.
    pub fn filled(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|slot| self.slots[*slot].state == SlotState::Filled).collect()
    }

    pub fn free_slots(&self) -> usize {
        self.slots.iter().filter(|slot| slot.state == SlotState::Free).count()
    }

    pub fn live_slots(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.state, SlotState::Live { .. })).count()
    }
}
