//! `highwater group`: lists, describes, resets and deletes consumer groups.

use super::table::{Table, print_json, print_line};
use super::{Target, each};
use crate::client::cluster::{Cluster, EARLIEST, LATEST, Missing};
use crate::client::offsets::{self, Committer};
use crate::client::{check, failed};
use clap::{Args as ClapArgs, Subcommand};
use highwater::wire::ErrorCode;
use highwater::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use highwater::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use highwater::wire::list_groups::{ListGroupsRequest, ListGroupsResponse};
use serde_json::json;
use std::collections::BTreeMap;
use std::io;

const LIST_GROUPS: i16 = 5;
const DESCRIBE_GROUPS: i16 = 5;
const DELETE_GROUPS: i16 = 2;

#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List groups
    List(List),
    /// Describe groups: members, committed offsets, lag
    Describe(Names),
    /// Commit other offsets for a group that has no members
    Reset(Reset),
    /// Delete groups that have no members
    Delete(Names),
}

#[derive(ClapArgs, Debug)]
struct List {
    #[command(flatten)]
    target: Target,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(ClapArgs, Debug)]
struct Names {
    /// The groups
    #[arg(required = true)]
    groups: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(ClapArgs, Debug)]
struct Reset {
    /// The group
    group: String,
    /// The topic whose offsets are set
    #[arg(long)]
    topic: String,
    /// Only these partitions; several separated by commas
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// Where to go: start, end, an offset, or time=MILLISECONDS since 1970
    #[arg(long, value_name = "PLACE", value_parser = place)]
    to: Place,
    /// Say what would be committed, commit nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
    /// JSON
    #[arg(long)]
    json: bool,
}

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Start,
    End,
    Offset(i64),
    /// The first record of this time or later, in milliseconds since 1970; the end where there is none.
    Time(i64),
}

/// `start`, `end`, an offset or `time=MILLISECONDS`.
pub fn place(text: &str) -> Result<Place, String> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
    let found = match (text, text.strip_prefix("time=")) {
        ("start", _) => Some(Place::Start),
        ("end", _) => Some(Place::End),
        (_, Some(time)) => number(time).map(Place::Time),
        (offset, None) => number(offset).map(Place::Offset),
    };
    found.ok_or_else(|| format!("{text:?} is not start, end, an offset, or time=MILLISECONDS"))
}

pub fn run(args: &Args) -> io::Result<()> {
    match &args.command {
        Command::List(args) => show_list(args),
        Command::Describe(args) => {
            let mut cluster = args.target.open()?;
            each(&args.groups, |group| describe(&mut cluster, group, args.json))
        }
        Command::Reset(args) => reset(args),
        Command::Delete(args) => {
            let mut cluster = args.target.open()?;
            each(&args.groups, |group| delete(&mut cluster, group, args.json))
        }
    }
}

fn show_list(args: &List) -> io::Result<()> {
    let mut cluster = args.target.open()?;
    // Each broker knows the groups that it coordinates.
    cluster.topics(Some(&[]), false)?;
    let mut groups = BTreeMap::new();
    for node in cluster.nodes() {
        let answer = cluster.broker(node)?.ask(LIST_GROUPS, &ListGroupsRequest::default())?;
        let found: ListGroupsResponse<'_> = answer.read()?;
        check(found.error_code, None, &format!("groups of broker {node}"))?;
        for group in found.groups {
            let told = [group.group_state, group.protocol_type, group.group_type].map(|text| text.into_owned());
            groups.insert(group.group_id.into_owned(), told);
        }
    }
    if args.json {
        return groups.iter().try_for_each(|(group, [state, protocol, kind])| {
            print_json(&json!({ "group": group, "state": state, "protocol": protocol, "type": kind }))
        });
    }
    let mut table = Table::new(&["group", "state", "protocol", "type"]);
    for (group, [state, protocol, kind]) in groups {
        table.row([group, state, protocol, kind]);
    }
    table.print()
}

/// A group as its coordinator tells it.
struct Group {
    state: String,
    protocol: String,
    /// Member id, client id, host.
    members: Vec<[String; 3]>,
}

fn ask_group(cluster: &mut Cluster, group: &str) -> io::Result<Group> {
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..DescribeGroupsRequest::default() };
    let answer = cluster.coordinator(group)?.ask(DESCRIBE_GROUPS, &request)?;
    let found: DescribeGroupsResponse<'_> = answer.read()?;
    let Some(found) = found.groups.first() else { return Err(failed(format!("group {group}: no answer"))) };
    check(found.error_code, found.error_message.as_deref(), &format!("group {group}"))?;
    let member = |member: &highwater::wire::describe_groups::DescribedGroupMember<'_>| {
        [&member.member_id, &member.client_id, &member.client_host].map(|text| text.to_string())
    };
    Ok(Group {
        state: found.group_state.to_string(),
        protocol: found.protocol_data.to_string(),
        members: found.members.iter().map(member).collect(),
    })
}

