//! One record batch, encoded once and sent again and again (KIP-98's format, magic 2).
//!
//! Its values are incompressible, and the same for every batch: what is measured is the broker.

/// Bytes of a batch's header, up to its first record.
pub const HEADER_BYTES: usize = 61;

/// An uncompressed batch of `records` records with values of `record_size` bytes, without keys, stamped `timestamp`
/// (milliseconds since 1970).
pub fn encode(records: usize, record_size: usize, timestamp: i64) -> Vec<u8> {
    assert!(records > 0, "a batch has at least one record");
    let mut random = 0;
    let mut body = Vec::new();
    for index in 0..records {
        let value: Vec<u8> = (0..record_size).map(|_| splitmix(&mut random) as u8).collect();
        // Attributes, timestamp delta, offset delta, no key, the value, no headers.
        let mut record = vec![0];
        varint(0, &mut record);
        varint(index as i64, &mut record);
        varint(-1, &mut record);
        varint(record_size as i64, &mut record);
        record.extend_from_slice(&value);
        varint(0, &mut record);
        varint(record.len() as i64, &mut body);
        body.extend_from_slice(&record);
    }
    let last = i32::try_from(records - 1).expect("fewer than 2^31 records");
    let mut checked = Vec::with_capacity(HEADER_BYTES + body.len());
    checked.extend_from_slice(&0i16.to_be_bytes()); // attributes
    checked.extend_from_slice(&last.to_be_bytes());
    checked.extend_from_slice(&timestamp.to_be_bytes()); // base
    checked.extend_from_slice(&timestamp.to_be_bytes()); // max
    checked.extend_from_slice(&(-1i64).to_be_bytes()); // producer id
    checked.extend_from_slice(&(-1i16).to_be_bytes()); // producer epoch
    checked.extend_from_slice(&(-1i32).to_be_bytes()); // base sequence
    checked.extend_from_slice(&(last + 1).to_be_bytes());
    checked.extend_from_slice(&body);

    let mut batch = Vec::with_capacity(checked.len() + 21);
    batch.extend_from_slice(&0i64.to_be_bytes()); // base offset
    batch.extend_from_slice(&i32::try_from(checked.len() + 9).expect("a batch is below 2 GiB").to_be_bytes());
    batch.extend_from_slice(&(-1i32).to_be_bytes()); // partition leader epoch
    batch.push(2); // magic
    batch.extend_from_slice(&crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch
}

pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The next of a fixed row of numbers without a pattern (Steele, Lea and Flood's SplitMix).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A zigzag varint, as records use it.
fn varint(value: i64, into: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

/// A batch as a fetch brings it.
pub struct Seen {
    /// The offset after its last record.
    pub next_offset: i64,
    pub records: i32,
    /// Its length, header included.
    pub bytes: usize,
}

/// Walks the whole batches at the start of `records`; a batch that is cut off at the end is left out. With `verify`,
/// checks each one's CRC. Gives the number of batches that were damaged.
pub fn walk(mut records: &[u8], verify: bool, mut each: impl FnMut(Seen)) -> u64 {
    let mut damaged = 0;
    while records.len() >= HEADER_BYTES {
        let base_offset = i64::from_be_bytes(records[0..8].try_into().expect("eight bytes"));
        let length = i32::from_be_bytes(records[8..12].try_into().expect("four bytes"));
        let bytes = 12 + usize::try_from(length).unwrap_or(0);
        if bytes < HEADER_BYTES {
            return damaged + 1;
        }
        if bytes > records.len() {
            break;
        }
        let crc = u32::from_be_bytes(records[17..21].try_into().expect("four bytes"));
        if verify && crc32c(&records[21..bytes]) != crc {
            damaged += 1;
        }
        let last_delta = i32::from_be_bytes(records[23..27].try_into().expect("four bytes"));
        let count = i32::from_be_bytes(records[57..61].try_into().expect("four bytes"));
        each(Seen { next_offset: base_offset + i64::from(last_delta) + 1, records: count, bytes });
        records = &records[bytes..];
    }
    damaged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_back_as_it_was_written() {
        let batch = encode(16, 1024, 1_700_000_000_000);
        let mut seen = Vec::new();
        assert_eq!(walk(&batch, true, |one| seen.push((one.next_offset, one.records, one.bytes))), 0);
        assert_eq!(seen, [(16, 16, batch.len())]);
    }

    #[test]
    fn a_flipped_bit_is_damage() {
        let mut batch = encode(1, 100, 0);
        let last = batch.len() - 1;
        batch[last] ^= 1;
        assert_eq!(walk(&batch, true, |_| ()), 1);
    }

    #[test]
    fn a_batch_cut_off_at_the_end_is_left_out() {
        let mut two = encode(1, 100, 0);
        two.extend(encode(1, 100, 0));
        let mut count = 0;
        walk(&two[..two.len() - 1], true, |_| count += 1);
        assert_eq!(count, 1);
    }
}
