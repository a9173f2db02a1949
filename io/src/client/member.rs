//! A member of a consumer group, by the classic protocol with the assignor `range`: it can share a group with any client
//! that offers that one.
//!
//! ```text
//! Subscription   version:i16 topics:[string] userdata:bytes
//! Assignment     version:i16 [topic:string partitions:[i32]] userdata:bytes      (lengths: i16 of strings, else i32)
//! ```
//!
//! Source: ConsumerProtocolSubscription and ConsumerProtocolAssignment, version 0, which every later one begins with.
//! Invariant: nobody reads what another member owns: what is assigned is forgotten before the group is joined again.

use super::cluster::{Cluster, Missing};
use super::offsets::{self, Committer};
use super::{check, failed};
use highwater::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use highwater::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use highwater::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use highwater::wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use highwater::wire::{ErrorCode, Reader};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

const JOIN_GROUP: i16 = 9;
const SYNC_GROUP: i16 = 5;
const HEARTBEAT: i16 = 4;
const LEAVE_GROUP: i16 = 5;

const PROTOCOL_TYPE: &str = "consumer";
const ASSIGNOR: &str = "range";
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 30_000;
const HEARTBEAT_EVERY: Duration = Duration::from_millis(2_500);
const PAUSE: Duration = Duration::from_millis(100);

/// What the coordinator holds of a member, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It owns what it was assigned.
    Stable,
    /// The group is joined anew; until then it still owns what it was assigned.
    Rebalancing,
    /// The group went on without it: it owns nothing.
    Lost,
}

pub struct Member {
    group: String,
    topic: String,
    id: String,
    generation: i32,
    partitions: Vec<i32>,
    beat_at: Instant,
}

impl Member {
    /// A member that has not joined yet.
    pub fn new(group: &str, topic: &str) -> Member {
        Member {
            group: group.to_owned(),
            topic: topic.to_owned(),
            id: String::new(),
            generation: -1,
            partitions: Vec::new(),
            beat_at: Instant::now(),
        }
    }

    /// The partitions of its topic that are its own.
    pub fn partitions(&self) -> &[i32] {
        &self.partitions
    }

    /// Joins the group, for the first time or again, until it is assigned something, perhaps nothing.
    pub fn join(&mut self, cluster: &mut Cluster) -> io::Result<()> {
        self.partitions.clear();
        loop {
            match self.join_once(cluster)? {
                ErrorCode::NONE => {
                    self.beat_at = Instant::now() + HEARTBEAT_EVERY;
                    return Ok(());
                }
                // The id that it was given is to be used from now on.
                ErrorCode::MEMBER_ID_REQUIRED => {}
                ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => self.forget(),
                ErrorCode::REBALANCE_IN_PROGRESS => {}
                error if passes(error) => std::thread::sleep(PAUSE),
                error => return check(error, None, &format!("group {}", self.group)),
            }
        }
    }

    fn join_once(&mut self, cluster: &mut Cluster) -> io::Result<ErrorCode> {
        let metadata = subscription(&self.topic);
        let protocol = JoinGroupRequestProtocol { name: ASSIGNOR.into(), metadata: metadata.into() };
        let request = JoinGroupRequest {
            group_id: self.group.as_str().into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.id.as_str().into(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![protocol],
            ..JoinGroupRequest::default()
        };
        let answer = cluster.coordinator(&self.group)?.ask(JOIN_GROUP, &request)?;
        let joined: JoinGroupResponse<'_> = answer.read()?;
        if joined.error_code == ErrorCode::NONE || joined.error_code == ErrorCode::MEMBER_ID_REQUIRED {
            self.id = joined.member_id.to_string();
        }
        if joined.error_code != ErrorCode::NONE {
            return Ok(joined.error_code);
        }
        self.generation = joined.generation_id;
        let mut assignments = Vec::new();
        if joined.leader == joined.member_id && !joined.skip_assignment {
            let members = joined.members.iter().map(|member| (member.member_id.to_string(), &*member.metadata));
            assignments = assign(cluster, members)?;
        }
        self.sync(cluster, assignments)
    }

    fn sync(&mut self, cluster: &mut Cluster, assignments: Vec<(String, Vec<u8>)>) -> io::Result<ErrorCode> {
        let part = |(member, assignment): (String, Vec<u8>)| SyncGroupRequestAssignment {
            member_id: member.into(),
            assignment: assignment.into(),
        };
        let request = SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(ASSIGNOR.into()),
            assignments: assignments.into_iter().map(part).collect(),
            ..SyncGroupRequest::default()
        };
        let answer = cluster.coordinator(&self.group)?.ask(SYNC_GROUP, &request)?;
        let synced: SyncGroupResponse<'_> = answer.read()?;
        if synced.error_code == ErrorCode::NONE {
            let assigned = read_assignment(&synced.assignment)
                .ok_or_else(|| failed(format!("group {}: an assignment that cannot be read", self.group)))?;
            self.partitions = assigned.get(&self.topic).cloned().unwrap_or_default();
        }
        Ok(synced.error_code)
    }

