//! What names cost, in nanoseconds of one processor: the table of docs/performance.md.
//!
//! Each row is a program run over a frame, timed by the kernel (`BPF_PROG_TEST_RUN`), one frame a run where
//! the run changes something. Rows are interleaved, so that what disturbs the machine disturbs all; the
//! median counts, and only ratios within one table.

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use nsp_agent::{compile::Sizes, datapath::Capacities};
use nsp_common::link::endpoint;
use nsp_tests::{
    packet::{
        Family::V4,
        Packet,
        Party::Server,
        dns::{self, A},
        eth, raw, tcp, udp,
    },
    prog::Lab,
};

use crate::names::{HOME, RESOLVER};

const DEVICE: u32 = nsp_tests::prog::DEVICE;

/// So many names below wildcards, and one prefix.
fn policy(names: usize) -> String {
    let mut fqdns = String::from("\"*.example.com\"");
    for number in 1..names {
        let _written = write!(fqdns, ", \"*.n{number}.example.net\"");
    }
    format!(
        r#"
        [perimeter]
        name = "lab"
        [profile.p.outbound.names]
        fqdns = [{fqdns}]
        ports = ["443/tcp"]
        [profile.p.outbound.prefix]
        address_prefixes = ["203.0.113.0/24"]
        ports = ["443/tcp"]
        [resource.host]
        host = true
        profile = "p"
        access_mode = "enforced"
        "#
    )
}

/// One row: the frames of each run, of which the last is timed.
struct Row {
    name: &'static str,
    frames: fn(u16) -> Vec<(&'static str, Packet)>,
}

fn question(id: u16, name: &str) -> (&'static str, Packet) {
    let message = dns::query(id, name, A);
    ("nsp_egress", eth() / (V4.ip(Server, RESOLVER) / udp(40_000, 53) / message))
}

fn answer(id: u16, name: &str, addresses: u8) -> (&'static str, Packet) {
    let mut message = dns::query(id, name, A).response();
    for host in 0..addresses {
        let [high, low] = id.to_be_bytes();
        // As many addresses as a busy host learns.
        let address: IpAddr = [198, 51, 100 + (high & 15), low.wrapping_add(host)].into();
        message = message.pointed(12, address, 60);
    }
    ("nsp_xdp", eth() / (V4.ip(RESOLVER, Server) / udp(53, 40_000) / message))
}

const LISTED: &str = "www.example.com";
const OTHER: &str = "www.example.org";

const ROWS: [Row; 9] = [
    Row { name: "no IP, in (no-op)", frames: |_| vec![("nsp_xdp", eth() / raw(0, [0_u8; 60]))] },
    Row {
        name: "answer to no question, in",
        frames: |id| vec![question(0, OTHER), answer(id | 1, OTHER, 1)],
    },
    Row {
        name: "answer about a name of no rule, in",
        frames: |id| vec![question(id, OTHER), answer(id, OTHER, 1)],
    },
    Row {
        name: "answer learned: 1 address, in",
        frames: |id| vec![question(id, LISTED), answer(id, LISTED, 1)],
    },
    Row {
        name: "answer learned: 20 addresses, in",
        frames: |id| vec![question(id, LISTED), answer(id, LISTED, 20)],
    },
    Row { name: "question, out", frames: |id| vec![question(id, LISTED)] },
    Row {
        name: "SYN to a prefix of a rule, out",
        frames: |id| {
            let to = ("203.0.113.5", "2001:db8:100::5");
            let syn = V4.ip(Server, to) / tcp(id.max(1024), 443).syn();
            vec![("nsp_egress", eth() / syn)]
        },
    },
    Row {
        name: "SYN to a learned address, out",
        frames: |id| {
            let syn = V4.ip(Server, HOME) / tcp(id.max(1024), 443).syn();
            vec![("nsp_egress", eth() / syn)]
        },
    },
    Row {
        name: "established, to a learned address, out",
        frames: |_| {
            let syn = V4.ip(Server, HOME) / tcp(1023, 443).syn();
            let syn_ack = V4.ip(HOME, Server) / tcp(443, 1023).syn_ack();
            let data = V4.ip(Server, HOME) / tcp(1023, 443).ack();
            vec![
                ("nsp_egress", eth() / syn),
                ("nsp_xdp", eth() / syn_ack),
                ("nsp_egress", eth() / data),
            ]
        },
    },
];

#[test]
fn cost_of_names() {
    let full = std::env::var_os("NSP_TEST_FULL").is_some();
    let runs: u16 = if full { 20_000 } else { 200 };
    for names in [1, if full { 10_000 } else { 100 }] {
        let room = Capacities { names: 1 << 15, ..Capacities::for_sizes(&Sizes::default()) };
        let mut lab = Lab::with(room);
        lab.put_in_force(&policy(names));
        let resolver: IpAddr = RESOLVER.0.parse().expect("a constant");
        lab.datapath.set_endpoints(&[(resolver.into(), endpoint::RESOLVER)]).expect("it fits");
        let home: IpAddr = HOME.0.parse().expect("a constant");
        let unit = nsp_common::learned::Unit {
            name: lab.identities.name("*.example.com"),
            quota: nsp_common::learned::QUOTA_BELOW,
        };
        lab.datapath.teach(home, unit, u32::MAX).expect("it runs");
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); ROWS.len()];
        for id in 1..=runs {
            for (row, times) in ROWS.iter().zip(&mut times) {
                let mut last = Duration::ZERO;
                for (program, frame) in (row.frames)(id) {
                    let run = lab.datapath.run_repeatedly(program, &frame.bytes(), DEVICE, 1);
                    last = run.expect("it runs");
                }
                times.push(last);
            }
        }
        let medians: Vec<u128> = times
            .iter_mut()
            .map(|times| {
                times.sort_unstable();
                times[times.len() / 2].as_nanos()
            })
            .collect();
        println!("{names} names in the policy, median of {runs} runs each, above the no-op:");
        for (row, median) in ROWS.iter().zip(&medians) {
            println!("  {:<40} {:>6} ns", row.name, median.saturating_sub(medians[0]));
        }
        // Ten times what it was when this was written, on a machine that does other things.
        assert!(medians[3] < 50_000, "an answer of one address takes {} ns", medians[3]);
    }
}
