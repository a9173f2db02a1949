//! CreateTopics, and topics that are created because someone asked for them by name.
//!
//! Every check of Kafka, in Kafka's order: the whole request's size; the name; whether it exists; its configurations;
//! its assignments, or its replication factor and partitions. A topic that fails does not hinder the others. Beyond
//! Kafka, one broker holds at most [`PARTITIONS_MAX`] partitions, and two names that collide may not be created by one
//! request either.

use super::View;
use crate::boundary::Timestamp;
use crate::configs::{self, Effective, Source, Values};
use crate::ids::TopicId;
use crate::metadata::{Decision, Record, Topic, name};
use crate::wire::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use crate::wire::{ErrorCode, List};
use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use rand::RngCore;

/// The most partitions that one request creates, as in Kafka.
pub const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

/// The most partitions that a broker holds. Each costs memory even when nothing happens in it.
pub const PARTITIONS_MAX: u64 = 100_000;

/// What topics get that do not set it themselves, by name.
type Inherited = Rc<[(&'static str, Effective)]>;

/// The first version whose answers list each topic's configurations, and what they take of a topic that sets none.
const CONFIGS_SINCE: i16 = 5;
const CONFIGS_BYTES: usize = 1400;

/// An error code and the message beside it.
type Refusal = (ErrorCode, String);

/// `now` becomes the topics' creation time; `rng` draws their ids. What the topics' configurations come to is found out when
/// the answer is written: for ten thousand topics it is more than everything else.
pub fn decide(
    request: &CreateTopicsRequest<'_>,
    view: &View<'_>,
    now: Timestamp,
    rng: &mut dyn RngCore,
) -> Decision<CreateTopicsResponse<'static>> {
    let (once, repeated) = split_repeated(&request.topics);
    let mut plan = Plan::new(view, now);
    let mut results = Vec::with_capacity(request.topics.len());
    let too_many = once.iter().map(|topic| asked_partitions(topic, view)).sum::<i64>() > PARTITIONS_PER_REQUEST_MAX;
    let (last, first): (Vec<_>, Vec<_>) = once.into_iter().partition(|topic| topic.name == name::CLUSTER_METADATA);
    for topic in first {
        let made = if too_many {
            let text = "Excessively large number of partitions per request.";
            Err((ErrorCode::POLICY_VIOLATION, text.to_owned()))
        } else {
            plan.create(topic, rng)
        };
        results.push(made.unwrap_or_else(|refusal| refused(&topic.name, refusal)));
    }
    for topic in repeated {
        results.push(refused(topic, (ErrorCode::INVALID_REQUEST, "Duplicate topic name.".to_owned())));
    }
    for topic in last {
        let text = format!("Creation of internal topic {} is prohibited.", name::CLUSTER_METADATA);
        results.push(refused(&topic.name, (ErrorCode::INVALID_REQUEST, text)));
    }
    let records = if request.validate_only { Vec::new() } else { plan.records };
    Decision { records, response: CreateTopicsResponse { topics: results, ..CreateTopicsResponse::default() } }
}

/// About how long the answer will be.
pub fn answer_bytes(request: &CreateTopicsRequest<'_>, version: i16) -> usize {
    let each = if version >= CONFIGS_SINCE { CONFIGS_BYTES } else { 0 };
    request.topics.len().min(PARTITIONS_PER_REQUEST_MAX as usize) * each
}

/// The records that make the topics of these names, as the broker's defaults have it. Names that exist by now, collide,
/// or find no room are passed over: asking for them says why. No more than [`PARTITIONS_PER_REQUEST_MAX`] at a time.
pub fn auto_create(names: &[String], view: &View<'_>, now: Timestamp, rng: &mut dyn RngCore) -> Vec<Record> {
    let mut plan = Plan::new(view, now);
    let most = PARTITIONS_PER_REQUEST_MAX / i64::from(view.settings.num_partitions);
    let makeable = names.iter().filter(|name| super::metadata::can_be_made(name, view));
    for name in makeable.take(usize::try_from(most).unwrap_or(0)) {
        let topic = CreatableTopic {
            name: Cow::Borrowed(name),
            num_partitions: -1,
            replication_factor: -1,
            ..CreatableTopic::default()
        };
        let _passed_over = plan.create(&topic, rng);
    }
    plan.records
}

/// The records that make the topic of committed offsets, unless it exists by now; as Kafka makes it.
pub fn offsets_topic(view: &View<'_>, now: Timestamp, rng: &mut dyn RngCore) -> Vec<Record> {
    let mut plan = Plan::new(view, now);
    let segment_bytes = view.settings.offsets_topic_segment_bytes.to_string();
    let configs = [
        (configs::CLEANUP_POLICY, "compact"),
        (configs::COMPRESSION_TYPE, "producer"),
        (configs::SEGMENT_BYTES, segment_bytes.as_str()),
    ];
    let config = |(name, value): (&'static str, &str)| CreatableTopicConfig {
        name: Cow::Borrowed(name),
        value: Some(Cow::Owned(value.to_owned())),
    };
    let topic = CreatableTopic {
        name: Cow::Borrowed(name::CONSUMER_OFFSETS),
        num_partitions: view.settings.offsets_topic_num_partitions,
        // As many as there are brokers, up to offsets.topic.replication.factor.
        replication_factor: view.settings.offsets_topic_replication_factor.min(1),
        configs: configs.into_iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let _passed_over = plan.create(&topic, rng);
    plan.records
}

/// Topics that are named once, in order; and the names that are repeated, each once.
fn split_repeated<'r, 'a>(topics: &'r [CreatableTopic<'a>]) -> (Vec<&'r CreatableTopic<'a>>, BTreeSet<&'r str>) {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<&str> = topics.iter().map(|topic| &*topic.name).filter(|name| !seen.insert(*name)).collect();
    (topics.iter().filter(|topic| !repeated.contains(&*topic.name)).collect(), repeated)
}

fn asked_partitions(topic: &CreatableTopic<'_>, view: &View<'_>) -> i64 {
    match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => i64::from(view.settings.num_partitions),
        (0, asked) => i64::from(asked.max(0)),
        (assigned, _) => assigned as i64,
    }
}

