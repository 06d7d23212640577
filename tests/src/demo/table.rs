//! Columns as wide as what is in them.

use super::screen::{Colour, Screen};

/// One field.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    /// In a colour.
    pub(super) fn new(text: &str, colour: Colour) -> Self {
        Self { text: text.to_owned(), colour: Some(colour) }
    }

    /// In none.
    pub(super) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), colour: None }
    }
}

/// A row of fields, or a remark under one.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Cells(Vec<Cell>),
    Note(String),
}

/// Prints them.
pub(super) fn print(screen: Screen, rows: &[Row]) {
    let widths = widths(rows);
    screen.line("");
    for row in rows {
        match row {
            Row::Cells(cells) => screen.line(&format!("   {}", aligned(screen, cells, &widths))),
            // Under the second column: the first is a sign.
            Row::Note(text) => screen.line(&format!("       {}", screen.paint(Colour::Dim, text))),
        }
    }
}

fn aligned(screen: Screen, cells: &[Cell], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let padding = width - cell.text.chars().count() + 2;
        match cell.colour {
            Some(colour) => line.push_str(&screen.paint(colour, &cell.text)),
            None => line.push_str(&cell.text),
        }
        line.extend(std::iter::repeat_n(' ', padding));
    }
    line
}

/// Widths in characters; the demo prints none that takes two columns.
fn widths(rows: &[Row]) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        let Row::Cells(cells) = row else { continue };
        widths.resize(widths.len().max(cells.len()), 0);
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_field_in_characters() {
        let row =
            |first: &str, second: &str| Row::Cells(vec![Cell::plain(first), Cell::plain(second)]);
        let rows = [row("✓", "stranger"), Row::Note("not counted".to_owned()), row("ab", "x")];
        assert_eq!(widths(&rows), [2, 8]);
    }
}
