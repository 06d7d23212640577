//! One file of the log, line by line, of which the last may still be in the making.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::ReadError;
use crate::access_log::sink::predecessor;

/// Longer lines are no rows.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Numbers that may be missing in a row of predecessors before it is taken to end: while the log
/// is being rotated one is always missing.
const GAP_MAX: u32 = 2;

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    reader: BufReader<File>,
    identity: (u64, u64),
    /// Bytes taken from the file, those of the unfinished line too.
    position: u64,
    line: Vec<u8>,
    too_long: bool,
    fresh: bool,
}

pub(super) enum Next<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// A line beyond the limit.
    TooLong,
    /// No whole line is left now.
    End,
}

impl LogFile {
    fn open(path: &Path) -> Result<Option<Self>, ReadError> {
        let failed = |source| ReadError::Io { path: path.into(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        Ok(Some(Self {
            path: path.into(),
            reader: BufReader::new(file),
            identity: (metadata.dev(), metadata.ino()),
            position: 0,
            line: Vec::new(),
            too_long: false,
            fresh: true,
        }))
    }

    /// Whether both are the same file, whatever their names.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    pub(super) fn next_line(&mut self) -> Result<Next<'_>, ReadError> {
        if std::mem::take(&mut self.fresh) {
            self.line.clear();
            self.too_long = false;
        }
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(ReadError::Io { path: self.path.clone(), source }),
            };
            if bytes.is_empty() {
                return Ok(Next::End);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + part.len() > LINE_BYTES_MAX {
                self.too_long = true;
                self.line.clear();
            } else if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let taken = end.map_or(bytes.len(), |end| end + 1);
            self.reader.consume(taken);
            self.position += taken as u64;
            if end.is_some() {
                self.fresh = true;
                return Ok(if self.too_long { Next::TooLong } else { Next::Line(&self.line) });
            }
        }
    }

    /// What there is of the last line, when no more of it will come.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        let rest = if self.fresh { Vec::new() } else { std::mem::take(&mut self.line) };
        if self.too_long && !self.fresh { b"too long".into() } else { rest }
    }

    pub(super) fn skip_to_end(&mut self) -> Result<(), ReadError> {
        self.go_to(SeekFrom::End(0))
    }

    /// Whether the file was cut back behind our back; then it is read from its start.
    pub(super) fn began_anew(&mut self) -> Result<bool, ReadError> {
        let metadata = self.reader.get_ref().metadata();
        let length = metadata.map_err(|error| self.failed(error))?.len();
        if length >= self.position {
            return Ok(false);
        }
        self.go_to(SeekFrom::Start(0))?;
        Ok(length > 0)
    }

    fn go_to(&mut self, place: SeekFrom) -> Result<(), ReadError> {
        self.position = self.reader.seek(place).map_err(|error| self.failed(error))?;
        self.fresh = true;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Io { path: self.path.clone(), source }
    }
}

/// The log and its predecessors, oldest first. They are opened youngest first and each file is
/// taken once: a rotation meanwhile can only make the same file appear twice.
pub(super) fn open_all(path: &Path) -> Result<Vec<LogFile>, ReadError> {
    let mut files: Vec<LogFile> = LogFile::open(path)?.into_iter().collect();
    let (mut number, mut gap) = (1, 0);
    while gap <= GAP_MAX {
        match LogFile::open(&predecessor(path, number))? {
            Some(file) => {
                gap = 0;
                if !files.iter().any(|known| known.is(&file)) {
                    files.push(file);
                }
            }
            None => gap += 1,
        }
        number += 1;
    }
    files.reverse();
    Ok(files)
}
