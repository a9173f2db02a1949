//! Limits, each behaviour by its name, against whole shards in virtual time: quotas of clients, connections of addresses;
//! what a shard tells of work that it bounds; requests about groups that name nothing, or something twice.

mod compaction;
mod connections;
mod groups;
mod metadata;
mod node;
mod quotas;
