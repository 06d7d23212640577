//! Named sets of prefixes that access rules use: service tags, AWS ranges and prefix files.
//!
//! A source is read to its end and judged strictly, whatever part of it is used, but only the sets that
//! the policy names are kept, and never its text.

mod aws;
mod azure;
mod json;
mod listing;
mod mistakes;
mod prefix_file;
mod tag;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

pub(crate) use self::{listing::Listed, tag::Tag};
use self::{listing::Listing, mistakes::Mistakes};
use crate::policy::{
    diagnose::{Refusal, Report, quoted, suggest},
    document::{SourcesDocument, Spanned},
    input::{self, Parsed, Reader, SOURCE_BYTES_MAX, Stream},
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

/// The sets of one vendor's file.
#[derive(Default)]
struct TagSets {
    /// The sets that were wanted and found.
    sets: BTreeMap<String, Listing>,
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
    /// It was read: the sets that were wanted and found, and the names of all, for suggestions.
    Loaded(BTreeMap<String, Listed>, BTreeSet<String>),
}

/// Every set that the policy can use.
#[derive(Debug)]
pub(crate) struct Catalog {
    azure: Vendor,
    aws: Vendor,
    /// `None` for a file with mistakes.
    files: BTreeMap<Name, Option<Listed>>,
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
        let azure =
            loading.vendor(SourceKind::ServiceTags, "service_tags", service_tags, |stream| {
                azure::read(stream, &names)
            });
        let names = wanted.iter().filter_map(|tag| tag.aws_name()).collect();
        let aws =
            loading.vendor(SourceKind::AwsIpRanges, "aws_ip_ranges", aws_ip_ranges, |stream| {
                aws::read(stream, &names)
            });
        let mut files = BTreeMap::new();
        for (name, path) in prefix_files {
            let parse = |stream: &mut Stream| prefix_file::read(stream);
            let listing =
                loading.file(SourceKind::PrefixFile, name.as_str(), path, parse, Listing::count);
            files.insert(name.clone(), listing.map(Listing::finish));
        }
        Self { azure, aws, files, infos: loading.infos }
    }

    /// The prefixes of a tag; `None` when its source has mistakes, which are reported already.
    pub(crate) fn prefixes(&self, tag: &Tag) -> Result<Option<&Listed>, Refusal> {
        match tag {
            Tag::Azure(name) => lookup(&self.azure, tag, name, "", || {
                ("Azure's service tag file", "service_tags = \"ServiceTags_Public.json\"")
            }),
            Tag::Aws(name) => lookup(&self.aws, tag, name, "aws:", || {
                ("AWS's address range file", "aws_ip_ranges = \"ip-ranges.json\"")
            }),
            Tag::File(name) => match self.files.get(name) {
                Some(listed) => Ok(listed.as_ref()),
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
) -> Result<Option<&'a Listed>, Refusal> {
    let what = format!("unknown service tag {}", quoted(&tag.to_string()));
    match vendor {
        Vendor::Failed => Ok(None),
        Vendor::Absent => {
            let (file, cure) = source();
            let why = format!("[sources] does not say where {file} is");
            Err(Refusal::new(what, why).cure(format!("[sources] {cure}")))
        }
        Vendor::Loaded(sets, names) => match sets.get(name) {
            Some(listed) => Ok(Some(listed)),
            None => {
                let (file, _) = source();
                let near = suggest(name, names.iter().map(String::as_str));
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
        parse: impl FnOnce(&mut Stream) -> Result<TagSets, Mistakes>,
    ) -> Vendor {
        let Some(path) = path else { return Vendor::Absent };
        match self.file(kind, name, path, parse, |tags| tags.prefixes) {
            Some(TagSets { sets, names, prefixes: _ }) => {
                let sets = sets.into_iter().map(|(name, listing)| (name, listing.finish()));
                Vendor::Loaded(sets.collect(), names)
            }
            None => Vendor::Failed,
        }
    }

    /// Where a file is.
    fn path(&self, typed: &Spanned<String>) -> PathBuf {
        let policy = self.report.texts.path(typed.span);
        policy.parent().unwrap_or(Path::new("")).join(&typed.value)
    }

    /// Reads one file, relative to the policy file that names it.
    fn file<T>(
        &mut self,
        kind: SourceKind,
        name: &str,
        typed: &Spanned<String>,
        parse: impl FnOnce(&mut Stream) -> Result<T, Mistakes>,
        count: impl Fn(&T) -> usize,
    ) -> Option<T> {
        let path = self.path(typed);
        let parsed = self.reader.parse(&path, SOURCE_BYTES_MAX, self.report, parse);
        let Parsed { value, is_utf8, modified, digest } = self.report.keep(typed.span, parsed)?;
        let mistakes = match value {
            Ok(value) if is_utf8 => {
                let (name, prefixes) = (name.to_owned(), count(&value));
                self.infos.push(SourceInfo { kind, name, path, modified, prefixes });
                return Some(value);
            }
            // That it is not UTF-8 is found again below.
            Ok(_) => Mistakes::default(),
            Err(mistakes) => mistakes,
        };
        let again = input::read_again(&path, SOURCE_BYTES_MAX, digest);
        let bytes = self.report.keep(typed.span, again)?;
        let text = input::utf8(&path, bytes, self.report)?;
        let (mistakes, more) = mistakes.into_parts();
        let ranges: Vec<_> = mistakes.iter().map(|(place, _)| place.range(&text)).collect();
        let file = self.report.texts.add(&path, Arc::from(text));
        for ((_, refusal), range) in mistakes.into_iter().zip(ranges) {
            self.report.error(file.span(range), refusal);
        }
        self.report.suppress(more);
        None
    }
}

#[cfg(test)]
mod tests;
