//! The journal read back: what is a torn tail, what is damage, and what is not believed.

use bytes::Bytes;
use highwater::boundary::FileId;
use highwater::ids::{Epoch, Offset, PartitionKey, TopicId};
use highwater::journal::frame::{Note, Place};
use highwater::journal::ring::{Ring, Slot, SlotState};
use highwater::journal::scan::{Scanner, SlotView, Step};
use highwater::journal::{Entry, Journal, NoteHint, Resume};
use highwater::memory::ArenaPool;

const ID: u64 = 0x5eed;
const FILE_BYTES: u64 = 64 << 10;
const SECTOR: usize = 4096;

/// A ring of files in memory, and a journal that writes them.
struct World {
    journal: Journal,
    files: Vec<Vec<u8>>,
    /// Where each frame lies: slot, offset, length.
    frames: Vec<(usize, usize, usize)>,
    hint: NoteHint,
    next: i64,
    /// How much a scan reads at once.
    read_bytes: u64,
}

/// What a scan found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    frames: Vec<u64>,
    /// First lost frame, and the frame that proves it.
    damage: Vec<(u64, u64)>,
    /// Slot and offset of the last damage.
    damaged_at: Option<(usize, u64)>,
    next_frame: u64,
    place: Place,
}

fn key() -> PartitionKey {
    PartitionKey { topic: TopicId([7; 16]), index: 3 }
}

impl World {
    fn new(files: usize) -> World {
        let slot = |index: usize| Slot {
            number: index as u32,
            path: format!("journal-{index:02}"),
            file: FileId(index as u32),
            bytes: FILE_BYTES,
            state: if index == 0 { SlotState::Live { file_seq: 1 } } else { SlotState::Free },
        };
        let ring = Ring { slots: (0..files).map(slot).collect(), next_number: files as u32 };
        let resume = Resume { place: Place { file_seq: 1, offset: 0 }, next_frame: 1, notes_before: Vec::new() };
        let pool = ArenaPool::new(16 << 10, 1 << 20);
        World {
            journal: Journal::new(ID, 1, ring, pool, 32 << 10, resume),
            files: vec![vec![0; FILE_BYTES as usize]; files],
            frames: Vec::new(),
            hint: NoteHint::default(),
            next: 0,
            read_bytes: 1 << 20,
        }
    }

    /// Commits one frame with a batch of `len` bytes.
    fn commit(&mut self, len: usize) -> &mut World {
        let (base, end) = (Offset(self.next), Offset(self.next + 1));
        self.next += 1;
        let entry = Entry { key: key(), slot: 0, epoch: Epoch(1), base, end, max_timestamp: 0 };
        let bytes = vec![self.next as u8; len];
        self.journal.append_batch(entry, &bytes, &mut self.hint, |_| {});
        self.write()
    }

    fn write(&mut self) -> &mut World {
        let sealed = self.journal.seal().expect("the ring has room");
        let file = sealed.file.0 as usize;
        let mut at = sealed.place.offset as usize;
        self.frames.push((file, at, sealed.bytes as usize));
        for chunk in &sealed.chunks {
            assert_eq!(chunk.len() % SECTOR, 0);
            self.files[file][at..at + chunk.len()].copy_from_slice(chunk);
            at += chunk.len();
        }
        self.journal.on_durable();
        self
    }

    fn scan(&self) -> Found {
        self.scan_from(Place { file_seq: 1, offset: 0 }, 1)
    }

    fn scan_from(&self, place: Place, frame: u64) -> Found {
        self.scan_known(place, frame, &[])
    }

    /// `known`: slots that a checkpoint knows by what was in them before.
    fn scan_known(&self, place: Place, frame: u64, known: &[(usize, u64)]) -> Found {
        let live = |slot: &Slot| match slot.state {
            SlotState::Live { file_seq } => Some(file_seq),
            SlotState::Kept | SlotState::Free | SlotState::Filled | SlotState::Filling => None,
        };
        let view = |slot: &Slot| SlotView { bytes: slot.bytes, file_seq: live(slot) };
        let mut slots: Vec<SlotView> = self.journal.ring.slots.iter().map(view).collect();
        known.iter().for_each(|(slot, file_seq)| slots[*slot].file_seq = Some(*file_seq));
        let mut scanner = Scanner::new(ID, 1, slots, place, frame, self.read_bytes);
        let mut found = Found::default();
        loop {
            match scanner.step() {
                Step::Read { slot, offset, len } => {
                    let from = offset as usize;
                    scanner.on_read(slot, offset, Bytes::copy_from_slice(&self.files[slot][from..from + len]).into());
                }
                Step::Frame(frame) => {
                    for placed in &frame.placements {
                        let batch = &scanner.frame_bytes()[placed.start as usize..][..placed.len as usize];
                        assert!(batch.iter().all(|byte| *byte == batch[0]), "a batch came back as something else");
                    }
                    found.frames.push(frame.header.frame);
                }
                Step::Damage(damage) => {
                    found.damage.push((damage.first_frame, damage.proof));
                    found.damaged_at = Some((damage.slot, damage.offset));
                }
                Step::End(resume) => {
                    (found.next_frame, found.place) = (resume.next_frame, resume.place);
                    return found;
                }
            }
        }
    }

