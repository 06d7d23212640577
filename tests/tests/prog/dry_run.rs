//! The dry run: answers like the programs, and writes nothing.

use nsp_common::{
    decide::FlowAction,
    explain::{Answer, Question},
    net::eth::LinkHeader,
    packet::{Packet as Parsed, flags},
    selector::Selector,
    verdict::{AccessMode, Category, Direction, Reason, TrafficClass, Verdict},
};
use nsp_tests::{
    packet::{
        BOTH, Packet,
        Party::{Office, Server, Stranger},
        tcp,
    },
    prog::{Case, DEVICE, Delta, ENFORCED, Hook, on},
};

const ONCE: [Hook; 1] = [Hook::Xdp];

fn ask(case: &mut Case<'_>, packet: &Packet, direction: Direction, flags: u16) -> Answer {
    ask_of(case, packet, direction, flags, [0; 8])
}

fn ask_of(
    case: &mut Case<'_>,
    packet: &Packet,
    direction: Direction,
    flags: u16,
    cgroups: [u64; 8],
) -> Answer {
    let mut parsed = Parsed { ifindex: DEVICE, direction: direction as u8, flags, ..Parsed::EMPTY };
    parsed.parse(packet.bytes().as_slice(), LinkHeader::None);
    let question = Question { cgroups, packet: parsed };
    case.lab.datapath.explain(&question).expect("the program answers")
}

#[test]
fn answer_says_what_the_program_would_do() {
    on(&BOTH, &ONCE, ENFORCED, |case| {
        let port = case.port();
        let generation = case.lab.datapath.generation().expect("a policy is in force");
        let host = case.lab.identities.association("host");
        let syn = case.ip(Office, Server) / tcp(port, 5432).syn();
        let answer = ask(case, &syn, Direction::Inbound, 0);
        let rule = case.lab.identities.rule("p", Direction::Inbound, "office");
        assert_eq!(
            answer,
            Answer {
                rule,
                name: 0,
                generation,
                association: host,
                verdict: Verdict::Pass as u8,
                reason: Reason::Rule as u8,
                class: TrafficClass::Public as u8,
                opener: Direction::Inbound as u8,
                mode: AccessMode::Enforced as u8,
                would_deny: 0,
                category: Category::PublicInboundPerimeterRulesAllowed as u8,
                flow: FlowAction::None as u8,
                answered: 1,
                _pad: 0,
            },
        );
        let syn = case.ip(Server, Stranger) / tcp(port, 443).syn();
        let answer = ask(case, &syn, Direction::Outbound, 0);
        assert_eq!(
            (answer.verdict, answer.reason, answer.rule),
            (Verdict::Drop as u8, Reason::NoRule as u8, 0)
        );
    });
}

#[test]
fn dry_run_writes_nothing() {
    on(&BOTH, &ONCE, ENFORCED, |case| {
        let port = case.port();
        let syn = case.ip(Server, Office) / tcp(port, 443).syn();
        for _ in 0..3 {
            let answer = ask(case, &syn, Direction::Outbound, 0);
            assert_eq!(answer.flow, FlowAction::Open as u8);
        }
        assert_eq!(case.lab.delta(), Delta::new());
        assert!(case.lab.records().0.is_empty());
        assert!(crate::tcp::tracked(case.lab, port, 443).is_none());
        case.outbound(syn).allowed("backups");
    });
}

#[test]
fn dry_run_leaves_re_judging_to_real_packets() {
    on(&BOTH, &ONCE, ENFORCED, |case| {
        let port = crate::tcp::open_outbound(case);
        let (before, _) = crate::tcp::tracked(case.lab, port, 443).expect("open");
        case.apply(&ENFORCED.replace("443/tcp", "444/tcp"));
        let ack = case.ip(Server, Office) / tcp(port, 443).ack();
        let answer = ask(case, &ack, Direction::Outbound, 0);
        assert_eq!(answer.reason, Reason::Revoked as u8);
        let (after, _) = crate::tcp::tracked(case.lab, port, 443).expect("open");
        assert_eq!(after, before);
    });
}

#[test]
fn forwarded_packets_are_judged_as_the_hosts_own_unless_the_policy_passes_them() {
    let passing = ENFORCED.replace("name = \"lab\"", "name = \"lab\"\nforwarded = \"pass\"");
    for (policy, verdict, reason) in [
        (ENFORCED, Verdict::Drop, Reason::NoRule),
        (passing.as_str(), Verdict::Pass, Reason::Forwarded),
    ] {
        on(&BOTH, &ONCE, policy, |case| {
            let port = case.port();
            let syn = case.ip(Server, Stranger) / tcp(port, 443).syn();
            let answer = ask(case, &syn, Direction::Outbound, flags::FORWARDED);
            assert_eq!((answer.verdict, answer.reason), (verdict as u8, reason as u8));
            // The host's own packets are judged either way.
            let answer = ask(case, &syn, Direction::Outbound, 0);
            assert_eq!(answer.reason, Reason::NoRule as u8);
        });
    }
}

const BY_CGROUP: &str = r#"
[perimeter]
name = "lab"
[profile.open.outbound.office]
address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
[profile.closed.outbound.nobody]
address_prefixes = []
[resource.service]
cgroup = "/system.slice/backup.service"
profile = "open"
access_mode = "enforced"
[resource.slice]
cgroup = "/system.slice"
profile = "closed"
access_mode = "enforced"
[resource.host]
host = true
profile = "closed"
access_mode = "enforced"
"#;

#[test]
fn nearest_cgroup_of_the_sender_decides_outbound() {
    const SLICE: u64 = 1001;
    const SERVICE: u64 = 1002;
    on(&BOTH, &ONCE, BY_CGROUP, |case| {
        let port = case.port();
        let numbers =
            ["service", "slice", "host"].map(|name| case.lab.identities.association(name));
        let [service, slice, host] = numbers;
        let selectors =
            [(Selector::cgroup(0, SLICE), slice), (Selector::cgroup(0, SERVICE), service)];
        case.lab.datapath.select(&selectors).expect("selectors fit");
        let syn = case.ip(Server, Office) / tcp(port, 443).syn();
        for (cgroups, association, verdict) in [
            ([0, SLICE, SERVICE, 0, 0, 0, 0, 0], service, Verdict::Pass),
            ([0, SLICE, SERVICE, 1003, 1004, 0, 0, 0], service, Verdict::Pass),
            ([0, SLICE, 1005, 0, 0, 0, 0, 0], slice, Verdict::Drop),
            ([0, 7, 0, 0, 0, 0, 0, 0], host, Verdict::Drop),
            ([0; 8], host, Verdict::Drop),
        ] {
            let answer = ask_of(case, &syn, Direction::Outbound, 0, cgroups);
            assert_eq!(
                (answer.association, answer.verdict),
                (association, verdict as u8),
                "{cgroups:?}"
            );
        }
        // Who sends says nothing of what comes in.
        let syn = case.ip(Office, Server) / tcp(port, 443).syn();
        let answer = ask_of(case, &syn, Direction::Inbound, 0, [0, SLICE, SERVICE, 0, 0, 0, 0, 0]);
        assert_eq!(answer.association, host);
    });
}
