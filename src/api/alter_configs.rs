//! IncrementalAlterConfigs and AlterConfigs: configurations of topics and brokers, changed while the broker runs.
//!
//! Kafka's checks in Kafka's order: resources and keys that stand twice, nulls, the resource's type; for a broker its id,
//! the operations, which keys are dynamic, their values; for a topic the operations, its name, all values together, and
//! last whether it exists. A resource that fails does not hinder the others. What is decided is in force on every shard
//! when it is answered.
//!
//! Where this is not as Kafka: a broker's key that would do nothing is refused rather than taken and ignored; an unknown
//! operation on a topic is INVALID_REQUEST, not UNKNOWN_SERVER_ERROR; loggers, client metrics and groups have no
//! configurations yet; what one request changes is bounded ([`CHANGED_BYTES_MAX`]).

use super::View;
use super::describe_configs::{BROKER, TOPIC};
use crate::configs::{self, BrokerValues, Kind, Values};
use crate::ids::NodeId;
use crate::metadata::{Changes, Decision, Record, name};
use crate::wire::ErrorCode;
use crate::wire::alter_configs::{self as all_at_once, AlterConfigsRequest, AlterConfigsResponse};
use crate::wire::incremental_alter_configs::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use alloc::borrow::{Cow, ToOwned};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The most bytes, names and values, that one request changes: appending to long lists makes much of little.
pub const CHANGED_BYTES_MAX: usize = 1 << 20;

/// The longest value, as long as the oldest versions can carry.
pub const VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// An error code and the message beside it.
type Refusal = (ErrorCode, String);

/// What a request does to one key.
#[derive(Clone, Copy)]
struct Alter<'r> {
    key: &'r str,
    operation: i8,
    value: Option<&'r str>,
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// One resource of a request. `whole`: keys that are not named go.
struct Resource<'r> {
    kind: i8,
    name: &'r str,
    alters: Vec<Alter<'r>>,
    whole: bool,
}

/// Changes of single configurations.
pub fn decide(
    request: &IncrementalAlterConfigsRequest<'_>,
    view: &View<'_>,
) -> Decision<IncrementalAlterConfigsResponse<'static>> {
    let resources = request.resources.iter().map(|resource| {
        let alters = resource.configs.iter().map(|config| Alter {
            key: &config.name,
            operation: config.config_operation,
            value: config.value.as_deref(),
        });
        Resource { kind: resource.resource_type, name: &resource.resource_name, alters: alters.collect(), whole: false }
    });
    let (records, responses) = decide_each(&resources.collect::<Vec<_>>(), request.validate_only, view);
    Decision { records, response: IncrementalAlterConfigsResponse { responses, throttle_time_ms: 0 } }
}

/// All configurations of each resource anew.
pub fn decide_all_at_once(
    request: &AlterConfigsRequest<'_>,
    view: &View<'_>,
) -> Decision<AlterConfigsResponse<'static>> {
    let resources = request.resources.iter().map(|resource| {
        let alters = resource.configs.iter().map(|config| Alter {
            key: &config.name,
            operation: SET,
            value: config.value.as_deref(),
        });
        Resource { kind: resource.resource_type, name: &resource.resource_name, alters: alters.collect(), whole: true }
    });
    let (records, responses) = decide_each(&resources.collect::<Vec<_>>(), request.validate_only, view);
    let responses = responses.into_iter().map(|response| all_at_once::AlterConfigsResourceResponse {
        error_code: response.error_code,
        error_message: response.error_message,
        resource_type: response.resource_type,
        resource_name: response.resource_name,
    });
    Decision { records, response: AlterConfigsResponse { responses: responses.collect(), throttle_time_ms: 0 } }
}

fn decide_each(
    resources: &[Resource<'_>],
    validate_only: bool,
    view: &View<'_>,
) -> (Vec<Record>, Vec<AlterConfigsResourceResponse<'static>>) {
    let mut times: BTreeMap<(i8, &str), u32> = BTreeMap::new();
    for resource in resources {
        *times.entry((resource.kind, resource.name)).or_default() += 1;
    }
    let mut plan = Plan { view, records: Vec::new(), brokers: Brokers::of(view), left: CHANGED_BYTES_MAX };
    let mut responses = Vec::with_capacity(resources.len());
    for resource in resources {
        let altered = if times[&(resource.kind, resource.name)] > 1 {
            Err((ErrorCode::INVALID_REQUEST, "Each resource must appear at most once.".to_owned()))
        } else {
            plan.alter(resource)
        };
        let (error_code, message) = match altered {
            Ok(()) => (ErrorCode::NONE, None),
            Err((code, text)) => (code, Some(text)),
        };
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message: message.map(Cow::Owned),
            resource_type: resource.kind,
            resource_name: Cow::Owned(resource.name.to_owned()),
        });
    }
    (if validate_only { Vec::new() } else { plan.records }, responses)
}

