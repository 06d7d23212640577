//! What a datagram costs that is dropped, from the driver's hand to its end, in a flood whose sources take
//! turns. nsp counts and records every one, and the records are taken out between runs.
//!
//! Rows are ns a packet with all that the injector itself costs: `drop` is that and nothing else. Subjects
//! take turns, forth and back.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use nsp_agent::datapath::{Engine, Events};
use nsp_common::link::Link;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::packet::CLOSED;
use crate::{
    Plan, frame,
    kernel::Kernel,
    live,
    peer::{Site, Sites, ipset, nft, nft::Hook, xdp_filter, xdp_filter::XdpFilter},
    peers::{self, Peers},
    policy::{self, OPEN},
    prefixes::{self, Covered, Random},
    report::{Report, Row},
    sample::Samples,
};

/// Sources that are asked for before anything is timed: half of them in the set.
const ASKED: usize = 4096;
/// What a socket's buffer must hold for that: each datagram counts with the page that it lies in, or two.
const BUFFER_BYTES: usize = ASKED * 8192;
/// How long a run is to take, which is how long the agent waits before it takes out records in a flood
/// (nsp-agent/src/daemon.rs, `DRAIN_DELAY`). Quick runs are half as long, so that records are taken out twice
/// as often.
const RUN_NS: f64 = 200e6;

/// Who drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Nsp,
    NftIngress,
    NftPrerouting,
    Ipset,
    XdpFilter,
    Drop,
    None,
}

impl Subject {
    const ALL: [Self; 7] = [
        Self::Nsp,
        Self::NftIngress,
        Self::NftPrerouting,
        Self::Ipset,
        Self::XdpFilter,
        Self::Drop,
        Self::None,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nsp => "nsp",
            Self::NftIngress => "nft-ingress",
            Self::NftPrerouting => "nft-prerouting",
            Self::Ipset => "ipset",
            Self::XdpFilter => "xdp-filter",
            Self::Drop => "drop",
            Self::None => "none",
        }
    }

    /// The program that frames run into.
    const fn entry(self) -> &'static str {
        match self {
            Self::XdpFilter => "bench_vary4_linear",
            _ => "bench_vary4",
        }
    }
}

/// Which frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mix {
    /// From random addresses outside of the set, to the port that is open.
    Miss,
    /// From addresses in the set, to a port that is not open.
    Hit,
}

impl Mix {
    const fn metric(self) -> &'static str {
        match self {
            Self::Miss => "outside, open port",
            Self::Hit => "in the set, closed port",
        }
    }

    /// Whether the subject drops these for what they are.
    fn is_for(self, subject: Subject) -> bool {
        match self {
            Self::Miss => true,
            // Addresses or ports, not both; and who does not look drops all frames alike.
            Self::Hit => !matches!(subject, Subject::XdpFilter | Subject::Drop | Subject::None),
        }
    }
}

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    for count in [100_000, 1_000_000] {
        if plan.wants(count) {
            size(plan, count, report)?;
        }
    }
    Ok(())
}

/// One row to be.
struct Item {
    subject: Subject,
    mix: Mix,
    frames: u32,
    samples: Samples,
}

fn size(plan: &Plan, count: usize, report: &mut Report) -> Result<()> {
    let prefixes = prefixes::v4(count);
    let mut random = Random(count as u64);
    let sources = Sources {
        covered: Covered::of(&prefixes),
        inside: peers::within(&prefixes, &mut random),
        outside: peers::outside(&prefixes, "v4", &mut random),
    };
    let mut stage = Stage::set_up(plan, &prefixes, &sources)?;
    for subject in stage.subjects() {
        stage.check(subject, &sources).with_context(|| subject.name())?;
    }
    report.note(match stage.is_there(Subject::XdpFilter) {
        true => {
            "xdp-filter knows exact addresses only, 10,000 at most, and no port beside an address: its row is \
             a flood from addresses that are not among its 10,000."
        }
        false => "xdp-filter is not installed, and its row is not there.",
    });
    report.note(
        "nft and ipset are asked for the port first, so that frames to a closed port never cost them a \
         look-up; nsp keeps a record of every source, they only drop.",
    );
    let mut items = Vec::new();
    for mix in [Mix::Miss, Mix::Hit] {
        for subject in stage.subjects().into_iter().filter(|it| mix.is_for(*it)) {
            items.push(Item { subject, mix, frames: 20_000, samples: Samples::default() });
        }
    }
    let (rounds, run_ns) = if plan.quick { (7, RUN_NS / 2.0) } else { (21, RUN_NS) };
    for round in 0..=rounds {
        let mut turn: Vec<_> = items.iter_mut().collect();
        if round % 2 == 1 {
            turn.reverse();
        }
        for item in turn {
            let ns = stage.run(item, &sources)?;
            // The first round warms up, and says how many frames a run takes.
            match round {
                0 => item.frames = (run_ns / ns) as u32,
                _ => item.samples.push(ns),
            }
        }
    }
    for Item { subject, mix, samples, .. } in items {
        let held = if subject == Subject::XdpFilter { xdp_filter::ADDRESSES_MAX } else { count };
        report.add(Row::of(
            "flood",
            subject.name(),
            held,
            "v4",
            mix.metric(),
            "ns/packet",
            &samples,
        ));
    }
    Ok(())
}

/// Who the frames come from.
struct Sources {
    covered: Covered,
    inside: Peers,
    outside: Peers,
}

