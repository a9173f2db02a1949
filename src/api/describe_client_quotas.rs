//! DescribeClientQuotas: the quotas of the entities that a filter lets through.
//!
//! Kafka's checks in Kafka's order: each component's type, that it stands once, its way to match; then that addresses
//! stand alone. A request without components asks for every entity. Kafka answers in no order, ours stand in one.

use super::View;
use crate::quotas::{Entity, Who};
use crate::wire::ErrorCode;
use crate::wire::describe_client_quotas::{
    ComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};
use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// What one type of an entity must be: this, or anything.
type Wanted<'a> = (&'a str, Option<Who>);

pub fn answer<'a>(request: &DescribeClientQuotasRequest<'_>, view: &View<'a>) -> DescribeClientQuotasResponse<'a> {
    let wanted = match read(&request.components) {
        Ok(wanted) => wanted,
        Err((error_code, message)) => {
            let error_message = Some(Cow::Owned(message));
            return DescribeClientQuotasResponse { error_code, error_message, ..Default::default() };
        }
    };
    let entries = view.image.quotas().iter().filter(|(entity, _)| matches(entity, &wanted, request.strict));
    let entries = entries.map(|(entity, limits)| EntryData {
        entity: entity.parts().map(part).collect(),
        values: limits.iter().map(|(key, limit)| ValueData { key: key.name().into(), value: limit.value() }).collect(),
    });
    // As in Kafka: empty, not null.
    let error_message = Some(Cow::Borrowed(""));
    DescribeClientQuotasResponse { entries: Some(entries.collect()), error_message, ..Default::default() }
}

fn part<'a>((entity_type, who): (&'static str, &'a Who)) -> EntityData<'a> {
    EntityData { entity_type: Cow::Borrowed(entity_type), entity_name: who.name().map(Cow::Borrowed) }
}

fn read<'r>(components: &'r [ComponentData<'_>]) -> Result<Vec<Wanted<'r>>, (ErrorCode, String)> {
    let invalid = |text: String| (ErrorCode::INVALID_REQUEST, text);
    let mut wanted: Vec<Wanted<'r>> = Vec::with_capacity(components.len());
    for component in components {
        let entity_type = &*component.entity_type;
        if entity_type.is_empty() {
            return Err(invalid("Invalid empty entity type.".to_owned()));
        }
        if wanted.iter().any(|(other, _)| *other == entity_type) {
            return Err(invalid(format!("Entity type {entity_type} cannot appear more than once in the filter.")));
        }
        if Entity::default().part_mut(entity_type).is_none() {
            return Err((ErrorCode::UNSUPPORTED_VERSION, format!("Unsupported entity type {entity_type}")));
        }
        let named = |kind: &str| {
            Err(invalid(format!("Request specified MATCH_TYPE_{kind}, but also specified a match string.")))
        };
        let who = match (component.match_type, &component.matches) {
            (EXACT, Some(name)) => Some(Who::Named(name.clone().into_owned())),
            (EXACT, None) => {
                return Err(invalid("Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned()));
            }
            (DEFAULT, None) => Some(Who::Default),
            (DEFAULT, Some(_)) => return named("DEFAULT"),
            (SPECIFIED, None) => None,
            (SPECIFIED, Some(_)) => return named("SPECIFIED"),
            (other, _) => return Err(invalid(format!("Unknown match type {other}"))),
        };
        wanted.push((entity_type, who));
    }
    if wanted.len() > 1 && wanted.iter().any(|(entity_type, _)| *entity_type == "ip") {
        let text = "Invalid entity filter component combination. IP filter component should not be used with user or \
                    clientId filter component.";
        return Err(invalid(text.to_owned()));
    }
    Ok(wanted)
}

fn matches(entity: &Entity, wanted: &[Wanted<'_>], strict: bool) -> bool {
    let fits = |(entity_type, who): &Wanted<'_>| match (entity.part(entity_type), who) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(found), Some(who)) => found == who,
    };
    (!strict || entity.parts().count() == wanted.len()) && wanted.iter().all(fits)
}
