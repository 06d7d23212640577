//! Relative links in Markdown lead somewhere.

use std::path::Path;

use anyhow::Result;

use super::{Context, verdict};
use crate::workspace;

/// Follows every relative link of every page.
pub(crate) fn run(context: &Context) -> Result<()> {
    let root = workspace::root();
    let mut findings = Vec::new();
    for file in context.tree.ending(".md") {
        let folder = root.join(&file.path);
        let folder = folder.parent().unwrap_or(Path::new(""));
        for (line, target) in relative_links(&file.text) {
            if !folder.join(&target).exists() {
                findings.push(format!("{}:{line}: {target} does not exist", file.path));
            }
        }
    }
    verdict(&findings)
}

/// Line numbers and targets of links that are neither to the web nor within the page. Examples in
/// fences and in `code` are not links.
fn relative_links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let prose: Vec<&str> = line.split('`').step_by(2).collect();
        let prose = prose.join("``");
        for part in prose.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:") {
                links.push((index + 1, path.to_owned()));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_relative_links_only() {
        let text = "[a](docs/a.md#part) and [b](https://example.com/) and [c](#here)\n\
                    `[d](no.md)` [`e`](e.md \"title\")\n```\n[f](no.md)\n```\n![g](g.svg)\n";
        let found = relative_links(text);
        let expected = [(1, "docs/a.md"), (2, "e.md"), (6, "g.svg")];
        assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
    }
}
