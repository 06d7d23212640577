//! Small files that are there whole or not at all, wherever a crash comes.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Writes a file beside the one that is there, for its owner alone, syncs it, and renames it over that.
///
/// # Errors
/// When it cannot be written; the one that was there stays.
pub(crate) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    // In one piece: the writer of JSON makes a call of each word.
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}
