//! Names that nobody asked for before, below a wildcard: the first packet of each passes.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::Agent,
    netns::{Process, World},
    packet::{BOTH, Family, Packet, Party, dns},
    sockets::{Outcome, tcp_connect, tcp_counters, tcp_open},
};
use rustix::process::Signal;

use crate::{outbound::assert_denied, seen, service};

const HTTPS: u16 = 443;
/// Threads that ask and connect at the same time.
const PARALLEL: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// Only what is below shop.example.com, by 443/tcp. No address here is private.
const POLICY: &str = r#"
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

/// The address of the name with this number.
fn address(family: Family, number: usize) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(0x0a40_0000 + number as u32).into(),
        Family::V6 => {
            let low = number as u16;
            Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0, 0, 0, (number >> 16) as u16, low).into()
        }
    }
}

fn name(number: usize) -> String {
    format!("n{number}.shop.example.com")
}

/// A DNS server at the office that knows so many names; the office answers at all their addresses.
fn office(world: &World, names: usize) -> (Process, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let mut hosts = String::new();
    for number in 0..names {
        for family in BOTH {
            let _written = writeln!(hosts, "{} {}", address(family, number), name(number));
        }
    }
    let file = directory.path().join("names");
    fs::write(&file, hosts).expect("a file of ours");
    let (v4, v6) = (Party::Office.v4(), Party::Office.v6());
    let office = world.host(Party::Office);
    office.ip("route add local 10.64.0.0/16 dev lo\nroute add local 2001:db8:aaaa::/48 dev lo");
    world
        .router()
        .ip(&format!("route add 10.64.0.0/16 via {v4}\nroute add 2001:db8:aaaa::/48 via {v6}"));
    let mut command = Command::new("dnsmasq");
    command
        .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
        .args(["--user=root", "--bind-interfaces", "--pid-file=", "--dns-forward-max=1000"])
        .args(["--listen-address", &v4.to_string()])
        .arg(format!("--addn-hosts={}", file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let server = office.spawn(&mut command);
    fs::write(directory.path().join("resolv.conf"), format!("nameserver {v4}\n"))
        .expect("a file of ours");
    fs::write(directory.path().join("hosts"), "").expect("a file of ours");
    (server, directory)
}

/// Asks the office for one address of a name.
fn resolve(world: &World, family: Family, number: usize) -> IpAddr {
    let kind = if family == Family::V4 { dns::A } else { dns::AAAA };
    let question = Packet::from(dns::query(number as u16, &name(number), kind)).bytes();
    world.server().enter(|| {
        let socket = UdpSocket::bind((Party::Server.v4(), 0)).expect("a free port");
        socket.connect((Party::Office.v4(), 53)).expect("a route");
        let mut answer = [0; 512];
        // dnsmasq takes a moment to start, and drops what a busy machine does not read in time.
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        for _ in 0..10 {
            socket.send(&question).expect("a route");
            if let Ok(length) = socket.recv(&mut answer)
                && answer[7] == 1
            {
                return match family {
                    Family::V4 => {
                        let octets: [u8; 4] = answer[length - 4..length].try_into().expect("4");
                        octets.into()
                    }
                    Family::V6 => {
                        let octets: [u8; 16] = answer[length - 16..length].try_into().expect("16");
                        octets.into()
                    }
                };
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("no answer for {}", name(number))
    })
}

/// Resolves and connects at once, names `first..last`; answers how many SYNs were sent again.
fn storm(world: &World, names: std::ops::Range<usize>) -> u32 {
    let next = AtomicUsize::new(names.start);
    let work = || {
        let mut again = 0;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= names.end {
                return again;
            }
            for family in BOTH {
                let to = resolve(world, family, number);
                assert_eq!(to, address(family, number), "{}", name(number));
                let from = SocketAddr::new(Party::Server.address(family), 0);
                let to = SocketAddr::new(to, HTTPS);
                let stream = tcp_open(world.server(), from, to, PATIENCE)
                    .unwrap_or_else(|outcome| panic!("{} at {to}: {outcome:?}", name(number)));
                again += tcp_counters(&stream).retransmitted_total;
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..PARALLEL).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("it works")).sum()
    })
}

#[test]
fn fresh_names_below_a_wildcard_lose_no_first_packet_with_the_agent_alive_or_stopped() {
    let names = if std::env::var_os("NSP_TEST_FULL").is_some() { 10_000 } else { 400 };
    let world = World::builder().clients(&[Party::Office]).build();
    let (_dns, directory) = office(&world, names + 1);
    let _https = service::tcp(world.host(Party::Office), HTTPS);
    let mut agent = Agent::builder(world.server())
        .policy(POLICY)
        .argument("--resolv-conf")
        .argument(directory.path().join("resolv.conf"))
        .argument("--hosts")
        .argument(directory.path().join("hosts"))
        .start();
    for family in BOTH {
        let to = SocketAddr::new(address(family, 0), HTTPS);
        let from = SocketAddr::new(Party::Server.address(family), 0);
        assert_denied(tcp_connect(world.server(), from, to, service::PATIENCE));
    }
    assert_eq!(storm(&world, 0..names / 2), 0, "SYNs were sent again");
    agent.process().signal(Signal::STOP);
    assert_eq!(storm(&world, names / 2..names), 0, "SYNs were sent again, the agent stopped");
    agent.process().signal(Signal::CONT);
    // What nobody asked for is still closed, and what was learned only open where the rule says.
    let from = SocketAddr::new(Party::Server.address(Family::V4), 0);
    let unasked = SocketAddr::new(address(Family::V4, names), HTTPS);
    assert_denied(tcp_connect(world.server(), from, unasked, service::PATIENCE));
    let other_port = SocketAddr::new(address(Family::V4, 0), 8443);
    assert_denied(tcp_connect(world.server(), from, other_port, service::PATIENCE));
    let learned = SocketAddr::new(address(Family::V4, 0), HTTPS);
    assert_eq!(tcp_connect(world.server(), from, learned, service::PATIENCE), Outcome::Connected);
    seen::record(&agent, &serde_json::json!({"DestinationFqdn": "*.shop.example.com"}));
}
