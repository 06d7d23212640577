//! What devices and their offloads do to packets, and what becomes of a device under way.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Family, Packet, Party, eth, service_vlan, tcp, udp, vlan},
    sockets::{FrameSender, Outcome, still_echoes, tcp_connect},
};
use serde_json::json;

use crate::{office::POLICY, outbound::assert_denied, seen, service};

const SERVICE: u16 = 5432;
const SYSLOG: u16 = 514;
const BULK: u16 = 5555;

/// How what comes in is caught.
const MODES: [&str; 3] = ["native", "generic", "off"];

fn world() -> World {
    World::builder().clients(&[Party::Office, Party::Stranger]).build()
}

fn agent(world: &World, mode: &str) -> Agent {
    Agent::builder(world.server()).policy(POLICY).argument("--xdp-mode").argument(mode).start()
}

/// In the frame where XDP looks; beside it, in the buffer, where TC does: the kernel takes the outer tag off
/// before. (XDP in the stack comes before that as well.)
#[test]
fn tagged_packets_are_judged_as_what_they_carry_wherever_the_tag_is() {
    for mode in MODES {
        let world = world();
        let agent = agent(&world, mode);
        let wire = world.wire();
        let stacks: [fn() -> Packet; 2] =
            [|| eth() / vlan(7), || eth() / service_vlan(7) / vlan(8)];
        for family in BOTH {
            for (tags, stack) in (0..).zip(stacks) {
                for (party, action) in [(Party::Office, "Approved"), (Party::Stranger, "Denied")] {
                    let port = 7000 + tags;
                    let syn = tcp(4000, port).syn();
                    wire.send(stack() / family.ip(party, Party::Server) / syn);
                    let record = json!({
                        "SourceIpAddress": party.address(family),
                        "DestinationPort": port,
                        "ResultAction": action,
                    });
                    seen::record(&agent, &record);
                }
            }
        }
    }
}

#[test]
fn tagged_packets_that_go_out_are_judged_as_what_they_carry() {
    let world = world();
    let _agent = agent(&world, "off");
    let out = FrameSender::open(world.server(), "up0");
    let tap = world.tap();
    for family in BOTH {
        for (party, leaves) in [(Party::Office, true), (Party::Stranger, false)] {
            let port = if leaves { 7100 } else { 7101 };
            let frame = eth() / vlan(7) / family.ip(Party::Server, party) / udp(4000, port);
            assert_eq!(out.passes(frame), leaves, "{party:?} {family:?}");
            let within = Duration::from_millis(if leaves { 2000 } else { 200 });
            let is_it = |frame: &[u8]| frame.windows(4).any(|it| it == ports(4000, port));
            assert_eq!(tap.next(within, is_it).is_some(), leaves, "{party:?} {family:?}");
        }
    }
}

fn ports(from: u16, to: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
    [a, b, c, d]
}

/// What the stack gathers on the way in and leaves to the device on the way out is one packet to the
/// programs, larger than any frame: of IPv6 larger than its length field can say.
#[test]
fn gathered_segments_are_judged_as_one_and_never_for_their_length() {
    const BYTES: usize = 24 << 20;
    const FRAME: u64 = 1514;
    for mode in ["generic", "off"] {
        let world = world();
        world.server().ip("link set dev up0 gso_max_size 180000 gro_max_size 180000");
        let agent = agent(&world, mode);
        let mut big = 0;
        for family in BOTH {
            let tap = world.tap();
            let watch = thread::spawn(move || {
                tap.count(Duration::from_secs(2), |frame| frame.len() > usize::from(u16::MAX))
            });
            transfer(&world, family, BYTES);
            let of_this_family = watch.join().expect("the tap is read");
            if family == Family::V6 {
                big = of_this_family;
            }
        }
        seen::settle(&agent);
        for direction in ["Inbound", "Outbound"] {
            for reason in ["bad IPv4 header", "bad IPv6 header", "truncated transport header"] {
                assert_eq!(seen::packets(&agent, reason, direction, "deny"), 0, "{mode} {reason}");
            }
        }
        let records = seen::records(&agent, &json!({"ResultAction": "Approved"}));
        let packets = seen::logged(&records);
        let bytes: u64 = records.iter().map(|it| seen::number(&it["Bytes"])).sum();
        assert!(bytes > 4 * BYTES as u64, "{mode}: {bytes} bytes both ways, in both families");
        assert!(bytes / packets > 2 * FRAME, "{mode}: {bytes} bytes in {packets} packets");
        assert!(big > 0, "{mode}: no packet was longer than its length field can say");
    }
}

