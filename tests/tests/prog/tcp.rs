//! TCP conversations: who opens, what follows, and what never does.

use nsp_common::{
    flow::{Flow, progress},
    verdict::{Category, Direction, Reason},
};
use nsp_tests::{
    packet::{
        Party::{Office, Server, Stranger},
        flag, tcp,
    },
    prog::{Case, ENFORCED, Lab, MIRROR, everywhere, transition},
};

const INBOUND: Category = Category::PublicInboundPerimeterRulesAllowed;

/// The conversation of a local and a remote port, if it is tracked.
pub(crate) fn tracked(lab: &Lab, local_port: u16, remote_port: u16) -> Option<(Flow, bool)> {
    let flows = lab.datapath.flows().expect("conversations can be read");
    let found = flows
        .iter()
        .find(|entry| (entry.key.local_port, entry.key.remote_port) == (local_port, remote_port));
    found.map(|entry| (entry.flow, entry.is_proven))
}

/// An office client with an open connection to port 5432.
pub(crate) fn open_inbound(case: &mut Case<'_>) -> u16 {
    let port = case.port();
    case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
    case.outbound(case.ip(Server, Office) / tcp(5432, port).syn_ack()).passes_by(
        "office",
        Reason::Rule,
        INBOUND,
    );
    case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
        .follows("office", Direction::Inbound);
    port
}

/// A local port with an open connection to the office's 443.
pub(crate) fn open_outbound(case: &mut Case<'_>) -> u16 {
    let port = case.port();
    case.outbound(case.ip(Server, Office) / tcp(port, 443).syn()).allowed("backups");
    case.inbound(case.ip(Office, Server) / tcp(443, port).syn_ack())
        .follows("backups", Direction::Outbound);
    case.outbound(case.ip(Server, Office) / tcp(port, 443).ack())
        .follows("backups", Direction::Outbound);
    port
}

#[test]
fn outbound_syn_opens_and_its_answers_join_the_same_record() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let (opened, record) =
            case.outbound(case.ip(Server, MIRROR) / tcp(port, 443).syn()).allowed("mirror");
        assert_eq!((record.count, record.answers, record.opener_port), (1, 0, port));
        assert_eq!(opened.service_port, 443);
        let (_, proven) = tracked(case.lab, port, 443).expect("the SYN opened it");
        assert!(!proven, "nobody has answered");
        let (key, record) = case
            .inbound(case.ip(MIRROR, Server) / tcp(443, port).syn_ack())
            .follows("mirror", Direction::Outbound);
        assert_eq!(key, opened, "an answer is counted with what it answers");
        assert_eq!((record.count, record.answers), (0, 1));
        let (flow, proven) = tracked(case.lab, port, 443).expect("still there");
        assert!(proven && flow.has(progress::REPLIED));
        for _ in 0..2 {
            let (key, _) = case
                .outbound(case.ip(Server, MIRROR) / tcp(port, 443).ack().psh() / "data")
                .follows("mirror", Direction::Outbound);
            assert_eq!(key, opened);
            case.inbound(case.ip(MIRROR, Server) / tcp(443, port).ack() / [0; 100])
                .follows("mirror", Direction::Outbound);
        }
        let (flow, _) = tracked(case.lab, port, 443).expect("still there");
        assert_eq!(flow.packets, 6);
    });
}

#[test]
fn answers_beside_the_conversation_are_refused() {
    everywhere(ENFORCED, |case| {
        let port = open_outbound(case);
        let other = case.port();
        for (source, from, to) in [(Office, 443, other), (Office, 444, port), (Stranger, 443, port)]
        {
            case.inbound(case.ip(source, Server) / tcp(from, to).syn_ack()).refused(Reason::NoFlow);
            case.inbound(case.ip(source, Server) / tcp(from, to).ack()).refused(Reason::NoRule);
        }
        let elsewhere = ("192.0.2.2", "2001:db8:1::2");
        case.inbound(case.ip(Office, elsewhere) / tcp(443, port).ack()).refused(Reason::NoRule);
    });
}

