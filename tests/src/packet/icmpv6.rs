//! ICMPv6: errors, echo, neighbour discovery and multicast listeners. Neighbour discovery needs
//! hop limit 255 and MLD hop limit 1 from a hop-by-hop router alert; the layers below set them.

use std::net::Ipv6Addr;

use super::{
    Packet,
    checksum::{Checksum, transport_checksum},
    eth::{Mac, PEER_MAC},
    layer::{Around, Layer, Literal, stackable},
};

/// An ICMPv6 message.
#[derive(Clone, Debug)]
pub struct Icmpv6 {
    kind: u8,
    code: u8,
    rest: [u8; 4],
    body: Vec<u8>,
    checksum: Checksum,
}

/// Any message, by number.
pub fn message(kind: u8, code: u8) -> Icmpv6 {
    Icmpv6 { kind, code, rest: [0; 4], body: Vec::new(), checksum: Checksum::Right }
}

/// "Are you there?"
pub fn echo_request(id: u16, sequence: u16) -> Icmpv6 {
    message(128, 0).id_and_sequence(id, sequence)
}

/// "I am."
pub fn echo_reply(id: u16, sequence: u16) -> Icmpv6 {
    message(129, 0).id_and_sequence(id, sequence)
}

/// Destination unreachable: 0 no route, 1 prohibited, 3 address, 4 port.
pub fn unreachable(code: u8) -> Icmpv6 {
    message(1, code)
}

/// "Packet too big": the next link takes `mtu` bytes.
pub fn packet_too_big(mtu: u32) -> Icmpv6 {
    message(2, 0).rest(mtu.to_be_bytes())
}

/// Time exceeded on the way.
pub fn time_exceeded() -> Icmpv6 {
    message(3, 0)
}

/// Parameter problem; the pointer is zero.
pub fn parameter_problem(code: u8) -> Icmpv6 {
    message(4, code)
}

/// "Is there a router?"
pub fn router_solicitation() -> Icmpv6 {
    message(133, 0).link_address(1, PEER_MAC)
}

/// "I am a router for 1800 seconds."
pub fn router_advertisement() -> Icmpv6 {
    let message = message(134, 0).rest([64, 0, 0x07, 0x08]).body(&[0; 8]);
    message.link_address(1, PEER_MAC)
}

/// "Who has `target`?"
pub fn neighbor_solicitation(target: impl Literal<Ipv6Addr>) -> Icmpv6 {
    message(135, 0).body(&target.value().octets()).link_address(1, PEER_MAC)
}

/// "I have `target`", solicited and overriding.
pub fn neighbor_advertisement(target: impl Literal<Ipv6Addr>) -> Icmpv6 {
    let message = message(136, 0).rest([0x60, 0, 0, 0]).body(&target.value().octets());
    message.link_address(2, PEER_MAC)
}

/// "Use that router to get there."
pub fn redirect(router: impl Literal<Ipv6Addr>, there: impl Literal<Ipv6Addr>) -> Icmpv6 {
    message(137, 0).body(&[router.value().octets(), there.value().octets()].concat())
}

/// MLDv1 query about a group; `::` asks about all.
pub fn listener_query(group: impl Literal<Ipv6Addr>) -> Icmpv6 {
    message(130, 0).rest([0x27, 0x10, 0, 0]).body(&group.value().octets())
}

/// MLDv2 report of one group joined.
pub fn listener_report(group: impl Literal<Ipv6Addr>) -> Icmpv6 {
    let change_to_exclude = [4, 0, 0, 0];
    message(143, 0)
        .rest([0, 0, 0, 1])
        .body(&[&change_to_exclude[..], &group.value().octets()].concat())
}

impl Icmpv6 {
    /// The four bytes after the checksum.
    #[must_use]
    pub fn rest(self, rest: [u8; 4]) -> Self {
        Self { rest, ..self }
    }

    /// The fixed part after them, options included.
    #[must_use]
    pub fn body(self, body: &[u8]) -> Self {
        Self { body: body.to_vec(), ..self }
    }

    /// The first `length` bytes of the packet an error is about; its headers claim what the
    /// whole packet has.
    #[must_use]
    pub fn quoting(self, packet: impl Into<Packet>, length: usize) -> Self {
        let bytes = packet.into().without_link_header().truncate(length).bytes();
        self.body(&bytes)
    }

    /// A checksum that is wrong.
    #[must_use]
    pub fn bad_checksum(self) -> Self {
        Self { checksum: Checksum::Wrong, ..self }
    }

    fn id_and_sequence(self, id: u16, sequence: u16) -> Self {
        let ([a, b], [c, d]) = (id.to_be_bytes(), sequence.to_be_bytes());
        self.rest([a, b, c, d])
    }

    fn link_address(mut self, option: u8, mac: Mac) -> Self {
        self.body.extend([option, 1]);
        self.body.extend(mac);
        self
    }
}

impl Layer for Icmpv6 {
    fn name(&self) -> &'static str {
        "icmpv6"
    }

    fn protocol(&self) -> Option<u8> {
        Some(58)
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let fixed = [self.kind, self.code, 0, 0];
        let mut bytes = [&fixed[..], &self.rest, &self.body, &inner].concat();
        let checksum = self.checksum.field(transport_checksum(around, 58, &bytes));
        bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

stackable!(Icmpv6);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{eth, hop_by_hop, ipv6};

    /// An MLDv2 report, from tcpdump's `icmpv6.pcap`.
    #[test]
    fn listener_report_is_that_of_a_capture() {
        let report = eth().dst([0x33, 0x33, 0, 0, 0, 0x16]).src([0, 0x15, 0x17, 0xcc, 0xe5, 0x46])
            / ipv6("fe80::215:17ff:fecc:e546", "ff02::16").hop_limit(1)
            / hop_by_hop().router_alert()
            / listener_report("ff02::db8:1122:3344");
        let expected = [
            0x33, 0x33, 0x00, 0x00, 0x00, 0x16, 0x00, 0x15, 0x17, 0xcc, 0xe5, 0x46, 0x86, 0xdd,
            0x60, 0x00, 0x00, 0x00, 0x00, 0x24, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00,
            0x00, 0x00, 0x02, 0x15, 0x17, 0xff, 0xfe, 0xcc, 0xe5, 0x46, 0xff, 0x02, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x16, 0x3a, 0x00,
            0x05, 0x02, 0x00, 0x00, 0x01, 0x00, 0x8f, 0x00, 0x1f, 0xc5, 0x00, 0x00, 0x00, 0x01,
            0x04, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
            0x0d, 0xb8, 0x11, 0x22, 0x33, 0x44,
        ];
        assert_eq!(report.bytes(), expected);
    }

    #[test]
    fn neighbor_messages_have_their_lengths() {
        let length = |message: Icmpv6| Packet::from(message).bytes().len();
        assert_eq!(length(neighbor_solicitation("2001:db8:1::1")), 32);
        assert_eq!(length(neighbor_advertisement("2001:db8:1::1")), 32);
        assert_eq!(length(router_solicitation()), 16);
        assert_eq!(length(router_advertisement()), 24);
        assert_eq!(length(redirect("fe80::1", "2001:db8::1")), 40);
        assert_eq!(length(listener_query("::")), 24);
    }

    #[test]
    fn too_big_names_the_mtu() {
        let error = (packet_too_big(1280) / ipv6("::1", "::2")).bytes();
        assert_eq!(error[4..8], [0, 0, 5, 0]);
        assert_eq!(error.len(), 48);
    }
}
