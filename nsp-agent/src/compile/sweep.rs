//! Classes of addresses, by one sweep over all prefixes of all profiles.
//!
//! Prefixes nest or are disjoint, so in sorted order a stack of the open ones tells what covers each
//! prefix. Sets that are equal get one number.

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;

/// Stands for "private" where a rule's number would stand.
pub(super) const PRIVATE: u32 = 1 << 31;
/// Stands for "member of the perimeter".
pub(super) const MEMBER: u32 = PRIVATE + 1;

/// Stands for "endpoint of the cloud platform".
pub(super) const PLATFORM: u32 = PRIVATE + 2;

/// Numbers sets as they come up. Set zero is empty.
pub(super) struct Sweep {
    sets: Vec<Vec<u32>>,
    numbers: HashMap<Vec<u32>, u32>,
    /// What a set extended by others came to: policies extend the same few sets again and again.
    extended: HashMap<(u32, Vec<u32>), u32>,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            sets: vec![Vec::new()],
            numbers: HashMap::from([(Vec::new(), 0)]),
            extended: HashMap::new(),
        }
    }
}

impl Sweep {
    /// Class of each distinct prefix that changes anything. `pairs` need not be sorted.
    pub(super) fn prefixes(&mut self, pairs: Vec<(IpNet, u32)>) -> Vec<(IpNet, u32)> {
        let mut keyed: Vec<(Key, u32)> =
            pairs.into_iter().map(|(prefix, pair)| (Key::of(prefix), pair)).collect();
        keyed.sort_unstable();
        keyed.dedup();
        let mut classes = Vec::new();
        let mut open: Vec<(Key, u32)> = Vec::new();
        let mut at = 0;
        while at < keyed.len() {
            let key = keyed[at].0;
            let same = keyed[at..].iter().take_while(|(other, _)| *other == key).count();
            let own: Vec<u32> = keyed[at..at + same].iter().map(|(_, pair)| *pair).collect();
            at += same;
            while open.last().is_some_and(|(outer, _)| !outer.contains(&key)) {
                open.pop();
            }
            let parent = open.last().map_or(0, |(_, class)| *class);
            let class = self.extend(parent, &own);
            open.push((key, class));
            if class != parent {
                classes.push((key.prefix(), class));
            }
        }
        classes
    }

    /// The number of a set with more members.
    pub(super) fn extend(&mut self, set: u32, more: &[u32]) -> u32 {
        let question = (set, more.to_vec());
        if let Some(number) = self.extended.get(&question) {
            return *number;
        }
        let mut members = self.sets[set as usize].clone();
        members.extend_from_slice(more);
        members.sort_unstable();
        members.dedup();
        let number = match self.numbers.get(&members) {
            Some(number) => *number,
            None => {
                let number = self.sets.len() as u32;
                self.sets.push(members.clone());
                self.numbers.insert(members, number);
                number
            }
        };
        self.extended.insert(question, number);
        number
    }

    /// Members of every set, by number.
    pub(super) fn sets(&self) -> &[Vec<u32>] {
        &self.sets
    }
}

/// A prefix that sorts outer before inner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    is_v6: bool,
    /// First address, left-aligned in 128 bits.
    start: u128,
    length: u8,
}

impl Key {
    fn of(prefix: IpNet) -> Self {
        let (is_v6, start) = match prefix.network() {
            IpAddr::V4(v4) => (false, u128::from(v4.to_bits()) << 96),
            IpAddr::V6(v6) => (true, v6.to_bits()),
        };
        Self { is_v6, start, length: prefix.prefix_len() }
    }

    fn contains(&self, inner: &Self) -> bool {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
        self.is_v6 == inner.is_v6 && self.length <= inner.length && inner.start & mask == self.start
    }

    fn prefix(&self) -> IpNet {
        let address = if self.is_v6 {
            IpAddr::V6(self.start.into())
        } else {
            IpAddr::V4(((self.start >> 96) as u32).into())
        };
        IpNet::new(address, self.length).expect("made from a prefix")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn naive(pairs: &[(IpNet, u32)], address: IpAddr) -> Vec<u32> {
        let mut set: Vec<u32> =
            pairs.iter().filter(|(p, _)| p.contains(&address)).map(|(_, pair)| *pair).collect();
        set.sort_unstable();
        set.dedup();
        set
    }

    fn longest(classes: &[(IpNet, u32)], address: IpAddr) -> u32 {
        classes
            .iter()
            .filter(|(prefix, _)| prefix.contains(&address))
            .max_by_key(|(prefix, _)| prefix.prefix_len())
            .map_or(0, |(_, class)| *class)
    }

    #[test]
    fn a_longer_prefix_inherits_what_covers_it() {
        let pairs = vec![
            (net("203.0.113.0/24"), 1),
            (net("203.0.113.64/26"), 2),
            (net("203.0.0.0/16"), 3),
            (net("2001:db8::/32"), 1),
            (net("0.0.0.0/0"), 4),
        ];
        let mut sweep = Sweep::default();
        let classes = sweep.prefixes(pairs.clone());
        for text in ["203.0.113.65", "203.0.113.1", "203.0.1.1", "198.51.100.1", "2001:db8::1"] {
            let address = text.parse().unwrap();
            let class = longest(&classes, address);
            assert_eq!(sweep.sets()[class as usize], naive(&pairs, address), "{text}");
        }
    }

    #[test]
    fn a_prefix_that_changes_nothing_is_left_out() {
        let mut sweep = Sweep::default();
        let classes = sweep.prefixes(vec![(net("10.0.0.0/8"), 1), (net("10.1.0.0/16"), 1)]);
        assert_eq!(classes.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn classes_equal_a_naive_containment_check(
            raw in proptest::collection::vec((0_u32..64, 26_u8..=32, 1_u32..6), 1..40),
            probe in 0_u32..64,
        ) {
            let pairs: Vec<(IpNet, u32)> = raw
                .into_iter()
                .map(|(low, length, pair)| {
                    let address = IpAddr::V4((0xc633_6400_u32 | low).into());
                    (IpNet::new(address, length).unwrap().trunc(), pair)
                })
                .collect();
            let mut sweep = Sweep::default();
            let classes = sweep.prefixes(pairs.clone());
            let address = IpAddr::V4((0xc633_6400_u32 | probe).into());
            let class = longest(&classes, address);
            proptest::prop_assert_eq!(&sweep.sets()[class as usize], &naive(&pairs, address));
        }
    }
}
