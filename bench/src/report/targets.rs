//! The targets, each judged by the rows of one run.

use super::target::{Aim, Measured, Rows};

/// One target.
pub(super) struct Target {
    /// What it is about; targets about the same follow each other.
    pub(super) about: &'static str,
    pub(super) what: &'static str,
    pub(super) aim: Aim,
    pub(super) of: fn(Rows<'_>) -> Measured,
}

/// Numbers of IPv4 prefixes.
const M: u64 = 1_000_000;
const K100: u64 = 100_000;
const FEW: u64 = 10;
/// IPv6 prefixes of the real table of 2015, and of a synthetic one.
const REAL_V6: u64 = 27_693;
const K250: u64 = 250_000;
/// What filters of streams and questions hold besides.
const K10: u64 = 10_000;

const TRIE: &[&str] = &["nsp-lpm-trie"];
const NFT: &[&str] = &["nft-ingress", "nft-prerouting"];
const OUTSIDE: &str = "outside, open port";
const LOADED: &str = "file to in force";

const DENIED: &str = "A denied packet, IPv4";
const LOOKUP: &str = "The look-up of a listed address alone, beside the kernel's trie";
const FLOW: &str = "Of 1,000,000 conversations, beside one hash look-up";
const FLOOD: &str = "Packets a second in a flood, beside nft";
const LOAD: &str = "From a file to in force, 1,000,000 prefixes";
const MEMORY: &str = "Memory, 1,000,000 prefixes";
const TRAFFIC: &str = "What is let through over veth, by what it is without nsp";

pub(super) const TARGETS: &[Target] = &[
    Target {
        about: DENIED,
        what: "more at 1,000,000 prefixes than at 10, from an address that is listed for another port",
        aim: Aim::AtMost(60.0),
        of: |rows| growth(rows, "denied_hit", "hit"),
    },
    Target {
        about: DENIED,
        what: "more at 1,000,000 prefixes than at 10, from an address that is not listed",
        aim: Aim::AtMost(60.0),
        of: |rows| growth(rows, "denied_miss", "miss"),
    },
    Target {
        about: DENIED,
        what: "at 10 prefixes, beside the row of reading headers",
        aim: Aim::AtMost(5.0),
        of: |rows| by_parse(rows, |row| row.median),
    },
    Target {
        about: DENIED,
        what: "at 10 prefixes, beside reading headers without the harness",
        aim: Aim::AtMost(5.0),
        of: |rows| by_parse(rows, |row| rows.above(row)),
    },
    Target {
        about: LOOKUP,
        what: "1,000,000 prefixes of IPv4",
        aim: Aim::AtLeast(20.0),
        of: |rows| rows.times("lookup", "v4", M, "hit", TRIE),
    },
    Target {
        about: LOOKUP,
        what: "100,000 prefixes of IPv4",
        aim: Aim::AtLeast(10.0),
        of: |rows| rows.times("lookup", "v4", K100, "hit", TRIE),
    },
    Target {
        about: LOOKUP,
        what: "IPv6, the real table of 2015",
        aim: Aim::AtLeast(5.0),
        of: |rows| rows.times("lookup", "v6", REAL_V6, "real table, hit", TRIE),
    },
    Target {
        about: LOOKUP,
        what: "IPv6, 250,000 prefixes of 64 rules",
        aim: Aim::AtLeast(10.0),
        of: |rows| rows.times("lookup", "v6", K250, "hit", TRIE),
    },
    Target {
        about: FLOW,
        what: "a segment, of 64 peers",
        aim: Aim::AtMost(2.5),
        of: |rows| by_hash(rows, "64 peers"),
    },
    Target {
        about: FLOW,
        what: "a segment, of a peer each",
        aim: Aim::AtMost(2.5),
        of: |rows| by_hash(rows, "a peer each"),
    },
    Target {
        about: FLOOD,
        what: "100,000 prefixes",
        aim: Aim::AtLeast(5.0),
        of: |rows| rows.times("flood", "v4", K100, OUTSIDE, NFT),
    },
    Target {
        about: FLOOD,
        what: "1,000,000 prefixes",
        aim: Aim::AtLeast(8.0),
        of: |rows| rows.times("flood", "v4", M, OUTSIDE, NFT),
    },
    Target {
        about: LOAD,
        what: "beside nft -f",
        aim: Aim::AtLeast(5.0),
        of: |rows| rows.times("load", "v4", M, LOADED, NFT),
    },
    Target {
        about: LOAD,
        what: "beside ipset restore",
        aim: Aim::AtLeast(2.0),
        of: |rows| rows.times("load", "v4", M, LOADED, &["ipset"]),
    },
    Target {
        about: MEMORY,
        what: "the agent's, at most ever",
        aim: Aim::AtMost(400.0),
        of: |rows| plain(rows, "memory", M, "agent, at most"),
    },
    Target {
        about: MEMORY,
        what: "the kernel's for address tables, with two generations",
        aim: Aim::AtMost(20.0),
        of: |rows| plain(rows, "memory", M, "kernel memory"),
    },
    Target {
        about: TRAFFIC,
        what: "a TCP stream in, lower 95 % bound",
        aim: Aim::AtLeast(95.0),
        of: |rows| of_none(rows, "throughput", "in, of none, lower 95 %"),
    },
    Target {
        about: TRAFFIC,
        what: "a TCP stream out, lower 95 % bound",
        aim: Aim::AtLeast(95.0),
        of: |rows| of_none(rows, "throughput", "out, of none, lower 95 %"),
    },
    Target {
        about: TRAFFIC,
        what: "the time of a question and its answer",
        aim: Aim::AtMost(105.0),
        of: |rows| of_none(rows, "latency", "p50, of none"),
    },
    Target {
        about: TRAFFIC,
        what: "the same, both ends on one processor",
        aim: Aim::AtMost(105.0),
        of: |rows| of_none(rows, "latency", "p50, one processor, of none"),
    },
];

/// By how much a denied packet costs more among a million prefixes than among ten.
fn growth(rows: Rows<'_>, case: &str, metric: &str) -> Measured {
    let [few, many] = [FEW, M].map(|size| rows.find(case, "nsp", "v4", size, metric));
    Some((rows.above(many?) - rows.above(few?), "ns".to_owned()))
}

/// How many times as much as reading its headers a denied packet costs, whichever it is.
fn by_parse(rows: Rows<'_>, parse: impl Fn(&super::Row) -> f64) -> Measured {
    let read = rows.find("parse", "none", "v4", FEW, "hit")?;
    let hit = rows.find("denied_hit", "nsp", "v4", FEW, "hit")?;
    let miss = rows.find("denied_miss", "nsp", "v4", FEW, "miss")?;
    let denied = rows.above(hit).max(rows.above(miss));
    Some((denied / parse(read), "×".to_owned()))
}

/// How many times as much as one look-up of its key.
fn by_hash(rows: Rows<'_>, metric: &str) -> Measured {
    let [nsp, hash] = ["nsp", "hash"].map(|it| rows.find("established", it, "v4", M, metric));
    Some((rows.above(nsp?) / rows.above(hash?), "×".to_owned()))
}

/// A row as it is.
fn plain(rows: Rows<'_>, case: &str, size: u64, metric: &str) -> Measured {
    let row = rows.find(case, "nsp", "v4", size, metric)?;
    Some((row.median, row.unit.to_owned()))
}

/// A row of what was measured by that without nsp, however many pairs there were.
fn of_none(rows: Rows<'_>, case: &str, metric: &str) -> Measured {
    if let Some(row) = rows.find(case, "nsp", "v4", K10, metric) {
        return Some((row.median, row.unit.to_owned()));
    }
    let row = rows.find(case, "nsp", "v4", K10, &format!("{metric}, few pairs"))?;
    Some((row.median, format!("{} (few pairs)", row.unit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Row, sample::Samples};

    fn row(case: &'static str, subject: &'static str, size: u64, metric: &str, ns: f64) -> Row {
        let size = size as usize;
        Row::of(case, subject, size, "v4", metric, "ns/packet", &Samples::one(ns))
    }

    #[test]
    fn what_the_harness_takes_is_not_of_the_ratio() {
        let rows = [
            row("noop", "none", M, "64 peers", 30.0),
            row("noop", "none", M, "hit", 20.0),
            row("established", "nsp", M, "64 peers", 430.0),
            row("established", "hash", M, "64 peers", 230.0),
            row("lookup", "nsp", M, "hit", 70.0),
            row("lookup", "nsp-lpm-trie", M, "hit", 1_020.0),
            row("parse", "none", FEW, "hit", 40.0),
            row("noop", "none", FEW, "hit", 20.0),
            row("denied_hit", "nsp", FEW, "hit", 140.0),
            row("denied_miss", "nsp", FEW, "miss", 100.0),
            row("denied_hit", "nsp", M, "hit", 195.0),
        ];
        let rows = Rows(&rows);
        assert_eq!(by_hash(rows, "64 peers"), Some((2.0, "×".to_owned())));
        assert_eq!(by_hash(rows, "a peer each"), None);
        let times = rows.times("lookup", "v4", M, "hit", TRIE);
        assert_eq!(times, Some((20.0, "×".to_owned())));
        assert_eq!(by_parse(rows, |row| row.median), Some((3.0, "×".to_owned())));
        assert_eq!(by_parse(rows, |row| rows.above(row)), Some((6.0, "×".to_owned())));
        assert_eq!(growth(rows, "denied_hit", "hit"), Some((55.0, "ns".to_owned())));
        assert_eq!(growth(rows, "denied_miss", "miss"), None);
    }

    #[test]
    fn of_several_peers_the_best_counts() {
        let rows = [
            row("flood", "nsp", M, OUTSIDE, 200.0),
            row("flood", "nft-ingress", M, OUTSIDE, 1_800.0),
            row("flood", "nft-prerouting", M, OUTSIDE, 1_600.0),
        ];
        let times = Rows(&rows).times("flood", "v4", M, OUTSIDE, NFT);
        assert_eq!(times, Some((8.0, "× nft-prerouting".to_owned())));
    }
}
