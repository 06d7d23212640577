//! JSON of the clouds: text that is borrowed and knows its place, and strict prefixes.

use std::{borrow::Cow, fmt, ops::Range};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use super::Mistake;
use crate::policy::{diagnose::Refusal, prefix::parse_prefix};

/// A string, borrowed from the file unless it has escapes.
pub(super) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

/// A file while it is judged.
pub(super) struct Json<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl<'a> Json<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, mistakes: Vec::new() }
    }

    /// Parses the whole file, or says where it is not what it should be.
    /// `download` is how the right one is called where it is published.
    pub(super) fn parse<T: Deserialize<'a>>(
        &self,
        what: &str,
        download: &str,
    ) -> Result<T, Vec<Mistake>> {
        serde_json::from_str(self.text).map_err(|error| {
            let message = error.to_string();
            // The place is said by the diagnostic.
            let why = message.split(" at line ").next().unwrap_or_default();
            let refusal = Refusal::new(format!("this is not {what}"), why);
            let refusal = refusal.cure(format!("{download}, as it was downloaded"));
            vec![(self.place(error.line(), error.column()), refusal)]
        })
    }

    /// Reads a prefix strictly; a mistake is kept for [`finish`](Self::finish).
    pub(super) fn prefix(&mut self, text: &Text<'_>, set: &str) -> Option<IpNet> {
        let mistake = match parse_prefix(text.as_str()) {
            Ok(prefix) => return Some(prefix),
            Err(refusal) => Refusal { what: format!("{} of `{set}`", refusal.what), ..refusal },
        };
        self.mistakes.push((self.place_of(text), mistake));
        None
    }

    /// Ends the judging.
    pub(super) fn finish<T>(self, parsed: T) -> Result<T, Vec<Mistake>> {
        if self.mistakes.is_empty() { Ok(parsed) } else { Err(self.mistakes) }
    }

    /// Where a string stands. One with escapes is a copy, and stands nowhere.
    fn place_of(&self, text: &Text<'_>) -> Range<usize> {
        let file = self.text.as_bytes().as_ptr_range();
        let entry = text.as_str().as_bytes().as_ptr_range();
        if file.contains(&entry.start) {
            let start = entry.start.addr() - file.start.addr();
            start..start + text.as_str().len()
        } else {
            0..0
        }
    }

    /// The byte at a line and column that both count from one, as `serde_json` says them.
    fn place(&self, line: usize, column: usize) -> Range<usize> {
        let mut lines = self.text.split_inclusive('\n');
        let start: usize = lines.by_ref().take(line.saturating_sub(1)).map(str::len).sum();
        let mut place = (start + column.saturating_sub(1)).min(self.text.len());
        while !self.text.is_char_boundary(place) {
            place -= 1;
        }
        place..place
    }
}
