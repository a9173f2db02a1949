//! Record batches: what a broker accepts, what it changes in place, and what it finds inside.

use bytes::BytesMut;
use highwater::boundary::Timestamp;
use highwater::ids::{Epoch, Offset};
use highwater::records::{
    BatchBuilder, BatchError, BatchHeader, Compression, Limits, TimestampType, check, check_records, find_timestamp,
    header, iter, max_timestamp_offset, patch, set_log_append_time, set_max_timestamp, split,
};
use highwater::wire::ErrorCode;
use proptest::prelude::*;

const LIMITS: Limits = Limits { batch_bytes_max: 1_048_588, zstd: true, transactional: false };
const INSIDE_MAX: usize = 16 << 20;
const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Records at these times, with keys, values and a header.
fn batch(compression: Compression, timestamps: &[i64]) -> BytesMut {
    let mut builder = BatchBuilder::new().compression(compression);
    for timestamp in timestamps {
        let value = format!("value at {timestamp} {}", "x".repeat(100));
        builder.push(
            Timestamp(*timestamp),
            Some(b"key"),
            Some(value.as_bytes()),
            &[(b"trace", None), (b"h", Some(b"1"))],
        );
    }
    builder.build()
}

/// Changes bytes of a batch and makes its checksum anew, as a hostile producer would.
fn tampered(at: usize, bytes: &[u8]) -> BytesMut {
    let mut batch = batch(Compression::None, &[5, 6, 7]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    header::set_checksum(&mut batch);
    batch
}

#[test]
fn a_built_batch_is_accepted_and_read_back_in_every_compression() {
    for compression in ALL {
        let batch = batch(compression, &[1_000, 1_500, 1_200]);
        let header = check(&batch, &LIMITS).unwrap();
        assert_eq!((header.records_count, header.end_offset()), (3, Offset(3)));
        assert_eq!((header.base_timestamp, header.max_timestamp), (Timestamp(1_000), Timestamp(1_500)));
        assert_eq!(header.compression(), Ok(compression));
        let contents = check_records(&batch, INSIDE_MAX).unwrap();
        assert_eq!(contents.max_timestamp, Timestamp(1_500));
        assert_eq!(contents.min_timestamp, Some(Timestamp(1_000)));
        assert_eq!(contents.first_without_key, None);
        let bytes = iter::record_bytes(&batch, &header, INSIDE_MAX).unwrap();
        let records: Vec<_> = iter::Records::new(&header, &bytes).map(Result::unwrap).collect();
        assert_eq!(records.len(), 3);
        assert_eq!((records[1].offset, records[1].timestamp), (Offset(1), Timestamp(1_500)));
        assert!(records[1].value.unwrap().starts_with(b"value at 1500 "));
        let headers: Vec<_> = records[1].headers.collect();
        assert_eq!(headers, [(&b"trace"[..], None), (&b"h"[..], Some(&b"1"[..]))]);
    }
}

#[test]
fn a_place_in_the_log_is_patched_outside_the_checksum() {
    let mut batch = batch(Compression::Lz4, &[1, 2]);
    let before = BatchHeader::parse(&batch).unwrap();
    patch(&mut batch, Offset(1 << 40), Epoch(9));
    let after = BatchHeader::parse(&batch).unwrap();
    assert_eq!(after, BatchHeader { base_offset: Offset(1 << 40), leader_epoch: Epoch(9), ..before });
    assert_eq!(header::checksum(&batch), after.crc);
    assert_eq!(
        find_timestamp(&batch, Timestamp(2), Offset(0), INSIDE_MAX),
        Ok(Some((Offset((1 << 40) + 1), Timestamp(2))))
    );
}

#[test]
fn the_brokers_clock_stamps_every_record() {
    let mut batch = batch(Compression::None, &[1, 2, 3]);
    set_log_append_time(&mut batch, Timestamp(777));
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::LogAppendTime, Timestamp(777)));
    assert_eq!(header.crc, header::checksum(&batch));
    assert_eq!(find_timestamp(&batch, Timestamp(700), Offset(0), INSIDE_MAX), Ok(Some((Offset(0), Timestamp(777)))));
    assert_eq!(max_timestamp_offset(&batch, INSIDE_MAX), Ok(Some((Offset(0), Timestamp(777)))));
}

