//! Resources met with the host: selectors that only the host can resolve, and units' listeners.
//! Pure: what the host says comes in, what the kernel's tables should hold goes out.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use nsp_common::{
    address::Address,
    generation::Association,
    net::transport::protocol,
    selector::Selector as Key,
    verdict::{AccessMode, Direction},
};

use crate::{
    compile::BoundResource,
    host::{
        Pattern,
        cgroups::{CgroupMatch, Tree},
        links::Link,
        sockets::Listener,
    },
    policy::model::{Part, Process, Selector},
};

/// What the host knows.
pub(super) struct Host<'a> {
    pub(super) links: &'a [Link],
    pub(super) cgroups: Option<&'a Tree>,
    pub(super) listeners: &'a [Listener],
    /// Ports that the kernel gives to clients.
    pub(super) ephemeral: RangeInclusive<u16>,
}

/// What the kernel's tables should hold for one generation. The slot of the keys is left zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bindings {
    /// Selectors and their associations.
    pub(super) selectors: Vec<(Key, u16)>,
    /// Listening ports of units: (protocol, port) and association.
    pub(super) listeners: BTreeMap<(u8, u16), u16>,
    /// Resources that nothing on this host matches.
    pub(super) unmatched: Vec<String>,
    /// Resources whose outbound traffic cannot be told from the host's, where the host is no resource.
    pub(super) outbound_uncovered: Vec<String>,
}

/// Resolves all resources.
pub(super) fn bind(resources: &[BoundResource], host: &Host<'_>) -> Bindings {
    let mut bindings = Bindings::default();
    for resource in resources {
        let Selector::Part(part) = &resource.selector else { continue };
        bind_part(resource, part, host, &mut bindings);
    }
    if resources.iter().any(|it| matches!(it.selector, Selector::Host)) {
        // What is nobody else's is the host's.
        bindings.outbound_uncovered.clear();
    }
    bindings.selectors.extend(enforced_addresses(resources));
    bindings
}

/// Local addresses that an enforced resource is at, for packets whose ports are not known.
fn enforced_addresses(resources: &[BoundResource]) -> Vec<(Key, u16)> {
    let mut found = BTreeMap::new();
    for BoundResource { association, selector, bits, .. } in resources {
        let Selector::Part(Part { address: Some(address), .. }) = selector else { continue };
        for direction in [Direction::Inbound, Direction::Outbound] {
            let mode = Association { flags: *bits, ..Association::EMPTY }.mode(direction);
            if mode == AccessMode::Enforced {
                found.entry((*address, direction)).or_insert(*association);
            }
        }
    }
    let selector = |((address, direction), association)| {
        (Key::enforced(0, &Address::from(address), direction), association)
    };
    found.into_iter().map(selector).collect()
}

fn bind_part(resource: &BoundResource, part: &Part, host: &Host<'_>, bindings: &mut Bindings) {
    let association = resource.association;
    let Part { process, ports, address, interface } = part;
    if let Some(address) = address {
        let address = Address::from(*address);
        if ports.is_empty() {
            bindings.selectors.push((Key::address(0, &address), association));
        }
        for range in ports {
            for port in range.first..=range.last {
                let key = Key::address_port(0, &address, range.transport.number(), port);
                bindings.selectors.push((key, association));
            }
        }
    }
    if let Some(interface) = interface {
        match host.links.iter().find(|link| link.name == interface.as_str()) {
            Some(link) => {
                bindings.selectors.push((Key::interface(0, link.index), association));
            }
            None => bindings.unmatched.push(resource.name.to_string()),
        }
    }
    let (cgroups, stable) = match (process, host.cgroups) {
        (Some(process), Some(tree)) => cgroups_of(process, tree),
        _ => (Vec::new(), None),
    };
    let ids: BTreeSet<u64> = cgroups.iter().map(|cgroup| cgroup.id).chain(stable).collect();
    if process.is_some() && ids.is_empty() {
        bindings.unmatched.push(resource.name.to_string());
    }
    if process.is_none() {
        bindings.outbound_uncovered.push(resource.name.to_string());
    }
    for id in &ids {
        bindings.selectors.push((Key::cgroup(0, *id), association));
    }
    if !matches!(process, Some(Process::Unit(_))) || address.is_some() {
        return;
    }
    let within = |id: u64| {
        host.cgroups.and_then(|tree| tree.path_of(id)).is_some_and(|path| {
            cgroups
                .iter()
                .any(|cgroup| path == cgroup.path || path.starts_with(&format!("{}/", cgroup.path)))
        })
    };
    // A UDP client that is not connected looks like a listener.
    let is_client =
        |it: &Listener| it.protocol == protocol::UDP && host.ephemeral.contains(&it.port);
    // Nothing on loopback is ever judged.
    let listeners = host.listeners.iter().filter(|it| !it.address.is_loopback());
    let listeners = listeners.filter(|it| it.cgroup.is_some_and(within));
    for listener in listeners.filter(|it| !is_client(it)) {
        bindings.listeners.insert((listener.protocol, listener.port), association);
    }
}

/// The cgroups of a resource, and one that stands for them while they come and go.
fn cgroups_of(process: &Process, tree: &Tree) -> (Vec<CgroupMatch>, Option<u64>) {
    match process {
        Process::Cgroup(path) => (tree.resolve_path(path.as_str()).into_iter().collect(), None),
        Process::Unit(glob) => match Pattern::new(glob.as_str()) {
            Ok(pattern) => {
                let found = tree.resolve_unit(&pattern);
                (found.matches, found.stable_ancestor)
            }
            Err(_) => (Vec::new(), None),
        },
    }
}
