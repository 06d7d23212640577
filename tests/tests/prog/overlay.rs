//! The live overlay: what is allowed and blocked for a time, on the packets of both.

use std::{thread::sleep, time::Duration};

use nsp_agent::{
    compile::overlay::{Entry, Target},
    policy::model::{PortRange, PortSet, PortSpec, Transport},
};
use nsp_common::{
    learned::{QUOTA_EXACT, Unit},
    overlay::action,
    verdict::{Category, Direction, Lesson, Reason},
};
use nsp_tests::{
    packet::{
        Family::V4,
        Party::{Member, Office, Private, Server, Stranger},
        tcp, udp,
    },
    prog::{Case, ENFORCED, Network, everywhere, transition},
};
use rustix::time::{ClockId, clock_gettime};

const BOTH_WAYS: u8 = action::INBOUND | action::OUTBOUND;
const INBOUND: Category = Category::PublicInboundPerimeterRulesAllowed;

/// Seconds of the clock that the programs go by.
fn now_s() -> u32 {
    clock_gettime(ClockId::MonotonicCoarse).tv_sec as u32
}

/// About the address of the story's family, for a minute.
fn about(case: &mut Case<'_>, ends: (&str, &str), actions: u8) -> Entry {
    let text = if case.family == V4 { ends.0 } else { ends.1 };
    let verb = if actions & action::BLOCK == 0 { "allow" } else { "block" };
    Entry {
        target: Target::parse(text).expect("a prefix or a name"),
        actions,
        ports: PortSet::Any,
        profile: 0,
        until_s: now_s() + 60,
        identity: case.lab.identities.temporary("", &format!("{verb} it")),
    }
}

const STRANGER: (&str, &str) = ("198.51.100.7", "2001:db8:5::7");
const OFFICE: (&str, &str) = ("203.0.113.5", "2001:db8:100::5");

fn tcp_port(port: u16) -> PortSet {
    let range = PortRange { transport: Transport::Tcp, first: port, last: port };
    PortSet::listed([PortSpec::Range(range)])
}

#[test]
fn parties_are_where_these_stories_think() {
    assert_eq!((Stranger.v4().to_string(), Stranger.v6().to_string()), strings(STRANGER));
    assert_eq!((Office.v4().to_string(), Office.v6().to_string()), strings(OFFICE));
}

fn strings((v4, v6): (&str, &str)) -> (String, String) {
    (v4.to_owned(), v6.to_owned())
}

#[test]
fn what_is_allowed_passes_both_ways_and_nobody_else() {
    const NEXT_DOOR: (&str, &str) = ("198.51.100.8", "2001:db8:5::8");
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        let entry = about(case, STRANGER, BOTH_WAYS);
        case.lab.overlay(&[entry]);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).allowed("allow it");
        case.outbound(case.ip(Server, Stranger) / tcp(5432, port).syn_ack()).passes_by(
            "allow it",
            Reason::Rule,
            INBOUND,
        );
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432))
            .follows("allow it", Direction::Inbound);
        case.outbound(case.ip(Server, Stranger) / udp(port, 9999)).allowed("allow it");
        case.inbound(case.ip(Stranger, Server) / udp(9999, port))
            .follows("allow it", Direction::Outbound);
        let ip = case.ip(NEXT_DOOR, Server);
        case.inbound(ip / tcp(port, 5432).syn()).refused(Reason::NoRule);
        // What nobody asked for is no conversation, whoever sends it.
        let other = case.port();
        case.inbound(case.ip(Stranger, Server) / tcp(other, 5432).syn_ack())
            .refused(Reason::NoFlow);
        // Gone when it is withdrawn.
        case.lab.overlay(&[]);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn conversation_ends_with_what_allowed_it_and_comes_back_with_it() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let entry = about(case, STRANGER, action::INBOUND);
        case.lab.overlay(std::slice::from_ref(&entry));
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).allowed("allow it");
        case.outbound(case.ip(Server, Stranger) / tcp(5432, port).syn_ack()).passes_by(
            "allow it",
            Reason::Rule,
            INBOUND,
        );
        let say = |case: &mut Case<'_>| case.ip(Stranger, Server) / tcp(port, 5432);
        let packet = say(case);
        case.inbound(packet).follows("allow it", Direction::Inbound);
        for gone in [vec![], vec![Entry { until_s: now_s(), ..entry.clone() }]] {
            case.lab.overlay(&gone);
            let packet = say(case);
            case.inbound(packet).drops_by("allow it", Reason::Lapsed);
            case.lab.overlay(std::slice::from_ref(&entry));
            let packet = say(case);
            case.inbound(packet).follows("allow it", Direction::Inbound);
        }
        // A new generation changes nothing about it.
        case.apply(&format!("{ENFORCED}\n"));
        let packet = say(case);
        case.inbound(packet).follows("allow it", Direction::Inbound);
        case.lab.overlay(&[]);
        let packet = say(case);
        case.inbound(packet).drops_by("allow it", Reason::Lapsed);
        // A rule that allows it makes it an ordinary one.
        case.apply(&format!(
            "{ENFORCED}\n[profile.p.inbound.z]\naddress_prefixes = [\"198.51.100.7\", \"2001:db8:5::7\"]\n"
        ));
        let packet = say(case);
        case.inbound(packet).follows("z", Direction::Inbound);
    });
}

