//! Requests about groups, on the shard that has the connection: each is asked of the coordinators that it concerns, and
//! answered when all of them have said something.
//!
//! Invariant: a request is asked in the form of [`groups::Request`], owned and free of versions; what of the request its
//! answer needs is kept in [`Kind`].

use super::connection::{Header, Slot};
use super::{Shard, group_answers};
use crate::boundary::ConnId;
use crate::groups::{self, Commit, CommitPartition, CommitTopic, Fetch, Join, Leave, Membership, Reply, Request, Sync};
use crate::ids::{PartitionKey, TopicId};
use crate::mail::{Letter, Ticket};
use crate::metadata::name::CONSUMER_OFFSETS;
use crate::wire::ErrorCode;
use crate::wire::delete_groups::DeleteGroupsRequest;
use crate::wire::describe_groups::DescribeGroupsRequest;
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::join_group::JoinGroupRequest;
use crate::wire::leave_group::LeaveGroupRequest;
use crate::wire::list_groups::ListGroupsRequest;
use crate::wire::offset_commit::{OffsetCommitRequest, OffsetCommitRequestTopic};
use crate::wire::offset_delete::OffsetDeleteRequest;
use crate::wire::offset_fetch::OffsetFetchRequest;
use crate::wire::sync_group::SyncGroupRequest;
use crate::wire::{Bin, Str};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use rand::RngCore;

/// A request about groups that is being answered.
pub struct Grouping {
    pub header: Header,
    pub kind: Kind,
    /// One for each coordinator, or group, that is asked.
    pub replies: Vec<Option<Reply>>,
    left: usize,
}

/// What was asked, as far as the answer needs it.
pub enum Kind {
    Join,
    Sync,
    Heartbeat,
    Leave {
        members: Vec<(String, Option<String>)>,
    },
    /// Errors that are known before the coordinator is asked, and the places that wait for it.
    Commit {
        topics: Vec<AskedTopic>,
    },
    DeleteOffsets {
        topics: Vec<AskedTopic>,
    },
    /// `of`: which reply is about which group.
    Fetch {
        groups: Vec<AskedGroup>,
        of: Vec<usize>,
    },
    DeleteGroups {
        names: Vec<String>,
    },
    Describe {
        names: Vec<String>,
        of: Vec<usize>,
        operations: bool,
    },
    List,
}

pub struct AskedTopic {
    pub name: String,
    pub id: TopicId,
    /// An error where the coordinator is not asked for this partition.
    pub partitions: Vec<(i32, Option<ErrorCode>)>,
}

pub struct AskedGroup {
    pub name: String,
    /// `None`: everything.
    pub topics: Option<Vec<AskedTopic>>,
}

impl Shard {
    pub(super) fn join_group(
        &mut self,
        conn: ConnId,
        header: Header,
        client_id: Option<Str<'_>>,
        request: &JoinGroupRequest<'_>,
    ) {
        let mut entropy = [0; 16];
        self.rng.fill_bytes(&mut entropy);
        let rebalance_timeout_ms =
            if request.rebalance_timeout_ms < 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
        let protocols = request.protocols.iter();
        let join = Join {
            group: request.group_id.to_string(),
            member: request.member_id.to_string(),
            instance: owned(&request.group_instance_id),
            client_id: client_id.unwrap_or_default().into_owned(),
            client_host: self.host_of(conn),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms,
            protocol_type: request.protocol_type.to_string(),
            protocols: protocols.map(|protocol| (protocol.name.to_string(), bytes_of(&protocol.metadata))).collect(),
            id_required: header.version >= 4,
            can_skip: header.version >= 9,
            entropy,
        };
        self.ask_one(conn, header, Kind::Join, &request.group_id, Request::Join(join));
    }

