use rstest::rstest;

use super::*;

fn tcp(first: u16, last: u16) -> PortSpec {
    PortSpec::Range(PortRange { transport: Transport::Tcp, first, last })
}

fn udp(port: u16) -> PortSpec {
    PortSpec::Range(PortRange { transport: Transport::Udp, first: port, last: port })
}

#[rstest]
#[case::tcp("443/tcp", tcp(443, 443))]
#[case::range("8000-8090/tcp", tcp(8000, 8090))]
#[case::range_of_one("80-80/tcp", tcp(80, 80))]
#[case::udp("53/udp", udp(53))]
#[case::sctp("3868/sctp", PortSpec::Range(PortRange { transport: Transport::Sctp, first: 3868, last: 3868 }))]
#[case::all_tcp("1-65535/tcp", tcp(1, 65535))]
#[case::icmp("icmp", PortSpec::Icmp)]
#[case::gre("proto/47", PortSpec::Protocol(47))]
#[case::protocol_zero("proto/0", PortSpec::Protocol(0))]
#[case::protocol_tcp_is_every_port("proto/6", tcp(0, 65535))]
fn accepts(#[case] text: &str, #[case] expected: PortSpec) {
    assert_eq!(PortSpec::parse(text), Ok(expected));
}

#[rstest]
#[case::no_protocol("443", Some("443/tcp"))]
#[case::range_no_protocol("80-90", Some("80-90/tcp"))]
#[case::swapped("tcp/443", Some("443/tcp"))]
#[case::upper_case("443/TCP", Some("443/tcp"))]
#[case::reversed("90-80/tcp", Some("80-90/tcp"))]
#[case::star("*/udp", Some("1-65535/udp"))]
#[case::only_protocol("tcp", Some("1-65535/tcp"))]
#[case::icmpv6("icmpv6", Some("icmp"))]
#[case::zero("0/tcp", None)]
#[case::too_large("65536/tcp", None)]
#[case::leading_zero("0443/tcp", None)]
#[case::sign("+443/tcp", None)]
#[case::space("443 /tcp", None)]
#[case::name("https/tcp", None)]
#[case::open_range("80-/tcp", None)]
#[case::three_ends("80-90-100/tcp", None)]
#[case::protocol_too_large("proto/256", None)]
#[case::protocol_name("proto/gre", None)]
#[case::unknown_transport("443/quic", None)]
#[case::empty("", None)]
fn refuses(#[case] text: &str, #[case] cure: Option<&str>) {
    let refusal = PortSpec::parse(text).unwrap_err();
    assert_eq!(refusal.cure, cure.map(|cure| format!("\"{cure}\"")), "{refusal:?}");
}

#[test]
fn a_bare_number_has_the_transport_it_is_given() {
    assert_eq!(PortSpec::parse_of("53", Transport::Udp), Ok(udp(53)));
    let refusal = PortSpec::parse_of("70000", Transport::Udp).unwrap_err();
    assert_eq!(refusal.what, "bad port `70000`");
}

#[rstest]
#[case::tcp("443/tcp")]
#[case::range("8000-8090/udp")]
#[case::icmp("icmp")]
#[case::protocol("proto/47")]
#[case::whole_transport("proto/132")]
fn what_is_shown_reads_back(#[case] text: &str) {
    assert_eq!(PortSpec::parse(text).unwrap().to_string(), text);
}

#[test]
fn a_set_is_joined_and_sorted() {
    let set = PortSet::listed([udp(53), tcp(90, 100), tcp(80, 89), tcp(85, 95), PortSpec::Icmp]);
    assert_eq!(set, PortSet::Listed(vec![tcp(80, 100), udp(53), PortSpec::Icmp]));
}

#[test]
fn ranges_with_a_gap_or_of_other_transports_stay_apart() {
    let set = PortSet::listed([tcp(82, 90), tcp(80, 80), udp(81)]);
    assert_eq!(set, PortSet::Listed(vec![tcp(80, 80), tcp(82, 90), udp(81)]));
}

#[test]
fn joining_at_the_last_port_does_not_wrap() {
    let set = PortSet::listed([tcp(1, 65535), tcp(0, 10)]);
    assert_eq!(set, PortSet::Listed(vec![tcp(0, 65535)]));
}

#[test]
fn an_empty_set_is_none_and_never_any() {
    assert!(PortSet::listed([]).is_none());
    assert_ne!(PortSet::listed([]), PortSet::Any);
    assert!(!PortSet::Any.is_none());
}
