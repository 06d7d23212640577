//! What could not be hooked, or not put back, is tried again until it is, without the host saying anything: told of
//! once, and not every second.

use std::{process::Command, thread, time::Duration};

use nsp_tests::{
    agent::Agent,
    deadline::Deadline,
    netns::World,
    packet::{BOTH, Party},
    pinned::{self, Kind},
    sockets::Outcome,
    strace::Strace,
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    outbound::assert_denied,
    pins::{HTTPS, POSTGRES, hooks, is_closed, links, policy, world},
    seen, service,
};

/// It is tried every second; a loaded machine is slow.
const SOON: Duration = Duration::from_secs(10);
/// Some tries.
const TRIES: Duration = Duration::from_millis(4500);

fn interface(agent: &Agent, name: &str) -> Value {
    let status = seen::status(agent);
    let all = status["interfaces"].as_array().expect("a list").iter();
    all.clone().find(|it| it["name"] == name).cloned().unwrap_or_default()
}

#[track_caller]
fn is_covered(agent: &Agent, name: &str) {
    let there = || {
        let it = interface(agent, name);
        (it["ingress"].is_string() && it["error"].is_null()).then_some(())
    };
    let covered = Deadline::after(SOON).poll(there).is_some();
    assert!(covered, "{} {}", interface(agent, name), agent.stderr());
}

fn repairs(agent: &Agent) -> Vec<Value> {
    let text = agent.nsp_ok(&["history", "--json"]);
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON Lines"));
    all.filter(|it| it["what"] == "repair").collect()
}

/// Of those: where, which way, what came of it.
fn told(agent: &Agent) -> Vec<String> {
    let line = |it: &Value| format!("{} {}", it["detail"]["way"], it["outcome"]).replace('"', "");
    repairs(agent).iter().map(line).collect()
}

fn lines(agent: &Agent, text: &str) -> usize {
    agent.stderr().lines().filter(|line| line.contains(text)).count()
}

/// What is at a device by XDP in the driver, as `ip link` has it.
fn xdp(world: &World, what: &str) {
    let mut command = Command::new("ip");
    command.args(["link", "set", "dev", "up0", "xdpdrv"]).args(what.split(' '));
    let done = world.server().output(&mut command);
    assert!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn device_that_could_not_be_covered_when_it_came_is_covered_when_it_can_be() {
    let mut world = World::builder().clients(&[]).build();
    let mut agent =
        Agent::builder(world.server()).interfaces(&["up*"]).policy(&policy("enforced")).start();
    let log = agent.home().path().join("strace");
    let strace = Strace::attach(agent.process().pid(), "bpf", Some("error=ENOMEM"), &log);
    let sandbox = world.sandbox();
    sandbox.add_host("late");
    sandbox.connect(("server", "up1"), ("late", "eth0"));
    assert!(agent.says("not covered", SOON), "{}", agent.stderr());
    // Whatever the new device had to say is said.
    thread::sleep(TRIES);
    assert_eq!(lines(&agent, "not covered"), 1, "{}", agent.stderr());
    let error = interface(&agent, "up1")["error"].clone();
    assert!(error.as_str().is_some_and(|it| it.contains("Cannot allocate memory")), "{error}");
    drop(strace.calls());
    is_covered(&agent, "up1");
}

#[test]
fn hooks_that_cannot_be_put_back_are_told_of_once_and_back_when_they_can_be() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let bpffs = agent.home().bpffs();
    agent.process().signal(Signal::STOP);
    let egress = format!("tc-egress-{}", world.server().index("up0"));
    for name in [egress.as_str(), "call-connect4"] {
        pinned::detach(&links(&agent).join(name));
    }
    pinned::remount(&bpffs, true);
    agent.process().signal(Signal::CONT);
    let refused = ["egress refused", "calls refused"];
    let found = || (told(&agent) == refused).then_some(());
    assert!(Deadline::after(SOON).poll(found).is_some(), "{:?}", told(&agent));
    thread::sleep(TRIES);
    assert_eq!(told(&agent), refused, "once, and not every second");
    for repair in repairs(&agent) {
        let why = repair["why"].as_str().expect("a reason");
        assert!(why.contains("Read-only file system"), "{repair}");
    }
    let error = interface(&agent, "up0")["error"].clone();
    assert!(error.as_str().is_some_and(|it| it.starts_with("no hook at its egress: ")), "{error}");
    assert!(agent.nsp_ok(&["status"]).contains("up0: NOT COVERED: no hook at its egress"));
    assert_eq!(seen::status(&agent)["calls"]["hooked"], false);

    pinned::remount(&bpffs, false);
    is_covered(&agent, "up0");
    let back = ["egress refused", "calls refused", "egress done", "calls done"];
    assert!(Deadline::after(SOON).poll(|| (told(&agent) == back).then_some(())).is_some());
    for repair in &repairs(&agent)[2..] {
        let gap = seen::number(&repair["detail"]["gapMaxMs"]);
        assert!(gap > 4000, "since it was there: {repair}");
    }
    assert_eq!(seen::status(&agent)["calls"], json!({"hooked": true}));
    is_closed(&world);
    for family in BOTH {
        assert_denied(service::connect_out(&world, Party::Stranger, family, HTTPS));
    }
}

