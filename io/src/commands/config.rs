//! `highwater config`: every configuration of topics and of the broker, with its type, default and meaning.
//!
//! It prints the core's own tables, and asks nobody.

use super::table::{Table, print_json};
use clap::{Args as ClapArgs, ValueEnum};
use highwater::configs::{BROKER, Def, Kind, Rule, TOPIC};
use serde_json::{Value, json};
use std::io;

#[derive(ClapArgs, Debug)]
pub struct Args {
    /// Only configurations whose name holds this
    text: Option<String>,
    /// Only those of topics, or of the broker
    #[arg(long, value_enum)]
    of: Option<Of>,
    /// One JSON object for each
    #[arg(long)]
    json: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Topic,
    Broker,
}

pub fn run(args: &Args) -> io::Result<()> {
    let text = args.text.as_deref().unwrap_or_default();
    let tables = [(Of::Topic, "topic", TOPIC), (Of::Broker, "broker", BROKER)];
    let tables = tables.into_iter().filter(|(of, ..)| args.of.is_none_or(|wanted| wanted == *of));
    let defs = tables.flat_map(|(_, of, defs)| defs.iter().map(move |def| (of, def)));
    let mut chosen = defs.filter(|(_, def)| !def.internal && def.name.contains(text)).peekable();
    if chosen.peek().is_none() {
        return Err(io::Error::other(format!("no configuration has {text:?} in its name")));
    }
    if args.json {
        return chosen.try_for_each(|(of, def)| print_json(&described(of, def)));
    }
    let mut table = Table::new(&["of", "name", "type", "default", "allowed", "meaning"]);
    for (of, def) in chosen {
        let default = def.default.map_or("-", |text| if text.is_empty() { "(empty)" } else { text });
        let cells = [of, def.name, kind(def.kind), default, &allowed(def.rule), def.docs];
        table.row(cells.map(str::to_owned));
    }
    table.print()
}

fn described(of: &str, def: &Def) -> Value {
    json!({
        "of": of,
        "name": def.name,
        "type": kind(def.kind),
        "default": def.default,
        "allowed": allowed(def.rule),
        "meaning": def.docs,
    })
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::String => "string",
        Kind::Int => "int",
        Kind::Short => "short",
        Kind::Long => "long",
        Kind::Double => "double",
        Kind::List => "list",
    }
}

fn allowed(rule: Rule) -> String {
    match rule {
        Rule::Any => "any".to_owned(),
        Rule::AtLeast(least) => format!(">= {least}"),
        Rule::Between(least, most) => format!("{least} to {most}"),
        Rule::BetweenOr(least, most, other) => format!("{least} to {most}, or {other}"),
        Rule::NotZero => "not 0; negative: no limit".to_owned(),
        Rule::OneOf(choices) => choices.join(", "),
        Rule::Replicas => "*, or partition:broker entries".to_owned(),
        Rule::PerAddress => "address:count entries".to_owned(),
        Rule::Flag(flag) => format!("told by {flag}"),
    }
}
