//! JSON of the clouds, read as it comes: nothing is kept but what a visitor takes, and strings know their
//! places.

use std::{
    cell::Cell,
    fmt,
    io::{self, Read},
    marker::PhantomData,
    rc::Rc,
};

use ipnet::IpNet;
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::mistakes::{Mistake, Place};
use crate::policy::{diagnose::Refusal, prefix::parse_prefix};

/// What is read at once.
const PART_BYTES: usize = 64 << 10;

/// How far a file is read.
#[derive(Clone, Default)]
pub(super) struct Offset(Rc<Cell<usize>>);

impl Offset {
    /// Reads a prefix strictly: the string that was read last.
    pub(super) fn prefix(&self, text: &str) -> Result<IpNet, Mistake> {
        // One byte is read at a time, so the last one is the string's last quote.
        let end = self.0.get().saturating_sub(1);
        let place = Place::Quoted { end, length: text.len() };
        parse_prefix(text).map_err(|refusal| (place, refusal))
    }
}

/// A file's name where it is published, for messages.
pub(super) struct Kind {
    /// What it is.
    pub(super) what: &'static str,
    /// How it is called where it is published.
    pub(super) download: &'static str,
}

/// Reads a whole file, or says where it is not what it should be.
pub(super) fn parse<O: Object>(
    input: impl Read,
    offset: &Offset,
    kind: &Kind,
    root: &mut O,
) -> Result<(), Mistake> {
    let input = Counted { input, offset, part: Vec::new(), start: 0 };
    let mut json = serde_json::Deserializer::from_reader(input);
    let read = Members(root).deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| {
        let message = error.to_string();
        // The place is said by the diagnostic.
        let why = message.split(" at line ").next().unwrap_or_default();
        let refusal = Refusal::new(format!("this is not {}", kind.what), why);
        let refusal = refusal.cure(format!("{}, as it was downloaded", kind.download));
        (Place::Line { line: error.line(), column: error.column() }, refusal)
    })
}

/// An object of which some members are read and the others are passed over. All that are read must be
/// there, and once.
pub(super) trait Object {
    /// Their names.
    const NAMES: &'static [&'static str];

    /// Reads the value of the member of a name.
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;

    /// All members were read.
    fn end(&mut self) {}
}

/// Reads an object.
pub(super) struct Members<'o, O>(pub(super) &'o mut O);

impl<'de, O: Object> DeserializeSeed<'de> for Members<'_, O> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, O: Object> Visitor<'de> for Members<'_, O> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut missing = O::NAMES.to_vec();
        while let Some(name) = map.next_key_seed(Known::<O>(PhantomData))? {
            let Some(name) = name else {
                map.next_value::<de::IgnoredAny>()?;
                continue;
            };
            let Some(at) = missing.iter().position(|it| *it == name) else {
                return Err(A::Error::duplicate_field(name));
            };
            missing.swap_remove(at);
            self.0.member(name, &mut map)?;
        }
        match O::NAMES.iter().find(|name| missing.contains(name)) {
            Some(name) => Err(A::Error::missing_field(name)),
            None => {
                self.0.end();
                Ok(())
            }
        }
    }
}

/// Reads a name, if it is one of those that are read.
struct Known<O>(PhantomData<O>);

impl<'de, O: Object> DeserializeSeed<'de> for Known<O> {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let mut known = None;
        let look = |name: &str| known = O::NAMES.iter().find(|it| **it == name).copied();
        Text(look).deserialize(deserializer)?;
        Ok(known)
    }
}

/// Reads a list of objects.
pub(super) struct Objects<'o, O>(pub(super) &'o mut O);

impl<'de, O: Object> DeserializeSeed<'de> for Objects<'_, O> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, O: Object> Visitor<'de> for Objects<'_, O> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Members(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

/// Reads a list of strings, each of which is given to a function.
pub(super) struct Texts<F>(pub(super) F);

impl<'de, F: FnMut(&str)> DeserializeSeed<'de> for Texts<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&str)> Visitor<'de> for Texts<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Text(&mut self.0))?.is_some() {}
        Ok(())
    }
}

/// Reads a string, which is given to a function.
pub(super) struct Text<F>(pub(super) F);

impl<'de, F: FnMut(&str)> DeserializeSeed<'de> for Text<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<F: FnMut(&str)> Visitor<'_> for Text<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(mut self, text: &str) -> Result<(), E> {
        self.0(text);
        Ok(())
    }
}

/// A file that gives one byte at a time, so that what was given is what was parsed.
struct Counted<'a, R> {
    input: R,
    offset: &'a Offset,
    /// A part of the file.
    part: Vec<u8>,
    /// Where in the file it begins.
    start: usize,
}

impl<R: Read> Counted<'_, R> {
    /// Reads the next part; whether there is one.
    #[cold]
    fn next_part(&mut self) -> io::Result<bool> {
        self.start += self.part.len();
        self.part.resize(PART_BYTES, 0);
        let length = self.input.read(&mut self.part);
        self.part.truncate(*length.as_ref().unwrap_or(&0));
        length.map(|length| length > 0)
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        let at = self.offset.0.get();
        if at - self.start == self.part.len() && !self.next_part()? {
            return Ok(0);
        }
        *first = self.part[at - self.start];
        self.offset.0.set(at + 1);
        Ok(1)
    }
}
