//! What the administrator knows of configurations: what was acknowledged last, and what may have been set besides.
//!
//! A change that was sent and not answered may be in force, may never be, or may still come: its value stays possible for
//! ever. Invariant: whatever is described is what was acknowledged last, or one of those; everything before is gone.

use std::collections::BTreeMap;

/// `None`: not set.
pub type Setting = Option<String>;

#[derive(Default)]
struct Known {
    acked: Setting,
    /// Sent and not answered, one entry for each time.
    open: Vec<Setting>,
}

/// The configurations of one topic, of one broker or of every broker, by name.
#[derive(Default)]
pub struct Settings {
    known: BTreeMap<&'static str, Known>,
}

impl Settings {
    /// What a topic is created with.
    pub fn with(settings: Vec<(&'static str, String)>) -> Settings {
        let known = |(name, value)| (name, Known { acked: Some(value), open: Vec::new() });
        Settings { known: settings.into_iter().map(known).collect() }
    }

    pub fn asked(&mut self, name: &'static str, setting: Setting) {
        self.known.entry(name).or_default().open.push(setting);
    }

    pub fn acked(&mut self, name: &'static str, setting: &Setting) {
        let known = self.known.entry(name).or_default();
        let place = known.open.iter().position(|open| open == setting);
        known.open.remove(place.expect("what is acknowledged was asked for"));
        known.acked = setting.clone();
    }

    /// Whether this may be what is set; if not, what was acknowledged.
    pub fn may_be(&self, name: &str, seen: Option<&str>) -> Result<(), Setting> {
        let Some(known) = self.known.get(name) else {
            return if seen.is_none() { Ok(()) } else { Err(None) };
        };
        let mut possible = known.open.iter().chain([&known.acked]);
        if possible.any(|setting| setting.as_deref() == seen) { Ok(()) } else { Err(known.acked.clone()) }
    }

    /// Everything that was acknowledged as set.
    pub fn settled(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.known.iter().filter_map(|(name, known)| Some((*name, known.acked.as_deref()?)))
    }

    /// The names of all that was ever asked for.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.known.keys().copied()
    }
}
