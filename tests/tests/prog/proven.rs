//! The tables of conversations under pressure: who gives way, who does not, and what ends by itself.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::Duration,
};

use nsp_agent::{
    compile::Sizes,
    datapath::{Capacities, FlowEntry, FlowRoom},
};
use nsp_common::{
    address::Address,
    flow::{Flow, FlowKey},
    verdict::Direction,
};
use nsp_tests::{
    deadline::Deadline,
    packet::{
        Packet,
        Party::{Office, Server},
        eth, ipv4, ipv6, tcp, udp,
    },
    prog::{DEVICE, ENFORCED, Lab, TC_PASS, XDP_PASS, everywhere},
};

use crate::tcp::{open_outbound, tracked};

/// Programs with room for so many proven conversations of IPv4.
fn with_room_for(flows: u32, policy: &str) -> Lab {
    let least = Capacities::for_sizes(&Sizes::default());
    let mut lab = Lab::with(Capacities { flows: FlowRoom::of(flows), ..least });
    lab.put_in_force(policy);
    lab.clear();
    lab
}

fn run(lab: &Lab, program: &str, frame: impl Into<Packet>) -> u32 {
    lab.datapath.run(program, &frame.into().bytes(), DEVICE).expect("it runs")
}

/// A question to the time server at `peer`, and its answer: a proven conversation.
fn talk(lab: &Lab, peer: Ipv4Addr, port: u16) {
    assert_eq!(run(lab, "nsp_egress", eth() / ipv4(Server, peer) / udp(port, 123)), TC_PASS);
    let answer = eth() / ipv4(peer, Server) / udp(123, port);
    assert_eq!(run(lab, "nsp_xdp", answer), XDP_PASS, "the answer of {peer} to {port}");
}

fn proven(lab: &Lab) -> Vec<FlowEntry> {
    let flows = lab.datapath.flows().expect("conversations can be read");
    flows.into_iter().filter(|entry| entry.is_proven).collect()
}

fn office(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, host)
}

#[test]
fn full_table_is_told_and_cuts_nobody() {
    let mut lab = with_room_for(8, ENFORCED);
    for _ in 0..2 {
        for host in 1..=20 {
            talk(&lab, office(host), 1000);
        }
    }
    let flows = lab.datapath.flows().expect("conversations can be read");
    assert_eq!(flows.len(), 20, "all are tracked");
    assert_eq!(proven(&lab).len(), 8);
    let delta = lab.delta();
    assert!(delta.contains_key("lost Flow"), "{delta:?}");
}

#[test]
fn one_peer_takes_its_part_of_the_table_and_leaves_the_rest() {
    let lab = with_room_for(64, ENFORCED);
    for port in 1000..1040 {
        talk(&lab, office(1), port);
    }
    assert_eq!(proven(&lab).len(), 8, "an eighth");
    talk(&lab, office(2), 1000);
    assert_eq!(proven(&lab).len(), 9);
}

#[test]
fn one_customer_of_ipv6_takes_its_part_of_that_table() {
    let lab = with_room_for(256, ENFORCED);
    let talk = |peer: Ipv6Addr, port| {
        let ask = eth() / ipv6(Server, peer) / udp(port, 123);
        assert_eq!(run(&lab, "nsp_egress", ask), TC_PASS);
        assert_eq!(run(&lab, "nsp_xdp", eth() / ipv6(peer, Server) / udp(123, port)), XDP_PASS);
    };
    // Networks of one /48, and an address of another.
    for network in 0..32 {
        talk(Ipv6Addr::new(0x2001, 0xdb8, 0x101, network, 0, 0, 0, 1), 1000);
    }
    assert_eq!(proven(&lab).len(), 8, "an eighth of 64");
    talk(Ipv6Addr::new(0x2001, 0xdb8, 0x102, 0, 0, 0, 0, 1), 1000);
    assert_eq!(proven(&lab).len(), 9);
}

#[test]
fn conversation_without_a_place_asks_for_one_once_a_second() {
    let mut lab = with_room_for(8, ENFORCED);
    talk(&lab, office(1), 1000);
    talk(&lab, office(1), 1001);
    let _before = lab.delta();
    for _ in 0..200 {
        talk(&lab, office(1), 1001);
    }
    let lost = lab.delta().get("lost Flow").map_or(0, |(packets, _)| *packets);
    assert!(lost <= 4, "counted {lost} times");
}

