//! DescribeConfigs: every configuration of a topic or of this broker, with its value and where that comes from.
//!
//! Clients that read, modify and write back need every key, so none is left out. Differences from Kafka, all in what no
//! client depends on: entries stand in the order of their names; a default that was set in another unit
//! (`log.retention.hours`) is named as such; the broker's configurations are all read-only; loggers, client metrics and
//! groups are not described; an answer is bounded ([`ENTRIES_MAX`]).

use super::View;
use crate::configs::{self, Def, Effective, Source, Values};
use crate::metadata::name;
use crate::wire::ErrorCode;
use crate::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The resource types of Kafka's `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

type Entries = Vec<DescribeConfigsResourceResult<'static>>;
type Refusal = (ErrorCode, Option<String>);

/// The most entries that one answer holds: some 10,000 topics with all their keys. A resource of a few bytes asks for
/// kilobytes, so that a small request could take all memory. Resources beyond it are refused, to be asked for again.
pub const ENTRIES_MAX: usize = 400_000;

pub fn answer<'a>(request: &'a DescribeConfigsRequest<'_>, view: &View<'a>) -> DescribeConfigsResponse<'a> {
    let mut left = ENTRIES_MAX;
    let describe = |resource: &'a DescribeConfigsResource<'_>| {
        let asked = Asked {
            keys: resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty()),
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        };
        let (error_code, error_message, configs) = match entries(resource, &asked, view) {
            Ok(entries) if entries.len() > left => {
                let text =
                    format!("One request describes at most {ENTRIES_MAX} configurations: ask for fewer at a time.");
                (ErrorCode::POLICY_VIOLATION, Some(text), Vec::new())
            }
            Ok(entries) => {
                left -= entries.len();
                (ErrorCode::NONE, None, entries)
            }
            Err((code, message)) => (code, message, Vec::new()),
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

    fn entry(
        &self,
        def: &'static Def,
        effective: Effective,
        read_only: bool,
        synonyms: Vec<DescribeConfigsSynonym<'static>>,
    ) -> DescribeConfigsResourceResult<'static> {
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

fn entries(resource: &DescribeConfigsResource<'_>, asked: &Asked<'_>, view: &View<'_>) -> Result<Entries, Refusal> {
    let resource_name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            name::check(resource_name).map_err(|text| (ErrorCode::INVALID_TOPIC_EXCEPTION, Some(text)))?;
            match view.image.topic_named(resource_name) {
                Some(topic) => Ok(topic_entries(&topic.configs, asked, view)),
                None => Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None)),
            }
        }
        // Without a name: what was set at run time for every broker, which is nothing.
        BROKER if resource_name.is_empty() => Ok(Vec::new()),
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

fn topic_entries(values: &Values, asked: &Asked<'_>, view: &View<'_>) -> Entries {
    let shown = |def: &&Def| asked.wants(def) && !def.internal;
    let entry = |def| {
        let effective = configs::topic(def, values, view.broker);
        let def = configs::topic_def(def).expect("a name from the table");
        asked.entry(def, effective, false, topic_synonyms(def, values, view))
    };
    configs::TOPIC.iter().filter(shown).map(|def| entry(def.name)).collect()
}

/// Where the value could come from, the one that counts first: the topic, what the broker's configuration sets, and
/// the default of the broker's first name for it.
fn topic_synonyms(def: &Def, values: &Values, view: &View<'_>) -> Vec<DescribeConfigsSynonym<'static>> {
    let mut synonyms = Vec::new();
    if let Some(text) = values.get(def.name) {
        synonyms.push(synonym(def, Cow::Owned(def.canonical(text)), Source::DynamicTopic));
    }
    let broker = def.synonyms.iter().map(|synonym| configs::broker_def(synonym.name).expect("a name from the table"));
    for def in broker.clone().filter(|def| view.broker.contains_key(def.name)) {
        let value = configs::broker(def.name, view.broker).value.unwrap_or_default();
        synonyms.push(synonym(def, value, Source::StaticBroker));
    }
    let default = broker.clone().next().and_then(|def| def.default.map(|value| (def, value)));
    synonyms.extend(default.map(|(def, value)| synonym(def, Cow::Borrowed(value), Source::Default)));
    synonyms
}

fn synonym(def: &Def, value: Cow<'static, str>, source: Source) -> DescribeConfigsSynonym<'static> {
    DescribeConfigsSynonym { name: Cow::Borrowed(def.name), value: Some(value), source: source as i8 }
}

fn broker_entries(asked: &Asked<'_>, view: &View<'_>) -> Entries {
    let entry = |def: &'static Def| {
        let effective = match told(def, view) {
            Some(value) => Effective { value: Some(Cow::Owned(value)), source: Source::StaticBroker },
            None => configs::broker(def.name, view.broker),
        };
        let mut synonyms = Vec::new();
        if effective.source == Source::StaticBroker {
            synonyms.push(synonym(def, effective.value.clone().unwrap_or_default(), Source::StaticBroker));
        }
        synonyms.extend(def.default.map(|value| synonym(def, Cow::Borrowed(value), Source::Default)));
        asked.entry(def, effective, true, synonyms)
    };
    configs::BROKER.iter().filter(|def| asked.wants(def)).map(entry).collect()
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
