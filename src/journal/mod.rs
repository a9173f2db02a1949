//! The journal: what makes everything durable. One per shard; one commit in flight, the next one filling meanwhile.
//!
//! It fills frames and says what to write; the shard performs the write and tells it when it is durable. Invariants: frame
//! `n + 1` is written only when frame `n` is durable, so a later frame proves every earlier one; a written sector is never
//! written again before its file has been freed by a checkpoint.

mod filler;
pub mod frame;
pub mod ring;
pub mod scan;
pub mod walk;

use crate::boundary::{FileId, SECTOR};
use crate::ids::{Epoch, Offset, PartitionKey};
use crate::memory::{ArenaPool, round_up};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use filler::{Filler, Spot};
use frame::{HEADER_BYTES, Header, Note, Place, Placement, encode_notes};
use ring::Ring;

/// No line of a directory but a refusal takes more.
const NOTE_BYTES_MAX: usize = 64;
/// A placement in its footer takes no more.
const PLACEMENT_BYTES_MAX: usize = 20;
/// Bytes of the last file that batches leave to small entries: a share of a file, but no less and no more than this.
const SPARE_MIN: u64 = 32 << 10;
const SPARE_MAX: u64 = 512 << 10;
const SPARES_PER_FILE: u64 = 8;
/// Of them, what small entries leave to what recovery finds damaged, which cannot wait.
const DAMAGE_SPARE: u64 = 16 << 10;

/// A batch to be journalled.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub key: PartitionKey,
    /// The owner's own name for the partition, given back with the commit.
    pub slot: u32,
    pub epoch: Epoch,
    pub base: Offset,
    pub end: Offset,
    pub max_timestamp: i64,
}

/// A batch in a frame that is complete: its bytes are shared from here on.
#[derive(Clone, Debug)]
pub struct Committed {
    pub entry: Entry,
    pub bytes: Bytes,
    /// CRC-32 (ISO) of the bytes.
    pub check: u32,
}

/// A partition's line in the open frame's directory, remembered by the partition so that its next batch joins it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoteHint {
    frame: u64,
    note: u32,
}

/// Where a journal goes on.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    pub place: Place,
    pub next_frame: u64,
    pub notes_before: Vec<Note>,
}

/// A frame on its way to the disk.
#[derive(Debug)]
pub struct Sealed {
    pub frame: u64,
    pub place: Place,
    pub file: FileId,
    pub notes: Vec<Note>,
    pub batches: Vec<Committed>,
    /// Whole sectors, to be written one after another.
    pub chunks: Vec<Bytes>,
    pub bytes: u64,
}

pub struct Journal {
    id: u64,
    run: u32,
    pub ring: Ring,
    filler: Filler,
    notes: Vec<Note>,
    placed: Vec<Placed>,
    /// Where the next frame goes, and its number.
    place: Place,
    next_frame: u64,
    directory_before: Vec<u8>,
    commit_bytes_max: usize,
    /// What batches leave of the last file.
    spare_bytes: u64,
    in_flight: bool,
}

struct Placed {
    entry: Entry,
    note: u32,
    spot: Spot,
    len: u32,
    check: u32,
}

