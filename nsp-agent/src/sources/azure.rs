//! Azure's service tag file, `ServiceTags_Public_*.json`.

use std::{collections::BTreeSet, io::Read, mem::take};

use serde::de::MapAccess;

use super::{
    TagSets,
    json::{self, Kind, Members, Object, Objects, Offset, Text, Texts},
    listing::Listing,
    mistakes::Mistakes,
};

const KIND: Kind = Kind { what: "Azure's service tag file", download: "ServiceTags_Public_*.json" };

/// Reads the file, keeping the sets of `wanted`.
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
        name: String::new(),
        listing: Listing::default(),
        bad: Mistakes::default(),
    };
    json::parse(input, &offset, &KIND, &mut file)?;
    file.mistakes.finish(file.tags)
}

/// The whole file, and the tag that is read now: its name may stand behind its prefixes.
struct File<'a> {
    wanted: &'a BTreeSet<&'a str>,
    offset: Offset,
    tags: TagSets,
    mistakes: Mistakes,
    name: String,
    listing: Listing,
    bad: Mistakes,
}

impl Object for File<'_> {
    const NAMES: &'static [&'static str] = &["values"];

    fn member<'de, A: MapAccess<'de>>(&mut self, _name: &str, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(Objects(&mut Tag(self)))
    }
}

struct Tag<'f, 'a>(&'f mut File<'a>);

impl Object for Tag<'_, '_> {
    const NAMES: &'static [&'static str] = &["name", "properties"];

    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "name" => map.next_value_seed(Text(|text: &str| self.0.name = text.to_owned())),
            _ => map.next_value_seed(Members(&mut Properties(self.0))),
        }
    }

    fn end(&mut self) {
        let File { wanted, offset: _, tags, mistakes, name, listing, bad } = self.0;
        let (name, listing) = (take(name), take(listing));
        mistakes.append_of(&name, take(bad));
        if wanted.contains(name.as_str()) {
            tags.sets.entry(name.clone()).or_default().append(listing);
        }
        tags.names.insert(name);
    }
}

struct Properties<'f, 'a>(&'f mut File<'a>);

impl Object for Properties<'_, '_> {
    const NAMES: &'static [&'static str] = &["addressPrefixes"];

    fn member<'de, A: MapAccess<'de>>(&mut self, _name: &str, map: &mut A) -> Result<(), A::Error> {
        let File { offset, tags, listing, bad, .. } = &mut *self.0;
        map.next_value_seed(Texts(|text: &str| {
            tags.prefixes += 1;
            match offset.prefix(text) {
                Ok(prefix) => listing.push(prefix),
                Err(mistake) => bad.push(mistake),
            }
        }))
    }
}
