//! Azure's service tag file, `ServiceTags_Public_*.json`.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    Mistake, TagSets,
    json::{Json, Text},
};

/// The parts of the file that matter; text is borrowed, so nothing is kept twice.
#[derive(Deserialize)]
struct ServiceTags<'a> {
    #[serde(borrow)]
    values: Vec<ServiceTag<'a>>,
}

#[derive(Deserialize)]
struct ServiceTag<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    properties: Properties<'a>,
}

#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(borrow, rename = "addressPrefixes")]
    address_prefixes: Vec<Text<'a>>,
}

/// Reads the file, keeping the sets of `wanted`.
pub(super) fn read(text: &str, wanted: &BTreeSet<&str>) -> Result<TagSets, Vec<Mistake>> {
    let mut json = Json::new(text);
    let ServiceTags { values } =
        json.parse("Azure's service tag file", "ServiceTags_Public_*.json")?;
    let mut tags = TagSets::default();
    for ServiceTag { name, properties: Properties { address_prefixes } } in values {
        tags.prefixes += address_prefixes.len();
        let name = name.as_str();
        let prefixes = address_prefixes.iter().filter_map(|prefix| json.prefix(prefix, name));
        if wanted.contains(name) {
            tags.sets.entry(name.to_owned()).or_default().extend(prefixes);
        } else {
            // Judged all the same.
            prefixes.for_each(drop);
        }
        tags.names.insert(name.to_owned());
    }
    json.finish(tags)
}
