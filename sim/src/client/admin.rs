//! The administrator: creates the topics of the plan, then asks, creates and deletes until the plan's steps are done.
//!
//! It checks that live topics are always listed, with their ids and partitions, that deleted ones never are, that
//! leader epochs never go back, and that configurations (`alter.rs`) and quotas (`quotas.rs`) are reported as set.

use crate::client::alter::{self, Change, Target};
use crate::client::member::TOPIC;
use crate::client::quotas::{self, QuotaChange};
use crate::client::{Ctx, Link, Linked, Sent, decode};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::ledger::{ALL, Known, Part, TopicState};
use crate::plan::{Codec, TopicPlan, Workload};
use crate::queue::{MILLIS, Nanos};
use crate::report::Invariant;
use highwater::wire::ErrorCode;
use highwater::wire::alter_client_quotas::AlterClientQuotasResponse;
use highwater::wire::alter_configs::AlterConfigsResponse;
use highwater::wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use highwater::wire::create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic};
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use highwater::wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use highwater::wire::describe_client_quotas::DescribeClientQuotasResponse;
use highwater::wire::describe_configs::DescribeConfigsResponse;
use highwater::wire::incremental_alter_configs::IncrementalAlterConfigsResponse;
use highwater::wire::metadata::{MetadataRequest, MetadataResponse};

/// Partitions that a topic grows to at most.
const GROWN_MAX: usize = 12;

pub enum What {
    Create(Vec<usize>),
    Delete(usize),
    /// Each topic's state and its partitions' epochs when it was asked.
    Metadata(Vec<(TopicState, Vec<i32>)>),
    Configs(Target),
    Alter(Change),
    AlterAllAtOnce(Change),
    /// A topic, and how many partitions it is to have.
    Grow(usize, u16),
    Versions,
    /// `None`: it was only asked whether it could be set.
    SetQuota(Option<QuotaChange>),
    Quotas,
    /// Records of a partition, below this offset.
    Purge {
        part: Part,
        offset: i64,
        known: Known,
        asked: i64,
    },
}

pub struct Admin {
    pub link: Link<What>,
    pause: Nanos,
    steps: u32,
    next_at: Nanos,
    churned: u32,
    pub(super) altered: u32,
    pub(super) version: i16,
}

impl Linked for Admin {
    type What = What;

    fn link(&mut self) -> &mut Link<What> {
        &mut self.link
    }

