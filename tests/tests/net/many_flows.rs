//! Tables of conversations as the operator sees them: their size is a choice, `nsp status` tells what they
//! hold and take, and `nsp flows` lists a million without holding them.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nsp_tests::{
    agent::{Agent, nsp_binary},
    deadline::Deadline,
    netns::World,
    packet::Family,
    prog::crowd::{CROWD, Frames, Member, Service},
    sockets::FrameSender,
};
use serde_json::Value;

fn status(agent: &Agent) -> Value {
    serde_json::from_str(&agent.nsp_ok(&["status", "--json"])).expect("JSON")
}

fn table<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut tables = status["flowTables"].as_array().expect("a list").iter();
    tables.find(|it| it["table"] == name).unwrap_or_else(|| panic!("{name} in {status:#}"))
}

/// A world without anybody else, whose router throws away what is for the crowd.
fn world() -> World {
    let world = World::builder().clients(&[]).build();
    world.router().ip("route add blackhole 198.18.0.0/15\nroute add blackhole 2001:db8:100::/40");
    world
}

/// Sends what opens and proves `count` conversations of a family: questions to time servers, and answers.
fn talk(world: &World, family: Family, count: u32) {
    let (out, back) =
        (FrameSender::open(world.server(), "up0"), FrameSender::open(world.router(), "to-server"));
    let mut frames = Frames::default();
    for number in 0..count {
        let member = Member::new(family, Service::OutboundUdp, number);
        out.send_bytes(&frames.to_peer(member, 0));
        back.send_bytes(&frames.from_peer(member, 0));
    }
}

#[test]
fn tables_have_the_size_that_was_asked_for() {
    let world = world();
    let agent = Agent::builder(world.server())
        .policy(CROWD)
        .argument("--flows")
        .argument("2048")
        .argument("--flows-v6")
        .argument("4096")
        .start();
    talk(&world, Family::V4, 5);
    FrameSender::open(world.server(), "up0").send_bytes(
        &Frames::default().to_peer(Member::new(Family::V6, Service::OutboundUdp, 0), 0),
    );
    let counted = Deadline::after(Duration::from_secs(5)).poll(|| {
        let status = status(&agent);
        (table(&status, "provenV4")["entries"] == 5 && table(&status, "askedV6")["entries"] == 1)
            .then_some(status)
    });
    let status = counted.unwrap_or_else(|| panic!("{:#}", status(&agent)["flowTables"]));
    for (name, entries, capacity, bytes_each) in [
        ("provenV4", 5, 2048, 164..170),
        ("provenV6", 0, 4096, 212..218),
        ("askedV4", 0, 16_384, 136..138),
        ("askedV6", 1, 16_384, 160..162),
        ("knockedV4", 0, 16_384, 136..138),
        ("knockedV6", 0, 16_384, 160..162),
    ] {
        let table = table(&status, name);
        assert_eq!(table["entries"], entries, "{table}");
        assert_eq!(table["capacity"], capacity, "{table}");
        let bytes = table["bytes"].as_u64().expect("the kernel tells");
        // Before Linux 6.4 it counts keys and values only.
        let (least, most) = (60, bytes_each.end);
        assert!((least..most).contains(&(bytes / capacity)), "{table}");
    }
    assert!(status["ageing"]["ticks"].as_u64() > Some(0), "{}", status["ageing"]);
    let text = agent.nsp_ok(&["status"]);
    assert!(text.contains("             5  of    2048, 0."), "{text}");
    assert!(text.contains(" MB: proven, IPv4"), "{text}");
    let all = status["flowTablesBytes"].as_u64().expect("the kernel tells");
    let each = status["flowTables"].as_array().into_iter().flatten();
    let sum: u64 = each.filter_map(|table| table["bytes"].as_u64()).sum();
    assert!(all > sum, "{all} with the count of peers, {sum} without");
}

/// The most memory that a process had, in KiB, if it is still there.
fn peak_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Runs a verb into a file; answers how long it took and the most memory that it had.
fn measure(agent: &Agent, arguments: &[&str], into: &Path) -> (Duration, u64) {
    let begun = Instant::now();
    let mut command = Command::new(nsp_binary());
    command.args(arguments).arg("--control").arg(agent.home().control());
    command.stdin(Stdio::null()).stdout(File::create(into).expect("a file of ours"));
    let mut verb = command.spawn().expect("it starts");
    let mut peak = 0;
    let ended = loop {
        peak = peak.max(peak_kib(verb.id()).unwrap_or(0));
        if let Some(status) = verb.try_wait().expect("a child of ours") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "nsp {arguments:?}: {ended}");
    (begun.elapsed(), peak)
}

#[test]
fn conversations_are_listed_part_by_part() {
    let full = std::env::var_os("NSP_TEST_FULL").is_some();
    let (v4, v6, room) =
        if full { (1_000_000, 250_000, "1048576") } else { (20_000, 5_000, "65536") };
    let world = world();
    let mut agent =
        Agent::builder(world.server()).policy(CROWD).argument("--flows").argument(room).start();
    let counted = |agent: &Agent| {
        let status = status(agent);
        ["provenV4", "provenV6"].map(|name| table(&status, name)["entries"].as_u64().unwrap_or(0))
    };
    // What a full queue threw away is sent again.
    for _ in 0..3 {
        talk(&world, Family::V4, v4);
        talk(&world, Family::V6, v6);
        if counted(&agent) == [u64::from(v4), u64::from(v6)] {
            break;
        }
    }
    assert_eq!(counted(&agent), [u64::from(v4), u64::from(v6)]);
    let pid = agent.process().pid();
    let before = peak_kib(pid).expect("it runs");
    let file = agent.home().path().join("listed");
    let all = (v4 + v6) as usize;
    let (took, peak) = measure(&agent, &["status"], &file);
    println!("{all} conversations: status {took:?}, {peak} KiB");
    let (took, peak) = measure(&agent, &["flows"], &file);
    println!("flows {took:?}, {peak} KiB");
    let text = fs::read_to_string(&file).expect("a file of ours");
    // State, peer, who opened it, this end.
    let ends = |line: &str| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" ");
    let mut listed: Vec<String> = text.lines().map(ends).collect();
    assert_eq!(listed.len(), all, "each is listed");
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed.len(), all, "and once");
    let (took, peak_json) = measure(&agent, &["flows", "--json"], &file);
    println!("flows --json {took:?}, {peak_json} KiB");
    let listed: Vec<Value> = serde_json::from_reader(std::io::BufReader::new(
        File::open(&file).expect("a file of ours"),
    ))
    .expect("an array");
    assert_eq!(listed.len(), all);
    for _ in 0..3 {
        let (took, _) = measure(&agent, &["flows", "--limit", "10"], &file);
        println!("flows --limit 10 {took:?}");
    }
    assert_eq!(fs::read_to_string(&file).expect("a file of ours").lines().count(), 10);
    let after = peak_kib(pid).expect("it runs");
    println!("the agent had at most {before} KiB before, {after} KiB after");
    // A part is some ten megabytes as JSON; all of them would be gigabytes.
    assert!(after - before < 64 << 10, "the agent grew from {before} to {after} KiB");
    assert!(peak < 128 << 10, "the verb took {peak} KiB");
}