/// What was altered of brokers so far, this request's changes included.
struct Brokers {
    own: Values,
    every: Values,
}

impl Brokers {
    fn of(view: &View<'_>) -> Brokers {
        let values = view.values();
        Brokers { own: values.own.clone(), every: values.every.clone() }
    }

    fn values<'a>(&'a self, fixed: &'a Values) -> BrokerValues<'a> {
        BrokerValues { own: &self.own, every: &self.every, fixed }
    }
}

/// What one request changes.
struct Plan<'v, 'a> {
    view: &'v View<'a>,
    records: Vec<Record>,
    brokers: Brokers,
    /// Bytes that may still be changed.
    left: usize,
}

impl Plan<'_, '_> {
    fn alter(&mut self, resource: &Resource<'_>) -> Result<(), Refusal> {
        check_keys(&resource.alters)?;
        match resource.kind {
            TOPIC => self.alter_topic(resource),
            BROKER => self.alter_broker(resource),
            8 => Err(invalid("Unsupported resource type: BROKER_LOGGER".to_owned())),
            16 => Err(invalid("Unsupported resource type: CLIENT_METRICS".to_owned())),
            32 => Err(invalid("Unsupported resource type: GROUP".to_owned())),
            other => Err(invalid(format!("Unknown resource type {other}"))),
        }
    }

    fn alter_topic(&mut self, resource: &Resource<'_>) -> Result<(), Refusal> {
        let none = Values::new();
        let topic = self.view.image.topic_named(resource.name);
        let before = topic.map_or(&none, |topic| &topic.configs);
        let after = altered(before, resource, &Words::TOPIC)?;
        if resource.name.is_empty() {
            return Err(invalid("Default topic resources are not allowed.".to_owned()));
        }
        name::check(resource.name).map_err(|text| (ErrorCode::INVALID_TOPIC_EXCEPTION, text))?;
        let broker = self.brokers.values(self.view.broker);
        configs::check_topic_all(&after, broker).map_err(|text| (ErrorCode::INVALID_CONFIG, text))?;
        let Some(topic) = topic else {
            let text = format!("The topic '{}' does not exist.", resource.name);
            return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, text));
        };
        let changes = difference(before, &after);
        self.take(&changes)?;
        if !changes.is_empty() {
            self.records.push(Record::TopicConfigured { id: topic.id, changes });
        }
        Ok(())
    }

    fn alter_broker(&mut self, resource: &Resource<'_>) -> Result<(), Refusal> {
        let node = broker_id(resource.name, self.view.node)?;
        let before = if node.is_some() { &self.brokers.own } else { &self.brokers.every };
        let after = altered(before, resource, &Words::BROKER)?;
        check_dynamic(resource, &after)?;
        for (key, value) in &after {
            // KAFKA-13609: not INVALID_CONFIG.
            configs::check_broker(key, value).map_err(invalid)?;
        }
        let changes = difference(before, &after);
        self.take(&changes)?;
        if !changes.is_empty() {
            self.records.push(Record::BrokersConfigured { node, changes });
        }
        *(if node.is_some() { &mut self.brokers.own } else { &mut self.brokers.every }) = after;
        Ok(())
    }

    fn take(&mut self, changes: &Changes) -> Result<(), Refusal> {
        let bytes = |(key, value): (&String, &Option<String>)| key.len() + value.as_ref().map_or(0, String::len);
        let bytes: usize = changes.iter().map(bytes).sum();
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let text = format!(
                    "One request changes at most {CHANGED_BYTES_MAX} bytes of names and values: change less at a time."
                );
                Err((ErrorCode::POLICY_VIOLATION, text))
            }
        }
    }
}

/// Keys that stand twice, and nulls.
fn check_keys(alters: &[Alter<'_>]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    if !alters.iter().all(|alter| seen.insert(alter.key)) {
        return Err(invalid("Error due to duplicate config keys".to_owned()));
    }
    let null = |alter: &&Alter<'_>| alter.operation != DELETE && alter.value.is_none();
    let nulls: Vec<&str> = alters.iter().filter(null).map(|alter| alter.key).collect();
    if nulls.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("Null value not supported for : {}", nulls.join(", "))))
}

