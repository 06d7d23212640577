//! rtnetlink messages to devices and addresses.

use ipnet::IpNet;
use rtnetlink::{
    packet_core::{DecodeError, parse_ip, parse_string, parse_u32},
    packet_route::{
        address::AddressHeader,
        link::{LinkFlags, LinkHeader, LinkLayerType},
    },
};

use super::{ADDRESS_FIXED_LEN, LINK_FIXED_LEN, Link, LinkKind};
use crate::host::netlink::attributes;

/// `IFLA_*`.
mod link_attribute {
    pub(super) const NAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const LINK: u16 = 5;
    pub(super) const MASTER: u16 = 10;
    pub(super) const INFO: u16 = 18;
    pub(super) const LINK_NAMESPACE: u16 = 37;
    pub(super) const XDP: u16 = 43;
    /// Inside `XDP`: `XDP_ATTACHED_*`, of which zero is none.
    pub(super) const XDP_ATTACHED: u16 = 2;
    /// Inside `INFO`.
    pub(super) const INFO_KIND: u16 = 1;
}

/// `IFA_*`.
mod address_attribute {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
}

/// One `RTM_NEWLINK`, without addresses.
pub(super) fn link(payload: &[u8]) -> Result<Link, DecodeError> {
    let header = LinkHeader::parse(payload)?;
    let (mut name, mut mtu, mut lower, mut master) = (String::new(), 0, None, None);
    let (mut kind, mut lower_is_elsewhere, mut has_xdp) = (LinkKind::Device, false, false);
    for attribute in attributes(payload, LINK_FIXED_LEN) {
        match attribute? {
            (link_attribute::NAME, value) => name = parse_string(value)?,
            (link_attribute::MTU, value) => mtu = parse_u32(value)?,
            (link_attribute::LINK, value) => lower = Some(parse_u32(value)?),
            (link_attribute::MASTER, value) => master = Some(parse_u32(value)?),
            (link_attribute::INFO, value) => kind = info_kind(value)?,
            (link_attribute::LINK_NAMESPACE, _) => lower_is_elsewhere = true,
            (link_attribute::XDP, value) => has_xdp = is_attached(value)?,
            _ => {}
        }
    }
    let ppp = header.link_layer_type == LinkLayerType::Ppp;
    if ppp && kind == LinkKind::Device {
        kind = LinkKind::Tunnel("ppp".into());
    }
    let shared = kind.shares_packets_of_lower() && !lower_is_elsewhere;
    Ok(Link {
        index: header.index,
        name,
        up: header.flags.contains(LinkFlags::Up),
        // Loopback frames have an (empty) Ethernet header too.
        ethernet: matches!(header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback),
        loopback: header.flags.contains(LinkFlags::Loopback),
        has_xdp,
        mtu,
        master,
        lower: lower.filter(|lower| shared && *lower != header.index),
        kind,
        addresses: Vec::new(),
    })
}

fn info_kind(value: &[u8]) -> Result<LinkKind, DecodeError> {
    for attribute in attributes(value, 0) {
        if let (link_attribute::INFO_KIND, kind) = attribute? {
            return Ok(LinkKind::from_kernel(&parse_string(kind)?));
        }
    }
    Ok(LinkKind::Device)
}

fn is_attached(value: &[u8]) -> Result<bool, DecodeError> {
    for attribute in attributes(value, 0) {
        if let (link_attribute::XDP_ATTACHED, how) = attribute? {
            return Ok(how.first().is_some_and(|how| *how != 0));
        }
    }
    Ok(false)
}

