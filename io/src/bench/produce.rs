//! The producing load: batches encoded once, requests gathered from shared pieces by `writev`.
//!
//! A request is a head of its own (only its correlation id differs from the next one's), and then, for each partition,
//! eight bytes and the one batch that all requests share. Answers come in the order of requests, as Kafka promises.

use super::admin::Leaders;
use super::meter::Meter;
use super::net::{Link, Poller};
use super::wire::{Reader, Writer};
use crate::client;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::time::{Duration, Instant};

const PRODUCE: i16 = 0;
const VERSION: i16 = 7;
/// `index` and the length of `records`.
const PARTITION_BYTES: usize = 8;
const SLICES: usize = 512;
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// A load, as the command line describes it.
pub struct Load {
    pub topic: String,
    pub batch: Vec<u8>,
    pub records_per_batch: u64,
    pub connections: usize,
    pub in_flight: usize,
    pub partitions_per_request: usize,
    /// Requests a second over all connections; `None`: each as soon as there is room.
    pub rate: Option<f64>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub warmup: Duration,
    pub duration: Duration,
    /// Stop after so many bytes in the window.
    pub bytes: Option<u64>,
    /// Go on after `duration` until so many bytes are written.
    pub at_least: u64,
}

/// What all connections share.
struct Shared<'a> {
    load: &'a Load,
    /// A request up to its first partition, with correlation id 0.
    head: Vec<u8>,
    partition_bytes_each: usize,
    request_bytes: usize,
}

struct Connection {
    link: Link,
    /// The partitions that this connection's broker leads: index and length of the batch, as they are sent.
    partitions: Vec<[u8; PARTITION_BYTES]>,
    /// Where in `partitions` the next request begins.
    cursor: usize,
    /// One head for each request in flight, by sequence.
    heads: Vec<Vec<u8>>,
    /// Where in `partitions` each request in flight begins, by sequence.
    starts: Vec<usize>,
    /// Requests made, written whole, and answered, so far.
    made: u64,
    written: u64,
    answered: u64,
    /// Bytes written of the first request that is not written whole.
    position: usize,
    /// When each unanswered request was due.
    due: VecDeque<Instant>,
    /// Requests that are due and have no room yet (with a rate only).
    waiting: VecDeque<Instant>,
    lost: bool,
}

/// Runs the load to its end; what happened is in the meter.
pub fn run(load: &Load, leaders: &Leaders, meter: &mut Meter) -> io::Result<()> {
    let shared = Shared::new(load);
    let mut poller = Poller::new()?;
    let mut connections = open(load, &shared, leaders, &poller)?;
    let start = Instant::now();
    let mut schedule = load.rate.map(|rate| Schedule::new(start, rate));
    let mut warm_at = Some(start + load.warmup);
    let end = start + load.warmup + load.duration;
    meter.restart()?;

    loop {
        let now = Instant::now();
        if warm_at.is_some_and(|at| now >= at) {
            warm_at = None;
            meter.restart()?;
        }
        let enough = warm_at.is_none() && load.bytes.is_some_and(|bytes| meter.bytes >= bytes);
        let over = now >= end && meter.bytes >= load.at_least;
        if over || enough || connections.iter().all(|connection| connection.lost) {
            break;
        }
        match &mut schedule {
            Some(schedule) => schedule.spread(now, &mut connections),
            None => connections.iter_mut().for_each(|connection| connection.top_up(load.in_flight, now)),
        }
        for connection in &mut connections {
            connection.make_and_send(&shared, &poller, meter);
        }
        let last = end.max(now + Duration::from_millis(100));
        let next = schedule.as_ref().map_or(last, |schedule| schedule.next.min(last));
        // Without answers nothing wakes us while a connection takes more.
        let free = |connection: &Connection| !connection.lost && !connection.link.is_blocked();
        let next = if load.acks == 0 && schedule.is_none() && connections.iter().any(free) { now } else { next };
        let wake = warm_at.map_or(next, |at| at.min(next));
        serve(&mut poller, wake.saturating_duration_since(Instant::now()), &mut connections, &shared, meter)?;
    }
    meter.finish();
    drain(&mut poller, &mut connections, &shared, meter)
}

