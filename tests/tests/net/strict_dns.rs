//! Strict DNS: who may go to listed names only may ask for these only, whichever resolver answers.

use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::{Process, World},
    packet::{Packet, Party, dns},
    sockets::{Outcome, tcp_connect},
};
use serde_json::json;

use crate::{seen, service};

const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [dns]
    strict = true
    resolvers = ["203.0.113.5"]
    [profile.job.outbound.shop]
    fqdns = ["*.shop.example.com", "api.example.org"]
    ports = ["443/tcp"]
    [profile.other.outbound.vault]
    fqdns = ["vault.example.org"]
    [resource.host]
    host = true
    profile = "job"
    access_mode = "enforced"
    [resource.other]
    ports = ["9999/tcp"]
    profile = "other"
"#;

/// A resolver that knows every name, at these addresses.
fn resolver(world: &World, party: Party, address: &str) -> Process {
    let mut command = Command::new("dnsmasq");
    command
        .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
        .args(["--user=root", "--bind-interfaces", "--pid-file=", "--listen-address", address])
        .args(["--address=/#/203.0.113.5"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    world.host(party).spawn(&mut command)
}

/// What became of a question: whether it left, and whether it was answered.
fn ask(world: &World, resolver: SocketAddr, name: &str) -> Result<bool, std::io::ErrorKind> {
    let question = Packet::from(dns::query(7, name, dns::A)).bytes();
    world.server().enter(|| {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        socket.set_read_timeout(Some(service::PATIENCE)).expect("a timeout");
        socket.send_to(&question, resolver).map_err(|error| error.kind())?;
        Ok(socket.recv(&mut [0; 512]).is_ok())
    })
}

fn answers(world: &World, resolver: SocketAddr, name: &str) {
    let answered = Deadline::after(Duration::from_secs(10))
        .poll(|| (ask(world, resolver, name) == Ok(true)).then_some(()));
    assert!(answered.is_some(), "{name} by {resolver}");
}

#[test]
fn questions_about_names_of_no_rule_do_not_leave() {
    let world = World::builder().clients(&[Party::Office]).build();
    world.server().ip("address add 127.0.0.53/8 dev lo");
    let _office = resolver(&world, Party::Office, "203.0.113.5");
    let _stub = resolver(&world, Party::Server, "127.0.0.53");
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("a file of ours");
        path
    };
    let agent = Agent::builder(world.server())
        .policy(POLICY)
        .argument("--resolv-conf")
        .argument(file("resolv.conf", "nameserver 127.0.0.53\n"))
        .argument("--hosts")
        .argument(file("hosts", ""))
        .start();
    let denied = Err(std::io::ErrorKind::PermissionDenied);
    for address in [IpAddr::V4(Party::Office.v4()), "127.0.0.53".parse().expect("an address")] {
        let resolver = SocketAddr::new(address, 53);
        answers(&world, resolver, "a.shop.example.com");
        answers(&world, resolver, "API.example.org");
        for name in ["shop.example.com", "vault.example.org", "data.evil.test"] {
            let start = Instant::now();
            assert_eq!(ask(&world, resolver, name), denied, "{name} by {resolver}");
            assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
        }
        // No TCP: what is asked by it is not read.
        let from = SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        let met = tcp_connect(world.server(), from, resolver, service::PATIENCE);
        assert_eq!(met, Outcome::PermissionDenied, "{resolver}");
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicOutboundPerimeterRulesDenied",
                "DestinationIpAddress": address,
                "Reason": "strict DNS",
                "DestinationFqdn": "data.evil.test",
                "Pid": std::process::id(),
            }),
        );
    }
    assert_eq!(seen::packets(&agent, "strict DNS", "Outbound", "deny"), 8);
    // What is allowed for a time may be asked for, and as long.
    let office = SocketAddr::new(Party::Office.v4().into(), 53);
    agent.nsp_ok(&["allow", "data.evil.test", "--ports", "443/tcp", "--for", "1h"]);
    answers(&world, office, "data.evil.test");
    assert_eq!(ask(&world, office, "more.evil.test"), denied);
    agent.nsp_ok(&["allow", "data.evil.test", "--remove"]);
    assert_eq!(ask(&world, office, "data.evil.test"), denied);
}