/// A connection of the office by which the server sends as much, and gets as much back.
fn transfer(world: &World, family: Family, bytes: usize) {
    let at = SocketAddr::new(Party::Server.address(family), BULK);
    let listener = world.server().enter(|| TcpListener::bind(at)).expect("a free port");
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.write_all(&vec![7; bytes]).expect("the office reads");
            let read = io::copy(&mut stream, &mut io::sink()).expect("the office writes");
            assert_eq!(read, bytes as u64);
        });
        let mut stream = service::open(world, Party::Office, family, BULK);
        stream.read_exact(&mut vec![0; bytes]).expect("the server writes");
        stream.write_all(&vec![7; bytes]).expect("the server reads");
        stream.shutdown(Shutdown::Write).expect("it is open");
    });
}

/// A frame of nine thousand bytes is more than XDP's one page: the program is one for frames in pieces.
#[test]
fn jumbo_frames_are_judged_by_xdp_too() {
    let payload = "z".repeat(8000);
    for mode in MODES {
        let world = world();
        world.server().ip("link set up0 mtu 9000");
        world.router().ip("link set to-server mtu 9000");
        let agent = agent(&world, mode);
        let wire = world.wire();
        for family in BOTH {
            for (party, action) in [(Party::Office, "Approved"), (Party::Stranger, "Denied")] {
                let ip = family.ip(party, Party::Server);
                wire.send(eth() / ip / udp(4000, SYSLOG) / payload.as_str());
                let record = json!({
                    "SourceIpAddress": party.address(family),
                    "DestinationPort": SYSLOG,
                    "ResultAction": action,
                });
                let record = seen::record(&agent, &record);
                assert!(seen::number(&record["Bytes"]) > 8000, "{mode}: {record}");
            }
        }
    }
}

#[test]
fn link_that_flaps_and_changes_its_mtu_is_enforced_all_the_same() {
    for mode in MODES {
        let world = world();
        let server = world.server();
        let _service = service::tcp(server, SERVICE);
        let _office = service::tcp(world.host(Party::Office), SERVICE);
        let mut agent = agent(&world, mode);
        for change in ["link set dev up0 mtu 1400", "link set dev up0 down\nlink set dev up0 up"] {
            server.ip(change);
            // The kernel has forgotten these with the link.
            let (v4, v6) = (Party::Server.v4(), Party::Server.v6());
            server.ip(&format!(
                "address replace {v4}/24 dev up0\naddress replace {v6}/64 dev up0 nodad\n\
                 route replace default via 192.0.2.254\nroute replace ::/0 via 2001:db8:1::fe\n",
            ));
            world.settle();
            for family in BOTH {
                let met = |party| world.connect(party, family, SERVICE);
                assert_eq!(met(Party::Stranger), Outcome::TimedOut, "{mode}, {change}");
                assert_eq!(met(Party::Office), Outcome::Connected, "{mode}, {change}");
                let out = |party| service::connect_out(&world, party, family, SERVICE);
                assert_eq!(out(Party::Office), Outcome::Connected, "{mode}, {change}");
                assert_denied(out(Party::Stranger));
            }
        }
        assert!(agent.is_running());
    }
}

