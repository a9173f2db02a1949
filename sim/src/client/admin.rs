//! The administrator: creates the topics of the plan, then asks, creates and deletes until the plan's steps are done.
//!
//! It checks that live topics are always listed, with their ids and partitions, that deleted ones never are, that
//! leader epochs never go back, and that configurations are reported as they were set.

use crate::client::producer::MESSAGE_BYTES_MAX;
use crate::client::{Ctx, Link, Sent, Turn, decode};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::ledger::{ALL, Known, Part, TopicState};
use crate::net::Wire;
use crate::plan::{TopicPlan, Workload};
use crate::queue::{MILLIS, Nanos};
use crate::report::Invariant;
use highwater::boundary::ConnId;
use highwater::wire::ErrorCode;
use highwater::wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use highwater::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use highwater::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use highwater::wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use highwater::wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use highwater::wire::metadata::{MetadataRequest, MetadataResponse};

pub enum What {
    Create(Vec<usize>),
    Delete(usize),
    /// Each topic's state and its partitions' epochs when it was asked.
    Metadata(Vec<(TopicState, Vec<i32>)>),
    Configs(usize),
    Versions,
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
    version: i16,
}

impl Admin {
    pub fn new(work: &Workload, dice: &mut Dice) -> Admin {
        Admin {
            link: Link::new("admin".to_string()),
            pause: work.admin_pause_ms * MILLIS,
            steps: work.admin_steps,
            next_at: 0,
            churned: 0,
            version: dice.between(0, 7) as i16,
        }
    }

    pub fn on_wake(&mut self, ctx: &mut Ctx) {
        let turn = self.link.on_wake(ctx);
        self.turn(ctx, turn);
    }

    pub fn on_wire(&mut self, ctx: &mut Ctx, conn: ConnId, wire: Wire) {
        let turn = self.link.on_wire(ctx, conn, wire);
        self.turn(ctx, turn);
    }

    fn turn(&mut self, ctx: &mut Ctx, turn: Turn<What>) {
        if let Turn::Answers(answers) = turn {
            for (sent, body) in answers {
                self.on_answer(ctx, sent, &body);
            }
        }
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
        match ctx.dice.below(8) {
            0 if self.churned < 4 => {
                self.churned += 1;
                let partitions = ctx.dice.between(1, 3) as u16;
                let plan = TopicPlan {
                    partitions,
                    segment_ms: 500,
                    retention_bytes: -1,
                    retention_ms: -1,
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
            3 => {
                let request = ApiVersionsRequest {
                    client_software_name: "sim".into(),
                    client_software_version: "1".into(),
                    ..ApiVersionsRequest::default()
                };
                self.link.send(ctx, self.version.min(4), &request, What::Versions, true);
            }
            4 | 5 => self.purge(ctx),
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
        let known = ctx.ledger.known(part);
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
            let config = |name: &'static str, value: String| CreatableTopicConfig {
                name: name.into(),
                value: Some(value.into()),
            };
            request.topics.push(CreatableTopic {
                name: topic.name.clone().into(),
                num_partitions: i32::from(topic.partitions),
                replication_factor: 1,
                configs: vec![
                    config("segment.ms", topic.segment_ms.to_string()),
                    config("retention.bytes", topic.retention_bytes.to_string()),
                    config("retention.ms", topic.retention_ms.to_string()),
                    config("max.message.bytes", MESSAGE_BYTES_MAX.to_string()),
                ],
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
        let known = ctx.ledger.topics.iter().map(|topic| {
            let parts = topic.first_part..topic.first_part + usize::from(topic.partitions);
            (topic.state, parts.map(|part| ctx.ledger.parts[part].epoch).collect())
        });
        let known = known.collect();
        self.link.send(ctx, 12, &request, What::Metadata(known), true);
    }

    fn configs(&mut self, ctx: &mut Ctx) {
        let live: Vec<usize> =
            (0..ctx.ledger.topics.len()).filter(|at| ctx.ledger.topics[*at].state == TopicState::Live).collect();
        if live.is_empty() {
            return;
        }
        let topic = live[ctx.dice.index(live.len())];
        let resource = DescribeConfigsResource {
            resource_type: 2,
            resource_name: ctx.ledger.topics[topic].name.clone().into(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
        self.link.send(ctx, self.version.clamp(1, 4), &request, What::Configs(topic), true);
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
                        ctx.ledger.topics[topic].state = TopicState::Deleted;
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
            What::Configs(topic) => {
                let Some(answer) = decode::<DescribeConfigsResponse>(ctx, body, sent.version) else { return };
                on_configs(ctx, topic, &answer);
            }
            What::Versions => {
                let Some(answer) = decode::<ApiVersionsResponse>(ctx, body, sent.version) else { return };
                if !answer.error_code.is_none() || answer.api_keys.is_empty() {
                    ctx.fail(Invariant::Answers, format!("ApiVersions is answered {}", answer.error_code));
                }
            }
        }
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
        ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::NOT_LEADER_OR_FOLLOWER if !ctx.calm => {}
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
        let (name, now, first) = (topic.name.clone(), topic.state, topic.first_part);
        let lax = (first..first + usize::from(topic.partitions)).any(|part| ctx.ledger.parts[part].may_lose);
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
                if listed.partitions.len() != usize::from(topic.partitions) {
                    let detail = format!("{name}: {} partitions of {}", listed.partitions.len(), topic.partitions);
                    return ctx.fail(Invariant::Answers, detail);
                }
                for partition in &listed.partitions {
                    // CreateTopics answers when all lead, and a node serves when all lead again.
                    if now == TopicState::Live && (partition.leader_id != 1 || partition.isr_nodes != [1]) && !lax {
                        let (index, leader) = (partition.partition_index, partition.leader_id);
                        let detail = format!("{name}-{index}: leader {leader}, in sync {:?}", partition.isr_nodes);
                        return ctx.fail(Invariant::Answers, detail);
                    }
                    let Some(part) = ctx.ledger.find_part(index, partition.partition_index) else { continue };
                    if partition.leader_epoch >= 0 {
                        let before = epochs[partition.partition_index as usize];
                        let verdict = ctx.ledger.told_epoch(part, before, partition.leader_epoch);
                        ctx.judge(verdict);
                    }
                }
            }
        }
    }
}

fn on_configs(ctx: &mut Ctx, index: usize, answer: &DescribeConfigsResponse) {
    let topic = &ctx.ledger.topics[index];
    let Some(result) = answer.results.first() else {
        return ctx.fail(Invariant::Answers, "DescribeConfigs answers nothing".to_string());
    };
    if topic.state != TopicState::Live || ctx.ledger.beyond || ctx.ledger.parts[topic.first_part].may_lose {
        return;
    }
    let wanted = [
        ("segment.ms", topic.segment_ms.to_string()),
        ("retention.bytes", topic.retention_bytes.to_string()),
        ("retention.ms", topic.retention_ms.to_string()),
        ("max.message.bytes", MESSAGE_BYTES_MAX.to_string()),
    ];
    for (name, wanted) in wanted {
        let value = result.configs.iter().find(|config| config.name == name).and_then(|config| config.value.as_deref());
        if value != Some(&wanted) {
            let detail = format!("{}: {name} is {value:?}, was set to {wanted}; {}", topic.name, result.error_code);
            return ctx.fail(Invariant::Answers, detail);
        }
    }
}
