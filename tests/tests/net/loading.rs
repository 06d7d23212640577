//! From files to what is in force: long lists, and who waits for the agent at a terminal.

use std::{thread, time::Duration};

use nsp_tests::{
    agent::{Agent, nsp_binary},
    deadline::Deadline,
    measured::peak_of,
    netns::World,
    prefix_lists::{Family, Lists, distinct},
    terminal::{Terminal, screen},
};
use rustix::process::Signal;

/// What the agent may take for a million prefixes, and the largest list here.
const PEAK_BYTES_MAX: u64 = 400 << 20;
/// Long enough for what takes longer than a second to be shown.
const STOPPED: Duration = Duration::from_millis(1_300);

/// A world without anybody else.
fn world() -> World {
    World::builder().clients(&[]).build()
}

#[test]
fn long_lists_are_in_force_soon_and_in_bounded_memory() {
    let world = world();
    let policy = nsp_tests::prefix_lists::policy(0);
    let mut agent = Agent::builder(world.server()).policy(&policy).start();
    for prefixes in [10_000, 100_000, 1_000_000] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lists = Lists { family: Family::V4, prefixes, files: 1 };
        let path = lists.write(folder.path()).expect("a folder of ours");
        let said_before = agent.stderr().len();
        agent.nsp_ok(&["apply", path.to_str().expect("UTF-8")]);
        let said = agent.stderr().split_off(said_before);
        let peak = peak_of(agent.process().pid());
        assert!(peak < PEAK_BYTES_MAX, "{peak} bytes at {prefixes} prefixes");
        for phase in ["policy read", "policy compiled", "policy published"] {
            let line = said.lines().find(|line| line.contains(phase));
            println!("{prefixes}: {}", line.unwrap_or_else(|| panic!("no {phase} in {said}")));
        }
        println!("{prefixes}: at most {} MiB", peak >> 20);
        for prefix in distinct(Family::V4, prefixes).iter().step_by(prefixes / 7) {
            let address = prefix.network().to_string();
            let said = agent.nsp_ok(&["explain", &address, "443"]);
            assert!(said.starts_with("ALLOW "), "{prefix}: {said}");
        }
    }
}

#[test]
fn at_a_terminal_the_agent_says_what_it_does_until_it_is_ready() {
    let world = world();
    // For its directories.
    let agent = Agent::builder(world.server()).policy(&nsp_tests::prefix_lists::policy(0)).build();
    let home = agent.home();
    let terminal = Terminal::open();
    let mut command = terminal.command(nsp_binary());
    command.args(["run", "--interface", "up0", "--policy"]).arg(home.policy());
    command.arg("--state-dir").arg(home.state_dir()).arg("--control").arg(home.control());
    command.arg("--log").arg(home.log()).args(["--pin-dir", "none"]).env("NO_COLOR", "1");
    let mut process = world.server().spawn(&mut command);
    // As if the machine were slow, whatever it is.
    thread::sleep(Duration::from_millis(100));
    process.signal(Signal::STOP);
    thread::sleep(STOPPED);
    process.signal(Signal::CONT);
    let is_ready = || agent.nsp(&["status"]).status.success().then_some(());
    Deadline::after(Duration::from_secs(30)).poll(is_ready).expect("it is ready");
    agent.nsp_ok(&["apply"]);
    process.stop(Duration::from_secs(5));
    drop(command);

    let written = terminal.written();
    assert!(written.contains("nsp: loading the kernel programs"), "{written:?}");
    let screen = screen(&written);
    assert!(!screen.contains("nsp: loading"), "{screen}");
    // The log stands above, whole.
    let is_whole = |line: &str| line.starts_with("nsp: ready") || line.starts_with("20");
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines.contains(&"nsp: ready"), "{screen}");
    assert!(lines.iter().filter(|line| line.contains("policy published")).count() == 2, "{screen}");
    assert!(lines.iter().all(|line| is_whole(line)), "{screen}");
}
