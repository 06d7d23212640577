//! Every packet is counted once, and every counted packet is in the log or counted as lost.

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr},
    process::{Command, Output},
    thread,
    time::Duration,
};

use nsp_tests::{
    agent::{Agent, nsp_binary},
    netns::World,
    packet::{BOTH, Packet, Party, eth, ipv6, udp},
    small_disk::SmallDisk,
    sockets::{FrameSender, Outcome, udp_exchange},
};
use rustix::process::Signal;
use serde_json::json;

use crate::{seen, service};

const SYSLOG: u16 = 514;

/// The office may log, and nobody else.
pub(crate) const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [profile.log.inbound.office]
    address_prefixes = ["203.0.113.0/24", "2001:db8:100::/40"]
    [resource.syslog]
    ports = ["514/udp"]
    profile = "log"
    access_mode = "enforced"
"#;

/// Distinct records of one epoch that the kernel's tables hold, those of summed-up networks
/// included. More at once come down to "many sources".
const RECORDS_MAX: u16 = 16384 + 4096;

#[test]
fn packets_sent_are_packets_counted_are_packets_logged() {
    const QUESTIONS: u64 = 20;
    const DENIED: u64 = 300;
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let server = BOTH.map(|family| Party::Server.address(family));
    let _syslog = server.map(|address| service::udp(world.server(), address, SYSLOG));
    let agent = Agent::builder(world.server()).policy(POLICY).start();
    for family in BOTH {
        for _ in 0..QUESTIONS {
            let from = SocketAddr::new(Party::Office.address(family), 0);
            let to = SocketAddr::new(Party::Server.address(family), SYSLOG);
            let office = world.host(Party::Office);
            let answered = udp_exchange(office, from, to, b"hello", service::PATIENCE);
            assert_eq!(answered, Outcome::Answered);
        }
    }
    let ports = 1024..1024 + u16::try_from(DENIED).expect("a few hundred");
    let denied = BOTH.iter().flat_map(|family| {
        ports.clone().map(move |port| {
            eth() / family.ip(Party::Stranger, Party::Server) / udp(port, SYSLOG) / "hello"
        })
    });
    send(&world, denied);
    seen::settle_at(&agent, 2 * DENIED + 4 * QUESTIONS);
    for family in BOTH {
        let of = |party: Party| {
            let source = json!({"SourceIpAddress": party.address(family)});
            let records = seen::records(&agent, &source);
            let sum = |column: &str| -> u64 {
                records.iter().map(|record| seen::number(&record[column])).sum()
            };
            (sum("Packets"), sum("Count"), sum("Bytes"))
        };
        let frame = 14 + family.header_length() as u64 + 8 + 5;
        // A question and an answer each; a conversation each.
        assert_eq!(of(Party::Office), (2 * QUESTIONS, QUESTIONS, 2 * QUESTIONS * frame));
        assert_eq!(of(Party::Stranger), (DENIED, DENIED, DENIED * frame));
    }
    let passed = ["access rule", "open conversation"].map(|reason| {
        ["Inbound", "Outbound"].map(|way| seen::packets(&agent, reason, way, "allow"))
    });
    assert_eq!(passed.as_flattened().iter().sum::<u64>(), 4 * QUESTIONS);
    assert_eq!(seen::packets(&agent, "no rule", "Inbound", "deny"), 2 * DENIED);
    let status = seen::status(&agent);
    assert_eq!(status["counters"]["lostRecords"], 0);
    assert_eq!(status["accessLog"]["packetsLost"], 0);
}

#[test]
fn flood_beyond_the_tables_comes_down_to_many_sources_and_loses_nothing() {
    const SENT: u16 = RECORDS_MAX + 5000;
    let world = World::builder().clients(&[Party::Office]).build();
    let mut agent = Agent::builder(world.server()).policy(POLICY).start();
    // With the agent stopped nothing is drained: the tables get full, whatever the machine's pace.
    agent.process().signal(Signal::STOP);
    send_from_as_many_networks(&world, SENT);
    agent.process().signal(Signal::CONT);
    let sent = u64::from(SENT);
    seen::settle_at(&agent, sent);
    let status = seen::status(&agent);
    let records = seen::records(&agent, &json!({"ResultAction": "Denied"}));
    assert_eq!(seen::packets(&agent, "no rule", "Inbound", "deny"), sent);
    assert_eq!((seen::logged(&records), &status["counters"]["lostRecords"]), (sent, &json!(0)));
    assert!(records.len() < usize::from(SENT), "{} records", records.len());
    assert!(seen::number(&status["counters"]["lostEvents"]) > 0, "the ring is smaller still");

    // Once drained there is room again, and who is allowed was never in danger.
    let _syslog = service::udp(world.server(), Party::Server.address(BOTH[1]), SYSLOG);
    let from = SocketAddr::new(Party::Office.address(BOTH[1]), 0);
    let to = SocketAddr::new(Party::Server.address(BOTH[1]), SYSLOG);
    let answered = udp_exchange(world.host(Party::Office), from, to, b"hello", service::PATIENCE);
    assert_eq!(answered, Outcome::Answered);
    seen::record(&agent, &json!({"SourceIpAddress": from.ip(), "Packets": 2}));
}

