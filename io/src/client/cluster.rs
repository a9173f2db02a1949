//! A cluster as a client sees it: its brokers, its topics, who leads and who coordinates.
//!
//! Nothing is remembered but connections: every question is asked again. Invariant: what needs a leader or a coordinator
//! goes to that broker, on one connection for each.

use super::{Connection, check, error_name, failed};
use highwater::ids::TopicId;
use highwater::wire::ErrorCode;
use highwater::wire::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use highwater::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};
use highwater::wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

/// How long leaders and coordinators may take to come to be.
const PATIENCE: Duration = Duration::from_secs(30);
/// And with each partition of a new topic: Kafka makes the files of 10,000 in about a minute.
const PATIENCE_EACH: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(20);
/// The newest versions in which topics go by their names everywhere they are asked for.
const METADATA: i16 = 12;
const LIST_OFFSETS: i16 = 7;
const FIND_COORDINATOR: i16 = 3;

/// ListOffsets: the offset behind the last record, and that of the first.
pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

/// A topic as Metadata tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub id: TopicId,
    pub internal: bool,
    pub error: ErrorCode,
    pub partitions: Vec<Partition>,
}

/// A partition; nobody leads it where `leader` is -1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
}

/// What becomes of a topic that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Refused,
    /// Another broker has only just made it.
    Awaited,
    /// It is made, if the broker likes that.
    Made,
}

pub struct Cluster {
    bootstrap: Connection,
    /// Where each broker listens, as of the last Metadata.
    brokers: BTreeMap<i32, String>,
    connections: BTreeMap<String, Connection>,
}

impl Cluster {
    pub fn open(bootstrap: &str) -> io::Result<Cluster> {
        let bootstrap = Connection::open(bootstrap)?;
        Ok(Cluster { bootstrap, brokers: BTreeMap::new(), connections: BTreeMap::new() })
    }

    /// The broker that was told: any will do.
    pub fn any(&mut self) -> &mut Connection {
        &mut self.bootstrap
    }

