//! UDP and UDP-Lite.

use super::{
    checksum::{Checksum, covered_checksum, transport_checksum},
    layer::{Around, Layer, length_u16, stackable},
};

const UDP: u8 = 17;
const UDP_LITE: u8 = 136;

/// A UDP header; see [`udp`] and [`udp_lite`].
#[derive(Clone, Debug)]
pub struct Udp {
    protocol: u8,
    src: u16,
    dst: u16,
    length: Option<u16>,
    checksum: Checksum,
}

/// A UDP header from port `src` to port `dst`.
pub fn udp(src: u16, dst: u16) -> Udp {
    Udp { protocol: UDP, src, dst, length: None, checksum: Checksum::Right }
}

/// A UDP-Lite header whose checksum covers the header alone.
pub fn udp_lite(src: u16, dst: u16) -> Udp {
    Udp { protocol: UDP_LITE, length: Some(8), ..udp(src, dst) }
}

impl Udp {
    /// The length field (in UDP-Lite the coverage), whatever follows.
    #[must_use]
    pub fn length(self, bytes: u16) -> Self {
        Self { length: Some(bytes), ..self }
    }

    /// No checksum, which IPv4 allows.
    #[must_use]
    pub fn no_checksum(self) -> Self {
        Self { checksum: Checksum::Value(0), ..self }
    }

    /// A checksum that is wrong.
    #[must_use]
    pub fn bad_checksum(self) -> Self {
        Self { checksum: Checksum::Wrong, ..self }
    }
}

impl Layer for Udp {
    fn name(&self) -> &'static str {
        if self.protocol == UDP { "udp" } else { "udp-lite" }
    }

    fn protocol(&self) -> Option<u8> {
        Some(self.protocol)
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let length = self.length.unwrap_or_else(|| length_u16(8 + inner.len()));
        let mut bytes = Vec::new();
        bytes.extend(self.src.to_be_bytes());
        bytes.extend(self.dst.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(inner);
        let right = if self.protocol == UDP {
            transport_checksum(around, UDP, &bytes)
        } else {
            let covered = usize::from(length).clamp(8, bytes.len());
            covered_checksum(around, UDP_LITE, bytes.len(), &bytes[..covered])
        };
        // A sum of zero goes out as its other form, since zero means "none".
        let right = if right == 0 { 0xffff } else { right };
        bytes[6..8].copy_from_slice(&self.checksum.field(right).to_be_bytes());
        bytes
    }
}

stackable!(Udp);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{dns, ipv4};

    /// A query to a public resolver, from Suricata's `dns-additionals-with-cname.pcap`.
    #[test]
    fn query_is_that_of_a_capture() {
        let query =
            ipv4("10.16.1.11", "8.8.8.8") / udp(53, 53) / dns::query(0, "example.com", dns::A);
        let expected = [
            0x45, 0x00, 0x00, 0x39, 0x00, 0x01, 0x00, 0x00, 0x40, 0x11, 0x5f, 0x89, 0x0a, 0x10,
            0x01, 0x0b, 0x08, 0x08, 0x08, 0x08, 0x00, 0x35, 0x00, 0x35, 0x00, 0x25, 0x14, 0xa2,
            0x00, 0x00, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x65,
            0x78, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x03, 0x63, 0x6f, 0x6d, 0x00, 0x00, 0x01, 0x00,
            0x01,
        ];
        assert_eq!(query.bytes(), expected);
    }

    #[test]
    fn length_and_checksum_lie_alone() {
        let bytes = |udp: Udp| (ipv4("192.0.2.1", "192.0.2.2") / udp / "x").bytes()[20..].to_vec();
        assert_eq!(bytes(udp(1, 2))[4..6], [0, 9]);
        assert_eq!(bytes(udp(1, 2).length(7))[4..6], [0, 7]);
        assert_eq!(bytes(udp(1, 2).no_checksum())[6..8], [0, 0]);
        assert_ne!(bytes(udp(1, 2).bad_checksum())[6..8], bytes(udp(1, 2))[6..8]);
    }
}
