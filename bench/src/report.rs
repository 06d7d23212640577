//! What was measured: rows, as `report.json` has them, and the table on the terminal.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

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

/// All of them.
pub(crate) struct Report {
    rows: Vec<Row>,
    quick: bool,
}

impl Report {
    pub(crate) fn new(quick: bool) -> Self {
        Self { rows: Vec::new(), quick }
    }

    /// Takes a row, and shows it.
    pub(crate) fn add(&mut self, row: Row) {
        let Row { case, subject, size, family, metric, unit, median, p10, p90, runs } = &row;
        println!(
            "{case:<12} {subject:<14} {size:>9} {family:<3} {metric:<28} {median:>10.1} {unit:<8} [{p10:.1} – {p90:.1}] n={runs}"
        );
        self.rows.push(row);
    }

    /// Writes `report.json`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let path = directory.join("report.json");
        let text = serde_json::to_string_pretty(&self.rows)?;
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("{}{}", path.display(), if self.quick { " (quick)" } else { "" });
        Ok(())
    }
}
