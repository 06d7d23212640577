//! Segments that are there to confuse who tracks conversations.

use nsp_common::{
    flow::progress,
    verdict::{Direction, Reason},
};
use nsp_tests::{
    packet::{
        Party::{Office, Server},
        tcp, udp,
    },
    prog::{ENFORCED, MIRROR, everywhere},
};

use crate::tcp::{open_outbound, tracked};

#[test]
fn old_syn_ack_changes_nothing() {
    everywhere(ENFORCED, |case| {
        let port = open_outbound(case);
        let (before, _) = tracked(case.lab, port, 443).expect("open");
        let old = tcp(443, port).syn_ack().seq(7).ack_number(9);
        case.inbound(case.ip(Office, Server) / old).follows("backups", Direction::Outbound);
        let (after, proven) = tracked(case.lab, port, 443).expect("open");
        assert!(proven && after.progress == before.progress, "{before:?} {after:?}");
        case.outbound(case.ip(Server, Office) / tcp(port, 443).ack().psh() / "data")
            .follows("backups", Direction::Outbound);
    });
}

/// A simultaneous open, or the first step of a split handshake: the peer answers a SYN with one of its own.
#[test]
fn peer_that_answers_a_syn_with_a_syn_opens_nothing() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.outbound(case.ip(Server, MIRROR) / tcp(port, 443).syn()).allowed("mirror");
        case.inbound(case.ip(MIRROR, Server) / tcp(443, port).syn()).refused(Reason::NoRule);
        assert!(!tracked(case.lab, port, 443).expect("it was asked for").1, "nobody has answered");
        case.inbound(case.ip(MIRROR, Server) / tcp(443, port).syn_ack())
            .follows("mirror", Direction::Outbound);
    });
}

/// Neither reaches the other end's TCP, so neither may end there what goes on.
#[test]
fn end_with_a_bad_checksum_or_little_time_to_live_ends_nothing() {
    everywhere(ENFORCED, |case| {
        let port = open_outbound(case);
        for end in [tcp(443, port).rst(), tcp(443, port).fin().ack()] {
            case.inbound(case.ip(Office, Server) / end.clone().bad_checksum())
                .follows("backups", Direction::Outbound);
            case.inbound(case.ip(Office, Server).hop_limit(1) / end)
                .follows("backups", Direction::Outbound);
            case.inbound(case.ip(Office, Server) / tcp(443, port).ack() / "data")
                .follows("backups", Direction::Outbound);
            let (flow, proven) = tracked(case.lab, port, 443).expect("open");
            assert!(proven && !flow.has(progress::REMOTE_END), "{flow:?}");
        }
        // A SYN with a bad checksum is judged, and opens no more than any other.
        let other = case.port();
        let syn = tcp(other, 5432).syn().bad_checksum();
        case.inbound(case.ip(Office, Server) / syn).allowed("office");
        assert!(tracked(case.lab, 5432, other).is_none());
    });
}

#[test]
fn payload_opens_no_port() {
    everywhere(ENFORCED, |case| {
        let (port, other) = (open_outbound(case), case.port());
        let words = format!("PORT 203,0,113,5,{},{}\r\n", other >> 8, other & 0xff);
        let eprt = format!("EPRT |2|2001:db8:100::5|{other}|\r\n");
        let sip =
            format!("INVITE sip:a@203.0.113.5:{other} SIP/2.0\r\nContact: <sip:b:{other}>\r\n");
        let irc = format!("PRIVMSG a :\u{1}DCC SEND f 3405803781 {other}\u{1}\r\n");
        for text in [words, eprt, sip, irc] {
            case.outbound(case.ip(Server, Office) / tcp(port, 443).ack().psh() / text.as_str())
                .follows("backups", Direction::Outbound);
            case.inbound(case.ip(Office, Server) / tcp(443, port).ack().psh() / text.as_str())
                .follows("backups", Direction::Outbound);
            for from in [20, 443, 5060] {
                case.inbound(case.ip(Office, Server) / tcp(from, other).syn())
                    .refused(Reason::NoRule);
                case.inbound(case.ip(Office, Server) / udp(from, other)).refused(Reason::NoRule);
            }
        }
    });
}
