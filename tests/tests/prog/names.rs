//! Addresses learned from DNS answers: which answers teach, and what.

use std::{collections::BTreeMap, net::IpAddr};

use nsp_common::{
    learned::{QUOTA_EXACT, Unit},
    verdict::{Lesson, Reason},
};
use nsp_tests::{
    packet::{
        Family::V4,
        Ip, Packet,
        Party::Server,
        dns::{self, A, AAAA, Dns},
        tcp, udp,
    },
    prog::{Case, Lab, Network, everywhere},
};

pub(crate) const RESOLVER: (&str, &str) = ("198.51.100.53", "2001:db8:5::53");
const STRANGER: (&str, &str) = ("198.51.100.7", "2001:db8:5::7");
/// Where names lead to in these stories.
pub(crate) const HOME: (&str, &str) = ("198.51.100.80", "2001:db8:5::80");

/// All may go out to what is below example.com and to one exact name, by 443/tcp.
pub(crate) const POLICY: &str = r#"
[perimeter]
name = "lab"
[profile.p.outbound.below]
fqdns = ["*.example.com"]
ports = ["443/tcp"]
[profile.p.outbound.exact]
fqdns = ["api.example.org", "deep.sub.example.com"]
ports = ["443/tcp"]
[resource.host]
host = true
profile = "p"
access_mode = "enforced"
"#;

pub(crate) fn home(case: &Case<'_>) -> IpAddr {
    if case.family == V4 { HOME.0.parse() } else { HOME.1.parse() }.expect("a constant")
}

pub(crate) fn kind(case: &Case<'_>) -> u16 {
    if case.family == V4 { A } else { AAAA }
}

pub(crate) fn trust(case: &mut Case<'_>) {
    let addresses = [RESOLVER.0, RESOLVER.1].map(|text| text.parse::<IpAddr>().expect("constant"));
    case.trust_resolvers(&addresses);
}

/// A question from a port of its own; answers the port.
pub(crate) fn ask(case: &mut Case<'_>, id: u16, name: &str) -> u16 {
    trust(case);
    let port = case.port();
    let question = dns::query(id, name, kind(case));
    case.outbound(case.ip(Server, RESOLVER) / udp(port, 53) / question).ignored(Reason::Resolver);
    port
}

