//! Access modes: what is dropped, and what is only told, per direction.

use nsp_common::{
    event::flags,
    verdict::{Category, Reason},
};
use nsp_tests::{
    packet::{
        Party::{Office, Server, Stranger},
        eth, ipv4, raw, tcp, udp,
    },
    prog::{DEVICE, Lab, Recorded, TC_PASS, XDP_PASS, everywhere, transition},
};

fn is_enforced((key, _): Recorded) -> bool {
    key.flags & flags::ENFORCED != 0
}

fn inbound_only() -> String {
    transition().replace("\"transition\"", "\"transition\"\ninbound_mode = \"enforced\"")
}

fn outbound_only() -> String {
    transition().replace("\"transition\"", "\"transition\"\noutbound_mode = \"enforced\"")
}

#[test]
fn transition_passes_and_tells_what_would_be_denied() {
    everywhere(&transition(), |case| {
        let port = case.port();
        let ip = case.ip(Stranger, Server);
        let told = case.inbound(ip / tcp(port, 5432).syn()).would_deny(Reason::NoRule);
        assert!(!is_enforced(told));
        case.outbound(case.ip(Server, Stranger) / udp(port, 443)).would_deny(Reason::NoRule);
        // A rule that matches is told as in enforced mode.
        let ip = case.ip(Office, Server);
        let told = case.inbound(ip / tcp(port, 5432).syn()).allowed("office");
        assert!(!is_enforced(told));
    });
}

#[test]
fn transition_passes_malformed_packets_too() {
    everywhere(&transition(), |case| {
        let port = case.port();
        let ip = case.ip(Stranger, Server);
        case.inbound(ip / tcp(port, 5432)).would_deny(Reason::BadTcpFlags);
        let ip = case.ip(Stranger, Server);
        case.inbound(ip / tcp(port, 5432).syn_ack()).would_deny(Reason::NoFlow);
        case.inbound(case.ip(Stranger, Server) / raw(17, [0; 4]))
            .would_deny(Reason::TruncatedTransport);
    });
}

#[test]
fn enforced_inbound_leaves_outbound_in_transition() {
    everywhere(&inbound_only(), |case| {
        let port = case.port();
        let ip = case.ip(Stranger, Server);
        assert!(is_enforced(case.inbound(ip / tcp(port, 5432).syn()).refused(Reason::NoRule)));
        let ip = case.ip(Server, Stranger);
        assert!(!is_enforced(case.outbound(ip / tcp(port, 443).syn()).would_deny(Reason::NoRule)));
        // Its answer comes in by the conversation, whatever the inbound mode.
        case.inbound(case.ip(Stranger, Server) / tcp(443, port).syn_ack())
            .passes(Reason::Flow, Category::PublicOutboundResourceRulesAllowed);
    });
}

#[test]
fn enforced_outbound_leaves_inbound_in_transition() {
    everywhere(&outbound_only(), |case| {
        let port = case.port();
        let ip = case.ip(Stranger, Server);
        case.inbound(ip / tcp(port, 5432).syn()).would_deny(Reason::NoRule);
        // The answer goes out in the mode of who asked.
        case.outbound(case.ip(Server, Stranger) / tcp(5432, port).syn_ack())
            .passes(Reason::NoRule, Category::PublicInboundResourceRulesAllowed);
        case.outbound(case.ip(Server, Stranger) / tcp(port, 443).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn without_a_policy_everything_passes() {
    // Nothing is published before the first story, and nothing can be taken back.
    let mut lab = Lab::load();
    let frame = eth() / ipv4(Stranger, Server) / tcp(4000, 5432).syn();
    for (program, pass) in
        [("nsp_xdp", XDP_PASS), ("nsp_ingress", TC_PASS), ("nsp_egress", TC_PASS)]
    {
        let code = lab.datapath.run(program, &frame.bytes(), DEVICE);
        assert_eq!(code.expect("the program runs"), pass, "{program}");
    }
    let delta: Vec<_> = lab.delta().into_keys().collect();
    assert_eq!(delta, ["Inbound Pass NoPolicy", "Outbound Pass NoPolicy"]);
    assert!(lab.records().0.is_empty());
}