fn refused(topic: &str, (error_code, message): Refusal) -> CreatableTopicResult<'static> {
    CreatableTopicResult {
        name: Cow::Owned(topic.to_owned()),
        error_code,
        error_message: Some(Cow::Owned(message)),
        configs: Some(List::default()),
        ..CreatableTopicResult::default()
    }
}

/// The topics that one request creates, and what they take from each other.
struct Plan<'v, 'a> {
    view: &'v View<'a>,
    now: Timestamp,
    records: Vec<Record>,
    /// Collision forms of the names.
    names: BTreeSet<String>,
    ids: BTreeSet<TopicId>,
    partitions: u64,
    inherited: Inherited,
}

impl<'v, 'a> Plan<'v, 'a> {
    fn new(view: &'v View<'a>, now: Timestamp) -> Self {
        let partitions = view.image.partitions();
        let (names, ids) = (BTreeSet::new(), BTreeSet::new());
        Plan { view, now, records: Vec::new(), names, ids, partitions, inherited: inherited(view) }
    }

    fn create(
        &mut self,
        topic: &CreatableTopic<'_>,
        rng: &mut dyn RngCore,
    ) -> Result<CreatableTopicResult<'static>, Refusal> {
        self.check_name(&topic.name)?;
        let configs = topic_configs(topic, self.view)?;
        let (partitions, replicas) = layout(topic, self.view)?;
        check_room(self.partitions, partitions)?;

        let id = self.new_id(rng);
        let result = CreatableTopicResult {
            name: Cow::Owned(topic.name.clone().into_owned()),
            topic_id: id,
            num_partitions: partitions,
            replication_factor: replicas,
            configs: Some(effective(&configs, &self.inherited)),
            ..CreatableTopicResult::default()
        };
        self.names.insert(name::collision_form(&topic.name));
        self.partitions += partitions as u64;
        let name = topic.name.clone().into_owned();
        self.records.push(Record::TopicCreated(Topic { id, name, partitions, configs, created_ms: self.now.0 }));
        Ok(result)
    }

    fn check_name(&self, topic: &str) -> Result<(), Refusal> {
        match self.view.image.colliding(topic) {
            Some(other) if other.name == topic => {
                return Err((ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{topic}' already exists.")));
            }
            Some(other) => {
                let text = format!("Topic '{topic}' collides with existing topic: {}", other.name);
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, text));
            }
            None => {}
        }
        name::check(topic).map_err(|text| (ErrorCode::INVALID_TOPIC_EXCEPTION, text))?;
        if self.names.contains(&name::collision_form(topic)) {
            let text = format!("Topic '{topic}' collides with another topic of the request.");
            return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, text));
        }
        Ok(())
    }

    /// A random UUID (version 4) that is new and does not look like an option on a command line.
    fn new_id(&mut self, rng: &mut dyn RngCore) -> TopicId {
        loop {
            let mut bytes = [0; 16];
            rng.fill_bytes(&mut bytes);
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            let id = TopicId(bytes);
            if !id.to_string().starts_with('-') && !self.view.image.knows(id) && self.ids.insert(id) {
                return id;
            }
        }
    }
}

/// Whether a broker that holds `before` partitions has room for so many more.
pub(super) fn check_room(before: u64, partitions: i32) -> Result<(), (ErrorCode, String)> {
    let after = before + partitions as u64;
    if after <= PARTITIONS_MAX {
        return Ok(());
    }
    let text = format!(
        "The broker holds {before} partitions and {partitions} more would be {after}: at most {PARTITIONS_MAX} are allowed."
    );
    Err((ErrorCode::INVALID_PARTITIONS, text))
}

