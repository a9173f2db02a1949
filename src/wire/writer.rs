//! The encoder's output: one growing buffer, and between its pieces the records, spliced in by reference.
//!
//! Invariant: the slices of [`Writer::finish`], one after another, are exactly what was put, and [`Writer::len`] is
//! their total length. Records are never copied when they are long; short ones are, because a slice costs more than the
//! copy. What is long is in pieces, so that it takes its own length and no more; [`Writer::counting`] takes nothing.

use alloc::vec;
use alloc::vec::Vec;
use bytes::{BufMut, Bytes, BytesMut};

/// Pieces of a long message: none is copied because another one did not fit behind it.
const PIECE: usize = 64 << 10;
/// The most that a number takes.
const NUMBER_MAX: usize = 10;

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
    /// The head is closed.
    behind_head: bool,
    /// What is long is cut into pieces.
    in_pieces: bool,
    /// Nothing is kept: it is only counted, until it is more than this.
    counting: Option<usize>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A writer that holds `capacity` bytes before it allocates again, and cuts what is long into pieces.
    pub fn in_pieces(capacity: usize) -> Writer {
        Writer { head: BytesMut::with_capacity(capacity), in_pieces: true, ..Writer::default() }
    }

    /// A writer that puts a frame behind what `out` holds already.
    pub fn behind(out: BytesMut) -> Writer {
        Writer { begin: out.len(), head: out, ..Writer::default() }
    }

    /// A writer that keeps nothing: how long it would be is asked, and whether that is above `bytes_max`.
    pub fn counting(bytes_max: usize) -> Writer {
        Writer { counting: Some(bytes_max), ..Writer::default() }
    }

    /// More was counted than was asked about: the rest need not be put.
    pub fn is_over(&self) -> bool {
        self.counting.is_some_and(|max| self.parts_len > max)
    }

    /// How many bytes were put.
    pub fn len(&self) -> usize {
        self.head.len() - self.begin + self.parts_len + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the next `more` bytes go.
    #[inline]
    fn buf(&mut self, more: usize) -> &mut BytesMut {
        let filled = if self.behind_head { self.tail.len() } else { self.head.len() };
        if self.in_pieces && filled + more > PIECE {
            self.next_piece(more);
        }
        if self.behind_head { &mut self.tail } else { &mut self.head }
    }

    #[cold]
    fn next_piece(&mut self, more: usize) {
        let tail = core::mem::replace(&mut self.tail, BytesMut::with_capacity(PIECE.max(more)));
        if !tail.is_empty() {
            self.push(exact(tail));
        }
        self.behind_head = true;
    }

    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        if self.counting.is_some() {
            self.parts_len += bytes.len();
            return;
        }
        self.buf(bytes.len()).put_slice(bytes);
    }

    #[inline]
    pub fn put_u8(&mut self, value: u8) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_i8(&mut self, value: i8) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_i16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_f64(&mut self, value: f64) {
        self.put(&value.to_be_bytes());
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
        let (mut bytes, mut len) = ([0; NUMBER_MAX], 0);
        while value > 0x7f {
            bytes[len] = value as u8 | 0x80;
            value >>= 7;
            len += 1;
        }
        bytes[len] = value as u8;
        self.put(&bytes[..=len]);
    }

    /// Puts shared bytes by reference, or by copy where they are short.
    pub fn splice(&mut self, bytes: &Bytes) {
        if bytes.len() < SPLICE_MIN || self.counting.is_some() {
            return self.put(bytes);
        }
        if !self.tail.is_empty() {
            let piece = self.tail.split().freeze();
            self.push(piece);
        }
        self.push(bytes.clone());
    }

    fn push(&mut self, piece: Bytes) {
        self.behind_head = true;
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
        inner.finish().iter().for_each(|piece| self.put(piece));
    }

    /// Fills in the four bytes that were put first, with the number of bytes that follow them.
    pub(crate) fn fill_in_size(&mut self) {
        if self.counting.is_some() {
            return;
        }
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
        if !self.behind_head {
            return if self.head.is_empty() { Vec::new() } else { vec![exact(self.head)] };
        }
        let mut all = Vec::with_capacity(self.parts.len() + 2);
        if !self.head.is_empty() {
            all.push(exact(self.head));
        }
        all.append(&mut self.parts);
        if !self.tail.is_empty() {
            all.push(exact(self.tail));
        }
        all
    }
}

/// A long piece without the spare room that it was written in: perhaps nobody takes it for long.
fn exact(piece: BytesMut) -> Bytes {
    if piece.capacity() - piece.len() > SPLICE_MIN { Bytes::copy_from_slice(&piece) } else { piece.freeze() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_in_pieces_and_nothing_of_it_is_lost() {
        let record = Bytes::from(vec![9; SPLICE_MIN]);
        let fill = |w: &mut Writer| {
            w.put_i32(0);
            for number in 0..60_000u32 {
                w.put_u32(number);
                w.put_uvarint(number);
                if number % 10_000 == 0 {
                    w.splice(&record);
                    w.put(&vec![7; 2 * PIECE]);
                }
            }
            w.fill_in_size();
        };
        let (mut whole, mut pieces, mut counted) =
            (Writer::new(), Writer::in_pieces(512), Writer::counting(usize::MAX));
        [&mut whole, &mut pieces, &mut counted].into_iter().for_each(fill);
        assert!(whole.len() == pieces.len() && whole.len() == counted.len(), "{} and {}", whole.len(), counted.len());
        let pieces = pieces.finish();
        assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= 2 * PIECE));
        assert_eq!(whole.finish().concat(), pieces.concat());
    }
}