#[test]
fn full_disk_loses_lines_and_says_of_how_many_packets() {
    const SENT: u16 = 2000;
    let world = World::builder().clients(&[Party::Office]).build();
    let mut agent = Agent::builder(world.server()).policy(POLICY).build();
    let _disk = SmallDisk::mount(&agent.home().log_dir(), "64k");
    agent.start();
    send_from_as_many_networks(&world, SENT);
    let sent = u64::from(SENT);
    seen::settle_at(&agent, sent);
    let status = seen::status(&agent);
    let logged = seen::logged(&seen::records(&agent, &json!({"ResultAction": "Denied"})));
    let lost = seen::number(&status["accessLog"]["packetsLost"]);
    assert_eq!(seen::packets(&agent, "no rule", "Inbound", "deny"), sent, "judged all the same");
    assert_eq!(logged + lost, sent, "logged {logged}, lost {lost}");
    assert!(logged > 0 && lost > 0, "logged {logged}, lost {lost}");
    assert!(status["accessLog"]["error"].as_str().is_some_and(|it| it.contains("space")));
}

#[test]
fn log_is_looked_for_where_the_agent_writes_it() {
    let world = World::builder().clients(&[Party::Stranger]).build();
    let agent = Agent::builder(world.server()).policy(POLICY).start();
    let logs = |of: &[&str]| {
        let mut command = Command::new(nsp_binary());
        command.env_remove("NSP_LOG").args(["logs", "--control"]).arg(agent.home().control());
        world.server().output(command.args(of))
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

    let none = logs(&[]);
    assert!(none.status.success() && said(&none).contains("no record"), "{}", said(&none));
    let wrong = logs(&["--log", "/nonexistent/access.jsonl"]);
    assert_eq!(wrong.status.code(), Some(1));
    let log = agent.home().log();
    let right = log.to_str().expect("a path of ours");
    assert!(
        said(&wrong).contains("/nonexistent") && said(&wrong).contains(right),
        "{}",
        said(&wrong)
    );

    let stranger = eth() / BOTH[0].ip(Party::Stranger, Party::Server) / udp(1024, SYSLOG) / "hello";
    send(&world, std::iter::once(stranger));
    seen::settle(&agent);
    let some = logs(&[]);
    assert!(String::from_utf8_lossy(&some.stdout).contains("DENY"), "{}", said(&some));
}

/// One frame from each of as many /48, none of which any rule names.
fn send_from_as_many_networks(world: &World, networks: u16) {
    let frames = (0..networks).map(|network| {
        let source = Ipv6Addr::new(0x2001, 0xdb9, network, 0, 0, 0, 0, 1);
        eth() / ipv6(source, Party::Server) / udp(1024, SYSLOG) / "hello"
    });
    send(world, frames);
}

/// Sends them no faster than the cable takes them.
///
/// # Panics
/// When one was dropped on the cable all the same: then nothing that is counted means anything.
fn send(world: &World, frames: impl Iterator<Item = impl Into<Packet>>) {
    /// What a veth device takes before it drops is 256 frames.
    const BURST: usize = 64;
    let wire: FrameSender = world.wire();
    for (number, frame) in frames.enumerate() {
        wire.send(frame);
        if number % BURST == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let dropped = world
        .router()
        .enter(|| fs::read_to_string("/proc/thread-self/net/dev").expect("every namespace has it"));
    let line = dropped.lines().find(|line| line.trim_start().starts_with("to-server:"));
    let column = line.and_then(|line| line.split_whitespace().nth(12));
    assert_eq!(column, Some("0"), "frames were dropped on the cable:\n{dropped}");
}
