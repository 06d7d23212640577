//! Fragments: the head is judged, the tail follows it, and nobody reads ports in the middle.

use nsp_common::verdict::{Category, Direction, Reason, Verdict};
use nsp_tests::{
    packet::{
        Family::{V4, V6},
        Packet, Party,
        Party::{Office, Private, Server, Stranger},
        eth, extension_fragment, fragments, ipv6, raw, tcp, udp,
    },
    prog::{Case, ENFORCED, Hook, Network, everywhere, on, transition},
};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

/// A UDP datagram of three pieces from `source` to the server's port 5432.
fn datagram(case: &mut Case<'_>, source: Party) -> [Packet; 3] {
    let (port, id) = (case.port(), case.port());
    let pieces = fragments(case.family, (source, Server), id, udp(port, 5432) / [7; 120], 48);
    pieces.try_into().expect("three pieces")
}

#[test]
fn tails_follow_a_head_that_passed() {
    everywhere(ENFORCED, |case| {
        let [head, middle, last] = datagram(case, Office);
        let category = Category::PublicInboundPerimeterRulesAllowed;
        case.inbound(head).allowed("office");
        case.inbound(middle).passes_by("office", Reason::Fragment, category);
        case.inbound(last).passes_by("office", Reason::Fragment, category);
    });
}

#[test]
fn tails_of_a_head_that_was_dropped_are_dropped() {
    everywhere(ENFORCED, |case| {
        let [head, middle, last] = datagram(case, Stranger);
        case.inbound(head).refused(Reason::NoRule);
        case.inbound(middle).refused(Reason::OrphanFragment);
        case.inbound(last).refused(Reason::OrphanFragment);
    });
}

#[test]
fn tails_without_a_head_are_dropped_even_from_allowed_peers() {
    everywhere(ENFORCED, |case| {
        let [head, middle, last] = datagram(case, Office);
        case.inbound(middle).refused(Reason::OrphanFragment);
        case.inbound(head).allowed("office");
        case.inbound(last).passes_by(
            "office",
            Reason::Fragment,
            Category::PublicInboundPerimeterRulesAllowed,
        );
    });
}

#[test]
fn tails_with_another_identification_or_protocol_have_no_head() {
    everywhere(ENFORCED, |case| {
        let (port, id, other) = (case.port(), case.port(), case.port());
        let ip = |case: &Case<'_>, id, offset| case.ip(Office, Server).fragment(id, offset, true);
        case.inbound(ip(case, id, 0) / udp(port, 5432) / [0; 40]).allowed("office");
        case.inbound(ip(case, other, 48) / raw(17, [0; 48])).refused(Reason::OrphanFragment);
        // RFC 791 identifies a datagram by its protocol too, RFC 8200 does not.
        if case.family == V4 {
            case.inbound(ip(case, id, 48) / raw(6, [0; 48])).refused(Reason::OrphanFragment);
        }
        let ip = case.ip(("203.0.113.6", "2001:db8:100::6"), Server).fragment(id, 48, false);
        case.inbound(ip / raw(17, [0; 48])).refused(Reason::OrphanFragment);
    });
}

#[test]
fn payload_of_a_tail_is_never_read_as_ports() {
    everywhere(ENFORCED, |case| {
        let (port, id) = (case.port(), case.port());
        // A tail that looks like a SYN to the allowed port, or like an ICMP error.
        let segment = Packet::from(tcp(port, 5432).syn()).bytes();
        let ip = case.ip(Office, Server).fragment(id, 64, false);
        case.inbound(ip / raw(6, segment)).refused(Reason::OrphanFragment);
        let icmp = if case.family == V4 { 1 } else { 58 };
        let error = case.family.too_big(1400).bytes();
        let ip = case.ip(Office, Server).fragment(id, 64, false);
        case.inbound(ip / raw(icmp, error)).refused(Reason::OrphanFragment);
    });
}

