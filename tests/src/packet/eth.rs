//! Ethernet, VLAN tags and 802.3 length frames.

use super::layer::{Around, Layer, LinkType, stackable};

/// A hardware address.
pub type Mac = [u8; 6];

/// The address of the host under test in packets that nobody routes.
pub const NEAR_MAC: Mac = [0x02, 0, 0, 0, 0, 0x01];

/// The address of whoever sends to it.
pub const PEER_MAC: Mac = [0x02, 0, 0, 0, 0, 0x02];

/// Everybody on the link.
pub const BROADCAST: Mac = [0xff; 6];

/// An Ethernet header; see [`eth`].
#[derive(Clone, Debug)]
pub struct Eth {
    dst: Mac,
    src: Mac,
    ethertype: Option<u16>,
}

/// An Ethernet header from [`PEER_MAC`] to [`NEAR_MAC`]; its type is that of what follows.
pub fn eth() -> Eth {
    Eth { dst: NEAR_MAC, src: PEER_MAC, ethertype: None }
}

impl Eth {
    /// Who receives it.
    #[must_use]
    pub fn dst(self, dst: Mac) -> Self {
        Self { dst, ..self }
    }

    /// Who sends it.
    #[must_use]
    pub fn src(self, src: Mac) -> Self {
        Self { src, ..self }
    }

    /// The type field, whatever follows; under 0x0600 it is an 802.3 length.
    #[must_use]
    pub fn ethertype(self, ethertype: u16) -> Self {
        Self { ethertype: Some(ethertype), ..self }
    }
}

impl Layer for Eth {
    fn name(&self) -> &'static str {
        "eth"
    }

    fn is_link(&self) -> bool {
        true
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let field = self.ethertype.unwrap_or_else(|| LinkType::field(around.next_link, &inner));
        [&self.dst[..], &self.src, &field.to_be_bytes(), &inner].concat()
    }
}

/// A VLAN tag; see [`vlan`] and [`service_vlan`].
#[derive(Clone, Debug)]
pub struct Vlan {
    tag_type: u16,
    id: u16,
    priority: u8,
    ethertype: Option<u16>,
}

/// An 802.1Q tag (0x8100).
pub fn vlan(id: u16) -> Vlan {
    Vlan { tag_type: 0x8100, id, priority: 0, ethertype: None }
}

/// An 802.1ad service tag (0x88a8), the outer one of a QinQ pair.
pub fn service_vlan(id: u16) -> Vlan {
    vlan(id).tag_type(0x88a8)
}

impl Vlan {
    /// The ethertype by which the tag itself is announced (0x9100 on old equipment).
    #[must_use]
    pub fn tag_type(self, tag_type: u16) -> Self {
        Self { tag_type, ..self }
    }

    /// The three priority bits.
    #[must_use]
    pub fn priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    /// The type field after the tag, whatever follows.
    #[must_use]
    pub fn ethertype(self, ethertype: u16) -> Self {
        Self { ethertype: Some(ethertype), ..self }
    }
}

impl Layer for Vlan {
    fn name(&self) -> &'static str {
        "vlan"
    }

    fn is_link(&self) -> bool {
        true
    }

    fn link_type(&self) -> Option<LinkType> {
        Some(LinkType::Ethertype(self.tag_type))
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let control = (u16::from(self.priority & 7) << 13) | (self.id & 0x0fff);
        let field = self.ethertype.unwrap_or_else(|| LinkType::field(around.next_link, &inner));
        [&control.to_be_bytes()[..], &field.to_be_bytes(), &inner].concat()
    }
}

/// An LLC header; see [`llc`].
#[derive(Clone, Debug)]
pub struct Llc {
    dsap: u8,
    ssap: u8,
}

/// An 802.2 LLC header (unnumbered information); the Ethernet header then holds a length.
/// Spanning tree is `llc(0x42, 0x42)`.
pub fn llc(dsap: u8, ssap: u8) -> Llc {
    Llc { dsap, ssap }
}

impl Layer for Llc {
    fn name(&self) -> &'static str {
        "llc"
    }

    fn is_link(&self) -> bool {
        true
    }

    fn link_type(&self) -> Option<LinkType> {
        Some(LinkType::Length)
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        [&[self.dsap, self.ssap, 0x03][..], &inner].concat()
    }
}

stackable!(Eth, Vlan, Llc);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, ipv4, payload, udp};

    #[test]
    fn the_type_field_names_what_follows() {
        let ip = || ipv4("192.0.2.1", "192.0.2.2") / udp(1, 2);
        assert_eq!((eth() / ip()).bytes()[12..14], [0x08, 0x00]);
        assert_eq!((eth() / vlan(7) / ip()).bytes()[12..18], [0x81, 0, 0, 7, 0x08, 0x00]);
        assert_eq!(
            (eth() / service_vlan(2) / vlan(3).priority(5) / ip()).bytes()[12..22],
            [0x88, 0xa8, 0, 2, 0x81, 0, 0xa0, 3, 0x08, 0x00],
        );
        assert_eq!((eth().ethertype(0x1234) / ip()).bytes()[12..14], [0x12, 0x34]);
        assert_eq!((vlan(1).ethertype(0x88cc) / ip()).bytes()[2..4], [0x88, 0xcc]);
    }

    #[test]
    fn llc_makes_the_type_field_a_length() {
        let frame = eth() / llc(0x42, 0x42) / payload([0; 35]);
        assert_eq!(frame.bytes()[12..17], [0, 38, 0x42, 0x42, 0x03]);
    }

    #[test]
    fn addresses_stand_destination_first() {
        let frame = Packet::from(eth().dst(BROADCAST).src([2, 3, 4, 5, 6, 7])).bytes();
        assert_eq!(frame, [[0xff; 6].as_slice(), &[2, 3, 4, 5, 6, 7], &[0x88, 0xb5]].concat());
    }
}
