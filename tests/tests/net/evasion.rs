//! Ways past the programs: those that are closed, and the one that is stated.

use std::{process::Command, time::Duration};

use nsp_tests::{
    agent::Agent,
    netns::World,
    packet::{BOTH, Family, Party, eth, udp},
    sockets::{FrameSender, Outcome},
};

use crate::{outbound::assert_denied, service};

const SERVICE: u16 = 5432;

/// The whole host, enforced, and nobody may do anything.
const CLOSED: &str = r#"
    [perimeter]
    name = "payments"
    [profile.host]
    [resource.host]
    host = true
    profile = "host"
    access_mode = "enforced"
"#;

#[test]
fn tools_that_take_programs_off_devices_do_not_take_these() {
    for (mode, xdp) in [("native", "xdp"), ("generic", "xdpgeneric"), ("off", "xdp")] {
        let world = World::builder().clients(&[Party::Stranger]).build();
        let server = world.server();
        let _service = service::tcp(server, SERVICE);
        let _stranger = service::tcp(world.host(Party::Stranger), SERVICE);
        let _agent =
            Agent::builder(server).policy(CLOSED).argument("--xdp-mode").argument(mode).start();
        let off = server.output(Command::new("ip").args(["link", "set", "dev", "up0", xdp, "off"]));
        if mode != "off" {
            assert!(!off.status.success(), "--xdp-mode {mode}: the program was taken off");
        }
        // There may be no such queue: then there is nothing in it.
        let _queue =
            server.output(Command::new("tc").args(["qdisc", "del", "dev", "up0", "clsact"]));
        for family in BOTH {
            let met = world.connect(Party::Stranger, family, SERVICE);
            assert_eq!(met, Outcome::TimedOut, "--xdp-mode {mode}");
            assert_denied(service::connect_out(&world, Party::Stranger, family, SERVICE));
        }
    }
}

/// A process with CAP_NET_RAW may send past the queue, and so past TC: the manual says so, and this is what
/// it means. Everything else that it sends is judged.
#[test]
fn frames_past_the_queue_are_not_seen_and_all_others_are() {
    let world = World::builder().clients(&[Party::Stranger]).build();
    let server = world.server();
    let _agent = Agent::builder(server).policy(CLOSED).start();
    let tap = world.tap();
    let leaves = |sender: &FrameSender, family: Family, port: u16| {
        let ip = family.ip(Party::Server, Party::Stranger);
        let _sent = sender.passes(eth() / ip / udp(port, port));
        let [high, low] = port.to_be_bytes();
        let is_it = |frame: &[u8]| frame.windows(4).any(|it| it == [high, low, high, low]);
        tap.next(Duration::from_millis(300), is_it).is_some()
    };
    let (judged, past) =
        (FrameSender::open(server, "up0"), FrameSender::open(server, "up0").bypass_queueing());
    for (family, port) in BOTH.into_iter().zip([7201, 7202]) {
        assert!(!leaves(&judged, family, port), "{family:?}: it was to be dropped");
        assert!(leaves(&past, family, port), "{family:?}: the gap is closed, say so in the manual");
    }
}
