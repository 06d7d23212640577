//! The catalogue of hard cases: every test it names is there.

use anyhow::{Result, bail};

use super::{Context, verdict};

const PAGE: &str = "docs/hard-cases.md";

/// Follows every test that a row names, and counts the rows that are covered.
pub(crate) fn run(context: &Context) -> Result<()> {
    let Some(page) = context.tree.all().iter().find(|file| file.path == PAGE) else {
        bail!("{PAGE} is gone");
    };
    let mut findings = Vec::new();
    let (mut covered, mut limits) = (0, 0);
    for (line, row) in rows(&page.text) {
        match row.tests.is_empty() {
            false => covered += 1,
            true if row.outcome.starts_with("Limit") => limits += 1,
            true => findings.push(format!("{PAGE}:{line}: {} has neither test nor limit", row.id)),
        }
        for test in &row.tests {
            if !exists(context, test) {
                findings.push(format!("{PAGE}:{line}: {}: there is no test {test}", row.id));
            }
        }
    }
    println!("    hard cases: {covered} of {} by tests, {limits} limits", covered + limits);
    verdict(&findings)
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
/// tests, `crate::module::name` elsewhere.
fn exists(context: &Context, test: &str) -> bool {
    let Some((path, name)) = test.rsplit_once("::") else { return false };
    let (root, rest) = path.split_once("::").unwrap_or((path, ""));
    let folder = match root {
        "nsp_common" => "nsp-common/src".to_owned(),
        "nsp_agent" => "nsp-agent/src".to_owned(),
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
