//! The file under the log's name: appending whole lines, and rotation.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::Failure;

#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) bytes: u64,
    /// The last line is not whole: a line end comes before the next.
    pub(super) torn: bool,
}

impl OpenFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // A pipe without a reader must not hang the agent.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .custom_flags(nonblocking)
            .open(path)?;
        let metadata = file.metadata()?;
        let torn = metadata.is_file() && metadata.len() > 0 && !ends_with_newline(path)?;
        Ok(Self { file, bytes: metadata.len(), torn })
    }

    pub(super) fn is_at(&self, path: &Path) -> bool {
        let (Ok(open), Ok(named)) = (self.file.metadata(), fs::metadata(path)) else {
            return false;
        };
        (open.dev(), open.ino()) == (named.dev(), named.ino())
    }

    /// Appends whole lines; `ends` are the offsets behind each. After a failure the number of lines
    /// that are whole in the file is known, and the rest of a torn one is closed off next time.
    pub(super) fn append(&mut self, text: &[u8], ends: &[usize]) -> Result<(), Failure> {
        if self.torn {
            write_all(&mut self.file, b"\n").map_err(|(_, error)| (0, error))?;
            self.torn = false;
        }
        let written = write_counted(&mut self.file, text, ends);
        written.map_err(|Stopped { lines, bytes, error }| {
            let whole = ends[..lines].last().copied().unwrap_or(0);
            self.torn = bytes > whole;
            (lines, error)
        })
    }
}

/// Where writing stopped.
pub(super) struct Stopped {
    /// Whole lines written.
    pub(super) lines: usize,
    /// Bytes written.
    pub(super) bytes: usize,
    pub(super) error: io::Error,
}

pub(super) fn write_counted(
    target: &mut impl Write,
    text: &[u8],
    ends: &[usize],
) -> Result<(), Stopped> {
    let written =
        write_all(target, text).and_then(|()| target.flush().map_err(|error| (text.len(), error)));
    written.map_err(|(bytes, error)| {
        let lines = ends.iter().take_while(|end| **end <= bytes).count();
        Stopped { lines, bytes, error }
    })
}

/// As `Write::write_all`, and says how far it came.
fn write_all(target: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match target.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Moves the file and its predecessors one further; the oldest goes when there is no gap among
/// them. After an attempt that failed halfway there is one, so trying again costs no predecessor.
pub(super) fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let is_free = |number: &u32| predecessor(path, *number).symlink_metadata().is_err();
    let free = (1..keep).find(is_free).unwrap_or(keep);
    for number in (1..free).rev() {
        fs::rename(predecessor(path, number), predecessor(path, number + 1))?;
    }
    fs::rename(path, predecessor(path, 1))
}

/// `access.jsonl.1` of `access.jsonl`.
pub(in crate::access_log) fn predecessor(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn ends_with_newline(path: &Path) -> io::Result<bool> {
    let mut last = [0];
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