    fn on_answer(&mut self, ctx: &mut Ctx, sent: Sent<What>, body: &[u8]) {
        match sent.what {
            What::Create(topics) => {
                let Some(answer) = decode::<CreateTopicsResponse>(ctx, body, sent.version) else { return };
                self.on_created(ctx, &topics, &answer);
            }
            What::Delete(topic) => {
                let Some(answer) = decode::<DeleteTopicsResponse>(ctx, body, sent.version) else { return };
                let code = answer.responses.first().map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |result| result.error_code);
                match code {
                    ErrorCode::NONE | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                        let topic = &mut ctx.ledger.topics[topic];
                        (topic.state, topic.deleted_at) = (TopicState::Deleted, ctx.now);
                    }
                    ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_CONTROLLER => {}
                    other => ctx.fail(Invariant::Answers, format!("DeleteTopics is answered {other}")),
                }
            }
            What::Purge { part, offset, known, asked } => {
                let Some(answer) = decode::<DeleteRecordsResponse>(ctx, body, sent.version) else { return };
                let result = answer.topics.first().and_then(|topic| topic.partitions.first());
                let Some(result) = result.filter(|result| result.partition_index == ctx.ledger.parts[part].index)
                else {
                    let detail = "DeleteRecords answers for another partition, or for none".to_string();
                    return ctx.fail(Invariant::Answers, detail);
                };
                on_purged(ctx, (part, offset, asked), known, (result.error_code, result.low_watermark));
            }
            What::Metadata(known) => {
                let Some(answer) = decode::<MetadataResponse>(ctx, body, sent.version) else { return };
                on_metadata(ctx, &known, &answer);
            }
            What::Configs(target) => {
                let Some(answer) = decode::<DescribeConfigsResponse>(ctx, body, sent.version) else { return };
                alter::on_configs(ctx, target, &answer);
            }
            What::Alter(change) => {
                let Some(answer) = decode::<IncrementalAlterConfigsResponse>(ctx, body, sent.version) else { return };
                let told = answer.responses.first().map(|told| (told.error_code, told.error_message.as_deref()));
                let (code, message) = told.unwrap_or((ErrorCode::UNKNOWN_SERVER_ERROR, None));
                alter::on_altered(ctx, &change, code, message);
            }
            What::AlterAllAtOnce(change) => {
                let Some(answer) = decode::<AlterConfigsResponse>(ctx, body, sent.version) else { return };
                let told = answer.responses.first().map(|told| (told.error_code, told.error_message.as_deref()));
                let (code, message) = told.unwrap_or((ErrorCode::UNKNOWN_SERVER_ERROR, None));
                alter::on_altered(ctx, &change, code, message);
            }
            What::Grow(topic, count) => {
                let Some(answer) = decode::<CreatePartitionsResponse>(ctx, body, sent.version) else { return };
                on_grown(ctx, topic, count, &answer);
            }
            What::SetQuota(change) => {
                let Some(answer) = decode::<AlterClientQuotasResponse>(ctx, body, sent.version) else { return };
                quotas::on_quota_set(ctx, change.as_ref(), &answer);
            }
            What::Quotas => {
                let Some(answer) = decode::<DescribeClientQuotasResponse>(ctx, body, sent.version) else { return };
                quotas::on_quotas(ctx, &answer);
            }
            What::Versions => {
                let Some(answer) = decode::<ApiVersionsResponse>(ctx, body, sent.version) else { return };
                if !answer.error_code.is_none() || answer.api_keys.is_empty() {
                    ctx.fail(Invariant::Answers, format!("ApiVersions is answered {}", answer.error_code));
                }
            }
        }
    }

    fn go_on(&mut self, ctx: &mut Ctx) {
        if !self.link.is_up() || !self.link.sent.is_empty() {
            return;
        }
        if ctx.now < self.next_at {
            return self.link.wake(ctx, self.next_at);
        }
        self.next_at = ctx.now + ctx.dice.skewed(self.pause / 2);
        self.act(ctx);
        self.link.wake(ctx, self.next_at);
    }
}

impl Admin {
    pub fn new(work: &Workload, dice: &mut Dice) -> Admin {
        Admin {
            link: Link::new("admin".to_string()),
            pause: work.admin_pause_ms * MILLIS,
            steps: work.admin_steps,
            next_at: 0,
            churned: 0,
            altered: 0,
            version: dice.between(0, 7) as i16,
        }
    }

    pub fn unfinished(&self) -> Option<String> {
        (self.steps > 0 && !self.link.is_retired())
            .then(|| format!("{}; {} steps left", self.link.describe(), self.steps))
    }