#[test]
fn atomic_fragments_are_whole() {
    on(&[V6], &Hook::ALL, ENFORCED, |case| {
        let port = case.port();
        let whole = |id| ipv6(Office, Server) / extension_fragment(id, 0, false);
        case.inbound(whole(77) / tcp(port, 5432).syn()).allowed("office");
        // They are no head: nothing is remembered for them.
        let tail = ipv6(Office, Server) / extension_fragment(77, 48, false) / raw(6, [0; 48]);
        case.inbound(tail).refused(Reason::OrphanFragment);
        let stranger = ipv6(Stranger, Server) / extension_fragment(78, 0, false);
        case.inbound(stranger / tcp(port, 5432).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn tiny_heads_are_dropped() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let segment = Packet::from(tcp(port, 5432).syn()).bytes();
        for length in [0, 8, 16] {
            let id = case.port();
            let head = case.ip(Office, Server).fragment(id, 0, true) / raw(6, &segment[..length]);
            case.inbound(head).refused(Reason::TinyFragment);
            let ip = case.ip(Office, Server).fragment(id, 8, false);
            case.inbound(ip / raw(6, &segment[8..])).refused(Reason::OrphanFragment);
        }
        let id = case.port();
        let whole = case.ip(Office, Server).fragment(id, 0, true) / raw(6, &segment);
        case.inbound(whole.pad(4)).allowed("office");
    });
}

#[test]
fn fragmented_answers_follow_the_conversation() {
    everywhere(ENFORCED, |case| {
        let (port, id) = (case.port(), case.port());
        case.outbound(case.ip(Server, Office) / udp(port, 123)).allowed("backups");
        let answer = fragments(case.family, (Office, Server), id, udp(123, port) / [0; 88], 48);
        let [head, tail] = <[Packet; 2]>::try_from(answer).expect("two pieces");
        case.inbound(head).follows("backups", Direction::Outbound);
        case.inbound(tail).passes_by(
            "backups",
            Reason::Fragment,
            Category::PublicOutboundPerimeterRulesAllowed,
        );
    });
}

#[test]
fn tails_of_private_peers_are_private() {
    everywhere(ENFORCED, |case| {
        case.by(Network::Private);
        let [head, middle, _] = datagram(case, Private);
        case.inbound(head).passes(Reason::Private, Category::PrivateInboundAllowed);
        case.inbound(middle).passes(Reason::Private, Category::PrivateInboundAllowed);
        // With a head or without one: the address alone decides.
        let [_, middle, _] = datagram(case, Private);
        case.inbound(middle).passes(Reason::Private, Category::PrivateInboundAllowed);
    });
}

#[test]
fn new_generation_forgets_heads() {
    everywhere(ENFORCED, |case| {
        let [head, middle, _] = datagram(case, Office);
        case.inbound(head).allowed("office");
        case.apply(ENFORCED);
        case.inbound(middle).refused(Reason::OrphanFragment);
    });
}

#[test]
fn transition_lets_orphans_through_and_tells() {
    everywhere(&transition(), |case| {
        let [head, middle, _] = datagram(case, Stranger);
        case.inbound(middle).would_deny(Reason::OrphanFragment);
        case.inbound(head).would_deny(Reason::NoRule);
        let [head, middle, _] = datagram(case, Stranger);
        case.inbound(head).would_deny(Reason::NoRule);
        case.inbound(middle).would_deny(Reason::Fragment);
    });
}

#[test]
fn overlapping_tails_have_the_verdict_of_their_head() {
    everywhere(ENFORCED, |case| {
        for source in [Office, Stranger] {
            let (port, id) = (case.port(), case.port());
            let piece =
                |case: &Case<'_>, offset, more| case.ip(source, Server).fragment(id, offset, more);
            let head = case.inbound(piece(case, 0, true) / udp(port, 5432) / [1; 56]);
            match source {
                Office => head.allowed("office"),
                _ => head.refused(Reason::NoRule),
            };
            // Over the head's own data, over its end, the same again, and all of it over once more.
            for (offset, length) in [(8, 48), (56, 32), (56, 32), (24, 8), (8, 120)] {
                let tail =
                    case.inbound(piece(case, offset, offset != 24) / raw(17, vec![2_u8; length]));
                match source {
                    Office => tail.passes_by(
                        "office",
                        Reason::Fragment,
                        Category::PublicInboundPerimeterRulesAllowed,
                    ),
                    _ => tail.refused(Reason::OrphanFragment),
                };
            }
        }
    });
}

/// More heads than the table has places: the oldest are forgotten, and nothing else is touched.
/// What one processor put into the table last does not give way to what comes on another one (bpf_lru_list.c).
fn stay_on_this_processor() {
    let mut here = CpuSet::new();
    here.set(sched_getcpu());
    sched_setaffinity(None, &here).expect("a thread may choose among its processors");
}

#[test]
fn flood_of_heads_costs_tails_and_nothing_else() {
    const HEADS: u16 = 10_000;
    on(&[V4, V6], &[Hook::Xdp, Hook::Tc], ENFORCED, |case| {
        stay_on_this_processor();
        let [head, middle, _] = datagram(case, Office);
        case.inbound(head).allowed("office");
        let flood = case.port();
        for id in 0..HEADS {
            let head = case.ip(Office, Server).fragment(id, 0, true) / udp(flood, 5432) / [1; 8];
            let verdict = case.verdict(&(eth() / head).bytes(), Direction::Inbound);
            assert_eq!(verdict, Ok(Verdict::Pass));
        }
        let counted = case.lab.delta();
        assert!(!counted.keys().any(|name| name.starts_with("lost Fragment")), "{counted:?}");
        case.lab.clear();
        case.inbound(middle).refused(Reason::OrphanFragment);
        // Whoever comes now is judged as ever, in pieces and whole.
        let [head, middle, last] = datagram(case, Office);
        let category = Category::PublicInboundPerimeterRulesAllowed;
        case.inbound(head).allowed("office");
        case.inbound(middle).passes_by("office", Reason::Fragment, category);
        case.inbound(last).passes_by("office", Reason::Fragment, category);
        let port = case.port();
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
    });
}
