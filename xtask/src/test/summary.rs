//! The table at the end of a test run, and whether the run is accepted.

use super::counts::Counts;

/// What became of a tier.
pub(crate) enum Outcome {
    /// Its tests ran.
    Ran(Counts),
    /// It did not build or start; counts as one failure.
    Broken(String),
    /// It could have run, but not by this user; a failure in CI.
    NotRun(String),
    /// No machine of this architecture can run it; accepted.
    Elsewhere(String),
    /// It is not in the tree.
    Absent(String),
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) tier: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
}

impl Row {
    pub(crate) fn new(tier: &'static str, outcome: Outcome) -> Self {
        Self { tier, outcome, seconds: 0.0 }
    }

    fn line(&self) -> String {
        let Self { tier, outcome, seconds } = self;
        match outcome {
            Outcome::Ran(Counts { passed, failed, ignored, failures: _ }) => {
                format!("{tier:<6} {passed:>7} {failed:>7} {ignored:>8} {seconds:>8.1}")
            }
            Outcome::Broken(why) => format!("{tier:<6} BROKEN: {why}"),
            Outcome::NotRun(why) | Outcome::Elsewhere(why) => format!("{tier:<6} NOT RUN: {why}"),
            Outcome::Absent(why) => format!("{tier:<6} absent: {why}"),
        }
    }
}

/// Prints the table, the failures, and the plain last line. Returns whether the run is accepted:
/// nothing failed, and nothing was left out that CI should have run.
pub(crate) fn print(rows: &[Row], in_ci: bool) -> bool {
    println!("\n{:<6} {:>7} {:>7} {:>8} {:>8}", "tier", "passed", "failed", "ignored", "seconds");
    for row in rows {
        println!("{}", row.line());
    }
    for (tier, name) in failures(rows) {
        println!("FAILED {tier}: {name}");
    }
    let not_run = rows.iter().any(|row| matches!(row.outcome, Outcome::NotRun(_)));
    if not_run {
        let cure =
            if in_ci { "; CI must run them: run as root" } else { ": run as root or by sudo" };
        println!("WARNING: not all tiers were run{cure}");
    }
    let (passed, failed) = totals(rows);
    println!("{passed} passed, {failed} failed");
    failed == 0 && !(not_run && in_ci)
}

fn failures(rows: &[Row]) -> impl Iterator<Item = (&str, &str)> {
    rows.iter().flat_map(|Row { tier, outcome, seconds: _ }| {
        let names: &[String] = match outcome {
            Outcome::Ran(counts) => &counts.failures,
            _ => &[],
        };
        names.iter().map(|name| (*tier, name.as_str()))
    })
}

fn totals(rows: &[Row]) -> (u32, u32) {
    rows.iter().fold((0, 0), |(passed, failed), row| match &row.outcome {
        Outcome::Ran(counts) => (passed + counts.passed, failed + counts.failed),
        Outcome::Broken(_) => (passed, failed + 1),
        Outcome::NotRun(_) | Outcome::Elsewhere(_) | Outcome::Absent(_) => (passed, failed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(passed: u32, failed: u32) -> Row {
        Row::new("host", Outcome::Ran(Counts { passed, failed, ..Counts::default() }))
    }

    #[test]
    fn a_broken_tier_counts_as_a_failure() {
        let rows = [ran(3, 0), Row::new("prog", Outcome::Broken("did not build".to_owned()))];
        assert_eq!(totals(&rows), (3, 1));
        assert!(!print(&rows, false));
    }

    #[test]
    fn a_tier_not_run_fails_only_in_ci() {
        let rows = [ran(3, 0), Row::new("net", Outcome::NotRun("no root".to_owned()))];
        assert!(print(&rows, false));
        assert!(!print(&rows, true));
    }

    #[test]
    fn a_tier_of_another_architecture_is_shown_and_accepted() {
        let row = Row::new("vm", Outcome::Elsewhere("the machines are x86_64 ones".to_owned()));
        assert_eq!(row.line(), "vm     NOT RUN: the machines are x86_64 ones");
        assert!(print(&[ran(3, 0), row], true));
    }

    #[test]
    fn a_tier_that_does_not_exist_yet_is_accepted() {
        let rows = [ran(3, 0), Row::new("vm", Outcome::Absent("not there yet".to_owned()))];
        assert!(print(&rows, true));
    }
}
