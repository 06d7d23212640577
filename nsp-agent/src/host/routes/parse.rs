//! rtnetlink messages to routes and nexthop objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use rtnetlink::{
    packet_core::{DecodeError, parse_ip, parse_u32},
    packet_route::{
        AddressFamily,
        route::{RouteFlags, RouteHeader, RouteType},
    },
};

use super::{NEXTHOP_FIXED_LEN, ROUTE_FIXED_LEN, Route};
use crate::host::netlink::attributes;

/// `RTA_*`.
mod route_attribute {
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const DEVICE: u16 = 4;
    pub(super) const MULTIPATH: u16 = 9;
    pub(super) const TABLE: u16 = 15;
    pub(super) const NEXTHOP: u16 = 30;
}

/// `NHA_*`.
mod nexthop_attribute {
    pub(super) const ID: u16 = 1;
    pub(super) const GROUP: u16 = 2;
    pub(super) const DEVICE: u16 = 5;
}

/// A route that may still name a nexthop object instead of devices.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) route: Route,
    nexthop: Option<u32>,
}

impl Parsed {
    pub(super) fn needs_nexthops(&self) -> bool {
        self.route.interfaces.is_empty() && self.nexthop.is_some()
    }

    pub(super) fn resolve(&mut self, nexthops: &Nexthops) {
        if let Some(id) = self.nexthop.filter(|_| self.route.interfaces.is_empty()) {
            self.route.interfaces = nexthops.devices(id);
        }
    }
}

/// One `RTM_NEWROUTE`; `None` where it says nothing about other hosts: addresses of this one,
/// broadcast, multicast, and the kernel's cache of what it learned on the way.
pub(super) fn route(payload: &[u8]) -> Result<Option<Parsed>, DecodeError> {
    let header = RouteHeader::parse(payload)?;
    let refuses = match header.kind {
        RouteType::Unicast => false,
        RouteType::Unreachable | RouteType::BlackHole | RouteType::Prohibit | RouteType::Throw => {
            true
        }
        _ => return Ok(None),
    };
    if header.flags.contains(RouteFlags::Cloned) {
        return Ok(None);
    }
    let mut destination = match header.address_family {
        AddressFamily::Inet => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        _ => return Ok(None),
    };
    let (mut table, mut interfaces, mut nexthop) = (u32::from(header.table), BTreeSet::new(), None);
    for attribute in attributes(payload, ROUTE_FIXED_LEN) {
        match attribute? {
            (route_attribute::DESTINATION, value) => destination = parse_ip(value)?,
            (route_attribute::TABLE, value) => table = parse_u32(value)?,
            (route_attribute::NEXTHOP, value) => nexthop = Some(parse_u32(value)?),
            (route_attribute::DEVICE, value) => {
                interfaces.insert(parse_u32(value)?);
            }
            (route_attribute::MULTIPATH, value) => interfaces.extend(multipath(value)?),
            _ => {}
        }
    }
    if destination.is_multicast() {
        return Ok(None);
    }
    if refuses {
        // IPv6 names the loopback device here.
        interfaces.clear();
        nexthop = None;
    }
    let prefix = IpNet::new(destination, header.destination_prefix_length)
        .map_err(|_| DecodeError::from("a route with an impossible prefix length"))?;
    Ok(Some(Parsed { route: Route { table, prefix: prefix.trunc(), interfaces }, nexthop }))
}

/// The devices of `RTA_MULTIPATH`: a row of `struct rtnexthop` (length u16, flags u8, hops u8,
/// device i32), each with attributes of its own that its length includes.
fn multipath(mut value: &[u8]) -> Result<BTreeSet<u32>, DecodeError> {
    const FIXED_LEN: usize = 8;
    let broken = || DecodeError::from("a multipath route whose lengths do not fit");
    let mut devices = BTreeSet::new();
    while !value.is_empty() {
        let [a, b, _flags, _hops, device @ ..] =
            *value.first_chunk::<FIXED_LEN>().ok_or_else(broken)?;
        let len = usize::from(u16::from_ne_bytes([a, b])).next_multiple_of(4);
        if len < FIXED_LEN {
            return Err(broken());
        }
        devices.insert(u32::from_ne_bytes(device));
        value = value.get(len..).unwrap_or_default();
    }
    Ok(devices)
}

/// The nexthop objects of the kernel.
#[derive(Debug, Default)]
pub(super) struct Nexthops {
    /// The device of a single one.
    devices: BTreeMap<u32, u32>,
    /// The members of a group, which are single ones.
    groups: BTreeMap<u32, Vec<u32>>,
}

impl Nexthops {
    /// Adds one `RTM_NEWNEXTHOP`.
    pub(super) fn add(&mut self, payload: &[u8]) -> Result<(), DecodeError> {
        let (mut id, mut device, mut members) = (None, None, Vec::new());
        for attribute in attributes(payload, NEXTHOP_FIXED_LEN) {
            match attribute? {
                (nexthop_attribute::ID, value) => id = Some(parse_u32(value)?),
                (nexthop_attribute::DEVICE, value) => device = Some(parse_u32(value)?),
                (nexthop_attribute::GROUP, value) => {
                    // `struct nexthop_grp`: the id first, of eight bytes.
                    let (entries, _) = value.as_chunks::<8>();
                    let id = |[a, b, c, d, ..]: &[u8; 8]| u32::from_ne_bytes([*a, *b, *c, *d]);
                    members = entries.iter().map(id).collect();
                }
                _ => {}
            }
        }
        let Some(id) = id else { return Ok(()) };
        self.devices.extend(device.map(|device| (id, device)));
        if !members.is_empty() {
            self.groups.insert(id, members);
        }
        Ok(())
    }

    fn devices(&self, id: u32) -> BTreeSet<u32> {
        let members = self.groups.get(&id).map_or(std::slice::from_ref(&id), Vec::as_slice);
        members.iter().filter_map(|member| self.devices.get(member)).copied().collect()
    }
}

#[cfg(test)]
mod tests;
