//! Lints are silenced by `#[expect]` with a reason, which complains once it is not needed.

use anyhow::Result;

use super::source::{self, has_word};
use super::{Context, verdict};

/// Looks for `allow` in attributes, `cfg_attr` included.
pub(crate) fn run(context: &Context) -> Result<()> {
    let mut findings = Vec::new();
    for file in context.tree.ending(".rs") {
        for (index, line) in source::code(&file.text).lines().enumerate() {
            if is_allow(line) {
                findings.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
            }
        }
    }
    verdict(&findings)
}

fn is_allow(line: &str) -> bool {
    let line = line.trim_start();
    (line.starts_with("#[") || line.starts_with("#![")) && has_word(line, "allow(")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allow_is_found_in_attributes_only() {
        assert!(is_allow("    #[allow(dead_code)]"));
        assert!(is_allow("#![allow(unused)]"));
        assert!(is_allow("#[cfg_attr(test, allow(dead_code))]"));
        assert!(!is_allow("#[expect(dead_code, reason = \"\")]"));
        assert!(!is_allow("rule.allow(prefix)"));
    }
}
