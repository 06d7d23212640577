//! Names and answers that are made to be mistaken.

use std::net::IpAddr;

use nsp_common::{
    learned::{QUOTA_BELOW, QUOTA_EXACT, Unit},
    verdict::{Lesson, Reason},
};
use nsp_tests::{
    packet::{Party::Server, dns, udp},
    prog::{Lab, everywhere},
};

use crate::names::{POLICY, RESOLVER, connects, hears, home, is_refused, kind, lessons, trust};

/// A label's bytes may be anything, also a dot, a zero, or what looks like the length of the next one.
#[test]
fn label_that_imitates_a_boundary_is_below_no_name_of_a_rule() {
    for wire in [
        // One label of eleven and one of twelve bytes before "com" that only read like "example".
        &b"\x0b\x07example\x03ww\x03com\x00"[..],
        b"\x0cwww\x07example\x03\x03com\x00",
        // "www.example" and a label that begins with a length byte.
        b"\x0bwww.example\x03com\x00",
        b"\x03www\x08\x07example\x03com\x00",
        b"\x03www\x08example\x00\x03com\x00",
        b"\x03www\x07example\x04com\x00\x00",
        // The zero that ends the key of an exact name, inside a label.
        b"\x04api\x00\x07example\x03org\x00",
    ] {
        everywhere(POLICY, |case| {
            trust(case);
            let port = case.port();
            let question = dns::query_of_wire(7, wire, kind(case));
            let told = lessons(case, |case| {
                let ip = case.ip(Server, RESOLVER);
                case.outbound(ip / udp(port, 53) / question.clone()).ignored(Reason::Resolver);
                let answer = question.response();
                // The owner is the question's name by a pointer.
                let answer = answer.pointed(12, home(case), 60);
                hears(case, RESOLVER, port, answer);
            });
            assert_eq!(told, [(Lesson::Asked, 1), (Lesson::Unlisted, 1)].into(), "{wire:?}");
            is_refused(case);
        });
    }
    // The same way with a name that is one.
    everywhere(POLICY, |case| {
        trust(case);
        let port = case.port();
        let wire = b"\x04a\x00.b\x07example\x03com\x00";
        let question = dns::query_of_wire(7, wire, kind(case));
        let ip = case.ip(Server, RESOLVER);
        case.outbound(ip / udp(port, 53) / question.clone()).ignored(Reason::Resolver);
        hears(case, RESOLVER, port, question.response().pointed(12, home(case), 60));
        connects(case, "below");
    });
}

/// G20: random names below a wildcard fill the wildcard's own quota and nobody else's.
#[test]
fn flood_of_names_below_a_wildcard_takes_nothing_from_others() {
    let mut lab = Lab::load();
    lab.put_in_force(POLICY);
    let exact = Unit { name: lab.identities.name("api.example.org"), quota: QUOTA_EXACT };
    let below = Unit { name: lab.identities.name("*.example.com"), quota: QUOTA_BELOW };
    let address = |network: u32, number: u32| IpAddr::from((network + number).to_be_bytes());
    let teach = |address, unit| lab.datapath.teach(address, unit, u32::MAX).expect("it runs");
    assert_eq!(teach(address(0xcb00_7100, 1), exact), Lesson::Learned);
    let mut refused = 0;
    for number in 0..QUOTA_BELOW + 1000 {
        refused += u32::from(teach(address(0x0b00_0000, number), below) == Lesson::OverQuota);
    }
    assert_eq!(refused, 1000);
    let known = lab.datapath.learned_of(address(0xcb00_7100, 1)).expect("it can be read");
    assert!(known.is_some_and(|it| it.names.iter().any(|name| name.name == exact.name)));
    assert_eq!(teach(address(0xcb00_7100, 2), exact), Lesson::Learned);
}

/// G18: an answer of more addresses than are taken teaches none of them by itself; the agent asks.
#[test]
fn answer_of_too_many_addresses_is_left_to_the_agent() {
    everywhere(POLICY, |case| {
        let name = "www.example.com";
        let port = crate::names::ask(case, 7, name);
        let mut answer = dns::query(7, name, kind(case)).response();
        for _ in 0..=nsp_common::dns::ADDRESSES_MAX {
            answer = answer.pointed(12, home(case), 60);
        }
        let told = lessons(case, |case| hears(case, RESOLVER, port, answer));
        assert_eq!(told, [(Lesson::TooMany, 1)].into());
        is_refused(case);
    });
}
