//! The endpoints of the clouds: the metadata service, Azure's wire server, health probes.

use nsp_common::verdict::{Category, Reason};
use nsp_tests::{
    packet::{
        Family::{V4, V6},
        Party::Server,
        ipv4, raw, tcp, udp,
    },
    prog::{Case, ENFORCED, Hook, Network, everywhere, on, transition},
};

const METADATA: (&str, &str) = ("169.254.169.254", "fd00:ec2::254");
const ALLOWED: Category = Category::PublicOutboundPerimeterRulesAllowed;
const PROBED: Category = Category::PublicInboundPerimeterRulesAllowed;

/// The policy on that platform, with a line more in its profile.
fn with(platform: &str, policy: &str, line: &str) -> String {
    let policy = policy.replacen(
        "[profile.p.inbound",
        &format!("[profile.p]\n{line}\n[profile.p.inbound"),
        1,
    );
    policy.replacen("name = \"lab\"", &format!("name = \"lab\"\nplatform = \"{platform}\""), 1)
}

fn on_aws(line: &str) -> String {
    with("aws", ENFORCED, line)
}

/// The network that the routes have the service on.
fn on_its_network(case: &mut Case<'_>) {
    let network = if case.family == V4 { Network::Public } else { Network::Private };
    case.by(network);
}

#[test]
fn metadata_passes_and_is_told() {
    everywhere(&on_aws(""), |case| {
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
    everywhere(&on_aws("private = \"rules\""), |case| {
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
    everywhere(&on_aws("private = \"rules\""), |case| {
        on_its_network(case);
        let port = case.port();
        case.outbound(case.ip(Server, METADATA) / tcp(port, 80).syn())
            .passes(Reason::Metadata, ALLOWED);
        case.inbound(case.ip(METADATA, Server) / tcp(80, port).syn_ack())
            .passes(Reason::Metadata, ALLOWED);
        case.apply(&on_aws("private = \"rules\""));
        case.inbound(case.ip(METADATA, Server) / tcp(80, port).ack())
            .passes(Reason::Metadata, ALLOWED);
        let other = case.port();
        case.inbound(case.ip(METADATA, Server) / tcp(80, other).syn_ack()).refused(Reason::NoFlow);
        // Denied from now on, for the conversation too.
        case.apply(&on_aws("private = \"rules\"\nmetadata = \"deny\""));
        case.inbound(case.ip(METADATA, Server) / tcp(80, port).ack())
            .drops(Reason::Revoked, Category::PublicOutboundPerimeterRulesDenied);
    });
}

#[test]
fn metadata_is_denied_where_the_profile_says_so() {
    everywhere(&on_aws("metadata = \"deny\""), |case| {
        on_its_network(case);
        let port = case.port();
        let ip = case.ip(Server, METADATA);
        case.outbound(ip / tcp(port, 80).syn()).refused(Reason::MetadataDenied);
        case.outbound(case.ip(Server, METADATA) / tcp(port, 81).syn()).ignored(Reason::Private);
    });
    everywhere(&with("aws", &transition(), "metadata = \"deny\""), |case| {
        on_its_network(case);
        let port = case.port();
        let ip = case.ip(Server, METADATA);
        case.outbound(ip / tcp(port, 80).syn()).would_deny(Reason::MetadataDenied);
    });
}

#[test]
fn metadata_of_no_platform_is_a_private_peer_and_can_be_denied_all_the_same() {
    for platform in ["auto", "none"] {
        everywhere(&with(platform, ENFORCED, ""), |case| {
            case.by(Network::Private);
            let port = case.port();
            if case.family == V6 {
                let ip = case.ip(Server, METADATA);
                case.outbound(ip / tcp(port, 80).syn()).ignored(Reason::Private);
            } else {
                // The routes of these tests have 169.254/16 elsewhere.
                let ip = case.ip(Server, METADATA);
                case.outbound(ip / tcp(port, 80).syn()).refused(Reason::NoRule);
            }
        });
    }
    everywhere(&with("none", ENFORCED, "metadata = \"deny\""), |case| {
        on_its_network(case);
        let port = case.port();
        let ip = case.ip(Server, METADATA);
        case.outbound(ip / tcp(port, 80).syn()).refused(Reason::MetadataDenied);
    });
}

#[test]
fn wire_server_and_its_probes_pass_on_azure_alone() {
    const WIRE_SERVER: &str = "168.63.129.16";
    on(&[V4], &Hook::ALL, &with("azure", ENFORCED, ""), |case| {
        let (port, other, probe) = (case.port(), case.port(), case.port());
        for (service, port) in [(80, port), (32526, other), (53, probe)] {
            let ip = ipv4(Server, WIRE_SERVER);
            case.outbound(ip / tcp(port, service).syn()).passes(Reason::Metadata, ALLOWED);
        }
        case.outbound(ipv4(Server, WIRE_SERVER) / udp(port, 53)).passes(Reason::Metadata, ALLOWED);
        case.inbound(ipv4(WIRE_SERVER, Server) / tcp(80, port).syn_ack())
            .passes(Reason::Metadata, ALLOWED);
        // A load balancer's probe: its SYN opens nothing, the answer does.
        let ip = || ipv4(WIRE_SERVER, Server);
        case.inbound(ip() / tcp(probe, 8080).syn()).passes(Reason::Metadata, PROBED);
        case.outbound(ipv4(Server, WIRE_SERVER) / tcp(8080, probe).syn_ack())
            .passes(Reason::Metadata, PROBED);
        case.inbound(ip() / tcp(probe, 8080).ack()).passes(Reason::Metadata, PROBED);
        // Nobody asked.
        case.inbound(ip() / tcp(80, probe).syn_ack()).refused(Reason::NoFlow);
        case.inbound(ipv4("168.63.129.17", Server) / tcp(probe, 8080).syn())
            .refused(Reason::NoRule);
    });
    for policy in [on_aws(""), with("azure", ENFORCED, "metadata = \"deny\"")] {
        on(&[V4], &Hook::ALL, &policy, |case| {
            let port = case.port();
            let ip = ipv4(WIRE_SERVER, Server);
            case.inbound(ip / tcp(port, 8080).syn()).refused(Reason::NoRule);
            let ip = ipv4(Server, WIRE_SERVER);
            case.outbound(ip / tcp(port, 80).syn()).refused(Reason::NoRule);
        });
    }
}

#[test]
fn platform_address_opens_no_other_ports_and_comes_by_the_right_device() {
    const WIRE_SERVER: &str = "168.63.129.16";
    on(&[V4], &Hook::ALL, &with("azure", ENFORCED, ""), |case| {
        let port = case.port();
        // A datagram's source is whoever says so.
        case.inbound(ipv4(WIRE_SERVER, Server) / udp(port, 161)).refused(Reason::NoRule);
        case.inbound(ipv4(WIRE_SERVER, Server) / raw(47, [0; 20])).refused(Reason::NoRule);
        for service in [22, 443, 8080] {
            let ip = ipv4(Server, WIRE_SERVER);
            case.outbound(ip / tcp(port, service).syn()).refused(Reason::NoRule);
        }
        case.by(Network::Private);
        case.inbound(ipv4(WIRE_SERVER, Server) / tcp(port, 8080).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn health_checks_of_google_need_a_rule_for_its_clients_come_from_there_too() {
    const CHECKER: (&str, &str) = ("35.191.0.7", "2600:2d00:1:b029::7");
    everywhere(&with("gcp", ENFORCED, ""), |case| {
        let port = case.port();
        let ip = case.ip(CHECKER, Server);
        case.inbound(ip / tcp(port, 8080).syn()).refused(Reason::NoRule);
    });
}
