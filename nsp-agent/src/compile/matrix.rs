//! The matrix: class × lane → row, packed as a comb, and rows of rule numbers by port class.

use hashbrown::HashMap;
use nsp_common::class::Cell;

use super::{limits::BudgetError, ports::PortClasses, sets::Sets, sweep};
use crate::policy::model::PortSet;

/// The packed matrix.
pub(super) struct Matrix {
    /// Where each class's cells begin.
    pub(super) first_cells: Vec<u32>,
    pub(super) cells: Vec<Cell>,
    pub(super) rows: Vec<u32>,
}

/// What a rule number stands for.
pub(super) struct RuleOf<'a> {
    pub(super) lane: u32,
    pub(super) ports: &'a PortSet,
}

impl Matrix {
    /// Packs the classes `sets`; `rules` are by number, the first is none.
    pub(super) fn build(
        sets: &Sets,
        rules: &[RuleOf<'_>],
        port_classes: &PortClasses,
    ) -> Result<Self, BudgetError> {
        let mut rows = Rows::new(rules, port_classes);
        let mut comb = Comb::default();
        let mut first_cells = Vec::new();
        let mut cells = Vec::new();
        for (class, set) in sets.iter().enumerate() {
            let rules_of = &set[..set.partition_point(|member| *member < sweep::PRIVATE)];
            cells.clear();
            // Sets are sorted by number and numbers by lane, so a lane's rules are together.
            let lane = |number: &u32| rules[*number as usize].lane;
            for numbers in rules_of.chunk_by(|one, other| lane(one) == lane(other)) {
                cells.push((lane(&numbers[0]), rows.row(numbers)));
            }
            first_cells.push(comb.place(class as u32, &cells)?);
        }
        Ok(Self { first_cells, cells: comb.cells, rows: rows.rows })
    }
}

/// Rows, each once.
struct Rows<'a> {
    rules: &'a [RuleOf<'a>],
    port_classes: &'a PortClasses,
    numbers: HashMap<Vec<u32>, u32>,
    known: HashMap<Vec<u32>, u32>,
    rows: Vec<u32>,
}

impl<'a> Rows<'a> {
    fn new(rules: &'a [RuleOf<'a>], port_classes: &'a PortClasses) -> Self {
        Self {
            rules,
            port_classes,
            numbers: HashMap::new(),
            known: HashMap::new(),
            rows: Vec::new(),
        }
    }

    /// The row of a lane's rules: for each port class the first of them that admits it.
    fn row(&mut self, numbers: &[u32]) -> u32 {
        // Behind one for any port nobody is asked.
        let any = |number: &u32| *self.rules[*number as usize].ports == PortSet::Any;
        let asked = numbers.iter().position(any).map_or(numbers.len(), |at| at + 1);
        let numbers = &numbers[..asked];
        if let Some(row) = self.known.get(numbers) {
            return *row;
        }
        let length = self.port_classes.count() as usize;
        let content: Vec<u32> = (0..length)
            .map(|class| {
                let admits = |number: &&u32| {
                    self.port_classes.admits(self.rules[**number as usize].ports, class)
                };
                numbers.iter().find(admits).copied().unwrap_or(0)
            })
            .collect();
        let row = match self.numbers.get(&content) {
            Some(row) => *row,
            None => {
                let row = (self.rows.len() / length) as u32;
                self.rows.extend_from_slice(&content);
                self.numbers.insert(content, row);
                row
            }
        };
        self.known.insert(numbers.to_vec(), row);
        row
    }
}

/// Cells of all classes laid over each other without two in one place.
#[derive(Default)]
struct Comb {
    cells: Vec<Cell>,
    first_free: usize,
}

impl Comb {
    /// Finds a place for a class's cells and answers where lane zero of it would be.
    fn place(&mut self, class: u32, cells: &[(u32, u32)]) -> Result<u32, BudgetError> {
        let Some((first_lane, _)) = cells.first() else { return Ok(0) };
        let mut base = self.first_free.saturating_sub(*first_lane as usize);
        while !cells.iter().all(|(lane, _)| self.is_free(base + *lane as usize)) {
            base += 1;
            if base > super::limits::CELLS_MAX {
                return Err(BudgetError::new("cells", base, super::limits::CELLS_MAX));
            }
        }
        for (lane, row) in cells {
            let at = base + *lane as usize;
            if self.cells.len() <= at {
                self.cells.resize(at + 1, Cell::default());
            }
            self.cells[at] = Cell { owner: class + 1, row: *row };
        }
        while !self.is_free(self.first_free) {
            self.first_free += 1;
        }
        Ok(base as u32)
    }

    fn is_free(&self, at: usize) -> bool {
        self.cells.get(at).is_none_or(|cell| cell.owner == 0)
    }
}
