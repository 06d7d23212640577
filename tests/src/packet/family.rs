//! One test, both families: IPv4 or IPv6 with the setters they share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Packet,
    extension::extension_fragment,
    icmp, icmpv6,
    ipv4::{Ipv4, ipv4},
    ipv6::{Ipv6, ipv6},
    layer::{Literal, stackable},
};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Both families, to loop over.
pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    /// An IP header of this family. A party or a pair of texts, `("198.51.100.9",
    /// "2001:db8:5::9")`, has an address in each.
    pub fn ip<P: InBoth, Q: InBoth>(self, src: P, dst: Q) -> Ip {
        let header = match self {
            Self::V4 => Header::V4(ipv4(src.v4(), dst.v4())),
            Self::V6 => Header::V6(ipv6(src.v6(), dst.v6())),
        };
        Ip { header, fragment: None }
    }

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The IP header's length, without options and extension headers.
    pub const fn header_length(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// "Are you there?"
    pub fn echo_request(self, id: u16, sequence: u16) -> Packet {
        self.choose(|| icmp::echo_request(id, sequence), || icmpv6::echo_request(id, sequence))
    }

    /// "I am."
    pub fn echo_reply(self, id: u16, sequence: u16) -> Packet {
        self.choose(|| icmp::echo_reply(id, sequence), || icmpv6::echo_reply(id, sequence))
    }

    /// "The next link takes `mtu` bytes", about the packet that is stacked after it.
    pub fn too_big(self, mtu: u16) -> Packet {
        self.choose(|| icmp::fragmentation_needed(mtu), || icmpv6::packet_too_big(mtu.into()))
    }

    /// "Nobody listens on that port", about the packet that is stacked after it.
    pub fn port_unreachable(self) -> Packet {
        self.choose(|| icmp::unreachable(3), || icmpv6::unreachable(4))
    }

    /// "Too many hops", about the packet that is stacked after it.
    pub fn time_exceeded(self) -> Packet {
        self.choose(icmp::time_exceeded, icmpv6::time_exceeded)
    }

    fn choose<A: Into<Packet>, B: Into<Packet>>(
        self,
        v4: impl FnOnce() -> A,
        v6: impl FnOnce() -> B,
    ) -> Packet {
        match self {
            Self::V4 => v4().into(),
            Self::V6 => v6().into(),
        }
    }
}

/// Whoever has an address in both families.
pub trait InBoth: Copy {
    /// The IPv4 address.
    fn v4(self) -> Ipv4Addr;

    /// The IPv6 address.
    fn v6(self) -> Ipv6Addr;
}

impl<P: Copy + Literal<Ipv4Addr> + Literal<Ipv6Addr>> InBoth for P {
    fn v4(self) -> Ipv4Addr {
        self.value()
    }

    fn v6(self) -> Ipv6Addr {
        self.value()
    }
}

impl<A, B> InBoth for (A, B)
where
    A: Copy + Literal<Ipv4Addr>,
    B: Copy + Literal<Ipv6Addr>,
{
    fn v4(self) -> Ipv4Addr {
        self.0.value()
    }

    fn v6(self) -> Ipv6Addr {
        self.1.value()
    }
}

/// An IP header of either family; see [`Family::ip`].
#[derive(Clone, Debug)]
pub struct Ip {
    header: Header,
    fragment: Option<(u16, usize, bool)>,
}

#[derive(Clone, Debug)]
enum Header {
    V4(Ipv4),
    V6(Ipv6),
}

impl Ip {
    /// Hops to live.
    #[must_use]
    pub fn hop_limit(self, hop_limit: u8) -> Self {
        self.map(|v4| v4.hop_limit(hop_limit), |v6| v6.hop_limit(hop_limit))
    }

    /// The version field.
    #[must_use]
    pub fn version(self, version: u8) -> Self {
        self.map(|v4| v4.version(version), |v6| v6.version(version))
    }

    /// The length field: the whole packet's in IPv4, the payload's in IPv6.
    #[must_use]
    pub fn length(self, bytes: u16) -> Self {
        self.map(|v4| v4.total_length(bytes), |v6| v6.payload_length(bytes))
    }

    /// The field that names what follows.
    #[must_use]
    pub fn protocol(self, protocol: u8) -> Self {
        self.map(|v4| v4.protocol(protocol), |v6| v6.next_header(protocol))
    }

    /// Makes it the fragment of datagram `id` that starts at byte `offset`: fields of the header
    /// in IPv4, a header of its own in IPv6.
    #[must_use]
    pub fn fragment(self, id: u16, offset: usize, more: bool) -> Self {
        Self { fragment: Some((id, offset, more)), ..self }
    }

    fn map(self, v4: impl FnOnce(Ipv4) -> Ipv4, v6: impl FnOnce(Ipv6) -> Ipv6) -> Self {
        let header = match self.header {
            Header::V4(header) => Header::V4(v4(header)),
            Header::V6(header) => Header::V6(v6(header)),
        };
        Self { header, ..self }
    }
}

impl From<Ip> for Packet {
    fn from(Ip { header, fragment }: Ip) -> Self {
        match (header, fragment) {
            (Header::V4(header), None) => header.into(),
            (Header::V4(header), Some((id, offset, more))) => {
                header.fragment(id, offset, more).into()
            }
            (Header::V6(header), None) => header.into(),
            (Header::V6(header), Some((id, offset, more))) => {
                header / extension_fragment(id.into(), offset, more)
            }
        }
    }
}

stackable!(@stack Ip);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Party, eth, tcp};

    #[test]
    fn one_line_makes_both_families() {
        for family in BOTH {
            let syn = eth() / family.ip(Party::Stranger, Party::Server) / tcp(40000, 5432).syn();
            assert_eq!(syn.bytes().len(), 14 + family.header_length() + 20, "{syn}");
        }
        let pair = ("198.51.100.9", "2001:db8:5::9");
        assert_eq!(
            Packet::from(Family::V4.ip(pair, Party::Server)).bytes()[12..16],
            [198, 51, 100, 9]
        );
        assert_eq!(Packet::from(Family::V6.ip(pair, Party::Server)).bytes()[23], 9);
    }

    #[test]
    fn shared_setters_reach_the_fields_of_each_family() {
        let set = |family: Family| {
            let ip = family.ip(Party::Office, Party::Server).hop_limit(3).length(99).protocol(132);
            Packet::from(ip.version(7)).bytes()
        };
        let (v4, v6) = (set(Family::V4), set(Family::V6));
        assert_eq!((v4[0] >> 4, v4[3], v4[8], v4[9]), (7, 99, 3, 132));
        assert_eq!((v6[0] >> 4, v6[5], v6[6], v6[7]), (7, 99, 132, 3));
    }

    #[test]
    fn fragment_is_a_field_or_a_header() {
        let tail = |family: Family| {
            let ip = family.ip(Party::Office, Party::Server).fragment(5, 16, true);
            (ip / tcp(1, 2)).bytes()
        };
        assert_eq!(tail(Family::V4)[4..10], [0, 5, 0x20, 2, 64, 6]);
        assert_eq!(tail(Family::V6)[6], 44);
        assert_eq!(tail(Family::V6)[40..48], [6, 0, 0, 17, 0, 0, 0, 5]);
    }
}
