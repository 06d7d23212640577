//! The routes of this network namespace, and what the reverse-path check makes of them.
//!
//! The check asks: would this host send to that address by the device the packet came by? Which
//! routing table answers depends on rules (marks, sources, users) that a packet on its way in does
//! not show, so every table may answer: an address may come by any device that some table would
//! use for it. Within one table the longest prefix answers alone.

mod merge;
mod parse;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

pub use self::merge::merge;
use super::netlink::{Message, Netlink, NetlinkError};

/// `RTM_GETROUTE`, and the size of its fixed part, `struct rtmsg`.
const GET_ROUTE: u16 = 26;
const ROUTE_FIXED_LEN: usize = 12;
/// `RTM_GETNEXTHOP`, and the size of its fixed part, `struct nhmsg`.
const GET_NEXTHOP: u16 = 106;
const NEXTHOP_FIXED_LEN: usize = 8;

/// One route of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The number of its table; 254 is main.
    pub table: u32,
    /// Where it leads to.
    pub prefix: IpNet,
    /// The devices it goes by. None: the table refuses the prefix (unreachable, blackhole,
    /// prohibit, throw), and with it what shorter prefixes of the same table say.
    pub interfaces: BTreeSet<u32>,
}

/// The devices by which this host sends to the addresses of a prefix, longer prefixes excepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// The prefix.
    pub prefix: IpNet,
    /// Device indices, over all tables.
    pub interfaces: BTreeSet<u32>,
}

/// Reads the routes of all tables in this thread's network namespace, merged.
///
/// # Errors
///
/// When the kernel refuses, or says what cannot be read.
pub async fn read() -> Result<Vec<RouteEntry>, NetlinkError> {
    const ROUTES: &str = "routes";
    let decode = |source| NetlinkError::Decode { table: ROUTES, source };
    let netlink = Netlink::open(NETLINK_ROUTE, ROUTES)?;
    let mut parsed = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut payload = vec![0; ROUTE_FIXED_LEN];
        payload[0] = family as u8;
        for message in netlink.dump(ROUTES, &Message { kind: GET_ROUTE, payload }).await? {
            parsed.extend(parse::route(&message.payload).map_err(decode)?);
        }
    }
    // The kernel spells nexthop objects out in the routes unless nexthop_compat_mode is off.
    if parsed.iter().any(parse::Parsed::needs_nexthops) {
        let nexthops = read_nexthops(&netlink).await?;
        parsed.iter_mut().for_each(|route| route.resolve(&nexthops));
    }
    Ok(merge(parsed.into_iter().map(|route| route.route).collect()))
}

async fn read_nexthops(netlink: &Netlink) -> Result<parse::Nexthops, NetlinkError> {
    const NEXTHOPS: &str = "nexthops";
    let request = Message { kind: GET_NEXTHOP, payload: vec![0; NEXTHOP_FIXED_LEN] };
    let mut nexthops = parse::Nexthops::default();
    for message in netlink.dump(NEXTHOPS, &request).await? {
        nexthops
            .add(&message.payload)
            .map_err(|source| NetlinkError::Decode { table: NEXTHOPS, source })?;
    }
    Ok(nexthops)
}

/// What goes into the kernel's reverse-path tables: for each prefix the groups (bits 0 to 63) of
/// the devices that lead to it. A prefix that no judged device leads to is there with no bit: it
/// hides the shorter prefix that covers it, as it does when this host routes.
pub fn route_table(entries: &[RouteEntry], groups: &BTreeMap<u32, u8>) -> Vec<(IpNet, u64)> {
    let bit = |index: &u32| groups.get(index).map_or(0, |group| 1_u64 << group);
    entries
        .iter()
        .map(|RouteEntry { prefix, interfaces }| {
            (*prefix, interfaces.iter().map(bit).fold(0, |mask, bit| mask | bit))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(prefix: &str, interfaces: &[u32]) -> RouteEntry {
        let interfaces = interfaces.iter().copied().collect();
        RouteEntry { prefix: prefix.parse().unwrap(), interfaces }
    }

    #[test]
    fn every_prefix_has_the_bits_of_its_own_devices_only() {
        let entries = [
            entry("0.0.0.0/0", &[2]),
            entry("10.0.0.0/8", &[3]),
            entry("10.1.0.0/16", &[2, 3]),
            entry("172.17.0.0/16", &[9]),
            entry("192.168.0.0/16", &[]),
        ];
        let table = route_table(&entries, &[(2, 0), (3, 63)].into());
        let masks: Vec<u64> = table.iter().map(|(_, mask)| *mask).collect();
        assert_eq!(masks, [1, 1 << 63, 1 << 63 | 1, 0, 0]);
    }

    #[tokio::test]
    async fn the_routes_of_this_host_can_be_read() {
        let entries = read().await.unwrap();
        assert!(entries.is_sorted_by_key(|entry| entry.prefix));
        assert!(entries.iter().all(|entry| entry.prefix == entry.prefix.trunc()));
    }
}
