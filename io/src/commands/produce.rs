//! `highwater produce`: a record for each line of stdin.
//!
//! Lines are sent together as they are there: a batch ends where stdin has nothing more at hand, or where it is full. A
//! request that a broker could not take yet is sent again; one whose answer was lost is not, since it may have been done:
//! the error says how far it came.

use super::Target;
use super::key_value;
use crate::client::cluster::{Cluster, Missing, Topic, may_pass};
use crate::client::{check, failed};
use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use highwater::boundary::Timestamp;
use highwater::records::BatchBuilder;
use highwater::wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use highwater::wire::{ErrorCode, Records};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The newest version that names topics.
const PRODUCE: i16 = 12;
/// Bytes of all batches of one request.
const REQUEST_BYTES: usize = 512 << 10;
const INPUT_BYTES: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(ClapArgs, Debug)]
pub struct Args {
    /// The topic; made if the broker makes topics by itself
    topic: String,
    /// What stands before this in a line is the record's key
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// A header of every record; may be given again
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// A line, or a value behind its key, that is this text stands for null
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// All records go to this partition [default: by the key as Kafka's clients do it, or in turn]
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Who must have it before it counts as done
    #[arg(long, value_enum, default_value = "all")]
    acks: Acks,
    /// Say nothing at the end
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Acks {
    #[value(name = "1")]
    Leader,
    All,
}

pub fn run(args: &Args) -> io::Result<()> {
    let mut cluster = args.target.open()?;
    let topic = cluster.topic(&args.topic, Missing::Made)?;
    let count = topic.partitions.len() as i32;
    if let Some(partition) = args.partition.filter(|partition| *partition >= count) {
        return Err(failed(format!("topic {}: no partition {partition}; it has 0 to {}", args.topic, count - 1)));
    }
    let mut input = BufReader::with_capacity(INPUT_BYTES, io::stdin().lock());
    let mut gathered = Gathered { count, ..Gathered::default() };
    let mut sent = 0;
    let mut line = Vec::new();
    while read_line(&mut input, &mut line)? {
        gathered.add(args, &line)?;
        if input.buffer().is_empty() || gathered.bytes >= REQUEST_BYTES {
            sent += gathered
                .flush(&mut cluster, &topic, args)
                .map_err(|error| failed(format!("{error}; {sent} records were acknowledged before")))?;
        }
    }
    sent += gathered.flush(&mut cluster, &topic, args)?;
    if !args.quiet {
        eprintln!("{sent} records");
    }
    Ok(())
}

/// The next line without its end. False at the end of the input.
fn read_line(input: &mut BufReader<impl Read>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    if input.read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(true)
}

/// Batches in the making, by partition.
#[derive(Default)]
struct Gathered {
    batches: BTreeMap<i32, BatchBuilder>,
    bytes: usize,
    /// Partitions of the topic.
    count: i32,
    /// Where records without a key go now.
    turn: i32,
}

impl Gathered {
    fn add(&mut self, args: &Args, line: &[u8]) -> io::Result<()> {
        let (key, value) = match args.key_separator.as_deref() {
            None => (None, line),
            Some(separator) => {
                let at = find(line, separator.as_bytes()).ok_or_else(|| {
                    failed(format!("a line without {separator:?}: {:?}", String::from_utf8_lossy(line)))
                })?;
                (Some(&line[..at]), &line[at + separator.len()..])
            }
        };
        let value = Some(value).filter(|value| args.null.as_deref().is_none_or(|null| null.as_bytes() != *value));
        let partition = match (args.partition, key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => (murmur2(key) & 0x7fff_ffff) as i32 % self.count,
            (None, None) => self.turn % self.count,
        };
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            args.headers.iter().map(|(key, value)| (key.as_bytes(), Some(value.as_bytes()))).collect();
        let batch = self.batches.entry(partition).or_default();
        let before = batch.size();
        batch.push(now(), key, value, &headers);
        self.bytes += batch.size() - before;
        Ok(())
    }

    /// Sends what is there, and gives how many records that were.
    fn flush(&mut self, cluster: &mut Cluster, topic: &Topic, args: &Args) -> io::Result<u64> {
        let batches = std::mem::take(&mut self.batches);
        (self.bytes, self.turn) = (0, (self.turn + 1) % self.count);
        let records = batches.values().map(|batch| batch.count() as u64).sum();
        let mut left: BTreeMap<i32, Bytes> =
            batches.into_iter().map(|(partition, batch)| (partition, batch.build().freeze())).collect();
        let give_up = Instant::now() + PATIENCE;
        let mut topic = topic.clone();
        while !left.is_empty() {
            let all: Vec<i32> = left.keys().copied().collect();
            let mut refused = ErrorCode::NONE;
            for (leader, partitions) in crate::client::cluster::by_leader(&topic, &all) {
                for (partition, code) in send(cluster, leader, &topic.name, &partitions, &left, args)? {
                    if may_pass(code) && Instant::now() < give_up {
                        refused = code;
                        continue;
                    }
                    left.remove(&partition);
                }
            }
            if refused != ErrorCode::NONE {
                std::thread::sleep(Duration::from_millis(50));
                topic = cluster.topic(&topic.name, Missing::Awaited)?;
            }
        }
        Ok(records)
    }
}

/// Sends one leader its batches. What does not pass is an error; what may pass is given with its code.
fn send(
    cluster: &mut Cluster,
    leader: i32,
    topic: &str,
    partitions: &[i32],
    batches: &BTreeMap<i32, Bytes>,
    args: &Args,
) -> io::Result<Vec<(i32, ErrorCode)>> {
    let data = |index: &i32| PartitionProduceData {
        index: *index,
        records: Some(Records::Slices(vec![batches[index].clone()])),
    };
    let named = TopicProduceData {
        name: topic.into(),
        partition_data: partitions.iter().map(data).collect(),
        ..TopicProduceData::default()
    };
    let acks = match args.acks {
        Acks::Leader => 1,
        Acks::All => -1,
    };
    let request = ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![named], ..ProduceRequest::default() };
    let answer = cluster.broker(leader)?.ask(PRODUCE, &request)?;
    let done: ProduceResponse<'_> = answer.read()?;
    let mut codes = Vec::new();
    for partition in done.responses.iter().flat_map(|topic| &topic.partition_responses) {
        if !may_pass(partition.error_code) {
            let what = format!("{topic}-{}", partition.index);
            check(partition.error_code, partition.error_message.as_deref(), &what)?;
        }
        codes.push((partition.index, partition.error_code));
    }
    if codes.len() != partitions.len() {
        let (told, asked) = (codes.len(), partitions.len());
        return Err(failed(format!("topic {topic}: the broker answers for {told} of {asked} partitions")));
    }
    Ok(codes)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return None;
    }
    text.windows(part.len()).position(|window| window == part)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Austin Appleby's MurmurHash2 with the seed of Kafka's clients: equal keys go where theirs go.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes(word.try_into().expect("four bytes")).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_kafkas_clients_send_them() {
        // The values of UtilsTest.testMurmur2.
        let known: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn lines_lose_their_end_and_nothing_else() {
        let mut input = BufReader::new(&b"one\r\n\ntwo"[..]);
        let mut line = Vec::new();
        let mut lines = Vec::new();
        while read_line(&mut input, &mut line).unwrap() {
            lines.push(line.clone());
        }
        assert_eq!(lines, [&b"one\r"[..], b"", b"two"]);
        assert_eq!((find(b"k::v::w", b"::"), find(b"kv", b"::"), find(b"kv", b"")), (Some(1), None, None));
    }
}
