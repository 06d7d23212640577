//! Whether a policy is stricter than another, in words: what tightens asks to be confirmed, and a watched
//! file never tightens by itself.

use std::collections::BTreeMap;

use crate::policy::model::{
    AccessMode, Forwarded, InboundRule, Member, Name, OutboundRule, Perimeter, Policy, Profile,
    PublicNetworkAccess, Resource,
};

/// The first thing that the policy `after` may deny and `before` does not, if there is one.
pub(super) fn stricter(before: &Policy, after: &Policy) -> Option<String> {
    tightened(before, after).or_else(|| narrowed(before, after))
}

/// What is stricter in `after` whatever its rules say. Every field is named: what a policy can say tomorrow is
/// stricter or it is not, and somebody is to have asked.
pub(super) fn tightened(before: &Policy, after: &Policy) -> Option<String> {
    let Policy {
        perimeter,
        private_prefixes,
        profiles,
        resources,
        members,
        dns,
        logging: _,
        // Its rule is in the profiles.
        failsafe: _,
    } = before;
    perimeter_tightened(perimeter, &after.perimeter)
        // Trusted peers have no tracked conversations that could be counted.
        .or_else(|| (*private_prefixes != after.private_prefixes).then(|| "[private]".to_owned()))
        .or_else(|| {
            let is_another = |name: &Name, Member { addresses, position: _ }: &Member| {
                after.members.get(name).is_none_or(|now| now.addresses != *addresses)
            };
            let member = members.iter().find(|(name, it)| is_another(name, it));
            member.map(|(name, _)| format!("member {name}"))
        })
        .or_else(|| {
            let profile = profiles.iter().find(|(name, it)| {
                after.profiles.get(*name).is_some_and(|now| trusts_others(it, now))
            });
            profile.map(|(name, _)| format!("profile {name}"))
        })
        .or_else(|| {
            let resource = after
                .resources
                .iter()
                .find(|(name, now)| is_enforced_anew(resources.get(*name), now));
            resource.map(|(name, _)| format!("resource {name}"))
        })
        // Each profile's `strict_dns` is this.
        .or_else(|| (after.dns.strict && !dns.strict).then(|| "[dns]".to_owned()))
}

fn perimeter_tightened(before: &Perimeter, after: &Perimeter) -> Option<String> {
    let Perimeter {
        name: _,
        guid: _,
        location: _,
        public_network_access,
        forwarded,
        platform,
        position: _,
    } = before;
    let strictness = |access: &PublicNetworkAccess| match access {
        PublicNetworkAccess::Enabled => 0,
        PublicNetworkAccess::Transition => 1,
        PublicNetworkAccess::SecuredByPerimeter => 2,
    };
    if strictness(&after.public_network_access) > strictness(public_network_access) {
        return Some("public_network_access".to_owned());
    }
    // What only passes through has no tracked conversations that could be counted.
    if (*forwarded, after.forwarded) == (Forwarded::Pass, Forwarded::Host) {
        return Some("forwarded".to_owned());
    }
    (*platform != after.platform).then(|| "platform".to_owned())
}

/// Whether a profile is about other peers that need no rule.
fn trusts_others(before: &Profile, after: &Profile) -> bool {
    // Rules are another question, `strict_dns` is the policy's, and `alone` is no policy's.
    let Profile {
        private,
        metadata,
        inbound: _,
        outbound: _,
        strict_dns: _,
        alone: _,
        position: _,
    } = before;
    (*private, *metadata) != (after.private, after.metadata)
}

/// Whether a resource drops what it did not.
fn is_enforced_anew(before: Option<&Resource>, after: &Resource) -> bool {
    // What it is and by which profile is for those who ask about rules; `on_deny` only says how a call fails.
    let Resource { selector: _, profile: _, inbound_mode, outbound_mode, on_deny: _, position: _ } =
        after;
    let anew = |now: AccessMode, then: Option<AccessMode>| {
        now == AccessMode::Enforced && then != Some(AccessMode::Enforced)
    };
    anew(*inbound_mode, before.map(|it| it.inbound_mode))
        || anew(*outbound_mode, before.map(|it| it.outbound_mode))
}

