//! DescribeConfigs: every configuration of a topic or of this broker, with its value and where that comes from.
//!
//! Clients that read, modify and write back need every key, so none is left out. Differences from Kafka, all in what no
//! client depends on: entries stand in the order of their names; a default that was set in another unit
//! (`log.retention.hours`) is named as such; loggers, client metrics and groups are not described; an answer is bounded.

use super::View;
use crate::configs::{self, Def, Effective, Source, Values};
use crate::metadata::name;
use crate::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::wire::{ErrorCode, List};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The resource types of Kafka's `ConfigResource.Type`.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

type Entries<'a> = List<'a, DescribeConfigsResourceResult<'a>>;
type Refusal = (ErrorCode, Option<String>);

/// What an entry takes beside its texts: lengths, types, the name of a synonym.
const ENTRY_BYTES: usize = 24;
const SYNONYM_BYTES: usize = 40;

/// A resource of a few bytes asks for kilobytes, so that a small request could take all memory: resources beyond about
/// `bytes_max` of answer are refused, to be asked for again. Entries are made when the answer is written.
pub fn answer<'a>(
    request: &'a DescribeConfigsRequest<'_>,
    view: &View<'a>,
    bytes_max: usize,
) -> DescribeConfigsResponse<'a> {
    let mut left = bytes_max;
    let describe = |resource: &'a DescribeConfigsResource<'_>| {
        let asked = Asked {
            keys: resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty()),
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        };
        let (error_code, error_message, configs) = match entries(resource, asked, *view) {
            Ok((_, bytes)) if bytes > left => {
                let text = format!(
                    "One answer describes configurations of at most {bytes_max} bytes: ask for fewer at a time."
                );
                (ErrorCode::POLICY_VIOLATION, Some(text), List::default())
            }
            Ok((entries, bytes)) => {
                left -= bytes;
                (ErrorCode::NONE, None, entries)
            }
            Err((code, message)) => (code, message, List::default()),
        };
        DescribeConfigsResult {
            error_code,
            // Kafka's default for this field is empty, not null.
            error_message: Some(Cow::Owned(error_message.unwrap_or_default())),
            resource_type: resource.resource_type,
            resource_name: Cow::Borrowed(&*resource.resource_name),
            configs,
        }
    };
    DescribeConfigsResponse {
        results: request.resources.iter().map(describe).collect(),
        ..DescribeConfigsResponse::default()
    }
}

/// What of each entry was asked for.
#[derive(Clone, Copy)]
struct Asked<'r> {
    /// `None`: every key.
    keys: Option<&'r [Cow<'r, str>]>,
    synonyms: bool,
    documentation: bool,
}

impl Asked<'_> {
    fn wants(&self, def: &Def) -> bool {
        self.keys.is_none_or(|keys| keys.iter().any(|key| *key == def.name))
    }

    /// About what an entry takes, with a value of its own.
    fn bytes(&self, def: &Def, value: Option<&String>) -> usize {
        let value = value.map_or_else(|| def.default.unwrap_or_default().len(), String::len);
        let layers = def.synonyms.len().max(1);
        let synonyms = if self.synonyms { layers * (SYNONYM_BYTES + value) } else { 0 };
        let docs = if self.documentation { def.docs.len() } else { 0 };
        ENTRY_BYTES + def.name.len() + value + synonyms + docs
    }

    fn entry<'a>(
        &self,
        def: &'static Def,
        effective: Effective,
        read_only: bool,
        synonyms: Vec<DescribeConfigsSynonym<'static>>,
    ) -> DescribeConfigsResourceResult<'a> {
        DescribeConfigsResourceResult {
            name: Cow::Borrowed(def.name),
            value: effective.value,
            read_only,
            config_source: effective.source as i8,
            is_sensitive: false,
            synonyms: if self.synonyms { synonyms } else { Vec::new() },
            config_type: def.kind as i8,
            documentation: self.documentation.then_some(Cow::Borrowed(def.docs)),
        }
    }
}

