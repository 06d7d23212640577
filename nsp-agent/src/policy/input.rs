//! Opening the files a policy is read from: bounded, never blocking, and not from everybody.

mod stream;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

pub(crate) use self::stream::Stream;
use super::diagnose::{Refusal, Report, printable, suggest};
use crate::progress::Progress;

/// The largest policy file: a million prefixes fit.
pub(crate) const POLICY_BYTES_MAX: u64 = 32 << 20;
/// The largest file of a source: ten times what the clouds publish today.
pub(crate) const SOURCE_BYTES_MAX: u64 = 64 << 20;
/// The most files a policy directory holds.
const POLICY_FILES_MAX: usize = 1000;

/// What a parser made of a file that it read in parts.
#[derive(Debug)]
pub(crate) struct Parsed<T> {
    /// What it made.
    pub(crate) value: T,
    /// Whether the file is UTF-8. Where it is not, what was made of it means nothing.
    pub(crate) is_utf8: bool,
    /// When the file was last written, where the file system knows.
    pub(crate) modified: Option<SystemTime>,
    /// SHA-256 of what the file holds.
    pub(crate) digest: [u8; 32],
}

/// Reads files, and remembers which and what they held.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    digest: Sha256,
    files: Vec<PathBuf>,
    progress: Progress,
    /// Where files are that are not where they are named.
    copies: BTreeMap<PathBuf, PathBuf>,
}

impl Reader {
    /// Shows how far it is.
    pub(crate) fn of(progress: Progress) -> Self {
        Self { progress, ..Self::default() }
    }

    /// Reads copies of files instead of the files.
    pub(crate) fn of_copies(copies: BTreeMap<PathBuf, PathBuf>) -> Self {
        Self { copies, ..Self::default() }
    }

    /// Reads a file whole; a refusal goes to the caller, who knows where the path was written.
    pub(crate) fn read(
        &mut self,
        path: &Path,
        bytes_max: u64,
        report: &mut Report,
    ) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        self.parse(path, bytes_max, report, |stream| stream.read_to_end(&mut bytes))?;
        Ok(bytes)
    }

    /// Reads a file in parts, which nobody keeps: `parse` is given it as a stream. What it leaves is read
    /// all the same.
    pub(crate) fn parse<T>(
        &mut self,
        path: &Path,
        bytes_max: u64,
        report: &mut Report,
        parse: impl FnOnce(&mut Stream) -> T,
    ) -> Result<Parsed<T>, Refusal> {
        let (file, metadata) =
            open(self.copies.get(path).map_or(path, PathBuf::as_path), bytes_max)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        self.progress.begin_bytes(&format!("reading {}", printable(&name)), metadata.len());
        // The file may grow while it is read; one byte more than allowed tells.
        let mut stream = Stream::of(file, bytes_max + 1, self.progress.clone());
        let value = parse(&mut stream);
        let stream::Ended { length, is_utf8, digest } =
            stream.finish().map_err(|error| unreadable(path, &error))?;
        if length > bytes_max {
            return Err(too_large(path, bytes_max));
        }
        let reader = rustix::process::geteuid().as_raw();
        if ![0, reader].contains(&metadata.uid()) {
            let what = format!("{} belongs to uid {}", shown(path), metadata.uid());
            let why = "that user can change the policy";
            report.warning_in_file(path, Refusal::new(what, why));
        }
        // Digests are all of one length, which keeps `a` + `bc` apart from `ab` + `c`.
        self.digest.update(digest);
        self.files.push(path.to_owned());
        Ok(Parsed { value, is_utf8, modified: metadata.modified().ok(), digest })
    }

    /// The files read, in order, and the hash over the hashes of what they held, in hexadecimal.
    pub(crate) fn finish(self) -> (Vec<PathBuf>, String) {
        let digest = self.digest.finalize();
        (self.files, digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Reads a file again that was [parsed](Reader::parse), to show places in it. Who changed it meanwhile is
/// told so: the places are another file's.
pub(crate) fn read_again(
    path: &Path,
    bytes_max: u64,
    digest: [u8; 32],
) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let keep = |stream: &mut Stream| stream.read_to_end(&mut bytes);
    let parsed = Reader::default().parse(path, bytes_max, &mut Report::default(), keep)?;
    if parsed.digest != digest {
        let what = format!("{} has mistakes, and changed while it was read", shown(path));
        return Err(Refusal::new(what, "where they are is not known").cure("the same again"));
    }
    Ok(bytes)
}

/// The files of a policy: the file itself, or every `*.toml` of a directory in the order of their
/// names. Hidden files are left out, as editors keep half-written copies there.
pub(crate) fn policy_files(path: &Path) -> Result<Vec<PathBuf>, Refusal> {
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let name = entry.map_err(|error| unreadable(path, &error))?.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden && Path::new(&name).extension() == Some(OsStr::new("toml")) {
            files.push(path.join(name));
        }
    }
    if files.is_empty() {
        let what = format!("{} holds no *.toml file", shown(path));
        return Err(Refusal::new(what, "a policy directory holds at least one"));
    }
    if files.len() > POLICY_FILES_MAX {
        let what = format!("{} holds {} *.toml files", shown(path), files.len());
        return Err(Refusal::new(what, format!("a policy has at most {POLICY_FILES_MAX} files")));
    }
    files.sort();
    Ok(files)
}

