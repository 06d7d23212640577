//! Traffic of no resource: `public_network_access` decides.

use nsp_common::verdict::{Category, Direction, Reason};
use nsp_tests::{
    packet::{
        Party::{Office, Private, Server, Stranger},
        tcp, udp,
    },
    prog::{Network, everywhere},
};

/// Only port 5432/tcp is anybody's.
fn with_access(access: &str) -> String {
    format!(
        r#"
[perimeter]
name = "lab"
public_network_access = "{access}"
[profile.p.inbound.office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
[resource.database]
ports = ["5432/tcp"]
profile = "p"
access_mode = "enforced"
"#
    )
}

#[test]
fn enabled_leaves_it_alone() {
    everywhere(&with_access("enabled"), |case| {
        let port = case.port();
        case.concerns(None);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 80).syn()).ignored(Reason::Unassociated);
        case.outbound(case.ip(Server, Stranger) / tcp(80, port).syn_ack())
            .ignored(Reason::Unassociated);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 80).ack()).ignored(Reason::Flow);
        case.outbound(case.ip(Server, Stranger) / udp(port, 53)).ignored(Reason::Unassociated);
        case.inbound(case.ip(Stranger, Server) / udp(53, port)).ignored(Reason::Flow);
        case.concerns("database");
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
    });
}

#[test]
fn transition_tells_what_would_be_denied() {
    everywhere(&with_access("transition"), |case| {
        let port = case.port();
        case.concerns(None);
        let ip = case.ip(Office, Server);
        case.inbound(ip / tcp(port, 80).syn()).would_deny(Reason::NoResource);
        let ip = case.ip(Server, Stranger);
        case.outbound(ip / tcp(port, 443).syn()).would_deny(Reason::NoResource);
    });
}

#[test]
fn secured_by_perimeter_drops_it() {
    everywhere(&with_access("secured-by-perimeter"), |case| {
        let port = case.port();
        case.concerns(None);
        case.inbound(case.ip(Office, Server) / tcp(port, 80).syn()).refused(Reason::NoResource);
        case.inbound(case.ip(Office, Server) / udp(port, 5432)).refused(Reason::NoResource);
        let ip = case.ip(Server, Stranger);
        case.outbound(ip / tcp(port, 443).syn()).refused(Reason::NoResource);
        case.concerns("database");
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        // The listener's own answers and its own calls are the listener's.
        let ip = case.ip(Server, Office);
        let answered = case.outbound(ip / tcp(5432, port).syn_ack());
        answered.passes_by("office", Reason::Rule, Category::PublicInboundPerimeterRulesAllowed);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
            .follows("office", Direction::Inbound);
        case.outbound(case.ip(Server, Stranger) / tcp(5432, port).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn private_peers_of_no_resource_are_counted_and_not_told() {
    for access in ["enabled", "transition", "secured-by-perimeter"] {
        everywhere(&with_access(access), |case| {
            let port = case.port();
            case.concerns(None).by(Network::Private);
            case.inbound(case.ip(Private, Server) / tcp(port, 80).syn()).ignored(Reason::Private);
        });
    }
}
