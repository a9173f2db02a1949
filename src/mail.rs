//! What the shards of one node write to each other. Opaque to the drivers.
//!
//! One `Mail` carries every letter of one step of the sender, in order. Bytes are shared, never copied.

use crate::boundary::ConnId;
use crate::checkpoint::PartitionSnapshot;
use crate::groups;
use crate::ids::{Epoch, Offset, PartitionKey, ShardId};
use crate::metadata::Record;
use crate::quotas::Usage;
use crate::shard::doors::Door;
use crate::shard::fetch::interest::Interest;
use crate::shard::fetch::sessions::Claim;
use crate::shard::fetch::{ReadPart, ReadResult};
use crate::shard::inspect::{Look, Seen};
use crate::shard::produce::Appended;
use crate::shard::query::{Answer, Query};
use crate::wire::ErrorCode;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// The letters of one step, in order.
#[derive(Debug)]
pub struct Mail(pub(crate) Vec<Letter>);

/// Names a waiting answer: the shard and connection that wait, the request, and an item within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    pub shard: ShardId,
    pub conn: ConnId,
    /// Counts the requests of the connection.
    pub request: u64,
    pub item: u32,
}

#[derive(Debug)]
pub(crate) enum Letter {
    // Start-up, between shard 0 and the others.
    /// Shard 0 has looked at the data folder.
    Begin {
        fresh: bool,
        layout: u64,
        cluster_id: String,
    },
    /// The shard's folder is made.
    Formatted,
    /// Every shard's folder is made, and so is the format file.
    Recover,
    /// The metadata image, as of its log's high watermark.
    Image(Vec<u8>),
    /// Every replica of the shard leads.
    Booted,
    /// Every shard has booted.
    Serve,

    // In place of serving: another number of shards.
    /// Everything of the shard is in segments and in this; shard 0 has the metadata image as well.
    Moved {
        partitions: Vec<PartitionSnapshot>,
        metadata: Vec<u8>,
    },
    /// The new layout is durable: the old shards are over.
    Resharded,

    // Metadata.
    /// Committed records, numbered so that the answer can be matched.
    Apply {
        number: u64,
        records: Vec<Record>,
    },
    /// Every replica that the records made leads.
    Applied {
        number: u64,
    },
    /// Who leads, and in which epoch.
    Leads(Vec<(PartitionKey, Epoch)>),
    /// A request that only shard 0 decides; answered with the frame of the response.
    Forward {
        ticket: Ticket,
        user: String,
        frame: Bytes,
    },
    /// The connection is to be muted for so long.
    Forwarded {
        ticket: Ticket,
        response: Vec<Bytes>,
        throttle_ms: u64,
    },
    /// A block of producer ids, please.
    WantProducerIds,
    ProducerIds {
        first: i64,
        end: i64,
    },

    // Limits.
    /// What clients with quotas did.
    Used(Vec<Usage>),
    /// A connection of this address was accepted; answered by `Door`, when there is room.
    Knocks {
        conn: ConnId,
        address: String,
    },
    Door {
        conn: ConnId,
        door: Door,
    },
    /// It was hung up.
    Leaves {
        conn: ConnId,
    },

    // Data.
    Append {
        ticket: Ticket,
        key: PartitionKey,
        acks: i16,
        version: i16,
        batch: Bytes,
    },
    Appended {
        ticket: Ticket,
        batch_bytes: usize,
        appended: Appended,
    },
    Read {
        ticket: Ticket,
        round: u32,
        parts: Vec<ReadPart>,
        max_bytes: usize,
    },
    ReadDone {
        ticket: Ticket,
        round: u32,
        results: Vec<ReadResult>,
    },
    /// Tell me of the first record at or above one of these offsets.
    Watch {
        ticket: Ticket,
        round: u32,
        parts: Vec<(PartitionKey, Offset)>,
    },
    Unwatch {
        shard: ShardId,
        conn: ConnId,
        keys: Vec<PartitionKey>,
    },
    Woken {
        ticket: Ticket,
        round: u32,
    },
    /// A fetch names a session of yours.
    LendSession(Claim),
    SessionLent {
        ticket: Ticket,
        id: i32,
        lent: Result<Box<Interest>, ErrorCode>,
    },
    SessionBack {
        id: i32,
        interest: Box<Interest>,
    },
    CloseSession {
        id: i32,
    },
    Ask {
        ticket: Ticket,
        key: PartitionKey,
        query: Query,
    },
    Answer {
        ticket: Ticket,
        answer: Answer,
    },
    Look {
        ticket: Ticket,
        look: Look,
        keys: Vec<PartitionKey>,
    },
    Looked {
        ticket: Ticket,
        seen: Vec<(PartitionKey, Seen)>,
    },

    // Groups.
    GroupAsk {
        ticket: Ticket,
        key: PartitionKey,
        request: Box<groups::Request>,
    },
    GroupReply {
        ticket: Ticket,
        reply: groups::Reply,
    },
}