/// This broker, or every broker where the name is empty.
fn broker_id(name: &str, node: NodeId) -> Result<Option<NodeId>, Refusal> {
    if name.is_empty() {
        return Ok(None);
    }
    match name.parse::<i32>() {
        Ok(id) if id == node.0 => Ok(Some(node)),
        Ok(_) => Err(invalid(format!("Unexpected broker id, expected {}, but received {name}", node.0))),
        Err(_) => Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
    }
}

/// Whether every key that a broker is to have may be altered while it runs.
fn check_dynamic(resource: &Resource<'_>, after: &Values) -> Result<(), Refusal> {
    for key in after.keys() {
        if configs::broker_def(key).is_none() {
            return Err((ErrorCode::INVALID_CONFIG, format!("Unknown config name: {key}")));
        }
    }
    let fixed = |alter: &&Alter<'_>| after.contains_key(alter.key) && !configs::is_dynamic(alter.key);
    let fixed: Vec<&str> = resource.alters.iter().filter(fixed).map(|alter| alter.key).collect();
    if fixed.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("Cannot update these configs dynamically: [{}]", fixed.join(", "))))
}

/// How a kind of resource finds a key's default, and how it says no.
struct Words {
    def: fn(&str) -> Option<&'static configs::Def>,
    unknown: fn(&str, i8) -> String,
    no_list: fn(&str, i8) -> String,
}

impl Words {
    const TOPIC: Words = Words {
        def: configs::topic_def,
        unknown: |key, operation| (Words::TOPIC.no_list)(key, operation),
        no_list: |key, operation| {
            let verb = if operation == APPEND { "APPEND" } else { "SUBTRACT" };
            format!("Can't {verb} to key {key} because its type is not LIST.")
        },
    };
    const BROKER: Words = Words {
        def: configs::broker_def,
        unknown: |key, _| format!("Unknown config name: {key}"),
        no_list: |key, operation| {
            let verb = if operation == APPEND { "append" } else { "subtract" };
            format!("Config value {verb} is not allowed for config key: {key}")
        },
    };
}

/// The values that a resource has once its changes are done.
fn altered(before: &Values, resource: &Resource<'_>, words: &Words) -> Result<Values, Refusal> {
    let mut after = if resource.whole { Values::new() } else { before.clone() };
    for alter in &resource.alters {
        let given = alter.value.unwrap_or_default();
        let value = match alter.operation {
            SET => given.to_owned(),
            DELETE => {
                after.remove(alter.key);
                continue;
            }
            APPEND | SUBTRACT => list_changed(before.get(alter.key), alter, given, words)?,
            other => return Err(invalid(format!("Unknown operations type {other}"))),
        };
        if value.len() > VALUE_BYTES_MAX {
            let text = format!(
                "Value of configuration {} would be {} bytes long: at most {VALUE_BYTES_MAX} are allowed",
                alter.key,
                value.len()
            );
            return Err((ErrorCode::INVALID_CONFIG, text));
        }
        after.insert(alter.key.to_owned(), value);
    }
    Ok(after)
}

/// A list with entries added at its end, or taken away; it begins with its default where it is not set.
fn list_changed(set: Option<&String>, alter: &Alter<'_>, given: &str, words: &Words) -> Result<String, Refusal> {
    let refused = |text: fn(&str, i8) -> String| (ErrorCode::INVALID_CONFIG, text(alter.key, alter.operation));
    let def = (words.def)(alter.key).ok_or_else(|| refused(words.unknown))?;
    if def.kind != Kind::List {
        return Err(refused(words.no_list));
    }
    let old = set.map(String::as_str).or(def.default).unwrap_or_default();
    let mut entries: Vec<&str> = old.split(',').filter(|entry| !entry.is_empty()).collect();
    for entry in given.split(',') {
        let place = entries.iter().position(|old| *old == entry);
        match (alter.operation, place) {
            (APPEND, None) => entries.push(entry),
            (SUBTRACT, Some(place)) => {
                entries.remove(place);
            }
            (_, _) => {}
        }
    }
    Ok(entries.join(","))
}

/// What makes `after` of `before`.
fn difference(before: &Values, after: &Values) -> Changes {
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), None));
    let set = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    gone.chain(set.map(|(key, value)| (key.clone(), Some(value.clone())))).collect()
}

fn invalid(text: String) -> Refusal {
    (ErrorCode::INVALID_REQUEST, text)
}
