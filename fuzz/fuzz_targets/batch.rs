//! A record batch: checked, its records read in every codec, searched by time.
#![no_main]

use highwater::boundary::Timestamp;
use highwater::ids::Offset;
use highwater::records::{self, Limits};
use libfuzzer_sys::fuzz_target;

const DECOMPRESSED_MAX: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { batch_bytes_max: 1 << 20, zstd: true, transactional: false };
    let _ = records::check(bytes, &limits);
    let _ = records::check_records(bytes, DECOMPRESSED_MAX);
    let _ = records::find_timestamp(bytes, Timestamp(1_000), Offset(0), DECOMPRESSED_MAX);
    let _ = records::max_timestamp_offset(bytes, DECOMPRESSED_MAX);
    for batch in records::split(bytes) {
        if batch.is_err() {
            break;
        }
    }
});
