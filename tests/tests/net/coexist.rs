//! Others at the same interface: what passes here goes on to them, what is dropped does not.

use std::process::Command;

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Party},
    sockets::Outcome,
};
use serde_json::json;

use crate::{office::POLICY, outbound::assert_denied, seen, service};

const SERVICE: u16 = 5432;

/// Passes and logs everything.
const OBSERVER: &str = r#"
    [perimeter]
    name = "observer"
    [profile.empty]
    [resource.host]
    host = true
    profile = "empty"
"#;

fn world() -> World {
    World::builder().clients(&[Party::Office, Party::Stranger]).build()
}

/// Both parties try both ways.
fn traffic(world: &World) {
    for family in BOTH {
        assert_eq!(world.connect(Party::Office, family, SERVICE), Outcome::Connected);
        assert_eq!(world.connect(Party::Stranger, family, SERVICE), Outcome::TimedOut);
        let out = service::connect_out(world, Party::Office, family, SERVICE);
        assert_eq!(out, Outcome::Connected);
        assert_denied(service::connect_out(world, Party::Stranger, family, SERVICE));
    }
}

#[test]
fn program_that_was_there_before_sees_what_passes_and_only_that() {
    let world = world();
    let _services =
        [Party::Server, Party::Office].map(|party| service::tcp(world.host(party), SERVICE));
    // An agent of its own stands for any other program at TC, in both directions. It is there
    // first, and yet the perimeter is asked before it.
    let observer = Agent::builder(world.server())
        .policy(OBSERVER)
        .argument("--xdp-mode")
        .argument("off")
        .start();
    let _judge = Agent::builder(world.server()).policy(POLICY).start();
    traffic(&world);
    for family in BOTH {
        let (server, office) = (Party::Server.address(family), Party::Office.address(family));
        for (source, destination) in [(office, server), (server, office)] {
            seen::record(
                &observer,
                &json!({
                    "SourceIpAddress": source,
                    "DestinationIpAddress": destination,
                    "DestinationPort": SERVICE,
                    "ResultAction": "Approved",
                }),
            );
        }
        let stranger = Party::Stranger.address(family);
        seen::no_record(&observer, &json!({"SourceIpAddress": stranger}));
        seen::no_record(&observer, &json!({"DestinationIpAddress": stranger}));
    }
}

#[test]
fn host_firewall_and_queue_see_what_passes_and_only_that() {
    let world = world();
    let server = world.server();
    let _services =
        [Party::Server, Party::Office].map(|party| service::tcp(world.host(party), SERVICE));
    run(
        &world,
        Command::new("nft").arg(
            "table netdev own {
            counter office {}
            counter stranger {}
            chain ingress {
                type filter hook ingress device up0 priority 0;
                ip saddr 203.0.113.0/24 counter name office
                ip6 saddr 2001:db8:100::/40 counter name office
                ip saddr 198.51.100.0/24 counter name stranger
                ip6 saddr 2001:db8:5::/48 counter name stranger
            }
        }",
        ),
    );
    run(&world, Command::new("tc").args(["qdisc", "add", "dev", "up0", "root", "pfifo"]));
    let stranger_counted = || {
        let said = run(&world, Command::new("nft").args(["list", "counters"]));
        let after = said.split_once("counter stranger").expect("it is there").1;
        let count = after.split_once("packets ").expect("a count").1;
        count.split(' ').next().and_then(|it| it.parse::<u64>().ok()).expect("a number")
    };
    for mode in ["native", "off"] {
        let tap = world.tap();
        let agent = Agent::builder(server).policy(POLICY).arguments(&["--xdp-mode", mode]);
        let agent = agent.unpinned().start();
        traffic(&world);
        assert_eq!(stranger_counted(), 0, "{mode}: dropped before the host's firewall");
        let leaked = tap.count(service::PATIENCE / 10, to_stranger);
        assert_eq!(leaked, 0, "{mode}: dropped before the wire");
        assert!(seen::packets(&agent, "no rule", "Outbound", "deny") > 0);
    }
    let said = run(&world, Command::new("nft").args(["list", "counters"]));
    assert!(!said.contains("office {\n\t\tpackets 0"), "the firewall saw the office: {said}");
    // The test can fail: without an agent the same counters count the stranger.
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, SERVICE), Outcome::Connected);
    }
    assert!(stranger_counted() > 0);
}

fn to_stranger(frame: &[u8]) -> bool {
    let (v4, v6) = (Party::Stranger.v4().octets(), Party::Stranger.v6().octets());
    frame.get(30..34) == Some(&v4[..]) && frame[12..14] == [8, 0]
        || frame.get(38..54) == Some(&v6[..]) && frame[12..14] == [0x86, 0xdd]
}

/// Runs a command at the server that succeeds.
fn run(world: &World, command: &mut Command) -> String {
    let done = world.server().output(command);
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}
