//! Programs that are not let out learn so at once, and the log says which they were.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Family, Party},
    sockets::{Outcome, tcp_connect},
};
use serde_json::json;

use crate::{
    cgroup::{Cgroup, Transport},
    seen, service,
};

const HTTPS: u16 = 443;
/// What a refusal may take at best of ten, on a machine that is busy with other tests too.
const AT_ONCE: Duration = Duration::from_millis(10);

fn policy(resource: &str) -> String {
    format!(
        r#"
        [perimeter]
        name = "payments"
        [profile.job.outbound.office]
        address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
        ports = ["443/tcp", "443/udp"]
        [resource.job]
        profile = "job"
        access_mode = "enforced"
        {resource}
        "#
    )
}

fn world() -> World {
    World::builder().clients(&[Party::Office, Party::Stranger, Party::Private]).build()
}

/// Time and outcome of a call from the server, by a socket that is bound to nothing.
fn call(world: &World, to: SocketAddr) -> (Outcome, Duration) {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let start = Instant::now();
    let met = tcp_connect(world.server(), any.parse().expect("an address"), to, service::PATIENCE);
    (met, start.elapsed())
}

fn start(world: &World, policy: &str) -> Agent {
    Agent::builder(world.server()).interfaces(&["up0", "priv0"]).policy(policy).start()
}

#[test]
fn denied_call_fails_at_once_and_allowed_ones_go_through() {
    let world = world();
    let _office = service::tcp(world.host(Party::Office), HTTPS);
    let _private = service::tcp(world.host(Party::Private), HTTPS);
    let _own = service::tcp(world.server(), 8080);
    let agent = start(&world, &policy("host = true"));
    for family in BOTH {
        let to = |party: Party| SocketAddr::new(party.address(family), HTTPS);
        let calls: Vec<_> = (0..10).map(|_| call(&world, to(Party::Stranger))).collect();
        assert!(calls.iter().all(|(met, _)| *met == Outcome::PermissionDenied), "{calls:?}");
        let took = calls.iter().map(|(_, took)| *took).min().expect("ten of them");
        println!("refused in {took:?}");
        assert!(took < AT_ONCE, "{calls:?}");
        assert_eq!(call(&world, to(Party::Office)).0, Outcome::Connected);
        assert_eq!(call(&world, to(Party::Private)).0, Outcome::Connected);
        let own = SocketAddr::new(Party::Server.address(family), 8080);
        assert_eq!(call(&world, own).0, Outcome::Connected, "it does not leave this host");
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicOutboundPerimeterRulesDenied",
                "DestinationIpAddress": Party::Stranger.address(family),
                "DestinationPort": HTTPS,
                "Count": 10,
                "Packets": 10,
                "Pid": std::process::id(),
            }),
        );
    }
    // An IPv4 address in mapped form is that address.
    let mapped = SocketAddr::new(
        match Party::Stranger.address(Family::V4) {
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            v6 => v6,
        },
        HTTPS,
    );
    assert_eq!(call(&world, mapped).0, Outcome::PermissionDenied);
    assert_eq!(seen::packets(&agent, "no rule", "Outbound", "deny"), 21, "and none of them left");
}

/// What a UDP socket that is connected, as a resolver's is, meets when it sends.
fn send_connected(world: &World, to: SocketAddr) -> Result<usize, ErrorKind> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    world.server().enter(|| {
        let socket = UdpSocket::bind(any).expect("a port");
        socket.connect(to).expect("that says nothing yet");
        socket.send(b"hello").map_err(|error| error.kind())
    })
}

#[test]
fn denied_datagram_of_a_connected_socket_fails_at_once() {
    let world = world();
    let agent = start(&world, &policy("host = true"));
    for family in BOTH {
        let send =
            |party: Party| send_connected(&world, SocketAddr::new(party.address(family), HTTPS));
        assert_eq!(send(Party::Stranger), Err(ErrorKind::PermissionDenied));
        assert_eq!(send(Party::Office), Ok(5));
        assert_eq!(send(Party::Private), Ok(5));
    }
    assert_eq!(seen::packets(&agent, "no rule", "Outbound", "deny"), 2);
}

/// A client that never connects is known by what it sends.
#[test]
fn denied_datagram_of_an_unconnected_socket_fails_at_once_too() {
    let world = world();
    let agent = start(&world, &policy("host = true"));
    for family in BOTH {
        let any = if family == Family::V4 { "0.0.0.0" } else { "::" };
        let socket = world.server().enter(|| UdpSocket::bind((any, 0))).expect("a port");
        let send = |party: Party, port: u16| {
            let to = SocketAddr::new(party.address(family), port);
            world.server().enter(|| socket.send_to(b"hello", to)).map_err(|error| error.kind())
        };
        assert_eq!(send(Party::Stranger, HTTPS), Err(ErrorKind::PermissionDenied));
        assert_eq!(send(Party::Office, 8443), Err(ErrorKind::PermissionDenied));
        assert_eq!(send(Party::Office, HTTPS), Ok(5));
        assert_eq!(send(Party::Private, HTTPS), Ok(5));
        for (party, action) in [(Party::Stranger, "Denied"), (Party::Office, "Approved")] {
            seen::record(
                &agent,
                &json!({
                    "ResultAction": action,
                    "DestinationIpAddress": party.address(family),
                    "DestinationPort": HTTPS,
                    "Packets": 1,
                    "Pid": std::process::id(),
                }),
            );
        }
    }
    assert_eq!(seen::packets(&agent, "no rule", "Outbound", "deny"), 4, "and none of them left");
}

