//! A checkpoint, a sidecar, the metadata image: read or refused.
#![no_main]

use highwater::checkpoint::Checkpoint;
use highwater::ids::{Offset, PartitionKey};
use highwater::log::sidecar;
use highwater::metadata::{Image, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Checkpoint::decode(bytes);
    let _ = sidecar::decode(PartitionKey::METADATA, Offset(0), bytes);
    let _ = Image::decode(bytes);
    let _ = Record::decode(bytes);
});
