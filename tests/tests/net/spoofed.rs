//! Answers that nobody gave, as real frames at the rate of the wire, while a program asks and connects.

use std::{
    env,
    net::{IpAddr, SocketAddr, UdpSocket},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::{Process, World},
    packet::{
        Family, Packet, Party,
        dns::{A, query},
        eth, udp,
    },
    sockets::{FrameSender, Outcome, tcp_connect},
};

use crate::{fresh_names::SetOnDrop, fresh_names::dnsmasq, outbound::assert_denied, seen, service};

const HTTPS: u16 = 443;
const DNS: u16 = 53;
/// The port that the program asks from, all the time: nothing is left to guess but the number.
const PORT: u16 = 5353;
/// Names that it asks for during the flood.
const NAMES: usize = 40;
/// Where spoofed answers would lead.
const EVIL: IpAddr = IpAddr::V4(Party::Stranger.v4());

/// Only what is below shop.example.com, by 443/tcp. No address here is private.
const POLICY: &str = r#"
    [perimeter]
    name = "payments"
    [dns]
    resolvers = ["203.0.113.5"]
    [private]
    prefixes = []
    [profile.job.outbound.shop]
    fqdns = ["*.shop.example.com"]
    ports = ["443/tcp"]
    [resource.host]
    host = true
    profile = "job"
    access_mode = "enforced"
"#;

fn name(number: usize) -> String {
    format!("n{number}.shop.example.com")
}

/// Each name has an address of its own, all of them at the office.
fn address(number: usize) -> IpAddr {
    [10, 64, 0, number as u8 + 1].into()
}

/// A DNS server at the office.
fn office(world: &World) -> Process {
    world.host(Party::Office).ip("route add local 10.64.0.0/16 dev lo");
    world.router().ip(&format!("route add 10.64.0.0/16 via {}", Party::Office.v4()));
    let known = |number| format!("--host-record={},{}", name(number), address(number));
    let known: Vec<String> = (0..NAMES).map(known).collect();
    let options: Vec<&str> = known.iter().map(String::as_str).collect();
    dnsmasq(world.host(Party::Office), &Party::Office.v4().to_string(), &options)
}

/// Spoofed answers of every kind. Genuine questions have even numbers.
fn spoofed() -> Vec<Vec<u8>> {
    let answer = |id: u16, name: &str| query(id, name, A).response().address(name, EVIL, 600);
    let frame = |from: Party, to: u16, message| -> Packet {
        eth() / Family::V4.ip(from, Party::Server) / udp(DNS, to) / message
    };
    let mut frames = Vec::new();
    for number in 0..250_u16 {
        let asked = name(usize::from(number) % NAMES);
        let id = 2 * (number % NAMES as u16);
        // Another number; another question; another port; another source.
        frames.push(frame(Party::Office, PORT, answer(2 * number + 1, &asked)).bytes());
        let other = format!("x{number}.shop.example.com");
        frames.push(frame(Party::Office, PORT, answer(id, &other)).bytes());
        frames.push(frame(Party::Office, 6000 + number, answer(id, &asked)).bytes());
        frames.push(frame(Party::Stranger, PORT, answer(id, &asked)).bytes());
    }
    frames
}

#[test]
fn spoofed_answers_at_full_rate_teach_nothing_and_genuine_ones_do() {
    let frames = if env::var_os("NSP_TEST_FULL").is_some() { 1_000_000 } else { 50_000 };
    let world = World::builder().clients(&[Party::Office, Party::Stranger]).build();
    let _dns = office(&world);
    let _https = service::tcp(world.host(Party::Office), HTTPS);
    let _evil = service::tcp(world.host(Party::Stranger), HTTPS);
    let agent = Agent::builder(world.server()).policy(POLICY).start();
    let sender = FrameSender::open(world.router(), "to-server");
    let spoofed = spoofed();
    let (counted_before, received_before) = (counted(&agent), received(&world));

    // One for all: a process that another test starts at that moment holds a closed one a little longer.
    let socket = world.server().enter(|| UdpSocket::bind((Party::Server.v4(), PORT)));
    let socket = socket.expect("a free port");
    let is_over = AtomicBool::new(false);
    let (learned, (sent, took)) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let start = Instant::now();
            let mut sent = 0;
            while sent < frames || !is_over.load(Ordering::Relaxed) {
                spoofed.iter().for_each(|frame| sender.send_bytes(frame));
                sent += spoofed.len();
            }
            (sent, start.elapsed())
        });
        let learned = {
            let _over = SetOnDrop(&is_over);
            (0..NAMES).filter(|number| is_learned(&world, &socket, *number)).count()
        };
        (learned, flood.join().expect("it sends"))
    });

    assert_eq!(learned, NAMES, "genuine answers in the flood are learned");
    let from = SocketAddr::new(Party::Server.address(Family::V4), 0);
    assert_denied(tcp_connect(
        world.server(),
        from,
        SocketAddr::new(EVIL, HTTPS),
        service::PATIENCE,
    ));
    let mut last = (0, 0);
    let equal = Deadline::after(Duration::from_secs(5)).poll(|| {
        last = (counted(&agent) - counted_before, received(&world) - received_before);
        (last.0 == last.1).then_some(())
    });
    let (counted, received) = last;
    println!(
        "{sent} spoofed answers in {:.1} s, {:.0} a second; {received} frames received, {counted} counted",
        took.as_secs_f64(),
        sent as f64 / took.as_secs_f64(),
    );
    assert!(equal.is_some(), "{received} frames were received and {counted} counted");
    assert!(received >= frames as u64 / 2, "most frames were lost on the way: {received}");
}

/// Asks for a name, and again where the flood drowns question or answer, until its address is open.
fn is_learned(world: &World, socket: &UdpSocket, number: usize) -> bool {
    let question = Packet::from(query(2 * number as u16, &name(number), A)).bytes();
    let from = SocketAddr::new(Party::Server.address(Family::V4), 0);
    let to = SocketAddr::new(address(number), HTTPS);
    let reached = Deadline::after(Duration::from_secs(20)).poll(|| {
        // In a flood there may be no room for it: then it is asked again.
        let _sent = socket.send_to(&question, (Party::Office.v4(), DNS));
        thread::sleep(Duration::from_millis(20));
        let outcome = tcp_connect(world.server(), from, to, service::PATIENCE);
        (outcome == Outcome::Connected).then_some(())
    });
    reached.is_some()
}

/// Frames that came in, as the agent has them.
fn counted(agent: &Agent) -> u64 {
    let status = seen::status(agent);
    let reasons = status["counters"]["reasons"].as_array().expect("counters by reason");
    let inbound = reasons.iter().filter(|it| it["direction"] == "Inbound");
    inbound.map(|it| seen::number(&it["packets"])).sum()
}

/// Frames that came in, as the device has them.
fn received(world: &World) -> u64 {
    let mut command = Command::new("ip");
    command.args(["-json", "-statistics", "link", "show", "dev", "up0"]);
    let output = world.server().output(&mut command);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    seen::number(&shown[0]["stats64"]["rx"]["packets"])
}
