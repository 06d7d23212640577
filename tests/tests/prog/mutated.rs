//! Answers that were right once: the programs learn from them what another reader says, and nothing else.

use std::{
    env,
    sync::atomic::{AtomicUsize, Ordering},
};

use nsp_common::verdict::{Direction, Verdict};
use nsp_tests::{
    messages::{
        compare::{Reading, answer},
        mutation::{Dice, answers, mutate},
        oracle::Oracle,
    },
    packet::{Packet, Party::Server, eth, udp},
    prog::{
        Case, Hook, Lab, everywhere,
        taught::{Expected, now_s},
    },
};

const RESOLVER: (&str, &str) = ("198.51.100.53", "2001:db8:5::53");

const NAMES: [&str; 2] = ["*.example.com", "*.example.org"];

const POLICY: &str = r#"
[perimeter]
name = "lab"
[profile.p.outbound.below]
fqdns = ["*.example.com", "*.example.org"]
ports = ["443/tcp"]
[resource.host]
host = true
profile = "p"
access_mode = "enforced"
"#;

/// Families times kinds of device.
const STORIES: usize = 6;

/// Addresses that are learned and forgotten keep their places in the ring of their name. When so many
/// are taken, another set of programs begins with empty rings.
const PLACES_MAX: usize = 20_000;

#[derive(Default)]
struct Tally {
    alike: AtomicUsize,
    stricter: AtomicUsize,
    taught: AtomicUsize,
    addresses: AtomicUsize,
}

impl Tally {
    fn count(&self, reading: &Reading) {
        match reading {
            Reading::Alike(_) => self.alike.fetch_add(1, Ordering::Relaxed),
            Reading::OursAlone(_) => self.stricter.fetch_add(1, Ordering::Relaxed),
            Reading::Refused => 0,
        };
    }
}

#[test]
fn mutated_answers_teach_the_programs_what_another_reader_says() {
    let rounds = if env::var_os("NSP_TEST_FULL").is_some() { 100_000 } else { 6_000 };
    let tally = Tally::default();
    let story = AtomicUsize::new(1);
    everywhere(POLICY, |case| {
        let seed = story.fetch_add(1, Ordering::Relaxed) as u64;
        mutated(case, &mut Dice::new(0x6e73_7021 * seed), rounds / STORIES + 1, &tally);
    });
    let Tally { alike, stricter, taught, addresses } = &tally;
    let [alike, stricter, taught, addresses] =
        [alike, stricter, taught, addresses].map(|it| it.load(Ordering::Relaxed));
    println!(
        "{rounds} answers: {alike} read alike, {stricter} by ours alone; {taught} taught {addresses} addresses"
    );
    assert!(alike > rounds / 10 && taught > rounds / 20 && addresses > taught, "too few are left");
}

fn mutated(case: &mut Case<'_>, dice: &mut Dice, rounds: usize, tally: &Tally) {
    trust(case);
    case.lab.forget_names();
    let names = NAMES.map(|name| case.lab.identities.name(name));
    let (port, answers) = (case.port(), answers());
    // Stories share a set: a long one begins with its own.
    let mut places = if rounds > 2_000 { PLACES_MAX } else { 0 };
    for round in 0..rounds {
        if places >= PLACES_MAX {
            *case.lab = Lab::load();
            case.lab.put_in_force(POLICY);
            trust(case);
            places = 0;
        }
        let mut genuine = answers[dice.throw(answers.len())].clone();
        genuine[..2].copy_from_slice(&(round as u16).to_be_bytes());
        let mut mutated = genuine.clone();
        mutate(&mut mutated, dice);
        let question = question(&genuine);
        let mut host = Oracle::of_names(&NAMES);
        assert!(host.asks(port, &question));
        runs(case, Direction::Outbound, port, question);
        let mut expected = Expected::default();
        // Should nobody have believed the first, the genuine one still counts.
        for message in [&mutated, &genuine] {
            if !host.awaits(port, &genuine) {
                break;
            }
            let before_s = now_s();
            runs(case, Direction::Inbound, port, message.clone());
            let heard_s = before_s..=now_s();
            let reading = answer(message);
            tally.count(&reading);
            let taught = host.hears(port, message, reading.lesson());
            expected.add(&taught, &names, &heard_s);
            expected.check(case.lab, || {
                format!("round {round} on {:?} by {:?}: {message:02x?}", case.family, case.hook)
            });
        }
        tally.taught.fetch_add(usize::from(!expected.is_empty()), Ordering::Relaxed);
        tally.addresses.fetch_add(expected.len(), Ordering::Relaxed);
        places += expected.len();
        case.lab.forget_names();
    }
}

fn trust(case: &mut Case<'_>) {
    let resolvers = [RESOLVER.0, RESOLVER.1].map(|text| text.parse().expect("a constant"));
    case.trust_resolvers(&resolvers);
}

/// The question of a genuine answer, which ends behind the first name.
fn question(answer: &[u8]) -> Vec<u8> {
    let name = answer[12..].iter().position(|byte| *byte == 0).expect("a name");
    let mut question = answer[..12 + name + 5].to_vec();
    question[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    question
}

/// Both pass whatever becomes of them: only what is learned differs.
fn runs(case: &mut Case<'_>, direction: Direction, port: u16, message: Vec<u8>) {
    let packet: Packet = match direction {
        Direction::Inbound => case.ip(RESOLVER, Server) / udp(53, port) / message,
        Direction::Outbound => case.ip(Server, RESOLVER) / udp(port, 53) / message,
    };
    let packet = if case.hook == Hook::Bare { packet } else { eth() / packet };
    let verdict = case.verdict(&packet.bytes(), direction).expect("it can be run");
    assert_eq!(verdict, Verdict::Pass, "{direction:?} {packet}");
}
