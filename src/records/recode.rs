//! A batch in another compression, as `compression.type` asks for it.
//!
//! Invariant: the records are the same to the byte, and so is the header but for the codec, the length and the checksum:
//! offsets, times, and the producer's sequence, by which a retry is known.

use super::codec::{self, Compression};
use super::error::BatchError;
use super::header::{self, BatchHeader, HEADER_LEN};
use super::iter;
use alloc::vec::Vec;

/// Encodes a whole batch anew. Decompresses at most `decompressed_bytes_max`; `level` as in [`codec::compress`].
pub fn recode(
    batch: &[u8],
    to: Compression,
    level: Option<u8>,
    decompressed_bytes_max: usize,
) -> Result<Vec<u8>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let records = iter::record_bytes(batch, &header, decompressed_bytes_max)?;
    let packed = codec::compress(to, level, &records);
    let mut recoded = Vec::with_capacity(HEADER_LEN + packed.len());
    recoded.extend(&batch[..HEADER_LEN]);
    recoded.extend(packed);
    header::set_compression(&mut recoded, to);
    Ok(recoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::Timestamp;
    use crate::records::{BatchBuilder, Limits, check, check_records};
    use alloc::format;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn batch(compression: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new().compression(compression).producer(7, 1, 40);
        for index in 0..50 {
            let value = format!("value {index} value {index} value {index}");
            builder.push(Timestamp(1_000 + index), Some(b"key"), Some(value.as_bytes()), &[]);
        }
        builder.build().to_vec()
    }

    #[test]
    fn a_batch_holds_the_same_in_every_compression() {
        for from in ALL {
            for to in ALL {
                let recoded = recode(&batch(from), to, None, 1 << 20).expect("it is whole");
                let limits = Limits { batch_bytes_max: 1 << 20, zstd: true, transactional: false };
                let header = check(&recoded, &limits).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
                assert_eq!(header.compression(), Ok(to));
                assert_eq!((header.producer_id, header.base_sequence, header.records_count), (7, 40, 50));
                assert_eq!(check_records(&recoded, 1 << 20), check_records(&batch(from), 1 << 20));
                assert_eq!(recode(&recoded, Compression::None, None, 1 << 20), Ok(batch(Compression::None)));
            }
        }
    }

    #[test]
    fn a_batch_that_grows_beyond_the_limit_is_not_encoded_anew() {
        let size_max = 100;
        let refused = recode(&batch(Compression::Gzip), Compression::None, None, size_max);
        assert_eq!(refused, Err(BatchError::DecompressedTooLarge { size_max }));
    }

    #[test]
    fn a_higher_level_of_gzip_makes_it_smaller() {
        let sizes = [1, 9].map(|level| recode(&batch(Compression::None), Compression::Gzip, Some(level), 1 << 20));
        let [fast, small] = sizes.map(|recoded| recoded.expect("it is whole").len());
        assert!(small < fast, "level 9 gives {small} bytes, level 1 {fast}");
    }
}
