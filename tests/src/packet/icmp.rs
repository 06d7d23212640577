//! ICMP for IPv4. What follows an error message is the packet it is about: stack it with `/`, or
//! quote its first bytes with [`Icmp::quoting`].

use std::net::Ipv4Addr;

use super::{
    Packet,
    checksum::{Checksum, internet_checksum},
    layer::{Around, Layer, Literal, stackable},
};

/// An ICMP message.
#[derive(Clone, Debug)]
pub struct Icmp {
    kind: u8,
    code: u8,
    rest: [u8; 4],
    body: Vec<u8>,
    checksum: Checksum,
}

/// Any message, by number.
pub fn message(kind: u8, code: u8) -> Icmp {
    Icmp { kind, code, rest: [0; 4], body: Vec::new(), checksum: Checksum::Right }
}

/// "Are you there?"
pub fn echo_request(id: u16, sequence: u16) -> Icmp {
    message(8, 0).id_and_sequence(id, sequence)
}

/// "I am."
pub fn echo_reply(id: u16, sequence: u16) -> Icmp {
    message(0, 0).id_and_sequence(id, sequence)
}

/// Destination unreachable: 0 network, 1 host, 3 port, 13 prohibited.
pub fn unreachable(code: u8) -> Icmp {
    message(3, code)
}

/// "Fragmentation needed": the next link takes `mtu` bytes.
pub fn fragmentation_needed(mtu: u16) -> Icmp {
    let [high, low] = mtu.to_be_bytes();
    unreachable(4).rest([0, 0, high, low])
}

/// Time exceeded on the way.
pub fn time_exceeded() -> Icmp {
    message(11, 0)
}

/// "Use that gateway instead."
pub fn redirect(gateway: impl Literal<Ipv4Addr>) -> Icmp {
    message(5, 1).rest(gateway.value().octets())
}

/// "What time is it?"
pub fn timestamp(id: u16, sequence: u16) -> Icmp {
    message(13, 0).id_and_sequence(id, sequence).body(&[0; 12])
}

/// "What is your netmask?"
pub fn address_mask(id: u16, sequence: u16) -> Icmp {
    message(17, 0).id_and_sequence(id, sequence).body(&[0; 4])
}

impl Icmp {
    /// The four bytes after the checksum.
    #[must_use]
    pub fn rest(self, rest: [u8; 4]) -> Self {
        Self { rest, ..self }
    }

    /// The fixed part after them.
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
}

impl Layer for Icmp {
    fn name(&self) -> &'static str {
        "icmp"
    }

    fn protocol(&self) -> Option<u8> {
        Some(1)
    }

    fn encode(&self, _: &Around, inner: Vec<u8>) -> Vec<u8> {
        let fixed = [self.kind, self.code, 0, 0];
        let mut bytes = [&fixed[..], &self.rest, &self.body, &inner].concat();
        let checksum = self.checksum.field(internet_checksum(&[&bytes]));
        bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

stackable!(Icmp);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{eth, ipv4, tcp, udp};

    #[test]
    fn echo_request_has_the_textbook_checksum() {
        let bytes = (echo_request(1, 1) / "abcdefghijklmnopqrstuvwabcdefghi").bytes();
        assert_eq!(bytes[..8], [8, 0, 0x4d, 0x5a, 0, 1, 0, 1], "the ping of Windows, seq 1");
    }

    #[test]
    fn error_carries_the_packet_it_is_about() {
        let inner = || ipv4("192.0.2.1", "198.51.100.7") / udp(5000, 53) / "question";
        let error = (fragmentation_needed(1400) / inner()).bytes();
        assert_eq!(error[..2], [3, 4]);
        assert_eq!(error[4..8], [0, 0, 0x05, 0x78]);
        assert_eq!(error[8..], inner().bytes());
        assert_eq!(internet_checksum(&[&error]), 0);
    }

    #[test]
    fn quoted_packet_is_cut_but_claims_its_length() {
        let inner = eth() / ipv4("192.0.2.1", "198.51.100.7") / tcp(5432, 40000) / [0; 100];
        let error = Packet::from(unreachable(3).quoting(inner, 28)).bytes();
        assert_eq!(error.len(), 8 + 28);
        assert_eq!(error[8], 0x45, "the link header is not quoted");
        assert_eq!(error[10..12], [0, 140], "total length of the whole packet");
    }
}