/// One `RTM_NEWADDR`: the device's index and its own address. On a point-to-point device
/// `IFA_ADDRESS` is the other end and `IFA_LOCAL` this one.
pub(super) fn address(payload: &[u8]) -> Result<Option<(u32, IpNet)>, DecodeError> {
    let header = AddressHeader::parse(payload)?;
    let (mut address, mut local) = (None, None);
    for attribute in attributes(payload, ADDRESS_FIXED_LEN) {
        match attribute? {
            (address_attribute::ADDRESS, value) => address = parse_ip(value).ok(),
            (address_attribute::LOCAL, value) => local = parse_ip(value).ok(),
            _ => {}
        }
    }
    let network = local.or(address).and_then(|own| IpNet::new(own, header.prefix_len).ok());
    Ok(network.map(|network| (header.index, network)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::with_attributes;

    fn link_message(layer: u16, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut fixed = vec![0, 0];
        fixed.extend(layer.to_ne_bytes());
        fixed.extend(7_u32.to_ne_bytes());
        fixed.extend(flags.to_ne_bytes());
        fixed.extend([0; 4]);
        with_attributes(fixed, attributes)
    }

    const ETHER: u16 = 1;
    const NONE: u16 = 0xfffe;
    const PPP: u16 = 512;

    #[test]
    fn a_vlan_child_knows_its_parent() {
        let info = with_attributes(Vec::new(), &[(1, b"vlan\0")]);
        let bytes = link_message(
            ETHER,
            1,
            &[
                (3, b"eth0.9\0"),
                (4, &1500_u32.to_ne_bytes()),
                (5, &2_u32.to_ne_bytes()),
                (9999, b"from a later kernel"),
                (18, &info),
            ],
        );
        let link = link(&bytes).unwrap();
        assert_eq!((link.index, link.name.as_str(), link.mtu), (7, "eth0.9", 1500));
        assert_eq!((link.kind, link.lower, link.master), (LinkKind::Vlan, Some(2), None));
        assert!(link.up && link.ethernet && !link.loopback);
    }

    #[test]
    fn the_other_end_of_a_veth_is_not_below_it() {
        let info = with_attributes(Vec::new(), &[(1, b"veth\0")]);
        let bytes = link_message(ETHER, 0, &[(5, &2_u32.to_ne_bytes()), (18, &info)]);
        let link = link(&bytes).unwrap();
        assert_eq!((link.lower, link.up), (None, false));
    }

    #[test]
    fn a_parent_in_another_namespace_is_not_below_it() {
        let info = with_attributes(Vec::new(), &[(1, b"macvlan\0")]);
        let lower = 2_u32.to_ne_bytes();
        let bytes = link_message(ETHER, 1, &[(5, &lower), (18, &info), (37, &[0; 4])]);
        assert_eq!(link(&bytes).unwrap().lower, None);
    }

    #[test]
    fn xdp_program_is_seen_and_its_absence_too() {
        for (how, expected) in [(0, false), (1, true), (2, true)] {
            let xdp = with_attributes(Vec::new(), &[(2, &[how])]);
            assert_eq!(link(&link_message(ETHER, 1, &[(43, &xdp)])).unwrap().has_xdp, expected);
        }
        assert!(!link(&link_message(ETHER, 1, &[])).unwrap().has_xdp);
    }

    #[test]
    fn wireguard_has_no_ethernet_header() {
        let info = with_attributes(Vec::new(), &[(1, b"wireguard\0")]);
        let link = link(&link_message(NONE, 1, &[(18, &info)])).unwrap();
        assert!(!link.ethernet && link.kind.is_tunnel());
    }

    #[test]
    fn ppp_without_a_kind_is_a_tunnel() {
        let link = link(&link_message(PPP, 1, &[])).unwrap();
        assert!(link.kind.is_tunnel() && !link.ethernet);
    }

    #[test]
    fn a_short_message_is_an_error_and_no_panic() {
        assert!(link(&[0; 15]).is_err());
        assert!(address(&[0; 7]).is_err());
    }

    fn address_message(prefix_len: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut fixed = vec![2, prefix_len, 0, 0];
        fixed.extend(7_u32.to_ne_bytes());
        with_attributes(fixed, attributes)
    }

    #[test]
    fn the_own_address_wins_over_the_peers() {
        let bytes = address_message(32, &[(1, &[10, 0, 0, 2]), (2, &[10, 0, 0, 1])]);
        let expected = (7, "10.0.0.1/32".parse().unwrap());
        assert_eq!(address(&bytes).unwrap(), Some(expected));
    }

    #[test]
    fn an_ipv6_address_has_no_local_attribute() {
        let address_v6 = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let bytes = address_message(64, &[(1, &address_v6)]);
        assert_eq!(address(&bytes).unwrap(), Some((7, "2001:db8::7/64".parse().unwrap())));
    }
}
