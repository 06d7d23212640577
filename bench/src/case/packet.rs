//! What a packet costs, by test runs over frames whose peers take turns.
//!
//! Rows are ns a packet, and include the row `noop`: a program that changes the frame and calls one that
//! does nothing. Ratios are of what is above it.

use std::{fs, net::IpAddr};

use anyhow::{Result, ensure};
use ipnet::IpNet;
use nsp_agent::datapath::Engine;
use nsp_tests::packet::{Family, Packet, Party::Server, eth, tcp};

use crate::{
    Plan,
    kernel::{Kernel, OPEN, policy_text},
    prefixes::{self, Random},
    report::{Report, Row},
    sample::Samples,
    trace::{self, Peers},
};

/// A port that no rule is for.
pub(crate) const CLOSED: u16 = 5432;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
/// Frames whose verdict is asked before anything is timed.
const ASKED: usize = 2_000;

/// One row to be.
struct Item {
    case: &'static str,
    subject: usize,
    program: &'static str,
    metric: &'static str,
    port: u16,
    peers: usize,
    is_dependent: bool,
    samples: Samples,
}

const SUBJECTS: [(&str, Engine); 2] =
    [("nsp", Engine::RangeTable), ("nsp-lpm-trie", Engine::LpmTrie)];

/// Mixes of addresses.
const HIT: usize = 0;
const MISS: usize = 1;
const ZIPF: usize = 2;

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let (v4, v6): (&[usize], &[usize]) = if plan.quick {
        (&[10, 100_000, 1_000_000], &[10, 250_000])
    } else {
        (&[10, 1_000, 10_000, 100_000, 1_000_000], &[10, 1_000, 10_000, 250_000])
    };
    let is_wanted = |count: &&usize| plan.sizes.is_empty() || plan.sizes.contains(count);
    for count in v4.iter().filter(is_wanted) {
        size(plan, "v4", &prefixes::v4(*count), 1, report)?;
    }
    for count in v6.iter().filter(is_wanted) {
        size(plan, "v6", &prefixes::v6(*count), RULES_V6, report)?;
    }
    Ok(())
}

/// Rules that IPv6 prefixes are dealt to, so that neighbours are of different classes. Those of IPv4 are
/// one list, as in the sets of the peers.
const RULES_V6: usize = 64;

fn size(
    plan: &Plan,
    family: &'static str,
    prefixes: &[IpNet],
    rules: usize,
    report: &mut Report,
) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let policy = directory.path().join("policy.toml");
    fs::write(&policy, policy_text(directory.path(), prefixes, rules)?)?;
    let mut kernels = SUBJECTS
        .iter()
        .map(|(_, engine)| Kernel::load(&plan.object, &policy, *engine, 1 << 16))
        .collect::<Result<Vec<_>>>()?;
    let mut random = Random(prefixes.len() as u64);
    let mixes = [
        trace::within(prefixes, &mut random),
        outside(prefixes, family, &mut random),
        trace::zipf(prefixes, &mut random),
    ];
    agree(&mut kernels, family, &mixes)?;

    let lookup = if family == "v4" { "bench_lookup4" } else { "bench_lookup6" };
    let mut items = Vec::new();
    for subject in 0..SUBJECTS.len() {
        let mut add = |case, program, metric, port, peers, is_dependent| {
            let samples = Samples::default();
            items.push(Item { case, subject, program, metric, port, peers, is_dependent, samples });
        };
        if subject == 0 {
            add("noop", "bench_noop", "hit", CLOSED, HIT, false);
            add("parse", "bench_parse", "hit", CLOSED, HIT, false);
        }
        add("lookup", lookup, "hit", CLOSED, HIT, false);
        add("lookup", lookup, "hit, dependent", CLOSED, HIT, true);
        add("lookup", lookup, "miss", CLOSED, MISS, false);
        add("lookup", lookup, "zipf", CLOSED, ZIPF, false);
        add("denied_hit", "nsp_xdp", "hit", CLOSED, HIT, false);
        add("denied_hit", "nsp_xdp", "zipf", CLOSED, ZIPF, false);
        add("denied_miss", "nsp_xdp", "miss", CLOSED, MISS, false);
    }
    // Whoever was measured before has filled the caches with its own tables, which is not what the programs
    // find under load: each sample comes after as many packets that are not counted.
    let (rounds, repeat) = if plan.quick { (5, 100_000) } else { (21, 250_000) };
    for round in 0..=rounds {
        for item in &mut items {
            let kernel = &mut kernels[item.subject];
            let frame = syn(family, item.port);
            kernel.come_from(&mixes[item.peers], &frame);
            kernel.measure(item.program, item.is_dependent)?;
            kernel.run(&frame, repeat)?;
            let took = kernel.run(&frame, repeat)?;
            // The first round warms up.
            if round > 0 {
                item.samples.push(took);
            }
        }
    }
    for Item { case, subject, metric, samples, .. } in items {
        report.add(Row {
            case,
            subject: if matches!(case, "noop" | "parse") { "none" } else { SUBJECTS[subject].0 },
            size: prefixes.len() as u64,
            family,
            metric: metric.to_owned(),
            unit: "ns/packet",
            median: samples.median(),
            p10: samples.quantile(0.1),
            p90: samples.quantile(0.9),
            runs: samples.len(),
        });
    }
    Ok(())
}

