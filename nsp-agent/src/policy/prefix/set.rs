//! Sets of prefixes: in order, and none inside of another.

use std::{fmt, sync::Arc};

use ipnet::IpNet;

use super::{
    key::{Key, KeyV4, KeyV6},
    widest,
};

/// Prefixes in order, IPv4 first, each once and none inside of another. Siblings are not joined, so that
/// what is shown is what was typed. A copy shares its content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PrefixSet(Arc<Sorted>);

#[derive(Default, PartialEq, Eq)]
struct Sorted {
    v4: Vec<KeyV4>,
    v6: Vec<KeyV6>,
}

impl PrefixSet {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.v4.len() + self.0.v6.len()
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The prefixes in order.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.0.v4.iter().map(|key| key.net());
        v4.chain(self.0.v6.iter().map(|key| key.net()))
    }

    /// Gives a form of it to `take`, part by part, that no other set has: for digests, where text of a
    /// million prefixes takes a second to make.
    pub(crate) fn in_bytes(&self, mut take: impl FnMut(&[u8])) {
        let Sorted { v4, v6 } = &*self.0;
        for count in [v4.len(), v6.len()] {
            take(&(count as u64).to_be_bytes());
        }
        v4.iter().for_each(|key| take(&key.to_bytes()));
        v6.iter().for_each(|key| take(&key.to_bytes()));
    }

    /// The IPv4 prefixes in order.
    pub(crate) fn v4(&self) -> &[KeyV4] {
        &self.0.v4
    }

    /// The IPv6 prefixes in order.
    pub(crate) fn v6(&self) -> &[KeyV6] {
        &self.0.v6
    }

    /// What several sets cover together. One alone is not copied.
    pub(crate) fn union(sets: &[Self]) -> Self {
        match sets {
            [] => Self::default(),
            [one] => one.clone(),
            many => {
                let mut list = PrefixList::default();
                for set in many {
                    list.v4.extend_from_slice(set.v4());
                    list.v6.extend_from_slice(set.v6());
                }
                // Each set is in order already, and this sort takes them as they are.
                list.v4.sort();
                list.v6.sort();
                list.into_set()
            }
        }
    }

    /// The first prefix too [wide](widest) to be meant by accident that its prefixes come to together,
    /// and what that admits: two quarters are a half.
    pub(crate) fn joined_widest(&self) -> Option<(IpNet, &'static str)> {
        /// The first bits of every such prefix: the wider of two that begin alike stands first.
        const WIDE_V4: [(u32, u8); 3] = [(0, 0), (0, 1), (1 << 31, 1)];
        const WIDE_V6: [(u128, u8); 5] =
            [(0, 0), (0, 1), (0, 2), (0x2000 << 112, 3), (1 << 127, 1)];
        let v4 = WIDE_V4.iter().map(|(address, length)| KeyV4::new(*address, *length));
        let v4 = v4.filter(|wide| fills(self.v4(), *wide)).map(Key::net);
        let v6 = WIDE_V6.iter().map(|(address, length)| KeyV6::new(*address, *length));
        let v6 = v6.filter(|wide| fills(self.v6(), *wide)).map(Key::net);
        v4.chain(v6).find_map(|net| Some((net, widest(net)?)))
    }
}

impl FromIterator<IpNet> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(prefixes: I) -> Self {
        let mut list = PrefixList::default();
        prefixes.into_iter().for_each(|prefix| list.push(prefix));
        list.into_set()
    }
}

impl fmt::Debug for PrefixSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Prefixes on their way into a set, in any order.
#[derive(Default)]
pub(crate) struct PrefixList {
    v4: Vec<KeyV4>,
    v6: Vec<KeyV6>,
}

impl PrefixList {
    /// Adds a prefix.
    pub(crate) fn push(&mut self, prefix: IpNet) {
        match prefix {
            IpNet::V4(net) => self.push_v4(net.into()),
            IpNet::V6(net) => self.push_v6(net.into()),
        }
    }

    /// Adds an IPv4 prefix.
    pub(crate) fn push_v4(&mut self, key: KeyV4) {
        self.v4.push(key);
    }

    /// Adds an IPv6 prefix.
    pub(crate) fn push_v6(&mut self, key: KeyV6) {
        self.v6.push(key);
    }

    /// Adds what another list holds.
    pub(crate) fn append(&mut self, other: Self) {
        let Self { mut v4, mut v6 } = other;
        self.v4.append(&mut v4);
        self.v6.append(&mut v6);
    }

    /// Sorts, and leaves out what another one covers.
    pub(crate) fn into_set(self) -> PrefixSet {
        let Self { v4, v6 } = self;
        PrefixSet(Arc::new(Sorted { v4: sorted(v4), v6: sorted(v6) }))
    }
}

fn sorted<K: Key>(mut keys: Vec<K>) -> Vec<K> {
    keys.sort_unstable();
    // Whatever covers a prefix comes before it, and nothing that it does not cover comes between.
    keys.dedup_by(|next, kept| kept.contains(*next));
    keys.shrink_to_fit();
    keys
}

