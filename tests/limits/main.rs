//! Limits, each behaviour by its name, against whole shards in virtual time: quotas of clients, connections of addresses.

mod connections;
mod node;
mod quotas;
