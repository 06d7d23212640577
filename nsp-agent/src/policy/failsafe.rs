//! `[failsafe]`: who can come in to which few ports, whatever modes and profiles say.
//!
//! It is an inbound rule of that name in every profile, so that the packet path knows nothing of it. Where
//! traffic of no resource is denied and no resource is the host, one is made that has this rule alone. What
//! blocks for a time would win over a rule, so the agent refuses blocks that would take any of it.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    choice::{AccessMode, MetadataAccess, OnDeny, PrivateAccess, PublicNetworkAccess},
    diagnose::{Position, Refusal, Report},
    document::{FailsafeDocument, Spanned},
    model::{InboundRule, Profile, Resource},
    name::Name,
    ports::{PortRange, PortSet, PortSpec, Transport},
    prefix::PrefixSet,
    selector::Selector,
    text::Span,
};

/// The name of its rule, and of the resource and the profile that are made for it.
pub const FAILSAFE: &str = "failsafe";

/// The widest prefixes of a way in that is narrow.
const LENGTH_V4_MIN: u8 = 8;
const LENGTH_V6_MIN: u8 = 32;
/// And the most ports, all together.
const PORTS_MAX: usize = 16;

/// Who can always come in, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failsafe {
    /// From where.
    pub prefixes: PrefixSet,
    /// To which local ports.
    pub ports: Vec<PortRange>,
    /// Where the document says it.
    pub position: Position,
}

impl Failsafe {
    /// Reads what was typed.
    pub(crate) fn resolve(document: &FailsafeDocument, report: &mut Report) -> Option<Self> {
        let FailsafeDocument { span, prefixes, ports } = document;
        let missing = |key: &str, cure: &str| {
            let what = format!("[failsafe] has no `{key}`");
            Refusal::new(what, "it is a way in for somebody to something").cure(cure)
        };
        let typed = prefixes.as_deref().unwrap_or_default();
        if prefixes.is_none() || typed.is_empty() {
            report.error(*span, missing("prefixes", "prefixes = [\"203.0.113.0/29\"]"));
        }
        for Spanned { span, value } in typed {
            refuse_wide(*span, *value, report);
        }
        // Neighbours are as wide as what they come to together.
        for joined in IpNet::aggregate(&typed.iter().map(|it| it.value).collect::<Vec<_>>()) {
            if !typed.iter().any(|it| is_wide(it.value)) {
                refuse_wide(*span, joined, report);
            }
        }
        let ports = ports.as_deref().unwrap_or_default();
        if ports.is_empty() {
            report.error(*span, missing("ports", "ports = [\"22/tcp\"]"));
        }
        for Spanned { span, value } in ports {
            if !matches!(value, PortSpec::Range(_)) {
                let what = format!("`{value}` in [failsafe] has no ports");
                let why = "a way in is to one service or a few, by tcp, udp or sctp";
                report.error(*span, Refusal::new(what, why).cure("\"22/tcp\""));
            }
        }
        let PortSet::Listed(specs) = PortSet::listed(ports.iter().map(|it| it.value)) else {
            return None;
        };
        let range = |spec| match spec {
            PortSpec::Range(range) => Some(range),
            PortSpec::Icmp | PortSpec::Protocol(_) => None,
        };
        let ranges: Vec<PortRange> = specs.into_iter().filter_map(range).collect();
        let count: usize = ranges.iter().map(|it| usize::from(it.last - it.first) + 1).sum();
        if count > PORTS_MAX {
            let what = format!("[failsafe] has {count} ports");
            let why = format!("a way in whatever the policy says is narrow: {PORTS_MAX} at most");
            let at = ports.first().map_or(*span, |it| it.span);
            report.error(at, Refusal::new(what, why).cure("ports = [\"22/tcp\"]"));
        }
        Some(Self {
            prefixes: typed.iter().map(|it| it.value).collect(),
            ports: ranges,
            position: report.texts.position(*span),
        })
    }