#[test]
fn inbound_syn_opens_nothing_until_it_is_answered() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let (opened, record) =
            case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        assert_eq!((record.count, record.opener_port, opened.service_port), (1, port, 5432));
        assert!(tracked(case.lab, 5432, port).is_none(), "a SYN proves nothing");
        let (key, record) = case
            .outbound(case.ip(Server, Office) / tcp(5432, port).syn_ack())
            .passes_by("office", Reason::Rule, INBOUND);
        assert_eq!(key, opened);
        assert_eq!((record.count, record.answers), (0, 1));
        let (_, proven) = tracked(case.lab, 5432, port).expect("the answer opened it");
        assert!(!proven, "the client has not come back");
        let (key, _) = case
            .inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
            .follows("office", Direction::Inbound);
        assert_eq!(key, opened);
        assert!(tracked(case.lab, 5432, port).expect("open").1, "both ends are proven");
    });
}

#[test]
fn answers_to_strangers_stay_here() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.outbound(case.ip(Server, Stranger) / tcp(5432, port).syn_ack())
            .drops(Reason::NoRule, Category::PublicInboundPerimeterRulesDenied);
        case.outbound(case.ip(Server, Stranger) / tcp(5432, port).rst())
            .drops(Reason::NoRule, Category::PublicInboundPerimeterRulesDenied);
        assert!(tracked(case.lab, 5432, port).is_none());
    });
}

#[test]
fn refusal_of_an_allowed_peer_goes_out_and_opens_nothing() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        case.outbound(case.ip(Server, Office) / tcp(5432, port).rst().ack()).passes_by(
            "office",
            Reason::Rule,
            INBOUND,
        );
        assert!(tracked(case.lab, 5432, port).is_none());
    });
}

#[test]
fn middle_of_a_conversation_from_a_stranger_is_refused_and_opens_nothing() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        for flags in [
            flag::ACK,
            flag::ACK | flag::PSH,
            flag::ACK | flag::FIN,
            flag::RST,
            flag::RST | flag::ACK,
            flag::ACK | flag::URG,
        ] {
            let ip = case.ip(Stranger, Server);
            case.inbound(ip / tcp(port, 5432).flags(flags)).refused(Reason::NoRule);
        }
        assert!(tracked(case.lab, 5432, port).is_none());
    });
}

#[test]
fn impossible_flags_are_refused_from_everybody() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        for source in [Office, Stranger] {
            for flags in [
                0,
                flag::FIN | flag::PSH | flag::URG,
                flag::FIN,
                flag::PSH,
                flag::SYN | flag::FIN,
                flag::SYN | flag::RST,
                flag::SYN | flag::FIN | flag::ACK,
                0xff,
            ] {
                let ip = case.ip(source, Server);
                case.inbound(ip / tcp(port, 5432).flags(flags)).refused(Reason::BadTcpFlags);
            }
        }
        let ip = case.ip(Server, Office);
        case.outbound(ip / tcp(port, 443).flags(0)).refused(Reason::BadTcpFlags);
        assert!(tracked(case.lab, 5432, port).is_none());
        // Congestion bits on a SYN are no fault.
        let syn = tcp(port, 5432).flags(flag::SYN | flag::ECE | flag::CWR);
        case.inbound(case.ip(Office, Server) / syn).allowed("office");
    });
}

#[test]
fn unsolicited_syn_ack_is_refused_even_from_allowed_peers() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        for source in [Office, Stranger] {
            let ip = case.ip(source, Server);
            case.inbound(ip / tcp(port, 5432).syn_ack()).refused(Reason::NoFlow);
        }
        assert!(tracked(case.lab, 5432, port).is_none());
    });
}