    /// Tells the coordinator that it lives, when that is due.
    pub fn beat(&mut self, cluster: &mut Cluster) -> io::Result<Standing> {
        if Instant::now() < self.beat_at {
            return Ok(Standing::Stable);
        }
        self.beat_at = Instant::now() + HEARTBEAT_EVERY;
        let request = HeartbeatRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            ..HeartbeatRequest::default()
        };
        let answer = cluster.coordinator(&self.group)?.ask(HEARTBEAT, &request)?;
        let beaten: HeartbeatResponse = answer.read()?;
        self.standing(beaten.error_code)
    }

    /// Commits where it goes on.
    pub fn commit(&mut self, cluster: &mut Cluster, offsets: &BTreeMap<i32, i64>) -> io::Result<Standing> {
        if offsets.is_empty() {
            return Ok(Standing::Stable);
        }
        let committer = Committer { group: &self.group, generation: self.generation, member: &self.id };
        let code = offsets::commit(cluster, &committer, &self.topic, offsets)?;
        self.standing(code)
    }

    /// What the group has committed of the partitions that are its own.
    pub fn committed(&self, cluster: &mut Cluster) -> io::Result<BTreeMap<i32, i64>> {
        let all = offsets::committed(cluster, &self.group)?;
        let own = all.into_iter().filter(|(topic, index, ..)| *topic == self.topic && self.partitions.contains(index));
        Ok(own.map(|(_, index, offset, _)| (index, offset)).collect())
    }

    /// Leaves the group, so that others need not wait for its session to end.
    pub fn leave(self, cluster: &mut Cluster) -> io::Result<()> {
        let identity = MemberIdentity { member_id: self.id.as_str().into(), ..MemberIdentity::default() };
        let request = LeaveGroupRequest {
            group_id: self.group.as_str().into(),
            member_id: self.id.as_str().into(),
            members: vec![identity],
        };
        let answer = cluster.coordinator(&self.group)?.ask(LEAVE_GROUP, &request)?;
        let left: LeaveGroupResponse<'_> = answer.read()?;
        check(left.error_code, None, &format!("group {}", self.group))
    }

    fn standing(&mut self, code: ErrorCode) -> io::Result<Standing> {
        match code {
            ErrorCode::NONE => Ok(Standing::Stable),
            ErrorCode::REBALANCE_IN_PROGRESS => Ok(Standing::Rebalancing),
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                self.forget();
                Ok(Standing::Lost)
            }
            // Asked again when the next is due.
            error if passes(error) => Ok(Standing::Stable),
            error => Err(check(error, None, &format!("group {}", self.group)).expect_err("it is an error")),
        }
    }

    fn forget(&mut self) {
        self.id.clear();
        self.generation = -1;
    }
}

/// The coordinator moves or wakes up.
fn passes(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS | ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR
    )
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn subscription(topic: &str) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(1i32.to_be_bytes());
    put_text(&mut out, topic);
    out.extend((-1i32).to_be_bytes());
    out
}

fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let len = usize::try_from(reader.i16().ok()?).ok()?;
    std::str::from_utf8(reader.take(len).ok()?).ok()
}

fn read_subscription(bytes: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader::new(bytes);
    reader.i16().ok()?;
    let count = reader.i32().ok()?;
    (0..count).map(|_| text(&mut reader).map(str::to_owned)).collect()
}

