//! `nsp allow` and `nsp block`: for a time, and not a moment longer.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Family, Party},
    sockets::{Outcome, still_echoes},
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{names::Dns, outbound::assert_denied, seen, service};

const POSTGRES: u16 = 5432;
const HTTPS: u16 = 443;

const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [profile.database.inbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [resource.host]
    host = true
    profile = "database"
    access_mode = "enforced"
"#;

fn entries(agent: &Agent) -> Vec<Value> {
    serde_json::from_str(&agent.nsp_ok(&["allow", "--list", "--json"])).expect("a list")
}

fn address(party: Party, family: Family) -> String {
    party.address(family).to_string()
}

/// What a verb says on standard error when it is refused with this exit code.
#[track_caller]
fn refused(agent: &Agent, arguments: &[&str], code: i32) -> String {
    let output = agent.nsp(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "nsp {}: {said}", arguments.join(" "));
    said
}

#[test]
fn stranger_is_in_for_a_time_while_the_agent_is_stopped() {
    const SECONDS: u64 = 6;
    let world = World::builder().clients(&[Party::Stranger]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(POLICY).start();
    let connect = |family| world.connect(Party::Stranger, family, POSTGRES);
    for family in BOTH {
        assert_eq!(connect(family), Outcome::TimedOut);
    }
    let begun = Instant::now();
    for family in BOTH {
        let stranger = address(Party::Stranger, family);
        agent.nsp_ok(&["allow", &stranger, "--inbound", "--for", &format!("{SECONDS}s")]);
    }
    agent.process().signal(Signal::STOP);
    let streams = BOTH.map(|family| service::open(&world, Party::Stranger, family, POSTGRES));
    assert!(streams.iter().all(still_echoes));
    assert!(begun.elapsed() < Duration::from_secs(SECONDS), "too slow a machine for this test");
    // A second of the clock more than was asked for at most.
    sleep((begun + Duration::from_secs(SECONDS + 2)).saturating_duration_since(Instant::now()));
    assert!(!streams.iter().any(still_echoes), "what it opened ends with it");
    for family in BOTH {
        assert_eq!(connect(family), Outcome::TimedOut, "{family:?}: it is over");
    }
    agent.process().signal(Signal::CONT);
    assert!(agent.says("its time is over", Duration::from_secs(5)), "{}", agent.stderr());
    assert_eq!(entries(&agent), [] as [Value; 0]);
    for family in BOTH {
        let stranger = address(Party::Stranger, family);
        let columns = |category: &str, reason: &str| {
            json!({
                "Category": format!("NspPublicInboundPerimeterRules{category}"),
                "SourceIpAddress": stranger,
                "MatchedRule": {"accessRule": format!("allow {stranger} inbound")},
                "Reason": reason,
            })
        };
        seen::record(&agent, &columns("Allowed", "access rule"));
        seen::record(&agent, &columns("Denied", "temporary allow is over"));
    }
    // Who did it is said.
    let audit = agent.stderr();
    assert!(audit.contains("uid=0") && audit.contains("\\\"seconds\\\":6"), "{audit}");
}

#[test]
fn block_cuts_a_live_connection_until_it_is_taken_back() {
    let world = World::builder().clients(&[Party::Office, Party::Private]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server())
        .interfaces(&["up0", "priv0"])
        .policy(&POLICY.replace("enforced", "transition"))
        .start();
    for (party, family) in
        [(Party::Office, Family::V4), (Party::Office, Family::V6), (Party::Private, Family::V4)]
    {
        let peer = address(party, family);
        let stream = service::open(&world, party, family, POSTGRES);
        assert!(still_echoes(&stream));
        agent.nsp_ok(&["block", &peer, "--for", "1h"]);
        assert!(!still_echoes(&stream), "{peer}: a block cuts what is live, in transition too");
        assert_eq!(world.connect(party, family, POSTGRES), Outcome::TimedOut);
        let status = agent.nsp_ok(&["status"]);
        assert!(status.contains(&format!("for a time: block {peer}, 59m")), "{status}");
        let asked = agent.nsp_ok(&["explain", "--json", &peer, "5432"]);
        let asked: Value = serde_json::from_str(&asked).expect("JSON");
        let expected = json!({
            "verdict": "deny",
            "reason": "temporary block",
            "rule": format!("block {peer}"),
        });
        assert!(seen::has(&asked, &expected), "{asked:#}");
        agent.nsp_ok(&["block", &peer, "--remove"]);
        // What was sent meanwhile comes again.
        let goes_on =
            Deadline::after(Duration::from_secs(20)).poll(|| still_echoes(&stream).then_some(()));
        assert!(goes_on.is_some(), "{peer}: the connection goes on where it was");
        refused(&agent, &["block", &peer, "--remove"], 1);
    }
}

#[test]
fn entries_outlive_a_restart_and_conversations_still_end_with_them() {
    let world = World::builder().clients(&[Party::Stranger]).build();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(POLICY).start();
    let stranger = address(Party::Stranger, Family::V4);
    agent.nsp_ok(&["allow", &stranger, "--ports", "5432/tcp", "--for", "10m"]);
    let stream = service::open(&world, Party::Stranger, Family::V4, POSTGRES);
    assert!(still_echoes(&stream));
    let before = entries(&agent);
    agent.kill();
    agent.start();
    let after = entries(&agent);
    assert_eq!(after.len(), 1, "{after:?}");
    assert_eq!(after[0]["rule"], before[0]["rule"]);
    assert!(after[0]["remainingSeconds"].as_u64() <= before[0]["remainingSeconds"].as_u64());
    let connect = || world.connect(Party::Stranger, Family::V4, POSTGRES);
    assert_eq!(connect(), Outcome::Connected);
    assert!(still_echoes(&stream), "taken over from its socket");
    // Asked for again, it has the new end; and it goes when it is taken back, with what it opened.
    agent.nsp_ok(&["allow", &stranger, "--ports", "5432/tcp", "--for", "20m"]);
    assert_eq!(entries(&agent).len(), 1);
    agent.nsp_ok(&["allow", &stranger, "--remove"]);
    assert!(!still_echoes(&stream), "not kept for ever because the agent was started anew");
    assert_eq!(connect(), Outcome::TimedOut);
}

#[test]
fn name_that_no_rule_has_is_allowed_and_one_that_a_rule_has_is_blocked() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger, Party::Private]).build();
    let _office = service::tcp(world.host(Party::Office), HTTPS);
    let _stranger = service::tcp(world.host(Party::Stranger), HTTPS);
    let dns = Dns::at(&world, Party::Private);
    let agent = dns.agent(&world);
    let reaches = |party, family, wanted: bool| {
        // The agent asks for a name's addresses at once, and that takes its moment.
        let met = Deadline::after(Duration::from_secs(10)).poll(|| {
            let outcome = service::connect_out(&world, party, family, HTTPS);
            ((outcome == Outcome::Connected) == wanted).then_some(())
        });
        assert!(met.is_some(), "{party:?} {family:?}: {:#}", seen::status(&agent)["names"]);
    };
    for family in BOTH {
        reaches(Party::Office, family, true);
        assert_denied(service::connect_out(&world, Party::Stranger, family, HTTPS));
    }
    agent.nsp_ok(&["allow", "other.example.com", "--ports", "443/tcp", "--for", "1h"]);
    agent.nsp_ok(&["block", "*.example.com", "--ports", "80/tcp", "--for", "1h"]);
    for family in BOTH {
        reaches(Party::Stranger, family, true);
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicOutboundPerimeterRulesAllowed",
                "DestinationIpAddress": address(Party::Stranger, family),
                "DestinationFqdn": "other.example.com",
                "MatchedRule": {"accessRule": "allow other.example.com 443/tcp outbound"},
            }),
        );
    }
    let asked = agent.nsp_ok(&["explain", "out", "other.example.com:443", "--json"]);
    let asked: Value = serde_json::from_str(&asked).expect("JSON");
    assert_eq!(asked["verdict"], "allow", "{asked:#}");
    let open = service::open_out(&world, Party::Office, Family::V4, HTTPS);
    assert!(still_echoes(&open));
    agent.nsp_ok(&["block", "vault.example.com", "--for", "1h"]);
    assert!(!still_echoes(&open), "a block of its name cuts it");
    for family in BOTH {
        reaches(Party::Office, family, false);
    }
    agent.nsp_ok(&["block", "vault.example.com", "--remove"]);
    agent.nsp_ok(&["allow", "other.example.com", "--remove"]);
    for family in BOTH {
        reaches(Party::Office, family, true);
        reaches(Party::Stranger, family, false);
    }
}

