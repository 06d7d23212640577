//! What a packet costs, by test runs over frames whose peers take turns.
//!
//! Rows are ns a packet, and include the row `noop`: a program that changes the frame and calls one that
//! does nothing. Ratios are of what is above it.

use anyhow::{Result, ensure};
use ipnet::IpNet;
use nsp_agent::compile::Compiled;
use nsp_tests::packet::flag::SYN;

use crate::{
    Plan, frame,
    kernel::{ENGINES, Kernel, XDP_DROP, XDP_PASS},
    peers::{self, Peers},
    policy::{self, OPEN},
    prefixes::{self, Random},
    report::Report,
    turns::{self, Item},
};

/// A port that no rule is for.
pub(crate) const CLOSED: u16 = 5432;
/// Frames whose verdict is asked before anything is timed.
const ASKED: usize = 2_000;
/// Room for conversations, of which there are none.
const FLOWS: u32 = 1 << 16;
/// Rules that IPv6 prefixes are dealt to, so that neighbours are of different classes; those of the real
/// tables likewise, by who announces them. The others of IPv4 are one list, as in the sets of the peers.
const RULES: usize = 64;

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let sets = sets(plan, report)?;
    let policies: Vec<_> = sets.iter().map(|set| &set.policy).collect();
    if policies.is_empty() {
        return Ok(());
    }
    let mut kernels = Kernel::load_engines(&plan.object, FLOWS, &policies)?;
    sets.iter().try_for_each(|set| set.measure(plan, &mut kernels, report))
}

/// Prefixes, and the policy that admits them.
struct Set {
    family: &'static str,
    /// What metrics begin with.
    name: &'static str,
    prefixes: Vec<IpNet>,
    policy: Compiled,
}

fn sets(plan: &Plan, report: &mut Report) -> Result<Vec<Set>> {
    let (v4, v6): (&[usize], &[usize]) = if plan.quick {
        (&[10, 100_000, 1_000_000], &[250_000])
    } else {
        (&[10, 1_000, 10_000, 100_000, 1_000_000], &[10, 1_000, 10_000, 250_000])
    };
    let mut sets = Vec::new();
    for count in v4.iter().filter(|count| plan.wants(**count)) {
        let prefixes = prefixes::v4(*count);
        sets.push(Set::new("v4", "", &[&prefixes])?);
    }
    for count in v6.iter().filter(|count| plan.wants(**count)) {
        let lists = prefixes::dealt(&prefixes::v6(*count), RULES);
        sets.push(Set::new("v6", "", &lists.iter().map(Vec::as_slice).collect::<Vec<_>>())?);
    }
    for family in if plan.quick { &["v6"][..] } else { &["v4", "v6"] } {
        match prefixes::real(family, RULES) {
            Some(lists) if plan.wants(lists.iter().map(Vec::len).sum()) => {
                let lists: Vec<_> = lists.iter().map(Vec::as_slice).collect();
                sets.push(Set::new(family, "real table, ", &lists)?);
            }
            Some(_) => {}
            None => report.note(
                "Rows of the real routing table are left out: bgp_prefix_to_asn_2015-11.dat.gz is not in \
                 ../shared/data.",
            ),
        }
    }
    Ok(sets)
}

/// Mixes of addresses, and how metrics name them.
const HIT: (usize, &str) = (0, "hit");
const MISS: (usize, &str) = (1, "miss");
const ZIPF: (usize, &str) = (2, "zipf");

impl Set {
    fn new(family: &'static str, name: &'static str, lists: &[&[IpNet]]) -> Result<Self> {
        Ok(Self { family, name, prefixes: lists.concat(), policy: policy::of_lists(lists)? })
    }

    fn measure(&self, plan: &Plan, kernels: &mut [Kernel], report: &mut Report) -> Result<()> {
        let Self { family, prefixes, policy, .. } = self;
        let mut random = Random(prefixes.len() as u64);
        let mixes = [
            peers::within(prefixes, &mut random),
            peers::outside(prefixes, family, &mut random),
            if plan.quick { Peers::default() } else { peers::zipf(prefixes, &mut random) },
        ];
        for kernel in &mut *kernels {
            kernel.put_in_force(policy)?;
            self.agrees(kernel, &mixes)?;
        }
        let items = self.items(plan, &mixes);
        turns::time(plan, kernels, &items, (family, prefixes.len()), report)
    }

    /// Before anything is timed: peers of the prefixes are admitted where their rules are for, others and
    /// to other ports are not.
    fn agrees(&self, kernel: &Kernel, mixes: &[Peers]) -> Result<()> {
        for ((mix, _), port, expected) in
            [(HIT, OPEN, XDP_PASS), (HIT, CLOSED, XDP_DROP), (MISS, OPEN, XDP_DROP)]
        {
            let syn = frame::segment(self.family, port, SYN);
            for peer in mixes[mix].iter().step_by(mixes[mix].len() / ASKED) {
                let verdict = kernel.verdict("nsp_xdp", &frame::from_peer(&syn, *peer))?;
                let (address, _) = peer;
                ensure!(verdict == expected, "{address} to {port}: {verdict}, not {expected}");
            }
        }
        Ok(())
    }

    fn items(&self, plan: &Plan, mixes: &[Peers]) -> Vec<Item> {
        let lookup = if self.family == "v4" { "bench_lookup4" } else { "bench_lookup6" };
        let item = |case, kernel: usize, program, (mix, name): (usize, &str), is_dependent| Item {
            case,
            subject: if matches!(case, "noop" | "parse") { "none" } else { ENGINES[kernel].0 },
            metric: format!("{}{name}{}", self.name, if is_dependent { ", dependent" } else { "" }),
            kernel,
            program,
            frame: frame::segment(self.family, CLOSED, SYN),
            peers: mixes[mix].clone(),
            is_dependent,
        };
        let mut items = vec![
            item("noop", 0, "bench_noop", HIT, false),
            item("parse", 0, "bench_parse", HIT, false),
            item("lookup", 0, lookup, HIT, false),
            item("lookup", 1, lookup, HIT, false),
            item("denied_hit", 0, "nsp_xdp", HIT, false),
        ];
        if plan.quick {
            items.push(item("denied_miss", 0, "nsp_xdp", MISS, false));
        } else {
            items.push(item("denied_hit", 1, "nsp_xdp", HIT, false));
            for kernel in 0..ENGINES.len() {
                items.push(item("lookup", kernel, lookup, HIT, true));
            }
            for (mix, denied) in [(ZIPF, "denied_hit"), (MISS, "denied_miss")] {
                for kernel in 0..ENGINES.len() {
                    items.push(item("lookup", kernel, lookup, mix, false));
                    items.push(item(denied, kernel, "nsp_xdp", mix, false));
                }
            }
        }
        items
    }
}