/// All subjects, each with the same prefixes in force.
struct Stage {
    kernel: Kernel,
    events: Events,
    _filter: Option<XdpFilter>,
    sites: Vec<(Subject, Site)>,
    /// Takes the namespaces with it.
    _sites: Sites,
}

impl Stage {
    fn set_up(plan: &Plan, prefixes: &[IpNet], sources: &Sources) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let policy = policy::of_lists(&[prefixes])?;
        let mut kernel = Kernel::load(&plan.object, Engine::RangeTable, 1 << 16, &[&policy])?;
        kernel.put_in_force(&policy)?;
        let events = kernel.datapath.take_events().context("the events are taken")?;
        let listed =
            sources.inside.iter().take(xdp_filter::ADDRESSES_MAX).map(|(address, _)| *address);
        let filter = XdpFilter::load(&mut kernel, listed)?;
        let mut made = Sites::new();
        let mut sites = Vec::new();
        for subject in Subject::ALL {
            let site = made.add(subject.name())?;
            match subject {
                Subject::Nsp => {
                    let public = Link { group: 0, ..Link::default() };
                    kernel.datapath.set_links(&[(site.device, public)])?;
                }
                Subject::NftIngress => {
                    load_nft(Hook::Ingress, &site, prefixes, &path("ingress.nft"))?;
                }
                Subject::NftPrerouting => {
                    load_nft(Hook::Prerouting, &site, prefixes, &path("prerouting.nft"))?;
                }
                Subject::Ipset => {
                    fs::write(path("ipset"), ipset::file(prefixes)?)?;
                    ipset::load(&site, &path("ipset"))?;
                    ipset::hook(&site, OPEN)?;
                }
                Subject::XdpFilter if filter.is_none() => continue,
                Subject::XdpFilter | Subject::Drop | Subject::None => {}
            }
            sites.push((subject, site));
        }
        Ok(Self { kernel, events, _filter: filter, sites, _sites: made })
    }

    fn subjects(&self) -> Vec<Subject> {
        self.sites.iter().map(|(subject, _)| *subject).collect()
    }

    fn is_there(&self, subject: Subject) -> bool {
        self.subjects().contains(&subject)
    }

    /// Frames of these peers run into this subject from now on.
    fn prepare(&mut self, subject: Subject, peers: &Peers, frame: &[u8]) -> Result<()> {
        self.kernel.come_from(peers, frame);
        match subject {
            Subject::Nsp => self.kernel.measure("nsp_xdp", false),
            Subject::Drop => self.kernel.measure("bench_noop", false),
            _ => self.kernel.measure_the_stack(),
        }
    }

    /// One run; ns a packet. Afterwards the records are taken out, as the agent does.
    fn run(&mut self, item: &Item, sources: &Sources) -> Result<f64> {
        let Item { subject, mix, frames, .. } = *item;
        let (peers, port) = match (mix, subject) {
            // Nobody drops these; the stack has no socket for them.
            (Mix::Miss, Subject::None) => (&sources.outside, CLOSED),
            (Mix::Miss, _) => (&sources.outside, OPEN),
            (Mix::Hit, _) => (&sources.inside, CLOSED),
        };
        let frame = frame::datagram(port);
        self.prepare(subject, peers, &frame)?;
        let site = self.sites.iter().find(|(it, _)| *it == subject).context("no site")?;
        let ns = live::run(&mut self.kernel, subject.entry(), &site.1, &frame, frames)?;
        if subject == Subject::Nsp {
            self.kernel.datapath.drain_records()?;
            while self.events.take_one().is_some() {}
        }
        Ok(ns)
    }

    /// Whether exactly those of some thousand sources reach a socket at the open port that should.
    fn check(&mut self, subject: Subject, sources: &Sources) -> Result<()> {
        let inside = sources.inside.iter().take(ASKED / 2);
        let outside = sources.outside.iter().take(ASKED / 2);
        let asked: Peers = inside.chain(outside).copied().collect();
        let frame = frame::datagram(OPEN);
        self.prepare(subject, &asked, &frame)?;
        let site = &self.sites.iter().find(|(it, _)| *it == subject).context("no site")?.1;
        let socket = site.namespace.enter(|| UdpSocket::bind(("0.0.0.0", OPEN)))?;
        set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        live::run(&mut self.kernel, subject.entry(), site, &frame, asked.len() as u32)?;
        let mut arrived: Vec<SocketAddr> = Vec::new();
        while let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
            arrived.push(from);
        }
        let passes = |peer: &&peers::Peer| match subject {
            Subject::Drop => false,
            Subject::None => true,
            _ => sources.covered.contains(peer.0),
        };
        let expected: Vec<_> =
            asked.iter().filter(passes).map(|it| SocketAddr::from(*it)).collect();
        let wrong = arrived.iter().find(|it| !expected.contains(it));
        let missing = expected.iter().find(|it| !arrived.contains(it));
        ensure!(
            arrived == expected,
            "{wrong:?} got through, and {missing:?} did not ({} of {})",
            arrived.len(),
            expected.len()
        );
        Ok(())
    }
}

/// What is in the kernel is the same when nft finds the prefixes joined already, and there sooner.
fn load_nft(hook: Hook, site: &Site, prefixes: &[IpNet], path: &Path) -> Result<()> {
    fs::write(path, nft::file(hook, &IpNet::aggregate(&prefixes.to_vec()), OPEN)?)?;
    nft::load(site, path).map(drop)
}
