//! Prefixes: one strict way to write them, and one form of a set of them.

pub(crate) mod key;
pub(crate) mod plain;
pub(crate) mod set;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr as _,
};

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets};

pub use self::set::PrefixSet;
use self::{
    key::Key as _,
    plain::{Plain, parse_plain},
};
use super::{
    diagnose::{Refusal, quoted},
    fqdn::Fqdn,
};

/// Reads `203.0.113.0/24`, `2001:db8::/32`, or a bare address, which stands for itself alone.
pub(crate) fn parse_prefix(text: &str) -> Result<IpNet, Refusal> {
    match parse_plain(text.as_bytes()) {
        Some((Plain::V4(key), end)) if end == text.len() => Ok(key.net()),
        Some((Plain::V6(key), end)) if end == text.len() => Ok(key.net()),
        _ => parse_strict(text),
    }
}

/// The same for text that is not plain: what is wrong with it is said.
fn parse_strict(text: &str) -> Result<IpNet, Refusal> {
    let (address_text, length_text) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = IpAddr::from_str(address_text) else {
        return Err(bad_address(text, address_text, length_text));
    };
    let length_max = if address.is_ipv4() { 32 } else { 128 };
    let length = match length_text {
        None => length_max,
        Some(length_text) => parse_length(text, address, length_text)?,
    };
    let Ok(prefix) = IpNet::new(address, length) else {
        let family = if address.is_ipv4() { "an IPv4" } else { "an IPv6" };
        return Err(cured(
            bad(text, format!("{family} prefix length is at most {length_max}")),
            &format!("{address}/{length_max}"),
        ));
    };
    if let Some(mapped) = mapped_v4(prefix) {
        let why = "it is IPv4 written as IPv6; packets carry the IPv4 form";
        return Err(bad(text, why).cure(format!("\"{mapped}\"")));
    }
    if prefix != prefix.trunc() {
        let why = format!("it has host bits set: a /{length} here starts at {}", prefix.network());
        return Err(bad(text, why).cure(format!("\"{}\"", prefix.trunc())));
    }
    Ok(prefix)
}

/// Reads a bare address.
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, Refusal> {
    let prefix = parse_prefix(text);
    if let (Ok(prefix), false) = (prefix.as_ref(), text.contains('/')) {
        return Ok(prefix.addr());
    }
    let why = "one IP address is wanted here, without a length";
    let refusal = Refusal::new(format!("bad address {}", quoted(text)), why);
    // Whatever was meant, if it was one address, is the cure.
    let meant = match prefix {
        Ok(prefix) => Some(prefix),
        Err(Refusal { cure, .. }) => cure.and_then(|cure| cure.trim_matches('"').parse().ok()),
    };
    Err(match meant.filter(|meant| meant.prefix_len() == meant.max_prefix_len()) {
        Some(meant) => refusal.cure(format!("\"{}\"", meant.addr())),
        None => refusal,
    })
}

/// What a prefix too wide to be meant by accident admits, in words.
pub(crate) fn widest(prefix: IpNet) -> Option<&'static str> {
    /// All of the IPv6 internet is in `2000::/3`.
    const GLOBAL_V6: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);
    match (prefix, prefix.prefix_len()) {
        (IpNet::V4(_), 0) => Some("every IPv4 address"),
        (IpNet::V4(_), 1) => Some("half of all IPv4 addresses"),
        (IpNet::V6(_), 0) => Some("every IPv6 address"),
        (IpNet::V6(_), 1) => Some("half of all IPv6 addresses"),
        (IpNet::V6(v6), 2 | 3) if v6.contains(&GLOBAL_V6) => Some("every public IPv6 address"),
        _ => None,
    }
}

fn bad(text: &str, why: impl Into<String>) -> Refusal {
    Refusal::new(format!("bad prefix {}", quoted(text)), why)
}

/// Adds a cure, itself cured when it has a second mistake, and left out when that has no cure.
fn cured(refusal: Refusal, candidate: &str) -> Refusal {
    match parse_prefix(candidate) {
        Ok(_) => refusal.cure(format!("\"{candidate}\"")),
        Err(second) => Refusal { cure: second.cure, ..refusal },
    }
}

