//! Everything that reads bytes which others wrote, one function each: what `fuzz` runs for long, and `hostile_bytes` with
//! golden bytes that were changed. Each must return: with a value or a refusal, never by a panic.
//!
//! Where a checksum stands before the content, it is also made right, so that what lies behind it is reached.

#![allow(dead_code)]

use highwater::api::{Route, route};
use highwater::boundary::Timestamp;
use highwater::checkpoint::Checkpoint;
use highwater::groups::record;
use highwater::ids::{Offset, PartitionKey};
use highwater::journal::frame::Place;
use highwater::journal::scan::{Scanner, SlotView, Step};
use highwater::log::sidecar;
use highwater::metadata::{Image, Record};
use highwater::records::{self, BatchHeader, Limits, header};
use highwater::wire::frame::{decode_header, decode_response_header};
use highwater::wire::{ApiKey, Message, Reader};

/// The journal whose frames the seeds hold.
pub const JOURNAL: u64 = 0x5eed;
pub const SECTOR: usize = 4096;
/// What the records of one batch may take.
const DECOMPRESSED_MAX: usize = 1 << 20;

pub type Target = fn(&[u8]);

/// By name: the fuzz targets.
pub const TARGETS: &[(&str, Target)] = &[
    ("frame", frame),
    ("request", request),
    ("batch", batch),
    ("records", check_records),
    ("journal", journal),
    ("segment", segment),
    ("index", index),
    ("checkpoint", checkpoint),
    ("group", group),
];

/// The header of a request, and of every response.
pub fn frame(bytes: &[u8]) {
    let _ = decode_header(&mut Reader::new(bytes));
    for key in 0..100 {
        let _ = decode_response_header(&mut Reader::new(bytes), ApiKey(key), (bytes.len() % 20) as i16);
    }
}

/// A whole request, of any API and version.
pub fn request(bytes: &[u8]) {
    fn decode<'a, M: Message<'a>>(reader: &mut Reader<'a>, version: i16) {
        let _ = M::decode(reader, version);
    }
    let mut reader = Reader::bounded(bytes, 100_000);
    let Ok(header) = decode_header(&mut reader) else { return };
    if let Route::Serve(_) = route(header.api_key, header.api_version) {
        let name = format!("{}Request", header.api_key);
        dispatch!(name.as_str(), decode(&mut reader, header.api_version));
    }
}

/// A batch as a producer sends it: looked at, and searched as if it were in the log.
pub fn batch(bytes: &[u8]) {
    let limits = Limits { batch_bytes_max: 1 << 20, zstd: true, transactional: false };
    let _ = records::check(bytes, &limits);
    let _ = records::find_timestamp(bytes, Timestamp(1_000), Offset(0), DECOMPRESSED_MAX);
    let _ = records::max_timestamp_offset(bytes, DECOMPRESSED_MAX);
}

/// What is inside of a batch whose header is right: strangers' compressed bytes.
pub fn check_records(bytes: &[u8]) {
    let mut whole = bytes.to_vec();
    if whole.len() >= header::HEADER_LEN {
        let length = whole.len() as i32 - 12;
        whole[8..12].copy_from_slice(&length.to_be_bytes());
        whole[16] = 2;
        header::set_checksum(&mut whole);
    }
    for batch in [bytes, &whole] {
        if let Ok(contents) = records::check_records(batch, DECOMPRESSED_MAX) {
            let header = BatchHeader::parse(batch).expect("its records were read");
            let inside = records::iter::record_bytes(batch, &header, DECOMPRESSED_MAX).expect("within the same bound");
            assert!(inside.len() <= DECOMPRESSED_MAX.max(batch.len()), "{} bytes inside", inside.len());
            let count = records::iter::Records::new(&header, &inside).filter(Result::is_ok).count();
            assert!(count == header.records_count as usize, "{count} of {}: {contents:?}", header.records_count);
        }
    }
}

/// The journal's ring, filled with anything: the scan ends, and what it calls good was verified.
pub fn journal(bytes: &[u8]) {
    let slot_bytes = bytes.len().div_ceil(2).next_multiple_of(SECTOR).max(SECTOR);
    let slot = SlotView { bytes: slot_bytes as u64, file_seq: None };
    let slots = vec![SlotView { file_seq: Some(1), ..slot.clone() }, slot];
    let mut scanner = Scanner::new(JOURNAL, 1, slots, Place { file_seq: 1, offset: 0 }, 1, 1 << 20);
    loop {
        match scanner.step() {
            Step::Read { slot, offset, len } => {
                let mut part = vec![0; len];
                let there = bytes.get(slot * slot_bytes + offset as usize..).unwrap_or_default();
                let count = there.len().min(len);
                part[..count].copy_from_slice(&there[..count]);
                scanner.on_read(slot, offset, part.as_slice().into());
            }
            Step::Frame(frame) => assert!(frame.header.length as usize <= scanner.frame_bytes().len()),
            Step::Damage(damage) => assert!(damage.first_frame < damage.proof),
            Step::End(_) => return,
        }
    }
}

/// A segment: batches one after another.
pub fn segment(bytes: &[u8]) {
    let mut read = 0;
    for batch in records::split(bytes) {
        let Ok((header, batch)) = batch else { break };
        assert!(header.size() == batch.len() && !batch.is_empty(), "{header:?} for {} bytes", batch.len());
        let _ = header::checksum(batch);
        let _ = records::find_timestamp(batch, Timestamp(1_000), Offset(0), DECOMPRESSED_MAX);
        read += batch.len();
    }
    assert!(read <= bytes.len(), "{read} of {}", bytes.len());
}

/// The table of a segment's chunks.
pub fn index(bytes: &[u8]) {
    let _ = sidecar::decode(PartitionKey::METADATA, Offset(0), bytes);
    let mut healed = bytes.to_vec();
    if healed.len() >= 44 {
        let length = (healed.len() - 44) as u32;
        healed[36..40].copy_from_slice(&length.to_le_bytes());
        let check = crc(&[&healed[..40], &healed[44..]]);
        healed[40..44].copy_from_slice(&check);
        let _ = sidecar::decode(PartitionKey::METADATA, Offset(0), &healed);
    }
}

/// A checkpoint, the metadata image and its records.
pub fn checkpoint(bytes: &[u8]) {
    let _ = Checkpoint::decode(bytes);
    let _ = Image::decode(bytes);
    let _ = Record::decode(bytes);
    let mut healed = bytes.to_vec();
    if healed.len() >= 36 {
        let length = (healed.len() - 36) as u64;
        healed[24..32].copy_from_slice(&length.to_le_bytes());
        let check = crc(&[&healed[4..32], &healed[36..]]);
        healed[32..36].copy_from_slice(&check);
        let _ = Checkpoint::decode(&healed);
    }
}

/// What a coordinator reads from its log, which other brokers may have written: a key, and behind it a value.
pub fn group(bytes: &[u8]) {
    let (key, value) = bytes.split_at(bytes.len().min(usize::from(bytes.first().copied().unwrap_or(0))));
    let _ = record::Record::decode(key, Some(value));
    let _ = record::Record::decode(bytes, None);
    let _ = record::decode_group(bytes).map(|group| format!("{group:?}"));
    let _ = record::subscribed_topics(bytes);
}

fn crc(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_le_bytes()
}