#[test]
fn kernel_keeps_the_time_by_itself() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let until_s = now_s() + 2;
        let allow = Entry { until_s, ..about(case, STRANGER, action::OUTBOUND) };
        let block = Entry { until_s, ..about(case, OFFICE, BOTH_WAYS | action::BLOCK) };
        case.lab.overlay(&[allow, block]);
        case.outbound(case.ip(Server, Stranger) / udp(port, 9999)).allowed("allow it");
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn())
            .drops_by("block it", Reason::Blocked);
        // Nobody writes anything from here on.
        while now_s() < until_s {
            sleep(Duration::from_millis(50));
        }
        case.outbound(case.ip(Server, Stranger) / udp(port, 9999))
            .drops_by("allow it", Reason::Lapsed);
        let other = case.port();
        case.outbound(case.ip(Server, Stranger) / udp(other, 9999)).refused(Reason::NoRule);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
    });
}

#[test]
fn block_cuts_a_live_conversation_and_wins_over_every_allow() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        case.outbound(case.ip(Server, Office) / tcp(5432, port).syn_ack()).passes_by(
            "office",
            Reason::Rule,
            INBOUND,
        );
        case.inbound(case.ip(Office, Server) / tcp(port, 5432))
            .follows("office", Direction::Inbound);
        let entries =
            [about(case, OFFICE, BOTH_WAYS), about(case, OFFICE, BOTH_WAYS | action::BLOCK)];
        case.lab.overlay(&entries);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432))
            .drops_by("block it", Reason::Blocked);
        let other = case.port();
        case.inbound(case.ip(Office, Server) / tcp(other, 5432).syn())
            .drops_by("block it", Reason::Blocked);
        case.outbound(case.ip(Server, Office) / tcp(other, 443).syn())
            .drops_by("block it", Reason::Blocked);
        // Afterwards it goes on where it was.
        case.lab.overlay(&[]);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432))
            .follows("office", Direction::Inbound);
    });
}

#[test]
fn private_peers_and_members_are_blocked_too() {
    const PRIVATE: (&str, &str) = ("10.0.0.0/8", "fd00::/8");
    const MEMBER: (&str, &str) = ("192.0.2.10", "2001:db8:1::10");
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let entries = [
            about(case, PRIVATE, BOTH_WAYS | action::BLOCK),
            about(case, MEMBER, BOTH_WAYS | action::BLOCK),
        ];
        case.by(Network::Private);
        case.inbound(case.ip(Private, Server) / tcp(port, 22).syn())
            .passes(Reason::Private, Category::PrivateInboundAllowed);
        case.lab.overlay(&entries);
        case.inbound(case.ip(Private, Server) / tcp(port, 22).syn())
            .drops_by("block it", Reason::Blocked);
        case.by(Network::Public);
        case.inbound(case.ip(Member, Server) / tcp(port, 22).syn())
            .drops_by("block it", Reason::Blocked);
        case.outbound(case.ip(Server, Member) / udp(port, 9)).drops_by("block it", Reason::Blocked);
        case.lab.overlay(&[]);
        case.inbound(case.ip(Member, Server) / tcp(port, 22).syn())
            .passes(Reason::Intra, Category::IntraPerimeterInboundAllowed);
    });
}