/// The entries, and about how many bytes they take.
fn entries<'a>(
    resource: &DescribeConfigsResource<'_>,
    asked: Asked<'a>,
    view: View<'a>,
) -> Result<(Entries<'a>, usize), Refusal> {
    let resource_name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            name::check(resource_name).map_err(|text| (ErrorCode::INVALID_TOPIC_EXCEPTION, Some(text)))?;
            match view.image.topic_named(resource_name) {
                Some(topic) => Ok(topic_entries(&topic.configs, asked, view)),
                None => Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None)),
            }
        }
        BROKER if resource_name.is_empty() => Ok(default_entries(asked, view)),
        BROKER => {
            check_broker_id(resource_name, view.node.0)?;
            Ok(broker_entries(asked, view))
        }
        8 => Err(unsupported("BROKER_LOGGER")),
        16 => Err(unsupported("CLIENT_METRICS")),
        32 => Err(unsupported("GROUP")),
        other => {
            let text = format!("Unexpected resource type {other} for resource {resource_name}");
            Err((ErrorCode::INVALID_REQUEST, Some(text)))
        }
    }
}

fn unsupported(resource_type: &str) -> Refusal {
    (ErrorCode::INVALID_REQUEST, Some(format!("Unsupported resource type: {resource_type}")))
}

fn check_broker_id(text: &str, node: i32) -> Result<(), Refusal> {
    let message = match text.parse::<i32>() {
        Ok(id) if id == node => return Ok(()),
        Ok(_) => format!("Unexpected broker id, expected {node} or empty string, but received {text}"),
        Err(_) => format!("Broker id must be an integer, but it is: {text}"),
    };
    Err((ErrorCode::INVALID_REQUEST, Some(message)))
}

fn topic_entries<'a>(values: &'a Values, asked: Asked<'a>, view: View<'a>) -> (Entries<'a>, usize) {
    let shown = move || configs::TOPIC.iter().filter(move |def| asked.wants(def) && !def.internal);
    let bytes = shown().map(|def| asked.bytes(def, values.get(def.name))).sum();
    let entry = move |def: &'static Def| {
        let effective = configs::topic(def.name, values, view.values());
        let synonyms = if asked.synonyms { topic_synonyms(def, values, &view) } else { Vec::new() };
        asked.entry(def, effective, false, synonyms)
    };
    (List::lazy(shown().count(), move || shown().map(entry)), bytes)
}

