//! Files are short enough to be read whole.

use anyhow::Result;

use super::{Context, verdict};

/// Above this a file is named, so that the next change splits it.
const WARN: usize = 300;
/// Above this the check fails.
const LIMIT: usize = 450;

/// Files that may be longer, each with its own limit and the reason.
const EXCEPTIONS: [(&str, usize, &str); 0] = [];

/// Counts the lines of every Rust file.
pub(crate) fn run(context: &Context) -> Result<()> {
    let mut findings = Vec::new();
    for file in context.tree.ending(".rs") {
        let lines = file.text.lines().count();
        let exception = EXCEPTIONS.iter().find(|(path, ..)| *path == file.path);
        let limit = exception.map_or(LIMIT, |&(_, limit, _)| limit);
        if lines > limit {
            findings.push(format!("{}: {lines} lines (limit {limit})", file.path));
        } else if lines > WARN && exception.is_none() {
            println!("    long: {}: {lines} lines", file.path);
        }
    }
    for (path, _, reason) in EXCEPTIONS {
        if context.tree.all().iter().all(|it| it.path != path) {
            findings.push(format!("{path}: is gone, but still an exception ({reason})"));
        }
    }
    verdict(&findings)
}
