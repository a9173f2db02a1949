//! `highwater topic`: makes, lists, describes and deletes topics.

use super::table::{Table, list, print_json, print_line};
use super::{Target, each, key_value};
use crate::client::cluster::{Cluster, EARLIEST, LATEST, Topic};
use crate::client::{check, failed};
use clap::{Args as ClapArgs, Subcommand};
use highwater::wire::ErrorCode;
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use highwater::wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use serde_json::{Map, Value, json};
use std::io;

const CREATE_TOPICS: i16 = 7;
/// The newest version that names topics alone.
const DELETE_TOPICS: i16 = 5;
const DESCRIBE_CONFIGS: i16 = 4;
const TOPIC_RESOURCE: i8 = 2;
/// DescribeConfigs: set on the topic itself.
const SET_ON_TOPIC: i8 = 1;

#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make topics
    Create(Create),
    /// List topics
    List(List),
    /// Describe topics: partitions, leaders, replicas, offsets, configurations
    Describe(Names),
    /// Delete topics, with all that is in them
    Delete(Names),
}

#[derive(ClapArgs, Debug)]
struct Create {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// Partitions of each [default: the broker's num.partitions]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas of each partition [default: the broker's default.replication.factor]
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
    replication: Option<i16>,
    /// A configuration, such as retention.bytes=1000000; may be given again
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Check everything, make nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(ClapArgs, Debug)]
struct List {
    /// Internal topics too
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    target: Target,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(ClapArgs, Debug)]
struct Names {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> io::Result<()> {
    match &args.command {
        Command::Create(args) => create(args),
        Command::List(args) => show_list(args),
        Command::Describe(args) => describe(args),
        Command::Delete(args) => delete(args),
    }
}

fn create(args: &Create) -> io::Result<()> {
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.clone().into(),
        value: Some(value.clone().into()),
    };
    let topic = |name: &String| CreatableTopic {
        name: name.clone().into(),
        num_partitions: args.partitions.unwrap_or(-1),
        replication_factor: args.replication.unwrap_or(-1),
        configs: args.configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: args.topics.iter().map(topic).collect(),
        validate_only: args.dry_run,
        ..CreateTopicsRequest::default()
    };
    let mut cluster = args.target.open()?;
    let answer = cluster.any().ask(CREATE_TOPICS, &request)?;
    let made: CreateTopicsResponse<'_> = answer.read()?;
    each(&made.topics, |topic| {
        check(topic.error_code, topic.error_message.as_deref(), &format!("topic {}", topic.name))?;
        if args.json {
            return print_json(&json!({
                "name": topic.name, "id": topic.topic_id.to_string(), "partitions": topic.num_partitions,
                "replication": topic.replication_factor, "made": !args.dry_run,
            }));
        }
        let done = if args.dry_run { "could be made" } else { "made" };
        print_line(format_args!("{}: {done}, {} partitions", topic.name, topic.num_partitions))?;
        Ok(())
    })
}

fn show_list(args: &List) -> io::Result<()> {
    let topics = args.target.open()?.topics(None, false)?;
    let topics = topics.iter().filter(|topic| args.internal || !topic.internal);
    if args.json {
        return topics.into_iter().try_for_each(|topic| {
            print_json(&json!({
                "name": topic.name, "id": topic.id.to_string(), "internal": topic.internal,
                "partitions": topic.partitions.len(),
            }))
        });
    }
    let mut table = Table::new(&["name", "partitions", "replicas", "id"]);
    for topic in topics {
        let replicas = topic.partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0);
        table.row([topic.name.clone(), topic.partitions.len().to_string(), replicas.to_string(), topic.id.to_string()]);
    }
    table.print()
}

fn describe(args: &Names) -> io::Result<()> {
    let mut cluster = args.target.open()?;
    each(&args.topics, |name| describe_one(&mut cluster, name, args.json))
}

fn describe_one(cluster: &mut Cluster, name: &str, as_json: bool) -> io::Result<()> {
    let found = cluster.topics(Some(&[name]), false)?;
    let topic = found.first().ok_or_else(|| failed(format!("topic {name}: no answer")))?;
    check(topic.error, None, &format!("topic {name}"))?;
    let configs = configs(cluster, name)?;
    let led: Vec<i32> =
        topic.partitions.iter().filter(|partition| partition.leader >= 0).map(|partition| partition.index).collect();
    let (starts, ends) = (cluster.offsets(topic, &led, EARLIEST)?, cluster.offsets(topic, &led, LATEST)?);
    if as_json {
        return print_json(&described(topic, &configs, |index| (starts.get(&index), ends.get(&index))));
    }
    let set: Vec<String> = configs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    print_line(format_args!(
        "{}  id {}  {}",
        topic.name,
        topic.id,
        if set.is_empty() { "-".to_owned() } else { set.join(" ") }
    ))?;
    let mut table = Table::new(&["partition", "leader", "replicas", "in sync", "start", "end"]);
    for partition in &topic.partitions {
        let offset = |found: Option<&i64>| found.map_or("-".to_owned(), i64::to_string);
        table.row([
            partition.index.to_string(),
            if partition.leader < 0 { "-".to_owned() } else { partition.leader.to_string() },
            list(&partition.replicas),
            list(&partition.in_sync),
            offset(starts.get(&partition.index)),
            offset(ends.get(&partition.index)),
        ]);
    }
    table.print()
}

fn described<'o>(
    topic: &Topic,
    configs: &[(String, String)],
    offsets: impl Fn(i32) -> (Option<&'o i64>, Option<&'o i64>),
) -> Value {
    let partition = |partition: &crate::client::cluster::Partition| {
        let (start, end) = offsets(partition.index);
        json!({
            "partition": partition.index, "leader": partition.leader, "replicas": partition.replicas,
            "in_sync": partition.in_sync, "start": start, "end": end,
        })
    };
    let configs: Map<String, Value> =
        configs.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    json!({
        "name": topic.name, "id": topic.id.to_string(), "internal": topic.internal, "configs": configs,
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

/// What is set on the topic itself.
fn configs(cluster: &mut Cluster, topic: &str) -> io::Result<Vec<(String, String)>> {
    let resource = DescribeConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: topic.into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
    let answer = cluster.any().ask(DESCRIBE_CONFIGS, &request)?;
    let found: DescribeConfigsResponse<'_> = answer.read()?;
    let mut configs = Vec::new();
    for result in &found.results {
        check(result.error_code, result.error_message.as_deref(), &format!("topic {topic}"))?;
        let set = result.configs.iter().filter(|config| config.config_source == SET_ON_TOPIC);
        configs.extend(
            set.map(|config| (config.name.to_string(), config.value.as_deref().unwrap_or_default().to_owned())),
        );
    }
    Ok(configs)
}

fn delete(args: &Names) -> io::Result<()> {
    let request = DeleteTopicsRequest {
        topic_names: args.topics.iter().map(|name| name.as_str().into()).collect(),
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    let mut cluster = args.target.open()?;
    let answer = cluster.any().ask(DELETE_TOPICS, &request)?;
    let gone: DeleteTopicsResponse<'_> = answer.read()?;
    each(&gone.responses, |topic| {
        let name = topic.name.as_deref().unwrap_or_default();
        check(topic.error_code, topic.error_message.as_deref(), &format!("topic {name}"))?;
        assert!(topic.error_code == ErrorCode::NONE, "{name} was checked");
        if args.json {
            return print_json(&json!({ "name": name, "deleted": true }));
        }
        print_line(format_args!("{name}: deleted"))?;
        Ok(())
    })
}
