//! Conversations inside a tunnel and outside it are not each other's.

use nsp_common::verdict::{Direction, Reason};
use nsp_tests::{
    packet::{
        BOTH,
        Party::{Office, Server},
        tcp, udp,
    },
    prog::{ENFORCED, Hook, on},
};

use crate::tcp::open_outbound;

#[test]
fn conversation_outside_a_tunnel_lets_nothing_in_by_it_and_the_other_way_round() {
    on(&BOTH, &[Hook::Tc], ENFORCED, |case| {
        for (own, other) in [(Hook::Tc, Hook::Bare), (Hook::Bare, Hook::Tc)] {
            case.hook = own;
            let port = open_outbound(case);
            case.hook = other;
            case.inbound(case.ip(Office, Server) / tcp(443, port).syn_ack())
                .refused(Reason::NoFlow);
            case.inbound(case.ip(Office, Server) / tcp(443, port).ack()).refused(Reason::NoRule);
            // An error about it is one about nothing there.
            let inner = case.ip(Server, Office) / tcp(port, 443).ack();
            let error = case.family.too_big(1400) / inner;
            case.inbound(case.ip(Office, Server) / error).refused(Reason::IcmpUnrelated);
            case.hook = own;
            case.inbound(case.ip(Office, Server) / tcp(443, port).ack())
                .follows("backups", Direction::Outbound);

            let port = case.port();
            case.outbound(case.ip(Server, Office) / udp(port, 123)).allowed("backups");
            case.hook = other;
            case.inbound(case.ip(Office, Server) / udp(123, port)).refused(Reason::NoRule);
        }
    });
}
