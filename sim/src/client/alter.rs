//! The administrator's changes of configurations: what is sent, and what descriptions are held against.
//!
//! Values are such that nothing else of the run depends on them, `segment.ms` apart, which makes segments roll earlier or
//! later. Invariant: a change that was acknowledged is what is described from then on, through every crash.

use super::admin::{Admin, What};
use crate::client::Ctx;
use crate::ledger::TopicState;
use crate::report::Invariant;
use crate::settings::{Setting, Settings};
use highwater::wire::ErrorCode;
use highwater::wire::alter_configs as all_at_once;
use highwater::wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use highwater::wire::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

/// Whose configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Topic(usize),
    EveryBroker,
    Broker,
}

/// A change that was sent.
pub struct Change {
    pub target: Target,
    settings: Vec<(&'static str, Setting)>,
}

const SET: i8 = 0;
const DELETE: i8 = 1;

// Where a synonym was set.
const TOPIC: i8 = 1;
const BROKER: i8 = 2;
const EVERY: i8 = 3;

impl Target {
    /// Resource type and name.
    fn resource(self, ctx: &Ctx) -> (i8, String) {
        match self {
            Target::Topic(topic) => (2, ctx.ledger.topics[topic].name.clone()),
            Target::EveryBroker => (4, String::new()),
            Target::Broker => (4, "1".to_string()),
        }
    }

    fn settings<'c>(self, ctx: &'c mut Ctx) -> &'c mut Settings {
        match self {
            Target::Topic(topic) => &mut ctx.ledger.topics[topic].settings,
            Target::EveryBroker => &mut ctx.ledger.every_broker,
            Target::Broker => &mut ctx.ledger.broker,
        }
    }

    /// Something new for one of its keys. `number` makes it unlike every other.
    fn draw(self, ctx: &mut Ctx, number: u32) -> (&'static str, Setting) {
        let number = u64::from(number);
        match self {
            Target::Topic(_) => match ctx.dice.below(5) {
                0 => ("flush.ms", None),
                1 | 2 => ("flush.ms", Some((1_000_000_000 + number).to_string())),
                3 => ("index.interval.bytes", Some((5_000 + number).to_string())),
                // The first topic's segments roll by size.
                _ if self == Target::Topic(0) => ("flush.ms", Some((1_000_000_000 + number).to_string())),
                _ => ("segment.ms", Some(ctx.dice.between(300, 900).to_string())),
            },
            Target::EveryBroker | Target::Broker => match ctx.dice.below(4) {
                0 => ("log.index.interval.bytes", None),
                1 => ("producer.id.expiration.ms", Some((86_400_000 + number).to_string())),
                _ => ("log.index.interval.bytes", Some((5_000 + number).to_string())),
            },
        }
    }
}

fn live_topic(ctx: &mut Ctx) -> Option<usize> {
    let live: Vec<usize> =
        (0..ctx.ledger.topics.len()).filter(|at| ctx.ledger.topics[*at].state == TopicState::Live).collect();
    (!live.is_empty()).then(|| live[ctx.dice.index(live.len())])
}

fn target(ctx: &mut Ctx) -> Option<Target> {
    match ctx.dice.below(6) {
        0 => Some(Target::EveryBroker),
        1 => Some(Target::Broker),
        _ => live_topic(ctx).map(Target::Topic),
    }
}

