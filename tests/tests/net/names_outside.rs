//! What is outside the envelope of learning: which resolvers are believed, and what other ways to names
//! cost in first packets.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{Packet, Party, dns},
    sockets::{Outcome, tcp_connect},
};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    answering::{Answering, Reply},
    crowd,
    outbound::assert_denied,
    seen, service,
};

const HTTPS: u16 = 443;

const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [private]
    prefixes = []
    [profile.job.outbound.pool]
    fqdns = ["*.pool.example.com"]
    ports = ["443/tcp"]
    [resource.host]
    host = true
    profile = "job"
    access_mode = "enforced"
"#;

fn resolv_conf(directory: &Path, resolvers: &[IpAddr]) {
    let lines: String = resolvers.iter().map(|it| format!("nameserver {it}\n")).collect();
    // In one step, as tools that manage the file do.
    let fresh = directory.join("resolv.conf.new");
    fs::write(&fresh, lines).expect("a file of ours");
    fs::rename(&fresh, directory.join("resolv.conf")).expect("a file of ours");
}

fn agent(world: &World, directory: &Path) -> Agent {
    fs::write(directory.join("hosts"), "").expect("a file of ours");
    crowd::agent(world, directory, POLICY)
}

/// Asks for a name by UDP; whether there was an answer.
fn asks(world: &World, resolver: IpAddr, name: &str) -> Result<bool, std::io::ErrorKind> {
    let question = Packet::from(dns::query(7, name, dns::A)).bytes();
    world.server().enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        socket.set_read_timeout(Some(service::PATIENCE)).expect("a timeout");
        socket.send_to(&question, (resolver, 53)).map_err(|error| error.kind())?;
        Ok(socket.recv(&mut [0; 4096]).is_ok())
    })
}

fn connects(world: &World, to: IpAddr, port: u16) -> Outcome {
    let from = SocketAddr::new(Party::Server.v4().into(), 0);
    tcp_connect(world.server(), from, SocketAddr::new(to, port), service::PATIENCE)
}

/// G26: other resolvers are peers as others are, by DNS, by DNS over TLS and over HTTPS.
#[test]
fn resolvers_that_are_not_configured_are_ordinary_peers() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let stranger: IpAddr = Party::Stranger.v4().into();
    let answer = move |_: &crate::answering::Question<'_>| Reply {
        addresses: vec![(60, stranger)],
        ..Reply::default()
    };
    let _trusted = Answering::at(world.host(Party::Office), Party::Office.v4().into(), answer);
    let _other = Answering::at(world.host(Party::Stranger), stranger, answer);
    let _tls = service::tcp(world.host(Party::Stranger), 853);
    let _https = service::tcp(world.host(Party::Stranger), HTTPS);
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    resolv_conf(directory.path(), &[Party::Office.v4().into()]);
    let agent = agent(&world, directory.path());
    let denied = Err(std::io::ErrorKind::PermissionDenied);
    assert_eq!(asks(&world, stranger, "a.pool.example.com"), denied);
    for port in [53, 853, HTTPS] {
        assert_denied(connects(&world, stranger, port));
    }
    // It taught nothing; the trusted one does.
    assert_eq!(asks(&world, Party::Office.v4().into(), "a.pool.example.com"), Ok(true));
    assert_eq!(connects(&world, stranger, HTTPS), Outcome::Connected);
    assert_denied(connects(&world, stranger, 853));
    seen::record(&agent, &json!({"DestinationPort": 53, "ResultAction": "Denied"}));
}

/// G24: a change of resolvers counts within a second or two, both ways.
#[test]
fn new_resolvers_are_trusted_and_old_ones_no_more_within_two_seconds() {
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let answer = |_: &crate::answering::Question<'_>| Reply::default();
    let parties = [Party::Office, Party::Stranger];
    let addresses = parties.map(|party| IpAddr::from(party.v4()));
    let _servers = parties.map(|party| Answering::at(world.host(party), party.v4().into(), answer));
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    resolv_conf(directory.path(), &addresses[..1]);
    let _agent = agent(&world, directory.path());
    let [first, second] = addresses;
    assert_eq!(asks(&world, first, "a.pool.example.com"), Ok(true));
    assert_eq!(
        asks(&world, second, "a.pool.example.com"),
        Err(std::io::ErrorKind::PermissionDenied)
    );
    resolv_conf(directory.path(), &addresses[1..]);
    let start = Instant::now();
    while asks(&world, second, "a.pool.example.com") != Ok(true) {
        assert!(start.elapsed() < Duration::from_secs(4), "the new one is not trusted");
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("trusted after {:?}", start.elapsed());
    assert_eq!(
        asks(&world, first, "a.pool.example.com"),
        Err(std::io::ErrorKind::PermissionDenied),
        "the old one is not"
    );
}

/// G28: what a name opens is the rule's ports, on an address that others may share.
#[test]
fn shared_address_is_open_at_the_rules_ports_only() {
    let world = World::builder().clients(&[Party::Office]).build();
    let office: IpAddr = Party::Office.v4().into();
    let answer = move |_: &crate::answering::Question<'_>| Reply {
        addresses: vec![(60, office)],
        ..Reply::default()
    };
    let _dns = Answering::at(world.host(Party::Office), office, answer);
    let _services = [HTTPS, 8443, 80].map(|port| service::tcp(world.host(Party::Office), port));
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    resolv_conf(directory.path(), &[office]);
    let mut agent = agent(&world, directory.path());
    agent.process().signal(Signal::STOP);
    assert_eq!(asks(&world, office, "a.pool.example.com"), Ok(true));
    assert_eq!(asks(&world, office, "tenant.example.net"), Ok(true));
    assert_eq!(connects(&world, office, HTTPS), Outcome::Connected);
    assert_denied(connects(&world, office, 8443));
    assert_denied(connects(&world, office, 80));
    agent.process().signal(Signal::CONT);
}