/// Peers that no prefix of the set covers.
pub(crate) fn outside(prefixes: &[IpNet], family: &str, random: &mut Random) -> Peers {
    let covered = prefixes::Covered::of(prefixes);
    let mut peers = Peers::new();
    while peers.len() < nsp_common::bench::TRACE_PEERS as usize {
        let address: IpAddr = if family == "v4" {
            std::net::Ipv4Addr::from_bits(0x0100_0000 + random.below(0xdd00_0000) as u32).into()
        } else {
            let high = 0x2400_0000_0000_0000_u64 | random.next() >> 7;
            std::net::Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(random.next())).into()
        };
        if !covered.contains(address) && prefixes::is_public(address) {
            peers.push((address, trace::port(random)));
        }
    }
    peers
}

/// A SYN to this host.
pub(crate) fn syn(family: &str, port: u16) -> Vec<u8> {
    let family = if family == "v4" { Family::V4 } else { Family::V6 };
    let nobody = ("0.0.0.0", "::");
    let packet: Packet = eth() / (family.ip(nobody, Server) / tcp(0, port).syn());
    let mut bytes = packet.bytes();
    if family == Family::V4 {
        // The source is none, and the checksum is of it: what is added to it is right.
        bytes[24..26].copy_from_slice(&[0, 0]);
    }
    bytes
}

/// Before anything is timed: peers of the prefixes are admitted where their rules are for, others and to
/// other ports are not; by both engines.
fn agree(kernels: &mut [Kernel], family: &str, mixes: &[Peers]) -> Result<()> {
    for kernel in kernels {
        for (mix, port, expected) in
            [(HIT, OPEN, XDP_PASS), (HIT, CLOSED, XDP_DROP), (MISS, OPEN, XDP_DROP)]
        {
            for (address, from) in mixes[mix].iter().step_by(mixes[mix].len() / ASKED) {
                let mut frame = syn(family, port);
                match address {
                    IpAddr::V4(it) => frame[26..30].copy_from_slice(&it.octets()),
                    IpAddr::V6(it) => frame[22..38].copy_from_slice(&it.octets()),
                }
                let at = if family == "v4" { 34 } else { 54 };
                frame[at..at + 2].copy_from_slice(&from.to_be_bytes());
                let verdict = kernel.verdict("nsp_xdp", &frame)?;
                ensure!(verdict == expected, "{address} to {port}: {verdict}, not {expected}");
            }
        }
    }
    Ok(())
}