/// Text of a file that was read; what is not UTF-8 is reported where it stands.
pub(crate) fn utf8(path: &Path, bytes: Vec<u8>, report: &mut Report) -> Option<String> {
    let error = match String::from_utf8(bytes) {
        Ok(text) => return Some(text),
        Err(error) => error,
    };
    let start = error.utf8_error().valid_up_to();
    let bytes = error.as_bytes();
    let end = bytes[start..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| start + n);
    // What is shown stops at the end of that line, since the rest may be anything.
    let shown = String::from_utf8_lossy(&bytes[..end]);
    let file = report.texts.add(path, shown.into());
    let why = "a byte here is part of no UTF-8 text";
    let width = char::REPLACEMENT_CHARACTER.len_utf8();
    let refusal = Refusal::new("the file is not UTF-8", why);
    let path = printable(&path.to_string_lossy());
    // What an editor of the last century leaves is most likely this.
    let cure = format!("save it as UTF-8, such as by iconv -f ISO-8859-1 -t UTF-8 {path}");
    report.error(file.span(start..start + width), refusal.cure(cure));
    None
}

/// Opens a regular file of bounded size. A symlink is followed; what it leads to is judged.
fn open(path: &Path, bytes_max: u64) -> Result<(File, fs::Metadata), Refusal> {
    // Asked before opening, because opening a device can already do something.
    judge(path, &fs::metadata(path).map_err(|error| unreadable(path, &error))?, bytes_max)?;
    // Not blocking, and asked again, because a FIFO may have taken its place meanwhile.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| unreadable(path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    judge(path, &metadata, bytes_max)?;
    Ok((file, metadata))
}

fn judge(path: &Path, metadata: &fs::Metadata, bytes_max: u64) -> Result<(), Refusal> {
    /// Others may write.
    const WORLD_WRITABLE: u32 = 0o002;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a directory" } else { "a pipe, socket or device" };
        let what = format!("{} is {kind}", shown(path));
        let refusal = Refusal::new(what, "only a regular file is read here");
        let inside = "the path of a file";
        return Err(refusal.cure(if metadata.is_dir() { "a file in it" } else { inside }));
    }
    if metadata.len() > bytes_max {
        return Err(too_large(path, bytes_max));
    }
    if metadata.mode() & WORLD_WRITABLE != 0 {
        let what = format!("{} can be written by everyone", shown(path));
        let why = "whoever writes it decides what crosses the perimeter";
        return Err(Refusal::new(what, why).cure(format!("chmod o-w {}", path.display())));
    }
    Ok(())
}

fn too_large(path: &Path, bytes_max: u64) -> Refusal {
    let what = format!("{} is too large", shown(path));
    Refusal::new(what, format!("at most {} MiB are read here", bytes_max >> 20))
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    if error.kind() != io::ErrorKind::NotFound {
        return Refusal::new(format!("cannot read {}", shown(path)), lower(&error.to_string()));
    }
    let refusal = Refusal::new(format!("cannot find {}", shown(path)), "no such file");
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return refusal };
    let name = name.to_string_lossy();
    // A directory of any size may be named by mistake.
    let siblings = fs::read_dir(directory).into_iter().flatten().flatten().take(POLICY_FILES_MAX);
    let siblings: Vec<String> =
        siblings.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    match suggest(&name, siblings.iter().map(String::as_str)) {
        Some(near) => refusal.cure(format!("\"{}\"", printable(near))),
        None if name.ends_with(".toml") => {
            refusal.cure(format!("nsp init -o {}", printable(&path.to_string_lossy())))
        }
        None => refusal,
    }
}

fn shown(path: &Path) -> String {
    format!("`{}`", printable(&path.to_string_lossy()))
}

/// The library's messages start with a capital, ours do not.
fn lower(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