impl Admin {
    /// Changes something, or asks whether it could be changed.
    pub(super) fn alter(&mut self, ctx: &mut Ctx) {
        let Some(target) = target(ctx) else { return };
        self.altered += 1;
        let (name, setting) = target.draw(ctx, self.altered);
        let validate_only = ctx.dice.chance(100_000);
        let (resource_type, resource_name) = target.resource(ctx);
        let whole = setting.is_some() && ctx.dice.chance(250_000);
        let mut settings = vec![(name, setting)];
        if whole {
            // The older request: what it does not name goes, so it names all.
            let others: Vec<(&'static str, Setting)> = target
                .settings(ctx)
                .settled()
                .filter(|(other, _)| *other != name)
                .map(|(name, value)| (name, Some(value.to_string())))
                .collect();
            settings.extend(others);
            let named: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
            let gone: Vec<&'static str> = target.settings(ctx).names().filter(|name| !named.contains(name)).collect();
            settings.extend(gone.into_iter().map(|name| (name, None)));
        }
        if !validate_only {
            for (name, setting) in &settings {
                target.settings(ctx).asked(name, setting.clone());
            }
        }
        let version = self.version;
        let change = Change { target, settings: if validate_only { Vec::new() } else { settings.clone() } };
        let resource_name = resource_name.into();
        if whole {
            let config = |(name, setting): &(&'static str, Setting)| {
                let value = setting.clone()?.into();
                Some(all_at_once::AlterableConfig { name: (*name).into(), value: Some(value) })
            };
            let configs = settings.iter().filter_map(config).collect();
            let resources = vec![all_at_once::AlterConfigsResource { resource_type, resource_name, configs }];
            let request = all_at_once::AlterConfigsRequest { resources, validate_only };
            self.link.send(ctx, version.clamp(0, 2), &request, What::AlterAllAtOnce(change), true);
        } else {
            let config = |(name, setting): (&'static str, Setting)| AlterableConfig {
                name: name.into(),
                config_operation: if setting.is_some() { SET } else { DELETE },
                value: setting.map(Into::into),
            };
            let configs = settings.into_iter().map(config).collect();
            let resources = vec![AlterConfigsResource { resource_type, resource_name, configs }];
            let request = IncrementalAlterConfigsRequest { resources, validate_only };
            self.link.send(ctx, version.clamp(0, 1), &request, What::Alter(change), true);
        }
    }

    /// Asks what is set.
    pub(super) fn configs(&mut self, ctx: &mut Ctx) {
        let Some(target) = target(ctx) else { return };
        let target = if target == Target::EveryBroker { Target::Broker } else { target };
        let (resource_type, resource_name) = target.resource(ctx);
        let resource_name = resource_name.into();
        let resource = DescribeConfigsResource { resource_type, resource_name, configuration_keys: None };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            ..DescribeConfigsRequest::default()
        };
        self.link.send(ctx, self.version.clamp(1, 4), &request, What::Configs(target), true);
    }
}

pub(super) fn on_altered(ctx: &mut Ctx, change: &Change, code: ErrorCode, message: Option<&str>) {
    match code {
        ErrorCode::NONE => {
            for (name, setting) in &change.settings {
                change.target.settings(ctx).acked(name, setting);
            }
        }
        ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_CONTROLLER => {}
        other if !ctx.ledger.beyond && !lax(ctx, change.target) => {
            let detail = format!("a change of {:?} is answered {other} {message:?}", change.target);
            ctx.fail(Invariant::Answers, detail);
        }
        _ => {}
    }
}

/// Whether damage may have undone changes.
pub(super) fn lax(ctx: &Ctx, target: Target) -> bool {
    let lost = |topic: usize| ctx.ledger.topics[topic].parts.iter().any(|part| ctx.ledger.parts[*part].may_lose);
    match target {
        Target::Topic(topic) => ctx.ledger.topics[topic].state != TopicState::Live || lost(topic),
        Target::EveryBroker | Target::Broker => (0..ctx.ledger.topics.len()).any(lost),
    }
}

/// Holds a description against what was acknowledged. A broker's also says what is set for every broker.
pub(super) fn on_configs(ctx: &mut Ctx, target: Target, answer: &DescribeConfigsResponse) {
    let Some(result) = answer.results.first() else {
        return ctx.fail(Invariant::Answers, "DescribeConfigs answers nothing".to_string());
    };
    if ctx.ledger.beyond || lax(ctx, target) {
        return;
    }
    let layers: &[(Target, i8)] = match target {
        Target::Topic(_) => &[(target, TOPIC)],
        Target::Broker | Target::EveryBroker => &[(Target::Broker, BROKER), (Target::EveryBroker, EVERY)],
    };
    let seen = |name: &str, source: i8| {
        let config = result.configs.iter().find(|config| config.name == name)?;
        let synonym = config.synonyms.iter().find(|synonym| synonym.source == source)?;
        synonym.value.as_deref()
    };
    for (target, source) in layers {
        let names: Vec<&str> = target.settings(ctx).names().collect();
        for name in names {
            let seen = seen(name, *source);
            if let Err(acked) = target.settings(ctx).may_be(name, seen) {
                let detail =
                    format!("{name} of {target:?} is {seen:?}, acknowledged was {acked:?}; {}", result.error_code);
                return ctx.fail(Invariant::Configured, detail);
            }
        }
    }
}
