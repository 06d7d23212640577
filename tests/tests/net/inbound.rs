//! Who gets in to a service, and what is said about it.

use std::{net::SocketAddr, process::Command, time::Duration};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Family, Party, eth, tcp},
    sockets::{Delivered, Outcome, still_echoes, udp_exchange},
};
use serde_json::json;

use crate::{seen, service};

const POSTGRES: u16 = 5432;

/// A port that swallows what comes: the host's own firewall says nothing.
const SILENT: u16 = 5433;

/// The office may reach the database, and `web-1` is a member.
fn policy(mode: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.database.inbound.office]
        address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
        [resource.postgres]
        ports = ["5432/tcp", "5433/tcp"]
        profile = "database"
        access_mode = "{mode}"
        [member.web-1]
        addresses = ["192.0.2.10", "2001:db8:1::10"]
        "#
    )
}

#[test]
fn enforced_service_lets_the_office_in_and_the_stranger_wait() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    for family in BOTH {
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::Connected);
        // Silence, not a RST: the stranger does not learn that there is a host.
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::TimedOut);
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicInboundPerimeterRulesAllowed",
                "SourceIpAddress": Party::Office.address(family),
                "DestinationIpAddress": Party::Server.address(family),
                "DestinationPort": POSTGRES,
                "MatchedRule": {"accessRule": "office"},
                "Profile": "database",
                "Reason": "access rule",
                "AccessMode": "enforced",
                "ResultAction": "Approved",
                "ResultDirection": "Inbound",
                "Count": 1,
            }),
        );
        let denied = seen::record(
            &agent,
            &json!({
                "Category": "NspPublicInboundPerimeterRulesDenied",
                "SourceIpAddress": Party::Stranger.address(family),
                "DestinationPort": POSTGRES,
                "MatchedRule": null,
                "Profile": "database",
                "Reason": "no rule",
                "ResultAction": "Denied",
                "ServiceResourceId": "/perimeters/payments/resources/postgres",
                "HostRulesOutcome": null,
            }),
        );
        assert_eq!(denied["Packets"], denied["Count"], "a denied packet is a lone SYN: {denied}");
    }
    assert_eq!(postgres.served_after(2, service::PATIENCE).arrivals, 2);
    seen::settle(&agent);
    let denied = seen::logged(&seen::records(&agent, &json!({"ResultAction": "Denied"})));
    assert_eq!(seen::packets(&agent, "no rule", "Inbound", "deny"), denied);
    assert_eq!(seen::packets(&agent, "no rule", "Inbound", "allow"), 0);
}

#[test]
fn private_peer_and_member_need_no_rule() {
    let world = World::builder().clients(&[Party::Private, Party::Member]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server())
        .interfaces(&["up0", "priv0"])
        .policy(&policy("enforced"))
        .start();
    for family in BOTH {
        for (party, category, traffic) in [
            (Party::Private, "NspPrivateInboundAllowed", "Private"),
            (Party::Member, "NspIntraPerimeterInboundAllowed", "Intra"),
        ] {
            assert_eq!(world.connect(party, family, POSTGRES), Outcome::Connected, "{party:?}");
            seen::record(
                &agent,
                &json!({
                    "Category": category,
                    "TrafficType": traffic,
                    "SourceIpAddress": party.address(family),
                    "MatchedRule": null,
                    "ResultAction": "Approved",
                }),
            );
        }
    }
    no_denial(&agent);
}

#[test]
fn private_source_on_the_public_uplink_does_not_get_in() {
    let world = World::builder().clients(&[Party::Office, Party::Private]).build();
    let agent = Agent::builder(world.server())
        .interfaces(&["up0", "priv0"])
        .policy(&policy("enforced"))
        .start();
    let wire = world.wire();
    for family in BOTH {
        let delivered = Delivered::open(world.server(), family, 6);
        let arrives = |source_port| {
            delivered.arrives(Duration::from_millis(300), |segment| {
                let at = if segment[0] == 0x45 { 20 } else { 0 };
                segment[at..at + 2] == u16::to_be_bytes(source_port)
            })
        };
        wire.send(eth() / family.ip(Party::Office, Party::Server) / tcp(40001, POSTGRES).syn());
        assert!(arrives(40001), "a real client's SYN gets as far as the stack");
        wire.send(eth() / family.ip(Party::Private, Party::Server) / tcp(40002, POSTGRES).syn());
        assert!(!arrives(40002), "a private source proves nothing on the public uplink");
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicInboundPerimeterRulesDenied",
                "SourceIpAddress": Party::Private.address(family),
                "Interface": "up0",
                "TrafficType": "Public",
                "Packets": 1,
            }),
        );
        // The same address where it belongs.
        let outcome = world.connect(Party::Private, family, POSTGRES);
        assert_eq!(outcome, Outcome::Refused, "nobody listens, but the SYN gets there");
    }
}

