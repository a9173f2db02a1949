//! A broker's configurations, in layers: what was altered for this broker, then for every broker, then its file.
//!
//! Invariant: the finer layer wins, name by name. Layers are borrowed, never merged: who describes a value must know where
//! it comes from.

use super::{Source, Values};

static NONE: Values = Values::new();

/// What is set for one broker, by Kafka's names; every value has passed its check.
#[derive(Clone, Copy, Debug)]
pub struct BrokerValues<'a> {
    /// Altered at run time, for this broker alone.
    pub own: &'a Values,
    /// Altered at run time, for every broker.
    pub every: &'a Values,
    /// From the configuration file and the command line.
    pub fixed: &'a Values,
}

impl<'a> BrokerValues<'a> {
    /// The layers, the one that wins first.
    pub fn layers(self) -> [(&'a Values, Source); 3] {
        let BrokerValues { own, every, fixed } = self;
        [(own, Source::DynamicBroker), (every, Source::DynamicDefaultBroker), (fixed, Source::StaticBroker)]
    }

    /// The value that wins, as it was written, and where it was set.
    pub fn get(self, name: &str) -> Option<(&'a str, Source)> {
        let set = |(values, source): (&'a Values, Source)| values.get(name).map(|text| (text.as_str(), source));
        self.layers().into_iter().find_map(set)
    }
}

/// A broker of which nothing was altered.
impl<'a> From<&'a Values> for BrokerValues<'a> {
    fn from(fixed: &'a Values) -> BrokerValues<'a> {
        BrokerValues { own: &NONE, every: &NONE, fixed }
    }
}
