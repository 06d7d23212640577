//! The policy: from the text of files to a typed [`Policy`].
//!
//! Text becomes a tree that knows its places, the tree a document of typed values, and the
//! document, with the sources it names, a policy that can only be right. Every step adds to one
//! report, so that a single pass shows everything that is wrong. Nothing here touches the kernel,
//! and reading a policy changes nothing anywhere.

pub(crate) mod allow;
mod category;
mod choice;
pub(crate) mod diagnose;
pub(crate) mod document;
pub mod failsafe;
mod fqdn;
pub(crate) mod input;
pub mod model;
mod name;
mod ports;
pub(crate) mod prefix;
mod resolve;
mod selector;
mod text;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use self::{
    diagnose::Report,
    document::{Document, Table},
    input::{POLICY_BYTES_MAX, Reader},
    model::Policy,
};
pub use self::{
    diagnose::{Diagnostic, PolicyErrors, Position, Refusal, Severity},
    fqdn::Fqdn,
};
use crate::{progress::Progress, sources::SourceInfo};

/// A policy that was read, and what there is to know about its reading.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// Warnings and notes, in the order of files and lines.
    pub notes: Vec<Diagnostic>,
    /// The sources that were read.
    pub sources: Vec<SourceInfo>,
    /// Every file that was read, the policy's own first.
    pub files: Vec<PathBuf>,
    /// How many of them are the policy's own.
    pub documents: usize,
    /// SHA-256 over the SHA-256 of every file read, in hexadecimal: the same content in the same order
    /// has the same digest, wherever it lies.
    pub digest: String,
}

/// Reads a policy from a file, or from every `*.toml` of a directory as one document.
///
/// # Errors
///
/// Everything that is wrong, as far as one pass can see it.
pub fn load(path: &Path) -> Result<Loaded, PolicyErrors> {
    load_shown(path, &Progress::default())
}

/// The same, and shows how far it is.
///
/// # Errors
///
/// As [`load`].
pub fn load_shown(path: &Path, progress: &Progress) -> Result<Loaded, PolicyErrors> {
    let mut report = Report::default();
    let documents = input::policy_files(path);
    let documents = documents.map_err(|refusal| report.error_in_file(path, refusal)).ok();
    load_from(path, documents, Reader::of(progress.clone()), report)
}

/// Copies of the files that a policy was read from.
#[derive(Clone, Debug)]
pub struct Copies {
    /// The files of the policy itself, in order, as they were named.
    pub documents: Vec<PathBuf>,
    /// Where the copy of each file is.
    pub files: BTreeMap<PathBuf, PathBuf>,
}

/// Reads a policy from copies of its files, as if they were where they were.
///
/// # Errors
///
/// As [`load`].
pub fn load_copies(path: &Path, copies: Copies) -> Result<Loaded, PolicyErrors> {
    load_from(path, Some(copies.documents), Reader::of_copies(copies.files), Report::default())
}

fn load_from(
    path: &Path,
    documents: Option<Vec<PathBuf>>,
    mut reader: Reader,
    mut report: Report,
) -> Result<Loaded, PolicyErrors> {
    let documents = documents.unwrap_or_default();
    let resolved = read_document(path, &documents, &mut reader, &mut report)
        .and_then(|document| resolve::resolve(&document, &mut reader, &mut report));
    let notes = report.finish()?;
    let (policy, sources) = resolved.expect("a policy without errors resolves");
    let (files, digest) = reader.finish();
    Ok(Loaded { policy, notes, sources, files, documents: documents.len(), digest })
}

fn read_document(
    path: &Path,
    files: &[PathBuf],
    reader: &mut Reader,
    report: &mut Report,
) -> Option<Document> {
    let mut all = Table::default();
    let mut complete = !files.is_empty();
    for path in files {
        match read_table(path, reader, report) {
            Some(table) => all.merge(table, report),
            None => complete = false,
        }
    }
    // What a bad file holds is not known to be missing.
    complete.then(|| Document::read(path, all, report))
}

fn read_table(path: &Path, reader: &mut Reader, report: &mut Report) -> Option<Table> {
    let bytes = reader
        .read(path, POLICY_BYTES_MAX, report)
        .map_err(|refusal| report.error_in_file(path, refusal))
        .ok()?;
    let text = input::utf8(path, bytes, report)?;
    let file = report.texts.add(path, text.as_str().into());
    document::parse(&text, file, report)
}

#[cfg(test)]
mod tests;
