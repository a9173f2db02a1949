//! What a coordinator is asked and what it answers, free of versions and of the wire.

use crate::ids::TopicId;
use crate::wire::ErrorCode;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// Names who asked, so that the answer finds them. Given by the owner of the coordinator, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call(pub u64);

#[derive(Clone, Debug)]
pub enum Request {
    Join(Join),
    Sync(Sync),
    Heartbeat(Membership),
    Leave(Leave),
    Commit(Commit),
    Fetch(Fetch),
    DeleteOffsets {
        group: String,
        topics: Vec<(String, Vec<i32>)>,
    },
    DeleteGroup {
        group: String,
    },
    Describe {
        group: String,
    },
    List {
        states: Vec<String>,
        types: Vec<String>,
    },
    /// The topic is deleted: so is what was committed for it.
    TopicDeleted {
        id: TopicId,
        name: Arc<str>,
    },
}

/// Who in which generation asks.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    pub group: String,
    pub generation: i32,
    pub member: String,
    pub instance: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Join {
    pub group: String,
    pub member: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// Best first; opaque metadata.
    pub protocols: Vec<(String, Bytes)>,
    /// KIP-394: a dynamic member must join with the id that it is given first.
    pub id_required: bool,
    /// KIP-814: the leader may be told to skip its assignment.
    pub can_skip: bool,
    /// Chance, for a new member's id.
    pub entropy: [u8; 16],
}

#[derive(Clone, Debug, Default)]
pub struct Sync {
    pub who: Membership,
    /// What the member believes that the group speaks, from version 5 on.
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// It had to name both (version 5 and later) and does not: refused as inconsistent.
    pub is_unnamed: bool,
    pub assignments: Vec<(String, Bytes)>,
}

#[derive(Clone, Debug, Default)]
pub struct Leave {
    pub group: String,
    /// Member id, which may be empty where an instance id is given.
    pub members: Vec<(String, Option<String>)>,
}

#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub who: Membership,
    /// From version 9 on an unknown group has an error code of its own.
    pub knows_group_errors: bool,
    pub retention_ms: Option<i64>,
    pub topics: Vec<CommitTopic>,
}

#[derive(Clone, Debug)]
pub struct CommitTopic {
    pub name: Arc<str>,
    pub id: TopicId,
    pub partitions: Vec<CommitPartition>,
}

#[derive(Clone, Debug)]
pub struct CommitPartition {
    pub index: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

#[derive(Clone, Debug)]
pub struct Fetch {
    pub group: String,
    /// All that is committed, for `None`.
    pub topics: Option<Vec<(String, Vec<i32>)>>,
    /// Version 9 and newer may name a member; classic groups do not check it.
    pub member: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Joined(Joined),
    Synced(Synced),
    /// Heartbeat, DeleteGroup.
    Error(ErrorCode),
    Left {
        error: ErrorCode,
        members: Vec<ErrorCode>,
    },
    /// Commit, DeleteOffsets: an error for all, or one for each partition in the request's order.
    Partitions(Result<Vec<ErrorCode>, ErrorCode>),
    Offsets(Vec<FetchedTopic>),
    Described(Described),
    Listed(Vec<Listed>),
    /// The coordinator could not be asked.
    Refused(ErrorCode),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    pub error: ErrorCode,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    pub skip_assignment: bool,
    pub member: String,
    /// For the leader: member id, instance id, metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

impl Joined {
    pub fn error(error: ErrorCode, member: &str) -> Joined {
        Joined {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member: member.into(),
            members: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Synced {
    pub error: ErrorCode,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

impl Synced {
    pub fn error(error: ErrorCode) -> Synced {
        Synced { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// In the request's order where it named topics.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedTopic {
    pub name: Arc<str>,
    pub partitions: Vec<(i32, Option<FetchedOffset>)>,
}

/// Offset, leader epoch, metadata.
pub type FetchedOffset = (i64, i32, Arc<str>);

#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    pub error: ErrorCode,
    pub message: Option<String>,
    pub state: &'static str,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMember {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub group: Arc<str>,
    pub protocol_type: String,
    pub state: &'static str,
}

impl Request {
    /// What is answered where the coordinator cannot: it is loading, gone or has no room.
    pub fn refused(&self, error: ErrorCode) -> Reply {
        match self {
            // The member lives, and that is all it asks; Kafka does the same.
            Request::Heartbeat(_) if error == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => Reply::Error(ErrorCode::NONE),
            Request::Heartbeat(_)
            | Request::Join(_)
            | Request::Sync(_)
            | Request::Leave(_)
            | Request::Commit(_)
            | Request::Fetch(_)
            | Request::DeleteOffsets { .. }
            | Request::DeleteGroup { .. }
            | Request::Describe { .. }
            | Request::List { .. }
            | Request::TopicDeleted { .. } => Reply::Refused(error),
        }
    }

    /// Whether it may lead to records.
    pub fn may_write(&self) -> bool {
        match self {
            Request::Join(_)
            | Request::Sync(_)
            | Request::Leave(_)
            | Request::Commit(_)
            | Request::DeleteOffsets { .. }
            | Request::DeleteGroup { .. }
            | Request::TopicDeleted { .. } => true,
            Request::Heartbeat(_) | Request::Fetch(_) | Request::Describe { .. } | Request::List { .. } => false,
        }
    }
}

/// What a request, or the passing of time, leads to.
#[derive(Debug, Default, PartialEq)]
pub struct Decision {
    /// To append, in this order.
    pub records: Vec<super::Record>,
    /// To answer when all that is appended, these records included, is committed.
    pub replies: Vec<(Call, Reply)>,
}
