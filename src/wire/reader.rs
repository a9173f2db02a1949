//! A cursor over one frame: integers, varints, lengths and tagged fields, each checked against the bytes that remain.
//!
//! It never copies and never allocates. Invariant: after an error the reader stands somewhere in its bytes, never
//! outside; every count that it returns can still be backed by the bytes behind it.

use super::error::{DecodeError, Reason};

/// The longest array that is read, as in Kafka 4.4.
pub const ARRAY_MAX: usize = 1_000_000;
/// The most tagged fields in one structure that are read, as in Kafka 4.4.
pub const TAGS_MAX: usize = 10_000;

#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Elements that arrays may still have, all together.
    elements_left: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader::bounded(bytes, usize::MAX)
    }

    /// A reader of a stranger's bytes: an element takes some bytes on the wire and a hundred in memory.
    pub fn bounded(bytes: &'a [u8], elements_max: usize) -> Reader<'a> {
        Reader { rest: bytes, elements_left: elements_max }
    }

    /// How many elements arrays may still have.
    pub fn elements_left(&self) -> usize {
        self.elements_left
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.truncated(len)),
        }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::new(Reason::Truncated { needed, remaining: self.rest.len() })
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.fixed()
    }

    /// An unsigned varint of at most 32 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let value = self.uvarint_64(5)?;
        u32::try_from(value).map_err(|_| DecodeError::new(Reason::VarintTooLong))
    }

    /// A zigzag varint of at most 32 bits, as inside records.
    #[inline]
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let value = self.uvarint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// A zigzag varint of at most 64 bits, as inside records.
    #[inline]
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let value = self.uvarint_64(10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    #[inline]
    fn uvarint_64(&mut self, len_max: usize) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for (place, byte) in self.rest.iter().take(len_max).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[place + 1..];
                return Ok(value);
            }
        }
        if self.rest.len() < len_max {
            return Err(self.truncated(self.rest.len() + 1));
        }
        Err(DecodeError::new(Reason::VarintTooLong))
    }

    /// The length of a string, in 16 bits or compact. `None` is null.
    #[inline]
    pub(crate) fn string_len(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let len = match flexible {
            true => self.uvarint()? as usize,
            false => match self.i16()? {
                -1 => 0,
                len if len >= 0 => len as usize + 1,
                len => return Err(DecodeError::new(Reason::NegativeLength { length: i32::from(len) })),
            },
        };
        match len.checked_sub(1) {
            Some(length) if length > 0x7fff => Err(DecodeError::new(Reason::StringTooLong { length })),
            length => Ok(length),
        }
    }

    /// The length of bytes or records, or the count of an array, in 32 bits or compact. `None` is null.
    #[inline]
    pub(crate) fn long_len(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return Ok((self.uvarint()? as usize).checked_sub(1));
        }
        match self.i32()? {
            -1 => Ok(None),
            len if len >= 0 => Ok(Some(len as usize)),
            length => Err(DecodeError::new(Reason::NegativeLength { length })),
        }
    }

    /// The count of an array whose elements take at least `element_bytes_min`: what may be allocated for.
    #[inline]
    pub(crate) fn array_len(&mut self, flexible: bool, element_bytes_min: usize) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.long_len(flexible)? else { return Ok(None) };
        if count > ARRAY_MAX {
            return Err(DecodeError::new(Reason::ArrayTooLong { count }));
        }
        let remaining = self.rest.len();
        if count.saturating_mul(element_bytes_min.max(1)) > remaining {
            return Err(DecodeError::new(Reason::CountExceedsBytes { count, element_bytes_min, remaining }));
        }
        match self.elements_left.checked_sub(count) {
            Some(left) => self.elements_left = left,
            None => return Err(DecodeError::new(Reason::TooManyElements { count })),
        }
        Ok(Some(count))
    }

    /// The tagged fields at the end of a structure (KIP-482). `known` reads the fields that it knows and says so;
    /// others are skipped.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint()? as usize;
        if count > TAGS_MAX {
            return Err(DecodeError::new(Reason::TooManyTags { count }));
        }
        for _ in 0..count {
            let tag = self.uvarint()?;
            let len = self.uvarint()? as usize;
            let mut content = Reader::bounded(self.take(len)?, self.elements_left);
            let known = known(tag, &mut content)?;
            self.elements_left = content.elements_left;
            if known && content.remaining() > 0 {
                return Err(DecodeError::new(Reason::TagSize { tag, unread: content.remaining() }));
            }
        }
        Ok(())
    }
}
