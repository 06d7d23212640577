//! Sets of prefixes, the same in every run.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nsp_tests::prefix_lists;

/// Numbers that look random, the same in every run (splitmix64, Steele et al. 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// How long IPv4 prefixes of today's routing tables are, in thousandths.
const V4_LENGTHS: [(u64, u8); 11] = [
    (1, 14),
    (2, 15),
    (14, 16),
    (8, 17),
    (14, 18),
    (25, 19),
    (43, 20),
    (53, 21),
    (115, 22),
    (105, 23),
    (620, 24),
];

/// Distinct prefixes of IPv4 in public unicast space.
pub(crate) fn v4(count: usize) -> Vec<IpNet> {
    let mut random = Random(4);
    distinct(count, || {
        let first = 1 + random.below(222) as u32;
        let address = first << 24 | (random.next() as u32 & 0x00ff_ffff);
        let length = length(&V4_LENGTHS, &mut random);
        let private = matches!(first, 10 | 127 | 100 | 169 | 172 | 192 | 198 | 203);
        (!private).then(|| net(IpAddr::V4(Ipv4Addr::from_bits(address)), length))
    })
}

/// How long IPv6 prefixes are: as in the routing table, and some longer than a subnet.
const V6_LENGTHS: [(u64, u8); 10] = [
    (180, 32),
    (40, 36),
    (60, 40),
    (60, 44),
    (500, 48),
    (40, 56),
    (70, 64),
    (20, 96),
    (10, 112),
    (20, 128),
];

/// Distinct prefixes of IPv6, below networks that registries gave out.
pub(crate) fn v6(count: usize) -> Vec<IpNet> {
    let mut random = Random(6);
    distinct(count, || {
        let high = 0x2400_0000_0000_0000_u64
            | random.below(6) << 57
            | random.below(1 << 13) << 37
            | random.next() & 0x0000_0000_ffff_ffff;
        let address = u128::from(high) << 64 | u128::from(random.next());
        Some(net(IpAddr::V6(Ipv6Addr::from_bits(address)), length(&V6_LENGTHS, &mut random)))
    })
}

/// Dealt to so many lists in turn, or to as many as there are prefixes.
pub(crate) fn dealt(prefixes: &[IpNet], lists: usize) -> Vec<Vec<IpNet>> {
    let lists = lists.min(prefixes.len());
    (0..lists).map(|list| prefixes.iter().skip(list).step_by(lists).copied().collect()).collect()
}

/// Those of a real routing table, dealt to so many lists by the number of the network that announces them;
/// none where there is no such table.
pub(crate) fn real(family: &str, lists: usize) -> Option<Vec<Vec<IpNet>>> {
    let is_wanted = |prefix: &IpNet| {
        matches!(prefix, IpNet::V4(_)) == (family == "v4") && is_public(prefix.network())
    };
    let mut dealt = vec![Vec::new(); lists];
    for (prefix, origin) in prefix_lists::shared_table()? {
        if is_wanted(&prefix) {
            dealt[origin as usize % lists].push(prefix);
        }
    }
    Some(dealt)
}

fn length(lengths: &[(u64, u8)], random: &mut Random) -> u8 {
    let mut rest = random.below(1000);
    for (part, length) in lengths {
        if rest < *part {
            return *length;
        }
        rest -= part;
    }
    24
}

fn net(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).expect("a length of the family").trunc()
}

fn distinct(count: usize, mut next: impl FnMut() -> Option<IpNet>) -> Vec<IpNet> {
    let mut seen = std::collections::HashSet::with_capacity(count);
    let mut prefixes = Vec::with_capacity(count);
    while prefixes.len() < count {
        if let Some(prefix) = next()
            && seen.insert(prefix)
        {
            prefixes.push(prefix);
        }
    }
    prefixes
}

/// Which addresses a set covers.
pub(crate) struct Covered(Vec<(u128, u128)>);

impl Covered {
    pub(crate) fn of(prefixes: &[IpNet]) -> Self {
        let mut ranges: Vec<_> =
            prefixes.iter().map(|it| (number(it.network()), number(it.broadcast()))).collect();
        // Prefixes nest or are disjoint: the outer ones, which come first, say all.
        ranges.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
        let mut outer: Vec<(u128, u128)> = Vec::new();
        for (first, last) in ranges {
            if outer.last().is_none_or(|(_, before)| *before < first) {
                outer.push((first, last));
            }
        }
        Self(outer)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let behind = self.0.partition_point(|(first, _)| *first <= address);
        behind > 0 && self.0[behind - 1].1 >= address
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether an address is neither private nor special, nor a test's.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !matches!(v4.octets()[0], 0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203 | 224..)
        }
        IpAddr::V6(_) => true,
    }
}
