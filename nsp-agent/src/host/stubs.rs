//! Who on this host answers its programs' DNS questions: a stub that forwards them, or a recursive
//! resolver. Pure: what was read of the host comes in.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use nsp_common::{link::resolving, net::protocol};

use super::{
    cgroups::{CgroupMatch, Tree},
    pattern::Pattern,
    resolvers::{Resolver, Resolvers},
    sockets::Listener,
};

const DNS_PORT: u16 = 53;
/// The unit of systemd-resolved.
pub const RESOLVED: &str = "systemd-resolved.service";

/// What is known of the host.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Whom programs ask.
    pub resolvers: &'a Resolvers,
    /// This host's addresses.
    pub own: &'a BTreeSet<IpAddr>,
    /// Who listens.
    pub listeners: &'a [Listener],
    /// The cgroups.
    pub tree: Option<&'a Tree>,
    /// The unit of a recursive resolver.
    pub recursive: Option<&'a Pattern>,
}

/// A resolver of this host that programs ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// Where it is asked.
    pub address: IpAddr,
    /// Whether anybody listens there.
    pub listens: bool,
    /// The cgroups of those who do, as paths; empty when one of them cannot be told from the rest of the
    /// host.
    pub cgroups: Vec<String>,
    ids: Vec<u64>,
}

/// The recursive resolver of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recursive {
    /// Whether its unit is there now.
    pub is_matched: bool,
    /// Where it is asked.
    pub addresses: BTreeSet<IpAddr>,
    ids: BTreeSet<u64>,
    /// Its cgroups with all that are below them.
    inside: BTreeSet<u64>,
}

/// Who answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// The resolvers of this host that programs ask.
    pub stubs: Vec<Stub>,
    /// The recursive resolver, when the policy names one.
    pub recursive: Option<Recursive>,
    /// Addresses whose answers teach.
    pub addresses: BTreeSet<IpAddr>,
    /// Bits of [`resolving`] by cgroup, in order.
    pub resolving: Vec<(u64, u32)>,
}

impl Serving {
    /// Looks at the host.
    pub fn of(host: &Host<'_>) -> Self {
        let stubs: Vec<Stub> = local(host).map(|it| Stub::at(it.address, host)).collect();
        let recursive = host.recursive.map(|pattern| Recursive::of(pattern, host));
        let mut addresses: BTreeSet<IpAddr> =
            recursive.iter().flat_map(|it| &it.addresses).copied().collect();
        let mut bits = BTreeMap::<u64, u32>::new();
        let known = stubs.iter().filter(|stub| !stub.ids.is_empty());
        addresses.extend(known.clone().map(|stub| stub.address));
        // A recursive resolver is no stub as well: what it asks goes to whoever is in charge of a name.
        let recurses = |id: &u64| recursive.as_ref().is_some_and(|it| it.inside.contains(id));
        for id in known.flat_map(|stub| &stub.ids).filter(|id| !recurses(id)) {
            bits.insert(*id, resolving::STUB | resolving::ANSWERS);
        }
        for id in recursive.iter().flat_map(|it| &it.ids) {
            bits.insert(*id, resolving::RECURSIVE | resolving::ANSWERS);
        }
        if !bits.is_empty() && only_local(host) && stubs.iter().all(|stub| !stub.ids.is_empty()) {
            bits.insert(0, resolving::ONLY_LISTED);
        }
        Self { stubs, recursive, addresses, resolving: bits.into_iter().collect() }
    }

    /// Whether nobody else's questions teach.
    pub fn is_exclusive(&self) -> bool {
        self.resolving.contains(&(0, resolving::ONLY_LISTED))
    }

    /// Whether a cgroup with these ancestors (itself included) is the recursive resolver's.
    pub fn recurses(&self, ancestors: &[u64]) -> bool {
        let is_recursive = |(id, bits): &(u64, u32)| {
            *id != 0 && bits & resolving::RECURSIVE != 0 && ancestors.contains(id)
        };
        self.resolving.iter().any(is_recursive)
    }

    /// Whether systemd-resolved is whom programs ask.
    pub fn is_resolved(&self) -> bool {
        let is_its = |path: &String| path.rsplit('/').next() == Some(RESOLVED);
        self.stubs.iter().any(|stub| stub.cgroups.iter().any(is_its))
    }
}

fn root(host: &Host<'_>) -> Option<u64> {
    Some(host.tree?.find("/")?.id)
}

/// The resolvers that are on this host.
fn local<'a>(host: &Host<'a>) -> impl Iterator<Item = &'a Resolver> + use<'a> {
    let own = host.own;
    let is_local = move |it: &&Resolver| it.address.is_loopback() || own.contains(&it.address);
    host.resolvers.all.iter().filter(is_local)
}

/// Whether programs ask nobody else: the first file is theirs, another one is the stub's.
fn only_local(host: &Host<'_>) -> bool {
    let Some(first) = host.resolvers.all.first() else { return false };
    let asked = host.resolvers.all.iter().filter(|it| it.file == first.file);
    asked.count() == local(host).filter(|it| it.file == first.file).count()
}

fn answers_dns(listener: &Listener) -> bool {
    listener.port == DNS_PORT && matches!(listener.protocol, protocol::UDP | protocol::TCP)
}

impl Stub {
    fn at(address: IpAddr, host: &Host<'_>) -> Self {
        let takes = |it: &&Listener| answers_dns(it) && it.takes(address);
        let all: Vec<&Listener> = host.listeners.iter().filter(takes).collect();
        // The kernel gives a packet to who listens at its very address before who does at all.
        let exact: Vec<&Listener> =
            all.iter().copied().filter(|it| it.address == address).collect();
        let chosen = if exact.is_empty() { all } else { exact };
        let root = root(host);
        let path_of = |listener: &&Listener| {
            let id = listener.cgroup.filter(|id| Some(*id) != root)?;
            Some((id, host.tree?.path_of(id)?.to_owned()))
        };
        let found: Option<BTreeSet<(u64, String)>> = chosen.iter().map(path_of).collect();
        let (ids, cgroups) = found.unwrap_or_default().into_iter().unzip();
        Self { address, listens: !chosen.is_empty(), cgroups, ids }
    }
}

impl Recursive {
    fn of(pattern: &Pattern, host: &Host<'_>) -> Self {
        let Some(tree) = host.tree else { return Self::default() };
        let found = tree.resolve_unit(pattern);
        let is_inside = |id: u64| {
            let path = tree.path_of(id).unwrap_or_default();
            let below = |it: &CgroupMatch| path.starts_with(&format!("{}/", it.path));
            found.matches.iter().any(|it| path == it.path || below(it))
        };
        let inside: BTreeSet<u64> =
            tree.cgroups().iter().map(|it| it.id).filter(|id| is_inside(*id)).collect();
        let listeners = host.listeners.iter().filter(|it| answers_dns(it));
        let mut addresses = BTreeSet::new();
        for listener in listeners.filter(|it| it.cgroup.is_some_and(|id| inside.contains(&id))) {
            if !listener.address.is_unspecified() {
                addresses.insert(listener.address);
                continue;
            }
            let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let every = host.own.iter().copied().chain(loopback);
            addresses.extend(every.filter(|address| listener.takes(*address)));
        }
        let matched = found.matches.iter().map(|it| it.id);
        Self {
            is_matched: !found.matches.is_empty(),
            addresses,
            ids: matched.chain(found.stable_ancestor).collect(),
            inside,
        }
    }
}

#[cfg(test)]
mod tests;
