//! The catalogue of hard cases: every row is there, and so is every test that it names.

use anyhow::{Result, bail};

use super::{Context, verdict};

const PAGE: &str = "docs/hard-cases.md";

/// Rows of each part.
const PARTS: [(char, usize); 9] = [
    ('A', 16),
    ('B', 12),
    ('C', 19),
    ('D', 13),
    ('E', 11),
    ('G', 28),
    ('H', 12),
    ('I', 12),
    ('J', 5),
];
/// Rows that are not left open: parts whole, and some of others. Part of `I` follows when pins are there.
const SHOWN: [&str; 6] = ["A", "B", "D02", "D08", "D09", "G0"];

/// Follows every test that a row names, and counts the rows that are shown.
pub(crate) fn run(context: &Context) -> Result<()> {
    let Some(page) = context.tree.all().iter().find(|file| file.path == PAGE) else {
        bail!("{PAGE} is gone");
    };
    let rows = rows(&page.text);
    let mut findings = missing(rows.iter().map(|(_, row)| row.id));
    let mut shown = 0;
    let (mut limits, mut open) = (Vec::new(), Vec::new());
    for (line, row) in &rows {
        let is_open = row.outcome.starts_with("Open");
        match (row.tests.is_empty(), is_open) {
            (_, true) => open.push(row.id),
            (false, false) => shown += 1,
            (true, false) if row.outcome.starts_with("Limit") => limits.push(row.id),
            (true, false) => {
                findings.push(format!("{PAGE}:{line}: {} has neither test nor limit", row.id));
            }
        }
        if is_open && SHOWN.iter().any(|part| row.id.starts_with(part)) {
            findings.push(format!("{PAGE}:{line}: {} is not to be left open", row.id));
        }
        for test in &row.tests {
            if !exists(context, test) {
                findings.push(format!("{PAGE}:{line}: {}: there is no test {test}", row.id));
            }
        }
    }
    let all: usize = PARTS.iter().map(|(_, rows)| rows).sum();
    println!("    hard cases: {shown} of {all} rows shown by tests");
    println!("    limits without a test: {}; open: {}", list(&limits), list(&open));
    verdict(&findings)
}

fn list(rows: &[&str]) -> String {
    if rows.is_empty() { "none".to_owned() } else { rows.join(", ") }
}

/// Rows that the page does not have, and those that it has twice or that are of no part.
fn missing<'a>(rows: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut wanted: Vec<String> = PARTS
        .iter()
        .flat_map(|(part, rows)| (1..=*rows).map(move |row| format!("{part}{row:02}")))
        .collect();
    let mut findings = Vec::new();
    for row in rows {
        match wanted.iter().position(|it| it == row) {
            Some(place) => drop(wanted.remove(place)),
            None => findings.push(format!("{PAGE}: {row} is there twice, or of no part")),
        }
    }
    findings.extend(wanted.iter().map(|row| format!("{PAGE}: {row} is not there")));
    findings
}

/// One row of a table: its number, what comes of it, and the tests.
struct Row<'a> {
    id: &'a str,
    outcome: &'a str,
    tests: Vec<&'a str>,
}

/// The rows of tables whose first column is a letter and two digits.
fn rows(text: &str) -> Vec<(usize, Row<'_>)> {
    text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, row(line)?))).collect()
}

fn row(line: &str) -> Option<Row<'_>> {
    let cells: Vec<&str> = line.trim().strip_prefix('|')?.split('|').map(str::trim).collect();
    let [id, _, outcome, tests, ..] = cells[..] else { return None };
    let is_number = id.len() == 3 && id[1..].bytes().all(|byte| byte.is_ascii_digit());
    let tests = tests.split('`').skip(1).step_by(2).collect();
    is_number.then_some(Row { id, outcome, tests })
}

/// Whether a function of this name is in the file that its path leads to: `tier::module::name` in the
/// tests, `vm::module::name` in what a virtual machine runs, `crate::module::name` elsewhere.
fn exists(context: &Context, test: &str) -> bool {
    let Some((path, name)) = test.rsplit_once("::") else { return false };
    let (root, rest) = path.split_once("::").unwrap_or((path, ""));
    let folder = match root {
        "nsp_common" => "nsp-common/src".to_owned(),
        "nsp_agent" => "nsp-agent/src".to_owned(),
        "nsp_tests" => "tests/src".to_owned(),
        "vm" => "tests/src/bin/vm_guest".to_owned(),
        tier => format!("tests/tests/{tier}"),
    };
    let inside = rest.strip_suffix("::tests").unwrap_or(rest);
    let files = [rest, inside].map(|path| format!("{folder}/{}.rs", path.replace("::", "/")));
    let function = format!("fn {name}(");
    context
        .tree
        .all()
        .iter()
        .any(|file| files.contains(&file.path) && file.text.contains(&function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_missing_twice_there_or_unknown_are_found() {
        let numbers = |part: char, rows| (1..=rows).map(move |row| format!("{part}{row:02}"));
        let all: Vec<String> =
            PARTS.iter().flat_map(|(part, rows)| numbers(*part, *rows)).collect();
        assert_eq!(all.len(), 128);
        let mut rows: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(missing(rows.iter().copied()), [""; 0]);
        rows[3] = "F01";
        rows[5] = "A01";
        assert_eq!(missing(rows.into_iter()).len(), 4);
    }

    #[test]
    fn rows_name_their_tests() {
        let text = "| ID | Input | Outcome | Tests |\n|---|---|---|---|\n\
                    | G01 | a | Refused | `prog::names::a`, `net::b::c` |\n| G27 | b | Limit: c | |\n";
        let found: Vec<_> =
            rows(text).into_iter().map(|(line, row)| (line, row.id, row.tests)).collect();
        assert_eq!(
            found,
            [(3, "G01", vec!["prog::names::a", "net::b::c"]), (4, "G27", Vec::new())]
        );
    }
}
