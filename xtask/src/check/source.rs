//! The files that the checks read, and Rust code without what only looks like code.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::workspace;

/// All text files of the workspace.
pub(crate) struct Tree {
    files: Vec<File>,
}

/// One of them.
pub(crate) struct File {
    /// Relative to the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Directories that hold nothing written by us. Hidden ones are skipped too, but for these.
const SKIPPED: [&str; 3] = ["target", "artifacts", "corpus"];
const HIDDEN_BUT_OURS: [&str; 3] = [".cargo", ".ci", ".github"];

impl Tree {
    /// Reads the tree as it is on disk, so that new files count before they are committed.
    pub(crate) fn read() -> Result<Self> {
        let mut files = Vec::new();
        collect(&workspace::root(), "", &mut files)?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { files })
    }

    /// Every file.
    pub(crate) fn all(&self) -> &[File] {
        &self.files
    }

    /// The files whose names end so.
    pub(crate) fn ending(&self, suffix: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |it| it.path.ends_with(suffix))
    }
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let hidden = name.starts_with('.') && !HIDDEN_BUT_OURS.contains(&name.as_str());
            if !hidden && !SKIPPED.contains(&name.as_str()) {
                collect(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if kind.is_file() {
            // What is not UTF-8 is data, not text.
            if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                files.push(File { path, text });
            }
        }
    }
    Ok(())
}

/// The code of a Rust source, line by line, with comments and the contents of literals blanked.
/// A sketch of the lexer: enough for rules about words, and wrong only on purpose.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'r' if is_raw_string(bytes, at) => raw_string_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'\'' => character_end(bytes, at),
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let found = rest.windows(needle.len()).position(|it| it == needle);
    found.map_or(bytes.len(), |it| from + it + needle.len())
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    // The newline itself is kept by the caller.
    find(bytes, at, b"\n")
}

fn comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (1, at + 2);
    while at < bytes.len() && depth > 0 {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// `r"` or `r#"`, but neither `r#name` nor a name that ends in r.
fn is_raw_string(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|it| bytes[it]);
    let in_name = before.is_some_and(|it| (it.is_ascii_alphanumeric() && it != b'b') || it == b'_');
    let hashes = bytes[at + 1..].iter().take_while(|&&it| it == b'#').count();
    !in_name && bytes.get(at + 1 + hashes) == Some(&b'"')
}

fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..].iter().take_while(|&&it| it == b'#').count();
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    find(bytes, at + hashes + 2, &close)
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a character literal; a lifetime loses its quote only.
fn character_end(bytes: &[u8], at: usize) -> usize {
    match &bytes[at + 1..] {
        [b'\\', ..] => find(bytes, at + 3, b"'"),
        [_, b'\'', ..] => at + 3,
        // Not ASCII: up to four bytes until the quote.
        [first, rest @ ..] if !first.is_ascii() => {
            rest.iter().take(4).position(|&it| it == b'\'').map_or(at + 1, |it| at + it + 3)
        }
        _ => at + 1,
    }
}

/// Whether `word` is in the line as a whole: no letter, digit or underscore on either side.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |it: char| it.is_alphanumeric() || it == '_';
    line.match_indices(word).any(|(at, _)| {
        let ends_open = word.ends_with(|it: char| !part_of_name(it));
        !line[..at].ends_with(part_of_name)
            && (ends_open || !line[at + word.len()..].starts_with(part_of_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        for (text, words) in [
            ("a // unsafe\nb", "a b"),
            ("a /* unsafe /* in */ */ b", "a b"),
            ("f(\"unsafe \\\" {\") b", "f( ) b"),
            ("f(r#\"unsafe \" \"#) b", "f( ) b"),
            ("f('\"') + g('\\'') + h('…') b", "f( ) + g( ) + h( ) b"),
            ("fn f<'a>(x: &'a str) b", "fn f< a>(x: & a str) b"),
            ("r#unsafe b", "r#unsafe b"),
        ] {
            let code = code(text);
            assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), words);
            assert_eq!((code.len(), code.lines().count()), (text.len(), text.lines().count()));
        }
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use aya::maps;", "aya::"));
        assert!(!has_word("use naya::maps;", "aya::"));
        assert!(has_word("unsafe { x }", "unsafe"));
        assert!(!has_word("unsafe_op_in_unsafe_fn", "unsafe"));
    }
}
