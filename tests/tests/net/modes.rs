//! However packets are caught, they are judged alike.

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Party, eth, raw},
    sockets::Outcome,
};
use serde_json::json;

use crate::{office::POLICY, outbound::assert_denied, seen, service};

const SERVICE: u16 = 5432;

/// Beside what the office may.
const REST: &str = r#"
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
            .policy(&(POLICY.to_owned() + REST))
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

#[test]
fn tail_without_a_head_is_dropped_where_an_enforced_resource_may_be_meant() {
    const CLOSED: (&str, &str) = ("192.0.2.1", "2001:db8:1::1");
    const OTHER: (&str, &str) = ("192.0.2.77", "2001:db8:1::77");
    let policy = |place: &str| {
        format!(
            "[perimeter]\nname = \"payments\"\n[profile.p]\n[resource.v4]\n{}\nprofile = \"p\"\n\
             access_mode = \"enforced\"\n[resource.v6]\n{}\nprofile = \"p\"\n\
             access_mode = \"enforced\"\n",
            place.replace("ADDRESS", CLOSED.0),
            place.replace("ADDRESS", CLOSED.1).replace("5432", "5433"),
        )
    };
    let world = World::builder().clients(&[Party::Stranger]).build();
    let wire = world.wire();
    for (place, at_other) in [
        ("address = \"ADDRESS\"", "allow"),
        ("address = \"ADDRESS\"\nports = [\"5432/tcp\"]", "allow"),
        // These may listen at any address.
        ("ports = [\"5432/tcp\"]", "deny"),
    ] {
        let agent = Agent::builder(world.server()).policy(&policy(place)).start();
        let (mut allowed, mut denied) = (0, 0);
        for family in BOTH {
            for (to, verdict) in [(CLOSED, "deny"), (OTHER, at_other)] {
                let ip = family.ip(Party::Stranger, to).fragment(7, 48, true);
                wire.send(eth() / ip / raw(17, [0; 32]));
                *(if verdict == "deny" { &mut denied } else { &mut allowed }) += 1;
            }
        }
        let wanted = ["allow", "deny"].map(|verdict| {
            seen::packets(&agent, "fragment without a judged head", "Inbound", verdict)
        });
        assert_eq!(wanted, [allowed, denied], "{place}");
    }
}
