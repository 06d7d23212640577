//! `nsp status --dns`; what was learned outlives the agent; and what the kernel could not read the agent
//! asks for itself.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{Family, Party, dns},
    sockets::{Outcome, tcp_connect},
};
use serde_json::{Value, json};

use crate::{
    dns_server::{DnsServer, Knows, addresses, ask, status, until},
    outbound::assert_denied,
    seen, service,
};

const HTTPS: u16 = 443;
const NAME: &str = "www.shop.example.com";
const BELOW: &str = "*.shop.example.com";

pub(crate) const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [private]
    prefixes = []
    [profile.job.outbound.shop]
    fqdns = ["*.shop.example.com"]
    ports = ["443/tcp"]
    [resource.host]
    host = true
    profile = "job"
    access_mode = "enforced"
"#;

fn office() -> IpAddr {
    Party::Office.address(Family::V4)
}

fn connect(world: &World, to: IpAddr) -> Outcome {
    let from = SocketAddr::new(Party::Server.address(Family::V4), 0);
    tcp_connect(world.server(), from, SocketAddr::new(to, HTTPS), service::PATIENCE)
}

fn learned(agent: &Agent) -> Value {
    until(agent, |status| addresses(status, BELOW).first().cloned())
}

#[test]
fn learned_name_is_shown_with_what_was_asked_from_whom_and_when() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let _https = service::tcp(world.host(Party::Office), HTTPS);
    let stranger = Party::Stranger.address(Family::V4);
    let names = [(NAME, office()), ("other.example.net", stranger)];
    let server =
        DnsServer::start(world.host(Party::Office), office(), &Knows::Names(&names, 60), None);
    let agent = server.files(Agent::builder(world.server()).policy(POLICY)).start();
    assert_eq!(addresses(&status(&agent), BELOW), [] as [Value; 0]);

    for (name, _) in names {
        ask(world.server(), office(), name, dns::A);
    }
    let shown = learned(&agent);
    assert!(
        seen::has(
            &shown,
            &json!({
                "address": office(),
                "asked": NAME,
                "source": "answer",
                "inGrace": false,
                "graceSeconds": 120,
            })
        ),
        "{shown:#}"
    );
    assert!(shown["ageSeconds"].as_u64().expect("an age") <= 10, "{shown:#}");
    assert!((50..=60).contains(&shown["remainingSeconds"].as_u64().expect("a time")), "{shown:#}");
    let status = status(&agent);
    let lesson = |name: &str| {
        let lessons = status["lessons"].as_array().expect("a list");
        lessons.iter().find(|it| it["lesson"] == name).expect("a lesson")["count"].clone()
    };
    assert_eq!(lesson("learned"), 1, "{status:#}");
    let resolvers = status["resolvers"].as_array().expect("a list");
    assert!(seen::has(&resolvers[0], &json!({"address": office(), "trusted": true})), "{status:#}");
    let text = agent.nsp_ok(&["status", "--dns"]);
    assert!(text.contains(BELOW) && text.contains(NAME) && text.contains("not visible"), "{text}");

    // The log has the name that was asked for, also of what no rule admits.
    assert_eq!(connect(&world, office()), Outcome::Connected);
    seen::record(&agent, &json!({"DestinationIpAddress": office(), "DestinationFqdn": NAME}));
    assert_denied(connect(&world, stranger));
    seen::record(
        &agent,
        &json!({
            "Category": "NspPublicOutboundPerimeterRulesDenied",
            "DestinationIpAddress": stranger,
            "DestinationFqdn": "other.example.net",
        }),
    );
}

#[test]
fn what_was_learned_opens_after_a_restart_without_a_new_question() {
    let world = World::builder().clients(&[Party::Office]).build();
    let _https = service::tcp(world.host(Party::Office), HTTPS);
    let names = [(NAME, office())];
    let mut server =
        DnsServer::start(world.host(Party::Office), office(), &Knows::Names(&names, 600), None);
    // Nothing is pinned: what is known comes of the state directory alone.
    let builder = Agent::builder(world.server()).policy(POLICY).unpinned().argument("--as-it-is");
    let mut agent = server.files(builder).start();
    assert_denied(connect(&world, office()));
    ask(world.server(), office(), NAME, dns::A);
    learned(&agent);
    let file = agent.home().state_dir().join("learned.json");
    let saved = Deadline::after(Duration::from_secs(15)).poll(|| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.contains(&office().to_string()).then_some(())
    });
    assert!(saved.is_some(), "{}", fs::read_to_string(&file).unwrap_or_default());
    server.stop();

    agent.kill();
    agent.start();
    assert_eq!(connect(&world, office()), Outcome::Connected);
    let shown = learned(&agent);
    assert!(seen::has(&shown, &json!({"asked": NAME, "source": "answer"})), "{shown:#}");
    assert_eq!(status(&agent)["remembered"]["restored"], 1);

    // An orderly end forgets nothing either; a rule that is gone takes its addresses along.
    agent.stop();
    agent.write_policy(&POLICY.replace("*.shop", "*.office"));
    agent.start();
    assert_denied(connect(&world, office()));
    assert_eq!(status(&agent)["remembered"]["leftOut"], 1);

    agent.kill();
    fs::write(&file, "{\"version\": 99").expect("a file of the agent's");
    agent.start();
    assert!(file.with_extension("unreadable").exists());
    assert_denied(connect(&world, office()));
}

#[test]
fn truncated_answer_is_asked_for_by_the_agent_once() {
    const ADDRESSES: u32 = 150;
    let world = World::builder().clients(&[Party::Office]).build();
    let _https = service::tcp(world.host(Party::Office), HTTPS);
    let (v4, office_host) = (Party::Office.v4(), world.host(Party::Office));
    office_host.ip("route add local 10.64.0.0/16 dev lo");
    world.router().ip(&format!("route add 10.64.0.0/16 via {v4}"));
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from(0x0a40_0000 + number));
    let names: Vec<(&str, IpAddr)> = (0..ADDRESSES).map(|number| (NAME, address(number))).collect();
    let server = DnsServer::start(office_host, office(), &Knows::Names(&names, 600), None);
    let agent = server.files(Agent::builder(world.server()).policy(POLICY)).start();
    let answer = ask(world.server(), office(), NAME, dns::A);
    assert_ne!(answer[2] & 2, 0, "the answer is whole");

    let all = until(&agent, |status| {
        let all = addresses(status, BELOW);
        (all.len() == ADDRESSES as usize).then_some(all)
    });
    let expected = json!({"asked": NAME, "source": "agent"});
    assert!(all.iter().all(|it| seen::has(it, &expected)), "{:#}", all[0]);
    assert_eq!(connect(&world, address(ADDRESSES - 1)), Outcome::Connected);
    // The answer to the agent is truncated as well, and must not have it ask again and again.
    std::thread::sleep(Duration::from_secs(3));
    let wanted = status(&agent)["wanted"].clone();
    assert_eq!((&wanted["answered"], &wanted["dropped"]), (&json!(1), &json!(0)), "{wanted:#}");
    assert_eq!(wanted["addressesTaught"], ADDRESSES, "{wanted:#}");
}