    pub(super) fn sync_group(&mut self, conn: ConnId, header: Header, request: &SyncGroupRequest<'_>) {
        let assignments = request.assignments.iter();
        let sync = Sync {
            who: Membership {
                group: request.group_id.to_string(),
                generation: request.generation_id,
                member: request.member_id.to_string(),
                instance: owned(&request.group_instance_id),
            },
            protocol_type: owned(&request.protocol_type),
            protocol: owned(&request.protocol_name),
            is_unnamed: header.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()),
            assignments: assignments.map(|part| (part.member_id.to_string(), bytes_of(&part.assignment))).collect(),
        };
        self.ask_one(conn, header, Kind::Sync, &request.group_id, Request::Sync(sync));
    }

    pub(super) fn heartbeat(&mut self, conn: ConnId, header: Header, request: &HeartbeatRequest<'_>) {
        let who = Membership {
            group: request.group_id.to_string(),
            generation: request.generation_id,
            member: request.member_id.to_string(),
            instance: owned(&request.group_instance_id),
        };
        self.ask_one(conn, header, Kind::Heartbeat, &request.group_id, Request::Heartbeat(who));
    }

    pub(super) fn leave_group(&mut self, conn: ConnId, header: Header, request: &LeaveGroupRequest<'_>) {
        let members: Vec<(String, Option<String>)> = match header.version {
            ..3 => Vec::from([(request.member_id.to_string(), None)]),
            _ => request.members.iter().map(|m| (m.member_id.to_string(), owned(&m.group_instance_id))).collect(),
        };
        let leave = Leave { group: request.group_id.to_string(), members: members.clone() };
        self.ask_one(conn, header, Kind::Leave { members }, &request.group_id, Request::Leave(leave));
    }

    pub(super) fn offset_commit(&mut self, conn: ConnId, header: Header, request: &OffsetCommitRequest<'_>) {
        let mut asked = Vec::with_capacity(request.topics.len());
        let mut topics = Vec::new();
        for topic in &request.topics {
            let (answer, commit) = self.commit_topic(header.version, topic);
            asked.extend(answer);
            topics.extend(commit);
        }
        let commit = Commit {
            who: Membership {
                group: request.group_id.to_string(),
                generation: request.generation_id_or_member_epoch,
                member: request.member_id.to_string(),
                instance: owned(&request.group_instance_id),
            },
            knows_group_errors: header.version >= 9,
            retention_ms: (request.retention_time_ms >= 0).then_some(request.retention_time_ms),
            topics,
        };
        let kind = Kind::Commit { topics: asked };
        if commit.topics.is_empty() {
            return self.ask_all_groups(conn, header, kind, Vec::new());
        }
        self.ask_one(conn, header, kind, &request.group_id, Request::Commit(commit));
    }

    /// What is known of a topic before the coordinator is asked, and what it is asked. Neither, where a topic that exists
    /// is named without a partition: Kafka leaves it out of the answer.
    fn commit_topic(
        &self,
        version: i16,
        topic: &OffsetCommitRequestTopic<'_>,
    ) -> (Option<AskedTopic>, Option<CommitTopic>) {
        let by_id = version >= 10;
        let found = if by_id { self.image.topic(topic.topic_id) } else { self.image.topic_named(&topic.name) };
        if found.is_some() && topic.partitions.is_empty() {
            return (None, None);
        }
        let unknown =
            if by_id && found.is_none() { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        let count = found.map_or(0, |topic| topic.partitions);
        let mut asked = AskedTopic { name: topic.name.to_string(), id: topic.topic_id, partitions: Vec::new() };
        let mut partitions = Vec::new();
        for partition in &topic.partitions {
            let exists = (0..count).contains(&partition.partition_index);
            asked.partitions.push((partition.partition_index, (!exists).then_some(unknown)));
            if exists {
                partitions.push(CommitPartition {
                    index: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: owned(&partition.committed_metadata).unwrap_or_default(),
                });
            }
        }
        let commit = found.filter(|_| !partitions.is_empty());
        let commit = commit.map(|topic| CommitTopic { name: Arc::from(topic.name.as_str()), id: topic.id, partitions });
        (Some(asked), commit)
    }

    pub(super) fn offset_fetch(&mut self, conn: ConnId, header: Header, request: &OffsetFetchRequest<'_>) {
        let mut groups = Vec::new();
        if header.version < 8 {
            let topics = request.topics.as_ref().map(|topics| {
                let asked =
                    topics.iter().map(|topic| asked_topic(&topic.name, TopicId::ZERO, &topic.partition_indexes));
                asked.collect()
            });
            groups.push(AskedGroup { name: request.group_id.to_string(), topics });
        }
        for group in &request.groups {
            let topics = group.topics.as_ref().map(|topics| {
                let asked = topics.iter().map(|topic| {
                    let mut asked = asked_topic(&topic.name, topic.topic_id, &topic.partition_indexes);
                    if header.version >= 10 {
                        match self.image.topic(topic.topic_id) {
                            Some(found) => asked.name = found.name.clone(),
                            None => asked.refuse(ErrorCode::UNKNOWN_TOPIC_ID),
                        }
                    }
                    asked
                });
                asked.collect()
            });
            groups.push(AskedGroup { name: group.group_id.to_string(), topics });
        }
        // What somebody wants to know of a whole group is asked once, however often it is wanted.
        let of = places(groups.iter().map(|group| group.topics.is_none().then_some(group.name.as_str())));
        let asks = firsts(&of, &groups).map(|group| {
            let topics = group.topics.as_ref().map(|topics| {
                let known = topics.iter().filter(|topic| !topic.is_refused());
                known.map(|topic| (topic.name.clone(), topic.partitions.iter().map(|part| part.0).collect())).collect()
            });
            (group.name.clone(), Request::Fetch(Fetch { group: group.name.clone(), topics, member: None }))
        });
        let asks = asks.collect();
        self.ask_by_group(conn, header, Kind::Fetch { groups, of }, asks);
    }

    pub(super) fn offset_delete(&mut self, conn: ConnId, header: Header, request: &OffsetDeleteRequest<'_>) {
        let mut asked = Vec::new();
        let mut topics = Vec::new();
        for topic in &request.topics {
            let indexes: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
            let mut answer = asked_topic(&topic.name, TopicId::ZERO, &indexes);
            let found = self.image.topic_named(&topic.name);
            if found.is_some() && topic.partitions.is_empty() {
                continue; // as with OffsetCommit
            }
            let count = found.map_or(0, |topic| topic.partitions);
            for (index, error) in &mut answer.partitions {
                if !(0..count).contains(index) {
                    *error = Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
                }
            }
            let known = answer.partitions.iter().filter(|(_, error)| error.is_none());
            topics.push((answer.name.clone(), known.map(|(index, _)| *index).collect()));
            asked.push(answer);
        }
        let delete = Request::DeleteOffsets { group: request.group_id.to_string(), topics };
        self.ask_one(conn, header, Kind::DeleteOffsets { topics: asked }, &request.group_id, delete);
    }

    pub(super) fn delete_groups(&mut self, conn: ConnId, header: Header, request: &DeleteGroupsRequest<'_>) {
        // A group that is named twice is deleted and answered once.
        let mut seen = BTreeSet::new();
        let once = request.groups_names.iter().filter(|name| seen.insert(&***name));
        let names: Vec<String> = once.map(ToString::to_string).collect();
        let ask = |name: &String| (name.clone(), Request::DeleteGroup { group: name.clone() });
        let asks = names.iter().map(ask).collect();
        self.ask_by_group(conn, header, Kind::DeleteGroups { names }, asks);
    }

    pub(super) fn describe_groups(&mut self, conn: ConnId, header: Header, request: &DescribeGroupsRequest<'_>) {
        let names: Vec<String> = request.groups.iter().map(ToString::to_string).collect();
        let of = places(names.iter().map(|name| Some(name.as_str())));
        let ask = |name: &String| (name.clone(), Request::Describe { group: name.clone() });
        let asks = firsts(&of, &names).map(ask).collect();
        let kind = Kind::Describe { names, of, operations: request.include_authorized_operations };
        self.ask_by_group(conn, header, kind, asks);
    }

    pub(super) fn list_groups(&mut self, conn: ConnId, header: Header, request: &ListGroupsRequest<'_>) {
        let texts = |texts: &[Str<'_>]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (states, types) = (texts(&request.states_filter), texts(&request.types_filter));
        let keys: Vec<PartitionKey> =
            self.image.topic_named(CONSUMER_OFFSETS).into_iter().flat_map(|topic| topic.keys()).collect();
        let list = |key| (Some(key), Request::List { states: states.clone(), types: types.clone() });
        let asks = keys.into_iter().map(list).collect();
        self.ask_all_groups(conn, header, Kind::List, asks);
    }

    fn ask_one(&mut self, conn: ConnId, header: Header, kind: Kind, group: &str, request: Request) {
        self.ask_by_group(conn, header, kind, Vec::from([(group.to_owned(), request)]));
    }

    fn ask_by_group(&mut self, conn: ConnId, header: Header, kind: Kind, asks: Vec<(String, Request)>) {
        let offsets = self.image.topic_named(CONSUMER_OFFSETS).map(|topic| (topic.id, topic.partitions));
        let key = |group: &str| {
            offsets.map(|(topic, count)| PartitionKey { topic, index: groups::partition_of(group, count) })
        };
        let asks = asks.into_iter().map(|(group, request)| (key(&group), request)).collect();
        self.ask_all_groups(conn, header, kind, asks);
    }

    fn ask_all_groups(&mut self, conn: ConnId, header: Header, kind: Kind, asks: Vec<(Option<PartitionKey>, Request)>) {
        let replies = asks.iter().map(|_| None).collect();
        let grouping = Grouping { header, kind, replies, left: asks.len() };
        let mut ticket = self.open_slot(conn, Slot::Group(grouping));
        if asks.is_empty() {
            return self.finish_grouping(ticket);
        }
        for (key, request) in asks {
            match key {
                None => self.on_group_reply(ticket, request.refused(ErrorCode::NOT_COORDINATOR)),
                Some(key) if self.owner(key) == self.me => self.on_group_ask(Some(ticket), key, request),
                Some(key) => {
                    let request = Box::new(request);
                    self.fx.mail(self.owner(key), Letter::GroupAsk { ticket, key, request });
                }
            }
            ticket.item += 1;
        }
    }

    pub(super) fn on_group_reply(&mut self, ticket: Ticket, reply: Reply) {
        let Some(Slot::Group(grouping)) = self.conns.slot(ticket.conn, ticket.request) else { return };
        let place = &mut grouping.replies[ticket.item as usize];
        assert!(place.is_none(), "{ticket:?} is answered twice: {place:?}, {reply:?}");
        *place = Some(reply);
        grouping.left -= 1;
        if grouping.left == 0 {
            self.finish_grouping(ticket);
        }
    }

    fn finish_grouping(&mut self, ticket: Ticket) {
        let (image, bytes_max) = (&self.image, self.answer_bytes_max());
        let Some(Slot::Group(grouping)) = self.conns.slot(ticket.conn, ticket.request) else { return };
        let key = grouping.header.key;
        match group_answers::respond(grouping, image, bytes_max) {
            Some(response) => self.conns.complete(ticket.conn, ticket.request, response),
            None => self.refuse_answer(ticket.conn, key),
        }
    }

    /// The client's address, as Kafka writes it.
    fn host_of(&self, conn: ConnId) -> String {
        let peer = self.conns.peer(conn).unwrap_or_default();
        let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
        format!("/{}", host.trim_matches(['[', ']']))
    }
}

impl AskedTopic {
    fn refuse(&mut self, error: ErrorCode) {
        for (_, outcome) in &mut self.partitions {
            *outcome = Some(error);
        }
    }

    /// Nothing of it was asked of a coordinator.
    pub fn is_refused(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.iter().all(|(_, error)| error.is_some())
    }
}

fn asked_topic(name: &str, id: TopicId, indexes: &[i32]) -> AskedTopic {
    AskedTopic { name: name.to_owned(), id, partitions: indexes.iter().map(|index| (*index, None)).collect() }
}

/// For each question the place of its answer: those with the same name have the same.
fn places<'n>(names: impl Iterator<Item = Option<&'n str>>) -> Vec<usize> {
    let mut known = BTreeMap::new();
    let mut next = 0;
    let place = |name: Option<&'n str>| {
        let place = name.map_or(next, |name| *known.entry(name).or_insert(next));
        next += usize::from(place == next);
        place
    };
    names.map(place).collect()
}

/// The questions that are asked.
fn firsts<'q, Q>(of: &'q [usize], questions: &'q [Q]) -> impl Iterator<Item = &'q Q> {
    let mut next = 0;
    let first = move |(place, question): (&usize, &'q Q)| {
        let is_first = *place == next;
        next += usize::from(is_first);
        is_first.then_some(question)
    };
    of.iter().zip(questions).filter_map(first)
}

fn owned(text: &Option<Str<'_>>) -> Option<String> {
    text.as_deref().map(ToOwned::to_owned)
}

fn bytes_of(bytes: &Bin<'_>) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
