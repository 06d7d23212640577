//! The devices of this network namespace and their addresses.
//!
//! [`read`] lists them, [`choose()`] says which of them are judged, [`watch()`] tells when it is time
//! to do both again.

mod bond;
mod choose;
mod groups;
mod hold;
mod parse;
mod stack;
mod watch;

use std::fmt;

use ipnet::IpNet;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

pub use self::{
    bond::xdp_is_in_the_way,
    choose::{Choice, Choices, choose},
    groups::{GroupsError, link_groups},
    hold::Held,
    watch::{HostChange, watch},
};
use super::netlink::{Message, Netlink, NetlinkError};

/// `RTM_GETLINK`, and the size of its fixed part, `struct ifinfomsg`.
const GET_LINK: u16 = 18;
const LINK_FIXED_LEN: usize = 16;
/// `RTM_GETADDR`, and the size of its fixed part, `struct ifaddrmsg`.
const GET_ADDRESS: u16 = 22;
const ADDRESS_FIXED_LEN: usize = 8;

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Whether it is set up (`IFF_UP`); says nothing about a carrier.
    pub up: bool,
    /// Whether its frames begin with an Ethernet header; otherwise they begin with the IP header.
    pub ethernet: bool,
    /// Whether this is a loopback device.
    pub loopback: bool,
    /// Whether it has an XDP program, of whomever.
    pub has_xdp: bool,
    /// Largest packet it carries, in bytes.
    pub mtu: u32,
    /// The bridge, bond, team or VRF that it is a port of.
    pub master: Option<u32>,
    /// The device of this namespace whose packets it shares: a VLAN's or a macvlan's parent. Not
    /// set for a tunnel, whose packets are other packets.
    pub lower: Option<u32>,
    /// Its addresses, each with the length of its network.
    pub addresses: Vec<IpNet>,
}

/// What a device is, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkKind {
    /// A network card, or whatever has no kind of its own.
    #[default]
    Device,
    /// One end of a virtual cable.
    Veth,
    /// A program's device (tun or tap).
    Tun,
    /// WireGuard.
    Wireguard,
    /// Any other device that carries packets inside packets, by the kernel's word for it.
    Tunnel(String),
    /// An 802.1Q or 802.1ad child.
    Vlan,
    /// A macvlan child.
    Macvlan,
    /// An ipvlan child.
    Ipvlan,
    /// A macvtap or ipvtap child, by the kernel's word for it: its packets are a program's, and mostly a virtual
    /// machine's.
    Tap(String),
    /// A bridge.
    Bridge,
    /// A bond or a team.
    Bond,
    /// A routing domain; its ports see the packets.
    Vrf,
    /// Anything else, by the kernel's word for it.
    Other(String),
}

impl LinkKind {
    fn from_kernel(kind: &str) -> Self {
        const TUNNELS: &[&str] = &[
            "amt",
            "bareudp",
            "erspan",
            "geneve",
            "gre",
            "gretap",
            "gtp",
            "ip6erspan",
            "ip6gre",
            "ip6gretap",
            "ip6tnl",
            "ipip",
            "ovpn",
            "ppp",
            "sit",
            "vti",
            "vti6",
            "vxlan",
            "xfrm",
        ];
        match kind {
            "veth" => Self::Veth,
            "tun" => Self::Tun,
            "wireguard" => Self::Wireguard,
            "vlan" => Self::Vlan,
            "macvlan" => Self::Macvlan,
            "ipvlan" => Self::Ipvlan,
            "macvtap" | "ipvtap" => Self::Tap(kind.into()),
            "bridge" => Self::Bridge,
            "bond" | "team" => Self::Bond,
            "vrf" => Self::Vrf,
            tunnel if TUNNELS.contains(&tunnel) => Self::Tunnel(tunnel.into()),
            other => Self::Other(other.into()),
        }
    }

    /// Whether conversations inside it are apart from those outside: it has a scope of its own.
    pub fn is_tunnel(&self) -> bool {
        matches!(self, Self::Tun | Self::Wireguard | Self::Tunnel(_))
    }

    /// Whether its packets are seen, as they are, on the device it is stacked on.
    fn shares_packets_of_lower(&self) -> bool {
        matches!(self, Self::Vlan | Self::Macvlan | Self::Ipvlan | Self::Tap(_))
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device",
            Self::Veth => "veth",
            Self::Tun => "tun",
            Self::Wireguard => "wireguard",
            Self::Vlan => "vlan",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Bridge => "bridge",
            Self::Bond => "bond",
            Self::Vrf => "vrf",
            Self::Tap(kind) | Self::Tunnel(kind) | Self::Other(kind) => kind,
        })
    }
}

/// Lists the devices of this thread's network namespace, in the order of their index.
///
/// # Errors
///
/// When the kernel refuses, or says what cannot be read.
pub async fn read() -> Result<Vec<Link>, NetlinkError> {
    const DEVICES: &str = "devices";
    const ADDRESSES: &str = "addresses";
    let netlink = Netlink::open(NETLINK_ROUTE, DEVICES)?;
    let request = |kind, len| Message { kind, payload: vec![0; len] };
    let decode = |table| move |source| NetlinkError::Decode { table, source };
    let mut links = Vec::new();
    for message in netlink.dump(DEVICES, &request(GET_LINK, LINK_FIXED_LEN)).await? {
        links.push(parse::link(&message.payload).map_err(decode(DEVICES))?);
    }
    links.sort_by_key(|link| link.index);
    for message in netlink.dump(ADDRESSES, &request(GET_ADDRESS, ADDRESS_FIXED_LEN)).await? {
        let address = parse::address(&message.payload).map_err(decode(ADDRESSES))?;
        let Some((index, address)) = address else { continue };
        if let Ok(position) = links.binary_search_by_key(&index, |link| link.index) {
            links[position].addresses.push(address);
        }
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_namespace_has_a_loopback() {
        let links = read().await.unwrap();
        let loopback = links.iter().find(|link| link.loopback).unwrap();
        assert_eq!(loopback.name, "lo");
        assert!(!loopback.kind.is_tunnel());
    }

    #[test]
    fn tunnels_have_a_scope_and_vlans_have_none() {
        assert!(LinkKind::from_kernel("vxlan").is_tunnel());
        assert!(LinkKind::from_kernel("wireguard").is_tunnel());
        assert!(!LinkKind::from_kernel("vlan").is_tunnel());
        assert_eq!(LinkKind::from_kernel("netkit").to_string(), "netkit");
    }
}
