//! What can be wrong with a batch, with its values, and the code that Kafka answers.
//!
//! Sources: Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`.

use super::codec::Compression;
use crate::ids::Offset;
use crate::wire::ErrorCode;
use core::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// No whole batch: fewer bytes than the header or than its length says.
    Truncated { needed: usize, remaining: usize },
    /// Bytes behind the one batch that a partition may be sent.
    NotOneBatch { trailing: usize },
    /// A length below what a header takes, or above 2 GiB.
    Length { length: i32 },
    /// Formats 0 and 1 are not accepted since Produce version 3; others do not exist.
    Magic { magic: i8 },
    /// The stored checksum is not that of the bytes.
    Checksum { stored: u32, computed: u32 },
    /// Above `max.message.bytes`.
    TooLarge { size: usize, size_max: usize },
    /// A producer numbers from 0; the broker gives the offset.
    BaseOffset { base_offset: Offset },
    /// The count of records is not what the offsets span, or not positive.
    Count { records_count: i32, last_offset_delta: i32 },
    /// A compression id that does not exist.
    UnknownCompression { id: u8 },
    /// ZStandard needs Produce version 7 (KIP-110).
    CompressionNotAllowed { compression: Compression },
    /// Only a coordinator writes control batches.
    Control,
    /// Transactional, where transactions are not served or none is open.
    Transactional,
    /// The bit that turns the base timestamp into a delete horizon, which only the cleaner sets.
    DeleteHorizon,
    /// A producer id without a sequence.
    Sequence { producer_id: i64, base_sequence: i32 },
    /// The producer claims the broker's clock.
    LogAppendTime,
    /// A record cannot be read, or is not the one that its place demands.
    Record { index: i32, fault: RecordFault },
    /// The compressed bytes are damaged.
    Decompress { compression: Compression },
    /// The records take more than this when decompressed.
    DecompressedTooLarge { size_max: usize },
}

/// What is wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// It does not end where its length says, or a length in it is wrong.
    Structure,
    /// Its offset delta is not its index.
    OffsetDelta(i32),
    /// Bytes follow the last record.
    Trailing(usize),
}

impl BatchError {
    /// What the producer is answered.
    pub fn code(&self) -> ErrorCode {
        match self {
            BatchError::Length { .. } | BatchError::Checksum { .. } => ErrorCode::CORRUPT_MESSAGE,
            BatchError::Magic { magic: 0 | 1 } => ErrorCode::INVALID_RECORD,
            BatchError::Magic { .. } => ErrorCode::CORRUPT_MESSAGE,
            BatchError::TooLarge { .. } | BatchError::DecompressedTooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            BatchError::UnknownCompression { .. } | BatchError::CompressionNotAllowed { .. } => {
                ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
            }
            BatchError::Transactional => ErrorCode::INVALID_TXN_STATE,
            BatchError::LogAppendTime => ErrorCode::INVALID_TIMESTAMP,
            BatchError::Truncated { .. }
            | BatchError::NotOneBatch { .. }
            | BatchError::BaseOffset { .. }
            | BatchError::Count { .. }
            | BatchError::Control
            | BatchError::DeleteHorizon
            | BatchError::Sequence { .. }
            // The checksum was right, so a retry would be as bad: not CORRUPT_MESSAGE, upon which clients try again.
            | BatchError::Decompress { .. }
            | BatchError::Record { .. } => ErrorCode::INVALID_RECORD,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            BatchError::Truncated { needed, remaining } => {
                write!(f, "no whole record batch: {needed} bytes needed, {remaining} there")
            }
            BatchError::NotOneBatch { trailing } => {
                write!(f, "exactly one record batch per partition is allowed, {trailing} bytes follow it")
            }
            BatchError::Length { length } => write!(f, "batch length {length} is not that of a record batch"),
            BatchError::Magic { magic } => write!(f, "record format {magic}; only format 2 is allowed"),
            BatchError::Checksum { stored, computed } => {
                write!(f, "record batch is corrupt: stored CRC-32C {stored:#010x}, computed {computed:#010x}")
            }
            BatchError::TooLarge { size, size_max } => {
                write!(f, "record batch of {size} bytes; at most {size_max} are allowed")
            }
            BatchError::BaseOffset { base_offset } => write!(f, "base offset {base_offset}; a producer sends 0"),
            BatchError::Count { records_count, last_offset_delta } => {
                write!(f, "{records_count} records with a last offset delta of {last_offset_delta}")
            }
            BatchError::UnknownCompression { id } => write!(f, "compression {id} does not exist; 0 to 4 do"),
            BatchError::CompressionNotAllowed { compression } => {
                write!(f, "compression {compression} is not allowed before Produce version 7")
            }
            BatchError::Control => f.write_str("clients are not allowed to write control records"),
            BatchError::Transactional => f.write_str("transactional records outside an ongoing transaction"),
            BatchError::DeleteHorizon => f.write_str("clients are not allowed to set a delete horizon"),
            BatchError::Sequence { producer_id, base_sequence } => {
                write!(f, "invalid sequence {base_sequence} with producer id {producer_id}")
            }
            BatchError::LogAppendTime => f.write_str("a producer may not set the timestamp type to LogAppendTime"),
            BatchError::Record { index, fault: RecordFault::Structure } => write!(f, "record {index} cannot be read"),
            BatchError::Record { index, fault: RecordFault::OffsetDelta(delta) } => {
                write!(f, "record {index} has offset delta {delta}")
            }
            BatchError::Record { index, fault: RecordFault::Trailing(bytes) } => {
                write!(f, "{bytes} bytes follow the last of {index} records")
            }
            BatchError::Decompress { compression } => write!(f, "the {compression} data is damaged"),
            BatchError::DecompressedTooLarge { size_max } => {
                write!(f, "the records take more than {size_max} bytes decompressed")
            }
        }
    }
}

impl core::error::Error for BatchError {}
