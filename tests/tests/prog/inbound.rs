//! Inbound access rules: by prefix and by port, and what no rule names.

use nsp_common::verdict::Reason;
use nsp_tests::{
    packet::{
        Party::{Office, Server, Stranger},
        sctp, tcp, udp,
    },
    prog::{ENFORCED, OFFICE, everywhere},
};

/// Just outside the office's prefixes.
const NEXT_DOOR: (&str, &str) = ("203.0.114.5", "2001:db8:200::5");
/// The last addresses inside them.
const LAST_INSIDE: (&str, &str) = ("203.0.113.255", "2001:db8:1ff:ffff:ffff:ffff:ffff:ffff");

#[test]
fn allows_what_a_rule_admits() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        case.inbound(case.ip(LAST_INSIDE, Server) / tcp(port, 5432).syn()).allowed("office");
        case.inbound(case.ip(Office, Server) / udp(port, 5432) / "x").allowed("office");
    });
}

#[test]
fn drops_what_no_rule_names() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / udp(port, 5432)).refused(Reason::NoRule);
        case.inbound(case.ip(NEXT_DOOR, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn drops_ports_beside_those_of_the_rule() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        for near in [5431, 5433, 0, u16::MAX] {
            case.inbound(case.ip(Office, Server) / tcp(port, near).syn()).refused(Reason::NoRule);
            case.inbound(case.ip(Office, Server) / udp(port, near)).refused(Reason::NoRule);
        }
        // The protocol is part of a port, and a source port is nobody's right (the nmap -g trick).
        let ip = case.ip(Office, Server);
        case.inbound(ip / sctp(port, 5432).init()).refused(Reason::NoRule);
        for trusted in [53, 443, 20, 5432] {
            let ip = case.ip(Stranger, Server);
            case.inbound(ip / tcp(trusted, port).syn()).refused(Reason::NoRule);
            case.inbound(case.ip(Office, Server) / udp(trusted, port)).refused(Reason::NoRule);
        }
    });
}

#[test]
fn rule_without_ports_admits_every_port_and_protocol() {
    let policy = ENFORCED.replace("ports = [\"5432/tcp\", \"5432/udp\", \"icmp\"]\n", "");
    everywhere(&policy, |case| {
        let port = case.port();
        case.inbound(case.ip(Office, Server) / tcp(port, 1).syn()).allowed("office");
        case.inbound(case.ip(Office, Server) / sctp(port, 9).init()).allowed("office");
        case.inbound(case.ip(Stranger, Server) / tcp(port, 1).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn empty_lists_admit_nobody() {
    let ports = "ports = [\"5432/tcp\", \"5432/udp\", \"icmp\"]";
    let no_ports = ENFORCED.replace(ports, "ports = []");
    let no_prefixes = ENFORCED.replacen(OFFICE, "[]", 1);
    for policy in [no_ports, no_prefixes] {
        assert_ne!(policy, ENFORCED);
        everywhere(&policy, |case| {
            let port = case.port();
            let ip = case.ip(Office, Server);
            case.inbound(ip / tcp(port, 5432).syn()).refused(Reason::NoRule);
        });
    }
}

#[test]
fn first_matching_rule_in_name_order_is_the_one_recorded() {
    let policy = format!(
        "{ENFORCED}\n[profile.p.inbound.a-desk]\naddress_prefixes = [\"203.0.113.5/32\", \
         \"2001:db8:100::5/128\"]\n[profile.p.inbound.z-everyone]\n\
         address_prefixes = [\"203.0.112.0/20\", \"2001:db8::/32\"]\n"
    );
    everywhere(&policy, |case| {
        let port = case.port();
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("a-desk");
        let colleague = ("203.0.113.6", "2001:db8:100::6");
        case.inbound(case.ip(colleague, Server) / tcp(port, 5432).syn()).allowed("office");
        case.inbound(case.ip(colleague, Server) / tcp(port, 80).syn()).allowed("z-everyone");
        case.inbound(case.ip(NEXT_DOOR, Server) / tcp(port, 5432).syn()).allowed("z-everyone");
    });
}
