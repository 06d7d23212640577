//! What is said about a policy: where, what, why, and the corrected value.
//!
//! A value parser returns a [`Refusal`] and knows nothing of files; the document layer adds the
//! place. A [`Report`] collects, so that one pass shows every mistake worth showing.

use std::{fmt, path::Path, sync::Arc};

use super::text::{Snippet, Span, Texts};

/// More errors than this help nobody; the rest are counted.
pub(crate) const ERRORS_MAX: usize = 100;
/// The same for warnings and notes.
const NOTES_MAX: usize = 100;
/// Typed text longer than this is shortened when it is shown.
const SHOWN_CHARS_MAX: usize = 80;

/// A place in a file, for people: line and column count from 1, the column in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file, as its path was given.
    pub file: Arc<Path>,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Default for Position {
    /// No place: what a test or a generated policy has.
    fn default() -> Self {
        Self { file: Path::new("").into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.file.to_string_lossy()))?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy works, but probably not as meant.
    Warning,
    /// Good to know.
    Note,
}

/// A value refused by its parser, before anyone knows where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The thing and what is wrong with it.
    pub what: String,
    /// The rule it breaks.
    pub why: String,
    /// What to write or to run in its place, when there is one answer.
    pub cure: Option<String>,
}

impl Refusal {
    /// A refusal without a cure.
    pub(crate) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), cure: None }
    }

    /// The same with a cure.
    pub(crate) fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }
}

/// One thing said about a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// Where it is; line 0 means the file as a whole.
    pub position: Position,
    /// The thing and what is wrong with it.
    pub what: String,
    /// The rule it breaks.
    pub why: String,
    /// What to write or to run in its place, when there is one answer.
    pub cure: Option<String>,
    /// The source line and what to underline in it.
    pub(crate) snippet: Option<Snippet>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, position, what, why, cure, snippet } = self;
        let severity = match severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
            Severity::Note => "note: ",
        };
        write!(f, "nsp: {position}: {severity}{what}: {why}")?;
        if let Some(Snippet { text, start, width }) = snippet {
            let gutter = position.line.to_string().len().max(4);
            write!(f, "\n{:>gutter$} | {text}", position.line)?;
            write!(f, "\n{:gutter$} | {:start$}{}", "", "", "^".repeat(*width))?;
        }
        if let Some(cure) = cure {
            write!(f, "\ntry: {cure}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a policy, in the order of its files and lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors {
    /// What is wrong; never empty.
    pub errors: Vec<Diagnostic>,
    /// How many more errors there were than are listed.
    pub suppressed: usize,
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        if self.suppressed > 0 {
            write!(f, "\nnsp: and {} more errors", self.suppressed)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

/// Collects what is said while one policy is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The files read so far.
    pub(crate) texts: Texts,
    errors: Vec<Diagnostic>,
    errors_suppressed: usize,
    notes: Vec<Diagnostic>,
}

impl Report {
    /// Refuses the policy because of what stands at `span`.
    pub(crate) fn error(&mut self, span: Span, refusal: Refusal) {
        if self.errors_full() {
            return;
        }
        let diagnostic = self.place(Severity::Error, span, refusal);
        self.add_error(diagnostic);
    }

    /// Counts errors that are not worth a place.
    pub(crate) fn suppress(&mut self, errors: usize) {
        self.errors_suppressed += errors;
    }

    /// Refuses the policy because of a file as a whole.
    pub(crate) fn error_in_file(&mut self, file: &Path, refusal: Refusal) {
        if self.errors_full() {
            return;
        }
        let Refusal { what, why, cure } = refusal;
        let position = Position { file: file.into(), line: 0, column: 0 };
        let severity = Severity::Error;
        self.add_error(Diagnostic { severity, position, what, why, cure, snippet: None });
    }

    /// Warns about what stands at `span`.
    pub(crate) fn warning(&mut self, span: Span, refusal: Refusal) {
        if !self.notes_full() {
            let diagnostic = self.place(Severity::Warning, span, refusal);
            self.add_note(diagnostic);
        }
    }

    /// Whether no more warnings and notes are listed: finding words for them would be wasted work.
    pub(crate) fn notes_full(&self) -> bool {
        self.notes.len() >= NOTES_MAX
    }

    /// Remarks on what stands at `span`.
    pub(crate) fn note(&mut self, span: Span, refusal: Refusal) {
        if !self.notes_full() {
            let diagnostic = self.place(Severity::Note, span, refusal);
            self.add_note(diagnostic);
        }
    }

    /// Adds a remark on a file as a whole.
    pub(crate) fn warning_in_file(&mut self, file: &Path, refusal: Refusal) {
        let Refusal { what, why, cure } = refusal;
        let position = Position { file: file.into(), line: 0, column: 0 };
        let severity = Severity::Warning;
        self.add_note(Diagnostic { severity, position, what, why, cure, snippet: None });
    }

    /// Refuses what `result` refuses and keeps the rest.
    pub(crate) fn keep<T>(&mut self, span: Span, result: Result<T, Refusal>) -> Option<T> {
        result.map_err(|refusal| self.error(span, refusal)).ok()
    }

    /// Whether the policy is refused already.
    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Ends the reading: the warnings and notes, or the errors.
    pub(crate) fn finish(self) -> Result<Vec<Diagnostic>, PolicyErrors> {
        let Self { texts: _, mut errors, errors_suppressed, mut notes } = self;
        if errors.is_empty() {
            notes.sort_by(|a, b| a.position.cmp(&b.position));
            return Ok(notes);
        }
        errors.sort_by(|a, b| a.position.cmp(&b.position));
        Err(PolicyErrors { errors, suppressed: errors_suppressed })
    }

    fn place(&self, severity: Severity, span: Span, refusal: Refusal) -> Diagnostic {
        let Refusal { what, why, cure } = refusal;
        // Most who write one quote what was typed by themselves; a terminal obeys the one that forgot to.
        let [what, why] = [what, why].map(plain);
        let cure = cure.map(plain);
        let (position, snippet) = self.texts.locate(span);
        Diagnostic { severity, position, what, why, cure, snippet }
    }

    /// Counts one more error when no more are listed: finding its place would be wasted work.
    fn errors_full(&mut self) -> bool {
        let full = self.errors.len() == ERRORS_MAX;
        self.errors_suppressed += usize::from(full);
        full
    }

    /// What `[defaults]` gives is judged for every user of it, but said once.
    fn add_error(&mut self, diagnostic: Diagnostic) {
        if !self.errors.contains(&diagnostic) {
            self.errors.push(diagnostic);
        }
    }

    fn add_note(&mut self, diagnostic: Diagnostic) {
        if !self.notes_full() && !self.notes.contains(&diagnostic) {
            self.notes.push(diagnostic);
        }
    }
}

/// The candidate that was probably meant by `typed`.
pub(crate) fn suggest<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = fold(typed);
    let distance_max = (folded.len() / 3).clamp(1, 4);
    if folded.is_empty() || folded.len() > SHOWN_CHARS_MAX {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and separators are the commonest mistakes, so they cost nothing.
fn fold(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Typed text made safe to print: control characters escaped, shortened when long.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == SHOWN_CHARS_MAX * 4 {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A message in which no typed text steers the terminal. Its own lines stay.
fn plain(text: String) -> String {
    let is_unsafe = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_unsafe) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Typed text as it appears in a message: printable, in backquotes.
pub(crate) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let ellipsis = if short.len() < text.len() { "…" } else { "" };
    format!("`{}{ellipsis}`", printable(&short))
}

#[cfg(test)]
mod tests;
