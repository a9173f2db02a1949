//! A Kafka client of few words over a plain socket: requests are written byte by byte, so that a mistake in the broker's
//! own codec cannot hide here.

use highwater::wire::frame::{RequestHeader, encode_request};
use highwater::wire::{ApiKey, Message};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Client {
    stream: TcpStream,
    correlation: i32,
    answered: i32,
}

/// What a partition answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    pub error: i16,
    pub high_watermark: i64,
    /// The record batches, as they were sent.
    pub records: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(crate::broker::PATIENCE)).expect("timeout");
        Client { stream, correlation: 0, answered: 0 }
    }

    /// Sends a request of a version before flexible ones, and returns the body of its answer.
    fn call(&mut self, key: i16, version: i16, body: &[u8]) -> Vec<u8> {
        self.send(key, version, body);
        self.receive()
    }

    fn send(&mut self, key: i16, version: i16, body: &[u8]) {
        self.try_send(key, version, body).expect("sent");
    }

    fn try_send(&mut self, key: i16, version: i16, body: &[u8]) -> std::io::Result<()> {
        self.correlation += 1;
        let mut request = Vec::new();
        request.extend(key.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(self.correlation.to_be_bytes());
        string(&mut request, "real");
        request.extend(body);
        let mut frame = (request.len() as i32).to_be_bytes().to_vec();
        frame.extend(request);
        self.stream.write_all(&frame)
    }

    fn receive(&mut self) -> Vec<u8> {
        self.try_receive().expect("an answer")
    }

    fn try_receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        self.stream.read_exact(&mut answer)?;
        self.answered += 1;
        assert_eq!(answer[..4], self.answered.to_be_bytes(), "answers come in order");
        Ok(answer.split_off(4))
    }

    /// Any request in any version, written by the broker's own codec; its answer without the header.
    pub fn ask<'a, M: Message<'a>>(&mut self, version: i16, request: &M) -> Vec<u8> {
        self.correlation += 1;
        let correlation_id = self.correlation;
        let header = RequestHeader { api_key: M::API, api_version: version, correlation_id, client_id: None };
        for slice in encode_request(&header, request) {
            self.stream.write_all(&slice).expect("sent");
        }
        let mut answer = self.receive();
        if M::API.is_flexible(version) && M::API != ApiKey::API_VERSIONS {
            assert_eq!(answer.remove(0), 0, "no tags in a header");
        }
        answer
    }

    /// ApiVersions 0: how many APIs are served.
    pub fn api_count(&mut self) -> i32 {
        let answer = self.call(18, 0, &[]);
        let mut answer = Reader(&answer);
        assert_eq!(answer.i16(), 0, "ApiVersions failed");
        answer.i32()
    }

    /// CreateTopics 2. Kafka's error code.
    pub fn create_topic(&mut self, topic: &str, partitions: i32) -> i16 {
        let mut body = 1i32.to_be_bytes().to_vec();
        string(&mut body, topic);
        body.extend(partitions.to_be_bytes());
        body.extend(1i16.to_be_bytes());
        body.extend([0; 8]);
        body.extend(10_000i32.to_be_bytes());
        body.push(0);
        let answer = self.call(19, 2, &body);
        let mut answer = Reader(&answer);
        assert_eq!((answer.i32(), answer.i32()), (0, 1), "throttle and topics");
        assert_eq!(answer.string(), topic);
        answer.i16()
    }

    /// Produce 7 with `acks=all`: error code and base offset.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: &[u8]) -> (i16, i64) {
        self.try_send_produce(topic, partition, batch).expect("sent");
        self.try_receive_produce(topic, partition).expect("an answer")
    }

    /// `None` if the connection is gone.
    pub fn try_send_produce(&mut self, topic: &str, partition: i32, batch: &[u8]) -> Option<()> {
        let mut body = (-1i16).to_be_bytes().to_vec();
        body.extend((-1i16).to_be_bytes());
        body.extend(10_000i32.to_be_bytes());
        body.extend(1i32.to_be_bytes());
        string(&mut body, topic);
        body.extend(1i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend((batch.len() as i32).to_be_bytes());
        body.extend(batch);
        self.try_send(0, 7, &body).ok()
    }

    pub fn try_receive_produce(&mut self, topic: &str, partition: i32) -> Option<(i16, i64)> {
        let answer = self.try_receive().ok()?;
        let mut answer = Reader(&answer);
        assert_eq!(answer.i32(), 1);
        assert_eq!(answer.string(), topic);
        assert_eq!((answer.i32(), answer.i32()), (1, partition));
        Some((answer.i16(), answer.i64()))
    }

    /// Fetch 4, waiting up to a second for a first byte.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Fetched {
        self.ask_fetch(topic, partition, offset);
        self.try_receive_fetch(topic, partition).expect("an answer")
    }

    /// Sends the request alone.
    pub fn ask_fetch(&mut self, topic: &str, partition: i32, offset: i64) {
        let mut body = (-1i32).to_be_bytes().to_vec();
        body.extend(1000i32.to_be_bytes());
        body.extend(1i32.to_be_bytes());
        body.extend((8i32 << 20).to_be_bytes());
        body.push(0);
        body.extend(1i32.to_be_bytes());
        string(&mut body, topic);
        body.extend(1i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend(offset.to_be_bytes());
        body.extend((8i32 << 20).to_be_bytes());
        self.send(1, 4, &body);
    }

    /// `None` if the connection is gone.
    pub fn try_receive_fetch(&mut self, topic: &str, partition: i32) -> Option<Fetched> {
        let answer = self.try_receive().ok()?;
        let mut answer = Reader(&answer);
        assert_eq!((answer.i32(), answer.i32()), (0, 1));
        assert_eq!(answer.string(), topic);
        assert_eq!((answer.i32(), answer.i32()), (1, partition));
        let (error, high_watermark, _last_stable) = (answer.i16(), answer.i64(), answer.i64());
        for _ in 0..answer.i32().max(0) {
            let _aborted = (answer.i64(), answer.i64());
        }
        let len = answer.i32().max(0) as usize;
        Some(Fetched { error, high_watermark, records: answer.take(len).to_vec() })
    }

    /// Bytes of no protocol at all.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }

    /// Whether the broker has closed the connection; whatever it sent before is dropped.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// A batch of one record for each value, without compression or producer.
pub fn batch(values: &[&[u8]]) -> Vec<u8> {
    let mut records = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let mut record = vec![0, 0];
        varint(&mut record, index as i64);
        varint(&mut record, -1);
        varint(&mut record, value.len() as i64);
        record.extend(*value);
        varint(&mut record, 0);
        varint(&mut records, record.len() as i64);
        records.extend(record);
    }
    let mut body = 0i16.to_be_bytes().to_vec();
    body.extend((values.len() as i32 - 1).to_be_bytes());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let timestamp = now.as_millis() as i64;
    body.extend(timestamp.to_be_bytes());
    body.extend(timestamp.to_be_bytes());
    body.extend((-1i64).to_be_bytes());
    body.extend((-1i16).to_be_bytes());
    body.extend((-1i32).to_be_bytes());
    body.extend((values.len() as i32).to_be_bytes());
    body.extend(records);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &body) as u32;
    let mut batch = 0i64.to_be_bytes().to_vec();
    batch.extend((body.len() as i32 + 9).to_be_bytes());
    batch.extend((-1i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc.to_be_bytes());
    batch.extend(body);
    batch
}

