//! Reading one partition for a fetch: what its request is worth, and batches from memory.
//!
//! It looks at the log and changes nothing. Invariant: nothing at or above the high watermark is read, and a batch is read
//! whole or not at all.

use super::{ReadPart, ReadResult};
use crate::ids::{Epoch, Offset};
use crate::shard::partition::Partition;
use crate::wire::ErrorCode;
use bytes::BytesMut;

/// Smaller batches are copied together: a slice of its own costs more than that.
const COPY_MAX: usize = 4 << 10;

/// What a partition says to a read.
pub enum Read {
    Done(ReadResult),
    /// It must be looked for in the segments.
    Segments,
}

impl Partition {
    pub fn empty_result(&self, item: u32) -> ReadResult {
        ReadResult {
            high_watermark: self.replica.high_watermark(),
            start: self.replica.start(),
            ..ReadResult::error(item, ErrorCode::NONE)
        }
    }

    /// KIP-320: what a request's idea of the leader epoch is worth.
    pub fn check_epoch(&self, current: i32) -> ErrorCode {
        let epoch = self.replica.epoch().0;
        match current {
            ..0 => ErrorCode::NONE,
            _ if current < epoch => ErrorCode::FENCED_LEADER_EPOCH,
            _ if current > epoch => ErrorCode::UNKNOWN_LEADER_EPOCH,
            _ => ErrorCode::NONE,
        }
    }

    pub fn read(&self, part: &ReadPart, left: usize, first: bool) -> Read {
        let mut result = self.empty_result(part.item);
        let end = self.served_end();
        match self.readable(part) {
            Ok(None) => {}
            Ok(diverging) => {
                result.diverging = diverging;
                return Read::Done(result);
            }
            // Beyond Kafka: whoever reads outside the log is told where it is.
            Err(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                return Read::Done(ReadResult { error: ErrorCode::OFFSET_OUT_OF_RANGE, ..result });
            }
            Err(error) => return Read::Done(ReadResult::error(part.item, error)),
        }
        if part.offset >= end {
            return Read::Done(result);
        }
        if part.offset < self.log.tail_base() {
            return Read::Segments;
        }
        self.read_tail(part, left, first, &mut result);
        Read::Done(result)
    }

    /// Whether there is something to read at the reader's offset, or where its log has left this one.
    fn readable(&self, part: &ReadPart) -> Result<Option<(Epoch, Offset)>, ErrorCode> {
        if !self.replica.leads() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let error = self.check_epoch(part.current_leader_epoch);
        if error != ErrorCode::NONE {
            return Err(error);
        }
        if self.refusal.is_some() && part.offset >= self.served_end() {
            // Not OFFSET_OUT_OF_RANGE, wherever the log's end is now: a consumer would start somewhere else and skip it.
            return Err(ErrorCode::CORRUPT_MESSAGE);
        }
        if part.offset < self.replica.start() {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        if part.last_fetched_epoch >= 0 {
            let found = self.replica.end_of_epoch(Epoch(part.last_fetched_epoch));
            let (epoch, end) = found.ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
            if epoch.0 < part.last_fetched_epoch || end < part.offset {
                return Ok(Some((epoch, end)));
            }
        }
        if part.offset > self.replica.end().offset {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        Ok(None)
    }

    /// Batches from memory: as many as fit, and the first one whole if it is the answer's first.
    fn read_tail(&self, part: &ReadPart, left: usize, first: bool, result: &mut ReadResult) {
        let end = self.served_end();
        let max = part.max_bytes.min(left);
        let (mut count, mut small_bytes) = (0, 0);
        for batch in self.log.tail_from(part.offset).take_while(|batch| batch.end <= end) {
            let whole_first = first && count == 0;
            if result.bytes + batch.bytes.len() > max && !whole_first {
                result.more = true;
                break;
            }
            count += 1;
            result.bytes += batch.bytes.len();
            small_bytes += if batch.bytes.len() < COPY_MAX { batch.bytes.len() } else { 0 };
        }
        result.copied = small_bytes;
        let mut small = BytesMut::with_capacity(small_bytes);
        for batch in self.log.tail_from(part.offset).take(count) {
            if batch.bytes.len() < COPY_MAX {
                small.extend_from_slice(&batch.bytes);
                continue;
            }
            if !small.is_empty() {
                result.records.push(small.split().freeze());
            }
            result.records.push(batch.bytes.clone());
        }
        if !small.is_empty() {
            result.records.push(small.freeze());
        }
    }
}
