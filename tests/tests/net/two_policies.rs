//! Two policies about the same packets, and which of them is in force: the old, the new, or something that is
//! neither. They differ in prefixes, ports, members, names, modes and in which resource a packet is about, so
//! that tables of the one beside tables of the other show.

mod probes;
mod texts;

use std::{cell::RefCell, collections::HashSet, fs, path::Path, time::Duration};

use nsp_tests::{
    agent::{Agent, AgentBuilder},
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Family},
    sockets::{Delivered, FrameSender},
};
use serde_json::{Value, json};

pub(crate) use self::texts::POLICIES;
use self::{
    probes::{PROBES, Probe, Way},
    texts::{HOSTS, SECOND},
};
use crate::seen;

/// One of the two, by its place.
pub(crate) type Which = usize;

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InForce {
    /// One of the two, wholly.
    Wholly(Which),
    /// What both allow is dropped, or what both drop passes; which packets.
    Neither(Vec<String>),
    /// This one of the first, that one of the second.
    Mixed(Vec<String>),
}

/// Where the two are in force: the server, and those who look.
pub(crate) struct Scene {
    pub(crate) world: World,
    directory: tempfile::TempDir,
    arrived: [[Delivered; 2]; 2],
    wire: FrameSender,
    out: FrameSender,
    /// The next port that no packet came from yet.
    source: RefCell<u16>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        const TCP: u8 = 6;
        const UDP: u8 = 17;
        let world = World::builder().clients(&[]).build();
        let server = world.server();
        server.ip(&format!(
            "address add {}/24 dev up0\naddress add {}/64 dev up0 nodad\n",
            SECOND.0, SECOND.1
        ));
        world.settle();
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        fs::write(directory.path().join("resolv.conf"), "").expect("a file of ours");
        fs::write(directory.path().join("hosts"), HOSTS).expect("a file of ours");
        Self {
            arrived: BOTH.map(|family| [TCP, UDP].map(|it| Delivered::open(server, family, it))),
            wire: world.wire(),
            out: FrameSender::open(server, "up0"),
            source: RefCell::new(2000),
            directory,
            world,
        }
    }

    /// An agent that enforces the first.
    pub(crate) fn agent(&self) -> AgentBuilder {
        let file = |name: &str| Path::join(self.directory.path(), name);
        Agent::builder(self.world.server())
            .policy(POLICIES[0])
            .argument("--resolv-conf")
            .argument(file("resolv.conf"))
            .argument("--hosts")
            .argument(file("hosts"))
    }

    /// Waits until the addresses of the names are known.
    #[track_caller]
    pub(crate) fn learned(&self, agent: &Agent) {
        let all = Deadline::after(Duration::from_secs(10)).poll(|| {
            let status = seen::status(agent);
            let names = status["names"].as_array().expect("a list of names");
            let is_known = |it: &Value| it["addresses"].as_array().is_some_and(|it| it.len() == 2);
            (names.len() == 2 && names.iter().all(is_known)).then_some(())
        });
        assert!(all.is_some(), "{:#}", seen::status(agent)["names"]);
    }

    /// What is in force now. What looks like a mixture is looked at again, for the kernel may have changed from
    /// one to the other meanwhile: a change that nobody confirmed.
    pub(crate) fn in_force(&self) -> InForce {
        let first = self.look();
        if matches!(first, InForce::Wholly(_)) { first } else { self.look() }
    }

    fn look(&self) -> InForce {
        let verdicts = self.verdicts();
        let mut fits = [true; 2];
        let (mut neither, mut mixed) = (Vec::new(), Vec::new());
        for (probe, family, passed) in &verdicts {
            let line = format!("{probe} {}", if *passed { "passes" } else { "is dropped" });
            if probe.fates[0] == probe.fates[1] {
                if *passed != probe.fates[0] {
                    neither.push(format!("{family:?} {line}"));
                }
                continue;
            }
            let is_second = *passed == probe.fates[1];
            fits[usize::from(!is_second)] = false;
            mixed.push(format!(
                "{family:?} {line}, as by the {}",
                ["first", "second"][usize::from(is_second)]
            ));
        }
        match fits {
            _ if !neither.is_empty() => InForce::Neither(neither),
            [false, false] => InForce::Mixed(mixed),
            [_, is_second] => InForce::Wholly(usize::from(is_second)),
        }
    }

    /// Sends each packet, and sees what becomes of it.
    fn verdicts(&self) -> Vec<(Probe, Family, bool)> {
        const WITHIN: Duration = Duration::from_secs(2);
        const STRAGGLERS: Duration = Duration::from_millis(20);
        let mut sent = Vec::new();
        for probe in PROBES {
            for family in BOTH {
                let source = self.next_source();
                let packet = probe.packet(family, source);
                let passed = match probe.way {
                    Way::In => {
                        self.wire.send(packet);
                        false
                    }
                    Way::Out => self.out.passes(packet),
                };
                sent.push((probe, family, source, passed));
            }
        }
        for (sockets, family) in self.arrived.iter().zip(BOTH) {
            // A socket for IPv4 gives the header too.
            let at = if family == Family::V4 { family.header_length() } else { 0 };
            for (socket, is_tcp) in sockets.iter().zip([true, false]) {
                let here = |(probe, of, ..): &&(Probe, Family, u16, bool)| {
                    probe.way == Way::In && *of == family && probe.is_tcp == is_tcp
                };
                let last = sent.iter().rfind(here).map(|it| it.2);
                let arrived = RefCell::new(HashSet::new());
                let see = |datagram: &[u8]| {
                    let source =
                        datagram.get(at..at + 2).map(|it| u16::from_be_bytes([it[0], it[1]]));
                    arrived.borrow_mut().extend(source);
                    source == last
                };
                socket.arrives(WITHIN, see);
                socket.count(STRAGGLERS, see);
                let arrived = arrived.into_inner();
                for it in sent.iter_mut().filter(|it| here(&&**it)) {
                    it.3 = arrived.contains(&it.2);
                }
            }
        }
        sent.into_iter().map(|(probe, family, _, passed)| (probe, family, passed)).collect()
    }

    /// A port that no conversation has yet: what is judged is a first packet.
    fn next_source(&self) -> u16 {
        let mut source = self.source.borrow_mut();
        *source = if *source == 62_000 { 2000 } else { *source + 1 };
        *source
    }
}

/// Which of the two the agent says is in force: by its resources.
///
/// # Panics
/// When it is neither.
#[track_caller]
pub(crate) fn said_by(status: &Value) -> Which {
    let resources = status["resources"].as_array().expect("a list of resources");
    let names: Vec<&str> = resources.iter().filter_map(|it| it["name"].as_str()).collect();
    let has = |prefix: &str| names.iter().any(|it| it.starts_with(prefix));
    match (has("first-"), has("second-")) {
        (true, false) => 0,
        (false, true) => 1,
        _ => panic!("{names:?}"),
    }
}

/// Which of the two the agent's file is.
pub(crate) fn in_file(agent: &Agent) -> Which {
    let text = fs::read_to_string(agent.home().policy()).expect("a file of ours");
    usize::from(text == POLICIES[1])
}

/// Fails unless status says whether the file is what is running.
#[track_caller]
pub(crate) fn file_is_told_of(agent: &Agent, which: Which) {
    assert_eq!(seen::status(agent)["fileDiffers"], json!(in_file(agent) != which));
}