/// Where the value could come from, the one that counts first: the topic, then what the broker sets, then its default. As
/// in Kafka nothing is named before the broker's first name for it, except what is set where only another unit is.
fn topic_synonyms(def: &Def, values: &Values, view: &View<'_>) -> Vec<DescribeConfigsSynonym<'static>> {
    let own = values.get(def.name).map(|text| synonym(def, Cow::Owned(def.canonical(text)), Source::DynamicTopic));
    let names: Vec<&str> = def.synonyms.iter().map(|synonym| synonym.name).collect();
    let mut broker = broker_synonyms(&names, view);
    if !broker.iter().any(|synonym| synonym.name == names[0]) {
        broker.retain(|synonym| synonym.source != Source::Default as i8);
    }
    own.into_iter().chain(broker).collect()
}

/// What is set under these names, layer by layer, then their defaults.
fn broker_synonyms(names: &[&str], view: &View<'_>) -> Vec<DescribeConfigsSynonym<'static>> {
    let defs = || names.iter().map(|name| configs::broker_def(name).expect("a name from the table"));
    let set = |(values, source): (&Values, Source)| {
        let value = |def: &Def| values.get(def.name).map(|text| Cow::Owned(configs::shown(def, text)));
        defs().filter_map(|def| value(def).map(|value| synonym(def, value, source))).collect::<Vec<_>>()
    };
    let default = |def: &Def| def.default.map(|value| synonym(def, Cow::Borrowed(value), Source::Default));
    view.values().layers().into_iter().flat_map(set).chain(defs().filter_map(default)).collect()
}

fn synonym(def: &Def, value: Cow<'static, str>, source: Source) -> DescribeConfigsSynonym<'static> {
    DescribeConfigsSynonym { name: Cow::Borrowed(def.name), value: Some(value), source: source as i8 }
}

fn broker_entries<'a>(asked: Asked<'a>, view: View<'a>) -> (Entries<'a>, usize) {
    let shown = move || configs::BROKER.iter().filter(move |def| asked.wants(def));
    let bytes = shown().map(|def| asked.bytes(def, view.broker.get(def.name))).sum();
    let entry = move |def: &'static Def| {
        let read_only = !configs::is_dynamic(def.name);
        let Some(value) = told(def, &view) else {
            let effective = configs::broker(def.name, view.values());
            let mut synonyms = broker_synonyms(&units(def.name), &view);
            // As in Kafka: nothing before the name itself.
            let first = synonyms.iter().position(|synonym| synonym.name == def.name);
            synonyms.drain(..first.unwrap_or(synonyms.len()));
            return asked.entry(def, effective, read_only, synonyms);
        };
        let told = synonym(def, Cow::Owned(value.clone()), Source::StaticBroker);
        let default = def.default.map(|value| synonym(def, Cow::Borrowed(value), Source::Default));
        let effective = Effective { value: Some(Cow::Owned(value)), source: Source::StaticBroker };
        asked.entry(def, effective, read_only, Some(told).into_iter().chain(default).collect())
    };
    (List::lazy(shown().count(), move || shown().map(entry)), bytes)
}

/// What was altered for every broker.
fn default_entries<'a>(asked: Asked<'a>, view: View<'a>) -> (Entries<'a>, usize) {
    let known = |(name, text): (&'a String, &'a String)| {
        (configs::broker_def(name).expect("only what is in the table is stored"), text)
    };
    let shown = move || view.values().every.iter().map(known).filter(move |(def, _)| asked.wants(def));
    let bytes = shown().map(|(def, text)| asked.bytes(def, Some(text))).sum();
    let entry = move |(def, text): (&'static Def, &'a String)| {
        let value: Cow<'static, str> = Cow::Owned(def.canonical(text));
        let only = synonym(def, value.clone(), Source::DynamicDefaultBroker);
        let effective = Effective { value: Some(value), source: Source::DynamicDefaultBroker };
        asked.entry(def, effective, false, Vec::from([only]))
    };
    (List::lazy(shown().count(), move || shown().map(entry)), bytes)
}

/// The names of a broker's configuration from its own on, in the order in which they count: `log.retention.ms`, then
/// `log.retention.minutes`, then `log.retention.hours`.
fn units(name: &'static str) -> Vec<&'static str> {
    let all = configs::TOPIC.iter().map(|def| def.synonyms);
    let mut holding = all.filter_map(|synonyms| {
        let place = synonyms.iter().position(|synonym| synonym.name == name)?;
        Some(synonyms[place..].iter().map(|synonym| synonym.name).collect())
    });
    holding.next().unwrap_or_else(|| Vec::from([name]))
}

/// What the command line told, as far as the shard knows it without being told again.
fn told(def: &Def, view: &View<'_>) -> Option<String> {
    match def.name {
        configs::NODE_ID | configs::BROKER_ID => Some(view.node.0.to_string()),
        configs::LOG_DIR => view.broker.get(configs::LOG_DIRS).cloned(),
        configs::ADVERTISED_LISTENERS if !view.broker.contains_key(def.name) => {
            // An IPv6 address stands in brackets before a port.
            let (open, close) = if view.host.contains(':') { ("[", "]") } else { ("", "") };
            Some(format!("PLAINTEXT://{open}{}{close}:{}", view.host, view.port))
        }
        _ => None,
    }
}
