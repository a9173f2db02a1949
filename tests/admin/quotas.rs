//! DescribeClientQuotas and AlterClientQuotas: what is set is described, what is wrong is refused with Kafka's words.

use crate::world::World;
use highwater::api::{alter_client_quotas, describe_client_quotas};
use highwater::metadata::{Image, Record};
use highwater::wire::ErrorCode;
use highwater::wire::alter_client_quotas::{AlterClientQuotasRequest, EntityData, EntryData, OpData};
use highwater::wire::describe_client_quotas::{ComponentData, DescribeClientQuotasRequest};

type Part<'a> = (&'a str, Option<&'a str>);

fn entry<'a>(parts: &[Part<'a>], ops: &[(&'a str, Option<f64>)]) -> EntryData<'a> {
    let part =
        |(kind, name): &Part<'a>| EntityData { entity_type: (*kind).into(), entity_name: name.map(|name| name.into()) };
    let op = |(key, value): &(&'a str, Option<f64>)| OpData {
        key: (*key).into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    EntryData { entity: parts.iter().map(part).collect(), ops: ops.iter().map(op).collect() }
}

/// Code and message of each, and the records that are to be written; they are applied.
fn alter(world: &mut World, entries: Vec<EntryData<'_>>) -> (Vec<(ErrorCode, String)>, Vec<Record>) {
    let request = AlterClientQuotasRequest { entries, validate_only: false };
    let decision = alter_client_quotas::decide(&request, &world.view());
    let told = decision.response.entries.iter();
    let told = told.map(|one| (one.error_code, one.error_message.as_deref().unwrap_or_default().to_string()));
    let told = told.collect();
    world.commit(&decision.records);
    (told, decision.records)
}

fn refusal(world: &mut World, parts: &[Part<'_>], ops: &[(&str, Option<f64>)]) -> String {
    let (told, records) = alter(world, vec![entry(parts, ops)]);
    assert!(records.is_empty() && told[0].0 == ErrorCode::INVALID_REQUEST, "{told:?}");
    told[0].1.clone()
}

/// Each entity's parts and values, as text.
fn described(world: &World, components: &[(&str, i8, Option<&str>)], strict: bool) -> Vec<String> {
    let component = |(kind, how, name): &(&'static str, i8, Option<&'static str>)| ComponentData {
        entity_type: (*kind).into(),
        match_type: *how,
        matches: name.map(Into::into),
    };
    let components: Vec<(&'static str, i8, Option<&'static str>)> = components
        .iter()
        .map(|(kind, how, name)| (&*kind.to_string().leak(), *how, name.map(|name| &*name.to_string().leak())))
        .collect();
    let request = DescribeClientQuotasRequest { components: components.iter().map(component).collect(), strict };
    let answer = describe_client_quotas::answer(&request, &world.view());
    assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
    let entries = answer.entries.expect("no error").into_iter();
    let text = |entry: highwater::wire::describe_client_quotas::EntryData<'_>| {
        let parts = entry.entity.iter();
        let parts = parts.map(|part| format!("{}={}", part.entity_type, part.entity_name.as_deref().unwrap_or("*")));
        let values = entry.values.iter().map(|value| format!("{} {}", value.key, value.value));
        parts.chain(values).collect::<Vec<_>>().join(" ")
    };
    entries.map(text).collect()
}

#[test]
fn what_is_set_is_described_and_filtered() {
    let mut world = World::new();
    let entries = vec![
        entry(&[("client-id", Some("c"))], &[("producer_byte_rate", Some(1024.0)), ("request_percentage", Some(12.5))]),
        entry(&[("user", Some("u")), ("client-id", None)], &[("consumer_byte_rate", Some(1.0))]),
        entry(&[("ip", None)], &[("connection_creation_rate", Some(7.0))]),
    ];
    let (told, records) = alter(&mut world, entries);
    assert!(told.iter().all(|(code, _)| *code == ErrorCode::NONE) && records.len() == 3, "{told:?}");
    let (c, pair) =
        ("client-id=c producer_byte_rate 1024 request_percentage 12.5", "client-id=* user=u consumer_byte_rate 1");
    let ip = "ip=* connection_creation_rate 7";
    assert_eq!(described(&world, &[], false), [pair, c, ip]);
    assert_eq!(described(&world, &[("client-id", 2, None)], false), [pair, c]);
    assert_eq!(described(&world, &[("client-id", 2, None)], true), [c]);
    assert_eq!(described(&world, &[("user", 0, Some("u")), ("client-id", 1, None)], true), [pair]);
    assert_eq!(described(&world, &[("ip", 1, None)], true), [ip]);
    assert!(described(&world, &[("ip", 0, Some("10.0.0.1"))], false).is_empty());
    // A checkpoint holds them.
    let again = Image::decode(&world.image.encode()).expect("an image");
    assert_eq!(again, world.image);
    let changes = [("producer_byte_rate", None), ("request_percentage", None), ("no_such_key", None)];
    let (told, _) = alter(&mut world, vec![entry(&[("client-id", Some("c"))], &changes)]);
    assert_eq!(told[0].0, ErrorCode::NONE);
    assert_eq!(described(&world, &[], false), [pair, ip]);
    let same = vec![entry(&[("ip", None)], &[("connection_creation_rate", Some(7.0))])];
    assert!(alter(&mut world, same).1.is_empty(), "what does not change leaves no record");
}

#[test]
fn what_cannot_be_a_quota_is_refused_with_kafkas_words() {
    let world = &mut World::new();
    let client = [("client-id", Some("c"))];
    let ip = [("ip", Some("10.0.0.1"))];
    let positive = "Quota producer_byte_rate must be greater than 0";
    for (parts, key, value, expected) in [
        (&client[..], "no_such_key", 1.0, "Invalid configuration key no_such_key"),
        (&client, "connection_creation_rate", 1.0, "Invalid configuration key connection_creation_rate"),
        (&ip, "producer_byte_rate", 1.0, "Invalid configuration key producer_byte_rate"),
        (&client, "producer_byte_rate", 0.0, positive),
        (&client, "producer_byte_rate", f64::NAN, positive),
        (&client, "producer_byte_rate", 1.5, "producer_byte_rate cannot be a fractional value."),
        (&client, "consumer_byte_rate", 1e19, "Proposed value for consumer_byte_rate is too large for a LONG."),
        (&ip, "connection_creation_rate", 3e9, "Proposed value for connection_creation_rate is too large for an INT."),
        (&[], "producer_byte_rate", 1.0, "Invalid empty client quota entity"),
        (&[("group", Some("g"))], "producer_byte_rate", 1.0, "Unhandled client quota entity type: group"),
        (&[("user", Some(""))], "producer_byte_rate", 1.0, "Empty user not supported"),
        (&[("ip", Some("host"))], "connection_creation_rate", 1.0, "host is not a valid IP or resolvable host."),
    ] {
        assert_eq!(refusal(world, parts, &[(key, Some(value))]), expected);
    }
    let both = refusal(world, &[ip[0], client[0]], &[("producer_byte_rate", Some(1.0))]);
    assert!(both.starts_with("Invalid quota entity combination"), "{both}");
    assert!(world.image.quotas().is_empty());
}
