//! A policy takes the place of another while connections are open.

use std::{
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Family, Party},
    sockets::{Outcome, still_echoes, tcp_counters, tcp_open},
};
use rustix::{net::sockopt, process::Signal};
use serde_json::{Value, json};

use crate::{seen, service};

const POSTGRES: u16 = 5432;

const OFFICE: &str = r#"
    [profile.database.inbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
"#;

/// The same addresses in other words.
const OFFICE_IN_HALVES: &str = r#"
    [profile.database.inbound.office]
    address_prefixes = ["203.0.113.0/25", "203.0.113.128/25", "2001:db8:100::/41",
                        "2001:db8:180::/41"]
    [profile.database.inbound.somebody-else]
    address_prefixes = ["192.0.2.64/26"]
"#;

fn policy(mode: &str, rules: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.database]
        {rules}
        [resource.postgres]
        ports = ["5432/tcp"]
        profile = "database"
        access_mode = "{mode}"
        "#
    )
}

fn world() -> World {
    World::builder().clients(&[Party::Office, Party::Stranger]).build()
}

fn generation(agent: &Agent) -> u64 {
    seen::number(&seen::status(agent)["generation"])
}

fn apply(agent: &Agent, policy: &str) {
    agent.write_policy(policy);
    agent.nsp_ok(&["apply"]);
}

/// Live flows in this state.
fn flows(agent: &Agent, state: &str) -> Vec<Value> {
    let flows: Value = serde_json::from_str(&agent.nsp_ok(&["flows", "--json"])).expect("JSON");
    let flows = flows.as_array().expect("a list").clone();
    flows.into_iter().filter(|flow| flow["state"] == state).collect()
}

#[test]
fn equivalent_policy_costs_live_connections_no_segment() {
    const CONNECTIONS: usize = 50;
    const APPLIES: usize = 10;
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("enforced", OFFICE)).start();
    let streams: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|number| service::open(&world, Party::Office, BOTH[number % 2], POSTGRES))
        .collect();
    let stop = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        let talk = || {
            let mut rounds = 0;
            while !stop.load(Ordering::Acquire) {
                let silent = streams.iter().filter(|stream| !still_echoes(stream)).count();
                assert_eq!(silent, 0, "connections fell silent in round {rounds}");
                rounds += 1;
            }
            rounds
        };
        let talking = scope.spawn(talk);
        let first = generation(&agent);
        for number in 0..APPLIES {
            let rules = if number % 2 == 0 { OFFICE_IN_HALVES } else { OFFICE };
            apply(&agent, &policy("enforced", rules));
        }
        stop.store(true, Ordering::Release);
        assert_eq!(generation(&agent), first + APPLIES as u64);
        talking.join().expect("nobody fell silent")
    });
    assert!(rounds > 0, "the connections were in use while policies changed");
    let again: u32 = streams.iter().map(|it| tcp_counters(it).retransmitted_total).sum();
    assert_eq!(again, 0, "segments were sent again");
    seen::no_record(&agent, &json!({"ResultAction": "Denied"}));
}

#[test]
fn withdrawn_rule_cuts_its_conversation_at_the_next_packet() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("enforced", OFFICE)).start();
    let open = |family| service::open(&world, Party::Office, family, POSTGRES);
    let streams = BOTH.map(open);
    assert!(streams.iter().all(still_echoes));
    apply(&agent, &policy("enforced", ""));
    for (family, stream) in BOTH.into_iter().zip(&streams) {
        assert!(!still_echoes(stream), "{family:?} goes on without its rule");
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::TimedOut);
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicInboundPerimeterRulesDenied",
                "SourceIpAddress": Party::Office.address(family),
                "Reason": "rule withdrawn",
            }),
        );
    }
    // The policy decides, the flow is a cache: with the rule back the conversation goes on.
    apply(&agent, &policy("enforced", OFFICE));
    for family in BOTH {
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::Connected);
    }
}

