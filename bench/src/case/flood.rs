//! What a datagram costs that is dropped, from the driver's hand to its end, in a flood whose sources take
//! turns. nsp counts and records every one, and the records are taken out between runs.
//!
//! Rows are ns a packet with all that the injector itself costs: `drop` is that and nothing else. Subjects
//! take turns, forth and back.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use nsp_agent::{
    compile::Compiled,
    daemon::pace,
    datapath::{Engine, Events},
};
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
/// How long a run is to take; one of nsp takes as long as the agent waits before it takes out records again.
const RUN: Duration = Duration::from_millis(200);
/// Quick runs of others, who keep none.
const QUICK_RUN: Duration = Duration::from_millis(80);

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

    /// Those of a set. What holds no more than its ten thousand is measured once.
    fn of(plan: &Plan, is_first: bool) -> Vec<Self> {
        let is_wanted = |it: &Self| match it {
            Self::NftPrerouting => !plan.quick,
            Self::Ipset => !plan.quick || is_first,
            Self::XdpFilter => is_first,
            _ => true,
        };
        Self::ALL.into_iter().filter(is_wanted).collect()
    }

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

const SIZES: [usize; 2] = [100_000, 1_000_000];

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let sets = SIZES.into_iter().filter(|count| plan.wants(*count));
    let sets = sets.map(Set::of).collect::<Result<Vec<_>>>()?;
    if sets.is_empty() {
        return Ok(());
    }
    let policies: Vec<_> = sets.iter().map(|set| &set.policy).collect();
    let mut kernel = Kernel::load(&plan.object, Engine::RangeTable, 1 << 16, &policies)?;
    let mut events = kernel.datapath.take_events().context("the events are taken")?;
    for (at, set) in sets.iter().enumerate() {
        let subjects = Subject::of(plan, at == 0);
        let mut stage = Stage::set_up(&mut kernel, &mut events, &subjects, set)?;
        stage.measure(plan, report)?;
    }
    report.note(
        "In a flood nft and ipset find the prefixes joined already, and ask for the port first, so that frames \
         to a closed port never cost them a look-up. nsp keeps records of its sources; they only drop.",
    );
    if plan.quick {
        report.note("Peers of a quick flood are the cheaper of nft's hooks, and ipset at 100,000.");
    }
    Ok(())
}

/// Prefixes, the policy that admits them, and who the frames come from.
struct Set {
    prefixes: Vec<IpNet>,
    policy: Compiled,
    covered: Covered,
    inside: Peers,
    outside: Peers,
}

impl Set {
    fn of(count: usize) -> Result<Self> {
        let prefixes = prefixes::v4(count);
        let mut random = Random(count as u64);
        Ok(Self {
            policy: policy::of_lists(&[&prefixes])?,
            covered: Covered::of(&prefixes),
            inside: peers::within(&prefixes, &mut random),
            outside: peers::outside(&prefixes, "v4", &mut random),
            prefixes,
        })
    }
}

/// One row to be.
struct Item {
    subject: Subject,
    mix: Mix,
    frames: u32,
    samples: Samples,
}

/// What a run came to.
struct Ran {
    ns_per_frame: f64,
    /// How long the next one is to take.
    next: Duration,
}

/// All subjects, each with the same prefixes in force.
struct Stage<'a> {
    kernel: &'a mut Kernel,
    events: &'a mut Events,
    set: &'a Set,
    _filter: Option<XdpFilter>,
    sites: Vec<(Subject, Site)>,
    /// Takes the namespaces with it.
    _sites: Sites,
}

impl<'a> Stage<'a> {
    fn set_up(
        kernel: &'a mut Kernel,
        events: &'a mut Events,
        subjects: &[Subject],
        set: &'a Set,
    ) -> Result<Self> {
        kernel.put_in_force(&set.policy)?;
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        // nft joins them itself, which takes it longer; ipset does not, and is faster with fewer.
        let joined = IpNet::aggregate(&set.prefixes);
        let mut filter = None;
        let mut made = Sites::new();
        let mut sites = Vec::new();
        for subject in subjects {
            let site = made.add(subject.name())?;
            match subject {
                Subject::Nsp => {
                    let public = Link { group: 0, ..Link::default() };
                    kernel.datapath.set_links(&[(site.device, public)])?;
                }
                Subject::NftIngress => {
                    load_nft(Hook::Ingress, &site, &joined, &path("ingress.nft"))?;
                }
                Subject::NftPrerouting => {
                    load_nft(Hook::Prerouting, &site, &joined, &path("prerouting.nft"))?;
                }
                Subject::Ipset => {
                    fs::write(path("ipset"), ipset::file(&joined)?)?;
                    ipset::load(&site, &path("ipset"))?;
                    ipset::hook(&site, OPEN)?;
                }
                Subject::XdpFilter => {
                    let listed = set.inside.iter().take(xdp_filter::ADDRESSES_MAX);
                    filter = XdpFilter::load(kernel, listed.map(|(address, _)| *address))?;
                    if filter.is_none() {
                        continue;
                    }
                }
                Subject::Drop | Subject::None => {}
            }
            sites.push((*subject, site));
        }
        Ok(Self { kernel, events, set, _filter: filter, sites, _sites: made })
    }

