//! Hostile bytes: whatever a client sends is decoded or refused, without a panic, in memory bounded by what it sent.
//!
//! One test, so that the counting allocator counts nothing else.

use highwater::wire::frame;
use highwater::wire::{Message, Reader};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;

#[path = "golden/messages.rs"]
mod messages;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const GOLDEN: &str = include_str!("golden/messages.txt");

/// The largest structure in memory for the fewest bytes on the wire: a topic of a Produce request, 64 bytes for 3.
/// Strings that are not UTF-8 take three bytes for one, and are allocated anew while they grow.
const MEMORY_PER_BYTE_MAX: usize = 64;

/// Decodes, and holds what was allocated against what was given.
fn decode<'a, M: Message<'a>>(bytes: &'a [u8], version: i16) {
    let region = Region::new(ALLOCATOR);
    let result = M::decode(&mut Reader::new(bytes), version);
    let allocated = region.change().bytes_allocated;
    black_box(result.is_ok());
    let allowed = MEMORY_PER_BYTE_MAX * (bytes.len() + 1);
    assert!(allocated <= allowed, "{} version {version}: {} bytes for {bytes:02x?}", M::API, allocated);
}

struct Case {
    name: &'static str,
    version: i16,
    bytes: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let unhex =
        |text: &str| (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    let case = |line: &'static str| {
        let parts: Vec<_> = line.split(' ').collect();
        Case { name: parts[1], version: parts[2].parse().unwrap(), bytes: unhex(parts[3]) }
    };
    GOLDEN.lines().map(case).collect()
}

#[test]
fn hostile_bytes_are_refused_in_bounded_memory() {
    for case in cases() {
        cut_at_every_byte(&case);
        lie_at_every_byte(&case);
        add_noise(&case);
    }
    lying_counts();
    headers();
}

fn cut_at_every_byte(case: &Case) {
    for len in 0..case.bytes.len() {
        let cut = &case.bytes[..len];
        dispatch!(case.name, decode(cut, case.version));
        dispatch!(case.name, refused(cut, case.version));
    }
}

/// A message that ends too early is always noticed.
fn refused<'a, M: Message<'a>>(bytes: &'a [u8], version: i16) {
    let result = M::decode(&mut Reader::new(bytes), version);
    assert!(result.is_err(), "{} version {version} cut to {} bytes was accepted", M::API, bytes.len());
}

/// Every byte becomes in turn what counts and lengths dislike most.
fn lie_at_every_byte(case: &Case) {
    let mut bytes = case.bytes.clone();
    for at in 0..bytes.len() {
        for lie in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let truth = std::mem::replace(&mut bytes[at], lie);
            dispatch!(case.name, decode(&bytes, case.version));
            bytes[at] = truth;
        }
        let mut wide = bytes.clone();
        let end = wide.len().min(at + 4);
        wide[at..end].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff][..end - at]);
        dispatch!(case.name, decode(&wide, case.version));
    }
}

/// Random bytes, from a generator of its own so that a failure repeats.
fn add_noise(case: &Case) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ case.version as u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..50 {
        let len = (random() % 200) as usize;
        // Small bytes are what counts and lengths are made of.
        let noise: Vec<u8> = (0..len).map(|_| random() as u8 & [0xff, 0x07, 0x03][random() as usize % 3]).collect();
        dispatch!(case.name, decode(&noise, case.version));
    }
}

/// The four bytes of a Metadata body that make others ask for 154 GB, and their kin.
fn lying_counts() {
    use highwater::wire::metadata::{MetadataRequest, MetadataResponse};
    use highwater::wire::produce::ProduceRequest;
    let most = [0x7f, 0xff, 0xff, 0xff];
    for version in 1..=8 {
        decode::<MetadataRequest>(&most, version);
        refused::<MetadataRequest>(&most, version);
    }
    let compact = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for version in 9..=13 {
        decode::<MetadataRequest>(&compact, version);
        decode::<MetadataResponse>(&compact, version);
        refused::<MetadataRequest>(&compact, version);
    }
    // As many of the smallest topics as the bytes can hold, and one more.
    for (count, accepted) in [(100_000u32, true), (100_001, false)] {
        let mut body = vec![0, 0, 0, 0, 0, 0, 0];
        let mut left = count + 1;
        while left > 0x7f {
            body.push(left as u8 | 0x80);
            left >>= 7;
        }
        body.push(left as u8);
        body.extend([1, 1, 0].repeat(100_000));
        body.push(0);
        decode::<ProduceRequest>(&body, 9);
        assert_eq!(ProduceRequest::decode(&mut Reader::new(&body), 9).is_ok(), accepted);
    }
}

fn headers() {
    // Fetch version 12 of a client named "ab": the tags of the header end it.
    let good = [0, 1, 0, 12, 0, 0, 0, 7, 0, 2, b'a', b'b', 0];
    for len in 0..good.len() {
        assert!(frame::decode_header(&mut Reader::new(&good[..len])).is_err(), "{len} bytes");
    }
    let header = frame::decode_header(&mut Reader::new(&good)).unwrap();
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (7, Some("ab")));
    let unknown = [0, 99, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let error = frame::decode_header(&mut Reader::new(&unknown)).unwrap_err();
    assert_eq!(error.to_string(), "api_key: API key 99 is unknown");
}