#[test]
fn clock_goes_round_all_places_of_both_families() {
    // More places than it looks at in a few ticks.
    let lab = with_room_for(2048, ENFORCED);
    let mut keep = Vec::new();
    for number in 0..1500_u16 {
        let [high, low] = number.to_be_bytes();
        let peer = Address::from(IpAddr::V4([203, 0, 113, low].into()));
        let mut key =
            FlowKey { remote: peer, local_port: 2000 + u16::from(high), ..FlowKey::EMPTY };
        (key.protocol, key.family, key.remote_port) = (17, 4, 123);
        if number % 3 == 0 {
            key.remote =
                Address::from(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, low.into(), 0, 0, 0, 0, 1)));
            key.family = 6;
        }
        keep.push(key);
    }
    for key in &keep {
        // Seen at the beginning of time: over at once.
        lab.datapath.keep_flow(key, &Flow::EMPTY).expect("there is room");
    }
    let gone =
        Deadline::after(Duration::from_secs(10)).poll(|| proven(&lab).is_empty().then_some(()));
    assert!(gone.is_some(), "{} are left", proven(&lab).len());
}

#[test]
fn conversation_ends_by_its_own_timer_and_gives_its_place_back() {
    let lab = with_room_for(64, ENFORCED);
    for port in 1000..1008 {
        talk(&lab, office(1), port);
    }
    // Idle for so long that it is over in a moment; nobody looks at it meanwhile.
    let left = Duration::from_millis(300);
    for entry in proven(&lab) {
        let timeout = Duration::from_secs(entry.flow.timeout_s(entry.key.protocol));
        let idle = (timeout - left).as_nanos() as u64;
        let seen_ns = entry.flow.seen_ns.checked_sub(idle).expect("up for three minutes");
        let flow = Flow { seen_ns, ..entry.flow };
        lab.datapath.keep_flow(&entry.key, &flow).expect("there is room");
    }
    assert_eq!(proven(&lab).len(), 8);
    thread::sleep(left * 3);
    assert_eq!(proven(&lab).len(), 0, "taken out without a packet and without an agent");
    talk(&lab, office(1), 1000);
    assert_eq!(proven(&lab).len(), 1, "the peer has its places back");
}

#[test]
fn timer_waits_on_for_a_conversation_that_has_spoken() {
    let lab = with_room_for(64, ENFORCED);
    talk(&lab, office(1), 1000);
    let entry = proven(&lab)[0];
    let timeout = Duration::from_secs(entry.flow.timeout_s(entry.key.protocol));
    let idle = (timeout - Duration::from_millis(300)).as_nanos() as u64;
    let seen_ns = entry.flow.seen_ns.checked_sub(idle).expect("up for three minutes");
    let flow = Flow { seen_ns, ..entry.flow };
    lab.datapath.keep_flow(&entry.key, &flow).expect("there is room");
    talk(&lab, office(1), 1000);
    thread::sleep(Duration::from_millis(900));
    assert_eq!(proven(&lab).len(), 1);
}

#[test]
fn refusal_proves_nobody() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.outbound(case.ip(Server, Office) / tcp(port, 443).syn()).allowed("backups");
        case.inbound(case.ip(Office, Server) / tcp(443, port).rst())
            .follows("backups", Direction::Outbound);
        let (_, is_proven) = tracked(case.lab, port, 443).expect("the SYN opened it");
        assert!(!is_proven, "a scan of closed ports fills no table");
        let port = open_outbound(case);
        let (_, is_proven) = tracked(case.lab, port, 443).expect("the SYN opened it");
        assert!(is_proven);
    });
}

#[test]
fn flood_of_strangers_takes_no_question_of_this_host_away() {
    // More than the table of those who knocked has room for.
    const FLOOD: u32 = 150_000;
    let policy = ENFORCED.replace("access_mode = \"enforced\"", "outbound_mode = \"enforced\"");
    let lab = with_room_for(64, &policy);
    for port in 1000..1050 {
        let ask = eth() / ipv4(Server, Office) / udp(port, 123);
        assert_eq!(run(&lab, "nsp_egress", ask), TC_PASS);
    }
    for number in 0..FLOOD {
        let [_, a, b, c] = number.to_be_bytes();
        let knock = eth() / ipv4(Ipv4Addr::new(198, 18 + (a & 1), b, c), Server) / udp(9, 9);
        assert_eq!(run(&lab, "nsp_xdp", knock), XDP_PASS);
    }
    for port in 1000..1050 {
        let answer = eth() / ipv4(Office, Server) / udp(123, port);
        assert_eq!(run(&lab, "nsp_xdp", answer), XDP_PASS);
    }
    assert_eq!(proven(&lab).len(), 8, "they were known, as far as one peer may be");
}
