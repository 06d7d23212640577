//! Answers by TCP, and questions in number.

use std::net::IpAddr;

use nsp_common::{
    learned::QUESTIONS_PER_CGROUP,
    verdict::{Direction, Lesson, Reason},
};
use nsp_tests::{
    packet::{
        BOTH, Packet,
        Party::Server,
        dns::{self, Dns},
        eth, payload, tcp, udp,
    },
    prog::{Case, Hook, everywhere, on},
};

use crate::names::{
    POLICY, RESOLVER, ask, connects, hears, home, is_refused, kind, lessons, trust,
};

/// A message as TCP carries it: its length before it.
fn framed(message: Dns) -> Vec<u8> {
    let bytes = Packet::from(message).bytes();
    let length = u16::try_from(bytes.len()).expect("a short message");
    [&length.to_be_bytes()[..], &bytes].concat()
}

/// Asks by a fresh connection; its port.
fn ask_by_tcp(case: &mut Case<'_>, name: &str) -> u16 {
    trust(case);
    let port = case.port();
    case.outbound(case.ip(Server, RESOLVER) / tcp(port, 53).syn()).ignored(Reason::Resolver);
    let _judged = case.inbound(case.ip(RESOLVER, Server) / tcp(53, port).syn_ack());
    let question = framed(dns::query(7, name, kind(case)));
    let segment = tcp(port, 53).ack().psh() / payload(&question);
    case.outbound(case.ip(Server, RESOLVER) / segment).ignored(Reason::Resolver);
    port
}

fn hears_by_tcp(case: &mut Case<'_>, port: u16, bytes: &[u8]) {
    let segment = tcp(53, port).ack().psh() / payload(bytes);
    let _judged = case.inbound(case.ip(RESOLVER, Server) / segment);
}

fn answer(case: &Case<'_>, name: &str, at: IpAddr) -> Vec<u8> {
    framed(dns::query(7, name, kind(case)).response().address(name, at, 60))
}

#[test]
fn answer_in_one_segment_teaches() {
    everywhere(POLICY, |case| {
        let told = lessons(case, |case| {
            let port = ask_by_tcp(case, "www.example.com");
            let bytes = answer(case, "www.example.com", home(case));
            hears_by_tcp(case, port, &bytes);
        });
        assert_eq!(told, [(Lesson::Learned, 1), (Lesson::Asked, 1)].into());
        connects(case, "below");
    });
}

#[test]
fn answer_in_pieces_with_a_lie_about_its_length_or_of_two_messages_teaches_nothing() {
    everywhere(POLICY, |case| {
        let bytes = answer(case, "www.example.com", home(case));
        let lie = |length: u16| [&length.to_be_bytes()[..], &bytes[2..]].concat();
        let half = bytes.len() / 2 + 8;
        for told_of in
            [bytes[..half].to_vec(), lie(u16::MAX), lie(20), [&bytes[..], &bytes[..]].concat()]
        {
            let told = lessons(case, |case| {
                let port = ask_by_tcp(case, "www.example.com");
                hears_by_tcp(case, port, &told_of);
            });
            assert_eq!(told, [(Lesson::Asked, 1), (Lesson::Segmented, 1)].into());
            is_refused(case);
        }
    });
}

#[test]
fn who_asks_without_end_forgets_its_own_oldest_questions() {
    on(&BOTH, &[Hook::Tc], POLICY, |case| {
        let name = "www.example.com";
        let first = ask(case, 7, name);
        let (ip, kind_asked) = (case.ip(Server, RESOLVER), kind(case));
        for number in 0..QUESTIONS_PER_CGROUP {
            let question = dns::query(number as u16, "flood.example.com", kind_asked);
            let frame = eth() / (ip.clone() / udp(40_000, 53) / question);
            case.verdict(&frame.bytes(), Direction::Outbound).expect("a frame");
        }
        let answer = |case: &Case<'_>| {
            dns::query(7, name, kind(case)).response().address(name, home(case), 60)
        };
        let told = lessons(case, |case| {
            let message = answer(case);
            hears(case, RESOLVER, first, message);
        });
        assert_eq!(told, [(Lesson::Unasked, 1)].into());
        let last = ask(case, 7, name);
        let message = answer(case);
        hears(case, RESOLVER, last, message);
        connects(case, "below");
    });
}
