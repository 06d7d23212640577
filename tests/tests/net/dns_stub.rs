//! Hosts whose programs ask a resolver on the host itself.

use std::net::{IpAddr, SocketAddr};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{Family, Party, dns},
    sockets::{Outcome, tcp_connect},
};
use serde_json::{Value, json};

use crate::{
    cgroup::Cgroup,
    dns_server::{DnsServer, Knows, addresses, ask, status, until},
    outbound::assert_denied,
    seen, service,
};

const HTTPS: u16 = 443;
const BELOW: &str = "*.shop.example.com";

fn policy() -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [dns]
        resolvers = ["{}"]
        [profile.job.outbound.shop]
        fqdns = ["{BELOW}"]
        ports = ["443/tcp"]
        [resource.host]
        host = true
        profile = "job"
        access_mode = "enforced"
    "#,
        Party::Office.v4()
    )
}

fn stub() -> IpAddr {
    "127.0.0.53".parse().expect("an address")
}

/// Waits until the agent knows who answers, in this cgroup.
#[track_caller]
fn known(agent: &Agent, cgroup: &Cgroup) {
    let expected = json!([{
        "address": stub(),
        "listens": true,
        "cgroups": [cgroup.name()],
        "onlyItTeaches": true,
    }]);
    until(agent, |status| (status["stubs"] == expected).then_some(()));
}

#[test]
fn stub_teaches_by_its_answers_and_nobody_else_does() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    world.server().ip("address add 127.0.0.53/8 dev lo");
    let office = IpAddr::V4(Party::Office.v4());
    let stranger = Party::Stranger.address(Family::V4);
    let _https = service::tcp(world.host(Party::Office), HTTPS);
    let _other = service::tcp(world.host(Party::Stranger), HTTPS);
    let names = [("a.shop.example.com", office), ("b.shop.example.com", stranger)];
    let _upstream =
        DnsServer::start(world.host(Party::Office), office, &Knows::Names(&names, 600), None);
    let cgroup = Cgroup::new("stub");
    let start = |cgroup: &Cgroup| {
        DnsServer::start(world.server(), stub(), &Knows::Upstream(office), Some(cgroup))
    };
    let mut server = start(&cgroup);
    let agent = server.files(Agent::builder(world.server()).policy(&policy())).start();
    known(&agent, &cgroup);

    let connect = |to: IpAddr| {
        let from = SocketAddr::new(Party::Server.address(Family::V4), 0);
        tcp_connect(world.server(), from, SocketAddr::new(to, HTTPS), service::PATIENCE)
    };
    // Who asks the upstream itself gets an answer that opens nothing.
    ask(world.server(), office, "b.shop.example.com", dns::A);
    assert_denied(connect(stranger));
    assert_eq!(addresses(&status(&agent), BELOW), [] as [Value; 0]);

    ask(world.server(), stub(), "a.shop.example.com", dns::A);
    let shown = until(&agent, |status| addresses(status, BELOW).first().cloned());
    let expected = json!({"address": office, "asked": "a.shop.example.com", "source": "stub"});
    assert!(seen::has(&shown, &expected), "{shown:#}");
    assert_eq!(connect(office), Outcome::Connected);

    // A unit that restarts has another cgroup.
    let before = cgroup.id();
    server.stop();
    until(&agent, |status| (status["stubs"][0]["listens"] == false).then_some(()));
    let cgroup = cgroup.renew();
    assert_ne!(cgroup.id(), before);
    let _server = start(&cgroup);
    // At once: whether the agent has found it yet or not, what it asks and answers teaches.
    ask(world.server(), stub(), "b.shop.example.com", dns::A);
    until(&agent, |status| (addresses(status, BELOW).len() == 2).then_some(()));
    known(&agent, &cgroup);
    assert_eq!(connect(stranger), Outcome::Connected);
}

