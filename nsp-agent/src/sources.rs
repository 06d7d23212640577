//! Named sets of prefixes that access rules use: service tags, AWS ranges and prefix files.
//!
//! A source is read whole and judged strictly, whatever part of it is used, but only the sets that
//! the policy names are kept.

mod aws;
mod azure;
mod json;
mod prefix_file;
mod tag;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use ipnet::IpNet;

pub(crate) use self::tag::Tag;
use crate::policy::{
    diagnose::{Refusal, Report, quoted, suggest},
    document::{SourcesDocument, Spanned},
    input::{Reader, SOURCE_BYTES_MAX, utf8},
    model::Name,
};

/// What kind of file a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// Azure's service tag file.
    ServiceTags,
    /// AWS's address range file.
    AwsIpRanges,
    /// A file with one prefix a line.
    PrefixFile,
}

/// A source that was read, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// What kind of file it is.
    pub kind: SourceKind,
    /// How the policy calls it: `service_tags`, `aws_ip_ranges`, or the prefix file's name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// When it was last written, where the file system knows.
    pub modified: Option<SystemTime>,
    /// How many prefixes it holds, used or not, duplicates included.
    pub prefixes: usize,
}

/// What is wrong in a source, and where in its text.
type Mistake = (Range<usize>, Refusal);

/// The sets of one vendor's file.
#[derive(Debug, Default)]
struct TagSets {
    /// The sets that were wanted and found.
    sets: BTreeMap<String, Vec<IpNet>>,
    /// The names of all sets, for suggestions.
    names: BTreeSet<String>,
    /// How many prefixes the file holds.
    prefixes: usize,
}

/// A vendor's file as the policy has it.
#[derive(Debug)]
enum Vendor {
    /// The policy does not name one.
    Absent,
    /// It has mistakes, which are reported already.
    Failed,
    /// It was read.
    Loaded(TagSets),
}

/// Every set that the policy can use.
#[derive(Debug)]
pub(crate) struct Catalog {
    azure: Vendor,
    aws: Vendor,
    /// `None` for a file with mistakes.
    files: BTreeMap<Name, Option<Vec<IpNet>>>,
    infos: Vec<SourceInfo>,
}

impl Catalog {
    /// Reads the sources of a policy, keeping the sets of `wanted`.
    pub(crate) fn load(
        document: &SourcesDocument,
        wanted: &BTreeSet<&Tag>,
        reader: &mut Reader,
        report: &mut Report,
    ) -> Self {
        let SourcesDocument { service_tags, aws_ip_ranges, subscriptions: _, prefix_files } =
            document;
        let mut loading = Loading { reader, report, infos: Vec::new() };

        let names = wanted.iter().filter_map(|tag| tag.azure_name()).collect();
        let azure = loading.vendor(SourceKind::ServiceTags, "service_tags", service_tags, |text| {
            azure::read(text, &names)
        });
        let names = wanted.iter().filter_map(|tag| tag.aws_name()).collect();
        let aws = loading.vendor(SourceKind::AwsIpRanges, "aws_ip_ranges", aws_ip_ranges, |text| {
            aws::read(text, &names)
        });
        let mut files = BTreeMap::new();
        for (name, path) in prefix_files {
            let prefixes = loading.file(
                SourceKind::PrefixFile,
                name.as_str(),
                path,
                prefix_file::read,
                Vec::len,
            );
            files.insert(name.clone(), prefixes);
        }
        Self { azure, aws, files, infos: loading.infos }
    }

    /// The prefixes of a tag; `None` when its source has mistakes, which are reported already.
    pub(crate) fn prefixes(&self, tag: &Tag) -> Result<Option<&[IpNet]>, Refusal> {
        match tag {
            Tag::Azure(name) => lookup(&self.azure, tag, name, "", || {
                ("Azure's service tag file", "service_tags = \"ServiceTags_Public.json\"")
            }),
            Tag::Aws(name) => lookup(&self.aws, tag, name, "aws:", || {
                ("AWS's address range file", "aws_ip_ranges = \"ip-ranges.json\"")
            }),
            Tag::File(name) => match self.files.get(name) {
                Some(prefixes) => Ok(prefixes.as_deref()),
                None => {
                    let what = format!("unknown prefix file {}", quoted(&tag.to_string()));
                    let why = "[sources.prefix_files] does not name it";
                    let near = suggest(name.as_str(), self.files.keys().map(Name::as_str));
                    let cure = near.map(|near| format!("\"file:{near}\""));
                    Err(Refusal { cure, ..Refusal::new(what, why) })
                }
            },
        }
    }

    /// The sources that were read, for `status`.
    pub(crate) fn into_infos(self) -> Vec<SourceInfo> {
        self.infos
    }
}

fn lookup<'a>(
    vendor: &'a Vendor,
    tag: &Tag,
    name: &str,
    scheme: &str,
    source: impl Fn() -> (&'static str, &'static str),
) -> Result<Option<&'a [IpNet]>, Refusal> {
    let what = format!("unknown service tag {}", quoted(&tag.to_string()));
    match vendor {
        Vendor::Failed => Ok(None),
        Vendor::Absent => {
            let (file, cure) = source();
            let why = format!("[sources] does not say where {file} is");
            Err(Refusal::new(what, why).cure(format!("[sources] {cure}")))
        }
        Vendor::Loaded(tags) => match tags.sets.get(name) {
            Some(prefixes) => Ok(Some(prefixes)),
            None => {
                let (file, _) = source();
                let near = suggest(name, tags.names.iter().map(String::as_str));
                let cure = near.map(|near| format!("\"{scheme}{near}\""));
                Err(Refusal { cure, ..Refusal::new(what, format!("{file} does not have it")) })
            }
        },
    }
}

struct Loading<'a> {
    reader: &'a mut Reader,
    report: &'a mut Report,
    infos: Vec<SourceInfo>,
}

impl Loading<'_> {
    fn vendor(
        &mut self,
        kind: SourceKind,
        name: &str,
        path: &Option<Spanned<String>>,
        parse: impl Fn(&str) -> Result<TagSets, Vec<Mistake>>,
    ) -> Vendor {
        let Some(path) = path else { return Vendor::Absent };
        match self.file(kind, name, path, parse, |tags| tags.prefixes) {
            Some(tags) => Vendor::Loaded(tags),
            None => Vendor::Failed,
        }
    }

    /// Reads one file, relative to the policy file that names it.
    fn file<T>(
        &mut self,
        kind: SourceKind,
        name: &str,
        typed: &Spanned<String>,
        parse: impl Fn(&str) -> Result<T, Vec<Mistake>>,
        count: impl Fn(&T) -> usize,
    ) -> Option<T> {
        let policy = self.report.texts.path(typed.span);
        let path = policy.parent().unwrap_or(Path::new("")).join(&typed.value);
        let input = self.reader.read(&path, SOURCE_BYTES_MAX, self.report);
        let input = self.report.keep(typed.span, input)?;
        let text = utf8(&path, input.bytes, self.report)?;
        match parse(&text) {
            Ok(parsed) => {
                let prefixes = count(&parsed);
                let (name, modified) = (name.to_owned(), input.modified);
                self.infos.push(SourceInfo { kind, name, path, modified, prefixes });
                Some(parsed)
            }
            Err(mistakes) => {
                let file = self.report.texts.add(&path, Arc::from(text));
                for (range, refusal) in mistakes {
                    self.report.error(file.span(range), refusal);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
