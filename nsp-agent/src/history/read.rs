//! Reading the history back.

use std::{fs, io, path::Path};

use super::{BEFORE, Entry, FILE};

/// All that is left of the past.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The oldest first.
    pub entries: Vec<Entry>,
    /// Lines that are no record: torn by a crash, or not written by an agent.
    pub unreadable: usize,
}

/// Reads the history in a state directory; empty where there is none.
///
/// # Errors
/// When a file is there and cannot be read.
pub fn read(directory: &Path) -> io::Result<Past> {
    let mut past = Past::default();
    for name in [BEFORE, FILE] {
        let bytes = match fs::read(directory.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(entry) => past.entries.push(entry),
                Err(_) => past.unreadable += 1,
            }
        }
    }
    Ok(past)
}