/// The topic's own values, checked.
fn topic_configs(topic: &CreatableTopic<'_>, view: &View<'_>) -> Result<Values, Refusal> {
    let mut values = Values::new();
    let mut nulls = BTreeSet::new();
    for config in &topic.configs {
        match &config.value {
            Some(value) => {
                values.insert(config.name.clone().into_owned(), value.clone().into_owned());
            }
            None => {
                nulls.insert(&*config.name);
            }
        }
    }
    if !nulls.is_empty() {
        let names = nulls.into_iter().collect::<Vec<_>>().join(",");
        let text = format!("Null value not supported for topic configs: {names}");
        return Err((ErrorCode::INVALID_CONFIG, text));
    }
    match configs::check_topic_all(&values, view.values()) {
        Ok(()) => Ok(values),
        Err(text) => Err((ErrorCode::INVALID_CONFIG, text)),
    }
}

/// How many partitions and replicas the topic gets.
fn layout(topic: &CreatableTopic<'_>, view: &View<'_>) -> Result<(i32, i16), Refusal> {
    if !topic.assignments.is_empty() {
        return assigned(topic, view.node.0);
    }
    let factor = match topic.replication_factor {
        -1 => view.settings.default_replication_factor,
        1.. => topic.replication_factor,
        _ => {
            let text = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err((ErrorCode::INVALID_REPLICATION_FACTOR, text.to_owned()));
        }
    };
    let partitions = match topic.num_partitions {
        -1 => view.settings.num_partitions,
        1.. => topic.num_partitions,
        _ => {
            let text = "Number of partitions was set to an invalid non-positive value.";
            return Err((ErrorCode::INVALID_PARTITIONS, text.to_owned()));
        }
    };
    if factor != 1 {
        let text = format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} \
             cannot be reached because only 1 broker(s) are registered."
        );
        return Err((ErrorCode::INVALID_REPLICATION_FACTOR, text));
    }
    Ok((partitions, factor))
}

/// The same where the request says which broker holds what.
fn assigned(topic: &CreatableTopic<'_>, node: i32) -> Result<(i32, i16), Refusal> {
    let instead = |what: &str| {
        let text = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Err((ErrorCode::INVALID_REQUEST, text))
    };
    if topic.replication_factor != -1 {
        return instead("replication factor");
    }
    if topic.num_partitions != -1 {
        return instead("numPartitions");
    }
    let wrong = |text: String| (ErrorCode::INVALID_REPLICA_ASSIGNMENT, text);
    let mut seen = BTreeSet::new();
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if !seen.insert(index) {
            return Err(wrong(format!("Found multiple manual partition assignments for partition {index}")));
        }
        check_assignment(&assignment.broker_ids, node).map_err(wrong)?;
    }
    let count = i32::try_from(seen.len()).unwrap_or(i32::MAX);
    if seen.first() != Some(&0) || seen.last() != Some(&(count - 1)) {
        return Err(wrong("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    Ok((count, 1))
}

/// One partition's brokers: this one, once. (So every partition has the same number of replicas.)
pub(super) fn check_assignment(brokers: &[i32], node: i32) -> Result<(), String> {
    let mut brokers = brokers.to_vec();
    brokers.sort_unstable();
    if brokers.is_empty() {
        return Err("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut before = None;
    for broker in brokers {
        if broker != node {
            return Err(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is registered."
            ));
        }
        if before == Some(broker) {
            return Err(format!("The manual partition assignment includes the broker {broker} more than once."));
        }
        before = Some(broker);
    }
    Ok(())
}

/// What the configurations of a topic come to that sets none itself.
fn inherited(view: &View<'_>) -> Inherited {
    let shown = configs::TOPIC.iter().filter(|def| !def.internal);
    shown.map(|def| (def.name, configs::topic(def.name, &Values::new(), view.values()))).collect()
}

/// What the topic's configurations come to, from version 5 on; its own values as they were written.
fn effective(values: &Values, inherited: &Inherited) -> List<'static, CreatableTopicConfigs<'static>> {
    let (values, inherited) = (Rc::new(values.clone()), inherited.clone());
    List::lazy(inherited.len(), move || {
        let (values, inherited) = (values.clone(), inherited.clone());
        (0..inherited.len()).map(move |place| {
            let (name, effective) = inherited[place].clone();
            let (value, source) = match values.get(name) {
                Some(own) => (Some(Cow::Owned(own.clone())), Source::DynamicTopic),
                None => (effective.value, effective.source),
            };
            CreatableTopicConfigs {
                name: Cow::Borrowed(name),
                value,
                read_only: false,
                config_source: source as i8,
                is_sensitive: false,
            }
        })
    })
}
