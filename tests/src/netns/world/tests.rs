use std::time::Duration;

use super::*;
use crate::{
    packet::{BOTH, eth, udp},
    sockets::{Delivered, EchoServer, Outcome},
};

const PORT: u16 = 5432;

#[test]
fn privileged_every_party_reaches_the_server_at_once() {
    let world = World::new();
    for family in BOTH {
        let any = match family {
            Family::V4 => "0.0.0.0:5432",
            Family::V6 => "[::]:5432",
        };
        let server = EchoServer::tcp(world.server(), any.parse().unwrap());
        let clients = [Party::Office, Party::Stranger, Party::Private, Party::Member];
        for client in clients {
            let outcome = world.connect(client, family, PORT);
            assert_eq!(outcome, Outcome::Connected, "{client:?} over {family:?}");
            let refused = world.connect(client, family, 1);
            assert_eq!(refused, Outcome::Refused, "{client:?} over {family:?}");
        }
        let served = server.served_after(clients.len(), Duration::from_secs(2));
        assert_eq!(served.arrivals, clients.len());
    }
}

#[test]
fn privileged_server_has_its_uplink_and_its_private_link() {
    let world = World::builder().clients(&[Party::Private]).build();
    assert_eq!(world.server().mac("up0"), NEAR_MAC);
    assert_eq!(world.router().mac("br0"), PEER_MAC);
    assert!(world.server().index("priv0") > world.server().index("up0"));
}

#[test]
fn privileged_built_frame_is_accepted_as_it_stands() {
    let world = World::builder().clients(&[]).build();
    let wire = world.wire();
    for family in BOTH {
        let delivered = Delivered::open(world.server(), family, 17);
        // The stranger is not even there: the frame says that it comes from it.
        let frame = eth() / family.ip(Party::Stranger, Party::Server) / udp(4000, PORT);
        wire.send(frame.clone() / "spoofed");
        let payload = |datagram: &[u8]| datagram.ends_with(b"spoofed");
        assert!(delivered.arrives(Duration::from_secs(2), payload), "{frame}");
    }
}

#[test]
fn privileged_tap_sees_what_the_server_sends() {
    let world = World::builder().clients(&[Party::Stranger]).build();
    let tap = world.tap();
    let outcome = world.connect(Party::Stranger, Family::V4, 1);
    assert_eq!(outcome, Outcome::Refused);
    let reset = |frame: &[u8]| frame.get(14 + 33) == Some(&0x14);
    assert!(tap.next(Duration::from_secs(2), reset).is_some(), "the RST with its ACK");
}

#[test]
#[should_panic(expected = "has no host `office`")]
fn privileged_party_left_out_is_not_there() {
    World::builder().clients(&[Party::Stranger]).build().host(Party::Office);
}
