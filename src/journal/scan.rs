//! Reading the journal back: from the checkpoint to the last good frame, telling a torn tail from damage.
//!
//! Pure: it says what to read and is given the bytes. A bad frame with a later one behind it is damage (frame `n + 1` is
//! written only when `n` is durable); without, it is a torn tail, and that is the cut. Invariant: frames come out in
//! order, each number at most once, and only with their checksum and their place verified.

use super::Resume;
use super::frame::{Frame, FrameError, HEADER_BYTES, Header, Note, Place};
use crate::boundary::SECTOR;
use crate::memory::round_up;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::BytesMut;

/// How many reads into an older file the search for a later frame looks in any case.
const SEARCH_READS: u64 = 4;

/// What the scan wants or has found.
#[derive(Debug)]
pub enum Step {
    /// Read these bytes (whole sectors) and call [`Scanner::on_read`].
    Read {
        slot: usize,
        offset: u64,
        len: usize,
    },
    /// The next good frame; its bytes are [`Scanner::frame_bytes`].
    Frame(Frame),
    Damage(Damage),
    /// Nothing good behind this: where the journal goes on.
    End(Resume),
}

/// Frames that were durable once and are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub first_frame: u64,
    /// Exclusive: this frame proves the ones before it.
    pub proof: u64,
    pub slot: usize,
    pub offset: u64,
    /// The file sequences between where the first bad frame began and where the proof lies, both included.
    pub files: (u64, u64),
}

pub struct Scanner {
    journal: u64,
    slots: Vec<SlotView>,
    phase: Phase,
    place: Place,
    expected: u64,
    run: u32,
    notes_before: Vec<Note>,
    /// How much is read at once, where a frame is not longer.
    read_bytes: u64,
    window: Option<Window>,
    /// How much the last read was to bring.
    asked: usize,
    frame_at: usize,
    frame_len: usize,
    /// Directories of bad frames, as far as they or their successors can still be read.
    directories: BTreeMap<u64, Vec<Note>>,
}

/// A slot as the scan knows it.
#[derive(Clone, Debug)]
pub struct SlotView {
    pub bytes: u64,
    /// The file sequence whose frames it holds, as far as known: by the checkpoint, or by its first sector.
    pub file_seq: Option<u64>,
}

struct Window {
    slot: usize,
    start: u64,
    buf: BytesMut,
}

enum Phase {
    /// Reads each slot's first sector.
    Identify {
        slot: usize,
    },
    Follow,
    /// The frame is not `here`: perhaps it did not fit, and begins the next file.
    NextFile {
        here: Place,
    },
    /// Looks for a later frame that proves the expected one; ranges still to be read, the best proof so far.
    Search {
        ranges: Vec<(usize, u64, u64)>,
        proof: Option<Header>,
    },
}

impl Scanner {
    /// `from` is where the checkpoint says reading starts, and the number of the frame there. `read_bytes`, whole sectors,
    /// are read at once.
    pub fn new(journal: u64, run: u32, slots: Vec<SlotView>, from: Place, frame: u64, read_bytes: u64) -> Scanner {
        Scanner {
            journal,
            slots,
            phase: Phase::Identify { slot: 0 },
            place: from,
            expected: frame,
            run,
            notes_before: Vec::new(),
            read_bytes,
            window: None,
            asked: 0,
            frame_at: 0,
            frame_len: 0,
            directories: BTreeMap::new(),
        }
    }

    pub fn step(&mut self) -> Step {
        loop {
            let step = match &mut self.phase {
                Phase::Identify { slot } if *slot < self.slots.len() => {
                    Some(Step::Read { slot: *slot, offset: 0, len: SECTOR })
                }
                Phase::Identify { .. } => {
                    self.phase = Phase::Follow;
                    None
                }
                Phase::Follow | Phase::NextFile { .. } => self.follow(),
                Phase::Search { .. } => self.search(),
            };
            if let Some(step) = step {
                if let Step::Read { len, .. } = step {
                    self.asked = len;
                }
                return step;
            }
        }
    }

