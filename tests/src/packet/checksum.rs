//! Checksums, and the ways to get one wrong.

use std::net::IpAddr;

use super::{layer::Addresses, layer::Around};

/// What stands in a checksum field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// The right value.
    #[default]
    Right,
    /// A value that is not the right one, and not the one that means "none".
    Wrong,
    /// This value.
    Value(u16),
}

impl Checksum {
    /// The field, given the right value.
    pub(crate) fn field(self, right: u16) -> u16 {
        match self {
            Self::Right => right,
            // Never 0, which a UDP receiver takes for "not computed".
            Self::Wrong if right == 0x5555 => 0x1234,
            Self::Wrong => right ^ 0x5555,
            Self::Value(value) => value,
        }
    }
}

/// The internet checksum of RFC 1071 over the bytes of `parts`, one after the other.
pub fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for (position, byte) in parts.iter().copied().flatten().enumerate() {
        let weight = if position % 2 == 0 { 8 } else { 0 };
        sum += u64::from(*byte) << weight;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

/// The checksum of a transport that covers the addresses around it; plain where there are none.
pub(crate) fn transport_checksum(around: &Around, protocol: u8, segment: &[u8]) -> u16 {
    covered_checksum(around, protocol, segment.len(), segment)
}

/// The same where the pseudo header's length differs from the bytes covered (UDP-Lite).
pub(crate) fn covered_checksum(
    around: &Around,
    protocol: u8,
    length: usize,
    covered: &[u8],
) -> u16 {
    let pseudo = around.addresses.map(|addresses| pseudo_header(addresses, protocol, length));
    internet_checksum(&[pseudo.as_deref().unwrap_or_default(), covered])
}

fn pseudo_header(addresses: Addresses, protocol: u8, length: usize) -> Vec<u8> {
    let Addresses { source, destination } = addresses;
    let length = u32::try_from(length).expect("packets are shorter than 4 GiB");
    let mut header = Vec::with_capacity(40);
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => header.extend(address.octets()),
            IpAddr::V6(address) => header.extend(address.octets()),
        }
    }
    // The v4 form (zero, protocol, 16-bit length) has the same sum as the v6 one for any length
    // a v4 packet can have, so one form serves both.
    header.extend(length.to_be_bytes());
    header.extend([0, 0, 0, protocol]);
    header
}

/// CRC-32C, as SCTP has it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL_REFLECTED: u32 = 0x82f6_3b78;
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (POLYNOMIAL_REFLECTED & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internet_checksum_is_that_of_rfc_1071() {
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet_checksum(&[&example]), !0xddf2);
        assert_eq!(internet_checksum(&[&example[..3], &example[3..]]), !0xddf2, "in odd pieces");
        assert_eq!(internet_checksum(&[&[0xab]]), !0xab00, "an odd length counts a zero byte");
        assert_eq!(internet_checksum(&[]), 0xffff);
    }

    #[test]
    fn crc32c_has_the_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn wrong_is_never_right_nor_none() {
        for right in 0..=u16::MAX {
            let wrong = Checksum::Wrong.field(right);
            assert_ne!(wrong, right);
            assert_ne!(wrong, 0);
            assert!(!(right == 0 && wrong == 0xffff), "the two zeros of one's complement");
        }
        assert_eq!(Checksum::Value(7).field(9), 7);
    }
}
