//! BIG TCP: what this host's stack makes is longer than its length field can say. (A test run of the kernel
//! programs takes no packet of that size.)

use nsp_common::{packet::flags, verdict::Reason};
use nsp_tests::{
    packet::{
        Packet,
        Party::{Office, Server},
        eth, hop_by_hop, ipv4, ipv6, tcp,
    },
    prog::Entry,
};

const BIG: usize = 100_000;
/// Short enough for the length field, which is zero all the same.
const SHORT: usize = 60_000;

fn frames(payload: usize) -> [(Vec<u8>, Reason); 3] {
    let segment = || tcp(5432, 40_000).ack();
    let v4: Packet = eth() / ipv4(Server, Office).total_length(0) / segment();
    let v6: Packet = eth() / ipv6(Server, Office).payload_length(0) / segment();
    let jumbo = hop_by_hop().jumbo(payload as u32 + 28);
    let v6_jumbo: Packet = eth() / ipv6(Server, Office).payload_length(0) / jumbo / segment();
    let (v4, v6) = ((v4, Reason::BadIpv4), (v6, Reason::TruncatedTransport));
    [v4, v6, (v6_jumbo, Reason::TooManyHeaders)]
        .map(|(packet, flaw)| ([packet.bytes(), vec![0; payload]].concat(), flaw))
}

#[test]
fn what_this_hosts_stack_makes_is_read_whatever_its_length_field_says() {
    for (frame, _) in frames(BIG) {
        for entry in [Entry::Egress, Entry::Ingress] {
            let packet = entry.parsed(&frame);
            assert_eq!(packet.flaw, 0, "{entry:?}");
            assert!(packet.has(flags::PORTS) && packet.is_tcp());
            assert_eq!((packet.source_port(), packet.destination_port()), (5432, 40_000));
            assert_eq!((packet.length as usize, packet.end as usize), (frame.len(), frame.len()));
        }
    }
}

#[test]
fn length_of_zero_is_a_lie_on_the_wire_and_where_the_field_would_do() {
    for (frame, flaw) in frames(BIG) {
        assert_eq!(Entry::Xdp.parsed(&frame).flaw, flaw as u8);
    }
    for (frame, flaw) in frames(SHORT) {
        assert_eq!(Entry::Egress.parsed(&frame).flaw, flaw as u8);
    }
}
