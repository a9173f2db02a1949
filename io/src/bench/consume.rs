//! The consuming load: one fetch in flight for each connection, as Kafka's clients do it, without fetch sessions.
//!
//! Nothing is decoded but the headers of batches: they say where to go on.

use super::admin;
use super::batch;
use super::meter::Meter;
use super::net::{Link, Poller};
use super::wire::{Reader, Writer};
use crate::client::{
    self,
    cluster::{Cluster, EARLIEST, LATEST},
};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::time::{Duration, Instant};

const FETCH: i16 = 1;
const VERSION: i16 = 11;

/// A load, as the command line describes it.
pub struct Load {
    pub topic: String,
    pub connections: usize,
    pub from_latest: bool,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    pub min_bytes: i32,
    pub max_wait_ms: i32,
    pub verify: bool,
    /// Begin a partition anew at its end as it was when the run began.
    pub again: bool,
    pub warmup: Duration,
    /// `None`: until the end of every partition as it was when the run began.
    pub duration: Option<Duration>,
    pub bytes: Option<u64>,
}

/// One partition of one connection.
struct Partition {
    index: i32,
    start: i64,
    /// The end when the run began.
    end: i64,
    next: i64,
}

struct Connection {
    link: Link,
    /// In the order in which they are asked for: those that gave something last stand last.
    partitions: VecDeque<Partition>,
    request: Vec<u8>,
    position: usize,
    sequence: i32,
    asked: Instant,
    in_flight: bool,
    lost: bool,
}

/// Runs the load to its end; what happened is in the meter.
pub fn run(load: &Load, bootstrap: &mut Cluster, meter: &mut Meter) -> io::Result<()> {
    let mut poller = Poller::new()?;
    let mut connections = open(load, bootstrap, &poller)?;
    let start = Instant::now();
    let mut warm_at = Some(start + load.warmup);
    let end = load.duration.map(|duration| start + load.warmup + duration);
    loop {
        let now = Instant::now();
        if warm_at.is_some_and(|at| now >= at) {
            warm_at = None;
            meter.restart()?;
        }
        let enough = warm_at.is_none() && load.bytes.is_some_and(|bytes| meter.bytes >= bytes);
        let at_end = load.duration.is_none() && connections.iter().all(|connection| connection.is_at_end());
        let out_of_time = end.is_some_and(|end| now >= end);
        if enough || at_end || out_of_time || connections.iter().all(|connection| connection.lost) {
            break;
        }
        for connection in &mut connections {
            connection.ask(load, &poller, meter);
        }
        let wake = end.unwrap_or(now + Duration::from_secs(1)).min(warm_at.unwrap_or(now + Duration::from_secs(1)));
        for ready in poller.wait(wake.saturating_duration_since(Instant::now()))? {
            let connection = &mut connections[ready.token];
            if ready.read && !connection.lost {
                connection.receive(load, meter);
            }
        }
    }
    meter.finish();
    Ok(())
}

/// Partitions in turn over the connections to their leader; where connections are more, several read the same one.
fn open(load: &Load, bootstrap: &mut Cluster, poller: &Poller) -> io::Result<Vec<Connection>> {
    let leaders = admin::leaders(bootstrap, &load.topic)?;
    let mut offsets: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    let all: Vec<i32> = leaders.values().flatten().copied().collect();
    let earliest = admin::offsets(bootstrap, &load.topic, &all, EARLIEST)?;
    let latest = admin::offsets(bootstrap, &load.topic, &all, LATEST)?;
    for index in all {
        let missing = || io::Error::other(format!("no offset came for partition {index}"));
        let start = *earliest.get(&index).ok_or_else(missing)?;
        offsets.insert(index, (start, *latest.get(&index).ok_or_else(missing)?));
    }
    let brokers: Vec<_> = leaders.iter().collect();
    let mut connections = Vec::with_capacity(load.connections);
    for number in 0..load.connections {
        let (address, led) = brokers[number % brokers.len()];
        // This connection is the `place`-th of `peers` to its broker.
        let place = number / brokers.len();
        let peers = (load.connections - number % brokers.len()).div_ceil(brokers.len());
        let mine = led.iter().enumerate().filter(|(nth, _)| nth % peers == place % peers.min(led.len()));
        let partitions = mine.map(|(_, index)| {
            let (start, end) = offsets[index];
            Partition { index: *index, start, end, next: if load.from_latest { end } else { start } }
        });
        connections.push(Connection {
            link: Link::new(client::connect(address)?, number, poller)?,
            partitions: partitions.collect(),
            request: Vec::new(),
            position: 0,
            sequence: 0,
            asked: Instant::now(),
            in_flight: false,
            lost: false,
        });
    }
    Ok(connections)
}