#[test]
fn a_wrong_largest_timestamp_is_found_and_corrected() {
    let mut batch = tampered(35, &999i64.to_be_bytes());
    let contents = check_records(&batch, INSIDE_MAX).unwrap();
    assert_eq!(contents.max_timestamp, Timestamp(7));
    set_max_timestamp(&mut batch, contents.max_timestamp);
    assert_eq!(check(&batch, &LIMITS).unwrap().max_timestamp, Timestamp(7));
}

#[test]
fn a_time_is_looked_up_to_the_record() {
    for compression in ALL {
        let batch = batch(compression, &[10, 30, 20, 30]);
        let find = |target, from| find_timestamp(&batch, Timestamp(target), Offset(from), INSIDE_MAX).unwrap();
        assert_eq!(find(5, 0), Some((Offset(0), Timestamp(10))));
        assert_eq!(find(11, 0), Some((Offset(1), Timestamp(30))));
        assert_eq!(find(11, 2), Some((Offset(2), Timestamp(20))));
        assert_eq!(find(31, 0), None);
        assert_eq!(max_timestamp_offset(&batch, INSIDE_MAX), Ok(Some((Offset(1), Timestamp(30)))));
    }
}

#[test]
fn batches_in_a_row_are_split_and_a_cut_one_is_named() {
    let (one, two) = (batch(Compression::None, &[1]), batch(Compression::Gzip, &[2, 3]));
    let both = [&one[..], &two[..]].concat();
    let sizes: Vec<_> = split(&both).map(|batch| batch.unwrap().1.len()).collect();
    assert_eq!(sizes, [one.len(), two.len()]);
    let mut cut = split(&both[..both.len() - 1]);
    assert!(cut.next().unwrap().is_ok());
    let error = cut.next().unwrap().unwrap_err();
    assert_eq!(error, BatchError::Truncated { needed: two.len(), remaining: two.len() - 1 });
}