/// A service has its port already, and the one that asks may be nobody the host would call.
#[test]
fn udp_service_answers_by_its_own_socket_connected_or_not() {
    const PORT: u16 = 5514;
    let world = world();
    let inbound = r#"
        [profile.job.inbound.anyone]
        address_prefixes = ["198.51.100.0/24", "2001:db8:5::/48"]
        ports = ["5514/udp"]
    "#;
    let agent = start(&world, &format!("{}{inbound}", policy("host = true")));
    for family in BOTH {
        let any = if family == Family::V4 { "0.0.0.0" } else { "::" };
        for connected in [false, true] {
            let service = world.server().enter(|| UdpSocket::bind((any, PORT))).expect("the port");
            let client = world
                .host(Party::Stranger)
                .enter(|| UdpSocket::bind((Party::Stranger.address(family), 0)).expect("a port"));
            for socket in [&service, &client] {
                socket.set_read_timeout(Some(service::PATIENCE)).expect("a socket");
            }
            let to = world.server_address(Party::Stranger, family, PORT);
            client.send_to(b"ask", to).expect("it leaves");
            let mut buffer = [0; 16];
            let (_, from) = service.recv_from(&mut buffer).expect("the question");
            world.server().enter(|| {
                if connected {
                    service.connect(from).expect("a service may connect to who asked");
                    service.send(b"answer").expect("and answer");
                } else {
                    service.send_to(b"answer", from).expect("an answer leaves");
                }
            });
            assert_eq!(client.recv(&mut buffer).expect("the answer"), 6);
        }
    }
    assert_eq!(seen::packets(&agent, "no rule", "Outbound", "deny"), 0);
}

#[test]
fn resource_may_have_its_denials_silent() {
    let world = world();
    let agent = start(&world, &policy("host = true\non_deny = \"drop\""));
    for family in BOTH {
        let to = SocketAddr::new(Party::Stranger.address(family), HTTPS);
        assert_eq!(call(&world, to).0, Outcome::TimedOut);
    }
    assert!(seen::packets(&agent, "no rule", "Outbound", "deny") >= 2, "TC drops them");
}

#[test]
fn log_names_the_process_of_a_unit_and_others_are_let_alone() {
    let world = world();
    let _stranger = service::tcp(world.host(Party::Stranger), HTTPS);
    let unit = Cgroup::new("job.service");
    let name = unit.name();
    let agent = start(&world, &policy(&format!("unit = \"{}\"", name.trim_start_matches('/'))));
    let to = SocketAddr::new(Party::Stranger.address(Family::V4), HTTPS);
    // `telemetry` is what the kernel calls it: the name of the program's file.
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let program = directory.path().join("telemetry");
    std::os::unix::fs::symlink("/bin/bash", &program).expect("a directory of ours");
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec {} -c 'exec 3<>/dev/tcp/{}/{}'",
        unit.path().display(),
        program.display(),
        to.ip(),
        to.port(),
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).stderr(Stdio::null());
    let start = Instant::now();
    assert!(!world.server().output(&mut command).status.success());
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    let record = seen::record(
        &agent,
        &json!({
            "ResultAction": "Denied",
            "DestinationIpAddress": to.ip(),
            "Unit": name.trim_start_matches('/'),
            "Comm": "telemetry",
        }),
    );
    assert!(record["Pid"].as_u64().is_some_and(|pid| pid > 1), "{record:#}");
    assert_eq!(call(&world, to).0, Outcome::Connected, "who is not of the unit");
}

/// A host-wide resource has no unit of its own; its processes have.
#[test]
fn log_names_the_process_and_the_unit_of_what_is_allowed_too() {
    let world = world();
    let _office = service::tcp(world.host(Party::Office), HTTPS);
    let unit = Cgroup::new("reports.service");
    let agent = start(&world, &policy("host = true"));
    for family in BOTH {
        let to = SocketAddr::new(Party::Office.address(family), HTTPS);
        assert!(unit.reaches(world.server(), Transport::Tcp, to));
        let record = seen::record(
            &agent,
            &json!({
                "ResultAction": "Approved",
                "DestinationIpAddress": to.ip(),
                "Unit": unit.name().trim_start_matches('/'),
                "Comm": "bash",
            }),
        );
        assert!(record["Pid"].as_u64().is_some_and(|pid| pid > 1), "{record:#}");
    }
}

#[test]
fn other_network_namespaces_are_not_this_agents() {
    let world = world();
    let _office = service::tcp(world.host(Party::Office), HTTPS);
    let _agent = start(
        &world,
        &policy("host = true").replace("[\"203.0.113.0/24\", \"2001:db8:100::/40\"]", "[]"),
    );
    // A host beside, whose processes are in the same cgroups.
    let from = SocketAddr::new(Party::Stranger.address(Family::V4), 0);
    let to = SocketAddr::new(Party::Office.address(Family::V4), HTTPS);
    let met = tcp_connect(world.host(Party::Stranger), from, to, service::PATIENCE);
    assert_eq!(met, Outcome::Connected);
}