#[test]
fn enforcing_keeps_live_conversations_and_refuses_new_ones_until_they_are_cut() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("transition", OFFICE)).start();
    let strangers = BOTH.map(|family| service::open(&world, Party::Stranger, family, POSTGRES));
    let office = service::open(&world, Party::Office, Family::V4, POSTGRES);
    assert!(strangers.iter().all(still_echoes) && still_echoes(&office));
    assert_eq!(flows(&agent, "would-deny").len(), 2);

    apply(&agent, &policy("enforced", OFFICE));
    assert!(strangers.iter().all(still_echoes), "what was live goes on");
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::TimedOut);
    }
    let kept = flows(&agent, "kept");
    for family in BOTH {
        let wanted = json!({
            "remote": Party::Stranger.address(family),
            "localPort": POSTGRES,
            "opener": "Inbound",
            "resource": "postgres",
            "established": true,
        });
        assert!(kept.iter().any(|flow| seen::has(flow, &wanted)), "no {wanted} in {kept:?}");
    }
    assert_eq!(kept.len(), 2, "{kept:?}");

    apply(&agent, &policy("enforced", OFFICE_IN_HALVES));
    assert!(strangers.iter().all(still_echoes), "kept survives later generations");

    assert_eq!(agent.nsp_ok(&["flows", "cut", "--kept"]), "2 conversations cut\n");
    assert!(!strangers.iter().any(still_echoes), "cut is cut");
    assert!(still_echoes(&office), "what a rule allows is not kept and not cut");
    for family in BOTH {
        seen::record(
            &agent,
            &json!({
                "SourceIpAddress": Party::Stranger.address(family),
                "Reason": "conversation cut",
                "ResultAction": "Denied",
            }),
        );
    }
    assert_eq!(flows(&agent, "kept"), [] as [Value; 0]);
}

#[test]
fn strict_apply_ends_what_no_rule_allows() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("transition", OFFICE)).start();
    let strangers = BOTH.map(|family| service::open(&world, Party::Stranger, family, POSTGRES));
    let office = service::open(&world, Party::Office, Family::V4, POSTGRES);
    assert!(strangers.iter().all(still_echoes) && still_echoes(&office));
    agent.write_policy(&policy("enforced", OFFICE));
    agent.nsp_ok(&["apply", "--strict"]);
    assert!(!strangers.iter().any(still_echoes));
    assert!(still_echoes(&office), "a rule allows the office");
    assert_eq!(flows(&agent, "kept"), [] as [Value; 0]);
}

#[test]
fn broken_file_changes_nothing_and_says_why() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced", OFFICE)).start();
    let first = generation(&agent);
    let stream = service::open(&world, Party::Office, Family::V4, POSTGRES);
    let broken = policy("enforced", OFFICE).replace("address_prefixes", "adress_prefixes");
    agent.write_policy(&broken);

    let refused = agent.nsp(&["apply"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("adress_prefixes") && said.contains("policy.toml:"), "{said}");
    assert_eq!(generation(&agent), first);
    assert_eq!(seen::status(&agent)["fileDiffers"], true);

    agent.process().signal(Signal::HUP);
    assert!(agent.says("adress_prefixes", Duration::from_secs(2)), "{}", agent.stderr());
    let status = seen::status(&agent);
    assert_eq!(status["generation"], first);
    assert!(status["lastError"].as_str().is_some_and(|it| it.contains("adress_prefixes")));
    assert!(still_echoes(&stream));
    assert_eq!(world.connect(Party::Office, Family::V6, POSTGRES), Outcome::Connected);
    assert_eq!(world.connect(Party::Stranger, Family::V6, POSTGRES), Outcome::TimedOut);
}

#[test]
fn hangup_signal_applies_the_file_and_saving_it_does_not() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("transition", OFFICE)).start();
    agent.write_policy(&policy("enforced", OFFICE));
    assert_eq!(world.connect(Party::Stranger, Family::V4, POSTGRES), Outcome::Connected);
    assert_eq!(generation(&agent), 1);
    agent.process().signal(Signal::HUP);
    let applied =
        Deadline::after(Duration::from_secs(2)).poll(|| (generation(&agent) == 2).then_some(()));
    assert!(applied.is_some(), "{}", agent.stderr());
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::TimedOut);
        assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::Connected);
    }
}

#[test]
fn idle_conversation_is_kept_and_can_be_cut_before_it_speaks_again() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("transition", OFFICE)).start();
    let streams = BOTH.map(|family| service::open(&world, Party::Stranger, family, POSTGRES));
    assert!(streams.iter().all(still_echoes));
    agent.nsp_ok(&["mode", "postgres", "enforced"]);
    assert_eq!(flows(&agent, "kept").len(), 2);
    agent.nsp_ok(&["flows", "cut", "--kept"]);
    assert!(!streams.iter().any(still_echoes));
}

