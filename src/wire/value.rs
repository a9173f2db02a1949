//! How each type of field is read and written: Kafka's primitive types, strings, bytes, records, arrays, nulls.
//!
//! A flexible version (KIP-482) writes lengths as varints plus one and ends each structure with tagged fields; an older
//! one writes them as fixed integers. Invariant: `min_size` is a lower bound of what `write` writes, since counts are
//! held against it before anything is allocated.

use super::error::{DecodeError, Reason};
use super::{ErrorCode, Reader, Writer};
use crate::ids::TopicId;
use crate::wire::ApiKey;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// A string: borrowed from the frame when decoded. Bytes that are not UTF-8 become U+FFFD, as in Java.
pub type Str<'a> = Cow<'a, str>;

/// Opaque bytes: borrowed from the frame when decoded.
pub type Bin<'a> = Cow<'a, [u8]>;

/// A type that a field may have.
pub trait Wire<'de>: Sized {
    /// The fewest bytes that a value takes.
    fn min_size(version: i16, flexible: bool) -> usize;
    fn read(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Self, DecodeError>;
    fn write(&self, w: &mut Writer, version: i16, flexible: bool);

    // How a value that may be null is written: structures put a byte before themselves, everything that has a length
    // uses the length.

    fn min_size_nullable(_version: i16, _flexible: bool) -> usize {
        1
    }

    fn read_nullable(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Option<Self>, DecodeError> {
        match r.i8()? {
            marker if marker < 0 => Ok(None),
            _ => Self::read(r, version, flexible).map(Some),
        }
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer, version: i16, flexible: bool) {
        w.put_i8(if value.is_some() { 1 } else { -1 });
        if let Some(value) = value {
            value.write(w, version, flexible);
        }
    }

    /// What stands for null in a version that does not allow it.
    fn write_empty(w: &mut Writer, version: i16, flexible: bool);
}

impl<'de, T: Wire<'de>> Wire<'de> for Option<T> {
    fn min_size(version: i16, flexible: bool) -> usize {
        T::min_size_nullable(version, flexible)
    }

    #[inline]
    fn read(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Self, DecodeError> {
        T::read_nullable(r, version, flexible)
    }

    #[inline]
    fn write(&self, w: &mut Writer, version: i16, flexible: bool) {
        T::write_nullable(self.as_ref(), w, version, flexible);
    }

    fn write_empty(w: &mut Writer, version: i16, flexible: bool) {
        T::write_empty(w, version, flexible);
    }
}

macro_rules! fixed_size {
    ($($ty:ty, $size:literal, $read:expr, $write:expr;)*) => {
        $(impl<'de> Wire<'de> for $ty {
            fn min_size(_version: i16, _flexible: bool) -> usize {
                $size
            }

            #[inline]
            fn read(r: &mut Reader<'de>, _version: i16, _flexible: bool) -> Result<Self, DecodeError> {
                $read(r)
            }

            #[inline]
            fn write(&self, w: &mut Writer, _version: i16, _flexible: bool) {
                $write(w, *self)
            }

            fn write_empty(w: &mut Writer, _version: i16, _flexible: bool) {
                w.put(&[0; $size]);
            }
        })*
    };
}

fixed_size! {
    bool, 1, |r: &mut Reader<'de>| r.u8().map(|byte| byte != 0), |w: &mut Writer, value| w.put_u8(u8::from(value));
    i8, 1, Reader::i8, Writer::put_i8;
    i16, 2, Reader::i16, Writer::put_i16;
    u16, 2, Reader::u16, Writer::put_u16;
    i32, 4, Reader::i32, Writer::put_i32;
    u32, 4, Reader::u32, Writer::put_u32;
    i64, 8, Reader::i64, Writer::put_i64;
    f64, 8, Reader::f64, Writer::put_f64;
    TopicId, 16, |r: &mut Reader<'de>| r.uuid().map(TopicId), |w: &mut Writer, value: TopicId| w.put(&value.0);
    ErrorCode, 2, |r: &mut Reader<'de>| r.i16().map(ErrorCode), |w: &mut Writer, value: ErrorCode| w.put_i16(value.0);
    ApiKey, 2, |r: &mut Reader<'de>| r.i16().map(ApiKey), |w: &mut Writer, value: ApiKey| w.put_i16(value.0);
}

impl<'de: 'a, 'a> Wire<'de> for Cow<'a, str> {
    fn min_size(version: i16, flexible: bool) -> usize {
        Self::min_size_nullable(version, flexible)
    }

    #[inline]
    fn read(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Self, DecodeError> {
        Self::read_nullable(r, version, flexible)?.ok_or_else(|| DecodeError::new(Reason::Null))
    }

    #[inline]
    fn write(&self, w: &mut Writer, version: i16, flexible: bool) {
        Self::write_nullable(Some(self), w, version, flexible);
    }

    fn min_size_nullable(_version: i16, flexible: bool) -> usize {
        if flexible { 1 } else { 2 }
    }

    #[inline]
    fn read_nullable(r: &mut Reader<'de>, _version: i16, flexible: bool) -> Result<Option<Self>, DecodeError> {
        let Some(len) = r.string_len(flexible)? else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(r.take(len)?)))
    }

    /// A string above 32,767 bytes cannot be written: it is cut at a character's border.
    #[inline]
    fn write_nullable(value: Option<&Self>, w: &mut Writer, _version: i16, flexible: bool) {
        let text = value.map(|text| if text.len() > 0x7fff { &text[..text.floor_char_boundary(0x7fff)] } else { text });
        w.put_string_len(text.map(str::len), flexible);
        w.put(text.unwrap_or_default().as_bytes());
    }

    fn write_empty(w: &mut Writer, _version: i16, flexible: bool) {
        w.put_string_len(Some(0), flexible);
    }
}

