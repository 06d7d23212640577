//! What a packet costs that belongs to one of a million conversations, and what those cost that open one.
//!
//! Rows `established` are a segment that comes in, by test runs whose conversations take turns, and beside
//! them a program that only looks the conversation's key up in a hash table of a million. Who all comes by
//! another address has an access record each, for which there is not room for so many; who comes by a few
//! addresses has those.
//!
//! Rows `new_flow` are one packet a run, each of another peer, on top of the million.

use std::thread;

use anyhow::{Result, ensure};
use nsp_tests::packet::{
    Packet, eth,
    flag::{ACK, SYN},
    raw,
};

use super::single;
use crate::{
    Plan, crowd, frame,
    kernel::{ENGINES, Kernel, XDP_PASS},
    peers::{self, Peer, Peers},
    policy::{self, OPEN},
    prefixes::{self, Random},
    report::Report,
    turns::{self, Item},
};

/// Prefixes of the peers.
const PREFIXES: usize = 10_000;
/// A port that none of the million has.
const NEW: u16 = 65_535;

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let prefixes = prefixes::v4(PREFIXES);
    let policy = policy::of_lists(&[&prefixes])?;
    let mut random = Random(3);
    let mixes = [
        ("a peer each", crowd::many(&prefixes, &mut random)),
        ("64 peers", crowd::few(&prefixes, &mut random)),
    ];
    let others = peers::within(&prefixes, &mut random);
    // Both engines do the same with a packet of a conversation: nobody looks its addresses up.
    let engines = if plan.quick { &ENGINES[..1] } else { &ENGINES };
    let subjects = mixes.iter().flat_map(|mix| engines.iter().map(move |engine| (mix, engine)));
    let subjects: Vec<_> = subjects.collect();
    let mut kernels = thread::scope(|scope| {
        let mut gathering = Vec::new();
        for ((_, peers), (_, engine)) in &subjects {
            gathering.push(scope.spawn(|| crowd::gather(plan, *engine, &policy, peers)));
        }
        let gathered = gathering.into_iter().map(|it| it.join().expect("gathering does not panic"));
        gathered.collect::<Result<Vec<_>>>()
    })?;
    let items = subjects.iter().enumerate();
    let items: Vec<_> = items
        .flat_map(|(at, ((metric, peers), (subject, _)))| established(at, subject, metric, peers))
        .collect();
    turns::time(plan, &mut kernels, &items, ("v4", crowd::COUNT), report)?;
    // The kernels of the first mix come first.
    for ((subject, _), kernel) in engines.iter().zip(&kernels) {
        new_flow(plan, subject, kernel, &others, report)?;
    }
    Ok(())
}

fn established(kernel: usize, subject: &'static str, metric: &str, peers: &Peers) -> Vec<Item> {
    let item = |case, subject, program| Item {
        case,
        subject,
        metric: metric.to_owned(),
        kernel,
        program,
        frame: frame::segment("v4", OPEN, ACK),
        peers: peers.clone(),
        is_dependent: false,
    };
    let mut items = vec![item("established", subject, "nsp_xdp")];
    if subject == ENGINES[0].0 {
        items.push(item("established", "hash", "bench_hash"));
        items.push(item("noop", "none", "bench_noop"));
    }
    items
}

fn new_flow(
    plan: &Plan,
    subject: &'static str,
    kernel: &Kernel,
    others: &[Peer],
    report: &mut Report,
) -> Result<()> {
    let nothing: Packet = eth() / raw(0, [0_u8; 60]);
    let nothing = nothing.bytes();
    let datagram = frame::datagram(OPEN);
    let mut rows = [
        single::Row::new("noop", single::METRIC),
        single::Row::new("new_flow", "SYN comes, by its rule"),
        single::Row::new("new_flow", "SYN-ACK goes, opens"),
        single::Row::new("new_flow", "ACK comes, proves"),
        single::Row::new("new_flow", "datagram comes, opens"),
    ];
    let runs = if plan.quick { 5_000 } else { 20_000 };
    for (address, _) in others.iter().take(runs) {
        let peer = (*address, NEW);
        let [syn, syn_ack, ack] = crowd::handshake(peer);
        let frames = [
            ("nsp_xdp", nothing.clone()),
            syn,
            syn_ack,
            ack,
            ("nsp_xdp", frame::from_peer(&datagram, peer)),
        ];
        for (row, (program, frame)) in rows.iter_mut().zip(frames) {
            row.time(kernel, program, &frame)?;
        }
    }
    ensure!(
        kernel
            .verdict("nsp_xdp", &frame::from_peer(&frame::segment("v4", OPEN, SYN), others[0]))?
            == XDP_PASS,
        "a SYN of {:?} does not pass",
        others[0]
    );
    for row in rows {
        row.report(subject, ("v4", crowd::COUNT), report);
    }
    Ok(())
}