    /// The bytes that the last [`Step::Read`] asked for; fewer at the end of the file.
    pub fn on_read(&mut self, slot: usize, offset: u64, buf: BytesMut) {
        if let Phase::Identify { slot: identified } = &mut self.phase {
            assert!(*identified == slot && offset == 0, "slot {slot} at {offset} was not asked for");
            *identified += 1;
            if let Ok(header) = Header::decode(&buf, self.journal)
                && header.place.offset == 0
            {
                let file_seq = header.place.file_seq;
                let known = &mut self.slots[slot].file_seq;
                *known = Some(known.map_or(file_seq, |known| known.max(file_seq)));
            }
            return;
        }
        self.window = Some(Window { slot, start: offset, buf });
    }

    /// Bytes of the frame that [`Step::Frame`] gave last.
    pub fn frame_bytes(&self) -> &[u8] {
        let window = self.window.as_ref().expect("a frame was given");
        &window.buf[self.frame_at..self.frame_at + self.frame_len]
    }

    /// The highest run seen.
    pub fn run(&self) -> u32 {
        self.run
    }

    /// What a bad frame held, as far as that can still be read.
    pub fn directory(&self, frame: u64) -> Option<&[Note]> {
        self.directories.get(&frame).map(Vec::as_slice)
    }

    fn salvage(&mut self, frame: u64, notes: Option<Vec<Note>>) {
        if let Some(notes) = notes {
            self.directories.insert(frame, notes);
        }
    }

    /// Which slot holds a file sequence.
    pub fn slot_of(&self, file_seq: u64) -> Option<usize> {
        self.slots.iter().position(|slot| slot.file_seq == Some(file_seq))
    }

