//! AlterClientQuotas: sets and removes quotas, entity by entity; one that fails does not hinder the others.
//!
//! Kafka's checks in Kafka's order, with its messages. As in Kafka, an entity that stands twice is answered as a failure
//! though the first of the two counts, and so is a key that stands twice. Beyond Kafka: an address must be one, since
//! no name is resolved here, and what is no number is refused.

use super::View;
use crate::metadata::{Decision, Record};
use crate::quotas::{Entity, Limit, QuotaChanges, QuotaKey, Who};
use crate::wire::ErrorCode;
use crate::wire::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, EntityData, EntryData, EntryResponse, OpData,
};
use alloc::borrow::{Cow, ToOwned};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// An error's message; the code is INVALID_REQUEST.
type Refusal = String;

/// An entity as it was asked for: its types with their names, of two of one type the last.
type Asked<'r> = BTreeMap<&'r str, Option<&'r str>>;

pub fn decide(request: &AlterClientQuotasRequest<'_>, view: &View<'_>) -> Decision<AlterClientQuotasResponse<'static>> {
    let mut records = Vec::new();
    // In the order of the request, each entity once.
    let mut results: Vec<(Asked<'_>, Result<(), Refusal>)> = Vec::new();
    let mut seen: BTreeMap<Asked<'_>, usize> = BTreeMap::new();
    for entry in &request.entries {
        let asked = asked(entry);
        let mut keys = BTreeSet::new();
        let repeats_key = !entry.ops.iter().all(|op| keys.insert(&*op.key));
        if let Some(at) = seen.get(&asked) {
            results[*at].1 = Err(ignored(&asked));
            continue;
        }
        seen.insert(asked.clone(), results.len());
        let altered = if repeats_key { Err(ignored(&asked)) } else { alter(&asked, &entry.ops, view) };
        let result = altered.map(|record| records.extend(record));
        results.push((asked, result));
    }
    if request.validate_only {
        records.clear();
    }
    let entries = results.into_iter().map(|(asked, result)| response(&asked, result)).collect();
    Decision { records, response: AlterClientQuotasResponse { throttle_time_ms: 0, entries } }
}

fn asked<'r>(entry: &'r EntryData<'_>) -> Asked<'r> {
    entry.entity.iter().map(|part| (&*part.entity_type, part.entity_name.as_deref())).collect()
}

fn response(asked: &Asked<'_>, result: Result<(), Refusal>) -> EntryResponse<'static> {
    let owned = |text: &str| Cow::Owned(text.to_owned());
    let (error_code, error_message) = match result {
        Ok(()) => (ErrorCode::NONE, None),
        Err(text) => (ErrorCode::INVALID_REQUEST, Some(Cow::Owned(text))),
    };
    let part = |(entity_type, name): (&&str, &Option<&str>)| EntityData {
        entity_type: owned(entity_type),
        entity_name: name.map(owned),
    };
    EntryResponse { error_code, error_message, entity: asked.iter().map(part).collect() }
}

/// Kafka says so of an entity that stands twice, and of a key that does.
fn ignored(asked: &Asked<'_>) -> Refusal {
    let parts: Vec<String> =
        asked.iter().map(|(entity_type, name)| format!("{entity_type}={}", name.unwrap_or("null"))).collect();
    format!("Ignoring duplicate entity ClientQuotaEntity(entries={{{}}})", parts.join(", "))
}

/// The record that changes an entity's quotas, where they change.
fn alter(asked: &Asked<'_>, ops: &[OpData<'_>], view: &View<'_>) -> Result<Option<Record>, Refusal> {
    let entity = entity(asked)?;
    let quotas = view.image.quotas();
    let mut changes = QuotaChanges::new();
    for op in ops {
        let key = QuotaKey::named(&op.key);
        if op.remove {
            // Of a key that is not Kafka's there is nothing to remove.
            if let Some(key) = key.filter(|key| quotas.get(&entity, *key).is_some()) {
                changes.insert(key, None);
            }
            continue;
        }
        let key = key.filter(|key| key.is_of_addresses() == entity.ip.is_some());
        let key = key.ok_or_else(|| format!("Invalid configuration key {}", op.key))?;
        let limit = limit(key, op.value)?;
        if quotas.get(&entity, key) != Some(limit) {
            changes.insert(key, Some(limit));
        }
    }
    Ok((!changes.is_empty()).then_some(Record::QuotasChanged { entity, changes }))
}

fn entity(asked: &Asked<'_>) -> Result<Entity, Refusal> {
    if asked.is_empty() {
        return Err("Invalid empty client quota entity".to_owned());
    }
    let mut entity = Entity::default();
    for (entity_type, name) in asked {
        let Some(part) = entity.part_mut(entity_type) else {
            return Err(format!("Unhandled client quota entity type: {entity_type}"));
        };
        *part = Some(Who::from(*name));
        if *name == Some("") {
            return Err(format!("Empty {entity_type} not supported"));
        }
    }
    let Some(ip) = &mut entity.ip else { return Ok(entity) };
    if asked.len() > 1 {
        let text = "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId";
        return Err(text.to_owned());
    }
    if let Who::Named(name) = ip {
        let address: Result<IpAddr, _> = name.parse();
        if address.is_err() {
            return Err(format!("{name} is not a valid IP or resolvable host."));
        }
    }
    Ok(entity)
}

fn limit(key: QuotaKey, value: f64) -> Result<Limit, Refusal> {
    let name = key.name();
    if value.is_nan() || value <= 0.0 {
        return Err(format!("Quota {name} must be greater than 0"));
    }
    let integer = |max: f64, kind: &str| {
        if value > max {
            return Err(format!("Proposed value for {name} is too large for {kind}."));
        }
        if value % 1.0 > 1e-6 {
            return Err(format!("{name} cannot be a fractional value."));
        }
        Ok(())
    };
    match key {
        QuotaKey::ProducerByteRate | QuotaKey::ConsumerByteRate => integer(i64::MAX as f64, "a LONG")?,
        QuotaKey::ConnectionCreationRate => integer(f64::from(i32::MAX), "an INT")?,
        QuotaKey::RequestPercentage | QuotaKey::ControllerMutationRate => {}
    }
    Ok(Limit::new(value))
}
