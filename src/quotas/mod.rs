//! Quotas: who may do how much. What is set ([`Quotas`]), which of it holds for a client, and the books of what was done.
//!
//! | file | what it holds |
//! | --- | --- |
//! | here | the keys and entities that can be set, and the rule of precedence |
//! | `rate.rs` | a rate over Kafka's windows, a bucket of tokens; how long somebody above his bound has to wait |
//! | `books.rs` | the rates of clients, bounded in memory |
//!
//! The order of precedence is Kafka's (KIP-55): the most specific quota that names the user goes before any that names
//! only the client. All numbers here are integers: a quota is kept as the bits that were set, so that it is described as
//! it was given, and reckoned in millionths.

mod books;
mod rate;

pub use books::{Book, Books, Subject, Usage, millis};
pub use rate::{Bucket, Rate, Windows};

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// What can be limited, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum QuotaKey {
    /// Connections a second, of one address.
    ConnectionCreationRate,
    /// Bytes a second, of answers to Fetch.
    ConsumerByteRate,
    /// Partitions a second, made or deleted (KIP-599).
    ControllerMutationRate,
    /// Bytes a second, of Produce requests.
    ProducerByteRate,
    /// Percent of one thread (KIP-124).
    RequestPercentage,
}

impl QuotaKey {
    pub const ALL: [QuotaKey; 5] = [
        QuotaKey::ConnectionCreationRate,
        QuotaKey::ConsumerByteRate,
        QuotaKey::ControllerMutationRate,
        QuotaKey::ProducerByteRate,
        QuotaKey::RequestPercentage,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            QuotaKey::ConnectionCreationRate => "connection_creation_rate",
            QuotaKey::ConsumerByteRate => "consumer_byte_rate",
            QuotaKey::ControllerMutationRate => "controller_mutation_rate",
            QuotaKey::ProducerByteRate => "producer_byte_rate",
            QuotaKey::RequestPercentage => "request_percentage",
        }
    }

    pub fn named(name: &str) -> Option<QuotaKey> {
        QuotaKey::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Of addresses, or of users and clients.
    pub const fn is_of_addresses(self) -> bool {
        matches!(self, QuotaKey::ConnectionCreationRate)
    }
}

/// A bound: the bits of the double that was set, which is above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Limit(u64);

impl Limit {
    /// Panics on what is not above 0: it is checked before it comes here.
    pub fn new(value: f64) -> Limit {
        assert!(value > 0.0, "a quota of {value}");
        Limit(value.to_bits())
    }

    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }

    /// In millionths, at least one.
    pub fn millionths(self) -> u64 {
        ((self.value() * 1e6) as u64).max(1)
    }
}

/// One part of an entity: everyone who has no quota of his own, or one by name. The default goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Who {
    Default,
    Named(String),
}

impl Who {
    pub fn name(&self) -> Option<&str> {
        match self {
            Who::Default => None,
            Who::Named(name) => Some(name),
        }
    }
}

impl From<Option<&str>> for Who {
    fn from(name: Option<&str>) -> Who {
        name.map_or(Who::Default, |name| Who::Named(name.to_owned()))
    }
}

/// Whom a quota is set for: an address, or a user, a client, or a user's client.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entity {
    pub ip: Option<Who>,
    pub client_id: Option<Who>,
    pub user: Option<Who>,
}

impl Entity {
    /// Its parts by Kafka's names of their types, in the order in which Kafka lists them.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &Who)> {
        let parts = [("ip", &self.ip), ("client-id", &self.client_id), ("user", &self.user)];
        parts.into_iter().filter_map(|(name, who)| who.as_ref().map(|who| (name, who)))
    }

    pub fn part(&self, entity_type: &str) -> Option<&Who> {
        self.parts().find(|(name, _)| *name == entity_type).map(|(_, who)| who)
    }

    /// The part of this type; `None` where Kafka knows no such type.
    pub fn part_mut(&mut self, entity_type: &str) -> Option<&mut Option<Who>> {
        match entity_type {
            "ip" => Some(&mut self.ip),
            "client-id" => Some(&mut self.client_id),
            "user" => Some(&mut self.user),
            _ => None,
        }
    }
}

