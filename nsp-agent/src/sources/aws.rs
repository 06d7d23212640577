//! AWS's address range file, `ip-ranges.json`.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    Mistake, TagSets,
    json::{Json, Text},
};

/// The parts of the file that matter; text is borrowed, so nothing is kept twice.
#[derive(Deserialize)]
struct IpRanges<'a> {
    #[serde(borrow)]
    prefixes: Vec<RangeV4<'a>>,
    #[serde(borrow)]
    ipv6_prefixes: Vec<RangeV6<'a>>,
}

#[derive(Deserialize)]
struct RangeV4<'a> {
    #[serde(borrow)]
    ip_prefix: Text<'a>,
    #[serde(borrow)]
    service: Text<'a>,
    #[serde(borrow)]
    region: Text<'a>,
}

#[derive(Deserialize)]
struct RangeV6<'a> {
    #[serde(borrow)]
    ipv6_prefix: Text<'a>,
    #[serde(borrow)]
    service: Text<'a>,
    #[serde(borrow)]
    region: Text<'a>,
}

/// Reads the file, keeping the sets of `wanted`: a service everywhere (`S3`) or in one region
/// (`S3.eu-west-1`).
pub(super) fn read(text: &str, wanted: &BTreeSet<&str>) -> Result<TagSets, Vec<Mistake>> {
    let mut json = Json::new(text);
    let IpRanges { prefixes, ipv6_prefixes } =
        json.parse("AWS's address range file", "ip-ranges.json")?;
    let v4 =
        prefixes.iter().map(|RangeV4 { ip_prefix, service, region }| (ip_prefix, service, region));
    let v6 = ipv6_prefixes
        .iter()
        .map(|RangeV6 { ipv6_prefix, service, region }| (ipv6_prefix, service, region));

    let mut tags = TagSets::default();
    for (prefix, service, region) in v4.chain(v6) {
        tags.prefixes += 1;
        let service = service.as_str();
        let prefix = json.prefix(prefix, service);
        for name in [service.to_owned(), format!("{service}.{}", region.as_str())] {
            if wanted.contains(name.as_str()) {
                tags.sets.entry(name.clone()).or_default().extend(prefix);
            }
            tags.names.insert(name);
        }
    }
    json.finish(tags)
}
