//! Why the demo ended before its end.

use std::fmt;

/// The reason, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Somebody asked it to.
    Stopped,
    /// Something that was to be shown is not so.
    Untrue(String),
    /// Something that was needed did not work.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Untrue(sentence) => write!(f, "not true: {sentence}"),
            Self::Broken(what) => f.write_str(what),
        }
    }
}
