//! Small files that are there whole or not at all, wherever a crash comes.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Writes a file beside the one that is there, for its owner alone, with that ending; syncs it, renames it over that,
/// and syncs the directory, or a loss of power could bring the old one back.
///
/// # Errors
/// When it cannot be written, and the one that was there stays; or, at last, when the directory cannot be synced.
pub(crate) fn write(path: &Path, draft: &str, text: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension(draft);
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    // In one piece: the writer of JSON makes a call of each word.
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(directory) => fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