#[test]
fn transition_lets_the_stranger_in_and_says_what_the_host_answered() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    drop_silently(&world, SILENT);
    let agent = Agent::builder(world.server()).policy(&policy("transition")).start();
    for family in BOTH {
        for (port, outcome, said) in
            [(POSTGRES, Outcome::Connected, "replied"), (SILENT, Outcome::TimedOut, "not observed")]
        {
            assert_eq!(world.connect(Party::Stranger, family, port), outcome);
            seen::record(
                &agent,
                &json!({
                    "Category": "NspPublicInboundResourceRulesAllowed",
                    "SourceIpAddress": Party::Stranger.address(family),
                    "DestinationPort": port,
                    "HostRulesOutcome": said,
                    "MatchedRule": null,
                    "Profile": "database",
                    "AccessMode": "transition",
                    "ResultAction": "Approved",
                }),
            );
        }
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::Connected);
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicInboundPerimeterRulesAllowed",
                "SourceIpAddress": Party::Office.address(family),
                "MatchedRule": {"accessRule": "office"},
                "HostRulesOutcome": null,
            }),
        );
    }
    no_denial(&agent);
    assert!(seen::packets(&agent, "no rule", "Inbound", "allow") >= 4);
}

#[test]
fn replies_of_a_service_in_transition_are_no_outbound_attempts_of_an_enforced_host() {
    let world = World::builder().clients(&[Party::Stranger]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let host = "[resource.host]\nhost = true\nprofile = \"database\"\naccess_mode = \"enforced\"";
    let policy = format!("{}\n{host}", policy("transition"));
    let agent = Agent::builder(world.server()).policy(&policy).start();
    for family in BOTH {
        let stream = service::open(&world, Party::Stranger, family, POSTGRES);
        assert!(still_echoes(&stream));
        drop(stream);
        assert_eq!(world.connect(Party::Stranger, family, 22), Outcome::TimedOut);
        seen::record(
            &agent,
            &json!({
                "SourceIpAddress": Party::Stranger.address(family),
                "DestinationPort": 22,
                "ServiceResourceId": "/perimeters/payments/resources/host",
                "ResultAction": "Denied",
            }),
        );
    }
    seen::no_record(&agent, &json!({"ResultDirection": "Outbound"}));
    seen::no_record(&agent, &json!({"DestinationPort": POSTGRES, "ResultAction": "Denied"}));
}

#[test]
fn datagram_in_fragments_is_judged_as_one() {
    const SYSLOG: u16 = 514;
    let question = [b'x'; 4000];
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let server = BOTH.map(|family| Party::Server.address(family));
    let _syslog = server.map(|address| service::udp(world.server(), address, SYSLOG));
    let policy = policy("enforced").replace("\"5433/tcp\"", "\"514/udp\"");
    let agent = Agent::builder(world.server()).policy(&policy).start();
    for (family, to) in BOTH.into_iter().zip(server) {
        let ask = |party: Party| {
            let from = SocketAddr::new(party.address(family), 0);
            let to = SocketAddr::new(to, SYSLOG);
            udp_exchange(world.host(party), from, to, &question, service::PATIENCE)
        };
        assert_eq!(ask(Party::Office), Outcome::Answered);
        assert_eq!(ask(Party::Stranger), Outcome::TimedOut);
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicInboundPerimeterRulesDenied",
                "SourceIpAddress": Party::Stranger.address(family),
                "DestinationPort": SYSLOG,
                "Reason": "no rule",
            }),
        );
        // Three fragments each way.
        let passed = seen::packets(&agent, "fragment of a passed packet", "Inbound", "allow");
        assert_eq!(passed, if family == Family::V4 { 2 } else { 4 });
        let dropped = seen::packets(&agent, "fragment without a judged head", "Inbound", "deny");
        assert_eq!(dropped, if family == Family::V4 { 2 } else { 4 });
    }
    seen::settle(&agent);
}

fn no_denial(agent: &Agent) {
    seen::no_record(agent, &json!({"ResultAction": "Denied"}));
}

/// The server's own firewall drops what comes to a port.
fn drop_silently(world: &World, port: u16) {
    let rules = format!(
        "table inet own {{ chain input {{ type filter hook input priority 0; \
         tcp dport {port} drop; }}; }}"
    );
    let done = world.server().output(Command::new("nft").arg(rules));
    assert!(done.status.success(), "nft: {}", String::from_utf8_lossy(&done.stderr));
}
