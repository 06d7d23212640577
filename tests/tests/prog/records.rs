//! Access records: what they are about, what they sum up, and that nothing is lost unsaid.

use std::{net::Ipv4Addr, thread, time::Duration};

use nsp_agent::{
    compile::Sizes,
    datapath::{Capacities, FlowRoom},
};
use nsp_common::{
    address::{Address, Family as AddressFamily},
    event::{Grain, NEAR_ROWS, RecordKey, flags},
    verdict::{Category, Direction, Reason, Verdict},
};
use nsp_tests::{
    packet::{
        BOTH,
        Family::V4,
        Party::{Office, Server, Stranger},
        eth, ipv4, ipv6, raw, tcp, udp,
    },
    prog::{DEVICE, ENFORCED, Hook, Lab, everywhere, on},
};

const ONCE: [Hook; 1] = [Hook::Xdp];

#[test]
fn record_is_about_both_ends_the_service_and_the_rule() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let (key, record) =
            case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        let family = if case.family == V4 { AddressFamily::V4 } else { AddressFamily::V6 };
        assert_eq!(
            key,
            RecordKey {
                remote: Address::from(Office.address(case.family)).octets,
                local: Address::from(Server.address(case.family)).octets,
                rule: case.lab.identities.rule("p", Direction::Inbound, "office"),
                name: 0,
                generation: case.lab.datapath.generation().expect("a policy is in force"),
                ifindex: DEVICE,
                service_port: 5432,
                association: case.lab.identities.association("host"),
                protocol: 6,
                family: family as u8,
                reason: Reason::Rule as u8,
                category: Category::PublicInboundPerimeterRulesAllowed as u8,
                flags: flags::ENFORCED,
                grain: Grain::Address as u8,
                _pad: [0; 6],
            },
        );
        assert_eq!((record.count, record.answers, record.opener_port), (1, 0, port));
        assert!(record.first_ns > 0 && record.first_ns == record.last_ns);
    });
}

#[test]
fn packets_of_equal_keys_share_a_record_and_one_event() {
    on(&BOTH, &ONCE, ENFORCED, |case| {
        let mut bytes = 0;
        for number in 0..5 {
            let port = case.port();
            let syn = eth() / case.ip(Stranger, Server) / tcp(port, 5432).syn() / vec![0; number];
            bytes += syn.bytes().len() as u64;
            let verdict = case.verdict(&syn.bytes(), Direction::Inbound).expect("it runs");
            assert_eq!(verdict, Verdict::Drop);
        }
        // Another segment is no further conversation, another port is another record.
        let ack = eth() / case.ip(Stranger, Server) / tcp(1, 5432).ack();
        bytes += ack.bytes().len() as u64;
        case.verdict(&ack.bytes(), Direction::Inbound).expect("it runs");
        let other = eth() / case.ip(Stranger, Server) / tcp(1, 5433).syn();
        case.verdict(&other.bytes(), Direction::Inbound).expect("it runs");
        let _delta = case.lab.delta();
        let (records, events) = case.lab.records();
        assert_eq!((records.len(), events.len()), (2, 2));
        let (_, record) =
            records.iter().find(|(key, _)| key.service_port == 5432).expect("a record");
        assert_eq!((record.count, record.packets, record.bytes), (5, 6, bytes));
    });
}

#[test]
fn drained_records_begin_anew() {
    on(&BOTH, &ONCE, ENFORCED, |case| {
        for _ in 0..3 {
            let ip = case.ip(Stranger, Server);
            let (_, record) = case.inbound(ip / udp(9, 9)).refused(Reason::NoRule);
            assert_eq!(record.packets, 1);
        }
        assert!(case.lab.records().0.is_empty());
    });
}

/// Programs with hardly any room for records, and so much for those of networks.
fn crowded(networks: u32) -> Lab {
    let least = Capacities::for_sizes(&Sizes::default());
    let mut lab = Lab::with(Capacities { flows: FlowRoom::of(8), records: 16, networks, ..least });
    lab.put_in_force(ENFORCED);
    lab.clear();
    lab
}

#[test]
fn flood_of_sources_collapses_and_every_packet_is_accounted_for() {
    const PACKETS: u64 = 6000;
    let mut lab = crowded(4096);
    for number in 0..PACKETS as u32 {
        let [_, a, b, c] = number.wrapping_mul(2_654_435_761).to_be_bytes();
        let v4 = Ipv4Addr::new(198, 20 + a % 8, b, c);
        let v6 = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0x5000 + u16::from(a), 0, 0, 0, 0, 1);
        let frame = if number % 2 == 0 {
            eth() / ipv4(v4, Server) / tcp(1, (number % 9000) as u16).syn()
        } else {
            eth() / ipv6(v6, Server) / udp(1, (number % 9000) as u16)
        };
        lab.datapath.run("nsp_xdp", &frame.bytes(), DEVICE).expect("it runs");
    }
    let delta = lab.delta();
    let (records, events) = lab.records();
    let lost = delta.get("lost Record").map_or(0, |(packets, _)| *packets);
    let sums = records.iter().fold((0, 0), |(packets, bytes), (_, record)| {
        (packets + record.packets, bytes + record.bytes)
    });
    let (counted, counted_bytes) = delta["PublicInboundPerimeterRulesDenied"];
    assert_eq!((counted, sums.0 + lost), (PACKETS, PACKETS), "records and losses add up");
    assert_eq!(lost, 0, "the last grain takes everything");
    assert_eq!(sums.1, counted_bytes);
    let of = |grain: Grain| records.iter().filter(|(key, _)| key.grain == grain as u8).count();
    assert_eq!(of(Grain::Address), 12, "three quarters of the room");
    assert!(of(Grain::Network) >= 8 + 100, "{} networks", of(Grain::Network));
    assert_eq!(events.len(), 12, "collapsed records are not told one by one");
    for (key, _) in records.iter().filter(|(key, _)| key.grain == Grain::Network as u8) {
        let host_bits = if key.family == 4 { &key.remote[14..] } else { &key.remote[6..] };
        assert!(host_bits.iter().all(|byte| *byte == 0), "{key:?}");
        assert_eq!(key.service_port, 0);
    }
}