fn parse_length(text: &str, address: IpAddr, length: &str) -> Result<u8, Refusal> {
    if length.bytes().all(|b| b.is_ascii_digit()) && !length.is_empty() {
        let plain = length.trim_start_matches('0');
        let plain = if plain.is_empty() { "0" } else { plain };
        if plain != length {
            let refusal = bad(text, "the prefix length has leading zeros");
            return Err(cured(refusal, &format!("{address}/{plain}")));
        }
        // Too large for a u8 is too large for a prefix, and is told so by the caller.
        return Ok(plain.parse().unwrap_or(u8::MAX));
    }
    let refusal = bad(text, "the part after `/` is a number of bits");
    let (IpAddr::V4(address), Ok(mask)) = (address, Ipv4Addr::from_str(length)) else {
        return Err(refusal);
    };
    Err(match Ipv4Net::with_netmask(address, mask) {
        Ok(prefix) => refusal.cure(format!("\"{}\"", prefix.trunc())),
        Err(_) => refusal,
    })
}

/// The IPv4 prefix that an IPv4-mapped one stands for.
fn mapped_v4(prefix: IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(v6) = prefix else { return None };
    let address = v6.addr().to_ipv4_mapped()?;
    let length = v6.prefix_len().checked_sub(96)?;
    Ipv4Net::new(address, length).ok().map(|prefix| prefix.trunc())
}

/// Says what is wrong with text that is not an address, and guesses what was meant.
fn bad_address(text: &str, address: &str, length: Option<&str>) -> Refusal {
    let suffix = length.map(|length| format!("/{length}")).unwrap_or_default();
    if text.is_empty() {
        return bad(text, "an empty string is no address");
    }
    if text.trim() != text {
        return cured(bad(text, "it has spaces around it"), text.trim());
    }
    if let Some((first, last)) = text.split_once('-')
        && let (Ok(first), Ok(last)) = (Ipv4Addr::from_str(first), Ipv4Addr::from_str(last))
    {
        return bad_range(text, first, last);
    }
    let octets: Vec<&str> = address.split('.').collect();
    let numeric = octets.iter().all(|octet| {
        !octet.is_empty() && octet.len() <= 8 && octet.bytes().all(|b| b.is_ascii_digit())
    });
    if numeric && octets.len() <= 4 {
        let plain = |octet: &&str| match octet.trim_start_matches('0') {
            "" => "0".to_owned(),
            octet => octet.to_owned(),
        };
        let mut plain: Vec<String> = octets.iter().map(plain).collect();
        if octets.len() == 4 {
            let refusal = if plain == octets {
                return bad(text, "each part of an IPv4 address is at most 255");
            } else {
                bad(text, "leading zeros: some programs read them as octal")
            };
            return cured(refusal, &format!("{}{suffix}", plain.join(".")));
        }
        plain.resize(4, "0".into());
        let refusal = bad(text, "an IPv4 address has four parts");
        return match length {
            Some(_) => cured(refusal, &format!("{}{suffix}", plain.join("."))),
            None => refusal,
        };
    }
    if address.contains('%') {
        return bad(text, "an address in a policy has no zone");
    }
    let refusal = bad(text, "it is not an IP address; names go into `fqdns` of an outbound rule");
    match text.parse::<Fqdn>() {
        Ok(name) => refusal.cure(format!("fqdns = [\"{name}\"] in an outbound rule")),
        Err(_) => refusal,
    }
}

fn bad_range(text: &str, first: Ipv4Addr, last: Ipv4Addr) -> Refusal {
    /// A range that needs more prefixes is not shown as a cure.
    const CURE_PREFIXES_MAX: usize = 8;
    let refusal = bad(text, "a range is not a prefix");
    let subnets: Vec<String> = Ipv4Subnets::new(first, last, 0)
        .take(CURE_PREFIXES_MAX + 1)
        .map(|prefix| format!("\"{prefix}\""))
        .collect();
    if (1..=CURE_PREFIXES_MAX).contains(&subnets.len()) {
        refusal.cure(subnets.join(", "))
    } else {
        refusal
    }
}

#[cfg(test)]
mod tests;
