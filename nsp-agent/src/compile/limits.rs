//! What a generation may take, checked before anything is published.

use nsp_common::{
    generation::{ASSOCIATIONS_MAX, PORT_CLASSES_MAX},
    ranges::{PAGE_BYTES, PAGES_MAX},
};

use super::{BoundResource, Compiled};
use crate::policy::model::Selector;

/// Address and name classes.
pub const CLASSES_MAX: usize = 1 << 18;
/// Cells of the comb.
pub const CELLS_MAX: usize = 1 << 20;
/// Rule numbers in rows.
pub const ROWS_MAX: usize = 1 << 20;
/// Access rules.
pub const RULES_MAX: usize = 1 << 16;
/// Names.
pub const NAMES_MAX: usize = 1 << 17;
/// Selectors by address with port: one a port, for the kernel looks them up exactly.
pub const SELECTORS_MAX: usize = 1 << 16;
/// Prefixes after the sweep.
pub const PREFIXES_MAX: usize = 1 << 21;

/// A table that would be too large.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the policy needs {needed} {table}, the limit is {limit}")]
pub struct BudgetError {
    table: &'static str,
    needed: usize,
    limit: usize,
}

impl BudgetError {
    pub(super) fn new(table: &'static str, needed: usize, limit: usize) -> Self {
        Self { table, needed, limit }
    }
}

/// How many entries of each table a generation takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Prefixes of the rules, as the sources give them.
    pub prefixes_given: usize,
    /// Prefixes in the address tables.
    pub prefixes: usize,
    /// Pages of the range table.
    pub pages: usize,
    /// Address and name classes.
    pub classes: usize,
    /// Port classes.
    pub port_classes: usize,
    /// Cells of the comb.
    pub cells: usize,
    /// Rule numbers in rows.
    pub rows: usize,
    /// Access rules.
    pub rules: usize,
    /// Largest identity of a name, plus one.
    pub names: usize,
    /// Largest identity of an association, plus one.
    pub associations: usize,
    /// Selectors by address and port.
    pub selectors: usize,
}

impl Sizes {
    pub(super) fn of(compiled: &Compiled, prefixes_given: usize, port_classes: u32) -> Self {
        Self {
            prefixes_given,
            prefixes: compiled.prefixes.len(),
            pages: compiled.pages.len(),
            classes: compiled.classes.len(),
            port_classes: port_classes as usize,
            cells: compiled.cells.len(),
            rows: compiled.rows.len(),
            rules: compiled.rules.len(),
            names: compiled.names.len(),
            associations: compiled.associations.len(),
            selectors: compiled.resources.iter().map(selectors).sum(),
        }
    }

    /// # Errors
    /// The first table that is too large.
    pub fn check(&self) -> Result<(), BudgetError> {
        let Self {
            prefixes_given: _,
            prefixes,
            pages,
            classes,
            port_classes,
            cells,
            rows,
            rules,
            names,
            associations,
            selectors,
        } = *self;
        for (table, needed, limit) in [
            ("prefixes", prefixes, PREFIXES_MAX),
            ("pages of the range table", pages, PAGES_MAX as usize),
            ("classes", classes, CLASSES_MAX),
            ("port classes", port_classes, PORT_CLASSES_MAX as usize),
            ("cells", cells, CELLS_MAX),
            ("rows", rows, ROWS_MAX),
            ("rules", rules, RULES_MAX),
            ("names", names, NAMES_MAX),
            ("associations", associations, ASSOCIATIONS_MAX as usize),
            ("selectors by address and port", selectors, SELECTORS_MAX),
        ] {
            if needed > limit {
                return Err(BudgetError::new(table, needed, limit));
            }
        }
        Ok(())
    }

    /// Bytes that one generation takes in the kernel, its addresses by range table.
    pub fn bytes(&self) -> usize {
        const PORT_TABLE: usize = size_of::<nsp_common::class::PortTable>();
        self.pages * PAGE_BYTES
            + (self.classes + self.cells + self.rows + self.rules + self.names) * 8
            + ASSOCIATIONS_MAX as usize * 16
            + PORT_TABLE
    }
}

/// Entries of the selector table that a resource takes, not counting its cgroups. One at an address
/// has two more for packets whose ports are not known.
fn selectors(resource: &BoundResource) -> usize {
    match &resource.selector {
        Selector::Host => 0,
        Selector::Part(part) if part.address.is_some() => {
            part.ports
                .iter()
                .map(|range| usize::from(range.last - range.first) + 1)
                .sum::<usize>()
                .max(1)
                + 2
        }
        Selector::Part(_) => 1,
    }
}
