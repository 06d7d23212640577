//! Built packets under `BPF_PROG_TEST_RUN`: one of each thing that a kernel's helpers and maps
//! could do differently. The many cases are the prog tier's.

use nsp_common::verdict::{Category, Direction, Reason};
use nsp_tests::{
    packet::{
        BOTH,
        Party::{Member, Office, Private, Server, Stranger},
        eth, fragments, tcp, udp, vlan,
    },
    prog::{Case, ENFORCED, Hook, Network, on, transition},
};

/// Tells the story on both families by the programs of one kind of device.
pub(crate) fn judge(hook: Hook) {
    on(&BOTH, &[hook], ENFORCED, |case| {
        rules(case);
        conversation(case);
        trusted(case);
        heads(case);
        if hook != Hook::Bare {
            tagged(case);
        }
    });
}

/// Another mode is in force with the next packet: tries and arrays are switched by one word.
pub(crate) fn another_generation() {
    on(&BOTH, &[Hook::Tc], ENFORCED, |case| {
        let port = case.port();
        let syn = case.ip(Stranger, Server) / tcp(port, 5432).syn();
        case.inbound(&syn).refused(Reason::NoRule);
        case.apply(&transition());
        case.inbound(&syn).would_deny(Reason::NoRule);
        case.apply(ENFORCED);
        // The conversation that transition let open was allowed by nobody.
        case.inbound(&syn).refused(Reason::NoRule);
    });
}

/// Prefix tries, port tables and the comb of rules.
fn rules(case: &mut Case<'_>) {
    let port = case.port();
    case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
    case.inbound(case.ip(Office, Server) / tcp(port, 5433).syn()).refused(Reason::NoRule);
    case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
    case.outbound(case.ip(Server, Office) / udp(port, 123)).allowed("backups");
    case.outbound(case.ip(Server, Stranger) / udp(port, 123)).refused(Reason::NoRule);
}

/// The flow tables: opened by the SYN-ACK, moved to the proven ones, touched.
fn conversation(case: &mut Case<'_>) {
    let port = case.port();
    case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
    case.outbound(case.ip(Server, Office) / tcp(5432, port).syn_ack()).passes_by(
        "office",
        Reason::Rule,
        Category::PublicInboundPerimeterRulesAllowed,
    );
    case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
        .follows("office", Direction::Inbound);
}

/// Routes and devices: a private peer passes by the network it lives in.
fn trusted(case: &mut Case<'_>) {
    let port = case.port();
    case.by(Network::Private);
    case.inbound(case.ip(Private, Server) / tcp(port, 22).syn())
        .passes(Reason::Private, Category::PrivateInboundAllowed);
    case.by(Network::Public);
    case.inbound(case.ip(Member, Server) / tcp(port, 22).syn())
        .passes(Reason::Intra, Category::IntraPerimeterInboundAllowed);
}

/// The table of fragments' heads.
fn heads(case: &mut Case<'_>) {
    let (port, id) = (case.port(), case.port());
    let datagram = udp(port, 5432) / [7; 120];
    for (position, piece) in
        fragments(case.family, (Office, Server), id, datagram, 48).into_iter().enumerate()
    {
        let judged = case.inbound(piece);
        match position {
            0 => judged.allowed("office"),
            _ => judged.passes_by(
                "office",
                Reason::Fragment,
                Category::PublicInboundPerimeterRulesAllowed,
            ),
        };
    }
    let [_, orphan, ..] =
        &fragments(case.family, (Stranger, Server), id, udp(1, 2) / [7; 120], 48)[..]
    else {
        panic!("three pieces");
    };
    case.inbound(orphan).refused(Reason::OrphanFragment);
}

/// VLAN tags in the frame.
fn tagged(case: &mut Case<'_>) {
    let port = case.port();
    let syn = case.ip(Stranger, Server) / tcp(port, 5432).syn();
    case.frame(&(eth() / vlan(10) / syn), Direction::Inbound).refused(Reason::NoRule);
}
