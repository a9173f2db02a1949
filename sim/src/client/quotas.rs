//! The administrator's quotas: what is set and removed, and what descriptions are held against.
//!
//! They are high enough to slow nobody, and those of every client are booked all the same, on every shard. Invariant: a
//! quota that was acknowledged is what is described from then on, through every crash.

use super::admin::{Admin, What};
use super::alter::{Target, lax};
use crate::client::Ctx;
use crate::report::Invariant;
use crate::settings::Setting;
use highwater::wire::ErrorCode;
use highwater::wire::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, EntityData, EntryData, OpData,
};
use highwater::wire::describe_client_quotas::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

/// A quota that was changed, by the name that the ledger has for it.
pub struct QuotaChange(&'static str, Setting);

/// For the ledger; the entity's type and name, the key.
type Quota = (&'static str, &'static str, Option<&'static str>, &'static str);

const QUOTAS: [Quota; 5] = [
    ("bytes of nobody", "client-id", Some("nobody"), "producer_byte_rate"),
    ("bytes of every producer", "client-id", None, "producer_byte_rate"),
    ("bytes of every reader", "client-id", None, "consumer_byte_rate"),
    ("time of everybody", "user", Some("ANONYMOUS"), "request_percentage"),
    ("connections of nobody", "ip", Some("10.99.0.1"), "connection_creation_rate"),
];

impl Admin {
    pub(super) fn set_quota(&mut self, ctx: &mut Ctx) {
        self.altered += 1;
        let (name, entity_type, entity_name, key) = QUOTAS[ctx.dice.index(QUOTAS.len())];
        let setting = (ctx.dice.below(4) > 0).then(|| (1_000_000_000 + u64::from(self.altered)).to_string());
        let validate_only = ctx.dice.chance(100_000);
        if !validate_only {
            ctx.ledger.quotas.asked(name, setting.clone());
        }
        let value = setting.as_deref().map_or(0.0, |text| text.parse().expect("a number"));
        let entity = EntityData { entity_type: entity_type.into(), entity_name: entity_name.map(Into::into) };
        let op = OpData { key: key.into(), value, remove: setting.is_none() };
        let entries = vec![EntryData { entity: vec![entity], ops: vec![op] }];
        let request = AlterClientQuotasRequest { entries, validate_only };
        let change = (!validate_only).then_some(QuotaChange(name, setting));
        self.link.send(ctx, self.version.clamp(0, 1), &request, What::SetQuota(change), true);
    }

    pub(super) fn quotas(&mut self, ctx: &mut Ctx) {
        let request = DescribeClientQuotasRequest::default();
        self.link.send(ctx, self.version.clamp(0, 1), &request, What::Quotas, true);
    }
}

pub(super) fn on_quota_set(ctx: &mut Ctx, change: Option<&QuotaChange>, answer: &AlterClientQuotasResponse) {
    let code = answer.entries.first().map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |told| told.error_code);
    match (code, change) {
        (ErrorCode::NONE, Some(QuotaChange(name, setting))) => ctx.ledger.quotas.acked(name, setting),
        (ErrorCode::NONE, None) => {}
        (other, _) => ctx.fail(Invariant::Answers, format!("AlterClientQuotas is answered {other}: {answer:?}")),
    }
}

pub(super) fn on_quotas(ctx: &mut Ctx, answer: &DescribeClientQuotasResponse) {
    if ctx.ledger.beyond || lax(ctx, Target::Broker) {
        return;
    }
    let Some(entries) = &answer.entries else {
        return ctx.fail(Invariant::Answers, format!("DescribeClientQuotas is answered {}", answer.error_code));
    };
    for (name, entity_type, entity_name, key) in QUOTAS {
        let entry = entries.iter().find(|entry| {
            let is_it = |part: &highwater::wire::describe_client_quotas::EntityData| {
                part.entity_type == entity_type && part.entity_name.as_deref() == entity_name
            };
            entry.entity.len() == 1 && is_it(&entry.entity[0])
        });
        let value = entry.and_then(|entry| entry.values.iter().find(|value| value.key == key));
        let seen = value.map(|value| value.value.to_string());
        if let Err(acked) = ctx.ledger.quotas.may_be(name, seen.as_deref()) {
            let detail = format!("the quota {name} is {seen:?}, acknowledged was {acked:?}");
            return ctx.fail(Invariant::Configured, detail);
        }
    }
}
