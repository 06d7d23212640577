//! The dry entry point on this kernel.

use nsp_common::{
    address::Address,
    explain::{Answer, Question},
    net::transport::{protocol, tcp},
    packet::{Packet, flags},
    verdict::{Direction, Reason, Verdict},
};
use nsp_tests::{
    packet::{BOTH, Family, Party},
    prog::{DEVICE, ENFORCED, Lab},
};

/// Asks for the fate of SYNs to and from the server.
pub(crate) fn ask() {
    let mut lab = Lab::shared();
    lab.put_in_force(ENFORCED);
    for family in BOTH {
        for (direction, peer, port, verdict, reason) in [
            (Direction::Inbound, Party::Office, 5432, Verdict::Pass, Reason::Rule),
            (Direction::Inbound, Party::Stranger, 5432, Verdict::Drop, Reason::NoRule),
            (Direction::Outbound, Party::Office, 443, Verdict::Pass, Reason::Rule),
            (Direction::Outbound, Party::Stranger, 443, Verdict::Drop, Reason::NoRule),
        ] {
            let packet = syn(family, direction, peer, port);
            let answer = lab.datapath.explain(&Question { cgroups: [0; 8], packet });
            let Answer { verdict: said, reason: why, answered, .. } =
                answer.unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)));
            assert_eq!(
                (answered, said, why),
                (1, verdict as u8, reason as u8),
                "{direction:?} {peer:?} {port} {family:?}: not {verdict:?} for {reason:?}"
            );
        }
    }
    lab.clear();
}

/// A SYN to `port`, of the server inbound and of the peer outbound.
fn syn(family: Family, direction: Direction, peer: Party, port: u16) -> Packet {
    let mut packet = Packet { ifindex: DEVICE, direction: direction as u8, ..Packet::EMPTY };
    packet.flags = flags::ADDRESSED | flags::KEYED | flags::PORTS;
    packet.length = 60;
    packet.hop_limit = 64;
    packet.tcp_flags = tcp::SYN;
    packet.key.family = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    packet.key.protocol = protocol::TCP;
    packet.key.remote = Address::from(peer.address(family));
    packet.key.local = Address::from(Party::Server.address(family));
    (packet.key.remote_port, packet.key.local_port) = match direction {
        Direction::Inbound => (40_000, port),
        Direction::Outbound => (port, 40_000),
    };
    packet
}
