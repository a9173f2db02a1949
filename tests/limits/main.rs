//! Limits, each behaviour by its name, against whole shards in virtual time: quotas of clients, connections of addresses;
//! and what a shard tells of work that it bounds.

mod compaction;
mod connections;
mod node;
mod quotas;
