//! Answers that nobody gave: none is believed, each is counted, and the genuine ones among them are.

use std::{
    collections::BTreeMap,
    env,
    net::IpAddr,
    ops::AddAssign,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use nsp_common::verdict::{Direction, Lesson, Reason, Verdict};
use nsp_tests::{
    messages::oracle::Taught,
    packet::{
        Family, Packet,
        Party::Server,
        dns::{A, AAAA, Dns, query},
        eth, udp,
    },
    prog::{
        Case, DEVICE, Hook, everywhere,
        taught::{Expected, now_s},
    },
};

const RESOLVER: (&str, &str) = ("198.51.100.53", "2001:db8:5::53");
/// Trusted too, but not asked.
const OTHER_RESOLVER: (&str, &str) = ("198.51.100.54", "2001:db8:5::54");
const STRANGER: (&str, &str) = ("198.51.100.7", "2001:db8:5::7");

const POLICY: &str = r#"
[perimeter]
name = "lab"
[profile.p.outbound.below]
fqdns = ["*.example.com"]
ports = ["443/tcp"]
[resource.host]
host = true
profile = "p"
access_mode = "enforced"
"#;

/// Families times kinds of device.
const STORIES: u32 = 6;
/// Different frames of a kind in a round, and how often each comes.
const FRAMES: u16 = 3;
const TIMES: u32 = 10;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Number,
    Port,
    Question,
    Kind,
    Resolver,
    Source,
    /// It is a question.
    Direction,
    /// It comes after the genuine one.
    Second,
}

/// Those that come before the genuine answer.
const BEFORE: [Wrong; 7] = [
    Wrong::Number,
    Wrong::Port,
    Wrong::Question,
    Wrong::Kind,
    Wrong::Resolver,
    Wrong::Source,
    Wrong::Direction,
];

impl Wrong {
    /// How it is judged, and what becomes of what it says.
    fn fate(self) -> (Reason, Verdict, Option<Lesson>) {
        match self {
            // Of no conversation: nobody reads it.
            Self::Port | Self::Resolver | Self::Source => (Reason::NoRule, Verdict::Drop, None),
            Self::Number | Self::Second => (Reason::Resolver, Verdict::Pass, Some(Lesson::Unasked)),
            Self::Question | Self::Kind => {
                (Reason::Resolver, Verdict::Pass, Some(Lesson::Mismatched))
            }
            Self::Direction => (Reason::Resolver, Verdict::Pass, Some(Lesson::Malformed)),
        }
    }
}

/// Counted, or what should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    judged: BTreeMap<String, u64>,
    lessons: BTreeMap<Lesson, u64>,
}

impl Tally {
    fn add(&mut self, (reason, verdict, lesson): (Reason, Verdict, Option<Lesson>), times: u64) {
        *self.judged.entry(format!("Inbound {verdict:?} {reason:?}")).or_default() += times;
        if let Some(lesson) = lesson {
            *self.lessons.entry(lesson).or_default() += times;
        }
    }
}

/// How much was sent, and what the programs took for it.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    spoofed: u64,
    genuine: u64,
    took: Duration,
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        let Self { spoofed, genuine, took } = other;
        self.spoofed += spoofed;
        self.genuine += genuine;
        self.took += took;
    }
}

#[test]
fn spoofed_answers_teach_nothing_and_each_is_counted() {
    let is_full = env::var_os("NSP_TEST_FULL").is_some();
    let frames = if is_full { 1_000_000 } else { 50_000 };
    let per_round = (BEFORE.len() as u32 + 1) * u32::from(FRAMES) * TIMES;
    let rounds = frames / STORIES / per_round + 1;
    let load = Mutex::new(Load::default());
    let started = Instant::now();
    everywhere(POLICY, |case| {
        *load.lock().expect("nobody panicked") += spoofed(case, rounds);
    });
    let load = load.into_inner().expect("nobody panicked");
    let Load { spoofed, genuine, took } = load;
    println!(
        "{spoofed} spoofed answers and {genuine} genuine ones in {:.1} s; the programs took {:.0} ns for a spoofed one",
        started.elapsed().as_secs_f64(),
        took.as_nanos() as f64 / spoofed as f64,
    );
    assert!(spoofed >= u64::from(frames));
}

