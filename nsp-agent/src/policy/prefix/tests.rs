use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().expect("a good prefix in a test")
}

#[rstest]
#[case::v4("203.0.113.0/24", "203.0.113.0/24")]
#[case::v6("2001:db8:100::/40", "2001:db8:100::/40")]
#[case::upper_case_v6("2001:DB8::/32", "2001:db8::/32")]
#[case::bare_v4("192.0.2.1", "192.0.2.1/32")]
#[case::bare_v6("2001:db8::1", "2001:db8::1/128")]
#[case::all_v4("0.0.0.0/0", "0.0.0.0/0")]
#[case::all_v6("::/0", "::/0")]
fn accepts(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(parse_prefix(text), Ok(net(expected)));
}

#[rstest]
#[case::host_bits("10.0.0.1/8", "host bits", Some("10.0.0.0/8"))]
#[case::host_bits_v6("2001:db8::1/32", "host bits", Some("2001:db8::/32"))]
#[case::length_33("10.0.0.0/33", "at most 32", Some("10.0.0.0/32"))]
#[case::length_129("2001:db8::/129", "at most 128", Some("2001:db8::/128"))]
#[case::length_huge("10.0.0.0/4294967304", "at most 32", Some("10.0.0.0/32"))]
#[case::mapped("::ffff:10.0.0.0/104", "IPv4 written as IPv6", Some("10.0.0.0/8"))]
#[case::mapped_host("::ffff:192.0.2.1", "IPv4 written as IPv6", Some("192.0.2.1/32"))]
#[case::mapped_host_bits("::ffff:10.0.0.1/104", "IPv4 written as IPv6", Some("10.0.0.0/8"))]
#[case::mapped_all("::ffff:0:0/96", "IPv4 written as IPv6", Some("0.0.0.0/0"))]
#[case::leading_zeros("010.0.0.0/8", "leading zeros", Some("10.0.0.0/8"))]
#[case::leading_zero_length("10.0.0.0/08", "leading zeros", Some("10.0.0.0/8"))]
#[case::netmask("10.0.0.0/255.0.0.0", "number of bits", Some("10.0.0.0/8"))]
#[case::bad_netmask("10.0.0.0/255.0.255.0", "number of bits", None)]
#[case::range("192.0.2.0-192.0.2.2", "range", Some("192.0.2.0/31\", \"192.0.2.2/32"))]
#[case::range_reversed("192.0.2.9-192.0.2.0", "range", None)]
#[case::short("10/8", "four parts", Some("10.0.0.0/8"))]
#[case::two_parts("192.168/16", "four parts", Some("192.168.0.0/16"))]
#[case::short_bare("10", "four parts", None)]
#[case::octet_256("10.0.0.256/32", "at most 255", None)]
#[case::five_parts("10.0.0.0.0/8", "not an IP address", None)]
#[case::space(" 10.0.0.0/8", "spaces", Some("10.0.0.0/8"))]
#[case::zone("fe80::1%eth0/64", "zone", None)]
#[case::signed_length("10.0.0.0/+8", "number of bits", None)]
#[case::no_length("10.0.0.0/", "number of bits", None)]
#[case::two_slashes("10.0.0.0/8/8", "number of bits", None)]
#[case::empty("", "empty", None)]
#[case::not_ascii("１0.0.0.0/8", "not an IP address", None)]
fn refuses(#[case] text: &str, #[case] why: &str, #[case] cure: Option<&str>) {
    let refusal = parse_prefix(text).unwrap_err();
    assert!(refusal.why.contains(why), "{refusal:?}");
    assert_eq!(refusal.cure, cure.map(|cure| format!("\"{cure}\"")));
}

#[test]
fn a_name_is_told_where_names_go() {
    let refusal = parse_prefix("example.com").unwrap_err();
    assert!(refusal.why.contains("fqdns"), "{refusal:?}");
    assert_eq!(refusal.cure.as_deref(), Some("fqdns = [\"example.com\"] in an outbound rule"));
}

#[rstest]
#[case::v4("0.0.0.0/0", true)]
#[case::lower_half("0.0.0.0/1", true)]
#[case::upper_half("128.0.0.0/1", true)]
#[case::quarter("0.0.0.0/2", false)]
#[case::v6("::/0", true)]
#[case::lower_half_v6("::/1", true)]
#[case::upper_half_v6("8000::/1", true)]
#[case::quarter_with_all_public_v6("::/2", true)]
#[case::all_public_v6("2000::/3", true)]
#[case::half_of_public_v6("2000::/4", false)]
#[case::another_eighth_v6("4000::/3", false)]
fn widest_prefixes(#[case] text: &str, #[case] expected: bool) {
    assert_eq!(widest(net(text)).is_some(), expected);
}

#[rstest]
#[case::address("192.0.2.53", true)]
#[case::with_length("192.0.2.53/32", false)]
#[case::prefix("192.0.2.0/24", false)]
fn an_address_has_no_length(#[case] text: &str, #[case] accepted: bool) {
    assert_eq!(parse_address(text).is_ok(), accepted);
}

#[test]
fn covered_prefixes_are_left_out_and_siblings_stay() {
    let typed = ["10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "2001:db8::/32", "11.0.0.0/8"];
    let expected = ["10.0.0.0/8", "11.0.0.0/8", "2001:db8::/32"];
    assert!(PrefixSet::from_iter(typed.map(net)).iter().eq(expected.map(net)));
}

fn any_prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<u32>(), 0..=32u8).prop_map(|(bits, length)| {
        IpNet::new(IpAddr::from(bits.to_be_bytes()), length).expect("length in range").trunc()
    });
    let v6 = (any::<u128>(), 0..=128u8).prop_map(|(bits, length)| {
        IpNet::new(IpAddr::from(bits.to_be_bytes()), length).expect("length in range").trunc()
    });
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(prefix in any_prefix()) {
        let shown = prefix.to_string();
        // The only good prefixes that cannot be written are IPv4 in disguise.
        if mapped_v4(prefix).is_none() {
            prop_assert_eq!(parse_prefix(&shown), Ok(prefix));
        }
    }

    #[test]
    fn any_text_is_read_without_panic(text in ".{0,40}") {
        let _ = parse_prefix(&text);
    }

    #[test]
    fn a_cure_is_a_good_prefix(text in "(0?[0-9]{1,3}\\.){0,4}[0-9]{1,3}(/[0-9]{1,3})?") {
        if let Err(Refusal { cure: Some(cure), .. }) = parse_prefix(&text) {
            prop_assert!(parse_prefix(cure.trim_matches('"')).is_ok(), "{} for {}", cure, text);
        }
    }

    #[test]
    fn the_canonical_set_covers_what_was_typed(
        prefixes in prop::collection::vec(any_prefix(), 0..40),
    ) {
        let kept: Vec<IpNet> = prefixes.iter().copied().collect::<PrefixSet>().iter().collect();
        for prefix in &prefixes {
            prop_assert_eq!(kept.iter().filter(|kept| kept.contains(prefix)).count(), 1);
        }
        prop_assert!(kept.iter().all(|kept| prefixes.contains(kept)));
    }

    #[test]
    fn order_of_prefixes_does_not_matter(mut prefixes in prop::collection::vec(any_prefix(), 0..40)) {
        let forward: PrefixSet = prefixes.iter().copied().collect();
        prefixes.reverse();
        prop_assert_eq!(prefixes.into_iter().collect::<PrefixSet>(), forward);
    }
}
