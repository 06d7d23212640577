//! The usual virtual machine of a cloud: an uplink with a private address and a default route, which come one after
//! the other, and go and come again.

use std::{
    thread,
    time::{Duration, Instant},
};

use nsp_tests::{
    deadline::Deadline,
    netns::{Namespace, World},
    packet::{Mac, Party},
};
use serde_json::Value;

use crate::{
    hotplug::{SERVICE, covered, early, interface, plug},
    knocker::Knocker,
    service,
};

/// The server's addresses, and its gateway's.
pub(crate) const OWN: [&str; 2] = ["10.0.0.5", "fd00:5::5"];
pub(crate) const GATEWAY: [&str; 2] = ["10.0.0.1", "fd00:5::1"];

/// How long a device is judged on that is private, and how late that may end on a busy machine.
const LET_GO: Duration = Duration::from_secs(10);
const LATE: Duration = Duration::from_secs(3);

/// Everybody is behind the gateway.
fn lead_out(gateway: &Namespace) {
    for party in [Party::Office, Party::Stranger] {
        let (v4, v6) = (party.v4(), party.v6());
        gateway.ip(&format!("address add {v4}/32 dev lo\naddress add {v6}/128 dev lo nodad\n"));
    }
    let [v4, v6] = GATEWAY;
    gateway.ip(&format!("address add {v4}/24 dev eth0\naddress add {v6}/64 dev eth0 nodad\n"));
}

/// It was there before: whoever sends to it asks nobody for its hardware address, and loses no time by it.
pub(crate) fn know(neighbour: &Namespace, device: &str, addresses: [&str; 2], mac: Mac) {
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    for address in addresses {
        neighbour.ip(&format!("neigh replace {address} lladdr {mac} dev {device} nud permanent"));
    }
}

fn address(server: &Namespace, device: &str, verb: &str) {
    let [v4, v6] = OWN;
    server.ip(&format!(
        "address {verb} {v4}/24 dev {device}\naddress {verb} {v6}/64 dev {device} nodad\n"
    ));
}

fn default_route(server: &Namespace, device: &str, verb: &str) {
    let [v4, v6] = GATEWAY;
    server.ip(&format!(
        "route {verb} default via {v4} dev {device}\nroute {verb} ::/0 via {v6} dev {device}\n"
    ));
}

/// What has the addresses: the cable itself, a bridge that it is a port of, or what is stacked on it.
fn stack(server: &Namespace, kind: &str) -> &'static str {
    match kind {
        "cable" => "up1",
        "bridge" => {
            server.ip("link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
                 link set dev up1 master br1\nlink set dev br1 up");
            "br1"
        }
        _ => {
            server.ip("link add mv1 link up1 type macvlan mode bridge\nlink set dev mv1 up");
            "mv1"
        }
    }
}

fn nobody_gets_in_by(kind: &str) {
    let mut world = World::builder().clients(&[]).build();
    let agent = early(&world);
    let _postgres = service::tcp(world.server(), SERVICE);
    plug(&mut world);
    let world = &mut world;
    lead_out(world.sandbox().host("late"));
    let (server, late) = (world.server().clone(), world.sandbox().host("late"));
    covered(&agent, "up1");
    let device = stack(&server, kind);
    know(late, "eth0", OWN, server.mac(device));
    let knocker = Knocker::new(late, late);
    let addresses = OWN.map(|it| it.parse().expect("an address"));
    knocker.while_knocking(addresses, SERVICE, || {
        // As whoever configures them does it: first the address and then the way, and all of it again.
        for pause_ms in [10, 30, 100, 300] {
            let pause = Duration::from_millis(pause_ms);
            address(&server, device, "add");
            thread::sleep(pause);
            default_route(&server, device, "replace");
            thread::sleep(pause.max(Duration::from_millis(100)));
            default_route(&server, device, "del");
            thread::sleep(pause);
            default_route(&server, device, "replace");
            thread::sleep(Duration::from_millis(100));
            default_route(&server, device, "del");
            address(&server, device, "del");
            thread::sleep(pause);
        }
        address(&server, device, "add");
        default_route(&server, device, "replace");
        // Where it was judged elsewhere at first, it is judged itself now.
        thread::sleep(LET_GO + LATE);
        covered(&agent, device);
    });
    knocker.nobody_got_in(200);

    // Without a way out it is a private one, and let go; once.
    let shown = || interface(&agent, device).expect("it is there");
    default_route(&server, device, "del");
    let begun = Instant::now();
    let is_free = |shown: &Value| shown["ingress"].is_null();
    let let_go =
        Deadline::after(LET_GO + LATE).poll(|| is_free(&shown()).then_some(begun.elapsed()));
    let let_go = let_go.unwrap_or_else(|| panic!("{:#}", shown()));
    assert!(let_go > LET_GO - Duration::from_secs(1), "{let_go:?}");
    assert_eq!(shown()["why"], "it has no default route and no public address or route");
    assert_eq!(agent.stderr().matches(&format!("covered interface=\"{device}\"")).count(), 1);
}

#[test]
fn nobody_gets_in_while_the_default_route_comes_after_the_address_and_goes_and_comes() {
    nobody_gets_in_by("cable");
}

#[test]
fn nobody_gets_in_by_a_bridge_that_gets_its_address() {
    nobody_gets_in_by("bridge");
}

#[test]
fn nobody_gets_in_by_a_macvlan_that_gets_its_address() {
    nobody_gets_in_by("macvlan");
}