#[test]
fn recursive_unit_may_ask_anybody_and_what_it_answers_teaches() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    world.server().ip("address add 127.0.0.53/8 dev lo");
    let (office, stranger) = (IpAddr::V4(Party::Office.v4()), Party::Stranger.address(Family::V4));
    let _https = service::tcp(world.host(Party::Stranger), HTTPS);
    let names = [("a.shop.example.com", stranger)];
    // No policy trusts it: it is in charge of the name.
    let _office =
        DnsServer::start(world.host(Party::Office), office, &Knows::Names(&names, 600), None);
    let unit = Cgroup::new("unbound.service");
    let server = DnsServer::start(world.server(), stub(), &Knows::Upstream(office), Some(&unit));
    let name = unit.name();
    let unit_name = name.trim_start_matches('/');
    let policy = policy().replace(
        &format!("resolvers = [\"{office}\"]"),
        &format!("recursive_unit = \"{unit_name}\""),
    );
    let agent = server.files(Agent::builder(world.server()).policy(&policy)).start();
    known(&agent, &unit);
    let status = until(&agent, |status| {
        (status["recursive"]["matched"] == true).then(|| status["recursive"].clone())
    });
    assert_eq!(status["addresses"], json!([stub()]));

    ask(world.server(), stub(), "a.shop.example.com", dns::A);
    let shown = until(&agent, |status| addresses(status, BELOW).first().cloned());
    assert!(seen::has(&shown, &json!({"address": stranger, "source": "stub"})), "{shown:#}");
    let from = SocketAddr::new(Party::Server.address(Family::V4), 0);
    let to = SocketAddr::new(stranger, HTTPS);
    assert_eq!(tcp_connect(world.server(), from, to, service::PATIENCE), Outcome::Connected);

    // Nobody else may.
    let dns_port = SocketAddr::new(office, 53);
    assert_denied(tcp_connect(world.server(), from, dns_port, service::PATIENCE));
    let asked = format!("{office}:53/udp");
    for (sender, verdict) in [(Some(unit_name), "allow"), (None, "deny")] {
        let mut words = vec!["explain", "out", &asked, "--json"];
        words.extend(sender.iter().flat_map(|unit| ["--unit", unit]));
        let answer: Value = serde_json::from_str(&agent.nsp_ok(&words)).expect("JSON");
        assert_eq!(answer["verdict"], verdict, "{answer:#}");
    }
}

#[test]
fn recursive_unit_that_is_not_there_and_a_stub_of_no_cgroup_are_said() {
    let world = World::builder().clients(&[Party::Office]).build();
    world.server().ip("address add 127.0.0.53/8 dev lo");
    let office = IpAddr::V4(Party::Office.v4());
    let server = DnsServer::start(world.server(), stub(), &Knows::Upstream(office), None);
    let policy = policy().replace("resolvers", "recursive_unit = \"nspt-none.service\"\nresolvers");
    let agent = server.files(Agent::builder(world.server()).policy(&policy)).start();
    let text = until(&agent, |_| {
        let text = agent.nsp_ok(&["status", "--dns"]);
        text.contains("cannot be told from the rest of the host").then_some(text)
    });
    assert!(text.contains("recursive_unit matches nothing"), "{text}");
    assert_eq!(status(&agent)["recursive"]["matched"], false);
    assert!(agent.stderr().contains("recursive_unit matches nothing"), "{}", agent.stderr());
}

#[test]
fn enforced_wildcard_is_refused_where_answers_cannot_be_seen() {
    let world = World::builder().clients(&[Party::Office]).build();
    let office = IpAddr::V4(Party::Office.v4());
    let server = DnsServer::start(world.server(), stub(), &Knows::Upstream(office), None);
    // Nothing says whom the stub asks, and the policy denies it.
    let blind = policy().replace(&format!("resolvers = [\"{office}\"]"), "");
    let mut agent = server.files(Agent::builder(world.server()).policy(&blind)).build();
    let refused = agent.try_start().expect_err("a wildcard that admits nothing");
    assert_eq!(refused.status.and_then(|it| it.code()), Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("policy.toml:6:"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("`*.shop.example.com` may admit nothing"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("\ntry: [dns] resolvers"), "{}", refused.stderr);

    let mild = blind.replace("\"enforced\"", "\"transition\"");
    agent.write_policy(&mild);
    agent.start();
    for (verb, text) in [(&["apply"][..], &blind), (&["mode", "host", "enforced"], &mild)] {
        agent.write_policy(text);
        let output = agent.nsp(verb);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{verb:?} {said}");
        assert!(said.contains("may admit nothing"), "{verb:?} {said}");
    }
    agent.write_policy(&blind.replace("[dns]", "[dns]\naccept_blind = true"));
    agent.nsp_ok(&["apply"]);
}
