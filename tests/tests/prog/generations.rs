//! What a new policy does to conversations that are open.

use nsp_common::{
    flow::standing,
    verdict::{Category, Direction, Reason},
};
use nsp_tests::{
    packet::{
        Party::{Office, Server, Stranger},
        tcp, udp,
    },
    prog::{Case, ENFORCED, OFFICE, everywhere, transition},
};

use crate::tcp::{open_inbound, open_outbound, tracked};

const IN_ALLOWED: Category = Category::PublicInboundPerimeterRulesAllowed;
const IN_TOLERATED: Category = Category::PublicInboundResourceRulesAllowed;
const IN_DENIED: Category = Category::PublicInboundPerimeterRulesDenied;

/// [`ENFORCED`] without what the office may do here.
fn without_office() -> String {
    ENFORCED
        .replace("[profile.p.inbound.office]", "[profile.p.inbound.nobody]")
        .replacen(OFFICE, "[]", 1)
}

/// A stranger's connection that is open because the policy is in transition.
fn open_tolerated(case: &mut Case<'_>) -> u16 {
    let port = case.port();
    case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).would_deny(Reason::NoRule);
    case.outbound(case.ip(Server, Stranger) / tcp(5432, port).syn_ack())
        .passes(Reason::NoRule, IN_TOLERATED);
    case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).ack())
        .passes(Reason::Flow, IN_TOLERATED);
    port
}

#[test]
fn unchanged_rule_keeps_its_conversations() {
    everywhere(ENFORCED, |case| {
        let (inbound, outbound) = (open_inbound(case), open_outbound(case));
        case.apply(ENFORCED);
        case.inbound(case.ip(Office, Server) / tcp(inbound, 5432).ack())
            .follows("office", Direction::Inbound);
        case.outbound(case.ip(Server, Office) / tcp(outbound, 443).ack())
            .follows("backups", Direction::Outbound);
    });
}

#[test]
fn rule_that_is_gone_cuts_its_conversations_and_a_rollback_revives_them() {
    everywhere(ENFORCED, |case| {
        let (inbound, outbound) = (open_inbound(case), open_outbound(case));
        case.apply(&without_office());
        for _ in 0..2 {
            case.inbound(case.ip(Office, Server) / tcp(inbound, 5432).ack())
                .refused(Reason::Revoked);
            case.outbound(case.ip(Server, Office) / tcp(5432, inbound).ack())
                .drops(Reason::Revoked, IN_DENIED);
        }
        // Those of other rules go on.
        case.outbound(case.ip(Server, Office) / tcp(outbound, 443).ack())
            .follows("backups", Direction::Outbound);
        let (flow, _) = tracked(case.lab, 5432, inbound).expect("it stays, denied");
        assert!(flow.stands(standing::DENIED));
        case.apply(ENFORCED);
        case.inbound(case.ip(Office, Server) / tcp(inbound, 5432).ack())
            .follows("office", Direction::Inbound);
    });
}

#[test]
fn another_rule_that_admits_the_peer_takes_the_conversation_over() {
    let renamed = ENFORCED.replace("[profile.p.inbound.office]", "[profile.p.inbound.staff]");
    everywhere(ENFORCED, |case| {
        let port = open_inbound(case);
        case.apply(&renamed);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
            .follows("staff", Direction::Inbound);
        // Narrowed to other ports it does not.
        case.apply(&renamed.replace("5432/tcp", "5433/tcp"));
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack()).refused(Reason::Revoked);
    });
}

#[test]
fn rule_that_is_gone_only_tells_in_transition() {
    everywhere(&transition(), |case| {
        let port = open_inbound(case);
        case.apply(&without_office().replace("\"enforced\"", "\"transition\""));
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
            .passes(Reason::Flow, IN_TOLERATED);
    });
}

#[test]
fn enforcing_keeps_what_is_open_and_refuses_what_is_new() {
    everywhere(&transition(), |case| {
        let port = open_tolerated(case);
        case.apply(ENFORCED);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).ack())
            .passes(Reason::Kept, IN_ALLOWED);
        case.outbound(case.ip(Server, Stranger) / tcp(5432, port).ack())
            .passes(Reason::Kept, IN_ALLOWED);
        let (flow, _) = tracked(case.lab, 5432, port).expect("open");
        assert!(flow.stands(standing::KEPT) && !flow.stands(standing::WOULD_DENY));
        let other = case.port();
        case.inbound(case.ip(Stranger, Server) / tcp(other, 5432).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        // It outlives later generations too.
        case.apply(&without_office());
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).ack())
            .passes(Reason::Kept, IN_ALLOWED);
    });
}