    /// Flips a bit of a frame, `at` bytes into it.
    fn flip(&mut self, frame: usize, at: usize) {
        let (file, start, len) = self.frames[frame - 1];
        assert!(at < len);
        self.files[file][start + at] ^= 0x10;
    }
}

#[test]
fn every_frame_comes_back_across_files() {
    let mut world = World::new(4);
    for len in [100, 5_000, 20_000, 1, 30_000, 4_096, 12_000, 9_000, 20_000] {
        world.commit(len);
    }
    assert!(world.frames.iter().any(|(file, _, _)| *file > 0), "the frames fill more than one file");
    let found = world.scan();
    assert_eq!(found.frames, (1..=9).collect::<Vec<u64>>());
    assert_eq!((found.damage, found.next_frame, found.place), (vec![], 10, world.journal.place()));
}

#[test]
fn a_frame_that_is_longer_than_a_read_comes_back_wherever_the_read_begins() {
    for sectors in 1..12 {
        let mut world = World::new(8);
        world.read_bytes = sectors * SECTOR as u64;
        for len in [30_000, 100, 30_000, 20_000, 1, 30_000, 4_096, 12_000, 9_000, 20_000] {
            world.commit(len);
        }
        let found = world.scan();
        assert_eq!(found.frames, (1..=10).collect::<Vec<u64>>(), "{sectors} sectors at once");
        assert_eq!((found.damage, found.next_frame), (vec![], 11));
    }
}

#[test]
fn a_torn_tail_is_cut() {
    for at in [0, 60, 200, 5_000] {
        let mut world = World::new(3);
        world.commit(300).commit(9_000);
        world.flip(2, at);
        let found = world.scan();
        assert_eq!((found.frames, found.damage, found.next_frame), (vec![1], vec![], 2), "flipped at {at}");
    }
}

#[test]
fn a_bad_frame_with_a_later_one_behind_it_is_damage() {
    for at in [0, 60, 200, 5_000] {
        let mut world = World::new(3);
        world.commit(300).commit(9_000).commit(500);
        world.flip(2, at);
        let found = world.scan();
        assert_eq!(found.damaged_at, Some((0, world.frames[1].1 as u64)), "flipped at {at}");
        assert_eq!((found.frames, found.damage, found.next_frame), (vec![1, 3], vec![(2, 3)], 4), "flipped at {at}");
    }
}

#[test]
fn a_seal_proves_the_last_frame() {
    let mut world = World::new(3);
    world.commit(300).commit(700).write();
    world.flip(2, 120);
    assert_eq!(world.scan().damage, vec![(2, 3)]);
}

#[test]
fn the_lost_beginning_of_a_file_is_damage() {
    let mut world = World::new(3);
    while world.frames.last().is_none_or(|(file, _, _)| *file == 0) {
        world.commit(15_000);
    }
    let first = world.frames.len();
    world.commit(200);
    world.flip(first, 10);
    let found = world.scan();
    assert_eq!(found.damage, vec![(first as u64, first as u64 + 1)]);
    assert_eq!(found.damaged_at, Some((1, 0)), "it is in the file that it begins");
    assert_eq!(found.frames.last(), Some(&(first as u64 + 1)));
    // So is it with more frames lost behind it, of which none says where the first of them began.
    world.commit(200);
    world.flip(first + 1, 10);
    let found = world.scan();
    assert_eq!(found.damage, vec![(first as u64, first as u64 + 2)]);
    assert_eq!(found.damaged_at, Some((1, 0)));
    // A frame that is lost at the end of a file, where the next one begins as it should.
    let mut world = World::new(3);
    while world.frames.last().is_none_or(|(file, _, _)| *file == 0) {
        world.commit(15_000);
    }
    let last = world.frames.len() - 1;
    world.flip(last, 10);
    let found = world.scan();
    assert_eq!(found.damage, vec![(last as u64, last as u64 + 1)]);
    assert_eq!(found.damaged_at, Some((0, world.frames[last - 1].1 as u64)));
}

