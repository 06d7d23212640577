//! What it costs a host that a DNS answer teaches: the question that goes, and the answer that comes, one a
//! run, each of a number or an address of its own.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
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
    let all_of = |id| (0..20).map(move |host| address(id, host));
    let [known, unknown] = [u16::MAX, u16::MAX - 32];
    kernel.verdict("nsp_xdp", &answer(unknown, LISTED, 20))?;
    kernel.verdict("nsp_egress", &question(known, LISTED))?;
    kernel.verdict("nsp_xdp", &answer(known, LISTED, 20))?;
    for (id, is_known) in [(known, true), (unknown, false)] {
        for address in all_of(id) {
            let learned = kernel.datapath.learned_of(address).context("learned addresses")?;
            ensure!(learned.is_some() == is_known, "{address} is learned: {}", learned.is_some());
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

fn answer(id: u16, name: &str, addresses: u8) -> Vec<u8> {
    let mut message = dns::query(id, name, A).response();
    for host in 0..addresses {
        message = message.pointed(12, address(id, host), 60);
    }
    let packet: Packet = eth() / (V4.ip(RESOLVER, Server) / udp(53, 40_000) / message);
    packet.bytes()
}

/// As many addresses as a busy host learns: the same come again after 4,096.
fn address(id: u16, host: u8) -> IpAddr {
    let [high, low] = id.to_be_bytes();
    [198, 51, 100 + (high & 15), low.wrapping_add(host)].into()
}