impl<'de: 'a, 'a> Wire<'de> for Cow<'a, [u8]> {
    fn min_size(version: i16, flexible: bool) -> usize {
        Self::min_size_nullable(version, flexible)
    }

    fn read(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Self, DecodeError> {
        Self::read_nullable(r, version, flexible)?.ok_or_else(|| DecodeError::new(Reason::Null))
    }

    fn write(&self, w: &mut Writer, version: i16, flexible: bool) {
        Self::write_nullable(Some(self), w, version, flexible);
    }

    fn min_size_nullable(_version: i16, flexible: bool) -> usize {
        if flexible { 1 } else { 4 }
    }

    fn read_nullable(r: &mut Reader<'de>, _version: i16, flexible: bool) -> Result<Option<Self>, DecodeError> {
        let Some(len) = r.long_len(flexible)? else { return Ok(None) };
        Ok(Some(Cow::Borrowed(r.take(len)?)))
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer, _version: i16, flexible: bool) {
        w.put_long_len(value.map(|bytes| bytes.len()), flexible);
        w.put(value.map_or(&[], |bytes| bytes));
    }

    fn write_empty(w: &mut Writer, _version: i16, flexible: bool) {
        w.put_long_len(Some(0), flexible);
    }
}

impl<'de, T: Wire<'de>> Wire<'de> for Vec<T> {
    fn min_size(version: i16, flexible: bool) -> usize {
        Self::min_size_nullable(version, flexible)
    }

    fn read(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Self, DecodeError> {
        Self::read_nullable(r, version, flexible)?.ok_or_else(|| DecodeError::new(Reason::Null))
    }

    fn write(&self, w: &mut Writer, version: i16, flexible: bool) {
        Self::write_nullable(Some(self), w, version, flexible);
    }

    fn min_size_nullable(_version: i16, flexible: bool) -> usize {
        if flexible { 1 } else { 4 }
    }

    fn read_nullable(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Option<Self>, DecodeError> {
        let Some(count) = r.array_len(flexible, T::min_size(version, flexible))? else { return Ok(None) };
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(T::read(r, version, flexible)?);
        }
        Ok(Some(all))
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer, version: i16, flexible: bool) {
        w.put_long_len(value.map(Vec::len), flexible);
        for element in value.into_iter().flatten() {
            element.write(w, version, flexible);
        }
    }

    fn write_empty(w: &mut Writer, _version: i16, flexible: bool) {
        w.put_long_len(Some(0), flexible);
    }
}

/// Record batches, one after another, not looked into by the codec.
#[derive(Clone, Debug)]
pub enum Records<'a> {
    /// In the frame that was decoded. Encoded, they are copied.
    Borrowed(&'a [u8]),
    /// Encoded, they are taken by reference (see [`Writer::splice`]).
    Slices(Vec<Bytes>),
}

impl<'a> Records<'a> {
    /// Their length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Records::Borrowed(bytes) => bytes.len(),
            Records::Slices(slices) => slices.iter().map(Bytes::len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All their bytes: what was decoded, or a single slice, without a copy.
    pub fn contiguous(&self) -> Cow<'_, [u8]> {
        match self {
            Records::Borrowed(bytes) => Cow::Borrowed(bytes),
            Records::Slices(slices) => match slices.as_slice() {
                [] => Cow::Borrowed(&[]),
                [one] => Cow::Borrowed(one),
                many => Cow::Owned(many.concat()),
            },
        }
    }
}

impl Default for Records<'_> {
    fn default() -> Self {
        Records::Borrowed(&[])
    }
}

/// Equal in bytes, however they are cut.
impl PartialEq for Records<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.contiguous() == other.contiguous()
    }
}

impl<'a> From<&'a [u8]> for Records<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Records::Borrowed(bytes)
    }
}

impl From<Bytes> for Records<'_> {
    fn from(bytes: Bytes) -> Self {
        Records::Slices(alloc::vec![bytes])
    }
}

impl From<Vec<Bytes>> for Records<'_> {
    fn from(slices: Vec<Bytes>) -> Self {
        Records::Slices(slices)
    }
}

impl<'de: 'a, 'a> Wire<'de> for Records<'a> {
    fn min_size(version: i16, flexible: bool) -> usize {
        Self::min_size_nullable(version, flexible)
    }

    fn read(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Self, DecodeError> {
        Self::read_nullable(r, version, flexible)?.ok_or_else(|| DecodeError::new(Reason::Null))
    }

    fn write(&self, w: &mut Writer, version: i16, flexible: bool) {
        Self::write_nullable(Some(self), w, version, flexible);
    }

    fn min_size_nullable(_version: i16, flexible: bool) -> usize {
        if flexible { 1 } else { 4 }
    }

    fn read_nullable(r: &mut Reader<'de>, _version: i16, flexible: bool) -> Result<Option<Self>, DecodeError> {
        let Some(len) = r.long_len(flexible)? else { return Ok(None) };
        Ok(Some(Records::Borrowed(r.take(len)?)))
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer, _version: i16, flexible: bool) {
        w.put_long_len(value.map(Records::len), flexible);
        match value {
            None => {}
            Some(Records::Borrowed(bytes)) => w.put(bytes),
            Some(Records::Slices(slices)) => slices.iter().for_each(|slice| w.splice(slice)),
        }
    }

    fn write_empty(w: &mut Writer, _version: i16, flexible: bool) {
        w.put_long_len(Some(0), flexible);
    }
}
