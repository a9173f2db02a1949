//! What was read, held against its checksums, and the batches of it that a reader is given.

use super::super::fetch::ReadResult;
use super::super::partition::Partition;
use crate::ids::Offset;
use crate::log::segment::{self, Name};
use crate::memory::round_down;
use crate::records;
use bytes::{Bytes, BytesMut};

/// The checksum of a chunk's bytes, if they are whole batches.
pub fn check_of(bytes: &[u8]) -> Option<u32> {
    let mut whole = true;
    let batches = records::split(bytes).map_while(|batch| {
        whole &= batch.is_ok();
        batch.ok().map(|(_, batch)| segment::batch_check(batch))
    });
    let check = segment::chunk_check(batches);
    whole.then_some(check)
}

/// The active segment's last sector may have been torn when it was written again: memory knows better.
pub fn overlay(partition: Option<&Partition>, name: Name, from: u64, have: &mut BytesMut) {
    let Some(partition) = partition else { return };
    let Some(segment) = partition.log.segments.back().filter(|segment| segment.name() == name && !segment.sealed)
    else {
        return;
    };
    let at = round_down(segment.bytes);
    let partial = &partition.log.partial;
    let Some(start) = at.checked_sub(from).map(|start| start as usize) else { return };
    if start < have.len() {
        let len = partial.len().min(have.len() - start);
        have[start..start + len].copy_from_slice(&partial[..len]);
    }
}

/// Where the batches that are cut out end.
#[derive(Clone, Copy)]
pub struct Limit {
    /// Nothing from here on is served.
    pub end: Offset,
    pub bytes: usize,
    /// The first batch may be larger than `bytes`.
    pub whole: bool,
}

/// Whole batches from the one that holds `offset`. Gives the number of chunks that were used to their end; the
/// result says whether there is more.
pub fn cut_out(chunks: &[Bytes], offset: Offset, limit: Limit, result: &mut ReadResult) -> usize {
    let Limit { end, bytes, whole } = limit;
    let mut next = offset;
    let mut used = chunks.len();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut start = None;
        let mut at = 0;
        for batch in records::split(chunk) {
            let Ok((header, batch)) = batch else { break };
            let fits = (whole && result.bytes == 0) || result.bytes + batch.len() <= bytes;
            if header.end_offset() > end || (header.end_offset() > offset && !fits) {
                break;
            }
            if header.end_offset() > offset {
                start.get_or_insert(at);
                result.bytes += batch.len();
                next = header.end_offset();
            }
            at += batch.len();
        }
        if let Some(start) = start {
            result.records.push(chunk.slice(start..at));
        }
        if at < chunk.len() {
            used = index;
            break;
        }
    }
    result.more = next < end;
    used
}
