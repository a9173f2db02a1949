//! The Kafka wire codec: every message as a schema, and one macro that derives its decoder and encoder.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `schema.rs` | the macro: fields, types, version ranges, tagged fields |
//! | `value.rs` | how each field type is read and written |
//! | `reader.rs`, `writer.rs` | bytes in, without a copy; bytes out, records spliced by reference |
//! | `list.rs` | arrays whose elements are made while they are written |
//! | `frame.rs` | the headers of requests and responses, and the size before them |
//! | `throttle.rs` | where a response says how long its connection is muted |
//! | `api.rs`, `error_code.rs` | the names of the API keys and of the error codes |
//! | the rest | one module for each API, its fields named as in Kafka's message definitions |
//!
//! Invariants: decoding borrows strings and records from the frame. Nothing is allocated before its count has been
//! held against the bytes that remain, so hostile bytes cost a small multiple of their own size and end in a
//! [`DecodeError`], never in a panic. Encoding cannot fail: what a version cannot carry is left out.
//!
//! To add an API: a module with its schema, a line below, and its row in the table of what is served.

#[macro_use]
mod schema;
pub mod api;
pub mod error;
pub mod error_code;
pub mod frame;
pub mod list;
pub mod reader;
pub mod value;
pub mod writer;

pub mod alter_client_quotas;
pub mod alter_configs;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod group_records;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;
pub mod throttle;

pub use api::ApiKey;
pub use error::{DecodeError, Reason};
pub use error_code::ErrorCode;
pub use list::List;
pub use reader::Reader;
pub use value::{Bin, Records, Str};
pub use writer::Writer;

/// A request or a response, all its versions. `'a` is the frame that a decoded message borrows from.
pub trait Message<'a>: Sized {
    const API: ApiKey;
    const KIND: Kind;
    /// The versions that the schema describes. Decoding another one is refused with [`Reason::UnsupportedVersion`];
    /// the table of what is served may be narrower, and wider only for Produce (KAFKA-18659).
    const MIN_VERSION: i16;
    const MAX_VERSION: i16;

    /// Reads the body. Bytes behind it are left in the reader: Kafka ignores them too.
    fn decode(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;

    /// Writes the body. Fields that the version does not have are left out; a null in a version that does not allow one
    /// is written as an empty value. Panics on a version outside the schema, which is a bug of the caller.
    fn encode(&self, w: &mut Writer, version: i16);
}

/// Which of the two messages of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
}