/// Base offset and values of each batch in `records`, their checksums checked.
pub fn values(mut records: &[u8]) -> Vec<(i64, Vec<Vec<u8>>)> {
    let mut batches = Vec::new();
    while !records.is_empty() {
        let mut header = Reader(records);
        let (base, len) = (header.i64(), header.i32() as usize);
        let (batch, rest) = records.split_at(12 + len);
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]) as u32;
        assert_eq!(batch[17..21], crc.to_be_bytes(), "the checksum of the batch at {base}");
        let mut body = Reader(&batch[57..]);
        let count = body.i32();
        let read = |_| {
            body.varint();
            body.take(1);
            body.varint();
            body.varint();
            assert_eq!(body.varint(), -1, "no key was written");
            let len = body.varint() as usize;
            let value = body.take(len).to_vec();
            assert_eq!(body.varint(), 0, "no header was written");
            value
        };
        batches.push((base, (0..count).map(read).collect()));
        records = rest;
    }
    batches
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().expect("2 bytes"))
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("4 bytes"))
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().expect("8 bytes"))
    }

    fn string(&mut self) -> &'a str {
        let len = self.i16() as usize;
        std::str::from_utf8(self.take(len)).expect("UTF-8")
    }

    fn varint(&mut self) -> i64 {
        let mut number = 0u64;
        for shift in (0..).step_by(7) {
            let byte = self.take(1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        (number >> 1) as i64 ^ -((number & 1) as i64)
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn varint(out: &mut Vec<u8>, number: i64) {
    let mut zigzag = (number << 1 ^ number >> 63) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}
