//! Interned identities: numbers that outlive a generation.
//!
//! Conversations in the kernel hold them, so a number is never given to another thing while a live
//! map may still hold it. They are persisted with the agent's state and only ever grow.

use std::collections::BTreeMap;

use nsp_common::verdict::Direction;
use serde::{Deserialize, Serialize};

/// What is interned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identities {
    associations: BTreeMap<String, u16>,
    rules: BTreeMap<String, u32>,
    names: BTreeMap<String, u32>,
    #[serde(default)]
    profiles: BTreeMap<String, u16>,
    /// Instants of strict applies by association, coarse monotonic ns of this boot.
    #[serde(default)]
    cuts: BTreeMap<u16, u64>,
}

impl Identities {
    /// The identity of a resource's association.
    pub fn association(&mut self, resource: impl AsRef<str>) -> u16 {
        let next = self.associations.len() as u16 + 1;
        *self.associations.entry(resource.as_ref().to_owned()).or_insert(next)
    }

    /// The identity of an access rule.
    pub fn rule(
        &mut self,
        profile: impl AsRef<str>,
        direction: Direction,
        rule: impl AsRef<str>,
    ) -> u32 {
        let key = format!("{}/{}/{}", profile.as_ref(), direction.name(), rule.as_ref());
        let next = self.rules.len() as u32 + 1;
        *self.rules.entry(key).or_insert(next)
    }

    /// The identity of an entry of the live overlay, as a rule: of a profile, or of none.
    pub fn temporary(&mut self, profile: &str, entry: &str) -> u32 {
        let next = self.rules.len() as u32 + 1;
        *self.rules.entry(format!("{profile}/Temporary/{entry}")).or_insert(next)
    }

    /// The identity of a profile.
    pub fn profile(&mut self, profile: impl AsRef<str>) -> u16 {
        let next = self.profiles.len() as u16 + 1;
        *self.profiles.entry(profile.as_ref().to_owned()).or_insert(next)
    }

    /// The identity of a name.
    pub fn name(&mut self, name: &str) -> u32 {
        let next = self.names.len() as u32 + 1;
        *self.names.entry(name.to_owned()).or_insert(next)
    }

    /// Conversations of an association opened before this are not kept when it is enforced.
    pub fn cut_before_ns(&self, association: u16) -> u64 {
        self.cuts.get(&association).copied().unwrap_or(0)
    }

    /// Forgets the instants of strict applies: the clock has begun anew.
    pub fn forget_cuts(&mut self) {
        self.cuts.clear();
    }

    /// Ends keeping for what is open now.
    pub fn cut(&mut self, association: u16, now_ns: u64) {
        self.cuts.insert(association, now_ns);
    }

    /// How many of each kind there are: associations, rules, names, profiles.
    pub fn counts(&self) -> [u32; 4] {
        let Self { associations, rules, names, profiles, cuts: _ } = self;
        [associations.len(), rules.len(), names.len(), profiles.len()].map(|it| it as u32)
    }

    /// Whether every thing has a number of its own, and the next number is nobody's: so it is, unless
    /// somebody else wrote the file.
    pub fn is_sound(&self) -> bool {
        let Self { associations, rules, names, profiles, cuts: _ } = self;
        let short = |numbers: &BTreeMap<String, u16>| {
            numbers.len() < usize::from(u16::MAX)
                && is_dense(numbers.values().map(|it| (*it).into()))
        };
        let long = |numbers: &BTreeMap<String, u32>| is_dense(numbers.values().copied());
        short(associations) && short(profiles) && long(rules) && long(names)
    }

    /// Every association by identity.
    pub fn associations(&self) -> impl Iterator<Item = (u16, &str)> {
        self.associations.iter().map(|(name, number)| (*number, name.as_str()))
    }

    /// Every rule by identity: profile, direction, name.
    pub fn rules(&self) -> impl Iterator<Item = (u32, &str, &str, &str)> {
        self.rules.iter().filter_map(|(key, number)| {
            let mut parts = key.splitn(3, '/');
            Some((*number, parts.next()?, parts.next()?, parts.next()?))
        })
    }

    /// Every name by identity.
    pub fn names(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(name, number)| (*number, name.as_str()))
    }
}

/// Whether these are the numbers from one on, each once.
fn is_dense(numbers: impl Iterator<Item = u32>) -> bool {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers.iter().zip(1..).all(|(number, place)| *number == place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_and_is_never_given_twice() {
        let mut identities = Identities::default();
        let web = identities.association("web");
        let database = identities.association("database");
        assert_ne!(web, database);
        assert_eq!(identities.association("web"), web);
        let json = serde_json::to_string(&identities).unwrap();
        let mut again: Identities = serde_json::from_str(&json).unwrap();
        assert_eq!(again.association("database"), database);
        assert_eq!(again.association("queue"), 3);
    }

    #[test]
    fn rules_of_the_two_directions_are_not_confused() {
        let mut identities = Identities::default();
        let inbound = identities.rule("p", Direction::Inbound, "r");
        assert_ne!(inbound, identities.rule("p", Direction::Outbound, "r"));
        assert!(identities.rules().any(|rule| rule == (inbound, "p", "Inbound", "r")));
    }
}
