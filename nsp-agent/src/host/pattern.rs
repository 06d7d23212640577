//! Globs over names of the host: `eth*`, `postgresql@*.service`. `*` any text, `?` one character,
//! `[a-c]` and `[!a-c]` one of a set or not of it.

use std::fmt;

/// A name, or a glob over names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    glob: glob::Pattern,
}

/// Text that is no glob.
#[derive(Debug, thiserror::Error)]
#[error("bad pattern \"{text}\": {why}")]
pub struct PatternError {
    text: String,
    why: &'static str,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// A bracket that does not close.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        // The library's `**` is about directories, and names have none; its sets are negated by `!`.
        let mut plain = text.replace("[^", "[!");
        while plain.contains("**") {
            plain = plain.replace("**", "*");
        }
        let glob = glob::Pattern::new(&plain)
            .map_err(|error| PatternError { text: text.into(), why: error.msg })?;
        Ok(Self { text: text.into(), glob })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern covers this name.
    pub fn matches(&self, name: &str) -> bool {
        self.glob.matches(name)
    }

    /// Whether this is one name and no glob.
    pub fn is_exact(&self) -> bool {
        !self.text.contains(['*', '?', '['])
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::exact("eth0", "eth0", true)]
    #[case::exact_is_whole("eth0", "eth01", false)]
    #[case::star("eth*", "eth0.100", true)]
    #[case::star_is_anchored("eth*", "veth0", false)]
    #[case::instance("postgresql@*.service", "postgresql@16-main.service", true)]
    #[case::template_alone("postgresql@*.service", "postgresql.service", false)]
    #[case::question("wg?", "wg0", true)]
    #[case::question_is_one("wg?", "wg10", false)]
    #[case::set("eth[01]", "eth1", true)]
    #[case::not_in_set("eth[!01]", "eth1", false)]
    #[case::not_in_set_of_the_shell("eth[^01]", "eth1", false)]
    #[case::two_stars("a**b", "axyb", true)]
    #[case::leading_dot("*.service", ".service", true)]
    fn matches(#[case] pattern: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(Pattern::new(pattern).unwrap().matches(name), expected);
    }

    #[test]
    fn an_open_bracket_is_an_error_that_names_the_pattern() {
        let error = Pattern::new("eth[0").unwrap_err().to_string();
        assert!(error.contains("\"eth[0\""), "{error}");
    }
}
