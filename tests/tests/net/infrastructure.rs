//! What a network needs to work, under an enforced host.

use std::{
    io::{Read as _, Write as _},
    net::UdpSocket,
    process::Command,
    time::Duration,
};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Family, Party, eth, udp},
    sockets::{Delivered, Outcome, ping},
};
use serde_json::json;

use crate::{office::POLICY, outbound::assert_denied, seen, service};

const SERVICE: u16 = 5432;

fn world() -> World {
    World::builder().clients(&[Party::Office, Party::Stranger]).build()
}

#[test]
fn echo_goes_where_the_rules_let_it_and_its_answer_comes_back() {
    let world = world();
    let agent = Agent::builder(world.server()).policy(POLICY).start();
    for family in BOTH {
        let server = Party::Server.address(family);
        let mut id = 0;
        let mut echo = |from: Party, to: Party| {
            id += 1;
            let (source, target) = (from.address(family), to.address(family));
            ping(world.host(from), source, target, id, service::PATIENCE)
        };
        assert_eq!(echo(Party::Office, Party::Server), Outcome::Answered);
        assert_eq!(echo(Party::Stranger, Party::Server), Outcome::TimedOut);
        assert_eq!(echo(Party::Server, Party::Office), Outcome::Answered);
        assert_denied(echo(Party::Server, Party::Stranger));
        let protocol = if family == Family::V4 { "ICMP" } else { "ICMPv6" };
        let (office, stranger) = (Party::Office.address(family), Party::Stranger.address(family));
        for (source, destination, action) in [
            (office, server, "Approved"),
            (stranger, server, "Denied"),
            (server, office, "Approved"),
            (server, stranger, "Denied"),
        ] {
            seen::record(
                &agent,
                &json!({
                    "SourceIpAddress": source,
                    "DestinationIpAddress": destination,
                    "SourceProtocol": protocol,
                    "SourcePort": null,
                    "DestinationPort": null,
                    "ResultAction": action,
                }),
            );
        }
    }
}

#[test]
fn transfer_goes_on_over_a_narrow_link() {
    const CHUNK: [u8; 4000] = [b'x'; 4000];
    let world = world();
    let _service = service::tcp(world.server(), SERVICE);
    world.router().ip("route replace 203.0.113.0/24 dev to-office mtu 1300\n\
         route del 2001:db8:100::/64 dev to-office\n\
         route add 2001:db8:100::/64 dev to-office mtu 1300\n");
    let agent = Agent::builder(world.server()).policy(POLICY).start();
    for family in BOTH {
        let mut stream = service::open(&world, Party::Office, family, SERVICE);
        let mut back = CHUNK;
        for round in 0..10 {
            stream.write_all(&CHUNK).expect("the way in is wide");
            let read = stream.read_exact(&mut back);
            assert!(read.is_ok(), "{family:?}: nothing came back in round {round}: {read:?}");
        }
        let office = Party::Office.address(family).to_string();
        let learned = world.server().output(Command::new("ip").args(["route", "get", &office]));
        let learned = String::from_utf8_lossy(&learned.stdout).into_owned();
        assert!(learned.contains("mtu 1300"), "the server did not learn of it: {learned}");
    }
    let about = "ICMP error about an open conversation";
    assert!(seen::packets(&agent, about, "Inbound", "allow") >= 2);
    seen::no_record(&agent, &json!({"ResultAction": "Denied"}));
}

#[test]
fn neighbours_are_found_again() {
    let world = world();
    let _service = service::tcp(world.server(), SERVICE);
    let agent = Agent::builder(world.server()).policy(POLICY).start();
    for family in BOTH {
        world.server().ip("neighbour flush dev up0");
        world.router().ip("neighbour flush dev br0");
        assert_eq!(world.connect(Party::Office, family, SERVICE), Outcome::Connected);
    }
    assert!(seen::packets(&agent, "neighbour discovery", "Inbound", "allow") > 0);
    assert!(seen::packets(&agent, "neighbour discovery", "Outbound", "allow") > 0);
    assert!(seen::packets(&agent, "not IP", "Inbound", "allow") > 0, "ARP");
    seen::no_record(&agent, &json!({"ResultAction": "Denied"}));
}

#[test]
fn address_is_leased_and_renewed_from_a_public_server() {
    let world = world();
    let agent = Agent::builder(world.server()).policy(POLICY).start();
    let (wire, tap) = (world.wire(), world.tap());
    for (family, client, server) in [(Family::V4, 68, 67), (Family::V6, 546, 547)] {
        let delivered = Delivered::open(world.server(), family, 17);
        let arrives = |marker: &[u8]| {
            let within = Duration::from_millis(300);
            delivered.arrives(within, |datagram| datagram.ends_with(marker))
        };
        let ip = || family.ip(Party::Stranger, Party::Server);
        wire.send(eth() / ip() / udp(server, client) / "offer");
        assert!(arrives(b"offer"), "{family:?}: an offer gets in");
        wire.send(eth() / ip() / udp(server, client + 1) / "other");
        assert!(!arrives(b"other"), "{family:?}: and nothing else from that port");

        let local = std::net::SocketAddr::new(Party::Server.address(family), client);
        let socket = world.server().enter(|| UdpSocket::bind(local)).expect("nobody has it");
        let to = |port| std::net::SocketAddr::new(Party::Stranger.address(family), port);
        let leaves = |marker: &[u8]| {
            tap.next(Duration::from_millis(300), |frame| frame.ends_with(marker)).is_some()
        };
        socket.send_to(b"renew", to(server)).expect("a renewal is sent");
        assert!(leaves(b"renew"), "{family:?}: a renewal gets out");
        // What a denied sender is told is another test's matter.
        let _ = socket.send_to(b"leak!", to(server + 100));
        assert!(!leaves(b"leak!"), "{family:?}: and nothing else from that port");
    }
    assert_eq!(seen::packets(&agent, "DHCP", "Inbound", "allow"), 2);
    assert_eq!(seen::packets(&agent, "DHCP", "Outbound", "allow"), 2);
}
