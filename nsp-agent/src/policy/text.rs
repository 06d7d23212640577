//! The text of the files a policy is read from, and places in it.

use std::{ops::Range, path::Path, sync::Arc};

use super::diagnose::Position;

/// A source line is shown at most this wide, around what is underlined.
const SNIPPET_CHARS_MAX: usize = 120;
/// How much of a long line is shown before what is underlined.
const SNIPPET_CONTEXT_CHARS: usize = 40;

/// A range of bytes in one of the [`Texts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    file: u32,
    start: u32,
    end: u32,
}

/// A source line, fit to print, and what to underline in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snippet {
    /// The line, shortened when it is long.
    pub(crate) text: String,
    /// Where the underline starts, in characters of `text`.
    pub(crate) start: usize,
    /// Its length, at least one.
    pub(crate) width: usize,
}

#[derive(Debug)]
struct Text {
    path: Arc<Path>,
    content: Arc<str>,
    line_starts: Vec<u32>,
}

/// The text of every file read so far.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    files: Vec<Text>,
}

/// The number of one of the [`Texts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u32);

impl FileId {
    /// The place of a range of bytes in this file.
    ///
    /// Files are bounded far below 4 GiB when they are read, so no offset is cut.
    pub(crate) fn span(self, range: Range<usize>) -> Span {
        let offset = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Span { file: self.0, start: offset(range.start), end: offset(range.end) }
    }
}

impl Texts {
    /// Adds a file.
    pub(crate) fn add(&mut self, path: &Path, content: Arc<str>) -> FileId {
        let offset = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        let breaks = content.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(breaks.map(|(i, _)| offset(i + 1))).collect();
        self.files.push(Text { path: path.into(), content, line_starts });
        FileId(offset(self.files.len() - 1))
    }

    /// Where a span starts.
    pub(crate) fn position(&self, span: Span) -> Position {
        let (text, line, line_range) = self.line(span);
        let before = &text.content[line_range.start..(span.start as usize).min(line_range.end)];
        Position {
            file: Arc::clone(&text.path),
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        }
    }

    /// What stands at a span.
    pub(crate) fn content(&self, span: Span) -> &str {
        let content = &self.files[span.file as usize].content;
        content.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The file that a span is in.
    pub(crate) fn path(&self, span: Span) -> &Path {
        &self.files[span.file as usize].path
    }

    /// Where a span starts, and its line.
    pub(crate) fn locate(&self, span: Span) -> (Position, Option<Snippet>) {
        let position = self.position(span);
        let (text, _, line_range) = self.line(span);
        let line = &text.content[line_range.clone()];
        if line.is_empty() {
            return (position, None);
        }
        let column = position.column as usize - 1;
        let end = (span.end as usize).clamp(span.start as usize, line_range.end);
        let start = (span.start as usize).min(end);
        let width = text.content.get(start..end).map_or(1, |text| text.chars().count());

        let skipped = if line.chars().nth(SNIPPET_CHARS_MAX).is_some() {
            column.saturating_sub(SNIPPET_CONTEXT_CHARS)
        } else {
            0
        };
        let shown = line.chars().skip(skipped).take(SNIPPET_CHARS_MAX);
        // One character stays one character, or the underline would move.
        let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        let room = shown.chars().count().saturating_sub(column - skipped);
        let width = width.min(room).max(1);
        let snippet = Snippet { text: shown.trim_end().into(), start: column - skipped, width };
        (position, Some(snippet))
    }

    /// The file of a span, the index of its first line, and that line's bytes without the break.
    fn line(&self, span: Span) -> (&Text, usize, Range<usize>) {
        let text = &self.files[span.file as usize];
        let line = text.line_starts.partition_point(|start| *start <= span.start) - 1;
        let start = text.line_starts[line] as usize;
        let end =
            text.line_starts.get(line + 1).map_or(text.content.len(), |next| *next as usize - 1);
        (text, line, start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locate(content: &str, range: Range<usize>) -> (u32, u32, Snippet) {
        let mut texts = Texts::default();
        let file = texts.add(Path::new("p.toml"), content.into());
        let (position, snippet) = texts.locate(file.span(range));
        (position.line, position.column, snippet.expect("the line is not empty"))
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        let (line, column, snippet) = locate("a\nbc = 1\n", 2..4);
        assert_eq!((line, column), (2, 1));
        assert_eq!(snippet, Snippet { text: "bc = 1".into(), start: 0, width: 2 });
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let (line, column, snippet) = locate("é = \"x\"", 5..8);
        assert_eq!((line, column), (1, 5));
        assert_eq!(snippet, Snippet { text: "é = \"x\"".into(), start: 4, width: 3 });
    }

    #[test]
    fn a_span_over_several_lines_is_underlined_on_the_first() {
        let (_, _, snippet) = locate("a = [\n1,\n]", 4..10);
        assert_eq!(snippet, Snippet { text: "a = [".into(), start: 4, width: 1 });
    }

    #[test]
    fn a_span_at_the_end_of_the_file_has_a_caret() {
        let (line, column, snippet) = locate("a = ", 4..4);
        assert_eq!((line, column), (1, 5));
        assert_eq!((snippet.start, snippet.width), (4, 1));
    }

    #[test]
    fn a_long_line_is_cut_around_the_span() {
        let line = format!("a = \"{}\"; b", "x".repeat(1000));
        let (_, column, snippet) = locate(&line, line.len() - 1..line.len());
        assert_eq!(column as usize, line.len());
        assert_eq!(snippet.text.chars().nth(snippet.start), Some('b'));
        assert!(snippet.text.chars().count() <= SNIPPET_CHARS_MAX);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let (_, _, snippet) = locate("\u{1b}[31mred", 0..1);
        assert_eq!(snippet.text, " [31mred");
    }
}
