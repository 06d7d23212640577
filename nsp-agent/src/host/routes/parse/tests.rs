use rstest::rstest;
use rtnetlink::packet_core::{DefaultNla, Emitable as _};

use super::*;

const UNICAST: u8 = 1;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let attribute = DefaultNla::new(kind, value.to_vec());
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

/// A route message; `prefix` sets family, length and destination.
fn message(prefix: &str, kind: u8, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let prefix: IpNet = prefix.parse().unwrap();
    let family = if prefix.addr().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut bytes = vec![family as u8, prefix.prefix_len(), 0, 0, 254, 2, 0, kind];
    bytes.extend(flags.to_ne_bytes());
    if prefix.prefix_len() > 0 {
        let octets = match prefix.addr() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        bytes.extend(attribute(1, &octets));
    }
    bytes.extend(attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)));
    bytes
}

fn parsed(bytes: &[u8]) -> Parsed {
    route(bytes).unwrap().unwrap()
}

#[rstest]
#[case::v4("198.51.100.0/24")]
#[case::v6("2001:db8::/32")]
#[case::default_v4("0.0.0.0/0")]
#[case::default_v6("::/0")]
fn a_unicast_route_has_prefix_table_and_device(#[case] prefix: &str) {
    let bytes = message(
        prefix,
        UNICAST,
        0,
        &[(15, &1000_u32.to_ne_bytes()), (4, &3_u32.to_ne_bytes()), (77, b"unknown")],
    );
    let expected = Route { table: 1000, prefix: prefix.parse().unwrap(), interfaces: [3].into() };
    assert_eq!(parsed(&bytes), Parsed { route: expected, nexthop: None });
}

#[rstest]
#[case::local(2, 0)]
#[case::broadcast(3, 0)]
#[case::anycast(4, 0)]
#[case::multicast(5, 0)]
#[case::cached(UNICAST, 0x200)]
fn routes_that_lead_nowhere_else_are_left_out(#[case] kind: u8, #[case] flags: u32) {
    let bytes = message("198.51.100.7/32", kind, flags, &[(4, &3_u32.to_ne_bytes())]);
    assert_eq!(route(&bytes).unwrap(), None);
}

#[test]
fn the_multicast_range_is_left_out() {
    let bytes = message("ff00::/8", UNICAST, 0, &[(4, &3_u32.to_ne_bytes())]);
    assert_eq!(route(&bytes).unwrap(), None);
}

#[rstest]
#[case::blackhole(6)]
#[case::unreachable(7)]
#[case::prohibit(8)]
#[case::throw(9)]
fn a_route_that_refuses_has_no_device(#[case] kind: u8) {
    let bytes = message("10.0.0.0/8", kind, 0, &[(4, &1_u32.to_ne_bytes())]);
    assert_eq!(parsed(&bytes).route.interfaces, BTreeSet::new());
}

#[test]
fn a_multipath_route_has_all_its_devices() {
    let mut paths = Vec::new();
    for device in [3_u32, 5] {
        let gateway = attribute(5, &[192, 0, 2, 1]);
        paths.extend((8 + gateway.len() as u16).to_ne_bytes());
        paths.extend([0, 0]);
        paths.extend(device.to_ne_bytes());
        paths.extend(gateway);
    }
    let bytes = message("0.0.0.0/0", UNICAST, 0, &[(9, &paths)]);
    assert_eq!(parsed(&bytes).route.interfaces, [3, 5].into());
}

#[rstest]
#[case::cut_short(&[16, 0, 0, 0, 3, 0])]
#[case::no_progress(&[0, 0, 0, 0, 3, 0, 0, 0])]
fn a_broken_multipath_is_an_error_and_ends(#[case] paths: &[u8]) {
    assert!(multipath(paths).is_err());
}

#[test]
fn a_route_by_nexthop_object_finds_its_devices() {
    let nexthop = |attributes: &[(u16, &[u8])]| {
        let attributes = attributes.iter().flat_map(|(kind, value)| attribute(*kind, value));
        [0; NEXTHOP_FIXED_LEN].into_iter().chain(attributes).collect::<Vec<u8>>()
    };
    let mut nexthops = Nexthops::default();
    for (id, device) in [(1_u32, 3_u32), (2, 5)] {
        let bytes = nexthop(&[(1, &id.to_ne_bytes()), (5, &device.to_ne_bytes())]);
        nexthops.add(&bytes).unwrap();
    }
    let mut members = 1_u32.to_ne_bytes().to_vec();
    members.extend([0; 4]);
    members.extend(2_u32.to_ne_bytes());
    members.extend([0; 4]);
    nexthops.add(&nexthop(&[(1, &10_u32.to_ne_bytes()), (2, &members)])).unwrap();

    let mut by_group = parsed(&message("0.0.0.0/0", UNICAST, 0, &[(30, &10_u32.to_ne_bytes())]));
    assert!(by_group.needs_nexthops());
    by_group.resolve(&nexthops);
    assert_eq!(by_group.route.interfaces, [3, 5].into());

    let mut single = parsed(&message("0.0.0.0/0", UNICAST, 0, &[(30, &2_u32.to_ne_bytes())]));
    single.resolve(&nexthops);
    assert_eq!(single.route.interfaces, [5].into());
}

#[test]
fn devices_in_the_route_need_no_nexthop_object() {
    let attributes: &[(u16, &[u8])] = &[(30, &9_u32.to_ne_bytes()), (4, &3_u32.to_ne_bytes())];
    assert!(!parsed(&message("0.0.0.0/0", UNICAST, 0, attributes)).needs_nexthops());
}

#[rstest]
#[case::short(vec![2, 0, 0])]
#[case::prefix_too_long({
    let mut bytes = message("198.51.100.0/24", UNICAST, 0, &[]);
    bytes[1] = 33;
    bytes
})]
fn malformed_messages_are_errors_and_no_panics(#[case] bytes: Vec<u8>) {
    assert!(route(&bytes).is_err());
}