#[test]
fn each_fault_of_a_producer_gets_kafkas_code() {
    let zstd = batch(Compression::Zstd, &[1]);
    let good = batch(Compression::None, &[5, 6, 7]);
    let refused = |batch: &[u8], limits: &Limits| check(batch, limits).unwrap_err().code();
    assert_eq!(refused(&zstd, &Limits { zstd: false, ..LIMITS }), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    assert_eq!(refused(&good, &Limits { batch_bytes_max: good.len() - 1, ..LIMITS }), ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(refused(&good[..good.len() - 1], &LIMITS), ErrorCode::INVALID_RECORD);
    assert_eq!(refused(&[], &LIMITS), ErrorCode::INVALID_RECORD);
    assert_eq!(refused(&[&good[..], &good[..]].concat(), &LIMITS), ErrorCode::INVALID_RECORD);
    let cases: [(usize, &[u8], ErrorCode); 12] = [
        (0, &7i64.to_be_bytes(), ErrorCode::INVALID_RECORD),
        (8, &(-5i32).to_be_bytes(), ErrorCode::CORRUPT_MESSAGE),
        (16, &[1], ErrorCode::INVALID_RECORD),
        (16, &[3], ErrorCode::CORRUPT_MESSAGE),
        (21, &7i16.to_be_bytes(), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        (21, &8i16.to_be_bytes(), ErrorCode::INVALID_TIMESTAMP),
        (21, &16i16.to_be_bytes(), ErrorCode::INVALID_TXN_STATE),
        (21, &32i16.to_be_bytes(), ErrorCode::INVALID_RECORD),
        (21, &64i16.to_be_bytes(), ErrorCode::INVALID_RECORD),
        (23, &3i32.to_be_bytes(), ErrorCode::INVALID_RECORD),
        (43, &1i64.to_be_bytes(), ErrorCode::INVALID_RECORD),
        (57, &0i32.to_be_bytes(), ErrorCode::INVALID_RECORD),
    ];
    for (at, bytes, code) in cases {
        assert_eq!(refused(&tampered(at, bytes), &LIMITS), code, "{bytes:?} at {at}");
    }
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&flipped, &LIMITS), ErrorCode::CORRUPT_MESSAGE);
    assert!(check(&tampered(21, &16i16.to_be_bytes()), &Limits { transactional: true, ..LIMITS }).is_ok());
}

#[test]
fn a_record_out_of_place_is_refused() {
    // The first record: 61 and 62 its length, 63 attributes, 64 timestamp delta, 65 offset delta, 66 key length.
    for (at, byte) in [(61, 0x7e), (61, 0x01), (65, 2), (66, 0x7f)] {
        let batch = tampered(at, &[byte]);
        check(&batch, &LIMITS).expect("the header is as it was");
        let error = check_records(&batch, INSIDE_MAX).unwrap_err();
        assert_eq!(error.code(), ErrorCode::INVALID_RECORD, "{error}");
    }
}

#[test]
fn a_batch_never_takes_more_memory_than_allowed() {
    let mut builders: Vec<_> = ALL[1..].iter().map(|codec| BatchBuilder::new().compression(*codec)).collect();
    for builder in &mut builders {
        builder.push(Timestamp(1), None, Some(&vec![0; 4 << 20]), &[]);
    }
    for batch in builders.into_iter().map(BatchBuilder::build) {
        assert!(batch.len() < 1 << 20);
        let error = check_records(&batch, 1 << 20).unwrap_err();
        assert_eq!(error, BatchError::DecompressedTooLarge { size_max: 1 << 20 });
        assert_eq!(check_records(&batch, 5 << 20).unwrap().first_without_key, Some(0));
    }
}

fn any_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
}

type AnyRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn any_record() -> impl Strategy<Value = AnyRecord> {
    let header = (prop::collection::vec(any::<u8>(), 0..20), any_bytes());
    (0..i64::MAX, any_bytes(), any_bytes(), prop::collection::vec(header, 0..4))
}

fn build(records: &[AnyRecord], compression: Compression) -> BytesMut {
    let mut builder = BatchBuilder::new().compression(compression).producer(7, 1, 5);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
        builder.push(Timestamp(*timestamp), key.as_deref(), value.as_deref(), &headers);
    }
    builder.build()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_batch_is_read_back(records in prop::collection::vec(any_record(), 1..20), codec in 0usize..5) {
        let batch = build(&records, ALL[codec]);
        let header = check(&batch, &LIMITS).unwrap();
        check_records(&batch, INSIDE_MAX).unwrap();
        let bytes = iter::record_bytes(&batch, &header, INSIDE_MAX).unwrap();
        let read: Vec<AnyRecord> = iter::Records::new(&header, &bytes)
            .map(Result::unwrap)
            .map(|record| {
                let headers = record.headers.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect();
                (record.timestamp.0, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), headers)
            })
            .collect();
        prop_assert_eq!(read, records);
    }

    /// Whatever is done to a batch, even under a good checksum, it is read or refused: no panic, bounded memory.
    #[test]
    fn a_damaged_batch_never_panics(
        records in prop::collection::vec(any_record(), 1..8),
        codec in 0usize..5,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut batch = build(&records, ALL[codec]);
        for (at, byte) in damage {
            let at = at.index(batch.len());
            batch[at] = byte;
        }
        header::set_checksum(&mut batch);
        let _ = check(&batch, &LIMITS);
        let _ = check_records(&batch, 1 << 20);
        let _ = find_timestamp(&batch, Timestamp(1), Offset(0), 1 << 20);
        let _ = check_records(&batch[..cut.index(batch.len())], 1 << 20);
    }

    #[test]
    fn random_bytes_under_any_codec_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), codec in 1usize..5) {
        let _ = highwater::records::codec::decompress(ALL[codec], &bytes, 1 << 20);
    }
}