/// What the lessons were of what happens in `story`.
pub(crate) fn lessons(
    case: &mut Case<'_>,
    story: impl FnOnce(&mut Case<'_>),
) -> BTreeMap<Lesson, u64> {
    let before = case.lab.lessons();
    story(case);
    let after = case.lab.lessons().into_iter();
    let change = after.map(|(lesson, n)| (lesson, n - before.get(&lesson).copied().unwrap_or(0)));
    change.filter(|(_, n)| *n != 0).collect()
}

pub(crate) fn hears(case: &mut Case<'_>, from: (&str, &str), port: u16, message: Dns) {
    let ip: Ip = case.ip(from, Server);
    let _judged = case.inbound(ip / udp(53, port) / message);
}

/// The whole way of a name: asked, answered with [`home`], connected to.
fn resolves(case: &mut Case<'_>, name: &str) -> BTreeMap<Lesson, u64> {
    lessons(case, |case| {
        let port = ask(case, 7, name);
        let answer = dns::query(7, name, kind(case)).response().address(name, home(case), 60);
        hears(case, RESOLVER, port, answer);
    })
}

pub(crate) fn connects(case: &mut Case<'_>, rule: &str) {
    let port = case.port();
    case.outbound(case.ip(Server, HOME) / tcp(port, 443).syn()).allowed(rule);
}

pub(crate) fn is_refused(case: &mut Case<'_>) {
    let port = case.port();
    case.outbound(case.ip(Server, HOME) / tcp(port, 443).syn()).refused(Reason::NoRule);
}

#[test]
fn answer_opens_the_way_before_anybody_has_it() {
    everywhere(POLICY, |case| {
        is_refused(case);
        let told = resolves(case, "www.example.com");
        assert_eq!(told, [(Lesson::Learned, 1), (Lesson::Asked, 1)].into());
        connects(case, "below");
        // To the port that the rule names, and to nowhere else.
        let port = case.port();
        case.outbound(case.ip(Server, HOME) / tcp(port, 80).syn()).refused(Reason::NoRule);
    });
}

#[test]
fn exact_names_and_names_far_below_are_learned_in_any_case() {
    for (name, rule) in [
        ("api.example.org", "exact"),
        ("API.Example.ORG", "exact"),
        ("a.b.c.d.example.com", "below"),
        ("wWw.eXample.com", "below"),
        // The exact name is in both rules: the first in name order.
        ("deep.sub.example.com", "below"),
    ] {
        everywhere(POLICY, |case| {
            assert_eq!(resolves(case, name).get(&Lesson::Learned), Some(&1), "{name}");
            connects(case, rule);
        });
    }
}

#[test]
fn names_that_only_look_alike_teach_nothing() {
    for name in [
        "example.com",
        "notexample.com",
        "www.notexample.com",
        "example.com.evil.test",
        "api.example.org.evil.test",
        "x.api.example.org",
        "com",
    ] {
        everywhere(POLICY, |case| {
            let told = [(Lesson::Asked, 1), (Lesson::Unlisted, 1)].into();
            assert_eq!(resolves(case, name), told, "{name}");
            is_refused(case);
        });
    }
}

#[test]
fn answer_with_another_number_port_resolver_or_question_teaches_nothing() {
    let name = "www.example.com";
    everywhere(POLICY, |case| {
        let port = ask(case, 7, name);
        let other = case.port();
        let at = home(case);
        let kind = kind(case);
        let answer =
            |id, asked: &str| dns::query(id, asked, kind).response().address(asked, at, 60);
        let told = lessons(case, |case| {
            hears(case, RESOLVER, port, answer(8, name));
            hears(case, RESOLVER, other, answer(7, name));
            hears(case, HOME, port, answer(7, name));
            hears(case, STRANGER, port, answer(7, name));
        });
        // What does not come from where a question went is refused before anybody reads it.
        assert_eq!(told, [(Lesson::Unasked, 1)].into());
        let told = lessons(case, |case| {
            hears(case, RESOLVER, port, answer(7, "mail.example.com"));
            let other_kind = dns::query(7, name, if kind == A { AAAA } else { A }).response();
            hears(case, RESOLVER, port, other_kind.address(name, at, 60));
        });
        assert_eq!(told, [(Lesson::Mismatched, 2)].into());
        is_refused(case);
        // The genuine one still counts.
        let told = lessons(case, |case| hears(case, RESOLVER, port, answer(7, name)));
        assert_eq!(told, [(Lesson::Learned, 1)].into());
        connects(case, "below");
    });
}

#[test]
fn first_answer_counts_and_no_other() {
    everywhere(POLICY, |case| {
        let (name, kind) = ("www.example.com", kind(case));
        let port = ask(case, 7, name);
        let empty = dns::query(7, name, kind).response();
        let told = lessons(case, |case| {
            hears(case, RESOLVER, port, empty.clone());
            let late = empty.address(name, home(case), 60);
            hears(case, RESOLVER, port, late);
        });
        assert_eq!(told, [(Lesson::Unasked, 1)].into());
        is_refused(case);
    });
}

#[test]
fn answer_by_another_link_teaches_nothing() {
    everywhere(POLICY, |case| {
        let (name, kind) = ("www.example.com", kind(case));
        let port = ask(case, 7, name);
        case.by(Network::Private);
        let answer = dns::query(7, name, kind).response().address(name, home(case), 60);
        let told = lessons(case, |case| hears(case, RESOLVER, port, answer));
        assert_eq!(told, [(Lesson::Mismatched, 1)].into());
    });
}

#[test]
fn forbidden_addresses_are_not_learned() {
    let name = "www.example.com";
    everywhere(POLICY, |case| {
        let kind = kind(case);
        let v4 = ["10.0.0.1", "127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "240.0.0.1"];
        let v6 = [
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:a00:1::1",
            "::10.0.0.1",
        ];
        let all = v4.iter().chain(&v6).map(|it| it.parse::<IpAddr>().expect("a constant"));
        let all: Vec<IpAddr> = all.collect();
        let port = ask(case, 7, name);
        let answer = all.iter().fold(dns::query(7, name, kind).response(), |answer, address| {
            answer.address(name, *address, 60)
        });
        let answer = answer.address(name, home(case), 60);
        let told = lessons(case, |case| hears(case, RESOLVER, port, answer));
        assert_eq!(told, [(Lesson::Learned, 1), (Lesson::Forbidden, all.len() as u64)].into());
        connects(case, "below");
    });
}

#[test]
fn failures_and_truncated_answers_teach_nothing() {
    let name = "www.example.com";
    everywhere(POLICY, |case| {
        let (at, kind) = (home(case), kind(case));
        let answer = || dns::query(7, name, kind).response().address(name, at, 60);
        for (message, lesson) in [
            (answer().code(2), Lesson::Negative),
            (answer().code(3), Lesson::Negative),
            (answer().truncated(), Lesson::Truncated),
        ] {
            let port = ask(case, 7, name);
            let told = lessons(case, |case| hears(case, RESOLVER, port, message));
            assert_eq!(told, [(lesson, 1)].into());
        }
        let port = ask(case, 7, name);
        let broken = Packet::from(answer()).bytes();
        let told = lessons(case, |case| {
            let ip = case.ip(RESOLVER, Server);
            let _judged = case.inbound(ip / udp(53, port) / broken[..broken.len() - 3].to_vec());
        });
        assert_eq!(told, [(Lesson::Malformed, 1)].into());
        is_refused(case);
    });
}

#[test]
fn aliases_are_credited_to_the_asked_name() {
    everywhere(POLICY, |case| {
        let (name, kind) = ("www.example.com", kind(case));
        let port = ask(case, 7, name);
        let answer = dns::query(7, name, kind)
            .response()
            .alias(name, "edge.cdn.test", 60)
            .alias("edge.cdn.test", "pop.cdn.test", 60)
            .address("pop.cdn.test", home(case), 60)
            .address("evil.test", "203.0.113.99".parse().expect("a constant"), 60);
        let told = lessons(case, |case| hears(case, RESOLVER, port, answer));
        assert_eq!(told, [(Lesson::Learned, 1)].into());
        connects(case, "below");
    });
}

#[test]
fn many_addresses_of_one_answer_are_all_learned() {
    everywhere(POLICY, |case| {
        let (name, kind) = ("many.example.com", kind(case));
        let port = ask(case, 7, name);
        let answer = (1..=40_u8).fold(dns::query(7, name, kind).response(), |answer, host| {
            answer.address(name, [198, 51, 100, 100 + host].into(), 60)
        });
        let told = lessons(case, |case| hears(case, RESOLVER, port, answer));
        assert_eq!(told, [(Lesson::Learned, 40)].into());
    });
}

#[test]
fn new_generation_keeps_what_was_learned_as_far_as_a_rule_is_left() {
    everywhere(POLICY, |case| {
        resolves(case, "www.example.com");
        case.apply(
            &POLICY.replace("[\"*.example.com\"]", "[\"*.example.com\", \"x.example.net\"]"),
        );
        connects(case, "below");
        case.apply(&POLICY.replace("[\"*.example.com\"]", "[\"*.example.net\"]"));
        is_refused(case);
        case.apply(POLICY);
        connects(case, "below");
    });
}

#[test]
fn name_has_so_many_live_addresses_and_the_oldest_that_is_over_gives_way() {
    let mut lab = Lab::load();
    lab.put_in_force(POLICY);
    let unit = Unit { name: lab.identities.name("api.example.org"), quota: QUOTA_EXACT };
    let address = |number: u32| IpAddr::from((0xc633_0000 + number).to_be_bytes());
    let teach =
        |number, expires_s| lab.datapath.teach(address(number), unit, expires_s).expect("it runs");
    for number in 0..QUOTA_EXACT {
        let expires_s = if number == 2 { 1 } else { u32::MAX };
        assert_eq!(teach(number, expires_s), Lesson::Learned);
    }
    let is_known = |number| {
        let learned = lab.datapath.learned_of(address(number)).expect("it can be read");
        learned.is_some_and(|it| it.names.iter().any(|name| name.name == unit.name))
    };
    assert_eq!(teach(1000, u32::MAX), Lesson::Learned);
    assert!(!is_known(2), "its time was over");
    assert!((0..QUOTA_EXACT).filter(|number| *number != 2).all(is_known), "nobody else gave way");
    assert_eq!(teach(1001, u32::MAX), Lesson::OverQuota);
    assert!(!is_known(1001));
    // What is known is prolonged all the same, and other names have quotas of their own.
    assert_eq!(teach(1000, u32::MAX), Lesson::Learned);
    let other = Unit { name: lab.identities.name("deep.sub.example.com"), ..unit };
    let lesson = lab.datapath.teach(address(1001), other, u32::MAX).expect("it runs");
    assert_eq!(lesson, Lesson::Learned);
}

#[test]
fn address_has_so_many_live_names() {
    let lab = Lab::load();
    let address: IpAddr = HOME.0.parse().expect("a constant");
    let teach = |name, expires_s| {
        let unit = Unit { name, quota: QUOTA_EXACT };
        lab.datapath.teach(address, unit, expires_s).expect("it runs")
    };
    for name in 1..=8 {
        assert_eq!(teach(name, if name == 5 { 1 } else { u32::MAX }), Lesson::Learned);
    }
    assert_eq!(teach(9, u32::MAX), Lesson::Learned, "in place of one whose time was over");
    assert_eq!(teach(10, u32::MAX), Lesson::NoRoom);
    let learned = lab.datapath.learned_of(address).expect("it can be read").expect("known");
    let mut names: Vec<u32> = learned.names.iter().map(|it| it.name).collect();
    names.sort_unstable();
    assert_eq!(names, [1, 2, 3, 4, 6, 7, 8, 9]);
}