/// Whether keys in order, none inside of another, cover all of a prefix: without a gap from its first
/// address to its last.
fn fills<K: Key>(keys: &[K], wide: K) -> bool {
    let from = keys.partition_point(|key| *key < wide);
    let mut next = wide.first();
    for key in &keys[from..] {
        if key.first() != next {
            return false;
        }
        if key.last() >= wide.last() {
            return true;
        }
        next = key.last() + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::policy::prefix::parse_prefix;

    fn set(prefixes: &[&str]) -> PrefixSet {
        prefixes.iter().map(|text| parse_prefix(text).unwrap()).collect()
    }

    #[rstest]
    #[case::quarters(&["0.0.0.0/2", "64.0.0.0/2"], Some("0.0.0.0/1"))]
    #[case::upper(&["128.0.0.0/2", "192.0.0.0/3", "224.0.0.0/3"], Some("128.0.0.0/1"))]
    #[case::all(&["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"], Some("0.0.0.0/0"))]
    #[case::hole(&["0.0.0.0/2", "64.0.0.0/3", "96.0.0.0/4", "112.0.0.0/5"], None)]
    #[case::across_the_halves(&["64.0.0.0/2", "128.0.0.0/2"], None)]
    #[case::public(&["2000::/4", "3000::/4"], Some("2000::/3"))]
    #[case::quarter(&["::/3", "2000::/4", "3000::/4"], Some("::/2"))]
    #[case::half(&["::/3", "2000::/4", "3000::/4", "4000::/2"], Some("::/1"))]
    #[case::upper_v6(&["8000::/2", "c000::/2"], Some("8000::/1"))]
    #[case::all_v6(&["::/2", "4000::/2", "8000::/2", "c000::/2"], Some("::/0"))]
    #[case::not_public(&["4000::/4", "5000::/4"], None)]
    #[case::v4_first(&["2000::/4", "3000::/4", "128.0.0.0/2", "192.0.0.0/2"], Some("128.0.0.0/1"))]
    fn prefixes_that_are_wide_together(#[case] prefixes: &[&str], #[case] wide: Option<&str>) {
        let found = set(prefixes).joined_widest().map(|(net, _)| net.to_string());
        assert_eq!(found.as_deref(), wide);
    }

    #[test]
    fn a_hole_of_one_address_is_a_hole() {
        let without = |family_max: u8, first: &str| {
            let host: IpNet = first.parse().unwrap();
            // The siblings on the way from the half down to the host: all of the half but the host.
            let sibling = |length| {
                let parent = IpNet::new(host.addr(), length).unwrap().trunc();
                let mut halves = parent.subnets(length + 1).unwrap();
                halves.find(|half| !half.contains(&host)).unwrap()
            };
            (1..family_max).map(sibling).collect::<Vec<_>>()
        };
        for (family_max, first, half) in
            [(32, "128.0.0.0", "128.0.0.0/1"), (128, "8000::", "8000::/1")]
        {
            let first = format!("{first}/{family_max}");
            let mut all = without(family_max, &first);
            assert_eq!(all.iter().copied().collect::<PrefixSet>().joined_widest(), None);
            all.push(first.parse().unwrap());
            let found = all.into_iter().collect::<PrefixSet>().joined_widest().unwrap().0;
            assert_eq!(found.to_string(), half);
        }
    }

    #[test]
    fn sets_that_differ_differ_in_bytes() {
        let bytes = |prefixes: &[&str]| {
            let mut bytes = Vec::new();
            set(prefixes).in_bytes(|part| bytes.extend_from_slice(part));
            bytes
        };
        let all = [
            bytes(&[]),
            bytes(&["192.0.2.0/24"]),
            bytes(&["192.0.2.0/25"]),
            bytes(&["192.0.2.0/25", "192.0.2.128/25"]),
            bytes(&["192.0.2.0/24", "2001:db8::/32"]),
            bytes(&["2001:db8::/32"]),
            bytes(&["2001:db8::/33"]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
        assert_eq!(bytes(&["192.0.2.0/24"]), bytes(&["192.0.2.0/24", "192.0.2.7/32"]));
    }

    fn few_bits() -> impl Strategy<Value = IpNet> {
        let v4 = (any::<u8>(), 1..=6u8).prop_map(|(bits, length)| {
            IpNet::new([bits, 0, 0, 0].into(), length).expect("in range").trunc()
        });
        let v6 = (any::<u8>(), 1..=6u8).prop_map(|(bits, length)| {
            let address = u128::from(bits) << 120;
            IpNet::new(std::net::Ipv6Addr::from_bits(address).into(), length)
                .expect("in range")
                .trunc()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn what_is_wide_together_is_what_aggregation_says(
            prefixes in prop::collection::vec(few_bits(), 0..60),
        ) {
            let set: PrefixSet = prefixes.iter().copied().collect();
            let joined = IpNet::aggregate(&prefixes);
            let expected = joined.iter().find_map(|net| Some((*net, widest(*net)?)));
            prop_assert_eq!(set.joined_widest(), expected);
        }

        #[test]
        fn a_union_is_the_set_of_all(
            lists in prop::collection::vec(prop::collection::vec(few_bits(), 0..6), 0..6),
        ) {
            let sets: Vec<PrefixSet> = lists.iter().map(|list| list.iter().copied().collect()).collect();
            prop_assert_eq!(PrefixSet::union(&sets), lists.into_iter().flatten().collect());
        }
    }
}
