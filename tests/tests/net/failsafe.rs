//! `[failsafe]`: who can come in whatever the rest of the policy says, and what is refused for its sake.

use std::net::TcpStream;

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Party},
    sockets::Outcome,
};
use serde_json::{Value, json};

use crate::{seen, service};

const SSH: u16 = 22;
const POSTGRES: u16 = 5432;

const WAY_IN: &str = r#"
    [failsafe]
    prefixes = ["203.0.113.0/29", "2001:db8:100::/64"]
    ports = ["22/tcp"]
"#;

/// A policy that shuts everybody out: the resource of it, and what becomes of the rest of the host.
fn shut(resource: &str, access: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        public_network_access = "{access}"
        [profile.closed]
        private = "rules"
        [resource.closed]
        {resource}
        profile = "closed"
        access_mode = "enforced"
        "#
    )
}

fn world() -> World {
    World::builder().clients(&[Party::Office, Party::Stranger]).build()
}

/// What a session that came by this connection has in its environment.
fn nsp_from(agent: &Agent, stream: &TcpStream, arguments: &[&str]) -> (bool, String) {
    let (client, server) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let text = format!("{} {} {} {}", client.ip(), client.port(), server.ip(), server.port());
    let output = agent.nsp_with(&[("SSH_CONNECTION", &text)], arguments);
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[track_caller]
fn only_the_way_in_is_open(world: &World) {
    for family in BOTH {
        assert_eq!(world.connect(Party::Office, family, SSH), Outcome::Connected, "{family:?}");
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::TimedOut, "{family:?}");
        assert_eq!(world.connect(Party::Stranger, family, SSH), Outcome::TimedOut, "{family:?}");
    }
}

#[test]
fn way_in_is_open_whatever_resource_takes_the_port() {
    let world = world();
    let _services = [SSH, POSTGRES].map(|port| service::tcp(world.server(), port));
    let address = "address = \"192.0.2.1\"\nprofile = \"closed\"\naccess_mode = \"enforced\"\n\
                   [resource.v6]\naddress = \"2001:db8:1::1\"";
    let policies = [
        shut("host = true", "enabled"),
        shut("ports = [\"22/tcp\", \"5432/tcp\"]", "enabled"),
        shut("interface = \"up0\"", "secured-by-perimeter"),
        shut(address, "enabled"),
        // Nothing but the port of another service is a resource, and the rest is denied.
        shut("ports = [\"80/tcp\"]", "secured-by-perimeter"),
    ];
    let agent = Agent::builder(world.server()).policy(&policies[0]).start();
    for family in BOTH {
        assert_eq!(world.connect(Party::Office, family, SSH), Outcome::TimedOut, "shut without it");
    }
    for policy in policies {
        agent.write_policy(&format!("{policy}{WAY_IN}"));
        agent.nsp_ok(&["apply"]);
        only_the_way_in_is_open(&world);
        for family in BOTH {
            let office = Party::Office.address(family).to_string();
            let asked = agent.nsp_ok(&["explain", "--json", &office, "22"]);
            let asked: Value = serde_json::from_str(&asked).expect("JSON");
            assert_eq!((&asked["verdict"], &asked["rule"]), (&"allow".into(), &"failsafe".into()));
        }
    }
    for family in BOTH {
        let expected = json!({
            "SourceIpAddress": Party::Office.address(family),
            "DestinationPort": SSH,
            "ResultAction": "Approved",
            "MatchedRule": {"accessRule": "failsafe"},
        });
        seen::record(&agent, &expected);
    }
}

#[test]
fn blocks_that_would_take_it_are_refused_and_others_are_not() {
    let world = world();
    let _services = [SSH, POSTGRES].map(|port| service::tcp(world.server(), port));
    let policy = shut("host = true", "enabled");
    let mut agent = Agent::builder(world.server()).policy(&format!("{policy}{WAY_IN}")).start();
    let block = |what: &[&str]| agent.nsp(&[&["block", "--for", "1h"], what].concat());
    for what in [
        &["203.0.113.5"][..],
        &["203.0.0.0/16"],
        &["0.0.0.0/0", "--block-any"],
        &["2001:db8:100::/40"],
        &["203.0.113.5", "--ports", "20-30/tcp", "--inbound"],
        &["bastion.example.com", "--inbound"],
    ] {
        let said = block(what);
        let text = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.code() == Some(1) && text.contains("[failsafe]"), "{what:?}: {text}");
    }
    for what in [
        &["203.0.113.5", "--outbound"][..],
        &["203.0.113.0/24", "--ports", "443/tcp,icmp"],
        &["203.0.113.128/25"],
        &["bastion.example.com"],
    ] {
        let said = block(what);
        assert!(said.status.success(), "{what:?}: {}", String::from_utf8_lossy(&said.stderr));
    }
    only_the_way_in_is_open(&world);

    // What was blocked before there was a way in has to be taken back before there is one.
    agent.write_policy(&policy);
    agent.nsp_ok(&["apply"]);
    agent.nsp_ok(&["block", "203.0.113.5", "--for", "1h"]);
    agent.write_policy(&format!("{policy}{WAY_IN}"));
    let said = agent.nsp(&["apply"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("`block 203.0.113.5` takes what [failsafe]"), "{said}");
    // A start with that policy takes it back.
    agent.kill();
    agent.restart_with(&["--as-it-is"]);
    assert!(agent.stderr().contains("taken back: it blocks what [failsafe] admits"));
    only_the_way_in_is_open(&world);
    let left = agent.nsp_ok(&["block", "--list"]);
    assert!(
        left.contains("block 203.0.113.5 outbound,") && !left.contains("block 203.0.113.5,"),
        "{left}"
    );
}

#[test]
fn who_came_by_it_does_not_drop_or_narrow_it_without_force() {
    let world = world();
    let _services = [SSH, POSTGRES].map(|port| service::tcp(world.server(), port));
    let open = shut("host = true", "enabled").replace("\"enforced\"", "\"transition\"");
    let agent = Agent::builder(world.server()).policy(&format!("{open}{WAY_IN}")).start();
    let narrow = WAY_IN.replace("203.0.113.0/29", "203.0.113.0/30");
    for family in BOTH {
        let by_it = service::open(&world, Party::Office, family, SSH);
        let another = service::open(&world, Party::Stranger, family, SSH);
        for policy in [open.clone(), format!("{open}{narrow}")] {
            agent.write_policy(&policy);
            let (done, said) = nsp_from(&agent, &by_it, &["apply"]);
            assert!(
                !done && said.contains("came from") && said.contains("by [failsafe]"),
                "{said}"
            );
            let (done, said) = nsp_from(&agent, &another, &["apply"]);
            assert!(done, "{said}");
            agent.write_policy(&format!("{open}{WAY_IN}"));
            agent.nsp_ok(&["apply"]);
            agent.write_policy(&policy);
            let (done, said) = nsp_from(&agent, &by_it, &["apply", "--force"]);
            assert!(done, "{said}");
            agent.write_policy(&format!("{open}{WAY_IN}"));
            agent.nsp_ok(&["apply"]);
        }
    }
}
