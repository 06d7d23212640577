//! Break-glass: `nsp off` and `nsp on`, with an agent that runs, hangs or is gone.

use std::{fs, net::TcpStream, time::Duration};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Party},
    sockets::{Outcome, still_echoes},
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    pins::{POSTGRES, is_closed, is_open, links, policy, world},
    seen, service,
};

pub(crate) fn agent(world: &World) -> Agent {
    Agent::builder(world.server()).policy(&policy("enforced")).start()
}

/// Connections of the stranger, for whom no rule is.
fn strangers(world: &World) -> Vec<TcpStream> {
    BOTH.into_iter().map(|family| service::open(world, Party::Stranger, family, POSTGRES)).collect()
}

#[track_caller]
fn live(connections: &[TcpStream]) {
    assert!(connections.iter().all(still_echoes), "a conversation is cut");
}

pub(crate) fn off(agent: &Agent) -> Value {
    seen::status(agent)["off"].clone()
}

#[test]
fn off_opens_on_closes_and_what_began_between_is_kept() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = agent(&world);
    let office: Vec<_> = BOTH
        .into_iter()
        .map(|family| service::open(&world, Party::Office, family, POSTGRES))
        .collect();
    is_closed(&world);
    assert_eq!(agent.nsp_ok(&["off"]), "off: nothing is judged until nsp on\n");
    is_open(&world);
    assert_eq!(off(&agent), json!({"leftSeconds": null, "byCommandLine": false}));
    assert!(agent.nsp_ok(&["status"]).starts_with("OFF: nothing is judged until nsp on\n"));
    assert_eq!(fs::read_dir(links(&agent)).expect("the directory stays").count(), 0);
    let between = strangers(&world);

    // Another agent obeys it as well, whatever became of the one before; and so does an apply.
    agent.kill();
    agent.start();
    assert!(agent.stderr().contains("nsp: the perimeter is off: nsp on"), "{}", agent.stderr());
    agent.nsp_ok(&["apply"]);
    is_open(&world);

    let said = agent.nsp_ok(&["on"]);
    assert!(said.starts_with("up0: ingress "), "{said}");
    live(&between);
    live(&office);
    is_closed(&world);
    assert_eq!(off(&agent), Value::Null);
    assert_eq!(seen::status(&agent)["lastError"], Value::Null);
    agent.kill();
    agent.start();
    live(&between);
    is_closed(&world);
}

#[test]
fn off_works_with_the_agent_dead() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = agent(&world);
    agent.kill();
    is_closed(&world);
    let said = agent.nsp_ok(&["off"]);
    assert!(said.starts_with("7 hooks that an agent left are taken away\noff: "), "{said}");
    is_open(&world);
    let told = agent.nsp(&["status"]);
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(said.contains("; OFF: nothing is judged until nsp on"), "{said}");
    agent.start();
    is_open(&world);
    agent.kill();
    // Nobody is there to put the hooks back: that is said, and is no success.
    let refused = agent.nsp(&["on"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the switch is on, and nothing is hooked before an agent runs"),
        "{said}"
    );
    assert!(said.contains("\ntry: systemctl start nsp"), "{said}");
    agent.start();
    is_closed(&world);
}

#[test]
fn off_works_with_an_agent_that_hangs() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = agent(&world);
    agent.process().signal(Signal::STOP);
    // Who asks what is the matter is told, in time. (A verb of a test may take ten seconds.)
    let mut asking = agent.spawn_nsp(&["status"]);
    let done = agent.nsp(&["off"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("the agent does not answer"), "{said}");
    is_open(&world);
    let told = asking.wait(Duration::from_secs(20)).expect("status does not hang along");
    assert_eq!(told.code(), Some(1));
    // When it comes to it obeys, and does not mend what it finds.
    agent.process().signal(Signal::CONT);
    let obeyed =
        Deadline::after(Duration::from_secs(5)).poll(|| off(&agent).is_object().then_some(()));
    assert!(obeyed.is_some(), "{}", agent.stderr());
    is_open(&world);
    agent.nsp_ok(&["on"]);
    is_closed(&world);
}

#[test]
fn off_for_a_time_ends_by_itself() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = agent(&world);
    assert_eq!(agent.nsp_ok(&["off", "--for", "4s"]), "off: nothing is judged for 4 s\n");
    is_open(&world);
    let between = strangers(&world);
    let back = Deadline::after(Duration::from_secs(8)).poll(|| off(&agent).is_null().then_some(()));
    assert!(back.is_some(), "{}", agent.stderr());
    is_closed(&world);
    live(&between);
}

#[test]
fn off_reaches_hooks_that_are_not_pinned() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server()).policy(&policy("enforced")).unpinned().start();
    agent.nsp_ok(&["off"]);
    is_open(&world);
    agent.nsp_ok(&["on"]);
    is_closed(&world);
}

#[test]
fn kernel_command_line_begins_a_boot_without_it_until_somebody_says_on() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).build();
    let line = agent.home().path().join("cmdline");
    fs::write(&line, "BOOT_IMAGE=/vmlinuz ro nsp.off quiet\n").expect("a directory of ours");
    agent.restart_with(&["--command-line", line.to_str().expect("a path of ours")]);
    is_open(&world);
    assert_eq!(off(&agent), json!({"leftSeconds": null, "byCommandLine": true}));
    agent.nsp_ok(&["on"]);
    is_closed(&world);
    agent.kill();
    agent.start();
    is_closed(&world);
}

#[test]
fn off_that_cannot_be_kept_takes_the_agent_along_and_says_so() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = agent(&world);
    // A file cannot be written where a directory is, by root either.
    fs::create_dir(agent.home().state_dir().join("switch.json")).expect("a directory of ours");
    let done = agent.nsp(&["off"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("the next agent that starts hooks everything"), "{said}");
    assert!(said.contains("\ntry: systemctl mask --now nsp"), "{said}");
    assert!(agent.process().wait(Duration::from_secs(5)).is_some(), "the agent ends");
    is_open(&world);
}

#[test]
fn command_that_asks_to_be_shut_in_is_refused_while_nothing_is_judged() {
    let world = world();
    let agent = agent(&world);
    agent.nsp_ok(&["off"]);
    let refused = agent.nsp(&["exec", "--allow", "203.0.113.0/24", "--", "true"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("the perimeter is off"), "{said}");
    let family = BOTH[0];
    let outcome = service::connect_out(&world, Party::Stranger, family, 443);
    assert_eq!(outcome, Outcome::Refused, "nobody listens there");
}