/// A file that the last checkpoint knows by its older frames begins with a long frame now, which is lost.
#[test]
fn the_lost_beginning_of_a_recycled_file_is_damage_however_long() {
    for (long, reads) in [(30_000, 1), (30_000, 16), (50_000, 1), (500, 1)] {
        let mut world = World::new(2);
        world.read_bytes = reads * SECTOR as u64;
        while world.journal.place().file_seq < 3 {
            let last = world.frames.last().copied();
            world.commit(if last.is_some_and(|(file, at, _)| file == 1 && at > 30_000) { long } else { 2_000 });
            let place = world.journal.place();
            world.journal.ring.free_before(place.file_seq);
        }
        let lost = world.frames.len();
        assert_eq!((world.frames[lost - 1].0, world.frames[lost - 1].1), (0, 0), "the first file once more");
        world.commit(200);
        world.flip(lost, 10);
        let (_, offset, len) = world.frames[lost - 2];
        let place = Place { file_seq: 2, offset: (offset + len) as u64 };
        let found = world.scan_known(place, lost as u64, &[(0, 1), (1, 2)]);
        let lost = lost as u64;
        assert_eq!(
            (found.frames, found.damage),
            (vec![lost + 1], vec![(lost, lost + 1)]),
            "{long} bytes, {reads} reads"
        );
    }
}

#[test]
fn the_directory_of_a_lost_frame_is_in_the_next_one() {
    let mut world = World::new(3);
    world.journal.append_note(Note::LogStart { key: key(), start: Offset(5) });
    world.write().commit(100);
    world.flip(1, 0);
    let slots = world.journal.ring.slots.iter().map(|slot| SlotView { bytes: slot.bytes, file_seq: None });
    let mut scanner = Scanner::new(ID, 1, slots.collect(), Place { file_seq: 1, offset: 0 }, 1, 1 << 20);
    let frame = loop {
        match scanner.step() {
            Step::Read { slot, offset, len } => {
                let from = offset as usize;
                scanner.on_read(slot, offset, Bytes::copy_from_slice(&world.files[slot][from..from + len]).into());
            }
            Step::Frame(frame) => break frame,
            Step::Damage(_) => {}
            Step::End(_) => panic!("the second frame is good"),
        }
    };
    assert_eq!(frame.notes_before, vec![Note::LogStart { key: key(), start: Offset(5) }]);
}

#[test]
fn stale_frames_of_a_recycled_file_are_not_believed() {
    let mut world = World::new(2);
    while world.journal.place().file_seq < 3 {
        world.commit(15_000);
        let place = world.journal.place();
        world.journal.ring.free_before(place.file_seq);
    }
    // The third file is the first one again: behind its first frame lie the old ones, whole and in their places.
    let (file, offset, len) = *world.frames.last().expect("frames were written");
    assert_eq!((file, offset), (0, 0));
    let next = world.frames.len() as u64 + 1;
    let found = world.scan_from(Place { file_seq: 3, offset: 0 }, next - 1);
    let place = Place { file_seq: 3, offset: len as u64 };
    assert_eq!((found.frames, found.damage, found.next_frame, found.place), (vec![next - 1], vec![], next, place));
}

#[test]
fn an_older_runs_frame_behind_the_cut_proves_nothing() {
    let mut world = World::new(3);
    world.commit(300).commit(300).commit(300);
    let (_, start, len) = world.frames[1];
    let old = world.files[0].clone();
    // A second run cut the journal after frame 1 and has written one frame of its own; frame 3 of the first run is there.
    let resume = Resume { place: Place { file_seq: 1, offset: start as u64 }, next_frame: 2, notes_before: Vec::new() };
    let ring = world.journal.ring.clone();
    world.journal = Journal::new(ID, 2, ring, ArenaPool::new(16 << 10, 1 << 20), 32 << 10, resume);
    world.hint = NoteHint::default();
    world.commit(300);
    assert_eq!(world.files[0][start + len..], old[start + len..]);
    let found = world.scan();
    assert_eq!((found.frames, found.damage, found.next_frame), (vec![1, 2], vec![], 3));
}
