//! Captured conversations with resolvers, packet by packet: the programs learn what another reader says
//! they teach, and nothing else.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Mutex,
};

use nsp_agent::policy::Fqdn;
use nsp_common::{
    name::NameKey,
    verdict::{Direction, Verdict},
};
use nsp_tests::{
    data::shared_data,
    messages::{
        capture::{Captured, PORT, packets},
        compare, mutation,
        oracle::Oracle,
        reference,
    },
    packet::{Family, Packet, Party::Server, eth, udp},
    prog::{
        Case, Hook, on,
        taught::{Expected, now_s},
    },
};

const RESOLVER: (&str, &str) = ("198.51.100.53", "2001:db8:5::53");

/// What became of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    packets: usize,
    /// Answers that are in one packet.
    answers: usize,
    addresses: usize,
}

#[test]
fn captures_teach_the_programs_what_another_reader_says() {
    teach(Captured::without_padding);
}

/// As it comes off a real cable.
#[test]
fn captures_in_padded_frames_teach_the_programs_the_same() {
    teach(Captured::clone);
}

fn teach(framed: impl Fn(&Captured) -> Captured) {
    let mut captures: Vec<(String, Vec<Captured>)> =
        paths().iter().map(|path| read(path)).collect();
    captures.push(("own sample".to_owned(), sample()));
    for (_, packets) in &mut captures {
        *packets = packets.iter().map(&framed).collect();
    }
    let mut all = Told::default();
    for (name, packets) in &captures {
        let told = replay_everywhere(name, packets);
        println!("{name}: {told:?}");
        all.answers += told.answers;
        all.addresses += told.addresses;
    }
    println!("{} captures: {all:?}", captures.len());
    let least = if captures.len() > 1 { (60, 60) } else { (4, 30) };
    assert!(all.answers >= least.0 && all.addresses >= least.1, "{all:?}");
}

/// The captures beside the workspace; none where there are none.
fn paths() -> Vec<PathBuf> {
    let Some(data) = shared_data() else { return Vec::new() };
    let entries = fs::read_dir(data.join("pcap")).expect("a directory");
    let paths: BTreeSet<PathBuf> = entries.map(|it| it.expect("an entry").path()).collect();
    paths.into_iter().collect()
}

fn read(path: &Path) -> (String, Vec<Captured>) {
    let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
    (name, packets(path))
}

/// Answers of our own, where there are no captures.
fn sample() -> Vec<Captured> {
    let answers = mutation::answers().into_iter().enumerate();
    let packet = |(number, answer): (usize, Vec<u8>)| {
        let port = 4000 + u16::try_from(number).expect("a few");
        let packet = Family::V4.ip(RESOLVER, Server) / udp(PORT, port) / answer;
        Captured { bytes: packet.bytes() }
    };
    answers.map(packet).collect()
}

fn replay_everywhere(name: &str, packets: &[Captured]) -> Told {
    let names = names(packets);
    let told = Mutex::new(Vec::new());
    on(&[Family::V4], &Hook::ALL, &policy(&names), |case| {
        let result = replay(case, name, packets, &names);
        told.lock().expect("nobody panicked").push(result);
    });
    let told = told.into_inner().expect("nobody panicked");
    assert!(told.iter().all(|it| *it == told[0]), "{name} on the kinds of devices: {told:?}");
    told[0]
}

/// Names of a policy for all that is asked about, as far as it can have them: what is below two labels,
/// and names that have no more.
fn names(packets: &[Captured]) -> Vec<String> {
    let messages = packets.iter().filter_map(|packet| packet.transport()?.message);
    let asked = messages.filter_map(|message| NameKey::text(&reference::question(&message)?.0));
    let listed = asked.map(|name| match name.rsplitn(3, '.').collect::<Vec<_>>()[..] {
        [last, second, _] => format!("*.{second}.{last}"),
        _ => name,
    });
    let listed: BTreeSet<String> = listed.filter(|name| name.parse::<Fqdn>().is_ok()).collect();
    listed.into_iter().collect()
}

/// All may go out to these names.
fn policy(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        r#"
[perimeter]
name = "lab"
[profile.p.outbound.captured]
fqdns = [{}]
ports = ["443/tcp"]
allow_public_suffix = true
[resource.host]
host = true
profile = "p"
access_mode = "enforced"
"#,
        if names.is_empty() { "\"*.example.com\"".to_owned() } else { names.join(", ") }
    )
}

