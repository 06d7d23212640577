//! The plain form of a prefix, read fast: what lists are full of.
//!
//! Everything else, right or wrong, is left to [`parse_prefix`](super::parse_prefix), which says what is
//! wrong with it.

use super::key::{KeyV4, KeyV6};

/// A prefix of either family.
#[derive(Clone, Copy)]
pub(crate) enum Plain {
    /// IPv4.
    V4(KeyV4),
    /// IPv6.
    V6(KeyV6),
}

/// Reads a prefix or a bare address at the start of `text`, and says where it ends. `None` when there is
/// none, or one that is not written plainly.
pub(crate) fn parse_plain(text: &[u8]) -> Option<(Plain, usize)> {
    match parse_v4(text) {
        Some((key, end)) => Some((Plain::V4(key), end)),
        None => parse_v6(text).map(|(key, end)| (Plain::V6(key), end)),
    }
}

fn parse_v4(text: &[u8]) -> Option<(KeyV4, usize)> {
    let (first, mut at) = decimal(text, 0)?;
    let mut address = first;
    for _ in 1..4 {
        if text.get(at) != Some(&b'.') {
            return None;
        }
        let (octet, end) = decimal(text, at + 1)?;
        (address, at) = (address << 8 | octet, end);
    }
    let (length, end) = parse_length(text, at, 32)?;
    let host_bits = u64::from(address) << length & 0xffff_ffff;
    (host_bits == 0).then(|| (KeyV4::new(address, length), end))
}

fn parse_v6(text: &[u8]) -> Option<(KeyV6, usize)> {
    let mut address = 0_u128;
    let mut groups = 0;
    // How many groups stand before `::`.
    let mut gap = None;
    let mut at = 0;
    if text.starts_with(b"::") {
        (gap, at) = (Some(0), 2);
    }
    loop {
        let (group, end) = hexadecimal(text, at);
        if end == at {
            // Nothing may stand behind `::`, but something behind `:`.
            if gap == Some(groups) { break } else { return None }
        }
        (address, groups, at) = (address << 16 | u128::from(group), groups + 1, end);
        if groups == 8 || text.get(at) != Some(&b':') {
            break;
        }
        at += 1;
        if text.get(at) == Some(&b':') {
            if gap.is_some() {
                return None;
            }
            (gap, at) = (Some(groups), at + 1);
        }
    }
    match gap {
        None if groups == 8 => {}
        // `::` is one group of zeros at least.
        Some(before) if groups < 8 => {
            let behind = 16 * (groups - before);
            let (high, low) = (address >> behind, address & ((1 << behind) - 1));
            address = high.checked_shl(16 * (8 - before)).unwrap_or_default() | low;
        }
        _ => return None,
    }
    let (length, end) = parse_length(text, at, 128)?;
    let host_bits = address.checked_shl(u32::from(length)).unwrap_or_default();
    let is_mapped = address >> 32 == 0xffff && length >= 96;
    (host_bits == 0 && !is_mapped).then(|| (KeyV6::new(address, length), end))
}

/// The length behind an address that ends at `at`.
fn parse_length(text: &[u8], at: usize, length_max: u8) -> Option<(u8, usize)> {
    if text.get(at) != Some(&b'/') {
        return Some((length_max, at));
    }
    let (length, end) = decimal(text, at + 1)?;
    (length <= u32::from(length_max)).then_some((length as u8, end))
}

/// A number up to 255 without leading zeros, and where it ends.
fn decimal(text: &[u8], at: usize) -> Option<(u32, usize)> {
    let digit = |at: usize| {
        let digit = u32::from(text.get(at)?.wrapping_sub(b'0'));
        (digit < 10).then_some(digit)
    };
    let first = digit(at)?;
    let Some(second) = digit(at + 1) else { return Some((first, at + 1)) };
    if first == 0 {
        return None;
    }
    let two = first * 10 + second;
    let Some(third) = digit(at + 2) else { return Some((two, at + 2)) };
    let three = two * 10 + third;
    (three <= 255).then_some((three, at + 3))
}

/// Up to four hexadecimal digits, and where they end.
fn hexadecimal(text: &[u8], at: usize) -> (u16, usize) {
    let digits = text[at.min(text.len())..].iter().take(4);
    let digits = digits.map_while(|byte| char::from(*byte).to_digit(16));
    digits.fold((0, at), |(value, end), digit| (value << 4 | digit as u16, end + 1))
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::{
        super::{key::Key as _, parse_strict},
        *,
    };

    fn whole(text: &str) -> Option<IpNet> {
        let (plain, end) = parse_plain(text.as_bytes())?;
        let net = match plain {
            Plain::V4(key) => key.net(),
            Plain::V6(key) => key.net(),
        };
        (end == text.len()).then_some(net)
    }

    #[test]
    fn what_lists_hold_is_read_the_fast_way() {
        for text in [
            "203.0.113.0/24",
            "192.0.2.1",
            "0.0.0.0/0",
            "2001:db8::/32",
            "2001:db8:0:1::/64",
            "2001:db8:1:2:3:4:5:6",
            "2001:DB8:1:2:3:4:5::/112",
            "::/0",
            "::1",
            "1::",
        ] {
            assert_eq!(whole(text), Some(parse_strict(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn it_ends_where_the_prefix_ends() {
        for text in ["192.0.2.0/24\n", "192.0.2.0/24 # lab", "2001:db8::/32\r\n", "2001:db8::1;"] {
            let end = text.find(['\n', '\r', ' ', ';']).unwrap();
            assert_eq!(parse_plain(text.as_bytes()).map(|(_, end)| end), Some(end), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Whole or not at all, and never another prefix.
        #[test]
        fn it_agrees_with_the_strict_reader(
            text in prop_oneof![
                "[0-2]?[0-9]{1,2}(\\.[0-2]?[0-9]{1,2}){2,4}(/[0-9]{1,3})?",
                "([0-9a-fA-F]{0,5}:{1,2}){0,8}[0-9a-f]{0,4}(/[0-9]{1,3})?",
                "[0-9a-f]{1,4}(:0){2}::/[0-9]{1,3}",
                "::ffff(:0|:[0-9a-f]{1,4}){2}(/[0-9]{1,3})?",
                "::ffff:[0-9.]{7}(/[0-9]{1,3})?",
                "[0-9a-f:./]{0,24}",
            ],
        ) {
            if let Some(net) = whole(&text) {
                prop_assert_eq!(parse_strict(&text), Ok(net));
            }
        }

        #[test]
        fn whatever_is_shown_is_plain(bits: u128, length in 0..=128_u8) {
            let v6 = IpNet::new(std::net::Ipv6Addr::from_bits(bits).into(), length).unwrap().trunc();
            let v4 = std::net::Ipv4Addr::from_bits(bits as u32);
            let v4 = IpNet::new(v4.into(), length % 33).unwrap().trunc();
            for net in [v4, v6] {
                prop_assert_eq!(whole(&net.to_string()), parse_strict(&net.to_string()).ok());
            }
        }
    }
}
