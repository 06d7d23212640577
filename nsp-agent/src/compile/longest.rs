//! Longest-prefix match in a sorted list: nothing is built for it, however long the list is.

use std::{borrow::Cow, net::IpAddr};

use ipnet::IpNet;

/// Values by prefix.
pub(super) struct Longest<'a, T: Copy> {
    /// In the order of prefixes: by family, then by address, then the shorter first.
    entries: Cow<'a, [(IpNet, T)]>,
}

impl<'a, T: Copy> Longest<'a, T> {
    /// Of entries in the order of their prefixes, each prefix once.
    pub(super) fn of_sorted(entries: &'a [(IpNet, T)]) -> Self {
        debug_assert!(entries.is_sorted_by(|(one, _), (other, _)| one < other));
        Self { entries: Cow::Borrowed(entries) }
    }

    /// Of entries in any order. Of several of one prefix the last counts.
    pub(super) fn of(entries: impl Iterator<Item = (IpNet, T)>) -> Self {
        let mut entries: Vec<(IpNet, T)> = entries.collect();
        entries.sort_by_key(|(prefix, _)| *prefix);
        Self { entries: Cow::Owned(entries) }
    }

    /// The value of the longest prefix that covers an address.
    pub(super) fn find(&self, address: IpAddr) -> Option<&T> {
        let mut covering = IpNet::from(address);
        loop {
            let until = self.entries.partition_point(|(prefix, _)| *prefix <= covering);
            let (nearest, value) = self.entries[..until].last()?;
            if nearest.contains(&address) {
                return Some(value);
            }
            // What covers the address begins before this one, so it covers this one too: it is no longer
            // than what the two addresses have in common.
            let length = common_bits(nearest.addr(), address)?;
            covering = IpNet::new(address, length).ok()?.trunc();
        }
    }
}

/// How many first bits of two addresses are alike; `None` for addresses of two families.
fn common_bits(one: IpAddr, other: IpAddr) -> Option<u8> {
    let bits = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return None,
    };
    Some(bits as u8)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn few_bits(is_v6: bool, bits: u8) -> IpAddr {
        if is_v6 {
            Ipv6Addr::from_bits(u128::from(bits) << 120).into()
        } else {
            Ipv4Addr::from_bits(u32::from(bits) << 24).into()
        }
    }

    proptest! {
        #[test]
        fn it_is_the_longest_of_all_that_cover(
            prefixes in prop::collection::vec((any::<bool>(), any::<u8>(), 0..=9_u8), 0..40),
            asked in prop::collection::vec((any::<bool>(), any::<u8>()), 40),
        ) {
            let entries = prefixes.into_iter().enumerate().map(|(index, (is_v6, bits, length))| {
                let prefix = IpNet::new(few_bits(is_v6, bits), length).unwrap().trunc();
                (prefix, index)
            });
            let entries: Vec<(IpNet, usize)> = entries.collect();
            let longest = Longest::of(entries.iter().copied());
            for (is_v6, bits) in asked {
                let address = few_bits(is_v6, bits);
                let covering = entries.iter().filter(|(prefix, _)| prefix.contains(&address));
                let expected = covering.max_by_key(|(prefix, index)| (prefix.prefix_len(), *index));
                prop_assert_eq!(longest.find(address), expected.map(|(_, index)| index));
            }
        }
    }
}
