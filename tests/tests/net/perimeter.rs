//! What the settings of the perimeter itself do to traffic.

use std::time::Duration;

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Party, eth, tcp},
    sockets::{Delivered, Outcome, still_echoes},
};
use serde_json::json;

use crate::{outbound::assert_denied, seen, service};

const POSTGRES: u16 = 5432;
const SSH: u16 = 22;

/// The office may reach the database, which is enforced.
fn policy(perimeter: &str, profile: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        {perimeter}
        [profile.database]
        {profile}
        [profile.database.inbound.office]
        address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
        [resource.postgres]
        ports = ["5432/tcp"]
        profile = "database"
        access_mode = "enforced"
        "#
    )
}

#[test]
fn secured_perimeter_closes_what_is_nobodys() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let _services = [POSTGRES, SSH].map(|port| service::tcp(world.server(), port));
    let _stranger = service::tcp(world.host(Party::Stranger), SSH);
    let secured = "public_network_access = \"secured-by-perimeter\"";
    let agent = Agent::builder(world.server()).policy(&policy(secured, "")).start();
    for family in BOTH {
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::Connected);
        assert_eq!(world.connect(Party::Office, family, SSH), Outcome::TimedOut);
        assert_denied(service::connect_out(&world, Party::Stranger, family, SSH));
        for (ends, category) in [
            ("SourceIpAddress", "NspPublicInboundPerimeterRulesDenied"),
            ("DestinationIpAddress", "NspPublicOutboundPerimeterRulesDenied"),
        ] {
            let party = if ends == "SourceIpAddress" { Party::Office } else { Party::Stranger };
            seen::record(
                &agent,
                &json!({
                    "Category": category,
                    ends: party.address(family),
                    "DestinationPort": SSH,
                    "ServiceResourceId": null,
                    "Profile": null,
                }),
            );
        }
    }
}

#[test]
fn perimeter_in_transition_says_what_securing_it_would_close() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let _ssh = service::tcp(world.server(), SSH);
    let _stranger = service::tcp(world.host(Party::Stranger), SSH);
    let transition = "public_network_access = \"transition\"";
    let agent = Agent::builder(world.server()).policy(&policy(transition, "")).start();
    for family in BOTH {
        assert_eq!(world.connect(Party::Office, family, SSH), Outcome::Connected);
        let out = service::connect_out(&world, Party::Stranger, family, SSH);
        assert_eq!(out, Outcome::Connected);
        for (ends, party, category) in [
            ("SourceIpAddress", Party::Office, "NspPublicInboundResourceRulesAllowed"),
            ("DestinationIpAddress", Party::Stranger, "NspPublicOutboundResourceRulesAllowed"),
        ] {
            let columns = json!({"Category": category, ends: party.address(family)});
            seen::record(&agent, &columns);
        }
    }
    seen::no_record(&agent, &json!({"ResultAction": "Denied"}));
}

#[test]
fn private_peer_needs_a_rule_where_the_profile_says_so() {
    let world = World::builder().clients(&[Party::Private, Party::Office]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server())
        .interfaces(&["up0", "priv0"])
        .policy(&policy("", "private = \"rules\""))
        .start();
    for family in BOTH {
        assert_eq!(world.connect(Party::Private, family, POSTGRES), Outcome::TimedOut);
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::Connected);
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicInboundPerimeterRulesDenied",
                "SourceIpAddress": Party::Private.address(family),
                "Profile": "database",
            }),
        );
    }
}

#[test]
fn private_source_is_believed_where_the_route_leads() {
    /// A network that no interface is in: the default route leads there, by the uplink.
    const REMOTE: (&str, &str) = ("10.9.0.1", "fd00:9::1");
    let world = World::builder().clients(&[Party::Private]).build();
    let agent = Agent::builder(world.server())
        .interfaces(&["up0", "priv0"])
        .policy(&policy("", ""))
        .start();
    let wire = world.wire();
    for family in BOTH {
        let delivered = Delivered::open(world.server(), family, 6);
        let gets_in = || {
            wire.send(eth() / family.ip(REMOTE, Party::Server) / tcp(40001, POSTGRES).syn());
            delivered.arrives(Duration::from_millis(200), |_| true)
        };
        let comes_to = |wanted: bool| {
            let same = Deadline::after(Duration::from_secs(2))
                .poll(|| (gets_in() == wanted).then_some(()));
            assert!(same.is_some(), "{family:?}: {}", agent.stderr());
        };
        comes_to(true);
        let gateway = Party::Private.address(family);
        let network = if family == BOTH[0] { "10.9.0.0/16" } else { "fd00:9::/32" };
        world.server().ip(&format!("route add {network} via {gateway} dev priv0"));
        comes_to(false);
        world.server().ip(&format!("route del {network}"));
        comes_to(true);
    }
}

#[test]
fn agent_that_starts_again_cuts_nobody_and_goes_on_with_its_log() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("", "")).start();
    let streams = BOTH.map(|family| service::open(&world, Party::Office, family, POSTGRES));
    assert!(streams.iter().all(still_echoes));
    let guid = seen::status(&agent)["guid"].clone();
    assert!(agent.stop().success());
    let before = agent.access_log();
    assert!(before.contains("NspPublicInboundPerimeterRulesAllowed"), "written at the end");
    agent.start();
    assert!(streams.iter().all(still_echoes));
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::TimedOut);
    }
    seen::record(&agent, &json!({"ResultAction": "Denied"}));
    assert!(agent.access_log().starts_with(&before), "what was written stays");
    assert_eq!(seen::status(&agent)["guid"], guid, "the perimeter is the same one");
}
