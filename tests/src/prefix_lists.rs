//! Lists of many prefixes, like those of the routers of the internet, and policies that name them.
//!
//! The same count and family give the same list, on every machine.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    process::Command,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::data::{shared_file, workspace};

/// Lengths of IPv4 prefixes and how many of a thousand have them: about as in the BGP tables of 2025,
/// where longer ones than /24 are rare, and are what a list of hosts has.
const LENGTHS_V4: [(u8, u64); 18] = [
    (24, 600),
    (23, 90),
    (22, 110),
    (21, 45),
    (20, 40),
    (19, 23),
    (18, 12),
    (17, 7),
    (16, 12),
    (15, 1),
    (14, 1),
    (25, 4),
    (26, 5),
    (27, 5),
    (28, 8),
    (29, 7),
    (30, 5),
    (32, 25),
];

/// The same of IPv6 prefixes.
const LENGTHS_V6: [(u8, u64); 14] = [
    (48, 450),
    (32, 100),
    (44, 90),
    (40, 80),
    (36, 50),
    (33, 20),
    (34, 20),
    (46, 40),
    (47, 40),
    (45, 20),
    (29, 30),
    (56, 30),
    (64, 20),
    (128, 10),
];

/// Shorter prefixes, one of each in so many.
const ONE_OF_EACH_IN: usize = 20_000;

/// The /32 that IPv6 prefixes are in.
const BLOCKS_V6: u64 = 1 << 17;

/// Whose addresses a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, /8 to /32.
    V4,
    /// IPv6, /20 to /128.
    V6,
}

/// A policy of as many rules as there are prefix files, and a list dealt out to them in turn.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    /// Whose addresses.
    pub family: Family,
    /// Distinct prefixes of all files together.
    pub prefixes: usize,
    /// Prefix files, one for each rule.
    pub files: usize,
}

impl Lists {
    /// Writes the files and the policy that names them into a folder; the policy's path.
    ///
    /// # Errors
    /// What the folder refuses.
    pub fn write(self, folder: &Path) -> io::Result<PathBuf> {
        let Self { family, prefixes, files } = self;
        let open = |file| File::create(folder.join(format!("list-{file}.txt"))).map(BufWriter::new);
        let mut writers = (0..files).map(open).collect::<io::Result<Vec<_>>>()?;
        for (index, prefix) in distinct(family, prefixes).into_iter().enumerate() {
            writeln!(writers[index % files], "{prefix}")?;
        }
        writers.iter_mut().try_for_each(io::Write::flush)?;
        let path = folder.join("policy.toml");
        fs::write(&path, policy(files))?;
        Ok(path)
    }
}

/// A policy with one rule for each of the prefix files `list-0.txt` and on.
pub fn policy(files: usize) -> String {
    let mut text = "[perimeter]\nname = \"lists\"\n[sources.prefix_files]\n".to_owned();
    for file in 0..files {
        let _written = writeln!(text, "list-{file} = \"list-{file}.txt\"");
    }
    for file in 0..files {
        let rule = format!("[profile.web.inbound.rule-{file}]");
        let _written = writeln!(text, "{rule}\nservice_tags = [\"file:list-{file}\"]");
    }
    text.push_str("[profile.web]\n[resource.web]\nports = [\"443/tcp\"]\nprofile = \"web\"\n");
    text
}

/// A table of the internet's routers, each prefix with the number of who announces it: that of the shared
/// data, else a small sample.
///
/// # Panics
/// When the file is damaged.
pub fn real_table() -> Vec<(IpNet, u32)> {
    shared_table().unwrap_or_else(sample)
}

/// The table of the shared data, if that is there.
///
/// # Panics
/// When the file is damaged.
pub fn shared_table() -> Option<Vec<(IpNet, u32)>> {
    let path = shared_file("bgp_prefix_to_asn_2015-11.dat.gz")?;
    let output = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip runs");
    Some(table(&String::from_utf8(output.stdout).expect("a table is ASCII")))
}

/// A table of a few prefixes.
fn sample() -> Vec<(IpNet, u32)> {
    let path = workspace().join("tests/fixtures/sources/bgp-sample.dat");
    table(&fs::read_to_string(path).expect("the sample is there"))
}

