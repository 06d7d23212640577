//! Stacking, and what can be done to a whole packet.

use super::*;

fn syn() -> Packet {
    eth() / ipv4("198.51.100.7", "192.0.2.1") / tcp(40000, 5432).syn()
}

/// The pseudo-header sum of a segment is zero when its checksum is right.
fn covered_sum(source: &[u8], destination: &[u8], protocol: u8, segment: &[u8]) -> u16 {
    let length = u32::try_from(segment.len()).unwrap().to_be_bytes();
    internet_checksum(&[source, destination, &length, &[0, 0, 0, protocol], segment])
}

#[test]
fn layers_stand_in_the_order_written() {
    let bytes = (eth() / vlan(10) / ipv4("198.51.100.7", "192.0.2.1") / udp(1, 2) / "hi").bytes();
    assert_eq!(bytes[16..18], [0x08, 0]);
    assert_eq!(bytes[18 + 9], 17);
    assert_eq!(bytes[18 + 3], 30, "total length");
    assert_eq!(bytes[38..40], [0, 1], "source port");
    assert_eq!(bytes[46..], *b"hi");
}

#[test]
fn arp_request_is_that_of_a_capture() {
    // From tcpdump's 802.1ad_QinQ.pcap.
    let sender = [0x00, 0x20, 0xd2, 0x5a, 0xfb, 0x3f];
    let request = arp_request("172.21.79.97", "172.21.79.100").sender_mac(sender);
    let frame = eth().dst(BROADCAST).src(sender) / service_vlan(200) / vlan(2001) / request;
    let expected = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x20, 0xd2, 0x5a, 0xfb, 0x3f, 0x88, 0xa8, 0x00,
        0xc8, 0x81, 0x00, 0x07, 0xd1, 0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
        0x00, 0x20, 0xd2, 0x5a, 0xfb, 0x3f, 0xac, 0x15, 0x4f, 0x61, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0xac, 0x15, 0x4f, 0x64,
    ];
    assert_eq!(frame.clone().bytes(), expected);
    assert_eq!(frame.pad_to(64).bytes().len(), 64);
    let reverse = (eth() / arp_reply("0.0.0.0", "0.0.0.0").reverse()).bytes();
    assert_eq!((&reverse[12..14], reverse[21]), (&[0x80, 0x35][..], 4));
}

#[test]
fn cut_and_padding_leave_the_headers_as_they_were() {
    let whole = syn().bytes();
    for length in 0..=whole.len() {
        assert_eq!(syn().truncate(length).bytes(), whole[..length]);
    }
    assert_eq!(syn().pad(6).bytes()[..whole.len()], whole);
    assert_eq!(syn().pad_to(60).bytes().len(), 60);
    assert_eq!(syn().pad_to(10).bytes(), whole, "never shorter");
}

#[test]
fn patch_overwrites_after_the_checksums() {
    let patched = syn().patch(14 + 8, &[1]).bytes();
    let mut expected = syn().bytes();
    expected[22] = 1;
    assert_eq!(patched, expected);
}

#[test]
#[should_panic(expected = "lies outside eth/ipv4/tcp")]
fn patch_outside_the_packet_is_a_mistake_in_the_test() {
    syn().patch(53, &[0, 0]).bytes();
}

#[test]
fn without_link_header_starts_at_ip() {
    let tagged = eth() / vlan(10) / ipv6("2001:db8:5::7", "2001:db8:1::1") / udp(1, 2);
    assert_eq!(tagged.without_link_header().bytes()[0], 0x60);
    let tunnelled = (syn() / eth() / payload("x")).without_link_header();
    assert_eq!(tunnelled.to_string(), "ipv4/tcp/eth/payload", "an inner link header stays");
}

#[test]
fn checksums_cover_the_addresses_around_them() {
    for family in BOTH {
        let at = family.header_length();
        let segments = [
            (6, family.ip(Party::Office, Party::Server) / tcp(1, 2).syn() / "odd"),
            (17, family.ip(Party::Office, Party::Server) / udp(1, 2) / "even"),
        ];
        for (protocol, packet) in segments {
            let bytes = packet.bytes();
            let addresses = if family == Family::V4 { &bytes[12..20] } else { &bytes[8..40] };
            let (source, destination) = addresses.split_at(addresses.len() / 2);
            assert_eq!(covered_sum(source, destination, protocol, &bytes[at..]), 0, "{packet}");
        }
    }
}

#[test]
fn extension_headers_chain_by_their_numbers() {
    let packet = ipv6("::1", "2001:db8:1::1")
        / hop_by_hop()
        / destination_options()
        / routing(["2001:db8:1::2"])
        / extension_fragment(7, 0, false)
        / ah()
        / tcp(1, 2).syn();
    let bytes = packet.bytes();
    assert_eq!(bytes[6], 0);
    assert_eq!(bytes[40..48], [60, 0, 1, 4, 0, 0, 0, 0], "hop-by-hop, padded");
    assert_eq!(bytes[48..50], [43, 0], "destination options");
    assert_eq!(bytes[56..60], [44, 2, 0, 1], "routing");
    assert_eq!(bytes[80..88], [51, 0, 0, 0, 0, 0, 0, 7], "atomic fragment");
    assert_eq!(bytes[88..90], [6, 4], "AH counts 4-byte words");
    assert_eq!(bytes.len(), 40 + 8 + 8 + 24 + 8 + 24 + 20);
    let last_stop = "2001:db8:1::2".parse::<std::net::Ipv6Addr>().unwrap().octets();
    assert_eq!(covered_sum(&bytes[8..24], &last_stop, 6, &bytes[112..]), 0);
}

#[test]
fn segment_routing_lists_its_stops_backwards() {
    let packet = ipv6("::1", "::2") / segment_routing(["::a", "::b"]) / udp(1, 2);
    let bytes = packet.bytes();
    assert_eq!(bytes[40..48], [17, 4, 4, 1, 1, 0, 0, 0]);
    assert_eq!((bytes[63], bytes[79]), (0xb, 0xa));
}

#[test]
fn options_pad_to_whole_words() {
    for length in 0..40 {
        let value = vec![0; length];
        let option = [&[0x1e, u8::try_from(length).unwrap()][..], &value].concat();
        let bytes = Packet::from(hop_by_hop().options(&option)).bytes();
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(usize::from(bytes[1]), bytes.len() / 8 - 1);
        assert!(bytes.len() < 2 + option.len() + 8, "no more padding than needed");
    }
    let jumbo = Packet::from(hop_by_hop().jumbo(70000)).bytes();
    assert_eq!(jumbo, [59, 0, 0xc2, 4, 0, 1, 0x11, 0x70]);
    assert_eq!(Packet::from(hop_by_hop().length(9)).bytes()[1], 9);
}

#[test]
fn chain_ends_are_named() {
    let protocol = |packet: Packet| (packet.bytes()[6], packet.bytes().len() - 40);
    assert_eq!(protocol(ipv6("::1", "::2") / esp() / [0; 8]), (50, 16));
    assert_eq!(protocol(ipv6("::1", "::2") / no_next_header()), (59, 0));
    assert_eq!(protocol(ipv6("::1", "::2") / raw(33, [0; 4])), (33, 4));
}
