//! Which devices are judged, and why.
//!
//! Every packet is judged at one device. Where devices are stacked that is the one that carries
//! the host's own addresses or routes; a VLAN or macvlan child of a judged device, or a port of a
//! judged bridge or bond, is left out, unless it is named.
//!
//! A device that has no address yet is judged too, until it is seen to be private: hooks that are there before
//! its first address are there before its first packet. And what is private is so only when it has been for a
//! while (`Held`): its default route may be about to come.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use super::{
    Link, LinkKind,
    stack::{NESTING_MAX, seen_at},
};
use crate::host::{pattern::Pattern, routes::RouteEntry};

/// What becomes of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The device.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether its packets are judged.
    pub judged: bool,
    /// Why, as part of a sentence: "it has a default route".
    pub reason: String,
    /// Whether it is judged only because it has no address yet.
    pub is_new: bool,
    /// Whether it is judged only because it has not been private for long.
    pub is_held: bool,
}

/// What becomes of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Every device, in the order of its index.
    pub devices: Vec<Choice>,
    /// The patterns that no device matches.
    pub unmatched: Vec<String>,
}

impl Choices {
    /// The devices that are judged.
    pub fn judged(&self) -> impl Iterator<Item = &Choice> {
        self.devices.iter().filter(|choice| choice.judged)
    }
}

/// Why a device on its own would be judged or not, whatever it is stacked on.
enum Claim {
    /// Named in full: stacking does not count.
    Named(String),
    /// Judged unless a device that it shares its packets with is.
    Yes(String),
    /// The same, because it has no address yet.
    New,
    /// The same, because it has not been private for long.
    Held,
    No(String),
}

impl Claim {
    fn reason(&self) -> String {
        match self {
            Self::Named(reason) | Self::Yes(reason) | Self::No(reason) => reason.clone(),
            Self::New => "it has no address yet".into(),
            Self::Held => {
                "it has been private for some seconds only, and a default route may follow".into()
            }
        }
    }
}

/// Chooses the devices to judge: those that `patterns` cover, or without patterns those with a
/// default route or a public address or route. Public is what is not in `private` and can be
/// routed at all. `links` are in the order of their index. `kept` are those that are
/// judged although they are private ([`Held::kept`](super::Held::kept)).
pub fn choose(
    links: &[Link],
    routes: &[RouteEntry],
    patterns: &[Pattern],
    private: &[IpNet],
    kept: &BTreeSet<u32>,
) -> Choices {
    let claims: Vec<Claim> =
        links.iter().map(|link| claim(link, links, routes, patterns, private, kept)).collect();
    let view = View { links, claims: &claims };
    let devices = links.iter().zip(&claims).map(|(link, claim)| {
        let above = view.judged_at(link, NESTING_MAX).map(|above| above.name.as_str());
        let reason = claim.reason();
        let (judged, reason) = match (claim, above) {
            (Claim::Named(_), Some(above)) => {
                (true, format!("{reason}, though its packets are also judged at {above}"))
            }
            (_, Some(above)) if !link.loopback => {
                (false, format!("its packets are judged at {above}"))
            }
            (Claim::No(_), _) => (false, reason),
            _ => (true, reason),
        };
        Choice {
            index: link.index,
            name: link.name.clone(),
            judged,
            reason,
            is_new: judged && matches!(claim, Claim::New),
            is_held: judged && matches!(claim, Claim::Held),
        }
    });
    let unmatched = |pattern: &&Pattern| {
        !links.iter().any(|link| !link.loopback && pattern.matches(&link.name))
    };
    Choices {
        devices: devices.collect(),
        unmatched: patterns
            .iter()
            .filter(unmatched)
            .map(|pattern| pattern.as_str().into())
            .collect(),
    }
}

