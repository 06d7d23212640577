//! Tables that follow the host, not the policy: routes, devices, resolvers; and the selectors that only the host can resolve.

use std::{
    collections::{BTreeMap, HashSet},
    hash::Hash,
    net::IpAddr,
};

use aya::{
    Ebpf, Pod,
    maps::{
        HashMap, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use ipnet::IpNet;
use nsp_common::{address::Address, class::port_index, link::Link, selector::Selector};

use super::{Datapath, DatapathError, take};

/// The live maps, each with what is in it: agents are the only writers, one at a time.
pub(super) struct LiveTables {
    selectors: Synced<Selector, u32>,
    endpoints: Synced<Address, u32>,
    resolving: Synced<u64, u32>,
    links: Synced<u32, Link>,
    routes_v4: LpmTrie<MapData, [u8; 4], [u32; 2]>,
    routes_v6: LpmTrie<MapData, [u8; 16], [u32; 2]>,
    routes: BTreeMap<IpNet, u64>,
}

/// A hash map that is made equal to a wanted content by the fewest changes.
struct Synced<K: Pod, V: Pod> {
    name: &'static str,
    map: HashMap<MapData, K, V>,
    held: std::collections::HashMap<K, V>,
}

impl<K: Pod + Eq + Hash, V: Pod + PartialEq> Synced<K, V> {
    fn new(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, DatapathError> {
        let map: HashMap<MapData, K, V> = take(ebpf, name)?;
        let held = map.iter().collect::<Result<_, _>>();
        let held =
            held.map_err(|source| DatapathError::Map { operation: "read", map: name, source })?;
        Ok(Self { name, map, held })
    }

    /// Makes the part of the map that `owns` names equal to `wanted`. Adds what is new before it
    /// removes what is gone, so that nothing wanted is ever absent.
    fn sync(&mut self, wanted: &[(K, V)], owns: impl Fn(&K) -> bool) -> Result<(), DatapathError> {
        let failed =
            |operation, map| move |source: MapError| DatapathError::Map { operation, map, source };
        for (key, value) in wanted {
            if self.held.get(key) != Some(value) {
                self.map.insert(key, value, 0).map_err(failed("write", self.name))?;
                self.held.insert(*key, *value);
            }
        }
        let kept: HashSet<&K> = wanted.iter().map(|(key, _)| key).collect();
        let stale: Vec<K> =
            self.held.keys().filter(|key| owns(key) && !kept.contains(key)).copied().collect();
        for key in stale {
            self.map.remove(&key).map_err(failed("remove from", self.name))?;
            self.held.remove(&key);
        }
        Ok(())
    }
}

/// All of a trie, by prefix.
pub(super) fn prefixes<K: Pod + Into<IpAddr>, V: Pod>(
    trie: &LpmTrie<MapData, K, V>,
) -> Result<BTreeMap<IpNet, V>, MapError> {
    let mut found = BTreeMap::new();
    for entry in trie.iter() {
        let (key, value) = entry?;
        let (address, length) = (key.data().into(), key.prefix_len());
        if let Ok(prefix) = IpNet::new(address, length as u8) {
            found.insert(prefix, value);
        }
    }
    Ok(found)
}

impl LiveTables {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        let failed = |source| DatapathError::Map { operation: "read", map: "ROUTES", source };
        let routes_v4: LpmTrie<MapData, [u8; 4], [u32; 2]> = take(ebpf, "ROUTES_V4")?;
        let routes_v6: LpmTrie<MapData, [u8; 16], [u32; 2]> = take(ebpf, "ROUTES_V6")?;
        let mut routes = prefixes(&routes_v4).map_err(failed)?;
        routes.append(&mut prefixes(&routes_v6).map_err(failed)?);
        let whole = |[low, high]: [u32; 2]| u64::from(low) | u64::from(high) << 32;
        let routes = routes.into_iter().map(|(prefix, halves)| (prefix, whole(halves))).collect();
        Ok(Self {
            selectors: Synced::new(ebpf, "SELECTORS")?,
            endpoints: Synced::new(ebpf, "ENDPOINTS")?,
            resolving: Synced::new(ebpf, "RESOLVING")?,
            links: Synced::new(ebpf, "LINKS")?,
            routes,
            routes_v4,
            routes_v6,
        })
    }

    /// Makes the selectors of one slot equal to `wanted`.
    pub(super) fn select(
        &mut self,
        slot: u32,
        wanted: &[(Selector, u32)],
    ) -> Result<(), DatapathError> {
        self.selectors.sync(wanted, |selector| u32::from(selector.slot) == slot)
    }
}

/// Selectors with the slot they belong to.
pub(super) fn in_slot(slot: u32, selectors: &[(Selector, u16)]) -> Vec<(Selector, u32)> {
    let with_slot = |(selector, association): &(Selector, u16)| {
        (Selector { slot: slot as u8, ..*selector }, u32::from(*association))
    };
    selectors.iter().map(with_slot).collect()
}

impl Datapath {
    /// Makes the selectors of the generation in force equal to what the host resolves them to.
    /// `selectors` are given the slot by this call.
    ///
    /// # Errors
    /// When the kernel refuses an entry.
    pub fn select(&mut self, selectors: &[(Selector, u16)]) -> Result<(), DatapathError> {
        let Some((slot, _)) = self.current else { return Ok(()) };
        self.live.select(slot, &in_slot(slot, selectors))
    }

    /// Writes one port's entry of the generation in force: a listener came or went.
    pub fn set_port(&mut self, protocol: u8, port: u16, entry: nsp_common::class::PortEntry) {
        let Some((slot, _)) = self.current else { return };
        self.ports.write_into(slot as usize, port_index(protocol, port), &[entry]);
    }

    /// Makes the endpoint table equal to `endpoints` (bits of [`nsp_common::link::endpoint`]).
    ///
    /// # Errors
    /// When the kernel refuses an entry.
    pub fn set_endpoints(&mut self, endpoints: &[(Address, u32)]) -> Result<(), DatapathError> {
        self.live.endpoints.sync(endpoints, |_| true)
    }

    /// Adds to the endpoint table.
    ///
    /// # Errors
    /// When the kernel refuses an entry.
    pub fn add_endpoints(&mut self, endpoints: &[(Address, u32)]) -> Result<(), DatapathError> {
        self.live.endpoints.sync(endpoints, |_| false)
    }

    /// Makes the table of cgroups that resolve names for others equal to `cgroups` (bits of
    /// [`nsp_common::link::resolving`], by cgroup id).
    ///
    /// # Errors
    /// When the kernel refuses an entry.
    pub fn set_resolving(&mut self, cgroups: &[(u64, u32)]) -> Result<(), DatapathError> {
        self.live.resolving.sync(cgroups, |_| true)
    }

    /// The link groups of devices, as they are in the device table.
    pub fn link_groups(&self) -> BTreeMap<u32, u8> {
        self.live.links.held.iter().map(|(index, link)| (*index, link.group)).collect()
    }

    /// Makes the device table equal to `links`, by index.
    ///
    /// # Errors
    /// When the kernel refuses an entry.
    pub fn set_links(&mut self, links: &[(u32, Link)]) -> Result<(), DatapathError> {
        self.live.links.sync(links, |_| true)
    }

    /// Makes the reverse-path tables equal to `routes`: prefix and link groups.
    ///
    /// # Errors
    /// When the kernel refuses an entry.
    pub fn set_routes(&mut self, routes: &[(IpNet, u64)]) -> Result<(), DatapathError> {
        let wanted: BTreeMap<IpNet, u64> = routes.iter().copied().collect();
        let live = &mut self.live;
        let failed = |source| DatapathError::Map { operation: "write", map: "ROUTES", source };
        for (prefix, groups) in &wanted {
            if live.routes.get(prefix) == Some(groups) {
                continue;
            }
            let length = u32::from(prefix.prefix_len());
            let halves = [*groups as u32, (*groups >> 32) as u32];
            match prefix {
                IpNet::V4(net) => {
                    live.routes_v4.insert(&Key::new(length, net.network().octets()), halves, 0)
                }
                IpNet::V6(net) => {
                    live.routes_v6.insert(&Key::new(length, net.network().octets()), halves, 0)
                }
            }
            .map_err(failed)?;
            // What is in the kernel is remembered as it gets there: a failure further on must not
            // leave trust behind that nobody takes back.
            live.routes.insert(*prefix, *groups);
        }
        let stale: Vec<IpNet> =
            live.routes.keys().filter(|prefix| !wanted.contains_key(prefix)).copied().collect();
        for prefix in &stale {
            let length = u32::from(prefix.prefix_len());
            match prefix {
                IpNet::V4(net) => live.routes_v4.remove(&Key::new(length, net.network().octets())),
                IpNet::V6(net) => live.routes_v6.remove(&Key::new(length, net.network().octets())),
            }
            .map_err(failed)?;
            live.routes.remove(prefix);
        }
        Ok(())
    }
}
