//! Prefix files: one prefix a line, `#` starts a comment.

use std::io::{self, Read};

use super::{
    listing::Listing,
    mistakes::{Mistakes, Place},
};
use crate::policy::{
    diagnose::Refusal,
    prefix::{
        parse_prefix,
        plain::{Plain, parse_plain},
    },
};

/// Some editors put it at the start of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// What is read at once; only a longer line needs more memory.
const PART_BYTES: usize = 64 << 10;

/// Reads the file, part by part. Lists repeat themselves, so what another prefix covers is no mistake.
///
/// # Errors
/// Every bad line. What cannot be read, or is not UTF-8, is for the caller to notice.
pub(super) fn read(mut input: impl Read) -> Result<Listing, Mistakes> {
    let mut lines = Lines::default();
    let mut part = vec![0; PART_BYTES];
    // How much of a line is left of the part before.
    let mut held = 0;
    loop {
        if held == part.len() {
            part.resize(2 * held, 0);
        }
        let length = match input.read(&mut part[held..]) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let end = held + length;
        let complete = match part[held..end].iter().rposition(|byte| *byte == b'\n') {
            Some(at) => held + at + 1,
            None if length == 0 => end,
            None => 0,
        };
        lines.read(&part[..complete]);
        if length == 0 {
            break;
        }
        part.copy_within(complete..end, 0);
        held = end - complete;
    }
    let Lines { listing, mistakes, offset: _ } = lines;
    mistakes.finish(listing)
}

/// What was read of a file.
#[derive(Default)]
struct Lines {
    listing: Listing,
    mistakes: Mistakes,
    /// Bytes of it.
    offset: usize,
}

impl Lines {
    /// Reads whole lines.
    fn read(&mut self, text: &[u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            let length = match plain_line(rest) {
                Some((Plain::V4(key), length)) => {
                    self.listing.push_v4(key);
                    length
                }
                Some((Plain::V6(key), length)) => {
                    self.listing.push_v6(key);
                    length
                }
                None => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    let length = end.map_or(rest.len(), |end| end + 1);
                    self.line(&String::from_utf8_lossy(&rest[..length]));
                    length
                }
            };
            self.offset += length;
            rest = &rest[length..];
        }
    }

    /// Reads a line that is no plain prefix alone.
    fn line(&mut self, line: &str) {
        let content = line.split('#').next().unwrap_or_default();
        let content =
            if self.offset == 0 { content.trim_start_matches(BYTE_ORDER_MARK) } else { content };
        let entry = content.trim();
        if entry.is_empty() {
            return;
        }
        match parse_prefix(entry) {
            Ok(prefix) => self.listing.push(prefix),
            Err(refusal) => {
                // Lines have no quotes, unlike the strings of a policy.
                let cure = refusal.cure.map(|cure| cure.replace('"', ""));
                let start = self.offset + line.find(entry).unwrap_or_default();
                let place = Place::Bytes(start..start + entry.len());
                self.mistakes.push((place, Refusal { cure, ..refusal }));
            }
        }
    }
}

/// The prefix of a line that holds nothing else, and the line's length.
fn plain_line(text: &[u8]) -> Option<(Plain, usize)> {
    let (plain, end) = parse_plain(text)?;
    match text[end..] {
        [b'\n', ..] => Some((plain, end + 1)),
        [b'\r', b'\n', ..] => Some((plain, end + 2)),
        [] => Some((plain, end)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let listed = read(text.as_bytes()).unwrap().finish();
        listed.set.iter().map(|prefix| prefix.to_string()).collect()
    }

    #[test]
    fn comments_blank_lines_and_line_ends_do_not_matter() {
        let text = "\u{feff}# offices\r\n\r\n192.0.2.0/24\r\n  2001:db8::/32  # lab\n203.0.113.7";
        assert_eq!(shown(text), ["192.0.2.0/24", "203.0.113.7/32", "2001:db8::/32"]);
    }

    #[test]
    fn every_bad_line_is_found_where_it_stands() {
        let text = "192.0.2.1/24\n192.0.2.0/24\n  010.0.0.0/8 # old\n192.0.2.0/24 192.0.2.0/24\n";
        let (mistakes, _) = read(text.as_bytes()).map(|_| ()).unwrap_err().into_parts();
        let found: Vec<&str> = mistakes.iter().map(|(place, _)| &text[place.range(text)]).collect();
        assert_eq!(found, ["192.0.2.1/24", "010.0.0.0/8", "192.0.2.0/24 192.0.2.0/24"]);
        assert_eq!(mistakes[0].1.cure.as_deref(), Some("192.0.2.0/24"));
    }

    #[test]
    fn an_empty_file_is_no_prefix_at_all() {
        assert_eq!(shown("# nothing yet\n"), [""; 0]);
        assert_eq!(shown(""), [""; 0]);
    }

    #[test]
    fn a_line_longer_than_a_part_is_one_line() {
        let long = "#".repeat(3 * PART_BYTES);
        let text = format!(
            "192.0.2.0/24 {long}\n198.51.100.0/24\n{long}\n{}203.0.113.9/24",
            " ".repeat(PART_BYTES)
        );
        let (mistakes, _) = read(text.as_bytes()).map(|_| ()).unwrap_err().into_parts();
        assert_eq!(&text[mistakes[0].0.range(&text)], "203.0.113.9/24");
        assert_eq!(shown(&text.replace("113.9", "113.0")).len(), 3);
    }

    /// A file that is read in parts of any size.
    struct Parts<'a>(&'a [u8], usize);

    impl Read for Parts<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }

    proptest! {
        #[test]
        fn parts_are_read_as_the_whole_line_by_line(
            lines in prop::collection::vec(
                prop_oneof![
                    "[12]{1,2}\\.0\\.2\\.0(/2[0-9])?(\r)?",
                    "2001:db8:[0-9a-f]{0,4}::(/48)?",
                    " ?(é|#|192\\.0\\.2\\.0|) ?#?[é ]{0,3}",
                ],
                0..12,
            ),
            length in 1..9_usize,
        ) {
            let text = lines.join("\n");
            let mut listing = Listing::default();
            let mut bad = Vec::new();
            for line in text.split('\n') {
                let entry = line.split('#').next().unwrap().trim();
                match parse_prefix(entry) {
                    _ if entry.is_empty() => {}
                    Ok(prefix) => listing.push(prefix),
                    Err(_) => bad.push(entry),
                }
            }
            match read(Parts(text.as_bytes(), length)) {
                Ok(read) => {
                    prop_assert!(bad.is_empty());
                    prop_assert_eq!(read.count(), listing.count());
                    prop_assert_eq!(read.finish(), listing.finish());
                }
                Err(mistakes) => {
                    let (mistakes, _) = mistakes.into_parts();
                    let found: Vec<&str> =
                        mistakes.iter().map(|(place, _)| &text[place.range(&text)]).collect();
                    prop_assert_eq!(found, bad);
                }
            }
        }
    }
}
