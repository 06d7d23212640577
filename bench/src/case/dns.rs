//! What it costs a host that a DNS answer teaches: the question that goes, and the answer that comes, one a
//! run, each of a number or an address of its own.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::{Result, ensure};
use nsp_common::link::endpoint;
use nsp_tests::packet::{
    Family::V4,
    NEAR_MAC, PEER_MAC, Packet,
    Party::Server,
    dns::{self, A},
    eth, raw, udp,
};

use super::single::{self, Row};
use crate::{Plan, kernel::Kernel, policy, report::Report};
use nsp_agent::datapath::Engine;

/// Who is asked.
const RESOLVER: (&str, &str) = ("198.51.100.53", "2001:db8:5::53");
/// Below a wildcard of the policy, and below none.
const LISTED: &str = "www.example.com";
const OTHER: &str = "www.example.org";

/// Measures it.
pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let counts: &[usize] = if plan.quick { &[10_000] } else { &[1, 10_000] };
    let counts: Vec<_> = counts.iter().copied().filter(|count| plan.wants(*count)).collect();
    let mut kernel: Option<Kernel> = None;
    for count in counts {
        let policy = policy::of_text(&names(count))?;
        let kernel = match &mut kernel {
            Some(kernel) => kernel,
            none => {
                none.insert(Kernel::load(&plan.object, Engine::RangeTable, 1 << 16, &[&policy])?)
            }
        };
        kernel.put_in_force(&policy)?;
        let resolver: IpAddr = RESOLVER.0.parse()?;
        kernel.datapath.set_endpoints(&[(resolver.into(), endpoint::RESOLVER)])?;
        teaches(kernel)?;
        measure(plan, kernel, count, report)?;
    }
    Ok(())
}

/// A policy that lets this host go to what is below so many names, and nowhere else.
fn names(count: usize) -> String {
    let mut names = String::from("\"*.example.com\"");
    for number in 1..count {
        let _written = write!(names, ", \"*.n{number}.example.net\"");
    }
    format!(
        "[perimeter]\nname = \"bench\"\n[profile.p.outbound.names]\nfqdns = [{names}]\n\
         ports = [\"443/tcp\"]\n[resource.host]\nhost = true\nprofile = \"p\"\n\
         access_mode = \"enforced\"\n"
    )
}

fn measure(plan: &Plan, kernel: &Kernel, names: usize, report: &mut Report) -> Result<()> {
    let nothing: Packet = eth() / raw(0, [0_u8; 60]);
    let nothing = nothing.bytes();
    let mut noop = Row::new("noop", single::METRIC);
    let mut asked = Row::new("dns", "question");
    let mut rows = [
        (Row::new("dns", "answer, 1 address, taught"), LISTED, 1),
        (Row::new("dns", "answer, 20 addresses, taught"), LISTED, 20),
        (Row::new("dns", "answer, no rule's name"), OTHER, 1),
    ];
    for id in 1..=if plan.quick { 5_000 } else { 20_000 } {
        noop.time(kernel, "nsp_xdp", &nothing)?;
        for (row, name, addresses) in &mut rows {
            asked.time(kernel, "nsp_egress", &question(id, name))?;
            row.time(kernel, "nsp_xdp", &answer(id, name, *addresses))?;
        }
    }
    let [one, many, other] = rows.map(|(row, ..)| row);
    for row in [noop, asked, one, many, other] {
        row.report("nsp", ("v4", names), report);
    }
    Ok(())
}

/// Before anything is timed: an answer teaches all of its addresses, but not without a question.
fn teaches(kernel: &Kernel) -> Result<()> {
    let own = |net: u8| (0..20).map(move |host| IpAddr::from([203, 0, net, host]));
    kernel.verdict("nsp_xdp", &message(1, LISTED, own(112)))?;
    kernel.verdict("nsp_egress", &question(2, LISTED))?;
    kernel.verdict("nsp_xdp", &message(2, LISTED, own(113)))?;
    for (net, is_known) in [(112, false), (113, true)] {
        for address in own(net) {
            let is_learned = kernel.datapath.learned_of(address)?.is_some();
            ensure!(is_learned == is_known, "{address} is learned: {is_learned}");
        }
    }
    Ok(())
}

fn question(id: u16, name: &str) -> Vec<u8> {
    let link = eth().dst(PEER_MAC).src(NEAR_MAC);
    let packet: Packet =
        link / (V4.ip(Server, RESOLVER) / udp(40_000, 53) / dns::query(id, name, A));
    packet.bytes()
}

/// An answer with so many addresses, as many as a busy host learns: the same come again after 4,096.
fn answer(id: u16, name: &str, addresses: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let address = |host| IpAddr::from([198, 51, 100 + (high & 15), low.wrapping_add(host)]);
    message(id, name, (0..addresses).map(address))
}

fn message(id: u16, name: &str, addresses: impl Iterator<Item = IpAddr>) -> Vec<u8> {
    let begun = dns::query(id, name, A).response();
    let message = addresses.fold(begun, |message, address| message.pointed(12, address, 60));
    let packet: Packet = eth() / (V4.ip(RESOLVER, Server) / udp(53, 40_000) / message);
    packet.bytes()
}
