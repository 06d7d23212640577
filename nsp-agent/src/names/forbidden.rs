//! Addresses that no answer may teach.
//!
//! A name is somebody else's word. If it could stand for a private, local or own address, whoever
//! answers for an allowed name could open the inside (DNS rebinding), so such addresses are refused
//! in every form that leads there: plain, mapped, NAT64, 6to4, Teredo. A NAT64 prefix that belongs
//! to one network only cannot be known here.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use serde::Serialize;

/// What may not be learned, besides what never may: the private ranges and the host's own
/// addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forbidden {
    private: Vec<IpNet>,
    own: BTreeSet<IpAddr>,
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// In the private ranges of the policy.
    Private,
    /// Loopback.
    Loopback,
    /// Link-local, or the old site-local.
    LinkLocal,
    /// Multicast or broadcast.
    Multicast,
    /// The unspecified address, or its network.
    Unspecified,
    /// Reserved: no host has it.
    Reserved,
    /// An address of this host.
    Own,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Reserved => "reserved",
            Self::Own => "this host's own",
        })
    }
}

impl Forbidden {
    /// From the private ranges in force and the addresses of this host's interfaces.
    pub fn new(private: Vec<IpNet>, own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { private, own: own.into_iter().map(|address| address.to_canonical()).collect() }
    }

    /// Why an address may not be learned; `None` when it may. A mapped address is judged as the
    /// IPv4 address it is.
    pub fn why(&self, address: IpAddr) -> Option<Why> {
        let address = address.to_canonical();
        if self.own.contains(&address) {
            return Some(Why::Own);
        }
        let why = match address {
            IpAddr::V4(v4) => always_v4(v4),
            IpAddr::V6(v6) => always_v6(v6),
        };
        if why.is_some() {
            return why;
        }
        if self.private.iter().any(|prefix| prefix.contains(&address)) {
            return Some(Why::Private);
        }
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => embedded(v6).find_map(|inner| self.why(inner.into())),
        }
    }
}

fn always_v4(address: Ipv4Addr) -> Option<Why> {
    match address.octets() {
        [0, ..] => Some(Why::Unspecified),
        [127, ..] => Some(Why::Loopback),
        [169, 254, ..] => Some(Why::LinkLocal),
        [255, 255, 255, 255] | [224..=239, ..] => Some(Why::Multicast),
        [240..=255, ..] => Some(Why::Reserved),
        _ => None,
    }
}

fn always_v6(address: Ipv6Addr) -> Option<Why> {
    let [first, ..] = address.segments();
    match first {
        _ if address.is_unspecified() => Some(Why::Unspecified),
        _ if address.is_loopback() => Some(Why::Loopback),
        0xfe80..=0xfeff => Some(Why::LinkLocal),
        0xff00..=0xffff => Some(Why::Multicast),
        // ::/96, the deprecated IPv4-compatible form (RFC 4291).
        0 if address.segments()[..6] == [0; 6] => Some(Why::Reserved),
        _ => None,
    }
}

/// The IPv4 addresses that a packet to this IPv6 address may end up at.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let at = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let found = match address.segments() {
        // NAT64: the well-known prefix (RFC 6052) and the local-use one (RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, .., high, low] => {
            [Some(at(high, low)), None]
        }
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => [Some(at(high, low)), None],
        // Teredo (RFC 4380): the server, and the client with its bits inverted.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            [Some(at(high, low)), Some(at(!client_high, !client_low))]
        }
        _ => [None, None],
    };
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn forbidden() -> Forbidden {
        let private = ["10.0.0.0/8", "fc00::/7"].map(|text| text.parse().unwrap());
        Forbidden::new(private.into(), ["192.0.2.1".parse().unwrap()])
    }

    #[rstest]
    #[case::private("10.1.2.3", Why::Private)]
    #[case::private_v6("fd00::1", Why::Private)]
    #[case::own("192.0.2.1", Why::Own)]
    #[case::loopback("127.0.0.53", Why::Loopback)]
    #[case::loopback_v6("::1", Why::Loopback)]
    #[case::link_local("169.254.169.254", Why::LinkLocal)]
    #[case::link_local_v6("fe80::1", Why::LinkLocal)]
    #[case::site_local("fec0::1", Why::LinkLocal)]
    #[case::multicast("224.0.0.1", Why::Multicast)]
    #[case::multicast_v6("ff02::1", Why::Multicast)]
    #[case::broadcast("255.255.255.255", Why::Multicast)]
    #[case::unspecified("0.0.0.0", Why::Unspecified)]
    #[case::this_network("0.1.2.3", Why::Unspecified)]
    #[case::unspecified_v6("::", Why::Unspecified)]
    #[case::reserved("240.0.0.1", Why::Reserved)]
    #[case::compatible("::198.51.100.7", Why::Reserved)]
    #[case::mapped_private("::ffff:10.0.0.1", Why::Private)]
    #[case::mapped_own("::ffff:192.0.2.1", Why::Own)]
    #[case::nat64_private("64:ff9b::10.0.0.1", Why::Private)]
    #[case::nat64_own("64:ff9b::192.0.2.1", Why::Own)]
    #[case::nat64_local_use("64:ff9b:1::10.0.0.1", Why::Private)]
    #[case::nat64_metadata("64:ff9b::169.254.169.254", Why::LinkLocal)]
    #[case::six_to_four("2002:7f00:1::", Why::Loopback)]
    #[case::teredo_client("2001:0:c633:6407::f5ff:fffe", Why::Private)]
    fn refuses(#[case] address: &str, #[case] why: Why) {
        assert_eq!(forbidden().why(address.parse().unwrap()), Some(why));
    }

    #[rstest]
    #[case::documentation("198.51.100.7")]
    #[case::next_to_own("192.0.2.2")]
    #[case::next_to_private("11.0.0.0")]
    #[case::below_multicast("223.255.255.255")]
    #[case::documentation_v6("2001:db8::7")]
    #[case::mapped("::ffff:198.51.100.7")]
    #[case::nat64("64:ff9b::198.51.100.7")]
    #[case::six_to_four("2002:c633:6407::1")]
    #[case::below_link_local("fe7f::1")]
    fn admits(#[case] address: &str) {
        assert_eq!(forbidden().why(address.parse().unwrap()), None);
    }
}
