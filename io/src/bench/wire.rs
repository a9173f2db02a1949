//! Just enough of Kafka's wire format to drive a broker: old, non-flexible versions, placed by hand.
//!
//! The generator deliberately does not use the core's codec: what it sends is encoded once and patched, and a mistake
//! in the codec must not cancel itself out here. Never allocates by a count that a peer announced.

use std::io;

/// Builds a request or a part of one.
#[derive(Default, Clone)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// A request's frame up to its body; [`Writer::finish`] sets the length.
    pub fn request(api_key: i16, version: i16, correlation: i32) -> Writer {
        let mut frame = Writer::default();
        frame.i32(0).i16(api_key).i16(version).i32(correlation).string("highwater-bench");
        frame
    }

    /// Sets the frame's length: what is here, plus `more` bytes that follow from elsewhere.
    pub fn finish(mut self, more: usize) -> Vec<u8> {
        let length = i32::try_from(self.0.len() - 4 + more).expect("a request is below 2 GiB");
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }

    pub fn i8(&mut self, value: i8) -> &mut Writer {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn i16(&mut self, value: i16) -> &mut Writer {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn i32(&mut self, value: i32) -> &mut Writer {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn i64(&mut self, value: i64) -> &mut Writer {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn string(&mut self, value: &str) -> &mut Writer {
        self.i16(i16::try_from(value.len()).expect("a string is below 32 KiB"));
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// The count of an array.
    pub fn count(&mut self, count: usize) -> &mut Writer {
        self.i32(i32::try_from(count).expect("an array has fewer than 2^31 elements"))
    }
}

/// Takes a response apart; every read says when the bytes end too soon.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(|| {
            io::Error::other(format!("a response ends too soon: {len} bytes wanted, {} are left", self.0.len()))
        })?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("take gives what was asked for"))
    }

    pub fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A string; null reads as empty.
    pub fn string(&mut self) -> io::Result<&'a str> {
        let len = self.i16()?;
        let bytes = self.take(usize::try_from(len).unwrap_or(0))?;
        std::str::from_utf8(bytes).map_err(|_| io::Error::other("a response holds a string that is not UTF-8"))
    }

    /// Bytes with a 32-bit length; null reads as empty.
    pub fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let len = self.i32()?;
        self.take(usize::try_from(len).unwrap_or(0))
    }

    /// The count of an array; null reads as 0.
    pub fn count(&mut self) -> io::Result<usize> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }
}

/// Kafka's name for an error code, where a load generator is likely to meet it.
pub fn error_name(code: i16) -> &'static str {
    match code {
        -1 => "UNKNOWN_SERVER_ERROR",
        1 => "OFFSET_OUT_OF_RANGE",
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        10 => "MESSAGE_TOO_LARGE",
        17 => "INVALID_TOPIC_EXCEPTION",
        19 => "NOT_ENOUGH_REPLICAS",
        20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        21 => "INVALID_REQUIRED_ACKS",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        32 => "INVALID_TIMESTAMP",
        35 => "UNSUPPORTED_VERSION",
        36 => "TOPIC_ALREADY_EXISTS",
        37 => "INVALID_PARTITIONS",
        38 => "INVALID_REPLICATION_FACTOR",
        40 => "INVALID_CONFIG",
        42 => "INVALID_REQUEST",
        44 => "POLICY_VIOLATION",
        56 => "KAFKA_STORAGE_ERROR",
        78 => "OFFSET_NOT_AVAILABLE",
        87 => "INVALID_RECORD",
        _ => "error",
    }
}

/// `INVALID_CONFIG (40)`.
pub fn describe_error(code: i16) -> String {
    format!("{} ({code})", error_name(code))
}
