//! A million conversations that are open at once, both ends of each proven.

use std::collections::HashSet;

use anyhow::{Context as _, Result, ensure};
use aya::maps::HashMap;
use ipnet::IpNet;
use nsp_agent::{compile::Compiled, datapath::Engine};
use nsp_common::{
    address::Address,
    flow::{Flow, FlowKey, FlowKeyV4, Proven},
    net::protocol,
    verdict::{Direction, Reason, Verdict},
};
use nsp_tests::packet::{
    Family,
    Party::Server,
    flag::{ACK, SYN},
};

use crate::{
    Plan, frame,
    kernel::{Kernel, XDP_PASS},
    peers::{self, Peer, Peers},
    policy::OPEN,
    prefixes::Random,
};

/// So many.
pub(crate) const COUNT: usize = 1_000_000;
/// Room for them, and for some more.
const ROOM: u32 = 1 << 20;
/// Addresses when they are to be few: a peer may have an eighth of the room.
const FEW: usize = 64;
/// Packets whose verdict is asked before anything is timed.
const ASKED: usize = 2_000;

/// A million peers, each with one conversation.
pub(crate) fn many(prefixes: &[IpNet], random: &mut Random) -> Peers {
    let mut seen = HashSet::with_capacity(COUNT);
    let mut peers = Vec::with_capacity(COUNT);
    while peers.len() < COUNT {
        let more = peers::within(prefixes, random);
        peers.extend(more.iter().filter(|(address, _)| seen.insert(*address)));
    }
    peers.truncate(COUNT);
    peers.into()
}

/// A million conversations with a few addresses, in no order.
pub(crate) fn few(prefixes: &[IpNet], random: &mut Random) -> Peers {
    let addresses: Vec<_> =
        prefixes.iter().take(FEW).map(|prefix| peers::inside(*prefix, random)).collect();
    let mut peers: Vec<Peer> =
        (0..COUNT).map(|at| (addresses[at % FEW], 1024 + (at / FEW) as u16)).collect();
    for at in (1..peers.len()).rev() {
        peers.swap(at, random.below(at as u64 + 1) as usize);
    }
    peers.into()
}

/// Programs with these conversations open, as many as there are peers, and a table of others' making with
/// the same keys.
pub(crate) fn gather(
    plan: &Plan,
    engine: Engine,
    policy: &Compiled,
    peers: &Peers,
) -> Result<Kernel> {
    let mut kernel = Kernel::load(&plan.object, engine, ROOM, &[policy])?;
    kernel.put_in_force(policy)?;
    let flow = open(&kernel, peers[0])?;
    for peer in peers.iter() {
        kernel.datapath.keep_flow(&key(*peer), &flow)?;
    }
    let mut proven = 0;
    kernel.datapath.each_flow(|entry| proven += usize::from(entry.is_proven))?;
    ensure!(proven == peers.len(), "{proven} conversations are open, not {}", peers.len());
    follows(&kernel, peers)?;
    // As the agent does every ten seconds at least: records begin anew, and are of those who come next.
    kernel.datapath.drain_records()?;
    hash(&mut kernel, peers, flow)?;
    Ok(kernel)
}

/// The key of a peer's conversation.
fn key((address, port): Peer) -> FlowKey {
    FlowKey {
        remote: Address::from(address),
        local: Address::from(Server.address(Family::of(address))),
        remote_port: port,
        local_port: OPEN,
        scope: 0,
        protocol: protocol::TCP,
        family: if address.is_ipv4() { 4 } else { 6 },
    }
}

/// Opens a conversation by its packets, as all are; what the programs know of it then.
fn open(kernel: &Kernel, peer: Peer) -> Result<Flow> {
    handshake(peer)
        .into_iter()
        .try_for_each(|(program, frame)| kernel.verdict(program, &frame).map(drop))?;
    let flow = kernel.datapath.flow_of(&key(peer))?;
    flow.context("a conversation that was opened is not there")
}

/// The packets that open a conversation, each with the program that judges it.
pub(crate) fn handshake(peer: Peer) -> [(&'static str, Vec<u8>); 3] {
    let comes = |flags| frame::from_peer(&frame::segment("v4", OPEN, flags), peer);
    let goes = |flags| frame::to_peer(&frame::reply("v4", OPEN, flags), peer);
    [("nsp_xdp", comes(SYN)), ("nsp_egress", goes(SYN | ACK)), ("nsp_xdp", comes(ACK))]
}

/// Before anything is timed: segments pass, and by their conversations.
fn follows(kernel: &Kernel, peers: &Peers) -> Result<()> {
    let by_flow = || -> Result<u64> {
        let counters = kernel.datapath.counters()?;
        Ok(counters.reason(Reason::Flow, Direction::Inbound, Verdict::Pass).packets)
    };
    let before = by_flow()?;
    let segment = frame::segment("v4", OPEN, ACK);
    let asked = peers.iter().step_by(peers.len() / ASKED);
    let mut count = 0;
    for peer in asked {
        let verdict = kernel.verdict("nsp_xdp", &frame::from_peer(&segment, *peer))?;
        ensure!(verdict == XDP_PASS, "a segment of {peer:?} does not pass: {verdict}");
        count += 1;
    }
    let followed = by_flow()? - before;
    ensure!(followed == count, "{followed} of {count} segments went by their conversations");
    Ok(())
}

/// Fills the table that `bench_hash` asks, and makes sure that it finds.
fn hash(kernel: &mut Kernel, peers: &Peers, flow: Flow) -> Result<()> {
    let map = kernel.datapath.object().map_mut("HASHED").context("no HASHED")?;
    let mut hashed = HashMap::<_, FlowKeyV4, Proven>::try_from(map)?;
    for (place, peer) in peers.iter().enumerate() {
        let entry = Proven { flow, place: place as u32, _pad: 0 };
        hashed.insert(key(*peer).v4(), entry, 0)?;
    }
    let segment = frame::segment("v4", OPEN, ACK);
    kernel.come_from(peers, &segment);
    kernel.measure("bench_hash", false)?;
    for _ in 0..ASKED {
        kernel.run(&segment, 1)?;
        let found = kernel.found()?;
        ensure!(found == flow.seen_ns, "a key is not in the table: {found}");
    }
    Ok(())
}