/// Its index is what the hooks are at, and its name is how it was chosen: by `--interface`, and by a resource of the
/// policy.
#[test]
fn link_that_is_renamed_stays_enforced_and_is_told_of_by_its_new_name() {
    let resource =
        "[resource.uplink]\ninterface = \"up0\"\nprofile = \"host\"\naccess_mode = \"enforced\"\n";
    let by_resource = POLICY.replace("enforced", "transition") + resource;
    for (mode, policy) in MODES.into_iter().zip([&by_resource, POLICY, POLICY]) {
        let world = world();
        let server = world.server();
        let _service = service::tcp(server, SERVICE);
        let mut agent =
            Agent::builder(server).policy(policy).arguments(&["--xdp-mode", mode]).start();
        server.ip("link set dev up0 down\nlink set dev up0 name lan0\nlink set dev lan0 up");
        // The kernel has forgotten these with the link.
        let (v4, v6) = (Party::Server.v4(), Party::Server.v6());
        server.ip(&format!(
            "address replace {v4}/24 dev lan0\naddress replace {v6}/64 dev lan0 nodad\n\
             route replace default via 192.0.2.254\nroute replace ::/0 via 2001:db8:1::fe\n",
        ));
        world.settle();
        let named = Deadline::after(Duration::from_secs(5)).poll(|| {
            let status = seen::status(&agent);
            let interfaces = status["interfaces"].as_array().expect("a list of interfaces");
            let lan = interfaces.iter().find(|it| it["name"] == "lan0")?;
            (lan["judged"] == true && !lan["ingress"].is_null()).then_some(status)
        });
        let status = named.unwrap_or_else(|| panic!("{mode}: {:#}", seen::status(&agent)));
        let resources = status["resources"].as_array().expect("a list of resources");
        assert!(resources.iter().all(|it| it["matched"] == true), "{mode}: {resources:?}");
        for again in [false, true] {
            if again {
                agent.nsp_ok(&["apply"]);
            }
            for family in BOTH {
                let met = |party| world.connect(party, family, SERVICE);
                assert_eq!(met(Party::Stranger), Outcome::TimedOut, "{mode}: {}", agent.stderr());
                assert_eq!(met(Party::Office), Outcome::Connected, "{mode}");
            }
        }
        // By its new name it is that device too.
        agent.write_policy(&policy.replace("up0", "lan0"));
        agent.nsp_ok(&["apply"]);
        assert_eq!(
            world.connect(Party::Stranger, Family::V4, SERVICE),
            Outcome::TimedOut,
            "{mode}"
        );
        assert_eq!(world.connect(Party::Office, Family::V4, SERVICE), Outcome::Connected, "{mode}");
        assert!(agent.is_running());
    }
}

/// An address of the loopback device that is reached from outside is one of the host's, and what the host
/// says to itself by its public address stays unjudged.
#[test]
fn address_on_loopback_is_judged_from_outside_and_not_from_inside() {
    const OWN: (&str, &str) = ("192.0.2.200", "2001:db8:1::200");
    let world = world();
    let server = world.server();
    server
        .ip(&format!("address add {}/32 dev lo\naddress add {}/128 dev lo nodad\n", OWN.0, OWN.1));
    let (v4, v6) = (Party::Server.v4(), Party::Server.v6());
    world
        .router()
        .ip(&format!("route add {}/32 via {v4}\nroute add {}/128 via {v6}\n", OWN.0, OWN.1));
    let _service = service::tcp(server, SERVICE);
    let agent = agent(&world, "native");
    for family in BOTH {
        let text = if family == Family::V4 { OWN.0 } else { OWN.1 };
        let to = SocketAddr::new(text.parse().expect("an address"), SERVICE);
        let connect = |party: Party| {
            let from = SocketAddr::new(party.address(family), 0);
            tcp_connect(world.host(party), from, to, service::PATIENCE)
        };
        assert_eq!(connect(Party::Office), Outcome::Connected);
        assert_eq!(connect(Party::Stranger), Outcome::TimedOut);
        let denied = json!({
            "SourceIpAddress": Party::Stranger.address(family),
            "DestinationIpAddress": to.ip(),
            "ResultAction": "Denied",
        });
        seen::record(&agent, &denied);
        for own in [to.ip(), Party::Server.address(family)] {
            let to = SocketAddr::new(own, SERVICE);
            let from = SocketAddr::new(own, 0);
            assert_eq!(tcp_connect(server, from, to, service::PATIENCE), Outcome::Connected);
            seen::no_record(&agent, &json!({"SourceIpAddress": own, "DestinationIpAddress": own}));
        }
    }
    let stream = service::open(&world, Party::Office, Family::V4, SERVICE);
    assert!(still_echoes(&stream));
}
