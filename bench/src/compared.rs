//! What every filter is compared with none by: runs in arms by turns, and the rows of that.

use anyhow::Result;

use crate::{
    Plan,
    abba::{self, Order, Pairs},
    arm::{self, Arm, Cost},
    filter::{Filter, PREFIXES, Seen},
    priority,
    report::{Report, Row},
    sample::Samples,
};

/// Pairs below which a row is no more than a look.
const PAIRS_MIN: usize = 20;

/// One case: two kinds of runs, and two things that are measured of each.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The kinds of runs.
    pub(crate) kinds: [&'static str; 2],
    /// What is measured of each.
    pub(crate) metrics: [[&'static str; 2]; 2],
    pub(crate) units: [&'static str; 2],
    /// How many kinds a quick run has.
    pub(crate) quick_kinds: usize,
    /// How many pairs of runs, but [`QUICK`] in a quick run.
    pub(crate) pairs: fn(Filter) -> usize,
}

/// Pairs of a quick run.
const QUICK: Order = Order { pairs: PAIRS_MIN, block: 5 };

/// What came of one filter.
#[derive(Default)]
struct Compared {
    pairs: [Pairs; 4],
    seen: [Seen; 2],
    costs: [Vec<Cost>; 2],
}

impl Case {
    /// Measures all of it; `run` does one run of a kind, in an arm and a family.
    pub(crate) fn measure(
        &self,
        plan: &Plan,
        report: &mut Report,
        run: impl Fn(&Arm, &str, usize) -> Result<[f64; 2]>,
    ) -> Result<()> {
        priority::raise()?;
        let nsp: &[Filter] = &[Filter::Nsp];
        let families = if plan.quick {
            report.note(
                "Streams and questions of a quick run: IPv4, nsp at TC and no filter, the stream in only.",
            );
            vec![("v4", nsp)]
        } else {
            vec![("v4", &Filter::ALL[..]), ("v6", nsp)]
        };
        let kinds = if plan.quick { self.quick_kinds } else { self.kinds.len() };
        for (family, filters) in families {
            let mut without: [Samples; 4] = Default::default();
            for filter in filters {
                let full = Order { pairs: (self.pairs)(*filter), block: 1 };
                let order = if plan.quick { QUICK } else { full };
                let run = |arm: &Arm, kind| run(arm, family, kind);
                let compared = Compared::of(*filter, order, kinds, run)?;
                for (all, pairs) in without.iter_mut().zip(&compared.pairs) {
                    all.append(&pairs.without);
                }
                compared.report(Rows { case: self, subject: filter.name(), family }, kinds, report);
            }
            let rows = Rows { case: self, subject: "none", family };
            for (of, samples) in without.iter().enumerate().take(2 * kinds) {
                report.add(rows.row(rows.metric(of), rows.unit(of), samples));
            }
        }
        Ok(())
    }
}

impl Compared {
    fn of(
        filter: Filter,
        order: Order,
        kinds: usize,
        run: impl Fn(&Arm, usize) -> Result<[f64; 2]>,
    ) -> Result<Self> {
        let mut compared = Self::default();
        let Self { pairs: measured, seen, costs } = &mut compared;
        let lay = |is_with: bool| Arm::lay(is_with.then_some(filter));
        abba::alternate(measured, order, lay, |arm| {
            let mut all = [0.0; 4];
            for kind in 0..kinds {
                let (two, saw) = arm.watched(|| run(arm, kind))?;
                all[2 * kind..][..2].copy_from_slice(&two);
                if let Some(saw) = saw {
                    seen[kind] = seen[kind] + saw;
                    if costs[kind].is_empty() {
                        costs[kind] = arm::costs(|| run(arm, kind).map(drop))?;
                    }
                }
            }
            Ok(all)
        })?;
        Ok(compared)
    }

    fn report(&self, rows: Rows<'_>, kinds: usize, report: &mut Report) {
        let Self { pairs, seen, costs } = self;
        for (of, pairs) in pairs.iter().enumerate().take(2 * kinds) {
            rows.pairs(of, pairs, report);
        }
        for ((kind, seen), costs) in rows.case.kinds.iter().zip(seen).zip(costs) {
            if seen.packets > 0 {
                rows.seen(kind, *seen, costs, report);
            }
        }
    }
}

/// What the rows of one filter have in common.
#[derive(Clone, Copy)]
struct Rows<'a> {
    case: &'a Case,
    subject: &'static str,
    family: &'static str,
}

impl<'a> Rows<'a> {
    fn metric(&self, of: usize) -> &'a str {
        self.case.metrics[of / 2][of % 2]
    }

    fn unit(&self, of: usize) -> &'static str {
        self.case.units[of % 2]
    }

    /// What was measured with the filter, and its ratio to what was measured without, with 95 % bounds.
    fn pairs(&self, of: usize, pairs: &Pairs, report: &mut Report) {
        let metric = self.metric(of);
        report.add(self.row(metric, self.unit(of), &pairs.with));
        let runs = pairs.with.len();
        let look = if runs < PAIRS_MIN { ", few pairs" } else { "" };
        let (low, high) = pairs.bounds();
        for (what, ratio) in [("", pairs.ratio()), (", lower 95 %", low), (", upper 95 %", high)] {
            let metric = format!("{metric}, of none{what}{look}");
            report.add(Row { runs, ..self.row(&metric, "%", &Samples::one(ratio * 100.0)) });
        }
    }

    /// What NSP saw.
    fn seen(&self, kind: &str, seen: Seen, costs: &[Cost], report: &mut Report) {
        let Seen { packets, bytes, by_flow, agent_us, wall_us } = seen;
        let packets = packets as f64;
        let mut add = |what: &str, unit, value: f64| {
            report.add(self.row(&format!("{kind}, {what}"), unit, &Samples::one(value)));
        };
        add("flow hits", "%", by_flow as f64 / packets * 100.0);
        add("bytes a packet", "bytes", bytes as f64 / packets);
        add("agent", "ms/s", agent_us as f64 / wall_us as f64 * 1000.0);
        for (program, ns) in costs {
            add(program, "ns/run", *ns);
        }
    }

    fn row(&self, metric: &str, unit: &'static str, samples: &Samples) -> Row {
        let Self { case, subject, family, .. } = self;
        Row::of(case.name, subject, PREFIXES, family, metric, unit, samples)
    }
}