    fn act(&mut self, ctx: &mut Ctx) {
        let wanted: Vec<usize> = (0..ctx.ledger.topics.len())
            .filter(|topic| matches!(ctx.ledger.topics[*topic].state, TopicState::Planned | TopicState::Creating))
            .collect();
        if !wanted.is_empty() {
            self.next_at = ctx.now + 5 * MILLIS;
            return self.create(ctx, wanted);
        }
        if ctx.ledger.topics.iter().any(|topic| topic.state == TopicState::Live && topic.id.is_none()) {
            self.next_at = ctx.now + 2 * MILLIS;
            return self.metadata(ctx);
        }
        if let Some(topic) = ctx.ledger.topics.iter().position(|topic| topic.state == TopicState::Deleting) {
            return self.delete(ctx, topic);
        }
        if self.steps == 0 {
            return;
        }
        self.steps -= 1;
        match ctx.dice.below(15) {
            0 if self.churned < 4 => {
                self.churned += 1;
                let partitions = ctx.dice.between(1, 3) as u16;
                let plan = TopicPlan {
                    partitions,
                    segment_ms: 500,
                    retention_bytes: -1,
                    retention_ms: -1,
                    compression: Codec::Producer,
                    purged: false,
                    doomed: true,
                };
                ctx.ledger.add_topic(format!("churn-{}", self.churned), &plan);
            }
            1 => {
                let doomed = ctx.ledger.topics.iter().position(|topic| topic.doomed && topic.state == TopicState::Live);
                match doomed {
                    Some(topic) if self.steps < 15 => self.delete(ctx, topic),
                    Some(_) | None => self.metadata(ctx),
                }
            }
            2 => self.configs(ctx),
            4 | 5 => self.alter(ctx),
            6 => self.grow(ctx),
            3 => {
                let request = ApiVersionsRequest {
                    client_software_name: "sim".into(),
                    client_software_version: "1".into(),
                    ..ApiVersionsRequest::default()
                };
                self.link.send(ctx, self.version.min(4), &request, What::Versions, true);
            }
            7 | 8 => self.purge(ctx),
            12 | 13 => self.set_quota(ctx),
            14 => self.quotas(ctx),
            _ => self.metadata(ctx),
        }
        self.link.maybe_leave(ctx);
    }

    /// Deletes records of some partition: up to an offset, up to the high watermark, or more than there are.
    fn purge(&mut self, ctx: &mut Ctx) {
        let parts = 0..ctx.ledger.parts.len();
        let parts: Vec<Part> =
            parts.filter(|part| ctx.ledger.topic_of(*part).purged && ctx.ledger.serves(*part)).collect();
        if parts.is_empty() {
            return self.metadata(ctx);
        }
        let part = parts[ctx.dice.index(parts.len())];
        let known = ctx.ledger.known(part, ctx.calm);
        let end = known.high_watermark.max(known.acked_end);
        let offset = match ctx.dice.below(8) {
            0 => ALL,
            1 => ctx.ledger.parts[part].offered + 1 + ctx.dice.below(1_000) as i64,
            _ => ctx.dice.between(known.start as u64 / 2, end.max(known.start) as u64) as i64,
        };
        let asked = ctx.ledger.purges(part, offset);
        let partitions = vec![DeleteRecordsPartition { partition_index: ctx.ledger.parts[part].index, offset }];
        let name = ctx.ledger.topic_of(part).name.clone().into();
        let topics = vec![DeleteRecordsTopic { name, partitions }];
        let request = DeleteRecordsRequest { topics, timeout_ms: 30_000 };
        self.link.send(ctx, self.version % 3, &request, What::Purge { part, offset, known, asked }, true);
    }

    fn create(&mut self, ctx: &mut Ctx, topics: Vec<usize>) {
        let mut request = CreateTopicsRequest { timeout_ms: 30_000, ..CreateTopicsRequest::default() };
        for index in &topics {
            let topic = &mut ctx.ledger.topics[*index];
            topic.state = TopicState::Creating;
            let config = |(name, value): (&'static str, &str)| CreatableTopicConfig {
                name: name.into(),
                value: Some(value.to_string().into()),
            };
            request.topics.push(CreatableTopic {
                name: topic.name.clone().into(),
                num_partitions: topic.parts.len() as i32,
                replication_factor: 1,
                configs: topic.settings.settled().map(config).collect(),
                ..CreatableTopic::default()
            });
        }
        self.link.send(ctx, self.version.clamp(2, 7), &request, What::Create(topics), true);
    }