    /// Puts its rule into every profile, and makes a resource of the rest of the host where that would be
    /// denied without one.
    pub(crate) fn join(
        &self,
        span: Span,
        access: PublicNetworkAccess,
        profiles: &mut BTreeMap<Name, Profile>,
        resources: &mut BTreeMap<Name, Resource>,
        report: &mut Report,
    ) {
        let Ok(name) = FAILSAFE.parse::<Name>() else { return };
        for (profile_name, profile) in profiles.iter_mut() {
            if let Some(rule) = profile.inbound.insert(name.clone(), self.rule()) {
                let what = format!("profile `{profile_name}` has an inbound rule `{name}`");
                let why =
                    format!("that is the name of [failsafe]'s own (yours is in {})", rule.position);
                report.error(span, Refusal::new(what, why).cure("another name for yours"));
            }
        }
        let taken = [
            ("profile", profiles.get(&name).map(|it| &it.position)),
            ("resource", resources.get(&name).map(|it| &it.position)),
        ];
        for (kind, position) in taken {
            if let Some(position) = position {
                let what = format!("a {kind} is called `{name}`");
                let why = format!("that name is [failsafe]'s (yours is in {position})");
                report.error(span, Refusal::new(what, why).cure("another name for yours"));
            }
        }
        let is_host = |it: &Resource| matches!(it.selector, Selector::Host);
        let is_denied = access == PublicNetworkAccess::SecuredByPerimeter;
        if is_denied && !resources.values().any(is_host) {
            profiles.insert(name.clone(), self.profile(&name));
            resources.insert(name.clone(), self.host(name));
        }
    }

    fn rule(&self) -> InboundRule {
        InboundRule {
            prefixes: self.prefixes.clone(),
            ports: PortSet::listed(self.ports.iter().map(|range| PortSpec::Range(*range))),
            allow_any: false,
            position: self.position.clone(),
        }
    }

    fn profile(&self, name: &Name) -> Profile {
        Profile {
            private: PrivateAccess::Allow,
            metadata: MetadataAccess::Allow,
            inbound: BTreeMap::from([(name.clone(), self.rule())]),
            outbound: BTreeMap::new(),
            strict_dns: false,
            alone: false,
            position: self.position.clone(),
        }
    }

    /// The rest of the host, which is denied with this resource as it would be without.
    fn host(&self, profile: Name) -> Resource {
        Resource {
            selector: Selector::Host,
            profile,
            inbound_mode: AccessMode::Enforced,
            outbound_mode: AccessMode::Enforced,
            on_deny: OnDeny::default(),
            position: self.position.clone(),
        }
    }

    /// Whether somebody can come in by it.
    pub fn admits(&self, peer: IpAddr, transport: Transport, port: u16) -> bool {
        let is_from = self.prefixes.iter().any(|prefix| prefix.contains(&peer));
        let to = PortRange { transport, first: port, last: port };
        is_from && self.ports.iter().any(|range| range.overlaps(&to))
    }

    /// Whether whoever can come in by `other` can by this.
    pub fn covers(&self, other: &Self) -> bool {
        let joined = IpNet::aggregate(&self.prefixes.iter().collect::<Vec<_>>());
        let has_prefix = |prefix: IpNet| joined.iter().any(|wider| wider.contains(&prefix));
        // Ranges that touch are one.
        let has_ports = |range: &PortRange| {
            self.ports.iter().any(|wider| {
                wider.transport == range.transport
                    && wider.first <= range.first
                    && range.last <= wider.last
            })
        };
        other.prefixes.iter().all(has_prefix) && other.ports.iter().all(has_ports)
    }

    /// Whether some of it is to these ports, from these addresses; all addresses, when none are given.
    pub fn meets(&self, from: Option<IpNet>, ports: &PortSet) -> bool {
        let is_from = from.is_none_or(|from| {
            self.prefixes.iter().any(|prefix| prefix.contains(&from) || from.contains(&prefix))
        });
        is_from
            && match ports {
                PortSet::Any => true,
                PortSet::Listed(specs) => specs.iter().any(|spec| match spec {
                    PortSpec::Range(range) => self.ports.iter().any(|own| own.overlaps(range)),
                    PortSpec::Icmp | PortSpec::Protocol(_) => false,
                }),
            }
    }
}

fn is_wide(prefix: IpNet) -> bool {
    match prefix {
        IpNet::V4(net) => net.prefix_len() < LENGTH_V4_MIN,
        IpNet::V6(net) => net.prefix_len() < LENGTH_V6_MIN,
    }
}

fn refuse_wide(span: Span, prefix: IpNet, report: &mut Report) {
    if is_wide(prefix) {
        let what = format!("`{prefix}` is too wide for [failsafe]");
        let why = format!(
            "a way in whatever the policy says is narrow: /{LENGTH_V4_MIN} or longer, of IPv6 /{LENGTH_V6_MIN} \
             or longer"
        );
        report.error(
            span,
            Refusal::new(what, why).cure("the prefixes of those who look after this host"),
        );
    }
}

#[cfg(test)]
mod tests;