/// A rule that is gone or another, or a resource that other rules are for: whether fewer may come in by it is
/// not asked.
fn narrowed(before: &Policy, after: &Policy) -> Option<String> {
    for (name, profile) in &before.profiles {
        let Some(now) = after.profiles.get(name) else { return Some(format!("profile {name}")) };
        let same = |a: &InboundRule, b: &InboundRule| {
            let InboundRule { prefixes, ports, allow_any: _, position: _ } = a;
            (prefixes, ports) == (&b.prefixes, &b.ports)
        };
        if let Some(rule) = missing(&profile.inbound, &now.inbound, same) {
            return Some(format!("inbound rule {name}/{rule}"));
        }
        let same = |a: &OutboundRule, b: &OutboundRule| {
            let OutboundRule {
                prefixes,
                fqdns,
                ports,
                allow_any: _,
                allow_public_suffix: _,
                position: _,
            } = a;
            (prefixes, fqdns, ports) == (&b.prefixes, &b.fqdns, &b.ports)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

    const POLICY: &str = r#"
        [perimeter]
        name = "payments"
        public_network_access = "transition"
        forwarded = "pass"
        [profile.database]
        [profile.database.inbound.office]
        address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
        [profile.database.outbound.updates]
        address_prefixes = ["203.0.113.5"]
        [resource.postgres]
        ports = ["5432/tcp"]
        profile = "database"
        [member.web]
        addresses = ["192.0.2.10"]
        [dns]
        resolvers = ["192.0.2.53"]
    "#;

    fn read(text: &str) -> Policy {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.toml");
        std::fs::write(&file, text).unwrap();
        policy::load(&file).unwrap_or_else(|errors| panic!("{errors}\n{text}")).policy
    }

    /// What is said of a change of the policy, and of the way back: tightened, and stricter.
    fn said(old: &str, new: &str) -> [[Option<String>; 2]; 2] {
        assert!(POLICY.contains(old), "{old}");
        let (before, after) = (read(POLICY), read(&POLICY.replace(old, new)));
        [(&before, &after), (&after, &before)].map(|(a, b)| [tightened(a, b), stricter(a, b)])
    }

    #[test]
    fn what_denies_more_whatever_the_rules_say_is_tightened_and_its_opposite_is_not() {
        for (old, new, what) in [
            ("= \"transition\"", "= \"secured-by-perimeter\"", "public_network_access"),
            ("\"pass\"", "\"host\"", "forwarded"),
            ("[dns]", "[dns]\nstrict = true", "[dns]"),
            ("ports = [\"5432", "access_mode = \"enforced\"\nports = [\"5432", "resource postgres"),
            (
                "ports = [\"5432",
                "outbound_mode = \"enforced\"\nports = [\"5432",
                "resource postgres",
            ),
        ] {
            let [there, back] = said(old, new);
            assert_eq!(there, [Some(what.to_owned()), Some(what.to_owned())], "{new}");
            assert_eq!(back[0], None, "{new}");
        }
    }

    #[test]
    fn what_trusts_others_is_tightened_either_way() {
        for (old, new, what) in [
            ("[dns]", "[private]\nprefixes = [\"10.0.0.0/8\"]\n[dns]", "[private]"),
            ("[profile.database]", "[profile.database]\nprivate = \"rules\"", "profile database"),
            ("[profile.database]", "[profile.database]\nmetadata = \"deny\"", "profile database"),
            ("192.0.2.10", "192.0.2.11", "member web"),
            ("\"pass\"", "\"pass\"\nplatform = \"aws\"", "platform"),
        ] {
            let [there, back] = said(old, new);
            assert_eq!([&there[0], &back[0]], [&Some(what.to_owned()); 2], "{new}");
        }
    }

    #[test]
    fn what_rules_no_longer_say_is_stricter_and_not_tightened() {
        for (old, new, what) in [
            ("203.0.113.0/24", "203.0.113.0/25", "inbound rule database/office"),
            ("203.0.113.5", "203.0.113.6", "outbound rule database/updates"),
            ("5432/tcp", "5433/tcp", "resource postgres"),
            ("192.0.2.53", "192.0.2.54", "[dns]"),
        ] {
            let [there, _] = said(old, new);
            assert_eq!(there, [None, Some(what.to_owned())], "{new}");
        }
    }

    #[test]
    fn what_decides_nothing_is_not_stricter() {
        for (old, new) in [
            ("\"payments\"", "\"payroll\""),
            ("\"payments\"", "\"payments\"\nlocation = \"here\""),
            ("ports = [\"5432", "on_deny = \"drop\"\nports = [\"5432"),
            ("[dns]", "[logging]\nfile = \"access.log\"\n[dns]"),
        ] {
            assert_eq!(said(old, new), [[None, None], [None, None]], "{new}");
        }
    }
}
