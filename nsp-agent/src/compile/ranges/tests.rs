//! Range tables against a naive containment check, over random and adversarial sets of prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nsp_common::ranges::{Words, look_up};

use super::*;

/// Addresses asked in one run of [`engines_agree`]: 10^7 in the long form.
fn addresses() -> u64 {
    if std::env::var_os("NSP_TEST_FULL").is_some() { 10_000_000 } else { 200_000 }
}

/// A number that looks random, the same in every run (splitmix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

fn v4(bits: u32, length: u8) -> IpNet {
    IpNet::new(IpAddr::V4(Ipv4Addr::from_bits(bits)), length).unwrap().trunc()
}

fn v6(bits: u128, length: u8) -> IpNet {
    IpNet::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), length).unwrap().trunc()
}

/// As the compiler orders them, each with a class; of equal prefixes the last stays.
fn ordered(mut prefixes: Vec<(IpNet, u32)>) -> Vec<(IpNet, u32)> {
    prefixes.sort_by_key(|(it, _)| (matches!(it, IpNet::V6(_)), it.network(), it.prefix_len()));
    prefixes.dedup_by_key(|(it, _)| *it);
    prefixes
}

/// The class of the longest prefix that contains an address, by asking every prefix of the set.
fn naive(prefixes: &[(IpNet, u32)], address: IpAddr) -> u32 {
    let covering = prefixes.iter().filter(|(it, _)| it.contains(&address));
    covering.max_by_key(|(it, _)| it.prefix_len()).map_or(CLASS_NONE, |(_, class)| *class)
}

fn words(address: IpAddr) -> Words {
    match address {
        IpAddr::V4(v4) => Words::v4(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            Words::v6((bits >> 64) as u64, bits as u64)
        }
    }
}

/// Both neighbours of both ends of a prefix, and an address within.
fn around(prefix: IpNet, random: &mut Random) -> [IpAddr; 5] {
    match prefix {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let within = first | random.next() as u32 & (last - first);
            [first.wrapping_sub(1), first, last, last.wrapping_add(1), within]
                .map(|it| IpAddr::V4(Ipv4Addr::from_bits(it)))
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let within = first | random.wide() & (last - first);
            [first.wrapping_sub(1), first, last, last.wrapping_add(1), within]
                .map(|it| IpAddr::V6(Ipv6Addr::from_bits(it)))
        }
    }
}

/// Asks so many addresses of a table, of which most lie where something begins or ends.
fn agree(name: &str, prefixes: Vec<(IpNet, u32)>, asked: u64, random: &mut Random) {
    let prefixes = ordered(prefixes);
    let pages = build(&prefixes);
    let mut left = asked;
    while left > 0 {
        let about = match prefixes.len() as u64 {
            0 => v4(random.next() as u32, 32),
            count => prefixes[random.below(count) as usize].0,
        };
        let elsewhere = [
            IpAddr::V4(Ipv4Addr::from_bits(random.next() as u32)),
            IpAddr::V6(Ipv6Addr::from_bits(random.wide())),
            IpAddr::V6(Ipv6Addr::from_bits(random.wide() >> 3 | 1 << 125)),
        ];
        for address in around(about, random).into_iter().chain(elsewhere) {
            let (found, expected) =
                (look_up(&pages[..], words(address)), naive(&prefixes, address));
            assert_eq!(found, expected, "{name}: {address}, {} prefixes", prefixes.len());
            left = left.saturating_sub(1);
        }
    }
}

