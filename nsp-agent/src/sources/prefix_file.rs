//! Prefix files: one prefix a line, `#` starts a comment.

use ipnet::IpNet;

use super::Mistake;
use crate::policy::{diagnose::Refusal, prefix::parse_prefix};

/// Some editors put it at the start of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads the file. Lists repeat themselves, so what another prefix covers is no mistake.
pub(super) fn read(text: &str) -> Result<Vec<IpNet>, Vec<Mistake>> {
    let mut prefixes = Vec::new();
    let mut mistakes = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.split('#').next().unwrap_or_default();
        let content =
            if line_start == 0 { content.trim_start_matches(BYTE_ORDER_MARK) } else { content };
        let entry = content.trim();
        if !entry.is_empty() {
            match parse_prefix(entry) {
                Ok(prefix) => prefixes.push(prefix),
                Err(refusal) => {
                    // Lines have no quotes, unlike the strings of a policy.
                    let cure = refusal.cure.map(|cure| cure.replace('"', ""));
                    let refusal = Refusal { cure, ..refusal };
                    let start = line_start + line.find(entry).unwrap_or_default();
                    mistakes.push((start..start + entry.len(), refusal));
                }
            }
        }
        line_start += line.len();
    }
    if mistakes.is_empty() { Ok(prefixes) } else { Err(mistakes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blank_lines_and_line_ends_do_not_matter() {
        let text = "\u{feff}# offices\r\n\r\n192.0.2.0/24\r\n  2001:db8::/32  # lab\n203.0.113.7";
        let shown: Vec<String> = read(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.0/24", "2001:db8::/32", "203.0.113.7/32"]);
    }

    #[test]
    fn every_bad_line_is_found_where_it_stands() {
        let text = "192.0.2.1/24\n192.0.2.0/24\n  010.0.0.0/8 # old\n192.0.2.0/24 192.0.2.0/24\n";
        let mistakes = read(text).unwrap_err();
        let found: Vec<&str> = mistakes.iter().map(|(range, _)| &text[range.clone()]).collect();
        assert_eq!(found, ["192.0.2.1/24", "010.0.0.0/8", "192.0.2.0/24 192.0.2.0/24"]);
        assert_eq!(mistakes[0].1.cure.as_deref(), Some("192.0.2.0/24"));
    }

    #[test]
    fn an_empty_file_is_no_prefix_at_all() {
        assert_eq!(read("# nothing yet\n").unwrap(), []);
    }
}