#[test]
fn late_answers_teach_nothing() {
    if env::var_os("NSP_TEST_FULL").is_none() {
        println!("takes half a minute: only in the long form");
        return;
    }
    everywhere(POLICY, |case| {
        trust(case);
        let port = case.port();
        runs(case, Direction::Outbound, &question(case, port, 1));
        thread::sleep(Duration::from_secs(31));
        let mut tally = Tally::default();
        let before = begin(case);
        for number in 0..FRAMES {
            let late = answer(case, 1, evil(case, number));
            let late = framed(case, case.ip(RESOLVER, Server) / udp(53, port) / late);
            repeats(case, &late);
            tally.add((Reason::Resolver, Verdict::Pass, Some(Lesson::Late)), u64::from(TIMES));
        }
        end(case, &before, &tally);
        Expected::default().check(case.lab, || "late answers".to_owned());
    });
}

fn spoofed(case: &mut Case<'_>, rounds: u32) -> Load {
    trust(case);
    case.lab.forget_names();
    let name = case.lab.identities.name("*.example.com");
    let port = case.port();
    let (mut tally, mut load) = (Tally::default(), Load::default());
    let before = begin(case);
    for round in 0..rounds {
        let id = round as u16;
        let asked = question(case, port, id);
        runs(case, Direction::Outbound, &asked);
        *tally.judged.entry("Outbound Pass Resolver".to_owned()).or_default() += 1;
        *tally.lessons.entry(Lesson::Asked).or_default() += 1;
        for wrong in BEFORE {
            load.took += spoofs(case, wrong, port, id, &mut tally);
        }
        Expected::default().check(case.lab, || format!("round {round}, before the answer"));
        // The genuine one, and some that are a moment late.
        let heard_s = now_s();
        let address = genuine(case, round);
        let message = answer(case, id, address);
        let frame = framed(case, case.ip(RESOLVER, Server) / udp(53, port) / message);
        runs(case, Direction::Inbound, &frame);
        tally.add((Reason::Resolver, Verdict::Pass, Some(Lesson::Learned)), 1);
        load.took += spoofs(case, Wrong::Second, port, id, &mut tally);
        let mut expected = Expected::default();
        let taught = Taught { name: 0, address, ttl_s: 60 };
        expected.add(&[taught], &[name], &(heard_s..=now_s()));
        expected
            .check(case.lab, || format!("round {round} on {:?} by {:?}", case.family, case.hook));
        case.lab.forget_names();
        load.genuine += 1;
    }
    let all: u64 = tally.judged.values().sum();
    load.spoofed = all - 2 * load.genuine;
    end(case, &before, &tally);
    load
}

/// Frames of a kind, each different and each more than once.
fn spoofs(case: &mut Case<'_>, wrong: Wrong, port: u16, id: u16, tally: &mut Tally) -> Duration {
    let mut took = Duration::ZERO;
    for number in 0..FRAMES {
        let evil = evil(case, number);
        let kind = kind(case);
        let name = name_of(id);
        let other_kind = if kind == A { AAAA } else { A };
        let message = match wrong {
            Wrong::Number => {
                query(id ^ (1 << number), &name, kind).response().address(&name, evil, 60)
            }
            Wrong::Question => {
                let other = format!("x{number}.example.com");
                query(id, &other, kind).response().address(&other, evil, 60)
            }
            Wrong::Kind => query(id, &name, other_kind).response().address(&name, evil, 60),
            Wrong::Direction => query(id, &name, kind).address(&name, evil, 60),
            Wrong::Port | Wrong::Resolver | Wrong::Source | Wrong::Second => answer(case, id, evil),
        };
        let from = match wrong {
            Wrong::Resolver => OTHER_RESOLVER,
            Wrong::Source => STRANGER,
            _ => RESOLVER,
        };
        let to = if wrong == Wrong::Port { 60_000 + number } else { port };
        let frame = framed(case, case.ip(from, Server) / udp(53, to) / message);
        took += repeats(case, &frame);
        tally.add(wrong.fate(), u64::from(TIMES));
    }
    took
}

