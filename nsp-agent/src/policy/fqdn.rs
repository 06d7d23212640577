//! Host names of outbound rules: fully qualified, exact or with a wildcard, in the form DNS carries.

use std::{fmt, net::IpAddr, str::FromStr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::diagnose::{Refusal, quoted};

/// A name on the wire holds this many characters, dots included, without the root's.
const NAME_LEN_MAX: usize = 253;
/// And each of its labels this many.
const LABEL_LEN_MAX: usize = 63;

/// A fully qualified name, or all that is below one: lower-case A-labels, at least two, without the
/// trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fqdn {
    base: Box<str>,
    is_wildcard: bool,
}

impl Fqdn {
    /// The name; of a wildcard the name that it is about what is below of.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether it is all that is below a public suffix, where everybody can have a name. The list's private
    /// part has suffixes such as blob.core.windows.net, which are what rules are written for.
    pub fn is_below_public_suffix(&self) -> bool {
        let suffix = psl::suffix(self.base.as_bytes());
        let is_public =
            |it: psl::Suffix<'_>| it == &*self.base && it.typ() == Some(psl::Type::Icann);
        self.is_wildcard && suffix.is_some_and(is_public)
    }

    /// Whether it stands for everything below its base, and not for that.
    pub const fn is_wildcard(&self) -> bool {
        self.is_wildcard
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_wildcard {
            f.write_str("*.")?;
        }
        f.write_str(&self.base)
    }
}

impl FromStr for Fqdn {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if let Some(base) = text.strip_prefix("*.")
            && !base.contains('*')
        {
            let exact: Self = base.parse().map_err(|_| bad_wildcard(text))?;
            return Ok(Self { is_wildcard: true, ..exact });
        }
        let bad = |why: &str| Refusal::new(format!("bad name {}", quoted(text)), why);
        if text.is_empty() {
            return Err(bad("an empty string is no name"));
        }
        if text.contains('*') {
            return Err(bad_wildcard(text));
        }
        if let Some(refusal) = not_a_name(text) {
            return Err(refusal);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let ascii = Uts46::new()
            .to_ascii(name.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| bad("it is not a valid internationalised name"))?;
        check(&ascii).map_err(bad)?;
        Ok(Self { base: ascii.into(), is_wildcard: false })
    }
}

/// Judges a whole A-label name. Underscores are no host names by the book and common in clouds.
fn check(name: &str) -> Result<(), &'static str> {
    if name.len() > NAME_LEN_MAX {
        return Err("a name has at most 253 characters");
    }
    let mut labels = 0;
    for label in name.split('.') {
        labels += 1;
        if label.is_empty() {
            return Err("it has an empty label: two dots in a row, or one at the start");
        }
        if label.len() > LABEL_LEN_MAX {
            return Err("a label has at most 63 characters");
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err("a label holds only letters, digits, `-` and `_`");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label does not start or end with `-`");
        }
    }
    if labels < 2 {
        return Err("one label depends on the resolver's search list; write the full name");
    }
    if name.rsplit('.').next().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit())) {
        return Err("the last label of a name is not a number");
    }
    Ok(())
}

fn bad_wildcard(text: &str) -> Refusal {
    Refusal::new(
        format!("bad name {}", quoted(text)),
        "a `*` stands alone as the first label, before at least two others",
    )
}

/// What people paste in place of a name, with what they meant.
fn not_a_name(text: &str) -> Option<Refusal> {
    let bad = |why: &str| Refusal::new(format!("bad name {}", quoted(text)), why);
    if text.trim() != text {
        return Some(bad("it has spaces around it").cure(format!("\"{}\"", text.trim())));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        let refusal = bad("it is an address; addresses go into `address_prefixes`");
        let prefix = ipnet::IpNet::from(address);
        return Some(refusal.cure(format!("address_prefixes = [\"{prefix}\"]")));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':', '?', '#']).next().unwrap_or_default();
        return Some(name_cure(bad("it is a URL; only its host name is wanted"), host));
    }
    if let Some((host, _)) = text.split_once('/') {
        return Some(name_cure(bad("a name has no path"), host));
    }
    if let Some((host, _)) = text.split_once(':') {
        let refusal = bad("a name has no port; ports go into `ports`");
        return Some(name_cure(refusal, host));
    }
    None
}

