//! What was aimed at, and what came of it.

use std::fmt;

use super::{Row, compare};

/// One target.
pub(crate) struct Target {
    pub(crate) what: &'static str,
    case: &'static str,
    metric: &'static str,
    size: u64,
    aim: Aim,
}

enum Aim {
    /// The best of these needs at least so many times as much as nsp.
    Times(&'static [&'static str], f64),
    /// nsp needs at most so much, in the row's unit.
    AtMost(f64),
}

const NFT: &[&str] = &["nft-ingress", "nft-prerouting"];
const MISS: &str = "outside, open port";

pub(crate) const TARGETS: &[Target] = &[
    Target {
        what: "packets per second in a flood beside nft, 100,000 prefixes",
        case: "flood",
        metric: MISS,
        size: 100_000,
        aim: Aim::Times(NFT, 5.0),
    },
    Target {
        what: "packets per second in a flood beside nft, 1,000,000 prefixes",
        case: "flood",
        metric: MISS,
        size: 1_000_000,
        aim: Aim::Times(NFT, 8.0),
    },
    Target {
        what: "1,000,000 prefixes in force beside nft -f",
        case: "load",
        metric: "file to in force",
        size: 1_000_000,
        aim: Aim::Times(NFT, 5.0),
    },
    Target {
        what: "1,000,000 prefixes in force beside ipset restore",
        case: "load",
        metric: "file to in force",
        size: 1_000_000,
        aim: Aim::Times(&["ipset"], 2.0),
    },
    Target {
        what: "memory of the agent with 1,000,000 prefixes, at most",
        case: "memory",
        metric: "agent, at most",
        size: 1_000_000,
        aim: Aim::AtMost(400.0),
    },
    Target {
        what: "kernel memory of 1,000,000 prefixes, two generations",
        case: "memory",
        metric: "kernel memory",
        size: 1_000_000,
        aim: Aim::AtMost(20.0),
    },
];

/// What came of a target.
pub(crate) struct Judged<'a> {
    pub(crate) target: &'a Target,
    /// What was measured, and in what; nothing when its rows are not there.
    pub(crate) result: Option<(f64, String)>,
}

impl Target {
    /// What came of it.
    pub(crate) fn judged(&self, rows: &[Row]) -> Judged<'_> {
        let of = |subject: &str| {
            rows.iter().find(|row| {
                (row.case, row.metric.as_str(), row.size, row.subject)
                    == (self.case, self.metric, self.size, subject)
            })
        };
        let result = of("nsp").and_then(|nsp| match self.aim {
            Aim::AtMost(_) => Some((nsp.median, nsp.unit.to_owned())),
            Aim::Times(subjects, _) => {
                let rows_of = subjects.iter().filter_map(|subject| of(subject));
                let ratios = rows_of.map(|row| (compare::ratio(rows, row, nsp), row.subject));
                let best = ratios.min_by(|one, other| one.0.total_cmp(&other.0))?;
                Some((best.0, format!("times {}", best.1)))
            }
        });
        Judged { target: self, result }
    }
}

impl Judged<'_> {
    /// Whether it was met, if its rows are there.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let (value, _) = self.result.as_ref()?;
        Some(match self.target.aim {
            Aim::Times(_, least) => *value >= least,
            Aim::AtMost(most) => *value <= most,
        })
    }

    /// What was aimed at.
    pub(crate) fn aim(&self) -> String {
        match self.target.aim {
            Aim::Times(_, least) => format!("at least {least:.0}"),
            Aim::AtMost(most) => format!("at most {most:.0}"),
        }
    }
}

impl fmt::Display for Judged<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not run",
        };
        write!(formatter, "{word:<8} {:<60}", self.target.what)?;
        if let Some((value, unit)) = &self.result {
            write!(formatter, " {value:.1} {unit} ({})", self.aim())?;
        }
        Ok(())
    }
}
