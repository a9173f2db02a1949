//! `highwater consume`: the records of a topic, a line each.
//!
//! It reads from where it is told and goes on until it is stopped, has printed enough, or has reached what was the end when
//! it began. Records of one partition come in their order. With `--group` it shares the partitions with the group's other
//! members, begins where the group has committed, and commits what it has printed: after a crash some may be printed again,
//! none is left out. Without it, nothing is committed.

use super::Target;
use super::group::{Place, offsets_at, place};
use crate::client::cluster::{Cluster, LATEST, Missing, Topic, by_leader, may_pass};
use crate::client::member::{Member, Standing};
use crate::client::{check, failed};
use clap::{Args as ClapArgs, ValueEnum};
use highwater::records::iter::{Records as RecordsOf, record_bytes};
use highwater::records::{BatchHeader, Record, split};
use highwater::wire::ErrorCode;
use highwater::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The newest version that names topics.
const FETCH: i16 = 12;
const ANSWER_BYTES: i32 = 8 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
/// Records of one batch that take more are not unpacked.
const BATCH_BYTES: usize = 256 << 20;
const WAIT_MS: i32 = 500;
/// How often a group's offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How long a member without partitions waits before it looks again.
const IDLE: Duration = Duration::from_millis(100);

#[derive(ClapArgs, Debug)]
pub struct Args {
    /// The topic
    topic: String,
    /// Where to begin: start, end, an offset, or time=MILLISECONDS since 1970; with --group: where it has committed nothing
    #[arg(long, value_name = "PLACE", default_value = "end", value_parser = place)]
    from: Place,
    /// Share the topic with the members of this group, begin where it has committed, commit what is printed
    #[arg(long, value_name = "GROUP", conflicts_with = "partitions")]
    group: Option<String>,
    /// The same as --from start
    #[arg(long, conflicts_with = "from")]
    from_beginning: bool,
    /// Only these partitions; several separated by commas
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// Stop after so many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_messages: Option<u64>,
    /// Stop at what is the end now
    #[arg(long)]
    until_end: bool,
    /// Print keys, before the values
    #[arg(long)]
    keys: bool,
    /// Print headers, before the keys
    #[arg(long)]
    headers: bool,
    /// Print partition, offset and timestamp, before everything else
    #[arg(long)]
    places: bool,
    /// Between what is printed of one record
    #[arg(long, value_name = "TEXT", default_value = "\t")]
    separator: String,
    /// How keys and values are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// One JSON object for each record, with everything
    #[arg(long, conflicts_with_all = ["keys", "headers", "places"])]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// As they are
    Text,
    /// In hexadecimal digits
    Hex,
}

pub fn run(args: &Args) -> io::Result<()> {
    let mut cluster = args.target.open()?;
    let topic = cluster.topic(&args.topic, Missing::Refused)?;
    let all: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
    if let Some(index) = args.partitions.iter().find(|index| !all.contains(index)) {
        return Err(failed(format!("topic {}: no partition {index}; it has 0 to {}", args.topic, all.len() - 1)));
    }
    let wanted = if args.partitions.is_empty() { all } else { args.partitions.clone() };
    let from = if args.from_beginning { Place::Start } else { args.from };
    let ends = if args.until_end { Some(cluster.offsets(&topic, &wanted, LATEST)?) } else { None };
    let left = args.max_messages.unwrap_or(u64::MAX);
    let mut reading = Reading { topic, next: BTreeMap::new(), ends, left, reset: args.group.as_ref().map(|_| from) };
    let mut out = BufWriter::with_capacity(256 << 10, io::stdout().lock());
    if let Some(group) = &args.group {
        return reading.share(&mut cluster, group, args, &mut out);
    }
    reading.next = offsets_at(&mut cluster, &reading.topic, &wanted, from)?;
    while !reading.is_over() {
        reading.round(&mut cluster, args, &mut out)?;
        out.flush()?;
    }
    Ok(())
}

/// Set by the first SIGINT or SIGTERM; the second ends the process.
fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