/// A question of this host's port to a time server of the office, and its answer.
fn ask(lab: &Lab, host: u8, port: u16) {
    let peer = Ipv4Addr::new(203, 0, 113, host);
    let asks = eth() / ipv4(Server, peer) / udp(port, 123);
    let answers = eth() / ipv4(peer, Server) / udp(123, port);
    for (program, frame) in [("nsp_egress", asks), ("nsp_xdp", answers)] {
        lab.datapath.run(program, &frame.bytes(), DEVICE).expect("it runs");
    }
}

/// Drains, at a distance of more than two ticks of the kernel's clock from what was before (it has at least a
/// hundred a second).
fn begin_epoch(lab: &mut Lab) {
    thread::sleep(Duration::from_millis(40));
    lab.clear();
}

/// Packets that passed, in records of each grain.
fn passed(lab: &mut Lab) -> [u64; 3] {
    let (records, _) = lab.records();
    [Grain::Address, Grain::Network, Grain::Many].map(|grain| {
        let passed = Category::PublicOutboundPerimeterRulesAllowed as u8;
        let of = |key: &RecordKey| key.grain == grain as u8 && key.category == passed;
        records.iter().filter(|(key, _)| of(key)).map(|(_, record)| record.packets).sum()
    })
}

#[test]
fn flood_of_strangers_leaves_room_for_records_of_whom_something_passes() {
    let mut lab = crowded(4096);
    for number in 0..200_u32 {
        let [.., a, b] = (number * 331).to_be_bytes();
        let frame = eth() / ipv4(Ipv4Addr::new(198, 51, a, b), Server) / tcp(1, 80).syn();
        lab.datapath.run("nsp_xdp", &frame.bytes(), DEVICE).expect("it runs");
    }
    ask(&lab, 1, 1000);
    ask(&lab, 2, 1000);
    assert_eq!(passed(&mut lab), [4, 0, 0]);
}

#[test]
fn conversation_that_comes_too_late_for_a_record_looks_for_none_until_the_next_epoch() {
    let mut lab = crowded(4096);
    for port in [1000, 1001] {
        ask(&lab, 1, port);
    }
    begin_epoch(&mut lab);
    ask(&lab, 1, 1000);
    // There are sixteen records.
    for host in 2..=20 {
        ask(&lab, host, 1000);
    }
    for _ in 0..3 {
        // It came before that, and is added to its record.
        ask(&lab, 1, 1000);
        // It came later, and is told with its network, although its peer has a record.
        ask(&lab, 1, 1001);
        // One that is opened now looks, and finds that record.
        ask(&lab, 1, 1002);
    }
    assert_eq!(passed(&mut lab), [2 + 15 * 2 + 3 * 2 + 3 * 2, 4 * 2 + 3 * 2, 0]);
    begin_epoch(&mut lab);
    for port in [1000, 1001, 1002] {
        ask(&lab, 1, port);
    }
    assert_eq!(passed(&mut lab), [6, 0, 0], "the next epoch begins anew");
}

#[test]
fn what_finds_no_room_at_all_is_lost_and_counted() {
    const PROTOCOLS: u64 = 200;
    const PACKETS: u64 = 2 * PROTOCOLS;
    let mut lab = crowded(8);
    let mut bytes = 0;
    // IGMP, which passes, is before these.
    for number in 50..50 + PROTOCOLS as u8 {
        // As many networks and protocols, so that not even "many sources" has a row for each.
        let v6 = std::net::Ipv6Addr::new(0x2001, 0xdb8, u16::from(number), 0, 0, 0, 0, 1);
        for frame in [
            eth() / ipv4(Ipv4Addr::new(198, number, 1, 1), Server) / raw(number, [0; 20]),
            eth() / ipv6(v6, Server) / raw(number, [0; 20]),
        ] {
            bytes += frame.bytes().len() as u64;
            lab.datapath.run("nsp_xdp", &frame.bytes(), DEVICE).expect("it runs");
        }
    }
    let delta = lab.delta();
    let (records, _) = lab.records();
    let logged: u64 = records.iter().map(|(_, record)| record.packets).sum();
    let (counted, counted_bytes) = delta["PublicInboundPerimeterRulesDenied"];
    let (lost, lost_bytes) = delta["lost Record"];
    assert_eq!((counted, counted_bytes), (PACKETS, bytes));
    assert_eq!(logged + lost, PACKETS);
    let rows = 16 + 8 + 8 + u64::from(NEAR_ROWS);
    assert!(lost >= PACKETS - rows && lost_bytes > 0, "lost {lost}");
}
