//! AWS's address range file, `ip-ranges.json`.

use std::{collections::BTreeSet, io::Read};

use ipnet::IpNet;
use serde::de::MapAccess;

use super::{
    TagSets,
    json::{self, Kind, Object, Objects, Offset, Text},
    mistakes::{Mistake, Mistakes},
};

const KIND: Kind = Kind { what: "AWS's address range file", download: "ip-ranges.json" };

/// Reads the file, keeping the sets of `wanted`: a service everywhere (`S3`) or in one region
/// (`S3.eu-west-1`).
///
/// # Errors
/// Where it is not such a file, or every bad prefix. What cannot be read, or is not UTF-8, is for the
/// caller to notice.
pub(super) fn read(input: impl Read, wanted: &BTreeSet<&str>) -> Result<TagSets, Mistakes> {
    let offset = Offset::default();
    let mut file = File {
        wanted,
        offset: offset.clone(),
        tags: TagSets::default(),
        mistakes: Mistakes::default(),
        prefix: None,
        service: String::new(),
        region: String::new(),
    };
    json::parse(input, &offset, &KIND, &mut file)?;
    file.mistakes.finish(file.tags)
}

/// The whole file, and the range that is read now: its service may stand behind its prefix.
struct File<'a> {
    wanted: &'a BTreeSet<&'a str>,
    offset: Offset,
    tags: TagSets,
    mistakes: Mistakes,
    prefix: Option<Result<IpNet, Mistake>>,
    service: String,
    region: String,
}

impl Object for File<'_> {
    const NAMES: &'static [&'static str] = &["prefixes", "ipv6_prefixes"];

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "prefixes" => map.next_value_seed(Objects(&mut Range::<false>(self))),
            _ => map.next_value_seed(Objects(&mut Range::<true>(self))),
        }
    }
}

/// One of the ranges of a family.
struct Range<'f, 'a, const IS_V6: bool>(&'f mut File<'a>);

impl<const IS_V6: bool> Object for Range<'_, '_, IS_V6> {
    const NAMES: &'static [&'static str] = match IS_V6 {
        false => &["ip_prefix", "service", "region"],
        true => &["ipv6_prefix", "service", "region"],
    };

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let File { offset, prefix, service, region, .. } = &mut *self.0;
        map.next_value_seed(Text(|text: &str| match name {
            "service" => text.clone_into(service),
            "region" => text.clone_into(region),
            _ => *prefix = Some(offset.prefix(text)),
        }))
    }

    fn end(&mut self) {
        let File { wanted, offset: _, tags, mistakes, prefix, service, region } = &mut *self.0;
        tags.prefixes += 1;
        let prefix = match prefix.take() {
            Some(Ok(prefix)) => Some(prefix),
            Some(Err(mistake)) => {
                mistakes.append_of(service, mistake.into());
                None
            }
            None => None,
        };
        for name in [service.clone(), format!("{service}.{region}")] {
            if wanted.contains(name.as_str()) {
                let listing = tags.sets.entry(name.clone()).or_default();
                prefix.into_iter().for_each(|prefix| listing.push(prefix));
            }
            tags.names.insert(name);
        }
    }
}
