//! `highwater quota`: lists, sets and removes the quotas of users, clients and addresses.
//!
//! An entity is a user, a client id, both, or an address; `--default-user` and its like stand for all that have no quota of
//! their own. Invariant: what is not named stays as it is.

use super::table::{Table, print_json, print_line};
use super::{Target, key_value};
use crate::client::cluster::Cluster;
use crate::client::{check, failed};
use clap::{ArgGroup, Args as ClapArgs, Subcommand};
use highwater::quotas::QuotaKey;
use highwater::wire::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, EntityData, EntryData, OpData,
};
use highwater::wire::describe_client_quotas::{
    ComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};
use serde_json::{Map, Value, json};
use std::io;

const DESCRIBE_CLIENT_QUOTAS: i16 = 1;
const ALTER_CLIENT_QUOTAS: i16 = 1;
/// DescribeClientQuotas: the entity of this name, the default one.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;

#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List quotas: all, or those of one entity
    List(List),
    /// Set quotas of one entity
    Set(Set),
    /// Remove quotas of one entity: these, or all that it has
    Delete(Delete),
}

#[derive(ClapArgs, Debug)]
struct List {
    #[command(flatten)]
    entity: Entity,
    #[command(flatten)]
    target: Target,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(ClapArgs, Debug)]
#[command(group(ArgGroup::new("whose").args(Entity::ARGS).required(true).multiple(true)))]
struct Set {
    /// What is set: producer_byte_rate, consumer_byte_rate (bytes a second), request_percentage, controller_mutation_rate, and
    /// of addresses connection_creation_rate
    #[arg(required = true, value_name = "QUOTA=VALUE", value_parser = limit)]
    quotas: Vec<(QuotaKey, f64)>,
    #[command(flatten)]
    entity: Entity,
    /// Check everything, set nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
    /// JSON
    #[arg(long)]
    json: bool,
}

#[derive(ClapArgs, Debug)]
#[command(group(ArgGroup::new("whose").args(Entity::ARGS).required(true).multiple(true)))]
struct Delete {
    /// What is removed; everything where nothing is named
    #[arg(value_name = "QUOTA", value_parser = quota_key)]
    quotas: Vec<QuotaKey>,
    #[command(flatten)]
    entity: Entity,
    #[command(flatten)]
    target: Target,
    /// JSON
    #[arg(long)]
    json: bool,
}

/// Whose quotas.
#[derive(ClapArgs, Debug)]
struct Entity {
    /// A user
    #[arg(long, value_name = "NAME", conflicts_with_all = ["default_user", "ip", "default_ip"])]
    user: Option<String>,
    /// Users that have no quota of their own
    #[arg(long, conflicts_with_all = ["ip", "default_ip"])]
    default_user: bool,
    /// A client id; with a user, that user's client
    #[arg(long, value_name = "ID", conflicts_with_all = ["default_client_id", "ip", "default_ip"])]
    client_id: Option<String>,
    /// Client ids that have no quota of their own
    #[arg(long, conflicts_with_all = ["ip", "default_ip"])]
    default_client_id: bool,
    /// An address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "default_ip")]
    ip: Option<String>,
    /// Addresses that have no quota of their own
    #[arg(long)]
    default_ip: bool,
}

impl Entity {
    const ARGS: [&str; 6] = ["user", "default_user", "client_id", "default_client_id", "ip", "default_ip"];

    /// Its parts: type, and name; none is the default.
    fn parts(&self) -> Vec<(&'static str, Option<&str>)> {
        let all = [
            ("user", self.user.as_deref(), self.default_user),
            ("client-id", self.client_id.as_deref(), self.default_client_id),
            ("ip", self.ip.as_deref(), self.default_ip),
        ];
        let named = all.into_iter().filter(|(_, name, default)| name.is_some() || *default);
        named.map(|(entity_type, name, _)| (entity_type, name)).collect()
    }

    fn wire(&self) -> Vec<EntityData<'_>> {
        let data = |(entity_type, name): (&'static str, Option<&'_ str>)| EntityData {
            entity_type: entity_type.into(),
            entity_name: name.map(|name| name.to_owned().into()),
        };
        self.parts().into_iter().map(data).collect()
    }
}

/// One of the quotas that there are.
fn quota_key(text: &str) -> Result<QuotaKey, String> {
    QuotaKey::named(text).ok_or_else(|| {
        let names: Vec<&str> = QuotaKey::ALL.into_iter().map(QuotaKey::name).collect();
        format!("{text:?} is not one of {}", names.join(", "))
    })
}

/// `QUOTA=VALUE`, where the broker says which values are allowed.
fn limit(text: &str) -> Result<(QuotaKey, f64), String> {
    let (key, value) = key_value(text)?;
    let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
    Ok((quota_key(&key)?, number.ok_or_else(|| format!("{value:?} is not a number"))?))
}

pub fn run(args: &Args) -> io::Result<()> {
    match &args.command {
        Command::List(args) => show_list(args),
        Command::Set(args) => set(args),
        Command::Delete(args) => delete(args),
    }
}

/// An entity's parts, and what it may do.
struct Found {
    parts: Vec<(String, Option<String>)>,
    limits: Vec<(String, f64)>,
}

