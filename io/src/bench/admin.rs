//! Topics before and after a run: made, found, listed and deleted over one blocking connection.

use super::wire::{Reader, Writer, describe_error};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;
const METADATA: i16 = 3;
const LIST_OFFSETS: i16 = 2;
const TIMEOUT_MS: i32 = 30_000;

/// A connection for one request at a time.
pub struct Admin {
    stream: TcpStream,
    correlation: i32,
}

/// Who leads a topic's partitions: address of a broker -> partitions, in order.
pub type Leaders = BTreeMap<String, Vec<i32>>;

impl Admin {
    pub fn connect(address: &str) -> io::Result<Admin> {
        let stream = connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Admin { stream, correlation: 0 })
    }

    /// CreateTopics, version 4.
    pub fn create_topic(&mut self, topic: &str, partitions: i32, configs: &[(String, String)]) -> io::Result<()> {
        let mut request = self.request(CREATE_TOPICS, 4);
        request.count(1).string(topic).i32(partitions).i16(-1).count(0).count(configs.len());
        for (key, value) in configs {
            request.string(key).string(value);
        }
        request.i32(TIMEOUT_MS).i8(0);
        let response = self.call(request)?;
        let mut response = Reader(&response);
        response.i32()?;
        for _ in 0..response.count()? {
            let (name, code, message) = (response.string()?, response.i16()?, response.string()?);
            if code != 0 {
                return Err(io::Error::other(format!("topic {name}: {}: {message}", describe_error(code))));
            }
        }
        Ok(())
    }

    /// DeleteTopics, version 3.
    pub fn delete_topic(&mut self, topic: &str) -> io::Result<()> {
        let mut request = self.request(DELETE_TOPICS, 3);
        request.count(1).string(topic).i32(TIMEOUT_MS);
        let response = self.call(request)?;
        let mut response = Reader(&response);
        response.i32()?;
        for _ in 0..response.count()? {
            let (name, code) = (response.string()?, response.i16()?);
            if code != 0 {
                return Err(io::Error::other(format!("topic {name} is not deleted: {}", describe_error(code))));
            }
        }
        Ok(())
    }

    /// Waits until every partition of the topic has a leader.
    pub fn leaders(&mut self, topic: &str) -> io::Result<Leaders> {
        let give_up = Instant::now() + Duration::from_secs(30);
        loop {
            match self.try_leaders(topic)? {
                Ok(leaders) => return Ok(leaders),
                Err(reason) if Instant::now() > give_up => return Err(io::Error::other(reason)),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Metadata, version 4. The inner error is one that may pass.
    fn try_leaders(&mut self, topic: &str) -> io::Result<Result<Leaders, String>> {
        let mut request = self.request(METADATA, 4);
        request.count(1).string(topic).i8(0);
        let response = self.call(request)?;
        let mut response = Reader(&response);
        response.i32()?;
        let mut brokers = BTreeMap::new();
        for _ in 0..response.count()? {
            let (node, host, port) = (response.i32()?, response.string()?, response.i32()?);
            response.string()?;
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
            brokers.insert(node, format!("{host}:{port}"));
        }
        response.string()?;
        response.i32()?;
        let mut leaders = Leaders::new();
        for _ in 0..response.count()? {
            let (code, _, _) = (response.i16()?, response.string()?, response.take(1)?);
            if code != 0 {
                return Ok(Err(format!("topic {topic}: {}", describe_error(code))));
            }
            for _ in 0..response.count()? {
                let (_, index, leader) = (response.i16()?, response.i32()?, response.i32()?);
                for _replicas_then_in_sync in 0..2 {
                    for _ in 0..response.count()? {
                        response.i32()?;
                    }
                }
                match brokers.get(&leader) {
                    Some(address) => leaders.entry(address.clone()).or_default().push(index),
                    None => return Ok(Err(format!("partition {topic}-{index} has no leader"))),
                }
            }
        }
        leaders.values_mut().for_each(|partitions| partitions.sort_unstable());
        if leaders.is_empty() { Ok(Err(format!("topic {topic} has no partitions"))) } else { Ok(Ok(leaders)) }
    }

    /// ListOffsets, version 2: `timestamp` -2 is the earliest offset, -1 the latest.
    pub fn offsets(&mut self, topic: &str, partitions: &[i32], timestamp: i64) -> io::Result<BTreeMap<i32, i64>> {
        let mut request = self.request(LIST_OFFSETS, 2);
        request.i32(-1).i8(0).count(1).string(topic).count(partitions.len());
        for index in partitions {
            request.i32(*index).i64(timestamp);
        }
        let response = self.call(request)?;
        let mut response = Reader(&response);
        response.i32()?;
        let mut offsets = BTreeMap::new();
        for _ in 0..response.count()? {
            response.string()?;
            for _ in 0..response.count()? {
                let (index, code, _, offset) = (response.i32()?, response.i16()?, response.i64()?, response.i64()?);
                if code != 0 {
                    return Err(io::Error::other(format!("offset of {topic}-{index}: {}", describe_error(code))));
                }
                offsets.insert(index, offset);
            }
        }
        Ok(offsets)
    }

    /// Waits until every leader serves its partitions: Kafka announces leaders some moments before they do.
    pub fn await_serving(topic: &str, leaders: &Leaders) -> io::Result<()> {
        let give_up = Instant::now() + Duration::from_secs(30);
        for (address, partitions) in leaders {
            let mut leader = Admin::connect(address)?;
            while let Err(error) = leader.offsets(topic, partitions, -1) {
                if Instant::now() > give_up {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    fn request(&mut self, api_key: i16, version: i16) -> Writer {
        self.correlation += 1;
        Writer::request(api_key, version, self.correlation)
    }

    /// Sends a request and gives its response's body.
    fn call(&mut self, request: Writer) -> io::Result<Vec<u8>> {
        self.stream.write_all(&request.finish(0))?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if !(4..=64 << 20).contains(&length) {
            return Err(io::Error::other(format!("the broker announces a response of {length} bytes")));
        }
        let mut response = vec![0; length as usize];
        self.stream.read_exact(&mut response)?;
        let correlation = i32::from_be_bytes(response[..4].try_into().expect("four bytes"));
        if correlation != self.correlation {
            return Err(io::Error::other(format!("answer {correlation} came to request {}", self.correlation)));
        }
        response.drain(..4);
        Ok(response)
    }
}

/// A connection without Nagle's delay; the error names the address.
pub fn connect(address: &str) -> io::Result<TcpStream> {
    let stream =
        TcpStream::connect(address).map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