#[test]
fn enforcing_keeps_outbound_conversations_too() {
    everywhere(&transition(), |case| {
        let port = case.port();
        case.outbound(case.ip(Server, Stranger) / udp(port, 4500)).would_deny(Reason::NoRule);
        case.apply(ENFORCED);
        case.inbound(case.ip(Stranger, Server) / udp(4500, port))
            .passes(Reason::Kept, Category::PublicOutboundPerimeterRulesAllowed);
        let other = case.port();
        case.outbound(case.ip(Server, Stranger) / udp(other, 4500)).refused(Reason::NoRule);
    });
}

#[test]
fn enforcing_does_not_keep_what_the_same_change_takes_a_rule_from() {
    everywhere(&transition(), |case| {
        let port = open_inbound(case);
        case.apply(&without_office());
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack()).refused(Reason::Revoked);
    });
}

#[test]
fn strict_apply_keeps_nothing() {
    everywhere(&transition(), |case| {
        let port = open_tolerated(case);
        let host = case.lab.identities.association("host");
        case.lab.identities.cut(host, u64::MAX);
        case.apply(ENFORCED);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).ack()).refused(Reason::Revoked);
    });
}

#[test]
fn conversation_that_the_operator_cut_stays_cut() {
    everywhere(ENFORCED, |case| {
        let port = open_inbound(case);
        let flows = case.lab.datapath.flows().expect("conversations can be read");
        let entry = flows.iter().find(|entry| entry.key.remote_port == port).expect("open");
        assert!(case.lab.datapath.cut_flow(&entry.key, &entry.flow).expect("it runs"), "cut");
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
            .drops_by("office", Reason::Cut);
        case.apply(ENFORCED);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
            .drops_by("office", Reason::Cut);
        // The peer may open another.
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
    });
}

#[test]
fn resource_that_is_gone_leaves_its_conversations_to_public_access() {
    let gone = ENFORCED
        .replace("host = true", "ports = [\"9/tcp\"]")
        .replace("[resource.host]", "[resource.other]");
    everywhere(ENFORCED, |case| {
        let port = open_inbound(case);
        case.apply(&gone);
        // Left alone: nobody's, and so not logged.
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack()).ignored(Reason::Flow);
        case.apply(&gone.replace(
            "name = \"lab\"",
            "name = \"lab\"\npublic_network_access = \"secured-by-perimeter\"",
        ));
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
            .passes(Reason::Kept, IN_ALLOWED);
        let other = case.port();
        case.concerns(None);
        case.inbound(case.ip(Office, Server) / tcp(other, 5432).syn()).refused(Reason::NoResource);
        // Once kept it stays kept, also when a rule covers it again.
        case.apply(ENFORCED);
        case.concerns("host");
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack()).passes_by(
            "office",
            Reason::Kept,
            IN_ALLOWED,
        );
    });
}

#[test]
fn prefix_that_shrinks_cuts_those_outside() {
    let desk = ENFORCED.replacen(OFFICE, "[\"203.0.113.6/32\", \"2001:db8:100::6/128\"]", 1);
    everywhere(ENFORCED, |case| {
        let port = open_inbound(case);
        case.apply(&desk);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack()).refused(Reason::Revoked);
        let colleague = ("203.0.113.6", "2001:db8:100::6");
        case.inbound(case.ip(colleague, Server) / tcp(port, 5432).syn()).allowed("office");
    });
}

#[test]
fn stranger_that_nobody_answered_has_no_conversation_to_keep() {
    everywhere(&transition(), |case| {
        let (port, other) = (case.port(), case.port());
        // Nobody listens: one datagram, and one stray segment.
        case.inbound(case.ip(Stranger, Server) / udp(port, 161)).would_deny(Reason::NoRule);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).ack()).would_deny(Reason::NoRule);
        // And one that this host answered.
        case.inbound(case.ip(Stranger, Server) / udp(other, 161)).would_deny(Reason::NoRule);
        let told = Category::PublicInboundResourceRulesAllowed;
        case.outbound(case.ip(Server, Stranger) / udp(161, other)).passes(Reason::Flow, told);
        case.apply(ENFORCED);
        case.inbound(case.ip(Stranger, Server) / udp(port, 161)).refused(Reason::Revoked);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).ack()).refused(Reason::Revoked);
        case.inbound(case.ip(Stranger, Server) / udp(other, 161)).passes(Reason::Kept, IN_ALLOWED);
    });
}
