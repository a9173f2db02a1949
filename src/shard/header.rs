//! What of a request is kept until it is answered: the names of API, version and request, under which the response goes.
//!
//! Invariant: every response has the version that its request had.

use crate::wire::frame::{encode_response, encode_response_onto, measure_response};
use crate::wire::{ApiKey, Message};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// What of a request's header its response needs.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub key: ApiKey,
    pub version: i16,
    pub correlation: i32,
}

impl Header {
    /// The frame of a response to this request.
    pub fn respond<'a, M: Message<'a>>(&self, response: &M) -> Vec<Bytes> {
        encode_response(self.correlation, self.key, self.version, response)
    }

    /// The same, or `None` where it would be more than so many bytes.
    pub fn respond_within<'a, M: Message<'a>>(&self, response: &M, bytes_max: usize) -> Option<Vec<Bytes>> {
        measure_response(self.key, self.version, response, bytes_max)?;
        Some(self.respond(response))
    }

    /// The same, behind what is in `out`.
    pub fn respond_onto<'a, M: Message<'a>>(&self, response: &M, out: &mut BytesMut) {
        encode_response_onto(out, self.correlation, self.key, self.version, response);
    }
}
