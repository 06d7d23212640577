//! Whether a policy is stricter than another, in words: what tightens asks to be confirmed, and a watched
//! file never tightens by itself.

use std::collections::BTreeMap;

use crate::policy::model::{AccessMode, InboundRule, OutboundRule, Policy, PublicNetworkAccess};

/// The first thing that the policy `after` may deny and `before` does not, if there is one.
pub(super) fn stricter(before: &Policy, after: &Policy) -> Option<String> {
    tightened(before, after).or_else(|| narrowed(before, after))
}

/// What is stricter in `after` whatever its rules say.
pub(super) fn tightened(before: &Policy, after: &Policy) -> Option<String> {
    let strictness = |access| match access {
        PublicNetworkAccess::Enabled => 0,
        PublicNetworkAccess::Transition => 1,
        PublicNetworkAccess::SecuredByPerimeter => 2,
    };
    let access = |policy: &Policy| strictness(policy.perimeter.public_network_access);
    if access(after) > access(before) {
        return Some("public_network_access".to_owned());
    }
    if before.perimeter.platform != after.perimeter.platform {
        return Some("platform".to_owned());
    }
    // Trusted peers have no tracked conversations that could be counted.
    if before.private_prefixes != after.private_prefixes {
        return Some("[private]".to_owned());
    }
    let member = before.members.iter().find(|(name, it)| {
        after.members.get(*name).is_none_or(|now| now.addresses != it.addresses)
    });
    if let Some((name, _)) = member {
        return Some(format!("member {name}"));
    }
    let profile = before.profiles.iter().find(|(name, it)| {
        after
            .profiles
            .get(*name)
            .is_some_and(|now| (it.private, it.metadata) != (now.private, now.metadata))
    });
    if let Some((name, _)) = profile {
        return Some(format!("profile {name}"));
    }
    let enforced = |mode: AccessMode| mode == AccessMode::Enforced;
    after.resources.iter().find_map(|(name, resource)| {
        let old = before.resources.get(name);
        let stricter = |now, then: Option<AccessMode>| enforced(now) && !then.is_some_and(enforced);
        let inbound = stricter(resource.inbound_mode, old.map(|old| old.inbound_mode));
        let outbound = stricter(resource.outbound_mode, old.map(|old| old.outbound_mode));
        (inbound || outbound).then(|| format!("resource {name}"))
    })
}

/// A rule that is gone or another, or a resource that other rules are for: whether fewer may come in by it is
/// not asked.
fn narrowed(before: &Policy, after: &Policy) -> Option<String> {
    for (name, profile) in &before.profiles {
        let Some(now) = after.profiles.get(name) else { return Some(format!("profile {name}")) };
        let same =
            |a: &InboundRule, b: &InboundRule| (&a.prefixes, &a.ports) == (&b.prefixes, &b.ports);
        if let Some(rule) = missing(&profile.inbound, &now.inbound, same) {
            return Some(format!("inbound rule {name}/{rule}"));
        }
        let same = |a: &OutboundRule, b: &OutboundRule| {
            (&a.prefixes, &a.fqdns, &a.ports) == (&b.prefixes, &b.fqdns, &b.ports)
        };
        if let Some(rule) = missing(&profile.outbound, &now.outbound, same) {
            return Some(format!("outbound rule {name}/{rule}"));
        }
    }
    for (name, resource) in &before.resources {
        let is_same = after.resources.get(name).is_some_and(|now| {
            (&now.selector, &now.profile) == (&resource.selector, &resource.profile)
        });
        if !is_same {
            return Some(format!("resource {name}"));
        }
    }
    (before.dns != after.dns).then(|| "[dns]".to_owned())
}

/// The first that is not there as it was.
fn missing<K: Ord + ToString, V>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Option<String> {
    let gone = before.iter().find(|(name, it)| !after.get(*name).is_some_and(|now| same(it, now)));
    gone.map(|(name, _)| name.to_string())
}