/// An entity as it is looked up: client and user, each absent, by default or by name. It stands for an [`Entity`] whose names need
/// not be copied, and must be ordered as that is.
type Looked<'a> = (Option<Option<&'a str>>, Option<Option<&'a str>>, Option<Option<&'a str>>);

trait Look {
    /// Address, client and user.
    fn looked(&self) -> Looked<'_>;
}

impl Look for Looked<'_> {
    fn looked(&self) -> Looked<'_> {
        *self
    }
}

impl Look for Entity {
    fn looked(&self) -> Looked<'_> {
        fn name(who: &Option<Who>) -> Option<Option<&str>> {
            who.as_ref().map(Who::name)
        }
        (name(&self.ip), name(&self.client_id), name(&self.user))
    }
}

impl PartialEq for dyn Look + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.looked() == other.looked()
    }
}

impl Eq for dyn Look + '_ {}

impl PartialOrd for dyn Look + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Look + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.looked().cmp(&other.looked())
    }
}

impl<'a> Borrow<dyn Look + 'a> for Entity {
    fn borrow(&self) -> &(dyn Look + 'a) {
        self
    }
}

/// What becomes of an entity's quotas: a new bound, or none any more.
pub type QuotaChanges = BTreeMap<QuotaKey, Option<Limit>>;

/// Every quota that is set. Invariant: an entity without quotas is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotas(BTreeMap<Entity, BTreeMap<QuotaKey, Limit>>);

impl Quotas {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Entity, &BTreeMap<QuotaKey, Limit>)> {
        self.0.iter()
    }

    pub fn get(&self, entity: &Entity, key: QuotaKey) -> Option<Limit> {
        self.0.get(entity)?.get(&key).copied()
    }

    pub fn change(&mut self, entity: &Entity, changes: &QuotaChanges) {
        let limits = self.0.entry(entity.clone()).or_default();
        for (key, limit) in changes {
            match limit {
                Some(limit) => limits.insert(*key, *limit),
                None => limits.remove(key),
            };
        }
        if limits.is_empty() {
            self.0.remove(entity);
        }
    }

    /// The quota that holds for a client of a user, and with whom it shares it.
    pub fn of_client(&self, key: QuotaKey, user: &str, client_id: &str) -> Option<(Subject, Limit)> {
        let (user_name, client_name) = (named(user), named(client_id));
        let any_client = client_name.and(Some(None));
        // Each with who shares it: all clients of the user, one client of the user, one client of all users.
        let levels = [
            (user_name, client_name, (true, true)),
            (user_name, any_client, (true, true)),
            (user_name, None, (true, false)),
            (Some(None), client_name, (true, true)),
            (Some(None), any_client, (true, true)),
            (Some(None), None, (true, false)),
            (None, client_name, (false, true)),
            (None, any_client, (false, true)),
        ];
        for (at_user, at_client, (by_user, by_client)) in levels {
            if at_client.is_none() && by_client {
                continue;
            }
            let entity: &dyn Look = &(None, at_client, at_user);
            if let Some(limit) = self.0.get(entity).and_then(|limits| limits.get(&key).copied()) {
                let subject = Subject {
                    user: by_user.then(|| user.to_owned()),
                    client_id: by_client.then(|| client_id.to_owned()),
                };
                return Some((subject, limit));
            }
        }
        None
    }

    /// How many connections a second may come from an address.
    pub fn of_address(&self, address: &str) -> Option<Limit> {
        let entity = |who: Who| Entity { ip: Some(who), ..Entity::default() };
        let key = QuotaKey::ConnectionCreationRate;
        let named = self.get(&entity(Who::Named(address.to_owned())), key);
        named.or_else(|| self.of_address_spelled(address, key)).or_else(|| self.get(&entity(Who::Default), key))
    }

    /// The same address may have been written in another way.
    fn of_address_spelled(&self, address: &str, key: QuotaKey) -> Option<Limit> {
        let wanted: IpAddr = address.parse().ok()?;
        let is_it = |entity: &Entity| {
            let name = entity.ip.as_ref().and_then(Who::name);
            let found: Option<IpAddr> = name.and_then(|name| name.parse().ok());
            found.is_some_and(|found| found.to_canonical() == wanted.to_canonical())
        };
        self.0.iter().find(|(entity, _)| is_it(entity)).and_then(|(_, limits)| limits.get(&key).copied())
    }
}