#[test]
fn what_is_hardly_meant_is_refused() {
    let world = World::builder().clients(&[Party::Stranger]).build();
    let agent = Agent::builder(world.server()).policy(POLICY).start();
    let said = refused(&agent, &["allow", "0.0.0.0/0", "--for", "1h"], 1);
    assert!(said.contains("every IPv4 address") && said.contains("try:"), "{said}");
    assert!(said.contains("--allow-any"), "{said}");
    let said = refused(&agent, &["block", "::/0", "--for", "1h"], 1);
    assert!(said.contains("--block-any"), "{said}");
    let said = refused(&agent, &["allow", "198.51.100.7/24", "--for", "1h"], 2);
    assert!(said.contains("host bits") && said.contains("198.51.100.0/24"), "{said}");
    let said = refused(&agent, &["allow", "198.51.100.7", "--for", "31d"], 2);
    assert!(said.contains("thirty days"), "{said}");
    refused(&agent, &["allow", "198.51.100.7"], 2);
    refused(&agent, &["allow", "--for", "1h"], 2);
    refused(&agent, &["allow", "198.51.100.7", "--ports", "443", "--for", "1h"], 2);
    let said = refused(&agent, &["allow", "198.51.100.7", "--profile", "web", "--for", "1h"], 1);
    assert!(said.contains("there are: database"), "{said}");
    let said = refused(&agent, &["allow", "a.example.com", "--inbound", "--for", "1h"], 1);
    assert!(said.contains("only what this host opens"), "{said}");
    for length in 24..28 {
        agent.nsp_ok(&["allow", &format!("198.51.100.0/{length}"), "--for", "1h"]);
    }
    let said = refused(&agent, &["allow", "198.51.100.0", "--for", "1h"], 1);
    assert!(said.contains("5 entries overlap at 198.51.100.0/32"), "{said}");
    assert_eq!(entries(&agent).len(), 4, "what is refused changes nothing");
    // With the flag it is meant.
    agent.nsp_ok(&["allow", "::/0", "--outbound", "--allow-any", "--for", "1s"]);
}
