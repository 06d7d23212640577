//! The clouds' metadata service.

use nsp_common::verdict::{Category, Reason};
use nsp_tests::{
    packet::{Family::V4, Party::Server, tcp, udp},
    prog::{Case, ENFORCED, Network, everywhere, transition},
};

const METADATA: (&str, &str) = ("169.254.169.254", "fd00:ec2::254");
const ALLOWED: Category = Category::PublicOutboundPerimeterRulesAllowed;

fn with(policy: &str, line: &str) -> String {
    policy.replacen("[profile.p.inbound", &format!("[profile.p]\n{line}\n[profile.p.inbound"), 1)
}

/// The network that the routes have the service on.
fn on_its_network(case: &mut Case<'_>) {
    let network = if case.family == V4 { Network::Public } else { Network::Private };
    case.by(network);
}

#[test]
fn metadata_passes_and_is_told() {
    everywhere(ENFORCED, |case| {
        on_its_network(case);
        let port = case.port();
        case.outbound(case.ip(Server, METADATA) / tcp(port, 80).syn())
            .passes(Reason::Metadata, ALLOWED);
        case.inbound(case.ip(METADATA, Server) / tcp(80, port).syn_ack())
            .passes(Reason::Metadata, ALLOWED);
        case.outbound(case.ip(Server, METADATA) / tcp(port, 80).ack())
            .passes(Reason::Metadata, ALLOWED);
    });
}

#[test]
fn only_http_to_that_very_address_is_metadata() {
    everywhere(&with(ENFORCED, "private = \"rules\""), |case| {
        on_its_network(case);
        let port = case.port();
        case.outbound(case.ip(Server, METADATA) / tcp(port, 81).syn()).refused(Reason::NoRule);
        case.outbound(case.ip(Server, METADATA) / udp(port, 80)).refused(Reason::NoRule);
        let near = ("169.254.169.253", "fd00:ec2::253");
        case.outbound(case.ip(Server, near) / tcp(port, 80).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(METADATA, Server) / tcp(port, 80).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn metadata_answers_where_private_peers_need_a_rule() {
    everywhere(&with(ENFORCED, "private = \"rules\""), |case| {
        on_its_network(case);
        let port = case.port();
        case.outbound(case.ip(Server, METADATA) / tcp(port, 80).syn())
            .passes(Reason::Metadata, ALLOWED);
        case.inbound(case.ip(METADATA, Server) / tcp(80, port).syn_ack())
            .passes(Reason::Metadata, ALLOWED);
        case.apply(&with(ENFORCED, "private = \"rules\""));
        case.inbound(case.ip(METADATA, Server) / tcp(80, port).ack())
            .passes(Reason::Metadata, ALLOWED);
        let other = case.port();
        case.inbound(case.ip(METADATA, Server) / tcp(80, other).syn_ack()).refused(Reason::NoFlow);
        // Denied from now on, for the conversation too.
        case.apply(&with(ENFORCED, "private = \"rules\"\nmetadata = \"deny\""));
        case.inbound(case.ip(METADATA, Server) / tcp(80, port).ack())
            .drops(Reason::Revoked, Category::PublicOutboundPerimeterRulesDenied);
    });
}

#[test]
fn metadata_is_denied_where_the_profile_says_so() {
    everywhere(&with(ENFORCED, "metadata = \"deny\""), |case| {
        on_its_network(case);
        let port = case.port();
        let ip = case.ip(Server, METADATA);
        case.outbound(ip / tcp(port, 80).syn()).refused(Reason::MetadataDenied);
        case.outbound(case.ip(Server, METADATA) / tcp(port, 81).syn()).ignored(Reason::Private);
    });
    everywhere(&with(&transition(), "metadata = \"deny\""), |case| {
        on_its_network(case);
        let port = case.port();
        let ip = case.ip(Server, METADATA);
        case.outbound(ip / tcp(port, 80).syn()).would_deny(Reason::MetadataDenied);
    });
}
