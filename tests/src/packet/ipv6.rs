//! IPv6.

use std::net::Ipv6Addr;

use super::layer::{Addresses, Around, Layer, LinkType, Literal, length_u16, stackable};

/// An IPv6 header; see [`ipv6`].
#[derive(Clone, Debug)]
pub struct Ipv6 {
    src: Ipv6Addr,
    dst: Ipv6Addr,
    traffic_class: u8,
    flow_label: u32,
    hop_limit: u8,
    version: u8,
    payload_length: Option<u16>,
    next_header: Option<u8>,
}

/// An IPv6 header with 64 hops to live.
pub fn ipv6(src: impl Literal<Ipv6Addr>, dst: impl Literal<Ipv6Addr>) -> Ipv6 {
    Ipv6 {
        src: src.value(),
        dst: dst.value(),
        traffic_class: 0,
        flow_label: 0,
        hop_limit: 64,
        version: 6,
        payload_length: None,
        next_header: None,
    }
}

impl Ipv6 {
    /// The traffic class.
    #[must_use]
    pub fn traffic_class(self, traffic_class: u8) -> Self {
        Self { traffic_class, ..self }
    }

    /// The flow label, 20 bits.
    #[must_use]
    pub fn flow_label(self, flow_label: u32) -> Self {
        Self { flow_label, ..self }
    }

    /// Hops to live; neighbour discovery needs 255, MLD 1.
    #[must_use]
    pub fn hop_limit(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }

    /// The version field.
    #[must_use]
    pub fn version(self, version: u8) -> Self {
        Self { version, ..self }
    }

    /// The payload length field, whatever follows.
    #[must_use]
    pub fn payload_length(self, bytes: u16) -> Self {
        Self { payload_length: Some(bytes), ..self }
    }

    /// The next-header field, whatever follows.
    #[must_use]
    pub fn next_header(self, next_header: u8) -> Self {
        Self { next_header: Some(next_header), ..self }
    }
}

impl Layer for Ipv6 {
    fn name(&self) -> &'static str {
        "ipv6"
    }

    fn link_type(&self) -> Option<LinkType> {
        Some(LinkType::Ethertype(0x86dd))
    }

    /// IPv6 in IP.
    fn protocol(&self) -> Option<u8> {
        Some(41)
    }

    fn addresses(&self, _: Option<Addresses>) -> Option<Addresses> {
        Some(Addresses { source: self.src.into(), destination: self.dst.into() })
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let first_word = (u32::from(self.version & 0x0f) << 28)
            | (u32::from(self.traffic_class) << 20)
            | (self.flow_label & 0x000f_ffff);
        let length = self.payload_length.unwrap_or_else(|| length_u16(inner.len()));
        let mut bytes = first_word.to_be_bytes().to_vec();
        bytes.extend(length.to_be_bytes());
        bytes.push(self.next_header.or(around.next_protocol).unwrap_or(59));
        bytes.push(self.hop_limit);
        bytes.extend(self.src.octets());
        bytes.extend(self.dst.octets());
        bytes.extend(inner);
        bytes
    }
}

stackable!(Ipv6);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, udp};

    #[test]
    fn header_counts_and_names_what_follows() {
        let packet = ipv6("2001:db8:5::7", "2001:db8:1::1") / udp(1, 2) / "abc";
        let bytes = packet.bytes();
        assert_eq!(bytes[..8], [0x60, 0, 0, 0, 0, 11, 17, 64]);
        assert_eq!(bytes[8..10], [0x20, 0x01]);
        assert_eq!(bytes.len(), 40 + 8 + 3);
    }

    #[test]
    fn every_field_can_lie() {
        let header = ipv6("::1", "::2").version(5).traffic_class(0xab).flow_label(0xcdef1);
        let packet = header.payload_length(0).next_header(6).hop_limit(255) / udp(1, 2);
        assert_eq!(packet.bytes()[..8], [0x5a, 0xbc, 0xde, 0xf1, 0, 0, 6, 255]);
        assert_eq!(Packet::from(ipv6("::1", "::2")).bytes()[6], 59, "nothing follows");
    }
}
