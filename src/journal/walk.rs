//! A journal file read by itself, offline: every frame that begins in it, and what is wrong with them.
//!
//! The scan of a start follows frames from the checkpoint on; this looks at every sector, also of what no start needs any
//! more. Pure: bytes in, findings out. Invariant: a frame is told whole only with its checksums and its place verified.

use super::frame::{Frame, Header};
use crate::boundary::SECTOR;
use crate::memory::round_up;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A frame's header in its place, and the frame where all of it is as it was written.
#[derive(Clone, Debug)]
pub struct Seen {
    pub offset: u64,
    pub header: Header,
    pub frame: Option<Frame>,
}

/// Something in a file that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which of the files that were looked at.
    pub file: usize,
    pub offset: u64,
    pub reason: String,
}

/// What is known of a journal from its checkpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// Frames up to this one were durable.
    pub durable: u64,
}

/// The journal that a file belongs to, by the first header in it. `None`: nothing was ever written to it.
pub fn journal_of(bytes: &[u8]) -> Option<u64> {
    bytes.chunks(SECTOR).find_map(|sector| {
        let id = u64::from_le_bytes(*sector.get(8..)?.first_chunk()?);
        Header::decode(sector, id).is_ok().then_some(id)
    })
}

/// Every frame that begins in this file, whole or not.
pub fn walk(bytes: &[u8], journal: u64) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= SECTOR) {
        let header = Header::decode(rest, journal).ok().filter(|header| header.place.offset == at as u64);
        let Some(header) = header else {
            at += SECTOR;
            continue;
        };
        let frame = Frame::decode(header, rest).ok();
        let len = if frame.is_some() { round_up(header.length.into()) as usize } else { SECTOR };
        seen.push(Seen { offset: at as u64, header, frame });
        at += len;
    }
    seen
}

/// What is wrong in the files of one journal, each as [`walk`] saw it, with the sequence that the checkpoint knows it by.
///
/// A frame that is not whole is a torn tail, not damage, where nothing proves that it was durable: neither the checkpoint nor
/// a later frame; and it is left over where its number was written again by a later run. A last frame that is gone altogether
/// cannot be missed.
pub fn faults(files: &[(Vec<Seen>, Option<u64>)], expected: &Expected) -> Vec<Fault> {
    let mut runs: BTreeMap<u64, u32> = BTreeMap::new();
    let mut proven = expected.durable;
    for seen in files.iter().flat_map(|(seen, _)| seen) {
        let run = runs.entry(seen.header.frame).or_default();
        *run = (*run).max(seen.header.run);
        // What was durable when this one was written.
        proven = proven.max(seen.header.durable_to.saturating_sub(1));
    }
    let mut faults = Vec::new();
    for (file, (all, known)) in files.iter().enumerate() {
        if let Some(first) = all.first().filter(|first| first.offset > 0 && *known == Some(first.header.place.file_seq))
        {
            let reason = format!("frames before {} are not there", first.header.frame);
            faults.push(Fault { file, offset: 0, reason });
        }
        for (index, seen) in all.iter().enumerate() {
            let number = seen.header.frame;
            let Some(frame) = &seen.frame else {
                if number <= proven && runs[&number] == seen.header.run {
                    let reason = format!("frame {number} is not what was written");
                    faults.push(Fault { file, offset: seen.offset, reason });
                }
                continue;
            };
            let Some(next) = all.get(index + 1) else { continue };
            let same = next.header.place.file_seq == seen.header.place.file_seq;
            if same && next.header.frame > number + 1 {
                let offset = seen.offset + round_up(frame.header.length.into());
                let reason = format!("frames {} to {} are not there", number + 1, next.header.frame - 1);
                faults.push(Fault { file, offset, reason });
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::{HEADER_BYTES, Place};
    use alloc::vec;

    /// Empty frames of one sector, `from` on, of file `file_seq`.
    fn file(sectors: usize, frames: &[(u64, usize, u32)], file_seq: u64) -> Vec<u8> {
        let mut bytes = vec![0; sectors * SECTOR];
        for (frame, sector, run) in frames {
            let mut header = Header {
                journal: 5,
                run: *run,
                place: Place { file_seq, offset: (sector * SECTOR) as u64 },
                frame: *frame,
                durable_to: *frame,
                length: HEADER_BYTES as u32 + 3,
                directory_bytes: 1,
                before_bytes: 1,
                placements_bytes: 1,
                footer_check: 0,
                directory_check: crc32fast::hash(&[0]),
                before_check: crc32fast::hash(&[0]),
            };
            let mut hasher = header.footer_hasher();
            hasher.update(&[0; 3]);
            header.footer_check = hasher.finalize();
            bytes[sector * SECTOR..][..HEADER_BYTES].copy_from_slice(&header.encode());
        }
        bytes
    }

    fn found(bytes: &[u8], durable: u64) -> Vec<Fault> {
        faults(&[(walk(bytes, 5), Some(0))], &Expected { durable })
    }

    #[test]
    fn whole_frames_are_seen_and_nothing_is_wrong_with_them() {
        let bytes = file(6, &[(7, 0, 1), (8, 1, 1), (9, 2, 2)], 0);
        assert_eq!(journal_of(&bytes), Some(5));
        assert_eq!(walk(&bytes, 5).iter().map(|seen| seen.header.frame).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(found(&bytes, 9), []);
        assert_eq!(journal_of(&[0; 2 * SECTOR]), None);
    }

    #[test]
    fn every_flipped_bit_of_a_durable_frame_is_found_where_it_is() {
        let good = file(3, &[(7, 0, 1), (8, 1, 1), (9, 2, 1)], 0);
        for frame in 0..2 {
            for bit in 0..(HEADER_BYTES + 3) * 8 {
                let mut bad = good.clone();
                bad[frame * SECTOR + bit / 8] ^= 1 << (bit % 8);
                if (12 * 8..16 * 8).contains(&bit) || bit / 8 >= 92 && bit / 8 < HEADER_BYTES {
                    // Zeros behind the header's checksum belong to nothing.
                    continue;
                }
                let faults = found(&bad, 9);
                assert!(
                    faults.iter().any(|fault| fault.offset == (frame * SECTOR) as u64),
                    "bit {bit} of frame {frame}: {faults:?}"
                );
            }
        }
    }

    #[test]
    fn a_torn_tail_and_what_was_written_again_are_no_damage() {
        let mut torn = file(4, &[(7, 0, 1), (8, 1, 1)], 0);
        torn[SECTOR + HEADER_BYTES] ^= 1;
        assert_eq!(found(&torn, 7), [], "nothing proves frame 8");
        assert_eq!(found(&torn, 8).len(), 1, "the checkpoint does");
        let again = walk(&file(4, &[(8, 0, 2), (9, 1, 2)], 1), 5);
        assert_eq!(faults(&[(walk(&torn, 5), Some(0)), (again, Some(1))], &Expected { durable: 9 }), []);
        let stale = file(4, &[(40, 0, 3), (12, 1, 1), (13, 2, 1)], 0);
        assert_eq!(found(&stale, 40), [], "older frames behind the newest");
    }
}
