//! What was measured: rows, as `report.json` has them, the table on the terminal, and a page to look at.

mod compare;
mod html;
mod machine;
mod plot;
mod target;
mod targets;

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::sample::Samples;
use machine::Machine;

/// One row.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) subject: &'static str,
    /// Prefixes, or flows.
    pub(crate) size: u64,
    pub(crate) family: &'static str,
    /// What was measured, with the mix of addresses.
    pub(crate) metric: String,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
    pub(crate) runs: usize,
}

impl Row {
    /// The row of these samples.
    pub(crate) fn of(
        case: &'static str,
        subject: &'static str,
        size: usize,
        family: &'static str,
        metric: &str,
        unit: &'static str,
        samples: &Samples,
    ) -> Self {
        Self {
            case,
            subject,
            size: size as u64,
            family,
            metric: metric.to_owned(),
            unit,
            median: samples.median(),
            p10: samples.quantile(0.1),
            p90: samples.quantile(0.9),
            runs: samples.len(),
        }
    }
}

/// All of them.
pub(crate) struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
    machine: Machine,
    quick: bool,
    begun: Instant,
}

impl Report {
    pub(crate) fn new(quick: bool) -> Self {
        let (rows, notes) = (Vec::new(), Vec::new());
        Self { rows, notes, machine: Machine::read(), quick, begun: Instant::now() }
    }

    /// Takes a row, and shows it.
    pub(crate) fn add(&mut self, row: Row) {
        let Row { case, subject, size, family, metric, unit, median, p10, p90, runs } = &row;
        println!(
            "{case:<12} {subject:<14} {size:>9} {family:<3} {metric:<28} {median:>10.1} {unit:<8} [{p10:.1} – {p90:.1}] n={runs}"
        );
        self.rows.push(row);
    }

    /// Takes what a reader of the rows must know, once.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|it| it == text) {
            println!("note: {text}");
            self.notes.push(text.to_owned());
        }
    }

    /// Says what came of it, and writes `report.json` and `report.html`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        self.conclude();
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let json = serde_json::to_string_pretty(&self.rows)?;
        for (name, text) in [("report.json", json), ("report.html", html::page(self))] {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            println!("{}{}", path.display(), if self.quick { " (quick)" } else { "" });
        }
        Ok(())
    }

    /// Ratios, targets, and what nsp is worse at.
    fn conclude(&self) {
        let comparisons = compare::all(&self.rows);
        println!(
            "\nbeside nsp (over 1: nsp needs less; where there is a row `noop`, of what is above it)"
        );
        for comparison in &comparisons {
            println!("  {comparison}");
        }
        println!("\ntargets");
        for judged in target::judged(&self.rows) {
            println!("  {judged}");
        }
        println!("\nwhere nsp loses");
        let lost: Vec<_> = comparisons.iter().flat_map(compare::Comparison::lost).collect();
        if lost.is_empty() {
            println!("  nowhere in these rows");
        }
        for line in lost {
            println!("  {line}");
        }
        println!("\n{}", self.machine.summary());
        println!("{}", machine::NOT_CLAIMED);
        println!("took {:.0} s", self.begun.elapsed().as_secs_f64());
    }
}
