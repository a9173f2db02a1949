//! The handlers that need no log, each behaviour by its name. Expected codes and messages are what an Apache Kafka
//! 4.4.0 broker answers to the same request, unless a test says otherwise.

mod alter_configs;
mod api_versions;
mod configs;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_topic_partitions;
mod elections;
mod encoding;
mod find_coordinator;
mod metadata;
mod quotas;
mod records;
mod world;