fn table(text: &str) -> Vec<(IpNet, u32)> {
    let entry = |line: &str| {
        let (prefix, origin) = line.split_once('\t')?;
        Some((prefix.parse().ok()?, origin.parse().ok()?))
    };
    let lines = text.lines().filter(|line| !line.starts_with(';'));
    lines.map(|line| entry(line).unwrap_or_else(|| panic!("not of a table: {line}"))).collect()
}

/// Prefixes that are all different, in no order; many are inside of others.
pub fn distinct(family: Family, count: usize) -> Vec<IpNet> {
    let mut random = Random(0x6e73_7020_6c69_7374);
    let mut seen = HashSet::with_capacity(count);
    let mut prefixes = Vec::with_capacity(count);
    while prefixes.len() < count {
        let rare = prefixes.len() % ONE_OF_EACH_IN;
        let prefix = match family {
            Family::V4 => prefix_v4(&mut random, rare),
            Family::V6 => prefix_v6(&mut random, rare),
        };
        if seen.insert(prefix) {
            prefixes.push(prefix);
        }
    }
    prefixes
}

fn prefix_v4(random: &mut Random, rare: usize) -> IpNet {
    let length = if rare < 6 { 8 + rare as u8 } else { random.weighted(&LENGTHS_V4) };
    // Public unicast: without 0, 10, 127, and from 224 on.
    let first = loop {
        let octet = 1 + random.below(223);
        if octet != 10 && octet != 127 {
            break octet as u32;
        }
    };
    let address = Ipv4Addr::from_bits(first << 24 | random.below(1 << 24) as u32);
    IpNet::V4(Ipv4Net::new_assert(address, length).trunc())
}

fn prefix_v6(random: &mut Random, rare: usize) -> IpNet {
    let length = if rare < 9 { 20 + rare as u8 } else { random.weighted(&LENGTHS_V6) };
    // In 2000::/4, so that no list is half of the internet; and in so few /32 there that many are in one
    // that the list has as well.
    let block = random.below(BLOCKS_V6).wrapping_mul(0x9e37_79b1) & 0x0fff_ffff;
    let high = (0x2000_0000 | block) << 32 | random.below(1 << 32);
    let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(random.next()));
    IpNet::V6(Ipv6Net::new_assert(address, length).trunc())
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Less than `bound`. The bias of a remainder does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn weighted(&mut self, weights: &[(u8, u64)]) -> u8 {
        let mut at = self.below(weights.iter().map(|(_, weight)| weight).sum());
        let chosen = weights.iter().find(|(_, weight)| {
            let found = at < *weight;
            at = at.wrapping_sub(*weight);
            found
        });
        chosen.expect("less than the sum").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_distinct_nested_and_mostly_of_the_usual_length() {
        for (family, usual, share_min) in [(Family::V4, 24, 0.55), (Family::V6, 48, 0.4)] {
            let prefixes = distinct(family, 50_000);
            let set: HashSet<IpNet> = prefixes.iter().copied().collect();
            assert_eq!(set.len(), 50_000);
            let of_usual = prefixes.iter().filter(|it| it.prefix_len() == usual).count();
            assert!(of_usual as f64 > share_min * 50_000.0, "{of_usual} of /{usual}");
            let nested = prefixes.iter().filter(|prefix| {
                (0..prefix.prefix_len()).any(|length| {
                    let outer = IpNet::new(prefix.addr(), length).expect("shorter");
                    set.contains(&outer.trunc())
                })
            });
            assert!(nested.count() > 1_000);
        }
    }

    #[test]
    fn a_real_table_has_both_families_and_so_has_the_sample() {
        for table in [real_table(), sample()] {
            for is_v6 in [false, true] {
                assert!(table.iter().any(|(net, _)| matches!(net, IpNet::V6(_)) == is_v6));
            }
            assert!(table.iter().map(|(_, origin)| origin % 64).collect::<HashSet<_>>().len() > 1);
        }
    }

    #[test]
    fn the_same_list_comes_again() {
        assert_eq!(distinct(Family::V4, 1_000), distinct(Family::V4, 1_000));
    }
}