fn name_cure(refusal: Refusal, host: &str) -> Refusal {
    match host.parse::<Fqdn>() {
        Ok(name) => refusal.cure(format!("\"{name}\"")),
        Err(_) => refusal,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("github.com", "github.com")]
    #[case::upper_case("API.GitHub.com", "api.github.com")]
    #[case::trailing_dot("github.com.", "github.com")]
    #[case::u_label("bücher.example", "xn--bcher-kva.example")]
    #[case::a_label("xn--bcher-kva.example", "xn--bcher-kva.example")]
    #[case::upper_case_u_label("BÜCHER.example", "xn--bcher-kva.example")]
    #[case::ideographic_dot("example。com", "example.com")]
    #[case::wildcard("*.Example.com.", "*.example.com")]
    #[case::wildcard_of_a_u_label("*.bücher.example", "*.xn--bcher-kva.example")]
    #[case::underscore("my_bucket.s3.amazonaws.com", "my_bucket.s3.amazonaws.com")]
    #[case::hyphens_in_third_place("r3---sn-abc.example.com", "r3---sn-abc.example.com")]
    #[case::digits("3.example.com", "3.example.com")]
    #[case::long_label(&format!("{}.com", "a".repeat(63)), &format!("{}.com", "a".repeat(63)))]
    fn accepts(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<Fqdn>().unwrap().to_string(), expected);
    }

    #[rstest]
    #[case::empty("", "empty string")]
    #[case::root(".", "empty label")]
    #[case::two_dots("a..com", "empty label")]
    #[case::leading_dot(".example.com", "empty label")]
    #[case::two_trailing_dots("example.com..", "empty label")]
    #[case::single_label("localhost", "one label")]
    #[case::single_label_dot("com.", "one label")]
    #[case::space_inside("exa mple.com", "only letters")]
    #[case::nul("a\0b.com", "only letters")]
    #[case::hyphen_first("-a.com", "start or end")]
    #[case::hyphen_last("a-.com", "start or end")]
    #[case::bad_punycode("xn--a-ä.com", "internationalised")]
    #[case::truncated_punycode("xn--\u{7f}.com", "internationalised")]
    #[case::long_label(&format!("{}.com", "a".repeat(64)), "at most 63")]
    #[case::long_name(&format!("{}com", "abc.".repeat(63)), "at most 253")]
    #[case::numeric_top("a.123", "not a number")]
    #[case::five_octets("1.2.3.4.5", "not a number")]
    #[case::star_inside("a*.example.com", "first label")]
    #[case::two_stars("*.*.example.com", "first label")]
    #[case::star_alone("*", "first label")]
    #[case::star_and_top("*.com", "first label")]
    fn refuses(#[case] text: &str, #[case] why: &str) {
        let refusal = text.parse::<Fqdn>().unwrap_err();
        assert!(refusal.why.contains(why), "{refusal:?}");
    }

    #[rstest]
    #[case::url("https://example.com/path", Some("\"example.com\""))]
    #[case::url_with_port("https://example.com:8443", Some("\"example.com\""))]
    #[case::path("example.com/path", Some("\"example.com\""))]
    #[case::port("example.com:443", Some("\"example.com\""))]
    #[case::spaces(" example.com ", Some("\"example.com\""))]
    #[case::address("192.0.2.1", Some("address_prefixes = [\"192.0.2.1/32\"]"))]
    #[case::address_v6("2001:db8::1", Some("address_prefixes = [\"2001:db8::1/128\"]"))]
    #[case::prefix("192.0.2.0/24", None)]
    fn what_people_paste_is_cured(#[case] text: &str, #[case] cure: Option<&str>) {
        assert_eq!(text.parse::<Fqdn>().unwrap_err().cure.as_deref(), cure);
    }
}