/// Connections in turn over the brokers that lead partitions.
fn open(load: &Load, shared: &Shared, leaders: &Leaders, poller: &Poller) -> io::Result<Vec<Connection>> {
    let brokers: Vec<_> = leaders.iter().collect();
    let mut connections = Vec::with_capacity(load.connections);
    for index in 0..load.connections {
        let (address, partitions) = brokers[index % brokers.len()];
        if partitions.len() < load.partitions_per_request {
            return Err(io::Error::other(format!(
                "--partitions-per-request {} is more than the {} partitions that {address} leads",
                load.partitions_per_request,
                partitions.len()
            )));
        }
        let link = Link::new(client::connect(address)?, index, poller)?;
        let length = (load.batch.len() as i32).to_be_bytes();
        let encode = |partition: &i32| {
            let mut bytes = [0; PARTITION_BYTES];
            bytes[..4].copy_from_slice(&partition.to_be_bytes());
            bytes[4..].copy_from_slice(&length);
            bytes
        };
        connections.push(Connection {
            link,
            partitions: partitions.iter().map(encode).collect(),
            cursor: index * partitions.len() / load.connections,
            heads: vec![shared.head.clone(); load.in_flight],
            starts: vec![0; load.in_flight],
            made: 0,
            written: 0,
            answered: 0,
            position: 0,
            due: VecDeque::new(),
            waiting: VecDeque::new(),
            lost: false,
        });
    }
    Ok(connections)
}

/// Waits for events once and handles them.
fn serve(
    poller: &mut Poller,
    timeout: Duration,
    connections: &mut [Connection],
    shared: &Shared,
    meter: &mut Meter,
) -> io::Result<()> {
    for ready in poller.wait(timeout)? {
        let connection = &mut connections[ready.token];
        if connection.lost {
            continue;
        }
        if ready.read {
            connection.receive(shared, meter);
        }
        if ready.write {
            connection.make_and_send(shared, poller, meter);
        }
    }
    Ok(())
}

/// Waits for the answers that are still to come.
fn drain(poller: &mut Poller, connections: &mut [Connection], shared: &Shared, meter: &mut Meter) -> io::Result<()> {
    let give_up = Instant::now() + DRAIN_LIMIT;
    let load = shared.load;
    let open = |connection: &Connection| !connection.lost && connection.answered < connection.made;
    if load.rate.is_some() {
        meter.overdue = connections.iter().map(|connection| connection.waiting.len() as u64).sum();
    }
    connections.iter_mut().for_each(|connection| connection.waiting.clear());
    while connections.iter().any(open) {
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let missing: u64 = connections.iter().map(|connection| connection.made - connection.answered).sum();
            meter.failures.push(format!("{missing} requests had no answer {} s after the end", DRAIN_LIMIT.as_secs()));
            break;
        }
        serve(poller, left, connections, shared, meter)?;
    }
    Ok(())
}

impl Shared<'_> {
    fn new(load: &Load) -> Shared<'_> {
        let mut head = Writer::request(PRODUCE, VERSION, 0);
        head.i16(-1).i16(load.acks).i32(load.timeout_ms);
        head.count(1).string(&load.topic).count(load.partitions_per_request);
        let partition_bytes_each = PARTITION_BYTES + load.batch.len();
        let partitions_bytes = load.partitions_per_request * partition_bytes_each;
        let head = head.finish(partitions_bytes);
        let request_bytes = head.len() + partitions_bytes;
        Shared { load, head, partition_bytes_each, request_bytes }
    }
}

impl Connection {
    fn in_flight(&self) -> usize {
        (self.made - self.answered) as usize
    }

    /// Without a rate, requests are due when there is room for them.
    fn top_up(&mut self, in_flight: usize, now: Instant) {
        while self.in_flight() + self.waiting.len() < in_flight {
            self.waiting.push_back(now);
        }
    }

    /// Makes requests of what is due while there is room, and writes what the connection takes.
    fn make_and_send(&mut self, shared: &Shared, poller: &Poller, meter: &mut Meter) {
        if self.lost {
            return;
        }
        while self.in_flight() < shared.load.in_flight {
            let Some(due) = self.waiting.pop_front() else { break };
            let slot = (self.made % shared.load.in_flight as u64) as usize;
            // The correlation id is the sequence; it stands behind length, API key and version.
            self.heads[slot][8..12].copy_from_slice(&(self.made as i32).to_be_bytes());
            self.starts[slot] = self.cursor;
            self.cursor = (self.cursor + shared.load.partitions_per_request) % self.partitions.len();
            self.due.push_back(due);
            self.made += 1;
        }
        if let Err(error) = self.send(shared, poller, meter) {
            self.lose(&error, meter);
        }
    }

