//! Outbound access rules by address, and by learned names.

use std::net::IpAddr;

use nsp_common::{
    learned::{QUOTA_EXACT, Unit},
    verdict::{Category, Direction, Lesson, Reason},
};
use nsp_tests::{
    packet::{
        InBoth,
        Party::{Office, Server, Stranger},
        tcp, udp,
    },
    prog::{Case, ENFORCED, MIRROR, everywhere},
};

#[test]
fn allows_what_a_rule_admits() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.outbound(case.ip(Server, Office) / tcp(port, 443).syn()).allowed("backups");
        case.outbound(case.ip(Server, MIRROR) / tcp(port, 443).syn()).allowed("mirror");
        case.outbound(case.ip(Server, Office) / udp(port, 123)).allowed("backups");
    });
}

#[test]
fn drops_what_no_rule_names() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.outbound(case.ip(Server, Stranger) / tcp(port, 443).syn()).refused(Reason::NoRule);
        case.outbound(case.ip(Server, Office) / tcp(port, 444).syn()).refused(Reason::NoRule);
        case.outbound(case.ip(Server, Office) / udp(port, 443)).refused(Reason::NoRule);
        // An inbound rule says nothing of the other direction.
        case.outbound(case.ip(Server, Office) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(MIRROR, Server) / tcp(port, 443).syn()).refused(Reason::NoRule);
    });
}

const NAMED: &str = r#"
[perimeter]
name = "lab"
[profile.p.outbound.api]
fqdns = ["api.example.com"]
ports = ["443/tcp"]
[resource.host]
host = true
profile = "p"
access_mode = "enforced"
"#;

/// A coarse monotonic second that is long past, and one that never comes.
const PAST: u32 = 1;
const FUTURE: u32 = u32::MAX;

fn learn(case: &mut Case<'_>, address: impl InBoth, name: &str, expires_s: u32) {
    let name = case.lab.identities.name(name);
    for address in [IpAddr::V4(address.v4()), IpAddr::V6(address.v6())] {
        // It would only be prolonged.
        case.lab.datapath.forget(address, name).expect("it runs");
        let unit = Unit { name, quota: QUOTA_EXACT };
        let lesson = case.lab.datapath.teach(address, unit, expires_s).expect("it runs");
        assert_eq!(lesson, Lesson::Learned);
    }
}

#[test]
fn allows_addresses_learned_for_a_name() {
    everywhere(NAMED, |case| {
        let port = case.port();
        learn(case, MIRROR, "api.example.com", FUTURE);
        let (key, _) = case.outbound(case.ip(Server, MIRROR) / tcp(port, 443).syn()).allowed("api");
        let name = case.lab.identities.name("api.example.com");
        assert_eq!(key.name, name, "the record says by which name");
        case.outbound(case.ip(Server, MIRROR) / tcp(port, 80).syn()).refused(Reason::NoRule);
        case.outbound(case.ip(Server, Stranger) / tcp(port, 443).syn()).refused(Reason::NoRule);
        // A name opens the way out and never the way in.
        case.inbound(case.ip(MIRROR, Server) / tcp(443, port).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn expired_name_opens_nothing_and_cuts_nothing() {
    everywhere(NAMED, |case| {
        let port = case.port();
        learn(case, MIRROR, "api.example.com", FUTURE);
        case.outbound(case.ip(Server, MIRROR) / tcp(port, 443).syn()).allowed("api");
        case.inbound(case.ip(MIRROR, Server) / tcp(443, port).syn_ack())
            .follows("api", Direction::Outbound);
        learn(case, MIRROR, "api.example.com", PAST);
        let another = case.port();
        case.outbound(case.ip(Server, MIRROR) / tcp(another, 443).syn()).refused(Reason::NoRule);
        case.outbound(case.ip(Server, MIRROR) / tcp(port, 443).ack())
            .follows("api", Direction::Outbound);
        // Nor does a new generation: the name is judged, not its address.
        case.apply(NAMED);
        case.inbound(case.ip(MIRROR, Server) / tcp(443, port).ack())
            .follows("api", Direction::Outbound);
        // The name's rule does.
        case.apply(&NAMED.replace("api.example.com", "other.example.com"));
        case.inbound(case.ip(MIRROR, Server) / tcp(443, port).ack())
            .drops(Reason::Revoked, Category::PublicOutboundPerimeterRulesDenied);
    });
}

#[test]
fn name_of_no_rule_allows_nothing() {
    everywhere(NAMED, |case| {
        let port = case.port();
        learn(case, MIRROR, "other.example.com", FUTURE);
        case.outbound(case.ip(Server, MIRROR) / tcp(port, 443).syn()).refused(Reason::NoRule);
    });
}
