//! What was aimed at, and what came of it.

use std::fmt;

use super::{
    Row, compare,
    targets::{TARGETS, Target},
};

/// The rows of a run, to be asked.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a>(pub(super) &'a [Row]);

/// What a target asks of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

/// What was measured, and what it is.
pub(super) type Measured = Option<(f64, String)>;

impl<'a> Rows<'a> {
    /// The row of a case, a subject, a family and a size that is called so.
    pub(super) fn find(
        self,
        case: &str,
        subject: &str,
        family: &str,
        size: u64,
        metric: &str,
    ) -> Option<&'a Row> {
        self.0.iter().find(|row| {
            (row.case, row.subject, row.family) == (case, subject, family)
                && row.size == size
                && row.metric == metric
        })
    }

    /// What a row has above what the harness itself takes.
    pub(super) fn above(self, row: &Row) -> f64 {
        row.median - compare::floor(self.0, row)
    }

    /// How many times as much the best of some subjects needs as nsp, and which that is.
    pub(super) fn times(
        self,
        case: &str,
        family: &str,
        size: u64,
        metric: &str,
        subjects: &[&str],
    ) -> Measured {
        let nsp = self.find(case, "nsp", family, size, metric)?;
        let others = subjects.iter().filter_map(|it| self.find(case, it, family, size, metric));
        let ratios = others.map(|row| (compare::ratio(self.0, row, nsp), row.subject));
        let (ratio, subject) = ratios.min_by(|one, other| one.0.total_cmp(&other.0))?;
        let unit = if subjects.len() > 1 { format!("× {subject}") } else { "×".to_owned() };
        Some((ratio, unit))
    }
}

/// What came of a target.
pub(super) struct Judged {
    pub(super) target: &'static Target,
    /// Nothing when its rows are not there.
    pub(super) measured: Measured,
}

/// What came of all of them.
pub(super) fn judged(rows: &[Row]) -> Vec<Judged> {
    let judge = |target: &'static Target| Judged { target, measured: (target.of)(Rows(rows)) };
    TARGETS.iter().map(judge).collect()
}

impl Judged {
    /// Whether it was met, if its rows are there.
    pub(super) fn is_met(&self) -> Option<bool> {
        let (value, _) = self.measured.as_ref()?;
        Some(match self.target.aim {
            Aim::AtLeast(least) => *value >= least,
            Aim::AtMost(most) => *value <= most,
        })
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(formatter, "at least {least}"),
            Self::AtMost(most) => write!(formatter, "at most {most}"),
        }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { about, what, aim, .. } = self.target;
        let word = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not run",
        };
        write!(formatter, "{word:<8} {about}: {what}")?;
        if let Some((value, unit)) = &self.measured {
            write!(formatter, ": {value:.1} {unit} ({aim})")?;
        }
        Ok(())
    }
}