/// A set to try, by its name.
type Set = (&'static str, fn(&mut Random) -> Vec<(IpNet, u32)>);

const SETS: [Set; 12] = [
    ("nothing", |_| Vec::new()),
    ("everything", |_| vec![(v4(0, 0), 7), (v6(0, 0), 1 << 17)]),
    ("nested 33 deep", |random| {
        let (low, wide) = (random.next() as u32, random.wide());
        let nested = (0..=32).map(|length| (v4(low, length), u32::from(length) + 1));
        let of_v6 = (0..=128).map(|length| (v6(wide, length), u32::from(length) + 100_000));
        nested.chain(of_v6).collect()
    }),
    ("nested, every other of one class", |random| {
        let low = random.next() as u32;
        (0..=32).map(|length| (v4(low, length), u32::from(length & 1))).collect()
    }),
    ("dense /32 of many classes", |random| {
        let base = 0xc633_0000 | random.next() as u32 & 0xff;
        (0..700).map(|host| (v4(base + host * 3, 32), host + 1)).collect()
    }),
    ("dense /32 that alternate, over two splits", |_| {
        (0..1500).map(|host| (v4(0xcb00_0000 + host * 87, 32), host % 2 + 1)).collect()
    }),
    ("the first and the last addresses", |_| {
        let mut set = vec![(v4(0, 32), 1), (v4(u32::MAX, 32), 2), (v4(0xffff_0000, 16), 3)];
        set.extend([(v6(0, 128), 4), (v6(u128::MAX, 128), 5), (v6(u128::MAX, 16), 6)]);
        set
    }),
    ("neighbours that are one range", |_| {
        (0..512).map(|net| (v4(0xc612_0000 + (net << 8), 24), 1 + net / 100)).collect()
    }),
    ("random IPv4", |random| {
        (0..800)
            .map(|_| {
                let length = random.below(33) as u8;
                (v4(random.next() as u32, length), random.below(70_000) as u32)
            })
            .collect()
    }),
    ("random IPv4 in one /16", |random| {
        (0..900)
            .map(|_| {
                let low = 0xcb00_0000 | random.next() as u32 & 0xffff;
                (v4(low, 16 + random.below(17) as u8), random.below(9) as u32)
            })
            .collect()
    }),
    ("random IPv6 of every length", |random| {
        (0..600)
            .map(|_| {
                let bits = 0x2001_0db8_u128 << 96 | random.wide() >> 32 & random.wide();
                (v6(bits, random.below(129) as u8), random.below(200_000) as u32)
            })
            .collect()
    }),
    ("IPv6 hosts of few networks", |random| {
        (0..700)
            .map(|_| {
                let bits = 0x2001_0db8_u128 << 96 | u128::from(random.below(3)) << 64;
                let host = u128::from(random.below(1 << 20));
                (v6(bits | host, 100 + random.below(29) as u8), random.below(5) as u32 + 1)
            })
            .collect()
    }),
];

#[test]
fn engines_agree() {
    let mut random = Random(1);
    let each = addresses() / (SETS.len() as u64 * 4);
    for (name, set) in SETS {
        for _ in 0..4 {
            let prefixes = set(&mut random);
            agree(name, prefixes, each, &mut random);
        }
    }
}

#[test]
fn small_tables_are_small() {
    let pages = build(&ordered((0..10).map(|net| (v4(0xc633_0000 + (net << 8), 24), 1)).collect()));
    assert_eq!(pages.len(), NODE_PAGES as usize + 1);
}

proptest::proptest! {
    #[test]
    fn any_set_equals_a_naive_containment_check(
        raw in proptest::collection::vec((0_u32..4096, 16_u8..=32, 0_u32..4), 0..60),
        probes in proptest::collection::vec(0_u32..8192, 1..60),
    ) {
        // Over the border of two /16, so that roots and nodes take part.
        let base = 0xcb00_f800_u32;
        let set = ordered(raw.into_iter().map(|(low, length, class)| (v4(base + low, length), class)).collect());
        let pages = build(&set);
        for probe in probes {
            let address = IpAddr::V4(Ipv4Addr::from_bits(base.wrapping_add(probe).wrapping_sub(2048)));
            proptest::prop_assert_eq!(look_up(&pages[..], words(address)), naive(&set, address), "{}", address);
        }
    }
}

#[test]
fn a_routing_table_of_many_classes_is_exact() {
    let mut random = Random(9);
    let prefixes: Vec<(IpNet, u32)> = (0..30_000)
        .map(|_| {
            let length = 14 + random.below(11) as u8;
            (v4(random.next() as u32, length), random.below(64) as u32 + 1)
        })
        .collect();
    let prefixes = ordered(prefixes);
    let pages = build(&prefixes);
    for (prefix, _) in prefixes.iter().step_by(97) {
        for address in around(*prefix, &mut random) {
            assert_eq!(look_up(&pages[..], words(address)), naive(&prefixes, address), "{address}");
        }
    }
}