struct Reading {
    topic: Topic,
    /// Where each partition goes on.
    next: BTreeMap<i32, i64>,
    /// Where each is to stop.
    ends: Option<BTreeMap<i32, i64>>,
    /// Records that may still be printed.
    left: u64,
    /// Where a partition goes on whose offset is not in its log any more; `None`: that is an error.
    reset: Option<Place>,
}

impl Reading {
    /// Reads as a member of a group, until it is over.
    fn share(&mut self, cluster: &mut Cluster, group: &str, args: &Args, out: &mut impl Write) -> io::Result<()> {
        let stop = stop_flag()?;
        let mut member = Member::new(group, &self.topic.name);
        let mut standing = Standing::Lost;
        let mut commit_at = Instant::now();
        loop {
            if standing != Standing::Stable {
                member.join(cluster)?;
                self.begin(cluster, &member)?;
            }
            let over = self.is_over() && (self.left == 0 || self.ends.is_some());
            let stopped = stop.load(Ordering::Relaxed);
            if over || stopped {
                member.commit(cluster, &self.next)?;
                return member.leave(cluster);
            }
            if self.next.is_empty() {
                std::thread::sleep(IDLE);
            }
            self.round(cluster, args, out)?;
            out.flush()?;
            standing = member.beat(cluster)?;
            if standing == Standing::Rebalancing || (standing == Standing::Stable && Instant::now() >= commit_at) {
                commit_at = Instant::now() + COMMIT_EVERY;
                standing = standing.max(member.commit(cluster, &self.next)?);
            }
        }
    }

    /// Begins with what the member was assigned: where the group has committed, else where it is told.
    fn begin(&mut self, cluster: &mut Cluster, member: &Member) -> io::Result<()> {
        let committed = member.committed(cluster)?;
        self.topic = cluster.topic(&self.topic.name, Missing::Refused)?;
        let fresh: Vec<i32> =
            member.partitions().iter().copied().filter(|index| !committed.contains_key(index)).collect();
        let from = self.reset.expect("a group resets");
        self.next = offsets_at(cluster, &self.topic, &fresh, from)?;
        self.next.extend(committed);
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.left == 0 || self.open().is_empty()
    }

    /// The partitions that have not come to their end.
    fn open(&self) -> Vec<i32> {
        let at_end = |index: &i32, next: &i64| *next >= self.end(*index);
        self.next.iter().filter(|(index, next)| !at_end(index, next)).map(|(index, _)| *index).collect()
    }

    /// Where a partition is to stop. One that did not exist when it began has nothing to give.
    fn end(&self, index: i32) -> i64 {
        self.ends.as_ref().map_or(i64::MAX, |ends| ends.get(&index).copied().unwrap_or(0))
    }

    /// One fetch from each leader.
    fn round(&mut self, cluster: &mut Cluster, args: &Args, out: &mut impl Write) -> io::Result<()> {
        let leaders = by_leader(&self.topic, &self.open());
        // Several brokers are asked in turn: none of them may hold the others up.
        let wait = if leaders.len() > 1 { WAIT_MS / 10 } else { WAIT_MS };
        for (leader, partitions) in leaders {
            let part = |index: &i32| FetchPartition {
                partition: *index,
                fetch_offset: self.next[index],
                partition_max_bytes: PARTITION_BYTES,
                ..FetchPartition::default()
            };
            let asked = FetchTopic {
                topic: self.topic.name.as_str().into(),
                partitions: partitions.iter().map(part).collect(),
                ..FetchTopic::default()
            };
            let request = FetchRequest {
                max_wait_ms: wait,
                min_bytes: 1,
                max_bytes: ANSWER_BYTES,
                topics: vec![asked],
                ..FetchRequest::default()
            };
            let answer = cluster.broker(leader)?.ask(FETCH, &request)?;
            let found: FetchResponse<'_> = answer.read()?;
            check(found.error_code, None, &self.topic.name)?;
            for partition in found.responses.iter().flat_map(|topic| &topic.partitions) {
                let index = partition.partition_index;
                let place = format!("{}-{index} at offset {}", self.topic.name, self.next[&index]);
                match partition.error_code {
                    ErrorCode::NONE => {
                        let records = partition.records.as_ref().map(|records| records.contiguous());
                        self.print(index, &records.unwrap_or_default(), args, out)?;
                    }
                    error if may_pass(error) => {
                        std::thread::sleep(Duration::from_millis(100));
                        self.topic = cluster.topic(&self.topic.name, Missing::Refused)?;
                    }
                    ErrorCode::OFFSET_OUT_OF_RANGE if self.reset.is_some() => {
                        let from = self.reset.expect("just seen");
                        let next = offsets_at(cluster, &self.topic, &[index], from)?;
                        self.next.extend(next);
                    }
                    ErrorCode::OFFSET_OUT_OF_RANGE => {
                        let start = partition.log_start_offset;
                        return Err(failed(format!("{place}: not in the log any more; it begins at {start}")));
                    }
                    error => check(error, None, &place)?,
                }
            }
        }
        Ok(())
    }

