//! The journal's ring, filled with anything: the scan ends, and what it calls good was verified.
#![no_main]

use bytes_of::read;
use highwater::journal::frame::Place;
use highwater::journal::scan::{Scanner, SlotView, Step};
use libfuzzer_sys::fuzz_target;

/// The journal whose frames the corpus holds.
const JOURNAL: u64 = 0x5eed;
const SECTOR: usize = 4096;

mod bytes_of {
    /// `len` bytes of the input from `offset`, zeros behind its end.
    pub fn read(bytes: &[u8], offset: usize, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        let part = bytes.get(offset..).unwrap_or_default();
        let count = part.len().min(len);
        out[..count].copy_from_slice(&part[..count]);
        out
    }
}

fuzz_target!(|bytes: &[u8]| {
    let slot_bytes = bytes.len().div_ceil(2).next_multiple_of(SECTOR).max(SECTOR);
    let slot = SlotView { bytes: slot_bytes as u64, file_seq: None };
    let slots = vec![SlotView { file_seq: Some(1), ..slot.clone() }, slot];
    let mut scanner = Scanner::new(JOURNAL, 1, slots, Place { file_seq: 1, offset: 0 }, 1);
    loop {
        match scanner.step() {
            Step::Read { slot, offset, len } => {
                let part = read(bytes, slot * slot_bytes + offset as usize, len);
                scanner.on_read(slot, offset, part.as_slice().into());
            }
            Step::Frame(frame) => assert!(frame.header.length as usize <= scanner.frame_bytes().len()),
            Step::Damage(damage) => assert!(damage.first_frame < damage.proof),
            Step::End(_) => return,
        }
    }
});