fn trust(case: &mut Case<'_>) {
    let resolvers = [RESOLVER.0, RESOLVER.1, OTHER_RESOLVER.0, OTHER_RESOLVER.1];
    case.trust_resolvers(&resolvers.map(|text| text.parse().expect("a constant")));
}

fn kind(case: &Case<'_>) -> u16 {
    if case.family == Family::V4 { A } else { AAAA }
}

fn name_of(id: u16) -> String {
    format!("n{id}.example.com")
}

fn question(case: &Case<'_>, port: u16, id: u16) -> Vec<u8> {
    let message = query(id, &name_of(id), kind(case));
    framed(case, case.ip(Server, RESOLVER) / udp(port, 53) / message)
}

fn answer(case: &Case<'_>, id: u16, address: IpAddr) -> Dns {
    let name = name_of(id);
    query(id, &name, kind(case)).response().address(&name, address, 60)
}

/// Where spoofed answers would lead.
fn evil(case: &Case<'_>, number: u16) -> IpAddr {
    let last = 100 + number as u8;
    if kind(case) == A {
        [203, 0, 113, last].into()
    } else {
        [0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, u16::from(last)].into()
    }
}

fn genuine(case: &Case<'_>, round: u32) -> IpAddr {
    let last = round as u16 % 200;
    if kind(case) == A {
        [198, 51, 100, last as u8].into()
    } else {
        [0x2001, 0xdb8, 5, 0, 0, 0, 1, last].into()
    }
}

fn framed(case: &Case<'_>, packet: Packet) -> Vec<u8> {
    if case.hook == Hook::Bare { packet.bytes() } else { (eth() / packet).bytes() }
}

fn runs(case: &mut Case<'_>, direction: Direction, frame: &[u8]) {
    let verdict = case.verdict(frame, direction).expect("it can be run");
    assert_eq!(verdict, Verdict::Pass, "{direction:?} {frame:02x?}");
}

fn repeats(case: &Case<'_>, frame: &[u8]) -> Duration {
    let program = case.hook.program(Direction::Inbound);
    let run = |times| {
        let took = case.lab.datapath.run_repeatedly(program, frame, DEVICE, times);
        took.expect("it can be run") * times
    };
    // More than one run in a call of XDP changes the kernel's dispatcher: milliseconds each time.
    if case.hook == Hook::Xdp { (0..TIMES).map(|_| run(1)).sum() } else { run(TIMES) }
}

/// What was counted before; changes from here on are looked at.
fn begin(case: &mut Case<'_>) -> BTreeMap<Lesson, u64> {
    let _before = case.lab.delta();
    case.lab.lessons()
}

/// Everything that was counted since is in the tally, and nothing else.
fn end(case: &mut Case<'_>, before: &BTreeMap<Lesson, u64>, tally: &Tally) {
    let is_judged = |name: &String| name.starts_with("Inbound ") || name.starts_with("Outbound ");
    let judged = case.lab.delta().into_iter().filter(|(name, _)| is_judged(name));
    let change =
        case.lab.lessons().into_iter().map(|(lesson, count)| {
            (lesson, count - before.get(&lesson).copied().unwrap_or_default())
        });
    let counted = Tally {
        judged: judged.map(|(name, (packets, _))| (name, packets)).collect(),
        lessons: change.filter(|(_, count)| *count != 0).collect(),
    };
    assert_eq!(&counted, tally, "counted (left), sent (right)");
}
