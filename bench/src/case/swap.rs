//! How long a publication takes, from a compiled policy to its being in force: with nothing else to do, and
//! while every processor judges packets without pause. That no packet is judged by a mixture is a test's
//! matter (`swaps` of tests/prog); here each verdict has to be the one that both policies have.

use std::{
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ipnet::IpNet;
use nsp_agent::compile::Compiled;
use nsp_common::verdict::{Direction, Verdict};
use nsp_tests::{
    packet::{Family, Packet, Party::Server, eth, tcp},
    prog::{Flood, Frame, Runner},
};

use super::packet::CLOSED;
use crate::{
    Plan,
    kernel::{ENGINES, Kernel},
    peers,
    policy::{self, OPEN},
    prefixes::{self, Random},
    report::{Report, Row},
    sample::Samples,
};

const SIZES: [usize; 3] = [10, 100_000, 1_000_000];
/// Peers of the flood, each at a port that is open to it and at one that is not.
const PEERS: usize = 64;
/// How long the flood goes on before a policy is published.
const BEFORE: Duration = Duration::from_millis(10);

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut sets = Vec::new();
    for count in SIZES.into_iter().filter(|count| plan.wants(*count)) {
        let prefixes = prefixes::v4(count);
        let policy = policy::of_lists(&[&prefixes])?;
        sets.push((prefixes, policy));
    }
    let policies: Vec<_> = sets.iter().map(|(_, policy)| policy).collect();
    let (rounds, engines) = if plan.quick { (7, &ENGINES[..1]) } else { (11, &ENGINES[..]) };
    let mut kernels = Vec::new();
    for (_, engine) in engines {
        kernels.push(Kernel::load(&plan.object, *engine, 1 << 16, &policies)?);
    }
    for (prefixes, policy) in &sets {
        let frames = frames(prefixes);
        let mut samples = vec![[Samples::default(), Samples::default()]; kernels.len()];
        for round in 0..=rounds {
            for (kernel, [alone, flooded]) in kernels.iter_mut().zip(&mut samples) {
                let took = [publish(kernel, policy)?, under_flood(kernel, policy, &frames)?];
                // The first round fills a slot that was empty.
                if round > 0 {
                    alone.push(took[0]);
                    flooded.push(took[1]);
                }
            }
        }
        for ((subject, _), [alone, flooded]) in engines.iter().zip(&samples) {
            for (metric, samples) in [("nothing else", alone), ("under a flood", flooded)] {
                let size = prefixes.len();
                report.add(Row::of("swap", subject, size, "v4", metric, "ms", samples));
            }
        }
    }
    Ok(())
}

/// Puts the policy in force; ms.
fn publish(kernel: &mut Kernel, policy: &Compiled) -> Result<f64> {
    let begun = Instant::now();
    kernel.put_in_force(policy)?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// The same while there is a flood on every processor.
fn under_flood(
    kernel: &mut Kernel,
    policy: &Compiled,
    (frames, verdicts): &(Vec<Frame>, Vec<Verdict>),
) -> Result<f64> {
    let runner = Runner::of(&kernel.datapath);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads = thread::available_parallelism()?.get();
        let may = |frame: usize, verdict| verdicts[frame] == verdict;
        let flood = Flood::begin(scope, &stop, threads, &runner, frames, may);
        thread::sleep(BEFORE);
        let took = publish(kernel, policy);
        let tally = flood.end();
        ensure!(tally.wrong.is_empty(), "frames were judged otherwise: {:?}", tally.wrong);
        ensure!(tally.all() > 0, "there was no flood");
        took
    })
}

/// SYNs of some peers to the open port and to another, and what becomes of them.
fn frames(prefixes: &[IpNet]) -> (Vec<Frame>, Vec<Verdict>) {
    let mut random = Random(5);
    let peers = (0..PEERS).map(|at| peers::inside(prefixes[at % prefixes.len()], &mut random));
    let each = peers.flat_map(|address| {
        let address = address.to_string();
        [(OPEN, Verdict::Pass), (CLOSED, Verdict::Drop)].map(|(port, verdict)| {
            let from = Family::V4.ip((address.as_str(), "::"), Server);
            let packet: Packet = eth() / (from / tcp(40_000, port).syn());
            (Frame::new(&packet, Direction::Inbound), verdict)
        })
    });
    each.unzip()
}
