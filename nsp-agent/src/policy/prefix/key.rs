//! A prefix as one short value that sorts outer before inner, with room for a tag.
//!
//! Lists of a million prefixes are sorted, compared and kept in this form: an `IpNet` is two and a half
//! times as long, and its order is no number's.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Bits of a tag.
const TAG_BITS: u32 = 24;
/// The largest tag.
pub(crate) const TAG_MAX: u32 = (1 << TAG_BITS) - 1;

/// One family's prefix. Sorts by first address, then the shorter length first, then by tag: whatever
/// covers a prefix comes before it, and nothing comes between that it does not cover.
pub(crate) trait Key: Copy + Ord {
    /// Its tag; zero unless it was given one.
    fn tag(self) -> u32;
    /// The same prefix with another tag, at most [`TAG_MAX`].
    fn tagged(self, tag: u32) -> Self;
    /// Bits of the prefix.
    fn length(self) -> u32;
    /// Whether it covers another; tags do not matter.
    fn contains(self, inner: Self) -> bool;
    /// Its first address, as a number.
    fn first(self) -> u128;
    /// Its last address, as a number.
    fn last(self) -> u128;
    /// The prefix.
    fn net(self) -> IpNet;
}

/// An IPv4 prefix: address (32 bits), length (8), tag (24).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyV4(u64);

impl KeyV4 {
    /// `address` is in host byte order and has no bits beyond `length`, which is at most 32.
    pub(crate) fn new(address: u32, length: u8) -> Self {
        Self(u64::from(address) << 32 | u64::from(length) << TAG_BITS)
    }

    fn address(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Address, in network byte order, and length.
    pub(crate) fn to_bytes(self) -> [u8; 5] {
        let mut bytes = [0; 5];
        bytes[..4].copy_from_slice(&self.address().to_be_bytes());
        bytes[4] = self.length() as u8;
        bytes
    }
}

impl From<Ipv4Net> for KeyV4 {
    fn from(net: Ipv4Net) -> Self {
        Self::new(net.network().to_bits(), net.prefix_len())
    }
}

impl Key for KeyV4 {
    fn tag(self) -> u32 {
        self.0 as u32 & TAG_MAX
    }

    fn tagged(self, tag: u32) -> Self {
        Self(self.0 & !u64::from(TAG_MAX) | u64::from(tag))
    }

    fn length(self) -> u32 {
        (self.0 >> TAG_BITS) as u32 & 0xff
    }

    fn contains(self, inner: Self) -> bool {
        let differing = (self.0 ^ inner.0) >> 32;
        self.length() <= inner.length() && differing >> (32 - self.length()) == 0
    }

    fn first(self) -> u128 {
        u128::from(self.address())
    }

    fn last(self) -> u128 {
        self.first() | u128::from(u32::MAX) >> self.length()
    }

    fn net(self) -> IpNet {
        let address = Ipv4Addr::from_bits(self.address());
        IpNet::V4(Ipv4Net::new(address, self.length() as u8).expect("made from a prefix"))
    }
}

/// An IPv6 prefix: the halves of its address, then length (8 bits) and tag (24).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyV6 {
    high: u64,
    low: u64,
    rest: u32,
}

impl KeyV6 {
    /// `address` is in host byte order and has no bits beyond `length`, which is at most 128.
    pub(crate) fn new(address: u128, length: u8) -> Self {
        let (high, low) = ((address >> 64) as u64, address as u64);
        Self { high, low, rest: u32::from(length) << TAG_BITS }
    }

    fn address(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    /// Address, in network byte order, and length.
    pub(crate) fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[..16].copy_from_slice(&self.address().to_be_bytes());
        bytes[16] = self.length() as u8;
        bytes
    }
}

impl From<Ipv6Net> for KeyV6 {
    fn from(net: Ipv6Net) -> Self {
        Self::new(net.network().to_bits(), net.prefix_len())
    }
}

impl Key for KeyV6 {
    fn tag(self) -> u32 {
        self.rest & TAG_MAX
    }

    fn tagged(self, tag: u32) -> Self {
        Self { rest: self.rest & !TAG_MAX | tag, ..self }
    }

    fn length(self) -> u32 {
        self.rest >> TAG_BITS
    }

    fn contains(self, inner: Self) -> bool {
        let differing = self.address() ^ inner.address();
        self.length() <= inner.length()
            && differing.checked_shr(128 - self.length()).unwrap_or_default() == 0
    }

    fn first(self) -> u128 {
        self.address()
    }

    fn last(self) -> u128 {
        self.address() | u128::MAX.checked_shr(self.length()).unwrap_or_default()
    }

    fn net(self) -> IpNet {
        let address = Ipv6Addr::from_bits(self.address());
        IpNet::V6(Ipv6Net::new(address, self.length() as u8).expect("made from a prefix"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(address: std::net::IpAddr) -> u128 {
        match address {
            std::net::IpAddr::V4(v4) => v4.to_bits().into(),
            std::net::IpAddr::V6(v6) => v6.to_bits(),
        }
    }

    fn check<K: Key>(one: K, other: K, tag: u32) -> Result<(), TestCaseError> {
        prop_assert_eq!(one.contains(other), one.net().contains(&other.net()));
        prop_assert_eq!(one.tagged(tag).contains(other), one.contains(other.tagged(tag)));
        prop_assert_eq!(one.tagged(tag).tag(), tag);
        prop_assert_eq!(one.tagged(tag).net(), one.net());
        prop_assert!(one.tagged(tag).tagged(0) == one);
        prop_assert_eq!(
            (one.first(), one.last()),
            (number(one.net().network()), number(one.net().broadcast()))
        );
        let in_order = (one.net().network(), one.net().prefix_len())
            .cmp(&(other.net().network(), other.net().prefix_len()));
        prop_assert_eq!(one.cmp(&other), in_order);
        // A tag never comes before the prefix.
        if one.net() != other.net() {
            prop_assert_eq!(one.tagged(tag).cmp(&other.tagged(TAG_MAX - tag)), in_order);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn keys_are_their_prefixes(
            (address, low, lengths, tag) in (any::<u128>(), 0_u128..16, (0..=32_u8, 0..=32_u8), 0..=TAG_MAX),
        ) {
            // Near each other, so that one is often inside of the other.
            let v4 = |address: u128, length| {
                let address = Ipv4Addr::from_bits((address >> 96) as u32 ^ address as u32 & 15);
                KeyV4::from(Ipv4Net::new_assert(address, length).trunc())
            };
            check(v4(address, lengths.0), v4(address ^ low, lengths.1), tag)?;
            let v6 = |address: u128, length| {
                KeyV6::from(Ipv6Net::new_assert(Ipv6Addr::from_bits(address), length * 4).trunc())
            };
            check(v6(address, lengths.0), v6(address ^ low, lengths.1), tag)?;
        }
    }
}
