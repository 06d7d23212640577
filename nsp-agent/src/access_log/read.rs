//! Reading the log back, across its predecessors and while it is being written and rotated.
//!
//! What is not a row (a line torn by a full disk, somebody's edit) is passed over and counted.

mod file;
mod since;

use std::{
    collections::VecDeque,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use nsp_common::verdict::Category;

use self::file::{LogFile, Next};
pub use self::since::{SinceError, since};
use super::record::AccessRecord;

/// Which rows to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this category.
    pub category: Option<Category>,
    /// Only rows with a packet at or after this.
    pub since: Option<Timestamp>,
}

impl Filter {
    /// Whether a row is to be shown.
    pub fn admits(&self, record: &AccessRecord) -> bool {
        let Self { category, since } = self;
        category.is_none_or(|category| record.category == category.name())
            && since.is_none_or(|since| record.time_generated_end_time >= since)
    }
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no log under this name.
    #[error("there is no access log at {}", path.display())]
    Missing {
        /// The name.
        path: PathBuf,
    },
    /// It is there and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The rows of a log, oldest first: an iterator that ends where the log ends. One that follows can
/// be asked again later for what was added.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    filter: Filter,
    /// Files yet to be read, the current one first.
    files: VecDeque<LogFile>,
    /// Files that are read. They stay open while they exist under any name: nothing else can have
    /// their inode meanwhile, so they are known when they are found again.
    read: Vec<LogFile>,
    skipped: u64,
    follow: bool,
}

impl Log {
    /// Opens the log and its predecessors.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub fn open(path: &Path, filter: Filter) -> Result<Self, ReadError> {
        let log = Self::start(path, filter, false)?;
        if log.files.is_empty() {
            return Err(ReadError::Missing { path: path.into() });
        }
        Ok(log)
    }

    /// Opens a log that may not be there yet, to follow it from its oldest row.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    pub fn follow(path: &Path, filter: Filter) -> Result<Self, ReadError> {
        Self::start(path, filter, true)
    }

    fn start(path: &Path, filter: Filter, follow: bool) -> Result<Self, ReadError> {
        let files = file::open_all(path)?.into();
        Ok(Self { path: path.into(), filter, files, read: Vec::new(), skipped: 0, follow })
    }

    /// Lines passed over so far because they are no rows.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Goes to the end: only what is added from now on will be shown.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn skip_to_end(&mut self) -> Result<(), ReadError> {
        while self.files.len() > 1 {
            self.read.extend(self.files.pop_front());
        }
        match self.files.front_mut() {
            Some(file) => file.skip_to_end(),
            None => Ok(()),
        }
    }

    /// Shows every row to `each`, then what is added, until `each` breaks off. Looks for more once
    /// in every `interval`.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn run(
        &mut self,
        interval: Duration,
        mut each: impl FnMut(&AccessRecord) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        loop {
            while let Some(record) = self.next_record()? {
                if each(&record).is_break() {
                    return Ok(());
                }
            }
            thread::sleep(interval);
        }
    }

    /// The next row, or `None` when there is no more now.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn next_record(&mut self) -> Result<Option<AccessRecord>, ReadError> {
        loop {
            let last = self.files.len() <= 1;
            let Some(file) = self.files.front_mut() else {
                if !self.follow || !self.find_successors()? {
                    return Ok(None);
                }
                continue;
            };
            match file.next_line()? {
                Next::Line(line) => {
                    let record = AccessRecord::from_json(line);
                    let blank = line.trim_ascii().is_empty();
                    match record {
                        Some(record) if self.filter.admits(&record) => return Ok(Some(record)),
                        Some(_) => {}
                        None => self.skipped += u64::from(!blank),
                    }
                }
                Next::TooLong => self.skipped += 1,
                // What was written before the log was rotated away is read first, so the file is
                // left only when its end is found after its successor.
                Next::End if last && self.follow => {
                    if !self.find_successors()? {
                        return Ok(None);
                    }
                }
                Next::End => {
                    if let Some(record) = self.finish_file() {
                        return Ok(Some(record));
                    }
                }
            }
        }
    }

    /// Leaves the current file. A last line without its end is a row if it reads as one.
    fn finish_file(&mut self) -> Option<AccessRecord> {
        let mut file = self.files.pop_front()?;
        let rest = file.take_rest();
        self.read.push(file);
        if rest.trim_ascii().is_empty() {
            return None;
        }
        let record = AccessRecord::from_json(&rest);
        self.skipped += u64::from(record.is_none());
        record.filter(|record| self.filter.admits(record))
    }

    /// Looks for files that came after the current one; true when there are any, or when the
    /// current one began anew.
    fn find_successors(&mut self) -> Result<bool, ReadError> {
        if let Some(file) = self.files.front_mut()
            && file.began_anew()?
        {
            return Ok(true);
        }
        let found = file::open_all(&self.path)?;
        self.read.retain(|read| found.iter().any(|file| file.is(read)));
        let known = |file: &LogFile| self.files.iter().chain(&self.read).any(|it| it.is(file));
        let new: Vec<_> = found.into_iter().filter(|file| !known(file)).collect();
        let any = !new.is_empty();
        self.files.extend(new);
        Ok(any)
    }
}

impl Iterator for Log {
    type Item = Result<AccessRecord, ReadError>;

    /// The next row. A file that cannot be read is reported once and left.
    fn next(&mut self) -> Option<Self::Item> {
        self.next_record()
            .inspect_err(|_| {
                self.files.pop_front();
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests;