fn claim(
    link: &Link,
    links: &[Link],
    routes: &[RouteEntry],
    patterns: &[Pattern],
    private: &[IpNet],
    kept: &BTreeSet<u32>,
) -> Claim {
    if link.loopback {
        return Claim::No("loopback is never judged".into());
    }
    if patterns.iter().any(|pattern| pattern.is_exact() && pattern.matches(&link.name)) {
        return Claim::Named("it is named".into());
    }
    if link.kind == LinkKind::Vrf {
        return Claim::No("a VRF's packets are seen at its ports".into());
    }
    if let Some(pattern) = patterns.iter().find(|pattern| pattern.matches(&link.name)) {
        return Claim::Yes(format!("it matches {pattern}"));
    }
    if !patterns.is_empty() {
        return Claim::No("no interface pattern covers it".into());
    }
    let mut over_it = routes.iter().filter(|route| route.interfaces.contains(&link.index));
    if over_it.clone().any(|route| route.prefix.prefix_len() == 0) {
        return Claim::Yes("it has a default route".into());
    }
    let public = |net: &IpNet| is_public(net, private);
    if let Some(own) = link.addresses.iter().find(|own| public(&IpNet::from(own.addr()))) {
        return Claim::Yes(format!("it has the public address {}", own.addr()));
    }
    if let Some(route) = over_it.clone().find(|route| public(&route.prefix)) {
        return Claim::Yes(format!("it has a route to the public prefix {}", route.prefix));
    }
    let leads_on = over_it.any(|route| !is_of_link(&route.prefix));
    if !is_addressed(link) && !leads_on && may_be_addressed(link, links) {
        return Claim::New;
    }
    // What comes by a port is its bridge's, and a way to others is none to this host.
    let is_the_hosts = is_addressed(link) || !leads_on && leads_here(link);
    if is_the_hosts && !is_port(link, links) && kept.contains(&link.index) {
        return Claim::Held;
    }
    Claim::No("it has no default route and no public address or route".into())
}

/// Whether it is one that a host is reached by, and nothing that it is stacked with has the addresses.
fn may_be_addressed(link: &Link, links: &[Link]) -> bool {
    let has_the_addresses = |it: &Link| {
        it.lower == Some(link.index) || it.master == Some(link.index) && is_addressed(it)
    };
    leads_here(link) && !is_port(link, links) && !links.iter().any(has_the_addresses)
}

/// Whether it is of a kind that hosts are reached by before anybody knows their addresses.
fn leads_here(link: &Link) -> bool {
    match &link.kind {
        LinkKind::Device
        | LinkKind::Veth
        | LinkKind::Vlan
        | LinkKind::Macvlan
        | LinkKind::Ipvlan
        | LinkKind::Bridge
        | LinkKind::Bond => link.ethernet,
        // Nothing comes from outside by a dummy; what passes an ifb is judged where it came in.
        LinkKind::Other(kind) => link.ethernet && !matches!(kind.as_str(), "dummy" | "ifb"),
        // An uplink. Other tunnels may be without an address for ever: their modules make one in every namespace.
        LinkKind::Tunnel(kind) => kind == "ppp",
        LinkKind::Tun | LinkKind::Wireguard | LinkKind::Tap(_) | LinkKind::Vrf => false,
    }
}

/// Whether it is a bridge's or a bond's. A VRF's ports are devices of their own.
fn is_port(link: &Link, links: &[Link]) -> bool {
    let is_vrf = |index| links.iter().any(|it| it.index == index && it.kind == LinkKind::Vrf);
    link.master.is_some_and(|master| !is_vrf(master))
}

/// Whether it has an address that somebody gave it.
fn is_addressed(link: &Link) -> bool {
    !link.addresses.iter().all(is_of_link)
}

/// Whether the kernel gives it to every device by itself (RFC 4291, 2.5.6 and 2.7).
fn is_of_link(net: &IpNet) -> bool {
    match net.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

/// Devices with their claims.
struct View<'a> {
    links: &'a [Link],
    claims: &'a [Claim],
}

impl<'a> View<'a> {
    /// The nearest judged device on which the packets of this one are seen as well.
    fn judged_at(&self, link: &Link, depth: usize) -> Option<&'a Link> {
        seen_at(link, self.links).find(|other| self.is_judged(other, depth))
    }

    fn is_judged(&self, link: &Link, depth: usize) -> bool {
        let position = self.links.binary_search_by_key(&link.index, |link| link.index);
        match position.map(|position| &self.claims[position]) {
            Ok(Claim::Named(_)) => true,
            Ok(Claim::Yes(_) | Claim::New | Claim::Held) => {
                depth == 0 || self.judged_at(link, depth - 1).is_none()
            }
            Ok(Claim::No(_)) | Err(_) => false,
        }
    }
}

/// Whether a network may hold addresses that the perimeter judges by rule.
fn is_public(net: &IpNet, private: &[IpNet]) -> bool {
    let never = match net.addr() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_multicast() || v6.is_unicast_link_local(),
    };
    !never && net.prefix_len() > 0 && !private.iter().any(|private| private.contains(net))
}

#[cfg(test)]
mod tests;
