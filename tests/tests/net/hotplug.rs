//! Interfaces that come while the agent runs.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::{Namespace, World},
    packet::{BOTH, Family, Party, tcp},
    sockets::{Outcome, tcp_connect},
};
use serde_json::{Value, json};

use crate::{seen, service, tun::Tun};

pub(crate) const SERVICE: u16 = 5432;

const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [profile.database.inbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [resource.postgres]
    ports = ["5432/tcp"]
    profile = "database"
    access_mode = "enforced"
"#;

/// The server's addresses on the interface that comes late; the stranger is its neighbour there.
const LATE: [&str; 2] = ["198.51.100.1", "2001:db8:5::1"];

fn address_late(server: &Namespace, interface: &str) {
    let [v4, v6] = LATE;
    server.ip(&format!(
        "link set dev {interface} up\n\
         address add {v4}/24 dev {interface}\n\
         address add {v6}/64 dev {interface} nodad\n"
    ));
}

/// What `nsp status` says of an interface.
pub(crate) fn interface(agent: &Agent, name: &str) -> Option<Value> {
    let status = seen::status(agent);
    let interfaces = status["interfaces"].as_array().expect("a list");
    interfaces.iter().find(|it| it["name"] == name).cloned()
}

/// Waits for at most a second until an interface is covered, and says how.
#[track_caller]
pub(crate) fn covered(agent: &Agent, name: &str) -> Value {
    let mut last = None;
    let hook = Deadline::after(Duration::from_secs(1)).poll(|| {
        last = interface(agent, name);
        last.as_ref().map(|it| it["ingress"].clone()).filter(|it| !it.is_null())
    });
    hook.unwrap_or_else(|| panic!("{name} is not covered within a second: {last:?}"))
}

#[test]
fn interface_that_matches_the_pattern_is_covered_when_it_comes() {
    let mut world = World::builder().clients(&[]).build();
    let _postgres = service::tcp(world.server(), SERVICE);
    let mut agent = Agent::builder(world.server()).interfaces(&["up*"]).policy(POLICY).start();
    let sandbox = world.sandbox();
    sandbox.add_host("late");
    sandbox.connect(("server", "up1"), ("late", "eth0"));
    assert_eq!(covered(&agent, "up1"), "xdp native");
    address_late(sandbox.host("server"), "up1");
    let (v4, v6) = (Party::Stranger.v4(), Party::Stranger.v6());
    sandbox
        .host("late")
        .ip(&format!("address add {v4}/24 dev eth0\naddress add {v6}/64 dev eth0 nodad\n"));
    sandbox.settle();
    for (family, to) in BOTH.into_iter().zip(LATE) {
        let from = SocketAddr::new(Party::Stranger.address(family), 0);
        let to = SocketAddr::new(to.parse().expect("an address"), SERVICE);
        let late = sandbox.host("late");
        assert_eq!(tcp_connect(late, from, to, service::PATIENCE), Outcome::TimedOut);
        seen::record(
            &agent,
            &json!({
                "Category": "NspPublicInboundPerimeterRulesDenied",
                "SourceIpAddress": from.ip(),
                "Interface": "up1",
            }),
        );
    }
    sandbox.host("server").ip("link del up1");
    let gone = Deadline::after(Duration::from_secs(1))
        .poll(|| interface(&agent, "up1").is_none().then_some(()));
    assert!(gone.is_some(), "up1 is still listed");
    assert_eq!(seen::status(&agent)["lastError"], Value::Null);
    assert!(agent.is_running());
}

/// How many of the stranger's connections come about within a second over the interface that comes late.
fn connected(world: &mut World) -> u32 {
    let late = world.sandbox().host("late");
    let (v4, v6) = (Party::Stranger.v4(), Party::Stranger.v6());
    late.ip(&format!("address add {v4}/24 dev eth0\naddress add {v6}/64 dev eth0 nodad\n"));
    let end = Instant::now() + Duration::from_secs(1);
    let mut connected = 0;
    while Instant::now() < end {
        for (family, to) in BOTH.into_iter().zip(LATE) {
            let from = SocketAddr::new(Party::Stranger.address(family), 0);
            let to = SocketAddr::new(to.parse().expect("an address"), SERVICE);
            let outcome = tcp_connect(late, from, to, Duration::from_millis(10));
            connected += u32::from(outcome == Outcome::Connected);
        }
    }
    connected
}

/// An agent that began when there was no interface, as at a boot.
pub(crate) fn early(world: &World) -> Agent {
    world.server().ip("link set dev up0 down\naddress flush dev up0\n");
    Agent::builder(world.server()).interfaces(&[]).argument("--early").policy(POLICY).start()
}

pub(crate) fn plug(world: &mut World) {
    let sandbox = world.sandbox();
    sandbox.add_host("late");
    sandbox.connect(("server", "up1"), ("late", "eth0"));
}

#[test]
fn agent_that_is_there_before_the_network_lets_no_first_packet_in() {
    let mut world = World::builder().clients(&[]).build();
    let _postgres = service::tcp(world.server(), SERVICE);
    let agent = early(&world);
    plug(&mut world);
    covered(&agent, "up1");
    let why = |agent| interface(agent, "up1").expect("it is there")["why"].clone();
    assert_eq!(why(&agent), "it has no address yet");
    address_late(world.server(), "up1");
    assert_eq!(connected(&mut world), 0, "{}", agent.access_log());
    let public = format!("it has the public address {}", LATE[0]);
    let is_chosen = Deadline::after(Duration::from_secs(1))
        .poll(|| (why(&agent) == public.as_str()).then_some(()));
    assert!(is_chosen.is_some(), "{}", why(&agent));
}

/// There is a gap then, and it is short: the kernel tells of an interface after it is there.
#[test]
fn interface_that_comes_with_its_address_is_covered_soon() {
    let mut world = World::builder().clients(&[]).build();
    let _postgres = service::tcp(world.server(), SERVICE);
    let agent = early(&world);
    let sandbox = world.sandbox();
    sandbox.add_host("late");
    let (server, peer) = (sandbox.host("server"), sandbox.host("late").name());
    let [v4, v6] = LATE;
    server.ip(&format!(
        "link add up1 type veth peer name eth0 netns {peer}\naddress add {v4}/24 dev up1\n\
         address add {v6}/64 dev up1 nodad\nlink set dev up1 up\n"
    ));
    sandbox.host("late").ip("link set dev eth0 up");
    let slipped_in = connected(&mut world);
    println!("{slipped_in} connections came about before up1 was covered");
    covered(&agent, "up1");
    // A debug build on a busy machine; most times it is none.
    assert!(slipped_in < 20, "{slipped_in} connections:\n{}", agent.stderr());
}

#[test]
fn tun_device_is_judged_without_a_link_header() {
    let world = World::builder().clients(&[]).build();
    let server = world.server();
    let _postgres = service::tcp(server, SERVICE);
    let _other = service::tcp(server, 22);
    let agent = Agent::builder(server).interfaces(&["up0", "tun*"]).policy(POLICY).start();
    let mut tun = Tun::new(server, "tun0");
    address_late(server, "tun0");
    server.ip("route add 203.0.113.0/24 dev tun0\nroute add 2001:db8:100::/40 dev tun0");
    assert_eq!(covered(&agent, "tun0"), "tc");
    // The agent follows routes as well; the verdicts here do not depend on them.
    for family in BOTH {
        for (party, port, answered) in [
            (Party::Office, SERVICE, true),
            (Party::Stranger, SERVICE, false),
            (Party::Stranger, 22, true),
        ] {
            let ip = family.ip(party, (LATE[0], LATE[1]));
            tun.send(ip / tcp(40001, port).syn());
            let is_syn_ack = |packet: &[u8]| {
                let at = family.header_length();
                let version = if family == Family::V4 { 4 } else { 6 };
                packet[0] >> 4 == version
                    && packet.get(at..at + 2) == Some(&port.to_be_bytes())
                    && packet.get(at + 13) == Some(&0x12)
            };
            let within = Duration::from_millis(if answered { 1000 } else { 300 });
            let answer = tun.next(within, is_syn_ack);
            assert_eq!(answer.is_some(), answered, "{party:?} {family:?} {port}");
        }
        for (party, action) in [(Party::Office, "Approved"), (Party::Stranger, "Denied")] {
            seen::record(
                &agent,
                &json!({
                    "SourceIpAddress": party.address(family),
                    "DestinationPort": SERVICE,
                    "ResultAction": action,
                    "Interface": "tun0",
                }),
            );
        }
    }
}

#[test]
fn conversation_over_a_tun_device_that_was_live_before_is_kept() {
    let world = World::builder().clients(&[]).build();
    let server = world.server();
    let _postgres = service::tcp(server, SERVICE);
    let mut tun = Tun::new(server, "tun0");
    address_late(server, "tun0");
    server.ip("route replace 198.51.100.0/24 dev tun0\nroute replace 2001:db8:5::/64 dev tun0");
    let port = 40002;
    let mut next_of_server = Vec::new();
    for family in BOTH {
        let ip = || family.ip(Party::Stranger, (LATE[0], LATE[1]));
        tun.send(ip() / tcp(port, SERVICE).syn().seq(1000));
        let syn_ack = tun.next(Duration::from_secs(1), |packet| is_tcp(packet, family, SYN_ACK));
        let theirs = sequence(&syn_ack.expect("nobody is there to refuse"), family) + 1;
        tun.send(ip() / tcp(port, SERVICE).ack().seq(1001).ack_number(theirs));
        next_of_server.push(theirs);
    }
    let agent = Agent::builder(server).interfaces(&["up0", "tun*"]).policy(POLICY).start();
    for (family, theirs) in BOTH.into_iter().zip(next_of_server) {
        let ip = family.ip(Party::Stranger, (LATE[0], LATE[1]));
        let hello = tcp(port, SERVICE).ack().psh().seq(1001).ack_number(theirs);
        tun.send(ip / hello / "hello");
        let is_echo = |packet: &[u8]| is_tcp(packet, family, PSH_ACK) && packet.ends_with(b"hello");
        let echo = tun.next(Duration::from_secs(1), is_echo);
        assert!(echo.is_some(), "{family:?} is cut");
        // Who comes now is refused.
        let ip = family.ip(Party::Stranger, (LATE[0], LATE[1]));
        tun.send(ip / tcp(port + 1, SERVICE).syn());
        let is_answer = |packet: &[u8]| is_tcp(packet, family, SYN_ACK);
        assert!(tun.next(Duration::from_millis(300), is_answer).is_none());
    }
    let flows: Value = serde_json::from_str(&agent.nsp_ok(&["flows", "--json"])).expect("JSON");
    let kept = flows.as_array().expect("a list").iter().filter(|flow| flow["state"] == "kept");
    assert_eq!(kept.count(), 2, "{flows:#}");
}

const SYN_ACK: u8 = 0x12;
const PSH_ACK: u8 = 0x18;

/// Whether a packet without a link header is a TCP segment of [`SERVICE`] with these flags.
fn is_tcp(packet: &[u8], family: Family, flags: u8) -> bool {
    let at = family.header_length();
    packet[0] >> 4 == if family == Family::V4 { 4 } else { 6 }
        && packet.get(at..at + 2) == Some(&SERVICE.to_be_bytes())
        && packet.get(at + 13) == Some(&flags)
}

fn sequence(packet: &[u8], family: Family) -> u32 {
    let at = family.header_length() + 4;
    u32::from_be_bytes(packet[at..at + 4].try_into().expect("four bytes"))
}