fn describe(cluster: &mut Cluster, name: &str, as_json: bool) -> io::Result<()> {
    let group = ask_group(cluster, name)?;
    let offsets = offsets::committed(cluster, name)?;
    if group.state == "Dead" && offsets.is_empty() {
        return Err(failed(format!("group {name}: there is no such group")));
    }
    let mut ends: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let mut topics: Vec<&str> = offsets.iter().map(|(topic, ..)| topic.as_str()).collect();
    topics.dedup();
    for topic in topics {
        let Ok(found) = cluster.topic(topic, Missing::Refused) else { continue };
        let wanted: Vec<i32> = offsets.iter().filter(|one| one.0 == topic).map(|one| one.1).collect();
        let found = cluster.offsets(&found, &wanted, LATEST)?;
        ends.extend(found.into_iter().map(|(index, end)| ((topic.to_owned(), index), end)));
    }
    let end_of = |topic: &str, index: i32| ends.get(&(topic.to_owned(), index)).copied();
    if as_json {
        let offset = |(topic, index, offset, metadata): &(String, i32, i64, String)| {
            let end = end_of(topic, *index);
            json!({
                "topic": topic, "partition": index, "offset": offset, "end": end,
                "lag": end.map(|end| end - offset), "metadata": metadata,
            })
        };
        let member = |[id, client, host]: &[String; 3]| json!({ "member": id, "client": client, "host": host });
        return print_json(&json!({
            "group": name, "state": group.state, "assignor": group.protocol,
            "members": group.members.iter().map(member).collect::<Vec<_>>(),
            "offsets": offsets.iter().map(offset).collect::<Vec<_>>(),
        }));
    }
    let count = group.members.len();
    print_line(format_args!(
        "{name}  {}  {count} members  {}",
        group.state,
        if count > 0 { &group.protocol } else { "-" }
    ))?;
    if count > 0 {
        let mut table = Table::new(&["member", "client", "host"]);
        group.members.into_iter().for_each(|member| table.row(member));
        table.print()?;
    }
    let mut table = Table::new(&["topic", "partition", "offset", "end", "lag"]);
    for (topic, index, offset, _) in &offsets {
        let end = end_of(topic, *index);
        let shown = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        let lag = shown(end.map(|end| end - offset));
        table.row([topic.clone(), index.to_string(), offset.to_string(), shown(end), lag]);
    }
    table.print()
}

fn reset(args: &Reset) -> io::Result<()> {
    let mut cluster = args.target.open()?;
    let group = ask_group(&mut cluster, &args.group)?;
    if !matches!(group.state.as_str(), "Empty" | "Dead") {
        let (count, state) = (group.members.len(), group.state);
        return Err(failed(format!(
            "group {} is {state}, with {count} members: offsets are reset only where there are none",
            args.group
        )));
    }
    let topic = cluster.topic(&args.topic, Missing::Refused)?;
    let all: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
    if let Some(index) = args.partitions.iter().find(|index| !all.contains(index)) {
        return Err(failed(format!("topic {}: no partition {index}; it has 0 to {}", args.topic, all.len() - 1)));
    }
    let wanted = if args.partitions.is_empty() { all } else { args.partitions.clone() };
    let offsets = offsets_at(&mut cluster, &topic, &wanted, args.to)?;
    if !args.dry_run {
        let committed = offsets::commit(&mut cluster, &Committer::nobody(&args.group), &args.topic, &offsets)?;
        check(committed, None, &format!("group {}, topic {}", args.group, args.topic))?;
    }
    if args.json {
        return offsets.iter().try_for_each(|(index, offset)| {
            print_json(&json!({ "topic": args.topic, "partition": index, "offset": offset, "set": !args.dry_run }))
        });
    }
    let mut table = Table::new(&["topic", "partition", "offset"]);
    for (index, offset) in offsets {
        table.row([args.topic.clone(), index.to_string(), offset.to_string()]);
    }
    table.print()
}

/// Where this place is in each partition. An offset outside a log becomes its nearest end.
pub fn offsets_at(
    cluster: &mut Cluster,
    topic: &crate::client::cluster::Topic,
    partitions: &[i32],
    place: Place,
) -> io::Result<BTreeMap<i32, i64>> {
    match place {
        Place::Start => cluster.offsets(topic, partitions, EARLIEST),
        Place::End => cluster.offsets(topic, partitions, LATEST),
        Place::Time(time) => {
            let ends = cluster.offsets(topic, partitions, LATEST)?;
            let found = cluster.offsets(topic, partitions, time)?;
            let place = |(index, end): (i32, i64)| match found.get(&index) {
                Some(offset) if *offset >= 0 => (index, *offset),
                Some(_) | None => (index, end),
            };
            Ok(ends.into_iter().map(place).collect())
        }
        Place::Offset(offset) => {
            let starts = cluster.offsets(topic, partitions, EARLIEST)?;
            let ends = cluster.offsets(topic, partitions, LATEST)?;
            Ok(ends.into_iter().map(|(index, end)| (index, offset.clamp(starts[&index], end))).collect())
        }
    }
}

fn delete(cluster: &mut Cluster, group: &str, as_json: bool) -> io::Result<()> {
    let request = DeleteGroupsRequest { groups_names: vec![group.into()] };
    let answer = cluster.coordinator(group)?.ask(DELETE_GROUPS, &request)?;
    let gone: DeleteGroupsResponse<'_> = answer.read()?;
    let code = gone.results.first().map_or(ErrorCode::NONE, |result| result.error_code);
    check(code, None, &format!("group {group}"))?;
    if as_json {
        return print_json(&json!({ "group": group, "deleted": true }));
    }
    print_line(format_args!("{group}: deleted"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_others_refused_with_what_is_allowed() {
        let read = |text: &str| place(text);
        assert_eq!(read("start"), Ok(Place::Start));
        assert_eq!(read("end"), Ok(Place::End));
        assert_eq!(read("17"), Ok(Place::Offset(17)));
        assert_eq!(read("time=1700000000000"), Ok(Place::Time(1_700_000_000_000)));
        for bad in ["", "begin", "-1", "time=", "time=-5", "1.5"] {
            let why = read(bad).unwrap_err();
            assert!(why.contains("start, end, an offset"), "{bad:?}: {why}");
        }
    }
}