#[test]
fn mode_is_changed_and_changed_back() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("transition", OFFICE)).start();
    for (mode, outcome) in [
        ("enforced", Outcome::TimedOut),
        ("transition", Outcome::Connected),
        ("enforced", Outcome::TimedOut),
    ] {
        agent.nsp_ok(&["mode", "postgres", mode]);
        assert_eq!(seen::status(&agent)["resources"][0]["inbound"], mode);
        for family in BOTH {
            assert_eq!(world.connect(Party::Stranger, family, POSTGRES), outcome, "{mode}");
            assert_eq!(world.connect(Party::Office, family, POSTGRES), Outcome::Connected);
        }
    }
    let unknown = agent.nsp(&["mode", "postgras", "enforced"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&unknown.stderr).contains("postgres"),
        "it names those there are"
    );
}

#[test]
fn plan_names_what_would_be_cut_and_cuts_nothing() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("enforced", OFFICE)).start();
    let before = generation(&agent);
    let streams = BOTH.map(|family| service::open(&world, Party::Office, family, POSTGRES));
    assert!(streams.iter().all(still_echoes));
    agent.write_policy(&policy("enforced", ""));
    let plan: Value = serde_json::from_str(&agent.nsp_ok(&["plan", "--json"])).expect("JSON");
    assert_eq!(plan["removed"], json!(["inbound rule database/office"]));
    let cut = plan["flowsCut"].as_array().expect("a list");
    for family in BOTH {
        let wanted = json!({
            "remote": Party::Office.address(family),
            "localPort": POSTGRES,
            "rule": "office",
            "resource": "postgres",
        });
        assert!(cut.iter().any(|flow| seen::has(flow, &wanted)), "no {wanted} in {plan:#}");
    }
    assert_eq!(cut.len(), 2, "{plan:#}");
    assert!(streams.iter().all(still_echoes));
    assert_eq!(generation(&agent), before);
    agent.write_policy(&policy("enforced", OFFICE_IN_HALVES));
    let plan: Value = serde_json::from_str(&agent.nsp_ok(&["plan", "--json"])).expect("JSON");
    assert_eq!(plan["flowsCut"], json!([]), "other words for the same addresses cut nobody");
}

#[test]
fn detach_leaves_the_host_as_it_was() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced", OFFICE)).start();
    assert_eq!(world.connect(Party::Stranger, Family::V4, POSTGRES), Outcome::TimedOut);
    agent.nsp_ok(&["detach"]);
    let ended = agent.process().wait(Duration::from_secs(5));
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::Connected);
    }
}

#[test]
fn new_connection_does_not_ride_on_a_kept_one() {
    const SOURCE: u16 = 40001;
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("transition", OFFICE)).start();
    let open = |family| {
        let from = SocketAddr::new(Party::Stranger.address(family), SOURCE);
        let to = SocketAddr::new(Party::Server.address(family), POSTGRES);
        tcp_open(world.host(Party::Stranger), from, to, service::PATIENCE)
    };
    let streams = BOTH.map(|family| open(family).expect("it is only watched"));
    apply(&agent, &policy("enforced", OFFICE));
    assert!(streams.iter().all(still_echoes));
    for stream in streams {
        // Ends with a RST: the port can be used again at once.
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("an open socket");
    }
    // A busy machine takes a moment to let go of it.
    thread::sleep(Duration::from_millis(200));
    for family in BOTH {
        let again = open(family).map(|_| ());
        assert_eq!(again, Err(Outcome::TimedOut), "{family:?}: the same ports, a new connection");
    }
}

#[test]
fn conversations_with_one_peer_can_be_cut() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("transition", OFFICE)).start();
    for family in BOTH {
        let stranger = service::open(&world, Party::Stranger, family, POSTGRES);
        let office = service::open(&world, Party::Office, family, POSTGRES);
        assert!(still_echoes(&stranger) && still_echoes(&office));
        let peer = Party::Stranger.address(family).to_string();
        assert_eq!(agent.nsp_ok(&["flows", "cut", &peer]), "1 conversations cut\n");
        assert!(!still_echoes(&stranger), "cut, though nothing is enforced");
        assert!(still_echoes(&office), "somebody else's goes on");
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::Connected);
    }
}
