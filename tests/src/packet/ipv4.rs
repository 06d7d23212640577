//! IPv4.

use std::net::Ipv4Addr;

use super::{
    checksum::{Checksum, internet_checksum},
    layer::{Addresses, Around, Layer, LinkType, Literal, length_u16, stackable},
};

const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;

/// An IPv4 header; see [`ipv4`].
#[derive(Clone, Debug)]
pub struct Ipv4 {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    tos: u8,
    id: u16,
    flags_and_offset: u16,
    hop_limit: u8,
    options: Vec<u8>,
    version: u8,
    ihl: Option<u8>,
    total_length: Option<u16>,
    protocol: Option<u8>,
    checksum: Checksum,
}

/// An IPv4 header without options, 64 hops to live, not a fragment.
pub fn ipv4(src: impl Literal<Ipv4Addr>, dst: impl Literal<Ipv4Addr>) -> Ipv4 {
    Ipv4 {
        src: src.value(),
        dst: dst.value(),
        tos: 0,
        id: 1,
        flags_and_offset: 0,
        hop_limit: 64,
        options: Vec::new(),
        version: 4,
        ihl: None,
        total_length: None,
        protocol: None,
        checksum: Checksum::Right,
    }
}

impl Ipv4 {
    /// The type-of-service byte.
    #[must_use]
    pub fn tos(self, tos: u8) -> Self {
        Self { tos, ..self }
    }

    /// The identification.
    #[must_use]
    pub fn id(self, id: u16) -> Self {
        Self { id, ..self }
    }

    /// Time to live.
    #[must_use]
    pub fn hop_limit(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }

    /// Sets the "don't fragment" bit.
    #[must_use]
    pub fn dont_fragment(self) -> Self {
        Self { flags_and_offset: self.flags_and_offset | DONT_FRAGMENT, ..self }
    }

    /// Makes it the fragment of datagram `id` that starts at byte `offset`.
    ///
    /// # Panics
    /// When the offset is not a multiple of 8 under 65536.
    #[must_use]
    pub fn fragment(self, id: u16, offset: usize, more: bool) -> Self {
        assert!(offset.is_multiple_of(8), "a fragment starts at a multiple of 8 bytes");
        let units = u16::try_from(offset / 8).ok().filter(|units| *units < 0x2000);
        let units = units.expect("a fragment starts under 65536 bytes");
        let flags_and_offset = units | if more { MORE_FRAGMENTS } else { 0 };
        Self { id, flags_and_offset, ..self }
    }

    /// The options, padded with end-of-list to whole words; the header length grows with them.
    ///
    /// # Panics
    /// When there are more than 40 bytes of them: no header length says so.
    #[must_use]
    pub fn options(self, options: &[u8]) -> Self {
        assert!(options.len() <= 40, "IPv4 has room for 40 bytes of options");
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        Self { options, ..self }
    }

    /// The version field.
    #[must_use]
    pub fn version(self, version: u8) -> Self {
        Self { version, ..self }
    }

    /// The header length field in words, whatever the header has.
    #[must_use]
    pub fn ihl(self, words: u8) -> Self {
        Self { ihl: Some(words), ..self }
    }

    /// The total length field, whatever follows.
    #[must_use]
    pub fn total_length(self, bytes: u16) -> Self {
        Self { total_length: Some(bytes), ..self }
    }

    /// The protocol field, whatever follows.
    #[must_use]
    pub fn protocol(self, protocol: u8) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    /// A header checksum that is wrong.
    #[must_use]
    pub fn bad_checksum(self) -> Self {
        Self { checksum: Checksum::Wrong, ..self }
    }
}

impl Layer for Ipv4 {
    fn name(&self) -> &'static str {
        "ipv4"
    }

    fn link_type(&self) -> Option<LinkType> {
        Some(LinkType::Ethertype(0x0800))
    }

    /// IP in IP.
    fn protocol(&self) -> Option<u8> {
        Some(4)
    }

    fn addresses(&self, _: Option<Addresses>) -> Option<Addresses> {
        Some(Addresses { source: self.src.into(), destination: self.dst.into() })
    }

    fn encode(&self, around: &Around, inner: Vec<u8>) -> Vec<u8> {
        let header_length = 20 + self.options.len();
        let words = u8::try_from(header_length / 4).expect("at most 15 words");
        let total = self.total_length.unwrap_or_else(|| length_u16(header_length + inner.len()));
        let ihl = self.ihl.unwrap_or(words);
        let mut header = vec![(self.version << 4) | (ihl & 0x0f), self.tos];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.flags_and_offset.to_be_bytes());
        header.push(self.hop_limit);
        header.push(self.protocol.or(around.next_protocol).unwrap_or(59));
        header.extend([0, 0]);
        header.extend(self.src.octets());
        header.extend(self.dst.octets());
        header.extend(&self.options);
        let checksum = self.checksum.field(internet_checksum(&[&header]));
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header.extend(inner);
        header
    }
}

stackable!(Ipv4);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, raw, tcp};

    fn header() -> Ipv4 {
        ipv4("192.168.0.1", "192.168.0.199")
    }

    #[test]
    fn header_is_that_of_a_captured_datagram() {
        let packet = header().id(0).dont_fragment() / raw(17, [0; 0x73 - 20]);
        let expected = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(packet.bytes()[..20], expected);
    }

    #[test]
    fn options_grow_the_header_and_keep_the_sum_right() {
        let packet = Packet::from(header().options(&[0x94, 4, 0, 0, 1])).bytes();
        assert_eq!((packet[0], packet.len(), packet[3]), (0x47, 28, 28));
        assert_eq!(internet_checksum(&[&packet]), 0, "a header with its checksum sums to zero");
    }

    #[test]
    fn one_lie_changes_one_field() {
        let right = (header() / tcp(1, 2).syn()).bytes();
        let lies = [
            (header().total_length(19), vec![2, 3, 10, 11]),
            (header().ihl(4), vec![0, 10, 11]),
            (header().version(6), vec![0, 10, 11]),
            (header().protocol(132), vec![9, 10, 11]),
            (header().bad_checksum(), vec![10, 11]),
        ];
        for (lie, may_change) in lies {
            let wrong = (lie / tcp(1, 2).syn()).bytes();
            let changed: Vec<_> = (0..right.len()).filter(|i| right[*i] != wrong[*i]).collect();
            assert!(changed.iter().all(|i| may_change.contains(i)), "{changed:?}");
            assert!(!changed.is_empty());
        }
    }

    #[test]
    fn fragment_offset_is_in_bytes() {
        let head = Packet::from(header().fragment(0xabcd, 0, true)).bytes();
        assert_eq!(head[4..8], [0xab, 0xcd, 0x20, 0x00]);
        let tail = Packet::from(header().fragment(0xabcd, 1480, false)).bytes();
        assert_eq!(tail[4..8], [0xab, 0xcd, 0x00, 185]);
    }
}
