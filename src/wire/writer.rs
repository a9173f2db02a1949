//! The encoder's output: one growing buffer, and between its pieces the records, spliced in by reference.
//!
//! Invariant: the slices of [`Writer::finish`], one after another, are exactly what was put, and [`Writer::len`] is
//! their total length. Records are never copied when they are long; short ones are, because a slice costs more than the
//! copy.

use alloc::vec;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};

/// Shared bytes shorter than this are copied into the buffer instead of becoming a slice of their own.
pub const SPLICE_MIN: usize = 4096;

#[derive(Debug, Default)]
pub struct Writer {
    /// What comes before the first splice, kept writable so that the frame's size can be filled in.
    head: BytesMut,
    /// Where in the head the frame begins: what is before it is somebody else's.
    begin: usize,
    /// What follows the head, in order.
    parts: Vec<Bytes>,
    /// What was put since the last splice, once there is one.
    tail: BytesMut,
    parts_len: usize,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A writer that holds `capacity` bytes before it allocates again.
    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { head: BytesMut::with_capacity(capacity), ..Writer::default() }
    }

    /// A writer that puts a frame behind what `out` holds already.
    pub fn behind(out: BytesMut) -> Writer {
        Writer { begin: out.len(), head: out, ..Writer::default() }
    }

    /// How many bytes were put.
    pub fn len(&self) -> usize {
        self.head.len() - self.begin + self.parts_len + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn buf(&mut self) -> &mut BytesMut {
        if self.parts.is_empty() { &mut self.head } else { &mut self.tail }
    }

    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.buf().put_slice(bytes);
    }

    pub fn put_u8(&mut self, value: u8) {
        self.buf().put_u8(value);
    }

    pub fn put_i8(&mut self, value: i8) {
        self.buf().put_i8(value);
    }

    pub fn put_i16(&mut self, value: i16) {
        self.buf().put_i16(value);
    }

    pub fn put_u16(&mut self, value: u16) {
        self.buf().put_u16(value);
    }

    pub fn put_i32(&mut self, value: i32) {
        self.buf().put_i32(value);
    }

    pub fn put_u32(&mut self, value: u32) {
        self.buf().put_u32(value);
    }

    pub fn put_i64(&mut self, value: i64) {
        self.buf().put_i64(value);
    }

    pub fn put_f64(&mut self, value: f64) {
        self.buf().put_f64(value);
    }

    #[inline]
    pub fn put_uvarint(&mut self, value: u32) {
        self.put_uvarint_64(u64::from(value));
    }

    /// Zigzag, as inside records.
    #[inline]
    pub fn put_varint(&mut self, value: i32) {
        self.put_uvarint_64(u64::from((value << 1 ^ value >> 31) as u32));
    }

    /// Zigzag, as inside records.
    #[inline]
    pub fn put_varlong(&mut self, value: i64) {
        self.put_uvarint_64((value << 1 ^ value >> 63) as u64);
    }

    #[inline]
    fn put_uvarint_64(&mut self, mut value: u64) {
        let buf = self.buf();
        while value > 0x7f {
            buf.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        buf.put_u8(value as u8);
    }

    /// Puts shared bytes by reference, or by copy where they are short.
    pub fn splice(&mut self, bytes: &Bytes) {
        if bytes.len() < SPLICE_MIN {
            return self.put(bytes);
        }
        if !self.tail.is_empty() {
            let piece = self.tail.split().freeze();
            self.push(piece);
        }
        self.push(bytes.clone());
    }

    fn push(&mut self, piece: Bytes) {
        self.parts_len += piece.len();
        self.parts.push(piece);
    }

    /// The length of a string, in 16 bits or compact. `None` is null.
    #[inline]
    pub(crate) fn put_string_len(&mut self, len: Option<usize>, flexible: bool) {
        match (flexible, len) {
            (true, len) => self.put_uvarint(len.map_or(0, |len| len as u32 + 1)),
            (false, len) => self.put_i16(len.map_or(-1, |len| len as i16)),
        }
    }

    /// The length of bytes or records, or the count of an array, in 32 bits or compact. `None` is null.
    #[inline]
    pub(crate) fn put_long_len(&mut self, len: Option<usize>, flexible: bool) {
        match (flexible, len) {
            (true, len) => self.put_uvarint(len.map_or(0, |len| len as u32 + 1)),
            (false, len) => self.put_i32(len.map_or(-1, |len| len as i32)),
        }
    }

    /// A tagged field: tag, size, content. Only fields that differ from their default are written, which are few, so
    /// that a buffer of their own costs little.
    pub(crate) fn put_tag(&mut self, tag: u32, content: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::new();
        content(&mut inner);
        self.put_uvarint(tag);
        self.put_uvarint(inner.len() as u32);
        for piece in inner.finish() {
            self.put(&piece);
        }
    }

    /// Fills in the four bytes that were put first, with the number of bytes that follow them.
    pub(crate) fn fill_in_size(&mut self) {
        let size = self.len().checked_sub(4).expect("the four bytes of the size were put first");
        let size = i32::try_from(size).expect("a frame is below 2 GiB");
        self.head[self.begin..][..4].copy_from_slice(&size.to_be_bytes());
    }

    /// What was put, in one piece, behind what [`Writer::behind`] was given. Nothing was put by reference.
    pub(crate) fn finish_whole(self) -> BytesMut {
        assert!(self.parts.is_empty(), "{} pieces were put by reference", self.parts.len());
        self.head
    }

    /// The slices to send, one after another; none of them is empty.
    pub fn finish(mut self) -> Vec<Bytes> {
        if self.parts.is_empty() {
            return if self.head.is_empty() { Vec::new() } else { vec![exact(self.head)] };
        }
        let mut all = Vec::with_capacity(self.parts.len() + 2);
        if !self.head.is_empty() {
            all.push(self.head.freeze());
        }
        all.append(&mut self.parts);
        if !self.tail.is_empty() {
            all.push(self.tail.freeze());
        }
        all
    }
}

/// A long piece without the spare room that it was written in: perhaps nobody takes it for long.
fn exact(piece: BytesMut) -> Bytes {
    if piece.capacity() - piece.len() > SPLICE_MIN { Bytes::copy_from_slice(&piece) } else { piece.freeze() }
}