fn replay(case: &mut Case<'_>, name: &str, packets: &[Captured], names: &[String]) -> Told {
    let resolver = [RESOLVER.0, RESOLVER.1].map(|text| text.parse().expect("a constant"));
    case.trust_resolvers(&resolver);
    case.lab.forget_names();
    let mut host = Host {
        oracle: Oracle::of_names(names),
        names: names.iter().map(|name| case.lab.identities.name(name)).collect(),
        expected: Expected::default(),
        answers: 0,
        asked: BTreeSet::new(),
        resolvers: BTreeSet::new(),
    };
    for packet in packets {
        host.sees(case, packet);
        host.expected.check(case.lab, || format!("{name} by {:?} after {packet:02x?}", case.hook));
    }
    let Host { expected, answers, .. } = host;
    Told { packets: packets.len(), answers, addresses: expected.len() }
}

/// The host that had the conversations, as far as it is known.
struct Host {
    oracle: Oracle,
    /// Identities of the policy's names.
    names: Vec<u32>,
    expected: Expected,
    answers: usize,
    /// Questions by port and number: those that the capture has.
    asked: BTreeSet<(u16, [u8; 2])>,
    /// Who answered in the capture.
    resolvers: BTreeSet<IpAddr>,
}

impl Host {
    fn sees(&mut self, case: &mut Case<'_>, packet: &Captured) {
        let Some(source) = packet.source() else { return };
        let Some(transport) = packet.transport() else {
            // A later fragment of an answer.
            if self.resolvers.contains(&source) {
                runs(case, packet, Direction::Inbound);
            }
            return;
        };
        let message = transport.message.as_deref();
        let says_response = message.and_then(|it| it.get(2)).map(|flags| flags >> 7 == 1);
        let (source_port, destination_port) = (transport.source, transport.destination);
        if source_port != PORT && destination_port != PORT {
            return;
        }
        // Some ask from the port of DNS too.
        let is_answer = match says_response {
            Some(says) if source_port == destination_port => says,
            _ => source_port == PORT,
        };
        if is_answer {
            self.resolvers.insert(source);
            self.hears(case, packet, destination_port, message);
        } else if runs(case, packet, Direction::Outbound)
            && let Some(message) = message
        {
            self.notes(source_port, message);
        }
    }

    fn notes(&mut self, port: u16, message: &[u8]) {
        self.oracle.asks(port, message);
        if let Some(id) = message.first_chunk() {
            self.asked.insert((port, *id));
        }
    }

    fn hears(&mut self, case: &mut Case<'_>, packet: &Captured, port: u16, message: Option<&[u8]>) {
        if let Some(message) = message
            && let Some(id) = message.first_chunk()
            && !self.asked.contains(&(port, *id))
            && packet.bytes[if packet.is_v4() { 9 } else { 6 }] == 17
        {
            // The capture began after the question.
            self.asks_for(case, packet, port, message);
        }
        let before_s = now_s();
        let has_passed = runs(case, packet, Direction::Inbound);
        let (true, Some(message)) = (has_passed, message) else { return };
        self.answers += 1;
        let lesson = compare::answer(message).lesson();
        let taught = self.oracle.hears(port, message, lesson);
        self.expected.add(&taught, &self.names, &(before_s..=now_s()));
    }

    /// Asks what the message answers.
    fn asks_for(&mut self, case: &mut Case<'_>, packet: &Captured, port: u16, message: &[u8]) {
        let Some(question) = question_of(message) else { return };
        let family = if packet.is_v4() { Family::V4 } else { Family::V6 };
        let bytes = (family.ip(Server, RESOLVER) / udp(port, PORT) / question.clone()).bytes();
        if runs(case, &Captured { bytes }, Direction::Outbound) {
            self.notes(port, &question);
        }
    }
}

/// The question that a message repeats.
fn question_of(message: &[u8]) -> Option<Vec<u8>> {
    let (key, _) = reference::question(message)?;
    // A key has as many bytes as its name on the wire, where no pointer can be.
    let mut question = message.get(..12 + key.len() + 4)?.to_vec();
    question[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    Some(question)
}

/// Runs a packet between the lab's host and resolver; whether it passes.
fn runs(case: &mut Case<'_>, packet: &Captured, direction: Direction) -> bool {
    let family = if packet.is_v4() { Family::V4 } else { Family::V6 };
    let resolver = if packet.is_v4() { RESOLVER.0 } else { RESOLVER.1 };
    let resolver: IpAddr = resolver.parse().expect("a constant");
    let host = Server.address(family);
    let packet = match direction {
        Direction::Inbound => packet.between(resolver, host),
        Direction::Outbound => packet.between(host, resolver),
    };
    let bytes = if case.hook == Hook::Bare {
        packet.bytes
    } else {
        let kind = if family == Family::V4 { 0x0800 } else { 0x86dd };
        (Packet::from(eth().ethertype(kind)) / packet.bytes).bytes()
    };
    let verdict = case.verdict(&bytes, direction).expect("it can be run");
    verdict == Verdict::Pass
}
