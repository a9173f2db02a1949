//! Frames: the 4-byte size, the header of a request or a response, and the body.
//!
//! ```text
//! request   size:i32  api_key:i16  api_version:i16  correlation_id:i32  client_id:nullable string  [tags]  body
//! response  size:i32  correlation_id:i32  [tags]  body
//! ```
//!
//! The tags are there in flexible versions; the response header of ApiVersions never has them (KIP-511), since a client
//! reads it before it knows what the broker speaks. The client id always has a 16-bit length. Unknown tags are skipped.

use super::error::{DecodeError, Reason};
use super::value::{Str, Wire};
use super::{ApiKey, Kind, Message, Reader, Writer};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// What most frames without records fit in.
const CAPACITY: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    pub api_key: ApiKey,
    pub api_version: i16,
    /// Chosen by the client; its response repeats it.
    pub correlation_id: i32,
    pub client_id: Option<Str<'a>>,
}

/// Reads a request's header; the size before it has been taken off. The reader then stands at the body. The version is
/// not checked against what is served: ApiVersions must be answered in any.
pub fn decode_header<'a>(r: &mut Reader<'a>) -> Result<RequestHeader<'a>, DecodeError> {
    let api_key = ApiKey(r.i16()?);
    let api_version = r.i16()?;
    let correlation_id = r.i32()?;
    if api_key.name().is_none() {
        return Err(DecodeError { field: "api_key", reason: Reason::UnknownApi { key: api_key.0 } });
    }
    let client_id = <Option<Str<'a>>>::read(r, api_version, false).map_err(|error| error.in_field("client_id"))?;
    if api_key.is_flexible(api_version) {
        r.tags(|_, _| Ok(false)).map_err(|error| error.in_field("header"))?;
    }
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
}

/// A whole request, its size included, as slices to send one after another.
pub fn encode_request<'a, M: Message<'a>>(header: &RequestHeader<'_>, message: &M) -> Vec<Bytes> {
    assert!(M::KIND == Kind::Request && M::API == header.api_key, "a body of {} under {header:?}", M::API);
    let mut w = Writer::in_pieces(CAPACITY);
    w.put_i32(0);
    w.put_i16(header.api_key.0);
    w.put_i16(header.api_version);
    w.put_i32(header.correlation_id);
    header.client_id.write(&mut w, header.api_version, false);
    if header.api_key.is_flexible(header.api_version) {
        w.put_uvarint(0);
    }
    message.encode(&mut w, header.api_version);
    w.fill_in_size();
    w.finish()
}

/// A whole response, its size included, as slices to send one after another.
pub fn encode_response<'a, M: Message<'a>>(
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
    message: &M,
) -> Vec<Bytes> {
    let mut w = Writer::in_pieces(CAPACITY);
    write_response(&mut w, correlation_id, api_key, version, message);
    w.finish()
}

/// How long that is, its size included; `None` where it is more than `bytes_max`. Nothing is kept for that.
pub fn measure_response<'a, M: Message<'a>>(
    api_key: ApiKey,
    version: i16,
    message: &M,
    bytes_max: usize,
) -> Option<usize> {
    let mut w = Writer::counting(bytes_max);
    write_response(&mut w, 0, api_key, version, message);
    (!w.is_over()).then(|| w.len())
}

/// The same as [`encode_response`], appended to `out`: for responses that hold no records.
pub fn encode_response_onto<'a, M: Message<'a>>(
    out: &mut BytesMut,
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
    message: &M,
) {
    let mut w = Writer::behind(core::mem::take(out));
    write_response(&mut w, correlation_id, api_key, version, message);
    *out = w.finish_whole();
}

fn write_response<'a, M: Message<'a>>(w: &mut Writer, correlation_id: i32, api_key: ApiKey, version: i16, message: &M) {
    assert!(M::KIND == Kind::Response && M::API == api_key, "a body of {} as an answer to {api_key}", M::API);
    w.put_i32(0);
    w.put_i32(correlation_id);
    if response_header_is_flexible(api_key, version) {
        w.put_uvarint(0);
    }
    message.encode(w, version);
    w.fill_in_size();
}

/// Reads a response's header, which gives the correlation id; the size before it has been taken off. The reader then
/// stands at the body.
pub fn decode_response_header(r: &mut Reader<'_>, api_key: ApiKey, version: i16) -> Result<i32, DecodeError> {
    let correlation_id = r.i32()?;
    if response_header_is_flexible(api_key, version) {
        r.tags(|_, _| Ok(false)).map_err(|error| error.in_field("header"))?;
    }
    Ok(correlation_id)
}

pub(super) fn response_header_is_flexible(api_key: ApiKey, version: i16) -> bool {
    api_key != ApiKey::API_VERSIONS && api_key.is_flexible(version)
}