/// What a member is assigned; nothing is no assignment at all, or an empty one.
fn read_assignment(bytes: &[u8]) -> Option<BTreeMap<String, Vec<i32>>> {
    let mut assigned = BTreeMap::new();
    if bytes.is_empty() {
        return Some(assigned);
    }
    let mut reader = Reader::new(bytes);
    reader.i16().ok()?;
    for _ in 0..reader.i32().ok()? {
        let topic = text(&mut reader)?.to_owned();
        let count = reader.i32().ok()?;
        let partitions: Option<Vec<i32>> = (0..count).map(|_| reader.i32().ok()).collect();
        assigned.insert(topic, partitions?);
    }
    Some(assigned)
}

fn write_assignment(assigned: &BTreeMap<String, Vec<i32>>) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend((assigned.len() as i32).to_be_bytes());
    for (topic, partitions) in assigned {
        put_text(&mut out, topic);
        out.extend((partitions.len() as i32).to_be_bytes());
        partitions.iter().for_each(|index| out.extend(index.to_be_bytes()));
    }
    out.extend((-1i32).to_be_bytes());
    out
}

/// The leader's part: each topic's partitions in ranges, to those who want it. A topic that nobody knows has none.
fn assign<'a>(
    cluster: &mut Cluster,
    members: impl Iterator<Item = (String, &'a [u8])>,
) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut wanted = BTreeMap::new();
    for (member, metadata) in members {
        let topics = read_subscription(metadata)
            .ok_or_else(|| failed(format!("member {member}: a subscription that cannot be read")))?;
        wanted.insert(member, topics);
    }
    let topics: BTreeSet<&String> = wanted.values().flatten().collect();
    let mut counts = BTreeMap::new();
    for topic in topics {
        if let Ok(found) = cluster.topic(topic, Missing::Refused) {
            counts.insert(topic.clone(), found.partitions.len() as i32);
        }
    }
    let assigned = ranges(&wanted, &counts);
    Ok(assigned.into_iter().map(|(member, assigned)| (member, write_assignment(&assigned))).collect())
}

/// By member: by topic: partitions. `counts` are those of the topics' partitions.
fn ranges(
    wanted: &BTreeMap<String, Vec<String>>,
    counts: &BTreeMap<String, i32>,
) -> BTreeMap<String, BTreeMap<String, Vec<i32>>> {
    let mut assigned: BTreeMap<String, BTreeMap<String, Vec<i32>>> =
        wanted.keys().map(|member| (member.clone(), BTreeMap::new())).collect();
    for (topic, count) in counts {
        let takers: Vec<&String> =
            wanted.iter().filter(|(_, topics)| topics.contains(topic)).map(|(member, _)| member).collect();
        let (each, more) = (count / takers.len() as i32, count % takers.len() as i32);
        let mut next = 0;
        for (number, member) in takers.into_iter().enumerate() {
            let end = next + each + i32::from((number as i32) < more);
            if let Some(assigned) = assigned.get_mut(member).filter(|_| end > next) {
                assigned.insert(topic.clone(), (next..end).collect());
            }
            next = end;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(members: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let topics = |topics: &[&str]| topics.iter().map(|topic| topic.to_string()).collect();
        members.iter().map(|(member, of)| (member.to_string(), topics(of))).collect()
    }

    #[test]
    fn each_partition_goes_to_one_member_that_wants_its_topic() {
        let counts = BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 1)]);
        let found = ranges(&wanted(&[("one", &["a", "b"]), ("three", &["b"]), ("two", &["a"])]), &counts);
        let of = |member: &str, topic: &str| found[member].get(topic).cloned().unwrap_or_default();
        assert_eq!((of("one", "a"), of("two", "a")), (vec![0, 1, 2], vec![3, 4]));
        assert_eq!((of("one", "b"), of("three", "b")), (vec![0], vec![]));
        assert!(found["three"].is_empty());
    }

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_not() {
        let assigned = BTreeMap::from([("a".to_owned(), vec![0, 7]), ("b".to_owned(), vec![])]);
        let bytes = write_assignment(&assigned);
        assert_eq!(read_assignment(&bytes), Some(assigned));
        assert_eq!(read_assignment(&bytes[..12]), None);
        assert_eq!(read_assignment(&[]), Some(BTreeMap::new()));
        assert_eq!(read_subscription(&subscription("orders")), Some(vec!["orders".to_owned()]));
        assert_eq!(read_subscription(&[0, 0, 0, 0, 0, 9]), None);
    }
}
