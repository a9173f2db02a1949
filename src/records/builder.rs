//! Makes batches: for simulated clients, the bench and the metadata log.
//!
//! Invariant: what is built passes `check` and `check_records`, whatever was pushed; the offset deltas are 0, 1, 2, ...

use super::codec::{self, Compression};
use super::header::{self, HEADER_LEN, PREFIX_LEN};
use crate::boundary::Timestamp;
use crate::wire::Writer;
use alloc::vec::Vec;
use bytes::{BufMut, BytesMut};

/// A batch in the making. Base offset 0 and leader epoch -1, as a producer sends it; [`header::patch`] gives it its
/// place.
#[derive(Debug)]
pub struct BatchBuilder {
    records: Writer,
    compression: Compression,
    attributes: i16,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    count: i32,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder {
            records: Writer::new(),
            compression: Compression::None,
            attributes: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            base_timestamp: Timestamp(-1),
            max_timestamp: Timestamp(-1),
            count: 0,
        }
    }
}

impl BatchBuilder {
    pub fn new() -> BatchBuilder {
        BatchBuilder::default()
    }

    /// An idempotent producer's identity, and the sequence of the first record.
    pub fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> BatchBuilder {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (producer_id, producer_epoch, base_sequence);
        self
    }

    pub fn compression(mut self, compression: Compression) -> BatchBuilder {
        self.compression = compression;
        self
    }

    /// Further attribute bits (see the picture in [`header`]), for what only a broker or a test may write.
    pub fn attributes(mut self, bits: i16) -> BatchBuilder {
        self.attributes = bits;
        self
    }

    /// Adds a record. `headers` are key and value; a null value is a tombstone on a compacted topic.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> &mut BatchBuilder {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(self.base_timestamp.0);
        let mut len = 1 + varint_len(timestamp_delta) + varint_len(i64::from(self.count));
        len += bytes_len(key) + bytes_len(value) + varint_len(headers.len() as i64);
        len += headers.iter().map(|(key, value)| bytes_len(Some(key)) + bytes_len(*value)).sum::<usize>();
        let w = &mut self.records;
        w.put_varint(len as i32);
        w.put_i8(0);
        w.put_varlong(timestamp_delta);
        w.put_varint(self.count);
        put_bytes(w, key);
        put_bytes(w, value);
        w.put_varint(headers.len() as i32);
        for (key, value) in headers {
            put_bytes(w, Some(key));
            put_bytes(w, *value);
        }
        self.count += 1;
        self
    }

    /// How many records were pushed.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The size of the batch in bytes, before compression.
    pub fn size(&self) -> usize {
        HEADER_LEN + self.records.len()
    }

    /// The whole batch, its checksum in place. Panics where nothing was pushed: a batch has a record.
    pub fn build(self) -> BytesMut {
        assert!(self.count > 0, "a batch has at least one record");
        let plain: Vec<u8> = self.records.finish().concat();
        let records = match self.compression {
            Compression::None => plain,
            compression => codec::compress(compression, None, &plain),
        };
        let mut batch = BytesMut::with_capacity(HEADER_LEN + records.len());
        batch.put_i64(0);
        batch.put_i32((HEADER_LEN - PREFIX_LEN + records.len()) as i32);
        batch.put_i32(-1);
        batch.put_i8(2);
        batch.put_u32(0);
        batch.put_i16(self.attributes | i16::from(self.compression.id()));
        batch.put_i32(self.count - 1);
        batch.put_i64(self.base_timestamp.0);
        batch.put_i64(self.max_timestamp.0);
        batch.put_i64(self.producer_id);
        batch.put_i16(self.producer_epoch);
        batch.put_i32(self.base_sequence);
        batch.put_i32(self.count);
        batch.put_slice(&records);
        header::set_checksum(&mut batch);
        batch
    }
}

fn put_bytes(w: &mut Writer, bytes: Option<&[u8]>) {
    w.put_varint(bytes.map_or(-1, |bytes| bytes.len() as i32));
    w.put(bytes.unwrap_or_default());
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_len(bytes.len() as i64) + bytes.len())
}

/// How long a zigzag varint is.
fn varint_len(value: i64) -> usize {
    let zigzag = (value << 1 ^ value >> 63) as u64;
    (70 - (zigzag | 1).leading_zeros() as usize) / 7
}
