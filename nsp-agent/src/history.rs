//! The record of changes: who asked for what, what came of it, and what changed unasked.
//!
//! One JSON object a line, in the state directory, synced line by line, and read without an agent. It has a
//! bound and one predecessor. **Invariant:** a record that cannot be written stops nothing; it is counted, and
//! the next one says how many are missing before it.

mod entry;
mod read;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

pub use entry::{Entry, Outcome, Who};
pub use read::{Past, read};

const FILE: &str = "history.jsonl";
const BEFORE: &str = "history.jsonl.1";

/// The file is put aside before a line that would make it longer; half a kilobyte a line, this is two thousand
/// changes.
const BYTES_MAX: u64 = 1 << 20;

/// Bytes of a detail; a longer one is left out.
const DETAIL_BYTES_MAX: usize = 8 << 10;

/// What is appended to.
#[derive(Debug)]
pub struct History {
    directory: PathBuf,
    bytes_max: u64,
    lost: u64,
    /// Of these the next record tells.
    untold: u64,
    error: Option<String>,
}

impl History {
    /// In a state directory.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            bytes_max: BYTES_MAX,
            lost: 0,
            untold: 0,
            error: None,
        }
    }

    /// How many records could not be written since the agent began.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Why the last one could not.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Writes a record, which is on the disk afterwards, or counted.
    pub fn append(&mut self, mut entry: Entry) {
        entry.lost_before = self.untold;
        if entry.detail.to_string().len() > DETAIL_BYTES_MAX {
            entry.detail = "too long to be kept".into();
        }
        let written = serde_json::to_string(&entry)
            .map_err(io::Error::other)
            .and_then(|line| self.write(&(line + "\n")));
        match written {
            Ok(()) => {
                self.untold = 0;
                self.error = None;
            }
            Err(error) => {
                self.lost += 1;
                self.untold += 1;
                tracing::error!(%error, what = entry.what, "a change is not in the history");
                self.error = Some(format!("{}: {error}", self.directory.join(FILE).display()));
            }
        }
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let path = self.directory.join(FILE);
        let (mut file, mut length) = open(&path)?;
        if length != 0 && length + line.len() as u64 > self.bytes_max {
            fs::rename(&path, self.directory.join(BEFORE))?;
            (file, length) = open(&path)?;
        }
        // A line that a crash has torn ends here, or the next one would be part of it.
        let text = if length == 0 || ends_a_line(&mut file)? {
            line.to_owned()
        } else {
            format!("\n{line}")
        };
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a record is none. Where this fails too, the next one begins on a line of its own.
            let _cut = file.set_len(length);
        }
        written?;
        if length == 0 {
            // The name is to be there after a crash as well.
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests;