#[test]
fn hook_whose_program_somebody_replaces_has_its_own_again() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let mut agent = Agent::builder(world.server()).policy(&policy("enforced")).start();
    let before = hooks(&agent);
    let index = world.server().index("up0");
    let names = [format!("xdp-native-{index}"), format!("tc-egress-{index}"), "send".to_owned()];
    // Not before all are theirs.
    agent.process().signal(Signal::STOP);
    for (name, kind) in names.iter().zip([Kind::Xdp, Kind::Classifier, Kind::Send]) {
        let path = agent.home().bpffs().join(format!("theirs-{kind:?}"));
        pinned::program(kind, "theirs", &path);
        pinned::replace(&links(&agent).join(name), &path);
    }
    assert_ne!(hooks(&agent), before);
    for family in BOTH {
        assert_eq!(world.connect(Party::Stranger, family, POSTGRES), Outcome::Connected);
    }
    agent.process().signal(Signal::CONT);
    // The same links: no packet went by unseen on the way back.
    let back = || (hooks(&agent) == before).then_some(());
    assert!(Deadline::after(SOON).poll(back).is_some(), "{:?} {}", hooks(&agent), agent.stderr());
    let expected = ["egress done", "ingress done", "calls done"];
    let found = || (told(&agent) == expected).then_some(());
    assert!(Deadline::after(SOON).poll(found).is_some(), "{:?}", told(&agent));
    is_closed(&world);
    thread::sleep(TRIES);
    assert_eq!(told(&agent), expected, "and then all is as it was");
}

#[test]
fn foreign_xdp_in_the_place_of_ours_is_told_of_once_and_the_calls_are_hooked_all_the_same() {
    let world = world();
    let _postgres = service::tcp(world.server(), POSTGRES);
    let agent = Agent::builder(world.server())
        .policy(&policy("enforced"))
        .arguments(&["--xdp-mode", "native"])
        .start();
    // Theirs comes while ours is away.
    agent.nsp_ok(&["off"]);
    let theirs = agent.home().bpffs().join("theirs");
    pinned::program(Kind::Xdp, "theirs", &theirs);
    xdp(&world, &format!("pinned {}", theirs.display()));
    let refused = agent.nsp(&["on"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("cannot cover up0"), "{said}");
    let hooked = || (seen::status(&agent)["calls"]["hooked"] == true).then_some(());
    assert!(Deadline::after(SOON).poll(hooked).is_some(), "{}", seen::status(&agent)["calls"]);
    thread::sleep(TRIES);
    assert_eq!(lines(&agent, "not covered"), 1, "{}", agent.stderr());
    xdp(&world, "off");
    is_covered(&agent, "up0");
    is_closed(&world);
}
