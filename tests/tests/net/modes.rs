//! However packets are caught, they are judged alike.

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Party},
    sockets::Outcome,
};
use serde_json::json;

use crate::{outbound::assert_denied, seen, service};

const SERVICE: u16 = 5432;

const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [profile.host.inbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [profile.host.outbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [resource.host]
    host = true
    profile = "host"
    access_mode = "enforced"
    [resource.trial]
    ports = ["8000/tcp"]
    profile = "host"
    [member.web-1]
    addresses = ["192.0.2.10", "2001:db8:1::10"]
"#;

#[test]
fn every_mode_gives_the_same_verdicts() {
    const TRIAL: u16 = 8000;
    let world = World::builder().clients(&[Party::Office, Party::Stranger, Party::Member]).build();
    let _services = [
        service::tcp(world.server(), SERVICE),
        service::tcp(world.server(), TRIAL),
        service::tcp(world.host(Party::Office), SERVICE),
        service::tcp(world.host(Party::Stranger), SERVICE),
    ];
    for (mode, hook) in [
        // A veth has native XDP.
        ("auto", "xdp native"),
        ("native", "xdp native"),
        ("generic", "xdp generic"),
        ("off", "tc"),
    ] {
        let agent = Agent::builder(world.server())
            .policy(POLICY)
            .argument("--xdp-mode")
            .argument(mode)
            .start();
        let status = seen::status(&agent);
        let interfaces = status["interfaces"].as_array().expect("a list");
        let up0 = interfaces.iter().find(|it| it["name"] == "up0").expect("it is named");
        assert_eq!(up0["ingress"], hook, "--xdp-mode {mode}");
        for family in BOTH {
            for (party, port, outcome, category) in [
                (Party::Office, SERVICE, Outcome::Connected, "PublicInboundPerimeterRulesAllowed"),
                (Party::Stranger, SERVICE, Outcome::TimedOut, "PublicInboundPerimeterRulesDenied"),
                (Party::Stranger, TRIAL, Outcome::Connected, "PublicInboundResourceRulesAllowed"),
                (Party::Member, SERVICE, Outcome::Connected, "IntraPerimeterInboundAllowed"),
            ] {
                let met = world.connect(party, family, port);
                assert_eq!(met, outcome, "--xdp-mode {mode}: {party:?} {family:?} {port}");
                seen::record(
                    &agent,
                    &json!({
                        "Category": format!("Nsp{category}"),
                        "SourceIpAddress": party.address(family),
                        "DestinationPort": port,
                    }),
                );
            }
            let out = service::connect_out(&world, Party::Office, family, SERVICE);
            assert_eq!(out, Outcome::Connected, "--xdp-mode {mode}");
            assert_denied(service::connect_out(&world, Party::Stranger, family, SERVICE));
        }
        seen::settle(&agent);
    }
}