/// By name, where there is one.
fn named(name: &str) -> Option<Option<&str>> {
    (!name.is_empty()).then_some(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn entity(user: Option<Option<&str>>, client_id: Option<Option<&str>>) -> Entity {
        Entity { ip: None, client_id: client_id.map(Who::from), user: user.map(Who::from) }
    }

    #[test]
    fn an_entity_is_looked_up_in_the_order_in_which_it_is_kept() {
        let whos = [None, Some(None), Some(Some("a")), Some(Some("b"))];
        let all: Vec<Entity> = whos.iter().flat_map(|user| whos.map(|client_id| entity(*user, client_id))).collect();
        for one in &all {
            for other in &all {
                assert_eq!(one.looked().cmp(&other.looked()), one.cmp(other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn the_most_specific_quota_of_the_user_holds_before_any_of_the_client() {
        let mut quotas = Quotas::default();
        let key = QuotaKey::ProducerByteRate;
        let all = [
            (entity(None, Some(None)), 8),
            (entity(None, Some(Some("c"))), 7),
            (entity(Some(None), None), 6),
            (entity(Some(None), Some(None)), 5),
            (entity(Some(None), Some(Some("c"))), 4),
            (entity(Some(Some("u")), None), 3),
            (entity(Some(Some("u")), Some(None)), 2),
            (entity(Some(Some("u")), Some(Some("c"))), 1),
        ];
        for (entity, rank) in all {
            quotas.change(&entity, &[(key, Some(Limit::new(f64::from(rank))))].into());
            let (subject, limit) = quotas.of_client(key, "u", "c").expect("one is set");
            assert_eq!(limit.value(), f64::from(rank), "{entity:?}");
            assert_eq!(subject.user.is_some(), rank < 7, "{entity:?}");
            assert_eq!(subject.client_id.is_some(), !matches!(rank, 3 | 6), "{entity:?}");
        }
        assert_eq!(quotas.of_client(key, "u", "").expect("the user's").1.value(), 3.0);
        assert_eq!(quotas.of_client(key, "other", "").expect("of any user").1.value(), 6.0);
        assert_eq!(quotas.of_client(QuotaKey::ConsumerByteRate, "u", "c"), None);
    }

    #[test]
    fn a_client_without_a_name_has_no_quota_of_clients() {
        let mut quotas = Quotas::default();
        let key = QuotaKey::ConsumerByteRate;
        quotas.change(&entity(None, Some(None)), &[(key, Some(Limit::new(1.0)))].into());
        quotas.change(&entity(Some(None), Some(None)), &[(key, Some(Limit::new(1.0)))].into());
        assert_eq!(quotas.of_client(key, "ANONYMOUS", ""), None);
    }

    #[test]
    fn an_entity_without_quotas_is_not_there() {
        let mut quotas = Quotas::default();
        let address = Entity { ip: Some(Who::Named("::1".to_owned())), ..Entity::default() };
        let key = QuotaKey::ConnectionCreationRate;
        quotas.change(&address, &[(key, Some(Limit::new(5.0)))].into());
        assert_eq!(quotas.of_address("0:0::1"), quotas.of_address("::1"));
        assert_eq!(quotas.of_address("::1").map(Limit::millionths), Some(5_000_000));
        assert_eq!(quotas.of_address("::2"), None);
        quotas.change(&address, &[(key, None)].into());
        assert!(quotas.is_empty());
    }
}