#[test]
fn block_drops_in_transition_and_what_is_not_ip_or_infrastructure_passes() {
    everywhere(&transition(), |case| {
        let port = case.port();
        case.inbound(case.ip(Stranger, Server) / tcp(port, 80).syn()).would_deny(Reason::NoRule);
        let entry = about(case, STRANGER, BOTH_WAYS | action::BLOCK);
        case.lab.overlay(&[entry]);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 80).syn())
            .drops_by("block it", Reason::Blocked);
        // A block of the resolver's address does not take the host off its network.
        let resolver = case.family_address(STRANGER);
        case.trust_resolvers(&[resolver]);
        case.outbound(case.ip(Server, Stranger) / udp(port, 53)).ignored(Reason::Resolver);
        case.inbound(case.ip(Stranger, Server) / udp(53, port)).ignored(Reason::Resolver);
    });
}

#[test]
fn in_transition_what_was_allowed_is_tolerated_afterwards() {
    everywhere(&transition(), |case| {
        let port = case.port();
        let entry = about(case, STRANGER, action::OUTBOUND);
        case.lab.overlay(&[entry]);
        case.outbound(case.ip(Server, Stranger) / udp(port, 9999)).allowed("allow it");
        case.lab.overlay(&[]);
        case.outbound(case.ip(Server, Stranger) / udp(port, 9999))
            .passes(Reason::Flow, Category::PublicOutboundResourceRulesAllowed);
        // And kept like any other when the resource becomes enforced.
        case.apply(ENFORCED);
        case.outbound(case.ip(Server, Stranger) / udp(port, 9999))
            .passes(Reason::Kept, Category::PublicOutboundPerimeterRulesAllowed);
    });
}