    fn print(&mut self, index: i32, bytes: &[u8], args: &Args, out: &mut impl Write) -> io::Result<()> {
        for batch in split(bytes) {
            // What was cut off at the end comes again.
            let Ok((header, batch)) = batch else { break };
            let broken = |error: highwater::records::BatchError| {
                failed(format!("{}-{index}: batch at offset {}: {error}", self.topic.name, header.base_offset.0))
            };
            if !header.is_control() {
                let records = record_bytes(batch, &header, BATCH_BYTES).map_err(broken)?;
                for record in RecordsOf::new(&header, &records) {
                    let record = record.map_err(broken)?;
                    let end = self.end(index);
                    let wanted = record.offset.0 >= self.next[&index] && record.offset.0 < end;
                    if wanted && self.left > 0 {
                        self.left -= 1;
                        print(&self.topic.name, index, &record, args, out)?;
                    }
                }
            }
            let next = self.next.get_mut(&index).expect("it was asked for");
            *next = (*next).max(end_of(&header));
        }
        Ok(())
    }
}

fn end_of(header: &BatchHeader) -> i64 {
    header.end_offset().0
}

fn print(topic: &str, index: i32, record: &Record<'_>, args: &Args, out: &mut impl Write) -> io::Result<()> {
    if args.json {
        let headers: Vec<Value> =
            record.headers.map(|(key, value)| json!([json_of(Some(key), args), json_of(value, args)])).collect();
        let line = json!({
            "topic": topic, "partition": index, "offset": record.offset.0, "timestamp": record.timestamp.0,
            "key": json_of(record.key, args), "value": json_of(record.value, args), "headers": headers,
        });
        return writeln!(out, "{line}");
    }
    if args.places {
        let (offset, time) = (record.offset.0, record.timestamp.0);
        write!(out, "{index}{0}{offset}{0}{time}{0}", args.separator)?;
    }
    if args.headers {
        for (number, (key, value)) in record.headers.enumerate() {
            out.write_all(if number == 0 { b"" } else { b"," })?;
            write_bytes(Some(key), args.format, out)?;
            out.write_all(b"=")?;
            write_bytes(value, args.format, out)?;
        }
        out.write_all(args.separator.as_bytes())?;
    }
    if args.keys {
        write_bytes(record.key, args.format, out)?;
        out.write_all(args.separator.as_bytes())?;
    }
    write_bytes(record.value, args.format, out)?;
    out.write_all(b"\n")
}

fn write_bytes(bytes: Option<&[u8]>, format: Format, out: &mut impl Write) -> io::Result<()> {
    match (bytes, format) {
        (None, _) => out.write_all(b"null"),
        (Some(bytes), Format::Text) => out.write_all(bytes),
        (Some(bytes), Format::Hex) => out.write_all(hex(bytes).as_bytes()),
    }
}

/// Text as a string, anything else as `{"hex": ...}`.
fn json_of(bytes: Option<&[u8]>, args: &Args) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    match (args.format, std::str::from_utf8(bytes)) {
        (Format::Text, Ok(text)) => Value::from(text),
        (Format::Text, Err(_)) => json!({ "hex": hex(bytes) }),
        (Format::Hex, _) => Value::from(hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