    /// The named topics, or all of them; with `create` those that are missing are made, if the broker likes that.
    pub fn topics(&mut self, names: Option<&[&str]>, create: bool) -> io::Result<Vec<Topic>> {
        let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned().into()), ..Default::default() };
        let request = MetadataRequest {
            topics: names.map(|names| names.iter().map(topic).collect()),
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        let answer = self.bootstrap.ask(METADATA, &request)?;
        let found: MetadataResponse<'_> = answer.read()?;
        for broker in &found.brokers {
            let host = if broker.host.contains(':') { format!("[{}]", broker.host) } else { broker.host.to_string() };
            self.brokers.insert(broker.node_id, format!("{host}:{}", broker.port));
        }
        let mut topics: Vec<Topic> = found.topics.iter().map(topic_of).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// A topic that exists, every partition led by somebody: waits for that where the topic is new.
    pub fn topic(&mut self, name: &str, missing: Missing) -> io::Result<Topic> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let topics = self.topics(Some(&[name]), missing == Missing::Made)?;
            let Some(topic) = topics.into_iter().next() else {
                return Err(failed(format!("topic {name}: the broker does not answer for it")));
            };
            let late = Instant::now() > give_up;
            let leaderless = topic.partitions.iter().find(|partition| !self.brokers.contains_key(&partition.leader));
            match (topic.error, leaderless) {
                (ErrorCode::NONE, None) if !topic.partitions.is_empty() => return Ok(topic),
                (ErrorCode::NONE, Some(partition)) if late => {
                    return Err(failed(format!("partition {name}-{}: nobody leads it", partition.index)));
                }
                (ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE, _) if !late => std::thread::sleep(PAUSE),
                (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, _) if missing != Missing::Refused && !late => {
                    std::thread::sleep(PAUSE)
                }
                (error, _) => return Err(failed(format!("topic {name}: {}", error_name(error)))),
            }
        }
    }

    /// The brokers of the last Metadata.
    pub fn nodes(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    pub fn address(&self, node: i32) -> Option<&str> {
        self.brokers.get(&node).map(String::as_str)
    }

    /// The connection to a broker that Metadata has named.
    pub fn broker(&mut self, node: i32) -> io::Result<&mut Connection> {
        let address = self.brokers.get(&node).ok_or_else(|| failed(format!("broker {node}: nobody knows it")))?;
        self.at(&address.clone())
    }

    fn at(&mut self, address: &str) -> io::Result<&mut Connection> {
        if !self.connections.contains_key(address) {
            self.connections.insert(address.to_owned(), Connection::open(address)?);
        }
        Ok(self.connections.get_mut(address).expect("just put there"))
    }

    /// The connection to the coordinator of a group.
    pub fn coordinator(&mut self, group: &str) -> io::Result<&mut Connection> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let request = FindCoordinatorRequest { key: group.into(), ..FindCoordinatorRequest::default() };
            let answer = self.bootstrap.ask(FIND_COORDINATOR, &request)?;
            let found: FindCoordinatorResponse<'_> = answer.read()?;
            match found.error_code {
                ErrorCode::COORDINATOR_NOT_AVAILABLE if Instant::now() < give_up => std::thread::sleep(PAUSE),
                error => {
                    check(error, found.error_message.as_deref(), &format!("group {group}"))?;
                    let host =
                        if found.host.contains(':') { format!("[{}]", found.host) } else { found.host.to_string() };
                    return self.at(&format!("{host}:{}", found.port));
                }
            }
        }
    }

    /// An offset for each of these partitions, by leader and time: [`LATEST`], [`EARLIEST`] or milliseconds since 1970; -1
    /// where no record is as late. Waits for leaders that have only just been named.
    pub fn offsets(&mut self, topic: &Topic, partitions: &[i32], time: i64) -> io::Result<BTreeMap<i32, i64>> {
        let mut offsets = BTreeMap::new();
        for (leader, indexes) in by_leader(topic, partitions) {
            let give_up = Instant::now() + PATIENCE + PATIENCE_EACH * indexes.len() as u32;
            loop {
                match self.leader_offsets(topic, leader, &indexes, time)? {
                    Ok(found) => break offsets.extend(found),
                    Err(_) if Instant::now() < give_up => std::thread::sleep(PAUSE),
                    Err(reason) => return Err(failed(reason)),
                }
            }
        }
        Ok(offsets)
    }

    /// The inner error is one that may pass.
    fn leader_offsets(
        &mut self,
        topic: &Topic,
        leader: i32,
        partitions: &[i32],
        timestamp: i64,
    ) -> io::Result<Result<Vec<(i32, i64)>, String>> {
        let wanted = |index: &i32| ListOffsetsPartition { partition_index: *index, timestamp, ..Default::default() };
        let asked =
            ListOffsetsTopic { name: topic.name.as_str().into(), partitions: partitions.iter().map(wanted).collect() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![asked], ..ListOffsetsRequest::default() };
        let answer = self.broker(leader)?.ask(LIST_OFFSETS, &request)?;
        let found: ListOffsetsResponse<'_> = answer.read()?;
        let mut offsets = Vec::new();
        for partition in found.topics.iter().flat_map(|topic| &topic.partitions) {
            let text = format!("{}-{}: {}", topic.name, partition.partition_index, error_name(partition.error_code));
            match partition.error_code {
                ErrorCode::NONE => offsets.push((partition.partition_index, partition.offset)),
                error if may_pass(error) => return Ok(Err(text)),
                _ => return Err(failed(text)),
            }
        }
        Ok(Ok(offsets))
    }
}

/// What a broker answers while leaders come to be: nothing was done, and it may be asked again.
pub fn may_pass(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::OFFSET_NOT_AVAILABLE
    )
}

/// The partitions of each leader.
pub fn by_leader(topic: &Topic, partitions: &[i32]) -> BTreeMap<i32, Vec<i32>> {
    let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in topic.partitions.iter().filter(|partition| partitions.contains(&partition.index)) {
        leaders.entry(partition.leader).or_default().push(partition.index);
    }
    leaders
}

fn topic_of(found: &highwater::wire::metadata::MetadataResponseTopic<'_>) -> Topic {
    let mut partitions: Vec<Partition> = found
        .partitions
        .iter()
        .map(|partition| Partition {
            index: partition.partition_index,
            leader: partition.leader_id,
            replicas: partition.replica_nodes.clone(),
            in_sync: partition.isr_nodes.clone(),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    Topic {
        name: found.name.as_deref().unwrap_or_default().to_owned(),
        id: found.topic_id,
        internal: found.is_internal,
        error: found.error_code,
        partitions,
    }
}
