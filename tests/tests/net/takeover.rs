//! What the first start, and every start, takes over of what is live: all of it, the right way round,
//! and nothing that was ended.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Party},
    sockets::{Outcome, still_echoes, tcp_open},
};
use serde_json::{Value, json};

use crate::{outbound::assert_denied, seen, service};

const POSTGRES: u16 = 5432;

const OFFICE: &str = r#"
    [profile.database.inbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [profile.database.outbound.mirror]
    address_prefixes = ["198.51.100.0/24", "2001:db8:5::/48"]
    ports = ["443/tcp"]
"#;

fn policy(mode: &str, rules: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.database]
        private = "rules"
        {rules}
        [resource.host]
        host = true
        profile = "database"
        access_mode = "{mode}"
        "#
    )
}

fn world() -> World {
    World::builder().clients(&[Party::Office, Party::Stranger, Party::Private]).build()
}

fn start(world: &World, policy: &str) -> Agent {
    Agent::builder(world.server()).interfaces(&["up0", "priv0"]).policy(policy).start()
}

fn flows(agent: &Agent) -> Vec<Value> {
    let listed = agent.nsp_ok(&["flows", "--json"]);
    serde_json::from_str::<Vec<Value>>(&listed).expect("a list")
}

fn strangers(world: &World) -> [TcpStream; 2] {
    BOTH.map(|family| service::open(world, Party::Stranger, family, POSTGRES))
}

/// Whether nothing gets through any more. What came through while the agent was gone is read first.
fn is_ended(stream: &TcpStream) -> bool {
    (0..8).any(|_| !still_echoes(stream))
}

fn kept(agent: &Agent) -> Vec<Value> {
    flows(agent).into_iter().filter(|flow| flow["state"] == "kept").collect()
}

#[test]
fn first_start_keeps_what_was_live_before_it() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let _stranger = service::tcp(world.host(Party::Stranger), 443);
    let inbound = BOTH.map(|family| service::open(&world, Party::Stranger, family, POSTGRES));
    let outbound = BOTH.map(|family| service::open_out(&world, Party::Stranger, family, 443));
    let live = || inbound.iter().chain(&outbound);
    assert!(live().all(still_echoes));
    let agent = start(&world, &policy("enforced", ""));
    assert!(live().all(still_echoes), "a first start cuts nobody");
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::TimedOut);
        assert_denied(service::connect_out(&world, Party::Stranger, family, 443));
    }
    let kept = kept(&agent);
    assert_eq!(kept.len(), 4, "{kept:?}");
    assert!(kept.iter().all(|flow| flow["seeded"] == true), "{kept:?}");
    agent.nsp_ok(&["flows", "cut", "--kept"]);
    assert!(!live().any(still_echoes));
}

#[test]
fn conversations_that_open_while_the_agent_starts_live_on() {
    /// Connections that the echo service serves.
    const SERVED_MAX: usize = 250;
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let started = AtomicBool::new(false);
    let (agent, opened) = thread::scope(|scope| {
        let knock = || {
            let mut opened = Vec::new();
            while !started.load(Ordering::Acquire) && opened.len() < SERVED_MAX {
                let family = BOTH[opened.len() % 2];
                let from = SocketAddr::new(Party::Stranger.address(family), 0);
                let to = world.server_address(Party::Stranger, family, POSTGRES);
                let brief = Duration::from_millis(100);
                match tcp_open(world.host(Party::Stranger), from, to, brief) {
                    Ok(stream) => opened.push(stream),
                    // From here on they are denied.
                    Err(_) => break,
                }
                thread::sleep(Duration::from_millis(5));
            }
            opened
        };
        let knocking = scope.spawn(knock);
        let agent = start(&world, &policy("enforced", OFFICE));
        started.store(true, Ordering::Release);
        (agent, knocking.join().expect("it knocks"))
    });
    assert!(opened.len() > 20, "{} opened while the agent started", opened.len());
    let lost = opened.iter().filter(|stream| !still_echoes(stream)).count();
    assert_eq!(lost, 0, "of {}:\n{}", opened.len(), agent.stderr());
    assert_eq!(kept(&agent).len(), opened.len());
}

#[test]
fn what_the_operator_cut_stays_cut_when_the_agent_starts_again() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let streams = strangers(&world);
    let mut agent = start(&world, &policy("enforced", OFFICE));
    assert!(streams.iter().all(still_echoes), "kept");
    agent.nsp_ok(&["flows", "cut", "--kept"]);
    assert!(!streams.iter().any(still_echoes));
    agent.stop();
    agent.start();
    assert!(streams.iter().all(is_ended), "a restart revives nobody");
    let kept = flows(&agent).into_iter().filter(|flow| flow["state"] == "kept");
    assert_eq!(kept.collect::<Vec<_>>(), [] as [Value; 0]);
}

#[test]
fn what_a_strict_apply_ended_stays_ended_when_the_agent_starts_again() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let streams = strangers(&world);
    let office = service::open(&world, Party::Office, BOTH[0], POSTGRES);
    let mut agent = start(&world, &policy("transition", OFFICE));
    agent.write_policy(&policy("enforced", OFFICE));
    agent.nsp_ok(&["apply", "--strict"]);
    assert!(!streams.iter().any(still_echoes));
    agent.kill();
    agent.start();
    assert!(streams.iter().all(is_ended), "a restart revives nobody");
    assert!(still_echoes(&office), "a rule allows the office");
}

#[test]
fn private_client_that_needs_a_rule_is_kept_as_well() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let idle = BOTH.map(|family| service::open(&world, Party::Private, family, POSTGRES));
    let agent = start(&world, &policy("enforced", OFFICE));
    assert!(idle.iter().all(still_echoes), "{:#?}", flows(&agent));
}

#[test]
fn own_conversation_whose_peer_speaks_while_the_agent_starts_is_still_this_hosts() {
    let world = world();
    let mirror = service::tcp(world.host(Party::Stranger), 443);
    let mut streams = BOTH.map(|family| service::open_out(&world, Party::Stranger, family, 443));
    let done = AtomicBool::new(false);
    let agent = thread::scope(|scope| {
        // The mirror echoes what it gets, so that it is its segments that come in all the while.
        let talk = |stream: &mut TcpStream| {
            while !done.load(Ordering::Acquire) {
                stream.write_all(b"still there?").expect("it is open");
                thread::sleep(Duration::from_millis(1));
            }
        };
        for stream in &mut streams {
            let mut stream = stream.try_clone().expect("a socket");
            scope.spawn(move || talk(&mut stream));
        }
        let agent = start(&world, &policy("enforced", OFFICE));
        done.store(true, Ordering::Release);
        agent
    });
    let _mirror = mirror;
    for flow in flows(&agent) {
        let wanted = json!({"opener": "Outbound", "state": "allowed", "rule": "mirror"});
        assert!(seen::has(&flow, &wanted), "{flow:#}");
    }
    assert_eq!(flows(&agent).len(), 2);
    seen::no_record(&agent, &json!({"ResultDirection": "Inbound"}));
    // The rule carries it, so it goes with the rule.
    agent.write_policy(&policy("enforced", ""));
    agent.nsp_ok(&["apply"]);
    for stream in &streams {
        // What is on the way already is read until nothing comes any more.
        let gone = (0..20_000).any(|_| !still_echoes(stream));
        assert!(gone, "{:#?}", flows(&agent));
    }
}
