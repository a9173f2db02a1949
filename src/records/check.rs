//! What a broker holds against a batch from a producer, before it appends it.
//!
//! [`check`] looks at the header and the checksum: one pass over the bytes, no allocation. [`check_records`] reads the
//! records too, decompressed where they must be. Both refuse what Kafka refuses, with Kafka's code, in Kafka's order;
//! where Kafka would re-encode a batch (offset deltas that are not consecutive), it is refused.

use super::codec::Compression;
use super::error::{BatchError, RecordFault};
use super::header::{self, BatchHeader, TimestampType};
use super::iter;
use crate::boundary::Timestamp;

/// What a batch may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `max.message.bytes`: the largest batch, header included.
    pub batch_bytes_max: usize,
    /// ZStandard is allowed: Produce version 7 and newer.
    pub zstd: bool,
    /// Transactional batches are allowed: the producer's transaction is open on this partition.
    pub transactional: bool,
}

/// Checks one batch from a producer, which `batch` must be to the byte.
pub fn check(batch: &[u8], limits: &Limits) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let (size, remaining) = (header.size(), batch.len());
    if size > limits.batch_bytes_max {
        return Err(BatchError::TooLarge { size, size_max: limits.batch_bytes_max });
    }
    if size > remaining {
        return Err(BatchError::Truncated { needed: size, remaining });
    }
    // A length that is wrong shows here first.
    check_checksum(&batch[..size], &header)?;
    if size < remaining {
        return Err(BatchError::NotOneBatch { trailing: remaining - size });
    }
    let compression = header.compression()?;
    if compression == Compression::Zstd && !limits.zstd {
        return Err(BatchError::CompressionNotAllowed { compression });
    }
    if header.base_offset.0 != 0 {
        return Err(BatchError::BaseOffset { base_offset: header.base_offset });
    }
    check_producer_fields(&header, limits)?;
    Ok(header)
}

/// Holds the stored checksum against the bytes of a whole batch, as after every read from a disk or a peer.
pub fn check_checksum(batch: &[u8], header: &BatchHeader) -> Result<(), BatchError> {
    let computed = header::checksum(batch);
    if computed == header.crc { Ok(()) } else { Err(BatchError::Checksum { stored: header.crc, computed }) }
}

fn check_producer_fields(header: &BatchHeader, limits: &Limits) -> Result<(), BatchError> {
    let BatchHeader { records_count, last_offset_delta, producer_id, base_sequence, .. } = *header;
    if records_count <= 0 || last_offset_delta != records_count - 1 {
        return Err(BatchError::Count { records_count, last_offset_delta });
    }
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if header.has_delete_horizon() {
        return Err(BatchError::DeleteHorizon);
    }
    if header.has_producer_id() && base_sequence < 0 {
        return Err(BatchError::Sequence { producer_id, base_sequence });
    }
    if header.is_transactional() && !limits.transactional {
        return Err(BatchError::Transactional);
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::LogAppendTime);
    }
    Ok(())
}

/// What reading every record of a batch has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The smallest timestamp, among the records that have one (-1 is none).
    pub min_timestamp: Option<Timestamp>,
    /// The largest, -1 for none. Where the header claims another, Kafka corrects it: [`header::set_max_timestamp`].
    pub max_timestamp: Timestamp,
    /// The index of the first record without a key: INVALID_RECORD on a compacted topic.
    pub first_without_key: Option<i32>,
}

/// Reads every record of a batch that [`check`] has accepted: each must end where its length says, and have its index
/// as its offset delta; the last must end the batch. At most `decompressed_bytes_max` bytes are decompressed.
pub fn check_records(batch: &[u8], decompressed_bytes_max: usize) -> Result<Contents, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let bytes = iter::record_bytes(batch, &header, decompressed_bytes_max)?;
    let mut records = iter::Records::new(&header, &bytes);
    let mut contents = Contents { min_timestamp: None, max_timestamp: Timestamp(-1), first_without_key: None };
    for index in 0..header.records_count {
        let record = records.next().ok_or(BatchError::Record { index, fault: RecordFault::Structure })??;
        let delta = record.offset.0.wrapping_sub(header.base_offset.0) as i32;
        if delta != index {
            return Err(BatchError::Record { index, fault: RecordFault::OffsetDelta(delta) });
        }
        if record.key.is_none() && contents.first_without_key.is_none() {
            contents.first_without_key = Some(index);
        }
        contents.max_timestamp = contents.max_timestamp.max(record.timestamp);
        if record.timestamp != Timestamp(-1) && contents.min_timestamp.is_none_or(|least| record.timestamp < least) {
            contents.min_timestamp = Some(record.timestamp);
        }
    }
    match records.trailing() {
        0 => Ok(contents),
        bytes => {
            let fault = RecordFault::Trailing(bytes);
            Err(BatchError::Record { index: header.records_count, fault })
        }
    }
}
