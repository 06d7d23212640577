//! Answers outside the envelope of the kernel's learning: what it costs in first packets, with the agent
//! alive and stopped. The table that is printed is the one in docs/performance.md.

use std::{fs, process::Output, thread, time::Duration};

use nsp_tests::{
    netns::World,
    packet::{BOTH, Party},
};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    answering::{Answering, Reply},
    crowd,
    dns_status::POLICY,
    fresh_names::with_files,
    service,
};

const HTTPS: u16 = 443;

/// A way that an answer comes.
struct Way {
    name: &'static str,
    reply: Reply,
    /// The kernel learns it: then nothing is lost, also with the agent stopped.
    is_learned: bool,
}

fn ways() -> [Way; 5] {
    let reply = Reply::default;
    [
        Way {
            name: "truncated, then TCP in one segment",
            reply: Reply { truncated: true, ..reply() },
            is_learned: true,
        },
        Way {
            name: "truncated, then TCP in pieces",
            reply: Reply { truncated: true, piece: 40, ..reply() },
            is_learned: false,
        },
        Way {
            name: "UDP of 1,400 bytes",
            reply: Reply { padding: 1300, ..reply() },
            is_learned: true,
        },
        Way {
            name: "UDP of 1,900 bytes, in IP fragments",
            reply: Reply { padding: 1800, ..reply() },
            is_learned: false,
        },
        Way {
            name: "UDP of 3,000 bytes, in IP fragments",
            reply: Reply { padding: 2900, ..reply() },
            is_learned: false,
        },
    ]
}

/// `n<number>` of a name.
fn number(name: &str) -> usize {
    name.split('.').next().and_then(|label| label.strip_prefix('n')?.parse().ok()).unwrap_or(0)
}

#[test]
fn answers_outside_the_envelope_cost_first_packets_and_no_connection() {
    let names = if std::env::var_os("NSP_TEST_FULL").is_some() { 50 } else { 5 };
    println!("{:<40} {:>8} {:>12} {:>12}", "answer", "agent", "SYNs lost", "connected");
    for (index, Way { name, reply, is_learned }) in ways().into_iter().enumerate() {
        let world = World::builder().clients(&[Party::Office]).build();
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let v4 = Party::Office.v4();
        let office = world.host(Party::Office);
        crowd::at_the_office(&world);
        let conf = format!("nameserver {v4}\noptions timeout:2 attempts:3\n");
        fs::write(directory.path().join("resolv.conf"), conf).expect("a file of ours");
        fs::write(directory.path().join("hosts"), "").expect("a file of ours");
        let _dns = Answering::at(office, v4.into(), move |asked| {
            let at = index * 1000 + number(asked.name);
            let addresses = BOTH.map(|family| (60, crowd::address(family, at))).into();
            Reply { addresses, ..reply.clone() }
        });
        let _https = service::tcp_of_the_kernel(office, HTTPS, 4096);
        let mut agent = crowd::agent(&world, directory.path(), POLICY);
        let measure = |agent: &str, first: usize| {
            let mut client = with_files(directory.path(), env!("CARGO_BIN_EXE_fresh_client"));
            let numbers = [first, first + names, usize::from(HTTPS), names];
            client.arg("shop.example.com").args(numbers.map(|number| number.to_string()));
            let Output { stdout, stderr, .. } =
                world.server().output_within(&mut client, Duration::from_secs(60));
            let seen: Value = serde_json::from_slice(&stdout)
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
            let count = |key: &str| seen[key].as_u64().expect("a number") as usize;
            let (connected, lost) = (count("connected"), count("lost") + count("failures"));
            let all = 2 * names;
            println!(
                "{name:<40} {agent:>8} {:>10} % {:>10} %",
                lost * 100 / all,
                connected * 100 / all
            );
            (connected, lost, seen)
        };
        let (connected, lost, seen) = measure("alive", 0);
        assert_eq!(connected, 2 * names, "{name}: {seen}");
        assert!(!is_learned || lost == 0, "{name}: {seen}");
        // What was asked of the agent is over.
        thread::sleep(Duration::from_millis(500));
        agent.process().signal(Signal::STOP);
        let (connected, lost, seen) = measure("stopped", names);
        agent.process().signal(Signal::CONT);
        if is_learned {
            assert_eq!((connected, lost), (2 * names, 0), "{name}: {seen}");
        } else {
            assert_eq!(connected, 0, "nobody learned it, and it is denied: {name}: {seen}");
        }
    }
}
