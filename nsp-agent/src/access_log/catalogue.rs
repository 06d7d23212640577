//! The words behind the numbers of a record.
//!
//! Numbers are interned and outlive a policy: records of the generation before still come in after
//! a new one is published, so a catalogue should keep what left the policy as long as a map may
//! hold its number. A number without a word shows as `#12`; nothing here fails.

use std::{borrow::Cow, collections::BTreeMap};

/// Names of everything a record can refer to. Identities are never zero: zero is "none".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// The perimeter's name.
    pub perimeter: String,
    /// Its GUID.
    pub guid: String,
    /// Its location, a free label.
    pub location: Option<String>,
    /// This host's name.
    pub host: String,
    /// The resources, by the identity of their association.
    pub resources: BTreeMap<u16, ResourceEntry>,
    /// The access rules, by identity.
    pub rules: BTreeMap<u32, RuleEntry>,
    /// The names of outbound rules, by identity.
    pub names: BTreeMap<u32, String>,
    /// The version of each profile.
    pub profiles: BTreeMap<String, u64>,
    /// The devices, by index.
    pub interfaces: BTreeMap<u32, String>,
}

/// A resource with its association.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceEntry {
    /// Its name.
    pub name: String,
    /// The systemd unit it is, if it is one.
    pub unit: Option<String>,
    /// The profile it is associated with.
    pub profile: String,
}

/// An access rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleEntry {
    /// Its profile; empty where it is every profile's.
    pub profile: String,
    /// Its name.
    pub rule: String,
    /// The profile's version that has it.
    pub version: u64,
}

impl Catalogue {
    /// The name of an association's resource; `None` when there is no association.
    pub fn resource(&self, association: u16) -> Option<Cow<'_, str>> {
        word(association.into(), self.resources.get(&association).map(|it| &*it.name))
    }

    /// The unit of an association's resource, where it is one.
    pub fn unit(&self, association: u16) -> Option<&str> {
        self.resources.get(&association)?.unit.as_deref()
    }

    /// The name of an access rule; `None` when no rule is concerned.
    pub fn rule(&self, rule: u32) -> Option<Cow<'_, str>> {
        word(rule, self.rules.get(&rule).map(|it| &*it.rule))
    }

    /// The profile that decided: the rule's, or else the association's.
    pub fn profile(&self, rule: u32, association: u16) -> Option<&str> {
        let of_rule = self.of_profile(rule).map(|it| &*it.profile);
        of_rule.or_else(|| self.resources.get(&association).map(|it| &*it.profile))
    }

    /// The version of the profile that decided.
    pub fn version(&self, rule: u32, association: u16) -> Option<u64> {
        let of_rule = self.of_profile(rule).map(|it| it.version);
        of_rule.or_else(|| {
            let resource = self.resources.get(&association)?;
            self.profiles.get(&resource.profile).copied()
        })
    }

    /// A rule that a profile has. What is allowed or blocked for a time need be no profile's.
    fn of_profile(&self, rule: u32) -> Option<&RuleEntry> {
        self.rules.get(&rule).filter(|it| !it.profile.is_empty())
    }

    /// A name; `None` when none is concerned.
    pub fn name(&self, name: u32) -> Option<Cow<'_, str>> {
        word(name, self.names.get(&name).map(String::as_str))
    }

    /// A device; `None` when it is not known which.
    pub fn interface(&self, ifindex: u32) -> Option<Cow<'_, str>> {
        word(ifindex, self.interfaces.get(&ifindex).map(String::as_str))
    }
}

fn word(number: u32, known: Option<&str>) -> Option<Cow<'_, str>> {
    match (number, known) {
        (0, _) => None,
        (_, Some(known)) => Some(known.into()),
        (number, None) => Some(format!("#{number}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_numbers_have_a_placeholder_and_zero_is_none() {
        let catalogue = Catalogue::default();
        assert_eq!(catalogue.resource(12).as_deref(), Some("#12"));
        assert_eq!(catalogue.rule(12).as_deref(), Some("#12"));
        assert_eq!(catalogue.name(12).as_deref(), Some("#12"));
        assert_eq!(catalogue.interface(12).as_deref(), Some("#12"));
        assert_eq!(catalogue.unit(12), None);
        assert_eq!(catalogue.profile(12, 12), None);
        assert_eq!(catalogue.version(12, 12), None);
        assert_eq!(catalogue.resource(0), None);
        assert_eq!(catalogue.rule(0), None);
        assert_eq!(catalogue.interface(0), None);
    }
}
