//! Tunnels. IP in IP needs no layer: `ipv4(..) / ipv6(..)` already is 6in4.

use super::layer::{Around, Layer, LinkType, stackable};

/// A GRE header; see [`gre`].
#[derive(Clone, Debug)]
pub struct Gre;

/// A GRE header without checksum, key or sequence number.
pub fn gre() -> Gre {
    Gre
}

impl Layer for Gre {
    fn name(&self) -> &'static str {
        "gre"
    }

    fn protocol(&self) -> Option<u8> {
        Some(47)
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let ethertype = match around.next_link {
            Some(LinkType::Ethertype(ethertype)) => ethertype,
            // Transparent Ethernet bridging.
            Some(LinkType::Length) | None => 0x6558,
        };
        [&[0, 0][..], &ethertype.to_be_bytes(), &inner].concat()
    }
}

/// A VXLAN header; see [`vxlan`].
#[derive(Clone, Debug)]
pub struct Vxlan {
    network: u32,
}

/// A VXLAN header; it follows `udp(.., 4789)` and carries Ethernet.
pub fn vxlan(network: u32) -> Vxlan {
    Vxlan { network }
}

impl Layer for Vxlan {
    fn name(&self) -> &'static str {
        "vxlan"
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        [&[0x08, 0, 0, 0][..], &(self.network << 8).to_be_bytes(), &inner].concat()
    }
}

stackable!(Gre, Vxlan);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{eth, ipv4, ipv6, udp};

    #[test]
    fn outer_headers_name_the_tunnel() {
        let outer = || ipv4("198.51.100.7", "192.0.2.1");
        let inner = || ipv6("::1", "::2") / udp(1, 2);
        assert_eq!((outer() / inner()).bytes()[9], 41, "6in4");
        assert_eq!((outer() / outer() / udp(1, 2)).bytes()[9], 4, "IPIP");
        let gre = (outer() / gre() / inner()).bytes();
        assert_eq!((gre[9], &gre[20..24]), (47, &[0, 0, 0x86, 0xdd][..]));
        let vxlan = (outer() / udp(1, 4789) / vxlan(5) / eth() / inner()).bytes();
        assert_eq!(vxlan[28..36], [8, 0, 0, 0, 0, 0, 5, 0]);
    }
}
