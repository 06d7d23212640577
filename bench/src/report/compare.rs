//! nsp beside each other subject of the same rows.

use std::fmt;

use super::{Row, plot::short};

/// One thing that was measured of nsp, and of others.
pub(crate) struct Comparison<'a> {
    pub(crate) nsp: &'a Row,
    /// Each with how many times as much it needs.
    pub(crate) others: Vec<(&'a Row, f64)>,
}

/// Everything that was measured of nsp and somebody else, in the order of rows.
pub(crate) fn all(rows: &[Row]) -> Vec<Comparison<'_>> {
    let of_nsp = rows.iter().filter(|row| row.subject == "nsp" && row.unit != "%");
    let compared = of_nsp.map(|nsp| {
        let others = rows.iter().filter(|row| row.subject != "nsp" && is_same(row, nsp));
        Comparison { nsp, others: others.map(|row| (row, ratio(rows, row, nsp))).collect() }
    });
    compared.filter(|it| !it.others.is_empty()).collect()
}

/// Whether two rows are about the same thing.
fn is_same(one: &Row, other: &Row) -> bool {
    // What holds its list whole is compared whatever fits into the list.
    let is_list = one.subject == "xdp-filter" && one.case == other.case;
    (one.size == other.size || is_list)
        && (one.case, one.family, one.unit) == (other.case, other.family, other.unit)
        && one.metric == other.metric
}

/// How many times as much a row needs as another; of speeds, the other way round.
pub(crate) fn ratio(rows: &[Row], row: &Row, to: &Row) -> f64 {
    let ratio = (row.median - floor(rows, row)) / (to.median - floor(rows, to));
    if row.unit.ends_with("/s") { 1.0 / ratio } else { ratio }
}

/// What the harness itself takes of a test run.
pub(crate) fn floor(rows: &[Row], row: &Row) -> f64 {
    let noop = match row.case {
        _ if row.unit != "ns/packet" => return 0.0,
        "flood" => return 0.0,
        "new_flow" | "dns" => "one a run",
        "established" => &row.metric,
        _ => "hit",
    };
    let same = |it: &&Row| {
        (it.case, it.family, it.size) == ("noop", row.family, row.size) && it.metric.ends_with(noop)
    };
    rows.iter().find(same).map_or(0.0, |it| it.median)
}

impl Comparison<'_> {
    /// What others need less for.
    pub(crate) fn lost(&self) -> Vec<String> {
        // Who does not look at addresses has less to do, and is there for that; other ways to run nsp are
        // no peers.
        let is_peer = |subject: &str| {
            !matches!(subject, "drop" | "none" | "hash" | "nsp-native" | "nsp-generic")
        };
        let peers = self.others.iter().filter(|(row, _)| is_peer(row.subject));
        let lost = peers.filter(|(_, ratio)| *ratio < 1.0);
        lost.map(|(row, ratio)| {
            format!(
                "{}: {} needs {:.0} % of what nsp needs",
                self.name(),
                row.subject,
                ratio * 100.0
            )
        })
        .collect()
    }

    fn name(&self) -> String {
        let Row { case, size, family, metric, .. } = self.nsp;
        format!("{case} {family}, {}, {metric}", short(*size as f64))
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<50}", self.name())?;
        for (row, ratio) in &self.others {
            write!(formatter, "  {} {ratio:.2}", row.subject)?;
        }
        Ok(())
    }
}
