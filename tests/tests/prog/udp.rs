//! UDP conversations.

use nsp_common::verdict::{Category, Direction, Reason};
use nsp_tests::{
    packet::{
        Party::{Office, Server, Stranger},
        tcp, udp,
    },
    prog::{ENFORCED, MIRROR, everywhere, transition},
};

use crate::tcp::tracked;

#[test]
fn answers_to_a_question_pass() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let (opened, record) =
            case.outbound(case.ip(Server, MIRROR) / udp(port, 123) / "?").allowed("mirror");
        assert_eq!((record.count, record.answers), (1, 0));
        let (key, record) = case
            .inbound(case.ip(MIRROR, Server) / udp(123, port) / "!")
            .follows("mirror", Direction::Outbound);
        assert_eq!((key, record.count, record.answers), (opened, 0, 1));
        let (_, record) = case
            .outbound(case.ip(Server, MIRROR) / udp(port, 123) / "?")
            .follows("mirror", Direction::Outbound);
        assert_eq!((record.count, record.answers), (0, 0), "the same conversation");
        assert!(tracked(case.lab, port, 123).expect("open").1);
    });
}

#[test]
fn datagrams_beside_the_conversation_are_refused() {
    everywhere(ENFORCED, |case| {
        let (port, other) = (case.port(), case.port());
        case.outbound(case.ip(Server, MIRROR) / udp(port, 123)).allowed("mirror");
        case.inbound(case.ip(MIRROR, Server) / udp(123, other)).refused(Reason::NoRule);
        case.inbound(case.ip(MIRROR, Server) / udp(124, port)).refused(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / udp(123, port)).refused(Reason::NoRule);
        // The protocol is part of the conversation.
        case.inbound(case.ip(MIRROR, Server) / tcp(123, port).ack()).refused(Reason::NoRule);
        let elsewhere = ("192.0.2.2", "2001:db8:1::2");
        case.inbound(case.ip(MIRROR, elsewhere) / udp(123, port)).refused(Reason::NoRule);
    });
}

#[test]
fn inbound_datagram_opens_and_the_server_may_answer() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let (opened, _) = case.inbound(case.ip(Office, Server) / udp(port, 5432)).allowed("office");
        assert!(!tracked(case.lab, 5432, port).expect("open").1);
        let (key, _) = case
            .outbound(case.ip(Server, Office) / udp(5432, port))
            .follows("office", Direction::Inbound);
        assert_eq!(key, opened);
        assert!(
            !tracked(case.lab, 5432, port).expect("open").1,
            "a forged source never comes back"
        );
        case.inbound(case.ip(Office, Server) / udp(port, 5432))
            .follows("office", Direction::Inbound);
        assert!(tracked(case.lab, 5432, port).expect("open").1);
    });
}

#[test]
fn server_does_not_talk_first() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.outbound(case.ip(Server, Office) / udp(5432, port)).refused(Reason::NoRule);
        case.outbound(case.ip(Server, Stranger) / udp(5432, port)).refused(Reason::NoRule);
        assert!(tracked(case.lab, 5432, port).is_none());
    });
}

#[test]
fn answers_of_a_listener_go_by_the_rules_for_who_asks() {
    let listening = ENFORCED.replace("host = true", "ports = [\"5432/udp\"]");
    everywhere(&listening, |case| {
        let (port, other) = (case.port(), case.port());
        case.outbound(case.ip(Server, Office) / udp(5432, port)).passes_by(
            "office",
            Reason::Rule,
            Category::PublicInboundPerimeterRulesAllowed,
        );
        case.outbound(case.ip(Server, Stranger) / udp(5432, other))
            .drops(Reason::NoRule, Category::PublicInboundPerimeterRulesDenied);
    });
}

#[test]
fn transition_opens_a_conversation_that_would_be_denied() {
    everywhere(&transition(), |case| {
        let port = case.port();
        let (opened, _) =
            case.outbound(case.ip(Server, Stranger) / udp(port, 4500)).would_deny(Reason::NoRule);
        let (key, _) = case
            .inbound(case.ip(Stranger, Server) / udp(4500, port))
            .passes(Reason::Flow, Category::PublicOutboundResourceRulesAllowed);
        assert_eq!(key, opened);
    });
}

/// As QUIC does: to the tracker another port or address is another conversation, whatever is inside.
#[test]
fn peer_that_moves_is_judged_anew() {
    everywhere(ENFORCED, |case| {
        let (port, moved) = (case.port(), case.port());
        case.inbound(case.ip(Office, Server) / udp(port, 5432)).allowed("office");
        case.outbound(case.ip(Server, Office) / udp(5432, port))
            .follows("office", Direction::Inbound);
        case.inbound(case.ip(Office, Server) / udp(moved, 5432)).allowed("office");
        case.inbound(case.ip(Stranger, Server) / udp(port, 5432)).refused(Reason::NoRule);
        // The address that a server prefers is no better than any other.
        case.outbound(case.ip(Server, MIRROR) / udp(port, 123)).allowed("mirror");
        case.inbound(case.ip(MIRROR, Server) / udp(123, port))
            .follows("mirror", Direction::Outbound);
        case.outbound(case.ip(Server, Office) / udp(port, 123)).allowed("backups");
        case.outbound(case.ip(Server, Stranger) / udp(port, 123)).refused(Reason::NoRule);
    });
}