impl Journal {
    pub fn new(id: u64, run: u32, ring: Ring, pool: ArenaPool, commit_bytes_max: usize, resume: Resume) -> Journal {
        let spare_bytes = (ring.file_bytes_min() / SPARES_PER_FILE).clamp(SPARE_MIN, SPARE_MAX);
        Journal {
            id,
            run,
            ring,
            filler: Filler::new(pool),
            notes: Vec::new(),
            placed: Vec::new(),
            place: resume.place,
            next_frame: resume.next_frame,
            directory_before: encode_notes(&resume.notes_before),
            commit_bytes_max,
            spare_bytes,
            in_flight: false,
        }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn run(&self) -> u32 {
        self.run
    }

    /// Whether a batch of `len` bytes can be taken now. If not: wait for a commit, for memory, or for a checkpoint.
    pub fn has_room(&mut self, len: usize) -> bool {
        let filled = self.filler.filled();
        (filled == 0 || filled + len <= self.commit_bytes_max)
            && self.ring_has_room(len)
            && self.filler.has_room(len + HEADER_BYTES)
    }

    /// Whether the open frame, with `len` bytes more, can be written without a checkpoint freeing a file first. What is
    /// taken must never wait for a checkpoint: the checkpoint waits for what is taken.
    pub fn ring_has_room(&self, len: usize) -> bool {
        let directory = (self.notes.len() + 1) * NOTE_BYTES_MAX;
        let bytes = self.sealed_bytes_max(directory) + (len + PLACEMENT_BYTES_MAX) as u64;
        self.ring.fits(self.place, bytes, self.spare_bytes)
    }

    /// Whether the open frame can take another small entry from what batches leave: an election's vote is followed by a frame
    /// with its epoch's start, a deletion by one that proves it.
    pub fn ring_has_room_for_notes(&self) -> bool {
        self.ring_has_room_for_deletion(0)
    }

    /// Whether the open frame can take, from what batches leave, a decision of `len` bytes that makes room on a full disk.
    pub fn ring_has_room_for_deletion(&self, len: usize) -> bool {
        let directory = (self.notes.len() + 1) * NOTE_BYTES_MAX;
        self.ring.fits(self.place, 2 * self.sealed_bytes_max(directory) + len as u64, DAMAGE_SPARE)
    }

    pub fn open_is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// How many batches the open frame has.
    pub fn open_batches(&self) -> usize {
        self.placed.len()
    }

    /// How many small entries and partitions the open frame has.
    pub fn open_notes(&self) -> usize {
        self.notes.len()
    }

    /// Whether memory for batches of `len` bytes in all is left, with a little to spare.
    pub fn has_memory(&mut self, len: usize) -> bool {
        self.filler.has_memory(len + HEADER_BYTES)
    }

    /// Places a batch. `patch` writes what only the log knows (base offset, epoch, time) into the copy.
    pub fn append_batch(&mut self, entry: Entry, bytes: &[u8], hint: &mut NoteHint, patch: impl FnOnce(&mut [u8])) {
        self.begin_frame();
        let note = self.note_batch(&entry, hint);
        let (spot, copy) = self.filler.put(bytes);
        patch(copy);
        let check = crc32fast::hash(copy);
        self.placed.push(Placed { entry, note, spot, len: bytes.len() as u32, check });
    }

    /// Adds a small entry. Always possible: notes are bounded by what the shard does between two commits.
    pub fn append_note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Something waits to be committed, and nothing is in flight.
    pub fn wants_commit(&self) -> bool {
        !self.in_flight && !self.notes.is_empty()
    }

    pub fn is_idle(&self) -> bool {
        !self.in_flight && self.notes.is_empty()
    }

    /// The number of the frame that is being filled.
    pub fn open_frame(&self) -> u64 {
        self.next_frame
    }

    pub fn place(&self) -> Place {
        self.place
    }

    pub fn memory_bytes(&self) -> usize {
        self.filler.memory_bytes()
    }

    /// Frees arenas that hold nothing.
    pub fn release_memory(&mut self) {
        self.filler.release_memory();
    }

    /// Completes the open frame and hands it out to be written, or `None` where the ring has no file free for it.
    /// An empty frame is a seal: it proves the one before it.
    pub fn seal(&mut self) -> Option<Sealed> {
        assert!(!self.in_flight, "frame {} while the one before it is in flight", self.next_frame);
        let directory = encode_notes(&self.notes);
        let bytes_max = self.sealed_bytes_max(directory.len());
        if !self.ring.reserve(&mut self.place, bytes_max) {
            return None;
        }
        self.begin_frame();
        let starts = self.filler.chunk_starts();
        let placements: Vec<Placement> = self.placed.iter().map(|placed| placed.placement(&starts)).collect();
        let placements = postcard::to_allocvec(&placements).expect("placements can be written");
        let footer = [directory.as_slice(), &self.directory_before, &placements];
        let (mut chunks, length) = self.filler.finish(&footer);
        let header = self.header(length, footer);
        chunks[0][..HEADER_BYTES].copy_from_slice(&header.encode());
        let chunks: Vec<Bytes> = chunks.into_iter().map(BytesMut::freeze).collect();
        let batches = self.placed.drain(..).map(|placed| placed.committed(&chunks)).collect();
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        assert!(bytes <= bytes_max, "a frame of {bytes} bytes where {bytes_max} were reserved");
        let sealed = Sealed {
            frame: self.next_frame,
            place: self.place,
            file: self.ring.file_of(self.place.file_seq),
            notes: core::mem::take(&mut self.notes),
            batches,
            chunks,
            bytes,
        };
        self.place.offset += bytes;
        self.next_frame += 1;
        self.directory_before = directory;
        self.in_flight = true;
        Some(sealed)
    }

    /// The frame in flight is durable.
    pub fn on_durable(&mut self) {
        assert!(self.in_flight, "no frame was in flight");
        self.in_flight = false;
    }

    fn begin_frame(&mut self) {
        if self.filler.filled() == 0 {
            self.filler.put(&[0; HEADER_BYTES]);
        }
    }

    fn note_batch(&mut self, entry: &Entry, hint: &mut NoteHint) -> u32 {
        if hint.frame == self.next_frame
            && let Some(Note::Batches { key, epoch, end, .. }) = self.notes.get_mut(hint.note as usize)
            && (*key, *epoch) == (entry.key, entry.epoch)
        {
            assert!(*end == entry.base, "{}: a batch at {} after {end}", entry.key, entry.base);
            *end = entry.end;
            return hint.note;
        }
        let note = self.notes.len() as u32;
        self.notes.push(Note::Batches { key: entry.key, epoch: entry.epoch, first: entry.base, end: entry.end });
        *hint = NoteHint { frame: self.next_frame, note };
        note
    }

    /// An upper bound: placements and a footer may begin a chunk of its own.
    fn sealed_bytes_max(&self, directory_bytes: usize) -> u64 {
        let footer = directory_bytes + self.directory_before.len() + self.placed.len() * PLACEMENT_BYTES_MAX + 10;
        round_up((self.filler.filled().max(HEADER_BYTES) + footer) as u64) + 2 * SECTOR as u64
    }

    fn header(&self, length: u32, footer: [&[u8]; 3]) -> Header {
        let [directory, before, placements] = footer;
        let mut header = Header {
            journal: self.id,
            run: self.run,
            place: self.place,
            frame: self.next_frame,
            durable_to: self.next_frame,
            length,
            directory_bytes: directory.len() as u32,
            before_bytes: before.len() as u32,
            placements_bytes: placements.len() as u32,
            footer_check: 0,
            directory_check: crc32fast::hash(directory),
            before_check: crc32fast::hash(before),
        };
        let mut hasher = header.footer_hasher();
        footer.iter().for_each(|part| hasher.update(part));
        header.footer_check = hasher.finalize();
        header
    }
}

impl Placed {
    fn placement(&self, chunk_starts: &[u32]) -> Placement {
        let start = chunk_starts[self.spot.chunk as usize] + self.spot.start;
        Placement { note: self.note, start, len: self.len, check: self.check }
    }

    fn committed(self, chunks: &[Bytes]) -> Committed {
        let start = self.spot.start as usize;
        let bytes = chunks[self.spot.chunk as usize].slice(start..start + self.len as usize);
        Committed { entry: self.entry, bytes, check: self.check }
    }
}
