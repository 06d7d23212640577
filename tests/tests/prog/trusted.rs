//! Peers that need no rule: private addresses and members, by the device the host would answer on.

use nsp_common::verdict::{Category, Reason};
use nsp_tests::{
    packet::{
        Party::{Member, Private, Server},
        raw, tcp, udp,
    },
    prog::{ENFORCED, Network, everywhere},
};

/// A private address that is routed by the public device: no better route leads to it.
const PRIVATE_BY_DEFAULT: (&str, &str) = ("172.16.5.5", "fe80::5");

fn by_rules() -> String {
    format!("{ENFORCED}\n[profile.p.outbound.z]\naddress_prefixes = [\"192.0.2.99/32\"]\n").replace(
        "[profile.p.inbound.office]",
        "[profile.p]\nprivate = \"rules\"\n[profile.p.inbound.office]",
    )
}

#[test]
fn private_peers_pass_by_the_device_that_leads_to_them() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.by(Network::Private);
        case.inbound(case.ip(Private, Server) / tcp(port, 22).syn())
            .passes(Reason::Private, Category::PrivateInboundAllowed);
        case.outbound(case.ip(Server, Private) / tcp(22, port).syn_ack())
            .passes(Reason::Private, Category::PrivateInboundAllowed);
        case.outbound(case.ip(Server, Private) / udp(port, 514)).ignored(Reason::Private);
        // Whatever state it is in: no rule is asked, so nothing but its address matters.
        case.inbound(case.ip(Private, Server) / tcp(port, 22))
            .passes(Reason::Private, Category::PrivateInboundAllowed);
        case.inbound(case.ip(Private, Server) / raw(6, [0; 4]))
            .passes(Reason::Private, Category::PrivateInboundAllowed);
        case.by(Network::Public);
        case.inbound(case.ip(PRIVATE_BY_DEFAULT, Server) / tcp(port, 22).syn())
            .passes(Reason::Private, Category::PrivateInboundAllowed);
    });
}

#[test]
fn private_peers_by_another_device_are_public() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.by(Network::Public);
        case.inbound(case.ip(Private, Server) / tcp(port, 22).syn()).refused(Reason::NoRule);
        case.outbound(case.ip(Server, Private) / tcp(port, 22).syn()).refused(Reason::NoRule);
        case.by(Network::Private);
        let ip = case.ip(PRIVATE_BY_DEFAULT, Server);
        case.inbound(ip / tcp(port, 22).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn addresses_beside_the_private_ranges_are_public() {
    let near = [
        ("9.255.255.255", "fbff::1"),
        ("11.0.0.0", "fe00::1"),
        ("172.15.255.255", "fec0::1"),
        ("172.32.0.0", "2002:a00:9::1"),
        ("192.167.255.255", "64:ff9b::a00:9"),
        ("192.169.0.0", "2001:0:a00:9::1"),
        ("100.63.255.255", "2001:db8::a00:9"),
        ("100.128.0.0", "2001:db8::1"),
        ("169.253.255.255", "2620::1"),
        ("198.18.0.1", "100::1"),
    ];
    everywhere(ENFORCED, |case| {
        let port = case.port();
        for source in near {
            let ip = case.ip(source, Server);
            case.inbound(ip / tcp(port, 22).syn()).refused(Reason::NoRule);
        }
    });
}

#[test]
fn private_by_rules_asks_for_a_rule() {
    let with_rule = by_rules().replace(
        "[profile.p.outbound.z]",
        "[profile.p.inbound.lan]\naddress_prefixes = [\"10.0.0.0/24\", \"fd00:10::/64\"]\n\
         ports = [\"22/tcp\"]\n[profile.p.outbound.z]",
    );
    everywhere(&with_rule, |case| {
        let port = case.port();
        case.by(Network::Private);
        case.inbound(case.ip(Private, Server) / tcp(port, 22).syn()).allowed("lan");
        case.inbound(case.ip(Private, Server) / tcp(port, 23).syn()).refused(Reason::NoRule);
        let neighbour = ("10.0.1.9", "fd00:10:0:1::9");
        case.inbound(case.ip(neighbour, Server) / tcp(port, 22).syn()).refused(Reason::NoRule);
        case.outbound(case.ip(Server, Private) / tcp(port, 22).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn members_pass_by_the_device_that_leads_to_them() {
    for policy in [ENFORCED.to_owned(), by_rules()] {
        everywhere(&policy, |case| {
            let port = case.port();
            case.inbound(case.ip(Member, Server) / tcp(port, 22).syn())
                .passes(Reason::Intra, Category::IntraPerimeterInboundAllowed);
            case.outbound(case.ip(Server, Member) / tcp(port, 22).syn())
                .passes(Reason::Intra, Category::OutboundAttempt);
            let neighbour = ("192.0.2.11", "2001:db8:1::11");
            let ip = case.ip(neighbour, Server);
            case.inbound(ip / tcp(port, 22).syn()).refused(Reason::NoRule);
            case.by(Network::Private);
            case.inbound(case.ip(Member, Server) / tcp(port, 22).syn()).refused(Reason::NoRule);
        });
    }
}

#[test]
fn private_list_of_the_policy_replaces_the_default() {
    let policy = format!("{ENFORCED}\n[private]\nprefixes = [\"172.16.0.0/12\", \"fe80::/10\"]\n");
    everywhere(&policy, |case| {
        let port = case.port();
        case.inbound(case.ip(PRIVATE_BY_DEFAULT, Server) / tcp(port, 22).syn())
            .passes(Reason::Private, Category::PrivateInboundAllowed);
        case.by(Network::Private);
        case.inbound(case.ip(Private, Server) / tcp(port, 22).syn()).refused(Reason::NoRule);
    });
}
