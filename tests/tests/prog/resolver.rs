//! DNS to the trusted resolvers.

use std::net::IpAddr;

use nsp_common::verdict::Reason;
use nsp_tests::{
    packet::{
        Party::{Office, Server, Stranger},
        dns, tcp, udp,
    },
    prog::{Case, ENFORCED, everywhere},
};

/// A public resolver that no rule names.
const RESOLVER: (&str, &str) = ("198.51.100.53", "2001:db8:5::53");

fn trust(case: &mut Case<'_>) {
    let addresses = [RESOLVER.0, RESOLVER.1].map(|text| text.parse::<IpAddr>().expect("constant"));
    case.trust_resolvers(&addresses);
}

#[test]
fn question_passes_and_so_does_its_answer() {
    everywhere(ENFORCED, |case| {
        trust(case);
        let port = case.port();
        let question = || dns::query(7, "example.com", dns::A);
        let ask = |case: &Case<'_>| case.ip(Server, RESOLVER) / udp(port, 53) / question();
        case.outbound(ask(case)).ignored(Reason::Resolver);
        case.inbound(case.ip(RESOLVER, Server) / udp(53, port) / question().response())
            .ignored(Reason::Resolver);
        case.outbound(ask(case)).ignored(Reason::Resolver);
    });
}

#[test]
fn unsolicited_answers_are_refused() {
    everywhere(ENFORCED, |case| {
        trust(case);
        let (port, other) = (case.port(), case.port());
        case.outbound(case.ip(Server, RESOLVER) / udp(port, 53)).ignored(Reason::Resolver);
        case.inbound(case.ip(RESOLVER, Server) / udp(53, other)).refused(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / udp(53, port)).refused(Reason::NoRule);
        case.inbound(case.ip(RESOLVER, Server) / udp(54, port)).refused(Reason::NoRule);
        // What the resolver asks of this host is no answer either.
        case.inbound(case.ip(RESOLVER, Server) / udp(port, 53)).refused(Reason::NoRule);
    });
}

#[test]
fn questions_by_tcp_pass_too() {
    everywhere(ENFORCED, |case| {
        trust(case);
        let port = case.port();
        case.outbound(case.ip(Server, RESOLVER) / tcp(port, 53).syn()).ignored(Reason::Resolver);
        case.inbound(case.ip(RESOLVER, Server) / tcp(53, port).syn_ack()).ignored(Reason::Resolver);
        case.outbound(case.ip(Server, RESOLVER) / tcp(port, 53).ack()).ignored(Reason::Resolver);
        // A bare SYN from the resolver never rides on it.
        case.inbound(case.ip(RESOLVER, Server) / tcp(53, port).syn()).refused(Reason::NoRule);
        let other = case.port();
        case.inbound(case.ip(RESOLVER, Server) / tcp(53, other).syn_ack()).refused(Reason::NoFlow);
    });
}

#[test]
fn other_servers_and_other_ports_need_a_rule() {
    everywhere(ENFORCED, |case| {
        trust(case);
        let port = case.port();
        case.outbound(case.ip(Server, Stranger) / udp(port, 53)).refused(Reason::NoRule);
        case.outbound(case.ip(Server, Office) / udp(port, 53)).refused(Reason::NoRule);
        for near in [52, 54, 853, 443] {
            case.outbound(case.ip(Server, RESOLVER) / udp(port, near)).refused(Reason::NoRule);
            let ip = case.ip(Server, RESOLVER);
            case.outbound(ip / tcp(port, near).syn()).refused(Reason::NoRule);
        }
    });
}

#[test]
fn resolver_that_is_trusted_no_more_is_an_ordinary_peer() {
    everywhere(ENFORCED, |case| {
        trust(case);
        let port = case.port();
        case.outbound(case.ip(Server, RESOLVER) / udp(port, 53)).ignored(Reason::Resolver);
        case.trust_resolvers(&[]);
        case.outbound(case.ip(Server, RESOLVER) / udp(53, 53)).refused(Reason::NoRule);
        case.apply(ENFORCED);
        case.inbound(case.ip(RESOLVER, Server) / udp(53, port)).refused(Reason::NoRule);
        case.outbound(case.ip(Server, RESOLVER) / udp(port, 53)).refused(Reason::NoRule);
    });
}

#[test]
fn new_generation_keeps_open_questions() {
    everywhere(ENFORCED, |case| {
        trust(case);
        let port = case.port();
        case.outbound(case.ip(Server, RESOLVER) / udp(port, 53)).ignored(Reason::Resolver);
        case.apply(ENFORCED);
        case.inbound(case.ip(RESOLVER, Server) / udp(53, port)).ignored(Reason::Resolver);
    });
}
