//! A small Kafka client, one request at a time: what the commands and the bench's preparations talk with.
//!
//! It speaks through the core's own codec, in the newest version that both sides know. Invariants: an answer is that of the
//! request before it, read whole; a length that no answer has is refused before anything is allocated; every error names the
//! broker.

pub mod cluster;
pub mod member;
pub mod offsets;

use bytes::Bytes;
use highwater::wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use highwater::wire::frame::{RequestHeader, decode_response_header, encode_request};
use highwater::wire::{ErrorCode, Message, Reader};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a broker may take for an answer, its own waiting included.
const PATIENCE: Duration = Duration::from_secs(60);
/// No answer that is asked for here is larger.
const ANSWER_MAX: u32 = 256 << 20;

/// One connection to one broker.
pub struct Connection {
    stream: TcpStream,
    address: String,
    correlation: i32,
    /// The versions that the broker names.
    served: BTreeMap<i16, (i16, i16)>,
}

/// An answer, whole, from which its message is read.
pub struct Answer {
    body: Bytes,
    version: i16,
    address: String,
}

impl Answer {
    pub fn read<'a, M: Message<'a>>(&'a self) -> io::Result<M> {
        M::decode(&mut Reader::new(&self.body), self.version)
            .map_err(|error| failed(format!("{}: an answer to {} that cannot be read: {error}", self.address, M::API)))
    }
}

impl Connection {
    pub fn open(address: &str) -> io::Result<Connection> {
        let stream = connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection =
            Connection { stream, address: address.to_owned(), correlation: 0, served: BTreeMap::new() };
        let answer = connection.send(0, &ApiVersionsRequest::default())?;
        let versions: ApiVersionsResponse<'_> = answer.read()?;
        check(versions.error_code, None, address)?;
        connection.served =
            versions.api_keys.iter().map(|api| (api.api_key.0, (api.min_version, api.max_version))).collect();
        Ok(connection)
    }

    /// Asks in the newest version up to `newest` that the broker serves.
    pub fn ask<'a, M: Message<'a>>(&mut self, newest: i16, request: &M) -> io::Result<Answer> {
        let (oldest, newest) = (M::MIN_VERSION, newest.min(M::MAX_VERSION));
        let version = match self.served.get(&M::API.0) {
            Some((min, max)) if *min <= newest && *max >= oldest => newest.min(*max),
            Some((min, max)) => {
                let text = format!(
                    "{}: serves {} in versions {min} to {max}, and {oldest} to {newest} are known here",
                    self.address,
                    M::API
                );
                return Err(failed(text));
            }
            None => return Err(failed(format!("{}: does not serve {}", self.address, M::API))),
        };
        self.send(version, request)
    }

    fn send<'a, M: Message<'a>>(&mut self, version: i16, request: &M) -> io::Result<Answer> {
        self.correlation += 1;
        let header = RequestHeader {
            api_key: M::API,
            api_version: version,
            correlation_id: self.correlation,
            client_id: Some("highwater".into()),
        };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {}", self.address, plain(&error)));
        for slice in encode_request(&header, request) {
            self.stream.write_all(&slice).map_err(named)?;
        }
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(named)?;
        let length = u32::from_be_bytes(length);
        if !(4..=ANSWER_MAX).contains(&length) {
            return Err(failed(format!("{}: announces an answer of {length} bytes", self.address)));
        }
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).map_err(named)?;
        let frame = Bytes::from(frame);
        let mut reader = Reader::new(&frame);
        let found = decode_response_header(&mut reader, M::API, version)
            .map_err(|error| failed(format!("{}: {}: {error}", self.address, M::API)))?;
        if found != self.correlation {
            return Err(failed(format!("{}: answer {found} came to request {}", self.address, self.correlation)));
        }
        let body = frame.slice(frame.len() - reader.remaining()..);
        Ok(Answer { body, version, address: self.address.clone() })
    }
}

/// A connection without Nagle's delay; the error names the address.
pub fn connect(address: &str) -> io::Result<TcpStream> {
    let stream =
        TcpStream::connect(address).map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub fn failed(text: String) -> io::Error {
    io::Error::other(text)
}

fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("no answer in {} s", PATIENCE.as_secs()),
        _ => error.to_string(),
    }
}

/// `INVALID_CONFIG (40)`.
pub fn error_name(code: ErrorCode) -> String {
    format!("{} ({})", code.name().unwrap_or("an unknown error"), code.0)
}

/// An error of a broker, in its own words where it has some. `what` was asked about.
pub fn check(code: ErrorCode, message: Option<&str>, what: &str) -> io::Result<()> {
    match (code, message.filter(|text| !text.is_empty())) {
        (ErrorCode::NONE, _) => Ok(()),
        (code, None) => Err(failed(format!("{what}: {}", error_name(code)))),
        (code, Some(text)) => Err(failed(format!("{what}: {}: {text}", error_name(code)))),
    }
}