    fn send(&mut self, shared: &Shared, poller: &Poller, meter: &mut Meter) -> io::Result<()> {
        while self.written < self.made {
            let result = {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = self.gather(shared, &mut slices);
                (&self.link.stream).write_vectored(&slices[..count])
            };
            match result {
                Ok(bytes) => self.wrote(bytes, shared, meter),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.link.want_write(true, poller),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.link.want_write(false, poller)
    }

    /// The pieces still to be written, from `position` on, as many as fit.
    fn gather<'a>(&'a self, shared: &'a Shared, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut count = 0;
        let mut position = self.position;
        for sequence in self.written..self.made {
            let slot = (sequence % shared.load.in_flight as u64) as usize;
            if position < shared.head.len() {
                slices[count] = IoSlice::new(&self.heads[slot][position..]);
                count += 1;
                position = shared.head.len();
            }
            while position < shared.request_bytes {
                if count + 2 > SLICES {
                    return count;
                }
                let index = (position - shared.head.len()) / shared.partition_bytes_each;
                let within = (position - shared.head.len()) % shared.partition_bytes_each;
                let partition = &self.partitions[(self.starts[slot] + index) % self.partitions.len()];
                if within < PARTITION_BYTES {
                    slices[count] = IoSlice::new(&partition[within..]);
                    count += 1;
                }
                slices[count] = IoSlice::new(&shared.load.batch[within.saturating_sub(PARTITION_BYTES)..]);
                count += 1;
                position += shared.partition_bytes_each - within;
            }
            position = 0;
            if count + 1 > SLICES {
                break;
            }
        }
        count
    }

    fn wrote(&mut self, bytes: usize, shared: &Shared, meter: &mut Meter) {
        self.position += bytes;
        while self.position >= shared.request_bytes {
            self.position -= shared.request_bytes;
            self.written += 1;
            if shared.load.acks == 0 {
                // No answer will come: it is done when it is written.
                let due = self.due.pop_front().expect("a request in flight has a time due");
                self.answered += 1;
                let batches = shared.load.partitions_per_request as u64;
                let (records, bytes) =
                    (batches * shared.load.records_per_batch, batches * shared.load.batch.len() as u64);
                meter.answer(due, Instant::now(), records, bytes);
            }
        }
    }

    fn receive(&mut self, shared: &Shared, meter: &mut Meter) {
        let now = Instant::now();
        let (due, answered, load) = (&mut self.due, &mut self.answered, shared.load);
        let result = self.link.receive(|frame| {
            let mut frame = Reader(frame);
            let correlation = frame.i32()?;
            let asked = due.pop_front().ok_or_else(|| io::Error::other("an answer came to no request"))?;
            if correlation != *answered as i32 {
                return Err(io::Error::other(format!("answer {correlation} came where {answered} was due")));
            }
            *answered += 1;
            let written = count_partitions(&mut frame, meter)?;
            meter.answer(asked, now, written * load.records_per_batch, written * load.batch.len() as u64);
            Ok(())
        });
        if let Err(error) = result {
            self.lose(&error, meter);
        }
    }

    fn lose(&mut self, error: &io::Error, meter: &mut Meter) {
        meter.failures.push(format!("connection lost with {} requests in flight: {error}", self.in_flight()));
        self.lost = true;
    }
}

/// How many partitions of an answer were written without an error.
fn count_partitions(body: &mut Reader, meter: &mut Meter) -> io::Result<u64> {
    let mut written = 0;
    for _ in 0..body.count()? {
        body.string()?;
        for _ in 0..body.count()? {
            let _index = body.i32()?;
            match body.i16()? {
                0 => written += 1,
                code => meter.error(code),
            }
            let _offset_append_time_and_log_start = body.take(24)?;
        }
    }
    Ok(written)
}

/// An open loop: requests are due at fixed times, whether the broker keeps up or not.
struct Schedule {
    next: Instant,
    start: Instant,
    interval_s: f64,
    made: u64,
}

impl Schedule {
    fn new(start: Instant, rate: f64) -> Schedule {
        Schedule { next: start, start, interval_s: 1.0 / rate, made: 0 }
    }

    /// Gives what is due by now to the connections in turn.
    fn spread(&mut self, now: Instant, connections: &mut [Connection]) {
        while self.next <= now {
            let turn = (self.made % connections.len() as u64) as usize;
            connections[turn].waiting.push_back(self.next);
            self.made += 1;
            self.next = self.start + Duration::from_secs_f64(self.made as f64 * self.interval_s);
        }
    }
}