impl Connection {
    fn is_at_end(&self) -> bool {
        self.lost || self.partitions.iter().all(|partition| partition.next >= partition.end)
    }

    /// Makes the next request if none is in flight, and writes what the connection takes of it.
    fn ask(&mut self, load: &Load, poller: &Poller, meter: &mut Meter) {
        if self.lost {
            return;
        }
        if !self.in_flight {
            self.encode(load);
            self.in_flight = true;
        }
        while self.position < self.request.len() {
            match self.link.stream.write(&self.request[self.position..]) {
                Ok(bytes) => self.position += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.lose(&error, meter),
            }
        }
        if let Err(error) = self.link.want_write(self.position < self.request.len(), poller) {
            self.lose(&error, meter);
        }
    }

    fn encode(&mut self, load: &Load) {
        let mut request = Writer::request(FETCH, VERSION, self.sequence);
        request.i32(-1).i32(load.max_wait_ms).i32(load.min_bytes).i32(load.max_bytes).i8(0);
        // No session: id 0, epoch -1 (KIP-227).
        request.i32(0).i32(-1).count(1).string(&load.topic).count(self.partitions.len());
        for partition in &mut self.partitions {
            if load.again && partition.next >= partition.end {
                partition.next = partition.start;
            }
            request.i32(partition.index).i32(-1).i64(partition.next).i64(-1).i32(load.partition_max_bytes);
        }
        request.count(0).string("");
        self.request = request.finish(0);
        self.position = 0;
        self.asked = Instant::now();
    }

    fn receive(&mut self, load: &Load, meter: &mut Meter) {
        let (partitions, sequence, asked) = (&mut self.partitions, &mut self.sequence, self.asked);
        let in_flight = &mut self.in_flight;
        let result = self.link.receive(|frame| {
            let mut frame = Reader(frame);
            let correlation = frame.i32()?;
            if correlation != *sequence {
                return Err(io::Error::other(format!("answer {correlation} came where {sequence} was due")));
            }
            *sequence += 1;
            *in_flight = false;
            let (records, bytes) = take(&mut frame, partitions, load, meter)?;
            meter.answer(asked, Instant::now(), records, bytes);
            Ok(())
        });
        if let Err(error) = result {
            self.lose(&error, meter);
        }
    }

    fn lose(&mut self, error: &io::Error, meter: &mut Meter) {
        meter.failures.push(format!("connection lost: {error}"));
        self.lost = true;
    }
}

/// Takes a response apart and moves its partitions on. Gives the records and bytes of whole batches.
fn take(
    body: &mut Reader,
    partitions: &mut VecDeque<Partition>,
    load: &Load,
    meter: &mut Meter,
) -> io::Result<(u64, u64)> {
    let (mut records, mut bytes) = (0, 0);
    body.i32()?;
    match body.i16()? {
        0 => {}
        code => meter.error(code),
    }
    body.i32()?;
    for _ in 0..body.count()? {
        body.string()?;
        for _ in 0..body.count()? {
            let (index, code) = (body.i32()?, body.i16()?);
            let _high_watermark_stable_and_start = body.take(24)?;
            for _aborted in 0..body.count()? {
                body.take(16)?;
            }
            let _preferred_replica = body.i32()?;
            let batches = body.bytes()?;
            if code != 0 {
                meter.error(code);
            }
            if batches.is_empty() {
                continue;
            }
            let Some(place) = partitions.iter().position(|partition| partition.index == index) else {
                return Err(io::Error::other(format!("partition {index} was not asked for")));
            };
            let mut partition = partitions.remove(place).expect("its place was found");
            let damaged = batch::walk(batches, load.verify, |seen| {
                partition.next = seen.next_offset;
                records += seen.records as u64;
                bytes += seen.bytes as u64;
            });
            partitions.push_back(partition);
            if damaged > 0 {
                meter.failures.push(format!("{damaged} damaged batches in partition {index}"));
            }
        }
    }
    Ok((records, bytes))
}
