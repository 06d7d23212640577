//! Where rows go: a file that is rotated by size, or standard output.
//!
//! **Invariant:** every row handed over is either in the file, whole, or counted as lost together
//! with its packets. Nothing here waits for a cure, and nothing is tried twice: the next batch
//! tries again by itself.
//!
//! The file is looked for under its name before each batch, so a log that was moved away, or whose
//! directory came back, is found without being told. A batch is written in as few writes as
//! rotation allows, and not buffered beyond that: what was written survives the agent.

mod file;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub(super) use self::file::predecessor;
use self::file::{OpenFile, Stopped, rotate, write_counted};
use super::record::AccessRecord;

/// Where rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output, not rotated.
    Stdout,
    /// A file, and its predecessors beside it.
    File(PathBuf),
}

impl Target {
    /// What the command line or the policy says: `-` is standard output.
    pub fn of(path: &Path) -> Self {
        if path == Path::new("-") { Self::Stdout } else { Self::File(path.into()) }
    }

    /// The same for somebody elsewhere: an absolute path, or `-`.
    pub fn name(&self) -> PathBuf {
        match self {
            Self::Stdout => "-".into(),
            // Only an empty path has none.
            Self::File(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        }
    }
}

/// When a file is rotated, and how many of its predecessors stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Size beyond which a file does not grow. One that cannot be rotated may reach twice that.
    pub bytes_max: u64,
    /// Predecessors that stay: `access.jsonl.1`, the youngest, and so on. At least one.
    pub keep: u32,
}

impl Default for Rotation {
    /// 64 MiB, four predecessors.
    fn default() -> Self {
        Self { bytes_max: 64 << 20, keep: 4 }
    }
}

/// What could not be written, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Rows.
    pub lines: u64,
    /// The packets that these rows stood for.
    pub packets: u64,
}

impl Lost {
    /// Adds rows.
    pub fn add(&mut self, records: &[AccessRecord]) {
        self.lines += records.len() as u64;
        self.packets += records.iter().map(|record| record.packets).sum::<u64>();
    }
}

/// Writes rows and counts what it loses.
#[derive(Debug)]
pub struct Sink {
    target: Target,
    rotation: Rotation,
    open: Option<OpenFile>,
    lost: Lost,
    error: Option<String>,
}

impl Sink {
    /// A sink. The file's directory is made now if it is not there, and never again: a directory
    /// that vanishes later was taken away on purpose, or its file system was.
    pub fn new(target: Target, rotation: Rotation) -> Self {
        if let Target::File(path) = &target
            && let Some(parent) = path.parent()
            && let Err(error) = fs::create_dir_all(parent)
        {
            tracing::warn!(path = %parent.display(), %error, "cannot make the log's directory");
        }
        let rotation = Rotation { keep: rotation.keep.max(1), ..rotation };
        Self { target, rotation, open: None, lost: Lost::default(), error: None }
    }

    /// Writes a batch, as much of it as can be written.
    pub fn write(&mut self, records: &[AccessRecord]) {
        if records.is_empty() {
            return;
        }
        let before = self.error.take();
        let written = match self.target.clone() {
            Target::Stdout => self.write_stdout(records),
            Target::File(path) => self.write_file(&path, records),
        };
        if let Err((written, error)) = written {
            self.lost.add(&records[written..]);
            let error = error.to_string();
            // Once per cause: this log's troubles must not fill the other.
            if before.as_ref() != Some(&error) {
                tracing::warn!(%error, "rows of the access log are lost");
            }
            self.error = Some(error);
        }
    }

    /// What could not be written so far.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// What went wrong with the last batch.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    fn write_stdout(&self, records: &[AccessRecord]) -> Result<(), Failure> {
        let (text, ends) = lines(records);
        write_counted(&mut io::stdout().lock(), text.as_bytes(), &ends)
            .map_err(|Stopped { lines, error, bytes: _ }| (lines, error))
    }

    fn write_file(&mut self, path: &Path, records: &[AccessRecord]) -> Result<(), Failure> {
        let (text, ends) = lines(records);
        let bytes_max = self.rotation.bytes_max;
        let mut done = 0;
        while done < records.len() {
            let start = ends[..done].last().copied().unwrap_or(0);
            let file =
                self.ready(path, (ends[done] - start) as u64).map_err(|error| (done, error))?;
            let room = bytes_max.saturating_sub(file.bytes);
            let fitting = ends[done..].iter().take_while(|end| (**end - start) as u64 <= room);
            // A line that fits nowhere, or a file that cannot be rotated: one line at a time.
            let upto = done + fitting.count().max(1);
            let part = &text.as_bytes()[start..ends[upto - 1]];
            let part_ends: Vec<_> = ends[done..upto].iter().map(|end| end - start).collect();
            file.append(part, &part_ends).map_err(|(lines, error)| (done + lines, error))?;
            done = upto;
        }
        Ok(())
    }

    /// The file under its name, rotated when it has no room for the next line.
    fn ready(&mut self, path: &Path, next: u64) -> io::Result<&mut OpenFile> {
        let open = match self.open.take() {
            Some(open) if open.is_at(path) => open,
            _ => OpenFile::open(path)?,
        };
        let mut open = OpenFile { bytes: open.file.metadata()?.len(), ..open };
        if open.bytes > 0 && open.bytes + next > self.rotation.bytes_max {
            match rotate(path, self.rotation.keep) {
                Ok(()) => open = OpenFile::open(path)?,
                // Better a file that is too large than lost lines, within reason.
                Err(error) if open.bytes + next > self.rotation.bytes_max.saturating_mul(2) => {
                    self.open = Some(open);
                    return Err(error);
                }
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "cannot rotate the access log");
                }
            }
        }
        Ok(self.open.insert(open))
    }
}

/// How many records were written, and why not the next.
type Failure = (usize, io::Error);

/// The text of a batch and the offset behind each of its lines.
fn lines(records: &[AccessRecord]) -> (String, Vec<usize>) {
    let mut text = String::new();
    let mut ends = Vec::with_capacity(records.len());
    for record in records {
        text.push_str(&record.to_json());
        text.push('\n');
        ends.push(text.len());
    }
    (text, ends)
}

#[cfg(test)]
mod tests;