    /// Slots of which nothing is known.
    pub fn strangers(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.file_seq.is_none()).map(|(index, _)| index)
    }

    fn follow(&mut self) -> Option<Step> {
        match self.frame_at_place() {
            Looked::Wants(step) => Some(step),
            Looked::Good(frame) => {
                self.phase = Phase::Follow;
                Some(self.accept(frame))
            }
            Looked::Bad { header } => {
                let next = Place { file_seq: self.place.file_seq + 1, offset: 0 };
                match self.phase {
                    Phase::Follow if !header && self.slot_of(next.file_seq).is_some() => {
                        self.phase = Phase::NextFile { here: self.place };
                        self.place = next;
                    }
                    Phase::NextFile { here } => {
                        self.place = here;
                        self.begin_search();
                    }
                    Phase::Follow | Phase::Identify { .. } | Phase::Search { .. } => self.begin_search(),
                }
                None
            }
        }
    }

    fn accept(&mut self, frame: Frame) -> Step {
        self.run = self.run.max(frame.header.run);
        self.frame_len = frame.header.length as usize;
        self.place.offset += round_up(frame.header.length.into());
        self.expected = frame.header.frame + 1;
        self.notes_before.clone_from(&frame.notes);
        Step::Frame(frame)
    }

    fn begin_search(&mut self) {
        let mut ranges = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            let range = match slot.file_seq {
                Some(seq) if seq == self.place.file_seq => (index, self.place.offset + SECTOR as u64, slot.bytes),
                // An older file: a newer file's lost beginning could hide behind its first sectors.
                Some(seq) if seq < self.place.file_seq => (index, SECTOR as u64, slot.bytes),
                Some(_) | None => (index, 0, slot.bytes),
            };
            if range.1 < range.2 {
                ranges.push(range);
            }
        }
        self.phase = Phase::Search { ranges, proof: None };
    }

    fn search(&mut self) -> Option<Step> {
        let Phase::Search { ranges, proof } = &mut self.phase else { unreachable!("only while searching") };
        let Some(&(slot, start, end)) = ranges.last() else {
            let proof = proof.take();
            self.phase = Phase::Follow;
            return Some(self.verdict(proof));
        };
        let Some(window) = self.window.as_ref().filter(|window| window.slot == slot && window.start == start) else {
            return Some(Step::Read { slot, offset: start, len: self.read_bytes.min(end - start) as usize });
        };
        let mut stale = false;
        for (index, sector) in window.buf.chunks(SECTOR).enumerate() {
            let Ok(header) = Header::decode(sector, self.journal) else { continue };
            let here = start + (index * SECTOR) as u64;
            let in_place = header.place.offset == here && header.place.file_seq >= self.place.file_seq;
            // Frames are written one behind the other: where an older one still stands, nothing newer is behind it.
            stale |= header.place.offset == here
                && here >= SEARCH_READS * self.read_bytes
                && header.place.file_seq < self.place.file_seq
                && self.slots[slot].file_seq == Some(header.place.file_seq);
            let later = header.frame > self.expected && header.run >= self.run;
            if in_place && later && proof.is_none_or(|best| header.frame < best.frame) {
                *proof = Some(header);
                self.slots[slot].file_seq = Some(header.place.file_seq);
            }
        }
        let read = window.buf.len() as u64;
        let last = ranges.last_mut().expect("looked at above");
        last.1 += read;
        if read == 0 || last.1 >= last.2 || stale {
            ranges.pop();
        }
        self.window = None;
        None
    }

    fn verdict(&mut self, proof: Option<Header>) -> Step {
        let Some(proof) = proof else {
            let notes_before = core::mem::take(&mut self.notes_before);
            return Step::End(Resume { place: self.place, next_frame: self.expected, notes_before });
        };
        // Where the first good frame lies behind the next file's beginning, that is lost, whatever else is: the frame there
        // is none that comes after this place. Frames before it may have been too long for what is left of this file.
        let next = Place { file_seq: self.place.file_seq + 1, offset: 0 };
        let (lost_at, slot) = match self.slot_of(next.file_seq) {
            Some(slot) if proof.place > next => (next, slot),
            Some(_) | None => (self.place, self.slot_of(self.place.file_seq).unwrap_or(0)),
        };
        let damage = Damage {
            first_frame: self.expected,
            proof: proof.frame,
            slot,
            offset: lost_at.offset,
            files: (self.place.file_seq, proof.place.file_seq),
        };
        self.place = proof.place;
        self.expected = proof.frame;
        Step::Damage(damage)
    }

    /// Looks for the expected frame at the present place.
    fn frame_at_place(&mut self) -> Looked {
        let Some(slot) = self.slot_of(self.place.file_seq) else { return Looked::Bad { header: false } };
        let slot_bytes = self.slots[slot].bytes;
        if self.place.offset + SECTOR as u64 > slot_bytes {
            return Looked::Bad { header: false };
        }
        let Some(at) = self.covers(self.place) else { return Looked::Wants(self.read_from(slot, self.read_bytes)) };
        let window = self.window.as_ref().expect("it covers the place");
        let bytes = &window.buf[at..];
        let header = match Header::decode(bytes, self.journal) {
            Ok(header) if self.is_expected(&header) => header,
            Ok(_) | Err(FrameError::NoHeader | FrameError::Damaged) => return Looked::Bad { header: false },
        };
        let length = round_up(header.length.into());
        if length > slot_bytes - self.place.offset || (header.length as usize) < HEADER_BYTES {
            return Looked::Bad { header: false };
        }
        // The rest of it may be behind the window, unless all of it was asked for and the file ends before.
        if length > bytes.len() as u64 && (at > 0 || length > self.asked as u64) {
            return Looked::Wants(self.read_from(slot, length.max(self.read_bytes)));
        }
        match Frame::decode(header, bytes) {
            Ok(frame) => {
                self.frame_at = at;
                Looked::Good(frame)
            }
            Err(FrameError::NoHeader | FrameError::Damaged) => {
                let (own, before) = Frame::salvage(&header, bytes);
                self.salvage(header.frame, own);
                self.salvage(header.frame.wrapping_sub(1), before);
                Looked::Bad { header: true }
            }
        }
    }

    /// A header in its place, of the frame that must come next. Anything else there is stale.
    fn is_expected(&self, header: &Header) -> bool {
        header.place == self.place && header.frame == self.expected && header.run >= self.run
    }

    fn covers(&self, place: Place) -> Option<usize> {
        let slot = self.slot_of(place.file_seq)?;
        let window = self.window.as_ref().filter(|window| window.slot == slot)?;
        let at = usize::try_from(place.offset.checked_sub(window.start)?).ok()?;
        (at + SECTOR <= window.buf.len()).then_some(at)
    }

    fn read_from(&self, slot: usize, len: u64) -> Step {
        let len = len.min(self.slots[slot].bytes - self.place.offset);
        Step::Read { slot, offset: self.place.offset, len: len as usize }
    }
}

enum Looked {
    Wants(Step),
    Good(Frame),
    /// Not the expected frame, or not whole: then at least its header is.
    Bad {
        header: bool,
    },
}