    fn delete(&mut self, ctx: &mut Ctx, topic: usize) {
        ctx.ledger.topics[topic].state = TopicState::Deleting;
        let version = self.version.clamp(1, 6);
        let name = ctx.ledger.topics[topic].name.clone();
        let mut request = DeleteTopicsRequest { timeout_ms: 30_000, ..DeleteTopicsRequest::default() };
        if version >= 6 {
            request.topics.push(DeleteTopicState { name: Some(name.into()), ..DeleteTopicState::default() });
        } else {
            request.topic_names.push(name.into());
        }
        self.link.send(ctx, version, &request, What::Delete(topic), true);
    }

    fn metadata(&mut self, ctx: &mut Ctx) {
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        let known = ctx
            .ledger
            .topics
            .iter()
            .map(|topic| (topic.state, topic.parts.iter().map(|part| ctx.ledger.parts[*part].epoch).collect()));
        let known = known.collect();
        self.link.send(ctx, 12, &request, What::Metadata(known), true);
    }

    /// More partitions for a topic that is not what members of groups share out.
    fn grow(&mut self, ctx: &mut Ctx) {
        let growing = |at: &usize| {
            let topic = &ctx.ledger.topics[*at];
            *at != TOPIC && topic.state == TopicState::Live && topic.parts.len() < GROWN_MAX
        };
        let growing: Vec<usize> = (0..ctx.ledger.topics.len()).filter(growing).collect();
        if growing.is_empty() {
            return self.metadata(ctx);
        }
        let topic = growing[ctx.dice.index(growing.len())];
        // What was asked for before and not answered may have been done.
        let parts_max = ctx.ledger.topics[topic].parts_max;
        let asked = usize::from(parts_max) > ctx.ledger.topics[topic].parts.len();
        let count = if asked { parts_max } else { parts_max + ctx.dice.between(1, 2) as u16 };
        let validate_only = ctx.dice.chance(100_000);
        if !validate_only {
            ctx.ledger.topics[topic].parts_max = count;
        }
        let name = ctx.ledger.topics[topic].name.clone().into();
        let topics = vec![CreatePartitionsTopic { name, count: i32::from(count), assignments: None }];
        let request = CreatePartitionsRequest { topics, timeout_ms: 30_000, validate_only };
        let count = if validate_only { 0 } else { count };
        self.link.send(ctx, self.version.clamp(0, 3), &request, What::Grow(topic, count), true);
    }

    fn on_created(&mut self, ctx: &mut Ctx, topics: &[usize], answer: &CreateTopicsResponse) {
        for result in &answer.topics {
            let index = topics.iter().copied().find(|index| ctx.ledger.topics[*index].name == result.name);
            let Some(index) = index else {
                return ctx.fail(Invariant::Answers, format!("CreateTopics answers for {}, not asked", result.name));
            };
            match result.error_code {
                // The id comes from Metadata: not all versions tell it here.
                ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => ctx.ledger.topics[index].state = TopicState::Live,
                ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_CONTROLLER => {}
                other => {
                    let detail = format!("CreateTopics {}: {other} {:?}", result.name, result.error_message);
                    ctx.fail(Invariant::Answers, detail);
                }
            }
        }
    }
}

/// `count` is 0 where it was only asked whether it could be done.
fn on_grown(ctx: &mut Ctx, topic: usize, count: u16, answer: &CreatePartitionsResponse) {
    let code = answer.results.first().map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |result| result.error_code);
    let lax = ctx.ledger.topics[topic].parts.iter().any(|part| ctx.ledger.parts[*part].may_lose);
    match code {
        ErrorCode::NONE if count > 0 => ctx.ledger.grown(topic, count),
        ErrorCode::NONE => {}
        // Done before, by a request whose answer did not come.
        ErrorCode::INVALID_PARTITIONS if usize::from(count) > ctx.ledger.topics[topic].parts.len() => {}
        ErrorCode::INVALID_PARTITIONS if count == 0 => {}
        ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_CONTROLLER => {}
        other if !ctx.ledger.beyond && !lax => {
            let detail = format!("CreatePartitions {}: {other}", ctx.ledger.topics[topic].name);
            ctx.fail(Invariant::Answers, detail);
        }
        _ => {}
    }
}