    fn measure(&mut self, plan: &Plan, report: &mut Report) -> Result<()> {
        for subject in self.subjects() {
            self.check(subject).with_context(|| subject.name())?;
        }
        let mut items = Vec::new();
        for mix in [Mix::Miss, Mix::Hit] {
            for subject in self.subjects().into_iter().filter(|it| mix.is_for(*it)) {
                items.push(Item { subject, mix, frames: 20_000, samples: Samples::default() });
            }
        }
        let rounds = if plan.quick { 5 } else { 21 };
        let usual = if plan.quick { QUICK_RUN } else { RUN };
        for round in 0..=rounds {
            let mut turn: Vec<_> = items.iter_mut().collect();
            if round % 2 == 1 {
                turn.reverse();
            }
            for item in turn {
                let Ran { ns_per_frame, next } = self.run(item, usual)?;
                // The first round warms up, and says how many frames a run takes.
                match round {
                    0 => item.frames = (next.as_nanos() as f64 / ns_per_frame) as u32,
                    _ => item.samples.push(ns_per_frame),
                }
            }
        }
        for Item { subject, mix, samples, .. } in items {
            let (name, metric) = (subject.name(), mix.metric());
            let size = match subject {
                Subject::XdpFilter => xdp_filter::ADDRESSES_MAX,
                _ => self.set.prefixes.len(),
            };
            report.add(Row::of("flood", name, size, "v4", metric, "ns/packet", &samples));
        }
        report.note(match self.subjects().contains(&Subject::XdpFilter) {
            _ if self.set.prefixes.len() != SIZES[0] => return Ok(()),
            true => {
                "xdp-filter knows exact addresses only, 10,000 at most, and no port beside an address: its \
                 row is a flood from addresses that are not among its 10,000."
            }
            false => "xdp-filter is not installed, and its row is not there.",
        });
        Ok(())
    }

    fn subjects(&self) -> Vec<Subject> {
        self.sites.iter().map(|(subject, _)| *subject).collect()
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

    /// One run. Afterwards the records are taken out, as the agent does, who then rests.
    fn run(&mut self, item: &Item, usual: Duration) -> Result<Ran> {
        let Item { subject, mix, frames, .. } = *item;
        let (peers, port) = match (mix, subject) {
            // Nobody drops these; the stack has no socket for them.
            (Mix::Miss, Subject::None) => (&self.set.outside, CLOSED),
            (Mix::Miss, _) => (&self.set.outside, OPEN),
            (Mix::Hit, _) => (&self.set.inside, CLOSED),
        };
        let frame = frame::datagram(port);
        self.prepare(subject, peers, &frame)?;
        let site = self.sites.iter().find(|(it, _)| *it == subject).context("no site")?;
        let ns_per_frame = live::run(self.kernel, subject.entry(), &site.1, &frame, frames)?;
        let mut next = usual;
        if subject == Subject::Nsp {
            let before = pace::spent();
            self.kernel.datapath.drain_records()?;
            next = pace::rest(pace::spent().saturating_sub(before)).max(RUN);
            while self.events.take_one().is_some() {}
        }
        Ok(Ran { ns_per_frame, next })
    }

    /// Whether exactly those of some thousand sources reach a socket at the open port that should.
    fn check(&mut self, subject: Subject) -> Result<()> {
        let inside = self.set.inside.iter().take(ASKED / 2);
        let outside = self.set.outside.iter().take(ASKED / 2);
        let asked: Peers = inside.chain(outside).copied().collect();
        let frame = frame::datagram(OPEN);
        self.prepare(subject, &asked, &frame)?;
        let site = &self.sites.iter().find(|(it, _)| *it == subject).context("no site")?.1;
        let socket = site.namespace.enter(|| UdpSocket::bind(("0.0.0.0", OPEN)))?;
        set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        live::run(self.kernel, subject.entry(), site, &frame, asked.len() as u32)?;
        let mut arrived: Vec<SocketAddr> = Vec::new();
        while let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
            arrived.push(from);
        }
        let passes = |peer: &&peers::Peer| match subject {
            Subject::Drop => false,
            Subject::None => true,
            _ => self.set.covered.contains(peer.0),
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

fn load_nft(hook: Hook, site: &Site, joined: &[IpNet], path: &Path) -> Result<()> {
    fs::write(path, nft::file(hook, joined, OPEN)?)?;
    nft::load(site, path).map(drop)
}
