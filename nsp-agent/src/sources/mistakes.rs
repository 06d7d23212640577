//! What is wrong in a source, and where.

use std::ops::Range;

use crate::policy::diagnose::{ERRORS_MAX, Refusal};

/// Where a mistake stands in a file that nobody keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At these bytes.
    Bytes(Range<usize>),
    /// In a JSON string of this many bytes, whose last quote is at `end`.
    Quoted {
        /// The byte of the last quote.
        end: usize,
        /// Bytes of what it says, which are fewer than it has where it has escapes.
        length: usize,
    },
    /// At a line and a column, both counted from one, the column in bytes, as `serde_json` says them.
    Line {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
}

impl Place {
    /// The bytes of the file's text that it is.
    pub(super) fn range(&self, text: &str) -> Range<usize> {
        let (start, end) = match *self {
            Self::Bytes(Range { start, end }) => (start, end),
            Self::Quoted { end, length } => {
                let start = end.saturating_sub(length);
                let is_whole = start > 0 && text.as_bytes().get(start - 1) == Some(&b'"');
                // With escapes nobody knows where it starts, but where it ends.
                (if is_whole { start } else { end }, end)
            }
            Self::Line { line, column } => {
                let before = text.split_inclusive('\n').take(line.saturating_sub(1));
                let place = before.map(str::len).sum::<usize>() + column.saturating_sub(1);
                (place, place)
            }
        };
        let start = text.floor_char_boundary(start);
        start..text.ceil_char_boundary(end.max(start))
    }
}

/// A mistake and its place.
pub(super) type Mistake = (Place, Refusal);

/// The mistakes of one file. As many as are shown are kept: a large file may hold nothing else.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    kept: Vec<Mistake>,
    more: usize,
}

impl Mistakes {
    /// Adds one.
    pub(super) fn push(&mut self, mistake: Mistake) {
        if self.kept.len() < ERRORS_MAX {
            self.kept.push(mistake);
        } else {
            self.more += 1;
        }
    }

    /// Adds those of a set, whose name they get.
    pub(super) fn append_of(&mut self, set: &str, mistakes: Self) {
        let Self { kept, more } = mistakes;
        self.more += more;
        for (place, refusal) in kept {
            self.push((place, Refusal { what: format!("{} of `{set}`", refusal.what), ..refusal }));
        }
    }

    /// What was read, or what is wrong with it.
    pub(super) fn finish<T>(self, read: T) -> Result<T, Self> {
        if self.kept.is_empty() { Ok(read) } else { Err(self) }
    }

    /// Those that are kept, and how many more there are.
    pub(super) fn into_parts(self) -> (Vec<Mistake>, usize) {
        (self.kept, self.more)
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self { kept: vec![mistake], more: 0 }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::bytes(Place::Bytes(1..3), "bc")]
    #[case::quoted(Place::Quoted { end: 9, length: 3 }, "é")]
    #[case::with_escapes(Place::Quoted { end: 17, length: 2 }, "")]
    #[case::line(Place::Line { line: 2, column: 1 }, "")]
    #[case::past_the_end(Place::Line { line: 9, column: 9 }, "")]
    #[case::of_another_file(Place::Quoted { end: 900, length: 3 }, "")]
    fn places_are_in_the_text(#[case] place: Place, #[case] expected: &str) {
        let text = "abc\n \"é!\", \"\\u0041\"";
        let range = place.range(text);
        assert!(text[range.clone()].starts_with(expected), "{}", &text[range]);
    }

    #[test]
    fn as_many_mistakes_are_kept_as_are_shown() {
        let mut mistakes = Mistakes::default();
        for byte in 0..ERRORS_MAX + 7 {
            mistakes.push((Place::Bytes(byte..byte), Refusal::new("a", "b")));
        }
        let (kept, more) = mistakes.finish(()).unwrap_err().into_parts();
        assert_eq!((kept.len(), more), (ERRORS_MAX, 7));
    }
}
