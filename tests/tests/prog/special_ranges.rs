//! Addresses that registries set apart: which of them are the internet after all.

use nsp_common::verdict::{Category, Reason};
use nsp_tests::{
    packet::{Party::Server, tcp},
    prog::{ENFORCED, everywhere},
};

/// Benchmarking, the old 6to4 relays, protocol assignments, AS112; and in IPv6 what leads to an IPv4
/// address: NAT64, 6to4, Teredo.
const PUBLIC: [(&str, &str); 5] = [
    ("198.18.0.1", "64:ff9b::c633:6407"),
    ("192.88.99.1", "2002:c633:6407::1"),
    ("192.0.0.9", "2001:0:c633:6407::1"),
    ("192.31.196.1", "2001:20::1"),
    ("192.175.48.1", "3fff::1"),
];

/// Carrier-grade NAT, link-local, RFC 1918; unique local and link-local.
const PRIVATE: [(&str, &str); 4] = [
    ("100.64.0.1", "fc00::1"),
    ("100.127.255.254", "fcff:ffff::1"),
    ("169.254.7.7", "fe80::7"),
    ("172.31.255.254", "febf::1"),
];

#[test]
fn ranges_that_lead_to_the_internet_need_a_rule_and_private_ones_do_not() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        for peer in PUBLIC {
            case.inbound(case.ip(peer, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
            case.outbound(case.ip(Server, peer) / tcp(port, 443).syn()).refused(Reason::NoRule);
        }
        for peer in PRIVATE {
            case.inbound(case.ip(peer, Server) / tcp(port, 5432).syn())
                .passes(Reason::Private, Category::PrivateInboundAllowed);
            case.outbound(case.ip(Server, peer) / tcp(port, 443).syn()).ignored(Reason::Private);
        }
    });
}