/// All entities, or just this one.
fn ask(cluster: &mut Cluster, entity: &Entity) -> io::Result<Vec<Found>> {
    let parts = entity.parts();
    let component = |(entity_type, name): &(&'static str, Option<&str>)| ComponentData {
        entity_type: (*entity_type).into(),
        match_type: if name.is_some() { EXACT } else { DEFAULT },
        matches: name.map(|name| name.to_owned().into()),
    };
    let components = parts.iter().map(component).collect();
    let request = DescribeClientQuotasRequest { components, strict: !parts.is_empty() };
    let answer = cluster.any().ask(DESCRIBE_CLIENT_QUOTAS, &request)?;
    let told: DescribeClientQuotasResponse<'_> = answer.read()?;
    check(told.error_code, told.error_message.as_deref(), &about(&parts))?;
    let found = told.entries.into_iter().flatten().map(|entry| Found {
        parts: entry
            .entity
            .into_iter()
            .map(|part| (part.entity_type.into_owned(), part.entity_name.map(|name| name.into_owned())))
            .collect(),
        limits: entry.values.into_iter().map(|limit| (limit.key.into_owned(), limit.value)).collect(),
    });
    Ok(found.collect())
}

fn show_list(args: &List) -> io::Result<()> {
    let mut cluster = args.target.open()?;
    let found = ask(&mut cluster, &args.entity)?;
    if args.json {
        return found.iter().try_for_each(|one| {
            let parts: Map<String, Value> = one.parts.iter().map(|(kind, name)| (kind.clone(), json!(name))).collect();
            let limits: Map<String, Value> =
                one.limits.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            print_json(&json!({ "entity": parts, "quotas": limits }))
        });
    }
    let mut table = Table::new(&["entity", "quota", "value"]);
    for one in found {
        let parts: Vec<(&str, Option<&str>)> =
            one.parts.iter().map(|(kind, name)| (kind.as_str(), name.as_deref())).collect();
        for (key, value) in &one.limits {
            table.row([about(&parts), key.clone(), value.to_string()]);
        }
    }
    table.print()
}

fn set(args: &Set) -> io::Result<()> {
    let mut cluster = args.target.open()?;
    let op = |(key, value): &(QuotaKey, f64)| OpData { key: key.name().into(), value: *value, remove: false };
    alter(&mut cluster, &args.entity, args.quotas.iter().map(op).collect(), args.dry_run)?;
    let what = about(&args.entity.parts());
    for (key, value) in &args.quotas {
        let key = key.name();
        if args.json {
            print_json(&json!({ "entity": what, "quota": key, "value": value, "set": !args.dry_run }))?;
        } else {
            print_line(format_args!("{what}: {key} {} {value}", if args.dry_run { "could be" } else { "is" }))?;
        }
    }
    Ok(())
}

fn delete(args: &Delete) -> io::Result<()> {
    let mut cluster = args.target.open()?;
    let what = about(&args.entity.parts());
    let found = ask(&mut cluster, &args.entity)?;
    let there: Vec<String> = found.into_iter().flat_map(|one| one.limits).map(|(key, _)| key).collect();
    let wanted: Vec<String> = match args.quotas.is_empty() {
        true if there.is_empty() => return Err(failed(format!("{what}: has no quota"))),
        true => there,
        false => {
            let wanted: Vec<String> = args.quotas.iter().map(|key| key.name().to_owned()).collect();
            if let Some(missing) = wanted.iter().find(|key| !there.contains(key)) {
                return Err(failed(format!("{what}: has no {missing}")));
            }
            wanted
        }
    };
    let op = |key: &String| OpData { key: key.clone().into(), value: 0.0, remove: true };
    alter(&mut cluster, &args.entity, wanted.iter().map(op).collect(), false)?;
    for key in &wanted {
        if args.json {
            print_json(&json!({ "entity": what, "quota": key, "deleted": true }))?;
        } else {
            print_line(format_args!("{what}: {key} deleted"))?;
        }
    }
    Ok(())
}

fn alter(cluster: &mut Cluster, entity: &Entity, ops: Vec<OpData<'_>>, validate_only: bool) -> io::Result<()> {
    let entry = EntryData { entity: entity.wire(), ops };
    let request = AlterClientQuotasRequest { entries: vec![entry], validate_only };
    let answer = cluster.any().ask(ALTER_CLIENT_QUOTAS, &request)?;
    let told: AlterClientQuotasResponse<'_> = answer.read()?;
    let what = about(&entity.parts());
    let Some(result) = told.entries.first() else { return Err(failed(format!("{what}: no answer"))) };
    check(result.error_code, result.error_message.as_deref(), &what)
}

/// `user ANONYMOUS, client-id billing`; `<default>` is who has none of his own, as in Kafka's tools.
fn about(parts: &[(&str, Option<&str>)]) -> String {
    let parts: Vec<String> =
        parts.iter().map(|(kind, name)| format!("{kind} {}", name.unwrap_or("<default>"))).collect();
    if parts.is_empty() { "quotas".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_and_others_refused_with_what_is_allowed() {
        assert_eq!(limit("producer_byte_rate=1000.5"), Ok((QuotaKey::ProducerByteRate, 1000.5)));
        for (bad, told) in [
            ("producer_byte_rate", "KEY=VALUE"),
            ("bytes=1", "producer_byte_rate, request_percentage"),
            ("request_percentage=much", "\"much\" is not a number"),
            ("request_percentage=inf", "\"inf\" is not a number"),
        ] {
            let why = limit(bad).unwrap_err();
            assert!(why.contains(told), "{bad:?}: {why}");
        }
    }
}
