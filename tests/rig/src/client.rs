//! A Kafka client of another codec: tokio-util's length-delimited frames, kafka-protocol's messages.
//!
//! It may have bad manners: it sends in pieces, cuts the length field, leaves in the middle of a request or of an answer.
//! Invariant: an answer has the correlation id of the oldest request, and no byte more than its message.

use crate::conns::BoxStream;
use crate::runtime::{Runtime, chance, pause, within};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

pub type Dialing = Pin<Box<dyn Future<Output = io::Result<BoxStream>>>>;

/// Makes connections to the broker.
pub type Dial = Rc<dyn Fn() -> Dialing>;

/// What a client does that it should not; percent of requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    pub pieces: u64,
    pub leaves_in_request: u64,
    pub leaves_in_answer: u64,
}

/// How often each has happened, so that a test can say that it did.
#[derive(Debug, Default)]
pub struct Deeds {
    pub connections: u64,
    pub cut_lengths: u64,
    pub left_in_request: u64,
    pub left_in_answer: u64,
    pub timeouts: u64,
    pub lost: u64,
}

/// No answer in this time: the connection is given up.
pub const TIMEOUT: Duration = Duration::from_secs(2);

pub struct Client<R> {
    stream: BoxStream,
    frames: LengthDelimitedCodec,
    input: BytesMut,
    correlation: i32,
    waiting: VecDeque<i32>,
    manners: Manners,
    deeds: Rc<RefCell<Deeds>>,
    served: BTreeMap<i16, (i16, i16)>,
    _runtime: PhantomData<R>,
}

impl<R: Runtime> Client<R> {
    /// Connects, and asks what is served. The names and versions are then known to both.
    pub async fn connect(dial: &Dial, manners: Manners, deeds: &Rc<RefCell<Deeds>>) -> io::Result<Client<R>> {
        let stream = match within::<R, _>(TIMEOUT, dial()).await {
            Some(stream) => stream?,
            None => return Err(io::ErrorKind::TimedOut.into()),
        };
        deeds.borrow_mut().connections += 1;
        let mut client = Client {
            stream,
            frames: LengthDelimitedCodec::new(),
            input: BytesMut::new(),
            correlation: R::below(1 << 30) as i32,
            waiting: VecDeque::new(),
            manners,
            deeds: Rc::clone(deeds),
            served: BTreeMap::new(),
            _runtime: PhantomData,
        };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("rig"))
            .with_client_software_version(StrBytes::from_static_str("1"));
        let answer = client.call(&request, 3).await?;
        assert_eq!(answer.error_code, 0, "ApiVersions is refused");
        client.served = answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Ok(client)
    }

    /// The request and its answer.
    pub async fn call<Q: Request>(&mut self, request: &Q, version: i16) -> io::Result<Q::Response> {
        self.send(request, version).await?;
        self.answer::<Q>(version).await
    }

    pub async fn send<Q: Request>(&mut self, request: &Q, version: i16) -> io::Result<()> {
        if let Some((min, max)) = self.served.get(&Q::KEY) {
            assert!((*min..=*max).contains(&version), "API {} version {version}: {min} to {max} are served", Q::KEY);
        }
        let frame = self.frame(request, version);
        // A stream whose other end is gone takes no more, some time.
        match within::<R, _>(TIMEOUT, self.write(&frame)).await {
            Some(written) => written,
            None => {
                self.deeds.borrow_mut().timeouts += 1;
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    fn frame<Q: Request>(&mut self, request: &Q, version: i16) -> Bytes {
        self.correlation = self.correlation.wrapping_add(1);
        self.waiting.push_back(self.correlation);
        let header = RequestHeader::default()
            .with_request_api_key(Q::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("rig")));
        let mut body = BytesMut::new();
        header.encode(&mut body, Q::header_version(version)).expect("a header");
        request.encode(&mut body, version).expect("a request");
        let mut frame = BytesMut::new();
        self.frames.encode(body.freeze(), &mut frame).expect("a frame");
        frame.freeze()
    }

    async fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let whole = !chance::<R>(self.manners.pieces);
        let leaves = chance::<R>(self.manners.leaves_in_request).then(|| R::below(frame.len() as u64) as usize);
        let end = leaves.unwrap_or(frame.len());
        let mut at = 0;
        while at < end {
            let most = match at {
                // Inside the length and the header.
                0..20 if !whole => 1 + R::below(5) as usize,
                _ if !whole => 1 + R::below(200) as usize,
                _ => frame.len(),
            };
            let len = most.min(end - at);
            self.deeds.borrow_mut().cut_lengths += u64::from(at < 4 && at + len < 4);
            self.stream.write_all(&frame[at..at + len]).await?;
            at += len;
            if !whole {
                match R::below(3) {
                    0 => {}
                    1 => pause().await,
                    _ => R::sleep(Duration::from_millis(R::below(4))).await,
                }
            }
        }
        self.stream.flush().await?;
        match leaves {
            None => Ok(()),
            Some(_) => {
                self.deeds.borrow_mut().left_in_request += 1;
                Err(io::ErrorKind::Interrupted.into())
            }
        }
    }

    /// The answer to the oldest request.
    pub async fn answer<Q: Request>(&mut self, version: i16) -> io::Result<Q::Response> {
        let mut frame = match within::<R, _>(TIMEOUT, self.read()).await {
            Some(frame) => frame.inspect_err(|_| self.deeds.borrow_mut().lost += 1)?,
            None => {
                self.deeds.borrow_mut().timeouts += 1;
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        let header = ResponseHeader::decode(&mut frame, Q::Response::header_version(version))
            .unwrap_or_else(|error| panic!("API {} version {version}: the answer's header: {error}", Q::KEY));
        assert_eq!(Some(header.correlation_id), self.waiting.pop_front(), "an answer to another request");
        let response = Q::Response::decode(&mut frame, version)
            .unwrap_or_else(|error| panic!("API {} version {version}: the answer: {error}", Q::KEY));
        assert!(frame.is_empty(), "API {} version {version}: {} bytes behind the answer", Q::KEY, frame.len());
        Ok(response)
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let leaves = chance::<R>(self.manners.leaves_in_answer);
        loop {
            if let Some(frame) = self.frames.decode(&mut self.input)? {
                return Ok(frame.freeze());
            }
            if leaves && !self.input.is_empty() {
                self.deeds.borrow_mut().left_in_answer += 1;
                return Err(io::ErrorKind::Interrupted.into());
            }
            // A few bytes only: whoever leaves now leaves unread ones behind.
            let mut some = vec![0; if leaves { 1 + R::below(8) as usize } else { 4096 }];
            match self.stream.read(&mut some).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.input.extend_from_slice(&some[..len]),
            }
        }
    }

    /// Bytes that are no whole request.
    pub async fn scribble(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}