#[test]
fn bare_syn_on_an_open_conversation_is_judged_anew() {
    everywhere(ENFORCED, |case| {
        // Neither a split handshake nor a simultaneous open rides on what this host opened.
        let port = open_outbound(case);
        case.inbound(case.ip(Office, Server) / tcp(443, port).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(Office, Server) / tcp(443, port).ack())
            .follows("backups", Direction::Outbound);
        // The same ports again (TIME_WAIT): allowed because the rule still stands, not the flow.
        let port = open_inbound(case);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        case.apply(&ENFORCED.replace("5432/tcp", "5433/tcp"));
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn forged_end_does_not_end_a_conversation() {
    everywhere(ENFORCED, |case| {
        let port = open_inbound(case);
        for end in [flag::RST, flag::FIN | flag::ACK] {
            case.inbound(case.ip(Office, Server) / tcp(port, 5432).flags(end))
                .follows("office", Direction::Inbound);
            let (flow, _) = tracked(case.lab, 5432, port).expect("still there");
            assert!(flow.has(progress::REMOTE_END), "marked");
            case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack() / "more")
                .follows("office", Direction::Inbound);
            let (flow, _) = tracked(case.lab, 5432, port).expect("still there");
            assert!(!flow.has(progress::REMOTE_END), "a later segment takes the mark back");
        }
    });
}

#[test]
fn end_by_both_sides_marks_it_closed() {
    everywhere(ENFORCED, |case| {
        let port = open_inbound(case);
        case.outbound(case.ip(Server, Office) / tcp(5432, port).fin().ack())
            .follows("office", Direction::Inbound);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).fin().ack())
            .follows("office", Direction::Inbound);
        case.outbound(case.ip(Server, Office) / tcp(5432, port).ack())
            .follows("office", Direction::Inbound);
        let (flow, _) = tracked(case.lab, 5432, port).expect("still there");
        assert!(flow.has(progress::LOCAL_FIN | progress::REMOTE_END));
        assert_eq!(flow.timeout_s(6), nsp_common::flow::timeout::TCP_CLOSED_S);
    });
}

#[test]
fn lost_entry_is_made_again_by_the_rules_of_the_listener() {
    let listening = ENFORCED.replace("host = true", "ports = [\"5432/tcp\"]");
    everywhere(&listening, |case| {
        let port = case.port();
        // The table was lost; the server goes on talking.
        case.outbound(case.ip(Server, Office) / tcp(5432, port).ack() / "row").passes_by(
            "office",
            Reason::Rule,
            INBOUND,
        );
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).ack())
            .follows("office", Direction::Inbound);
        let other = case.port();
        case.outbound(case.ip(Server, Stranger) / tcp(5432, other).ack() / "row")
            .drops(Reason::NoRule, Category::PublicInboundPerimeterRulesDenied);
        // A call of its own from that port is judged as a call.
        case.outbound(case.ip(Server, Office) / tcp(5432, other).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn idle_conversation_is_over_after_its_timeout() {
    everywhere(ENFORCED, |case| {
        let port = open_outbound(case);
        let flows = case.lab.datapath.flows().expect("conversations can be read");
        let entry = flows.iter().find(|entry| entry.key.local_port == port).expect("open");
        let mut flow = entry.flow;
        let day = 24 * 3600 * 1_000_000_000_u64;
        // The clock of a machine that is up for less than five days cannot go back far enough, so
        // the conversation is one that both ends have closed.
        flow.progress |= progress::LOCAL_FIN | progress::REMOTE_END;
        flow.seen_ns = flow.seen_ns.saturating_sub(day.min(flow.seen_ns / 2));
        if flow.seen_ns / 1_000_000_000 < 200 {
            return;
        }
        case.lab.datapath.keep_flow(&entry.key, &flow).expect("there is room");
        case.inbound(case.ip(Office, Server) / tcp(443, port).ack()).refused(Reason::NoRule);
    });
}

#[test]
fn transition_tracks_strangers_as_would_deny() {
    everywhere(&transition(), |case| {
        let told = Category::PublicInboundResourceRulesAllowed;
        let port = case.port();
        let (opened, _) = case
            .inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn())
            .would_deny(Reason::NoRule);
        let (key, _) = case
            .outbound(case.ip(Server, Stranger) / tcp(5432, port).syn_ack())
            .passes(Reason::NoRule, told);
        assert_eq!(key, opened);
        let (key, _) = case
            .inbound(case.ip(Stranger, Server) / tcp(port, 5432).ack())
            .passes(Reason::Flow, told);
        assert_eq!(key, opened, "one conversation, one record");
    });
}