fn on_purged(
    ctx: &mut Ctx,
    (part, offset, asked): (Part, i64, i64),
    known: Known,
    (error, low_watermark): (ErrorCode, i64),
) {
    if !ctx.ledger.serves(part) || ctx.ledger.beyond {
        return;
    }
    match error {
        ErrorCode::NONE => {
            ctx.counts.add(Fault::Purge);
            let verdict = ctx.ledger.purged(part, offset, known, asked, low_watermark);
            ctx.judge(verdict);
        }
        ErrorCode::OFFSET_OUT_OF_RANGE if offset > known.high_watermark.max(known.acked_end) => {
            ctx.counts.add(Fault::PurgeBeyond);
        }
        ErrorCode::OFFSET_OUT_OF_RANGE | ErrorCode::KAFKA_STORAGE_ERROR if ctx.ledger.parts[part].may_refuse => {}
        ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::NOT_LEADER_OR_FOLLOWER if !known.calm => {}
        other => {
            let name = ctx.ledger.name(part);
            let detail = format!("{name}: DeleteRecords up to {offset} is answered {other}; known were {known:?}");
            ctx.fail(Invariant::Answers, detail);
        }
    }
}

fn on_metadata(ctx: &mut Ctx, known: &[(TopicState, Vec<i32>)], answer: &MetadataResponse) {
    if ctx.ledger.beyond {
        return;
    }
    for (index, (state, epochs)) in known.iter().enumerate() {
        let topic = &ctx.ledger.topics[index];
        let (name, now, settled) = (topic.name.clone(), topic.state, topic.parts.len());
        let lax = topic.parts.iter().any(|part| ctx.ledger.parts[*part].may_lose);
        let listed = answer.topics.iter().find(|listed| listed.name.as_deref() == Some(&name));
        let listed = listed.filter(|listed| listed.error_code.is_none());
        match (state, listed) {
            (TopicState::Live, None) if now == TopicState::Live && !lax => {
                return ctx.fail(Invariant::Durable, format!("{name}, created before, is not listed"));
            }
            (TopicState::Deleted, Some(_)) if !lax => {
                return ctx.fail(Invariant::Deleted, format!("{name}, deleted before, is listed"));
            }
            (_, None) => {}
            (_, Some(listed)) => {
                let topic = &mut ctx.ledger.topics[index];
                if topic.id.is_some_and(|id| id != listed.topic_id) && !lax {
                    return ctx
                        .fail(Invariant::Stable, format!("{name}: topic id {} was another before", listed.topic_id));
                }
                topic.id = Some(listed.topic_id);
                let (count, most) = (listed.partitions.len(), usize::from(topic.parts_max));
                if !lax && !(settled..=most).contains(&count) {
                    let detail = format!("{name}: {count} partitions, {settled} were acknowledged, {most} asked for");
                    return ctx.fail(Invariant::Grown, detail);
                }
                if listed.partitions.iter().all(|partition| partition.leader_id == 1) {
                    ctx.ledger.grown(index, count as u16);
                }
                for partition in &listed.partitions {
                    // CreateTopics answers when all lead, and a node serves when all lead again.
                    let settled = (partition.partition_index as usize) < settled;
                    if settled
                        && now == TopicState::Live
                        && (partition.leader_id != 1 || partition.isr_nodes != [1])
                        && !lax
                    {
                        let (index, leader) = (partition.partition_index, partition.leader_id);
                        let detail = format!("{name}-{index}: leader {leader}, in sync {:?}", partition.isr_nodes);
                        return ctx.fail(Invariant::Answers, detail);
                    }
                    let Some(part) = ctx.ledger.find_part(index, partition.partition_index) else { continue };
                    if partition.leader_epoch >= 0 {
                        let before = epochs.get(partition.partition_index as usize).copied().unwrap_or(0);
                        let verdict = ctx.ledger.told_epoch(part, before, partition.leader_epoch);
                        ctx.judge(verdict);
                    }
                }
            }
        }
    }
}