#[test]
fn way_and_ports_narrow_an_entry() {
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let inbound = Entry { ports: tcp_port(8080), ..about(case, STRANGER, action::INBOUND) };
        case.lab.overlay(&[inbound]);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 8080).syn()).allowed("allow it");
        for near in [8079, 8081] {
            let ip = case.ip(Stranger, Server);
            case.inbound(ip / tcp(port, near).syn()).refused(Reason::NoRule);
        }
        case.inbound(case.ip(Stranger, Server) / udp(port, 8080)).refused(Reason::NoRule);
        // The port of the side that is asked, and not the asker's.
        let ip = case.ip(Stranger, Server);
        case.inbound(ip / tcp(8080, 22).syn()).refused(Reason::NoRule);
        case.outbound(case.ip(Server, Stranger) / tcp(port, 8080).syn()).refused(Reason::NoRule);

        let icmp_only = PortSet::listed([PortSpec::Icmp]);
        let ping = Entry { ports: icmp_only, ..about(case, STRANGER, action::OUTBOUND) };
        case.lab.overlay(&[ping]);
        let ip = case.ip(Server, Stranger);
        case.outbound(ip / case.family.echo_request(port, 1)).allowed("allow it");
        case.outbound(case.ip(Server, Stranger) / tcp(port, 8080).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn profile_narrows_an_entry_to_its_resources() {
    let policy = format!(
        "{ENFORCED}\n[profile.other]\n[resource.web]\nports = [\"8000/tcp\"]\n\
         profile = \"other\"\naccess_mode = \"enforced\"\n"
    );
    everywhere(&policy, |case| {
        let port = case.port();
        let profile = case.lab.identities.profile("other");
        let allow = Entry { profile, ..about(case, STRANGER, action::INBOUND) };
        let block = Entry { profile, ..about(case, OFFICE, BOTH_WAYS | action::BLOCK) };
        case.lab.overlay(&[allow, block]);
        case.inbound(case.ip(Office, Server) / tcp(port, 5432).syn()).allowed("office");
        case.inbound(case.ip(Stranger, Server) / tcp(port, 5432).syn()).refused(Reason::NoRule);
        case.concerns("web");
        case.inbound(case.ip(Stranger, Server) / tcp(port, 8000).syn()).allowed("allow it");
        case.inbound(case.ip(Office, Server) / tcp(port, 8000).syn())
            .drops_by("block it", Reason::Blocked);
    });
}

#[test]
fn narrower_prefix_has_what_the_wider_one_says() {
    const WIDE: (&str, &str) = ("198.51.100.0/24", "2001:db8:5::/48");
    const NEXT_DOOR: (&str, &str) = ("198.51.100.8", "2001:db8:5::8");
    everywhere(ENFORCED, |case| {
        let port = case.port();
        let wide = about(case, WIDE, BOTH_WAYS);
        let narrow = Entry { ports: tcp_port(9), ..about(case, STRANGER, BOTH_WAYS) };
        case.lab.overlay(&[wide.clone(), narrow.clone()]);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 80).syn()).allowed("allow it");
        case.inbound(case.ip(NEXT_DOOR, Server) / tcp(port, 80).syn()).allowed("allow it");
        // A block of the one address in what is allowed around it, and the reverse.
        let hole = about(case, STRANGER, BOTH_WAYS | action::BLOCK);
        case.lab.overlay(&[wide, hole]);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 80).syn())
            .drops_by("block it", Reason::Blocked);
        case.inbound(case.ip(NEXT_DOOR, Server) / tcp(port, 80).syn()).allowed("allow it");
        let around = about(case, WIDE, BOTH_WAYS | action::BLOCK);
        case.lab.overlay(&[around, narrow.clone()]);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 9).syn())
            .drops_by("block it", Reason::Blocked);
        // When the wider one goes, the narrower one is as if it had been alone.
        case.lab.overlay(&[narrow]);
        case.inbound(case.ip(Stranger, Server) / tcp(port, 9).syn()).allowed("allow it");
        case.inbound(case.ip(Stranger, Server) / tcp(port, 80).syn()).refused(Reason::NoRule);
        case.inbound(case.ip(NEXT_DOOR, Server) / tcp(port, 9).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn names_are_allowed_and_blocked_by_what_they_were_learned_as() {
    const NAME: (&str, &str) = ("shop.example.com", "shop.example.com");
    let policy = ENFORCED.replace(
        "[resource.host]",
        "[profile.p.outbound.named]\nfqdns = [\"cdn.example.net\"]\n[resource.host]",
    );
    everywhere(&policy, |case| {
        let port = case.port();
        let address = case.family_address(STRANGER);
        let [shop, cdn] =
            ["shop.example.com", "cdn.example.net"].map(|it| case.lab.identities.name(it));
        let entry = about(case, NAME, action::OUTBOUND);
        case.lab.overlay(std::slice::from_ref(&entry));
        case.outbound(case.ip(Server, Stranger) / tcp(port, 443).syn()).refused(Reason::NoRule);
        let teach = |case: &Case<'_>, name, expires_s| {
            let unit = Unit { name, quota: QUOTA_EXACT };
            let lesson = case.lab.datapath.teach(address, unit, expires_s).expect("it runs");
            assert_eq!(lesson, Lesson::Learned);
        };
        teach(case, shop, now_s() + 60);
        let (key, _) =
            case.outbound(case.ip(Server, Stranger) / udp(port, 443)).allowed("allow it");
        assert_eq!(key.name, shop);
        // The end of the address cuts nothing, the end of the entry does.
        case.lab.datapath.forget(address, shop).expect("it runs");
        case.outbound(case.ip(Server, Stranger) / udp(port, 443))
            .follows("allow it", Direction::Outbound);
        let other = case.port();
        case.outbound(case.ip(Server, Stranger) / udp(other, 443)).refused(Reason::NoRule);
        case.lab.overlay(&[]);
        case.outbound(case.ip(Server, Stranger) / udp(port, 443))
            .drops_by("allow it", Reason::Lapsed);

        // A name that a rule has, blocked: by name, and what has its address.
        teach(case, cdn, now_s() + 60);
        let third = case.port();
        case.outbound(case.ip(Server, Stranger) / udp(third, 443)).allowed("named");
        let block = Entry {
            target: Target::parse("*.example.net").expect("a name"),
            ..about(case, NAME, BOTH_WAYS | action::BLOCK)
        };
        case.lab.overlay(&[block]);
        case.outbound(case.ip(Server, Stranger) / udp(third, 443))
            .drops_by("block it", Reason::Blocked);
        let fourth = case.port();
        case.outbound(case.ip(Server, Stranger) / udp(fourth, 443))
            .drops_by("block it", Reason::Blocked);
        case.lab.datapath.forget(address, cdn).expect("it runs");
        // Its conversation was opened for the name, whatever the address is now.
        case.outbound(case.ip(Server, Stranger) / udp(third, 443))
            .drops_by("block it", Reason::Blocked);
    });
}
