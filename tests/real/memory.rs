//! Answers that are many times longer than their requests: they cost about their own bytes, and stay in the budget.

use crate::broker::Broker;
use crate::client::Client;
use highwater::wire::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use highwater::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use highwater::wire::{Message, Reader};
use std::fs;

const MIB: u64 = 1 << 20;
const MANY: usize = 10_000;

/// Most memory resident while something is done, beyond what was before.
fn growth(broker: &Broker, act: impl FnOnce()) -> u64 {
    let status = |name: &str| {
        let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    };
    fs::write(format!("/proc/{}/clear_refs", broker.pid()), "5").expect("the peak is counted anew");
    let before = status("VmRSS:");
    act();
    status("VmHWM:").saturating_sub(before)
}

/// An answer of 14 MB, which was 68 MiB while it was made.
#[test]
fn ten_thousand_topics_with_their_configurations_cost_what_their_answer_takes() {
    let broker = Broker::start(&["--memory", "128MB", "--shards", "2"]);
    let mut client = Client::connect(broker.address);
    let topic = |number| CreatableTopic {
        name: format!("topic-{number}").into(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let topics = (0..MANY).map(topic).collect();
    let request = CreateTopicsRequest { topics, timeout_ms: 60_000, validate_only: true };
    let mut answer = Vec::new();
    let grown = growth(&broker, || answer = client.ask(7, &request));
    let told = CreateTopicsResponse::decode(&mut Reader::new(&answer), 7).expect("an answer");
    assert_eq!(told.topics.len(), MANY);
    let configs = |at: usize| told.topics[at].configs.as_ref().expect("they are listed");
    assert!(configs(0).len() > 30 && configs(0) == configs(MANY - 1), "{:?}", told.topics[0]);
    assert!(grown < 32 * MIB, "{} MiB for an answer of {} bytes", grown / MIB, answer.len());
}

#[test]
fn configurations_with_all_that_is_known_of_them_are_told_up_to_a_bound() {
    let broker = Broker::start(&["--memory", "128MB", "--shards", "2"]);
    let mut client = Client::connect(broker.address);
    let resource =
        DescribeConfigsResource { resource_type: 4, resource_name: "1".into(), ..DescribeConfigsResource::default() };
    let request =
        DescribeConfigsRequest { resources: vec![resource; MANY], include_synonyms: true, include_documentation: true };
    let mut answer = Vec::new();
    let grown = growth(&broker, || answer = client.ask(4, &request));
    let told = DescribeConfigsResponse::decode(&mut Reader::new(&answer), 4).expect("an answer");
    let refused = told.results.iter().filter(|result| result.error_code.0 == 44).count();
    assert!(told.results[0].configs.len() > 50 && (1..MANY).contains(&refused), "{refused} are refused");
    assert!(grown < 48 * MIB, "{} MiB for an answer of {} bytes", grown / MIB, answer.len());
}

/// What somebody wants to know of a group is asked once, and told as often as he asks.
#[test]
fn a_group_that_is_named_ten_thousand_times_is_told_of_as_often() {
    let broker = Broker::start(&["--memory", "128MB", "--shards", "2"]);
    let mut client = Client::connect(broker.address);
    let names = ["a", "b", "a"];
    let groups = (0..MANY).map(|number| names[number % 3].into()).collect();
    let request = DescribeGroupsRequest { groups, include_authorized_operations: false };
    let mut answer = Vec::new();
    let grown = growth(&broker, || answer = client.ask(5, &request));
    let told = DescribeGroupsResponse::decode(&mut Reader::new(&answer), 5).expect("an answer");
    assert!(told.groups.iter().enumerate().all(|(at, group)| group.group_id == names[at % 3]));
    assert_eq!(told.groups.len(), MANY);
    assert!(grown < 16 * MIB, "{} MiB for an answer of {} bytes", grown / MIB, answer.len());
}
