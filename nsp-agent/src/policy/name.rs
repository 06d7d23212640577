//! Names and GUIDs of the perimeter's objects, with Azure's rules.

use std::{borrow::Borrow, fmt, str::FromStr};

use super::diagnose::{Refusal, quoted};

/// Azure's bound on every name.
const NAME_LEN_MAX: usize = 80;

/// The name of a perimeter, profile, access rule, resource, member or subscription: 1 to 80
/// letters, digits, `_`, `.` and `-`, starting with a letter or digit and not ending in `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for what any text says: the text where it is one, else what is left of it and a digest,
    /// so that different texts have different names.
    pub(crate) fn naming(text: &str) -> Self {
        use sha2::Digest as _;
        /// With the digest shorter than the bound.
        const KEPT_MAX: usize = 40;
        if let Ok(name) = text.parse() {
            return name;
        }
        let digest = sha2::Sha256::digest(text);
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02X}")).collect();
        let kept: String = corrected(text).unwrap_or_default().chars().take(KEPT_MAX).collect();
        let kept = kept.trim_end_matches(['.', '-']);
        let separator = if kept.is_empty() { "" } else { "-" };
        Self(format!("{kept}{separator}{digest}").into())
    }

    /// The name of a session of `nsp exec`.
    pub(crate) fn of_session(number: u16) -> Self {
        Self(format!("exec-{number}").into())
    }
}

impl FromStr for Name {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let why = if text.is_empty() {
            "a name has at least one character"
        } else if text.len() > NAME_LEN_MAX {
            "a name has at most 80 characters"
        } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            "a name holds only letters, digits, `_`, `.` and `-`"
        } else if !text.as_bytes()[0].is_ascii_alphanumeric() {
            "a name starts with a letter or a digit"
        } else if text.ends_with(['.', '-']) {
            "a name ends with a letter, a digit or `_`"
        } else {
            return Ok(Self(text.into()));
        };
        let refusal = Refusal::new(format!("bad name {}", quoted(text)), why);
        Err(match corrected(text) {
            Some(name) => refusal.cure(format!("\"{name}\"")),
            None => refusal,
        })
    }
}

/// The nearest good name, if there is anything to keep.
fn corrected(text: &str) -> Option<String> {
    let good = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let name: String = text.chars().map(good).take(NAME_LEN_MAX).collect();
    let name = name.trim_start_matches(['_', '.', '-']).trim_end_matches(['.', '-']);
    (!name.is_empty()).then(|| name.to_owned())
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A perimeter's GUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

impl Guid {
    /// A GUID from its bytes, in the order they are written.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Guid {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if let Some(guid) = parse_hyphenated(text) {
            return Ok(guid);
        }
        let refusal = Refusal::new(
            format!("bad GUID {}", quoted(text)),
            "a GUID is 32 hexadecimal digits in groups of 8-4-4-4-12",
        );
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let only_decoration = text.chars().all(|c| c.is_ascii_hexdigit() || "{}()- ".contains(c));
        Err(match parse_digits(&digits).filter(|_| only_decoration) {
            Some(guid) => refusal.cure(format!("\"{guid}\"")),
            None => refusal,
        })
    }
}

fn parse_hyphenated(text: &str) -> Option<Guid> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths != [8, 4, 4, 4, 12] {
        return None;
    }
    parse_digits(&groups.concat())
}

fn parse_digits(digits: &str) -> Option<Guid> {
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(digits, 16).ok().map(|value| Guid(value.to_be_bytes()))
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", u128::from_be_bytes(self.0));
        let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one_character("a")]
    #[case::one_digit("7")]
    #[case::all_kinds("web-1.eu_west")]
    #[case::underscore_at_the_end("a_")]
    #[case::eighty(&"a".repeat(80))]
    fn accepts_azures_names(#[case] text: &str) {
        assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
    }

    #[rstest]
    #[case::empty("", None)]
    #[case::space("head office", Some("head-office"))]
    #[case::dash_first("-a", Some("a"))]
    #[case::underscore_first("_a", Some("a"))]
    #[case::dash_last("a-", Some("a"))]
    #[case::dot_last("a.", Some("a"))]
    #[case::not_ascii("café", Some("caf"))]
    #[case::slash("a/b", Some("a-b"))]
    #[case::nothing_to_keep("---", None)]
    fn refuses_other_names(#[case] text: &str, #[case] cure: Option<&str>) {
        let cure = cure.map(|cure| format!("\"{cure}\""));
        assert_eq!(text.parse::<Name>().unwrap_err().cure, cure);
    }

    #[test]
    fn refuses_eighty_one_characters() {
        let refusal = "a".repeat(81).parse::<Name>().unwrap_err();
        assert_eq!(refusal.why, "a name has at most 80 characters");
        assert_eq!(refusal.cure, Some(format!("\"{}\"", "a".repeat(80))));
    }

    #[test]
    fn a_guid_is_shown_in_lower_case() {
        let guid: Guid = "2FD0A5C2-0000-4abc-8000-0123456789AB".parse().unwrap();
        assert_eq!(guid.to_string(), "2fd0a5c2-0000-4abc-8000-0123456789ab");
    }

    #[rstest]
    #[case::braces("{2fd0a5c2-0000-4abc-8000-0123456789ab}", true)]
    #[case::no_hyphens("2fd0a5c200004abc80000123456789ab", true)]
    #[case::short("2fd0a5c2-0000-4abc-8000-0123456789a", false)]
    #[case::not_hex("2fd0a5c2-0000-4abc-8000-0123456789ag", false)]
    #[case::sign("+fd0a5c2-0000-4abc-8000-0123456789ab", false)]
    #[case::ellipsis("2fd0a5c2-…", false)]
    fn refuses_other_guids(#[case] text: &str, #[case] curable: bool) {
        let cure = text.parse::<Guid>().unwrap_err().cure;
        let expected = curable.then_some("\"2fd0a5c2-0000-4abc-8000-0123456789ab\"");
        assert_eq!(cure.as_deref(), expected);
    }
}
