//! Classes of addresses, by one sweep over all prefixes of all profiles.
//!
//! Prefixes nest or are disjoint, so in sorted order a stack of the open ones tells what covers each
//! prefix. Sets that are equal get one number.

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{limits::RULES_MAX, sets::Sets};
use crate::policy::prefix::{
    PrefixSet,
    key::{Key, KeyV4, KeyV6, TAG_MAX},
};

/// Stands for "private" where a rule's number would stand.
pub(super) const PRIVATE: u32 = RULES_MAX as u32;
/// Stands for "member of the perimeter".
pub(super) const MEMBER: u32 = PRIVATE + 1;
/// Stands for "endpoint of the cloud platform".
pub(super) const PLATFORM: u32 = PRIVATE + 2;

const _: () = assert!(PLATFORM <= TAG_MAX, "prefixes carry the numbers of rules as tags");

/// Prefixes, each with the number of a rule or what stands for one.
#[derive(Default)]
pub(super) struct Pairs {
    v4: Vec<KeyV4>,
    v6: Vec<KeyV6>,
}

impl Pairs {
    /// Of sets, each with its number.
    pub(super) fn of<'a>(sets: impl Iterator<Item = (&'a PrefixSet, u32)> + Clone) -> Self {
        let count = |of: fn(&PrefixSet) -> usize| sets.clone().map(|(set, _)| of(set)).sum();
        let mut pairs = Self {
            v4: Vec::with_capacity(count(|set| set.v4().len())),
            v6: Vec::with_capacity(count(|set| set.v6().len())),
        };
        for (set, number) in sets {
            pairs.v4.extend(set.v4().iter().map(|key| key.tagged(number)));
            pairs.v6.extend(set.v6().iter().map(|key| key.tagged(number)));
        }
        pairs
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

/// Gives prefixes their classes: the numbers of the sets of what covers them.
#[derive(Default)]
pub(super) struct Sweep {
    sets: Sets,
    /// What a set extended by one member came to: the same few sets are extended again and again.
    extended: HashMap<(u32, u32), u32>,
}

impl Sweep {
    /// Class of each distinct prefix that changes anything, outer before inner, IPv4 first.
    pub(super) fn prefixes(&mut self, pairs: Pairs) -> Vec<(IpNet, u32)> {
        let mut classes = Vec::with_capacity(pairs.len());
        let Pairs { v4, v6 } = pairs;
        self.sweep(v4, &mut classes);
        self.sweep(v6, &mut classes);
        classes
    }

    fn sweep<K: Key>(&mut self, mut pairs: Vec<K>, classes: &mut Vec<(IpNet, u32)>) {
        // The prefixes of each rule are in order already, and this sort takes them as they are.
        pairs.sort();
        pairs.dedup();
        let mut open: Vec<(K, u32)> = Vec::new();
        let mut own = Vec::new();
        for same in pairs.chunk_by(|one, other| one.tagged(0) == other.tagged(0)) {
            let key = same[0];
            while open.pop_if(|(outer, _)| !outer.contains(key)).is_some() {}
            let parent = open.last().map_or(0, |(_, class)| *class);
            own.clear();
            own.extend(same.iter().map(|pair| pair.tag()));
            let class = self.extend(parent, &own);
            open.push((key, class));
            if class != parent {
                classes.push((key.net(), class));
            }
        }
    }

    /// The number of a set with more members.
    pub(super) fn extend(&mut self, set: u32, more: &[u32]) -> u32 {
        match more {
            [one] => {
                *self.extended.entry((set, *one)).or_insert_with(|| self.sets.extend(set, more))
            }
            many => self.sets.extend(set, many),
        }
    }

    /// The sets by number.
    pub(super) fn sets(&self) -> &Sets {
        &self.sets
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn classes(sweep: &mut Sweep, pairs: &[(IpNet, u32)]) -> Vec<(IpNet, u32)> {
        let sets: Vec<(PrefixSet, u32)> = pairs
            .iter()
            .map(|(prefix, number)| ([*prefix].into_iter().collect(), *number))
            .collect();
        sweep.prefixes(Pairs::of(sets.iter().map(|(set, number)| (set, *number))))
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
        let found = classes(&mut sweep, &pairs);
        for text in ["203.0.113.65", "203.0.113.1", "203.0.1.1", "198.51.100.1", "2001:db8::1"] {
            let address = text.parse().unwrap();
            let class = longest(&found, address);
            assert_eq!(sweep.sets().members(class), naive(&pairs, address), "{text}");
        }
    }

    #[test]
    fn a_prefix_that_changes_nothing_is_left_out() {
        let mut sweep = Sweep::default();
        let found = classes(&mut sweep, &[(net("10.0.0.0/8"), 1), (net("10.1.0.0/16"), 1)]);
        assert_eq!(found.len(), 1);
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
            let found = classes(&mut sweep, &pairs);
            let address = IpAddr::V4((0xc633_6400_u32 | probe).into());
            let class = longest(&found, address);
            proptest::prop_assert_eq!(sweep.sets().members(class), naive(&pairs, address));
        }
    }
}
