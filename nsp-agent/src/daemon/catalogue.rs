//! The words of the access log, from the policy in force and everything interned so far.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::store::State;
use crate::{
    access_log::catalogue::{Catalogue, ResourceEntry, RuleEntry},
    host::links::Link,
    policy::model::{Policy, Process, Profile, Selector},
};

/// Raises the version of every profile whose rules changed.
pub(super) fn raise_versions(policy: &Policy, state: &mut State) {
    for (name, profile) in &policy.profiles {
        let fingerprint = fingerprint(profile);
        let entry = state.profiles.entry(name.to_string()).or_insert((0, String::new()));
        if entry.1 != fingerprint {
            *entry = (entry.0 + 1, fingerprint);
        }
    }
}

/// A digest of what a profile says; where the document says it does not count.
fn fingerprint(profile: &Profile) -> String {
    let Profile { private, metadata, inbound, outbound, strict_dns, alone: _, position: _ } =
        profile;
    let mut digest = Sha256::new();
    digest.update(format!("{private:?} {metadata:?}"));
    if *strict_dns {
        digest.update("strict dns");
    }
    for (name, rule) in inbound {
        digest.update(format!("in {name} {:?} ", rule.ports));
        rule.prefixes.in_bytes(|bytes| digest.update(bytes));
    }
    for (name, rule) in outbound {
        digest.update(format!("out {name} {:?} {:?} ", rule.fqdns, rule.ports));
        rule.prefixes.in_bytes(|bytes| digest.update(bytes));
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Builds the catalogue. Things that are gone from the policy keep their names: conversations and
/// records may still speak of them.
pub(super) fn build(policy: &Policy, state: &State, links: &[Link], host: &str) -> Catalogue {
    let version = |profile: &str| state.profiles.get(profile).map_or(0, |(version, _)| *version);
    let resources = state
        .identities
        .associations()
        .map(|(number, name)| {
            let resource = policy.resources.iter().find(|(known, _)| known.as_str() == name);
            let unit = resource.and_then(|(_, resource)| match &resource.selector {
                Selector::Part(part) => match &part.process {
                    Some(Process::Unit(unit)) => Some(unit.to_string()),
                    _ => None,
                },
                Selector::Host => None,
            });
            let profile =
                resource.map(|(_, resource)| resource.profile.to_string()).unwrap_or_default();
            (number, ResourceEntry { name: name.to_owned(), unit, profile })
        })
        .collect();
    let rules = state
        .identities
        .rules()
        .map(|(number, profile, _, rule)| {
            let entry = RuleEntry {
                profile: profile.to_owned(),
                rule: rule.to_owned(),
                version: version(profile),
            };
            (number, entry)
        })
        .collect();
    Catalogue {
        perimeter: policy.perimeter.name.to_string(),
        guid: policy
            .perimeter
            .guid
            .as_ref()
            .map(ToString::to_string)
            .or_else(|| state.guid.clone())
            .unwrap_or_default(),
        location: policy.perimeter.location.clone(),
        host: host.to_owned(),
        resources,
        rules,
        names: state.identities.names().map(|(number, name)| (number, name.to_owned())).collect(),
        profiles: policy
            .profiles
            .keys()
            .map(|name| (name.to_string(), version(name.as_str())))
            .collect::<BTreeMap<_, _>>(),
        interfaces: links.iter().map(|link| (link.index, link.name.clone())).collect(),
    }
}
